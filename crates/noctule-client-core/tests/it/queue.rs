//! The queue: what it keeps, what it does when it is full, and in which order it is emptied.

use noctule_client_core::{
    DropCause, Event, Keep, Outcome, Overflow, Publication, PublishRefused, Settings,
};
use noctule_packet::{ConnackProperties, PacketType, QoS, TopicName, Version};

use crate::world::{World, brief};

fn bounded(overflow: Overflow) -> Settings {
    let mut settings = brief(Version::V5_0);
    settings.queue.overflow = overflow;
    settings.queue.count_max = 3;
    settings
}

fn try_publish(world: &mut World, qos: QoS, payload: &str) -> Result<u64, PublishRefused> {
    let topic = TopicName::new("t").unwrap();
    let publication = Publication::new(topic, payload.as_bytes()).qos(qos);
    world.session.publish(world.now, &publication).map(|operation| operation.value())
}

#[test]
fn each_policy_keeps_what_it_says() {
    for (keep, kept) in [
        (Keep::All, [true, true, true]),
        (Keep::Acknowledged, [false, true, true]),
        (Keep::AtLeastOnce, [false, true, true]),
        (Keep::Nothing, [false, false, false]),
    ] {
        let mut settings = brief(Version::V5_0);
        settings.queue.keep = keep;
        let mut world = World::new(settings);
        let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        let accepted =
            levels.map(|qos| try_publish(&mut world, qos, "x") != Err(PublishRefused::Offline));
        assert_eq!(accepted, kept, "{keep:?}");
    }
}

#[test]
fn what_is_not_kept_ends_with_the_connection() {
    for (keep, left) in [(Keep::All, 3), (Keep::AtLeastOnce, 1), (Keep::Nothing, 0)] {
        let mut settings = brief(Version::V5_0);
        settings.queue.keep = keep;
        settings.limits.outbound_bytes_max = 10;
        let mut world = World::online(settings);
        world.publish(QoS::AtMostOnce, "0123456789");
        world.publish(QoS::AtMostOnce, "a");
        world.publish(QoS::AtLeastOnce, "b");
        assert_eq!(world.session.queued(), 2);
        world.cut();
        assert_eq!(world.session.queued(), left, "{keep:?}");
        let dropped = world.outcomes().into_iter().map(|(_, outcome)| outcome);
        let whys = [DropCause::ConnectionLost, DropCause::Offline, DropCause::Offline];
        let expected = whys.map(|why| Outcome::Dropped { why }).into_iter().take(3 - left);
        assert!(dropped.eq(expected), "{keep:?}");
    }
}

/// P-02: whoever publishes more than there is room for decides what happens.
#[test]
fn a_full_queue_does_what_its_policy_says() {
    let full = Err(PublishRefused::Full { limit: "queue.count_max", maximum: 3 });
    let dropped = |operation| vec![(operation, Outcome::Dropped { why: DropCause::QueueFull })];
    for (overflow, answer, outcomes, left) in [
        (Overflow::Refuse, full, vec![], "abc"),
        (Overflow::Wait, full, vec![], "abc"),
        (Overflow::DropNewest, Ok(4), dropped(4), "abc"),
        (Overflow::DropOldest, Ok(4), dropped(1), "bcd"),
    ] {
        let mut world = World::new(bounded(overflow));
        for payload in ["a", "b", "c"] {
            assert!(try_publish(&mut world, QoS::AtLeastOnce, payload).is_ok());
        }
        assert_eq!(try_publish(&mut world, QoS::AtLeastOnce, "d"), answer, "{overflow:?}");
        assert_eq!(world.outcomes(), outcomes);
        world.connect(false);
        let sent: String = world.packets().iter().filter_map(|it| it.chars().last()).collect();
        assert_eq!(sent, left);
        let again = world.events().contains(&Event::RoomAgain);
        assert_eq!(again, overflow == Overflow::Wait);
    }
}

