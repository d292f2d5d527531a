//! Records of a broker as bytes: they come back as they were, look as the page says, and no bytes
//! are too bad to be told.

use std::sync::Arc;

use noctule_broker_core::{
    Message, QueuedRun, Record, Reference, StoredSubscription, StoredTerms, Timestamp, Will,
    WillOwner,
};
use noctule_packet::{
    ForwardedProperties, PacketId, Publish, PublishProperties, QoS, RetainHandling,
    SubscriptionOptions, TopicName, UserProperties, Version,
};
use noctule_store::broker::{Damaged, decode, encode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert!(encode(record, &mut bytes), "{record:?}");
    bytes
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn topic() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('/'), Just('a'), Just('\u{e4}'), Just('$')], 1..20)
        .prop_map(|letters| letters.into_iter().collect())
}

fn filter() -> impl Strategy<Value = String> {
    prop_oneof![topic(), Just("#".to_owned()), Just("$share/group/a/+/#".to_owned())]
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1_u16..).prop_map(|value| PacketId::new(value).expect("not 0"))
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..u64::MAX).prop_map(Timestamp::from_millis)
}

fn properties() -> impl Strategy<Value = ForwardedProperties> {
    let parts = (
        option::of(any::<bool>()),
        option::of(topic()),
        option::of(topic()),
        option::of(vec(any::<u8>(), 0..10)),
        vec((topic(), topic()), 0..3),
    );
    parts.prop_map(|(payload_format_indicator, content_type, response, correlation, users)| {
        let mut user_properties = UserProperties::new();
        for (name, value) in &users {
            user_properties.push(name, value).expect("they are short");
        }
        ForwardedProperties::from_publish(&PublishProperties {
            payload_format_indicator,
            content_type: content_type.as_deref(),
            response_topic: response.as_deref().map(|text| TopicName::new(text).expect("a topic")),
            correlation_data: correlation.as_deref(),
            user_properties,
            ..PublishProperties::default()
        })
    })
}

fn message() -> impl Strategy<Value = Arc<Message>> {
    let parts =
        (topic(), vec(any::<u8>(), 0..60), qos(), any::<bool>(), properties(), option::of(time()));
    parts.prop_map(|(topic, payload, qos, retain, properties, expires_at)| {
        let (topic, payload) = (topic.into(), payload.as_slice().into());
        Arc::new(Message { topic, payload, qos, retain, properties, expires_at })
    })
}

fn will() -> impl Strategy<Value = Box<Will>> {
    (message(), option::of(any::<u32>()), any::<u32>()).prop_map(|(message, expiry, delay)| {
        let Message { topic, payload, qos, retain, properties, .. } = (*message).clone();
        Box::new(Will {
            topic,
            payload,
            qos,
            retain,
            properties,
            message_expiry_interval: expiry,
            delay_interval: delay,
        })
    })
}

/// What is counted up: less than half of what its bytes have room for.
fn number() -> impl Strategy<Value = u64> {
    0..1_u64 << 63
}

fn reference() -> impl Strategy<Value = Reference> {
    let (place, identifiers) = ((number(), number()), vec(1_u32..=268_435_455, 0..3));
    (place, qos(), any::<bool>(), identifiers, option::of(filter())).prop_map(
        |((session, sequence), qos, retain, identifiers, group)| Reference {
            session,
            sequence,
            qos,
            retain,
            identifiers,
            group: group.map(Into::into),
        },
    )
}

