//! CONNACK: what it says, what it comes before, and that a refusing one is the last packet.

use noctule_broker_core::{
    Authentication, Durability, Effect, Event, Input, ListenerSettings, Record, Settings,
};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnack, OwnedConnect, OwnedPublish, OwnedWill, VERSIONS, bytes};

use crate::broker::{Broker, Client, ended_with, lasting};

/// What a 5.0 client is told by a broker with these settings.
fn told(change: impl FnOnce(&mut Settings), connect: &OwnedConnect) -> OwnedConnack {
    let client: Client = Broker::with(change).connect(connect);
    client.connack().expect("a CONNACK").clone()
}

#[test]
fn an_accepted_connect_is_answered_with_connack_before_anything_else() {
    spec!("MQTT5-3.1.4-5", "MQTT311-3.1.4-4", "MQTT5-3.2.0-1", "MQTT311-3.2.0-1");
    for version in VERSIONS {
        for has_queue in [false, true] {
            let broker = Broker::with(|settings| settings.durability = Durability::Stored);
            let mut subscriber = broker.lasting(version, "subscriber");
            subscriber.subscribe(&[("a", QoS::ExactlyOnce)]);
            drop(subscriber);
            let mut publisher = broker.client(version, "publisher");
            if has_queue {
                publisher.publish("a", "queued", QoS::AtLeastOnce);
            }
            broker.hold();
            let mut subscriber = broker.open();
            subscriber.send_connect(&lasting(version, "subscriber"));
            // The session has a connection again, but not a client that was let in.
            publisher.publish("a", "passing", QoS::AtMostOnce);
            let kept = OwnedPublish::new("a", "kept", QoS::AtLeastOnce).packet_id(7);
            publisher.send_publish(&kept);
            publisher.expect_nothing_before_pong();
            while !broker.has_asked_nothing() {
                broker.answer();
            }
            subscriber.expect_connack_with(ReasonCode::Success);
            if has_queue {
                assert_eq!(subscriber.receive().text(), "queued");
            }
            assert_eq!(subscriber.receive().text(), "kept");
            subscriber.expect_nothing_before_pong();
            assert_eq!(broker.look(|shard| shard.statistics().dropped_total()), 0);
        }
    }
}

#[test]
fn a_connection_sees_one_connack_however_often_questions_are_answered() {
    spec!("MQTT5-3.2.0-2");
    for version in VERSIONS {
        let broker = Broker::placed(1, &[], |settings| {
            settings.durability = Durability::Stored;
            settings.listeners[0].authentication = Authentication::Ask;
        });
        broker.hold();
        let mut client = broker.open();
        client.send_connect(&lasting(version, "a"));
        let Effect::Authenticate { token: who, .. } = broker.asked() else { panic!("who?") };
        broker.input(Input::Authenticated { token: who, outcome: Ok(Default::default()) });
        broker.input(Input::Authenticated { token: who, outcome: Ok(Default::default()) });
        assert!(matches!(broker.record(), Record::SessionStarted(_)));
        broker.input(Input::Persisted { records: 1 });
        client.expect_connack_with(ReasonCode::Success);
        broker.input(Input::Persisted { records: 1 });
        let late = Err(ReasonCode::NotAuthorized);
        broker.input(Input::Authenticated { token: who, outcome: late });
        client.expect_nothing_before_pong();
        assert!(broker.has_asked_nothing());
    }
}

#[test]
fn session_present_tells_whether_there_was_a_session() {
    spec!("MQTT5-3.2.2-2", "MQTT5-3.2.2-3");
    spec!("MQTT311-3.2.2-1", "MQTT311-3.2.2-2", "MQTT311-3.2.2-3");
    for version in [Version::V3_1_1, Version::V5_0] {
        let broker = Broker::new();
        let resumes = |connect: &OwnedConnect| {
            let client = broker.connect(connect);
            let connack = client.connack().expect("a CONNACK");
            assert_eq!(connack.reason_code, ReasonCode::Success);
            connack.session_present
        };
        let clean = lasting(version, "a").clean_start(true);
        let lasting = lasting(version, "a");
        assert!(!resumes(&lasting));
        assert!(resumes(&lasting));
        assert!(!resumes(&clean));
        // In 3.x a clean session leaves nothing behind; in 5.0 this one lasts.
        assert_eq!(resumes(&lasting), version.is_v5());
        assert!(resumes(&lasting));
    }
}

