//! The client core against the broker core, by bytes: sessions of the library publish, subscribe
//! and acknowledge over connections that are cut, slow and taken over, and processes that die; the
//! verdict knows what each operation was said to have come to, and what has arrived.

mod broker;
mod party;
mod verdict;

use noctule_broker_core::{Placement, Settings};
use noctule_packet::{QoS, Version};

use crate::client_core::broker::Broker;
use crate::client_core::party::Party;
use crate::random::Random;

/// How many things happen in a run before it comes to rest.
const ACTIONS: u32 = 400;

/// How many rounds a run may take to come to rest.
const ROUNDS_MAX: u32 = 20_000;

/// What a run has reached: nobody learns from one in which nothing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Publications.
    pub published: u64,
    /// Messages that have arrived.
    pub arrived: u64,
    /// Connections that were cut.
    pub cuts: u64,
    /// Processes that have died.
    pub restarts: u64,
    /// Sessions that the broker had forgotten.
    pub sessions_lost: u64,
    /// Operations that ended in doubt.
    pub doubts: u64,
}

impl Reached {
    /// Adds what another run has reached.
    pub fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.arrived += other.arrived;
        self.cuts += other.cuts;
        self.restarts += other.restarts;
        self.sessions_lost += other.sessions_lost;
        self.doubts += other.doubts;
    }
}

/// Runs sessions of the client core against shards of the broker core, as this seed wants it.
///
/// # Errors
///
/// What no correct pair of client and broker would have done.
pub fn run_client_core(seed: u64) -> Result<Reached, String> {
    let mut random = Random::new(seed);
    let mut world = World::new(&mut random);
    world.begin(&mut random)?;
    for _ in 0..ACTIONS {
        world.act(&mut random)?;
    }
    world.come_to_rest(&mut random)?;
    verdict::judge(&world.parties, &mut world.reached)?;
    Ok(world.reached)
}

/// A broker and the sessions that speak to it.
#[derive(Debug)]
struct World {
    broker: Broker,
    parties: Vec<Party>,
    reached: Reached,
}

impl World {
    fn new(random: &mut Random) -> Self {
        let shards = 1 + random.below(2) as u16;
        let mut settings = Settings::default();
        settings.system_interval_seconds = 0;
        let key = u128::from(random.next()).to_le_bytes();
        settings.placement = Placement::new(key, shards);
        settings.limits.receive_maximum = random.pick(&[1, 3, 100]);
        settings.limits.topic_alias_maximum = random.pick(&[0, 2, 16]);
        let parties = (0..3).map(|number| Party::new(number, random)).collect();
        Self { broker: Broker::new(&settings), parties, reached: Reached::default() }
    }

    /// Everybody is connected and subscribes before anything is published.
    fn begin(&mut self, random: &mut Random) -> Result<(), String> {
        for at in 0..self.parties.len() {
            self.connect(at);
            self.parties[at].subscribe(&self.broker);
        }
        self.come_to_rest(random)
    }

    fn connect(&mut self, at: usize) {
        if self.parties[at].link.is_none() {
            let link = self.broker.open(at);
            self.parties[at].transport_up(&self.broker, link);
        }
    }

    fn act(&mut self, random: &mut Random) -> Result<(), String> {
        let at = random.index(self.parties.len());
        match random.below(100) {
            0..40 => {
                let qos = random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
                self.reached.published += u64::from(self.parties[at].publish(&self.broker, qos));
            }
            40..55 => self.parties[at].acknowledge_some(&self.broker, random),
            55..60 => self.cut(at, random),
            60..75 => self.connect(at),
            75..77 if self.parties[at].is_durable() => {
                self.cut(at, random);
                self.parties[at].restart(&self.broker);
                self.reached.restarts += 1;
            }
            77..79 => self.parties[at].cancel_some(&self.broker, random),
            79..81 => self.parties[at].disconnect(&self.broker),
            81..84 => self.advance(random.below(2_000)),
            _ => {}
        }
        for _ in 0..random.below(6) {
            let at = random.index(self.parties.len());
            self.move_some(at, random)?;
        }
        self.advance(random.below(50));
        Ok(())
    }

    fn advance(&mut self, millis: u64) {
        self.broker.advance(millis);
        for party in &mut self.parties {
            party.tick(&self.broker);
        }
    }

    fn cut(&mut self, at: usize, random: &mut Random) {
        if let Some(link) = self.parties[at].link.take() {
            self.reached.cuts += 1;
            // Now and then the broker learns it from the next connection only.
            self.broker.cut(link, random.chance(70));
            self.parties[at].transport_down(&self.broker);
        }
    }

    /// Moves some bytes of one connection, in both directions.
    fn move_some(&mut self, at: usize, random: &mut Random) -> Result<(), String> {
        let Some(link) = self.parties[at].link else { return Ok(()) };
        let some = |length: usize, random: &mut Random| match random.below(3) {
            0 => length,
            _ => length.min(1 + random.index(40)),
        };
        let count = some(self.parties[at].session.outbound().len(), random);
        let bytes = self.parties[at].write(&self.broker, count);
        self.broker.write(link, &bytes);
        let count = some(self.broker.in_transit(link), random);
        self.broker.deliver(link, count)?;
        let count = some(self.broker.outbound(link), random);
        let bytes = self.broker.take(link, count);
        self.parties[at].receive(&self.broker, &bytes)?;
        if self.parties[at].session.wants_close() || self.broker.is_finished(link) {
            self.parties[at].link = None;
            self.broker.cut(link, true);
            self.parties[at].transport_down(&self.broker);
        }
        self.parties[at].check()
    }

    /// No disturbances any more: everything under way arrives.
    fn come_to_rest(&mut self, random: &mut Random) -> Result<(), String> {
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            let mut is_busy = false;
            for at in 0..self.parties.len() {
                self.connect(at);
                self.parties[at].acknowledge_some(&self.broker, random);
                self.move_some(at, random)?;
                is_busy |= self.parties[at].is_busy()
                    || self.parties[at].link.is_none_or(|link| self.broker.is_busy(link));
            }
            self.advance(1);
            // What the last one has done may be news for the first.
            quiet = if is_busy { 0 } else { quiet + 1 };
            if quiet > 2 {
                return Ok(());
            }
        }
        Err("client and broker never come to rest".into())
    }
}

/// The versions that sessions speak.
const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];
