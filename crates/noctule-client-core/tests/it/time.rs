//! Keep alive, time-outs and ages.

use std::time::Duration;

use noctule_client_core::{
    DisconnectOptions, Doubt, DropCause, Ended, Event, Outcome, Publication, TransportEnd,
    Validation,
};
use noctule_packet::{
    ConnackProperties, Packet, PacketType, PublishProperties, QoS, TopicName, Version, spec,
};

use crate::world::{VERSIONS, World, brief};

fn ended(world: &mut World) -> Option<Ended> {
    world.session.transport_down(world.now, TransportEnd::Closed);
    world.events().into_iter().find_map(|event| match event {
        Event::Disconnected { ended, .. } => Some(ended),
        _ => None,
    })
}

/// P-13: nothing is pinged that speaks anyway.
#[test]
fn a_ping_is_sent_when_nothing_else_was_for_an_interval() {
    spec!("MQTT5-3.1.2-20", "MQTT311-3.1.2-23");
    for version in VERSIONS {
        let mut settings = brief(version);
        settings.connect.keep_alive = 10;
        let mut world = World::online(settings);
        for _ in 0..3 {
            world.advance(Duration::from_secs(2));
            world.publish(QoS::AtLeastOnce, "a");
            assert_eq!(world.packets().len(), 1);
            world.message(QoS::AtMostOnce, 0, "t", b"");
        }
        world.advance(Duration::from_secs(10));
        assert_eq!(world.packets(), ["PINGREQ"]);
        world.say(&Packet::Pingresp);
        world.advance(Duration::from_secs(10));
        assert_eq!(world.packets(), ["PINGREQ"]);
    }
}

#[test]
fn the_keep_alive_of_the_server_counts() {
    spec!("MQTT5-3.1.2-21", "MQTT5-3.2.2-21");
    for (seconds, pings) in [(5, 4), (0, 0)] {
        let mut settings = brief(Version::V5_0);
        settings.connect.keep_alive = 10;
        settings.ping_timeout = None;
        let mut world = World::new(settings);
        let server_keep_alive = Some(seconds);
        world.connect_with(
            false,
            ConnackProperties { server_keep_alive, ..ConnackProperties::default() },
        );
        world.advance(Duration::from_secs(20));
        assert_eq!(world.packets(), vec!["PINGREQ"; pings]);
    }
}

#[test]
fn a_server_that_answers_no_ping_is_given_up() {
    let mut settings = brief(Version::V5_0);
    settings.connect.keep_alive = 10;
    settings.ping_timeout = Some(Duration::from_secs(3));
    let mut world = World::online(settings);
    world.advance(Duration::from_secs(12));
    assert!(!world.session.wants_close());
    // Half a packet is a sign of life, but not for long.
    assert_eq!(world.session.receive(world.now, b"\x30"), 0);
    world.advance(Duration::from_secs(8));
    assert!(!world.session.wants_close());
    world.advance(Duration::from_secs(7));
    assert!(world.session.wants_close());
    assert_eq!(ended(&mut world), Some(Ended::PingTimeout));
}

/// P-18: a background tab's timers, and those of a process that stood still, come when they can.
#[test]
fn a_timer_that_comes_late_lets_what_was_said_be_read_before_it_judges() {
    let mut settings = brief(Version::V5_0);
    settings.connect.keep_alive = 10;
    settings.ping_timeout = Some(Duration::from_secs(3));
    for answers in [true, false] {
        let mut world = World::online(settings.clone());
        // The ping leaves late, and is given its time from then on.
        stand_still(&mut world, Duration::from_secs(60));
        assert_eq!(world.packets(), ["PINGREQ"]);
        wait(&mut world, Duration::from_millis(2_999));
        assert!(!world.session.wants_close());
        // PINGRESP may have been there for a minute.
        stand_still(&mut world, Duration::from_secs(60));
        assert!(!world.session.wants_close());
        if answers {
            world.say(&Packet::Pingresp);
            world.advance(Duration::from_secs(2));
            assert!(!world.session.wants_close());
        } else {
            // However late this is, nothing was there.
            stand_still(&mut world, Duration::from_secs(60));
            assert_eq!(ended(&mut world), Some(Ended::PingTimeout));
        }
    }
}

