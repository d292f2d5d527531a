//! Where things live: which shard is home to a client identifier, a topic's retained message, a
//! shared subscription.

use siphasher::sip::SipHasher24;

use crate::input::ShardId;

/// How many partitions there are, whatever the number of shards: the partition of a client
/// identifier never changes, only the shard that serves it.
const PARTITIONS: u64 = 1_024;

/// The one function that says where something lives. All shards of a broker have the same.
///
/// ```
/// use noctule_broker_core::Placement;
///
/// let placement = Placement::new([7; 16], 4);
/// let home = placement.client("a client identifier");
/// assert!(home.0 < 4);
/// assert_eq!(placement.client("a client identifier"), home);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    key: [u8; 16],
    shards: u16,
}

impl Default for Placement {
    /// Everything on one shard.
    fn default() -> Self {
        Self::new([0; 16], 1)
    }
}

impl Placement {
    /// Spreads over this many shards, at least one. Who does not know `key` cannot choose
    /// identifiers that crowd on one shard.
    pub const fn new(key: [u8; 16], shards: u16) -> Self {
        Self { key, shards: if shards == 0 { 1 } else { shards } }
    }

    /// How many shards there are.
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// The home of a client identifier: its session, and its connection while it has one.
    pub fn client(&self, client_id: &str) -> ShardId {
        self.shard(client_id)
    }

    /// Who keeps the retained message of a topic. What the broker says of itself comes from the
    /// first shard and stays there.
    pub fn retained(&self, topic: &str) -> ShardId {
        if topic.starts_with("$SYS/") { ShardId(0) } else { self.shard(topic) }
    }

    /// Who assigns the messages of a shared subscription to its members, by the whole filter.
    pub(crate) fn group(&self, filter: &str) -> ShardId {
        self.shard(filter)
    }

    /// A number that stands for a client identifier on all shards.
    pub(crate) fn number(&self, client_id: &str) -> u64 {
        SipHasher24::new_with_key(&self.key).hash(client_id.as_bytes())
    }

    fn shard(&self, text: &str) -> ShardId {
        if self.shards == 1 {
            return ShardId(0);
        }
        let partition = self.number(text) % PARTITIONS;
        let shard = partition * u64::from(self.shards) / PARTITIONS;
        // Below the number of shards, which is a u16.
        ShardId(u16::try_from(shard).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    /// A store that was written with one version must find its sessions with the next.
    #[test]
    fn a_client_identifier_keeps_its_home() {
        let key = core::array::from_fn(|at| at as u8);
        // The first test vector of SipHash-2-4.
        assert_eq!(Placement::new(key, 1).number(""), 0x726f_db47_dd0e_0e31);
        let homes = |shards| {
            let placement = Placement::new(key, shards);
            ["", "a", "sensor/17", "\u{e4}\u{f6}"].map(|client_id| placement.client(client_id).0)
        };
        assert_eq!(homes(1), [0; 4]);
        assert_eq!(homes(4), [2, 0, 0, 3]);
        assert_eq!(homes(1_024), [561, 202, 183, 995]);
    }

    #[test]
    fn homes_are_spread_evenly() {
        for shards in [2, 3, 4, 7] {
            let placement = Placement::new([3; 16], shards);
            let mut counts = std::vec![0_u32; usize::from(shards)];
            for number in 0..10_000 {
                counts[usize::from(placement.client(&format!("client-{number}")).0)] += 1;
            }
            let even = 10_000 / u32::from(shards);
            assert!(counts.iter().all(|count| count.abs_diff(even) < even / 5), "{counts:?}");
        }
    }
}
