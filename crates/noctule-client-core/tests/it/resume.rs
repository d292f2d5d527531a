//! What outlives a connection, and what outlives the process.

use std::time::Duration;

use noctule_client_core::{
    AcknowledgementMode, ClientSession, DisconnectOptions, DisconnectRefused, Doubt, Event,
    Outcome, Record, Settings, Unfinished, compact,
};
use noctule_packet::{ConnackProperties, PacketType, QoS, ReasonCode, Version, spec};

use crate::world::{VERSIONS, World, brief, lasting};

fn durable(version: Version) -> Settings {
    Settings { is_durable: true, ..lasting(version) }
}

#[test]
fn an_assigned_client_identifier_is_used_from_then_on() {
    spec!("MQTT5-3.2.2-16");
    let mut settings = lasting(Version::V5_0);
    settings.connect.client_id.clear();
    let mut world = World::new(settings);
    let assigned_client_identifier = Some("chosen");
    let properties = ConnackProperties { assigned_client_identifier, ..Default::default() };
    world.connect_with(false, properties);
    assert_eq!(world.session.client_id(), "chosen");
    world.cut();
    world.up();
    let bytes = world.bytes();
    assert!(bytes.ends_with(b"\0\x06chosen"), "{bytes:x?}");
}

#[test]
fn a_first_connection_begins_clean_and_later_ones_resume() {
    spec!("MQTT5-3.1.2-4");
    for (settings, first, then) in [
        (brief(Version::V3_1_1), "CONNECT clean", "CONNECT clean"),
        (lasting(Version::V3_1_1), "CONNECT resume", "CONNECT resume"),
        (brief(Version::V5_0), "CONNECT clean", "CONNECT resume"),
        (lasting(Version::V5_0), "CONNECT clean", "CONNECT resume"),
    ] {
        let mut world = World::new(settings);
        for (at, expected) in [first, then].into_iter().enumerate() {
            world.up();
            if at == 0 || world.session.settings().connect.session_expiry_interval > 0 {
                assert_eq!(world.packets(), [expected]);
            }
            world.say_bytes(if world.session.version().is_v5() {
                b"\x20\x03\0\0\0"
            } else {
                b"\x20\x02\0\0"
            });
            world.cut();
        }
    }
}

/// P-26, N-18: a message that kills every connection is given up, and only it.
#[test]
fn a_message_that_was_interrupted_too_often_is_given_up() {
    let mut settings = lasting(Version::V5_0);
    settings.redelivery.is_slow = true;
    settings.redelivery.interruptions_max = Some(2);
    let mut world = World::online(settings);
    for payload in ["poison", "good", "fine"] {
        world.publish(QoS::AtLeastOnce, payload);
    }
    world.packets();
    world.cut();
    for _ in 0..2 {
        world.connect(true);
        assert_eq!(world.packets(), ["PUBLISH 1 t:poison dup"]);
        world.cut();
    }
    let why = Doubt::GivenUp { interruptions: 3 };
    assert_eq!(world.outcomes(), [(1, Outcome::Indeterminate { why })]);
    world.connect(true);
    assert_eq!(world.packets(), ["PUBLISH 2 t:good dup"]);
    world.ack(PacketType::Puback, 2);
    assert_eq!(world.packets(), ["PUBLISH 3 t:fine dup"]);
}

#[test]
fn repetitions_go_one_at_a_time_where_that_is_wanted() {
    let mut settings = lasting(Version::V5_0);
    settings.redelivery.is_slow = true;
    let mut world = World::online(settings);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
        world.publish(qos, "x");
    }
    world.packets();
    world.cut();
    world.publish(QoS::AtLeastOnce, "y");
    world.connect(true);
    let mut sent = world.packets();
    for (packet_type, packet_id) in
        [(PacketType::Puback, 1), (PacketType::Pubrec, 2), (PacketType::Puback, 3)]
    {
        world.ack(packet_type, packet_id);
        sent.push("-".into());
        sent.extend(world.packets());
    }
    let expected = [
        "PUBLISH 1 t:x dup",
        "-",
        "PUBLISH 2 t:x dup",
        "-",
        "PUBREL 2",
        "PUBLISH 3 t:x dup",
        "-",
        "PUBLISH 4 t:y",
    ];
    assert_eq!(sent, expected);
}