#[test]
fn session_present_is_not_told_in_3_1() {
    spec!("MQTT31-3.2-1");
    let broker = Broker::new();
    for _ in 0..2 {
        let mut client = broker.open();
        client.send_connect(&lasting(Version::V3_1, "a"));
        client.expect_bytes(&bytes("20 02 00 00"));
    }
}

#[test]
fn a_refusing_connack_is_the_last_packet() {
    spec!("MQTT5-3.2.2-7", "MQTT311-3.2.2-5", "MQTT31-3.2-2", "MQTT5-3.14.0-1");
    for version in VERSIONS {
        for (code, return_code) in [
            (ReasonCode::ClientIdentifierNotValid, 2),
            (ReasonCode::ServerUnavailable, 3),
            (ReasonCode::BadUserNameOrPassword, 4),
            (ReasonCode::NotAuthorized, 5),
        ] {
            let broker = Broker::with(|settings| {
                settings.listeners[0].authentication = Authentication::Ask;
            });
            broker.hold();
            let mut client = broker.open();
            client.send_connect(&OwnedConnect::new(version, "a"));
            let Effect::Authenticate { token, .. } = broker.asked() else { panic!("who?") };
            broker.input(Input::Authenticated { token, outcome: Err(code) });
            if version.is_v5() {
                let connack = client.expect_connack_with(code);
                assert!(!connack.session_present);
            } else {
                client.expect_bytes(&[0x20, 2, 0, return_code]);
            }
            client.expect_closed();
            // Whatever happens now, nothing follows.
            client.send_pingreq();
            broker.advance_seconds(100);
            client.expect_closed();
        }
    }
}

#[test]
fn a_version_that_is_not_spoken_on_a_listener_is_refused_as_such() {
    spec!("MQTT31-3.2-2");
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            let mut listener = ListenerSettings::default();
            listener.versions.retain(|spoken| *spoken != version);
            settings.listeners = vec![listener];
        });
        let mut client = broker.open();
        client.send_connect(&OwnedConnect::new(version, "a"));
        client.expect_connack_with(ReasonCode::UnsupportedProtocolVersion);
        client.expect_closed();
    }
}

#[test]
fn a_refusal_that_no_return_code_tells_is_a_closed_connection() {
    spec!("MQTT311-3.2.2-6");
    for version in [Version::V3_1, Version::V3_1_1] {
        let broker = Broker::with(|settings| settings.features.retain_available = false);
        let mut client = broker.open();
        let will = OwnedWill::new("w", "").retain(true);
        client.send_connect(&OwnedConnect::new(version, "a").will(will));
        client.expect_closed();
        assert!(ended_with(&broker.events(), ReasonCode::RetainNotSupported));
    }
}

#[test]
fn a_reason_that_connack_has_no_code_for_is_an_unspecified_error() {
    let broker = Broker::with(|settings| {
        settings.listeners[0].authentication = Authentication::Ask;
    });
    broker.hold();
    for code in [ReasonCode::Success, ReasonCode::KeepAliveTimeout] {
        let mut client = broker.open();
        client.send_connect(&OwnedConnect::v5("a"));
        let Effect::Authenticate { token, .. } = broker.asked() else { panic!("who?") };
        broker.input(Input::Authenticated { token, outcome: Err(code) });
        client.expect_connack_with(ReasonCode::UnspecifiedError);
        client.expect_closed();
    }
}

