//! The Message Expiry Interval of retained messages: what is left of it is sent, and what is over
//! is gone.

use std::time::Duration;

use noctule_broker_core::{ConnectionId, Effects, Input, ListenerId, Settings, Shard, Timestamp};
use noctule_packet::{QoS, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS, packet_bytes};

use crate::broker::{Broker, Client, placement_of, shards};
use crate::world::Shards;

fn expiring(payload: &str, seconds: u32) -> OwnedPublish {
    OwnedPublish::new("a", payload, QoS::AtLeastOnce).retain(true).message_expiry_interval(seconds)
}

fn publisher(broker: &Broker) -> Client {
    broker.connect(&OwnedConnect::v5("publisher").keep_alive(0))
}

/// What a new subscriber gets: payload and interval.
fn served(broker: &Broker, version: Version) -> Option<(String, Option<u32>)> {
    let mut subscriber = broker.client(version, "subscriber");
    let before = broker.look(|shard| shard.statistics().publish_sent);
    subscriber.subscribe(&[("#", QoS::AtLeastOnce)]);
    let sent = broker.look(|shard| shard.statistics().publish_sent) - before;
    let message = (sent > 0).then(|| subscriber.receive());
    subscriber.expect_nothing_before_pong();
    message.map(|message| (message.text().to_owned(), message.message_expiry_interval))
}

fn kept(broker: &Broker) -> (u64, u64) {
    broker.look(|shard| (shard.gauges().retained_messages, shard.gauges().retained_bytes))
}

#[test]
fn what_is_left_of_the_interval_is_sent() {
    spec!("MQTT5-3.3.2-6");
    let broker = Broker::new();
    publisher(&broker).publish_with(&expiring("1", 10));
    for (millis, left) in [(0, 10), (1, 10), (998, 10), (1, 9), (5_500, 4), (3_499, 1)] {
        broker.advance(Duration::from_millis(millis));
        let interval = served(&broker, Version::V5_0).expect("a message").1;
        assert_eq!(interval, Some(left), "{millis} ms later");
    }
    assert_eq!(served(&broker, Version::V3_1_1), Some(("1".to_owned(), None)));
    broker.advance(Duration::from_millis(1));
    assert_eq!(served(&broker, Version::V5_0), None);
}

#[test]
fn what_has_expired_is_gone_for_every_version_and_its_memory_is_free() {
    spec!("MQTT5-3.3.2-5");
    let broker = Broker::with(|settings| settings.limits.retained_messages_max = 1);
    let mut publisher = publisher(&broker);
    publisher.publish_with(&expiring("1", 10));
    broker.advance_seconds(9);
    assert_ne!(kept(&broker), (0, 0));
    broker.advance_seconds(1);
    assert_eq!(kept(&broker), (0, 0));
    for version in VERSIONS {
        assert_eq!(served(&broker, version), None);
    }
    let next = OwnedPublish::new("b", "2", QoS::AtLeastOnce).retain(true);
    assert!(!publisher.publish_with(&next).is_error());
    assert_eq!(broker.look(Shards::poll_timeout), None, "no timer is left");
}

#[test]
fn an_interval_of_0_is_over_at_once() {
    let broker = Broker::new();
    publisher(&broker).publish_with(&expiring("1", 0));
    assert_eq!(served(&broker, Version::V5_0), None);
    assert_eq!(kept(&broker), (0, 0));
}

#[test]
fn the_interval_of_a_message_that_was_replaced_ends_nothing() {
    for (first, second) in [(10, None), (10, Some(30)), (30, Some(10)), (10, Some(10))] {
        let broker = Broker::new();
        let mut publisher = publisher(&broker);
        publisher.publish_with(&expiring("older", first));
        let mut newer = expiring("newer", 0);
        newer.message_expiry_interval = second;
        publisher.publish_with(&newer);
        let due = second.map(|seconds| broker.now().plus_seconds(seconds));
        assert_eq!(broker.look(Shards::poll_timeout), due, "no other timer is left");
        for seconds in [9, 10, 29, 30] {
            let now = broker.now().as_millis() / 1_000 - 1_000;
            broker.advance_seconds(seconds - now);
            let expected = second.is_none_or(|second| u64::from(second) > seconds);
            let found = served(&broker, Version::V3_1_1).map(|(text, _)| text);
            assert_eq!(found, expected.then(|| "newer".to_owned()), "{first} {second:?} {seconds}");
        }
    }
}