fn subscription() -> impl Strategy<Value = StoredSubscription> {
    let handling = prop_oneof![
        Just(RetainHandling::SendAtSubscribe),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    let options = (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    );
    (filter(), options, option::of(1_u32..=268_435_455), any::<bool>()).prop_map(
        |(filter, options, identifier, is_owed)| StoredSubscription {
            filter: filter.into(),
            options,
            identifier,
            is_owed,
        },
    )
}

fn terms() -> impl Strategy<Value = StoredTerms> {
    let version = prop_oneof![Just(Version::V3_1), Just(Version::V3_1_1), Just(Version::V5_0)];
    let names = (number(), topic(), option::of(topic()));
    let limits = (any::<u32>(), any::<u16>(), option::of(number()));
    (names, version, limits, option::of(will())).prop_map(
        |((session, client_id, user_name), version, limits, will)| {
            let (expiry_interval, receive_maximum, may_send) = limits;
            StoredTerms {
                session,
                client_id: client_id.into(),
                user_name: user_name.map(Into::into),
                version,
                expiry_interval,
                receive_maximum,
                may_send,
                will,
            }
        },
    )
}

/// Packets as clients of this version send them.
fn packets(version: Version, topic: &str, payloads: &[Vec<u8>]) -> Box<[u8]> {
    let mut packets = Vec::new();
    for (payload, packet_id) in payloads.iter().zip(7..) {
        let (topic, packet_id) = (TopicName::new(topic).ok(), PacketId::new(packet_id));
        let qos = QoS::AtLeastOnce;
        let publish = Publish { qos, topic, packet_id, payload, ..Publish::default() };
        publish.encode(version, &mut packets).expect("it is small");
    }
    packets.into()
}

fn queued_run() -> impl Strategy<Value = QueuedRun> {
    let version = prop_oneof![Just(Version::V3_1), Just(Version::V3_1_1), Just(Version::V5_0)];
    let payloads = vec(vec(any::<u8>(), 0..200), 1..5);
    (number(), 1_u64..1 << 60, version, topic(), payloads).prop_map(
        |(session, first, version, topic, payloads)| {
            let (count, packets) = (payloads.len() as u32, packets(version, &topic, &payloads));
            QueuedRun { session, first, count, version, packets }
        },
    )
}

/// Any record of any kind.
fn record() -> impl Strategy<Value = Record> {
    let name = number;
    let of_packet = || (name(), packet_id());
    prop_oneof![
        terms().prop_map(|terms| Record::SessionStarted(Box::new(terms))),
        (name(), any::<u32>(), option::of(time()), option::of(time()), name()).prop_map(
            |(session, expiry_interval, expires_at, will_at, sent)| Record::SessionLeft {
                session,
                expiry_interval,
                expires_at,
                will_at,
                sent,
            }
        ),
        name().prop_map(|session| Record::SessionEnded { session }),
        (name(), subscription())
            .prop_map(|(session, subscription)| Record::Subscribed { session, subscription }),
        (name(), filter())
            .prop_map(|(session, filter)| Record::Unsubscribed { session, filter: filter.into() }),
        (of_packet(), name(), message()).prop_map(
            |((session, packet_id), publication, message)| Record::Received {
                session,
                packet_id,
                publication,
                message,
            }
        ),
        name().prop_map(|publication| Record::Routed { publication }),
        (name(), name()).prop_map(|(session, up_to)| Record::MaySend { session, up_to }),
        (of_packet(), topic(), option::of(topic()), message()).prop_map(
            |((session, publication), client_id, user_name, message)| {
                let owner =
                    WillOwner { client_id: client_id.into(), user_name: user_name.map(Into::into) };
                let publication = publication.value().into();
                Record::WillDue { session, publication, owner, message }
            }
        ),
        of_packet().prop_map(|(session, packet_id)| Record::Released { session, packet_id }),
        (prop_oneof![Just(0), name()], message(), vec(reference(), 0..4)).prop_map(
            |(publication, message, references)| Record::Queued {
                publication,
                message,
                references: references.into_iter().collect(),
            }
        ),
        queued_run().prop_map(Record::QueuedRun),
        (name(), name()).prop_map(|(session, sequence)| Record::Skipped { session, sequence }),
        (of_packet(), name()).prop_map(|((session, next), up_to)| Record::Acknowledged {
            session,
            up_to,
            next,
        }),
        of_packet().prop_map(|(session, packet_id)| Record::Pubrec { session, packet_id }),
        of_packet().prop_map(|(session, packet_id)| Record::Pubcomp { session, packet_id }),
        (name(), message())
            .prop_map(|(publication, message)| Record::Retained { publication, message }),
        (name(), topic()).prop_map(|(publication, topic)| Record::RetainedRemoved {
            publication,
            topic: topic.into()
        }),
        (name(), filter(), option::of(name())).prop_map(|(queue, filter, last)| {
            Record::SharedQueue { queue, filter: filter.into(), last }
        }),
        (name(), name(), message(), reference()).prop_map(
            |(from, sequence, message, reference)| Record::Moved {
                from,
                sequence,
                message,
                reference,
            }
        ),
    ]
}

proptest! {
    #[test]
    fn every_record_comes_back(record in record()) {
        prop_assert_eq!(decode(&encoded(&record)), Ok(record));
    }

    /// Whatever is made of damage is a record that can be written and read again.
    #[test]
    fn no_bytes_are_too_bad_to_be_told(record in record(), flip in 1_u8..) {
        let bytes = encoded(&record);
        for length in 0..bytes.len() {
            if let Ok(other) = decode(&bytes[..length]) {
                prop_assert_eq!(decode(&encoded(&other)), Ok(other));
            }
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            if let Ok(other) = decode(&bytes) {
                prop_assert_eq!(decode(&encoded(&other)), Ok(other));
            }
        }
    }

    #[test]
    fn what_is_no_record_at_all_is_told(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(other) = decode(&bytes) {
            prop_assert_eq!(decode(&encoded(&other)), Ok(other));
        }
    }

    /// What a later version has to say besides is passed over.
    #[test]
    fn fields_of_later_versions_are_passed_over(
        record in record(), tag in 18_u8.., length in 0_u8..9
    ) {
        let mut bytes = encoded(&record);
        bytes.extend_from_slice(&[tag, length, 0, 0, 0]);
        bytes.extend(std::iter::repeat_n(0xEE, usize::from(length)));
        prop_assert_eq!(decode(&bytes), Ok(record));
    }
}

fn full_message() -> Arc<Message> {
    let properties =
        PublishProperties { payload_format_indicator: Some(true), ..PublishProperties::default() };
    Arc::new(Message {
        topic: "a/b".into(),
        payload: b"21"[..].into(),
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: ForwardedProperties::from_publish(&properties),
        expires_at: Some(Timestamp::from_millis(0x0102)),
    })
}

fn plain_message() -> Arc<Message> {
    Arc::new(Message {
        topic: "t".into(),
        payload: b"x"[..].into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: ForwardedProperties::empty(),
        expires_at: None,
    })
}

/// The bytes of [`full_message`], as the page draws them.
const FULL: &str = "06 03000000 612f62 02000000 3231 01 08000000 0201000000000000 02 02000000 0101";

fn full_will() -> Box<Will> {
    let Message { topic, payload, qos, retain, properties, .. } = (*full_message()).clone();
    let (message_expiry_interval, delay_interval) = (Some(7), 6);
    let will =
        Will { topic, payload, qos, retain, properties, message_expiry_interval, delay_interval };
    Box::new(will)
}

const WILL: &str =
    "06 06000000 03000000 612f62 02000000 3231 02 02000000 0101 03 04000000 07000000";

/// One record of each kind, with its bytes in format 1. They never change.
fn golden() -> Vec<(Record, String)> {
    let (session, packet_id) = (0x0807_0605_0403_0201, PacketId::new(0x0A09).expect("not 0"));
    let name = "01 02 03 04 05 06 07 08";
    let publication = 0x0B;
    let terms = StoredTerms {
        session,
        client_id: "me".into(),
        user_name: Some("u".into()),
        version: Version::V5_0,
        expiry_interval: 60,
        receive_maximum: 20,
        may_send: Some(5),
        will: Some(full_will()),
    };
    let will_bytes = hex(WILL).len();
    let at = |millis| Some(Timestamp::from_millis(millis));
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let filter: Box<str> = "a/#".into();
    let subscription = StoredSubscription {
        filter: filter.clone(),
        options,
        identifier: Some(0x0102),
        is_owed: true,
    };
    let plain = Reference {
        session,
        sequence: 5,
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: vec![],
        group: None,
    };
    let identified =
        Reference { qos: QoS::ExactlyOnce, retain: true, identifiers: vec![3, 4], ..plain.clone() };
    let five = "05 00 00 00 00 00 00 00";
    vec![
        (
            Record::SessionStarted(Box::new(terms)),
            format!(
                "01 {name} 05 3c000000 1400 02000000 6d65 01 01000000 75 \
                 02 {will_bytes:02x}000000 {WILL} 03 08000000 {five}"
            ),
        ),
        (
            Record::SessionLeft {
                session,
                expiry_interval: 9,
                expires_at: at(5),
                will_at: at(5),
                sent: 5,
            },
            format!("02 {name} 09000000 {five} 01 08000000 {five} 02 08000000 {five}"),
        ),
        (Record::SessionEnded { session }, format!("03 {name}")),
        (
            Record::Subscribed { session, subscription },
            format!("04 {name} 2e 03000000 612f23 01 04000000 02010000 02 00000000"),
        ),
        (Record::Unsubscribed { session, filter }, format!("05 {name} 03000000 612f23")),
        (
            Record::Received { session, packet_id, publication, message: full_message() },
            format!("06 {name} 090a 0b00000000000000 {FULL}"),
        ),
        (Record::Routed { publication: session }, format!("07 {name}")),
        (Record::Released { session, packet_id }, format!("08 {name} 090a")),
        (
            Record::Queued {
                publication: 0,
                message: plain_message(),
                references: plain.clone().into(),
            },
            format!("09 01000000 {name} {five} 01 01 01000000 74 01000000 78"),
        ),
        (
            Record::Queued {
                publication,
                message: full_message(),
                references: [identified, plain].into_iter().collect(),
            },
            format!(
                "09 02000000 {name} {five} 0e 02000000 03000000 04000000 {name} {five} 01 {FULL} \
                 10 08000000 0b00000000000000"
            ),
        ),
        (Record::Skipped { session, sequence: 5 }, format!("0a {name} {five}")),
        (
            Record::Acknowledged { session, up_to: 5, next: packet_id },
            format!("0b {name} {five} 090a"),
        ),
        (Record::Pubrec { session, packet_id }, format!("0c {name} 090a")),
        (Record::Pubcomp { session, packet_id }, format!("0d {name} 090a")),
    ]
}

/// Those of retained messages.
fn golden_retained() -> Vec<(Record, String)> {
    let five = "05 00 00 00 00 00 00 00";
    vec![
        (Record::Retained { publication: 0, message: full_message() }, format!("0e {FULL}")),
        (
            Record::Retained { publication: 5, message: full_message() },
            format!("0e {FULL} 10 08000000 {five}"),
        ),
        (
            Record::RetainedRemoved { publication: 0, topic: "a/b".into() },
            "0f 03000000 612f62".to_owned(),
        ),
        (
            Record::RetainedRemoved { publication: 5, topic: "a/b".into() },
            format!("0f 03000000 612f62 10 08000000 {five}"),
        ),
    ]
}

/// Those of shared subscriptions.
fn golden_shared() -> Vec<(Record, String)> {
    let session = 0x0807_0605_0403_0201;
    let (name, five) = ("01 02 03 04 05 06 07 08", "05 00 00 00 00 00 00 00");
    let (qos, retain, identifiers) = (QoS::AtLeastOnce, false, Vec::new());
    let reference = Reference { session, sequence: 5, qos, retain, identifiers, group: None };
    let message = plain_message();
    let owner = WillOwner { client_id: "me".into(), user_name: Some("u".into()) };
    vec![
        (
            Record::SharedQueue { queue: session, filter: "a/#".into(), last: Some(5) },
            format!("10 {name} 03000000 612f23 01 08000000 {five}"),
        ),
        (
            Record::Moved { from: session, sequence: 5, message, reference },
            format!("11 {name} {five} 01000000 {name} {five} 01 01 01000000 74 01000000 78"),
        ),
        (Record::MaySend { session, up_to: 5 }, format!("12 {name} {five}")),
        (
            Record::WillDue { session, publication: 5, owner, message: plain_message() },
            format!("13 {name} {five} 02000000 6d65 01 01000000 74 01000000 78 10 01000000 75"),
        ),
    ]
}

/// That of messages for one session.
fn golden_run() -> (Record, String) {
    let packets = packets(Version::V5_0, "t", &[b"x".to_vec(), b"yz".to_vec()]);
    let (session, first, count) = (0x0807_0605_0403_0201, 5, 2);
    let run = QueuedRun { session, first, count, version: Version::V5_0, packets };
    let (head, length) =
        ("01 02 03 04 05 06 07 08 05 00 00 00 00 00 00 00 02000000 05", "13000000");
    let (one, two) = ("32 07 0001 74 0007 00 78", "32 08 0001 74 0008 00 797a");
    (Record::QueuedRun(run), format!("14 {head} {length} {one} {two}"))
}

fn all_golden() -> impl Iterator<Item = (Record, String)> {
    golden().into_iter().chain(golden_retained()).chain(golden_shared()).chain([golden_run()])
}

/// Those that say which shared subscription a session has a message of.
fn golden_of_groups() -> Vec<(Record, String)> {
    let session = 0x0807_0605_0403_0201;
    let (name, five) = ("01 02 03 04 05 06 07 08", "05 00 00 00 00 00 00 00");
    let six = "06 00 00 00 00 00 00 00";
    let (qos, retain, identifiers) = (QoS::AtLeastOnce, false, Vec::new());
    let plain = Reference { session, sequence: 5, qos, retain, identifiers, group: None };
    let reference = Reference { sequence: 6, group: Some("$share/g/t".into()), ..plain.clone() };
    let group = format!("{name} {six} 0a000000 2473686172652f672f74");
    vec![
        (
            Record::Queued {
                publication: 0x0B,
                message: plain_message(),
                references: [plain, reference.clone()].into_iter().collect(),
            },
            format!(
                "09 02000000 {name} {five} 01 {name} {six} 01 01 01000000 74 \
                 01000000 78 10 08000000 0b00000000000000 11 1e000000 {group}"
            ),
        ),
        (
            Record::Moved { from: session, sequence: 5, message: plain_message(), reference },
            format!(
                "11 {name} {five} 01000000 {name} {six} 01 01 01000000 74 \
                 01000000 78 11 1e000000 {group}"
            ),
        ),
    ]
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b' ').collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).expect("they are digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("they are digits")).collect()
}

