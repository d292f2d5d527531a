//! Stored sessions: what a store is told and when, and who gets what it gives back.

use std::sync::Arc;

use noctule_broker_core::{
    Durability, Effect, Input, Message, Record, Settings, StoredMessage, StoredSession,
    StoredSubscription, Token,
};
use noctule_packet::{ForwardedProperties, QoS, ReasonCode, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedDisconnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting, placement_of, shards};

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

/// Connects while questions are held, up to the moment at which the stored session is asked for.
#[track_caller]
pub(crate) fn connect_up_to_load(broker: &Broker, connect: &OwnedConnect) -> (Client, Token) {
    let mut client = broker.open();
    client.send_connect(connect);
    match broker.asked() {
        Effect::Load { token, client_id } => {
            assert_eq!(*client_id, *connect.client_id);
            (client, token)
        }
        other => panic!("{other:?}"),
    }
}

/// The only record that is waiting to be stored.
#[track_caller]
pub(crate) fn record(broker: &Broker) -> Record {
    let Effect::Persist { record, .. } = broker.asked() else { panic!("no record") };
    assert!(broker.has_asked_nothing());
    record
}

fn started(new: bool, session_expiry_interval: u32) -> Record {
    Record::SessionStarted { client_id: "a".into(), new, session_expiry_interval }
}

pub(crate) fn ended() -> Record {
    Record::SessionEnded { client_id: "a".into() }
}

pub(crate) fn subscription(filter: &str, qos: QoS) -> StoredSubscription {
    let options = SubscriptionOptions { qos, ..Default::default() };
    StoredSubscription { filter: filter.into(), options, identifier: None }
}

pub(crate) fn message(payload: &str, qos: QoS) -> StoredMessage {
    let message = Message {
        topic: "t".into(),
        payload: payload.as_bytes().into(),
        qos,
        retain: false,
        properties: ForwardedProperties::empty(),
        expires_at: None,
    };
    StoredMessage { message: Arc::new(message), qos, retain: false, identifiers: Vec::new() }
}

#[test]
fn connack_waits_until_the_session_is_stored() {
    for version in VERSIONS {
        let broker = storing();
        broker.hold();
        let (mut client, token) = connect_up_to_load(&broker, &lasting(version, "a"));
        broker.trace();
        broker.input(Input::Loaded { token, session: None });
        assert_eq!(broker.trace(), ["Persist"]);
        let Effect::Persist { token, record } = broker.asked() else { panic!("no record") };
        assert_eq!(record, started(true, if version.is_v5() { 3_600 } else { NEVER }));
        broker.input(Input::Persisted { token });
        assert!(!client.expect_connack_with(ReasonCode::Success).session_present);
    }
}

#[test]
fn a_session_that_ends_with_its_connection_costs_no_record() {
    for version in VERSIONS {
        let broker = storing();
        broker.hold();
        let (mut client, token) = connect_up_to_load(&broker, &OwnedConnect::new(version, "a"));
        broker.input(Input::Loaded { token, session: None });
        client.expect_connack_with(ReasonCode::Success);
        client.subscribe(&[("t", QoS::ExactlyOnce)]);
        client.publish("t", "x", QoS::ExactlyOnce);
        client.receive();
        drop(client);
        assert!(broker.has_asked_nothing());
    }
}

#[test]
fn going_on_is_recorded_before_connack() {
    for version in VERSIONS {
        let broker = storing();
        drop(broker.lasting(version, "a"));
        broker.hold();
        let mut client = broker.open();
        client.send_connect(&lasting(version, "a"));
        let Effect::Persist { token, record } = broker.asked() else { panic!("no record") };
        assert_eq!(record, started(false, if version.is_v5() { 3_600 } else { NEVER }));
        broker.input(Input::Persisted { token });
        let connack = client.expect_connack_with(ReasonCode::Success);
        assert_eq!(connack.session_present, version != Version::V3_1);
    }
}

#[test]
fn connack_waits_until_a_clean_start_has_deleted_what_was_stored() {
    for version in VERSIONS {
        for in_memory in [true, false] {
            let broker = storing();
            if in_memory {
                drop(broker.lasting(version, "a"));
            }
            broker.hold();
            let mut client = broker.open();
            client.send_connect(&OwnedConnect::new(version, "a"));
            if !in_memory {
                let Effect::Load { token, .. } = broker.asked() else { panic!("not loaded") };
                let session = StoredSession {
                    subscriptions: vec![subscription("t", QoS::AtLeastOnce)],
                    messages: vec![message("old", QoS::AtLeastOnce)],
                    received: Vec::new(),
                };
                broker.input(Input::Loaded { token, session: Some(Box::new(session)) });
            }
            let Effect::Persist { token, record } = broker.asked() else { panic!("no record") };
            assert_eq!(record, started(true, 0));
            assert!(broker.has_asked_nothing());
            broker.input(Input::Persisted { token });
            assert!(!client.expect_connack_with(ReasonCode::Success).session_present);
            client.publish("t", "x", QoS::AtMostOnce);
            client.expect_nothing_before_pong();
            // The store holds nothing that would have to be deleted.
            drop(client);
            assert!(broker.has_asked_nothing());
        }
    }
}

