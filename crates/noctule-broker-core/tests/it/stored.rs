//! Stored sessions: what a store is told of them, and what waits for it.

use std::sync::Arc;

use noctule_broker_core::{
    Durability, Message, Record, Settings, Step, StoredMessage, StoredSession, StoredSubscription,
    StoredTerms,
};
use noctule_packet::{
    ForwardedProperties, PacketId, QoS, ReasonCode, SubscriptionOptions, Version, spec,
};
use noctule_testkit::{OwnedConnect, OwnedDisconnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, lasting, placement_of, shards};
use crate::will::will;

const NEVER: u32 = u32::MAX;

/// A broker with a store that keeps and has nothing.
pub(crate) fn storing() -> Broker {
    storing_with(|_| {})
}

pub(crate) fn storing_with(change: impl FnOnce(&mut Settings)) -> Broker {
    Broker::with(|settings| {
        settings.durability = Durability::Stored;
        change(settings);
    })
}

/// The name of what is the `number`th to be restored.
pub(crate) fn name(number: u64) -> u64 {
    number << 16
}

/// A session without anything in it, which had no connection.
pub(crate) fn stored_session(number: u64, client_id: &str) -> StoredSession {
    StoredSession {
        terms: StoredTerms {
            session: name(number),
            client_id: client_id.into(),
            user_name: None,
            version: Version::V5_0,
            expiry_interval: NEVER,
            receive_maximum: 10,
            may_send: None,
            will: None,
        },
        was_connected: false,
        expires_at: None,
        will_at: None,
        subscriptions: Vec::new(),
        messages: Vec::new(),
        away: None,
        behind: Vec::new(),
        unsent: Vec::new(),
        lost: Vec::new(),
        sent: 0,
        next: PacketId::MIN,
        sequence: 1_000,
        received: Vec::new(),
    }
}

pub(crate) fn subscription(filter: &str, qos: QoS) -> StoredSubscription {
    let options = SubscriptionOptions { qos, ..Default::default() };
    StoredSubscription { filter: filter.into(), options, identifier: None, is_owed: false }
}

/// A message that may wait at this place of a queue.
pub(crate) fn message(sequence: u64, payload: &str, qos: QoS) -> StoredMessage {
    let message = Message {
        topic: "t".into(),
        payload: payload.as_bytes().into(),
        qos,
        retain: false,
        properties: ForwardedProperties::empty(),
        expires_at: None,
    };
    let (message, step) = (Arc::new(message), Step::Published);
    let (retain, identifiers, group) = (false, Vec::new(), None);
    StoredMessage { message, sequence, qos, retain, identifiers, group, step }
}

