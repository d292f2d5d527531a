//! Retained messages: which are kept, which are replaced, and who gets them with which flag.

use noctule_broker_core::{Authorization, Event, Limit};
use noctule_packet::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, lasting, placement_of, shards};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn retained(topic: &str, payload: &str, qos: QoS) -> OwnedPublish {
    OwnedPublish::new(topic, payload, qos).retain(true)
}

#[track_caller]
fn keep(client: &mut Client, topic: &str, payload: &str, qos: QoS) {
    assert!(!client.publish_with(&retained(topic, payload, qos)).is_error());
}

/// Everything that has arrived, as (topic, payload, RETAIN).
fn received(client: &mut Client, count: usize) -> Vec<(String, String, bool)> {
    let messages = (0..count).map(|_| {
        let message = client.receive();
        (message.topic.clone(), message.text().to_owned(), message.retain)
    });
    let messages = messages.collect();
    client.expect_nothing_before_pong();
    messages
}

fn one(topic: &str, payload: &str, retain: bool) -> Vec<(String, String, bool)> {
    vec![(topic.to_owned(), payload.to_owned(), retain)]
}

fn options(qos: QoS, retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions { qos, retain_handling, ..Default::default() }
}

#[test]
fn a_new_subscription_is_served_what_was_retained_with_the_lower_of_both_qos() {
    spec!("MQTT5-3.3.1-5", "MQTT311-3.3.1-5", "MQTT311-3.3.1-6", "MQTT311-3.3.1-8", "MQTT31-3.3-2");
    for version in VERSIONS {
        for published in QOS {
            let broker = Broker::new();
            keep(&mut broker.client(version, "publisher"), "a/b", "kept", published);
            for granted in QOS {
                let mut subscriber = broker.client(version, "subscriber");
                subscriber.subscribe(&[("a/+", granted)]);
                let message = subscriber.receive();
                assert_eq!((message.topic.as_str(), message.text()), ("a/b", "kept"));
                assert_eq!(message.qos, published.min(granted));
                assert!(message.retain && !message.dup);
                subscriber.expect_nothing_before_pong();
            }
        }
    }
}

