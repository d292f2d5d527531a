//! Retained messages whose topics belong to another shard than publisher and subscriber.

use std::time::Duration;

use noctule_broker_core::{Event, Settings};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, lasting};
use crate::subscribe::send_subscribe;

const V5: Version = Version::V5_0;
const AT_LEAST_ONCE: QoS = QoS::AtLeastOnce;

/// "p" publishes on the first shard, "t" and "u" belong to the second, and "s" is at home on the
/// third.
fn three(change: impl FnOnce(&mut Settings)) -> Broker {
    let homes = [("p", 0), ("t", 1), ("u", 1), ("own", 1), ("s", 2), ("w", 1)];
    Broker::placed(3, &homes, change)
}

fn retained(topic: &str, payload: &str, qos: QoS) -> OwnedPublish {
    OwnedPublish::new(topic, payload, qos).retain(true)
}

/// What a new subscriber on each of the shards is served for a topic.
#[track_caller]
fn served(broker: &Broker, topic: &str) -> Vec<(String, Option<u32>)> {
    let served = ["p-reader", "own", "s"].map(|name| {
        let mut client = broker.connect(&OwnedConnect::v5(name).keep_alive(0));
        client.subscribe(&[(topic, QoS::ExactlyOnce)]);
        let messages = client.receive_all();
        assert!(messages.len() <= 1 && messages.iter().all(|message| message.retain));
        let said =
            |message: OwnedPublish| (message.text().to_owned(), message.message_expiry_interval);
        messages.into_iter().next().map(said)
    });
    let [first, second, third] = served;
    assert_eq!((&first, &second), (&second, &third), "every shard serves the same");
    first.into_iter().collect()
}

#[test]
fn the_owner_keeps_replaces_and_clears_what_another_shard_publishes() {
    spec!("MQTT5-3.3.1-5", "MQTT5-3.3.1-6", "MQTT311-3.3.1-5", "MQTT311-3.3.1-10");
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = three(|_| {});
            let mut publisher = broker.client(version, "p");
            for text in ["older", "newer"] {
                publisher.publish_with(&retained("t", text, qos));
                assert_eq!(served(&broker, "t"), [(text.to_owned(), None)]);
            }
            assert_eq!(broker.look(|shards| shards.gauges().retained_messages), 1);
            publisher.publish_with(&retained("t", "", qos));
            assert_eq!(served(&broker, "t"), []);
            let gauges = broker.look(|shards| shards.gauges());
            assert_eq!((gauges.retained_messages, gauges.retained_bytes), (0, 0));
        }
    }
}

#[test]
fn a_message_expires_with_its_owner() {
    let broker = three(|_| {});
    let mut publisher = broker.connect(&OwnedConnect::v5("p").keep_alive(0));
    let expiring = |text: &str| retained("t", text, AT_LEAST_ONCE).message_expiry_interval(10);
    publisher.publish_with(&expiring("1"));
    broker.advance_seconds(4);
    assert_eq!(served(&broker, "t"), [("1".to_owned(), Some(6))]);
    publisher.publish_with(&expiring("2"));
    broker.advance_seconds(6);
    assert_eq!(served(&broker, "t"), [("2".to_owned(), Some(4))]);
    broker.advance(Duration::from_secs(4));
    assert_eq!(served(&broker, "t"), []);
    assert_eq!(broker.look(|shards| shards.gauges().retained_messages), 0);
}

#[test]
fn the_acknowledgement_waits_for_the_owner() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = three(|_| {});
            let mut publisher = broker.client(version, "p");
            broker.hold_mail();
            publisher.send_publish(&retained("t", "1", qos).packet_id(1));
            publisher.expect_nothing_before_pong();
            assert_eq!(broker.carry(0, 1), "Forward");
            publisher.expect_nothing_before_pong();
            assert_eq!(broker.look(|shards| shards.gauges().retained_messages), 1);
            assert_eq!(broker.carry(1, 0), "Answer");
            match qos {
                QoS::ExactlyOnce => publisher.expect_pubrec(1),
                _ => publisher.expect_puback(1),
            };
        }
    }
}

