//! Messages that arrive: handed out once, acknowledged in order, held within bounds.

use std::time::Duration;

use noctule_client_core::{
    AckRefused, AckToken, Acknowledged, AcknowledgementMode, Event, Settings,
};
use noctule_packet::{Packet, PacketType, Publish, PublishProperties, QoS, ReasonCode, TopicName};
use noctule_packet::{Version, spec};

use proptest::prelude::*;

use crate::world::{VERSIONS, World, brief, id, lasting};

fn manual(version: Version) -> Settings {
    let mut settings = lasting(version);
    settings.acknowledgement = AcknowledgementMode::Manual;
    settings
}

fn tokens(world: &mut World) -> Vec<AckToken> {
    let of = |event| match event {
        Event::Message { token, .. } => token,
        _ => None,
    };
    world.events().into_iter().filter_map(of).collect()
}

#[test]
fn messages_are_handed_out_and_acknowledged_by_their_qos() {
    spec!("MQTT5-4.3.2-4", "MQTT5-4.3.3-8", "MQTT5-4.3.3-11", "MQTT311-4.3.3-2");
    spec!("MQTT5-4.5.0-2", "MQTT311-4.5.0-2");
    for version in VERSIONS {
        let mut world = World::online(brief(version));
        world.message(QoS::AtMostOnce, 0, "t", b"a");
        world.message(QoS::AtLeastOnce, 7, "t", b"b");
        world.message(QoS::ExactlyOnce, 8, "t", b"c");
        assert_eq!(world.payloads(), ["a", "b", "c"]);
        assert_eq!(world.packets(), ["PUBACK 7", "PUBREC 8"]);
        world.message(QoS::ExactlyOnce, 8, "t", b"c");
        assert_eq!((world.payloads(), world.packets()), (vec![], vec!["PUBREC 8".into()]));
        world.ack(PacketType::Pubrel, 8);
        assert_eq!(world.packets(), ["PUBCOMP 8"]);
        world.message(QoS::ExactlyOnce, 8, "t", b"d");
        assert_eq!(world.payloads(), ["d"]);
    }
}

/// P-08: the server may have released what we have forgotten.
#[test]
fn an_unknown_pubrel_is_answered() {
    for version in VERSIONS {
        let mut world = World::online(brief(version));
        world.ack(PacketType::Pubrel, 9);
        let answer = if version.is_v5() { "PUBCOMP 9 0x92" } else { "PUBCOMP 9" };
        assert_eq!(world.packets(), [answer]);
        world.ack(PacketType::Pubrec, 9);
        let answer = if version.is_v5() { "PUBREL 9 0x92" } else { "PUBREL 9" };
        assert_eq!(world.packets(), [answer]);
        world.ack(PacketType::Pubcomp, 9);
        assert_eq!(world.packets(), Vec::<String>::new());
    }
}

