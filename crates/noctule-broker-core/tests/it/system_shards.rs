//! The `$SYS` topics of a broker of several shards: sums over all of them, said once.

use noctule_broker_core::{Durability, Settings};
use noctule_packet::{QoS, ReasonCode, Version};
use noctule_testkit::{OwnedConnect, OwnedPublish};

use crate::broker::{Broker, Client};

const V5: Version = Version::V5_0;

/// Three shards with a client of each, and "$SYS" every ten seconds.
fn three(change: impl FnOnce(&mut Settings)) -> (Broker, [Client; 3]) {
    let homes = [("a", 0), ("b", 1), ("c", 2)];
    let broker = Broker::placed(3, &homes, |settings| {
        settings.system_interval_seconds = 10;
        change(settings);
    });
    let clients = ["a", "b", "c"].map(|name| client(&broker, name));
    (broker, clients)
}

fn client(broker: &Broker, name: &str) -> Client {
    broker.connect(&OwnedConnect::v5(name).keep_alive(0))
}

/// What is said from now on about some names.
fn subscribe(client: &mut Client, names: &[&str]) {
    for name in names {
        client.subscribe(&[(&format!("$SYS/broker/{name}"), QoS::AtMostOnce)]);
    }
    client.publishes_before_pong();
}

/// All that has been said, as name and value.
fn said(client: &mut Client) -> Vec<(String, String)> {
    let said = client.publishes_before_pong().into_iter().map(|message| {
        let name = message.topic.trim_start_matches("$SYS/broker/").to_owned();
        (name, message.text().to_owned())
    });
    let mut said: Vec<_> = said.collect();
    said.sort_unstable();
    said
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_shard_serves_the_sums_of_all_once_in_each_interval() {
    let (broker, mut clients) = three(|_| {});
    let names = [
        "clients/connected",
        "clients/disconnected",
        "retained messages/count",
        "shared_subscriptions/count",
        "subscriptions/count",
    ];
    for client in &mut clients {
        client.subscribe(&[("x", QoS::AtMostOnce), ("$share/g/y", QoS::AtMostOnce)]);
        subscribe(client, &names);
    }
    for number in 0..9 {
        let publish = OwnedPublish::new(&format!("t/{number}"), "1", QoS::AtLeastOnce);
        clients[0].publish_with(&publish.retain(true));
    }
    drop(broker.connect(&OwnedConnect::v5("d").keep_alive(0).resumable(1_000)));
    broker.advance_seconds(10);
    let expected = [
        ("clients/connected", "3"),
        ("clients/disconnected", "1"),
        ("retained messages/count", "9"),
        ("shared_subscriptions/count", "1"),
        ("subscriptions/count", "21"),
    ];
    for client in &mut clients {
        assert_eq!(said(client), pairs(&expected));
    }
    broker.advance_seconds(20);
    for client in &mut clients {
        assert_eq!(said(client).len(), 2 * names.len());
    }
}

#[test]
fn what_every_shard_has_counted_is_added_up() {
    let (broker, mut clients) = three(|_| {});
    let [a, b, c] = &mut clients;
    for client in [&mut *b, &mut *c] {
        client.subscribe(&[("x", QoS::AtMostOnce)]);
    }
    for publisher in 0..2 {
        let publisher = if publisher == 0 { &mut *b } else { &mut *c };
        (0..5).for_each(|_| publisher.publish("x", "1", QoS::AtMostOnce));
    }
    let counted = broker.look(|shards| shards.statistics());
    subscribe(a, &["publish/messages/received", "publish/messages/sent"]);
    assert_eq!((counted.publish_received, counted.publish_sent), (10, 20));
    broker.advance_seconds(10);
    let said = said(a);
    assert_eq!(said[0], ("publish/messages/received".to_owned(), "10".to_owned()));
    // Besides those of the subscription to this.
    let sent: u64 = said[1].1.parse().expect("a number");
    assert!((20..24).contains(&sent), "{sent}");
}

#[test]
fn nothing_is_said_before_all_shards_have_answered_and_nothing_twice() {
    let (broker, mut clients) = three(|_| {});
    subscribe(&mut clients[0], &["clients/connected", "uptime"]);
    broker.hold_mail();
    broker.advance_seconds(10);
    let asked: Vec<_> = broker.letters();
    let letter = |to| (0, to, "AskCounters".to_owned());
    assert_eq!(asked, [letter(1), letter(2)], "the first shard asks the others");
    for other in [2, 1] {
        assert_eq!(said(&mut clients[0]), []);
        assert_eq!(
            [broker.carry(0, other), broker.carry(other, 0)],
            ["AskCounters", "GiveCounters"]
        );
    }
    let expected = [("clients/connected", "3"), ("uptime", "10 seconds")];
    assert_eq!(said(&mut clients[0]), pairs(&expected));
    broker.carry_all();
    assert_eq!(said(&mut clients[0]), []);
}

#[test]
fn a_shard_that_answers_later_than_the_next_interval_is_not_counted_twice() {
    let (broker, mut clients) = three(|_| {});
    subscribe(&mut clients[0], &["clients/connected"]);
    broker.hold_mail();
    broker.advance_seconds(10);
    assert_eq!([broker.carry(0, 1), broker.carry(1, 0)], ["AskCounters", "GiveCounters"]);
    // The third shard is busy for longer than an interval.
    broker.advance_seconds(10);
    broker.carry_all();
    let said = said(&mut clients[0]);
    assert!(!said.is_empty() && said.iter().all(|(_, value)| value == "3"), "{said:?}");
}

#[test]
fn they_are_kept_by_the_first_shard_and_count_nowhere() {
    let (broker, clients) = three(|settings| settings.durability = Durability::Stored);
    broker.advance_seconds(30);
    assert_eq!(broker.look(|shards| shards.gauges().retained_messages), 0);
    assert!(!broker.trace().contains(&"Persist".to_owned()));
    broker.hold_mail();
    let mut looker = broker.client(V5, "c");
    crate::subscribe::send_subscribe(&mut looker, 7, &[("$SYS/#", 0)]);
    broker.carry_between(2, 0);
    broker.carry_between(2, 1);
    broker.carry_between(0, 2);
    broker.carry_between(1, 2);
    looker.expect_suback(7);
    let asked = broker.letters();
    assert_eq!(asked, [(2, 0, "AskRetained".to_owned())], "only the first shard is asked");
    broker.carry_all();
    assert!(looker.publishes_before_pong().len() > 20);
    drop(clients);
}

/// Whatever was last published there by another shard.
#[test]
fn no_client_publishes_to_the_topic_that_the_broker_has_just_published_to() {
    let (broker, mut clients) = three(|_| {});
    for client in &mut clients {
        client.subscribe(&[("$SYS/#", QoS::AtMostOnce)]);
        client.publishes_before_pong();
    }
    broker.advance_seconds(10);
    for client in &mut clients {
        let heard = client.publishes_before_pong();
        assert!(heard.len() > 10, "{heard:?}");
        for message in heard.iter().rev() {
            let publish = OwnedPublish::new(&message.topic, "mine", QoS::AtLeastOnce);
            client.send_publish(&publish.packet_id(1));
            client.expect_puback_with(1, ReasonCode::NotAuthorized);
        }
        client.expect_nothing_before_pong();
    }
}
