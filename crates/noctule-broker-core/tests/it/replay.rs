//! Replays: every retained message that a new subscription is owed arrives once, in one order,
//! however slowly its client takes them and whatever is published meanwhile.

use std::collections::BTreeMap;

use noctule_broker_core::{DropCause, Durability};
use noctule_packet::{QoS, RetainHandling, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting};

const MANY: usize = 200;

fn topic(number: usize) -> String {
    format!("t/{number:03}")
}

/// A broker with [`MANY`] retained messages, and who published them.
fn full(version: Version, window: u16, qos: QoS) -> (Broker, Client) {
    let broker = Broker::with(|settings| settings.limits.in_flight_max = window);
    let mut publisher = broker.client(version, "publisher");
    for number in 0..MANY {
        keep(&mut publisher, &topic(number), "old", qos);
    }
    (broker, publisher)
}

#[track_caller]
fn keep(client: &mut Client, topic: &str, payload: &str, qos: QoS) {
    let publish = OwnedPublish::new(topic, payload, qos).retain(true);
    assert!(!client.publish_with(&publish).is_error());
}

/// Acknowledges one message after the other until nothing comes any more.
fn receive_all(client: &mut Client, first: Option<OwnedPublish>) -> Vec<OwnedPublish> {
    let mut all = Vec::new();
    let mut next = first;
    loop {
        let message = match next.take() {
            Some(message) => message,
            None => client.expect_publish(),
        };
        if message.topic == "end" {
            client.acknowledge(&message);
            client.expect_nothing_before_pong();
            return all;
        }
        client.acknowledge(&message);
        all.push(message);
    }
}

/// Publishes what comes behind everything that a replay of QoS 1 or 2 leads to.
fn finish(client: &mut Client, first: Option<OwnedPublish>) -> Vec<OwnedPublish> {
    client.subscribe(&[("end", QoS::AtLeastOnce)]);
    receive_all(client, first)
}

fn topics(messages: &[OwnedPublish]) -> Vec<&str> {
    messages.iter().map(|message| message.topic.as_str()).collect()
}

/// All topics, in the order of a replay.
fn all_topics(broker: &Broker) -> Vec<String> {
    broker.in_replay_order(&(0..MANY).map(topic).collect::<Vec<_>>())
}

#[test]
fn a_window_of_any_size_lets_every_message_pass_once_and_in_order() {
    spec!("MQTT5-3.3.1-9", "MQTT311-3.3.1-6");
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for window in [1, 2, 3, 63, 64, 65, 1_000] {
                let (broker, mut publisher) = full(version, window, qos);
                keep(&mut publisher, "end", "", QoS::AtMostOnce);
                keep(&mut publisher, "end", "end", QoS::AtLeastOnce);
                let mut subscriber = broker.client(version, "subscriber");
                subscriber.subscribe(&[("t/#", qos)]);
                let messages = finish(&mut subscriber, None);
                assert_eq!(topics(&messages), all_topics(&broker), "{version}, window {window}");
                assert!(messages.iter().all(|message| message.retain && message.qos == qos));
            }
        }
    }
}

#[test]
fn a_receive_maximum_of_1_gets_one_message_for_each_acknowledgement() {
    spec!("MQTT5-3.3.1-9");
    let (broker, _publisher) = full(Version::V5_0, 1_000, QoS::AtLeastOnce);
    let mut subscriber = broker.connect(&OwnedConnect::v5("subscriber").receive_maximum(1));
    subscriber.subscribe(&[("t/+", QoS::AtLeastOnce)]);
    for topic in all_topics(&broker) {
        let message = subscriber.expect_publish();
        assert_eq!(message.topic, topic);
        subscriber.expect_nothing_before_pong();
        subscriber.acknowledge(&message);
    }
    subscriber.expect_nothing_before_pong();
}