#[test]
fn what_the_owner_refuses_is_told_to_the_publisher_who_goes_on() {
    for version in VERSIONS {
        let broker = three(|settings| settings.limits.retained_messages_max = 1);
        let mut publisher = broker.client(version, "p");
        publisher.publish_with(&retained("t", "kept", AT_LEAST_ONCE));
        broker.events();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut publish = retained("u", "too many", qos);
            publish.packet_id = (qos > QoS::AtMostOnce).then_some(7);
            publisher.send_publish(&publish);
            let answer = match qos {
                QoS::AtMostOnce => None,
                QoS::AtLeastOnce if !version.is_v5() => Some(publisher.expect_puback(7)),
                QoS::ExactlyOnce if !version.is_v5() => Some(publisher.expect_pubrec(7)),
                QoS::AtLeastOnce => {
                    Some(publisher.expect_puback_with(7, ReasonCode::QuotaExceeded))
                }
                QoS::ExactlyOnce => {
                    Some(publisher.expect_pubrec_with(7, ReasonCode::QuotaExceeded))
                }
            };
            if let Some(answer) = answer.filter(|_| version.is_v5()) {
                let reason = answer.reason_string.expect("a reason in words");
                assert!(reason.contains("too many retained messages"), "{reason}");
            } else if qos == QoS::ExactlyOnce {
                publisher.send_pubrel(7);
                publisher.expect_pubcomp(7);
            }
            publisher.expect_nothing_before_pong();
            let refused = |event: &Event| {
                matches!(event, Event::PacketRefused { client_id, topic, reason }
                if &**client_id == "p" && &**topic == "u"
                    && reason.limit.is_some_and(|limit| {
                        (limit.setting, limit.maximum, limit.wanted)
                            == ("limits.retained_messages_max", 1, 2)
                    }))
            };
            let events = broker.events();
            assert_eq!(events.iter().filter(|event| refused(event)).count(), 1, "{events:?}");
        }
        assert_eq!(broker.look(|shards| shards.statistics().publish_refused), 3);
        assert_eq!(served(&broker, "u"), []);
        // The identifier is free, and what takes no more room is taken.
        let publish = retained("t", "replaced", AT_LEAST_ONCE).packet_id(7);
        assert!(!publisher.publish_with(&publish).is_error());
        assert_eq!(served(&broker, "t"), [("replaced".to_owned(), None)]);
    }
}

#[test]
fn the_bytes_of_all_owners_are_bounded_together() {
    let broker = three(|settings| settings.limits.retained_bytes_max = 2_000);
    let mut publisher = broker.client(V5, "p");
    let mut taken = 0;
    for number in 0..20 {
        let publish = retained(&format!("topic-{number}"), &"x".repeat(100), AT_LEAST_ONCE);
        match publisher.publish_with(&publish) {
            ReasonCode::QuotaExceeded => {}
            reason => {
                assert!(!reason.is_error());
                taken += 1;
            }
        }
    }
    let gauges = broker.look(|shards| shards.gauges());
    assert_eq!(gauges.retained_messages, taken);
    assert!((1_500..=2_000).contains(&gauges.retained_bytes), "{gauges:?}");
}

#[test]
fn a_setting_ends_the_connection_of_a_3x_publisher_whom_the_owner_refuses() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let broker = three(|settings| {
            settings.limits.retained_messages_max = 0;
            settings.close_on_refused_publish = true;
        });
        let mut publisher = broker.client(version, "p");
        publisher.send_publish(&retained("t", "1", AT_LEAST_ONCE).packet_id(1));
        publisher.expect_closed();
        let events = broker.events();
        assert!(crate::broker::ended_with(&events, ReasonCode::QuotaExceeded), "{events:?}");
    }
}

#[test]
fn a_retained_will_is_kept_by_its_owner() {
    for version in VERSIONS {
        let broker = three(|_| {});
        let will = OwnedWill::new("w", "left").qos(AT_LEAST_ONCE).retain(true);
        drop(broker.connect(&OwnedConnect::new(version, "p").will(will)));
        assert_eq!(served(&broker, "w"), [("left".to_owned(), None)]);
    }
}

/// Keeps so many messages, which belong to all three shards.
fn fill(broker: &Broker, count: usize) -> Vec<String> {
    let mut publisher = broker.client(V5, "p");
    let topics: Vec<String> = (0..count).map(|number| format!("f/{number:03}")).collect();
    for topic in &topics {
        publisher.publish_with(&retained(topic, "1", AT_LEAST_ONCE));
    }
    let homes: Vec<u16> = topics.iter().map(|topic| broker.home(topic).0).collect();
    assert!((0..3).all(|shard| homes.contains(&shard)));
    broker.in_replay_order(&topics)
}

fn topics(messages: &[OwnedPublish]) -> Vec<String> {
    messages.iter().map(|message| message.topic.clone()).collect()
}

