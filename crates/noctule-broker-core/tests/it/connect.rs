//! CONNECT: who is let in, under which client identifier, and who is turned away.

use noctule_broker_core::{Authentication, Effect, Event, Input, Principal};
use noctule_packet::{Packet, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS, packet_bytes};

use crate::broker::{Broker, ended_with, lasting};

/// A broker that leaves it to the test who may come in.
pub(crate) fn asking() -> Broker {
    let broker = Broker::with(|settings| {
        settings.listeners[0].authentication = Authentication::Ask;
    });
    broker.hold();
    broker
}

/// The bytes of several packets, to be sent at once.
fn bytes_of(version: Version, packets: &[Packet<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        packet.encode(version, &mut bytes).expect("a packet that can be written");
    }
    bytes
}

fn connect_packet(connect: &OwnedConnect) -> Packet<'_> {
    Packet::Connect(Box::new(connect.to_packet()))
}

/// Answers the oldest question, which is who the client is, with no.
#[track_caller]
fn refuse(broker: &Broker, code: ReasonCode) {
    let Effect::Authenticate { token, .. } = broker.asked() else { panic!("no Authenticate") };
    broker.input(Input::Authenticated { token, outcome: Err(code) });
}

/// The client identifiers of those who were let in since the last call.
pub(crate) fn connected(broker: &Broker) -> Vec<String> {
    let names = broker.events().into_iter().filter_map(|event| match event {
        Event::Connected { client_id, .. } => Some(client_id.to_string()),
        _ => None,
    });
    names.collect()
}

#[test]
fn a_first_packet_other_than_connect_is_refused() {
    spec!("MQTT5-3.1.0-1", "MQTT311-3.1.0-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("#", QoS::AtMostOnce)]);
        let publish = OwnedPublish::new("a", "early", QoS::AtMostOnce);
        let publish = bytes_of(version, &[Packet::Publish(publish.to_packet())]);
        // The first byte says enough.
        for first in [&publish[..], &[0xC0, 0], &[0x30], &[0x82], &[0x00], &[0xF0], b"GET /"] {
            let mut client = broker.open();
            client.set_version(version);
            client.send_bytes(first);
            client.expect_closed();
            assert!(ended_with(&broker.events(), ReasonCode::ProtocolError));
        }
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_second_connect_ends_the_connection() {
    spec!("MQTT5-3.1.0-2", "MQTT311-3.1.0-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let connect = OwnedConnect::new(version, "a");
        let mut client = broker.connect(&connect);
        client.send_connect(&connect);
        client.expect_refused(ReasonCode::ProtocolError);
        // It is one CONNECT too many whatever stands in it.
        let mut client = broker.connect(&connect);
        client.send_bytes(&packet_bytes(0x10, "s'MQTT' 09 02 0000 s'a'"));
        client.expect_refused(ReasonCode::ProtocolError);
    }
}

#[test]
fn a_second_connect_that_comes_before_the_first_is_answered_waits_and_ends_the_connection() {
    for version in VERSIONS {
        let broker = asking();
        let mut client = broker.open();
        let connect = OwnedConnect::new(version, "a");
        let packets = [connect_packet(&connect), connect_packet(&connect)];
        client.set_version(version);
        client.send_bytes(&bytes_of(version, &packets));
        broker.answer();
        client.expect_connack_with(ReasonCode::Success);
        client.expect_refused(ReasonCode::ProtocolError);
        assert!(broker.has_asked_nothing());
    }
}

#[test]
fn a_connect_that_is_no_connect_ends_the_connection() {
    spec!("MQTT5-3.1.4-1", "MQTT311-3.1.4-1", "MQTT31-3.1-11");
    for version in VERSIONS {
        let broker = Broker::new();
        // The client identifier is longer than what is left of the packet.
        let head = match version {
            Version::V3_1 => "s'MQIsdp' 03",
            Version::V3_1_1 => "s'MQTT' 04",
            Version::V5_0 => "s'MQTT' 05",
        };
        let properties = if version.is_v5() { "00" } else { "" };
        let connect = format!("{head} 02 0000 {properties} 0002 'a'");
        let mut client = broker.open();
        client.set_version(version);
        client.send_bytes(&packet_bytes(0x10, &connect));
        if version.is_v5() {
            client.expect_connack_with(ReasonCode::MalformedPacket);
        }
        client.expect_closed();
        assert!(ended_with(&broker.events(), ReasonCode::MalformedPacket));
        assert_eq!(broker.look(|shard| shard.gauges().sessions), 0);
    }
}

#[test]
fn a_client_that_authentication_refuses_is_turned_away_and_harms_nobody() {
    spec!("MQTT5-3.1.4-2");
    for version in VERSIONS {
        let broker = asking();
        let mut owner = broker.open();
        owner.send_connect(&lasting(version, "a"));
        broker.answer();
        owner.expect_connack_with(ReasonCode::Success);

        let mut impostor = broker.open();
        impostor.send_connect(&OwnedConnect::new(version, "a").user_name("eve").password("guess"));
        refuse(&broker, ReasonCode::BadUserNameOrPassword);
        impostor.expect_connack_with(ReasonCode::BadUserNameOrPassword);
        impostor.expect_closed();
        // Neither the connection nor the session with that name has suffered.
        owner.expect_nothing_before_pong();
        let refused = broker.events().into_iter().find_map(|event| match event {
            Event::Refused { client_id, reason, .. } => Some((client_id, reason.code)),
            _ => None,
        });
        assert_eq!(refused, Some((Some("a".into()), ReasonCode::BadUserNameOrPassword)));
    }
}

#[test]
fn what_stands_behind_a_refused_connect_is_not_processed() {
    spec!("MQTT5-3.1.4-6", "MQTT311-3.1.4-5");
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.listeners[0].authentication = Authentication::Ask;
            settings.limits.client_id_bytes_max = 23;
        });
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("#", QoS::AtMostOnce)]);
        broker.hold();
        let publish = OwnedPublish::new("a", "smuggled", QoS::AtMostOnce);
        for (name, asks) in [("x".repeat(24), false), ("eve".to_owned(), true)] {
            let connect = OwnedConnect::new(version, &name);
            let packets = [connect_packet(&connect), Packet::Publish(publish.to_packet())];
            let mut client = broker.open();
            client.set_version(version);
            client.send_bytes(&bytes_of(version, &packets));
            if asks {
                refuse(&broker, ReasonCode::NotAuthorized);
            }
            let code =
                if asks { ReasonCode::NotAuthorized } else { ReasonCode::ClientIdentifierNotValid };
            client.expect_connack_with(code);
            client.expect_closed();
        }
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn what_stands_behind_a_connect_waits_for_its_answer_and_then_happens_in_order() {
    for version in VERSIONS {
        let broker = asking();
        let connect = OwnedConnect::new(version, "a");
        let publish = OwnedPublish::new("a", "x", QoS::AtLeastOnce).packet_id(3);
        let packets =
            [connect_packet(&connect), Packet::Publish(publish.to_packet()), Packet::Pingreq];
        let mut client = broker.open();
        client.set_version(version);
        client.send_bytes(&bytes_of(version, &packets));
        client.send_pingreq();
        assert!(broker.trace().iter().all(|effect| !effect.starts_with("Write")));
        broker.answer();
        client.expect_connack_with(ReasonCode::Success);
        client.expect_puback_with(
            3,
            if version.is_v5() { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success },
        );
        client.expect_pingresp();
        client.expect_pingresp();
    }
}