/// The terms that are recorded next.
#[track_caller]
fn started(broker: &Broker) -> Box<StoredTerms> {
    match broker.record() {
        Record::SessionStarted(terms) => terms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn connack_waits_until_the_session_is_stored() {
    for version in VERSIONS {
        let broker = storing();
        broker.hold();
        let mut client = broker.open();
        let connect = lasting(version, "a").receive_maximum(7);
        client.send_connect(&connect.will(will()));
        let terms = started(&broker);
        assert!(broker.has_asked_nothing());
        assert_eq!((&*terms.client_id, terms.version), ("a", version));
        assert_eq!(terms.expiry_interval, if version.is_v5() { 3_600 } else { NEVER });
        assert_eq!(terms.receive_maximum, if version.is_v5() { 7 } else { u16::MAX });
        assert!(terms.will.is_some());
        assert_eq!(client.connack(), None);
        broker.kept();
        assert!(!client.expect_connack_with(ReasonCode::Success).session_present);
    }
}

#[test]
fn going_on_is_recorded_before_connack_under_the_same_name() {
    for version in VERSIONS {
        let broker = storing();
        broker.hold();
        let mut client = broker.open();
        client.send_connect(&lasting(version, "a"));
        let name = started(&broker).session;
        broker.kept();
        client.expect_connack_with(ReasonCode::Success);
        drop(client);
        let mut client = broker.open();
        client.send_connect(&lasting(version, "a"));
        assert_eq!(started(&broker).session, name);
        broker.kept();
        let connack = client.expect_connack_with(ReasonCode::Success);
        assert_eq!(connack.session_present, version != Version::V3_1);
    }
}

#[test]
fn connack_waits_until_a_clean_start_has_ended_what_was_stored() {
    for version in VERSIONS {
        for stays in [true, false] {
            let broker = storing();
            broker.hold();
            let mut client = broker.open();
            client.send_connect(&lasting(version, "a"));
            let name = started(&broker).session;
            broker.kept();
            client.expect_connack_with(ReasonCode::Success);
            drop(client);
            let stays = stays && version.is_v5();
            let mut client = broker.open();
            let connect = OwnedConnect::new(version, "a");
            client.send_connect(&if stays {
                connect.resumable(10).clean_start(true)
            } else {
                connect
            });
            assert_eq!(broker.record(), Record::SessionEnded { session: name });
            if stays {
                assert_ne!(started(&broker).session, name, "a name is given once");
                broker.kept();
            }
            assert!(broker.has_asked_nothing());
            assert_eq!(client.connack(), None);
            broker.kept();
            assert!(!client.expect_connack_with(ReasonCode::Success).session_present);
        }
    }
}

#[test]
fn a_session_that_ends_with_its_connection_costs_no_record() {
    for version in VERSIONS {
        let broker = storing();
        broker.hold();
        let mut client = broker.client(version, "a");
        client.subscribe(&[("t", QoS::ExactlyOnce)]);
        client.publish("t", "x", QoS::ExactlyOnce);
        client.receive();
        client.unsubscribe(&["t"]);
        drop(client);
        broker.end_turn();
        assert!(broker.has_asked_nothing());
        assert_eq!(broker.leisurely(), []);
    }
}

#[test]
fn the_store_is_told_when_disconnect_ends_a_session_or_keeps_it_for_another_time() {
    let broker = storing();
    let until = |seconds| Some(broker.now().plus_seconds(seconds));
    for (disconnect, expected) in [
        (Some(0), None),
        (Some(5), Some((5, until(5)))),
        (Some(NEVER), Some((NEVER, None))),
        (None, Some((3_600, until(3_600)))),
    ] {
        let mut client = broker.connect(&OwnedConnect::v5("a").resumable(3_600));
        broker.hold();
        broker.leisurely();
        let mut packet = OwnedDisconnect::new(ReasonCode::Success);
        packet.session_expiry_interval = disconnect;
        client.send_disconnect_with(&packet);
        client.expect_closed();
        match expected {
            None => assert!(matches!(broker.record(), Record::SessionEnded { .. })),
            Some(expected) => {
                let left = broker.leisurely();
                let [Record::SessionLeft { expiry_interval, expires_at, will_at: None, .. }] =
                    left[..]
                else {
                    panic!("{left:?}");
                };
                assert_eq!((expiry_interval, expires_at), expected);
            }
        }
        assert!(broker.has_asked_nothing());
        broker.keep_all();
        broker.answer_all();
    }
}

#[test]
fn the_store_is_told_when_time_ends_a_session() {
    spec!("MQTT5-4.1.0-2");
    let broker = storing();
    drop(broker.connect(&OwnedConnect::v5("a").resumable(10)));
    broker.hold();
    broker.advance_seconds(9);
    assert!(broker.has_asked_nothing());
    broker.advance_seconds(1);
    assert!(matches!(broker.record(), Record::SessionEnded { .. }));
}

#[test]
fn a_stored_session_that_is_to_end_with_its_next_connection_is_ended_at_once() {
    let broker = storing();
    drop(broker.connect(&OwnedConnect::v5("a").resumable(10)));
    broker.hold();
    let mut client = broker.open();
    client.send_connect(&OwnedConnect::v5("a").clean_start(false));
    assert!(matches!(broker.record(), Record::SessionEnded { .. }));
    assert!(broker.has_asked_nothing());
    broker.kept();
    assert!(client.expect_connack_with(ReasonCode::Success).session_present);
    broker.leisurely();
    client.subscribe(&[("t", QoS::ExactlyOnce)]);
    client.publish("t", "x", QoS::ExactlyOnce);
    drop(client);
    assert!(broker.has_asked_nothing());
    assert_eq!(broker.leisurely(), []);
}

#[test]
fn a_stored_session_that_is_to_end_with_its_next_connection_may_be_kept_for_its_will_alone() {
    let broker = storing();
    drop(broker.connect(&OwnedConnect::v5("a").resumable(10)));
    broker.hold();
    let mut client = broker.open();
    let connect = OwnedConnect::v5("a").clean_start(false);
    client.send_connect(&connect.will(will().qos(QoS::AtLeastOnce)));
    let terms = started(&broker);
    assert_eq!(terms.expiry_interval, 0);
    broker.kept();
    client.expect_connack_with(ReasonCode::Success);
    broker.leisurely();
    client.subscribe(&[("t", QoS::ExactlyOnce)]);
    client.publish("t", "x", QoS::ExactlyOnce);
    client.receive();
    assert!(broker.has_asked_nothing(), "nothing else of it is kept");
    client.disconnect();
    assert_eq!(broker.record(), Record::SessionEnded { session: terms.session });
    assert_eq!(broker.leisurely(), []);
}

#[test]
fn an_answer_for_a_session_that_is_gone_reaches_nobody_else() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = storing_with(|settings| {
                settings.placement = placement_of(shards(), &[("gone", 0), ("b", 0), ("t", 0)]);
            });
            let publish = OwnedPublish::new("t", "x", qos).retain(true).packet_id(1);
            let mut gone = broker.client(version, "gone");
            broker.hold();
            gone.send_publish(&publish);
            drop(gone);
            assert!(matches!(broker.record(), Record::Retained { .. }));
            // This one takes the place of the other among the sessions.
            let mut heir = broker.client(version, "b");
            heir.send_publish(&publish);
            broker.kept();
            heir.expect_nothing_before_pong();
            assert!(matches!(broker.record(), Record::Retained { .. }));
            broker.kept();
            match qos {
                QoS::ExactlyOnce => heir.expect_pubrec(1),
                _ => heir.expect_puback(1),
            };
        }
    }
}

