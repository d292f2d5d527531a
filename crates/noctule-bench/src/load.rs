//! The loads: who publishes to whom, how much, and how many messages are on their way at a time.

use noctule_packet::QoS;

/// One way to use a broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// What the command line and the tables call it.
    pub(crate) name: &'static str,
    /// How many groups of connections have nothing to do with each other.
    pub(crate) groups: u32,
    /// Publishing connections of a group.
    pub(crate) publishers: u32,
    /// Subscribing connections of a group; each gets what all of its publishers send.
    pub(crate) subscribers: u32,
    /// Of every message and every subscription.
    pub(crate) qos: QoS,
    /// Messages of one publisher that have not arrived everywhere, or are not acknowledged.
    pub(crate) window: u32,
    /// The size of a message.
    pub(crate) payload_bytes: usize,
    /// Whether the subscribers' sessions outlive their connections.
    pub(crate) is_stored: bool,
}

/// How many pairs the p2p loads have: enough that one wake-up of the broker serves several, as it
/// does wherever there is something to do.
const PAIRS: u32 = 16;
/// One pair alone would live on one shard or on two, as its names have it.
const LARGE_PAIRS: u32 = 4;
const MANY: u32 = 1_000;
const SMALL: usize = 16;
const MEDIUM: usize = 256;
const LARGE: usize = 16 * 1024;

/// To sessions that are stored, by how much is outstanding, at QoS 1.
pub(crate) const STORED_LOADS: [Load; 7] = [
    stored("stored-1", 1, 1),
    stored("stored-64", 1, 64),
    stored("stored-256", 1, 256),
    stored("stored-512", 1, 512),
    stored("stored-1024", 1, 1_024),
    stored("stored-4x256", 4, 256),
    stored("stored-4x1024", 4, 1_024),
];

/// Every other load, in the order of the tables. A name ends in the QoS.
pub(crate) const LOADS: [Load; 15] = [
    p2p("p2p-64-q0", QoS::AtMostOnce, 64),
    p2p("p2p-64-q1", QoS::AtLeastOnce, 64),
    p2p("p2p-64-q2", QoS::ExactlyOnce, 64),
    p2p("p2p-1-q0", QoS::AtMostOnce, 1),
    p2p("p2p-1-q1", QoS::AtLeastOnce, 1),
    p2p("p2p-1-q2", QoS::ExactlyOnce, 1),
    fan_out("fan-out-q0", QoS::AtMostOnce),
    fan_out("fan-out-q1", QoS::AtLeastOnce),
    fan_out("fan-out-q2", QoS::ExactlyOnce),
    fan_in("fan-in-q0", QoS::AtMostOnce),
    fan_in("fan-in-q1", QoS::AtLeastOnce),
    fan_in("fan-in-q2", QoS::ExactlyOnce),
    large("16k-q0", QoS::AtMostOnce),
    large("16k-q1", QoS::AtLeastOnce),
    large("16k-q2", QoS::ExactlyOnce),
];

const fn p2p(name: &'static str, qos: QoS, window: u32) -> Load {
    Load { groups: PAIRS, payload_bytes: SMALL, ..pairs(name, qos, window) }
}

/// One pair, whose messages are as large as most are at most.
const fn pairs(name: &'static str, qos: QoS, window: u32) -> Load {
    Load {
        name,
        groups: 1,
        publishers: 1,
        subscribers: 1,
        qos,
        window,
        payload_bytes: MEDIUM,
        is_stored: false,
    }
}

const fn stored(name: &'static str, groups: u32, window: u32) -> Load {
    Load { groups, is_stored: true, ..pairs(name, QoS::AtLeastOnce, window) }
}

const fn fan_out(name: &'static str, qos: QoS) -> Load {
    Load { subscribers: MANY, payload_bytes: SMALL, ..pairs(name, qos, 64) }
}

const fn fan_in(name: &'static str, qos: QoS) -> Load {
    Load { publishers: MANY, payload_bytes: SMALL, ..pairs(name, qos, 16) }
}

const fn large(name: &'static str, qos: QoS) -> Load {
    Load { groups: LARGE_PAIRS, payload_bytes: LARGE, ..pairs(name, qos, 16) }
}

impl Load {
    /// The load with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        LOADS.iter().chain(&STORED_LOADS).find(|load| load.name == name)
    }

    /// The same over so many brokers that know nothing of each other, a share of the connections
    /// on each.
    pub(crate) fn over(&self, brokers: u32) -> Self {
        if self.groups >= brokers {
            return *self;
        }
        Self {
            groups: brokers,
            publishers: (self.publishers / brokers).max(1),
            subscribers: (self.subscribers / brokers).max(1),
            ..*self
        }
    }

    /// All publishing connections; they come first, group after group.
    pub(crate) const fn sources(&self) -> u32 {
        self.groups * self.publishers
    }

    /// All subscribing connections.
    pub(crate) const fn sinks(&self) -> u32 {
        self.groups * self.subscribers
    }

    /// The group of a connection.
    pub(crate) const fn group(&self, number: u32) -> u32 {
        match number.checked_sub(self.sources()) {
            None => number / self.publishers,
            Some(subscriber) => subscriber / self.subscribers,
        }
    }

    /// The filter of a group's subscribers.
    pub(crate) fn filter(&self, group: u32) -> String {
        if self.publishers == 1 { topic(group) } else { "load/+".to_owned() }
    }
}

/// What a publisher publishes to.
pub(crate) fn topic(publisher: u32) -> String {
    format!("load/{publisher:04}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_is_found_by_its_name() {
        for load in LOADS.iter().chain(&STORED_LOADS) {
            let found = Load::named(load.name).map(|found| (found.qos, found.window));
            assert_eq!(found, Some((load.qos, load.window)), "{}", load.name);
        }
    }

    #[test]
    fn what_is_spread_over_brokers_keeps_publishers_and_subscribers_together() {
        let pairs = Load::named("p2p-1-q0").unwrap().over(2);
        assert_eq!((pairs.sources(), pairs.sinks()), (PAIRS, PAIRS));
        assert_eq!((pairs.group(3), pairs.group(PAIRS + 3)), (3, 3));
        let fan_out = Load::named("fan-out-q0").unwrap().over(2);
        assert_eq!((fan_out.sources(), fan_out.sinks()), (2, MANY));
        assert_eq!((fan_out.group(1), fan_out.group(2 + MANY / 2)), (1, 1));
        assert_eq!(fan_out.filter(1), topic(1));
        let fan_in = Load::named("fan-in-q0").unwrap().over(2);
        assert_eq!((fan_in.group(MANY / 2), fan_in.group(MANY + 1)), (1, 1));
    }
}
