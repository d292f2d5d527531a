//! What was asked of the server already, and is waited for later: what comes of it, once.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::completion;
use crate::wait::{OnOwnThread, TimedOut, block_until, try_block_on};

/// A subscription that was asked for, or one that was asked to end: see
/// [`Subscribe::start`](crate::generic::Subscribe::start) and
/// [`Unsubscribe::start`](crate::generic::Unsubscribe::start). It goes on whether anybody waits for
/// it or not, and what comes of it is told once: awaited, waited for, looked for, or by a call of
/// [`on_complete`](Self::on_complete).
///
/// Dropping one that has not ended takes a subscription back. The end of one goes on.
///
/// ```no_run
/// # fn run(client: noctule_client::blocking::Client) -> Result<(), Box<dyn std::error::Error>> {
/// // The server is asked for both at once.
/// let lights = client.subscribe("house/+/light").start();
/// let doors = client.subscribe("house/+/door").start();
/// let (lights, doors) = (lights.wait()?, doors.wait()?);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropped, it takes a subscription back, and tells nobody what came of an end of one"]
pub struct Pending<T, E>(Stage<T, E>);

enum Stage<T, E> {
    Asked(Pin<Box<dyn Future<Output = Result<T, E>> + Send>>),
    Ended(Result<T, E>),
    Told,
}

/// What is in it is behind a pin of its own, or in none.
impl<T, E> Unpin for Pending<T, E> {}

impl<T, E> fmt::Debug for Pending<T, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.0 {
            Stage::Asked(_) => "Asked",
            Stage::Ended(_) => "Ended",
            Stage::Told => "Told",
        };
        formatter.debug_tuple("Pending").field(&stage).finish()
    }
}

impl<T, E> Pending<T, E> {
    /// Asks at once.
    pub(crate) fn start(asking: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        let mut started = Self(Stage::Asked(Box::pin(asking)));
        let _ = started.advance(&mut Context::from_waker(Waker::noop()));
        started
    }

    /// Whether it has ended.
    fn advance(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Stage::Asked(asking) = &mut self.0 {
            let Poll::Ready(result) = asking.as_mut().poll(context) else { return Poll::Pending };
            self.0 = Stage::Ended(result);
        }
        Poll::Ready(())
    }

    fn take(&mut self) -> Option<Result<T, E>> {
        match mem::replace(&mut self.0, Stage::Told) {
            Stage::Ended(result) => Some(result),
            other => {
                self.0 = other;
                None
            }
        }
    }

    /// What has come of it, if it has ended and that was not told before. It waits for nothing, and
    /// may be called from anywhere.
    pub fn try_wait(&mut self) -> Option<Result<T, E>> {
        let _ = self.advance(&mut Context::from_waker(Waker::noop()));
        self.take()
    }

    /// Waits until it has ended, but not longer than so long.
    ///
    /// # Errors
    ///
    /// If it has not ended by then. It goes on, and can be asked again.
    ///
    /// # Panics
    ///
    /// If what came of it was told before.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Result<T, E>, TimedOut> {
        block_until(timeout, self).ok_or(TimedOut)
    }

    /// Calls a function with what has come of it when it has ended, and not before: at once if it
    /// has, otherwise from the client's own task or thread, with nothing locked, as
    /// [`Receipt::on_complete`](crate::Receipt::on_complete) does. Until then the client stays,
    /// whoever drops it.
    ///
    /// ```no_run
    /// # use noctule_client::Client;
    /// # fn run(client: Client) {
    /// client.subscribe("orders").start().on_complete(|subscribed| match subscribed {
    ///     Ok(mut orders) => println!("{} have come already", orders.waiting()),
    ///     Err(error) => println!("no orders: {error}"),
    /// });
    /// # }
    /// ```
    pub fn on_complete(self, tell: impl FnOnce(Result<T, E>) + Send + 'static)
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        completion::call_when_ended(self, tell);
    }
}

impl<T, E: From<OnOwnThread>> Pending<T, E> {
    /// Waits until it has ended: the blocking form of awaiting it.
    ///
    /// # Errors
    ///
    /// If it has failed, or if nobody can wait for it here: then it is dropped.
    pub fn wait(self) -> Result<T, E> {
        try_block_on(self)
    }
}

impl<T, E> Future for Pending<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.advance(context) {
            Poll::Ready(()) => Poll::Ready(self.take().expect("what came of it was told before")),
            Poll::Pending => Poll::Pending,
        }
    }
}
