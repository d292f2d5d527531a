//! A wake-up flag between tasks of one thread.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// Remembers that it was raised until the one task that waits for it has seen it.
#[derive(Default)]
pub(crate) struct Signal {
    raised: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Signal {
    /// Wakes the waiting task, or lets the next wait end at once.
    pub(crate) fn raise(&self) {
        if !self.raised.replace(true)
            && let Some(waker) = self.waiting.take()
        {
            waker.wake();
        }
    }

    /// Whether the next wait ends at once.
    pub(crate) fn is_raised(&self) -> bool {
        self.raised.get()
    }

    /// Ready once for any number of [`Signal::raise`] since the last time.
    pub(crate) fn poll_raised(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.raised.take() {
            return Poll::Ready(());
        }
        self.waiting.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Waits for the next [`Signal::raise`].
    pub(crate) async fn raised(&self) {
        poll_fn(|context| self.poll_raised(context)).await;
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signal").field("raised", &self.raised.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_seen_once_however_often_it_was_raised() {
        let signal = Signal::default();
        let mut context = Context::from_waker(Waker::noop());
        assert!(signal.poll_raised(&mut context).is_pending());
        signal.raise();
        signal.raise();
        assert!(signal.poll_raised(&mut context).is_ready());
        assert!(signal.poll_raised(&mut context).is_pending());
    }
}
