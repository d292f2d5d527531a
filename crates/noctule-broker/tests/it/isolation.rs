//! How many deliveries to others may come before a client's own: a share of some turns, however
//! much others have to send. Counted, not timed: the broker is held until everything is there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};

use noctule_broker::{Broker, Limits, QoS, ReadRules};
use noctule_testkit::{Peer, packet_bytes};

use crate::neighbours::Neighbours;
use crate::raw::Raw;
use crate::{DEADLINE, shards, start};

/// What one turn of the broker delivers at most.
const TURN: usize = 8_192;

/// Clients whose messages to themselves stop the shard that they are on.
const STOPPERS: usize = 64;

/// Rules about reading that let everything pass, count it, and hold the broker while they are asked
/// about the topic `stop`.
#[derive(Default)]
struct Stop {
    stopped: Mutex<BTreeSet<u64>>,
    changed: Condvar,
    is_over: Mutex<bool>,
    asked: AtomicUsize,
    /// How much had been asked when it was about the neighbours.
    asked_before: AtomicUsize,
}

impl Stop {
    fn rules(self: &Arc<Self>) -> ReadRules {
        let stop = Arc::clone(self);
        ReadRules(Arc::new(move |_: &str, topic: &str| {
            match topic {
                "stop" => stop.hold(),
                "neighbours" => {
                    stop.asked_before.store(stop.asked.load(Ordering::SeqCst), Ordering::SeqCst);
                }
                _ => {
                    stop.asked.fetch_add(1, Ordering::SeqCst);
                }
            }
            true
        }))
    }

    fn hold(&self) {
        self.stopped.lock().unwrap().insert(number_of(thread::current().id()));
        self.changed.notify_all();
        let mut is_over = self.is_over.lock().unwrap();
        while !*is_over {
            is_over = self.changed.wait(is_over).unwrap();
        }
    }

    fn wait_for_all(&self) {
        let mut stopped = self.stopped.lock().unwrap();
        while stopped.len() < usize::from(shards()) {
            let (guard, timeout) = self.changed.wait_timeout(stopped, 4 * DEADLINE).unwrap();
            assert!(!timeout.timed_out(), "not every shard has stopped");
            stopped = guard;
        }
    }

    fn end(&self) {
        *self.is_over.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// A thread's identity is not ordered; its text is unique.
fn number_of(id: ThreadId) -> u64 {
    let digits: String = format!("{id:?}").chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Lets one publisher have `messages` for each of `subscribers` ready, then the neighbours one;
/// how many deliveries came before theirs.
fn deliveries_before_neighbours(messages: usize, subscribers: usize) -> usize {
    let stop = Arc::new(Stop::default());
    let mut limits = Limits::default();
    limits.outbound_bytes_max = 64 * 1024;
    let (broker, address) = start(Broker::builder().limits(limits).read_rules(stop.rules()));
    let mut reader = Peer::v5(address, "reader");
    reader.subscribe(&[("neighbours", QoS::AtMostOnce)]);
    let mut writer = Peer::v311(address, "writer");
    let _crowd: Vec<_> = (0..subscribers)
        .map(|number| {
            let mut peer = Peer::v311(address, &format!("crowd-{number}"));
            peer.subscribe(&[("flood", QoS::AtMostOnce)]);
            peer
        })
        .collect();
    let mut flooder = Raw::connect(address, "s'MQTT' 04 02 0000 s'flooder'");
    let mut stoppers: Vec<_> = (0..STOPPERS)
        .map(|number| {
            let mut peer = Peer::v311(address, &format!("stopper-{number}"));
            peer.subscribe(&[("stop", QoS::AtMostOnce)]);
            peer
        })
        .collect();
    for stopper in &mut stoppers {
        stopper.publish("stop", "", QoS::AtMostOnce);
    }
    stop.wait_for_all();
    flooder.send(&packet_bytes(0x30, "s'flood' 'x'").repeat(messages));
    writer.publish("neighbours", "", QoS::AtMostOnce);
    stop.end();
    assert_eq!(reader.receive().topic, "neighbours");
    let before = stop.asked_before.load(Ordering::SeqCst);
    // And whoever floods gets through in the end.
    assert_eq!(flooder.before_pong(), []);
    Neighbours::new(address).are_served();
    broker.stop_blocking(DEADLINE).unwrap();
    println!("{before} deliveries before the neighbours'");
    before
}

#[test]
fn a_flood_to_many_delays_others_by_some_turns() {
    let before = deliveries_before_neighbours(3_000, 100);
    // Each shard that is flooded has a turn or two before it looks at others; without turns it
    // would be all of the 300,000.
    let bound = 4 * TURN * usize::from(shards());
    assert!(before <= bound, "{before} deliveries before the neighbours', {bound} are allowed");
}

#[test]
fn a_flood_to_one_delays_others_by_some_turns() {
    let before = deliveries_before_neighbours(100_000, 1);
    let bound = 4 * TURN * usize::from(shards());
    assert!(before <= bound, "{before} deliveries before the neighbours', {bound} are allowed");
}
