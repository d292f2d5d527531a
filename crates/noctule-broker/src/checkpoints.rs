//! The thread that empties the log from its front, so that its segments can be used again.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use noctule_broker_core::{Settings, Totals};
use noctule_store::broker::Archive;
use noctule_store::{Committer, LogView};
use tracing::{debug, error};

use crate::backlogs::Postboxes;

/// So many finished segments stay: nearly all of what is in them dies by itself meanwhile.
const SEGMENTS_MAX: usize = 4;

/// How often is looked at how many there are.
const INTERVAL: Duration = Duration::from_millis(100);

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
    /// Starts it; all shards are told what need not be in memory any more.
    pub(crate) fn start(
        committer: Arc<Committer>,
        mut archive: Archive,
        postboxes: Postboxes,
        memory: Memory,
    ) -> io::Result<Self> {
        let is_stopping = Arc::new((Mutex::new(false), Condvar::new()));
        let stopping = Arc::clone(&is_stopping);
        let work = move || {
            let view = committer.view();
            // What other processes have left is too much already.
            let mut wait = Duration::ZERO;
            while !waits(&stopping, wait) {
                let kept = if memory.is_tight() { 0 } else { SEGMENTS_MAX };
                let is_empty = empty(&view, kept, &committer, &mut archive, &postboxes);
                wait = if is_empty { INTERVAL } else { RETRY };
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

/// How much memory messages take, of what they may.
#[derive(Debug)]
pub(crate) struct Memory {
    totals: Arc<Totals>,
    maximum: u64,
}

impl Memory {
    pub(crate) fn of(settings: &Settings) -> Self {
        let maximum = settings.limits.memory_bytes_max;
        Self { totals: Arc::clone(&settings.totals), maximum }
    }

    /// Whether it is time to have messages on disk only.
    fn is_tight(&self) -> bool {
        self.totals.memory_bytes() > self.maximum / 2
    }
}

/// Empties all finished segments but `kept` of them. Whether the disk took it.
fn empty(
    view: &LogView,
    kept: usize,
    committer: &Committer,
    archive: &mut Archive,
    postboxes: &Postboxes,
) -> bool {
    let sealed = view.sealed();
    let excess = sealed.len().saturating_sub(kept);
    for segment in sealed.into_iter().take(excess) {
        match archive.take_in(view, segment) {
            Ok(spilled) => postboxes.tell_spilled(spilled),
            Err(error) => {
                error!(target: "noctule", %error, segment,
                    "the log cannot be emptied now and grows");
                return false;
            }
        }
        committer.trim(segment + 1);
        debug!(target: "noctule", segment, "a segment of the log is empty");
    }
    true
}