#[test]
fn messages_of_qos_0_do_not_wait_for_the_window() {
    for version in VERSIONS {
        let (broker, mut publisher) = full(version, 1, QoS::AtLeastOnce);
        keep(&mut publisher, "first", "1", QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("first", QoS::AtLeastOnce)]);
        let first = subscriber.expect_publish();
        subscriber.subscribe(&[("t/#", QoS::AtMostOnce)]);
        for topic in all_topics(&broker) {
            assert_eq!(subscriber.expect_publish().topic, topic);
        }
        subscriber.expect_nothing_before_pong();
        subscriber.acknowledge(&first);
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn what_is_published_meanwhile_arrives_live_and_never_before_what_is_older() {
    for version in VERSIONS {
        let (broker, mut publisher) = full(version, 1, QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("t/#", QoS::AtLeastOnce)]);
        let all = all_topics(&broker);
        let mut got: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
        let mut note = |message: &OwnedPublish| {
            let said = (message.text().to_owned(), message.retain);
            got.entry(message.topic.clone()).or_default().push(said);
        };
        for round in 0..20 {
            let message = subscriber.receive();
            note(&message);
            // One that was served, one that was not yet, one that is not retained, one that is new.
            keep(&mut publisher, &all[round / 2], &format!("{round:02}"), QoS::AtLeastOnce);
            keep(&mut publisher, &all[100 + round], "newer", QoS::AtLeastOnce);
            publisher.publish(&all[150 + round], "live", QoS::AtLeastOnce);
            keep(&mut publisher, &format!("t/new/{round}"), "new", QoS::AtLeastOnce);
        }
        keep(&mut publisher, "end", "end", QoS::AtLeastOnce);
        finish(&mut subscriber, None).iter().for_each(&mut note);
        for (topic, said) in &got {
            let replayed: Vec<_> = said.iter().filter(|(_, retain)| *retain).collect();
            assert!(replayed.len() <= 1, "{topic}: {said:?}");
            let number = all.iter().position(|known| known == topic);
            let expected: &[(&str, bool)] = match number {
                None => &[("new", false)],
                Some(100..120) => &[("newer", false)],
                Some(150..170) => &[("live", false), ("old", true)],
                Some(0) => &[("old", true), ("00", false), ("01", false)],
                Some(1..10) => continue,
                Some(_) => &[("old", true)],
            };
            let said: Vec<_> = said.iter().map(|(text, retain)| (text.as_str(), *retain)).collect();
            assert_eq!(said, expected, "{version} {topic}");
        }
        assert_eq!(got.len(), MANY + 20);
        for number in 1..10 {
            let said = &got[&all[number]];
            let texts: Vec<_> = said.iter().map(|(text, _)| text.clone()).collect();
            let (older, newer) = (format!("{:02}", 2 * number), format!("{:02}", 2 * number + 1));
            assert!(texts.ends_with(&[older, newer]), "{texts:?}");
            let replayed = said.iter().position(|(_, retain)| *retain);
            assert!(replayed.is_none_or(|at| at == 0), "{said:?}");
        }
    }
}

#[test]
fn what_is_cleared_meanwhile_is_not_served_and_takes_nothing_else_along() {
    for version in VERSIONS {
        let (broker, mut publisher) = full(version, 1, QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        let live_too = [("t/#", QoS::AtLeastOnce)];
        subscriber.subscribe(&live_too);
        let first = subscriber.expect_publish();
        // The very one that was sent last, and later ones.
        let all = all_topics(&broker);
        for number in [0, 1, 2, 100, 198, 199] {
            keep(&mut publisher, &all[number], "", QoS::AtMostOnce);
        }
        publisher.expect_nothing_before_pong();
        keep(&mut publisher, "end", "end", QoS::AtLeastOnce);
        let messages = finish(&mut subscriber, Some(first));
        let (replayed, live): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|message| message.retain);
        assert_eq!(topics(&live).len(), 6);
        let left = (0..MANY).filter(|number| ![1, 2, 100, 198, 199].contains(number));
        assert_eq!(topics(&replayed), left.map(|number| &*all[number]).collect::<Vec<_>>());
    }
}

