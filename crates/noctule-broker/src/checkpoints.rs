//! The thread that empties the log from its front, so that its segments can be used again, and
//! keeps the runs small in which what waits for long stands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use noctule_broker_core::{Settings, Totals};
use noctule_store::broker::Archive;
use noctule_store::{Committer, LogView, StoreError, StoreStatus};
use tracing::{debug, error, info};

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

/// So long is waited for the segment that is written to to be ended, when the log is to be empty.
const SEAL: Duration = Duration::from_secs(1);

/// How often is looked whether it is.
const MOMENT: Duration = Duration::from_millis(1);

/// The thread, and the way to end it.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    wishes: Wishes,
    thread: JoinHandle<()>,
}

/// What the thread is to do, and what it tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes(Arc<(Mutex<Wish>, Condvar, Counts)>);

/// What the thread has done, and what there is on disk since.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    runs_bytes: AtomicU64,
    state_bytes: AtomicU64,
    checkpoints: AtomicU64,
    /// In microseconds.
    last: AtomicU64,
    longest: AtomicU64,
}

impl Counts {
    fn note_checkpoint(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last.store(took, Ordering::Relaxed);
        self.longest.fetch_max(took, Ordering::Relaxed);
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    fn note_sizes(&self, archive: &Archive) {
        self.runs_bytes.store(archive.runs_bytes(), Ordering::Relaxed);
        self.state_bytes.store(archive.state_bytes(), Ordering::Relaxed);
    }

    pub(crate) fn tell(&self, status: &mut StoreStatus) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        status.runs_bytes = read(&self.runs_bytes);
        status.state_bytes = read(&self.state_bytes);
        status.checkpoints = read(&self.checkpoints);
        status.checkpoint_last = Duration::from_micros(read(&self.last));
        status.checkpoint_longest = Duration::from_micros(read(&self.longest));
    }
}

#[derive(Debug, Default)]
struct Wish {
    ends: bool,
    /// Whether the log is to be emptied as far as it can be.
    hurries: bool,
}

impl Wishes {
    /// Lets the log be emptied at once, the segment that is written to as well, and all shards hear
    /// when that is done.
    pub(crate) fn hurry(&self) {
        self.wish(|wish| wish.hurries = true);
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.0.2
    }

    fn end(&self) {
        self.wish(|wish| wish.ends = true);
    }

    fn wish(&self, change: impl FnOnce(&mut Wish)) {
        let (wish, changed, _) = &*self.0;
        change(&mut lock(wish));
        changed.notify_all();
    }

    /// Waits for a moment.
    fn pause(&self) {
        let (wish, changed, _) = &*self.0;
        drop(changed.wait_timeout_while(lock(wish), MOMENT, |wish| !wish.ends));
    }

    /// Waits for so long, or until somebody is in a hurry. Whether somebody is; nothing if the
    /// thread is to end.
    fn wait(&self, wait: Duration) -> Option<bool> {
        let (wish, changed, _) = &*self.0;
        // After a failure nobody's hurry helps.
        let goes_on = |wish: &mut Wish| !(wish.ends || wish.hurries && wait < RETRY);
        let waited = changed.wait_timeout_while(lock(wish), wait, goes_on);
        let (mut wish, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!wish.ends).then(|| mem::take(&mut wish.hurries))
    }
}

