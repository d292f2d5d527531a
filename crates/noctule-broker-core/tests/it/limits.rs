//! Limits that a connection can reach: the client is told, and the event names limit, value and
//! setting.

use std::time::Duration;

use noctule_broker_core::{Authentication, Ended, Event, Limit, Settings};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{
    OwnedConnect, OwnedDisconnect, OwnedPublish, OwnedWill, VERSIONS, packet_bytes,
};

use crate::broker::{Broker, ended_with, lasting};

/// The reason of the only connection that the broker has ended since the last call.
#[track_caller]
fn ended_for(broker: &Broker) -> (ReasonCode, Limit) {
    let reasons: Vec<_> = broker
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Refused { reason, .. } => Some(reason),
            Event::Disconnected { ended: Ended::ByServer(reason), .. } => Some(reason),
            _ => None,
        })
        .collect();
    let [reason] = &reasons[..] else { panic!("{reasons:?}") };
    (reason.code, reason.limit.expect("a limit"))
}

fn limit(setting: &'static str, maximum: u64, wanted: u64) -> Limit {
    Limit { setting, maximum, wanted }
}

#[test]
fn a_connection_without_a_connect_is_closed_in_time() {
    spec!("MQTT31-3.1-12");
    // Nothing, and a CONNECT that never ends.
    for bytes in [&[][..], &[0x10], &[0x10, 0x0E, 0x00, 0x06, b'M']] {
        let broker = Broker::with(|settings| {
            settings.limits.connect_timeout = Duration::from_secs(3);
        });
        let mut client = broker.open();
        client.send_bytes(bytes);
        broker.advance(Duration::from_millis(2_999));
        assert!(broker.events().is_empty());
        broker.advance(Duration::from_millis(1));
        client.expect_closed();
        let expected = limit("limits.connect_timeout", 3, 0);
        assert_eq!(ended_for(&broker), (ReasonCode::MaximumConnectTime, expected));
    }
}

#[test]
fn a_connect_byte_by_byte_wins_no_time() {
    spec!("MQTT31-3.1-12");
    let broker = Broker::new();
    let mut client = broker.open();
    for byte in packet_bytes(0x10, "s'MQTT' 05 02 0000 00 s'a long client identifier'") {
        client.send_bytes(&[byte]);
        broker.advance(Duration::from_millis(500));
    }
    client.expect_closed();
    assert_eq!(ended_for(&broker).0, ReasonCode::MaximumConnectTime);
}

#[test]
fn a_connect_that_nobody_decides_about_is_refused_in_time() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.listeners[0].authentication = Authentication::Ask;
        });
        broker.hold();
        let mut client = broker.open();
        broker.advance_seconds(9);
        client.send_connect(&OwnedConnect::new(version, "a"));
        broker.advance_seconds(9);
        assert!(broker.events().is_empty());
        broker.advance_seconds(1);
        client.expect_connack_with(ReasonCode::ServerUnavailable);
        client.expect_closed();
        let expected = limit("limits.connect_timeout", 10, 0);
        assert_eq!(ended_for(&broker), (ReasonCode::ServerUnavailable, expected));
        // The answer comes too late.
        broker.answer();
        client.expect_closed();
        assert!(broker.events().is_empty());
    }
}

#[test]
fn one_connection_too_many_is_refused_until_another_ends() {
    spec!("MQTT311-4.8.0-2");
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.connections_max = 2);
        let mut first = broker.client(version, "a");
        let second = broker.client(version, "b");
        broker.events();
        let mut third = broker.open();
        third.send_connect(&OwnedConnect::new(version, "c"));
        third.expect_connack_with(ReasonCode::ServerBusy);
        third.expect_closed();
        let expected = limit("limits.connections_max", 2, 3);
        assert_eq!(ended_for(&broker), (ReasonCode::ServerBusy, expected));
        drop((second, third));
        let mut third = broker.client(version, "c");
        first.expect_nothing_before_pong();
        third.expect_nothing_before_pong();
    }
}

