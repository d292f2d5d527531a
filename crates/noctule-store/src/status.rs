//! How a committer is doing, for whoever watches it: counted by its thread, and read by any.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::StoreError;

/// A commit that takes longer than this is a slow one.
const SLOW: Duration = Duration::from_secs(1);

/// How a store is doing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoreStatus {
    /// Records that are durable, since the store was opened.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Commits that have made them durable: each is one write and one sync.
    pub commits: u64,
    /// Commits that have failed, and were tried again.
    pub commits_failed: u64,
    /// Commits that took more than a second.
    pub commits_slow: u64,
    /// How long the last commit took.
    pub commit_last: Duration,
    /// How long the longest commit took.
    pub commit_longest: Duration,
    /// For how long the disk has not answered, if a commit is on its way.
    pub committing: Option<Duration>,
    /// Bytes of records that are not durable.
    pub waiting_bytes: u64,
    /// Bytes of the log on disk that count.
    pub log_bytes: u64,
    /// Bytes of messages that have left the log.
    pub runs_bytes: u64,
    /// Bytes of sessions, subscriptions, retained messages and all else that has left the log.
    pub state_bytes: u64,
    /// Checkpoints: each empties one segment of the log.
    pub checkpoints: u64,
    /// How long the last checkpoint took.
    pub checkpoint_last: Duration,
    /// How long the longest checkpoint took.
    pub checkpoint_longest: Duration,
    /// For how long nothing has become durable because the disk fails, and why.
    pub trouble: Option<(Duration, Arc<StoreError>)>,
}

/// What the committer's thread counts.
#[derive(Debug)]
pub(crate) struct Counters {
    began: Instant,
    records: AtomicU64,
    bytes: AtomicU64,
    commits: AtomicU64,
    failed: AtomicU64,
    slow: AtomicU64,
    last: AtomicU64,
    longest: AtomicU64,
    /// When the commit that is on its way began, and when the disk began to fail: microseconds
    /// since `began`, and 0 for never.
    committing_since: AtomicU64,
    failing_since: AtomicU64,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Counters {
    pub(crate) fn new() -> Self {
        let [records, bytes, commits, failed, slow, last, longest] = Default::default();
        let [committing_since, failing_since] = Default::default();
        let began = Instant::now();
        Self {
            began,
            records,
            bytes,
            commits,
            failed,
            slow,
            last,
            longest,
            committing_since,
            failing_since,
        }
    }

    fn now(&self) -> u64 {
        micros(self.began.elapsed()).max(1)
    }

    /// A commit is on its way.
    pub(crate) fn begin(&self) {
        self.committing_since.store(self.now(), Ordering::Relaxed);
    }

    /// It has come to an end, well or not.
    pub(crate) fn end(&self) {
        let since = self.committing_since.swap(0, Ordering::Relaxed);
        let took = self.now().saturating_sub(since);
        self.last.store(took, Ordering::Relaxed);
        self.longest.fetch_max(took, Ordering::Relaxed);
        self.slow.fetch_add(u64::from(took > micros(SLOW)), Ordering::Relaxed);
    }

    /// So much is durable.
    pub(crate) fn note_durable(&self, records: u64, bytes: u64) {
        self.failing_since.store(0, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It has failed.
    pub(crate) fn note_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let (unset, now) = (0, self.now());
        let _ =
            self.failing_since.compare_exchange(unset, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, trouble: Option<Arc<StoreError>>) -> StoreStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let since = |counter: &AtomicU64| {
            let since = Some(read(counter)).filter(|since| *since > 0)?;
            Some(Duration::from_micros(self.now().saturating_sub(since)))
        };
        StoreStatus {
            records: read(&self.records),
            bytes: read(&self.bytes),
            commits: read(&self.commits),
            commits_failed: read(&self.failed),
            commits_slow: read(&self.slow),
            commit_last: Duration::from_micros(read(&self.last)),
            commit_longest: Duration::from_micros(read(&self.longest)),
            committing: since(&self.committing_since),
            trouble: trouble.map(|error| (since(&self.failing_since).unwrap_or_default(), error)),
            waiting_bytes: 0,
            log_bytes: 0,
            runs_bytes: 0,
            state_bytes: 0,
            checkpoints: 0,
            checkpoint_last: Duration::ZERO,
            checkpoint_longest: Duration::ZERO,
        }
    }
}
