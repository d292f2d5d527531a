//! Which publication is meant, without comparing contents: the shard that it came from, and its
//! number among those that this shard has made for the owner of its topic's retained message.
//!
//! Shards see each other's publications at different times. With these numbers a shard can tell of
//! any retained message whether it was, or still will be, delivered live, and whether it is older
//! than what was; and the owner whether it has seen all that a question is about.

use alloc::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::input::ShardId;

/// Names one publication with RETAIN set, together with its topic, which says who owns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The publisher's shard.
    pub(crate) shard: ShardId,
    /// Counts, from 1, the retained publications of that shard for one owner.
    pub(crate) position: u64,
}

/// One number for each shard.
pub(crate) type Row = SmallVec<[u64; 4]>;

/// How far the retained publications of every shard for one owner have been seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(Row);

impl Seen {
    /// Whether this publication has been seen.
    pub(crate) fn covers(&self, origin: Origin) -> bool {
        let seen = self.0.get(usize::from(origin.shard.0)).copied();
        seen.is_some_and(|seen| origin.position <= seen)
    }

    /// Whether all has been seen that `other` has.
    pub(crate) fn covers_all(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(seen, wanted)| seen >= wanted)
    }
}

/// How far the retained publications of every shard for every owner have been seen. A clone costs
/// nothing until either changes.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    /// By owner, then by shard.
    seen: Arc<SmallVec<[Seen; 1]>>,
}

impl Positions {
    /// Nothing seen of so many shards.
    pub(crate) fn new(shards: u16) -> Self {
        let shards = usize::from(shards);
        Self { seen: Arc::new(smallvec![Seen(smallvec![0; shards]); shards]) }
    }

    /// How far those for one owner have been seen.
    pub(crate) fn of(&self, owner: ShardId) -> Option<&Seen> {
        self.seen.get(usize::from(owner.0))
    }

    /// Everything up to a publication for `owner` has been seen.
    pub(crate) fn note(&mut self, owner: ShardId, origin: Origin) {
        if self.of(owner).is_none_or(|seen| seen.covers(origin)) {
            return;
        }
        let seen = Arc::make_mut(&mut self.seen).get_mut(usize::from(owner.0));
        let position = seen.and_then(|seen| seen.0.get_mut(usize::from(origin.shard.0)));
        if let Some(position) = position {
            *position = origin.position;
        }
    }

    /// Everything that `shard` has published, for each owner, has been seen.
    pub(crate) fn note_all(&mut self, shard: ShardId, published: &Row) {
        for (owner, position) in (0..).map(ShardId).zip(published) {
            self.note(owner, Origin { shard, position: *position });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_of_one_shard_for_one_owner_says_nothing_of_others() {
        let origin = |shard, position| Origin { shard: ShardId(shard), position };
        let mut positions = Positions::new(3);
        let before = positions.clone();
        positions.note(ShardId(1), origin(2, 5));
        positions.note(ShardId(1), origin(2, 4));
        let seen = |positions: &Positions, owner| positions.of(ShardId(owner)).cloned().unwrap();
        assert!(seen(&positions, 1).covers(origin(2, 5)));
        assert!(!seen(&positions, 1).covers(origin(2, 6)));
        assert!(!seen(&positions, 1).covers(origin(0, 1)));
        assert!(!seen(&positions, 2).covers(origin(2, 1)));
        assert!(!seen(&before, 1).covers(origin(2, 5)), "a clone stays as it was");
        assert!(seen(&positions, 1).covers_all(&seen(&before, 1)));
        assert!(!seen(&before, 1).covers_all(&seen(&positions, 1)));
        positions.note_all(ShardId(0), &smallvec![7, 8, 9]);
        assert!(seen(&positions, 2).covers(origin(0, 9)));
        assert!(!seen(&positions, 0).covers(origin(0, 8)));
    }
}
