//! The question whether something may be published, while its answer is awaited and when it is no.

use noctule_broker_core::{Authorization, Effect, Event, Input, Question, Token};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedPublish, VERSIONS, packet_bytes};

use crate::broker::{Broker, Client};

const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn asking() -> Broker {
    Broker::with(|settings| settings.authorization = Authorization::Ask)
}

/// A subscriber to everything, and a publisher whose publications wait for their answers.
fn held(version: Version) -> (Broker, Client, Client) {
    let broker = asking();
    let mut subscriber = broker.client(version, "subscriber");
    subscriber.subscribe(&[("#", QoS::ExactlyOnce)]);
    let publisher = broker.lasting(version, "publisher");
    broker.hold();
    (broker, publisher, subscriber)
}

fn message(topic: &str, qos: QoS) -> OwnedPublish {
    let message = OwnedPublish::new(topic, "x", qos);
    if qos == QoS::AtMostOnce { message } else { message.packet_id(7) }
}

#[track_caller]
fn authorize(broker: &Broker) -> Token {
    match broker.asked() {
        Effect::Authorize { token, .. } => token,
        asked => panic!("{asked:?}"),
    }
}

#[test]
fn a_forbidden_publication_is_refused_as_the_version_allows() {
    spec!("MQTT311-3.3.5-2", "MQTT31-3.3-4");
    for version in VERSIONS {
        let broker = asking();
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("#", QoS::ExactlyOnce)]);
        let mut publisher = broker.client(version, "publisher");
        for (count, qos) in ALL_QOS.into_iter().enumerate() {
            broker.events();
            let answer = publisher.publish_with(&OwnedPublish::new("secret/a", "x", qos));
            let told = version.is_v5() && qos > QoS::AtMostOnce;
            let expected = if told { ReasonCode::NotAuthorized } else { ReasonCode::Success };
            assert_eq!(answer, expected, "{version} {qos:?}");
            assert_eq!(broker.look(|shard| shard.statistics().publish_refused), count as u64 + 1);
            let events = broker.events();
            let [Event::PacketRefused { client_id, topic, reason }] = &*events else {
                panic!("{events:?}");
            };
            assert_eq!((&**client_id, &**topic), ("publisher", "secret/a"));
            assert_eq!(reason.code, ReasonCode::NotAuthorized);
        }
        subscriber.expect_nothing_before_pong();
        publisher.publish("open/a", "x", QoS::ExactlyOnce);
        assert_eq!(subscriber.receive().topic, "open/a");
    }
}

#[test]
fn the_question_names_the_client_and_what_it_wants() {
    for version in VERSIONS {
        let (broker, mut publisher, _subscriber) = held(version);
        publisher.send_publish(&message("a/b", QoS::AtLeastOnce).retain(true));
        let asked = broker.asked();
        let Effect::Authorize { client_id, question, .. } = asked else { panic!("{asked:?}") };
        assert_eq!(&*client_id, "publisher");
        assert_eq!(question, Question::Publish { topic: "a/b".into(), retain: true });
    }
}

#[test]
fn a_topic_alias_is_resolved_before_the_question() {
    let (broker, mut publisher, mut subscriber) = held(Version::V5_0);
    publisher.send_publish(&message("secret/x", QoS::AtMostOnce).topic_alias(1));
    broker.answer();
    publisher.send_bytes(&packet_bytes(0x30, "0000 03 23 0001 'x'"));
    let asked = broker.asked();
    let Effect::Authorize { question, token, .. } = asked else { panic!("{asked:?}") };
    // The refused publication has defined its alias all the same.
    assert_eq!(question, Question::Publish { topic: "secret/x".into(), retain: false });
    broker.input(Input::Authorized { token, allowed: false });
    subscriber.expect_nothing_before_pong();
}

