//! Requests that are under way. Whoever stops waiting for a subscription gives it up: it is not
//! asked for any more, and what the server may have granted is taken back.

use std::future::poll_fn;
use std::time::Duration;

use noctule_client_core::{
    Doubt, DropCause, OperationId, Remarks, RequestOutcome, RequestRefused, SubscribeRequest,
    SubscriptionStatus, Timestamp, UnsubscribeRequest,
};
use noctule_packet::{ReasonCode, RetainHandling, Subscription, TopicFilter};

use crate::error::SubscribeError;
use crate::shared::{Inner, Shared};
use crate::users::{Left, Terms, UserId};

/// What the server says about each filter, and beside that.
pub(crate) type Answer = (Box<[ReasonCode]>, Option<Box<Remarks>>);

/// A SUBSCRIBE that is under way.
pub(crate) struct Asked<'a> {
    shared: &'a Shared,
    operation: OperationId,
    filters: &'a [String],
    user: UserId,
    /// Those that were not subscribed to before.
    new: Vec<&'a str>,
    is_kept: bool,
}

impl<'a> Asked<'a> {
    /// Asks for these filters, on these terms.
    pub(crate) fn ask(
        shared: &'a Shared,
        filters: &'a [String],
        terms: Vec<Terms>,
        ask: impl FnOnce(&mut Inner, Timestamp) -> Result<OperationId, RequestRefused>,
    ) -> Result<Self, RequestRefused> {
        let now = shared.now();
        shared.with(|inner| {
            let session = inner.hub.session();
            let is_new = |filter: &&str| session.granted(filter).is_none();
            let new = filters.iter().map(String::as_str).filter(is_new).collect();
            let operation = ask(inner, now)?;
            let wanted: Vec<_> = filters.iter().cloned().zip(terms).collect();
            let user = inner.users.join(&wanted);
            Ok(Self { shared, operation, filters, user, new, is_kept: false })
        })
    }

    /// What the server says.
    pub(crate) async fn answer(&self) -> Result<Answer, SubscribeError> {
        answer(self.shared, self.operation).await.map_err(|unanswered| match unanswered {
            Ok(doubt) => SubscribeError::Indeterminate(doubt),
            Err(cause) => SubscribeError::Dropped(cause),
        })
    }

    /// Somebody uses the subscription from now on.
    pub(crate) fn keep(mut self) -> UserId {
        self.is_kept = true;
        self.user
    }

    /// Takes back what nobody uses and the server has granted, or may grant.
    fn undo(&self, inner: &mut Inner, now: Timestamp) {
        inner.hub.cancel(now, self.operation);
        inner.hub.forget(self.operation);
        let left = inner.users.leave(self.user, self.filters);
        let _ = ask_as_before(inner, now, &left, None)
            .map(|operations| operations.iter().for_each(|it| inner.hub.forget(*it)));
        let session = inner.hub.session();
        let filters: Vec<TopicFilter<'_>> = left
            .unused
            .iter()
            .filter(|filter| self.new.contains(&filter.as_str()))
            .filter(|filter| session.subscription(filter) != SubscriptionStatus::None)
            .filter_map(|filter| TopicFilter::new(filter).ok())
            .collect();
        if filters.is_empty() {
            return;
        }
        if let Ok(operation) = inner.hub.unsubscribe(now, &UnsubscribeRequest::new(&filters)) {
            inner.hub.forget(operation);
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            let now = self.shared.now();
            self.shared.with(|inner| self.undo(inner, now));
        }
    }
}

/// Asks the server to go back to what older streams have asked for.
pub(crate) fn ask_as_before(
    inner: &mut Inner,
    now: Timestamp,
    left: &Left,
    timeout: Option<Duration>,
) -> Result<Vec<OperationId>, RequestRefused> {
    let mut operations = Vec::new();
    for (filter, terms) in &left.outlasted {
        let Ok(filter) = TopicFilter::new(filter) else { continue };
        let mut options = terms.options;
        if !inner.hub.session().version().is_v5() {
            options.retain_handling = RetainHandling::default();
        }
        let wanted = [Subscription { filter, options }];
        let mut request = SubscribeRequest::new(&wanted);
        (request.identifier, request.timeout) = (terms.identifier, timeout);
        request.user_properties = terms.user_properties.clone();
        operations.push(inner.hub.subscribe_only(now, &request)?);
    }
    Ok(operations)
}

/// An operation whose end nobody asks for when this is gone.
struct Waiting<'a>(&'a Shared, OperationId);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with(|inner| inner.hub.forget(self.1));
    }
}

/// How a request has ended: what the server says, or why it says nothing. It goes on if this is
/// dropped.
pub(crate) fn answer(
    shared: &Shared,
    operation: OperationId,
) -> impl Future<Output = Result<Answer, Result<Doubt, DropCause>>> {
    let waiting = Waiting(shared, operation);
    async move {
        let _waiting = waiting;
        outcome(shared, operation).await
    }
}

async fn outcome(
    shared: &Shared,
    operation: OperationId,
) -> Result<Answer, Result<Doubt, DropCause>> {
    let outcome = poll_fn(|context| {
        shared.with(|inner| inner.hub.poll_requested(operation, context.waker()))
    });
    match outcome.await {
        Some(RequestOutcome::Answered { codes, remarks }) => Ok((codes, remarks)),
        Some(RequestOutcome::Indeterminate { why }) => Err(Ok(why)),
        Some(RequestOutcome::Dropped { why }) => Err(Err(why)),
        None => Err(Ok(Doubt::Cancelled)),
    }
}
