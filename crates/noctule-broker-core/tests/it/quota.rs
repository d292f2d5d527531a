//! The Receive Maximum that the broker announces: how many of a client's publications may be open.

use noctule_broker_core::{Durability, Ended, Event, Settings};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client};

fn limited_to(maximum: u16) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.limits.receive_maximum = maximum;
        settings.durability = Durability::Stored;
    }
}

/// A publisher whose publications wait for the store.
fn held(version: Version, maximum: u16) -> (Broker, Client) {
    let broker = Broker::with(limited_to(maximum));
    let mut subscriber = broker.lasting(version, "subscriber");
    subscriber.subscribe(&[("t", QoS::AtLeastOnce)]);
    drop(subscriber);
    let publisher = broker.lasting(version, "publisher");
    broker.hold();
    broker.events();
    (broker, publisher)
}

fn publish(client: &mut Client, packet_id: u16, qos: QoS) {
    client.send_publish(&OwnedPublish::new("t", "x", qos).packet_id(packet_id));
}

#[test]
fn the_receive_maximum_is_announced() {
    spec!("MQTT5-3.3.4-7");
    for (maximum, announced) in [(1, Some(1)), (65_534, Some(65_534)), (65_535, None)] {
        let broker = Broker::with(limited_to(maximum));
        let connack = broker.open().open(&OwnedConnect::v5("a"));
        assert_eq!(connack.receive_maximum, announced);
    }
}

#[test]
fn one_open_publication_too_many_ends_the_connection() {
    spec!("MQTT5-3.3.4-7", "MQTT5-3.3.4-8");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (broker, mut publisher) = held(Version::V5_0, 2);
        publish(&mut publisher, 1, QoS::ExactlyOnce);
        publish(&mut publisher, 2, QoS::AtLeastOnce);
        // A QoS 0 publication is not counted, nor is a repetition.
        publisher.send_publish(&OwnedPublish::new("t", "x", QoS::AtMostOnce));
        publish(&mut publisher, 1, QoS::ExactlyOnce);
        publisher.expect_nothing_before_pong();
        publish(&mut publisher, 3, qos);
        let disconnect = publisher.expect_disconnect(ReasonCode::ReceiveMaximumExceeded);
        let text = disconnect.reason_string.unwrap_or_default();
        assert!(text.contains("limits.receive_maximum = 2"), "{text}");
        publisher.expect_closed();
        let events = broker.events();
        let limit = events.iter().find_map(|event| match event {
            Event::Disconnected { ended: Ended::ByServer(reason), .. } => reason.limit,
            _ => None,
        });
        let limit = limit.expect("a limit in the event");
        assert_eq!((limit.setting, limit.maximum, limit.wanted), ("limits.receive_maximum", 2, 3));
    }
}

#[test]
fn a_finished_exchange_makes_room_for_the_next() {
    spec!("MQTT5-3.3.4-7");
    let broker = Broker::with(limited_to(1));
    let mut publisher = broker.client(Version::V5_0, "publisher");
    for packet_id in 1..=10 {
        publish(&mut publisher, packet_id, QoS::AtLeastOnce);
        publisher.expect_puback(packet_id);
        publish(&mut publisher, packet_id, QoS::ExactlyOnce);
        publisher.expect_pubrec(packet_id);
        publisher.send_pubrel(packet_id);
        publisher.expect_pubcomp(packet_id);
        // A refusal ends an exchange too.
        let refused = OwnedPublish::new("$SYS/x", "x", QoS::ExactlyOnce).packet_id(packet_id);
        publisher.send_publish(&refused);
        publisher.expect_pubrec_with(packet_id, ReasonCode::NotAuthorized);
    }
    // PUBREC does not.
    publish(&mut publisher, 1, QoS::ExactlyOnce);
    publisher.expect_pubrec(1);
    publish(&mut publisher, 2, QoS::AtLeastOnce);
    publisher.expect_refused(ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn a_publication_counts_until_its_acknowledgement_has_left() {
    spec!("MQTT5-3.3.4-7");
    let (broker, mut publisher) = held(Version::V5_0, 1);
    publish(&mut publisher, 1, QoS::AtLeastOnce);
    broker.keep_all();
    publisher.expect_puback(1);
    publish(&mut publisher, 2, QoS::ExactlyOnce);
    broker.keep_all();
    publisher.expect_pubrec(2);
    publisher.send_pubrel(2);
    publish(&mut publisher, 3, QoS::AtLeastOnce);
    publisher.expect_refused(ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn a_new_connection_has_the_whole_quota() {
    let (broker, mut publisher) = held(Version::V5_0, 1);
    publish(&mut publisher, 1, QoS::ExactlyOnce);
    broker.answer_all();
    publisher.expect_pubrec(1);
    drop(publisher);
    let mut publisher = broker.lasting(Version::V5_0, "publisher");
    // The open exchange is only to be released; that takes no quota.
    publish(&mut publisher, 2, QoS::ExactlyOnce);
    publisher.expect_pubrec(2);
    publisher.send_pubrel(1);
    publisher.expect_pubcomp(1);
    // As the client counts: each PUBCOMP gives quota back.
    publish(&mut publisher, 3, QoS::AtLeastOnce);
    publisher.expect_puback(3);
}

#[test]
fn a_repetition_on_a_new_connection_takes_quota() {
    spec!("MQTT5-3.3.4-7");
    let (broker, mut publisher) = held(Version::V5_0, 1);
    publish(&mut publisher, 1, QoS::ExactlyOnce);
    broker.answer_all();
    drop(publisher);
    let mut publisher = broker.lasting(Version::V5_0, "publisher");
    publish(&mut publisher, 1, QoS::ExactlyOnce);
    publisher.expect_pubrec(1);
    publish(&mut publisher, 2, QoS::AtLeastOnce);
    publisher.expect_refused(ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn clients_that_know_no_receive_maximum_are_not_held_to_it() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let (broker, mut publisher) = held(version, 1);
        for packet_id in 1..=100 {
            publish(&mut publisher, packet_id, QoS::AtLeastOnce);
        }
        for packet_id in 1..=100 {
            broker.answer();
            publisher.expect_puback(packet_id);
        }
    }
}

#[test]
fn an_exhausted_quota_delays_no_other_packet() {
    for version in VERSIONS {
        let (broker, mut publisher) = held(version, 1);
        publish(&mut publisher, 1, QoS::AtLeastOnce);
        publisher.expect_nothing_before_pong();
        publisher.send_pubrel(9);
        let subscribe = if version.is_v5() { "0001 00 s'a' 00" } else { "0001 s'a' 00" };
        publisher.send_bytes(&noctule_testkit::packet_bytes(0x82, subscribe));
        broker.answer();
        broker.answer();
        publisher.expect_puback(1);
        publisher.expect_pubcomp_with(9, ReasonCode::PacketIdentifierNotFound);
        publisher.expect_suback(1);
    }
}
