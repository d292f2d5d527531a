//! QoS 2 from a publisher: repetitions are recognised, also while the broker is still at work, and
//! on another connection.

use noctule_broker_core::{Authorization, Durability, Event, Record, Restored, StoredSession};
use noctule_packet::{PacketId, PacketType, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client};
use crate::stored::{stored_session, storing_with};

fn message(packet_id: u16, text: &str) -> OwnedPublish {
    OwnedPublish::new("t", text, QoS::ExactlyOnce).packet_id(packet_id)
}

fn subscriber(broker: &Broker, version: Version) -> Client {
    let mut subscriber = broker.lasting(version, "subscriber");
    subscriber.subscribe(&[("t", QoS::AtLeastOnce)]);
    subscriber
}

/// A broker with a store, which holds its questions from now on, and a subscriber that is stored.
fn stored(version: Version) -> (Broker, Client, Client) {
    let broker = Broker::with(|settings| settings.durability = Durability::Stored);
    let subscriber = subscriber(&broker, version);
    let publisher = broker.lasting(version, "publisher");
    broker.hold();
    (broker, publisher, subscriber)
}

#[test]
fn a_repetition_is_acknowledged_and_not_delivered_again() {
    spec!("MQTT5-4.3.3-10", "MQTT311-4.3.3-2", "MQTT31-4.1-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = subscriber(&broker, version);
        let mut publisher = broker.lasting(version, "publisher");
        publisher.send_publish(&message(7, "once"));
        publisher.expect_pubrec(7);
        assert_eq!(subscriber.receive().text(), "once");
        publisher.send_publish(&message(7, "once").dup(true));
        publisher.expect_pubrec(7);
        drop(publisher);
        let mut publisher = broker.lasting(version, "publisher");
        publisher.send_publish(&message(7, "once").dup(true));
        publisher.expect_pubrec(7);
        publisher.send_pubrel(7);
        publisher.expect_pubcomp(7);
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_released_identifier_stands_for_a_new_message() {
    spec!("MQTT5-4.3.3-11", "MQTT5-4.3.3-12", "MQTT311-4.3.3-2", "MQTT31-4.1-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = subscriber(&broker, version);
        let mut publisher = broker.client(version, "publisher");
        for text in ["first", "second"] {
            // Whatever DUP says.
            publisher.send_publish(&message(7, text).dup(true));
            publisher.expect_pubrec(7);
            publisher.send_pubrel(7);
            publisher.expect_pubcomp(7);
            assert_eq!(subscriber.receive().text(), text);
        }
    }
}

#[test]
fn an_acknowledged_qos_1_identifier_stands_for_a_new_message() {
    spec!("MQTT5-4.3.2-5", "MQTT311-4.3.2-2", "MQTT31-4.1-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = subscriber(&broker, version);
        let mut publisher = broker.client(version, "publisher");
        for dup in [false, true, true] {
            let publish = OwnedPublish::new("t", "again", QoS::AtLeastOnce).packet_id(7).dup(dup);
            publisher.send_publish(&publish);
            publisher.expect_puback(7);
            assert_eq!(subscriber.receive().text(), "again");
        }
    }
}

#[test]
fn a_refused_identifier_stands_for_a_new_message() {
    spec!("MQTT5-4.3.3-9");
    let broker = Broker::with(|settings| settings.authorization = Authorization::Ask);
    let mut subscriber = subscriber(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publisher.send_publish(&OwnedPublish::new("secret/x", "x", QoS::ExactlyOnce).packet_id(7));
    publisher.expect_pubrec_with(7, ReasonCode::NotAuthorized);
    publisher.send_publish(&message(7, "allowed"));
    publisher.expect_pubrec(7);
    assert_eq!(subscriber.receive().text(), "allowed");
    publisher.send_pubrel(7);
    publisher.expect_pubcomp_with(7, ReasonCode::Success);
}

#[test]
fn an_unknown_pubrel_is_answered_as_the_version_demands() {
    spec!("MQTT5-4.3.3-11", "MQTT311-4.3.3-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut publisher = broker.client(version, "publisher");
        publisher.send_pubrel(7);
        publisher.expect_pubcomp_with(7, ReasonCode::PacketIdentifierNotFound);
        publisher.send_publish(&message(7, "x"));
        publisher.expect_pubrec(7);
        publisher.send_pubrel(7);
        publisher.expect_pubcomp_with(7, ReasonCode::Success);
        publisher.send_pubrel(7);
        publisher.expect_pubcomp_with(7, ReasonCode::PacketIdentifierNotFound);
    }
}

#[test]
fn a_clean_start_forgets_the_identifiers() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = subscriber(&broker, version);
        let mut publisher = broker.lasting(version, "publisher");
        publisher.send_publish(&message(7, "old"));
        publisher.expect_pubrec(7);
        subscriber.receive();
        drop(publisher);
        let mut publisher = broker.client(version, "publisher");
        publisher.send_publish(&message(7, "new"));
        publisher.expect_pubrec(7);
        assert_eq!(subscriber.receive().text(), "new");
    }
}

#[test]
fn repetitions_while_the_message_is_being_kept_wait_for_it() {
    spec!("MQTT5-4.3.3-10", "MQTT311-4.3.3-2", "MQTT31-4.1-2");
    for version in VERSIONS {
        let (broker, mut publisher, mut subscriber) = stored(version);
        publisher.send_publish(&message(7, "once"));
        assert!(matches!(broker.record(), Record::Received { .. }));
        for _ in 0..3 {
            publisher.send_publish(&message(7, "once").dup(true));
        }
        assert!(broker.has_asked_nothing(), "a repetition is not kept again");
        publisher.expect_nothing_before_pong();
        broker.keep_all();
        publisher.expect_pubrec(7);
        assert_eq!(subscriber.receive().text(), "once");
        subscriber.expect_nothing_before_pong();
        // All of them are acknowledged; the release still finds the identifier.
        publisher.send_pubrel(7);
        broker.keep_all();
        publisher.expect_pubcomp_with(7, ReasonCode::Success);
    }
}

#[test]
fn a_reconnected_publisher_gets_the_pubrec_for_its_repetition() {
    spec!("MQTT5-4.3.3-10", "MQTT311-4.3.3-2");
    for version in VERSIONS {
        let (broker, mut publisher, mut subscriber) = stored(version);
        publisher.send_publish(&message(7, "once"));
        let record = broker.record();
        assert!(matches!(record, Record::Received { .. }), "{record:?}");
        drop(publisher);
        let mut publisher = broker.open();
        publisher.send_connect(&crate::broker::lasting(version, "publisher"));
        broker.keep_all();
        publisher.expect_connack_with(ReasonCode::Success);
        broker.records();
        publisher.expect_nothing_before_pong();
        publisher.send_publish(&message(7, "once").dup(true));
        publisher.expect_pubrec(7);
        assert!(broker.has_asked_nothing());
        assert_eq!(subscriber.receive().text(), "once");
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_late_answer_acknowledges_nothing_on_a_new_connection() {
    for version in VERSIONS {
        // The answer is that of another shard: the own one has it before CONNACK.
        let broker = Broker::placed(2, &[("publisher", 0), ("subscriber", 1)], |settings| {
            settings.durability = Durability::Stored;
        });
        let mut subscriber = subscriber(&broker, version);
        let mut publisher = broker.lasting(version, "publisher");
        broker.hold();
        publisher.send_publish(&OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(1));
        assert!(matches!(broker.record(), Record::Queued { .. }));
        let mut world = broker.world.borrow_mut();
        let late = world.unkept.pop_front().expect("a record");
        drop(world);
        drop(publisher);
        let mut publisher = broker.open();
        publisher.send_connect(&crate::broker::lasting(version, "publisher"));
        broker.keep_all();
        publisher.expect_connack_with(ReasonCode::Success);
        broker.world.borrow_mut().unkept.push_back(late);
        broker.kept();
        publisher.expect_nothing_before_pong();
        assert_eq!(subscriber.receive().text(), "x");
        // The client repeats it, and that counts as new.
        let again = OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(1).dup(true);
        publisher.send_publish(&again);
        broker.keep_all();
        publisher.expect_puback(1);
        assert_eq!(subscriber.receive().text(), "x");
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_release_on_its_way_to_the_store_may_be_repeated_on_the_next_connection() {
    for version in VERSIONS {
        let (broker, mut publisher, _subscriber) = stored(version);
        publisher.send_publish(&message(7, "x"));
        broker.keep_all();
        publisher.expect_pubrec(7);
        broker.records();
        publisher.send_pubrel(7);
        let record = broker.record();
        assert!(matches!(record, Record::Released { .. }), "{record:?}");
        publisher.send_pubrel(7);
        assert!(broker.has_asked_nothing(), "one release is kept once");
        publisher.expect_nothing_before_pong();
        drop(publisher);
        let mut publisher = broker.open();
        publisher.send_connect(&crate::broker::lasting(version, "publisher"));
        broker.keep_all();
        publisher.expect_connack_with(ReasonCode::Success);
        publisher.expect_nothing_before_pong();
        publisher.send_pubrel(7);
        broker.keep_all();
        publisher.expect_pubcomp(7);
        publisher.expect_nothing_before_pong();
    }
}

#[test]
fn a_stored_publisher_s_identifiers_survive_a_restart() {
    spec!("MQTT5-4.3.3-10", "MQTT311-4.3.3-2");
    for version in VERSIONS {
        let broker = storing_with(|settings| settings.limits.receive_maximum = 1);
        let received = (1..=3).filter_map(PacketId::new).collect();
        let session = StoredSession { received, ..stored_session(1, "publisher") };
        broker.restore(vec![Restored::Session(Box::new(session))]);
        let mut subscriber = subscriber(&broker, version);
        let mut publisher = broker.lasting(version, "publisher");
        for packet_id in 1..=3 {
            publisher.send_publish(&message(packet_id, "known").dup(true));
            publisher.expect_pubrec(packet_id);
            publisher.send_pubrel(packet_id);
            publisher.expect_pubcomp_with(packet_id, ReasonCode::Success);
        }
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn an_exchange_is_finished_although_the_message_has_expired() {
    spec!("MQTT5-4.3.3-13");
    let broker = Broker::new();
    let mut publisher = broker.lasting(Version::V5_0, "publisher");
    publisher.send_publish(&message(7, "x").message_expiry_interval(10));
    publisher.expect_pubrec(7);
    drop(publisher);
    broker.advance_seconds(20);
    let mut publisher = broker.lasting(Version::V5_0, "publisher");
    publisher.send_publish(&message(7, "x").message_expiry_interval(10).dup(true));
    publisher.expect_pubrec_with(7, ReasonCode::Success);
    publisher.send_pubrel(7);
    publisher.expect_pubcomp_with(7, ReasonCode::Success);
}

#[test]
fn a_pubrel_with_a_reason_of_failure_releases_all_the_same() {
    let broker = Broker::new();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publisher.send_publish(&message(7, "x"));
    publisher.expect_pubrec(7);
    publisher.send_ack(PacketType::Pubrel, 7, ReasonCode::PacketIdentifierNotFound);
    publisher.expect_pubcomp_with(7, ReasonCode::Success);
}

#[test]
fn a_pubrel_before_its_pubrec_is_answered_behind_it() {
    for version in VERSIONS {
        let (broker, mut publisher, mut subscriber) = stored(version);
        publisher.send_publish(&message(7, "x"));
        publisher.send_pubrel(7);
        let records = broker.records();
        assert!(matches!(records[..], [Record::Received { .. }, Record::Released { .. }]));
        publisher.expect_nothing_before_pong();
        broker.keep_all();
        publisher.expect_pubrec(7);
        publisher.expect_pubcomp(7);
        assert_eq!(subscriber.receive().text(), "x");
        publisher.send_publish(&message(7, "y"));
        broker.keep_all();
        publisher.expect_pubrec(7);
        assert_eq!(subscriber.receive().text(), "y");
    }
}

#[test]
fn what_was_dropped_for_a_stored_session_is_not_routed_to_it_behind_a_crash() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.durability = Durability::Stored;
            settings.limits.queue_messages_max = 1;
        });
        drop(subscriber(&broker, version));
        let mut publisher = broker.lasting(version, "publisher");
        broker.hold();
        for (packet_id, text) in [(1, "fits"), (2, "dropped")] {
            publisher.send_publish(&message(packet_id, text));
            broker.keep_all();
            let queued = broker.records().into_iter().find_map(|record| match record {
                Record::Queued { publication, references, .. } => Some((publication, references)),
                _ => None,
            });
            let (publication, references) = queued.expect("the session has had it");
            let place = references.iter().next().expect("one").sequence;
            assert_eq!((publication > 0, references.len()), (true, 1));
            assert_eq!(place, u64::from(text == "fits"), "{text}");
            publisher.expect_pubrec(packet_id);
        }
    }
}

#[test]
fn a_retained_message_that_others_have_left_no_room_for_when_it_is_stored_is_refused() {
    for version in VERSIONS {
        // On one shard, where all topics are.
        let broker = Broker::placed(1, &[], |settings| {
            settings.durability = Durability::Stored;
            settings.limits.retained_messages_max = 1;
        });
        let mut subscriber = subscriber(&broker, version);
        let mut publisher = broker.lasting(version, "publisher");
        let mut other = broker.client(version, "other");
        broker.hold();
        publisher.send_publish(&message(1, "held").retain(true));
        let record = broker.record();
        let Record::Received { session, packet_id, publication, .. } = record else {
            panic!("{record:?}");
        };
        other.publish_with(&OwnedPublish::new("u", "kept", QoS::AtMostOnce).retain(true));
        assert!(matches!(broker.record(), Record::Retained { .. }));
        broker.events();
        broker.kept();
        // Nothing is left of it, and the store knows that before the client, who may use the
        // packet identifier for something else then.
        assert_eq!(broker.leisurely(), [Record::Routed { publication }]);
        if version.is_v5() {
            assert_eq!(broker.record(), Record::Released { session, packet_id });
            publisher.expect_nothing_before_pong();
            broker.keep_all();
            publisher.expect_pubrec_with(1, ReasonCode::QuotaExceeded);
        } else {
            assert!(broker.has_asked_nothing());
            publisher.expect_pubrec(1);
        }
        let refused = |event: &Event| {
            matches!(event, Event::PacketRefused { client_id, topic, reason }
                if (&**client_id, &**topic) == ("publisher", "t")
                    && reason.code == ReasonCode::QuotaExceeded)
        };
        assert_eq!(broker.events().iter().filter(|event| refused(event)).count(), 1);
        assert_eq!(broker.look(|shards| shards.gauges().retained_messages), 1);
        subscriber.expect_nothing_before_pong();
    }
}
