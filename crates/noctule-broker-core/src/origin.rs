//! Which publication is meant, without comparing contents: the shard that it came from, and its
//! number among the retained ones of that shard.
//!
//! Shards see each other's publications at different times. With these numbers a shard can tell of
//! any retained message whether it was, or still will be, delivered live, and whether it is older
//! than what was.

use smallvec::{SmallVec, smallvec};

use crate::input::ShardId;

/// Names one publication with RETAIN set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) shard: ShardId,
    /// Counts the retained publications of that shard, from 1.
    pub(crate) position: u64,
}

/// How far one has seen the retained publications of every shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Positions(SmallVec<[u64; 1]>);

impl Positions {
    /// Nothing seen of so many shards.
    pub(crate) fn new(shards: u16) -> Self {
        Self(smallvec![0; usize::from(shards)])
    }

    /// How far `shard` has been seen.
    pub(crate) fn of(&self, shard: ShardId) -> u64 {
        self.0.get(usize::from(shard.0)).copied().unwrap_or(0)
    }

    /// Everything of `shard` up to `position` has been seen.
    pub(crate) fn note(&mut self, shard: ShardId, position: u64) {
        if let Some(seen) = self.0.get_mut(usize::from(shard.0)) {
            *seen = position.max(*seen);
        }
    }

    /// Whether this publication has been seen.
    pub(crate) fn cover(&self, origin: Origin) -> bool {
        origin.position <= self.of(origin.shard)
    }
}
