//! Records survive their bytes, and bytes that are no record are said to be none.

use alloc::vec;

use noctule_packet::{PublishProperties, TopicName};

use super::*;

fn records() -> Vec<Record> {
    let operation = OperationId::FIRST;
    let packet_id = PacketId::new(0x1234).unwrap();
    let mut user_properties = UserProperties::new();
    for (name, value) in [("a", "b"), ("", ""), ("a", "\u{e4}")] {
        user_properties.push(name, value).unwrap();
    }
    let properties = PublishProperties {
        response_topic: TopicName::new("r").ok(),
        correlation_data: Some(b"\0\xFF"),
        user_properties: user_properties.clone(),
        ..PublishProperties::default()
    };
    let plain = StoredMessage {
        topic: "t".into(),
        forwarded: ForwardedProperties::empty(),
        payload: Box::default(),
        qos: QoS::AtMostOnce,
        retain: false,
        message_expiry_interval: None,
        age_max: None,
    };
    let full = StoredMessage {
        topic: "a/b".into(),
        forwarded: ForwardedProperties::from_publish(&properties),
        payload: vec![7; 70_000].into(),
        qos: QoS::ExactlyOnce,
        retain: true,
        message_expiry_interval: Some(Duration::from_millis(1_500)),
        age_max: Some(Duration::from_secs(9)),
    };
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let filter: Box<str> = "a/+/#".into();
    let subscription = StoredSubscription {
        filter: filter.clone(),
        options,
        identifier: Some(268_435_455),
        user_properties,
    };
    let bare = StoredSubscription {
        filter: filter.clone(),
        options: SubscriptionOptions::default(),
        identifier: None,
        user_properties: UserProperties::new(),
    };
    vec![
        Record::Opened { operation },
        Record::SessionStarted { client_id: "c".into(), is_new: true },
        Record::SessionStarted { client_id: "".into(), is_new: false },
        Record::Connecting,
        Record::Accepted { operation, message: plain },
        Record::Accepted { operation: operation.next(), message: full },
        Record::Transmitted { operation, packet_id },
        Record::Received { operation },
        Record::Interrupted { operation, interruptions: 0x0102 },
        Record::Told { operation },
        Record::Finished { operation },
        Record::Abandoned { packet_id },
        Record::Arrived { packet_id },
        Record::Released { packet_id },
        Record::Subscribed { subscription },
        Record::Subscribed { subscription: bare },
        Record::Unsubscribed { filter: filter.clone() },
        Record::SubscriptionInterrupted { filter, interruptions: 3 },
    ]
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    out
}

#[test]
fn every_record_survives_its_bytes() {
    for record in records() {
        let bytes = encoded(&record);
        assert_eq!(Record::decode(&bytes), Ok(record));
    }
}

/// What is stored once must be read for ever.
#[test]
fn the_bytes_are_these() {
    let finished = Record::Finished { operation: OperationId::from_value(0x0102).unwrap() };
    assert_eq!(encoded(&finished), b"\x08\x01\0\0\0\x08\0\0\0\0\0\0\x01\x02");
    let message = StoredMessage {
        topic: "t".into(),
        forwarded: ForwardedProperties::empty(),
        payload: b"x"[..].into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        message_expiry_interval: Some(Duration::from_secs(1)),
        age_max: None,
    };
    let accepted = Record::Accepted { operation: OperationId::FIRST, message };
    let expected = b"\x04\x01\0\0\0\x08\0\0\0\0\0\0\0\x01\
        \x05\0\0\0\x09\x32\x07\0\x01t\0\x01\0x\
        \x06\0\0\0\x08\0\0\0\0\0\0\x03\xE8";
    assert_eq!(encoded(&accepted), expected);
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    for record in records() {
        let mut bytes = encoded(&record);
        put(&mut bytes, 200, b"something new");
        assert_eq!(Record::decode(&bytes), Ok(record));
    }
    assert_eq!(Record::decode(&[99]), Err(RecordError::UnknownKind { kind: 99 }));
}

#[test]
fn bytes_that_are_no_record_are_an_error_and_nothing_worse() {
    assert_eq!(Record::decode(&[]), Err(RecordError::Empty));
    for record in records() {
        let bytes = encoded(&record);
        for end in 0..bytes.len().min(300) {
            let cut = Record::decode(&bytes[..end]);
            // Whatever is left of a record is none, or one that says less.
            assert_ne!(cut, Ok(record.clone()));
        }
        for at in 0..bytes.len().min(60) {
            for value in [0, 1, 0x7F, 0xFF] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                let _ = Record::decode(&bytes);
            }
        }
    }
}

#[test]
fn time_that_has_passed_is_taken_off() {
    for mut record in records() {
        record.age(Duration::from_millis(1_400));
        let Record::Accepted { message, .. } = record else { continue };
        let left = [message.message_expiry_interval, message.age_max];
        let expected = [Duration::from_millis(100), Duration::from_millis(7_600)];
        assert!(left == [None, None] || left == expected.map(Some), "{left:?}");
    }
}
