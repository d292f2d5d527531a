//! Requests that are under way. Whoever stops waiting for a subscription gives it up: it is not
//! asked for any more, and what the server may have granted is taken back.

use std::future::poll_fn;

use noctule_client_core::{
    Doubt, DropCause, OperationId, Remarks, RequestOutcome, RequestRefused, SubscriptionStatus,
    Timestamp, UnsubscribeRequest,
};
use noctule_packet::{ReasonCode, TopicFilter};

use crate::error::SubscribeError;
use crate::shared::{Inner, Shared};

/// What the server says about each filter, and beside that.
pub(crate) type Answer = (Box<[ReasonCode]>, Option<Box<Remarks>>);

/// A SUBSCRIBE that is under way.
pub(crate) struct Asked<'a> {
    shared: &'a Shared,
    operation: OperationId,
    filters: &'a [String],
    /// Those that were not subscribed to before.
    new: Vec<&'a str>,
    is_kept: bool,
}

impl<'a> Asked<'a> {
    /// Asks for these filters.
    pub(crate) fn ask(
        shared: &'a Shared,
        filters: &'a [String],
        ask: impl FnOnce(&mut Inner, Timestamp) -> Result<OperationId, RequestRefused>,
    ) -> Result<Self, RequestRefused> {
        let now = shared.now();
        shared.with(|inner| {
            let session = inner.hub.session();
            let is_new = |filter: &&str| session.granted(filter).is_none();
            let new = filters.iter().map(String::as_str).filter(is_new).collect();
            let operation = ask(inner, now)?;
            inner.users.join(filters);
            Ok(Self { shared, operation, filters, new, is_kept: false })
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
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }

    /// Takes back what nobody uses and the server has granted, or may grant.
    fn undo(&self, inner: &mut Inner, now: Timestamp) {
        inner.hub.cancel(now, self.operation);
        inner.hub.forget(self.operation);
        let unused = inner.users.leave(self.filters);
        let session = inner.hub.session();
        let filters: Vec<TopicFilter<'_>> = unused
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

/// An operation whose end nobody asks for when this is gone.
struct Waiting<'a>(&'a Shared, OperationId);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with(|inner| inner.hub.forget(self.1));
    }
}

/// How a request has ended: what the server says, or why it says nothing. It goes on if this is
/// dropped.
pub(crate) async fn answer(
    shared: &Shared,
    operation: OperationId,
) -> Result<Answer, Result<Doubt, DropCause>> {
    let _waiting = Waiting(shared, operation);
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
