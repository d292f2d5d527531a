//! Byte credit between shards: a publisher whose publication needs a shard that has been sent
//! enough waits until it has dealt with that, and everybody else goes on.

use noctule_broker_core::{Authorization, Settings};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting};

const V5: Version = Version::V5_0;

/// Three shards: "p" and "q" publish from the first one, "s" is at home on the second, "u" on the
/// third. A thousand bytes may be on their way between two of them.
fn three(change: impl FnOnce(&mut Settings)) -> Broker {
    let homes = [("p", 0), ("q", 0), ("own", 0), ("s", 1), ("u", 2), ("kept", 1)];
    Broker::placed(3, &homes, |settings| {
        settings.limits.forward_bytes_max = 1_000;
        change(settings);
    })
}

fn subscriber(broker: &Broker, name: &str, topic: &str) -> Client {
    let mut client = broker.client(V5, name);
    client.subscribe(&[(topic, QoS::AtLeastOnce)]);
    client
}

fn numbered(topic: &str, number: u16, qos: QoS) -> OwnedPublish {
    let publish = OwnedPublish::new(topic, number.to_string(), qos);
    if qos > QoS::AtMostOnce { publish.packet_id(number) } else { publish }
}

/// Fills the window to the second shard with one publication that is larger than it.
fn fill(broker: &Broker, client: &mut Client, topic: &str) {
    client.publish(topic, "x".repeat(2_000), QoS::AtMostOnce);
    assert_eq!(broker.letters().last().map(|(from, to, _)| (*from, *to)), Some((0, 1)));
}

fn is_publication(letter: &str) -> bool {
    ["Forward", "Run"].contains(&letter)
}

fn paused(broker: &Broker) -> u64 {
    broker.look(|shards| shards.statistics().publish_paused)
}

#[test]
fn a_publisher_waits_for_the_shard_that_has_been_sent_enough() {
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = three(|_| {});
            let mut subscriber = subscriber(&broker, "s", "t");
            let mut publisher = broker.client(version, "p");
            broker.hold_mail();
            fill(&broker, &mut publisher, "t");
            publisher.send_publish(&numbered("t", 1, qos));
            publisher.send_publish(&numbered("t", 2, qos));
            publisher.send_pingreq();
            assert_eq!(broker.letters().len(), 1, "nothing more is sent");
            assert_eq!(paused(&broker), 1, "the second one is not even read");
            broker.trace();
            assert_eq!(broker.carry(0, 1), "Forward");
            assert!(!broker.trace().contains(&"Write PINGRESP".to_owned()));
            assert_eq!(broker.carry(1, 0), "Credit");
            assert_eq!(broker.carry_between(0, 1).len(), 2);
            broker.answer_all();
            match qos {
                QoS::AtMostOnce => publisher.expect_pingresp(),
                QoS::AtLeastOnce => {
                    publisher.expect_pingresp();
                    publisher.expect_puback(1);
                    publisher.expect_puback(2);
                }
                QoS::ExactlyOnce => {
                    publisher.expect_pingresp();
                    publisher.expect_pubrec(1);
                    publisher.expect_pubrec(2);
                }
            }
            assert_eq!(subscriber.receive().payload.len(), 2_000);
            assert_eq!([subscriber.receive().payload, subscriber.receive().payload], [b"1", b"2"]);
            assert_eq!(paused(&broker), 1);
        }
    }
}

#[test]
fn acknowledgements_keep_the_order_of_publications_that_waited() {
    spec!("MQTT5-4.6.0-2", "MQTT311-4.6.0-2");
    let broker = three(|_| {});
    let _subscribers = [subscriber(&broker, "s", "t"), subscriber(&broker, "u", "u")];
    let mut publisher = broker.client(V5, "p");
    let mut other = broker.client(V5, "q");
    broker.hold_mail();
    publisher.send_publish(&numbered("t", 1, QoS::AtLeastOnce));
    fill(&broker, &mut other, "t");
    for (topic, number) in [("t", 2), ("u", 3), ("u", 4), ("t", 5)] {
        publisher.send_publish(&numbered(topic, number, QoS::AtLeastOnce));
    }
    assert_eq!(paused(&broker), 1);
    broker.answer_all();
    for number in 1..=5 {
        publisher.expect_puback(number);
    }
    publisher.expect_nothing_before_pong();
}