#[test]
fn the_last_retained_message_of_a_topic_takes_the_place_of_the_one_before() {
    spec!("MQTT5-3.3.1-5", "MQTT311-3.3.1-5", "MQTT311-3.3.1-7");
    for version in VERSIONS {
        for (older, newer) in QOS.into_iter().flat_map(|a| QOS.map(|b| (a, b))) {
            let broker = Broker::new();
            let mut publisher = broker.client(version, "publisher");
            keep(&mut publisher, "a", "older", older);
            keep(&mut publisher, "a", "newer", newer);
            publisher.expect_nothing_before_pong();
            let mut subscriber = broker.client(version, "subscriber");
            subscriber.subscribe(&[("a", QoS::ExactlyOnce)]);
            let message = subscriber.receive();
            assert_eq!((message.text(), message.qos), ("newer", newer));
            subscriber.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_message_without_the_retain_flag_changes_nothing_that_is_kept() {
    spec!("MQTT5-3.3.1-8", "MQTT311-3.3.1-12");
    for version in VERSIONS {
        for payload in ["live", ""] {
            let broker = Broker::new();
            let mut publisher = broker.client(version, "publisher");
            publisher.publish("b", payload, QoS::AtLeastOnce);
            keep(&mut publisher, "a", "kept", QoS::AtLeastOnce);
            publisher.publish("a", payload, QoS::AtLeastOnce);
            let mut subscriber = broker.client(version, "subscriber");
            subscriber.subscribe(&[("#", QoS::AtLeastOnce)]);
            assert_eq!(received(&mut subscriber, 1), one("a", "kept", true));
        }
    }
}

#[test]
fn an_empty_retained_message_is_delivered_and_clears_its_topic() {
    spec!("MQTT5-3.3.1-6", "MQTT311-3.3.1-10", "MQTT31-3.3-3");
    for version in VERSIONS {
        for qos in QOS {
            let broker = Broker::new();
            let mut publisher = broker.client(version, "publisher");
            keep(&mut publisher, "a", "kept", QoS::AtLeastOnce);
            keep(&mut publisher, "a/b", "another", QoS::AtLeastOnce);
            let mut early = broker.client(version, "early");
            early.subscribe(&[("a", qos)]);
            assert_eq!(received(&mut early, 1), one("a", "kept", true));
            keep(&mut publisher, "a", "", qos);
            publisher.expect_nothing_before_pong();
            assert_eq!(received(&mut early, 1), one("a", "", false));
            let mut late = broker.client(version, "late");
            late.subscribe(&[("#", qos)]);
            assert_eq!(received(&mut late, 1), one("a/b", "another", true));
        }
    }
}

#[test]
fn an_empty_message_is_never_kept() {
    spec!("MQTT5-3.3.1-7", "MQTT311-3.3.1-11");
    for version in VERSIONS {
        let broker = Broker::new();
        keep(&mut broker.client(version, "publisher"), "a", "", QoS::ExactlyOnce);
        assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 0);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("#", QoS::ExactlyOnce)]);
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn an_empty_retained_message_keeps_its_flag_for_who_wants_it_as_published() {
    spec!("MQTT5-3.3.1-6", "MQTT5-3.3.1-13");
    let broker = Broker::new();
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    let as_published = SubscriptionOptions { retain_as_published: true, ..Default::default() };
    subscriber.subscribe_with(None, &[("a", as_published)]);
    keep(&mut broker.client(Version::V5_0, "publisher"), "a", "", QoS::AtLeastOnce);
    assert_eq!(received(&mut subscriber, 1), one("a", "", true));
}

#[test]
fn what_is_forwarded_to_an_existing_subscription_has_no_retain_flag() {
    spec!("MQTT5-3.3.1-12", "MQTT311-3.3.1-9", "MQTT31-3.3-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("a", QoS::AtLeastOnce)]);
        let mut publisher = broker.client(version, "publisher");
        keep(&mut publisher, "a", "retained", QoS::AtLeastOnce);
        assert_eq!(received(&mut subscriber, 1), one("a", "retained", false));
        publisher.publish("a", "ordinary", QoS::AtLeastOnce);
        assert_eq!(received(&mut subscriber, 1), one("a", "ordinary", false));
    }
}

#[test]
fn retain_as_published_keeps_the_flag_and_no_more() {
    spec!("MQTT5-3.3.1-13");
    let broker = Broker::new();
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    let as_published = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        retain_as_published: true,
        ..Default::default()
    };
    subscriber.subscribe_with(None, &[("a", as_published)]);
    for version in VERSIONS {
        let mut publisher = broker.client(version, "publisher");
        keep(&mut publisher, "a", "retained", QoS::AtLeastOnce);
        assert_eq!(received(&mut subscriber, 1), one("a", "retained", true));
        publisher.publish("a", "ordinary", QoS::AtLeastOnce);
        assert_eq!(received(&mut subscriber, 1), one("a", "ordinary", false));
    }
}

#[test]
fn the_flag_of_a_message_that_had_to_wait_is_the_same() {
    spec!("MQTT5-3.3.1-12", "MQTT5-3.3.1-13", "MQTT311-3.3.1-9");
    for as_published in [false, true] {
        let broker = Broker::new();
        let mut subscriber = broker.lasting(Version::V5_0, "subscriber");
        let options = SubscriptionOptions {
            qos: QoS::AtLeastOnce,
            retain_as_published: as_published,
            ..Default::default()
        };
        subscriber.subscribe_with(None, &[("a", options)]);
        subscriber.disconnect();
        keep(&mut broker.client(Version::V5_0, "publisher"), "a", "1", QoS::AtLeastOnce);
        let mut subscriber = broker.connect(&lasting(Version::V5_0, "subscriber"));
        assert_eq!(received(&mut subscriber, 1), one("a", "1", as_published));
    }
}

#[test]
fn retain_handling_0_serves_every_subscribe() {
    spec!("MQTT5-3.3.1-9", "MQTT311-3.3.1-6");
    for version in VERSIONS {
        let broker = Broker::new();
        keep(&mut broker.client(version, "publisher"), "a", "kept", QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        for _ in 0..3 {
            subscriber.subscribe(&[("a", QoS::AtLeastOnce)]);
            assert_eq!(received(&mut subscriber, 1), one("a", "kept", true));
        }
    }
}

#[test]
fn retain_handling_1_serves_a_subscription_that_did_not_exist() {
    spec!("MQTT5-3.3.1-10");
    let broker = Broker::new();
    keep(&mut broker.client(Version::V5_0, "publisher"), "a", "kept", QoS::AtLeastOnce);
    let mut subscriber = broker.lasting(Version::V5_0, "subscriber");
    let if_new = options(QoS::AtLeastOnce, RetainHandling::SendIfNew);
    subscriber.subscribe_with(None, &[("a", if_new)]);
    assert_eq!(received(&mut subscriber, 1), one("a", "kept", true));
    subscriber.subscribe_with(Some(7), &[("a", if_new)]);
    subscriber.expect_nothing_before_pong();
    subscriber.disconnect();
    let mut subscriber = broker.connect(&lasting(Version::V5_0, "subscriber"));
    subscriber.subscribe_with(None, &[("a", if_new)]);
    subscriber.expect_nothing_before_pong();
    subscriber.unsubscribe(&["a"]);
    subscriber.subscribe_with(None, &[("a", if_new)]);
    assert_eq!(received(&mut subscriber, 1), one("a", "kept", true));
}

#[test]
fn retain_handling_2_serves_nothing() {
    spec!("MQTT5-3.3.1-11");
    let broker = Broker::new();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    keep(&mut publisher, "a", "kept", QoS::AtLeastOnce);
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    let never = options(QoS::AtLeastOnce, RetainHandling::DoNotSend);
    for _ in 0..2 {
        subscriber.subscribe_with(None, &[("a", never)]);
        subscriber.expect_nothing_before_pong();
    }
    keep(&mut publisher, "a", "live", QoS::AtLeastOnce);
    assert_eq!(received(&mut subscriber, 1), one("a", "live", false));
}

#[test]
fn subscribing_again_serves_the_retained_messages_again_and_loses_none_that_is_live() {
    spec!("MQTT5-3.8.4-4", "MQTT311-3.8.4-3");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut publisher = broker.client(version, "publisher");
        keep(&mut publisher, "a", "kept", QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("a", QoS::AtLeastOnce)]);
        let first = subscriber.expect_publish();
        publisher.publish("a", "live", QoS::AtLeastOnce);
        subscriber.subscribe(&[("a", QoS::AtLeastOnce)]);
        subscriber.acknowledge(&first);
        let live = subscriber.receive();
        assert_eq!((live.text(), live.retain), ("live", false));
        assert_eq!(received(&mut subscriber, 1), one("a", "kept", true));
    }
}

