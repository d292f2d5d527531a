//! Exchanges that end well: the bytes on the wire and what the peer makes of them.

use noctule_packet::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version};
use noctule_testkit::{
    OwnedConnect, OwnedDisconnect, OwnedPublish, OwnedWill, Peer, Script, VERSIONS, bytes,
    packet_bytes,
};

use crate::{connected_in, connected_to};

#[test]
fn each_version_opens_with_its_own_connect() {
    for (version, connect, connack) in [
        (Version::V3_1, "s'MQIsdp' 03 02 0000 s'id'", "00 00"),
        (Version::V3_1_1, "s'MQTT' 04 02 0000 s'id'", "01 00"),
        (Version::V5_0, "s'MQTT' 05 02 0000 00 s'id'", "01 00 03 21 0009"),
    ] {
        let server = Script::run(move |mut peer| {
            peer.expect_bytes(&packet_bytes(0x10, connect));
            peer.send_bytes(&packet_bytes(0x20, connack));
        });
        let mut peer = Peer::connect(server.address());
        let connack = peer.open(&OwnedConnect::new(version, "id"));
        assert_eq!(peer.version(), version);
        assert_eq!(connack.reason_code, ReasonCode::Success);
        assert_eq!(connack.session_present, version != Version::V3_1);
        assert_eq!(connack.receive_maximum, version.is_v5().then_some(9));
        assert_eq!(peer.connack(), Some(&connack));
    }
}

#[test]
fn every_connect_option_is_sent() {
    let connect = OwnedConnect::v5("id")
        .resumable(10)
        .keep_alive(5)
        .receive_maximum(2)
        .maximum_packet_size(1_000)
        .topic_alias_maximum(3)
        .request_response_information(true)
        .request_problem_information(false)
        .user_property("a", "b")
        .authentication("M", [7])
        .user_name("bat")
        .password("moth")
        .will(
            OwnedWill::new("w", "dead")
                .qos(QoS::AtLeastOnce)
                .retain(true)
                .delay(1)
                .message_expiry_interval(2)
                .user_property("c", "d"),
        );
    let sent = connect.clone();
    let server = Script::run(move |mut peer| {
        let received = peer.expect_connect();
        assert_eq!(received, sent);
        assert!(!received.clean_start);
        assert_eq!(received.session_expiry_interval, Some(10));
        peer.send_bytes(&bytes("20 03 00 00 00"));
        let shown = peer.transcript();
        assert!(shown.contains("user name \"bat\", password"), "{shown}");
        assert!(!shown.contains("moth"), "a transcript shows a password: {shown}");
    });
    Peer::connect_with(server.address(), &connect);
    server.finish();
}

#[test]
fn publishing_plays_the_handshake_of_its_quality_of_service() {
    let (server, mut peer) = connected_in(Version::V3_1_1, |server| {
        server.expect_bytes(&packet_bytes(0x30, "s'a' 'zero'"));
        server.expect_bytes(&packet_bytes(0x32, "s'a' 0001 'one'"));
        server.send_bytes(&bytes("40 02 0001"));
        server.expect_bytes(&packet_bytes(0x34, "s'a' 0002 'two'"));
        server.send_bytes(&bytes("50 02 0002"));
        server.expect_bytes(&bytes("62 02 0002"));
        server.send_bytes(&bytes("70 02 0002"));
    });
    peer.publish("a", "zero", QoS::AtMostOnce);
    peer.publish("a", "one", QoS::AtLeastOnce);
    peer.publish("a", "two", QoS::ExactlyOnce);
    server.finish();
}

#[test]
fn a_refused_publish_returns_its_reason_and_ends_there() {
    let (server, mut peer) = connected_to(|server| {
        server.expect_bytes(&packet_bytes(0x32, "s'a' 0007 00 'x'"));
        server.send_bytes(&bytes("40 03 0007 87"));
        server.expect_bytes(&packet_bytes(0x34, "s'a' 0001 00 'x'"));
        server.send_bytes(&bytes("50 03 0001 97"));
        server.expect_bytes(&bytes("c0 00"));
        server.send_bytes(&bytes("d0 00"));
    });
    let publish = OwnedPublish::new("a", "x", QoS::AtLeastOnce).packet_id(7);
    assert_eq!(peer.publish_with(&publish), ReasonCode::NotAuthorized);
    let publish = OwnedPublish::new("a", "x", QoS::ExactlyOnce);
    assert_eq!(peer.publish_with(&publish), ReasonCode::QuotaExceeded);
    peer.expect_nothing_before_pong();
    server.finish();
}

