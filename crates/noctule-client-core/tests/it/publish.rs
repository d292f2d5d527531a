//! Publishing: every operation ends exactly once, and truthfully.

use noctule_client_core::{
    Doubt, DropCause, Event, Keep, Outcome, Publication, PublishRefused, Settings, Stage,
};
use noctule_packet::{ConnackProperties, PacketType, QoS, ReasonCode, TopicName, Version, spec};

use crate::world::{VERSIONS, World, brief, lasting};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn a_message_of_qos_0_is_delivered_when_the_transport_has_taken_it() {
    spec!("MQTT5-4.3.1-1", "MQTT311-4.3.1-1");
    for version in VERSIONS {
        let mut world = World::online(brief(version));
        world.publish(QoS::AtMostOnce, "a");
        let length = world.session.outbound().len();
        world.session.written(world.now, length - 1);
        assert_eq!(world.outcomes(), []);
        world.session.written(world.now, 1);
        assert_eq!(world.outcomes(), [(1, Outcome::DELIVERED)]);
    }
}

#[test]
fn a_message_of_qos_0_that_was_not_written_waits_or_is_dropped_as_the_queue_says() {
    for (keep, is_kept) in [(Keep::All, true), (Keep::Acknowledged, false)] {
        for version in VERSIONS {
            let mut settings = brief(version);
            settings.queue.keep = keep;
            let mut world = World::online(settings);
            for payload in ["a", "b"] {
                world.publish(QoS::AtMostOnce, payload);
            }
            // A part that was written is nothing that a server could act on.
            world.session.written(world.now, 3);
            world.cut();
            let why = DropCause::ConnectionLost;
            let dropped = [2, 1].map(|operation| (operation, Outcome::Dropped { why }));
            assert_eq!(world.outcomes(), if is_kept { vec![] } else { dropped.to_vec() });
            world.connect(false);
            let sent = if is_kept { vec!["PUBLISH t:a", "PUBLISH t:b"] } else { vec![] };
            assert_eq!(world.packets(), sent);
            let delivered = [1, 2].map(|operation| (operation, Outcome::DELIVERED));
            assert_eq!(world.outcomes(), if is_kept { delivered.to_vec() } else { vec![] });
        }
    }
}

#[test]
fn a_message_of_qos_1_is_delivered_with_its_puback() {
    spec!("MQTT5-4.3.2-3");
    for version in VERSIONS {
        let mut world = World::online(brief(version));
        world.publish(QoS::AtLeastOnce, "a");
        assert_eq!(world.packets(), ["PUBLISH 1 t:a"]);
        assert_eq!(world.outcomes(), []);
        world.ack(PacketType::Puback, 1);
        assert_eq!(world.outcomes(), [(1, Outcome::DELIVERED)]);
        assert_eq!(world.session.in_flight(), 0);
    }
}

#[test]
fn a_message_of_qos_2_goes_its_two_rounds() {
    spec!("MQTT5-4.3.3-3", "MQTT5-4.3.3-4", "MQTT5-4.3.3-5", "MQTT311-4.3.3-1");
    for version in VERSIONS {
        let mut world = World::online(brief(version));
        let operation = world.publish(QoS::ExactlyOnce, "a");
        assert_eq!(world.packets(), ["PUBLISH 1 t:a"]);
        world.ack(PacketType::Pubrec, 1);
        assert_eq!(world.events(), [Event::Progressed { operation, stage: Stage::Received }]);
        assert_eq!(world.packets(), ["PUBREL 1"]);
        world.ack(PacketType::Pubcomp, 1);
        assert_eq!(world.outcomes(), [(1, Outcome::DELIVERED)]);
        assert_eq!(world.session.in_flight(), 0);
    }
}

#[test]
fn what_the_server_refuses_is_rejected() {
    spec!("MQTT5-4.4.0-2");
    for (qos, packet_type) in
        [(QoS::AtLeastOnce, PacketType::Puback), (QoS::ExactlyOnce, PacketType::Pubrec)]
    {
        let mut world = World::online(brief(Version::V5_0));
        world.publish(qos, "a");
        world.packets();
        let reason = ReasonCode::NotAuthorized;
        world.ack_with(packet_type, 1, reason);
        assert_eq!(world.outcomes(), [(1, Outcome::Rejected { reason, remarks: None })]);
        assert_eq!((world.session.in_flight(), world.packets()), (0, vec![]));
    }
}

