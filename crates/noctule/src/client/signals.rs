//! The signals that end a client early.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Failure, Status};

/// Signals that come within this time of the first one are the same wish: some programs signal a
/// process and then its group.
const SAME_WISH: Duration = Duration::from_millis(250);

/// A signal that ends a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Int,
    Term,
}

impl Interrupt {
    pub(crate) const fn status(self) -> Status {
        match self {
            Self::Int => Status::Interrupted(2),
            Self::Term => Status::Interrupted(15),
        }
    }
}

/// The signals that end a client early.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    first: Option<Instant>,
}

impl Signals {
    /// From now on signals are waited for.
    pub(crate) fn new() -> Result<Self, Failure> {
        let wait = |kind| {
            signal(kind)
                .map_err(|error: io::Error| Failure::local("cannot wait for signals", &error))
        };
        Ok(Self {
            interrupt: wait(SignalKind::interrupt())?,
            terminate: wait(SignalKind::terminate())?,
            first: None,
        })
    }

    /// The next signal that is not an echo of the one before.
    pub(crate) async fn next(&mut self) -> Interrupt {
        loop {
            let signal = tokio::select! {
                _ = self.interrupt.recv() => Interrupt::Int,
                _ = self.terminate.recv() => Interrupt::Term,
            };
            if self.first.is_none_or(|first| first.elapsed() > SAME_WISH) {
                self.first = Some(Instant::now());
                return signal;
            }
        }
    }

    /// Does something, unless a signal comes first.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Interrupt> {
        tokio::select! {
            biased;
            signal = self.next() => Err(signal),
            result = work => Ok(result),
        }
    }
}
