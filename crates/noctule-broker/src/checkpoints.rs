//! The thread that empties the log from its front, so that its segments can be used again, and
//! keeps the runs small in which what waits for long stands.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use noctule_broker_core::{Settings, Totals};
use noctule_store::broker::Archive;
use noctule_store::{Committer, LogView, StoreError};
use tracing::{debug, error};

use crate::backlogs::Postboxes;

/// So many finished segments stay: nearly all of what is in them dies by itself meanwhile.
const SEGMENTS_MAX: usize = 4;

/// How often is looked at how many there are.
const INTERVAL: Duration = Duration::from_millis(100);

/// Nothing stays in the log for much longer than twice this, so that a broker that has little to do
/// gives back what its clients have drained.
const AGE: Duration = Duration::from_secs(15);

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
            let (mut wait, mut aging) = (Duration::ZERO, Aging::of(&view));
            while !waits(&stopping, wait) {
                let kept = if memory.is_tight() { 0 } else { SEGMENTS_MAX };
                let old = aging.look(&view, &committer);
                let is_empty = empty(&view, kept, old, &committer, &mut archive, &postboxes);
                wait = match is_empty.then(|| tend(&mut archive)) {
                    Some(Some(true)) => Duration::ZERO,
                    Some(Some(false)) => INTERVAL,
                    Some(None) | None => RETRY,
                };
            }
        };
        let thread = Builder::new().name("noctule-checkpoint".into()).spawn(work)?;
        Ok(Self { is_stopping, thread })
    }

    /// Has the thread end when it is done with what it has begun.
    pub(crate) fn begin_stop(&self) {
        let (is_stopping, changed) = &*self.is_stopping;
        *lock(is_stopping) = true;
        changed.notify_all();
    }

    /// Whether it has ended: a disk that does not answer keeps it for as long.
    pub(crate) fn has_stopped(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until it has.
    pub(crate) fn stop(self) {
        self.begin_stop();
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

/// How old what is in the log is, about.
struct Aging {
    /// The segment that was written to when this was looked at last.
    active: u64,
    at: Instant,
    /// What comes before this one is old.
    old: u64,
}

impl Aging {
    fn of(view: &LogView) -> Self {
        Self { active: view.active(), at: Instant::now(), old: 0 }
    }

    /// Before which segment all are old. One that does not fill up is ended.
    fn look(&mut self, view: &LogView, committer: &Committer) -> u64 {
        if self.at.elapsed() >= AGE {
            let active = view.active();
            if active == self.active {
                committer.seal();
            }
            *self = Self { active, at: Instant::now(), old: self.active };
        }
        self.old
    }
}

/// Empties the finished segments that are old, and all others but `kept` of them. Whether the disk
/// took it.
fn empty(
    view: &LogView,
    kept: usize,
    old: u64,
    committer: &Committer,
    archive: &mut Archive,
    postboxes: &Postboxes,
) -> bool {
    let sealed = view.sealed();
    let excess = sealed.len().saturating_sub(kept);
    let due = sealed.into_iter().enumerate();
    let due = due.filter(|(at, segment)| *at < excess || *segment < old);
    for (_, segment) in due {
        if archive.has_taken_in(segment) {
            continue;
        }
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

/// Goes on with writing runs anew. Whether there is more to do; nothing if the disk fails.
fn tend(archive: &mut Archive) -> Option<bool> {
    let tended = archive.tend();
    for reason in archive.take_unreadable() {
        error!(target: "noctule", reason, "a part of what was kept cannot be read");
    }
    let failed =
        |error: &StoreError| error!(target: "noctule", %error, "the runs cannot be written anew");
    tended.inspect_err(failed).ok()
}