#[test]
fn in_memory_mode_no_record_is_made() {
    let broker = Broker::new();
    let mut client = broker.connect(&OwnedConnect::v5("a").resumable(10).will(will()));
    client.subscribe(&[("t", QoS::ExactlyOnce)]);
    client.publish_with(&OwnedPublish::new("t", "x", QoS::ExactlyOnce).retain(true));
    client.receive();
    broker.end_turn();
    client.send_disconnect_with(
        &OwnedDisconnect::new(ReasonCode::Success).session_expiry_interval(5),
    );
    client.expect_closed();
    drop(broker.connect(&OwnedConnect::v5("a").resumable(10)));
    broker.advance_seconds(10);
    let trace = broker.trace();
    assert!(!trace.iter().any(|step| step == "Persist"), "{trace:?}");
}

#[test]
fn each_newer_connection_ends_the_one_that_waits_for_the_store() {
    spec!("MQTT5-3.1.4-3", "MQTT311-3.1.4-2", "MQTT31-3.1-10");
    for version in VERSIONS {
        let broker = storing();
        broker.hold();
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let mut client = broker.open();
            client.send_connect(&lasting(version, "a"));
            started(&broker);
            waiting.push(client);
        }
        let mut newest = waiting.pop().expect("four connections");
        for mut older in waiting {
            if version.is_v5() {
                assert!(older.expect_connack().reason_code.is_error());
            }
            older.expect_closed();
        }
        for _ in 0..3 {
            broker.kept();
            assert_eq!(newest.connack(), None);
        }
        broker.kept();
        newest.expect_connack_with(ReasonCode::Success);
    }
}