/// A server may have stopped reading, too: nothing waits for it.
#[test]
fn a_connection_that_ends_does_not_wait_for_its_server() {
    let mut settings = brief(Version::V5_0);
    settings.connect.keep_alive = 10;
    settings.ping_timeout = Some(Duration::from_secs(3));
    let mut world = World::online(settings.clone());
    world.publish(QoS::AtLeastOnce, "unwritten");
    wait(&mut world, Duration::from_secs(13));
    assert!(world.session.wants_close() && world.session.discards_unwritten());
    assert_eq!(ended(&mut world), Some(Ended::PingTimeout));

    for (limit, least, most) in [(None, 1_000, 2_000), (Some(500), 499, 500)] {
        let mut world = World::online(settings.clone());
        world.publish(QoS::AtLeastOnce, "unwritten");
        world.session.disconnect(world.now, &DisconnectOptions::default()).unwrap();
        if let Some(limit) = limit {
            world.session.close_by(world.now + Duration::from_millis(limit));
        }
        wait(&mut world, Duration::from_millis(least));
        assert!(!world.session.wants_close() && !world.session.outbound().is_empty());
        wait(&mut world, Duration::from_millis(most - least));
        assert!(world.session.wants_close() && world.session.discards_unwritten());
        assert_eq!(world.session.poll_timeout(), None);
        assert_eq!(ended(&mut world), Some(Ended::ByUser));
    }
}

/// A server that reads nothing and says much is not read from, and is given up all the same.
#[test]
fn answers_that_nobody_reads_are_no_reason_to_wait_for_ever() {
    let mut settings = brief(Version::V5_0);
    settings.connect.keep_alive = 10;
    settings.ping_timeout = Some(Duration::from_secs(3));
    settings.limits.outbound_bytes_max = 16;
    let mut world = World::online(settings);
    world.subscribe(&["t"], QoS::AtLeastOnce);
    world.packets();
    world.suback(1, &[noctule_packet::ReasonCode::GrantedQos1]);
    let mut packet_ids = 1..100;
    while world.session.wants_input() {
        let packet_id = packet_ids.next().expect("there is a bound");
        world.message(QoS::AtLeastOnce, packet_id, "t", b"");
        world.events();
    }
    wait(&mut world, Duration::from_secs(30));
    assert_eq!(ended(&mut world), Some(Ended::PingTimeout));
}

/// However large a message is and however slowly the server takes it, the server is heard, and
/// answered behind it; the ping that stands behind it is not waited for before it has left.
#[test]
fn a_large_message_on_its_way_keeps_nothing_from_being_read() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut settings = brief(Version::V5_0);
        settings.connect.keep_alive = 10;
        settings.ping_timeout = Some(Duration::from_secs(3));
        let mut world = World::online(settings);
        world.packets();
        world.publish(qos, &"x".repeat(2 * 1_024 * 1_024));
        for packet_id in 1..=100 {
            assert!(world.session.wants_input(), "nothing is read at {packet_id}");
            world.message(QoS::AtLeastOnce, packet_id, "t", b"");
            world.session.written(world.now, 1_000);
        }
        assert_eq!(world.payloads().len(), 100);
        // It trickles for a minute, in which the server has nothing to say.
        for _ in 0..60 {
            wait(&mut world, Duration::from_secs(1));
            world.session.written(world.now, 1_000);
            assert!(world.session.wants_input());
        }
        let pingreq = [0xC0, 0];
        assert!(world.session.outbound().ends_with(&pingreq), "it was silent");
        // From now on it can be answered.
        world.session.written(world.now, world.session.outbound().len());
        wait(&mut world, Duration::from_secs(3));
        assert_eq!(ended(&mut world), Some(Ended::PingTimeout));
    }
    // And one that takes nothing of it is given up.
    let mut settings = brief(Version::V5_0);
    settings.connect.keep_alive = 10;
    settings.ping_timeout = Some(Duration::from_secs(3));
    let mut world = World::online(settings);
    world.publish(QoS::AtMostOnce, &"x".repeat(2 * 1_024 * 1_024));
    wait(&mut world, Duration::from_secs(14));
    assert_eq!(ended(&mut world), Some(Ended::PingTimeout));
}