#[test]
fn retained_messages_outlive_the_session_and_the_will_of_their_publisher() {
    spec!("MQTT311-3.1.2-7");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut publisher = broker.client(version, "publisher");
        keep(&mut publisher, "a", "kept", QoS::AtLeastOnce);
        publisher.disconnect();
        let will = OwnedWill::new("w", "left").qos(QoS::AtLeastOnce).retain(true);
        drop(broker.connect(&OwnedConnect::new(version, "publisher").will(will)));
        assert_eq!(broker.look(|shard| shard.gauges().sessions), 0);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("#", QoS::AtLeastOnce)]);
        let messages = received(&mut subscriber, 2);
        assert_eq!(messages, [one("a", "kept", true), one("w", "left", true)].concat());
    }
}

#[test]
fn who_retains_where_that_is_switched_off_is_disconnected() {
    spec!("MQTT5-3.2.2-14");
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.features.retain_available = false);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("#", QoS::AtMostOnce)]);
        let mut publisher = broker.client(version, "publisher");
        publisher.send_publish(&retained("a", "1", QoS::AtMostOnce));
        publisher.expect_refused(ReasonCode::RetainNotSupported);
        let events = broker.events();
        assert!(crate::broker::ended_with(&events, ReasonCode::RetainNotSupported));
        assert!(format!("{events:?}").contains("features.retain_available"), "{events:?}");
        subscriber.expect_nothing_before_pong();
        assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 0);
    }
}

#[test]
fn all_properties_of_a_message_are_retained() {
    let broker = Broker::new();
    let publish = retained("a", "1", QoS::ExactlyOnce)
        .payload_format_indicator(true)
        .content_type("text/plain")
        .response_topic("answers")
        .correlation_data("7")
        .user_property("one", "1")
        .user_property("two", "2")
        .user_property("one", "3");
    broker.client(Version::V5_0, "publisher").publish_with(&publish);
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    let exactly_once = options(QoS::ExactlyOnce, RetainHandling::SendAtSubscribe);
    subscriber.subscribe_with(Some(9), &[("a", exactly_once)]);
    let message = subscriber.receive();
    let expected = OwnedPublish { packet_id: message.packet_id, ..publish.clone() };
    assert_eq!(message, expected.subscription_identifier(9));
    let mut old = broker.client(Version::V3_1_1, "old");
    old.subscribe(&[("a", QoS::ExactlyOnce)]);
    assert_eq!(received(&mut old, 1), one("a", "1", true));
}

