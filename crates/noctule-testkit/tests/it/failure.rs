//! Expectations that are not met: each fails, and says what came instead.

use std::time::Duration;

use noctule_packet::{Packet, QoS, ReasonCode, Version};
use noctule_testkit::{OwnedConnect, Peer, Script, bytes, packet_bytes};

use crate::{connected_in, connected_to, drain, failure_of};

/// The server sends these bytes and ends the connection; the expectation fails with these words.
#[track_caller]
fn check<T>(sent: &str, expectation: impl FnOnce(&mut Peer) -> T, words: &[&str]) {
    let sent = bytes(sent);
    let (_server, mut peer) = connected_to(move |server| {
        server.send_bytes(&sent);
        drain(server);
    });
    let message = failure_of(|| expectation(&mut peer));
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
}

#[test]
fn another_packet_fails() {
    let publish = "30 04 s'a' 00";
    check(publish, |peer| peer.expect_puback(1), &["Expected PUBACK 1, got PUBLISH \"a\""]);
    check(publish, Peer::expect_pingresp, &["Expected PINGRESP, got PUBLISH"]);
    check(publish, Peer::expect_connack, &["Expected CONNACK, got PUBLISH"]);
    check(publish, Peer::expect_closed, &["Expected the orderly end of the connection, got PUB"]);
    check(publish, Peer::expect_closed_or_reset, &["Expected the end of the connection, got PUB"]);
    check(publish, Peer::expect_nothing_before_pong, &["nothing before PINGRESP, got PUBLISH"]);
    check("d0 00", Peer::expect_publish, &["Expected PUBLISH, got PINGRESP"]);
    check("d0 00", |peer| peer.expect_silence(Duration::from_secs(5)), &["silence", "PINGRESP"]);
    check("d0 00", |peer| peer.expect_bytes(&[0xD0, 0x01]), &["d0 01", "d0 00"]);
    check("d0 00", |peer| peer.expect(&Packet::Pingreq), &["Expected\n  Pingreq\nbut got\n  Ping"]);
}

#[test]
fn another_identifier_or_reason_fails() {
    check("40 02 0002", |peer| peer.expect_puback(1), &["Expected PUBACK 1, got PUBACK 2"]);
    check("50 02 0001", |peer| peer.expect_puback(1), &["Expected PUBACK 1, got PUBREC 1"]);
    check("40 03 0001 87", |peer| peer.expect_puback(1), &["no failure, got not authorized"]);
    let banned = |peer: &mut Peer| {
        peer.expect_puback_with(1, ReasonCode::NotAuthorized);
    };
    check("40 02 0001", banned, &["Expected PUBACK with not authorized (0x87), got success"]);
    check("90 04 0002 00 00", |peer| peer.expect_suback(1), &["SUBACK 1, got SUBACK 2"]);
    check("b0 04 0002 00 00", |peer| peer.expect_unsuback(1), &["UNSUBACK 1, got UNSUBACK 2"]);
    let malformed = |peer: &mut Peer| peer.expect_refused(ReasonCode::MalformedPacket);
    check("e0 01 82", malformed, &["malformed packet (0x81), got protocol error (0x82)"]);
}

#[test]
fn the_end_of_the_connection_fails() {
    check("", Peer::expect_publish, &["Expected PUBLISH, got the end of the connection"]);
    check("", |peer| peer.publish("a", "", QoS::AtLeastOnce), &["PUBACK 1, got the end"]);
    check("", |peer| peer.expect_silence(Duration::from_secs(5)), &["silence", "got the end"]);
    check("30 04 s'a'", Peer::expect_publish, &["ended within a packet: 5 bytes: 30 04 00 01 61"]);
    check("30 04 s'a'", Peer::expect_closed, &["ended within a packet"]);
}

#[test]
fn what_is_no_packet_fails_whatever_was_expected() {
    check("00 00", Peer::expect_closed, &["no packet"]);
    check("d0 01 00", Peer::expect_pingresp, &["cannot be decoded"]);
    check("d1 00", Peer::expect_pingresp, &["d1 00", "reserved flags"]);
    // A reason that PUBACK may not carry.
    check("40 03 0001 8e", |peer| peer.expect_puback(1), &["cannot be decoded", "MQTT5-3.4.2-1"]);
}

#[test]
fn a_packet_above_the_announced_maximum_fails() {
    let server = Script::run(|mut peer| {
        peer.expect_connect();
        peer.send_bytes(&bytes("20 03 00 00 00"));
        peer.send_bytes(&packet_bytes(0x30, "s'a' 00 'four'"));
        peer.send_bytes(&packet_bytes(0x30, "s'a' 00 'fives'"));
    });
    let connect = OwnedConnect::v5("small").maximum_packet_size(10);
    let mut peer = Peer::connect_with(server.address(), &connect);
    assert_eq!(peer.receive().text(), "four");
    let message = failure_of(|| peer.expect_publish());
    assert!(message.contains("no packet"), "{message}");
}

