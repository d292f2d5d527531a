//! PINGREQ, and Keep Alive.

use std::time::Duration;

use noctule_broker_core::{Authentication, Authorization, Ended, Event};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS, packet_bytes};

use crate::broker::{Broker, Client, ended_with, lasting};

/// Whether a connection that says nothing ends exactly when this many seconds have passed.
#[track_caller]
fn expect_patience(broker: &Broker, mut client: Client, seconds: u64) {
    client.expect_nothing_before_pong();
    broker.advance_seconds(seconds - 1);
    assert!(broker.events().iter().all(|event| !matches!(event, Event::Disconnected { .. })));
    broker.advance_seconds(1);
    client.expect_refused(ReasonCode::KeepAliveTimeout);
}

#[test]
fn pingreq_is_answered() {
    spec!("MQTT5-3.12.4-1", "MQTT311-3.12.4-1", "MQTT31-3.12-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        client.send_pingreq();
        client.expect_pingresp();
        // Each is, also when several come at once.
        client.send_bytes(&[0xC0, 0, 0xC0, 0, 0xC0, 0]);
        for _ in 0..3 {
            client.expect_pingresp();
        }
    }
}

#[test]
fn one_and_a_half_keep_alive_periods_of_silence_end_the_connection() {
    spec!("MQTT5-3.1.2-22", "MQTT311-3.1.2-24", "MQTT31-3.1-16", "MQTT5-3.2.2-22");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(10));
        broker.advance_seconds(14);
        client.expect_nothing_before_pong();
        broker.advance_seconds(14);
        broker.events();
        expect_patience(&broker, client, 15);
        let ended = broker.events().into_iter().find_map(|event| match event {
            Event::Disconnected { ended: Ended::ByServer(reason), .. } => Some(reason),
            _ => None,
        });
        let limit = ended.expect("a disconnected client").limit.expect("a limit");
        assert_eq!((limit.setting, limit.maximum), ("keep alive in CONNECT", 10));
    }
}

#[test]
fn a_keep_alive_of_zero_bears_any_silence() {
    spec!("MQTT5-3.1.2-22", "MQTT311-3.1.2-24", "MQTT31-3.1-16");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(0));
        broker.advance_seconds(10_000_000);
        client.expect_nothing_before_pong();
    }
}

#[test]
fn a_client_that_fell_silent_keeps_its_subscriptions() {
    spec!("MQTT31-3.1-16");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.connect(&lasting(version, "a").keep_alive(10));
        client.subscribe(&[("t", QoS::AtLeastOnce)]);
        broker.advance_seconds(15);
        client.expect_refused(ReasonCode::KeepAliveTimeout);
        broker.client(version, "publisher").publish("t", "meanwhile", QoS::AtLeastOnce);
        let mut client = broker.lasting(version, "a");
        assert_eq!(client.receive().text(), "meanwhile");
    }
}

#[test]
fn every_packet_is_a_sign_of_life_and_half_a_packet_is_none() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(10));
        for _ in 0..5 {
            broker.advance_seconds(14);
            client.publish("t", "x", QoS::AtMostOnce);
        }
        broker.advance_seconds(14);
        client.send_puback(9);
        broker.advance_seconds(14);
        client.subscribe(&[("t", QoS::AtMostOnce)]);
        broker.advance_seconds(14);
        client.send_bytes(&[0x30]);
        broker.advance_seconds(1);
        client.expect_refused(ReasonCode::KeepAliveTimeout);
    }
}

#[test]
fn what_a_client_receives_is_no_sign_of_life() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(10));
        client.subscribe(&[("t", QoS::AtMostOnce)]);
        let mut publisher = broker.client(version, "publisher");
        broker.advance_seconds(14);
        publisher.publish("t", "x", QoS::AtMostOnce);
        client.expect_publish();
        broker.advance_seconds(1);
        client.expect_refused(ReasonCode::KeepAliveTimeout);
    }
}

#[test]
fn the_keep_alive_of_the_server_replaces_one_that_is_longer_or_absent() {
    spec!("MQTT5-3.1.2-21", "MQTT5-3.2.2-21", "MQTT5-3.2.2-22");
    for (asked, announced, patience) in
        [(0, Some(60), 90), (61, Some(60), 90), (60, None, 90), (2, None, 3)]
    {
        let broker = Broker::with(|settings| settings.limits.keep_alive_max_seconds = 60);
        let client = broker.connect(&OwnedConnect::v5("a").keep_alive(asked));
        assert_eq!(client.connack().expect("a CONNACK").server_keep_alive, announced);
        let keep_alive = broker.events().into_iter().find_map(|event| match event {
            Event::Connected { keep_alive, .. } => Some(keep_alive),
            _ => None,
        });
        assert_eq!(keep_alive, Some(announced.unwrap_or(asked)));
        expect_patience(&broker, client, patience);
    }
}

