//! A new connection of an old session: what is sent again, how, and what is not.

use noctule_broker_core::DropCause;
use noctule_packet::QoS::{AtLeastOnce, ExactlyOnce};
use noctule_packet::{PacketType, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, VERSIONS, bytes};

use crate::broker::{Broker, Client, lasting};

/// A broker, and a client that got these messages and acknowledged none.
fn with_unacknowledged(
    version: Version,
    messages: &[(&str, noctule_packet::QoS)],
) -> (Broker, Client) {
    let broker = Broker::new();
    let mut subscriber = broker.lasting(version, "s");
    subscriber.subscribe(&[("t", ExactlyOnce)]);
    let mut publisher = broker.client(version, "p");
    for (payload, qos) in messages {
        publisher.publish("t", payload, *qos);
        let message = subscriber.expect_publish();
        assert_eq!((message.text(), message.dup), (*payload, false));
    }
    (broker, subscriber)
}

#[test]
fn a_resumed_session_repeats_with_dup_and_the_same_identifiers() {
    spec!("MQTT5-4.4.0-1", "MQTT5-3.3.1-1", "MQTT5-4.3.2-3", "MQTT5-4.3.3-3", "MQTT5-4.6.0-1");
    spec!("MQTT311-4.4.0-1", "MQTT311-3.3.1-1", "MQTT311-4.3.2-1", "MQTT311-4.3.3-1");
    spec!("MQTT311-4.6.0-1", "MQTT311-2.3.1-4", "MQTT31-3.3-1", "MQTT31-4.2-1");
    for version in VERSIONS {
        let messages =
            [("1", AtLeastOnce), ("2", ExactlyOnce), ("3", AtLeastOnce), ("4", ExactlyOnce)];
        let (broker, mut subscriber) = with_unacknowledged(version, &messages);
        subscriber.send_puback(3);
        for _ in 0..2 {
            drop(subscriber);
            subscriber = broker.lasting(version, "s");
            for (id, payload, qos) in
                [(1, "1", AtLeastOnce), (2, "2", ExactlyOnce), (4, "4", ExactlyOnce)]
            {
                let message = subscriber.expect_publish();
                assert_eq!((message.id(), message.text()), (id, payload));
                assert_eq!((message.qos, message.dup, message.topic.as_str()), (qos, true, "t"));
            }
            subscriber.expect_nothing_before_pong();
        }
    }
}

#[test]
fn nothing_is_repeated_while_the_connection_lasts() {
    spec!("MQTT5-4.4.0-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.connect(&lasting(version, "s").keep_alive(0));
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        let mut publisher = broker.client(version, "p");
        publisher.publish("t", "1", AtLeastOnce);
        publisher.publish("t", "2", ExactlyOnce);
        subscriber.expect_publish();
        let second = subscriber.expect_publish();
        subscriber.send_pubrec(second.id());
        subscriber.expect_pubrel(second.id());
        broker.advance_seconds(100_000);
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_new_session_is_repeated_nothing() {
    spec!("MQTT5-4.4.0-1", "MQTT311-3.1.2-6");
    for version in VERSIONS {
        let (broker, subscriber) =
            with_unacknowledged(version, &[("1", AtLeastOnce), ("2", ExactlyOnce)]);
        drop(subscriber);
        broker.client(version, "s").expect_nothing_before_pong();
    }
}

#[test]
fn after_pubrec_the_pubrel_is_repeated_and_the_publish_never() {
    spec!("MQTT5-4.3.3-5", "MQTT5-4.3.3-6", "MQTT5-4.4.0-1", "MQTT311-4.3.3-1", "MQTT311-4.4.0-1");
    spec!("MQTT31-4.2-1");
    for version in VERSIONS {
        let (broker, mut subscriber) = with_unacknowledged(version, &[("1", ExactlyOnce)]);
        subscriber.send_pubrec(1);
        subscriber.expect_pubrel(1);
        for _ in 0..2 {
            drop(subscriber);
            subscriber = broker.lasting(version, "s");
            subscriber.expect_pubrel(1);
            subscriber.expect_nothing_before_pong();
        }
        subscriber.send_pubcomp(1);
        drop(subscriber);
        broker.lasting(version, "s").expect_nothing_before_pong();
    }
}

#[test]
fn pubrels_are_repeated_in_the_order_of_the_pubrecs() {
    spec!("MQTT5-4.6.0-4", "MQTT311-4.6.0-4", "MQTT31-4.3-1");
    for version in VERSIONS {
        let messages = [("1", ExactlyOnce), ("2", ExactlyOnce), ("3", ExactlyOnce)];
        let (broker, mut subscriber) = with_unacknowledged(version, &messages);
        for id in [3, 1, 2] {
            subscriber.send_pubrec(id);
            subscriber.expect_pubrel(id);
        }
        drop(subscriber);
        let mut subscriber = broker.lasting(version, "s");
        for id in [3, 1, 2] {
            subscriber.expect_pubrel(id);
        }
    }
}

#[test]
fn a_repeated_pubrel_has_dup_in_3_1_only() {
    spec!("MQTT31-3.3-1", "MQTT5-3.6.1-1", "MQTT311-3.6.1-1");
    for (version, first, again) in [
        (Version::V3_1, "62 02 0001", "6a 02 0001"),
        (Version::V3_1_1, "62 02 0001", "62 02 0001"),
        (Version::V5_0, "62 02 0001", "62 02 0001"),
    ] {
        let (broker, mut subscriber) = with_unacknowledged(version, &[("1", ExactlyOnce)]);
        subscriber.send_pubrec(1);
        subscriber.expect_bytes(&bytes(first));
        drop(subscriber);
        broker.lasting(version, "s").expect_bytes(&bytes(again));
    }
}

#[test]
fn what_was_acknowledged_or_refused_is_not_repeated() {
    spec!("MQTT5-4.4.0-2", "MQTT5-4.3.2-3");
    let messages = [("1", AtLeastOnce), ("2", ExactlyOnce), ("3", AtLeastOnce), ("4", AtLeastOnce)];
    let (broker, mut subscriber) = with_unacknowledged(Version::V5_0, &messages);
    subscriber.send_ack(PacketType::Puback, 1, ReasonCode::UnspecifiedError);
    subscriber.send_ack(PacketType::Pubrec, 2, ReasonCode::NotAuthorized);
    subscriber.send_puback(3);
    drop(subscriber);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    assert_eq!(subscriber.expect_publish().id(), 4);
    subscriber.expect_nothing_before_pong();
}

#[test]
fn what_came_meanwhile_follows_what_is_repeated() {
    for version in VERSIONS {
        let (broker, subscriber) = with_unacknowledged(version, &[("1", AtLeastOnce)]);
        drop(subscriber);
        let mut publisher = broker.client(version, "p");
        publisher.publish("t", "2", ExactlyOnce);
        publisher.publish("t", "3", AtLeastOnce);
        let mut subscriber = broker.lasting(version, "s");
        for (payload, dup) in [("1", true), ("2", false), ("3", false)] {
            let message = subscriber.receive();
            assert_eq!((message.text(), message.dup), (payload, dup));
        }
        let gauges = broker.look(|shard| shard.gauges());
        assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0));
        assert_eq!(gauges.in_flight_messages, 0);
    }
}

