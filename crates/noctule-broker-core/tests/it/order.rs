//! Order: one publisher's messages reach each subscriber as they were published, also when a turn
//! is too short for all of them.

use noctule_broker_core::{
    ConnectionId, Durability, Effects, Input, ListenerId, Record, Settings, Shard, Timestamp,
};
use noctule_packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use noctule_packet::{Framing, Packet, PacketType, QoS, TextRules, Version, spec, split};
use noctule_testkit::{OwnedPublish, VERSIONS, packet_bytes};

use crate::broker::{Broker, lasting};

/// More subscribers times messages than one turn delivers (8,192).
const SUBSCRIBERS: u32 = 100;
const MESSAGES: u32 = 120;

fn publish_bytes(number: u32, qos: QoS, version: Version) -> Vec<u8> {
    let mut publish = OwnedPublish::new("t", number.to_string(), qos);
    if qos > AtMostOnce {
        publish = publish.packet_id(u16::try_from(number + 1).unwrap());
    }
    let mut out = Vec::new();
    Packet::Publish(publish.to_packet()).encode(version, &mut out).unwrap();
    out
}

#[test]
fn messages_arrive_in_the_order_of_publication() {
    spec!("MQTT5-4.6.0-5", "MQTT5-4.6.0-6", "MQTT311-4.6.0-5", "MQTT311-4.6.0-6");
    for version in VERSIONS {
        for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            let broker = Broker::with(|settings| settings.limits.in_flight_max = 3);
            let mut subscriber = broker.client(version, "s");
            subscriber.subscribe(&[("t", qos)]);
            let mut publisher = broker.client(version, "p");
            for number in 0..50_u32 {
                publisher.publish("t", number.to_string(), qos);
            }
            for number in 0..50_u32 {
                assert_eq!(subscriber.receive().text(), number.to_string());
            }
        }
    }
}

