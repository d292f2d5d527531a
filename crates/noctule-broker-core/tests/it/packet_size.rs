//! The client's maximum packet size.

use noctule_broker_core::{DropCause, Event, Limit};
use noctule_packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use noctule_packet::{QoS, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish};

use crate::broker::Broker;

/// PUBLISH with topic `t` and without properties, but for the payload.
fn bytes_without_payload(qos: QoS) -> u32 {
    2 + 3 + if qos > AtMostOnce { 2 } else { 0 } + 1
}

#[test]
fn a_packet_of_exactly_the_maximum_is_sent_and_a_larger_one_is_dropped_as_if_delivered() {
    spec!("MQTT5-3.1.2-24", "MQTT5-3.1.2-25");
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        let broker = Broker::new();
        let maximum = bytes_without_payload(qos) + 50;
        let connect = OwnedConnect::v5("s").resumable(3_600).maximum_packet_size(maximum);
        let mut subscriber = broker.connect(&connect);
        subscriber.subscribe(&[("t", qos)]);
        let mut publisher = broker.client(Version::V5_0, "p");
        broker.events();
        publisher.publish("t", [b'x'; 51], qos);
        let limit = Limit {
            setting: "maximum packet size in CONNECT",
            maximum: u64::from(maximum),
            wanted: u64::from(maximum) + 1,
        };
        let dropped = Event::Dropped {
            client_id: "s".into(),
            topic: "t".into(),
            cause: DropCause::PacketTooLarge,
            limit: Some(limit),
        };
        assert_eq!(broker.events(), [dropped]);
        publisher.publish("t", [b'x'; 50], qos);
        assert_eq!(subscriber.receive().payload.len(), 50);
        drop(subscriber);
        // It was done with, not kept.
        broker.connect(&connect).expect_nothing_before_pong();
        let dropped = DropCause::PacketTooLarge.index();
        assert_eq!(broker.look(|shard| shard.statistics().dropped[dropped]), 1);
    }
}

#[test]
fn a_message_that_waited_is_measured_when_it_is_sent() {
    spec!("MQTT5-3.1.2-24", "MQTT5-3.1.2-25");
    let broker = Broker::new();
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", ExactlyOnce)]);
    drop(subscriber);
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("t", [b'x'; 500], AtLeastOnce);
    publisher.publish("t", "small", AtLeastOnce);
    let connect = OwnedConnect::v5("s").resumable(3_600).maximum_packet_size(100);
    let mut subscriber = broker.connect(&connect.receive_maximum(1));
    let message = subscriber.receive();
    assert_eq!((message.text(), message.dup), ("small", false));
    subscriber.expect_nothing_before_pong();
    let gauges = broker.look(|shard| shard.gauges());
    assert_eq!((gauges.in_flight_messages, gauges.queued_messages, gauges.queued_bytes), (0, 0, 0));
}

#[test]
fn properties_and_identifiers_count() {
    spec!("MQTT5-3.1.2-24");
    let broker = Broker::new();
    let mut subscriber = broker.connect(&OwnedConnect::v5("s").maximum_packet_size(60));
    subscriber.subscribe(&[("t", AtMostOnce)]);
    let mut publisher = broker.client(Version::V5_0, "p");
    let message = OwnedPublish::new("t", [b'x'; 30], AtMostOnce);
    publisher.publish_with(&message.clone().user_property("name", "a value of twenty b"));
    subscriber.expect_nothing_before_pong();
    publisher.publish_with(&message.user_property("n", "v"));
    subscriber.receive();
}

#[test]
fn other_subscribers_get_what_one_cannot_take() {
    let broker = Broker::new();
    let mut small = broker.connect(&OwnedConnect::v5("small").maximum_packet_size(100));
    small.subscribe(&[("t", AtLeastOnce)]);
    let mut large = broker.client(Version::V5_0, "large");
    large.subscribe(&[("t", AtLeastOnce)]);
    broker.client(Version::V3_1_1, "p").publish("t", [b'x'; 20_000], AtLeastOnce);
    assert_eq!(large.receive().payload, [b'x'; 20_000]);
    small.expect_nothing_before_pong();
}