#[test]
fn others_go_on_that_need_other_shards_or_none() {
    let broker = three(|_| {});
    let mut near = subscriber(&broker, "own", "own");
    let mut far = subscriber(&broker, "u", "u");
    let mut full = subscriber(&broker, "s", "t");
    let [mut waits, mut goes_on] = ["p", "q"].map(|name| broker.client(V5, name));
    broker.hold_mail();
    fill(&broker, &mut waits, "t");
    waits.send_publish(&numbered("t", 1, QoS::AtLeastOnce));
    goes_on.publish("own", "near", QoS::AtLeastOnce);
    assert_eq!(near.receive().text(), "near");
    goes_on.send_publish(&numbered("u", 1, QoS::AtLeastOnce));
    assert_eq!([broker.carry(0, 2), broker.carry(2, 0)], ["Forward", "Answer"]);
    goes_on.expect_puback(1);
    assert_eq!(far.receive().text(), "1");
    goes_on.expect_nothing_before_pong();
    // The way back is not full.
    let mut back = broker.client(V5, "s2");
    back.expect_nothing_before_pong();
    broker.answer_all();
    waits.expect_puback(1);
    assert_eq!(full.receive_all().len(), 2);
}

#[test]
fn a_publication_that_goes_to_two_full_shards_waits_for_both() {
    let broker = three(|_| {});
    let mut subscribers = ["s", "u"].map(|name| subscriber(&broker, name, "t"));
    let mut publisher = broker.client(V5, "p");
    broker.hold_mail();
    publisher.publish("t", "x".repeat(2_000), QoS::AtMostOnce);
    publisher.send_publish(&numbered("t", 1, QoS::AtLeastOnce));
    assert_eq!([broker.carry(0, 2), broker.carry(2, 0)], ["Forward", "Credit"]);
    assert_eq!(broker.letters(), [(0, 1, "Forward".to_owned())], "the other one is still full");
    assert_eq!([broker.carry(0, 1), broker.carry(1, 0)], ["Forward", "Credit"]);
    assert_eq!([broker.carry(0, 1), broker.carry(0, 2)], ["Forward"; 2]);
    broker.answer_all();
    publisher.expect_puback(1);
    assert_eq!(subscribers.each_mut().map(|client| client.receive_all().len()), [2, 2]);
}

#[test]
fn many_publishers_that_wait_go_on_one_after_the_other_and_lose_nothing() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let broker = three(|_| {});
        let mut subscriber = subscriber(&broker, "s", "t");
        let names: Vec<String> = broker.names_at(broker.home("p"), "p").take(10).collect();
        let mut publishers: Vec<Client> =
            names.iter().map(|name| broker.client(V5, name)).collect();
        broker.hold_mail();
        for number in 1..=5 {
            for publisher in &mut publishers {
                let text = format!("{number}{}", "x".repeat(300));
                let publish = OwnedPublish { payload: text.into(), ..numbered("t", number, qos) };
                publisher.send_publish(&publish);
            }
        }
        assert!(broker.letters().len() <= 4, "{:?}", broker.letters());
        let mut most = 0;
        while let Some((from, to, _)) = broker.letters().first().cloned() {
            broker.carry(from, to);
            let forwards =
                broker.letters().iter().filter(|(_, _, name)| is_publication(name)).count();
            most = most.max(forwards);
        }
        assert!(most <= 4, "{most}");
        assert!(paused(&broker) >= 10);
        broker.answer_all();
        assert_eq!(subscriber.receive_all().len(), 50, "{qos:?}");
    }
}

