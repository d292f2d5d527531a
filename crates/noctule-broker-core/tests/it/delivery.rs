//! One message on its way to one subscriber: its QoS, its flags, its identifier and the steps until
//! the last acknowledgement.

use noctule_broker_core::{DropCause, Event, ReadRules};
use noctule_packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use noctule_packet::{PacketType, ReasonCode, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedPublish, VERSIONS};

use crate::broker::Broker;

#[test]
fn a_message_is_delivered_at_the_lower_of_both_qualities() {
    spec!("MQTT5-3.8.4-8", "MQTT311-3.8.4-6");
    for version in VERSIONS {
        for granted in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
            let broker = Broker::new();
            let mut subscriber = broker.client(version, "s");
            subscriber.subscribe(&[("t", granted)]);
            let mut publisher = broker.client(version, "p");
            for published in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
                publisher.publish("t", "x", published);
                assert_eq!(subscriber.receive().qos, published.min(granted));
            }
        }
    }
}

#[test]
fn a_qos_0_message_goes_out_once_without_dup() {
    spec!("MQTT5-4.3.1-1", "MQTT311-4.3.1-1", "MQTT5-3.3.1-2", "MQTT311-3.3.1-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.lasting(version, "s");
        subscriber.subscribe(&[("t", AtMostOnce)]);
        let mut publisher = broker.client(version, "p");
        publisher.publish("t", "once", ExactlyOnce);
        let message = subscriber.expect_publish();
        assert_eq!((message.qos, message.dup, message.packet_id), (AtMostOnce, false, None));
        drop(subscriber);
        broker.lasting(version, "s").expect_nothing_before_pong();
    }
}

#[test]
fn each_new_message_has_an_identifier_that_no_open_one_has() {
    spec!("MQTT5-2.2.1-4", "MQTT5-4.3.2-1", "MQTT5-4.3.3-1", "MQTT311-2.3.1-4");
    spec!("MQTT311-4.3.2-1", "MQTT311-4.3.3-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "s");
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        let mut publisher = broker.client(version, "p");
        let mut open = Vec::new();
        for round in 0..20 {
            publisher.publish("t", "x", if round % 2 == 0 { AtLeastOnce } else { ExactlyOnce });
            let message = subscriber.expect_publish();
            assert!(!open.contains(&message.id()), "{} is in use", message.id());
            open.push(message.id());
            if message.qos == AtLeastOnce && round % 4 == 0 {
                subscriber.send_puback(message.id());
                open.retain(|id| *id != message.id());
            }
        }
    }
}

#[test]
fn a_publishers_dup_flag_stays_with_it() {
    spec!("MQTT5-3.3.1-3", "MQTT311-3.3.1-3", "MQTT5-4.3.2-2", "MQTT5-4.3.3-2");
    spec!("MQTT311-4.3.2-1", "MQTT311-4.3.3-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "s");
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        let mut publisher = broker.client(version, "p");
        for qos in [AtLeastOnce, ExactlyOnce] {
            let repeated = OwnedPublish::new("t", "x", qos).packet_id(9).dup(true);
            assert!(!publisher.publish_with(&repeated).is_error());
            let message = subscriber.receive();
            assert_eq!((message.qos, message.dup), (qos, false));
        }
    }
}

#[test]
fn pubrec_is_answered_with_pubrel_and_pubcomp_ends_the_exchange() {
    spec!("MQTT5-4.3.3-4", "MQTT5-4.3.3-3", "MQTT311-4.3.3-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.lasting(version, "s");
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        broker.client(version, "p").publish("t", "x", ExactlyOnce);
        let message = subscriber.expect_publish();
        subscriber.expect_nothing_before_pong();
        subscriber.send_pubrec(message.id());
        subscriber.expect_pubrel_with(message.id(), ReasonCode::Success);
        // A client that missed it asks again.
        subscriber.send_pubrec(message.id());
        subscriber.expect_pubrel_with(message.id(), ReasonCode::Success);
        subscriber.send_pubcomp(message.id());
        assert_eq!(broker.look(|shard| shard.gauges().in_flight_messages), 0);
        drop(subscriber);
        broker.lasting(version, "s").expect_nothing_before_pong();
    }
}