#[test]
fn receiving_plays_the_handshake_of_its_quality_of_service() {
    let (server, mut peer) = connected_to(|server| {
        server.send_bytes(&packet_bytes(0x30, "s'a' 00 'zero'"));
        server.send_bytes(&packet_bytes(0x3B, "s'a' 0004 00 'one'"));
        server.expect_bytes(&bytes("40 02 0004"));
        server.send_bytes(&packet_bytes(0x34, "s'a' 0005 00 'two'"));
        server.expect_bytes(&bytes("50 02 0005"));
        server.send_bytes(&bytes("62 02 0005"));
        server.expect_bytes(&bytes("70 02 0005"));
    });
    assert_eq!(peer.receive(), OwnedPublish::new("a", "zero", QoS::AtMostOnce));
    let one = OwnedPublish::new("a", "one", QoS::AtLeastOnce).packet_id(4);
    assert_eq!(peer.receive(), one.dup(true).retain(true));
    assert_eq!(peer.receive(), OwnedPublish::new("a", "two", QoS::ExactlyOnce).packet_id(5));
    server.finish();
}

#[test]
fn what_arrives_during_an_exchange_is_kept_in_order() {
    let (server, mut peer) = connected_to(|server| {
        server.expect_subscribe();
        server.send_bytes(&packet_bytes(0x30, "s'a' 00 'first'"));
        server.send_bytes(&packet_bytes(0x30, "s'a' 00 'second'"));
        server.send_bytes(&packet_bytes(0x90, "0001 00 00"));
        server.send_bytes(&packet_bytes(0x30, "s'a' 00 'third'"));
    });
    assert_eq!(peer.subscribe(&[("a", QoS::AtMostOnce)]), [ReasonCode::Success]);
    for expected in ["first", "second", "third"] {
        assert_eq!(peer.receive().text(), expected);
    }
    peer.expect_closed();
    server.finish();
}

#[test]
fn subscribing_returns_a_code_for_each_filter() {
    let (server, mut peer) = connected_to(|server| {
        server.expect_bytes(&packet_bytes(0x82, "0001 00 s'a/#' 01 s'b' 02"));
        server.send_bytes(&packet_bytes(0x90, "0001 00 01 87"));
        server.expect_bytes(&packet_bytes(0x82, "0002 02 0b 05 s'c' 2c"));
        server.send_bytes(&packet_bytes(0x90, "0002 00 00"));
        server.expect_bytes(&packet_bytes(0xA2, "0003 00 s'a/#' s'b'"));
        server.send_bytes(&packet_bytes(0xB0, "0003 00 00 11"));
    });
    let codes = peer.subscribe(&[("a/#", QoS::AtLeastOnce), ("b", QoS::ExactlyOnce)]);
    assert_eq!(codes, [ReasonCode::GrantedQos1, ReasonCode::NotAuthorized]);
    let options = SubscriptionOptions {
        qos: QoS::AtMostOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    assert_eq!(peer.subscribe_with(Some(5), &[("c", options)]), [ReasonCode::Success]);
    let codes = peer.unsubscribe(&["a/#", "b"]);
    assert_eq!(codes, [ReasonCode::Success, ReasonCode::NoSubscriptionExisted]);
    server.finish();
}

#[test]
fn unsubscribing_has_no_codes_before_5() {
    let (server, mut peer) = connected_in(Version::V3_1, |server| {
        assert_eq!(server.expect_unsubscribe().filters, ["a"]);
        server.send_bytes(&bytes("b0 02 0001"));
    });
    assert_eq!(peer.unsubscribe(&["a"]), []);
    server.finish();
}

#[test]
fn every_property_of_a_message_goes_both_ways() {
    let message = OwnedPublish::new("t", "p", QoS::AtLeastOnce)
        .packet_id(9)
        .payload_format_indicator(true)
        .message_expiry_interval(60)
        .topic_alias(2)
        .response_topic("r")
        .correlation_data([1, 2])
        .user_property("a", "b")
        .user_property("a", "c")
        .subscription_identifier(3)
        .subscription_identifier(300)
        .content_type("text");
    let sent = message.clone();
    let (server, mut peer) = connected_to(move |server| server.send_publish(&sent));
    assert_eq!(peer.expect_publish(), message);
    server.finish();
}

#[test]
fn leaving_is_a_disconnect_and_an_orderly_end() {
    for version in VERSIONS {
        let (server, peer) = connected_in(version, |server| {
            server.expect_bytes(&bytes("e0 00"));
        });
        peer.disconnect();
        server.finish();
    }
    let (server, mut peer) = connected_to(|server| {
        let leave = server.expect_disconnect(ReasonCode::DisconnectWithWillMessage);
        assert_eq!(leave.session_expiry_interval, Some(1));
    });
    let leave = OwnedDisconnect::new(ReasonCode::DisconnectWithWillMessage);
    peer.send_disconnect_with(&leave.session_expiry_interval(1));
    peer.expect_closed();
    server.finish();
}
