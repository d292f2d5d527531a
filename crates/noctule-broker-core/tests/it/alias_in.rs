//! Topic aliases that clients define.

use noctule_broker_core::{Ended, Event};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, packet_bytes};

use crate::broker::{Broker, Client, ended_with};

/// A broker that takes `maximum` aliases, a subscriber to everything and a publisher.
fn scene(maximum: u16) -> (Broker, Client, Client) {
    let broker = Broker::with(|settings| settings.limits.topic_alias_maximum = maximum);
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    subscriber.subscribe(&[("#", QoS::AtMostOnce)]);
    let publisher = broker.lasting(Version::V5_0, "publisher");
    broker.events();
    (broker, publisher, subscriber)
}

fn define(client: &mut Client, alias: u16, topic: &str) {
    client.send_publish(&OwnedPublish::new(topic, "x", QoS::AtMostOnce).topic_alias(alias));
}

fn resolve(client: &mut Client, alias: u16) {
    client.send_bytes(&packet_bytes(0x30, &format!("0000 03 23 {alias:04x} 'x'")));
}

#[test]
fn every_alias_up_to_the_announced_maximum_is_accepted() {
    spec!("MQTT5-3.3.2-12");
    for maximum in [1, 32, 300, u16::MAX] {
        let (broker, mut publisher, mut subscriber) = scene(maximum);
        let connack = broker.open().open(&OwnedConnect::v5("a"));
        assert_eq!(connack.topic_alias_maximum, Some(maximum));
        let aliases: Vec<u16> = match maximum {
            u16::MAX => vec![1, 2, 255, 256, u16::MAX - 1, u16::MAX],
            _ => (1..=maximum).collect(),
        };
        for alias in &aliases {
            define(&mut publisher, *alias, &format!("topic/{alias}"));
            assert_eq!(subscriber.receive().topic, format!("topic/{alias}"));
        }
        for alias in &aliases {
            resolve(&mut publisher, *alias);
            let message = subscriber.receive();
            assert_eq!(message.topic, format!("topic/{alias}"));
            assert_eq!(message.topic_alias, None, "an alias goes no further than its connection");
        }
    }
}

#[test]
fn an_alias_above_the_maximum_ends_the_connection() {
    spec!("MQTT5-3.3.2-9", "MQTT5-3.2.2-17");
    for with_topic in [true, false] {
        let (broker, mut publisher, mut subscriber) = scene(5);
        if with_topic {
            define(&mut publisher, 6, "t");
        } else {
            resolve(&mut publisher, 6);
        }
        publisher.expect_refused(ReasonCode::TopicAliasInvalid);
        subscriber.expect_nothing_before_pong();
        let events = broker.events();
        let limit = events.iter().find_map(|event| match event {
            Event::Disconnected { ended: Ended::ByServer(reason), .. } => reason.limit,
            _ => None,
        });
        let limit = limit.expect("a limit in the event");
        let expected = ("limits.topic_alias_maximum", 5, 6);
        assert_eq!((limit.setting, limit.maximum, limit.wanted), expected);
    }
}

#[test]
fn without_an_announced_maximum_any_alias_ends_the_connection() {
    spec!("MQTT5-3.2.2-18", "MQTT5-3.3.2-9");
    for alias in [1, u16::MAX] {
        let (broker, mut publisher, mut subscriber) = scene(0);
        let connack = broker.open().open(&OwnedConnect::v5("a"));
        assert_eq!(connack.topic_alias_maximum, None);
        define(&mut publisher, alias, "t");
        publisher.expect_refused(ReasonCode::TopicAliasInvalid);
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn the_alias_0_ends_the_connection() {
    spec!("MQTT5-3.3.2-8");
    let (broker, mut publisher, mut subscriber) = scene(5);
    publisher.send_bytes(&packet_bytes(0x30, "s't' 03 23 0000 'x'"));
    publisher.expect_refused(ReasonCode::TopicAliasInvalid);
    subscriber.expect_nothing_before_pong();
    assert!(ended_with(&broker.events(), ReasonCode::TopicAliasInvalid));
}

#[test]
fn an_alias_that_stands_for_nothing_ends_the_connection() {
    let (_broker, mut publisher, mut subscriber) = scene(5);
    define(&mut publisher, 2, "t");
    subscriber.receive();
    resolve(&mut publisher, 1);
    publisher.expect_refused(ReasonCode::ProtocolError);
    subscriber.expect_nothing_before_pong();
}

#[test]
fn aliases_end_with_their_connection() {
    spec!("MQTT5-3.3.2-7");
    let (broker, mut publisher, mut subscriber) = scene(5);
    define(&mut publisher, 1, "t");
    subscriber.receive();
    drop(publisher);
    let mut publisher = broker.lasting(Version::V5_0, "publisher");
    assert!(publisher.connack().is_some_and(|connack| connack.session_present));
    resolve(&mut publisher, 1);
    publisher.expect_refused(ReasonCode::ProtocolError);
    subscriber.expect_nothing_before_pong();
}

#[test]
fn each_client_has_its_own_aliases() {
    let (broker, mut publisher, mut subscriber) = scene(5);
    let mut other = broker.client(Version::V5_0, "other");
    define(&mut publisher, 1, "publisher's");
    define(&mut other, 1, "other's");
    subscriber.receive();
    subscriber.receive();
    resolve(&mut publisher, 1);
    assert_eq!(subscriber.receive().topic, "publisher's");
    resolve(&mut other, 1);
    assert_eq!(subscriber.receive().topic, "other's");
}

#[test]
fn an_alias_can_be_given_to_another_topic() {
    let (_broker, mut publisher, mut subscriber) = scene(5);
    for topic in ["a", "b", "b", "a"] {
        define(&mut publisher, 3, topic);
        assert_eq!(subscriber.receive().topic, topic);
        resolve(&mut publisher, 3);
        assert_eq!(subscriber.receive().topic, topic);
    }
}

#[test]
fn a_topic_behind_an_alias_is_checked_like_any_other() {
    let (_broker, mut publisher, mut subscriber) = scene(5);
    define(&mut publisher, 1, "$SYS/x");
    publisher.send_bytes(&packet_bytes(0x32, "0000 0001 03 23 0001 'x'"));
    publisher.expect_puback_with(1, ReasonCode::NotAuthorized);
    subscriber.expect_nothing_before_pong();
}

#[test]
fn a_repetition_defines_its_alias_too() {
    let (broker, mut publisher, mut subscriber) = scene(5);
    let message = OwnedPublish::new("t", "x", QoS::ExactlyOnce).packet_id(1).topic_alias(1);
    publisher.send_publish(&message);
    publisher.expect_pubrec(1);
    subscriber.receive();
    drop(publisher);
    let mut publisher = broker.lasting(Version::V5_0, "publisher");
    publisher.send_publish(&message.dup(true));
    publisher.expect_pubrec(1);
    resolve(&mut publisher, 1);
    assert_eq!(subscriber.receive().topic, "t");
}
