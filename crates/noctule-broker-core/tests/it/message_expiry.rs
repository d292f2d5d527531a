//! Message Expiry Interval on the way to a subscriber.

use std::time::Duration;

use noctule_broker_core::{Authorization, DropCause, Event, Settings};
use noctule_packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use noctule_packet::{Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, lasting};

fn expiring(payload: &str, seconds: u32) -> OwnedPublish {
    OwnedPublish::new("t", payload, AtLeastOnce).message_expiry_interval(seconds)
}

/// A broker with a publisher, and a subscriber that is away.
fn with_absent_subscriber(version: Version) -> (Broker, Client) {
    let broker = Broker::new();
    let mut subscriber = broker.lasting(version, "s");
    subscriber.subscribe(&[("t", ExactlyOnce)]);
    drop(subscriber);
    let publisher = broker.client(Version::V5_0, "p");
    (broker, publisher)
}

#[test]
fn a_message_that_expired_while_it_waited_is_deleted() {
    spec!("MQTT5-3.3.2-5");
    for version in VERSIONS {
        let (broker, mut publisher) = with_absent_subscriber(version);
        publisher.publish_with(&expiring("short", 10));
        publisher.publish("t", "lasting", AtLeastOnce);
        publisher.publish_with(&expiring("long", 20));
        broker.events();
        broker.advance_seconds(10);
        let mut subscriber = broker.lasting(version, "s");
        assert_eq!(subscriber.receive().text(), "lasting");
        assert_eq!(subscriber.receive().text(), "long");
        subscriber.expect_nothing_before_pong();
        let dropped = Event::Dropped {
            client_id: "s".into(),
            topic: "t".into(),
            cause: DropCause::Expired,
            limit: None,
        };
        assert_eq!(broker.events().iter().filter(|event| **event == dropped).count(), 1);
        let expired = DropCause::Expired.index();
        assert_eq!(broker.look(|shard| shard.statistics().dropped[expired]), 1);
        let gauges = broker.look(|shard| shard.gauges());
        assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0));
    }
}

#[test]
fn a_message_that_expired_behind_a_full_window_is_deleted() {
    spec!("MQTT5-3.3.2-5");
    let broker = Broker::new();
    let mut subscriber = broker.connect(&lasting(Version::V5_0, "s").receive_maximum(1));
    subscriber.subscribe(&[("t", ExactlyOnce)]);
    let mut publisher = broker.client(Version::V5_0, "p");
    for payload in ["1", "2", "3"] {
        publisher.publish_with(&expiring(payload, 10));
    }
    publisher.publish("t", "4", AtLeastOnce);
    let first = subscriber.expect_publish();
    broker.advance_seconds(10);
    subscriber.acknowledge(&first);
    assert_eq!(subscriber.receive().text(), "4");
    subscriber.expect_nothing_before_pong();
}

#[test]
fn a_message_that_expired_while_it_was_asked_about_is_deleted() {
    spec!("MQTT5-3.3.2-5");
    for qos in [AtMostOnce, AtLeastOnce] {
        let broker = Broker::with(|settings| settings.authorization = Authorization::Ask);
        let mut subscriber = broker.connect(&OwnedConnect::v5("s").keep_alive(0));
        subscriber.subscribe(&[("t", qos)]);
        let mut publisher = broker.client(Version::V5_0, "p");
        broker.hold();
        for (payload, id) in [("short", 1), ("long", 2)] {
            publisher.send_publish(&expiring(payload, 10 * u32::from(id)).packet_id(id));
        }
        broker.advance_seconds(11);
        broker.events();
        broker.answer_all();
        publisher.expect_puback(1);
        publisher.expect_puback(2);
        let message = subscriber.receive();
        assert_eq!((message.text(), message.message_expiry_interval), ("long", Some(20)));
        subscriber.expect_nothing_before_pong();
        let is_expired =
            |event: &Event| matches!(event, Event::Dropped { cause: DropCause::Expired, .. });
        assert_eq!(broker.events().iter().filter(|event| is_expired(event)).count(), 1);
    }
}