#[test]
fn messages_from_before_and_after_a_reconnect_keep_their_order() {
    spec!("MQTT5-4.6.0-5", "MQTT311-4.6.0-6", "MQTT5-4.6.0-1", "MQTT311-4.6.0-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.connect(&lasting(version, "s"));
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        let mut publisher = broker.client(version, "p");
        let publish = |publisher: &mut crate::broker::Client, numbers: std::ops::Range<u32>| {
            for number in numbers {
                publisher.publish("t", number.to_string(), AtLeastOnce);
            }
        };
        publish(&mut publisher, 0..10);
        let received: Vec<_> = (0..10).map(|_| subscriber.expect_publish()).collect();
        subscriber.send_puback(received[4].id());
        drop(subscriber);
        publish(&mut publisher, 10..20);
        let mut subscriber = broker.connect(&lasting(version, "s"));
        publish(&mut publisher, 20..30);
        for number in (0..30_u32).filter(|number| *number != 4) {
            let message = subscriber.receive();
            assert_eq!((message.text(), message.dup), (&*number.to_string(), number < 10));
        }
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn pubrels_leave_in_the_order_of_the_pubrecs() {
    spec!("MQTT5-4.6.0-4", "MQTT311-4.6.0-4", "MQTT31-4.3-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "s");
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        let mut publisher = broker.client(version, "p");
        for number in 0..4_u32 {
            publisher.publish("t", number.to_string(), ExactlyOnce);
        }
        let ids: Vec<_> = (0..4).map(|_| subscriber.expect_publish().id()).collect();
        for at in [2, 0, 3, 1] {
            subscriber.send_pubrec(ids[at]);
        }
        for at in [2, 0, 3, 1] {
            subscriber.expect_pubrel(ids[at]);
        }
    }
}

#[test]
fn a_fan_out_that_takes_several_turns_loses_nothing_and_keeps_the_order() {
    spec!("MQTT5-4.6.0-5", "MQTT5-4.6.0-6", "MQTT311-4.6.0-6");
    for version in VERSIONS {
        for qos in [AtMostOnce, AtLeastOnce] {
            let broker = Broker::new();
            let mut publisher = broker.client(version, "p");
            // What is more than a turn must be so on one shard.
            let mut subscribers: Vec<_> = broker
                .names_at(broker.home("p"), "s")
                .take(SUBSCRIBERS as usize)
                .map(|name| {
                    let mut subscriber = broker.client(version, &name);
                    subscriber.subscribe(&[("t", qos)]);
                    subscriber
                })
                .collect();
            broker.trace();
            let burst: Vec<u8> =
                (0..MESSAGES).flat_map(|number| publish_bytes(number, qos, version)).collect();
            publisher.send_bytes(&burst);
            let trace = broker.trace();
            assert!(trace.iter().any(|effect| effect == "Resume"), "the publisher was paused");
            for subscriber in &mut subscribers {
                for number in 0..MESSAGES {
                    assert_eq!(subscriber.expect_publish().text(), number.to_string());
                }
                subscriber.expect_nothing_before_pong();
            }
            if qos > AtMostOnce {
                (1..=MESSAGES).for_each(|id| {
                    publisher.expect_puback(u16::try_from(id).unwrap());
                });
            }
            publisher.expect_nothing_before_pong();
        }
    }
}

#[test]
fn an_acknowledgement_follows_the_last_delivery_of_its_fan_out() {
    let broker = Broker::new();
    let version = Version::V5_0;
    let mut publisher = broker.client(version, "p");
    let subscribers: Vec<_> = broker
        .names_at(broker.home("p"), "s")
        .take(SUBSCRIBERS as usize)
        .map(|name| {
            let mut subscriber = broker.client(version, &name);
            subscriber.subscribe(&[("t", AtMostOnce)]);
            subscriber
        })
        .collect();
    broker.trace();
    let burst: Vec<u8> =
        (0..MESSAGES).flat_map(|number| publish_bytes(number, AtLeastOnce, version)).collect();
    publisher.send_bytes(&burst);
    let trace = broker.trace();
    let written: Vec<&str> =
        trace.iter().filter_map(|effect| effect.strip_prefix("Write ")).collect();
    let count = |text: &str, name: &str| text.split(' ').filter(|word| *word == name).count();
    // One round writes to all of them once.
    let (first_round, _) = written.split_at(101);
    let acknowledged: usize = first_round.iter().map(|text| count(text, "PUBACK")).sum();
    let deliveries = first_round.iter().map(|text| count(text, "PUBLISH"));
    let delivered: Vec<_> = deliveries.filter(|count| *count > 0).collect();
    assert_eq!(delivered.len(), 100);
    assert!(acknowledged > 0 && acknowledged < MESSAGES as usize, "{acknowledged}");
    assert_eq!(delivered.iter().min(), Some(&acknowledged), "{delivered:?}");
    assert_eq!(delivered.iter().max(), Some(&(acknowledged + 1)), "{delivered:?}");
    drop(subscribers);
}

/// A shard whose turns the test decides about.
struct Turns {
    shard: Shard,
    effects: Effects,
}

impl Turns {
    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn new() -> Self {
        let mut settings = Settings::default();
        settings.system_interval_seconds = 0;
        Self { shard: Shard::new(settings, Self::NOW, 1), effects: Effects::new() }
    }

    fn input(&mut self, input: Input<'_>) -> usize {
        self.shard.on_input(Self::NOW, input, &mut self.effects).bytes
    }

    /// A 3.1.1 client that keeps its session.
    fn connect(&mut self, slot: u32, client_id: &str) -> ConnectionId {
        let connection = ConnectionId { slot, generation: 0 };
        let peer = "peer".into();
        self.input(Input::Opened { connection, listener: ListenerId(0), peer, moved: false });
        let connect = packet_bytes(0x10, &format!("s'MQTT' 04 00 0000 s'{client_id}'"));
        self.send(connection, &connect);
        connection
    }

    fn send(&mut self, connection: ConnectionId, bytes: &[u8]) -> usize {
        self.input(Input::Bytes { connection, bytes })
    }

    /// The payloads of what waits to be written to a connection.
    fn published(&mut self, connection: ConnectionId) -> Vec<String> {
        let outbound = self.shard.outbound(connection).unwrap();
        let bytes: Vec<u8> = outbound.chunks().flatten().copied().collect();
        let (mut rest, mut found) = (&bytes[..], Vec::new());
        while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
            if frame.packet_type == PacketType::Publish {
                let packet = Packet::decode(&frame, Version::V3_1_1, TextRules::Strict).unwrap();
                let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
                found.push(String::from_utf8(publish.payload.to_vec()).unwrap());
            }
            rest = &rest[frame.length..];
        }
        found
    }
}

#[test]
fn a_publisher_that_reconnects_in_the_middle_of_a_fan_out_does_not_overtake_itself() {
    spec!("MQTT5-4.6.0-5", "MQTT311-4.6.0-6");
    let mut turns = Turns::new();
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|n| {
            let subscriber = turns.connect(n, &format!("s{n}"));
            turns.send(subscriber, &packet_bytes(0x82, "0001 s't' 00"));
            subscriber
        })
        .collect();
    let old = turns.connect(SUBSCRIBERS, "p");
    let burst: Vec<u8> = (0..MESSAGES)
        .flat_map(|number| publish_bytes(number, AtMostOnce, Version::V3_1_1))
        .collect();
    let taken = turns.send(old, &burst);
    assert!(taken < burst.len(), "one turn was enough");
    let before = turns.published(subscribers[0]).len();
    assert!(turns.published(subscribers[99]).len() < before, "no fan-out was interrupted");
    let new = turns.connect(SUBSCRIBERS + 1, "p");
    turns.send(new, &publish_bytes(999, AtMostOnce, Version::V3_1_1));
    while turns.shard.poll_timeout() == Some(Turns::NOW) {
        turns.input(Input::Timeout);
    }
    for subscriber in subscribers {
        let mut expected: Vec<String> = (0..before).map(|number| number.to_string()).collect();
        expected.push("999".to_owned());
        assert_eq!(turns.published(subscriber), expected);
    }
}