#[test]
fn a_replay_asks_one_owner_after_the_other_for_no_more_than_the_window_lets_pass() {
    let broker = three(|_| {});
    let all = fill(&broker, 30);
    let mut client = broker.connect(&lasting(V5, "s").receive_maximum(2));
    broker.hold_mail();
    send_subscribe(&mut client, 7, &[("f/#", 1)]);
    broker.carry_between(2, 0);
    broker.carry_between(2, 1);
    broker.carry_between(0, 2);
    broker.carry_between(1, 2);
    client.expect_suback(7);
    let (mut got, mut asked) = (Vec::new(), Vec::new());
    loop {
        while let Some((from, to, _)) = broker.letters().first().cloned() {
            if broker.carry(from, to) == "AskRetained" {
                asked.push(to);
            }
        }
        let sent = client.publishes_before_pong();
        if sent.is_empty() {
            break;
        }
        assert!(sent.len() <= 2);
        got.extend(topics(&sent));
        sent.iter().for_each(|message| client.acknowledge(message));
    }
    assert_eq!(got, all);
    assert!(asked.is_sorted() && asked.len() >= 10, "{asked:?}");
}

/// A replay for "s" of which the first owner was asked and has not answered.
fn asked(broker: &Broker) -> Client {
    let mut client = broker.connect(&lasting(V5, "s"));
    broker.hold_mail();
    send_subscribe(&mut client, 7, &[("f/#", 1)]);
    broker.carry_between(2, 1);
    broker.carry_between(1, 2);
    assert_eq!([broker.carry(2, 0), broker.carry(0, 2)], ["ChangeRoute", "ConfirmRoute"]);
    client.expect_suback(7);
    assert_eq!(broker.carry(2, 0), "AskRetained");
    client
}

#[test]
fn a_replay_goes_on_with_another_connection_while_an_owner_is_asked() {
    for answer_comes_late in [false, true] {
        for lost_before in [false, true] {
            let broker = three(|_| {});
            let all = fill(&broker, 30);
            let mut old = Some(asked(&broker));
            if lost_before {
                old = None;
            }
            if !answer_comes_late {
                broker.carry_all();
            }
            let mut client = broker.connect(&lasting(V5, "s"));
            broker.answer_all();
            drop(old);
            // Nothing was acknowledged, so what the first one got comes again.
            let mut got = topics(&client.receive_all());
            got.extend(topics(&client.receive_all()));
            assert_eq!(got, all, "late: {answer_comes_late}, lost: {lost_before}");
        }
    }
}

#[test]
fn an_answer_for_a_replay_that_is_over_or_began_anew_serves_nothing() {
    let broker = three(|_| {});
    let all = fill(&broker, 30);
    let mut client = asked(&broker);
    client.unsubscribe(&["f/#"]);
    broker.carry_all();
    client.expect_nothing_before_pong();
    drop(client);
    let mut client = asked(&broker);
    // Subscribed to already, so that SUBACK comes at once.
    send_subscribe(&mut client, 8, &[("f/#", 1)]);
    client.expect_suback(8);
    broker.answer_all();
    let got = topics(&client.receive_all());
    assert_eq!(got, all, "each once");
    client.expect_nothing_before_pong();
}

#[test]
fn a_replay_goes_on_when_the_one_before_it_ends_while_its_owner_is_asked() {
    let broker = three(|_| {});
    let mut publisher = broker.client(V5, "p");
    publisher.publish_with(&retained("u", "kept", AT_LEAST_ONCE));
    let mut client = broker.connect(&lasting(V5, "s"));
    client.subscribe(&[("t", AT_LEAST_ONCE), ("u", AT_LEAST_ONCE)]);
    assert_eq!(client.receive().text(), "kept");
    broker.hold_mail();
    // Both are known everywhere, so that the first asks at once.
    send_subscribe(&mut client, 7, &[("t", 1), ("u", 1)]);
    client.expect_suback(7);
    client.unsubscribe(&["t"]);
    broker.answer_all();
    assert_eq!(client.receive().text(), "kept");
}

#[test]
fn a_slow_reader_gets_what_several_owners_have_as_it_reads() {
    let broker = three(|settings| settings.limits.outbound_bytes_max = 1_024);
    let mut publisher = broker.client(V5, "p");
    let names: Vec<String> = (0..60).map(|number| format!("f/{number:03}")).collect();
    for topic in &names {
        publisher.publish_with(&retained(topic, &"x".repeat(100), AT_LEAST_ONCE));
    }
    for qos in [0, 1] {
        let mut client = broker.client(V5, "s");
        let sent = broker.look(|shards| shards.statistics().publish_sent);
        broker.stall(&client);
        send_subscribe(&mut client, 7, &[("f/#", qos)]);
        broker.take(&client, 200);
        let sent = broker.look(|shards| shards.statistics().publish_sent) - sent;
        assert!((5..20).contains(&sent), "{sent} did not wait for the reader");
        broker.unstall(&client);
        client.expect_suback(7);
        assert_eq!(topics(&client.receive_all()), broker.in_replay_order(&names));
        assert_eq!(broker.look(|shards| shards.statistics().dropped_total()), 0);
    }
}