/// Time goes by, and nothing is written.
/// Time passes, and no timer comes before its end.
fn stand_still(world: &mut World, duration: Duration) {
    world.now = world.now + duration;
    world.session.on_timeout(world.now);
}

fn wait(world: &mut World, duration: Duration) {
    let end = world.now + duration;
    while let Some(at) = world.session.poll_timeout().filter(|at| *at <= end) {
        world.now = at;
        world.session.on_timeout(at);
    }
    world.now = end;
}

#[test]
fn a_server_that_never_answers_connect_is_given_up() {
    for bytes in [&b""[..], b"\x20", b"\x20\x03\0"] {
        let mut world = World::new(brief(Version::V5_0));
        world.up();
        world.flush();
        assert_eq!(world.session.receive(world.now, bytes), 0);
        world.advance(Duration::from_secs(29));
        assert!(!world.session.wants_close());
        world.advance(Duration::from_secs(1));
        assert!(world.session.wants_close());
        assert_eq!(ended(&mut world), Some(Ended::ConnectTimeout));
    }
}

/// C-03: an operation ends when its time is up, with what is known then.
#[test]
fn a_time_out_ends_the_operation_and_not_the_message() {
    let topic = TopicName::new("t").unwrap();
    let timed = |qos| Publication::new(topic, b"x").qos(qos).timeout(Duration::from_secs(5));
    let mut world = World::online(brief(Version::V5_0));
    let all = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce];
    for qos in all {
        assert!(world.session.publish(world.now, &timed(qos)).is_ok());
    }
    world.packets();
    world.ack(PacketType::Pubrec, 3);
    world.packets();
    world.advance(Duration::from_secs(5));
    let doubt = Outcome::Indeterminate { why: Doubt::TimedOut };
    let expected = [(1, doubt.clone()), (2, doubt), (3, Outcome::DELIVERED)];
    assert_eq!(world.outcomes(), expected);
    for (packet_type, packet_id) in
        [(PacketType::Puback, 1), (PacketType::Pubrec, 2), (PacketType::Pubcomp, 3)]
    {
        world.ack(packet_type, packet_id);
    }
    world.ack(PacketType::Pubcomp, 2);
    assert_eq!((world.outcomes(), world.session.in_flight()), (vec![], 0));
    assert_eq!(world.packets(), ["PUBREL 2"]);

    world.cut();
    world.events();
    assert!(world.session.publish(world.now, &timed(QoS::AtMostOnce)).is_ok());
    world.advance(Duration::from_secs(5));
    assert_eq!(world.outcomes(), [(4, Outcome::Dropped { why: DropCause::TimedOut })]);
}

/// P-31: a stale command is not delivered late.
#[test]
fn what_waits_too_long_is_dropped() {
    let topic = TopicName::new("t").unwrap();
    for with_expiry in [false, true] {
        let mut settings = brief(Version::V5_0);
        if !with_expiry {
            settings.queue.age_max = Some(Duration::from_secs(5));
        }
        let mut world = World::new(settings);
        let mut publication = Publication::new(topic, b"x").qos(QoS::AtLeastOnce);
        let seconds = with_expiry.then_some(5);
        publication.properties =
            PublishProperties { message_expiry_interval: seconds, ..PublishProperties::default() };
        assert!(world.session.publish(world.now, &publication).is_ok());
        world.advance(Duration::from_secs(4));
        assert_eq!((world.outcomes(), world.session.queued()), (vec![], 1));
        world.advance(Duration::from_secs(1));
        assert_eq!(world.outcomes(), [(1, Outcome::Dropped { why: DropCause::Expired })]);
        assert_eq!((world.session.queued(), world.session.queued_bytes()), (0, 0));
    }
}

