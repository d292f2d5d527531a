//! What can neither be interrupted nor waited for with a socket, on a thread of its own.

use std::io;
use std::sync::mpsc::{self, TryRecvError};

use super::attempt::Attempt;
use crate::error::TransportError;

/// What `work` comes to. The outer error is that the attempt is over, or that there is no thread;
/// the inner one that `work` panicked.
pub(super) fn ask<T: Send + 'static>(
    attempt: &mut Attempt<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<io::Result<T>, TransportError> {
    let (sender, receiver) = mpsc::channel();
    let waker = attempt.waker();
    std::thread::Builder::new().name("noctule-resolver".to_owned()).spawn(move || {
        let found = work();
        // If nobody waits any more, the attempt is over.
        let _ = sender.send(found);
        let _ = waker.wake();
    })?;
    loop {
        match receiver.try_recv() {
            Ok(found) => return Ok(Ok(found)),
            Err(TryRecvError::Empty) => attempt.wait(None)?,
            Err(TryRecvError::Disconnected) => {
                return Ok(Err(io::Error::other("the resolver's thread panicked")));
            }
        }
    }
}