/// P-07: a PUBREC that refuses gives its share of the quota back.
#[test]
fn a_failed_pubrec_frees_the_quota() {
    spec!("MQTT5-4.9.0-2");
    let mut world = World::new(brief(Version::V5_0));
    let properties = ConnackProperties { receive_maximum: Some(1), ..ConnackProperties::default() };
    world.connect_with(false, properties);
    for payload in ["a", "b", "c"] {
        world.publish(QoS::ExactlyOnce, payload);
    }
    assert_eq!(world.packets(), ["PUBLISH 1 t:a"]);
    world.ack_with(PacketType::Pubrec, 1, ReasonCode::QuotaExceeded);
    assert_eq!(world.packets(), ["PUBLISH 2 t:b"]);
    world.ack(PacketType::Pubrec, 2);
    assert_eq!(world.packets(), ["PUBREL 2"]);
    world.ack(PacketType::Pubcomp, 2);
    assert_eq!(world.packets(), ["PUBLISH 3 t:c"]);
}

#[test]
fn messages_wait_for_a_connection_and_leave_in_order() {
    for version in VERSIONS {
        let mut world = World::new(brief(version));
        for (payload, qos) in ["a", "b", "c"].into_iter().zip(QOS) {
            world.publish(qos, payload);
        }
        world.connect(false);
        assert_eq!(world.packets(), ["PUBLISH t:a", "PUBLISH 1 t:b", "PUBLISH 2 t:c"]);
    }
}

#[test]
fn a_session_that_goes_on_repeats_what_was_not_acknowledged() {
    spec!("MQTT5-4.4.0-1", "MQTT311-4.4.0-1", "MQTT5-3.3.1-1", "MQTT311-3.3.1-1");
    spec!("MQTT311-2.3.1-3");
    for version in VERSIONS {
        let mut world = World::online(lasting(version));
        for (payload, qos) in ["a", "b", "c"].into_iter().zip([QOS[1], QOS[2], QOS[2]]) {
            world.publish(qos, payload);
        }
        world.packets();
        world.ack(PacketType::Pubrec, 3);
        world.cut();
        world.publish(QoS::AtLeastOnce, "d");
        world.connect(version != Version::V3_1);
        let sent = ["PUBREL 3", "PUBLISH 1 t:a dup", "PUBLISH 2 t:b dup", "PUBLISH 4 t:d"];
        assert_eq!(world.packets(), sent, "{version}");
        world.ack(PacketType::Puback, 1);
        world.ack(PacketType::Pubcomp, 3);
        world.ack(PacketType::Puback, 4);
        let outcomes = world.outcomes();
        assert_eq!(outcomes, [1, 3, 4].map(|operation| (operation, Outcome::DELIVERED)));
    }
}

#[test]
fn a_session_that_is_lost_publishes_qos_1_anew_and_tells_what_it_does_not_know() {
    spec!("MQTT5-3.2.2-5");
    for version in [Version::V3_1_1, Version::V5_0] {
        for is_anew in [false, true] {
            let mut settings = lasting(version);
            settings.redelivery.exactly_once_anew = is_anew;
            let mut world = World::online(settings);
            for (payload, qos) in ["a", "b", "c"].into_iter().zip([QOS[1], QOS[2], QOS[2]]) {
                world.publish(qos, payload);
            }
            world.packets();
            world.ack(PacketType::Pubrec, 3);
            world.cut();
            world.publish(QoS::AtLeastOnce, "d");
            world.connect(false);
            let anew = ["PUBLISH 4 t:a", "PUBLISH 5 t:b", "PUBLISH 6 t:d"];
            let once = ["PUBLISH 4 t:a", "PUBLISH 5 t:d"];
            let sent = if is_anew { anew.to_vec() } else { once.to_vec() };
            assert_eq!(world.packets(), sent, "{version}");
            let lost = Outcome::Indeterminate { why: Doubt::SessionLost };
            let mut outcomes = vec![(3, Outcome::DELIVERED)];
            outcomes.extend((!is_anew).then_some((2, lost)));
            assert_eq!(world.outcomes(), outcomes);
        }
    }
}

