//! Operations and those who wait for their ends: each ends once, and who asks later is told, too.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::task::{Poll, Waker};

use crate::hub::wakes::Wakes;
use crate::operation::{OperationId, Outcome, RequestOutcome, Stage};

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Publication {
        outcome: Outcome,
        /// Where to, unless it was delivered.
        topic: Option<Box<str>>,
    },
    Request(RequestOutcome),
}

#[derive(Debug, Default)]
struct Receipt {
    stage: Option<Stage>,
    ending: Option<Ending>,
    waiter: Option<Waker>,
    /// Nobody has asked for it, but somebody may: it is of an earlier process.
    is_untaken: bool,
}

/// The operations whose ends somebody may still ask for.
#[derive(Debug, Default)]
pub(crate) struct Receipts(BTreeMap<OperationId, Receipt>);

impl Receipts {
    /// Somebody wants to know how an operation ends.
    pub(crate) fn open(&mut self, operation: OperationId) {
        self.0.insert(operation, Receipt::default());
    }

    /// Somebody may want to know how an operation of an earlier process ends.
    pub(crate) fn restore(&mut self, operation: OperationId, stage: Option<Stage>) {
        let receipt = Receipt { stage, is_untaken: true, ..Receipt::default() };
        self.0.insert(operation, receipt);
    }

    /// Somebody does. Whether it has ended already, and failed.
    pub(crate) fn take_restored(&mut self, operation: OperationId) -> bool {
        let Some(receipt) = self.0.get_mut(&operation) else { return false };
        receipt.is_untaken = false;
        match &receipt.ending {
            Some(Ending::Publication { outcome, .. }) => outcome.is_failure(),
            Some(Ending::Request(_)) | None => false,
        }
    }

    /// Those who follow know that an operation has failed, and need not be told again.
    pub(crate) fn note_told(&mut self, told: OperationId) {
        if let Some(Receipt { ending: Some(Ending::Publication { topic, .. }), .. }) =
            self.0.get_mut(&told)
        {
            *topic = None;
        }
    }

    /// Nobody wants to know any more. How it has ended, if that was not asked.
    pub(crate) fn drop(&mut self, operation: OperationId, wakes: &mut Wakes) -> Option<Ending> {
        let receipt = self.0.remove(&operation)?;
        wakes.add(receipt.waiter);
        receipt.ending
    }

    pub(crate) fn progress(&mut self, operation: OperationId, stage: Stage, wakes: &mut Wakes) {
        if let Some(receipt) = self.0.get_mut(&operation) {
            receipt.stage = Some(stage);
            wakes.add(receipt.waiter.take());
        }
    }

    /// An operation has ended. How, comes back if nobody holds its receipt.
    pub(crate) fn end(
        &mut self,
        operation: OperationId,
        ending: Ending,
        wakes: &mut Wakes,
    ) -> Option<Ending> {
        let Some(receipt) = self.0.get_mut(&operation) else { return Some(ending) };
        wakes.add(receipt.waiter.take());
        let untaken = receipt.is_untaken.then(|| ending.clone());
        receipt.ending = Some(ending);
        untaken
    }

    pub(crate) fn stage(&self, operation: OperationId) -> Option<Stage> {
        self.0.get(&operation)?.stage
    }

    /// Whether the server has the message of a publication, once that is known.
    pub(crate) fn poll_received(
        &mut self,
        operation: OperationId,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Poll<bool> {
        let Some(receipt) = self.0.get_mut(&operation) else { return Poll::Ready(false) };
        match (&receipt.ending, receipt.stage) {
            (Some(Ending::Publication { outcome, .. }), None) => {
                Poll::Ready(outcome.is_delivered())
            }
            (Some(Ending::Request(_)), _) => Poll::Ready(false),
            (_, Some(Stage::Received)) => Poll::Ready(true),
            (None, None) => {
                wakes.replace(&mut receipt.waiter, waker);
                Poll::Pending
            }
        }
    }

    /// How an operation has ended. It is forgotten then.
    pub(crate) fn poll(
        &mut self,
        operation: OperationId,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Poll<Option<Ending>> {
        let Some(receipt) = self.0.get_mut(&operation) else { return Poll::Ready(None) };
        if receipt.ending.is_none() {
            wakes.replace(&mut receipt.waiter, waker);
            return Poll::Pending;
        }
        Poll::Ready(self.0.remove(&operation).and_then(|receipt| receipt.ending))
    }
}
