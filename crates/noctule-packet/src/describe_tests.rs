//! Descriptions: every packet has one, in one line, and none of them tells a secret.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::collection::vec as vec_of;
use proptest::prelude::*;

use super::*;
use crate::{
    ConnackProperties, ConnectProperties, FilterList, PacketId, PublishProperties, QoS,
    SubscriptionList, SubscriptionOptions, TopicFilter, TopicName, WillProperties,
};

/// Stands in every field that is nobody's business.
const SECRET: &str = "hunter2";
/// Stands in every other field.
const OPEN: &str = "open";

fn topic() -> TopicName<'static> {
    TopicName::new("a/b").unwrap()
}

fn pairs(value: &str) -> UserProperties<'static> {
    let mut properties = UserProperties::new();
    properties.push("name", value).unwrap();
    properties
}

fn connect(version: Version) -> Packet<'static> {
    let is_v5 = version.is_v5();
    let secret = SECRET.as_bytes();
    let will = Will {
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: if is_v5 {
            WillProperties {
                content_type: Some(OPEN),
                correlation_data: Some(secret),
                user_properties: pairs(OPEN),
                ..WillProperties::default()
            }
        } else {
            WillProperties::default()
        },
        topic: topic(),
        payload: secret,
    };
    let properties = if is_v5 {
        ConnectProperties {
            authentication_method: Some(OPEN),
            authentication_data: Some(secret),
            user_properties: pairs(SECRET),
            ..ConnectProperties::default()
        }
    } else {
        ConnectProperties::default()
    };
    Packet::from(Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        properties,
        client_id: OPEN,
        will: Some(will),
        user_name: Some(SECRET),
        password: Some(secret),
    })
}

fn publish(version: Version) -> Packet<'static> {
    let properties = PublishProperties {
        correlation_data: Some(SECRET.as_bytes()),
        content_type: Some(OPEN),
        user_properties: pairs(OPEN),
        response_topic: Some(topic()),
        ..PublishProperties::default()
    };
    Packet::Publish(Publish {
        dup: true,
        qos: QoS::ExactlyOnce,
        topic: Some(topic()),
        packet_id: PacketId::new(7),
        properties: if version.is_v5() { properties } else { PublishProperties::default() },
        payload: SECRET.as_bytes(),
        ..Publish::default()
    })
}

/// One of each kind that the version has, with a secret wherever one may be.
fn one_of_each(version: Version) -> Vec<Packet<'static>> {
    let is_v5 = version.is_v5();
    let said = is_v5.then_some(OPEN);
    let user_properties = || if is_v5 { pairs(OPEN) } else { UserProperties::new() };
    let packet_id = PacketId::new(7).unwrap();
    let ack = || Ack {
        reason_string: said,
        user_properties: user_properties(),
        ..Ack::new(packet_id, ReasonCode::Success)
    };
    let filter = TopicFilter::new("a/+").unwrap();
    let mut filters = FilterList::new();
    filters.push(&filter);
    let mut subscriptions = SubscriptionList::new();
    subscriptions.push(&filter, SubscriptionOptions::default());
    let properties = ConnackProperties {
        authentication_method: Some(OPEN),
        authentication_data: Some(SECRET.as_bytes()),
        reason_string: Some(OPEN),
        user_properties: pairs(OPEN),
        ..ConnackProperties::default()
    };
    let mut packets = vec![
        connect(version),
        Packet::Connack(Connack {
            properties: if is_v5 { properties } else { ConnackProperties::default() },
            ..Connack::default()
        }),
        publish(version),
        Packet::Puback(ack()),
        Packet::Pubrec(ack()),
        Packet::Pubrel(ack()),
        Packet::Pubcomp(ack()),
        Packet::Subscribe(Subscribe {
            packet_id,
            subscription_identifier: is_v5.then_some(3),
            user_properties: user_properties(),
            subscriptions,
        }),
        Packet::Suback(Suback {
            reason_string: said,
            user_properties: user_properties(),
            ..Suback::new(packet_id, vec![ReasonCode::GrantedQos1])
        }),
        Packet::Unsubscribe(Unsubscribe { packet_id, user_properties: user_properties(), filters }),
        Packet::Unsuback(Unsuback::new(
            packet_id,
            if is_v5 { vec![ReasonCode::NoSubscriptionExisted] } else { Vec::new() },
        )),
        Packet::Pingreq,
        Packet::Pingresp,
        Packet::Disconnect(Disconnect { reason_string: said, ..Disconnect::default() }),
    ];
    if is_v5 {
        packets.push(Packet::Auth(Auth {
            reason_code: ReasonCode::ContinueAuthentication,
            authentication_method: Some(OPEN),
            authentication_data: Some(SECRET.as_bytes()),
            reason_string: Some(OPEN),
            user_properties: pairs(SECRET),
        }));
    }
    packets
}