#[test]
fn format_1_looks_as_the_page_says() {
    for (record, bytes) in all_golden().chain(golden_of_groups()) {
        assert_eq!(encoded(&record), hex(&bytes), "{record:?}");
        assert_eq!(decode(&hex(&bytes)), Ok(record));
    }
}

/// The page says which kinds there are, and those that it says are all.
#[test]
fn the_page_names_every_kind() {
    let page = include_str!("../../../../docs/storage-format.md");
    let (_, section) = page.split_once("## Records of a broker").expect("it has the section");
    let (section, _) = section.split_once("\n## ").expect("it is not the last one");
    let kinds = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
    let documented: Vec<u8> = kinds.filter_map(|kind| kind.parse().ok()).collect();
    let mut written: Vec<u8> = all_golden().map(|(record, _)| encoded(&record)[0]).collect();
    written.dedup();
    assert_eq!(documented, written);
}

#[test]
fn the_most_frequent_record_is_small() {
    let record = golden().swap_remove(8).0;
    let Record::Queued { message, references, .. } = &record else { panic!("another record") };
    let content = message.topic.len() + message.payload.len();
    assert_eq!((references.len(), encoded(&record).len() - content), (1, 31));
}

#[test]
fn a_run_that_is_none_is_told() {
    let Record::QueuedRun(whole) = golden_run().0 else { panic!("another record") };
    let of = |payloads: &[&str]| {
        let payloads: Vec<_> = payloads.iter().map(|it| it.as_bytes().to_vec()).collect();
        packets(Version::V5_0, "t", &payloads)
    };
    let two_topics = [of(&["x"]), packets(Version::V5_0, "u", &[vec![b'y']])].concat();
    let older = packets(Version::V3_1_1, "t", &[b"x".to_vec(), b"yz".to_vec()]);
    let mut at_most_once = of(&["x", "yz"]).to_vec();
    at_most_once[0] = 0x30;
    for (what, run) in [
        ("more", QueuedRun { count: 1, ..whole.clone() }),
        ("fewer", QueuedRun { count: 3, ..whole.clone() }),
        ("none", QueuedRun { count: 0, packets: Box::default(), ..whole.clone() }),
        ("cut short", QueuedRun { packets: whole.packets[..18].into(), ..whole.clone() }),
        ("of another version", QueuedRun { packets: older, ..whole.clone() }),
        ("of two topics", QueuedRun { packets: two_topics.into(), ..whole.clone() }),
        ("with QoS 0", QueuedRun { packets: at_most_once.into(), ..whole.clone() }),
    ] {
        let found = decode(&encoded(&Record::QueuedRun(run)));
        assert_eq!(found, Err(Damaged::Invalid("messages")), "{what}");
    }
}

