//! What a server cannot bear, and closes the connection over each time: it is found out, given up
//! in the end, and nothing else with it.

use std::time::Duration;

use noctule_client_core::{
    ClientSession, Doubt, DropCause, Event, Outcome, Record, RequestOutcome, Settings,
    SubscriptionStatus, Timestamp, compact,
};
use noctule_packet::{Packet, PacketType, QoS, ReasonCode, Version};

use crate::world::{VERSIONS, World, brief, lasting};

/// How many connections may end with something in flight, where nothing else is said.
const MAXIMUM: u16 = 16;

/// Connects and lets the server answer everything in order up to what it cannot bear: then it
/// closes the connection, and whether it did is the answer.
fn serve(world: &mut World, session_present: bool) -> bool {
    world.connect(session_present && world.session.epoch().value() > 0);
    answer(world)
}

/// The same on a connection.
fn answer(world: &mut World) -> bool {
    loop {
        let packets = world.packets();
        if packets.is_empty() {
            return false;
        }
        for packet in packets {
            if packet.contains("poison") {
                world.cut();
                return true;
            }
            let mut words = packet.split(' ');
            let (name, packet_id) = (words.next().unwrap(), words.next().unwrap_or_default());
            let packet_id = packet_id.parse().unwrap_or_default();
            match name {
                "PUBLISH" if packet_id > 0 => world.ack(PacketType::Puback, packet_id),
                "SUBSCRIBE" => world.suback(packet_id, &vec![ReasonCode::Success; words.count()]),
                _ => {}
            }
        }
    }
}

/// Connects until the server bears everything. How many connections it has closed.
fn serve_all(world: &mut World, session_present: bool) -> u16 {
    let mut closed = 0;
    while serve(world, session_present) {
        closed += 1;
        assert!(closed < 100, "for ever");
    }
    closed
}

/// P-26, N-17, N-18.
#[test]
fn a_message_that_ends_every_connection_is_given_up_and_no_other() {
    for version in VERSIONS {
        for (session_present, is_slow) in
            [(true, false), (true, true), (false, false), (false, true)]
        {
            let mut settings = if session_present { lasting(version) } else { brief(version) };
            settings.redelivery.is_slow = is_slow;
            let mut world = World::new(settings);
            for payload in ["a", "b", "poison", "c", "d", "e"] {
                world.publish(QoS::AtLeastOnce, payload);
            }
            world.subscribe(&["f"], QoS::AtMostOnce);
            // The first connection brings two others through before.
            assert_eq!(serve_all(&mut world, session_present), 1 + MAXIMUM + 1);
            let mut outcomes = world.outcomes();
            outcomes.sort_unstable_by_key(|(operation, _)| *operation);
            let why = Doubt::GivenUp { interruptions: MAXIMUM + 1 };
            let expected = (1..=6).map(|operation| {
                let is_poison = operation == 3;
                let lost = Outcome::Indeterminate { why };
                (operation, if is_poison { lost } else { Outcome::DELIVERED })
            });
            assert_eq!(outcomes, expected.collect::<Vec<_>>());
            assert_eq!(world.session.subscriptions(), 1);
        }
    }
}

/// N-18: what has been let through makes room for what is behind it, however often that was sent.
#[test]
fn a_link_that_ends_all_the_time_gives_nothing_up_as_long_as_something_passes() {
    for session_present in [true, false] {
        let version = Version::V5_0;
        let settings = if session_present { lasting(version) } else { brief(version) };
        let mut world = World::new(settings);
        for number in 0..100 {
            world.publish(QoS::AtLeastOnce, &number.to_string());
        }
        for number in 0..100 {
            world.connect(session_present && number > 0);
            let packets = world.packets();
            assert_eq!(packets.len(), 100 - number);
            let packet_id = packets[0].split(' ').nth(1).unwrap().parse().unwrap();
            world.ack(PacketType::Puback, packet_id);
            world.cut();
        }
        let delivered = (1..=100).map(|operation| (operation, Outcome::DELIVERED));
        assert_eq!(world.outcomes(), delivered.collect::<Vec<_>>());
    }
}

/// Whoever ends the connection blames nothing for it.
#[test]
fn the_end_that_the_user_wants_interrupts_nothing() {
    let mut settings = lasting(Version::V5_0);
    settings.redelivery.interruptions_max = Some(0);
    let mut world = World::online(settings);
    world.publish(QoS::AtLeastOnce, "a");
    world.subscribe(&["a"], QoS::AtMostOnce);
    world.packets();
    assert_eq!(world.session.disconnect(world.now, &Default::default()), Ok(()));
    world.cut();
    assert_eq!(world.outcomes(), []);
    world.connect(true);
    assert_eq!(world.packets(), ["SUBSCRIBE 3 a", "PUBLISH 1 t:a dup"]);
}

