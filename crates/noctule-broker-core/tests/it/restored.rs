//! Restored sessions: what becomes of what a store gives back.

use std::sync::Arc;

use noctule_broker_core::{Event, Input, StoredSession, StoredSubscription};
use noctule_packet::{PacketId, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting, placement_of};
use crate::stored::{
    connect_up_to_load, ended, message, record, storing, storing_with, subscription,
};

/// A client whose session comes from the store.
#[track_caller]
fn restored(broker: &Broker, connect: &OwnedConnect, session: StoredSession) -> Client {
    broker.hold();
    let (mut client, token) = connect_up_to_load(broker, connect);
    broker.input(Input::Loaded { token, session: Some(Box::new(session)) });
    while !broker.has_asked_nothing() {
        broker.answer();
    }
    let connack = client.expect_connack_with(ReasonCode::Success);
    assert_eq!(connack.session_present, connect.version != Version::V3_1);
    client
}

#[test]
fn a_restored_session_has_its_subscriptions() {
    spec!("MQTT5-3.1.2-5", "MQTT311-3.1.2-4", "MQTT311-3.2.2-2", "MQTT31-3.1-8");
    for version in VERSIONS {
        let broker = storing();
        let session = StoredSession {
            subscriptions: vec![
                StoredSubscription { identifier: Some(7), ..subscription("t", QoS::ExactlyOnce) },
                subscription("$share/group/s", QoS::AtLeastOnce),
            ],
            ..StoredSession::default()
        };
        let mut client = restored(&broker, &lasting(version, "a"), session);
        let identifiers = if version.is_v5() { vec![7] } else { Vec::new() };
        client.send_publish(&OwnedPublish::new("t", "x", QoS::AtMostOnce));
        let message = client.receive();
        assert_eq!((message.text(), &message.subscription_identifiers), ("x", &identifiers));
        client.send_publish(&OwnedPublish::new("s", "y", QoS::AtMostOnce));
        assert_eq!(client.receive().text(), "y");
        let gauges = broker.look(|shard| shard.gauges());
        assert_eq!((gauges.subscriptions, gauges.shared_groups), (2, 1));
    }
}

#[test]
fn a_restored_session_has_its_messages_in_order() {
    spec!("MQTT5-3.1.2-23", "MQTT311-3.1.2-5", "MQTT31-3.1-8");
    for version in VERSIONS {
        let broker = storing();
        let qos = |number: u32| {
            if number.is_multiple_of(3) { QoS::ExactlyOnce } else { QoS::AtLeastOnce }
        };
        let session = StoredSession {
            messages: (0..50).map(|number| message(&format!("{number}"), qos(number))).collect(),
            ..StoredSession::default()
        };
        let connect = lasting(version, "a").receive_maximum(3);
        let mut client = restored(&broker, &connect, session);
        for number in 0..50 {
            let message = client.receive();
            assert_eq!((message.text(), message.qos), (&*format!("{number}"), qos(number)));
            assert!(!message.dup);
        }
        client.expect_nothing_before_pong();
        let gauges = broker.look(|shard| shard.gauges());
        assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0));
    }
}

#[test]
fn a_restored_message_has_its_flags_and_may_have_expired() {
    let broker = storing();
    let mut expired = message("expired", QoS::AtLeastOnce);
    Arc::make_mut(&mut expired.message).expires_at = Some(broker.now());
    let mut flagged = message("flagged", QoS::AtLeastOnce);
    (flagged.retain, flagged.identifiers) = (true, vec![3, 9]);
    let session = StoredSession { messages: vec![expired, flagged], ..StoredSession::default() };
    let mut client = restored(&broker, &lasting(Version::V5_0, "a"), session);
    let message = client.receive();
    assert_eq!((message.text(), message.retain), ("flagged", true));
    assert_eq!(message.subscription_identifiers, [3, 9]);
    client.expect_nothing_before_pong();
}

#[test]
fn restored_qos_2_identifiers_are_known_until_they_are_released() {
    spec!("MQTT5-4.3.3-10", "MQTT311-4.3.3-2", "MQTT31-3.1-8");
    for version in VERSIONS {
        // More than may be open in 5.0 now, as after a change of the setting.
        let broker = storing_with(|settings| settings.limits.receive_maximum = 2);
        let session = StoredSession {
            subscriptions: vec![subscription("t", QoS::AtMostOnce)],
            received: (1..=4).filter_map(PacketId::new).collect(),
            ..StoredSession::default()
        };
        let mut client = restored(&broker, &lasting(version, "a"), session);
        let publish = |id: u16| OwnedPublish::new("t", "x", QoS::ExactlyOnce).packet_id(id);
        for id in 1..=4 {
            client.send_publish(&publish(id).dup(true));
            client.expect_pubrec(id);
            client.send_pubrel(id);
            while !broker.has_asked_nothing() {
                broker.answer();
            }
            client.expect_pubcomp(id);
        }
        client.send_publish(&publish(1));
        while !broker.has_asked_nothing() {
            broker.answer();
        }
        assert_eq!(client.receive().text(), "x");
        client.expect_pubrec(1);
    }
}

#[test]
fn a_restored_session_expires_like_any_other() {
    spec!("MQTT5-4.1.0-2");
    let broker = storing();
    let session = StoredSession {
        subscriptions: vec![subscription("t", QoS::AtLeastOnce)],
        ..StoredSession::default()
    };
    drop(restored(&broker, &OwnedConnect::v5("a").resumable(10), session));
    broker.advance_seconds(9);
    assert!(broker.has_asked_nothing());
    broker.advance_seconds(1);
    assert_eq!(record(&broker), ended());
    let gone = |event: &Event| matches!(event, Event::SessionEnded { .. });
    assert!(broker.events().iter().any(gone));
    assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 0);
}

#[test]
fn connack_waits_until_other_shards_know_the_restored_subscriptions() {
    let placement = placement_of(3, &[("a", 0)]);
    let broker = storing_with(|settings| settings.placement = placement);
    broker.hold_mail();
    let (mut client, token) = connect_up_to_load(&broker, &lasting(Version::V5_0, "a"));
    let session = StoredSession {
        subscriptions: vec![subscription("t", QoS::AtLeastOnce)],
        ..StoredSession::default()
    };
    broker.trace();
    broker.input(Input::Loaded { token, session: Some(Box::new(session)) });
    assert_eq!(broker.trace(), ["ChangeRoute", "ChangeRoute", "Persist"]);
    for _ in 0..2 {
        broker.answer();
        let confirmation = broker.asked_last();
        assert_eq!(broker.trace(), ["ConfirmRoute"]);
        broker.give(confirmation);
    }
    assert_eq!(broker.trace(), [""; 0]);
    broker.answer();
    assert!(client.expect_connack_with(ReasonCode::Success).session_present);
}