#[test]
fn packets_behind_an_open_question_wait_in_their_order() {
    for version in VERSIONS {
        for allowed in [true, false] {
            let (broker, mut publisher, mut subscriber) = held(version);
            publisher.send_publish(&message("first", QoS::AtLeastOnce));
            publisher.send_publish(&message("second", QoS::ExactlyOnce));
            publisher.send_pingreq();
            let first = authorize(&broker);
            assert!(broker.has_asked_nothing(), "one question at a time");
            broker.input(Input::Authorized { token: first, allowed });
            let second = authorize(&broker);
            broker.input(Input::Authorized { token: second, allowed: true });
            let refused = !allowed && version.is_v5();
            let first = if refused { ReasonCode::NotAuthorized } else { ReasonCode::Success };
            publisher.expect_puback_with(7, first);
            publisher.expect_pubrec(7);
            publisher.expect_pingresp();
            if allowed {
                assert_eq!(subscriber.receive().topic, "first");
            }
            assert_eq!(subscriber.receive().topic, "second");
            subscriber.expect_nothing_before_pong();
        }
    }
}

#[test]
fn an_answer_counts_once() {
    for version in VERSIONS {
        let (broker, mut publisher, mut subscriber) = held(version);
        publisher.send_publish(&message("first", QoS::AtLeastOnce));
        publisher.send_publish(&message("second", QoS::AtLeastOnce));
        let token = authorize(&broker);
        broker.input(Input::Authorized { token, allowed: true });
        broker.input(Input::Authorized { token, allowed: true });
        assert_eq!(subscriber.receive().topic, "first");
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn an_answer_that_comes_when_the_publisher_is_gone_publishes_nothing() {
    for version in VERSIONS {
        for qos in ALL_QOS {
            let (broker, mut publisher, mut subscriber) = held(version);
            publisher.send_publish(&message("t", qos));
            let token = authorize(&broker);
            drop(publisher);
            broker.input(Input::Authorized { token, allowed: true });
            subscriber.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_publication_that_was_never_decided_about_is_new_when_it_is_repeated() {
    spec!("MQTT5-4.3.3-8", "MQTT311-4.3.3-2");
    for version in VERSIONS {
        for allowed in [true, false] {
            let (broker, mut publisher, mut subscriber) = held(version);
            publisher.send_publish(&message("t", QoS::ExactlyOnce));
            let late = authorize(&broker);
            drop(publisher);
            let mut publisher = broker.lasting(version, "publisher");
            publisher.send_publish(&message("t", QoS::ExactlyOnce).dup(true));
            let token = authorize(&broker);
            broker.input(Input::Authorized { token: late, allowed: true });
            publisher.send_pingreq();
            broker.input(Input::Authorized { token, allowed });
            if allowed {
                publisher.expect_pubrec_with(7, ReasonCode::Success);
                assert_eq!(subscriber.receive().topic, "t");
            } else {
                publisher.expect_pubrec_with(7, ReasonCode::NotAuthorized);
            }
            publisher.expect_pingresp();
            subscriber.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_kicked_publisher_s_open_question_is_void() {
    use noctule_broker_core::Command;
    for version in VERSIONS {
        let (broker, mut publisher, mut subscriber) = held(version);
        publisher.send_publish(&message("t", QoS::ExactlyOnce));
        let token = authorize(&broker);
        let reason = ReasonCode::AdministrativeAction;
        broker.input(Input::Command(Command::Kick { client_id: "publisher".into(), reason }));
        publisher.expect_refused(reason);
        broker.input(Input::Authorized { token, allowed: true });
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn filters_that_are_refused_already_are_not_asked_about() {
    for (version, refused) in [
        (Version::V3_1_1, ReasonCode::UnspecifiedError),
        (Version::V5_0, ReasonCode::TopicFilterInvalid),
    ] {
        let broker = Broker::with(|settings| {
            settings.authorization = Authorization::Ask;
            settings.limits.topic_levels_max = 1;
        });
        let mut client = broker.client(version, "a");
        let filters = ["a/a", "b", "c/c", "d/d", "e"];
        let codes = client.subscribe(&filters.map(|filter| (filter, QoS::AtLeastOnce)));
        let granted = ReasonCode::GrantedQos1;
        assert_eq!(codes, [refused, granted, refused, refused, granted]);
        let asked = broker.trace().iter().filter(|step| *step == "Authorize").count();
        assert_eq!(asked, 2);
    }
}
