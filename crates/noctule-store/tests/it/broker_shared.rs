//! Shared subscriptions and crashes: what waits in one for any of its members, or is given back by
//! one, is somebody's behind every crash, and what has gone to one member goes to no other.

use std::time::Duration;

use noctule_broker_core::{Record, Restored, Timestamp};
use noctule_packet::{Packet, QoS};

use crate::broker_changes::after;
use crate::broker_restart::{Broker, HOUR, SHARDS, ack, placement, publication};

const FILTER: &str = "$share/g/t";
const SECOND: Duration = Duration::from_secs(1);

fn start(shards: u16) -> Broker {
    Broker::new(shards, Timestamp::from_millis(1_000))
}

/// A member with a session that stays.
fn member(broker: &mut Broker, client_id: &str) -> usize {
    member_for(broker, client_id, HOUR)
}

/// A member with a session that stays for so many seconds, or not at all.
fn member_for(broker: &mut Broker, client_id: &str, expiry: u32) -> usize {
    let (client, _) = broker.connect(client_id, expiry, None);
    broker.subscribe(client, FILTER);
    client
}

fn publish(broker: &mut Broker, messages: &[(&str, u8)]) {
    let (publisher, _) = broker.connect("pub", 0, None);
    for (payload, qos) in messages {
        broker.publish_all(publisher, payload, QoS::from_level(*qos).expect("one"));
    }
    broker.lose(publisher);
}

/// What a member is sent when it comes back.
fn back(broker: &mut Broker, client_id: &str) -> (usize, Vec<String>) {
    let (client, present) = broker.connect(client_id, HOUR, None);
    assert!(present, "{client_id}");
    let seen = broker.seen(client);
    (client, seen)
}

/// What waits for members, and in how many queues.
fn shared(broker: &Broker) -> (usize, usize) {
    let all = after(&broker.records).into_restored(&placement(1));
    let queues = all.into_iter().flatten().filter_map(|restored| match restored {
        Restored::SharedQueue(stored) => Some(stored.messages.len()),
        _ => None,
    });
    queues.fold((0, 0), |(messages, queues), more| (messages + more, queues + 1))
}

#[test]
fn what_waits_for_any_member_is_there_behind_every_crash_and_moves_to_the_one_that_takes_it() {
    for (before, then) in SHARDS {
        let mut broker = start(before);
        for client_id in ["a", "b"] {
            let client = member(&mut broker, client_id);
            broker.lose(client);
        }
        publish(&mut broker, &[("1", 1), ("2", 2), ("3", 1)]);
        assert_eq!(shared(&broker), (3, 1));
        let mut broker = broker.crash(then, SECOND);
        publish(&mut broker, &[("4", 2)]);
        let mut broker = broker.crash(before, SECOND);
        let (client, seen) = back(&mut broker, "a");
        assert_eq!(seen, ["1: 1 QoS 1", "2: 2 QoS 2", "3: 3 QoS 1", "4: 4 QoS 2"]);
        assert_eq!(shared(&broker).0, 0);
        broker.send(client, &Packet::Puback(ack(1)));
        broker.send(client, &Packet::Pubrec(ack(2)));
        let mut broker = broker.crash(then, SECOND);
        assert!(back(&mut broker, "b").1.is_empty(), "it is the other's now");
        let (_, mut seen) = back(&mut broker, "a");
        seen.sort();
        let expected = ["3: 3 QoS 1 DUP", "4: 4 QoS 2 DUP", "PUBREL 2"];
        assert_eq!(seen, expected, "{before} shards, then {then}");
    }
}

#[test]
fn what_a_member_that_is_not_stored_has_not_acknowledged_goes_to_one_that_is() {
    for (before, then) in SHARDS {
        let mut broker = start(before);
        let client = member(&mut broker, "stored");
        broker.lose(client);
        let client = member_for(&mut broker, "clean", 0);
        publish(&mut broker, &[("done", 1), ("lost", 1), ("once", 2), ("waits", 1)]);
        assert_eq!(broker.seen(client).len(), 4);
        broker.send(client, &Packet::Puback(ack(1)));
        broker.send(client, &Packet::Puback(ack(4)));
        let mut broker = broker.crash(then, SECOND);
        // What was sent with QoS 2 ends with its session.
        assert_eq!(back(&mut broker, "stored").1, ["1: lost QoS 1"], "{before}, then {then}");
    }
}

#[test]
fn what_a_member_gives_back_belongs_to_all_of_them_again() {
    for (before, then) in SHARDS {
        for ends in [false, true] {
            let mut broker = start(before);
            let other = member(&mut broker, "other");
            broker.lose(other);
            let client = member_for(&mut broker, "ends", 60);
            publish(&mut broker, &[("1", 1), ("2", 2), ("3", 1)]);
            assert_eq!(broker.seen(client).len(), 3);
            broker.send(client, &Packet::Puback(ack(1)));
            broker.lose(client);
            if ends {
                broker.wait(61);
                assert_eq!(shared(&broker).0, 1);
            }
            let mut broker = broker.crash(then, SECOND);
            let (client, seen) = back(&mut broker, "other");
            let mut left = seen;
            if !ends {
                assert!(left.is_empty());
                left = back(&mut broker, "ends").1;
                assert_eq!(left, ["2: 2 QoS 2 DUP", "3: 3 QoS 1 DUP"]);
                continue;
            }
            assert_eq!(left, ["1: 3 QoS 1"], "{before} shards, then {then}");
            broker.send(client, &Packet::Puback(ack(1)));
            let mut broker = broker.crash(before, SECOND);
            assert!(back(&mut broker, "other").1.is_empty());
        }
    }
}