fn lock(mutex: &Mutex<Wish>) -> MutexGuard<'_, Wish> {
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
        wishes: Wishes,
    ) -> io::Result<Self> {
        let wished = wishes.clone();
        let work = move || {
            let view = committer.view();
            // What other processes have left is too much already.
            let (mut wait, mut aging) = (Duration::ZERO, Aging::of(&view));
            let (counts, mut trouble) = (wished.counts(), Trouble::default());
            counts.note_sizes(&archive);
            while let Some(hurries) = wished.wait(wait) {
                if hurries {
                    seal(&view, &committer, &wished);
                }
                let kept = if hurries || memory.is_tight() { 0 } else { SEGMENTS_MAX };
                let old = aging.look(&view, &committer);
                let emptied = empty(&view, kept, old, &committer, &mut archive, &postboxes, counts);
                if hurries {
                    postboxes.tell_emptied();
                }
                counts.note_sizes(&archive);
                let tended = emptied.and_then(|()| tend(&mut archive));
                trouble.note(tended.as_ref().err());
                wait = match tended {
                    Ok(true) => Duration::ZERO,
                    Ok(false) => INTERVAL,
                    Err(_) => RETRY,
                };
            }
        };
        let thread = Builder::new().name("noctule-checkpoint".into()).spawn(work)?;
        Ok(Self { wishes, thread })
    }

    /// Has the thread end when it is done with what it has begun.
    pub(crate) fn begin_stop(&self) {
        self.wishes.end();
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

/// Ends the segment that is written to, and waits until that has happened, but not for ever.
fn seal(view: &LogView, committer: &Committer, wishes: &Wishes) {
    let (active, began) = (view.active(), Instant::now());
    if !view.has_begun() {
        return;
    }
    committer.seal();
    while view.active() == active && began.elapsed() < SEAL {
        wishes.pause();
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

/// What could not be done, and is tried again.
#[derive(Debug)]
struct Failure {
    what: &'static str,
    error: StoreError,
}

/// Since when something cannot be done, which was told.
#[derive(Debug, Default)]
struct Trouble(Option<Instant>);

impl Trouble {
    /// Says what is news.
    fn note(&mut self, failure: Option<&Failure>) {
        match (failure, self.0) {
            (Some(Failure { what, error }), None) => {
                error!(target: "noctule", %error, "{what}");
                self.0 = Some(Instant::now());
            }
            (None, Some(since)) => {
                let seconds = since.elapsed().as_secs();
                info!(target: "noctule", seconds, "the log is emptied again");
                self.0 = None;
            }
            _ => {}
        }
    }
}

/// Empties the finished segments that are old, and all others but `kept` of them.
fn empty(
    view: &LogView,
    kept: usize,
    old: u64,
    committer: &Committer,
    archive: &mut Archive,
    postboxes: &Postboxes,
    counts: &Counts,
) -> Result<(), Failure> {
    let sealed = view.sealed();
    let excess = sealed.len().saturating_sub(kept);
    let due = sealed.into_iter().enumerate();
    let due = due.filter(|(at, segment)| *at < excess || *segment < old);
    for (_, segment) in due {
        if archive.has_taken_in(segment) {
            continue;
        }
        let began = Instant::now();
        let spilled = archive
            .take_in(view, segment)
            .map_err(|error| Failure { what: "the log cannot be emptied now and grows", error })?;
        postboxes.tell_spilled(spilled);
        committer.trim(segment + 1);
        counts.note_checkpoint(began.elapsed());
        debug!(target: "noctule", segment, "a segment of the log is empty");
    }
    Ok(())
}

/// Goes on with writing runs anew. Whether there is more to do.
fn tend(archive: &mut Archive) -> Result<bool, Failure> {
    let tended = archive.tend();
    for reason in archive.take_unreadable() {
        error!(target: "noctule", reason, "a part of what was kept cannot be read");
    }
    tended.map_err(|error| Failure { what: "the runs cannot be written anew", error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logged::logged;

    #[test]
    fn what_cannot_be_done_is_told_once_and_that_it_is_over() {
        let error = StoreError::NoSuchSegment { segment: 3 };
        let failure = Failure { what: "the log cannot be emptied now and grows", error };
        let mut trouble = Trouble::default();
        let mut said = |failure| logged(|| trouble.note(failure));
        assert_eq!(said(None), "");
        let told = said(Some(&failure));
        let reason = "error=the store has no finished segment 3";
        assert_eq!(told, format!("ERROR the log cannot be emptied now and grows {reason}"));
        assert_eq!(said(Some(&failure)), "");
        assert_eq!(said(None), "INFO the log is emptied again seconds=0");
        assert_eq!([said(None), said(Some(&failure))], [String::new(), told]);
    }
}