#[test]
fn lengths_and_counts_that_lie_are_told() {
    let session = [1, 0, 0, 0, 0, 0, 0, 0];
    for (bytes, expected) in [
        (vec![], Damaged::Short("kind")),
        (vec![99, 1], Damaged::UnknownKind(99)),
        ([&[9][..], &[0xFF; 4]].concat(), Damaged::Short("references")),
        (
            [&[9][..], &[0xFF; 4], &session, &session, &[0b1001], &[0xFF; 4]].concat(),
            Damaged::Short("Subscription Identifier"),
        ),
        ([&[14, 1][..], &[0xFF; 4], b"t"].concat(), Damaged::Short("topic")),
        ([&[14, 1, 1, 0, 0, 0, b't'][..], &[0xFF; 4]].concat(), Damaged::Short("payload")),
        ([&[3][..], &session, &[1], &[0xFF; 4]].concat(), Damaged::Short("fields")),
        ([&[8][..], &session, &[0, 0]].concat(), Damaged::Invalid("packet identifier")),
        (vec![14, 3, 1, 0, 0, 0, b't', 0, 0, 0, 0], Damaged::Invalid("flags")),
        (vec![14, 9, 1, 0, 0, 0, b't', 0, 0, 0, 0], Damaged::Invalid("flags")),
        (vec![14, 1, 1, 0, 0, 0, b'#', 0, 0, 0, 0], Damaged::Invalid("topic")),
        (vec![15, 1, 0, 0, 0, 0xFF], Damaged::Invalid("topic")),
        ([&[5][..], &session, &[2, 0, 0, 0, b'#', b'a']].concat(), Damaged::Invalid("filter")),
        // What follows could not be counted.
        ([&[3][..], &[0xFF; 8]].concat(), Damaged::Invalid("session")),
        ([&[7][..], &[0xFF; 8]].concat(), Damaged::Invalid("publication")),
        ([&[18][..], &session, &[0xFF; 8]].concat(), Damaged::Invalid("sequence")),
        (
            [&[20][..], &session, &[0, 0, 0, 0, 0, 0, 0, 0x80]].concat(),
            Damaged::Invalid("sequence"),
        ),
        // A topic alias is none of the properties that are passed on.
        (
            vec![14, 1, 1, 0, 0, 0, b't', 0, 0, 0, 0, 2, 3, 0, 0, 0, 0x23, 0, 1],
            Damaged::Invalid("properties"),
        ),
    ] {
        assert_eq!(decode(&bytes), Err(expected), "{bytes:?}");
    }
    assert!(Damaged::UnknownKind(99).to_string().contains("99"));
}