#[test]
fn a_broker_that_limits_nothing_announces_no_limits() {
    let connack = told(
        |settings| {
            settings.limits.receive_maximum = u16::MAX;
            settings.limits.topic_alias_maximum = 0;
        },
        &OwnedConnect::v5("a").session_expiry_interval(u32::MAX).keep_alive(u16::MAX),
    );
    let expected = OwnedConnack {
        maximum_packet_size: Some(16 * 1024 * 1024),
        ..OwnedConnack::new(ReasonCode::Success)
    };
    assert_eq!(connack, expected);
}

#[test]
fn a_lower_maximum_qos_is_announced() {
    spec!("MQTT5-3.2.2-9");
    for (qos, announced) in [
        (QoS::AtMostOnce, Some(QoS::AtMostOnce)),
        (QoS::AtLeastOnce, Some(QoS::AtLeastOnce)),
        (QoS::ExactlyOnce, None),
    ] {
        let connack = told(|settings| settings.features.maximum_qos = qos, &OwnedConnect::v5("a"));
        assert_eq!(connack.maximum_qos, announced);
    }
}

#[test]
fn every_feature_that_is_off_and_every_limit_is_announced() {
    let connack = told(
        |settings| {
            let features = &mut settings.features;
            features.retain_available = false;
            features.wildcard_subscription_available = false;
            features.subscription_identifiers_available = false;
            features.shared_subscription_available = false;
            let limits = &mut settings.limits;
            limits.receive_maximum = 5;
            limits.topic_alias_maximum = 6;
            limits.maximum_packet_size = 7_000;
            limits.session_expiry_interval_max_seconds = 8;
            limits.keep_alive_max_seconds = 9;
        },
        &OwnedConnect::v5("a").session_expiry_interval(10).keep_alive(10),
    );
    let expected = OwnedConnack {
        retain_available: Some(false),
        wildcard_subscription_available: Some(false),
        subscription_identifiers_available: Some(false),
        shared_subscription_available: Some(false),
        receive_maximum: Some(5),
        topic_alias_maximum: Some(6),
        maximum_packet_size: Some(7_000),
        session_expiry_interval: Some(8),
        server_keep_alive: Some(9),
        ..OwnedConnack::new(ReasonCode::Success)
    };
    assert_eq!(connack, expected);
}

#[test]
fn a_session_expiry_interval_within_the_limit_is_not_mentioned() {
    let limit = |settings: &mut Settings| settings.limits.session_expiry_interval_max_seconds = 8;
    let connack = told(limit, &OwnedConnect::v5("a").session_expiry_interval(8));
    assert_eq!(connack.session_expiry_interval, None);
}

#[test]
fn response_information_is_given_to_those_who_ask() {
    spec!("MQTT5-3.1.2-28");
    for (asked, given) in [(None, None), (Some(false), None), (Some(true), Some("replies/"))] {
        let mut connect = OwnedConnect::v5("a");
        connect.request_response_information = asked;
        let connack =
            told(|settings| settings.response_information = Some("replies/".into()), &connect);
        assert_eq!(connack.response_information.as_deref(), given);
    }
}

#[test]
fn a_client_that_takes_no_packet_as_large_as_its_connack_is_told_or_at_least_dropped() {
    spec!("MQTT5-4.13.2-1", "MQTT5-3.1.2-24");
    for (size, is_told) in [(5, true), (4, false), (1, false)] {
        let broker = Broker::new();
        let mut client = broker.open();
        client.send_connect(&lasting(Version::V5_0, "a").maximum_packet_size(size));
        if is_told {
            client.expect_connack_with(ReasonCode::PacketTooLarge);
        }
        client.expect_closed();
        let events = broker.events();
        assert!(ended_with(&events, ReasonCode::PacketTooLarge), "{events:?}");
        assert!(!events.iter().any(|event| matches!(event, Event::Connected { .. })));
        // The session is left as by a lost connection.
        let successor = broker.lasting(Version::V5_0, "a");
        assert!(successor.connack().expect("a CONNACK").session_present);
    }
}
