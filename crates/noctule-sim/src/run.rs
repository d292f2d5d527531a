//! One run from its seed to its verdict: disturbances, then quiet, then newcomers who look at what
//! is left.

use noctule_broker_core::{Durability, ListenerSettings, Placement, Settings};
use noctule_packet::{QoS, RetainHandling, Version};

use crate::client::Client;
use crate::link::BrokerEnd;
use crate::oracle::Violation;
use crate::oracle::subscription::Asked;
use crate::power::Cuts;
use crate::profile::Profile;
use crate::random::Random;
use crate::situation::Situations;
use crate::store_fault::StoreFault;
use crate::world::{Happening, World};

/// How many rounds of quiet there are, and how long each is: longer than every delay and keep alive
/// of a run.
const QUIET_ROUNDS: u32 = 10;
const QUIET_MILLIS: u64 = 3_000;

/// What a run may take of virtual time at most before it is quiet, in milliseconds.
const DISTURBED_MILLIS: u64 = 3_600_000;

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Print everything that happens.
    pub prints: bool,
    /// When the power goes; without that, the broker has no disk.
    pub cuts: Cuts,
    /// The fault to plant in the broker's store.
    pub store_fault: Option<StoreFault>,
    /// The fault to plant in the broker.
    #[cfg(feature = "planted-faults")]
    pub planted_fault: Option<noctule_broker_core::PlantedFault>,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the oracle found, if it found anything.
    pub violation: Option<Violation>,
    /// How many actions clients have taken.
    pub actions: u32,
    /// How often the named situations were reached.
    pub situations: Situations,
    /// How many operations of the disk there were before the power went first.
    pub operations: u64,
    /// How many messages were published.
    pub publications: usize,
    /// How many random choices led here, in a way: equal runs have equal ones.
    pub fingerprint: u64,
}

/// Runs a seed.
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut random = Random::new(seed);
    let mut profile = Profile::new(seed, &mut random);
    if options.cuts != Cuts::Never {
        profile = profile.on_disk(&mut random, matches!(options.cuts, Cuts::At(..)));
    }
    let mut settings = Settings::default();
    settings.system_interval_seconds = 0;
    settings.limits = profile.limits.clone();
    settings.durability = profile.durability;
    if profile.changes_modes {
        let mut in_memory = ListenerSettings::default();
        in_memory.durability = Some(Durability::Memory);
        settings.listeners.push(in_memory);
    }
    settings.authorization = profile.authorization;
    settings.shared_strategy = profile.shared_strategy;
    let key = u128::from(random.next()).to_le_bytes();
    profile.placement_key = key;
    settings.placement = Placement::new(key, profile.shards);
    #[cfg(feature = "planted-faults")]
    {
        settings.planted_fault = options.planted_fault;
    }
    let mut world = World::new(profile, &settings, random);
    world.prints = options.prints;
    world.trace(|| format!("{:?}", world.profile));
    world.plug_in(&settings, options.cuts, options.store_fault);
    if world.profile.wraps && world.power.is_none() {
        world.wear_packet_ids();
    }
    world.disturb_all();
    if world.power.is_some() {
        world.cut_perhaps();
        if world.oracle.is_content() {
            world.calm_down();
        }
        world.cut_perhaps();
        world.let_power_stay();
    }
    if world.oracle.is_content() {
        world.calm_down();
    }
    if world.oracle.is_content() {
        world.look_around();
    }
    Outcome {
        violation: world.oracle.violation().cloned(),
        actions: world.actions_done,
        situations: world.situations,
        operations: world.operations(),
        publications: world.oracle.count(),
        fingerprint: world.random.next(),
    }
}

impl World {
    /// Every client does this and that.
    fn disturb_all(&mut self) {
        self.schedule(0, Happening::Act);
        let end = self.now + DISTURBED_MILLIS;
        while self.actions_done < self.profile.actions && self.now < end && self.oracle.is_content()
        {
            self.run_until(self.now + 1);
        }
    }

    /// No more disturbances: everybody reads, acknowledges and comes back.
    fn calm_down(&mut self) {
        self.trace(|| "quiet".to_owned());
        self.is_quiet = true;
        for client in 0..self.clients.len() {
            self.clients[client].withholds = false;
            self.schedule(0, Happening::Acknowledge(client));
        }
        for link in 0..self.links.len() {
            if self.links[link].is_stalled {
                self.unstall(link);
            }
        }
        for _ in 0..QUIET_ROUNDS {
            if !self.oracle.is_content() {
                return;
            }
            for client in 0..self.clients.len() {
                // A CONNECT that was overtaken by another one of a storm is never answered.
                if !self.clients[client].is_online {
                    self.connect(client, false);
                }
            }
            self.run_until(self.now + QUIET_MILLIS);
        }
    }