#[test]
fn a_subscriber_that_leaves_in_the_middle_of_a_fan_out_gets_the_rest_when_it_returns() {
    spec!("MQTT5-4.5.0-1", "MQTT5-4.6.0-5", "MQTT311-4.6.0-6");
    let mut turns = Turns::new();
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|n| {
            let subscriber = turns.connect(n, &format!("s{n}"));
            turns.send(subscriber, &packet_bytes(0x82, "0001 s't' 01"));
            subscriber
        })
        .collect();
    let publisher = turns.connect(SUBSCRIBERS, "p");
    let burst: Vec<u8> = (0..MESSAGES)
        .flat_map(|number| publish_bytes(number, AtLeastOnce, Version::V3_1_1))
        .collect();
    let mut taken = turns.send(publisher, &burst);
    let before = turns.published(subscribers[99]).len();
    assert!(before < turns.published(subscribers[0]).len(), "no fan-out was interrupted");
    turns.input(Input::Closed { connection: subscribers[99] });
    while turns.shard.poll_timeout() == Some(Turns::NOW) {
        turns.input(Input::Timeout);
        taken += turns.send(publisher, &burst[taken..]);
    }
    assert_eq!(taken, burst.len());
    let again = turns.connect(SUBSCRIBERS + 1, "s99");
    let expected: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    assert_eq!(turns.published(again), expected);
    assert_eq!(turns.published(subscribers[98]), expected);
}

#[test]
fn what_comes_while_a_connack_is_held_back_follows_it() {
    let broker = Broker::with(|settings| settings.durability = Durability::Stored);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", AtLeastOnce)]);
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("t", "1", AtLeastOnce);
    drop(subscriber);
    publisher.publish("t", "2", AtLeastOnce);
    broker.hold();
    let mut subscriber = broker.open();
    subscriber.send_connect(&lasting(Version::V5_0, "s"));
    publisher.send_publish(&OwnedPublish::new("t", "3", AtLeastOnce).packet_id(9));
    assert!(matches!(broker.record(), Record::SessionStarted(_)));
    assert!(matches!(broker.record(), Record::QueuedRun(_)));
    publisher.expect_nothing_before_pong();
    broker.kept();
    assert!(subscriber.expect_connack().session_present);
    for (payload, dup) in [("1", true), ("2", false), ("3", false)] {
        let message = subscriber.receive();
        assert_eq!((message.text(), message.dup), (payload, dup));
    }
    subscriber.expect_nothing_before_pong();
    publisher.expect_nothing_before_pong();
    broker.kept();
    publisher.expect_puback(9);
}

#[test]
fn others_are_served_between_the_turns_of_a_fan_out() {
    let mut turns = Turns::new();
    for n in 0..SUBSCRIBERS {
        let subscriber = turns.connect(n, &format!("s{n}"));
        turns.send(subscriber, &packet_bytes(0x82, "0001 s't' 00"));
    }
    let publisher = turns.connect(SUBSCRIBERS, "p");
    let other = turns.connect(SUBSCRIBERS + 1, "other");
    turns.send(other, &packet_bytes(0x82, "0001 s'u' 00"));
    let burst: Vec<u8> = (0..MESSAGES)
        .flat_map(|number| publish_bytes(number, AtMostOnce, Version::V3_1_1))
        .collect();
    turns.send(publisher, &burst);
    assert_eq!(turns.shard.poll_timeout(), Some(Turns::NOW));
    turns.send(other, &packet_bytes(0x30, "s'u' 'mine'"));
    assert_eq!(turns.published(other), ["mine"]);
}