/// P-05: whatever is not acknowledged keeps its identifier, nothing waits for one that is in use,
/// and a server that has forgotten everything has nothing that could stand in the way.
#[test]
fn identifiers_that_are_in_use_are_passed_over_and_are_free_with_a_new_session() {
    let mut world = World::online(lasting(Version::V5_0));
    let acknowledge = |world: &mut World, kept: Option<u16>| {
        for packet in world.packets() {
            let packet_id = packet.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(kept != Some(packet_id) || packet.ends_with("first"), "{packet}");
            if kept != Some(packet_id) {
                world.ack(PacketType::Puback, packet_id);
            }
        }
        world.outcomes().len()
    };
    world.publish(QoS::AtLeastOnce, "first");
    let mut ended = 0;
    for _ in 0..66_000 {
        world.publish(QoS::AtLeastOnce, "x");
        ended += acknowledge(&mut world, Some(1));
    }
    assert!(ended > 65_000, "{ended}");
    world.cut();
    world.connect(false);
    ended += acknowledge(&mut world, None);
    for _ in 0..66_000 {
        world.publish(QoS::AtLeastOnce, "x");
        ended += acknowledge(&mut world, None);
    }
    assert_eq!((ended, world.session.in_flight(), world.session.queued()), (132_001, 0, 0));
}

#[test]
fn what_the_server_has_excluded_is_refused_at_once_and_dropped_when_it_waited() {
    spec!("MQTT5-3.2.2-11", "MQTT5-3.2.2-14", "MQTT5-3.2.2-15");
    let topic = TopicName::new("t").unwrap();
    let large = [0; 100];
    let retained = Publication::new(topic, b"").retain(true);
    let twice_acknowledged = Publication::new(topic, b"").qos(QoS::ExactlyOnce);
    let too_large = Publication::new(topic, &large).qos(QoS::AtLeastOnce);
    let all = [retained, twice_acknowledged, too_large];
    let mut world = World::new(brief(Version::V5_0));
    for publication in &all {
        assert!(world.session.publish(world.now, publication).is_ok());
    }
    let properties = ConnackProperties {
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: Some(50),
        ..ConnackProperties::default()
    };
    world.connect_with(false, properties);
    assert_eq!(world.packets(), Vec::<String>::new());
    let (size, maximum) = (108, 50);
    let causes = [
        DropCause::NotSupported { option: "retain" },
        DropCause::NotSupported { option: "QoS 2" },
        DropCause::TooLarge { size, maximum },
    ];
    let expected = [1, 2, 3].into_iter().zip(causes.map(|why| Outcome::Dropped { why }));
    assert_eq!(world.outcomes(), expected.collect::<Vec<_>>());
    let refusals = [
        PublishRefused::NotSupported { option: "retain" },
        PublishRefused::NotSupported { option: "QoS 2" },
        PublishRefused::TooLarge { size, maximum },
    ];
    for (publication, refused) in all.iter().zip(refusals) {
        assert_eq!(world.session.publish(world.now, publication), Err(refused));
    }
}

/// C-01: what waited and the older version cannot say is told of, and everything else goes on.
#[test]
fn what_an_older_version_cannot_say_is_dropped_by_name_when_it_waited() {
    let settings = Settings { version: Version::V5_0, ..brief(Version::V3_1_1) };
    let mut world = World::new(settings);
    let topic = TopicName::new("t").unwrap();
    let mut publication = Publication::new(topic, b"a").qos(QoS::AtLeastOnce);
    publication.properties.message_expiry_interval = Some(100);
    assert!(world.session.publish(world.now, &publication).is_ok());
    publication.properties.message_expiry_interval = None;
    publication.properties.content_type = Some("text");
    assert!(world.session.publish(world.now, &publication).is_ok());
    world.publish(QoS::AtLeastOnce, "b");
    world.up();
    world.say_bytes(b"\x20\x02\0\x01");
    world.cut();
    world.events();
    world.connect(false);
    assert_eq!(world.packets(), ["PUBLISH 1 t:b"]);
    let version = Version::V3_1_1;
    let dropped = ["message_expiry_interval", "properties"]
        .map(|option| Outcome::Dropped { why: DropCause::NotInVersion { option, version } });
    let expected: Vec<_> = (1..).zip(dropped).collect();
    assert_eq!(world.outcomes(), expected);
}

#[test]
fn a_session_can_be_moved_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<noctule_client_core::ClientSession>();
    is_send::<Event>();
}
