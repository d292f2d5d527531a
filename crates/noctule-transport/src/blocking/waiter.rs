//! Waiting for a socket and for other threads at once, without a sleep.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

/// Events taken from the system at once; one connection needs two.
const EVENTS_MAX: usize = 16;
const WAKER: Token = Token(usize::MAX);
const STREAM: Token = Token(usize::MAX - 1);

/// Ends the waiting of a thread.
#[derive(Clone)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Ends the current waiting, or the next one if there is none.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Waker")
    }
}

/// What a thread waits with: for its connection and for other threads.
#[derive(Debug)]
pub struct Waiter {
    poll: Poll,
    events: Events,
    waker: Waker,
}

impl Waiter {
    /// A waiter without a connection.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        Ok(Self { poll, events: Events::with_capacity(EVENTS_MAX), waker })
    }

    /// What other threads end the waiting with.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits until the connection has become readable or writable, the waker is used, or the time
    /// is over.
    ///
    /// Readiness is told once. So before waiting, read until
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and flush until there is nothing more to send or
    /// `WouldBlock`.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            // A signal: the caller looks around and waits again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// Lets a connection end the waiting. A [`Dialer`](super::Dialer) does this itself.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn register(&mut self, source: &mut dyn mio::event::Source) -> io::Result<()> {
        self.register_as(source, STREAM)
    }

    /// Forgets a connection. One that is dropped is forgotten by itself.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn deregister(&mut self, source: &mut dyn mio::event::Source) -> io::Result<()> {
        source.deregister(self.poll.registry())
    }

    fn register_as(&self, source: &mut dyn mio::event::Source, token: Token) -> io::Result<()> {
        source.register(self.poll.registry(), token, Interest::READABLE | Interest::WRITABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_ends_the_next_waiting_too() {
        let mut waiter = Waiter::new().unwrap();
        waiter.waker().wake().unwrap();
        waiter.wait(None).unwrap();
        let waker = waiter.waker();
        let thread = std::thread::spawn(move || waker.wake());
        waiter.wait(None).unwrap();
        thread.join().unwrap().unwrap();
    }
}