#[test]
fn the_interval_goes_down_by_the_time_in_the_broker() {
    spec!("MQTT5-3.3.2-6");
    let (broker, mut publisher) = with_absent_subscriber(Version::V5_0);
    let mut present = broker.client(Version::V5_0, "present");
    present.subscribe(&[("t", AtMostOnce)]);
    for (payload, seconds) in [("1", 100), ("2", 41), ("3", u32::MAX)] {
        publisher.publish_with(&expiring(payload, seconds));
        assert_eq!(present.receive().message_expiry_interval, Some(seconds));
    }
    publisher.publish("t", "4", AtLeastOnce);
    assert_eq!(present.receive().message_expiry_interval, None);
    broker.advance(Duration::from_millis(40_000));
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    for left in [Some(60), Some(1), Some(u32::MAX - 40), None] {
        assert_eq!(subscriber.receive().message_expiry_interval, left);
    }
}

#[test]
fn a_part_of_a_second_is_not_counted_as_waited() {
    spec!("MQTT5-3.3.2-6");
    let (broker, mut publisher) = with_absent_subscriber(Version::V5_0);
    publisher.publish_with(&expiring("1", 10));
    broker.advance(Duration::from_millis(1_999));
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    assert_eq!(subscriber.receive().message_expiry_interval, Some(9));
}

#[test]
fn an_interval_of_zero_is_passed_on_and_never_waits() {
    spec!("MQTT5-3.3.2-5", "MQTT5-3.3.2-6");
    let (broker, mut publisher) = with_absent_subscriber(Version::V5_0);
    let mut present = broker.client(Version::V5_0, "present");
    present.subscribe(&[("t", AtLeastOnce)]);
    publisher.publish_with(&expiring("now", 0));
    assert_eq!(present.receive().message_expiry_interval, Some(0));
    broker.lasting(Version::V5_0, "s").expect_nothing_before_pong();
}

#[test]
fn the_interval_is_not_sent_before_5_0() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let (broker, mut publisher) = with_absent_subscriber(version);
        publisher.publish_with(&expiring("1", 10));
        assert_eq!(broker.lasting(version, "s").receive().message_expiry_interval, None);
    }
}

#[test]
fn what_was_sent_once_does_not_expire() {
    spec!("MQTT5-4.3.3-7", "MQTT5-4.4.0-1");
    for qos in [AtLeastOnce, ExactlyOnce] {
        let broker = Broker::new();
        let mut subscriber = broker.lasting(Version::V5_0, "s");
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        let mut publisher = broker.client(Version::V5_0, "p");
        let message = OwnedPublish::new("t", "x", qos).message_expiry_interval(10);
        publisher.publish_with(&message);
        let first = subscriber.expect_publish();
        drop(subscriber);
        broker.advance_seconds(1_000);
        let mut subscriber = broker.lasting(Version::V5_0, "s");
        let again = subscriber.receive();
        assert_eq!((again.id(), again.dup, again.text()), (first.id(), true, "x"));
        assert_eq!(again.message_expiry_interval, Some(0));
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn the_longest_expiry_of_a_message_is_a_setting() {
    for version in VERSIONS {
        let limit = |settings: &mut Settings| {
            settings.limits.message_expiry_interval_max_seconds = 10;
        };
        let broker = Broker::with(limit);
        let mut subscriber = broker.lasting(version, "s");
        subscriber.subscribe(&[("#", ExactlyOnce)]);
        drop(subscriber);
        let will = OwnedWill::new("will", "will").qos(AtLeastOnce);
        drop(broker.connect(&OwnedConnect::new(version, "w").will(will)));
        let mut publisher = broker.client(Version::V5_0, "p");
        publisher.publish("t", "says nothing", AtLeastOnce);
        publisher.publish("t", "again", AtLeastOnce);
        publisher.publish_with(&expiring("wants more", 1_000));
        publisher.publish_with(&expiring("wants less", 2));
        let retained = OwnedPublish::new("r", "retained", AtLeastOnce).retain(true);
        publisher.publish_with(&retained.packet_id(9));
        broker.advance_seconds(9);
        let mut subscriber = broker.lasting(version, "s");
        for expected in ["will", "says nothing", "again", "wants more", "retained"] {
            let message = subscriber.receive();
            assert_eq!(message.text(), expected);
            let left = version.is_v5().then_some(1);
            assert_eq!(message.message_expiry_interval, left, "{expected}");
        }
        drop(subscriber);
        publisher.publish("t", "late", AtLeastOnce);
        broker.advance_seconds(10);
        let mut subscriber = broker.lasting(version, "s");
        subscriber.expect_nothing_before_pong();
        publisher.subscribe(&[("r", AtLeastOnce)]);
        publisher.expect_nothing_before_pong();
    }
}