/// N-17: as long as the blame is not clear, one goes at a time.
#[test]
fn what_is_suspected_goes_alone() {
    let mut world = World::online(lasting(Version::V5_0));
    for payload in ["a", "b"] {
        world.publish(QoS::AtLeastOnce, payload);
    }
    for _ in 0..3 {
        assert_eq!(world.packets().len(), 2);
        world.cut();
        world.connect(true);
    }
    assert_eq!(world.packets(), ["PUBLISH 1 t:a dup"]);
    world.publish(QoS::AtLeastOnce, "c");
    world.publish(QoS::AtMostOnce, "d");
    assert_eq!(world.packets(), ["PUBLISH t:d"]);
    world.ack(PacketType::Puback, 1);
    assert_eq!(world.packets(), ["PUBLISH 2 t:b dup", "PUBLISH 3 t:c"]);
}

/// N-18: for SUBSCRIBE and UNSUBSCRIBE as well.
#[test]
fn a_request_that_ends_every_connection_is_given_up_and_nothing_else() {
    for session_present in [true, false] {
        let version = Version::V5_0;
        let settings = if session_present { lasting(version) } else { brief(version) };
        let mut world = World::new(settings);
        world.publish(QoS::AtLeastOnce, "x");
        for filter in ["a", "poison", "b"] {
            world.subscribe(&[filter], QoS::AtMostOnce);
        }
        assert_eq!(serve_all(&mut world, session_present), MAXIMUM + 1);
        let events = world.events();
        let given_up = events.iter().filter_map(|event| match event {
            Event::Subscribed {
                operation, outcome: RequestOutcome::Indeterminate { why }, ..
            } => Some((operation.value(), *why)),
            _ => None,
        });
        let why = Doubt::GivenUp { interruptions: MAXIMUM + 1 };
        assert_eq!(given_up.collect::<Vec<_>>(), [(3, why)]);
        let delivered = events.iter().any(|event| {
            matches!(event, Event::Published { outcome: Outcome::Delivered { .. }, .. })
        });
        assert!(delivered && world.session.pending_requests() == 0);
        let granted = ["a", "poison", "b"].map(|filter| world.session.granted(filter).is_some());
        assert_eq!(granted, [true, false, true]);
    }
}

/// A server that has nothing against a SUBSCRIBE any more need not answer it at once.
#[test]
fn a_suspected_request_holds_nothing_up_behind_which_the_server_is_alive() {
    let mut settings = lasting(Version::V5_0);
    settings.connect.keep_alive = 10;
    let mut world = World::online(settings);
    world.subscribe(&["a"], QoS::AtMostOnce);
    world.subscribe(&["b"], QoS::AtMostOnce);
    for _ in 0..3 {
        assert_eq!(world.packets().len(), 2);
        world.cut();
        world.connect(true);
    }
    world.publish(QoS::AtLeastOnce, "x");
    assert_eq!(world.packets(), ["SUBSCRIBE 7 a"]);
    for next in ["SUBSCRIBE 8 b", "PUBLISH 9 t:x"] {
        world.advance(Duration::from_secs(10));
        assert_eq!(world.packets(), ["PINGREQ"]);
        world.say(&Packet::Pingresp);
        assert_eq!(world.packets(), [next]);
    }
}

#[test]
fn a_lost_subscription_that_ends_every_connection_is_given_up_and_no_other() {
    let mut world = World::online(brief(Version::V5_0));
    world.subscribe(&["a", "poison", "z"], QoS::AtMostOnce);
    world.suback(1, &[ReasonCode::Success; 3]);
    world.publish(QoS::AtLeastOnce, "x");
    world.cut();
    world.events();
    assert_eq!(serve_all(&mut world, false), MAXIMUM + 1);
    let events = world.events();
    let given_up = events.iter().filter_map(|event| match event {
        Event::Resubscribed { filter, code: None, .. } => Some(&**filter),
        _ => None,
    });
    assert_eq!(given_up.collect::<Vec<_>>(), ["poison"]);
    let delivered =
        |event: &Event| matches!(event, Event::Published { outcome, .. } if outcome.is_delivered());
    assert!(events.iter().any(delivered));
    assert_eq!(world.session.subscription("poison"), SubscriptionStatus::None);
    assert_eq!(world.session.subscriptions(), 2);
}

