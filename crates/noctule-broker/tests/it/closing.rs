//! What a peer learns before its connection ends, whatever it goes on sending.

use noctule_broker::{Limits, QoS, ReasonCode};
use noctule_testkit::{OwnedConnect, Peer, packet_bytes};

use crate::{DEADLINE, start_default, start_with, wait};

/// Sent behind the packet that ends the connection; a careless close would answer it with a reset.
const UNREAD_BYTES: usize = 48 * 1024;

#[test]
fn a_refusal_arrives_before_the_end_of_the_connection() {
    let (broker, address) = start_default();
    let mut peer = Peer::connect(address);
    // A CONNECT of a version that does not exist, and more bytes than anybody will read.
    let mut bytes = packet_bytes(0x10, "0004 'MQTT' 06 02 0000 00 0000");
    bytes.resize(bytes.len() + UNREAD_BYTES, 0);
    peer.send_bytes(&bytes);
    peer.expect_connack_with(ReasonCode::UnsupportedProtocolVersion);
    peer.expect_closed();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_disconnect_arrives_before_the_end_of_the_connection() {
    let (broker, address) = start_default();
    let mut peer = Peer::v5(address, "a");
    // SUBACK is nothing that a client sends.
    let mut bytes = vec![0x90, 0x04, 0x00, 0x01, 0x00, 0x00];
    bytes.resize(bytes.len() + UNREAD_BYTES, 0);
    peer.send_bytes(&bytes);
    peer.expect_disconnect(ReasonCode::ProtocolError);
    peer.expect_closed();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn what_was_sent_before_a_disconnect_arrives() {
    let (broker, address) = start_default();
    let mut reader = Peer::v5(address, "reader");
    reader.subscribe(&[("t/#", QoS::AtLeastOnce)]);
    for round in 0..20 {
        let mut writer = Peer::connect(address);
        let connect = OwnedConnect::v311(&format!("writer-{round}"));
        writer.open(&connect);
        writer.send_bytes(b"\x30\x06\x00\x01tabc");
        writer.send_bytes(b"\x30\x08\x00\x03t/xabc\xe0\x00");
        drop(writer);
        let received = reader.receive();
        assert_eq!((received.topic.as_str(), received.text()), ("t", "abc"));
        assert_eq!(reader.receive().topic, "t/x");
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

/// Whatever the reason and whatever is still on its way to the broker: the peer is told, and then
/// the connection ends in order.
#[test]
fn every_refusal_arrives_before_an_orderly_end() {
    let mut limits = Limits::default();
    limits.maximum_packet_size = 1_000;
    limits.receive_maximum = 10;
    limits.topic_alias_maximum = 3;
    let (broker, address) = start_with(limits);
    let large = packet_bytes(0x30, &format!("s't' 00 '{}'", "x".repeat(2_000)));
    let publish = |id: u16| packet_bytes(0x34, &format!("s't' {id:04x} 00"));
    let many: Vec<u8> = (1..=11).flat_map(publish).collect();
    let alias = packet_bytes(0x30, "s't' 03 23 0004");
    let cases = [
        (large, ReasonCode::PacketTooLarge),
        (many, ReasonCode::ReceiveMaximumExceeded),
        (alias, ReasonCode::TopicAliasInvalid),
        (packet_bytes(0x82, "0001 00 s'a#' 00"), ReasonCode::MalformedPacket),
        (packet_bytes(0xF0, "18 00"), ReasonCode::ProtocolError),
        (packet_bytes(0x10, "s'MQTT' 05 02 003c 00 s'a'"), ReasonCode::ProtocolError),
    ];
    for round in 0..5 {
        for (packet, reason) in &cases {
            let mut peer = Peer::v5(address, "a");
            let mut bytes = packet.clone();
            bytes.resize(bytes.len() + round * UNREAD_BYTES / 4, 0);
            peer.send_bytes(&bytes);
            if *reason == ReasonCode::ReceiveMaximumExceeded {
                (1..=10).for_each(|id| drop(peer.expect_pubrec(id)));
            }
            peer.expect_disconnect(*reason);
            peer.expect_closed();
        }
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

/// Once the end has been said, more bytes from the peer must not lead to a reset, which would make
/// the peer's system forget what was said.
#[test]
fn what_is_sent_behind_the_end_is_answered_by_no_reset() {
    let (broker, address) = start_default();
    for _ in 0..20 {
        let mut refused = Peer::connect(address);
        refused.send_bytes(&packet_bytes(0x10, "s'MQTT' 06 02 003c 00 s'a'"));
        let mut ended = Peer::v5(address, "a");
        ended.send_bytes(&packet_bytes(0xF0, "18 00"));
        for peer in [&mut refused, &mut ended] {
            // The last word is there, unread, before anything else is sent.
            assert_eq!(peer.stream().peek(&mut [0]).unwrap(), 1);
            for _ in 0..4 {
                peer.send_bytes(&[0; 1_000]);
            }
        }
        refused.expect_connack_with(ReasonCode::UnsupportedProtocolVersion);
        refused.expect_closed();
        ended.expect_disconnect(ReasonCode::ProtocolError);
        ended.expect_closed();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

/// The beginning of a packet that is not finished.
fn unfinished() -> Vec<u8> {
    [&[0x30, 0xFF, 0x7F][..], &[0; 8 * 1024]].concat()
}

#[test]
fn who_is_one_too_many_is_told_although_there_is_more_behind_connect() {
    let mut limits = Limits::default();
    limits.connections_max = 2;
    let (broker, address) = start_with(limits);
    let mut inside = [Peer::v5(address, "first"), Peer::v5(address, "second")];
    for number in 0..5 {
        let mut third = Peer::connect(address);
        let connect = packet_bytes(0x10, &format!("s'MQTT' 05 02 003c 00 s'more-{number}'"));
        third.send_bytes(&[connect, unfinished()].concat());
        third.expect_connack_with(ReasonCode::ServerBusy);
        third.expect_closed();
    }
    inside.iter_mut().for_each(Peer::expect_nothing_before_pong);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn an_end_that_others_decide_is_said_to_whoever_is_sending() {
    let (broker, address) = start_default();
    let [mut first, mut second] = ["first", "second"].map(|name| Peer::v5(address, name));
    // Taken over, thrown out, and left behind, each in the middle of a packet.
    first.send_bytes(&unfinished());
    let mut last = Peer::v5(address, "first");
    first.expect_disconnect(ReasonCode::SessionTakenOver);
    first.expect_closed();
    second.send_bytes(&unfinished());
    assert!(wait(broker.kick("second")).unwrap());
    second.expect_disconnect(ReasonCode::AdministrativeAction);
    second.expect_closed();
    last.send_bytes(&unfinished());
    broker.stop_blocking(DEADLINE).unwrap();
    last.expect_disconnect(ReasonCode::ServerShuttingDown);
    last.expect_closed();
}

#[test]
fn silence_beyond_the_keep_alive_is_told_and_ends_the_connection() {
    let (broker, address) = start_default();
    let mut silent = Peer::connect_with(address, &OwnedConnect::v5("silent").keep_alive(1));
    let mut older = Peer::connect_with(address, &OwnedConnect::v311("older").keep_alive(1));
    let mut endless = Peer::connect_with(address, &OwnedConnect::v5("endless").keep_alive(0));
    // Half a packet is no sign of life that would count for ever.
    silent.send_bytes(&[0x30, 0x10, 0x00]);
    silent.expect_disconnect(ReasonCode::KeepAliveTimeout);
    silent.expect_closed();
    older.expect_closed();
    endless.expect_nothing_before_pong();
    broker.stop_blocking(DEADLINE).unwrap();
}
