//! The message that a will is: its flags and properties, its limits, and where it is kept.

use noctule_broker_core::{DropCause, Durability, Event, Record};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS};

use crate::broker::{Broker, lasting, placement_of, shards};
use crate::will::{watched, watched_with, will, with_will};

#[test]
fn a_will_is_retained_if_it_says_so() {
    spec!("MQTT5-3.1.2-15", "MQTT311-3.1.2-9", "MQTT311-3.1.2-17", "MQTT31-3.1-14");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        drop(broker.connect(&OwnedConnect::new(version, "a").will(will().retain(true))));
        let message = watcher.receive();
        assert_eq!((message.text(), message.retain), ("gone", version.is_v5()));
        let mut later = broker.client(version, "later");
        later.subscribe(&[("will/a", QoS::AtMostOnce)]);
        let message = later.receive();
        assert_eq!((message.text(), message.retain), ("gone", true));
        // A retained will without a payload clears the topic.
        let clearing = OwnedWill::new("will/a", "").retain(true);
        drop(broker.connect(&OwnedConnect::new(version, "a").will(clearing)));
        assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 0);
    }
}

#[test]
fn a_will_is_not_retained_unless_it_says_so() {
    spec!("MQTT5-3.1.2-14", "MQTT311-3.1.2-16", "MQTT31-3.1-14");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        drop(broker.connect(&with_will(version)));
        assert!(!watcher.receive().retain);
        let mut later = broker.client(version, "later");
        later.subscribe(&[("will/a", QoS::AtMostOnce)]);
        later.expect_nothing_before_pong();
        assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 0);
    }
}

#[test]
fn a_will_has_its_quality_of_service() {
    spec!("MQTT311-3.1.2-9", "MQTT31-3.1-14");
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let (broker, mut watcher) = watched(version);
            drop(broker.connect(&OwnedConnect::new(version, "a").will(will().qos(qos))));
            assert_eq!(watcher.receive().qos, qos);
            let mut away = broker.lasting(version, "away");
            away.subscribe(&[("will/a", QoS::AtLeastOnce)]);
            drop(away);
            drop(broker.connect(&OwnedConnect::new(version, "a").will(will().qos(qos))));
            let mut away = broker.lasting(version, "away");
            match qos {
                QoS::AtMostOnce => away.expect_nothing_before_pong(),
                _ => assert_eq!(away.receive().qos, QoS::AtLeastOnce),
            }
        }
    }
}

#[test]
fn a_will_has_its_properties() {
    let (broker, mut watcher) = watched(Version::V5_0);
    let mut will = will().user_property("b", "1").user_property("a", "2").user_property("b", "1");
    will.payload_format_indicator = Some(true);
    will.content_type = Some("text/plain".to_owned());
    will.response_topic = Some("answers".to_owned());
    will.correlation_data = Some(vec![0, 1, 2]);
    will.message_expiry_interval = Some(60);
    drop(broker.connect(&OwnedConnect::v5("a").will(will.clone())));
    let message = watcher.receive();
    let expected = OwnedPublish {
        payload_format_indicator: will.payload_format_indicator,
        content_type: will.content_type,
        response_topic: will.response_topic,
        correlation_data: will.correlation_data,
        message_expiry_interval: will.message_expiry_interval,
        user_properties: will.user_properties,
        ..OwnedPublish::new("will/a", "gone", QoS::AtMostOnce)
    };
    assert_eq!(message, expected);
}

#[test]
fn a_will_expires_after_it_is_published_and_not_before() {
    let (broker, mut watcher) = watched(Version::V5_0);
    let will = || will().qos(QoS::AtLeastOnce).retain(true).message_expiry_interval(5).delay(60);
    drop(broker.connect(&lasting(Version::V5_0, "a").will(will())));
    broker.advance_seconds(60);
    assert_eq!(watcher.receive().message_expiry_interval, Some(5));
    broker.advance_seconds(4);
    assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 1);
    broker.advance_seconds(1);
    assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 0);
}

#[test]
fn a_will_of_a_higher_qos_than_announced_is_refused() {
    spec!("MQTT5-3.2.2-12");
    for version in VERSIONS {
        for (maximum, asked) in
            [(QoS::AtMostOnce, QoS::AtLeastOnce), (QoS::AtLeastOnce, QoS::ExactlyOnce)]
        {
            let broker = Broker::with(|settings| settings.features.maximum_qos = maximum);
            let mut client = broker.open();
            let connect = OwnedConnect::new(version, "a");
            client.send_connect(&connect.clone().will(will().qos(asked)));
            // No return code of 3.x says that.
            if version.is_v5() {
                client.expect_connack_with(ReasonCode::QosNotSupported);
            }
            client.expect_closed();
            drop(broker.connect(&connect.will(will().qos(maximum))));
        }
    }
}