#[test]
fn what_a_lost_connection_waited_with_is_not_published() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = three(|_| {});
            let mut subscriber = subscriber(&broker, "s", "t");
            let mut publisher = broker.lasting(version, "p");
            let mut next = broker.client(version, "q");
            broker.hold_mail();
            fill(&broker, &mut publisher, "t");
            publisher.send_publish(&numbered("t", 1, qos));
            next.send_publish(&numbered("t", 2, qos));
            drop(publisher);
            broker.answer_all();
            assert_eq!(subscriber.receive().payload.len(), 2_000);
            assert_eq!(subscriber.receive().text(), "2", "the next in line goes on");
            subscriber.expect_nothing_before_pong();
            // Its client repeats it, which is the first time.
            let mut publisher = broker.connect(&lasting(version, "p"));
            let again = OwnedPublish { dup: true, ..numbered("t", 1, qos) };
            assert!(!publisher.publish_with(&again).is_error());
            assert_eq!(subscriber.receive().text(), "1");
            subscriber.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_session_that_is_taken_over_while_it_waits_goes_on_with_the_new_connection() {
    for version in VERSIONS {
        let broker = three(|_| {});
        let mut subscriber = subscriber(&broker, "s", "t");
        let mut old = broker.lasting(version, "p");
        broker.hold_mail();
        fill(&broker, &mut old, "t");
        old.send_publish(&numbered("t", 1, QoS::ExactlyOnce));
        let mut new = broker.connect(&lasting(version, "p"));
        old.expect_refused(ReasonCode::SessionTakenOver);
        new.send_publish(&OwnedPublish { dup: true, ..numbered("t", 1, QoS::ExactlyOnce) });
        broker.answer_all();
        new.expect_pubrec(1);
        new.send_pubrel(1);
        new.expect_pubcomp(1);
        assert_eq!(subscriber.receive().payload.len(), 2_000);
        assert_eq!(subscriber.receive().text(), "1");
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn what_expires_while_it_waits_is_acknowledged_and_not_delivered() {
    spec!("MQTT5-3.3.2-5");
    let broker = three(|_| {});
    let quiet = |name: &str| broker.connect(&OwnedConnect::v5(name).keep_alive(0));
    let [mut publisher, mut subscriber] = ["p", "s"].map(quiet);
    subscriber.subscribe(&[("t", QoS::AtLeastOnce)]);
    broker.hold_mail();
    fill(&broker, &mut publisher, "t");
    let publish = numbered("t", 1, QoS::AtLeastOnce).message_expiry_interval(5);
    publisher.send_publish(&publish);
    broker.advance_seconds(6);
    broker.answer_all();
    publisher.expect_puback(1);
    assert_eq!(subscriber.receive().payload.len(), 2_000);
    subscriber.expect_nothing_before_pong();
}

#[test]
fn a_retained_message_waits_for_the_shard_that_keeps_it() {
    let broker = three(|_| {});
    let _subscriber = subscriber(&broker, "s", "t");
    let mut publisher = broker.client(V5, "p");
    broker.hold_mail();
    fill(&broker, &mut publisher, "t");
    publisher.send_publish(&numbered("kept", 1, QoS::AtLeastOnce).retain(true));
    assert_eq!((broker.letters().len(), paused(&broker)), (1, 1));
    broker.answer_all();
    publisher.expect_puback(1);
    assert_eq!(broker.look(|shards| shards.gauges().retained_messages), 1);
}

#[test]
fn authorisation_comes_first_and_is_asked_once() {
    let broker = three(|settings| settings.authorization = Authorization::Ask);
    let mut subscriber = subscriber(&broker, "s", "t");
    let mut publisher = broker.client(V5, "p");
    publisher.publish("t", "x".repeat(10), QoS::AtLeastOnce);
    broker.hold_mail();
    for number in [1, 2] {
        let text = "x".repeat(2_000);
        let publish = numbered("t", number, QoS::AtLeastOnce);
        publisher.send_publish(&OwnedPublish { payload: text.into(), ..publish });
    }
    broker.answer();
    assert_eq!(broker.letters().len(), 1);
    broker.answer_first(|effect| matches!(effect, noctule_broker_core::Effect::Authorize { .. }));
    assert_eq!((broker.letters().len(), paused(&broker)), (1, 1));
    broker.trace();
    broker.answer_all();
    assert!(!broker.trace().contains(&"Authorize".to_owned()));
    publisher.expect_puback(1);
    publisher.expect_puback(2);
    assert_eq!(subscriber.receive_all().len(), 3);
}

#[test]
fn two_that_ask_and_two_that_answer_beyond_their_windows_do_not_stand_still() {
    let broker = three(|_| {});
    let mut askers = ["p", "q"].map(|name| subscriber(&broker, name, &format!("to/{name}")));
    let names: Vec<String> = broker.names_at(broker.home("s"), "answers").take(2).collect();
    let mut answerers: Vec<Client> = ["p", "q"]
        .iter()
        .zip(&names)
        .map(|(asker, name)| subscriber(&broker, name, &format!("ask/{asker}")))
        .collect();
    for _ in 0..3 {
        broker.hold_mail();
        for (at, name) in ["p", "q"].into_iter().enumerate() {
            for _ in 0..10 {
                askers[at].publish(&format!("ask/{name}"), [b'x'; 700], QoS::AtMostOnce);
                answerers[at].publish(&format!("to/{name}"), [b'y'; 700], QoS::AtMostOnce);
            }
        }
        assert_eq!(broker.letters().len(), 4, "two each way");
        let paused_before = paused(&broker);
        broker.answer_all();
        assert!(paused(&broker) > paused_before);
        for client in askers.iter_mut().chain(&mut answerers) {
            assert_eq!(client.receive_all().len(), 10);
        }
    }
}