#[test]
fn an_answer_about_a_client_that_is_gone_is_forgotten() {
    for version in VERSIONS {
        for accepted in [true, false] {
            let broker = asking();
            let mut client = broker.open();
            client.send_connect(&OwnedConnect::new(version, "a"));
            drop(client);
            if accepted {
                broker.answer();
            } else {
                refuse(&broker, ReasonCode::NotAuthorized);
            }
            assert_eq!(connected(&broker), [] as [&str; 0]);
            assert_eq!(
                broker.look(|shard| (shard.gauges().sessions, shard.gauges().connections)),
                (0, 0)
            );
        }
    }
}

#[test]
fn enhanced_authentication_is_refused_as_a_method_that_is_not_known() {
    spec!("MQTT5-3.1.4-2");
    let broker = asking();
    let mut client = broker.open();
    client.send_connect(&OwnedConnect::v5("a").authentication("SCRAM-SHA-1", "n,,n=a"));
    client.expect_connack_with(ReasonCode::BadAuthenticationMethod);
    client.expect_closed();
    assert!(broker.has_asked_nothing());
    assert!(ended_with(&broker.events(), ReasonCode::BadAuthenticationMethod));
}

#[test]
fn authentication_is_asked_with_what_the_client_offers() {
    for version in VERSIONS {
        let broker = asking();
        let mut client = broker.open();
        client.send_connect(&OwnedConnect::new(version, "a").user_name("bob").password("secret"));
        let asked = broker.asked();
        // A log of effects shows no password.
        assert!(!format!("{asked:?}").contains("secret"));
        let Effect::Authenticate { token, credentials, .. } = asked else { panic!("{asked:?}") };
        assert_eq!(&*credentials.client_id, "a");
        assert_eq!(credentials.user_name.as_deref(), Some("bob"));
        assert_eq!(credentials.password.as_deref(), Some(&b"secret"[..]));
        let user_name = Some("robert".into());
        broker.input(Input::Authenticated {
            token,
            outcome: Ok(Principal { user_name, ..Principal::default() }),
        });
        client.expect_connack_with(ReasonCode::Success);
        let users: Vec<_> =
            broker.look(|shard| shard.clients().map(|client| client.user_name).collect());
        assert_eq!(users, [Some("robert".into())]);
    }
}

#[test]
fn a_client_of_a_version_to_come_is_answered_in_5_0() {
    let broker = Broker::new();
    let mut client = broker.open();
    client.send_bytes(&packet_bytes(0x10, "s'MQTT' 06 02 0000 00 s'a'"));
    client.expect_connack_with(ReasonCode::UnsupportedProtocolVersion);
    client.expect_closed();
    // One from the past reads two bytes.
    let mut client = broker.open();
    client.set_version(Version::V3_1_1);
    client.send_bytes(&packet_bytes(0x10, "s'MQTT' 02 02 0000 s'a'"));
    client.expect_bytes(&[0x20, 2, 0, 1]);
    client.expect_closed();
}

#[test]
fn a_will_to_a_topic_beyond_the_limits_is_refused() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.topic_levels_max = 3);
        let mut client =
            broker.connect(&OwnedConnect::new(version, "a").will(OwnedWill::new("a/b/c", "")));
        client.expect_nothing_before_pong();
        let mut client = broker.open();
        client.send_connect(&OwnedConnect::new(version, "b").will(OwnedWill::new("a/b/c/d", "")));
        client.expect_connack();
        client.expect_closed();
        let setting = broker.events().into_iter().find_map(|event| match event {
            Event::Refused { reason, .. } => reason.limit.map(|limit| limit.setting),
            _ => None,
        });
        assert_eq!(setting, Some("limits.topic_levels_max"));
    }
}
