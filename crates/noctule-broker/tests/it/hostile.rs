//! Peers that send what no correct client sends: each is answered or cut off, and the neighbours
//! notice nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use noctule_broker::{Broker, Handle, Limits, QoS, ReasonCode, Version};
use noctule_packet::{Framing, split};
use noctule_testkit::{OwnedConnect, OwnedPublish, Peer, VERSIONS, packet_bytes};

use crate::neighbours::Neighbours;
use crate::{DEADLINE, start, start_default, wait};

/// Sends bytes and then the end; reads until the other end, which must come, behind whole packets.
#[track_caller]
pub(crate) fn send_and_hang_up(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // The broker may have closed before the last byte.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "no end for {bytes:02x?}");
    }
    let mut rest = &answer[..];
    while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
        rest = &rest[frame.length..];
    }
    assert!(rest.is_empty(), "half a packet: {answer:02x?}");
    answer
}

/// A valid packet of every type but CONNECT: its first byte, and its body in 3.x and in 5.0.
pub(crate) const SAMPLES: [(u8, &str, &str); 14] = [
    (0x20, "00 00", "00 00 00"),
    (0x32, "s'a/b' 0007 'payload'", "s'a/b' 0007 0d 01 01 02 0000003c 03 s't' 23 0001 'payload'"),
    (0x40, "0007", "0007 80 06 1f s'why'"),
    (0x50, "0007", "0007 80 06 1f s'why'"),
    (0x62, "0007", "0007 92 07 26 s'a' s'b'"),
    (0x70, "0007", "0007 92 07 26 s'a' s'b'"),
    (0x82, "0001 s'a/+/#' 01 s'b' 02", "0001 03 0b 80 01 s'a/+/#' 01 s'b' 2a"),
    (0x90, "0001 00 01", "0001 00 00 01"),
    (0xA2, "0001 s'a/+/#' s'b'", "0001 07 26 s'a' s'b' s'a/+/#' s'b'"),
    (0xB0, "0001", "0001 00 00 11"),
    (0xC0, "", ""),
    (0xD0, "", ""),
    (0xE0, "", "04 05 11 0000003c"),
    (0xF0, "", "18 09 15 s'method'"),
];

pub(crate) fn connect_body(version: Version) -> &'static str {
    match version {
        Version::V3_1 => "s'MQIsdp' 03 f6 003c s'stranger' s'will' s'gone' s'user' s'secret'",
        Version::V3_1_1 => "s'MQTT' 04 f6 003c s'stranger' s'will' s'gone' s'user' s'secret'",
        Version::V5_0 => {
            "s'MQTT' 05 f6 003c 08 11 0000003c 21 0009 s'stranger' \
             05 18 00000001 s'will' s'gone' s'user' s'secret'"
        }
    }
}

/// The packet with only the first `cut` bytes of its body, and a length that says so.
fn cut_short(first_byte: u8, body: &[u8], cut: usize) -> Vec<u8> {
    [&[first_byte, u8::try_from(cut).unwrap()], &body[..cut]].concat()
}

/// Every packet of every version, cut at every place: as a whole packet that is too short, and as
/// a packet whose end never comes.
#[test]
fn truncated_packets_of_every_type_and_length_harm_nobody() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    for version in VERSIONS {
        let connect = packet_bytes(0x10, connect_body(version));
        for cut in 0..connect.len() - 2 {
            send_and_hang_up(address, &cut_short(0x10, &connect[2..], cut));
            send_and_hang_up(address, &connect[..cut + 2]);
        }
        for (first_byte, older, modern) in SAMPLES {
            let body = noctule_testkit::bytes(if version.is_v5() { modern } else { older });
            let whole = cut_short(first_byte, &body, body.len());
            for cut in 0..=body.len() {
                let short = [connect.clone(), cut_short(first_byte, &body, cut)].concat();
                send_and_hang_up(address, &short);
                send_and_hang_up(address, &[&connect[..], &whole[..cut]].concat());
            }
        }
        neighbours.are_served();
    }
    assert_only_neighbours(&broker);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn every_first_byte_and_overlong_lengths_harm_nobody() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    for version in VERSIONS {
        let connect = packet_bytes(0x10, connect_body(version));
        for first_byte in 0..=255 {
            for body in [&[][..], &[0, 1], &[0, 1, b'a', 0, 7, 0, 1, 2, 3], &[0xFF; 12]] {
                let packet = cut_short(first_byte, body, body.len());
                send_and_hang_up(address, &[&connect[..], &packet].concat());
            }
            let overlong = [&connect[..], &[first_byte, 0x80, 0x80, 0x80, 0x80, 0x01]].concat();
            send_and_hang_up(address, &overlong);
        }
        neighbours.are_served();
    }
    assert_only_neighbours(&broker);
    broker.stop_blocking(DEADLINE).unwrap();
}

/// The strangers are gone, and so is everything of theirs but wills and sessions.
fn assert_only_neighbours(broker: &Handle) {
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert!(statistics.connections_opened > 500, "{statistics:?}");
    assert_eq!(gauges.clients_connected, 2, "{gauges:?}");
}