#[test]
fn a_server_that_takes_less_than_before_gets_less() {
    let mut world = World::online(lasting(Version::V5_0));
    world.publish(QoS::AtLeastOnce, &"x".repeat(100));
    world.publish(QoS::ExactlyOnce, &"y".repeat(100));
    world.publish(QoS::AtLeastOnce, "z");
    world.packets();
    world.cut();
    let properties = ConnackProperties { maximum_packet_size: Some(50), ..Default::default() };
    world.connect_with(true, properties);
    assert_eq!(world.packets(), ["PUBLISH 3 t:z dup"]);
    let why = Doubt::TooLarge { size: 108, maximum: 50 };
    let lost = Outcome::Indeterminate { why };
    assert_eq!(world.outcomes(), [(1, lost.clone()), (2, lost)]);
}

fn restored(settings: &Settings, records: &[Record]) -> World {
    let now = noctule_client_core::Timestamp::from_millis(0);
    let records = records.iter().cloned();
    World::of(ClientSession::restore(settings.clone(), now, records).unwrap())
}

/// N-M6: a process that dies at any moment leaves a session that goes on.
#[test]
fn a_session_goes_on_in_another_process() {
    spec!("MQTT5-4.4.0-1", "MQTT311-4.4.0-1");
    for version in VERSIONS {
        let settings = durable(version);
        let mut world = World::online(settings.clone());
        for (qos, payload) in [(1, "a"), (2, "b"), (2, "c"), (1, "d")] {
            world.publish(QoS::from_level(qos).unwrap(), payload);
        }
        world.subscribe(&["s"], QoS::AtMostOnce);
        world.suback(5, &[ReasonCode::Success]);
        world.ack(PacketType::Pubrec, 3);
        world.ack(PacketType::Puback, 4);
        world.message(QoS::ExactlyOnce, 9, "t", b"");
        world.events();
        // Its user takes only the first of them.
        world.message(QoS::ExactlyOnce, 10, "t", b"untold");
        world.message(QoS::AtLeastOnce, 11, "t", b"untold");
        assert_eq!(world.packets().last().map(String::as_str), Some("PUBREC 9"));
        let records = world.session.take_records();
        let mut world = restored(&settings, &records);
        let next = world.publish(QoS::AtLeastOnce, "e");
        assert!(next.value() > 1 << 32, "a name is used twice");
        world.connect(version != Version::V3_1);
        let sent = ["PUBREL 3", "PUBLISH 1 t:a dup", "PUBLISH 2 t:b dup", "PUBLISH 4 t:e"];
        let packets = world.packets();
        let subscribes = usize::from(version == Version::V3_1);
        assert_eq!(packets[subscribes..].len(), sent.len(), "{packets:?}");
        assert!(packets[subscribes..].iter().zip(sent).all(|(is, should)| {
            is.starts_with(should.split(' ').next().unwrap())
                && is.ends_with(&should[should.len() - 1..])
        }));
        // The message that was handed out is not handed out again; the others were not.
        world.events();
        world.message(QoS::ExactlyOnce, 9, "t", b"");
        assert_eq!((world.payloads(), world.packets()), (vec![], vec!["PUBREC 9".into()]));
        world.message(QoS::ExactlyOnce, 10, "t", b"untold");
        world.message(QoS::AtLeastOnce, 11, "t", b"untold");
        assert_eq!(world.packets(), Vec::<String>::new(), "nobody has taken them");
        assert_eq!(world.payloads(), ["untold", "untold"]);
        assert_eq!(world.packets(), ["PUBREC 10", "PUBACK 11"]);
        world.ack(PacketType::Pubcomp, 3);
        assert_eq!(world.outcomes(), [(3, Outcome::DELIVERED)]);
    }
}

#[test]
fn a_session_that_another_process_lost_has_told_what_became_of_its_messages() {
    let settings = durable(Version::V5_0);
    let mut world = World::online(settings.clone());
    for (qos, payload) in [(1, "a"), (2, "b"), (2, "c")] {
        world.publish(QoS::from_level(qos).unwrap(), payload);
    }
    world.ack(PacketType::Pubrec, 3);
    let mut records = world.session.take_records();
    records.push(Record::SessionStarted { client_id: "client".into(), is_new: true });
    let mut world = restored(&settings, &records);
    let lost = Outcome::Indeterminate { why: Doubt::SessionLost };
    assert_eq!(world.outcomes(), [(2, lost), (3, Outcome::DELIVERED)]);
    world.connect(true);
    assert_eq!(world.packets(), ["PUBLISH 1 t:a"]);
}