/// P-10: whatever order the user acknowledges in, the server gets the order of the messages.
#[test]
fn acknowledgements_leave_in_the_order_of_the_messages() {
    spec!("MQTT5-4.6.0-2", "MQTT5-4.6.0-3", "MQTT311-4.6.0-2", "MQTT311-4.6.0-3");
    for version in VERSIONS {
        let mut world = World::online(manual(version));
        for packet_id in 1..=4 {
            let qos = if packet_id % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            world.message(qos, packet_id, "t", b"");
        }
        let tokens = tokens(&mut world);
        assert_eq!((tokens.len(), world.packets()), (4, vec![]));
        let mut left = Vec::new();
        for at in [3, 1, 0, 2] {
            let done = world.session.acknowledge(world.now, tokens[at], ReasonCode::Success);
            assert_eq!(done, Ok(Acknowledged::Done));
            left.push(world.packets());
        }
        let expected: [&[&str]; 4] =
            [&[], &[], &["PUBACK 1", "PUBREC 2"], &["PUBACK 3", "PUBREC 4"]];
        assert_eq!(left, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// P-10: and so it is for every order, also while more messages come.
    #[test]
    fn acknowledgements_leave_in_the_order_of_the_messages_whatever_the_user_does(
        messages in prop::collection::vec((1..3_u8, any::<prop::sample::Index>(), 0..4_u8), 1..60),
        refuses: bool,
    ) {
        let mut world = World::online(manual(Version::V5_0));
        let mut open: Vec<(AckToken, usize)> = Vec::new();
        let (mut expected, mut left) = (Vec::new(), Vec::new());
        let mut is_done = vec![false; messages.len()];
        let ends = messages.iter().enumerate().map(Some).chain([None]);
        for next in ends {
            // In between, and in the end, some or all of them are acknowledged.
            let mut count = usize::MAX;
            let mut choice = messages[0].1;
            if let Some((at, (level, index, some))) = next {
                (count, choice) = (usize::from(*some), *index);
                let qos = QoS::from_level(*level).unwrap();
                world.message(qos, at as u16 + 1, "t", b"");
                open.extend(tokens(&mut world).into_iter().map(|token| (token, at)));
                let name = if qos == QoS::AtLeastOnce { "PUBACK" } else { "PUBREC" };
                expected.push(format!("{name} {}", at + 1));
            }
            while count > 0 && !open.is_empty() {
                count -= 1;
                let (token, at) = open.remove(choice.index(open.len()));
                let refused = refuses && at % 3 == 0;
                let code =
                    if refused { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
                let done = world.session.acknowledge(world.now, token, code);
                prop_assert_eq!(done, Ok(Acknowledged::Done));
                is_done[at] = true;
                if refused {
                    expected[at] += " 0x97";
                }
            }
            left.extend(world.packets());
            // All that can leave has left: what is behind an open one cannot.
            let first_open = is_done.iter().position(|is_done| !is_done);
            prop_assert_eq!(left.len(), first_open.unwrap_or(is_done.len()));
        }
        prop_assert_eq!(left, expected);
    }
}

/// P-11: a token is good for its connection only.
#[test]
fn a_stale_token_does_nothing_and_the_message_comes_with_a_new_one() {
    let mut world = World::online(manual(Version::V5_0));
    world.message(QoS::AtLeastOnce, 1, "t", b"a");
    let [old] = tokens(&mut world)[..] else { panic!() };
    world.cut();
    world.connect(true);
    world.events();
    world.packets();
    world.message(QoS::AtLeastOnce, 1, "t", b"a");
    let [new] = tokens(&mut world)[..] else { panic!() };
    let success = ReasonCode::Success;
    assert_eq!(world.session.acknowledge(world.now, old, success), Ok(Acknowledged::Stale));
    assert_eq!(world.packets(), Vec::<String>::new());
    assert_eq!(world.session.acknowledge(world.now, new, success), Ok(Acknowledged::Done));
    assert_eq!(world.session.acknowledge(world.now, new, success), Ok(Acknowledged::Stale));
    assert_eq!(world.packets(), ["PUBACK 1"]);
    assert_eq!(world.session.held_bytes(), 0);
}

#[test]
fn the_token_of_a_qos_2_message_outlives_the_connection_as_the_message_comes_once() {
    spec!("MQTT5-4.3.3-10");
    let mut world = World::online(manual(Version::V5_0));
    world.message(QoS::ExactlyOnce, 1, "t", b"a");
    let [token] = tokens(&mut world)[..] else { panic!() };
    world.cut();
    world.connect(true);
    world.packets();
    world.message(QoS::ExactlyOnce, 1, "t", b"a");
    assert_eq!((tokens(&mut world), world.packets()), (vec![], vec![]));
    let done = world.session.acknowledge(world.now, token, ReasonCode::Success);
    assert_eq!((done, world.packets()), (Ok(Acknowledged::Done), vec!["PUBREC 1".into()]));
}

#[test]
fn a_message_that_several_hold_is_acknowledged_by_the_last_with_the_worst_reason() {
    let mut world = World::online(manual(Version::V5_0));
    world.message(QoS::AtLeastOnce, 1, "t", b"a");
    let [token] = tokens(&mut world)[..] else { panic!() };
    assert!(world.session.share(token, 2));
    let refused = ReasonCode::NotAuthorized;
    let first = world.session.acknowledge(world.now, token, refused);
    assert_eq!(first, Ok(Acknowledged::Waiting { holders: 1 }));
    let wrong = world.session.acknowledge(world.now, token, ReasonCode::ServerBusy);
    assert_eq!(wrong, Err(AckRefused::InvalidReason { reason: ReasonCode::ServerBusy }));
    let last = world.session.acknowledge(world.now, token, ReasonCode::Success);
    assert_eq!((last, world.packets()), (Ok(Acknowledged::Done), vec!["PUBACK 1 0x87".into()]));
}

#[test]
fn before_5_0_nothing_can_be_refused() {
    let mut world = World::online(manual(Version::V3_1_1));
    world.message(QoS::AtLeastOnce, 1, "t", b"a");
    let [token] = tokens(&mut world)[..] else { panic!() };
    let refused = world.session.acknowledge(world.now, token, ReasonCode::NotAuthorized);
    assert_eq!(refused, Err(AckRefused::NotInVersion { version: Version::V3_1_1 }));
    let done = world.session.acknowledge(world.now, token, ReasonCode::Success);
    assert_eq!(done, Ok(Acknowledged::Done));
}

/// P-14, P-29: held messages stop the reading, never the keep alive.
#[test]
fn what_the_user_holds_stops_the_reading_and_nothing_else() {
    for version in VERSIONS {
        let mut settings = manual(version);
        settings.limits.held_bytes_max = 1_000;
        settings.ping_timeout = Some(Duration::from_secs(5));
        settings.connect.keep_alive = 10;
        let mut world = World::online(settings);
        let publish = Packet::Publish(Publish {
            topic: TopicName::new("t").ok(),
            qos: QoS::AtLeastOnce,
            packet_id: Some(id(1)),
            payload: &[0; 400],
            ..Publish::default()
        });
        let bytes = world.encoded(&publish).repeat(4);
        let consumed = world.session.receive(world.now, &bytes);
        assert_eq!(consumed, bytes.len() / 2);
        assert!(!world.session.wants_input() && world.session.held_bytes() >= 1_000);
        world.packets();
        world.advance(Duration::from_secs(60));
        let pings = world.packets();
        assert!(pings.len() >= 5 && pings.iter().all(|packet| packet == "PINGREQ"), "{pings:?}");
        let tokens = tokens(&mut world);
        for token in tokens {
            let done = world.session.acknowledge(world.now, token, ReasonCode::Success);
            assert_eq!(done, Ok(Acknowledged::Done));
        }
        assert!(world.session.wants_input());
        assert_eq!(world.session.receive(world.now, &bytes[consumed..]), bytes.len() / 2);
        assert_eq!(world.packets(), ["PUBACK 1", "PUBACK 1"]);
    }
}

/// The bound is one of memory, so everything counts that takes some.
#[test]
fn whatever_a_message_carries_counts_as_held() {
    let long = "t".repeat(60_000);
    let mut with_properties = PublishProperties::default();
    with_properties.user_properties.push("key", &long).unwrap();
    let with_identifiers = PublishProperties {
        subscription_identifiers: vec![1; 15_000],
        ..PublishProperties::default()
    };
    for (topic, properties) in
        [(&long[..], PublishProperties::default()), ("t", with_properties), ("t", with_identifiers)]
    {
        for acknowledgement in [AcknowledgementMode::Manual, AcknowledgementMode::Automatic] {
            let mut settings = brief(Version::V5_0);
            settings.acknowledgement = acknowledgement;
            settings.limits.held_bytes_max = 1_000_000;
            let mut world = World::online(settings);
            let topic = TopicName::new(topic).ok();
            let properties = properties.clone();
            let packet = Packet::Publish(Publish { topic, properties, ..Publish::default() });
            let bytes = world.encoded(&packet);
            let taken = (0..100).take_while(|_| {
                world.session.receive(world.now, &bytes);
                world.session.wants_input()
            });
            assert_eq!(taken.count(), 16);
        }
    }
}

/// P-08 and N-22: an alias means what was said last on this connection.
#[test]
fn a_topic_alias_stands_for_its_topic() {
    spec!("MQTT5-3.3.2-10");
    let mut world = World::online(brief(Version::V5_0));
    let maximum = world.session.settings().connect.topic_alias_maximum;
    for alias in [1, maximum] {
        for topic in [Some("a/b"), None] {
            let properties =
                PublishProperties { topic_alias: Some(alias), ..PublishProperties::default() };
            let topic = topic.and_then(|topic| TopicName::new(topic).ok());
            world.say(&Packet::Publish(Publish { topic, properties, ..Publish::default() }));
        }
    }
    let topics = world.events().into_iter().map(|event| match event {
        Event::Message { message, .. } => message.topic().to_string(),
        other => panic!("{other:?}"),
    });
    assert_eq!(topics.collect::<Vec<_>>(), ["a/b"; 4]);
}

#[test]
fn properties_arrive_with_the_message() {
    let mut world = World::online(brief(Version::V5_0));
    let mut properties = PublishProperties {
        message_expiry_interval: Some(9),
        response_topic: TopicName::new("r").ok(),
        correlation_data: Some(b"c"),
        content_type: Some("text"),
        subscription_identifiers: vec![1, 200],
        ..PublishProperties::default()
    };
    properties.user_properties.push("a", "b").unwrap();
    world.say(&Packet::Publish(Publish {
        topic: TopicName::new("t").ok(),
        retain: true,
        properties: properties.clone(),
        payload: b"x",
        ..Publish::default()
    }));
    let [Event::Message { message, token: None }] = &world.events()[..] else { panic!() };
    assert_eq!(message.properties(), properties);
    assert_eq!((message.retain(), message.payload()), (true, &b"x"[..]));
}
