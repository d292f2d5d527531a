//! Waiting for a client from a thread that runs no futures.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Nothing has come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing came in time")]
pub struct TimedOut;

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future.
pub(crate) fn block_on<T>(awaited: impl Future<Output = T>) -> T {
    let mut awaited = pin!(awaited);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = awaited.as_mut().poll(&mut context) {
            return result;
        }
        thread::park();
    }
}

/// Waits for a future, but not longer than so long.
pub(crate) fn block_until<T>(timeout: Duration, awaited: impl Future<Output = T>) -> Option<T> {
    let Some(deadline) = Instant::now().checked_add(timeout) else {
        return Some(block_on(awaited));
    };
    let mut awaited = pin!(awaited);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = awaited.as_mut().poll(&mut context) {
            return Some(result);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}