/// P-12: nothing is left open by the end.
#[test]
fn closing_ends_every_operation_and_says_what_was_not_done() {
    for is_durable in [false, true] {
        let mut world = World::online(Settings { is_durable, ..lasting(Version::V5_0) });
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce] {
            world.publish(qos, "x");
        }
        world.ack(PacketType::Pubrec, 3);
        world.subscribe(&["a"], QoS::AtMostOnce);
        world.cut();
        world.publish(QoS::AtMostOnce, "y");
        world.events();
        let unfinished = world.session.close(world.now);
        let expected = Unfinished { queued: 1, in_flight: 3, requests: 1, are_stored: is_durable };
        assert_eq!(unfinished, expected);
        let mut ended: Vec<u64> = world
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Published { operation, .. } | Event::Subscribed { operation, .. } => {
                    Some(operation.value())
                }
                _ => None,
            })
            .collect();
        ended.sort_unstable();
        assert_eq!(ended, [1, 2, 3, 4, 5]);
        let records = world.session.take_records();
        let kept = restored(&durable(Version::V5_0), &records);
        let left = (kept.session.queued(), kept.session.in_flight());
        assert_eq!(left, if is_durable { (1, 3) } else { (0, 0) });
        let topic = noctule_packet::TopicName::new("t").unwrap();
        let publication = noctule_client_core::Publication::new(topic, b"");
        assert!(world.session.publish(world.now, &publication).is_err());
        world.up();
        assert!(world.session.wants_close());
    }
}

#[test]
fn disconnect_says_what_the_version_can_say() {
    spec!("MQTT5-3.14.2-1", "MQTT5-3.14.4-1", "MQTT311-3.14.4-1", "MQTT311-3.14.4-2");
    for version in VERSIONS {
        let mut world = World::online(lasting(version));
        let options = DisconnectOptions {
            reason: ReasonCode::DisconnectWithWillMessage,
            session_expiry_interval: Some(5),
            ..DisconnectOptions::default()
        };
        let result = world.session.disconnect(world.now, &options);
        if version.is_v5() {
            assert_eq!((result, world.packets()), (Ok(()), vec!["DISCONNECT 0x04".into()]));
        } else {
            let refused = DisconnectRefused::NotInVersion { option: "reason", version };
            assert_eq!((result, world.packets()), (Err(refused), vec![]));
            assert!(world.session.disconnect(world.now, &DisconnectOptions::default()).is_ok());
            assert_eq!(world.packets(), ["DISCONNECT"]);
        }
        // Nothing follows.
        world.publish(QoS::AtLeastOnce, "x");
        assert!(world.session.wants_close() && world.packets().is_empty());
    }
    let mut world = World::new(brief(Version::V5_0));
    let properties = ConnackProperties { maximum_packet_size: Some(20), ..Default::default() };
    world.connect_with(false, properties);
    let reason_string = Some("more than the server takes");
    let options = DisconnectOptions { reason_string, ..Default::default() };
    let refused = world.session.disconnect(world.now, &options);
    assert_eq!(refused, Err(DisconnectRefused::InvalidValue { option: "reason_string" }));
    assert_eq!(world.packets(), Vec::<String>::new());
    let options = DisconnectOptions { session_expiry_interval: Some(5), ..Default::default() };
    let refused = world.session.disconnect(world.now, &options);
    assert_eq!(refused, Err(DisconnectRefused::SessionExpiryFromZero));
}

/// An identifier that the server may still know stands for no other message, in no process.
#[test]
fn a_message_of_qos_2_that_was_given_up_keeps_its_identifier_out_of_use() {
    let mut settings = durable(Version::V5_0);
    settings.redelivery.interruptions_max = Some(0);
    let mut world = World::online(settings.clone());
    world.publish(QoS::ExactlyOnce, "a");
    world.packets();
    world.cut();
    let records = compact(&settings, world.session.take_records());
    let mut world = restored(&settings, &records);
    world.connect(true);
    world.publish(QoS::ExactlyOnce, "b");
    assert_eq!(world.packets(), ["PUBLISH 2 t:b"]);
    // It means nothing to a server that has forgotten the session.
    world.cut();
    world.connect(false);
    let records = compact(&settings, world.session.take_records());
    assert!(!records.iter().any(|record| matches!(record, Record::Abandoned { .. })));
}