/// P-31: nor is one that a connection ended before, from the time on at which it was accepted.
#[test]
fn what_was_not_written_keeps_its_time() {
    let topic = TopicName::new("t").unwrap();
    let expiring =
        PublishProperties { message_expiry_interval: Some(5), ..PublishProperties::default() };
    for way in ["expiry", "age", "age of all"] {
        let mut settings = brief(Version::V5_0);
        settings.queue.age_max = (way == "age of all").then_some(Duration::from_secs(5));
        let mut world = World::online(settings);
        let mut publication = Publication::new(topic, b"x");
        match way {
            "expiry" => publication.properties = expiring.clone(),
            "age" => publication.age_max = Some(Duration::from_secs(5)),
            _ => {}
        }
        assert!(world.session.publish(world.now, &publication).is_ok());
        // Twice, as it is written and taken back again.
        for _ in 0..2 {
            world.now = world.now + Duration::from_secs(2);
            world.cut();
            assert_eq!((world.outcomes(), world.session.queued()), (vec![], 1), "{way}");
            world.up();
            world.session.receive(world.now, b"\x20\x03\0\0\0");
        }
        world.now = world.now + Duration::from_millis(900);
        world.cut();
        world.events();
        world.advance(Duration::from_millis(100));
        let dropped = (1, Outcome::Dropped { why: DropCause::Expired });
        assert_eq!((world.outcomes(), world.session.queued()), (vec![dropped], 0), "{way}");
    }
}

/// P-31: whoever was asleep for long does not wake up and send what is stale.
#[test]
fn what_has_expired_is_not_sent_before_anybody_looked_at_the_clock() {
    let mut settings = brief(Version::V5_0);
    settings.queue.age_max = Some(Duration::from_secs(5));
    for is_written in [false, true] {
        let mut world = World::new(settings.clone());
        if is_written {
            world.connect(false);
        }
        world.publish(QoS::AtMostOnce, "stale");
        world.now = world.now + Duration::from_secs(5);
        world.cut();
        world.connect(false);
        assert_eq!(world.packets(), Vec::<String>::new());
        assert_eq!(world.outcomes(), [(1, Outcome::Dropped { why: DropCause::Expired })]);
    }
}

#[test]
fn what_the_transport_does_not_take_is_timed_out_all_the_same() {
    let timed =
        Publication::new(TopicName::new("t").unwrap(), b"x").timeout(Duration::from_secs(5));
    let doubt = Outcome::Indeterminate { why: Doubt::TimedOut };
    let mut world = World::online(brief(Version::V5_0));
    assert!(world.session.publish(world.now, &timed).is_ok());
    let due = world.now + Duration::from_secs(5);
    assert_eq!(world.session.poll_timeout(), Some(due));
    world.session.on_timeout(due);
    assert_eq!(world.outcomes(), [(1, doubt)]);
    world.flush();
    assert_eq!(world.outcomes(), []);
    // Once it is written, there is nothing to wait for.
    let is_waited_for = |world: &World, due| world.session.poll_timeout() == Some(due);
    assert!(world.session.publish(world.now, &timed).is_ok());
    assert!(is_waited_for(&world, due));
    world.flush();
    assert!(!is_waited_for(&world, due));
    let operation = world.session.publish(world.now, &timed).unwrap();
    assert!(world.session.cancel(world.now, operation));
    assert!(!is_waited_for(&world, due));
    // One that was taken back waits no longer than it was to wait.
    assert!(world.session.publish(world.now, &timed).is_ok());
    world.now = world.now + Duration::from_secs(4);
    world.cut();
    world.events();
    world.advance(Duration::from_secs(1));
    assert_eq!(world.outcomes(), [(4, Outcome::Dropped { why: DropCause::TimedOut })]);
}

