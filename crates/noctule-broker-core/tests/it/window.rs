//! The client's receive maximum, and the bounds of what waits behind it.

use noctule_broker_core::{DropCause, Event, Limit};
use noctule_packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use noctule_packet::{PacketType, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting};

/// A subscriber that takes `receive_maximum` messages at a time; before 5.0 the broker's own bound
/// takes its place.
fn narrow(version: Version, receive_maximum: u16) -> (Broker, Client, Client) {
    let broker = Broker::with(|settings| {
        if !version.is_v5() {
            settings.limits.in_flight_max = receive_maximum;
        }
    });
    let mut connect = lasting(version, "s");
    if version.is_v5() {
        connect = connect.receive_maximum(receive_maximum);
    }
    let mut subscriber = broker.connect(&connect);
    subscriber.subscribe(&[("t", ExactlyOnce)]);
    let publisher = broker.client(version, "p");
    (broker, subscriber, publisher)
}

#[test]
fn no_more_messages_are_open_than_the_client_takes() {
    spec!("MQTT5-3.3.4-9", "MQTT5-4.9.0-1", "MQTT5-4.9.0-2");
    for version in VERSIONS {
        for maximum in [1, 2, 5] {
            let (_broker, mut subscriber, mut publisher) = narrow(version, maximum);
            for number in 0..10_u32 {
                let qos = if number % 2 == 0 { AtLeastOnce } else { ExactlyOnce };
                publisher.publish("t", number.to_string(), qos);
            }
            let mut open = Vec::new();
            for number in 0..10_u32 {
                if open.len() == usize::from(maximum) {
                    subscriber.expect_nothing_before_pong();
                    let oldest: OwnedPublish = open.remove(0);
                    subscriber.acknowledge(&oldest);
                }
                let message = subscriber.expect_publish();
                assert_eq!(message.text(), number.to_string());
                open.push(message);
            }
        }
    }
}

#[test]
fn pubrec_alone_opens_no_place() {
    spec!("MQTT5-3.3.4-9", "MQTT5-4.9.0-2", "MQTT5-4.3.3-5");
    for version in VERSIONS {
        let (_broker, mut subscriber, mut publisher) = narrow(version, 1);
        publisher.publish("t", "1", ExactlyOnce);
        publisher.publish("t", "2", ExactlyOnce);
        let first = subscriber.expect_publish();
        subscriber.send_pubrec(first.id());
        subscriber.expect_pubrel(first.id());
        subscriber.expect_nothing_before_pong();
        subscriber.send_pubcomp(first.id());
        assert_eq!(subscriber.receive().text(), "2");
    }
}

#[test]
fn a_refusal_opens_a_place() {
    spec!("MQTT5-4.4.0-2");
    for (qos, answer) in [(AtLeastOnce, PacketType::Puback), (ExactlyOnce, PacketType::Pubrec)] {
        let (_broker, mut subscriber, mut publisher) = narrow(Version::V5_0, 1);
        publisher.publish("t", "1", qos);
        publisher.publish("t", "2", qos);
        let first = subscriber.expect_publish();
        subscriber.send_ack(answer, first.id(), ReasonCode::ImplementationSpecificError);
        assert_eq!(subscriber.receive().text(), "2");
    }
}

#[test]
fn a_full_window_holds_back_no_other_packet() {
    spec!("MQTT5-3.3.4-10", "MQTT5-4.9.0-3");
    for version in VERSIONS {
        let (_broker, mut subscriber, mut publisher) = narrow(version, 1);
        publisher.publish("t", "1", ExactlyOnce);
        publisher.publish("t", "2", ExactlyOnce);
        let first = subscriber.expect_publish();
        subscriber.expect_nothing_before_pong();
        assert_eq!(subscriber.subscribe(&[("u", AtMostOnce)]), [ReasonCode::granted(AtMostOnce)]);
        for qos in [AtLeastOnce, ExactlyOnce] {
            subscriber.publish("v", "mine", qos);
        }
        // QoS 0 needs no place.
        publisher.publish("u", "free", AtMostOnce);
        assert_eq!(subscriber.receive().text(), "free");
        subscriber.unsubscribe(&["u"]);
        subscriber.send_pubrec(first.id());
        subscriber.expect_pubrel(first.id());
    }
}

#[test]
fn a_resumed_session_obeys_the_new_receive_maximum() {
    spec!("MQTT5-3.3.4-9", "MQTT5-4.9.0-1", "MQTT5-4.6.0-1");
    let (broker, mut subscriber, mut publisher) = narrow(Version::V5_0, 10);
    for payload in ["1", "2", "3", "4"] {
        publisher.publish("t", payload, ExactlyOnce);
        subscriber.expect_publish();
    }
    subscriber.send_pubrec(2);
    subscriber.expect_pubrel(2);
    drop(subscriber);
    let mut subscriber = broker.connect(&lasting(Version::V5_0, "s").receive_maximum(2));
    // The PUBREL belongs to a PUBLISH that is not completed: one place is left.
    subscriber.expect_pubrel(2);
    let first = subscriber.expect_publish();
    assert_eq!(first.id(), 1);
    subscriber.expect_nothing_before_pong();
    subscriber.send_pubcomp(2);
    let third = subscriber.expect_publish();
    assert_eq!((third.id(), third.dup), (3, true));
    subscriber.expect_nothing_before_pong();
    subscriber.acknowledge(&first);
    assert_eq!(subscriber.expect_publish().id(), 4);
}

