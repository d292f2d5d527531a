//! Tests of forwarded properties and of the head of a forwarded PUBLISH.

use alloc::vec;

use super::*;
use crate::{Framing, Publish, spec, split};

fn properties() -> PublishProperties<'static> {
    let mut user_properties = UserProperties::new();
    for (name, value) in [("b", "1"), ("a", "2"), ("b", "3")] {
        user_properties.push(name, value).unwrap();
    }
    PublishProperties {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(9),
        topic_alias: Some(3),
        response_topic: TopicName::new("answers").ok(),
        correlation_data: Some(b"\x00\xFF"),
        user_properties,
        subscription_identifiers: vec![1, 300],
        content_type: Some("text/plain"),
    }
}

#[test]
fn a_message_passes_unaltered() {
    spec!("MQTT5-3.3.2-4", "MQTT5-3.3.2-15", "MQTT5-3.3.2-16", "MQTT5-3.3.2-17");
    spec!("MQTT5-3.3.2-18", "MQTT5-3.3.2-20");
    let received = properties();
    let forwarded = ForwardedProperties::from_publish(&received);
    let expected = PublishProperties {
        message_expiry_interval: None,
        topic_alias: None,
        subscription_identifiers: vec![],
        ..received
    };
    assert_eq!(forwarded.decode(), expected);
}

#[test]
fn a_will_passes_unaltered() {
    spec!("MQTT5-3.1.3-10");
    let received = properties();
    let will = WillProperties {
        will_delay_interval: Some(5),
        payload_format_indicator: received.payload_format_indicator,
        message_expiry_interval: Some(6),
        content_type: received.content_type,
        response_topic: received.response_topic,
        correlation_data: received.correlation_data,
        user_properties: received.user_properties.clone(),
    };
    let forwarded = ForwardedProperties::from_will(&will);
    assert_eq!(forwarded, ForwardedProperties::from_publish(&received));
    let values = ["1", "2", "3"];
    let decoded = forwarded.decode();
    assert!(decoded.user_properties.iter().map(|(_, value)| value).eq(values));
}

#[test]
fn nothing_is_nothing() {
    let empty = ForwardedProperties::from_publish(&PublishProperties::default());
    assert!(empty.is_empty());
    assert_eq!(empty, ForwardedProperties::empty());
    assert_eq!(empty.decode(), PublishProperties::default());
}

/// The head of this, completed with a payload, decodes to what it says.
fn check(head: PublishHead<'_>, offset: Option<usize>) {
    let payload = vec![b'p'; head.payload_length];
    let mut out = vec![0xAA];
    assert_eq!(head.encode(&mut out), offset, "{head:?}");
    out.extend_from_slice(&payload);
    assert_eq!(out.len(), 1 + head.encoded_length(), "{head:?}");
    let Ok(Framing::Complete(frame)) = split(&out[1..], u32::MAX) else { panic!("{head:?}") };
    assert_eq!(frame.length, head.encoded_length());
    let publish = Publish::decode(&frame, head.version, TextRules::Strict).unwrap();
    assert_eq!(publish.topic.as_ref().map_or("", TopicName::as_str), head.topic);
    assert_eq!((publish.qos, publish.retain), (head.qos, head.retain));
    assert_eq!(publish.payload, payload);
    if let (Some(id), Some(offset)) = (publish.packet_id, offset) {
        assert_eq!(out[offset..offset + 2], id.value().to_be_bytes());
    }
    if head.version.is_v5() {
        assert_eq!(publish.properties.topic_alias, head.topic_alias);
        assert_eq!(publish.properties.message_expiry_interval, head.message_expiry_interval);
        assert_eq!(publish.properties.subscription_identifiers, head.subscription_identifiers);
        let forwarded = ForwardedProperties::from_publish(&publish.properties);
        assert_eq!(forwarded.as_bytes(), head.forwarded);
    }
}

#[test]
fn heads_announce_what_follows() {
    spec!("MQTT5-2.2.1-2", "MQTT311-2.3.1-5");
    let forwarded = ForwardedProperties::from_publish(&properties());
    let head = PublishHead {
        version: Version::V5_0,
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: "a/b",
        packet_id: PacketId::new(0x0102),
        topic_alias: Some(1),
        message_expiry_interval: Some(2),
        subscription_identifiers: &[1, 128, 16_384, 268_435_455],
        forwarded: forwarded.as_bytes(),
        payload_length: 5,
    };
    check(head, Some(8));
    check(PublishHead { topic: "", ..head }, Some(5));
    check(PublishHead { payload_length: 200, ..head }, Some(9));
    check(PublishHead { payload_length: 70_000, ..head }, Some(10));
    check(PublishHead { version: Version::V3_1_1, ..head }, Some(8));
    check(PublishHead { version: Version::V3_1, ..head }, Some(8));
    check(PublishHead { qos: QoS::AtMostOnce, ..head }, None);
    let bare = PublishHead {
        topic_alias: None,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        forwarded: &[],
        payload_length: 0,
        ..head
    };
    check(bare, Some(8));
}
