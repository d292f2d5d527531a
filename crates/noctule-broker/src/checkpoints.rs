//! The thread that empties the log from its front, so that its segments can be used again.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use noctule_store::broker::Archive;
use noctule_store::{Committer, LogView};
use tracing::{debug, error};

/// So many finished segments stay: nearly all of what is in them dies by itself meanwhile.
const SEGMENTS_MAX: usize = 4;

/// How often is looked at how many there are.
const INTERVAL: Duration = Duration::from_secs(1);

/// After a failure the same is tried again after so long.
const RETRY: Duration = Duration::from_secs(5);

/// The thread, and the way to end it.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    is_stopping: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

fn lock(mutex: &Mutex<bool>) -> MutexGuard<'_, bool> {
    // Nobody can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Checkpoints {
    pub(crate) fn start(committer: Arc<Committer>, mut archive: Archive) -> io::Result<Self> {
        let is_stopping = Arc::new((Mutex::new(false), Condvar::new()));
        let stopping = Arc::clone(&is_stopping);
        let work = move || {
            let view = committer.view();
            // What other processes have left is too much already.
            let mut wait = Duration::ZERO;
            while !waits(&stopping, wait) {
                wait = if empty(&view, &committer, &mut archive) { INTERVAL } else { RETRY };
            }
        };
        let thread = Builder::new().name("noctule-checkpoint".into()).spawn(work)?;
        Ok(Self { is_stopping, thread })
    }

    /// Ends the thread when it is done with what it has begun.
    pub(crate) fn stop(self) {
        let (is_stopping, changed) = &*self.is_stopping;
        *lock(is_stopping) = true;
        changed.notify_all();
        if self.thread.join().is_err() {
            error!(target: "noctule", "the thread that empties the log has panicked");
        }
    }
}

/// Waits for so long; whether it is to end.
fn waits(stopping: &(Mutex<bool>, Condvar), wait: Duration) -> bool {
    let (is_stopping, changed) = stopping;
    let goes_on = |is_stopping: &mut bool| !*is_stopping;
    match changed.wait_timeout_while(lock(is_stopping), wait, goes_on) {
        Ok((is_stopping, _)) => *is_stopping,
        Err(poisoned) => *poisoned.into_inner().0,
    }
}

/// Empties what is too much. Whether the disk took it.
fn empty(view: &LogView, committer: &Committer, archive: &mut Archive) -> bool {
    let sealed = view.sealed();
    let excess = sealed.len().saturating_sub(SEGMENTS_MAX);
    for segment in sealed.into_iter().take(excess) {
        if let Err(error) = archive.take_in(view, segment) {
            error!(target: "noctule", %error, segment, "the log cannot be emptied now and grows");
            return false;
        }
        committer.trim(segment + 1);
        debug!(target: "noctule", segment, "a segment of the log is empty");
    }
    true
}
