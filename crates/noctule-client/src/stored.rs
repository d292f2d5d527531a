//! Waiting until a message is on disk.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use noctule_client_core::OperationId;
use noctule_store::{StoreError, Summary};

use crate::client::Client;
use crate::receipt::Receipt;
use crate::shared::Shared;
use crate::wait::block_on;

/// A message on its way into the store: awaited, it says whether it is there.
#[derive(Debug)]
#[must_use = "it says whether the message is stored"]
pub struct Stored {
    shared: Arc<Shared>,
    operation: OperationId,
}

impl Receipt {
    /// Waits until the message is in the store, so that it is delivered even if this process ends
    /// now; without a store that is never waited for. A message that has ended is in no store any
    /// more, and not waited for either.
    pub fn stored(&self) -> Stored {
        Stored { shared: Arc::clone(&self.shared), operation: self.operation() }
    }
}

impl<D> Client<D> {
    /// What was found when the store was opened, and what was dropped; `None` without a store.
    pub fn store_summary(&self) -> Option<Summary> {
        self.shared().with(|inner| inner.journal.as_ref().map(|journal| journal.summary().clone()))
    }
}

impl Stored {
    /// Waits: the blocking form of awaiting it.
    ///
    /// # Errors
    ///
    /// If the store cannot keep it at the moment. It is tried again by itself.
    pub fn wait(self) -> Result<(), Arc<StoreError>> {
        block_on(self)
    }
}

impl Future for Stored {
    type Output = Result<(), Arc<StoreError>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.shared.with(|inner| {
            let Some(journal) = &mut inner.journal else { return Poll::Ready(Ok(())) };
            journal.poll_stored(inner.hub.session_mut(), self.operation, context.waker())
        })
    }
}
