//! How a publication ends.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use noctule_client_core::{Doubt, OperationId, Outcome, Stage};

use crate::completion;
use crate::error::PublishError;
use crate::metrics::Counter;
use crate::shared::Shared;
use crate::wait::{TimedOut, block_on, block_until};

/// A publication that was accepted, which ends exactly once, whatever happens to the connection
/// meanwhile: awaited, it says how. Asked again, it says the same.
///
/// Dropping it changes nothing for the message.
#[derive(Debug)]
#[must_use = "it says whether the message was delivered"]
pub struct Receipt {
    pub(crate) shared: Arc<Shared>,
    operation: OperationId,
    told: Option<Told>,
}

/// What a receipt has said, and says whenever it is asked again.
#[derive(Debug)]
struct Told {
    outcome: Outcome,
    /// Whether the server has the message.
    is_received: bool,
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
        Ok(Self { shared: Arc::clone(shared), operation: operation?, told: None })
    }

    /// The receipt of a message that an earlier process has published.
    #[cfg(feature = "store")]
    pub(crate) fn of_restored(shared: &Arc<Shared>, operation: OperationId) -> Self {
        Self { shared: Arc::clone(shared), operation, told: None }
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
    /// Waits until the server has received a QoS 2 message (PUBREC), so that it is not sent again
    /// in this session, or until the message has ended in any way. Whether the server has it.
    ///
    /// ```no_run
    /// # use noctule_client::{Client, QoS};
    /// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut receipt = client.publish("t", "once").qos(QoS::ExactlyOnce).send()?;
    /// if receipt.received().await {
    ///     println!("the server has it, and is about to pass it on");
    /// }
    /// println!("{}", receipt.await);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn received(&mut self) -> bool {
        poll_fn(|context| self.poll_received(context)).await
    }

    fn poll_received(&mut self, context: &Context<'_>) -> Poll<bool> {
        if let Some(told) = &self.told {
            return Poll::Ready(told.is_received);
        }
        let operation = self.operation;
        self.shared.with(|inner| inner.hub.poll_received(operation, context.waker()))
    }

    /// Calls a function when the message has ended, and not before: at once if it has, otherwise
    /// from the client's own task or thread, with nothing locked. It may use the client; the
    /// connection waits for it meanwhile. So it cannot wait for what the client has yet to do: a
    /// blocking call that would have to fails with [`OnOwnThread`](crate::OnOwnThread), or panics
    /// where it returns no error, which ends the function and nothing else.
    ///
    /// ```no_run
    /// # use noctule_client::{Client, QoS};
    /// # fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send()?;
    /// receipt.on_complete(|outcome| println!("{outcome}"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_complete(self, tell: impl FnOnce(Outcome) + Send + 'static) {
        completion::call_when_ended(self, tell);
    }
}

impl Receipt {
    /// Waits until the server has received a QoS 2 message: the blocking form of
    /// [`received`](Self::received).
    pub fn wait_received(&mut self) -> bool {
        block_on(self.received())
    }

    /// The same, but not longer than so long.
    ///
    /// # Errors
    ///
    /// If that is not known by then. The receipt can be asked again.
    pub fn wait_received_timeout(&mut self, timeout: Duration) -> Result<bool, TimedOut> {
        block_until(timeout, self.received()).ok_or(TimedOut)
    }

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
        if let Some(told) = &self.told {
            return Poll::Ready(told.outcome.clone());
        }
        let operation = self.operation;
        let polled = self.shared.with(|inner| {
            let stage = inner.hub.stage(operation);
            let polled = inner.hub.poll_published(operation, context.waker());
            // Nobody else takes the outcome away.
            let missing = Outcome::Indeterminate { why: Doubt::Cancelled };
            polled.map(|outcome| (inner.outcome(outcome.unwrap_or(missing)), stage))
        });
        polled.map(|(outcome, stage)| {
            let is_received = outcome.is_delivered() || stage == Some(Stage::Received);
            self.told = Some(Told { outcome: outcome.clone(), is_received });
            outcome
        })
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.told.is_none() {
            self.shared.with(|inner| inner.hub.forget(self.operation));
        }
    }
}