#[test]
fn a_connect_that_is_too_large_is_refused_before_it_is_read() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.connect_bytes_max = 100);
        let mut client = broker.client(version, "just right");
        client.expect_nothing_before_pong();
        broker.events();
        let mut client = broker.open();
        // The fixed header of a packet of 101 bytes.
        client.send_bytes(&[0x10, 99]);
        client.expect_closed();
        let expected = limit("limits.connect_bytes_max", 100, 101);
        assert_eq!(ended_for(&broker), (ReasonCode::PacketTooLarge, expected));
    }
}

#[test]
fn a_packet_that_is_too_large_ends_the_connection_before_it_is_read() {
    spec!("MQTT311-4.8.0-2");
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.maximum_packet_size = 100);
        let mut client = broker.client(version, "a");
        client.send_bytes(&packet_bytes(0x32, &format!("0001 't' 0001 {}", "00".repeat(93))));
        client.expect_puback_with(
            1,
            if version.is_v5() { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success },
        );
        client.send_bytes(&[0x32, 99]);
        client.expect_refused(ReasonCode::PacketTooLarge);
        let expected = limit("limits.maximum_packet_size", 100, 101);
        assert_eq!(ended_for(&broker), (ReasonCode::PacketTooLarge, expected));
    }
}

#[test]
fn a_client_identifier_that_is_too_long_names_its_limit() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.client_id_bytes_max = 5);
        let mut client = broker.open();
        client.send_connect(&OwnedConnect::new(version, &"x".repeat(24)));
        client.expect_connack_with(ReasonCode::ClientIdentifierNotValid);
        client.expect_closed();
        // 23 are always allowed.
        let expected = limit("limits.client_id_bytes_max", 23, 24);
        assert_eq!(ended_for(&broker), (ReasonCode::ClientIdentifierNotValid, expected));
    }
}

#[test]
fn a_keep_alive_that_is_too_long_names_its_limit() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let broker = Broker::with(|settings| settings.limits.keep_alive_max_seconds = 60);
        let mut client = broker.open();
        client.send_connect(&OwnedConnect::new(version, "a").keep_alive(61));
        client.expect_connack_with(ReasonCode::ClientIdentifierNotValid);
        client.expect_closed();
        assert_eq!(ended_for(&broker).1, limit("limits.keep_alive_max_seconds", 60, 61));
    }
}

#[test]
fn too_many_user_properties_are_refused_wherever_they_stand() {
    let broker = Broker::with(|settings| settings.limits.user_properties_max = 2);
    let expected = (ReasonCode::QuotaExceeded, limit("limits.user_properties_max", 2, 3));
    let connect = OwnedConnect::v5("a").user_property("a", "1").user_property("a", "2");
    let will = OwnedWill::new("w", "").user_property("b", "1").user_property("b", "2");
    broker.connect(&connect.clone().will(will.clone())).expect_nothing_before_pong();
    broker.events();
    for connect in [
        connect.clone().user_property("a", "3").will(will.clone()),
        connect.will(will.user_property("b", "3")),
    ] {
        let mut client = broker.open();
        client.send_connect(&connect);
        client.expect_connack_with(ReasonCode::QuotaExceeded);
        client.expect_closed();
        assert_eq!(ended_for(&broker), expected);
    }
}

#[test]
fn a_will_that_needs_a_feature_that_is_off_is_refused() {
    type Change = fn(&mut Settings);
    let no_retain: Change = |settings| settings.features.retain_available = false;
    let no_qos_2: Change = |settings| settings.features.maximum_qos = QoS::AtLeastOnce;
    for version in VERSIONS {
        for (change, code) in
            [(no_retain, ReasonCode::RetainNotSupported), (no_qos_2, ReasonCode::QosNotSupported)]
        {
            let broker = Broker::with(change);
            let mut will = OwnedWill::new("w", "gone");
            broker.connect(&OwnedConnect::new(version, "a").will(will.clone()));
            (will.qos, will.retain) = (QoS::ExactlyOnce, true);
            let mut client = broker.open();
            client.send_connect(&OwnedConnect::new(version, "b").will(will));
            if version.is_v5() {
                client.expect_connack_with(code);
            }
            client.expect_closed();
            assert!(ended_with(&broker.events(), code));
        }
    }
}

