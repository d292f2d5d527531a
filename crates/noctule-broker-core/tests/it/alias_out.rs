//! Topic aliases that the broker defines for its clients.

use noctule_packet::QoS::{AtLeastOnce, AtMostOnce};
use noctule_packet::{Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish};

use crate::broker::{Broker, Client};

fn subscriber(broker: &Broker, connect: OwnedConnect) -> Client {
    let mut subscriber = broker.connect(&connect);
    subscriber.subscribe(&[("#", AtLeastOnce)]);
    subscriber
}

/// The topic and alias of the next message.
fn next(client: &mut Client) -> (String, Option<u16>) {
    let message = client.receive();
    (message.topic, message.topic_alias)
}

#[test]
fn a_client_that_takes_no_alias_gets_none() {
    spec!("MQTT5-3.1.2-27", "MQTT5-3.3.2-11");
    for connect in [
        OwnedConnect::v5("s"),
        OwnedConnect::v5("s").topic_alias_maximum(0),
        OwnedConnect::v311("s"),
    ] {
        let broker = Broker::new();
        let mut subscriber = subscriber(&broker, connect);
        let mut publisher = broker.client(Version::V5_0, "p");
        for _ in 0..3 {
            publisher.publish("topic", "x", AtMostOnce);
            assert_eq!(next(&mut subscriber), ("topic".to_owned(), None));
        }
    }
}

#[test]
fn a_known_topic_is_sent_as_its_alias_alone() {
    let broker = Broker::new();
    let mut subscriber = subscriber(&broker, OwnedConnect::v5("s").topic_alias_maximum(5));
    let mut publisher = broker.client(Version::V3_1_1, "p");
    for (topic, expected) in [
        ("one", ("one".to_owned(), Some(1))),
        ("two", ("two".to_owned(), Some(2))),
        ("one", (String::new(), Some(1))),
        ("two", (String::new(), Some(2))),
    ] {
        publisher.publish(topic, "x", AtLeastOnce);
        assert_eq!(next(&mut subscriber), expected);
    }
}

#[test]
fn no_alias_is_above_the_clients_maximum_or_the_brokers() {
    spec!("MQTT5-3.1.2-26", "MQTT5-3.3.2-11");
    for (client_maximum, broker_maximum, expected) in [(2, 16, 2), (100, 3, 3), (5, 0, 0)] {
        let broker = Broker::with(|settings| {
            settings.limits.topic_alias_outbound_max = broker_maximum;
        });
        let connect = OwnedConnect::v5("s").topic_alias_maximum(client_maximum);
        let mut subscriber = subscriber(&broker, connect);
        let mut publisher = broker.client(Version::V5_0, "p");
        // What the client takes the aliases for, as it would look them up.
        let mut known = vec![String::new(); 101];
        let mut highest = 0;
        for number in 0..500_u32 {
            let topic = format!("topic/{}", number % 7 + number / 100 * 10);
            publisher.publish(&topic, "x", AtMostOnce);
            let (name, alias) = next(&mut subscriber);
            let alias = alias.unwrap_or(0);
            assert!(alias <= expected, "alias {alias}");
            highest = highest.max(alias);
            if name.is_empty() {
                assert_eq!(known[usize::from(alias)], topic);
            } else {
                assert_eq!(name, topic);
                known[usize::from(alias)] = name;
            }
        }
        assert_eq!(highest, expected);
    }
}

#[test]
fn aliases_end_with_their_connection() {
    spec!("MQTT5-3.3.2-7");
    let broker = Broker::new();
    let connect = OwnedConnect::v5("s").resumable(3_600).topic_alias_maximum(5);
    let mut client = subscriber(&broker, connect.clone());
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("old", "1", AtLeastOnce);
    publisher.publish("topic", "1", AtLeastOnce);
    assert_eq!(next(&mut client), ("old".to_owned(), Some(1)));
    let unacknowledged = client.expect_publish();
    assert_eq!(unacknowledged.topic_alias, Some(2));
    drop(client);
    publisher.publish("topic", "2", AtLeastOnce);
    let mut client = broker.connect(&connect);
    let repeated = client.receive();
    assert_eq!((repeated.topic.as_str(), repeated.topic_alias), ("topic", Some(1)));
    assert!(repeated.dup);
    assert_eq!(next(&mut client), (String::new(), Some(1)));
    drop(client);
    publisher.publish("topic", "3", AtLeastOnce);
    let mut client = broker.connect(&OwnedConnect::v5("s").resumable(3_600));
    assert_eq!(next(&mut client), ("topic".to_owned(), None));
}

