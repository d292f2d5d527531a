//! What a seed decides before anything happens: how many shards and clients, how slow the network,
//! which limits.

use noctule_broker_core::{Authorization, Durability, Limits, SharedStrategy};

use crate::random::Random;
use crate::storage::Layout;

/// The circumstances of one run.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) shards: u16,
    pub(crate) clients: usize,
    /// How many client actions there are.
    pub(crate) actions: u32,
    /// Milliseconds between two actions, at most.
    pub(crate) pace: u64,
    /// Milliseconds that a piece of bytes takes at most.
    pub(crate) network_delay: u64,
    /// Milliseconds that a message between shards takes at most.
    pub(crate) shard_delay: u64,
    /// Milliseconds that a store or an authorisation takes at most.
    pub(crate) answer_delay: u64,
    /// Bytes that wait in the network at most, per direction to a client.
    pub(crate) pipe_bytes: usize,
    pub(crate) limits: Limits,
    pub(crate) durability: Durability,
    /// Whether clients come in memory mode now and then, each for itself.
    pub(crate) changes_modes: bool,
    pub(crate) authorization: Authorization,
    pub(crate) shared_strategy: SharedStrategy,
    /// Whether packet identifiers are brought near their end first.
    pub(crate) wraps: bool,
    pub(crate) placement_key: [u8; 16],
    pub(crate) layout: Layout,
}

/// One seed of so many brings packet identifiers to their end, which takes as many messages.
const WRAP_EVERY: u64 = 20;

impl Profile {
    pub(crate) fn new(seed: u64, random: &mut Random) -> Self {
        let small = |random: &mut Random, percent, from, to, otherwise| {
            if random.chance(percent) { random.between(from, to) } else { otherwise }
        };
        let mut limits = Limits::default();
        limits.receive_maximum = random.between(2, 12) as u16;
        limits.in_flight_max = small(random, 30, 1, 5, 1_024) as u16;
        limits.queue_messages_max = small(random, 20, 4, 20, 100_000) as u32;
        limits.outbound_bytes_max = small(random, 40, 1_024, 3_000, 64 * 1024) as u32;
        limits.forward_bytes_max = small(random, 40, 1, 900, 1024 * 1024) as u32;
        limits.memory_bytes_max = small(random, 10, 10_000, 60_000, 1 << 31);
        limits.topic_alias_maximum = random.pick(&[0, 2, 10]);
        let wraps = seed.is_multiple_of(WRAP_EVERY);
        if wraps {
            // Messages that nobody has to wait for.
            limits.in_flight_max = 1_024;
            limits.queue_messages_max = 100_000;
            limits.memory_bytes_max = 1 << 31;
            limits.outbound_bytes_max = 64 * 1024;
        }
        if !wraps {
            let unlimited = u64::from(u32::MAX);
            limits.publish_rate_max = small(random, 10, 40, 400, unlimited) as u32;
            limits.connect_rate_max = small(random, 10, 10, 60, unlimited) as u32;
        }
        let kind = if wraps { 2 } else { random.below(10) };
        Self {
            shards: random.pick(&[1, 2, 2, 3, 4, 4]),
            clients: random.between(6, 14) as usize,
            actions: random.between(500, 560) as u32,
            pace: random.pick(&[2, 6, 12]),
            network_delay: random.pick(&[1, 8, 30]),
            shard_delay: random.pick(&[0, 5, 40, 150]),
            answer_delay: random.pick(&[0, 10, 60]),
            pipe_bytes: random.pick(&[200, 1_500, 20_000]),
            limits,
            changes_modes: kind == 0 && random.chance(70),
            durability: if kind == 0 { Durability::Stored } else { Durability::Memory },
            authorization: if kind <= 1 { Authorization::Ask } else { Authorization::AllowAll },
            shared_strategy: random.pick(&[
                SharedStrategy::LeastInFlight,
                SharedStrategy::LeastInFlight,
                SharedStrategy::RoundRobin,
                SharedStrategy::Random,
                SharedStrategy::StickyPublisher,
                SharedStrategy::StickyTopic,
            ]),
            wraps,
            placement_key: [0; 16],
            layout: Layout { segment_bytes: 0, free_segments_max: 0, sealed_max: 0 },
        }
    }

    /// A broker that has a disk, whose power is cut.
    pub(crate) fn on_disk(mut self, random: &mut Random, is_short: bool) -> Self {
        self.durability = Durability::Stored;
        self.changes_modes = random.chance(30);
        self.limits.publish_rate_max = u32::MAX;
        self.limits.connect_rate_max = u32::MAX;
        self.layout = Layout {
            segment_bytes: random.pick(&[1_500, 4_000, 16_000, 100_000]),
            free_segments_max: random.pick(&[1, 2, 4]),
            sealed_max: random.pick(&[0, 1, 3]),
        };
        self.actions = random.between(150, 400) as u32;
        if is_short {
            self.actions = random.between(30, 60) as u32;
            self.clients = random.between(3, 5) as usize;
        }
        self
    }
}