    /// Newcomers at home on every shard look at what is retained; then the oracle looks at all.
    fn look_around(&mut self) {
        let filter = self.topics.find_filter("t/#").unwrap_or_default();
        let asked = Asked {
            qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
            identifier: None,
        };
        let first = self.clients.len();
        for shard in 0..self.shards.len() {
            let client = self.add_newcomer(shard);
            self.connect(client, true);
        }
        self.run_until(self.now + QUIET_MILLIS);
        // What the others publish may have left no memory for one of them, for a moment.
        for client in first..self.clients.len() {
            if !self.clients[client].is_online {
                self.connect(client, true);
            }
        }
        self.run_until(self.now + QUIET_MILLIS);
        for client in first..self.clients.len() {
            self.subscribe(client, &[(filter, asked)]);
        }
        self.run_until(self.now + QUIET_MILLIS);
        self.check_clients();
        if !self.oracle.is_content() {
            return;
        }
        for topic in 0..self.topics.len() {
            if self.topics.is_retained(topic) {
                // What the broker says it has dropped, a newcomer cannot have got.
                let found: Vec<_> = (first..self.clients.len())
                    .filter(|client| {
                        !self.oracle.has_dropped(&self.clients[*client].client_id, topic)
                    })
                    .map(|client| self.oracle.last_retained(client, topic))
                    .collect();
                self.oracle.check_final(topic, &found);
            }
        }
        let names: Vec<String> =
            self.clients.iter().map(|client| client.client_id.clone()).collect();
        let fine: Vec<bool> = self
            .links
            .iter()
            .map(|link| link.is_whole() && !link.misbehaved && !link.is_ghost)
            .collect();
        self.oracle.check_end(&names, &|link| fine[link]);
    }

    fn add_newcomer(&mut self, shard: usize) -> usize {
        let number = self.clients.len();
        let mut client = Client::new(number, &self.placement, &mut self.random);
        let names = (0..).map(|at| format!("newcomer-{at}"));
        let at_home = |name: &String| usize::from(self.placement.client(name).0) == shard;
        client.client_id = names.into_iter().find(at_home).unwrap_or_default();
        client.habits.version = Version::V5_0;
        client.habits.receive_maximum = 100;
        client.habits.maximum_packet_size = None;
        client.habits.session_expiry = 0;
        client.habits.retain_as_published = false;
        client.habits.acknowledges_within = 0;
        self.clients.push(client);
        self.oracle.add_client();
        number
    }

    /// In the end nothing of any client waits for an answer.
    fn check_clients(&mut self) {
        for (number, client) in self.clients.iter().enumerate() {
            let problem = if !client.is_online {
                "MQTT5-3.2.0-1: is not let in"
            } else if !client.requests.is_empty() {
                "MQTT5-3.8.4-1, MQTT5-3.10.4-4: waits for SUBACK or UNSUBACK"
            } else if !client.unfinished.is_empty() {
                "MQTT5-4.3.2-4, MQTT5-4.3.3-8, MQTT5-4.3.3-11: waits for PUBACK, PUBREC or PUBCOMP"
            } else if !client.unreleased.is_empty() {
                "MQTT5-4.3.3-4, MQTT311-4.3.3-1: waits for PUBREL"
            } else if !client.unknown_releases.is_empty() {
                "MQTT5-4.3.3-11: waits for PUBCOMP to what it never published"
            } else if client.pings_answered + 1 < client.pings_sent {
                "MQTT5-3.12.4-1: waits for PINGRESP"
            } else {
                continue;
            };
            let (statement, what) = problem.split_once(": ").unwrap_or_default();
            let text = format!("client {number} {what} in the end: {client:?}");
            self.oracle.find(statement, text);
        }
        for link in 0..self.links.len() {
            let known = &self.links[link];
            if known.must_end && known.is_whole() && known.unread.is_empty() {
                let text = format!("link {link} goes on behind a malformed packet");
                self.oracle.find("[MQTT5-4.13.1-1]", text);
            } else if known.broker_end == BrokerEnd::Closing {
                self.oracle.find("[MQTT5-4.13.2-1]", format!("link {link} is never closed"));
            }
        }
    }
}