#[test]
fn an_unknown_pubrec_is_answered_as_each_version_demands() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "s");
        subscriber.send_pubrec(77);
        subscriber.expect_pubrel_with(77, ReasonCode::PacketIdentifierNotFound);
        subscriber.send_puback(77);
        subscriber.send_pubcomp(77);
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn an_acknowledgement_of_the_wrong_type_ends_the_connection() {
    let wrong = [
        (AtLeastOnce, PacketType::Pubrec),
        (AtLeastOnce, PacketType::Pubcomp),
        (ExactlyOnce, PacketType::Puback),
        (ExactlyOnce, PacketType::Pubcomp),
    ];
    for version in VERSIONS {
        for (qos, answer) in wrong {
            let broker = Broker::new();
            let mut subscriber = broker.lasting(version, "s");
            subscriber.subscribe(&[("t", ExactlyOnce)]);
            broker.client(version, "p").publish("t", "x", qos);
            let message = subscriber.expect_publish();
            subscriber.send_ack(answer, message.id(), ReasonCode::Success);
            subscriber.expect_refused(ReasonCode::ProtocolError);
            let again = broker.lasting(version, "s").expect_publish();
            assert_eq!((again.id(), again.dup), (message.id(), true), "{qos:?} {answer}");
        }
    }
}

#[test]
fn after_pubrel_only_pubcomp_is_right() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "s");
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        broker.client(version, "p").publish("t", "x", ExactlyOnce);
        let message = subscriber.expect_publish();
        subscriber.send_pubrec(message.id());
        subscriber.expect_pubrel(message.id());
        subscriber.send_puback(message.id());
        subscriber.expect_refused(ReasonCode::ProtocolError);
    }
}

#[test]
fn a_refusal_settles_the_message_and_is_counted() {
    spec!("MQTT5-4.4.0-2", "MQTT5-4.3.2-3");
    for (qos, answer) in [(AtLeastOnce, PacketType::Puback), (ExactlyOnce, PacketType::Pubrec)] {
        let broker = Broker::new();
        let mut subscriber = broker.lasting(Version::V5_0, "s");
        subscriber.subscribe(&[("t", ExactlyOnce)]);
        broker.client(Version::V5_0, "p").publish("t", "x", qos);
        let message = subscriber.expect_publish();
        broker.events();
        subscriber.send_ack(answer, message.id(), ReasonCode::QuotaExceeded);
        subscriber.expect_nothing_before_pong();
        let cause = DropCause::RefusedByClient;
        let told = broker.events();
        let dropped =
            Event::Dropped { client_id: "s".into(), topic: "t".into(), cause, limit: None };
        assert_eq!(told, [dropped]);
        assert_eq!(broker.look(|shard| shard.statistics().dropped[cause.index()]), 1);
        drop(subscriber);
        broker.lasting(Version::V5_0, "s").expect_nothing_before_pong();
    }
}

#[test]
fn overlapping_filters_make_one_copy_with_the_highest_qos_and_all_identifiers() {
    spec!("MQTT5-3.3.4-2", "MQTT5-3.3.4-3", "MQTT5-3.3.4-4", "MQTT311-3.3.5-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "s");
        let identifier = |number: u32| version.is_v5().then_some(number);
        for (number, filter, qos) in
            [(7, "a/+", AtMostOnce), (300, "a/b", ExactlyOnce), (9, "#", AtLeastOnce)]
        {
            let options = SubscriptionOptions { qos, ..Default::default() };
            subscriber.subscribe_with(identifier(number), &[(filter, options)]);
        }
        let mut publisher = broker.client(version, "p");
        publisher.publish("a/b", "x", ExactlyOnce);
        let mut message = subscriber.receive();
        assert_eq!(message.qos, ExactlyOnce);
        message.subscription_identifiers.sort_unstable();
        let expected: &[u32] = if version.is_v5() { &[7, 9, 300] } else { &[] };
        assert_eq!(message.subscription_identifiers, expected);
        subscriber.expect_nothing_before_pong();
        publisher.publish("a/c", "y", ExactlyOnce);
        assert_eq!(subscriber.receive().qos, AtLeastOnce);
    }
}

