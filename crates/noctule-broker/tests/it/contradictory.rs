//! Packets that are whole and wrong: a field of another type, a value that does not exist, parts
//! that contradict each other.

use noctule_broker::ReasonCode;
use noctule_testkit::{Peer, VERSIONS, packet_bytes};

use crate::hostile::{SAMPLES, connect_body, send_and_hang_up};
use crate::neighbours::Neighbours;
use crate::{DEADLINE, start_default};

/// What the packet says, its first byte, its body in 5.0, and its body in 3.1.1 where that has
/// the same mistake.
const WRONG: [(&str, u8, &str, Option<&str>, ReasonCode); 39] = {
    use ReasonCode::{
        MalformedPacket as Malformed, ProtocolError as Protocol, TopicAliasInvalid as Alias,
    };
    [
        ("QoS 3", 0x36, "s't' 0001 00", Some("s't' 0001"), Malformed),
        ("DUP at QoS 0", 0x38, "s't' 00", Some("s't'"), Malformed),
        ("PUBLISH with packet id 0", 0x32, "s't' 0000 00", Some("s't' 0000"), Malformed),
        ("a topic with #", 0x30, "s'a/#' 00", Some("s'a/#'"), Malformed),
        ("a topic with +", 0x30, "s'+/a' 00", Some("s'+/a'"), Malformed),
        ("a topic with U+0000", 0x30, "0003 61 00 62 00", Some("0003 61 00 62"), Malformed),
        ("a topic that is no text", 0x30, "0002 c3 28 00", Some("0002 c3 28"), Malformed),
        ("a surrogate", 0x30, "0003 ed a0 80 00", Some("0003 ed a0 80"), Malformed),
        ("a topic longer than its packet", 0x30, "ffff 't'", Some("ffff 't'"), Malformed),
        ("no topic", 0x30, "0000 00", Some("0000"), Protocol),
        ("properties longer than the packet", 0x30, "s't' v300 01 01", None, Malformed),
        ("a property that ends outside", 0x30, "s't' 02 02 0000003c", None, Malformed),
        ("a length of five bytes", 0x30, "s't' 8080808001", None, Malformed),
        ("a property that does not exist", 0x30, "s't' 02 7f 00", None, Malformed),
        ("a property of CONNECT", 0x30, "s't' 05 11 00000001", None, Protocol),
        ("the same property twice", 0x30, "s't' 04 01 00 01 00", None, Protocol),
        ("a payload format that is no flag", 0x30, "s't' 02 01 02", None, Protocol),
        ("a response topic with a wildcard", 0x30, "s't' 04 08 s'#'", None, Protocol),
        ("a subscription identifier", 0x30, "s't' 02 0b 01", None, Protocol),
        ("alias 0", 0x30, "s't' 03 23 0000", None, Alias),
        ("SUBSCRIBE with wrong flags", 0x80, "0001 00 s't' 00", Some("0001 s't' 00"), Malformed),
        ("SUBSCRIBE with packet id 0", 0x82, "0000 00 s't' 00", Some("0000 s't' 00"), Malformed),
        ("no filter", 0x82, "0001 00", Some("0001"), Protocol),
        ("a filter without options", 0x82, "0001 00 s't'", Some("0001 s't'"), Malformed),
        ("an empty filter", 0x82, "0001 00 0000 00", Some("0001 0000 00"), Malformed),
        ("# before the end", 0x82, "0001 00 s'#/a' 00", Some("0001 s'#/a' 00"), Malformed),
        ("# within a level", 0x82, "0001 00 s'a#' 00", Some("0001 s'a#' 00"), Malformed),
        ("+ within a level", 0x82, "0001 00 s'a+/b' 00", Some("0001 s'a+/b' 00"), Malformed),
        ("granted QoS 3", 0x82, "0001 00 s't' 03", Some("0001 s't' 03"), Malformed),
        ("reserved options", 0x82, "0001 00 s't' c0", Some("0001 s't' c0"), Malformed),
        ("retain handling 3", 0x82, "0001 00 s't' 30", None, Protocol),
        ("no local on a shared one", 0x82, "0001 00 s'$share/g/t' 04", None, Protocol),
        ("a share name with +", 0x82, "0001 00 s'$share/+/t' 00", None, Protocol),
        ("a share without a filter", 0x82, "0001 00 s'$share/g' 00", None, Protocol),
        ("subscription identifier 0", 0x82, "0001 02 0b 00 s't' 00", None, Protocol),
        ("UNSUBSCRIBE without filters", 0xA2, "0001 00", Some("0001"), Protocol),
        ("PUBREL with wrong flags", 0x60, "0001", Some("0001"), Malformed),
        ("PINGREQ with a body", 0xC0, "00", Some("00"), Malformed),
        ("PUBACK for nothing, as text", 0x40, "'a'", Some("'a'"), Malformed),
    ]
};

