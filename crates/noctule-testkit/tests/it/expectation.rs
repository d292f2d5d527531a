//! Expectations that are met: single packets, ends of connections, and nothing.

use std::time::Duration;

use noctule_packet::{Ack, Packet, PacketId, PacketType, QoS, ReasonCode, Version};
use noctule_testkit::{OwnedConnack, OwnedConnect, Peer, Script, VERSIONS, bytes, packet_bytes};

use crate::{connected_in, connected_to};

#[test]
fn a_packet_is_expected_down_to_its_properties() {
    let (server, mut peer) = connected_to(|server| {
        server.send_bytes(&packet_bytes(0x40, "0007 10 04 1f s'x'"));
        server.send_bytes(&bytes("d0 00"));
    });
    let mut ack = Ack::new(PacketId::new(7).unwrap(), ReasonCode::NoMatchingSubscribers);
    ack.reason_string = Some("x");
    peer.expect(&Packet::Puback(ack));
    peer.expect(&Packet::Pingresp);
    server.finish();
}

#[test]
fn acknowledgements_are_expected_by_identifier_and_reason() {
    let (server, mut peer) = connected_to(|server| {
        for sent in ["40 02 0001", "40 03 0002 87", "50 02 0003", "50 03 0004 91"] {
            server.send_bytes(&bytes(sent));
        }
        for sent in ["62 02 0005", "62 03 0006 92", "70 02 0007", "70 03 0008 92"] {
            server.send_bytes(&bytes(sent));
        }
    });
    peer.expect_puback(1);
    peer.expect_puback_with(2, ReasonCode::NotAuthorized);
    peer.expect_pubrec(3);
    peer.expect_pubrec_with(4, ReasonCode::PacketIdentifierInUse);
    peer.expect_pubrel(5);
    peer.expect_pubrel_with(6, ReasonCode::PacketIdentifierNotFound);
    peer.expect_pubcomp(7);
    let ack = peer.expect_pubcomp_with(8, ReasonCode::PacketIdentifierNotFound);
    assert_eq!((ack.packet_id, ack.reason_string), (8, None));
    server.finish();
}

#[test]
fn acknowledgements_are_sent_in_the_short_form_where_it_exists() {
    let (server, mut peer) = connected_to(|server| {
        server.expect_bytes(&bytes("40 02 0001 50 02 0002 62 02 0003 70 02 0004 40 03 0005 87"));
    });
    peer.send_puback(1);
    peer.send_pubrec(2);
    peer.send_pubrel(3);
    peer.send_pubcomp(4);
    peer.send_ack(PacketType::Puback, 5, ReasonCode::NotAuthorized);
    server.finish();
}

#[test]
fn an_acknowledgement_before_5_meets_any_reason() {
    let (server, mut peer) = connected_in(Version::V3_1_1, |server| {
        server.send_bytes(&bytes("40 02 0001"));
    });
    peer.expect_puback_with(1, ReasonCode::NotAuthorized);
    server.finish();
}

#[test]
fn a_refused_connect_has_the_code_of_its_version() {
    for version in VERSIONS {
        let server = Script::run(move |mut peer| {
            peer.expect_connect();
            peer.send_connack(&OwnedConnack::new(ReasonCode::Banned));
        });
        let mut peer = Peer::connect(server.address());
        peer.send_connect(&OwnedConnect::new(version, "id"));
        let connack = peer.expect_connack_with(ReasonCode::Banned);
        assert!(connack.reason_code.is_error());
        peer.expect_closed();
        server.finish();
    }
}

#[test]
fn a_refusal_has_a_disconnect_in_5_only() {
    for version in VERSIONS {
        let (server, mut peer) = connected_in(version, move |server| {
            if version.is_v5() {
                server.send_bytes(&bytes("e0 01 8e"));
            }
        });
        peer.expect_refused(ReasonCode::SessionTakenOver);
        server.finish();
    }
}

#[test]
fn a_client_is_seen_packet_by_packet() {
    let (server, mut peer) = connected_in(Version::V3_1_1, |server| {
        let subscribe = server.expect_subscribe();
        assert_eq!(subscribe.subscriptions[0].0, "a/+");
        assert_eq!(subscribe.subscriptions[0].1.qos, QoS::AtLeastOnce);
        server.send_bytes(&packet_bytes(0x90, "0001 80"));
        server.expect_pingreq();
        server.expect_disconnect(ReasonCode::Success);
        server.expect_closed();
    });
    let codes = peer.subscribe(&[("a/+", QoS::AtLeastOnce)]);
    assert_eq!(codes, [ReasonCode::UnspecifiedError]);
    peer.send_pingreq();
    peer.send_disconnect(ReasonCode::Success);
    peer.shut_down_writing();
    peer.expect_closed();
    server.finish();
}

#[test]
fn answers_are_expected_by_identifier() {
    let (server, mut peer) = connected_to(|server| {
        server.send_bytes(&packet_bytes(0x90, "0001 04 1f s'r' 02"));
        server.send_bytes(&packet_bytes(0xB0, "0002 00 11"));
        server.send_bytes(&packet_bytes(0xF0, "18 04 15 s'M'"));
    });
    let suback = peer.expect_suback(1);
    assert_eq!(suback.reason_codes, [ReasonCode::GrantedQos2]);
    assert_eq!(suback.reason_string.as_deref(), Some("r"));
    assert_eq!(peer.expect_unsuback(2).reason_codes, [ReasonCode::NoSubscriptionExisted]);
    let auth = peer.expect_auth();
    assert_eq!(auth.reason_code, ReasonCode::ContinueAuthentication);
    assert_eq!(auth.authentication_method.as_deref(), Some("M"));
    server.finish();
}

#[test]
fn silence_lasts_while_the_other_side_waits() {
    let (server, mut peer) = connected_to(|server| {
        server.expect_bytes(&bytes("c0 00"));
        server.send_bytes(&bytes("d0 00"));
    });
    peer.expect_silence(Duration::from_millis(20));
    peer.expect_nothing_before_pong();
    peer.expect_closed();
    server.finish();
}

#[test]
fn a_packet_may_arrive_byte_by_byte() {
    let (server, mut peer) = connected_to(|server| {
        for byte in packet_bytes(0x32, "s'topic' 0101 00 'payload'") {
            server.send_bytes(&[byte]);
        }
    });
    let publish = peer.receive();
    assert_eq!((publish.topic.as_str(), publish.text(), publish.id()), ("topic", "payload", 257));
    server.finish();
}