#[test]
fn an_operation_can_be_cancelled_wherever_it_is() {
    let mut world = World::new(brief(Version::V5_0));
    let waiting = world.publish(QoS::AtLeastOnce, "a");
    let request = world.subscribe(&["a"], QoS::AtMostOnce);
    for operation in [waiting, request] {
        assert!(world.session.cancel(world.now, operation));
        assert!(!world.session.cancel(world.now, operation));
    }
    world.connect(false);
    assert_eq!(world.packets(), Vec::<String>::new());
    let sent = world.publish(QoS::AtLeastOnce, "b");
    let request = world.subscribe(&["a"], QoS::AtMostOnce);
    for operation in [sent, request] {
        assert!(world.session.cancel(world.now, operation));
        assert!(!world.session.cancel(world.now, operation));
    }
    let ended = world.events().into_iter().filter_map(|event| match event {
        Event::Published { outcome, .. } => Some(format!("{outcome:?}")),
        Event::Subscribed { outcome, .. } => Some(format!("{outcome:?}")),
        _ => None,
    });
    let [dropped, doubt] = ["Dropped { why: Cancelled }", "Indeterminate { why: Cancelled }"];
    assert_eq!(ended.collect::<Vec<_>>(), [dropped, dropped, doubt, doubt]);
    world.ack(PacketType::Puback, 1);
    world.suback(2, &[noctule_packet::ReasonCode::Success]);
    assert_eq!((world.events(), world.session.granted("a").is_some()), (vec![], true));
}

/// Opening the transport may have taken some of the time already.
#[test]
fn connack_may_be_due_earlier() {
    for (at, expected) in [(3_000, 3_000), (60_000, 30_000)] {
        let mut world = World::new(brief(Version::V5_0));
        let began = world.now;
        world.session.transport_up(began);
        world.session.connect_by(began + Duration::from_millis(at));
        assert_eq!(world.session.poll_timeout(), Some(began + Duration::from_millis(expected)));
        world.session.on_timeout(began + Duration::from_millis(expected));
        assert_eq!(ended(&mut world), Some(Ended::ConnectTimeout));
        world.session.connect_by(began);
        assert_eq!(world.session.poll_timeout(), None);
    }
}

/// How long answers have taken.
fn round_trips(world: &mut World) -> Vec<u64> {
    let events = world.events().into_iter();
    let taken = events.filter_map(|event| match event {
        Event::PingAnswered { round_trip } => Some(round_trip.as_secs()),
        _ => None,
    });
    taken.collect()
}

#[test]
fn how_long_a_ping_takes_is_told() {
    for version in VERSIONS {
        let mut settings = brief(version);
        settings.connect.keep_alive = 10;
        (settings.ping_timeout, settings.validation) = (None, Validation::Strict);
        let mut world = World::new(settings);
        assert!(!world.session.ping(world.now), "there is no connection");
        world.connect(false);
        world.packets();
        assert!(world.session.ping(world.now));
        assert_eq!(world.packets(), ["PINGREQ"]);
        world.advance(Duration::from_secs(3));
        // One is on its way.
        assert!(world.session.ping(world.now));
        assert_eq!(world.packets(), Vec::<String>::new());
        world.say(&Packet::Pingresp);
        assert_eq!(round_trips(&mut world), [3]);
        // Those that are sent by themselves are answered in order.
        world.advance(Duration::from_secs(7));
        world.advance(Duration::from_secs(10));
        assert_eq!(world.packets(), ["PINGREQ", "PINGREQ"]);
        world.advance(Duration::from_secs(2));
        world.say(&Packet::Pingresp);
        world.say(&Packet::Pingresp);
        assert_eq!(round_trips(&mut world), [12, 2]);
    }
}

#[test]
fn a_ping_of_the_user_has_its_time_too() {
    let mut settings = brief(Version::V5_0);
    settings.connect.keep_alive = 0;
    settings.ping_timeout = Some(Duration::from_secs(5));
    let mut world = World::online(settings);
    assert_eq!(world.session.poll_timeout(), None);
    world.session.ping(world.now);
    world.advance(Duration::from_secs(5));
    assert_eq!(ended(&mut world), Some(Ended::PingTimeout));
}
