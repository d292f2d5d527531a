//! Tests of CONNECT: versions, flags, fields, properties and the will.

use alloc::string::String;
use alloc::vec;

use super::*;
use crate::{Framing, TopicError, TopicName, spec, split};

fn decode(bytes: &[u8]) -> Result<Connect<'_>, ConnectError> {
    let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
    Connect::decode(&frame, TextRules::Strict)
}

/// A CONNECT of this version with these flags; `payload` stands behind the variable header.
fn bytes(version: Version, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    put_packet(&mut out, 0x10, |out| {
        put_text(out, version.name())?;
        out.extend_from_slice(&[version.level(), flags, 0, 10]);
        if version.is_v5() {
            out.push(0);
        }
        out.extend_from_slice(payload);
        Ok(())
    })
    .unwrap();
    out
}

const ID: &[u8] = b"\x00\x01c";

fn check(version: Version, flags: u8, payload: &[u8], expected: Option<DecodeError>) {
    let error = decode(&bytes(version, flags, payload)).err();
    assert_eq!(error.map(|e| e.error), expected, "{version} {flags:#04x} {payload:x?}");
    assert!(error.is_none_or(|e| e.version == Some(version)));
}

const ALL: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];
const NEW: [Version; 2] = [Version::V3_1_1, Version::V5_0];

#[test]
fn name_and_level_make_the_version() {
    spec!("MQTT5-3.1.2-1", "MQTT311-3.1.2-1", "MQTT5-3.1.2-2", "MQTT311-3.1.2-2");
    spec!("MQTT31-3.1-1", "MQTT31-3.1-2");
    for version in ALL {
        assert_eq!(decode(&bytes(version, 2, ID)).map(|c| c.version), Ok(version));
    }
    let unsupported = |level| DecodeError::UnsupportedProtocolVersion { level };
    for (name, level, error) in [
        ("MQTT", 3, unsupported(3)),
        ("MQTT", 6, unsupported(6)),
        ("MQTT", 0x84, unsupported(0x84)),
        ("MQIsdp", 4, unsupported(4)),
        ("MQIsdp", 2, unsupported(2)),
        ("mqtt", 4, DecodeError::InvalidProtocolName),
        ("", 4, DecodeError::InvalidProtocolName),
        ("MQTTX", 5, DecodeError::InvalidProtocolName),
    ] {
        let mut out = vec![];
        put_packet(&mut out, 0x10, |out| {
            put_text(out, name)?;
            out.extend_from_slice(&[level, 2, 0, 10]);
            put_text(out, "c")
        })
        .unwrap();
        assert_eq!(decode(&out), Err(ConnectError { version: None, error }), "{name} {level}");
        assert_eq!(error.reason_code().value(), 0x84);
    }
}

#[test]
fn the_reserved_flag_is_checked() {
    spec!("MQTT5-3.1.2-3", "MQTT311-3.1.2-3", "MQTT31-2.6-1");
    for version in NEW {
        check(version, 0x03, ID, Some(DecodeError::ReservedConnectFlag));
    }
    check(Version::V3_1, 0x03, ID, None);
}

#[test]
fn will_bits_need_the_will_flag() {
    spec!("MQTT5-3.1.2-11", "MQTT5-3.1.2-13", "MQTT311-3.1.2-11");
    spec!("MQTT311-3.1.2-13", "MQTT311-3.1.2-15");
    for flags in [0x08, 0x10, 0x18, 0x20] {
        for version in NEW {
            check(version, flags, ID, Some(DecodeError::WillFlagsWithoutWill));
        }
        check(Version::V3_1, flags, ID, None);
    }
}