#[test]
fn a_refusal_fails_an_exchange() {
    let server = Script::run(|mut peer| {
        peer.expect_connect();
        peer.send_bytes(&bytes("20 02 00 05"));
    });
    let message = failure_of(|| Peer::v311(server.address(), "id"));
    assert!(message.contains("Expected CONNACK with success (0x00), got not auth"), "{message}");
    drop(server);

    let not_authorized = "40 03 0001 87";
    check(not_authorized, |peer| peer.publish("a", "", QoS::AtLeastOnce), &["was refused: not"]);
    let subscribe = |peer: &mut Peer| peer.subscribe(&[("a", QoS::AtMostOnce)]);
    check("e0 01 8b", subscribe, &["Expected SUBACK 1, got DISCONNECT server shutting down"]);
    check("90 05 0001 00 00 00", subscribe, &["2 codes for 1 filters"]);
    let unsubscribe = |peer: &mut Peer| peer.unsubscribe(&["a"]);
    check("b0 05 0001 00 00 00", unsubscribe, &["2 codes for 1 filters"]);
    let publish = |peer: &mut Peer| peer.publish("a", "", QoS::ExactlyOnce);
    check("50 02 0001 70 03 0001 92", publish, &["PUBCOMP 1 tells of a failure"]);
}

#[test]
fn what_was_kept_during_an_exchange_is_not_lost() {
    let (_server, mut peer) = connected_to(|server| {
        server.expect_subscribe();
        server.send_bytes(&packet_bytes(0x30, "s'a' 00"));
        server.send_bytes(&packet_bytes(0x90, "0001 00 00"));
    });
    peer.subscribe(&[("a", QoS::AtMostOnce)]);
    let message = failure_of(|| peer.expect_closed());
    assert!(message.contains("got PUBLISH \"a\""), "{message}");
}

#[test]
fn a_packet_after_leaving_fails() {
    let (_server, peer) = connected_to(|server| {
        server.expect_disconnect(ReasonCode::Success);
        server.send_bytes(&packet_bytes(0x30, "s'a' 00"));
    });
    let message = failure_of(|| peer.disconnect());
    assert!(message.contains("got PUBLISH \"a\""), "{message}");
}

#[test]
fn nothing_in_time_fails() {
    for (sent, words) in [("", "got nothing in time"), ("40 02 00", "got 3 bytes of a packet")] {
        let sent = bytes(sent);
        let (_server, mut peer) = connected_to(move |server| {
            server.send_bytes(&sent);
            server.expect_closed();
        });
        peer.set_timeout(Duration::from_millis(50));
        let message = failure_of(|| peer.expect_puback(1));
        assert!(message.contains(words), "{message}");
        drop(peer);
    }
}

#[test]
fn part_of_a_packet_is_not_silence() {
    let (_server, mut peer) = connected_to(|server| {
        server.expect_pingreq();
        server.send_bytes(&[0x40]);
        server.expect_closed();
    });
    peer.send_pingreq();
    // Silence cannot be told from a byte still under way; the peek waits for the byte.
    peer.stream().peek(&mut [0]).unwrap();
    let message = failure_of(|| peer.expect_silence(Duration::from_millis(1)));
    assert!(message.contains("got 1 bytes of a packet"), "{message}");
    drop(peer);
}

#[test]
fn a_failure_shows_the_whole_conversation() {
    let (_server, mut peer) = connected_in(Version::V3_1_1, |server| {
        server.expect_publish();
        server.send_bytes(&bytes("40 02 0001"));
        server.expect_bytes(&[0xC0, 0x00]);
        server.send_bytes(&packet_bytes(0x31, "s'a/b' ff"));
        drain(server);
    });
    peer.publish("t", "long ".repeat(50), QoS::AtLeastOnce);
    peer.send_bytes(&bytes("c0 00 00"));
    let message = failure_of(|| peer.expect_pingresp());
    let expected = [
        "Expected PINGRESP, got PUBLISH \"a/b\" 1 bytes: ff, QoS 0, retain".to_owned(),
        "conversation (seconds, > sent, < received):".to_owned(),
        "> CONNECT 3.1.1 \"peer\", clean start, keep alive 0".to_owned(),
        "< CONNACK success (0x00)".to_owned(),
        format!("> PUBLISH 1 \"t\" 250 bytes: \"{}long\" …, QoS 1", "long ".repeat(12)),
        "< PUBACK 1".to_owned(),
        "> PINGREQ".to_owned(),
        "> 1 bytes: 00".to_owned(),
        "< PUBLISH \"a/b\" 1 bytes: ff, QoS 0, retain".to_owned(),
    ];
    // The time before each line's mark differs from run to run.
    let lines: Vec<&str> = message
        .lines()
        .map(|line| line.find(['>', '<']).filter(|at| *at == 11).map_or(line, |at| &line[at..]))
        .collect();
    assert_eq!(lines, expected, "{message}");
    drop(peer);
}