/// P-04: whether the server has seen the SUBSCRIBE that a cut left without an answer, nobody knows.
#[test]
fn a_lost_subscription_is_asked_for_until_there_is_an_answer() {
    let mut world = World::online(lasting(Version::V5_0));
    world.subscribe(&["a", "b"], QoS::AtMostOnce);
    world.suback(1, &[ReasonCode::Success; 2]);
    world.packets();
    for session_present in [false, true, true] {
        world.cut();
        world.connect(session_present);
        let sent = world.packets();
        assert!(sent.len() == 1 && sent[0].ends_with(" a b"), "{sent:?}");
    }
    world.suback(4, &[ReasonCode::Success; 2]);
    world.cut();
    world.connect(true);
    assert_eq!(world.packets(), Vec::<String>::new());
}

/// A server that has said nothing about its maximum closes before such a message is there.
#[test]
fn a_message_of_qos_0_that_is_never_taken_whole_is_dropped_in_the_end() {
    let mut world = World::new(brief(Version::V3_1_1));
    world.publish(QoS::AtMostOnce, &"x".repeat(100_000));
    world.publish(QoS::AtMostOnce, "y");
    let mut outcomes = Vec::new();
    for _ in 0..=MAXIMUM {
        assert_eq!(outcomes, []);
        world.connect(false);
        assert!(world.session.outbound().len() > 100_000);
        world.session.written(world.now, 50_000);
        world.cut();
        outcomes = world.outcomes();
    }
    assert_eq!(outcomes, [(1, Outcome::Dropped { why: DropCause::ConnectionLost })]);
    world.connect(false);
    assert_eq!(world.packets(), ["PUBLISH t:y"]);
}

/// Another process goes on with what was stored, whole or without what is over.
fn restart(world: &mut World, settings: &Settings, records: &mut Vec<Record>) {
    records.extend(world.session.take_records());
    let compacted = compact(settings, records.clone());
    if records.len().is_multiple_of(2) {
        *records = compacted;
    }
    let now = Timestamp::from_millis(0);
    let session = ClientSession::restore(settings.clone(), now, records.iter().cloned());
    *world = World::of(session.expect("the settings are good"));
}

/// A program that is started anew whenever its connection has ended counts on.
#[test]
fn a_message_that_ends_every_connection_is_given_up_by_a_later_process() {
    for session_present in [true, false] {
        let settings = Settings { is_durable: true, ..lasting(Version::V5_0) };
        let mut world = World::new(settings.clone());
        for payload in ["a", "poison", "b"] {
            world.publish(QoS::AtLeastOnce, payload);
        }
        let (mut records, mut outcomes, mut closed, mut is_first) = (vec![], vec![], 0, true);
        loop {
            world.connect(session_present && !is_first);
            is_first = false;
            let is_closed = answer(&mut world);
            outcomes.extend(world.outcomes());
            if !is_closed {
                break;
            }
            closed += 1;
            assert!(closed < 100, "for ever");
            restart(&mut world, &settings, &mut records);
        }
        let why = Doubt::GivenUp { interruptions: MAXIMUM + 1 };
        let lost = Outcome::Indeterminate { why };
        outcomes.sort_unstable_by_key(|(operation, _)| *operation);
        assert_eq!(outcomes, [(1, Outcome::DELIVERED), (2, lost), (3, Outcome::DELIVERED)]);
        assert_eq!(closed, 1 + MAXIMUM + 1);
    }
}

/// What the server had forgotten, and not granted again when the process ended.
#[test]
fn a_lost_subscription_is_asked_for_by_the_next_process_too() {
    let settings = Settings { is_durable: true, ..lasting(Version::V5_0) };
    let mut world = World::online(settings.clone());
    world.packets();
    let mut records = vec![];
    world.subscribe(&["f", "poison"], QoS::AtMostOnce);
    world.suback(1, &[ReasonCode::Success; 2]);
    world.cut();
    world.connect(false);
    let mut given_up = 0;
    for life in 0..=MAXIMUM {
        let mut packets = world.packets();
        // Those that are suspected are asked for one by one.
        if let Some(innocent) = packets.iter().find(|it| it.ends_with(" f")) {
            let packet_id = innocent.split(' ').nth(1).and_then(|it| it.parse().ok());
            world.suback(packet_id.expect("it has one"), &[ReasonCode::Success]);
            packets.extend(world.packets());
        }
        assert!(packets.iter().any(|it| it.contains("poison")), "{life}: {packets:?}");
        world.cut();
        given_up += world
            .events()
            .iter()
            .filter(|it| matches!(it, Event::Resubscribed { code: None, .. }))
            .count();
        restart(&mut world, &settings, &mut records);
        // The server has the session, but not the subscription.
        world.connect(true);
    }
    assert_eq!((given_up, world.packets()), (1, vec![]));
    assert_eq!(world.session.subscription("f"), SubscriptionStatus::Granted(ReasonCode::Success));
    assert_eq!(world.session.subscription("poison"), SubscriptionStatus::None);
}