/// A member that was sent three messages and has acknowledged one, and another one.
fn with_work(broker: &mut Broker, expiry: u32) -> usize {
    let other = member(broker, "other");
    broker.lose(other);
    let client = member_for(broker, "ends", expiry);
    publish(broker, &[("1", 1), ("2", 2), ("3", 1)]);
    assert_eq!(broker.seen(client).len(), 3);
    broker.send(client, &Packet::Puback(ack(1)));
    client
}

#[test]
fn what_a_member_had_before_a_crash_belongs_to_all_of_them_when_its_session_ends_behind_it() {
    for (before, then) in SHARDS {
        for (was_connected, later) in [(false, 1), (true, 1), (false, 61)] {
            let mut broker = start(before);
            let client = with_work(&mut broker, 60);
            if !was_connected {
                broker.lose(client);
            }
            let mut broker = broker.crash(then, Duration::from_secs(later));
            broker.wait(60);
            assert_eq!(shared(&broker).0, 1);
            let mut broker = broker.crash(before, SECOND);
            let (client, seen) = back(&mut broker, "other");
            assert_eq!(seen, ["1: 3 QoS 1"], "{before} shards, then {then}, {was_connected}");
            broker.send(client, &Packet::Puback(ack(1)));
            let mut broker = broker.crash(then, SECOND);
            assert!(back(&mut broker, "other").1.is_empty());
        }
    }
}

#[test]
fn what_a_member_had_before_a_crash_is_not_lost_with_its_next_connection() {
    for (before, then) in SHARDS {
        for is_cut in [false, true] {
            let mut broker = start(before);
            let client = with_work(&mut broker, 60);
            broker.lose(client);
            let mut broker = broker.crash(then, SECOND);
            // It is not stored any more from here on.
            let (client, present) = broker.connect("ends", 0, None);
            assert!(present);
            assert_eq!(broker.seen(client), ["2: 2 QoS 2 DUP", "3: 3 QoS 1 DUP"]);
            if is_cut {
                broker = broker.crash(before, SECOND);
            } else {
                broker.lose(client);
            }
            let seen = back(&mut broker, "other").1;
            assert_eq!(seen, ["1: 3 QoS 1"], "{before} shards, then {then}, {is_cut}");
        }
    }
}

#[test]
fn a_publisher_hears_nothing_before_its_message_is_durable_wherever_the_members_are() {
    for shards in 1..5 {
        for is_there in [false, true] {
            let mut broker = start(shards);
            let client = member(&mut broker, "stored");
            if !is_there {
                broker.lose(client);
            }
            let (publisher, _) = broker.connect("pub", 0, None);
            broker.holds = true;
            broker.publish(publisher, publication("x", QoS::AtLeastOnce));
            assert!(broker.seen(publisher).is_empty(), "{shards} shards");
            broker.holds = false;
            broker.settle();
            assert_eq!(broker.seen(publisher), ["PUBACK 1"]);
        }
    }
}

#[test]
fn a_publication_that_is_routed_again_goes_to_nobody_else() {
    for (before, then) in SHARDS {
        for members in [["a", "b"], ["b", "a"]] {
            for is_there in [false, true] {
                let mut broker = start(before);
                let clients = members.map(|client_id| member(&mut broker, client_id));
                if !is_there {
                    clients.into_iter().for_each(|client| broker.lose(client));
                }
                let (publisher, _) = broker.connect("pub", HOUR, None);
                broker.publish(publisher, publication("x", QoS::ExactlyOnce));
                broker.records.retain(|record| !matches!(record, Record::Routed { .. }));
                let mut broker = broker.crash(then, SECOND);
                let mut seen: Vec<_> = members.map(|name| back(&mut broker, name).1).concat();
                seen.iter_mut().for_each(|seen| *seen = seen.replace(" DUP", ""));
                assert_eq!(seen, ["1: x QoS 2"], "{before} shards, then {then}");
            }
        }
    }
}

#[test]
fn a_shared_subscription_without_members_leaves_nothing_behind() {
    for (before, then) in SHARDS {
        let mut broker = start(before);
        let stays = member(&mut broker, "stays");
        broker.lose(stays);
        publish(&mut broker, &[("1", 1), ("2", 1)]);
        let (client, _) = back(&mut broker, "stays");
        publish(&mut broker, &[("3", 1)]);
        broker.lose(client);
        publish(&mut broker, &[("4", 1)]);
        assert_eq!(shared(&broker).0, 1);
        let mut broker = broker.crash(then, Duration::from_secs(u64::from(HOUR) + 1));
        assert_eq!(shared(&broker), (0, 0), "its last member has expired");
        let client = member(&mut broker, "stays");
        broker.lose(client);
        publish(&mut broker, &[("5", 1)]);
        assert_eq!(shared(&broker), (1, 1));
        let mut broker = broker.crash(before, SECOND);
        assert_eq!(back(&mut broker, "stays").1, ["1: 5 QoS 1"]);
    }
}

/// The places of different shards' records may be mixed in any way.
#[test]
fn a_message_that_has_left_before_it_came_does_not_come() {
    for shards in 2..5 {
        let mut broker = start(shards);
        for client_id in ["a", "b", "c"] {
            let client = member(&mut broker, client_id);
            broker.lose(client);
        }
        publish(&mut broker, &[("1", 1), ("2", 1)]);
        assert_eq!(back(&mut broker, "a").1.len(), 2);
        let is_first =
            |record: &Record| matches!(record, Record::Moved { .. } | Record::SessionStarted(_));
        let (first, rest): (Vec<_>, Vec<_>) = broker.records.into_iter().partition(is_first);
        broker = start(shards);
        broker.records = [first, rest].concat();
        let mut broker = broker.crash(shards, SECOND);
        assert!(back(&mut broker, "b").1.is_empty());
        assert_eq!(back(&mut broker, "a").1.len(), 2);
    }
}
