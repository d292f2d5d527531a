//! What decodes can be encoded, and decodes to the same value again.

use noctule_packet::{
    ForwardedProperties, Frame, Framing, Packet, Publish, PublishHead, PublishProperties,
    TextRules, TopicName, Version, split,
};

use crate::decode::VERSIONS;

/// What was in a buffer before is left alone.
const BEFORE: &[u8] = b"before";

pub(crate) fn check(data: &[u8]) {
    let mut rest = data;
    while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
        for version in VERSIONS {
            if let Ok(packet) = Packet::decode(&frame, version, TextRules::Lenient) {
                check_packet(&frame, &packet, version);
            }
        }
        rest = &rest[frame.length..];
    }
}

fn check_packet(frame: &Frame<'_>, packet: &Packet<'_>, version: Version) {
    let encoded = encode(packet, version).unwrap_or_else(|| panic!("{packet:?} is not encoded"));
    let again = whole(&encoded);
    let decoded = Packet::decode(&again, version, TextRules::Lenient);
    assert_eq!(decoded.as_ref(), Ok(packet), "{version}");
    check_bytes(frame, &again, &encoded, version);
    for other in VERSIONS.into_iter().filter(|other| *other != version) {
        // Not every value exists in every version; what is written there can be read there.
        if let Some(bytes) = encode(packet, other) {
            let decoded = Packet::decode(&whole(&bytes), other, TextRules::Lenient);
            assert!(decoded.is_ok(), "{packet:?} of {version} as {other}: {decoded:?}");
        }
    }
    if let Packet::Publish(publish) = packet {
        check_forwarded(publish);
        check_head(publish, version, &encoded);
    }
}

/// The encoded packet; nothing if the value does not exist in this version.
fn encode(packet: &Packet<'_>, version: Version) -> Option<Vec<u8>> {
    let mut out = BEFORE.to_vec();
    let result = packet.encode(version, &mut out);
    let encoded = out.strip_prefix(BEFORE).expect("the buffer begins as before");
    match result {
        Ok(()) => Some(encoded.to_vec()),
        Err(_) => {
            assert!(encoded.is_empty(), "a failure leaves {encoded:x?} behind");
            None
        }
    }
}

fn whole(bytes: &[u8]) -> Frame<'_> {
    match split(bytes, u32::MAX) {
        Ok(Framing::Complete(frame)) if frame.length == bytes.len() => frame,
        other => panic!("{bytes:x?} is no packet: {other:?}"),
    }
}

/// Where there is one way to write a value, the bytes are the same; elsewhere they are no more.
fn check_bytes(before: &Frame<'_>, after: &Frame<'_>, encoded: &[u8], version: Version) {
    assert_eq!(before.packet_type, after.packet_type);
    assert!(encoded.len() <= before.length, "{} bytes became {}", before.length, encoded.len());
    match version {
        // Bits and bytes that 3.1 leaves unused are written as 0.
        Version::V3_1 => {}
        Version::V3_1_1 => assert_eq!((before.flags, before.body), (after.flags, after.body)),
        // Properties may come in any order, and short forms need not be used.
        Version::V5_0 if after.body.len() == before.body.len() => {
            assert_eq!(sorted(before.body), sorted(after.body));
        }
        Version::V5_0 => {}
    }
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut sorted = bytes.to_vec();
    sorted.sort_unstable();
    sorted
}

/// What a broker passes on of a message's properties is what arrived.
fn check_forwarded(publish: &Publish<'_>) {
    let forwarded = ForwardedProperties::from_publish(&publish.properties);
    let expected = PublishProperties {
        message_expiry_interval: None,
        topic_alias: None,
        subscription_identifiers: Vec::new(),
        ..publish.properties.clone()
    };
    assert_eq!(forwarded.decode(), expected);
    assert_eq!(forwarded.is_empty(), expected == PublishProperties::default());
}

/// The head that a broker writes in front of a payload says the same as the whole packet.
fn check_head(publish: &Publish<'_>, version: Version, encoded: &[u8]) {
    let properties = &publish.properties;
    let forwarded = ForwardedProperties::from_publish(properties);
    let head = PublishHead {
        version,
        dup: publish.dup,
        qos: publish.qos,
        retain: publish.retain,
        topic: publish.topic.as_ref().map_or("", TopicName::as_str),
        packet_id: publish.packet_id,
        topic_alias: properties.topic_alias,
        message_expiry_interval: properties.message_expiry_interval,
        subscription_identifiers: &properties.subscription_identifiers,
        forwarded: forwarded.as_bytes(),
        payload_length: publish.payload.len(),
    };
    let mut out = Vec::new();
    let place = head.encode(&mut out);
    assert_eq!(place.is_some(), publish.packet_id.is_some());
    if let (Some(place), Some(packet_id)) = (place, publish.packet_id) {
        assert_eq!(out[place..place + 2], packet_id.value().to_be_bytes());
    }
    out.extend_from_slice(publish.payload);
    assert_eq!(out.len(), head.encoded_length());
    assert_eq!(out, encoded);
}