/// What the CONNECT says, and its whole body.
const WRONG_CONNECTS: [(&str, &str); 14] = [
    ("another protocol", "s'HTTP' 04 02 003c s'a'"),
    ("another name of the protocol", "s'mqtt' 04 02 003c s'a'"),
    ("the name of 3.1 with the level of 5.0", "s'MQIsdp' 05 02 003c 00 s'a'"),
    ("the reserved flag", "s'MQTT' 05 03 003c 00 s'a'"),
    ("the QoS of a will that is not there", "s'MQTT' 05 0a 003c 00 s'a'"),
    ("retaining a will that is not there", "s'MQTT' 05 22 003c 00 s'a'"),
    ("a will with QoS 3", "s'MQTT' 05 1e 003c 00 s'a' 00 s't' s'x'"),
    ("a will that is not there", "s'MQTT' 05 06 003c 00 s'a'"),
    ("a will without a topic", "s'MQTT' 05 06 003c 00 s'a' 00 0000 s'x'"),
    ("a will with a wildcard", "s'MQTT' 05 06 003c 00 s'a' 00 s'#' s'x'"),
    ("a will with a property of others", "s'MQTT' 05 06 003c 00 s'a' 03 21 0001 s't' s'x'"),
    ("a password without a user in 3.1.1", "s'MQTT' 04 42 003c s'a' s'secret'"),
    ("receive maximum 0", "s'MQTT' 05 02 003c 03 21 0000 s'a'"),
    ("bytes behind the end", "s'MQTT' 05 02 003c 00 s'a' s'b'"),
];

#[test]
fn wrong_packets_are_answered_with_their_reason_and_end_their_own_connection_only() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    for (what, first_byte, modern, older, reason) in WRONG {
        println!("{what}");
        let mut peer = Peer::v5(address, "liar");
        peer.send_bytes(&packet_bytes(first_byte, modern));
        peer.expect_refused(reason);
        if let Some(older) = older {
            let mut peer = Peer::v311(address, "liar");
            peer.send_bytes(&packet_bytes(first_byte, older));
            peer.expect_closed();
        }
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn wrong_connects_let_nobody_in_and_throw_nobody_out() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    // The one that they pretend to be.
    let mut real = Peer::v5(address, "a");
    for (what, body) in WRONG_CONNECTS {
        println!("{what}");
        let answer = send_and_hang_up(address, &packet_bytes(0x10, body));
        // Nothing, or a CONNACK that refuses.
        assert!(answer.is_empty() || (answer[0] == 0x20 && answer[3] != 0), "{answer:02x?}");
        real.expect_nothing_before_pong();
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

/// Every byte of every packet of every version, one at a time, is replaced by others.
#[test]
fn packets_with_one_wrong_byte_harm_nobody() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    for version in VERSIONS {
        let connect = packet_bytes(0x10, connect_body(version));
        for at in 2..connect.len() {
            for other in others(connect[at]) {
                let mut wrong = connect.clone();
                wrong[at] = other;
                send_and_hang_up(address, &wrong);
            }
        }
        neighbours.are_served();
        for (first_byte, older, modern) in SAMPLES {
            let packet = packet_bytes(first_byte, if version.is_v5() { modern } else { older });
            for at in 0..packet.len() {
                for other in others(packet[at]) {
                    let mut wrong = packet.clone();
                    wrong[at] = other;
                    send_and_hang_up(address, &[&connect[..], &wrong].concat());
                }
            }
        }
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

/// Values that stand for many: the extremes, the next one, and one with the highest bit changed.
fn others(byte: u8) -> impl Iterator<Item = u8> {
    [0x00, 0xFF, byte.wrapping_add(1), byte ^ 0x80].into_iter().filter(move |other| *other != byte)
}
