//! Tests of SUBSCRIBE and its subscription options.

use alloc::vec;

use super::*;
use crate::{Framing, spec, split};

const BOTH: [Version; 2] = [Version::V3_1_1, Version::V5_0];

/// A SUBSCRIBE with packet identifier 1, no properties, and this payload.
fn bytes(version: Version, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    put_packet(&mut out, 0x82, |out| {
        put_two_byte(out, 1);
        if version.is_v5() {
            out.push(0);
        }
        out.extend_from_slice(payload);
        Ok(())
    })
    .unwrap();
    out
}

fn decode(bytes: &[u8], version: Version) -> Result<Subscribe<'_>, DecodeError> {
    let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
    Subscribe::decode(&frame, version, TextRules::Strict)
}

fn check(version: Version, payload: &[u8], code: Option<u8>) {
    let error = decode(&bytes(version, payload), version).err();
    let found = error.map(|error| error.reason_code().value());
    assert_eq!(found, code, "{version} {payload:x?} {error:?}");
}

#[test]
fn there_is_at_least_one_filter() {
    spec!("MQTT5-3.8.3-2", "MQTT311-3.8.3-3");
    for version in BOTH {
        check(version, b"", Some(0x82));
        check(version, b"\x00\x01a\x00", None);
    }
}

#[test]
fn filters_are_text() {
    spec!("MQTT5-3.8.3-1", "MQTT311-3.8.3-1");
    for version in BOTH {
        for payload in [
            &b"\x00\x01\xFF\x00"[..],
            b"\x00\x01\x00\x00",
            b"\x00\x03\xED\xA0\x80\x00",
            b"\x00\x01\x1F\x00",
            b"\x00\x00\x00",
            b"\x00\x02a#\x00",
            b"\x00\x01a\x00\x00\x00\x00",
        ] {
            check(version, payload, Some(0x81));
        }
    }
}

#[test]
fn a_filter_without_options_is_cut_off() {
    spec!("MQTT5-3.8.3-2", "MQTT311-3.8.3-3");
    for version in BOTH {
        check(version, b"\x00\x01a", Some(0x81));
        check(version, b"\x00\x01a\x00\x00", Some(0x81));
        check(version, b"\x00", Some(0x81));
    }
}

#[test]
fn reserved_option_bits_are_zero() {
    spec!("MQTT5-3.8.3-5", "MQTT311-3.8.3-4");
    for byte in 0..=u8::MAX {
        let payload = [0, 1, b'a', byte];
        let v5 = match byte {
            _ if byte & 0xC0 != 0 || byte & 0x03 == 3 => Some(0x81),
            _ if byte & 0x30 == 0x30 => Some(0x82),
            _ => None,
        };
        check(Version::V5_0, &payload, v5);
        check(Version::V3_1_1, &payload, if byte <= 2 { None } else { Some(0x81) });
    }
}

#[test]
fn no_local_is_not_for_shared_subscriptions() {
    spec!("MQTT5-3.8.3-4");
    check(Version::V5_0, b"\x00\x0A$share/p/p\x04", Some(0x82));
    check(Version::V5_0, b"\x00\x0A$share/p/p\x00", None);
    check(Version::V5_0, b"\x00\x01a\x04", None);
}

#[test]
fn share_names_are_checked_in_every_version() {
    spec!("MQTT5-4.8.2-1", "MQTT5-4.8.2-2");
    for version in BOTH {
        check(version, b"\x00\x0A$share/+/p\x00", Some(0x82));
        check(version, b"\x00\x0A$share/#/p\x00", Some(0x81));
        check(version, b"\x00\x09$share/p/\x00", Some(0x82));
    }
}

#[test]
fn the_packet_identifier_is_not_zero() {
    spec!("MQTT5-2.2.1-3", "MQTT311-2.3.1-1", "MQTT31-2.4-1");
    let zero = DecodeError::ZeroPacketId { packet_type: PacketType::Subscribe };
    for version in [Version::V3_1, Version::V3_1_1] {
        assert_eq!(decode(b"\x82\x06\x00\x00\x00\x01a\x00", version), Err(zero));
    }
    assert_eq!(decode(b"\x82\x07\x00\x00\x00\x00\x01a\x00", Version::V5_0), Err(zero));
    assert_eq!(zero.reason_code().value(), 0x81);
}

#[test]
fn options_come_back() {
    let mut list = SubscriptionList::new();
    let filter = TopicFilter::new("a/+").unwrap();
    let shared = TopicFilter::new("$share/g/#").unwrap();
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    list.push(&filter, options);
    list.push(&shared, SubscriptionOptions::default());
    assert_eq!(list.len(), 2);
    let subscribe = Subscribe {
        packet_id: PacketId::new(1).unwrap(),
        subscription_identifier: Some(268_435_455),
        user_properties: UserProperties::new(),
        subscriptions: list,
    };
    let mut out = vec![];
    assert_eq!(subscribe.encode(Version::V3_1_1, &mut out), Err(EncodeError::NotInVersion));
    subscribe.encode(Version::V5_0, &mut out).unwrap();
    let decoded = decode(&out, Version::V5_0).unwrap();
    assert_eq!(decoded, subscribe);
    let expected = [
        Subscription { filter, options },
        Subscription { filter: shared, options: SubscriptionOptions::default() },
    ];
    assert!(decoded.subscriptions.iter().eq(expected));
}

#[test]
fn what_no_server_takes_is_not_written() {
    let mut subscribe = Subscribe {
        packet_id: PacketId::new(1).unwrap(),
        subscription_identifier: None,
        user_properties: UserProperties::new(),
        subscriptions: SubscriptionList::new(),
    };
    let mut out = vec![];
    assert_eq!(subscribe.encode(Version::V5_0, &mut out), Err(EncodeError::InvalidValue));
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    subscribe.subscriptions.push(&TopicFilter::new("$share/g/a").unwrap(), options);
    assert_eq!(subscribe.encode(Version::V5_0, &mut out), Err(EncodeError::InvalidValue));
    subscribe.subscriptions = SubscriptionList::new();
    subscribe.subscriptions.push(&TopicFilter::new("a").unwrap(), options);
    for identifier in [0, 268_435_456] {
        subscribe.subscription_identifier = Some(identifier);
        assert_eq!(subscribe.encode(Version::V5_0, &mut out), Err(EncodeError::InvalidValue));
    }
    assert!(out.is_empty());
}
