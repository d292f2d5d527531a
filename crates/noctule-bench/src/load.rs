//! The loads: who publishes to whom, how much, and how many messages are on their way at a time.

use noctule_packet::QoS;

/// How publishers and subscribers belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Each publisher has one subscriber of its own.
    Pairs,
    /// Everything goes from each publisher to each subscriber.
    All,
}

/// One way to use a broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// What the command line and the tables call it.
    pub(crate) name: &'static str,
    /// Publishing connections.
    pub(crate) publishers: u32,
    /// Subscribing connections.
    pub(crate) subscribers: u32,
    /// Of every message and every subscription.
    pub(crate) qos: QoS,
    /// Messages of one publisher that have not arrived everywhere, or are not acknowledged.
    pub(crate) window: u32,
    /// The size of a message.
    pub(crate) payload_bytes: usize,
}

/// How many pairs the p2p loads have: enough that one wake-up of the broker serves several, as it
/// does wherever there is something to do.
const PAIRS: u32 = 16;
const MANY: u32 = 1_000;
const SMALL: usize = 16;
const LARGE: usize = 16 * 1024;

/// Every load, in the order of the tables. A name ends in the QoS.
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
    Load { name, publishers: PAIRS, subscribers: PAIRS, qos, window, payload_bytes: SMALL }
}

const fn fan_out(name: &'static str, qos: QoS) -> Load {
    Load { name, publishers: 1, subscribers: MANY, qos, window: 32, payload_bytes: SMALL }
}

const fn fan_in(name: &'static str, qos: QoS) -> Load {
    Load { name, publishers: MANY, subscribers: 1, qos, window: 16, payload_bytes: SMALL }
}

const fn large(name: &'static str, qos: QoS) -> Load {
    Load { name, publishers: 1, subscribers: 1, qos, window: 16, payload_bytes: LARGE }
}

impl Load {
    /// The load with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        LOADS.iter().find(|load| load.name == name)
    }

    pub(crate) fn shape(&self) -> Shape {
        if self.publishers == self.subscribers { Shape::Pairs } else { Shape::All }
    }

    /// How many subscribers get each message.
    pub(crate) fn receivers(&self) -> u64 {
        match self.shape() {
            Shape::Pairs => 1,
            Shape::All => self.subscribers.into(),
        }
    }

    /// The filter of a subscriber.
    pub(crate) fn filter(&self, subscriber: u32) -> String {
        match self.shape() {
            Shape::Pairs => topic(subscriber),
            Shape::All if self.publishers == 1 => topic(0),
            Shape::All => "load/+".to_owned(),
        }
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
        for load in &LOADS {
            let found = Load::named(load.name).map(|found| (found.qos, found.window));
            assert_eq!(found, Some((load.qos, load.window)), "{}", load.name);
        }
    }
}