#[test]
fn overlapping_subscriptions_are_each_served() {
    for version in VERSIONS {
        let broker = Broker::new();
        keep(&mut broker.client(version, "publisher"), "a/b", "kept", QoS::ExactlyOnce);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("a/#", QoS::AtMostOnce), ("a/b", QoS::AtLeastOnce)]);
        let (first, second) = (subscriber.receive(), subscriber.receive());
        assert_eq!((first.qos, second.qos), (QoS::AtMostOnce, QoS::AtLeastOnce));
        assert!(first.retain && second.retain);
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn shared_subscriptions_are_served_nothing_that_is_retained() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut publisher = broker.client(version, "publisher");
        // The second is the topic that a filter with a share name would match if it were none.
        for topic in ["a", "$share/g/a"] {
            keep(&mut publisher, topic, "kept", QoS::AtLeastOnce);
        }
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("$share/g/a", QoS::AtLeastOnce)]);
        subscriber.expect_nothing_before_pong();
        keep(&mut publisher, "a", "live", QoS::AtLeastOnce);
        assert_eq!(received(&mut subscriber, 1), one("a", "live", false));
    }
}

#[test]
fn a_refused_filter_is_served_nothing() {
    for version in [Version::V3_1_1, Version::V5_0] {
        let broker = Broker::with(|settings| settings.limits.topic_levels_max = 2);
        keep(&mut broker.client(version, "publisher"), "a", "kept", QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        let codes = subscriber.subscribe(&[("+/+/#", QoS::AtMostOnce), ("a", QoS::AtMostOnce)]);
        assert!(codes[0].is_error() && !codes[1].is_error());
        assert_eq!(received(&mut subscriber, 1), one("a", "kept", true));
    }
}

#[test]
fn what_a_client_may_not_read_is_not_served() {
    use noctule_broker_core::ReadRules;
    let broker = Broker::with(|settings| {
        let rule = |client_id: &str, topic: &str| client_id != "guest" || topic != "secret";
        settings.read_rules = Some(ReadRules(std::sync::Arc::new(rule)));
    });
    let mut publisher = broker.client(Version::V5_0, "publisher");
    keep(&mut publisher, "open", "1", QoS::AtLeastOnce);
    keep(&mut publisher, "secret", "2", QoS::AtLeastOnce);
    let mut guest = broker.client(Version::V5_0, "guest");
    guest.subscribe(&[("#", QoS::AtLeastOnce)]);
    assert_eq!(received(&mut guest, 1), one("open", "1", true));
    let mut other = broker.client(Version::V5_0, "other");
    other.subscribe(&[("#", QoS::AtLeastOnce)]);
    assert_eq!(received(&mut other, 2).len(), 2);
}

#[test]
fn a_message_over_a_limit_is_refused_and_changes_nothing() {
    for version in VERSIONS {
        let by_count = |broker: &Broker| broker.look(|shard| shard.gauges().retained_messages);
        let broker = Broker::with(|settings| {
            settings.limits.retained_messages_max = 2;
            // An owner on another shard refuses later: see `retained_shards`.
            settings.placement = placement_of(shards(), &[("publisher", 0), ("c", 0)]);
        });
        let mut publisher = broker.client(version, "publisher");
        keep(&mut publisher, "a", "1", QoS::AtLeastOnce);
        keep(&mut publisher, "b", "1", QoS::AtLeastOnce);
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("c", QoS::AtLeastOnce)]);
        let _ = broker.events();
        for qos in QOS {
            let code = publisher.publish_with(&retained("c", "1", qos));
            let told = version.is_v5() && qos > QoS::AtMostOnce;
            assert_eq!(code == ReasonCode::QuotaExceeded, told, "{version} {qos:?} {code}");
            publisher.expect_nothing_before_pong();
            let limit = refused_limit(&broker.events(), "c");
            let setting = "limits.retained_messages_max";
            assert_eq!(limit, Limit { setting, maximum: 2, wanted: 3 });
        }
        subscriber.expect_nothing_before_pong();
        assert_eq!(by_count(&broker), 2);
        assert_eq!(broker.look(|shard| shard.statistics().publish_refused), 3);
        keep(&mut publisher, "b", "2", QoS::AtLeastOnce);
        keep(&mut publisher, "a", "", QoS::AtLeastOnce);
        keep(&mut publisher, "c", "3", QoS::AtLeastOnce);
        assert_eq!(received(&mut subscriber, 1), one("c", "3", false));
        assert_eq!(by_count(&broker), 2);
    }
}

