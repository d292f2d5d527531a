//! How much memory messages take: those that wait, those on their way to clients, and what waits to
//! be written. All shards together have one limit, of which each leases what it needs.

use alloc::sync::Arc;

use crate::event::Limit;
use crate::totals::Totals;

/// How much is leased at a time at most, so that the common count is changed rarely.
const LEASE_BYTES_MAX: u64 = 256 * 1024;

/// Of what there is for one shard, how much it leases at a time at most: what one has leased and
/// does not use, others miss.
const LEASE_PART: u64 = 16;

/// What a shard uses, and what it may.
#[derive(Debug)]
pub(crate) struct Memory {
    used: u64,
    leased: u64,
    maximum: u64,
    lease: u64,
    totals: Arc<Totals>,
}

impl Memory {
    /// Nothing is used, of what `shards` may use together.
    pub(crate) fn new(maximum: u64, shards: u16, totals: Arc<Totals>) -> Self {
        let lease = (maximum / u64::from(shards) / LEASE_PART).clamp(1, LEASE_BYTES_MAX);
        Self { used: 0, leased: 0, maximum, lease, totals }
    }

    /// So much more is used, whether there is room or not.
    pub(crate) fn grow(&mut self, bytes: u64) {
        self.used += bytes;
        if self.used > self.leased {
            self.lease();
        }
    }

    /// So much is free again.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
        if self.leased - self.used.min(self.leased) > 2 * self.lease {
            let surplus = self.leased - self.used - self.lease;
            self.leased -= surplus;
            self.totals.memory_bytes.subtract(surplus);
        }
    }

    /// What was `before` is `after` now.
    pub(crate) fn change(&mut self, before: u64, after: u64) {
        if after > before {
            self.grow(after - before);
        } else {
            self.shrink(before - after);
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    #[cold]
    fn lease(&mut self) {
        let missing = self.used - self.leased;
        for bytes in [missing.next_multiple_of(self.lease), missing] {
            if self.totals.memory_bytes.try_add(bytes, self.maximum) {
                self.leased += bytes;
                return;
            }
        }
    }

    /// The limit, if all shards together have used it up: nothing new is taken then.
    pub(crate) fn shortage(&self) -> Option<Limit> {
        let (maximum, wanted) = (self.maximum, self.totals.memory_bytes.count());
        self.is_short().then_some(Limit { setting: "limits.memory_bytes_max", maximum, wanted })
    }

    /// Whether there is such a [`shortage`](Self::shortage).
    pub(crate) fn is_short(&self) -> bool {
        self.used > self.leased
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_shards_share_one_limit_and_give_back_what_they_do_not_need() {
        let totals = Arc::<Totals>::default();
        let maximum = 32 * 100;
        let [mut one, mut two] = [(); 2].map(|()| Memory::new(maximum, 2, Arc::clone(&totals)));
        one.grow(31 * 100 + 1);
        assert_eq!(one.shortage(), None);
        two.grow(1);
        let limit = two.shortage().expect("the first has leased everything");
        assert_eq!((limit.setting, limit.maximum), ("limits.memory_bytes_max", maximum));
        one.shrink(31 * 100);
        assert_eq!(one.shortage(), None);
        two.grow(1);
        assert_eq!(two.shortage(), None);
        assert_eq!(totals.memory_bytes.count(), one.leased + two.leased);
        two.shrink(2);
        one.shrink(1);
        assert!(totals.memory_bytes.count() <= 2 * 2 * 100, "what is kept is little");
    }

    #[test]
    fn a_limit_below_one_lease_is_used_to_the_last_byte() {
        let mut memory = Memory::new(10, 1, Arc::default());
        memory.grow(10);
        assert_eq!(memory.shortage(), None);
        memory.grow(1);
        assert!(memory.shortage().is_some());
        memory.shrink(1);
        assert_eq!(memory.shortage(), None);
    }
}