#[test]
fn unsubscribing_ends_a_replay() {
    for version in VERSIONS {
        let (broker, mut publisher) = full(version, 2, QoS::AtLeastOnce);
        keep(&mut publisher, "z", "1", QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("t/#", QoS::AtLeastOnce), ("z", QoS::AtLeastOnce)]);
        let sent = [subscriber.expect_publish(), subscriber.expect_publish()];
        subscriber.unsubscribe(&["t/#"]);
        sent.iter().for_each(|message| subscriber.acknowledge(message));
        assert_eq!(subscriber.receive().topic, "z");
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_replay_goes_on_when_the_session_does() {
    for version in VERSIONS {
        let (broker, mut publisher) = full(version, 3, QoS::AtLeastOnce);
        keep(&mut publisher, "end", "end", QoS::AtLeastOnce);
        let mut subscriber = broker.lasting(version, "subscriber");
        subscriber.subscribe(&[("t/#", QoS::AtLeastOnce)]);
        let all = all_topics(&broker);
        for topic in &all[..50] {
            assert_eq!(subscriber.receive().topic, *topic);
        }
        drop(subscriber);
        keep(&mut publisher, &all[120], "newer", QoS::AtLeastOnce);
        broker.advance_seconds(60);
        let mut subscriber = broker.connect(&lasting(version, "subscriber"));
        let messages = finish(&mut subscriber, None);
        let (replayed, live): (Vec<_>, Vec<_>) =
            messages.into_iter().partition(|message| message.retain);
        assert_eq!(topics(&live), [&all[120]]);
        let expected: Vec<_> = [&all[50..120], &all[121..]].concat();
        assert_eq!(topics(&replayed), expected, "{version}");
        let repeated = replayed.iter().filter(|message| message.dup).count();
        assert_eq!(repeated, 3, "what was in flight is sent again");
    }
}

#[test]
fn a_replay_goes_on_where_another_connection_takes_the_session_over() {
    for version in VERSIONS {
        let (broker, mut publisher) = full(version, 1, QoS::AtLeastOnce);
        keep(&mut publisher, "end", "end", QoS::AtLeastOnce);
        let mut old = broker.lasting(version, "subscriber");
        old.subscribe(&[("t/#", QoS::AtLeastOnce)]);
        let all = all_topics(&broker);
        assert_eq!(old.receive().topic, all[0]);
        let mut subscriber = broker.connect(&lasting(version, "subscriber"));
        let messages = finish(&mut subscriber, None);
        assert_eq!(topics(&messages), all[1..]);
    }
}

#[test]
fn a_replay_ends_with_its_session() {
    for version in VERSIONS {
        let (broker, _publisher) = full(version, 1, QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("t/#", QoS::AtLeastOnce)]);
        drop(subscriber);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn subscribing_again_in_the_middle_begins_the_replay_anew() {
    for version in VERSIONS {
        let (broker, mut publisher) = full(version, 1, QoS::AtLeastOnce);
        keep(&mut publisher, "end", "end", QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        for _ in 0..5 {
            subscriber.subscribe(&[("t/#", QoS::AtLeastOnce)]);
        }
        let first = subscriber.expect_publish();
        subscriber.acknowledge(&first);
        let messages = finish(&mut subscriber, None);
        let all = all_topics(&broker);
        assert_eq!(first.topic, all[0]);
        assert_eq!(topics(&messages), all);
    }
}

#[test]
fn subscribing_again_without_a_replay_lets_the_one_before_go_on_with_the_new_options() {
    let (broker, mut publisher) = full(Version::V5_0, 1, QoS::AtLeastOnce);
    keep(&mut publisher, "end", "end", QoS::AtLeastOnce);
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    subscriber.subscribe(&[("t/#", QoS::AtLeastOnce)]);
    let first = subscriber.expect_publish();
    for retain_handling in [RetainHandling::DoNotSend, RetainHandling::SendIfNew] {
        let options = SubscriptionOptions { retain_handling, ..Default::default() };
        subscriber.subscribe_with(Some(9), &[("t/#", options)]);
    }
    assert!(first.subscription_identifiers.is_empty() && first.qos == QoS::AtLeastOnce);
    let messages = finish(&mut subscriber, Some(first));
    assert_eq!(topics(&messages), all_topics(&broker));
    let changed = |message: &OwnedPublish| {
        message.qos == QoS::AtMostOnce && message.subscription_identifiers == [9]
    };
    assert!(messages[1..].iter().all(changed));
}

#[test]
fn a_replay_that_needs_no_window_any_more_does_not_wait_behind_one_that_does() {
    let (broker, mut publisher) = full(Version::V5_0, 1, QoS::AtLeastOnce);
    keep(&mut publisher, "u", "u", QoS::AtLeastOnce);
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    subscriber.subscribe(&[("t/#", QoS::AtLeastOnce), ("u", QoS::AtLeastOnce)]);
    let first = subscriber.expect_publish();
    subscriber.expect_nothing_before_pong();
    let retain_handling = RetainHandling::DoNotSend;
    let options = SubscriptionOptions { retain_handling, ..Default::default() };
    subscriber.subscribe_with(None, &[("u", options)]);
    let message = subscriber.expect_publish();
    assert_eq!((message.text(), message.qos), ("u", QoS::AtMostOnce));
    subscriber.acknowledge(&first);
    assert_eq!(subscriber.expect_publish().topic, all_topics(&broker)[1]);
}

/// So many that looking through all replays for each filter is felt.
#[test]
fn very_many_replays_begin_anew_and_each_is_served_once() {
    let broker = Broker::with(|settings| settings.limits.in_flight_max = 1);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    keep(&mut publisher, "first", "first", QoS::AtLeastOnce);
    keep(&mut publisher, "t/4999", "last", QoS::AtLeastOnce);
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    subscriber.subscribe(&[("first", QoS::AtLeastOnce)]);
    let first = subscriber.expect_publish();
    let filters: Vec<String> = (0..5_000).map(|number| format!("t/{number}")).collect();
    let filters: Vec<_> = filters.iter().map(|filter| (&**filter, QoS::AtLeastOnce)).collect();
    for _ in 0..5 {
        subscriber.subscribe(&filters);
    }
    subscriber.acknowledge(&first);
    assert_eq!(subscriber.receive().text(), "last");
    subscriber.expect_nothing_before_pong();
}

#[test]
fn what_is_published_between_a_subscription_and_its_suback_is_sent_once() {
    let broker = Broker::with(|settings| settings.durability = Durability::Stored);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    keep(&mut publisher, "a", "older", QoS::AtMostOnce);
    keep(&mut publisher, "b", "older", QoS::AtMostOnce);
    let mut subscriber = broker.lasting(Version::V5_0, "subscriber");
    broker.hold();
    subscriber.send_bytes(&noctule_testkit::packet_bytes(0x82, "0007 00 s'#' 00"));
    keep(&mut publisher, "a", "newer", QoS::AtMostOnce);
    while !broker.has_asked_nothing() {
        broker.answer();
    }
    let live = subscriber.receive();
    assert_eq!((live.topic.as_str(), live.text(), live.retain), ("a", "newer", false));
    subscriber.expect_suback(7);
    let replayed = subscriber.receive();
    assert_eq!((replayed.topic.as_str(), replayed.retain), ("b", true));
    subscriber.expect_nothing_before_pong();
}

#[test]
fn a_full_buffer_makes_a_replay_wait() {
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let broker = Broker::with(|settings| settings.limits.outbound_bytes_max = 2_000);
            let mut publisher = broker.client(version, "publisher");
            for number in 0..MANY {
                keep(&mut publisher, &topic(number), &"x".repeat(100), QoS::AtLeastOnce);
            }
            let mut subscriber = broker.client(version, "subscriber");
            broker.stall(&subscriber);
            // The answer does not come while nothing is read.
            subscriber.send_bytes(&subscribe_to_all(version, qos));
            let sent = broker.look(|shard| shard.statistics().publish_sent);
            assert!((10..30).contains(&sent), "{sent}");
            broker.unstall(&subscriber);
            subscriber.expect_suback(1);
            for topic in all_topics(&broker) {
                let message = subscriber.receive();
                assert_eq!((message.topic, message.qos), (topic, qos));
            }
            subscriber.expect_nothing_before_pong();
            assert_eq!(broker.look(|shard| shard.statistics().dropped_total()), 0);
        }
    }
}

fn subscribe_to_all(version: Version, qos: QoS) -> Vec<u8> {
    let properties = if version.is_v5() { "00" } else { "" };
    let notation = format!("0001 {properties} s't/#' {:02x}", qos as u8);
    noctule_testkit::packet_bytes(0x82, &notation)
}

#[test]
fn a_message_that_is_too_large_for_the_client_is_left_out_and_counted() {
    let (broker, mut publisher) = full(Version::V5_0, 1, QoS::AtLeastOnce);
    keep(&mut publisher, &topic(3), &"x".repeat(1_000), QoS::AtLeastOnce);
    keep(&mut publisher, "end", "end", QoS::AtLeastOnce);
    let connect = OwnedConnect::v5("subscriber").maximum_packet_size(200);
    let mut subscriber = broker.connect(&connect);
    subscriber.subscribe(&[("t/#", QoS::AtLeastOnce)]);
    let messages = finish(&mut subscriber, None);
    assert_eq!(messages.len(), MANY - 1);
    assert!(!topics(&messages).contains(&topic(3).as_str()));
    let dropped = broker.look(|shard| shard.statistics().dropped);
    assert_eq!(dropped[DropCause::PacketTooLarge.index()], 1);
}