/// The secret as text, and as bytes in hexadecimal.
fn tells_secret(line: &str) -> bool {
    let hexadecimal: Vec<String> = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
    line.contains(SECRET) || line.contains(&hexadecimal.join(" "))
}

#[test]
fn no_packet_of_any_kind_tells_a_secret() {
    for version in [Version::V3_1, Version::V3_1_1, Version::V5_0] {
        let packets = one_of_each(version);
        assert_eq!(packets.len(), if version.is_v5() { 15 } else { 14 });
        for packet in packets {
            let line = Description::of(&packet).to_string();
            assert!(!tells_secret(&line), "{line}");
            assert!(line.starts_with(packet.packet_type().name()), "{line}");
            assert!(!line.contains('\n'), "{line}");
            assert!(!version.is_v5() || !has_text(&packet) || line.contains(OPEN), "{line}");
            let mut bytes = Vec::new();
            packet.encode(version, &mut bytes).unwrap();
            let description = Description::of_bytes(&bytes, version);
            assert_eq!(description.to_string(), line, "{version}");
            assert_eq!(description.packet_type(), Some(packet.packet_type()));
            assert_eq!(description.error(), None);
        }
    }
}

fn has_text(packet: &Packet<'_>) -> bool {
    !matches!(packet, Packet::Pingreq | Packet::Pingresp | Packet::Unsuback(_))
}

#[test]
fn what_is_asked_for_is_shown_and_nothing_else() {
    let packet = connect(Version::V5_0);
    let line = Description::of(&packet).show_user_name(true).to_string();
    assert!(line.contains("user name \"hunter2\", password <7 bytes>"), "{line}");
    assert_eq!(line.matches(SECRET).count(), 1, "{line}");
    let line = Description::of(&packet).show_payloads(true).to_string();
    assert!(line.contains("; will \"a/b\" \"hunter2\", QoS 1, retain"), "{line}");
    assert!(line.contains("user name <7 bytes>, password <7 bytes>"), "{line}");
    assert!(line.contains("authentication data <7 bytes>"), "{line}");
    let packet = publish(Version::V3_1_1);
    let line = Description::of(&packet).to_string();
    assert_eq!(line, "PUBLISH 7 \"a/b\" <7 bytes>, QoS 2, dup");
    let line = Description::of(&packet).show_payloads(true).to_string();
    assert_eq!(line, "PUBLISH 7 \"a/b\" \"hunter2\", QoS 2, dup");
}

#[test]
fn long_and_binary_payloads_are_shown_in_part() {
    let long = "ä".repeat(65);
    for (payload, expected) in [
        (&b"\xFF\0"[..], "2 bytes: ff 00".to_string()),
        (&[0xFF; 65][..], format!("65 bytes:{} …", " ff".repeat(64))),
        (long.as_bytes(), format!("130 bytes: {:?} …", "ä".repeat(64))),
    ] {
        let packet =
            Packet::Publish(Publish { topic: Some(topic()), payload, ..Publish::default() });
        let line = Description::of(&packet).show_payloads(true).to_string();
        assert_eq!(line, format!("PUBLISH \"a/b\" {expected}, QoS 0"));
    }
}