#[test]
fn a_message_over_the_limit_of_bytes_is_refused_and_a_smaller_one_taken() {
    let broker = Broker::with(|settings| settings.limits.retained_bytes_max = 1_500);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    keep(&mut publisher, "a", &"x".repeat(500), QoS::AtLeastOnce);
    let bytes = broker.look(|shard| shard.gauges().retained_bytes);
    assert!((501..1_000).contains(&bytes), "{bytes}");
    let large = retained("b", &"x".repeat(500), QoS::AtLeastOnce);
    assert_eq!(publisher.publish_with(&large), ReasonCode::QuotaExceeded);
    let limit = refused_limit(&broker.events(), "b");
    let setting = "limits.retained_bytes_max";
    assert_eq!(limit, Limit { setting, maximum: 1_500, wanted: 2 * bytes });
    assert_eq!(broker.look(|shard| shard.gauges().retained_bytes), bytes);
    keep(&mut publisher, "a", &"y".repeat(500), QoS::AtLeastOnce);
    let larger = retained("a", &"z".repeat(1_500), QoS::AtLeastOnce);
    assert_eq!(publisher.publish_with(&larger), ReasonCode::QuotaExceeded);
    keep(&mut publisher, "a", "small", QoS::AtLeastOnce);
    assert_eq!(publisher.publish_with(&large), ReasonCode::NoMatchingSubscribers);
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    subscriber.subscribe(&[("a", QoS::AtLeastOnce)]);
    assert_eq!(received(&mut subscriber, 1), one("a", "small", true));
}

#[test]
fn retained_messages_may_take_all_of_their_bytes() {
    let bytes = {
        let broker = Broker::new();
        keep(&mut broker.client(Version::V5_0, "a"), "a", "text", QoS::AtLeastOnce);
        broker.look(|shard| shard.gauges().retained_bytes)
    };
    for (maximum, reason) in
        [(bytes, ReasonCode::NoMatchingSubscribers), (bytes - 1, ReasonCode::QuotaExceeded)]
    {
        let broker = Broker::with(|settings| settings.limits.retained_bytes_max = maximum);
        let mut publisher = broker.client(Version::V5_0, "a");
        assert_eq!(publisher.publish_with(&retained("a", "text", QoS::AtLeastOnce)), reason);
    }
}

#[test]
fn many_levels_cost_more_than_few() {
    let broker = Broker::new();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    let mut cost = |topic: &str| {
        let before = broker.look(|shard| shard.gauges().retained_bytes);
        keep(&mut publisher, topic, "1", QoS::AtLeastOnce);
        broker.look(|shard| shard.gauges().retained_bytes) - before
    };
    let (flat, deep) = (cost(&"x".repeat(200)), cost(&"/".repeat(199)));
    assert!(deep > 30_000 && flat < 1_000, "{flat} {deep}");
    let deep = "/".repeat(199);
    let near = broker.names_at(broker.home(&deep), &deep).next().expect("a topic");
    assert!(cost(&near) < 1_000, "levels are shared");
}

#[test]
fn a_will_over_a_limit_is_refused_and_does_not_count_as_published() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.limits.retained_messages_max = 0;
            settings.authorization = Authorization::Ask;
            // An owner on another shard refuses later: see `retained_shards`.
            settings.placement = placement_of(shards(), &[("leaver", 0), ("w", 0)]);
        });
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("w", QoS::AtLeastOnce)]);
        broker.events();
        let will = OwnedWill::new("w", "left").retain(true);
        // Its session may be over when it is decided.
        let leaver = broker.connect(&OwnedConnect::new(version, "leaver").will(will));
        broker.hold();
        drop(leaver);
        broker.answer();
        let published = |event: &Event| matches!(event, Event::WillPublished { .. });
        let events = broker.events();
        assert!(!events.iter().any(published), "{version}");
        let setting = "limits.retained_messages_max";
        assert_eq!(refused_limit(&events, "w"), Limit { setting, maximum: 0, wanted: 1 });
        let counted = broker.look(|shard| shard.statistics().clone());
        assert_eq!((counted.wills_published, counted.publish_refused), (0, 1));
        subscriber.expect_nothing_before_pong();
    }
}

/// The limit that the only refusal of a packet names.
#[track_caller]
fn refused_limit(events: &[Event], refused_topic: &str) -> Limit {
    let mut limits = events.iter().filter_map(|event| match event {
        Event::PacketRefused { topic, reason, .. } => {
            assert_eq!(&**topic, refused_topic);
            assert_eq!(reason.code, ReasonCode::QuotaExceeded);
            Some(reason.limit.expect("a limit"))
        }
        _ => None,
    });
    let limit = limits.next().expect("a refusal");
    assert_eq!(limits.next(), None);
    limit
}