#[test]
fn more_publications_than_the_receive_maximum_name_their_limit() {
    let broker = Broker::with(|settings| settings.limits.receive_maximum = 1);
    let mut client = broker.client(Version::V5_0, "a");
    for packet_id in [1, 2] {
        client.send_publish(&OwnedPublish::new("t", "x", QoS::ExactlyOnce).packet_id(packet_id));
    }
    client.expect_pubrec(1);
    client.expect_refused(ReasonCode::ReceiveMaximumExceeded);
    let (code, limit) = ended_for(&broker);
    assert_eq!(
        (code, limit.setting, limit.maximum),
        (ReasonCode::ReceiveMaximumExceeded, "limits.receive_maximum", 1)
    );
}

/// Expects that a CONNECT is refused for this limit.
#[track_caller]
fn refuses(broker: &Broker, connect: &OwnedConnect, expected: Limit) {
    let mut client = broker.open();
    broker.events();
    client.send_connect(connect);
    if connect.version.is_v5() {
        client.expect_connack_with(ReasonCode::QuotaExceeded);
    } else {
        // There is nothing nearer than that the server is unavailable.
        client.expect_bytes(&[0x20, 2, 0, 3]);
    }
    client.expect_closed();
    assert_eq!(ended_for(broker), (ReasonCode::QuotaExceeded, expected));
}

#[test]
fn who_wants_one_session_too_many_is_refused_and_those_that_are_there_go_on() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.stored_sessions_max = 2);
        let expected = limit("limits.stored_sessions_max", 2, 3);
        let _first = broker.lasting(version, "a");
        drop(broker.lasting(version, "b"));
        refuses(&broker, &lasting(version, "c"), expected);
        // Whoever keeps nothing is welcome, and whoever has a session keeps it or begins it anew.
        drop(broker.client(version, "d"));
        drop(broker.lasting(version, "b"));
        drop(broker.connect(&lasting(version, "b").clean_start(version.is_v5())));
        refuses(&broker, &lasting(version, "c"), expected);
        // Who gives a session up makes room for another.
        drop(broker.client(version, "a"));
        drop(broker.lasting(version, "c"));
        refuses(&broker, &lasting(version, "a"), expected);
    }
}

#[test]
fn a_session_that_ends_in_time_or_by_disconnect_makes_room_for_another() {
    let broker = Broker::with(|settings| settings.limits.stored_sessions_max = 1);
    let mut first = broker.connect(&OwnedConnect::v5("a").resumable(10));
    let mut disconnect = OwnedDisconnect::new(ReasonCode::Success);
    disconnect.session_expiry_interval = Some(0);
    first.send_disconnect_with(&disconnect);
    first.expect_closed();
    drop(broker.connect(&OwnedConnect::v5("b").resumable(10)));
    let expected = limit("limits.stored_sessions_max", 1, 2);
    refuses(&broker, &OwnedConnect::v5("c").resumable(10), expected);
    broker.advance_seconds(10);
    drop(broker.connect(&OwnedConnect::v5("c").resumable(10)));
}

#[test]
fn a_will_that_is_too_large_is_refused() {
    for version in VERSIONS {
        let with_will = |payload: usize| {
            OwnedConnect::new(version, "a").will(OwnedWill::new("will", vec![b'x'; payload]))
        };
        let broker = Broker::with(|settings| settings.limits.will_bytes_max = 100);
        drop(broker.connect(&with_will(96)));
        refuses(&broker, &with_will(97), limit("limits.will_bytes_max", 100, 101));
    }
}