#[test]
fn the_queue_is_accounted_for_when_acknowledged_messages_lie_between_repeated_ones() {
    let messages = [("1", AtLeastOnce), ("2", AtLeastOnce), ("3", AtLeastOnce)];
    let (broker, mut subscriber) = with_unacknowledged(Version::V5_0, &messages);
    subscriber.send_puback(2);
    subscriber.send_puback(3);
    drop(subscriber);
    broker.client(Version::V5_0, "p").publish("t", "4", AtLeastOnce);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    assert_eq!((subscriber.receive().dup, subscriber.receive().dup), (true, false));
    let gauges = broker.look(|shard| shard.gauges());
    assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0));
}

#[test]
fn acknowledgements_that_come_late_on_the_new_connection_count() {
    spec!("MQTT5-4.3.3-6");
    let (broker, subscriber) =
        with_unacknowledged(Version::V5_0, &[("1", AtLeastOnce), ("2", ExactlyOnce)]);
    drop(subscriber);
    let narrow = lasting(Version::V5_0, "s").receive_maximum(1);
    let mut subscriber = broker.connect(&narrow);
    assert_eq!(subscriber.expect_publish().id(), 1);
    // Message 2 is not repeated yet, and need not be.
    subscriber.send_pubrec(2);
    subscriber.expect_pubrel_with(2, ReasonCode::Success);
    subscriber.send_pubcomp(2);
    subscriber.send_puback(1);
    subscriber.expect_nothing_before_pong();
    assert_eq!(broker.look(|shard| shard.gauges().in_flight_messages), 0);
}

#[test]
fn a_taken_over_session_is_repeated_to_the_new_connection() {
    spec!("MQTT5-4.4.0-1", "MQTT311-4.4.0-1");
    for version in VERSIONS {
        let (broker, mut old) = with_unacknowledged(version, &[("1", ExactlyOnce)]);
        let mut new = broker.lasting(version, "s");
        old.expect_refused(ReasonCode::SessionTakenOver);
        let message = new.receive();
        assert_eq!((message.id(), message.dup), (1, true));
        new.expect_nothing_before_pong();
    }
}

#[test]
fn a_message_that_the_new_connection_takes_no_longer_is_given_up() {
    spec!("MQTT5-3.1.2-24", "MQTT5-3.1.2-25");
    let broker = Broker::new();
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", ExactlyOnce)]);
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("t", [b'x'; 100], AtLeastOnce);
    publisher.publish("t", "small", AtLeastOnce);
    drop(subscriber);
    let connect = OwnedConnect::v5("s").resumable(3_600).maximum_packet_size(60);
    let mut subscriber = broker.connect(&connect);
    assert_eq!(subscriber.receive().text(), "small");
    subscriber.expect_nothing_before_pong();
    let dropped = DropCause::PacketTooLarge.index();
    assert_eq!(broker.look(|shard| shard.statistics().dropped[dropped]), 1);
    assert_eq!(broker.look(|shard| shard.gauges().in_flight_messages), 0);
}