#[test]
fn will_qos_3_does_not_exist() {
    spec!("MQTT5-3.1.2-12", "MQTT311-3.1.2-14");
    let old = b"\x00\x01c\x00\x01t\x00\x01p";
    let new = b"\x00\x01c\x00\x00\x01t\x00\x01p";
    for version in ALL {
        let payload: &[u8] = if version.is_v5() { new } else { old };
        check(version, 0x1C, payload, Some(DecodeError::InvalidWillQos));
        for (flags, qos, retain) in [(0x04, QoS::AtMostOnce, false), (0x2C, QoS::AtLeastOnce, true)]
        {
            let bytes = bytes(version, flags, payload);
            let will = decode(&bytes).unwrap().will.unwrap();
            assert_eq!((will.qos, will.retain), (qos, retain));
            assert_eq!((will.topic.as_str(), will.payload), ("t", &b"p"[..]));
        }
    }
}

#[test]
fn a_flagged_will_is_there_whole() {
    spec!("MQTT5-3.1.2-9", "MQTT311-3.1.2-9");
    check(Version::V5_0, 0x04, ID, Some(DecodeError::Truncated));
    check(Version::V5_0, 0x04, b"\x00\x01c\x00", Some(DecodeError::Truncated));
    for version in ALL {
        let topic_only: &[u8] =
            if version.is_v5() { b"\x00\x01c\x00\x00\x01t" } else { b"\x00\x01c\x00\x01t" };
        check(version, 0x04, topic_only, Some(DecodeError::Truncated));
    }
}

#[test]
fn the_will_topic_is_a_topic_name() {
    spec!("MQTT5-3.1.3-11", "MQTT311-3.1.3-10");
    for (topic, error) in [
        (&b"\x00\x01\xFF"[..], DecodeError::IllFormedUtf8),
        (b"\x00\x01\x00", DecodeError::NullCharacter),
        (b"\x00\x01\x01", DecodeError::DisallowedCharacter),
        (b"\x00\x00", DecodeError::InvalidWillTopic(TopicError::Empty)),
        (b"\x00\x01#", DecodeError::InvalidWillTopic(TopicError::WildcardInName)),
    ] {
        let payload = [ID, topic, b"\x00\x00"].concat();
        check(Version::V3_1_1, 0x04, &payload, Some(error));
        let payload = [ID, b"\x00", topic, b"\x00\x00"].concat();
        check(Version::V5_0, 0x04, &payload, Some(error));
    }
}

#[test]
fn user_name_and_password_follow_their_flags() {
    spec!("MQTT5-3.1.2-16", "MQTT5-3.1.2-17", "MQTT5-3.1.2-18", "MQTT5-3.1.2-19");
    spec!("MQTT311-3.1.2-18", "MQTT311-3.1.2-19", "MQTT311-3.1.2-20", "MQTT311-3.1.2-21");
    let one = b"\x00\x01c\x00\x01u";
    let two = b"\x00\x01c\x00\x01u\x00\x01\x00";
    for version in NEW {
        check(version, 0x00, one, Some(DecodeError::TrailingBytes));
        check(version, 0x80, two, Some(DecodeError::TrailingBytes));
        check(version, 0x80, ID, Some(DecodeError::MissingUserName));
        check(version, 0xC0, one, Some(DecodeError::MissingPassword));
        let bytes = bytes(version, 0xC0, two);
        let connect = decode(&bytes).unwrap();
        assert_eq!((connect.user_name, connect.password), (Some("u"), Some(&b"\0"[..])));
    }
}

#[test]
fn flagged_fields_of_3_1_may_be_missing() {
    spec!("MQTT31-3.1-6");
    let bytes_none = bytes(Version::V3_1, 0xC0, ID);
    let bytes_one = bytes(Version::V3_1, 0xC0, b"\x00\x01c\x00\x01u");
    for (bytes, user_name) in [(bytes_none, None), (bytes_one, Some("u"))] {
        let connect = decode(&bytes).unwrap();
        assert_eq!((connect.user_name, connect.password), (user_name, None));
    }
    check(Version::V3_1, 0xC0, b"\x00\x01c\x00", Some(DecodeError::MissingUserName));
}

