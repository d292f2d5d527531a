//! What a host tells of its store, for the `$SYS` topics.

use core::time::Duration;

/// How a store is doing, since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreReport {
    /// Records that are durable.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Commits: each is one write and one sync.
    pub commits: u64,
    /// Commits that have failed.
    pub commits_failed: u64,
    /// Commits that took more than a second.
    pub commits_slow: u64,
    /// How long the last commit took.
    pub commit_last: Duration,
    /// How long the longest commit took.
    pub commit_longest: Duration,
    /// Bytes of records that are not durable.
    pub waiting_bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Bytes of messages that have left the log.
    pub runs_bytes: u64,
    /// Bytes of all else that has left the log.
    pub state_bytes: u64,
    /// Checkpoints: each empties one segment of the log.
    pub checkpoints: u64,
    /// How long the last checkpoint took.
    pub checkpoint_last: Duration,
    /// How long the longest checkpoint took.
    pub checkpoint_longest: Duration,
    /// For how long nothing has become durable because the disk fails or does not answer, if so.
    pub failing: Option<Duration>,
}
