//! Functions of the program's that are called when a message has ended.
//!
//! Whoever waits for a receipt leaves a waker, and wakers are used when nothing is locked: a waker
//! that calls the function is all that it takes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use noctule_client_core::Outcome;

use crate::extensions::shielded;
use crate::receipt::Receipt;

type Tell = Box<dyn FnOnce(Outcome) + Send>;

/// A receipt, and who is to be told how its message has ended, until that is done.
struct Completion(Mutex<Option<(Receipt, Tell)>>);

/// Has a function called when a message has ended.
pub(crate) fn call_when_ended(receipt: Receipt, tell: Tell) {
    Arc::new(Completion(Mutex::new(Some((receipt, tell))))).wake();
}

impl Completion {
    /// How the message has ended and who is to be told, once.
    fn take_ended(&self, waker: &Waker) -> Option<(Outcome, Tell)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (receipt, _) = waiting.as_mut()?;
        match Pin::new(receipt).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(outcome) => waiting.take().map(|(_, tell)| (outcome, tell)),
            Poll::Pending => None,
        }
    }
}

impl Wake for Completion {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        if let Some((outcome, tell)) = self.take_ended(&waker) {
            // Whoever wakes has others to wake.
            shielded(|| tell(outcome));
        }
    }
}
