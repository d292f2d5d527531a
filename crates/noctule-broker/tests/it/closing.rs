//! What a peer learns before its connection ends, whatever it goes on sending.

use noctule_broker::{QoS, ReasonCode};
use noctule_testkit::{OwnedConnect, Peer};

use crate::{DEADLINE, start_default};

/// Sent behind the packet that ends the connection; a careless close would answer it with a reset.
const UNREAD_BYTES: usize = 48 * 1024;

#[test]
fn a_refusal_arrives_before_the_end_of_the_connection() {
    let (broker, address) = start_default();
    let mut peer = Peer::connect(address);
    // A CONNECT of a version that does not exist, and more bytes than anybody will read.
    let mut bytes = noctule_testkit::packet_bytes(0x10, "0004 'MQTT' 06 02 0000 00 0000");
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