#[test]
fn the_interval_of_a_message_that_was_cleared_ends_nothing() {
    let broker = Broker::new();
    let mut publisher = publisher(&broker);
    publisher.publish_with(&expiring("1", 10));
    publisher.publish_with(&expiring("", 10));
    assert_eq!(broker.look(Shards::poll_timeout), None, "no timer is left");
    publisher.publish_with(&expiring("2", 20));
    broker.advance_seconds(10);
    assert_eq!(served(&broker, Version::V5_0), Some(("2".to_owned(), Some(10))));
}

#[test]
fn what_expires_during_a_replay_is_not_served_any_more() {
    let last = shards() - 1;
    let broker = Broker::with(|settings| {
        settings.limits.in_flight_max = 1;
        settings.placement =
            placement_of(shards(), &[("a", 0), ("b", 0), ("c", last), ("d", last)]);
    });
    let mut publisher = publisher(&broker);
    publisher.publish_with(&expiring("1", 100));
    for (topic, seconds) in [("b", 10), ("c", 100), ("d", 10)] {
        let publish = OwnedPublish { topic: topic.to_owned(), ..expiring("1", seconds) };
        publisher.publish_with(&publish);
    }
    let connect = OwnedConnect::v5("subscriber").keep_alive(0);
    let mut subscriber = broker.connect(&connect);
    subscriber.subscribe(&[("#", QoS::AtLeastOnce)]);
    let first = subscriber.expect_publish();
    assert_eq!((first.topic.as_str(), first.message_expiry_interval), ("a", Some(100)));
    broker.advance_seconds(10);
    subscriber.acknowledge(&first);
    let second = subscriber.receive();
    assert_eq!((second.topic.as_str(), second.message_expiry_interval), ("c", Some(90)));
    subscriber.expect_nothing_before_pong();
}

#[test]
fn what_has_expired_is_not_served_even_if_the_timer_is_late() {
    let start = Timestamp::from_millis(0);
    let mut settings = Settings::default();
    settings.system_interval_seconds = 0;
    let (mut shard, mut effects) = (Shard::new(settings, start, 7), Effects::new());
    let connection = ConnectionId { slot: 0, generation: 0 };
    let opened =
        Input::Opened { connection, listener: ListenerId(0), peer: "".into(), moved: false };
    let _ = shard.on_input(start, opened, &mut effects);
    let mut said = |seconds, bytes: &[u8]| {
        let input = Input::Bytes { connection, bytes };
        let _ = shard.on_input(start.plus_seconds(seconds), input, &mut effects);
        let outbound = shard.outbound(connection).expect("a connection");
        let said: Vec<u8> = outbound.chunks().flatten().copied().collect();
        outbound.advance(said.len());
        said
    };
    said(0, &packet_bytes(0x10, "s'MQTT' 05 02 0000 00 s'a'"));
    said(0, &packet_bytes(0x31, "s'a' 05 02 0000000a '1'"));
    let subscribe = packet_bytes(0x82, "0001 00 s'a' 00");
    let (suback, publish) = (&packet_bytes(0x90, "0001 00 00"), 0x31);
    let served = said(9, &subscribe);
    assert!(served.starts_with(suback) && served[suback.len()] == publish, "{served:?}");
    assert_eq!(said(10, &subscribe), *suback);
}

#[test]
fn a_retained_will_expires_after_its_publication() {
    let broker = Broker::new();
    let will = OwnedWill::new("a", "left").retain(true).message_expiry_interval(10);
    let client = broker.connect(&OwnedConnect::v5("leaver").keep_alive(0).will(will));
    broker.advance_seconds(20);
    drop(client);
    broker.advance_seconds(4);
    assert_eq!(served(&broker, Version::V5_0), Some(("left".to_owned(), Some(6))));
    broker.advance_seconds(6);
    assert_eq!(served(&broker, Version::V5_0), None);
}
