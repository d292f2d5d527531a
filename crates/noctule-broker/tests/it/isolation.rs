//! How many deliveries to others may come before a client's own: a share of some turns, however
//! much others have to send. Counted, not timed: the broker is held until everything is there.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use noctule_broker::{Broker, Handle, Limits, QoS, ReadRules};
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
    /// The thread that serves a client, for those that have published about `where` they are.
    homes: Mutex<BTreeMap<String, u64>>,
    /// How much their shard had delivered of the flood before the neighbours' message.
    before_neighbours: AtomicUsize,
    /// Each shard is held once more after so many deliveries of the flood since its first on the
    /// topic `counted_from`.
    flood_max: usize,
    counted_from: &'static str,
    is_over_for_good: Mutex<bool>,
}

thread_local! {
    /// What this shard has delivered of the flood, and how much of that since it began to count.
    static FLOOD: Cell<usize> = const { Cell::new(0) };
    static COUNTED: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Stop {
    fn rules(self: &Arc<Self>) -> ReadRules {
        let stop = Arc::clone(self);
        ReadRules(Arc::new(move |client_id: &str, topic: &str| {
            if topic == stop.counted_from && COUNTED.get().is_none() {
                COUNTED.set(Some(0));
            }
            match topic {
                "stop" => stop.hold(&stop.is_over),
                "neighbours" => {
                    stop.before_neighbours.store(FLOOD.get(), Ordering::SeqCst);
                }
                "where" => {
                    stop.homes.lock().unwrap().insert(client_id.to_owned(), this_thread());
                }
                _ => {
                    FLOOD.set(FLOOD.get() + 1);
                    COUNTED.set(COUNTED.get().map(|count| count + 1));
                    if COUNTED.get().is_some_and(|count| count > stop.flood_max) {
                        stop.hold(&stop.is_over_for_good);
                    }
                }
            }
            true
        }))
    }

    fn hold(&self, is_over: &Mutex<bool>) {
        self.stopped.lock().unwrap().insert(this_thread());
        self.changed.notify_all();
        let mut is_over = is_over.lock().unwrap();
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

    /// The thread that serves a client.
    fn home(&self, peer: &mut Peer, client_id: &str) -> u64 {
        peer.subscribe(&[("where", QoS::AtMostOnce)]);
        peer.publish("where", "", QoS::AtMostOnce);
        assert_eq!(peer.receive().topic, "where");
        peer.unsubscribe(&["where"]);
        self.homes.lock().unwrap()[client_id]
    }

    fn end(&self, is_over: &Mutex<bool>) {
        *is_over.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

/// A thread's identity is not ordered; its text is unique.
fn this_thread() -> u64 {
    let text = format!("{:?}", thread::current().id());
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// One publisher has a flood ready for each of `subscribers`, then the neighbours one message.
struct Flood {
    stop: Arc<Stop>,
    broker: Handle,
    address: SocketAddr,
    reader: Peer,
    flooder: Raw,
    crowd: Vec<Peer>,
    _others: Vec<Peer>,
}

impl Flood {
    /// The reader has subscribed to these filters.
    fn new(stop: Stop, messages: usize, subscribers: usize, filters: &[&str]) -> Self {
        let stop = Arc::new(stop);
        let mut limits = Limits::default();
        limits.outbound_bytes_max = 64 * 1024;
        let (broker, address) = start(Broker::builder().limits(limits).read_rules(stop.rules()));
        let mut reader = Peer::v5(address, "reader");
        for filter in filters {
            reader.subscribe(&[(filter, QoS::AtMostOnce)]);
        }
        let home = stop.home(&mut reader, "reader");
        // How long another shard takes says nothing about turns.
        let mut writer = (0..)
            .map(|number| format!("writer-{number}"))
            .map(|name| (Peer::v311(address, &name), name))
            .find_map(|(mut peer, name)| (stop.home(&mut peer, &name) == home).then_some(peer))
            .unwrap();
        let subscribed = |name: String, filter: &str| {
            let mut peer = Peer::v311(address, &name);
            peer.subscribe(&[(filter, QoS::AtMostOnce)]);
            peer
        };
        let crowd = (0..subscribers).map(|n| subscribed(format!("crowd-{n}"), "flood")).collect();
        let mut flooder = Raw::connect(address, "s'MQTT' 04 02 0000 s'flooder'");
        let mut others: Vec<_> =
            (0..STOPPERS).map(|n| subscribed(format!("stopper-{n}"), "stop")).collect();
        for stopper in &mut others {
            stopper.publish("stop", "", QoS::AtMostOnce);
        }
        stop.wait_for_all();
        flooder.send(&packet_bytes(0x30, "s'flood' 'x'").repeat(messages));
        writer.publish("neighbours", "", QoS::AtMostOnce);
        stop.end(&stop.is_over);
        others.push(writer);
        Self { stop, broker, address, reader, flooder, crowd, _others: others }
    }

    /// Whoever floods gets through in the end, and nobody else notices.
    fn end(mut self) {
        assert_eq!(self.flooder.before_pong(), []);
        Neighbours::new(self.address).are_served();
        self.broker.stop_blocking(DEADLINE).unwrap();
    }
}

/// How many deliveries of a flood came before the neighbours'.
fn deliveries_before_neighbours(messages: usize, subscribers: usize) -> usize {
    let mut flood = Flood::new(Stop::default(), messages, subscribers, &["neighbours"]);
    assert_eq!(flood.reader.receive().topic, "neighbours");
    let before = flood.stop.before_neighbours.load(Ordering::SeqCst);
    flood.end();
    println!("{before} deliveries before the neighbours'");
    before
}

/// Stops each shard when a flood to a hundred has had so many turns' share of it since the first
/// delivery on `topic`; what the shard has written by then is let through.
fn written_within(
    turns: usize,
    topic: &'static str,
    filters: &[&str],
    check: impl FnOnce(&mut Flood),
) {
    let stop = Stop { flood_max: turns * TURN, counted_from: topic, ..Stop::default() };
    let mut flood = Flood::new(stop, 3_000, 100, filters);
    check(&mut flood);
    let stop = Arc::clone(&flood.stop);
    stop.end(&stop.is_over_for_good);
    flood.end();
}

#[test]
fn a_flood_to_many_delays_others_by_some_turns() {
    let before = deliveries_before_neighbours(3_000, 100);
    // The shard has a turn or two before it looks at others; without turns it would be 300,000, or
    // its share of them.
    assert!(before <= 4 * TURN, "{before} deliveries before the neighbours'");
}

#[test]
fn a_flood_to_one_delays_others_by_some_turns() {
    let before = deliveries_before_neighbours(100_000, 1);
    assert!(before <= 4 * TURN, "{before} deliveries before the neighbours'");
}

#[test]
fn what_is_for_one_is_written_while_a_flood_to_many_goes_on() {
    written_within(3, "neighbours", &["neighbours"], |flood| {
        assert_eq!(flood.reader.receive().topic, "neighbours");
    });
}

#[test]
fn what_is_for_one_of_the_flooded_is_written_while_the_flood_goes_on() {
    written_within(3, "neighbours", &["flood", "neighbours"], |flood| {
        while flood.reader.receive().topic != "neighbours" {}
    });
}

#[test]
fn what_is_for_many_is_written_after_some_turns() {
    written_within(10, "flood", &["neighbours"], |flood| {
        for peer in &mut flood.crowd {
            assert_eq!(peer.receive().topic, "flood");
        }
    });
}
