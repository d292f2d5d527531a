//! Every record comes back as it was; what is none is told.

use noctule_packet::{PublishProperties, RetainHandling, SubscriptionOptions, UserProperties};

use super::*;

fn operation() -> OperationId {
    OperationId::from_value(1 << 40 | 7).expect("not 0")
}

fn message(qos: QoS) -> StoredMessage {
    let mut user_properties = UserProperties::new();
    user_properties.push("a", "1").expect("it is short");
    let properties = PublishProperties {
        payload_format_indicator: Some(true),
        content_type: Some("text/plain"),
        correlation_data: Some(b"\0\xFF"),
        user_properties,
        ..PublishProperties::default()
    };
    StoredMessage {
        topic: "house/kitchen".into(),
        forwarded: ForwardedProperties::from_publish(&properties),
        payload: (*b"21.5").into(),
        qos,
        retain: qos == QoS::AtLeastOnce,
        message_expiry_interval: Some(Duration::from_secs(60)),
        age_max: None,
    }
}

fn records() -> Vec<Record> {
    let (operation, packet_id) = (operation(), PacketId::new(513).expect("not 0"));
    let mut user_properties = UserProperties::new();
    user_properties.push("b", "2").expect("it is short");
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::SendIfNew,
    };
    let subscription = StoredSubscription {
        filter: "house/+/#".into(),
        options,
        identifier: Some(268_435_455),
        user_properties,
    };
    let mut records = vec![
        Record::Opened { operation },
        Record::SessionStarted { client_id: "kitchen".into(), is_new: true },
        Record::SessionStarted { client_id: "".into(), is_new: false },
        Record::Connecting,
        Record::Transmitted { operation, packet_id },
        Record::Received { operation },
        Record::Interrupted { operation, interruptions: 0x0102 },
        Record::Told { operation },
        Record::Finished { operation },
        Record::Abandoned { packet_id },
        Record::Arrived { packet_id },
        Record::Released { packet_id },
        Record::Subscribed { subscription },
        Record::Unsubscribed { filter: "house/+/#".into() },
        Record::SubscriptionInterrupted { filter: "house/+/#".into(), interruptions: 3 },
    ];
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        records.push(Record::Accepted { operation, message: message(qos) });
    }
    records
}

#[test]
fn every_record_comes_back() {
    let age = Duration::from_secs(5);
    for record in records() {
        let mut bytes = Vec::new();
        assert!(encode(&record, age, &mut bytes), "{record:?}");
        let mut story = Story::default();
        story.read(&bytes).unwrap_or_else(|error| panic!("{record:?}: {error}"));
        assert_eq!(story.into_facts(age).collect::<Vec<_>>(), [record]);
    }
}

/// The page says which kinds there are, and those that it says are all.
#[test]
fn the_page_names_every_kind() {
    let page = include_str!("../../../../docs/storage-format.md");
    let (_, section) = page.split_once("## Records of a client").expect("it has the section");
    let kinds = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    let documented: Vec<u8> = kinds.filter_map(|kind| kind.parse().ok()).collect();
    let mut written: Vec<u8> = records()
        .iter()
        .map(|record| {
            let mut bytes = Vec::new();
            encode(record, Duration::ZERO, &mut bytes);
            bytes[0]
        })
        .chain([HEARD])
        .collect();
    written.sort_unstable();
    written.dedup();
    assert_eq!(documented, written);
}

/// As the page draws them.
#[test]
fn counts_of_interruptions_look_as_the_page_says() {
    let operation = OperationId::from_value(0x0807_0605_0403_0201).expect("not 0");
    for (record, expected) in [
        (
            Record::Interrupted { operation, interruptions: 0x0A09 },
            &[15, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10][..],
        ),
        (
            Record::SubscriptionInterrupted { filter: "a/b".into(), interruptions: 0x0201 },
            &[16, 1, 2, b'a', b'/', b'b'],
        ),
    ] {
        let mut bytes = Vec::new();
        encode(&record, Duration::ZERO, &mut bytes);
        assert_eq!(bytes, expected);
    }
}

#[test]
fn what_is_left_of_a_lifetime_is_less_by_the_time_that_went_by() {
    let record = Record::Accepted { operation: operation(), message: message(QoS::AtLeastOnce) };
    let mut bytes = Vec::new();
    encode(&record, Duration::from_secs(100), &mut bytes);
    for (now, left) in [(90, 60), (100, 60), (130, 30), (1_000, 0)] {
        let (record, age) = decode(&bytes).expect("it is a record");
        let record = at(record, age, Duration::from_secs(now));
        let Record::Accepted { message, .. } = record else { panic!("another record") };
        assert_eq!(message.message_expiry_interval, Some(Duration::from_secs(left)), "at {now}");
        assert_eq!(message.age_max, None);
    }
}

#[test]
fn no_bytes_are_too_bad_to_be_told() {
    for record in records() {
        let mut bytes = Vec::new();
        encode(&record, Duration::ZERO, &mut bytes);
        for length in 0..bytes.len() {
            // Some of what is cut off is still a record, as texts go up to the end.
            let _ = decode(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0xFF;
            let _ = decode(&bytes);
        }
    }
    let mut story = Story::default();
    for seconds in [5, 3] {
        let mut bytes = Vec::new();
        encode_heard(Duration::from_secs(seconds), &mut bytes);
        story.read(&bytes).expect("it is a record");
    }
    assert_eq!(story.heard, Some(Duration::from_secs(5)));
    assert!(decode(&[]).is_err());
    assert!(decode(&[99, 0]).is_err_and(|error| error.contains("99")));
    assert!(decode(&[8, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
}
