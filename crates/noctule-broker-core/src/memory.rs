//! How many bytes messages take, of memory and of the store. All shards together have one limit for
//! each, of which each leases what it needs.

use alloc::sync::Arc;

use crate::event::Limit;
use crate::totals::{Total, Totals};

/// How much is leased at a time at most, so that the common count is changed rarely.
const LEASE_BYTES_MAX: u64 = 256 * 1024;

/// Of what there is for one shard, how much it leases at a time at most: what one has leased and
/// does not use, others miss.
const LEASE_PART: u64 = 16;

/// When no more than this part of what there may be is left, it is scarce.
const SCARCE_PART: u64 = 8;

/// What a shard uses, and what it may.
#[derive(Debug)]
pub(crate) struct Memory {
    used: u64,
    leased: u64,
    maximum: u64,
    lease: u64,
    totals: Arc<Totals>,
    kind: Kind,
}

/// Of what.
#[derive(Debug)]
struct Kind {
    setting: &'static str,
    total: fn(&Totals) -> &Total,
}

/// Memory: messages that wait, those on their way to clients, and what waits to be written.
const MEMORY: Kind =
    Kind { setting: "limits.memory_bytes_max", total: |totals| &totals.memory_bytes };

/// The store: messages that wait for sessions that are stored, and for shared subscriptions.
const STORE: Kind =
    Kind { setting: "limits.stored_bytes_max", total: |totals| &totals.stored_bytes };

impl Memory {
    /// Nothing is used, of what `shards` may use together.
    pub(crate) fn new(maximum: u64, shards: u16, totals: Arc<Totals>) -> Self {
        Self::of(MEMORY, maximum, shards, totals)
    }

    /// The same for the store's.
    pub(crate) fn of_store(maximum: u64, shards: u16, totals: Arc<Totals>) -> Self {
        Self::of(STORE, maximum, shards, totals)
    }

    fn of(kind: Kind, maximum: u64, shards: u16, totals: Arc<Totals>) -> Self {
        let lease = (maximum / u64::from(shards) / LEASE_PART).clamp(1, LEASE_BYTES_MAX);
        Self { used: 0, leased: 0, maximum, lease, totals, kind }
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
            (self.kind.total)(&self.totals).subtract(surplus);
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
        self.lease_so_much(self.used - self.leased);
    }

    fn lease_so_much(&mut self, missing: u64) -> bool {
        for bytes in [missing.next_multiple_of(self.lease), missing] {
            if (self.kind.total)(&self.totals).try_add(bytes, self.maximum) {
                self.leased += bytes;
                return true;
            }
        }
        false
    }

    /// The limit, if so much more would be beyond it.
    pub(crate) fn shortage_for(&mut self, bytes: u64) -> Option<Limit> {
        let wanted = self.used.saturating_add(bytes);
        if wanted <= self.leased || self.lease_so_much(wanted - self.leased) {
            return None;
        }
        Some(Limit { wanted: self.total().saturating_add(bytes), ..self.limit() })
    }

    /// The limit, if all shards together have used it up: nothing new is taken then.
    pub(crate) fn shortage(&self) -> Option<Limit> {
        self.is_short().then(|| self.limit())
    }

    /// Whether so little is left that what is on its way to other shards may use it up.
    pub(crate) fn is_scarce(&self) -> bool {
        self.total() >= self.maximum - self.maximum / SCARCE_PART
    }

    fn limit(&self) -> Limit {
        Limit { setting: self.kind.setting, maximum: self.maximum, wanted: self.total() }
    }

    /// What all shards have leased.
    fn total(&self) -> u64 {
        (self.kind.total)(&self.totals).count()
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
    fn what_would_be_too_much_is_known_before_and_what_just_fits_is_not() {
        let totals = Arc::<Totals>::default();
        let store = || Memory::of_store(3_200, 2, Arc::clone(&totals));
        let [mut one, mut two] = [store(), store()];
        one.grow(3_000);
        let limit = one.shortage_for(201).expect("one byte is missing");
        assert_eq!((limit.setting, limit.maximum), ("limits.stored_bytes_max", 3_200));
        assert!(two.shortage_for(201).is_some());
        assert_eq!(one.shortage_for(200), None);
        one.grow(200);
        assert!(one.shortage_for(1).is_some() && two.shortage_for(1).is_some());
        assert_eq!((one.shortage(), totals.memory_bytes.count()), (None, 0));
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
