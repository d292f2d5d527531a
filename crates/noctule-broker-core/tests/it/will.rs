//! Wills: which ends of a connection publish them, and which do not.

use noctule_broker_core::{Command, Event, Input, Settings};
use noctule_packet::{QoS, ReasonCode, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, lasting};

/// A broker and a client that sees every will as it is published.
pub(crate) fn watched(version: Version) -> (Broker, Client) {
    watched_with(version, |_| {})
}

pub(crate) fn watched_with(
    version: Version,
    change: impl FnOnce(&mut Settings),
) -> (Broker, Client) {
    let broker = Broker::with(change);
    let mut watcher = broker.client(version, "watcher");
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        retain_as_published: version.is_v5(),
        ..Default::default()
    };
    watcher.subscribe_with(None, &[("will/#", options)]);
    (broker, watcher)
}

pub(crate) fn will() -> OwnedWill {
    OwnedWill::new("will/a", "gone")
}

pub(crate) fn with_will(version: Version) -> OwnedConnect {
    OwnedConnect::new(version, "a").will(will())
}

#[track_caller]
pub(crate) fn expect_will(watcher: &mut Client) {
    let message = watcher.receive();
    assert_eq!((&*message.topic, message.text()), ("will/a", "gone"));
    watcher.expect_nothing_before_pong();
}

#[test]
fn a_lost_connection_publishes_the_will() {
    spec!("MQTT5-3.1.2-8", "MQTT5-3.1.2-7", "MQTT311-3.1.2-8", "MQTT31-3.1-13");
    for version in VERSIONS {
        // Whether the session ends with the connection or stays.
        for connect in [with_will(version), lasting(version, "a").will(will())] {
            let (broker, mut watcher) = watched(version);
            let client = broker.connect(&connect);
            watcher.expect_nothing_before_pong();
            drop(client);
            expect_will(&mut watcher);
            let wills = |event: &Event| matches!(event, Event::WillPublished { .. });
            assert_eq!(broker.events().iter().filter(|event| wills(event)).count(), 1);
            assert_eq!(broker.look(|shard| shard.statistics().wills_published), 1);
        }
    }
}

#[test]
fn silence_publishes_the_will() {
    spec!("MQTT5-3.1.2-8", "MQTT311-3.1.2-8", "MQTT31-3.1-13");
    for version in VERSIONS {
        for connect in [with_will(version), lasting(version, "a").will(will())] {
            let (broker, mut watcher) = watched(version);
            let _client = broker.connect(&connect.keep_alive(10));
            broker.advance_seconds(14);
            watcher.expect_nothing_before_pong();
            broker.advance_seconds(1);
            expect_will(&mut watcher);
        }
    }
}

#[test]
fn a_mistake_publishes_the_will() {
    spec!("MQTT5-3.1.2-8", "MQTT311-3.1.2-8", "MQTT31-3.1-13");
    let mistakes: [fn(&mut Client); 4] = [
        // No packet at all.
        |client| client.send_bytes(&[0x00, 0x00]),
        // A PUBLISH with QoS 3.
        |client| client.send_bytes(&[0x36, 0x03, 0x00, 0x01, b'a']),
        // A packet that servers send.
        |client| client.send_bytes(&[0xD0, 0x00]),
        |client| client.send_connect(&OwnedConnect::new(client.version(), "a")),
    ];
    for version in VERSIONS {
        for mistake in mistakes {
            let (broker, mut watcher) = watched(version);
            let mut client = broker.connect(&with_will(version));
            mistake(&mut client);
            expect_will(&mut watcher);
        }
    }
}

#[test]
fn whoever_the_broker_disconnects_leaves_a_will() {
    spec!("MQTT5-3.1.2-8", "MQTT311-3.1.2-8");
    let client_id = || Box::from("a");
    let kick =
        || Command::Kick { client_id: client_id(), reason: ReasonCode::AdministrativeAction };
    let stop = || Command::Stop { reason: ReasonCode::ServerShuttingDown, server_reference: None };
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        let mut client = broker.connect(&with_will(version));
        broker.input(Input::Command(kick()));
        client.expect_refused(ReasonCode::AdministrativeAction);
        expect_will(&mut watcher);

        let (broker, _watcher) = watched(version);
        let _client = broker.connect(&with_will(version));
        broker.input(Input::Command(stop()));
        assert_eq!(broker.look(|shard| shard.statistics().wills_published), 1);
    }
}

#[test]
fn a_normal_disconnect_drops_the_will() {
    spec!("MQTT5-3.14.4-3", "MQTT5-3.1.2-10", "MQTT311-3.14.4-3", "MQTT311-3.1.2-10");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        broker.connect(&with_will(version)).disconnect();
        watcher.expect_nothing_before_pong();
        // Nor is it found later, when the session goes on or ends.
        broker.connect(&lasting(version, "a").will(will().delay(10))).disconnect();
        broker.advance_seconds(10);
        drop(broker.lasting(version, "a"));
        broker.advance_seconds(4_000);
        watcher.expect_nothing_before_pong();
    }
}

#[test]
fn in_3_x_every_disconnect_drops_the_will() {
    spec!("MQTT311-3.14.4-3", "MQTT31-3.1-13");
    for version in [Version::V3_1, Version::V3_1_1] {
        for connect in [with_will(version), lasting(version, "a").will(will())] {
            let (broker, mut watcher) = watched(version);
            broker.connect(&connect).disconnect();
            watcher.expect_nothing_before_pong();
        }
    }
}

#[test]
fn every_other_disconnect_publishes_the_will() {
    spec!("MQTT5-3.1.2-8", "MQTT5-3.14.4-3");
    for code in [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
        let code = ReasonCode::from_value(code).expect("a reason code");
        let (broker, mut watcher) = watched(Version::V5_0);
        let mut client = broker.connect(&with_will(Version::V5_0));
        client.send_disconnect(code);
        client.expect_closed();
        expect_will(&mut watcher);
    }
}

#[test]
fn a_published_will_is_gone() {
    spec!("MQTT5-3.1.2-10", "MQTT311-3.1.2-10");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        drop(broker.connect(&lasting(version, "a").will(will())));
        expect_will(&mut watcher);
        drop(broker.lasting(version, "a"));
        broker.advance_seconds(4_000);
        watcher.expect_nothing_before_pong();
    }
}

#[test]
fn who_has_no_will_leaves_none() {
    spec!("MQTT311-3.1.2-12");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        drop(broker.client(version, "a"));
        // The will of an earlier connection is not this one's.
        broker.connect(&lasting(version, "a").will(will().delay(10))).disconnect();
        drop(broker.lasting(version, "a"));
        broker.advance_seconds(20);
        watcher.expect_nothing_before_pong();
        let wills = |event: &Event| matches!(event, Event::WillPublished { .. });
        assert!(!broker.events().iter().any(wills));
    }
}