#[test]
fn bytes_that_are_no_packet_are_described_without_what_may_be_secret() {
    let mut malformed = 0;
    for packet in one_of_each(Version::V5_0) {
        let mut bytes = Vec::new();
        packet.encode(Version::V5_0, &mut bytes).unwrap();
        for (at, broken) in (0..bytes.len()).flat_map(|at| [(at, 0), (at, 0xFF), (at, 0x01)]) {
            let mut bytes = bytes.clone();
            bytes[at] ^= broken;
            let description = Description::of_bytes(&bytes, Version::V5_0);
            if description.error().is_some() {
                malformed += 1;
                assert!(!tells_secret(&description.to_string()), "{at}: {description}");
            }
        }
        for end in 1..bytes.len() {
            let line = Description::of_bytes(&bytes[..end], Version::V5_0).to_string();
            assert!(!tells_secret(&line), "{line}");
            assert!(line.starts_with(packet.packet_type().name()), "{line}");
        }
    }
    assert!(malformed > 200, "{malformed}");
}

#[test]
fn what_is_wrong_is_told_with_the_first_bytes() {
    for (bytes, expected) in [
        (&b"\0\x01\x02"[..], "malformed packet of 3 bytes, packet type 0 does not exist: 00 01 02"),
        (
            b"\x41\x02\0\x07",
            "malformed PUBACK of 4 bytes, the reserved flags of PUBACK have \
                             another value than the specification's: 41 02 00 07",
        ),
        (b"\x36\x04\0\x01t!", "malformed PUBLISH of 6 bytes, QoS is 3: 36 04 00 01 …"),
        (
            b"\xF0\x03\x18\0!",
            "malformed AUTH of 5 bytes, bytes follow after the packet's last \
                              field: f0 03 …",
        ),
        (b"\x82", "SUBSCRIBE, its first 1 bytes"),
        (b"\x82\x05\0", "SUBSCRIBE, 3 of its 7 bytes"),
    ] {
        assert_eq!(Description::of_bytes(bytes, Version::V5_0).to_string(), expected);
    }
}

#[test]
fn of_a_large_publication_the_beginning_is_enough() {
    let payload = vec![b'x'; 100_000];
    let publish = Publish { topic: Some(topic()), payload: &payload, ..Publish::default() };
    for version in [Version::V3_1_1, Version::V5_0] {
        let mut bytes = Vec::new();
        publish.encode(version, &mut bytes).unwrap();
        let line = Description::of_bytes(&bytes[..1_000], version).to_string();
        assert_eq!(line, "PUBLISH \"a/b\" <100000 bytes>, QoS 0");
        let line = Description::of_bytes(&bytes[..7], version).to_string();
        assert_eq!(line, format!("PUBLISH, 7 of its {} bytes", bytes.len()));
    }
}

#[test]
fn a_refusal_in_an_older_version_is_read_all_the_same() {
    let line = Description::of_bytes(b"\x20\x02\0\x01", Version::V5_0).to_string();
    assert_eq!(line, "CONNACK unsupported protocol version (0x84)");
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_they_have_a_line(
        first in 0..=u8::MAX,
        bytes in vec_of(any::<u8>(), 0..60),
        is_framed in any::<bool>(),
    ) {
        let length = u8::try_from(bytes.len()).unwrap();
        let bytes = match is_framed {
            true => [&[first, length][..], &bytes].concat(),
            false => [&[first][..], &bytes].concat(),
        };
        for version in [Version::V3_1, Version::V3_1_1, Version::V5_0] {
            let description = Description::of_bytes(&bytes, version).show_payloads(true);
            prop_assert!(!description.to_string().contains('\n'));
        }
    }
}
