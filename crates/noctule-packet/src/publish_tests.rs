//! Tests of PUBLISH.

use alloc::vec;

use super::*;
use crate::{Framing, KeptTopicName, TopicError, spec, split};

fn decode(bytes: &[u8], version: Version) -> Result<Publish<'_>, DecodeError> {
    let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
    Publish::decode(&frame, version, TextRules::Strict)
}

/// Decodes a PUBLISH with this first byte and body.
fn check(first: u8, body: &[u8], version: Version, expected: Option<DecodeError>) {
    let mut bytes = vec![first, body.len() as u8];
    bytes.extend_from_slice(body);
    assert_eq!(decode(&bytes, version).err(), expected, "{bytes:x?} {version}");
}

const ALL: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];

#[test]
fn qos_3_does_not_exist() {
    spec!("MQTT5-3.3.1-4", "MQTT311-3.3.1-4", "MQTT31-2.1-2");
    for version in ALL {
        for first in [0x36, 0x37, 0x3E, 0x3F] {
            check(first, b"\x00\x01t\x00\x01\x00", version, Some(DecodeError::InvalidQos));
        }
    }
}

#[test]
fn dup_is_not_for_qos_0() {
    spec!("MQTT5-3.3.1-2", "MQTT311-3.3.1-2");
    check(0x38, b"\x00\x01t\x00", Version::V5_0, Some(DecodeError::DupAtQos0));
    check(0x38, b"\x00\x01t", Version::V3_1_1, Some(DecodeError::DupAtQos0));
    assert_eq!(decode(b"\x38\x03\x00\x01t", Version::V3_1).map(|p| p.dup), Ok(false));
    assert_eq!(decode(b"\x3A\x05\x00\x01t\x00\x01", Version::V3_1_1).map(|p| p.dup), Ok(true));
    let topic = TopicName::new("t").ok();
    let publish = Publish { dup: true, topic, ..Publish::default() };
    assert_eq!(publish.encode(Version::V5_0, &mut vec![]), Err(EncodeError::InvalidValue));
}

#[test]
fn the_packet_identifier_goes_with_the_qos() {
    spec!("MQTT5-2.2.1-2", "MQTT311-2.3.1-5", "MQTT5-2.2.1-3", "MQTT311-2.3.1-1");
    let zero = DecodeError::ZeroPacketId { packet_type: PacketType::Publish };
    for first in [0x32, 0x34] {
        check(first, b"\x00\x01t\x00\x00", Version::V3_1_1, Some(zero));
        check(first, b"\x00\x01t\x00\x00\x00", Version::V5_0, Some(zero));
        check(first, b"\x00\x01t\x00", Version::V3_1_1, Some(DecodeError::Truncated));
    }
    let publish = decode(b"\x30\x05\x00\x01t\x00\x01", Version::V3_1_1).unwrap();
    assert_eq!((publish.packet_id, publish.payload), (None, &b"\x00\x01"[..]));
    let topic = TopicName::new("t").ok();
    for (qos, packet_id) in [(QoS::AtMostOnce, PacketId::new(1)), (QoS::AtLeastOnce, None)] {
        let publish = Publish { qos, packet_id, topic, ..Publish::default() };
        let encoded = publish.encode(Version::V3_1_1, &mut vec![]);
        assert_eq!(encoded, Err(EncodeError::InvalidValue));
    }
}

#[test]
fn the_topic_is_the_first_field_and_text() {
    spec!("MQTT5-3.3.2-1", "MQTT311-3.3.2-1");
    for version in ALL {
        check(0x30, b"", version, Some(DecodeError::Truncated));
        check(0x30, b"\x00\x02t", version, Some(DecodeError::Truncated));
        check(0x30, b"\x00\x01\xFF\x00", version, Some(DecodeError::IllFormedUtf8));
        check(0x30, b"\x00\x01\x00\x00", version, Some(DecodeError::NullCharacter));
        check(0x30, b"\x00\x01\x7F\x00", version, Some(DecodeError::DisallowedCharacter));
        // The packet identifier has its place behind the topic.
        let fields = decode(b"\x32\x06\x00\x01t\x00\x07\x00", version)
            .map(|publish| (publish.topic, publish.packet_id));
        assert_eq!(fields, Ok((TopicName::new("t").ok(), PacketId::new(7))), "{version}");
    }
}

#[test]
fn the_topic_has_no_wildcard() {
    spec!("MQTT5-3.3.2-2", "MQTT311-3.3.2-2");
    let error = DecodeError::InvalidTopicName(TopicError::WildcardInName);
    for version in ALL {
        check(0x30, b"\x00\x01#\x00", version, Some(error));
        check(0x30, b"\x00\x03a/+\x00", version, Some(error));
    }
    assert_eq!(error.reason_code().value(), 0x81);
}

#[test]
fn an_empty_topic_needs_an_alias() {
    let empty = DecodeError::InvalidTopicName(TopicError::Empty);
    check(0x30, b"\x00\x00", Version::V3_1, Some(empty));
    check(0x30, b"\x00\x00", Version::V3_1_1, Some(empty));
    check(0x30, b"\x00\x00\x00", Version::V5_0, Some(DecodeError::MissingTopic));
    assert_eq!(DecodeError::MissingTopic.reason_code().value(), 0x82);
    let aliased = decode(b"\x30\x06\x00\x00\x03\x23\x00\x07", Version::V5_0).unwrap();
    assert_eq!((aliased.topic, aliased.properties.topic_alias), (None, Some(7)));
    let mut publish = Publish::default();
    assert_eq!(publish.encode(Version::V5_0, &mut vec![]), Err(EncodeError::NotInVersion));
    publish.properties.topic_alias = Some(7);
    assert_eq!(publish.encode(Version::V3_1_1, &mut vec![]), Err(EncodeError::NotInVersion));
    assert_eq!(publish.encode(Version::V5_0, &mut vec![]), Ok(()));
}