#[test]
fn the_brokers_own_bound_applies_below_the_clients() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.in_flight_max = 3);
        let mut subscriber = broker.client(version, "s");
        subscriber.subscribe(&[("t", AtLeastOnce)]);
        let mut publisher = broker.client(version, "p");
        for _ in 0..5 {
            publisher.publish("t", "x", AtLeastOnce);
        }
        for _ in 0..3 {
            subscriber.expect_publish();
        }
        subscriber.expect_nothing_before_pong();
        let gauges = broker.look(|shard| shard.gauges());
        assert_eq!((gauges.in_flight_messages, gauges.queued_messages), (3, 2));
    }
}

/// The drop events that were told since the last call.
fn dropped(broker: &Broker) -> Vec<(DropCause, Option<Limit>)> {
    let told = broker.events();
    told.into_iter()
        .filter_map(|event| match event {
            Event::Dropped { client_id, topic, cause, limit } => {
                assert_eq!((&*client_id, &*topic), ("s", "t"));
                Some((cause, limit))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_queue_takes_only_so_many_messages() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.queue_messages_max = 2);
        let mut subscriber = broker.lasting(version, "s");
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        drop(subscriber);
        let mut publisher = broker.client(version, "p");
        for payload in ["1", "2", "3"] {
            publisher.publish("t", payload, AtLeastOnce);
        }
        let limit = Limit { setting: "limits.queue_messages_max", maximum: 2, wanted: 3 };
        assert_eq!(dropped(&broker), [(DropCause::QueueFull, Some(limit))]);
        let counted = broker.look(|shard| shard.statistics().dropped[DropCause::QueueFull.index()]);
        assert_eq!(counted, 1);
        let mut subscriber = broker.lasting(version, "s");
        assert_eq!((subscriber.receive().text(), subscriber.receive().text()), ("1", "2"));
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_queue_takes_only_so_many_bytes() {
    let broker = Broker::with(|settings| settings.limits.queue_bytes_max = 1_000);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", ExactlyOnce)]);
    drop(subscriber);
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("t", [b'a'; 500], AtLeastOnce);
    publisher.publish("t", [b'b'; 500], AtLeastOnce);
    // What fits is still taken.
    publisher.publish("t", [b'c'; 100], AtLeastOnce);
    let told = dropped(&broker);
    let [(DropCause::QueueFull, Some(limit))] = told[..] else { panic!("{told:?}") };
    assert_eq!((limit.setting, limit.maximum), ("limits.queue_bytes_max", 1_000));
    assert!(limit.wanted > 1_000);
    let gauges = broker.look(|shard| shard.gauges());
    assert_eq!(gauges.queued_messages, 2);
    assert!((600..=1_000).contains(&gauges.queued_bytes), "{}", gauges.queued_bytes);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    assert_eq!((subscriber.receive().payload[0], subscriber.receive().payload[0]), (b'a', b'c'));
    assert_eq!(broker.look(|shard| shard.gauges().queued_bytes), 0);
}

#[test]
fn expired_messages_make_room_in_a_full_queue() {
    let broker = Broker::with(|settings| settings.limits.queue_messages_max = 2);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", ExactlyOnce)]);
    drop(subscriber);
    let mut publisher = broker.client(Version::V5_0, "p");
    for payload in ["1", "2"] {
        let message = OwnedPublish::new("t", payload, AtLeastOnce);
        publisher.publish_with(&message.message_expiry_interval(5));
    }
    broker.advance_seconds(5);
    publisher.publish("t", "3", AtLeastOnce);
    assert_eq!(dropped(&broker), [(DropCause::Expired, None), (DropCause::Expired, None)]);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    assert_eq!(subscriber.receive().text(), "3");
}

#[test]
fn thousands_of_queued_messages_pass_a_window_of_one_in_order() {
    let broker = Broker::new();
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", ExactlyOnce)]);
    drop(subscriber);
    let mut publisher = broker.connect(&OwnedConnect::v5("p"));
    for number in 0..2_000_u32 {
        publisher.publish("t", number.to_string(), AtLeastOnce);
    }
    let mut subscriber = broker.connect(&lasting(Version::V5_0, "s").receive_maximum(1));
    for number in 0..2_000_u32 {
        assert_eq!(subscriber.receive().text(), number.to_string());
    }
    subscriber.expect_nothing_before_pong();
}
