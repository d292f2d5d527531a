//! What the shards of a broker use together, for limits that are about all of them.

use core::sync::atomic::{AtomicU64, Ordering};

/// Counts over all shards of a broker. Shards change them when connections and retained messages
/// come and go, and lease room for queues in chunks: never for every message.
#[derive(Debug, Default)]
pub struct Totals {
    pub(crate) connections: Total,
    pub(crate) stored_sessions: Total,
    pub(crate) retained_messages: Total,
    pub(crate) retained_bytes: Total,
    pub(crate) memory_bytes: Total,
    pub(crate) stored_bytes: Total,
}

impl Totals {
    /// The bytes that [`Limits::memory_bytes_max`](crate::Limits::memory_bytes_max) bounds.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.count()
    }
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Total(AtomicU64);

impl Total {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Adds if the sum is no more than `maximum`.
    pub(crate) fn try_add(&self, count: u64, maximum: u64) -> bool {
        let sum = |before: u64| before.checked_add(count).filter(|sum| *sum <= maximum);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok()
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }
}