#[test]
fn an_alias_is_not_zero() {
    spec!("MQTT5-3.3.2-8");
    let zero = DecodeError::ZeroTopicAlias;
    check(0x30, b"\x00\x01t\x03\x23\x00\x00", Version::V5_0, Some(zero));
    assert_eq!(zero.reason_code().value(), 0x94);
    let mut publish = Publish { topic: TopicName::new("t").ok(), ..Publish::default() };
    publish.properties.topic_alias = Some(0);
    assert_eq!(publish.encode(Version::V5_0, &mut vec![]), Err(EncodeError::InvalidValue));
}

#[test]
fn the_response_topic_is_text_without_wildcards() {
    spec!("MQTT5-3.3.2-13", "MQTT5-3.3.2-14");
    let ill_formed = Some(DecodeError::IllFormedUtf8);
    check(0x30, b"\x00\x01t\x04\x08\x00\x01\xFF", Version::V5_0, ill_formed);
    for (body, error) in [
        (&b"\x00\x01t\x04\x08\x00\x01#"[..], TopicError::WildcardInName),
        (b"\x00\x01t\x03\x08\x00\x00", TopicError::Empty),
    ] {
        let error = DecodeError::InvalidResponseTopic(error);
        check(0x30, body, Version::V5_0, Some(error));
        assert_eq!(error.reason_code().value(), 0x82);
    }
}

#[test]
fn the_content_type_is_text() {
    spec!("MQTT5-3.3.2-19");
    let error = Some(DecodeError::IllFormedUtf8);
    check(0x30, b"\x00\x01t\x04\x03\x00\x01\xFF", Version::V5_0, error);
    check(0x30, b"\x00\x01t\x03\x03\x00\x00", Version::V5_0, None);
}

#[test]
fn a_property_length_is_always_there() {
    spec!("MQTT5-2.2.2-1");
    check(0x30, b"\x00\x01t", Version::V5_0, Some(DecodeError::Truncated));
    check(0x30, b"\x00\x01t\x01", Version::V5_0, Some(DecodeError::Truncated));
    let mut out = vec![];
    let publish = Publish { topic: TopicName::new("t").ok(), ..Publish::default() };
    publish.encode(Version::V5_0, &mut out).unwrap();
    assert_eq!(out, b"\x30\x04\x00\x01t\x00");
}

#[test]
fn a_wrong_payload_format_is_not_malformed() {
    let publish = decode(b"\x30\x07\x00\x01t\x02\x01\x01\xFF", Version::V5_0).unwrap();
    assert_eq!(publish.properties.payload_format_indicator, Some(true));
    assert!(!publish.payload_is_utf8());
}

#[test]
fn an_empty_payload_is_a_message() {
    spec!("MQTT31-3.3-6");
    let publish = decode(b"\x31\x03\x00\x01t", Version::V3_1).unwrap();
    assert_eq!((publish.retain, publish.payload), (true, &b""[..]));
}

#[test]
fn fields_that_are_too_long_are_not_written() {
    let long = vec![b'x'; 65_536];
    let mut publish = Publish { topic: TopicName::new("t").ok(), ..Publish::default() };
    publish.properties.correlation_data = Some(&long);
    let mut out = vec![];
    assert_eq!(publish.encode(Version::V5_0, &mut out), Err(EncodeError::StringTooLong));
    publish.properties.correlation_data = None;
    publish.properties.subscription_identifiers = vec![1, 0];
    assert_eq!(publish.encode(Version::V5_0, &mut out), Err(EncodeError::InvalidValue));
    assert!(out.is_empty());
}

#[test]
fn a_known_topic_is_taken_as_it_is_and_every_other_is_judged() {
    let mut kept = KeptTopicName::default();
    assert_eq!(kept.name(), None);
    kept.set(TopicName::new("a/b").unwrap());
    for (packet, expected) in [
        (&b"\x30\x06\x00\x03a/bx"[..], Ok(true)),
        (b"\x30\x06\x00\x03a/cx", Ok(false)),
        (b"\x30\x06\x00\x03a/+x", Err(DecodeError::InvalidTopicName(TopicError::WildcardInName))),
        (b"\x30\x03\x00\x00x", Err(DecodeError::InvalidTopicName(TopicError::Empty))),
    ] {
        let Ok(Framing::Complete(frame)) = split(packet, u32::MAX) else { panic!() };
        let (version, rules) = (Version::V3_1_1, TextRules::Strict);
        let knowing = Publish::decode_knowing(&frame, version, rules, kept.name());
        assert_eq!(knowing, Publish::decode(&frame, version, rules));
        let known = kept.name().unwrap();
        assert_eq!(knowing.map(|publish| publish.topic.unwrap().is_same(known)), expected);
    }
    kept.clear();
    assert_eq!(kept.name(), None);
}