#[test]
fn packets_that_only_servers_send_and_a_second_connect_end_the_connection() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    for version in VERSIONS {
        let again = packet_bytes(0x10, connect_body(version));
        let server_only = SAMPLES.iter().filter(|sample| {
            matches!(sample.0, 0x20 | 0x90 | 0xB0 | 0xD0) || (sample.0 == 0xF0 && version.is_v5())
        });
        let packets = server_only.map(|(first_byte, older, modern)| {
            packet_bytes(*first_byte, if version.is_v5() { modern } else { older })
        });
        for packet in packets.chain([again]) {
            let mut peer = Peer::speaking(version, address, "liar");
            peer.send_bytes(&packet);
            peer.expect_refused(ReasonCode::ProtocolError);
        }
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn topic_aliases_that_mean_nothing_end_the_connection() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    for (body, reason) in [
        // No topic and no alias; an alias that nobody defined; alias 0; one above the maximum.
        ("0000 00 'x'", ReasonCode::ProtocolError),
        ("0000 03 23 0001 'x'", ReasonCode::ProtocolError),
        ("s't' 03 23 0000 'x'", ReasonCode::TopicAliasInvalid),
        ("s't' 03 23 000b 'x'", ReasonCode::TopicAliasInvalid),
        ("0000 03 23 ffff 'x'", ReasonCode::TopicAliasInvalid),
    ] {
        let mut peer = Peer::v5(address, "liar");
        peer.send_bytes(&packet_bytes(0x30, body));
        peer.expect_refused(reason);
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_first_packet_that_is_no_connect_is_not_waited_for() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    // Types other than CONNECT that declare 256 MB: the first byte is enough.
    for first_byte in [0x00, 0x20, 0x30, 0x3D, 0x82, 0xC0, 0xE0, 0xF0] {
        let mut peer = Peer::connect(address);
        peer.send_bytes(&[first_byte, 0xFF, 0xFF, 0xFF, 0x7F]);
        peer.expect_closed();
    }
    // And a CONNECT that is larger than a CONNECT may be.
    let mut limits = Limits::default();
    limits.connect_bytes_max = 1_000;
    let (small, small_address) = start(Broker::builder().limits(limits));
    let mut peer = Peer::connect(small_address);
    peer.send_bytes(&[0x10, 0xFF, 0xFF, 0xFF, 0x7F]);
    peer.expect_closed();
    small.stop_blocking(DEADLINE).unwrap();
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn thousands_of_user_properties_are_refused_and_named() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    let mut connect = OwnedConnect::v5("a");
    let mut publish = OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(1);
    for number in 0..20_000 {
        connect = connect.user_property("name", &number.to_string());
        publish = publish.user_property("name", &number.to_string());
    }
    let mut peer = Peer::connect(address);
    peer.send_connect(&connect);
    let refused = peer.expect_connack_with(ReasonCode::QuotaExceeded);
    let text = refused.reason_string.unwrap();
    assert!(text.contains("limits.user_properties_max = 1000, wanted 20000"), "{text}");
    peer.expect_closed();

    let mut peer = Peer::v5(address, "a");
    peer.send_publish(&publish);
    peer.expect_puback_with(1, ReasonCode::QuotaExceeded);
    peer.expect_nothing_before_pong();
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_keep_alive_beyond_the_maximum_is_replaced_or_refused() {
    let mut limits = Limits::default();
    limits.keep_alive_max_seconds = 30;
    let (broker, address) = start(Broker::builder().limits(limits));
    for keep_alive in [0, 31, u16::MAX] {
        let connack = Peer::connect(address).open(&OwnedConnect::v5("a").keep_alive(keep_alive));
        assert_eq!(connack.server_keep_alive, Some(30));
        for version in [Version::V3_1, Version::V3_1_1] {
            let mut peer = Peer::connect(address);
            peer.send_connect(&OwnedConnect::new(version, "a").keep_alive(keep_alive));
            peer.expect_connack_with(ReasonCode::ClientIdentifierNotValid);
            peer.expect_closed();
        }
    }
    let connack = Peer::connect(address).open(&OwnedConnect::v5("a").keep_alive(30));
    assert_eq!(connack.server_keep_alive, None);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn topics_that_begin_with_a_dollar_sign_are_topics() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    for version in VERSIONS {
        let mut peer = Peer::speaking(version, address, "a");
        peer.subscribe(&[("$private/#", QoS::AtLeastOnce), ("#", QoS::AtMostOnce)]);
        peer.subscribe(&[("$", QoS::AtMostOnce), ("$/+", QoS::AtMostOnce)]);
        for topic in ["$private/a", "$private", "$", "$/", "$/x"] {
            peer.publish(topic, "x", QoS::AtLeastOnce);
            let message = peer.receive();
            assert_eq!(message.topic, topic);
            peer.acknowledge(&message);
        }
        // An unsubscription means its whole filter, the share name included.
        peer.subscribe(&[("$share/group/plain", QoS::AtMostOnce)]);
        peer.unsubscribe(&["plain"]);
        peer.unsubscribe(&["#"]);
        peer.publish("plain", "still", QoS::AtLeastOnce);
        assert_eq!(peer.receive().text(), "still");
        peer.unsubscribe(&["$share/group/plain"]);
        peer.publish("plain", "over", QoS::AtLeastOnce);
        peer.expect_nothing_before_pong();
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}