#[test]
fn a_compacted_sequence_is_as_short_as_it_can_be() {
    let settings = durable(Version::V5_0);
    let mut world = World::online(settings.clone());
    let mut records = world.session.take_records();
    for round in 0..1_000_u16 {
        world.publish(QoS::AtLeastOnce, "x");
        world.ack(PacketType::Puback, round + 1);
        records.extend(world.session.take_records());
    }
    world.publish(QoS::ExactlyOnce, "y");
    records.extend(world.session.take_records());
    let compacted = compact(&settings, records);
    // The names begin, the session began, one message was accepted and sent.
    assert_eq!(compacted.len(), 4, "{compacted:?}");
    assert_eq!(compact(&settings, compacted.clone()), compacted);
}

/// What the user was told once is not told again by another process.
#[test]
fn an_operation_that_was_cancelled_stays_cancelled_in_another_process() {
    let settings = durable(Version::V5_0);
    let mut world = World::online(settings.clone());
    let sent = world.publish(QoS::AtLeastOnce, "a");
    let released = world.publish(QoS::ExactlyOnce, "b");
    world.ack(PacketType::Pubrec, 2);
    for operation in [sent, released] {
        assert!(world.session.cancel(world.now, operation));
    }
    let records = world.session.take_records();
    for records in [compact(&settings, records.clone()), records] {
        let mut world = restored(&settings, &records);
        world.connect(true);
        assert_eq!(world.packets(), ["PUBREL 2", "PUBLISH 1 t:a dup"]);
        world.ack(PacketType::Puback, 1);
        world.ack(PacketType::Pubcomp, 2);
        assert_eq!(world.outcomes(), []);
    }
}

/// Whoever acknowledges by itself gets again what it had not acknowledged when it died.
#[test]
fn a_message_that_was_not_acknowledged_comes_again_to_another_process() {
    let mut settings = durable(Version::V5_0);
    settings.acknowledgement = AcknowledgementMode::Manual;
    for is_acknowledged in [false, true] {
        let mut world = World::online(settings.clone());
        world.message(QoS::ExactlyOnce, 9, "t", b"once");
        for event in world.events() {
            let Event::Message { token: Some(token), .. } = event else { continue };
            if is_acknowledged {
                let reason = ReasonCode::Success;
                assert!(world.session.acknowledge(world.now, token, reason).is_ok());
            }
        }
        let records = world.session.take_records();
        let mut world = restored(&settings, &records);
        world.connect(true);
        world.packets();
        world.events();
        world.message(QoS::ExactlyOnce, 9, "t", b"once");
        let expected = if is_acknowledged { vec![] } else { vec!["once".to_owned()] };
        assert_eq!(world.payloads(), expected);
    }
}

#[test]
fn what_a_lost_session_had_received_does_not_hide_a_message_of_the_next() {
    spec!("MQTT5-3.2.2-5");
    for version in [Version::V3_1_1, Version::V5_0] {
        let mut world = World::online(lasting(version));
        world.message(QoS::ExactlyOnce, 9, "t", b"old");
        world.cut();
        world.connect(false);
        world.events();
        world.packets();
        world.message(QoS::ExactlyOnce, 9, "t", b"new");
        assert_eq!(
            (world.payloads(), world.packets()),
            (vec!["new".into()], vec!["PUBREC 9".into()])
        );
    }
}

/// A session that has expired may be followed by one of which no CONNACK has told.
#[test]
fn a_session_that_may_have_been_replaced_unseen_is_begun_anew() {
    let expiry = Duration::from_secs(3_600);
    let connect = |world: &mut World| {
        world.up();
        let packets = world.packets();
        world.cut();
        packets
    };
    let mut world = World::online(lasting(Version::V5_0));
    world.cut();
    // As long as the session cannot have expired, it is the one that we know.
    for _ in 0..2 {
        assert_eq!(connect(&mut world), ["CONNECT resume"]);
    }
    world.advance(expiry);
    assert_eq!(connect(&mut world), ["CONNECT clean"]);
    // An answer settles it.
    world.connect(false);
    world.cut();
    world.advance(expiry);
    assert_eq!(connect(&mut world), ["CONNECT resume"]);
    assert_eq!(connect(&mut world), ["CONNECT clean"]);

    let settings = durable(Version::V5_0);
    let mut world = World::online(settings.clone());
    world.cut();
    assert_eq!(connect(&mut world), ["CONNECT resume"]);
    let records = world.session.take_records();
    for (silence, expected) in [(0, "CONNECT resume"), (3_600, "CONNECT clean")] {
        for records in [compact(&settings, records.clone()), records.clone()] {
            let mut world = restored(&settings, &records);
            world.session.assume_silence(world.now, Duration::from_secs(silence));
            assert_eq!(connect(&mut world), [expected]);
        }
    }
}