#[test]
fn subscribers_of_one_message_get_it_with_identifiers_of_their_own() {
    spec!("MQTT5-2.2.1-4", "MQTT311-2.3.1-4");
    let broker = Broker::new();
    let mut publisher = broker.client(Version::V5_0, "p");
    let mut subscribers: Vec<_> = VERSIONS
        .into_iter()
        .zip(["own/0", "own/1", "own/2"])
        .map(|(version, own)| {
            let mut subscriber = broker.client(version, own);
            subscriber.subscribe(&[("t", AtLeastOnce), (own, ExactlyOnce)]);
            subscriber
        })
        .collect();
    for (before, own) in [(1, "own/1"), (2, "own/2")] {
        for _ in 0..before {
            publisher.publish(own, "x", AtLeastOnce);
            subscribers[before].expect_publish();
        }
    }
    publisher.publish("t", "for all", AtLeastOnce);
    for (expected, subscriber) in (1..).zip(&mut subscribers) {
        let message = subscriber.expect_publish();
        assert_eq!((message.id(), message.text()), (expected, "for all"));
    }
}

#[test]
fn a_client_that_may_not_read_a_topic_gets_nothing_from_it() {
    for version in VERSIONS {
        for qos in [AtMostOnce, AtLeastOnce] {
            let rule = |client: &str, topic: &str| client == "q" || topic != "a/secret";
            let broker = Broker::with(|settings| {
                settings.read_rules = Some(ReadRules(std::sync::Arc::new(rule)));
            });
            let mut refused = broker.client(version, "s");
            let mut allowed = broker.client(version, "q");
            for subscriber in [&mut refused, &mut allowed] {
                subscriber.subscribe(&[("a/+", qos)]);
            }
            broker.events();
            broker.client(version, "p").publish("a/secret", "x", qos);
            allowed.receive();
            refused.expect_nothing_before_pong();
            let dropped = Event::Dropped {
                client_id: "s".into(),
                topic: "a/secret".into(),
                cause: DropCause::NotAuthorized,
                limit: None,
            };
            assert!(broker.events().contains(&dropped));
        }
    }
}

#[test]
fn no_local_holds_back_from_the_publisher_alone() {
    spec!("MQTT5-3.8.3-3");
    let broker = Broker::new();
    let options = SubscriptionOptions { qos: AtLeastOnce, no_local: true, ..Default::default() };
    let mut first = broker.client(Version::V5_0, "a");
    let mut second = broker.client(Version::V5_0, "b");
    first.subscribe_with(None, &[("t", options)]);
    second.subscribe_with(None, &[("t", options)]);
    first.publish("t", "from a", AtLeastOnce);
    assert_eq!(second.receive().text(), "from a");
    first.expect_nothing_before_pong();
    // Another subscription of the same client still gets its own.
    first.subscribe(&[("+", AtMostOnce)]);
    first.publish("t", "again", AtLeastOnce);
    assert_eq!(first.receive().qos, AtMostOnce);
}

#[test]
fn retain_reaches_live_subscribers_only_as_published() {
    spec!("MQTT5-3.3.1-12", "MQTT5-3.3.1-13");
    let broker = Broker::new();
    let mut plain = broker.client(Version::V5_0, "plain");
    plain.subscribe(&[("t", AtLeastOnce)]);
    let mut keeps = broker.client(Version::V5_0, "keeps");
    let options = SubscriptionOptions { retain_as_published: true, ..Default::default() };
    keeps.subscribe_with(None, &[("t", options)]);
    let mut publisher = broker.client(Version::V5_0, "p");
    for retain in [true, false] {
        publisher.publish_with(&OwnedPublish::new("t", "x", AtLeastOnce).retain(retain));
        assert!(!plain.receive().retain);
        assert_eq!(keeps.receive().retain, retain);
    }
}