#[test]
fn a_password_alone_is_for_5_0() {
    spec!("MQTT311-3.1.2-22", "MQTT31-3.1-7");
    let payload = b"\x00\x01c\x00\x01p";
    check(Version::V3_1, 0x40, payload, Some(DecodeError::PasswordWithoutUserName));
    check(Version::V3_1_1, 0x40, payload, Some(DecodeError::PasswordWithoutUserName));
    check(Version::V5_0, 0x40, payload, None);
}

#[test]
fn the_client_identifier_is_there_and_text() {
    spec!("MQTT5-3.1.3-3", "MQTT311-3.1.3-3", "MQTT5-3.1.3-4", "MQTT311-3.1.3-4");
    for version in ALL {
        check(version, 0x02, b"", Some(DecodeError::Truncated));
        check(version, 0x02, b"\x00\x00", None);
        for id in [&b"\x00\x01\x00"[..], b"\x00\x01\xFF", b"\x00\x03\xED\xA0\x80", b"\x00\x01\x1F"]
        {
            check(version, 0x02, id, Some(DecodeError::InvalidClientIdentifier));
        }
    }
    assert_eq!(DecodeError::InvalidClientIdentifier.reason_code().value(), 0x85);
}

#[test]
fn the_user_name_is_text() {
    spec!("MQTT5-3.1.3-12", "MQTT311-3.1.3-11");
    for version in ALL {
        for name in [&b"\x00\x01\x00"[..], b"\x00\x01\xFF", b"\x00\x01\x7F"] {
            let payload = [ID, name].concat();
            check(version, 0x80, &payload, Some(DecodeError::InvalidUserName));
        }
    }
}

#[test]
fn fields_come_in_order() {
    spec!("MQTT5-3.1.3-1", "MQTT311-3.1.3-1");
    for version in ALL {
        let connect = Connect {
            version,
            clean_start: true,
            keep_alive: 0x0102,
            properties: ConnectProperties::default(),
            client_id: "id",
            will: Some(Will {
                qos: QoS::ExactlyOnce,
                retain: true,
                properties: crate::WillProperties::default(),
                topic: TopicName::new("t").unwrap(),
                payload: b"w",
            }),
            user_name: Some("u"),
            password: Some(b"p"),
        };
        let (properties, will): (&[u8], &[u8]) =
            if version.is_v5() { (b"\0", b"\0") } else { (b"", b"") };
        let name = version.name().as_bytes();
        let expected = [
            &[0, name.len() as u8],
            name,
            &[version.level(), 0xF6, 1, 2],
            properties,
            b"\x00\x02id",
            will,
            b"\x00\x01t\x00\x01w\x00\x01u\x00\x01p",
        ]
        .concat();
        let mut out = vec![];
        connect.encode(&mut out).unwrap();
        assert_eq!(out.get(2..), Some(&expected[..]), "{version}");
        assert_eq!(decode(&out), Ok(connect));
    }
}

#[test]
fn authentication_data_needs_a_method() {
    let mut out = vec![];
    put_packet(&mut out, 0x10, |out| {
        put_text(out, "MQTT")?;
        out.extend_from_slice(&[5, 2, 0, 10, 4, 0x16, 0, 1, b'd']);
        put_text(out, "c")
    })
    .unwrap();
    let error = DecodeError::AuthenticationDataWithoutMethod;
    assert_eq!(decode(&out), Err(ConnectError { version: Some(Version::V5_0), error }));
    assert_eq!(error.reason_code().value(), 0x82);
}

#[test]
fn secrets_are_not_shown() {
    let connect_bytes = bytes(Version::V3_1_1, 0xC2, b"\x00\x01c\x00\x01u\x00\x06secret");
    let mut connect = decode(&connect_bytes).unwrap();
    connect.properties.authentication_data = Some(b"hidden");
    let shown: String = alloc::format!("{connect:?}");
    assert!(shown.contains("Some(<6 bytes>)") && !shown.contains("115, 101"), "{shown}");
    assert!(!shown.contains("secret") && !shown.contains("hidden"), "{shown}");
}