#[test]
fn the_store_is_told_when_disconnect_ends_a_session_or_keeps_it_for_another_time() {
    for (connect, disconnect, expected) in [
        (3_600, Some(0), Some(ended())),
        (3_600, Some(5), Some(started(false, 5))),
        (3_600, Some(NEVER), Some(started(false, NEVER))),
        (3_600, None, None),
        (0, Some(0), None),
    ] {
        let broker = storing();
        let mut client = broker.connect(&OwnedConnect::v5("a").resumable(connect));
        broker.hold();
        let mut packet = OwnedDisconnect::new(ReasonCode::Success);
        packet.session_expiry_interval = disconnect;
        client.send_disconnect_with(&packet);
        client.expect_closed();
        match expected {
            Some(expected) => assert_eq!(record(&broker), expected),
            None => assert!(broker.has_asked_nothing(), "{connect} then {disconnect:?}"),
        }
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
    assert_eq!(record(&broker), ended());
}

#[test]
fn a_stored_session_that_is_to_end_with_its_next_connection_is_forgotten_at_once() {
    let broker = storing();
    drop(broker.connect(&OwnedConnect::v5("a").resumable(10)));
    broker.hold();
    let mut client = broker.open();
    client.send_connect(&OwnedConnect::v5("a").clean_start(false));
    let Effect::Persist { token, record } = broker.asked() else { panic!("no record") };
    assert_eq!(record, started(false, 0));
    broker.input(Input::Persisted { token });
    assert!(client.expect_connack_with(ReasonCode::Success).session_present);
    drop(client);
    assert!(broker.has_asked_nothing());
}

#[test]
fn what_is_loaded_for_a_connection_that_is_gone_is_dropped() {
    let broker = storing();
    broker.hold();
    let (client, token) = connect_up_to_load(&broker, &lasting(Version::V5_0, "a"));
    drop(client);
    broker.input(Input::Loaded { token, session: Some(Box::default()) });
    assert!(broker.has_asked_nothing());
    assert_eq!(broker.look(|shard| shard.gauges().sessions), 0);
}

#[test]
fn only_the_newest_connection_gets_what_is_loaded() {
    spec!("MQTT5-3.1.4-3", "MQTT311-3.1.4-2", "MQTT31-3.1-10");
    for version in VERSIONS {
        let broker = storing();
        broker.hold();
        let (mut old, old_token) = connect_up_to_load(&broker, &lasting(version, "a"));
        let (mut new, new_token) = connect_up_to_load(&broker, &OwnedConnect::new(version, "a"));
        if version.is_v5() {
            assert!(old.expect_connack().reason_code.is_error());
        }
        old.expect_closed();
        broker.input(Input::Loaded { token: new_token, session: None });
        new.expect_connack_with(ReasonCode::Success);
        // It is out of date now.
        broker.input(Input::Loaded { token: old_token, session: Some(Box::default()) });
        assert!(broker.has_asked_nothing());
        new.expect_nothing_before_pong();
    }
}

#[test]
fn an_answer_for_a_session_that_is_gone_reaches_nobody_else() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = storing_with(|settings| {
                settings.placement = placement_of(shards(), &[("gone", 0), ("b", 0)]);
            });
            let publish = OwnedPublish::new("t", "x", qos).retain(true).packet_id(1);
            let mut gone = broker.client(version, "gone");
            broker.hold();
            gone.send_publish(&publish);
            drop(gone);
            let Effect::Persist { token: stale, .. } = broker.asked() else { panic!("no record") };
            // This one takes the place of the other among the sessions.
            let (mut heir, token) = connect_up_to_load(&broker, &OwnedConnect::new(version, "b"));
            broker.input(Input::Loaded { token, session: None });
            heir.expect_connack_with(ReasonCode::Success);
            heir.send_publish(&publish);
            broker.input(Input::Persisted { token: stale });
            heir.expect_nothing_before_pong();
            let Effect::Persist { token, .. } = broker.asked() else { panic!("no record") };
            broker.input(Input::Persisted { token });
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
    let mut client = broker.connect(&OwnedConnect::v5("a").resumable(10));
    client.subscribe(&[("t", QoS::ExactlyOnce)]);
    client.publish("t", "x", QoS::ExactlyOnce);
    client.receive();
    client.send_disconnect_with(
        &OwnedDisconnect::new(ReasonCode::Success).session_expiry_interval(5),
    );
    client.expect_closed();
    drop(broker.connect(&OwnedConnect::v5("a").resumable(10)));
    broker.advance_seconds(10);
    let trace = broker.trace();
    assert!(!trace.iter().any(|step| step == "Persist" || step == "Load"), "{trace:?}");
}

#[test]
fn each_newer_connection_ends_the_one_that_waits_for_the_store() {
    let broker = storing();
    broker.hold();
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(connect_up_to_load(&broker, &OwnedConnect::v5("a")));
        for (older, _) in waiting.iter_mut().rev().skip(1) {
            if older.connack().is_none() {
                assert!(older.expect_connack().reason_code.is_error());
                older.expect_closed();
            }
        }
    }
    let (mut newest, token) = waiting.pop().expect("four connections");
    broker.input(Input::Loaded { token, session: None });
    newest.expect_connack_with(ReasonCode::Success);
}

#[test]
fn nothing_is_left_of_a_connection_that_was_lost_while_it_waited_for_the_store() {
    let broker = storing();
    broker.hold();
    let left = |broker: &Broker| {
        let text = broker.look(|shards| format!("{shards:?}"));
        text.matches("loading: {}").count() < usize::from(shards())
    };
    let (client, token) = connect_up_to_load(&broker, &OwnedConnect::v5("a"));
    assert!(left(&broker));
    drop(client);
    assert!(!left(&broker));
    broker.input(Input::Loaded { token, session: None });
    let (_client, token) = connect_up_to_load(&broker, &OwnedConnect::v5("a"));
    broker.input(Input::Loaded { token, session: None });
    assert!(!left(&broker));
}
