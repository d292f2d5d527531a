//! How a publication ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use noctule_client_core::{Doubt, OperationId, Outcome, Stage};

use crate::error::PublishError;
use crate::metrics::Counter;
use crate::shared::Shared;
use crate::wait::{TimedOut, block_on, block_until};

/// A publication that was accepted: awaited, it says how it ended, exactly once, whatever happens
/// to the connection meanwhile.
///
/// Dropping it changes nothing for the message.
#[derive(Debug)]
#[must_use = "it says whether the message was delivered"]
pub struct Receipt {
    pub(crate) shared: Arc<Shared>,
    operation: OperationId,
    is_told: bool,
}

impl Receipt {
    /// The receipt of a message that was accepted. One that was not is counted.
    pub(crate) fn of(
        shared: &Arc<Shared>,
        operation: Result<OperationId, PublishError>,
    ) -> Result<Self, PublishError> {
        if operation.is_err() {
            shared.extensions().count(Counter::PublicationsRefused, 1);
        }
        Ok(Self { shared: Arc::clone(shared), operation: operation?, is_told: false })
    }

    /// The name of the operation.
    pub const fn operation(&self) -> OperationId {
        self.operation
    }

    /// How far a QoS 2 message has come that has not ended.
    pub fn stage(&self) -> Option<Stage> {
        self.shared.with(|inner| inner.hub.stage(self.operation))
    }

    /// Gives the message up. If it was not sent it will not be; otherwise it goes on being
    /// delivered, and the outcome is `Indeterminate`.
    pub fn cancel(&self) {
        let now = self.shared.now();
        self.shared.with(|inner| inner.hub.cancel(now, self.operation));
    }
}

impl Receipt {
    /// Waits until it has ended: the blocking form of awaiting it.
    pub fn wait(self) -> Outcome {
        block_on(self)
    }

    /// The same, but not longer than so long.
    ///
    /// # Errors
    ///
    /// If it has not ended by then. The receipt can be asked again.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Outcome, TimedOut> {
        block_until(timeout, self).ok_or(TimedOut)
    }
}

impl Future for Receipt {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let operation = self.operation;
        let polled = self.shared.with(|inner| inner.hub.poll_published(operation, context.waker()));
        match polled {
            Poll::Ready(outcome) => {
                self.is_told = true;
                let outcome = outcome.map(|it| self.shared.with(|inner| inner.outcome(it)));
                // Asked again after it was told, it can say nothing else.
                Poll::Ready(outcome.unwrap_or(Outcome::Indeterminate { why: Doubt::Cancelled }))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.is_told {
            self.shared.with(|inner| inner.hub.forget(self.operation));
        }
    }
}