/// Whoever waits for room hears of it however it comes about.
#[test]
fn room_is_told_of_whether_messages_leave_expire_or_are_cancelled() {
    for way in ["sent", "cancelled", "expired"] {
        let mut settings = bounded(Overflow::Wait);
        settings.queue.age_max = Some(std::time::Duration::from_secs(5));
        let mut world = World::new(settings);
        let operations = ["a", "b", "c"].map(|payload| world.publish(QoS::AtLeastOnce, payload));
        assert!(try_publish(&mut world, QoS::AtLeastOnce, "d").is_err());
        assert_eq!(world.events(), []);
        match way {
            "sent" => world.connect(false),
            "cancelled" => {
                for operation in operations {
                    assert!(world.session.cancel(world.now, operation));
                }
            }
            _ => world.advance(std::time::Duration::from_secs(5)),
        }
        let told = world.events().into_iter().filter(|event| *event == Event::RoomAgain);
        assert_eq!(told.count(), 1, "{way}");
        assert!(try_publish(&mut world, QoS::AtLeastOnce, "d").is_ok());
    }
}

#[test]
fn bytes_are_bounded_like_messages() {
    let mut settings = brief(Version::V5_0);
    settings.queue.bytes_max = 1_000;
    settings.queue.overflow = Overflow::DropOldest;
    let mut world = World::new(settings);
    for _ in 0..100 {
        assert!(try_publish(&mut world, QoS::AtMostOnce, &"x".repeat(100)).is_ok());
        assert!(world.session.queued_bytes() <= 1_000);
    }
    assert_eq!(world.outcomes().len() + world.session.queued(), 100);
    // What alone is too large is refused, whatever else is dropped for it.
    assert!(try_publish(&mut world, QoS::AtMostOnce, &"x".repeat(2_000)).is_err());
    assert!(world.session.queued() > 0);
}

/// P-01, P-29: a quota that is used up delays messages of QoS 1 and 2 and nothing else.
#[test]
fn qos_0_waits_for_no_quota_and_overtakes_no_qos_0() {
    let mut world = World::new(brief(Version::V5_0));
    let properties = ConnackProperties { receive_maximum: Some(1), ..ConnackProperties::default() };
    for (qos, payload) in [(1, "a"), (1, "b"), (0, "c"), (1, "d"), (0, "e")] {
        world.publish(QoS::from_level(qos).unwrap(), payload);
    }
    world.connect_with(false, properties);
    assert_eq!(world.packets(), ["PUBLISH 1 t:a", "PUBLISH t:c", "PUBLISH t:e"]);
    world.publish(QoS::AtMostOnce, "f");
    world.publish(QoS::AtLeastOnce, "g");
    assert_eq!(world.packets(), ["PUBLISH t:f"]);
    for (packet_id, next) in [(1, "PUBLISH 2 t:b"), (2, "PUBLISH 3 t:d"), (3, "PUBLISH 4 t:g")] {
        world.ack(PacketType::Puback, packet_id);
        assert_eq!(world.packets(), [next]);
    }
}

/// P-01: whoever publishes whenever a message arrives is never stopped.
#[test]
fn publishing_from_the_message_handler_a_hundred_thousand_times_does_not_stall() {
    let mut world = World::online(brief(Version::V5_0));
    let mut handled = 0;
    for round in 0..1_000 {
        for _ in 0..100 {
            world.message(QoS::AtMostOnce, 0, "t", b"x");
        }
        for event in world.events() {
            if let Event::Message { .. } = event {
                world.publish(QoS::AtLeastOnce, "answer");
                handled += 1;
            }
        }
        let sent = world.packets();
        assert_eq!(sent.len(), 100, "round {round}");
        for packet in sent {
            let packet_id = packet.split(' ').nth(1).unwrap().parse().unwrap();
            world.ack(PacketType::Puback, packet_id);
        }
        assert_eq!(world.outcomes().len(), 100);
    }
    assert_eq!((handled, world.session.in_flight()), (100_000, 0));
}

#[test]
fn what_is_in_flight_is_bounded_in_bytes() {
    let mut settings = brief(Version::V5_0);
    settings.limits.in_flight_bytes_max = 1_000;
    let mut world = World::online(settings);
    for _ in 0..3 {
        world.publish(QoS::AtLeastOnce, &"x".repeat(600));
    }
    assert_eq!((world.session.in_flight(), world.session.queued()), (1, 2));
    // One that would fit does not overtake those that do not.
    world.publish(QoS::AtLeastOnce, "small");
    assert_eq!((world.session.in_flight(), world.session.queued()), (1, 3));
    assert_eq!(world.packets().len(), 1);
    world.ack(PacketType::Puback, 1);
    assert_eq!((world.session.in_flight(), world.session.queued()), (1, 2));
}
