//! Retained messages: all of them for whoever asks, however slowly he reads, and never an older one
//! behind a newer one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::slice;

use noctule_broker::{Broker, Limits, QoS, ReasonCode};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, Peer, packet_bytes};

use crate::neighbours::Neighbours;
use crate::raw::Raw;
use crate::{DEADLINE, start, start_default, start_with, start_with_socket, wait};

/// Lets the broker keep a message on each of these topics.
fn retain(address: SocketAddr, topics: impl Iterator<Item = String>, payload: &str) {
    let mut writer = Raw::connect(address, "s'MQTT' 04 02 0000 s'archivist'");
    let packets = topics.map(|topic| packet_bytes(0x33, &format!("s'{topic}' 0001 '{payload}'")));
    for packet in packets {
        writer.send(&packet);
        assert_eq!(writer.next().first_byte, 0x40);
    }
}

#[test]
fn every_retained_message_that_matches_comes_however_slowly_it_is_read() {
    const OWNERS: usize = 60;
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    let topics = || (0..OWNERS * OWNERS).map(|n| format!("r/{}/{}", n / OWNERS, n % OWNERS));
    retain(address, topics(), "kept");
    let all: BTreeSet<String> = topics().collect();
    let with = |wanted: fn(&str) -> bool| -> BTreeSet<String> {
        all.iter().filter(|topic| wanted(topic)).cloned().collect()
    };
    let expected = [
        ("#", all.clone()),
        ("r/#", all.clone()),
        ("+/+/+", all.clone()),
        ("r/+/7", with(|topic| topic.ends_with("/7"))),
        ("r/7/+", with(|topic| topic.starts_with("r/7/"))),
        ("+/7/7", with(|topic| topic == "r/7/7")),
        ("r/7/#", with(|topic| topic.starts_with("r/7/"))),
        ("r/+", BTreeSet::new()),
    ];
    for (number, (filter, expected)) in expected.iter().enumerate() {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let id = format!("slow-{number}-{}", qos as u8);
            let mut slow = Raw::connect(address, &format!("s'MQTT' 05 02 0000 03 21 0005 s'{id}'"));
            slow.subscribe(&format!("0001 00 s'{filter}' {:02x}", qos as u8));
            let mut found = BTreeSet::new();
            while found.len() < expected.len() {
                let message = slow.next();
                let (topic, id) = message.topic_and_id();
                // What the neighbours say is for everybody, too.
                let is_retained = message.first_byte & 1 == 1 && found.insert(topic.clone());
                assert!(is_retained || topic == "neighbours", "{message:?}");
                // Five at a time: the rest is not copied for it beforehand.
                if found.len() % 1_000 == 1 {
                    let (_, gauges) = wait(broker.statistics()).unwrap();
                    assert!(gauges.queued_messages < 100, "{gauges:?}");
                    neighbours.are_served();
                }
                if let Some(id) = id {
                    slow.send(&packet_bytes(0x40, &format!("{id:04x}")));
                }
            }
            assert_eq!(found, *expected, "{filter}");
            slow.before_pong().iter().for_each(|packet| {
                assert_eq!(packet.topic_and_id().0, "neighbours");
            });
        }
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn asking_for_everything_again_and_again_without_reading_is_bounded() {
    const TOPICS: usize = 1_000;
    let mut limits = Limits::default();
    limits.outbound_bytes_max = 64 * 1024;
    let (broker, address, path) = start_with_socket("replays", limits);
    let mut neighbours = Neighbours::new(address);
    retain(address, (0..TOPICS).map(|number| format!("r/{number}")), &"x".repeat(4_000));
    let stream = UnixStream::connect(path).unwrap();
    let mut deaf = Raw::over(stream, "s'MQTT' 04 02 0000 s'deaf'");
    let before = wait(broker.statistics()).unwrap().0.bytes_sent;
    for round in 0..500 {
        deaf.send(&packet_bytes(0x82, "0001 s'r/#' 00 s'r/+' 01"));
        if round % 100 == 0 {
            neighbours.are_served();
        }
    }
    neighbours.are_served();
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    // Eight megabytes each time; what is in buffers, of the kernel too, is less than that once.
    assert!(statistics.bytes_sent - before < 2_000_000, "{statistics:?}");
    assert_eq!((gauges.queued_messages, statistics.dropped_total()), (0, 0), "{gauges:?}");
    // It listens at last, to everything.
    let (mut subacks, mut found) = (0, BTreeSet::new());
    while subacks < 500 || found.len() < TOPICS {
        let Some(packet) = deaf.next_within(4 * DEADLINE) else {
            panic!("{subacks} {} {:?}", found.len(), wait(broker.statistics()))
        };
        if packet.first_byte == 0x90 {
            subacks += 1;
            found.clear();
            continue;
        }
        let (topic, id) = packet.topic_and_id();
        if let Some(id) = id {
            deaf.send(&packet_bytes(0x40, &format!("{id:04x}")));
        }
        found.insert(topic);
    }
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

/// While somebody reads slowly what is retained, it is replaced and cleared.
#[test]
fn no_older_message_follows_a_newer_one_when_topics_change_while_they_are_read() {
    const TOPICS: usize = 900;
    let (broker, address) = start_with(Limits::default());
    let topic = |number: usize| format!("r/{}/{number}", number % 7);
    retain(address, (0..TOPICS).map(topic), "1");
    for qos in [0, 1, 2] {
        let connect = format!("s'MQTT' 05 02 0000 03 21 0003 s'reader-{qos}'");
        let mut reader = Raw::connect(address, &connect);
        let mut writer = Peer::v311(address, "writer-of-change");
        reader.subscribe(&format!("0001 00 s'r/#' {qos:02x}"));
        let mut changes = (0..TOPICS).map(|number| (number * 389) % TOPICS);
        let mut last = BTreeMap::<String, Vec<u8>>::new();
        let mut quiet = false;
        loop {
            // Some are read, then one is changed: cleared, or set to something newer.
            let change = changes.next();
            if let Some(number) = change {
                let payload = if number % 3 == 0 { "" } else { "2" };
                let publish = OwnedPublish::new(&topic(number), payload, QoS::AtLeastOnce);
                writer.publish_with(&publish.retain(true));
            }
            let packets = reader.before_pong();
            for packet in &packets {
                answer(&mut reader, packet);
                if packet.first_byte >> 4 == 3 {
                    let (topic, _) = packet.topic_and_id();
                    let payload = packet.behind_topic()[1..].to_vec();
                    let before = last.insert(topic.clone(), payload.clone());
                    let is_newer = before.is_none() || (before.unwrap() == b"1" && payload != b"1");
                    assert!(is_newer, "{payload:?} on {topic} comes too late, or again");
                }
            }
            // At the end, twice nothing: other shards may still have had something.
            if change.is_none() && packets.is_empty() && std::mem::replace(&mut quiet, true) {
                break;
            }
            quiet &= packets.is_empty();
        }
        for number in 0..TOPICS {
            let expected: &[u8] = if number % 3 == 0 { b"" } else { b"2" };
            // What was cleared before it was read is said live, and not kept.
            assert_eq!(last.get(&topic(number)).map(Vec::as_slice), Some(expected), "{number}");
        }
        retain(address, (0..TOPICS).map(topic), "1");
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

/// Plays the receiver's part of a handshake.
fn answer(reader: &mut Raw, packet: &crate::raw::RawPacket) {
    match (packet.first_byte >> 4, packet.first_byte & 0x06) {
        (3, 0x02) => reader.send(&id_packet(0x40, packet.topic_and_id().1)),
        (3, 0x04) => reader.send(&id_packet(0x50, packet.topic_and_id().1)),
        (6, _) => reader.send(&id_packet(0x70, Some(packet.number_at(0)))),
        _ => {}
    }
}

fn id_packet(first_byte: u8, id: Option<u16>) -> Vec<u8> {
    packet_bytes(first_byte, &format!("{:04x}", id.unwrap()))
}

#[test]
fn retained_messages_that_are_nothing_leave_nothing() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    let mut peer = Peer::v5(address, "a");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for topic in ["never/was", "/", "//", "$", "$share/g/t", "never"] {
            // Clearing what is not there, twice, and setting what is cleared at once.
            for payload in ["", "", "x", ""] {
                peer.publish_with(&OwnedPublish::new(topic, payload, qos).retain(true));
            }
        }
    }
    let refused = OwnedPublish::new("$SYS/a", "x", QoS::AtLeastOnce).retain(true);
    assert_eq!(peer.publish_with(&refused), ReasonCode::NotAuthorized);
    // One that is too old at once, and a will that clears what is not there.
    let short = OwnedPublish::new("short", "x", QoS::AtLeastOnce).message_expiry_interval(0);
    peer.publish_with(&short.retain(true));
    let will = OwnedWill::new("never/was", "").retain(true);
    drop(Peer::connect_with(address, &OwnedConnect::v5("b").will(will)));
    neighbours.are_served();
    let mut reader = Peer::v5(address, "c");
    reader.subscribe(&[("#", QoS::AtMostOnce), ("$/#", QoS::AtMostOnce)]);
    reader.expect_nothing_before_pong();
    let (_, gauges) = wait(broker.statistics()).unwrap();
    assert!(gauges.retained_messages <= 1, "{gauges:?}");
    broker.stop_blocking(DEADLINE).unwrap();
}

type Change = fn(&mut Limits);

/// Each limit at its least, alone and all together: the broker refuses to start, or it works.
#[test]
fn limits_of_nothing_break_nothing() {
    let changes: [(&str, Change); 12] = [
        ("retained messages", |limits| limits.retained_messages_max = 0),
        ("retained bytes", |limits| limits.retained_bytes_max = 0),
        ("queued messages", |limits| limits.queue_messages_max = 0),
        ("queued bytes", |limits| limits.queue_bytes_max = 0),
        ("user properties", |limits| limits.user_properties_max = 0),
        ("aliases in", |limits| limits.topic_alias_maximum = 0),
        ("aliases out", |limits| limits.topic_alias_outbound_max = 0),
        ("will delay", |limits| limits.will_delay_interval_max_seconds = 0),
        ("session expiry", |limits| limits.session_expiry_interval_max_seconds = 0),
        ("window", |limits| limits.in_flight_max = 1),
        ("receive maximum", |limits| limits.receive_maximum = 1),
        ("outbound bytes", |limits| limits.outbound_bytes_max = 1_024),
    ];
    let with = |changes: &[(&str, Change)]| {
        let mut limits = Limits::default();
        changes.iter().for_each(|(_, change)| change(&mut limits));
        limits
    };
    let mut cases = vec![("all", with(&changes))];
    cases.extend(changes.iter().map(|change| (change.0, with(slice::from_ref(change)))));
    for (name, limits) in cases {
        println!("{name}");
        let (broker, address) = start(Broker::builder().limits(limits).system_interval_seconds(0));
        let mut neighbours = Neighbours::new(address);
        let mut peer = Peer::v5(address, "a");
        peer.subscribe(&[("t", QoS::ExactlyOnce), ("$share/g/t", QoS::AtLeastOnce)]);
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let publish = OwnedPublish::new("t", "x", qos).retain(true);
            peer.publish_with(&publish);
            peer.receive_all();
        }
        let will = OwnedWill::new("t", "x").delay(1);
        let connect = OwnedConnect { session_expiry_interval: Some(1), ..OwnedConnect::v5("b") };
        drop(Peer::connect_with(address, &connect.will(will)));
        neighbours.are_served();
        broker.stop_blocking(DEADLINE).unwrap();
    }
}
