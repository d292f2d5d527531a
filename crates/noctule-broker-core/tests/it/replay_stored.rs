//! Replays and the store: what a stored session is owed at a crash, it gets behind it.

use std::sync::Arc;

use noctule_broker_core::{Message, Record, Restored, StoredSession, StoredSubscription};
use noctule_packet::{QoS, RetainHandling, Version, spec};
use noctule_testkit::{OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting};
use crate::stored::{message, stored_session, storing_with, subscription};
use crate::subscribe::send_subscribe;

const LEAST: QoS = QoS::AtLeastOnce;

/// A broker that keeps, with three retained messages, and whose clients take one message at a time.
fn broker() -> (Broker, Client) {
    let broker = storing_with(|settings| settings.limits.in_flight_max = 1);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    for topic in ["t/1", "t/2", "t/3"] {
        publisher.publish_with(&OwnedPublish::new(topic, topic, LEAST).retain(true));
    }
    (broker, publisher)
}

fn owed(record: &Record) -> Option<(&str, bool)> {
    match record {
        Record::Subscribed { subscription, .. } => {
            Some((&subscription.filter, subscription.is_owed))
        }
        _ => None,
    }
}

/// What the store hears of subscriptions, and that at once.
#[track_caller]
fn recorded(broker: &Broker) -> Vec<(String, bool)> {
    let records = broker.records();
    broker.keep_all();
    let owed = records.iter().filter_map(owed);
    owed.map(|(filter, is_owed)| (filter.to_owned(), is_owed)).collect()
}

/// What it hears of them when there is time.
fn recorded_later(broker: &Broker) -> Vec<(String, bool)> {
    let records = broker.leisurely();
    let owed = records.iter().filter_map(owed);
    owed.map(|(filter, is_owed)| (filter.to_owned(), is_owed)).collect()
}

/// The byte of options of a subscription.
const fn options(qos: QoS, retain_handling: RetainHandling) -> u8 {
    qos.level() | (retain_handling as u8) << 4
}

#[test]
fn the_store_knows_what_a_subscription_is_owed_until_all_was_sent() {
    for version in VERSIONS {
        let (broker, _publisher) = broker();
        let mut client = broker.lasting(version, "a");
        broker.hold();
        send_subscribe(&mut client, 1, &[("t/+", options(LEAST, RetainHandling::SendAtSubscribe))]);
        assert_eq!(recorded(&broker), [("t/+".to_owned(), true)]);
        client.expect_suback(1);
        for topic in ["t/1", "t/2", "t/3"] {
            assert_eq!(recorded_later(&broker), []);
            let publish = client.expect_publish();
            assert_eq!(publish.topic, topic);
            broker.keep_all();
            client.acknowledge(&publish);
            broker.keep_all();
        }
        client.expect_nothing_before_pong();
        assert_eq!(recorded_later(&broker), [("t/+".to_owned(), false)]);
    }
}

#[test]
fn what_ends_with_its_connection_or_is_not_wanted_is_not_owed() {
    let (broker, _publisher) = broker();
    let mut client = broker.lasting(Version::V5_0, "a");
    broker.hold();
    let at_subscribe = RetainHandling::SendAtSubscribe;
    for (filter, options) in [
        ("t/1", options(QoS::AtMostOnce, at_subscribe)),
        ("t/2", options(LEAST, RetainHandling::DoNotSend)),
        ("$share/g/t/3", options(LEAST, at_subscribe)),
    ] {
        send_subscribe(&mut client, 1, &[(filter, options)]);
        assert_eq!(recorded(&broker), [(filter.to_owned(), false)]);
        client.expect_suback(1);
        client.receive_all();
    }
    assert_eq!(recorded_later(&broker), []);
}

#[test]
fn a_subscription_that_replaces_another_is_owed_what_that_was() {
    let (broker, _publisher) = broker();
    let mut client = broker.lasting(Version::V5_0, "a");
    send_subscribe(&mut client, 1, &[("t/+", options(LEAST, RetainHandling::SendAtSubscribe))]);
    client.expect_suback(1);
    broker.hold();
    let if_new = options(LEAST, RetainHandling::SendIfNew);
    send_subscribe(&mut client, 2, &[("t/+", if_new)]);
    assert_eq!(recorded(&broker), [("t/+".to_owned(), true)]);
    let first = client.expect_publish();
    client.expect_suback(2);
    client.acknowledge(&first);
    for _ in 0..2 {
        broker.keep_all();
        assert_eq!(recorded_later(&broker), []);
        let publish = client.expect_publish();
        client.acknowledge(&publish);
    }
    broker.keep_all();
    client.expect_nothing_before_pong();
    assert_eq!(recorded_later(&broker), [("t/+".to_owned(), false)]);
}

#[test]
fn a_replay_that_ends_while_its_subscription_is_replaced_is_told_behind_that() {
    let broker = storing_with(|settings| settings.limits.outbound_bytes_max = 1_024);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    let text = "x".repeat(400);
    let topics: Vec<_> = (0..9).map(|number| format!("t/{number}")).collect();
    for topic in &topics {
        publisher.publish_with(&OwnedPublish::new(topic, &text, LEAST).retain(true));
    }
    let mut client = broker.lasting(Version::V5_0, "a");
    broker.stall(&client);
    send_subscribe(&mut client, 1, &[("t/+", options(LEAST, RetainHandling::SendAtSubscribe))]);
    broker.hold();
    send_subscribe(&mut client, 2, &[("t/+", options(LEAST, RetainHandling::SendIfNew))]);
    broker.unstall(&client);
    client.expect_suback(1);
    for _ in &topics {
        client.expect_publish();
    }
    assert_eq!(recorded_later(&broker), [], "the store may not have the new one yet");
    assert_eq!(recorded(&broker), [("t/+".to_owned(), true)]);
    client.expect_suback(2);
    assert_eq!(recorded_later(&broker), [("t/+".to_owned(), false)]);
}

fn retained(topic: &str) -> Restored {
    let plain = message(0, topic, LEAST).message;
    let (topic, retain) = (topic.into(), true);
    Restored::Retained(Arc::new(Message { topic, retain, ..(*plain).clone() }))
}

#[test]
fn a_replay_that_a_crash_has_interrupted_begins_again() {
    spec!("MQTT5-3.3.1-9", "MQTT5-3.8.4-4", "MQTT311-3.3.1-6");
    for (version, was_connected) in VERSIONS.into_iter().flat_map(|it| [(it, true), (it, false)]) {
        let broker = storing_with(|settings| settings.limits.in_flight_max = 1);
        let owed = StoredSubscription { is_owed: true, ..subscription("t/+", LEAST) };
        let subscriptions = vec![owed, subscription("u/+", LEAST)];
        let session = StoredSession { was_connected, subscriptions, ..stored_session(1, "a") };
        broker.restore(vec![
            Restored::Session(Box::new(session)),
            retained("t/1"),
            retained("t/2"),
            retained("t/3"),
            retained("u/1"),
        ]);
        // What is newer by now comes once, live.
        let mut publisher = broker.client(Version::V5_0, "publisher");
        publisher.publish_with(&OwnedPublish::new("t/2", "new", LEAST).retain(true));
        let mut client = broker.connect(&lasting(version, "a"));
        let mut texts: Vec<_> = (0..3).map(|_| client.receive().text().to_owned()).collect();
        texts.sort();
        assert_eq!(texts, ["new", "t/1", "t/3"]);
        client.expect_nothing_before_pong();
        assert_eq!(recorded_later(&broker), [("t/+".to_owned(), false)]);
    }
}
