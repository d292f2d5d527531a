//! Functions of the program's that are called when a message or a request has ended.
//!
//! Whoever waits for one leaves a waker, and wakers are used when nothing is locked: a waker that
//! calls the function is all that it takes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::extensions::shielded;

/// Something that ends, and who is to be told how, until that is done.
struct Completion<F, T>(Mutex<Option<(F, T)>>);

/// Has a function called when something has ended.
pub(crate) fn call_when_ended<F, T>(awaited: F, tell: T)
where
    F: Future + Unpin + Send + 'static,
    T: FnOnce(F::Output) + Send + 'static,
{
    Arc::new(Completion(Mutex::new(Some((awaited, tell))))).wake();
}

impl<F: Future + Unpin, T> Completion<F, T> {
    /// How it has ended and who is to be told, once.
    fn take_ended(&self, waker: &Waker) -> Option<(F::Output, T)> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (awaited, _) = waiting.as_mut()?;
        match Pin::new(awaited).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(outcome) => waiting.take().map(|(_, tell)| (outcome, tell)),
            Poll::Pending => None,
        }
    }
}

impl<F, T> Wake for Completion<F, T>
where
    F: Future + Unpin + Send + 'static,
    T: FnOnce(F::Output) + Send + 'static,
{
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        if let Some((outcome, tell)) = self.take_ended(&waker) {
            // Whoever wakes has others to wake.
            shielded(|| tell(outcome));
        }
    }
}
