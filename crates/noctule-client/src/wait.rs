//! Waiting for a client from a thread that runs no futures.

use std::cell::Cell;
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

/// What was to be waited for is done by the thread that would wait: it is a client's own at the
/// moment, because this was called by a function that the client calls, such as one given to
/// [`Receipt::on_complete`](crate::Receipt::on_complete), a [`Reconnector`](crate::Reconnector),
/// [`Metrics`](crate::Metrics) or the packet log. Such functions may use every client, but they
/// cannot wait for one without a time-out: calls that return no error panic with this. What has a
/// time-out of the caller's own (`wait_timeout`, `recv_timeout`) holds the client up for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a function that the client's own thread or task has called cannot wait, because the client \
    waits for the function: use another thread, or a call that does not wait"
)]
pub struct OnOwnThread;

thread_local! {
    static IS_DRIVING: Cell<bool> = const { Cell::new(false) };
}

/// A client's own work is done by this thread as long as this lives.
pub(crate) struct Driving {
    was: bool,
}

impl Driving {
    pub(crate) fn begin() -> Self {
        Self { was: IS_DRIVING.replace(true) }
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        IS_DRIVING.set(self.was);
    }
}

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
///
/// # Panics
///
/// On a client's own thread, which would wait for ever.
pub(crate) fn block_on<T>(awaited: impl Future<Output = T>) -> T {
    wait(awaited).unwrap_or_else(|refused| panic!("{refused}"))
}

/// Waits for a future that can say that nobody can wait for it here.
pub(crate) fn try_block_on<T, E: From<OnOwnThread>>(
    awaited: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    wait(awaited).unwrap_or_else(|refused| Err(refused.into()))
}

fn wait<T>(awaited: impl Future<Output = T>) -> Result<T, OnOwnThread> {
    let mut awaited = pin!(awaited);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = awaited.as_mut().poll(&mut context) {
            return Ok(result);
        }
        if IS_DRIVING.get() {
            return Err(OnOwnThread);
        }
        thread::park();
    }
}

/// Waits for a future, but not longer than so long, so that it harms nobody for good.
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