#[test]
fn a_message_that_is_not_sent_defines_no_alias() {
    let broker = Broker::with(|settings| settings.limits.outbound_bytes_max = 300);
    let connect = OwnedConnect::v5("s").topic_alias_maximum(5).maximum_packet_size(150);
    let mut subscriber = subscriber(&broker, connect);
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("large", [b'x'; 200], AtMostOnce);
    publisher.publish("large", "small", AtMostOnce);
    assert_eq!(next(&mut subscriber), ("large".to_owned(), Some(1)));
    broker.stall(&subscriber);
    for _ in 0..3 {
        publisher.publish("full", [b'x'; 100], AtMostOnce);
    }
    publisher.publish("dropped", "x", AtMostOnce);
    broker.unstall(&subscriber);
    for _ in 0..3 {
        assert_eq!(next(&mut subscriber).1, Some(2));
    }
    publisher.publish("dropped", "y", AtMostOnce);
    assert_eq!(next(&mut subscriber), ("dropped".to_owned(), Some(3)));
}

#[test]
fn a_definition_makes_no_packet_too_large() {
    spec!("MQTT5-3.1.2-24");
    let broker = Broker::new();
    // Without an alias: 2 + 2 + 5 + 1 + 110 bytes, which is all that the client takes.
    let connect = OwnedConnect::v5("s").topic_alias_maximum(5).maximum_packet_size(120);
    let mut subscriber = subscriber(&broker, connect);
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("exact", [b'x'; 110], AtMostOnce);
    assert_eq!(next(&mut subscriber), ("exact".to_owned(), None));
    publisher.publish("exact", [b'x'; 111], AtMostOnce);
    publisher.publish("exact", [b'x'; 10], AtMostOnce);
    assert_eq!(next(&mut subscriber), ("exact".to_owned(), Some(1)));
}

#[test]
fn an_alias_that_is_longer_than_its_topic_makes_no_packet_too_large() {
    spec!("MQTT5-3.1.2-24");
    let broker = Broker::new();
    // Without an alias: 2 + 2 + 1 + 1 + 114 bytes. Instead of the topic it would take 2 more.
    let connect = OwnedConnect::v5("s").topic_alias_maximum(5).maximum_packet_size(120);
    let mut subscriber = subscriber(&broker, connect);
    let mut publisher = broker.client(Version::V5_0, "p");
    let mut send = |payload: usize| {
        publisher.publish("t", vec![b'x'; payload], AtMostOnce);
        next(&mut subscriber)
    };
    assert_eq!(send(1), ("t".to_owned(), Some(1)));
    assert_eq!(send(1), (String::new(), Some(1)));
    assert_eq!(send(114), ("t".to_owned(), None));
    assert_eq!(send(1), (String::new(), Some(1)));
}

#[test]
fn clients_with_and_without_aliases_get_the_same_message() {
    let broker = Broker::new();
    let mut with = subscriber(&broker, OwnedConnect::v5("with").topic_alias_maximum(5));
    let mut without = subscriber(&broker, OwnedConnect::v5("without"));
    let mut old = subscriber(&broker, OwnedConnect::v311("old"));
    let mut publisher = broker.client(Version::V5_0, "p");
    for round in 0..3 {
        let message = OwnedPublish::new("topic", format!("{round}"), AtLeastOnce);
        publisher.publish_with(&message.user_property("a", "b").content_type("text"));
        let aliased = with.receive();
        let plain = without.receive();
        assert_eq!(aliased.topic.is_empty(), round > 0);
        assert_eq!((&plain.topic[..], plain.topic_alias), ("topic", None));
        assert_eq!(aliased.payload, plain.payload);
        assert_eq!(aliased.user_properties, plain.user_properties);
        assert_eq!(aliased.content_type, plain.content_type);
        assert_eq!(old.receive().payload, plain.payload);
    }
}
