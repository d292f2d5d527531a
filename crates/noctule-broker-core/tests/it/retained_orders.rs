//! The races of retained messages: publisher, owner and subscriber on three shards, and many orders
//! in which they can hear of each other.

use std::cell::RefCell;

use noctule_broker_core::Placement;
use noctule_packet::{PacketType, QoS, Version};
use noctule_testkit::OwnedPublish;

use crate::broker::{Broker, Client, placement_of};
use crate::orders::{Act, Arrived, Choices, arrived, play, random_orders};
use crate::subscribe::send_subscribe;

const V5: Version = Version::V5_0;
const AT_MOST_ONCE: QoS = QoS::AtMostOnce;

/// Who publishes is at home on shard 0, the topic on shard 1, and who subscribes on shard 2.
fn placement() -> Placement {
    placement_of(3, &[("publisher", 0), ("t", 1), ("subscriber", 2), ("other", 2)])
}

fn retained(payload: &str) -> OwnedPublish {
    OwnedPublish::new("t", payload, AT_MOST_ONCE).retain(true)
}

/// A broker in which "old" is kept, and whose letters are held from now on.
fn with_old(placement: &Placement) -> (Broker, Client, Client) {
    let broker = Broker::with(|settings| settings.placement = *placement);
    let mut publisher = broker.client(V5, "publisher");
    publisher.publish_with(&retained("old"));
    let subscriber = broker.client(V5, "subscriber");
    (broker, publisher, subscriber)
}

/// What a subscriber has got, before and behind its SUBACK: text and flag.
fn got(broker: &Broker, subscriber: &Client) -> Vec<(String, bool)> {
    let mut packets = arrived(broker, subscriber);
    packets.retain(|packet| !matches!(packet, Arrived::Other(PacketType::Suback)));
    let publishes = packets.into_iter().map(|packet| match packet {
        Arrived::Publish(publish) => (publish.text().to_owned(), publish.retain),
        other => panic!("{other:?}"),
    });
    publishes.collect()
}

/// Plays these publications against one SUBSCRIBE in many orders and hands what the subscriber got
/// to `check`.
fn against_a_subscription(
    payloads: &[&'static str],
    prepare: impl Fn(&Broker) -> Option<Client>,
    check: impl Fn(&[(String, bool)]) -> bool,
) {
    let placement = placement();
    random_orders(300, |choices: &mut Choices| {
        let (broker, publisher, subscriber) = with_old(&placement);
        let other = prepare(&broker);
        broker.hold_mail();
        let (publisher, subscriber) = (RefCell::new(publisher), RefCell::new(subscriber));
        let publish = |payload: &'static str| {
            let publisher = &publisher;
            let act: Act<'_> = Box::new(move || {
                publisher.borrow_mut().publish_with(&retained(payload));
            });
            (payload, act)
        };
        let subscribe: Act<'_> =
            Box::new(|| send_subscribe(&mut subscriber.borrow_mut(), 9, &[("t", 0)]));
        let acts = vec![
            payloads.iter().map(|payload| publish(payload)).collect(),
            vec![("subscribe", subscribe)],
        ];
        let said = play(&broker, choices, acts);
        let got = got(&broker, &subscriber.borrow());
        assert!(check(&got), "{got:?} after {said:?}");
        drop(other);
    });
}

/// Whether `got` ends with `last`, has nothing twice, and nothing behind what is newer.
fn is_in_order(got: &[(String, bool)], all: &[&str]) -> bool {
    let places: Option<Vec<usize>> =
        got.iter().map(|(text, _)| all.iter().position(|known| known == text)).collect();
    places.is_some_and(|places| {
        places.is_sorted_by(|one, next| one < next) && places.last() == Some(&(all.len() - 1))
    })
}

#[test]
fn a_new_subscriber_learns_the_last_value_once_and_nothing_older_behind_it() {
    let check = |got: &[(String, bool)]| is_in_order(got, &["old", "new"]);
    against_a_subscription(&["new"], |_| None, check);
}

#[test]
fn so_it_does_when_its_shard_has_another_subscriber_already() {
    let with_other = |broker: &Broker| {
        let mut other = broker.client(V5, "other");
        other.subscribe(&[("t", AT_MOST_ONCE)]);
        Some(other)
    };
    let check = |got: &[(String, bool)]| is_in_order(got, &["old", "new"]);
    against_a_subscription(&["new"], with_other, check);
}

#[test]
fn so_it_does_when_one_value_follows_another() {
    let check = |got: &[(String, bool)]| is_in_order(got, &["old", "1", "2"]);
    against_a_subscription(&["1", "2"], |_| None, check);
}

#[test]
fn whoever_was_served_what_is_cleared_meanwhile_hears_of_that() {
    let check = |got: &[(String, bool)]| {
        let said: Vec<_> = got.iter().map(|(text, retain)| (text.as_str(), *retain)).collect();
        matches!(said[..], [] | [("", false)] | [("old", true), ("", false)])
    };
    against_a_subscription(&[""], |_| None, check);
}