#[test]
fn a_retained_will_is_refused_where_nothing_is_retained() {
    spec!("MQTT5-3.2.2-13");
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.features.retain_available = false);
        let mut client = broker.open();
        let connect = OwnedConnect::new(version, "a");
        client.send_connect(&connect.clone().will(will().retain(true)));
        // No return code of 3.x says that.
        if version.is_v5() {
            client.expect_connack_with(ReasonCode::RetainNotSupported);
        }
        client.expect_closed();
        drop(broker.connect(&connect.will(will())));
    }
}

#[test]
fn a_will_that_could_never_be_published_is_refused() {
    let too_many = (0..=1_000).fold(will(), |will, _| will.user_property("a", "b"));
    for (will, setting) in [
        (OwnedWill::new("$SYS/clients", "x"), None),
        (OwnedWill::new("a/b/c", "x"), Some("limits.topic_levels_max")),
        (OwnedWill::new("a-topic-that-is-long", "x"), Some("limits.topic_bytes_max")),
        (too_many, Some("limits.user_properties_max")),
    ] {
        let broker = Broker::with(|settings| {
            settings.limits.topic_levels_max = 2;
            settings.limits.topic_bytes_max = 19;
        });
        let mut client = broker.open();
        client.send_connect(&OwnedConnect::v5("a").will(will));
        assert!(client.expect_connack().reason_code.is_error());
        client.expect_closed();
        let events = broker.events();
        let reason = events.iter().find_map(|event| match event {
            Event::Refused { reason, .. } => Some(reason),
            _ => None,
        });
        let limit = reason.expect("a refusal").limit;
        assert_eq!(limit.map(|limit| limit.setting), setting);
    }
}

#[test]
fn a_will_waits_for_nobody_who_reads_slowly() {
    let (broker, watcher) = watched_with(Version::V5_0, |settings| {
        settings.limits.outbound_bytes_max = 1_000;
    });
    broker.stall(&watcher);
    let large = OwnedWill::new("will/a", vec![0; 900]);
    for _ in 0..4 {
        drop(broker.connect(&OwnedConnect::v5("a").will(large.clone())));
    }
    let dropped = |event: &Event| {
        matches!(event, Event::Dropped { cause: DropCause::SlowReader, limit: Some(_), .. })
    };
    assert!(broker.events().iter().any(dropped));
}

#[test]
fn a_will_is_stored_for_stored_sessions_and_as_a_retained_message() {
    let broker = Broker::with(|settings| {
        settings.durability = Durability::Stored;
        // All of this is about one shard.
        let homes = ["a", "away", "careless", "will/a"].map(|name| (name, 0));
        settings.placement = placement_of(shards(), &homes);
    });
    for (name, qos) in [("away", QoS::AtLeastOnce), ("careless", QoS::AtMostOnce)] {
        broker.lasting(Version::V5_0, name).subscribe(&[("will/a", qos)]);
    }
    broker.hold();
    // Whether it is retained, and for how many sessions it waits, if anything is kept at all.
    for (qos, retain, expected) in [
        (QoS::AtMostOnce, false, None),
        (QoS::AtMostOnce, true, Some((1, 0))),
        (QoS::AtLeastOnce, false, Some((0, 1))),
        (QoS::ExactlyOnce, true, Some((1, 1))),
    ] {
        let mut client = broker.open();
        let will = will().qos(qos).retain(retain);
        client.send_connect(&OwnedConnect::v5("a").will(will));
        let Some(expected) = expected else {
            assert!(broker.has_asked_nothing());
            client.expect_connack_with(ReasonCode::Success);
            drop(client);
            assert!(broker.has_asked_nothing());
            continue;
        };
        let record = broker.record();
        let Record::SessionStarted(terms) = record else { panic!("{record:?}") };
        assert_eq!((terms.expiry_interval, &*terms.client_id), (0, "a"));
        let kept = terms.will.expect("the will");
        assert_eq!((&*kept.topic, kept.qos, kept.retain), ("will/a", qos, retain));
        broker.keep_all();
        client.expect_connack_with(ReasonCode::Success);
        drop(client);
        let ended = broker.records();
        assert!(matches!(ended[0], Record::WillDue { .. }), "{ended:?}");
        assert_eq!(ended[1..], [Record::SessionEnded { session: terms.session }]);
        broker.kept();
        let (mut retained, mut queued) = (0, 0);
        for record in broker.records() {
            match record {
                Record::Retained { message, .. } => {
                    assert_eq!((message.qos, message.retain), (qos, retain));
                    retained += 1;
                }
                Record::Queued { references, .. } => queued += references.len(),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((retained, queued), expected);
    }
}