#[test]
fn a_3_x_client_within_the_limit_is_let_in() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let broker = Broker::with(|settings| settings.limits.keep_alive_max_seconds = 60);
        let client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(60));
        expect_patience(&broker, client, 90);
    }
}

#[test]
fn a_client_whose_packet_waits_for_an_answer_is_not_called_silent() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.authorization = Authorization::Ask);
        let mut client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(10));
        broker.hold();
        let publish = OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(1);
        client.send_publish(&publish);
        // These are not read while the answer is outstanding.
        for _ in 0..5 {
            broker.advance_seconds(10);
            client.send_pingreq();
        }
        broker.answer();
        client.expect_puback_with(
            1,
            if version.is_v5() { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success },
        );
        for _ in 0..5 {
            client.expect_pingresp();
        }
        broker.events();
        expect_patience(&broker, client, 15);
    }
}

#[test]
fn a_client_that_falls_silent_while_its_packet_waits_is_dropped_after_the_answer() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.authorization = Authorization::Ask);
        let mut client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(10));
        broker.hold();
        client.send_bytes(&match version {
            Version::V5_0 => packet_bytes(0x82, "0001 00 s't' 00"),
            _ => packet_bytes(0x82, "0001 s't' 00"),
        });
        broker.advance_seconds(100);
        broker.answer();
        client.expect_suback(1);
        broker.advance_seconds(15);
        client.expect_refused(ReasonCode::KeepAliveTimeout);
    }
}

/// The deadline may come right behind a late answer, before anything more is read.
#[test]
fn time_in_which_nothing_was_read_is_no_silence_once_the_answer_is_there() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.listeners[0].authentication = Authentication::Ask;
            settings.authorization = Authorization::Ask;
        });
        broker.hold();
        let mut client = broker.open();
        client.send_connect(&OwnedConnect::new(version, "a").keep_alive(1));
        broker.advance_seconds(5);
        broker.answer();
        client.expect_connack_with(ReasonCode::Success);
        broker.advance_seconds(1);
        client.send_publish(&OwnedPublish::new("t", "x", QoS::AtMostOnce));
        broker.advance(Duration::from_millis(1_400));
        broker.answer();
        broker.advance(Duration::from_millis(1_400));
        client.expect_nothing_before_pong();
    }
}

/// A client that sends without reading, until it is not read any more itself.
fn unread(version: Version) -> (Broker, Client) {
    let broker = Broker::with(|settings| settings.limits.outbound_bytes_max = 1_000);
    let mut client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(10));
    broker.stall(&client);
    for _ in 0..2_000 {
        client.send_pingreq();
    }
    (broker, client)
}

#[test]
fn a_client_that_reads_slowly_is_not_called_silent_while_it_is_not_read() {
    for version in VERSIONS {
        let (broker, mut client) = unread(version);
        for _ in 0..10 {
            broker.advance_seconds(14);
            broker.take(&client, 10);
            client.send_pingreq();
        }
        broker.unstall(&client);
        for _ in 0..2_010 {
            client.expect_pingresp();
        }
        broker.events();
        expect_patience(&broker, client, 15);
    }
}

#[test]
fn a_client_that_takes_nothing_is_dropped_although_it_is_not_read() {
    for version in VERSIONS {
        for takes_once in [false, true] {
            let (broker, client) = unread(version);
            if takes_once {
                broker.take(&client, 10);
            }
            broker.events();
            broker.advance_seconds(14);
            assert!(broker.events().is_empty());
            broker.advance_seconds(16);
            assert!(ended_with(&broker.events(), ReasonCode::KeepAliveTimeout));
        }
    }
}

#[test]
fn a_client_that_leaves_a_little_unread_must_speak_all_the_same() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(10));
        broker.stall(&client);
        client.send_pingreq();
        broker.take(&client, 1);
        broker.events();
        broker.advance_seconds(15);
        assert!(ended_with(&broker.events(), ReasonCode::KeepAliveTimeout));
    }
}
