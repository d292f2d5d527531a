//! Asking for all subscriptions again, because the user says so.

use std::sync::Arc;

use noctule_client_core::{RequestRefused, Resubscribe};
use noctule_packet::ReasonCode;

use crate::asked::answer;
use crate::error::SubscribeError;
use crate::shared::Shared;

/// What has become of a subscription that was asked for again.
#[derive(Debug)]
pub struct Resubscription {
    /// The whole topic filter.
    pub filter: Box<str>,
    /// What the server has granted, or why there is no subscription.
    pub result: Result<ReasonCode, SubscribeError>,
}

/// Asks for all subscriptions again, and waits for the answers.
pub(crate) async fn resubscribe(
    shared: &Arc<Shared>,
) -> Result<Vec<Resubscription>, RequestRefused> {
    let now = shared.now();
    let requests = shared.with(|inner| inner.hub.resubscribe(now))?;
    let mut results = Vec::new();
    for request in requests {
        results.extend(outcome(shared, request).await);
    }
    Ok(results)
}

async fn outcome(shared: &Arc<Shared>, request: Resubscribe) -> Vec<Resubscription> {
    let answered = answer(shared, request.operation).await;
    let result = |at: usize, filter: &str| match &answered {
        Ok((codes, remarks)) => match codes.get(at) {
            Some(code) if !code.is_error() => Ok(*code),
            code => Err(SubscribeError::Rejected {
                filter: filter.to_owned(),
                code: code.copied().unwrap_or(ReasonCode::UnspecifiedError),
                remarks: remarks.clone(),
            }),
        },
        Err(Ok(doubt)) => Err(SubscribeError::Indeterminate(*doubt)),
        Err(Err(cause)) => Err(SubscribeError::Dropped(*cause)),
    };
    let each = request.filters.into_iter().enumerate();
    each.map(|(at, filter)| Resubscription { result: result(at, &filter), filter }).collect()
}
