//! Wills: when they are published, when not, and with what.

use std::time::Duration;

use noctule_broker_core::{Command, DropCause, Durability, Effect, Event, Input, Record, Settings};
use noctule_packet::{QoS, ReasonCode, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedDisconnect, OwnedPublish, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, lasting};

/// A broker and a client that sees every will as it is published.
fn watched(version: Version) -> (Broker, Client) {
    watched_with(version, |_| {})
}

fn watched_with(version: Version, change: impl FnOnce(&mut Settings)) -> (Broker, Client) {
    let broker = Broker::with(change);
    let mut watcher = broker.client(version, "watcher");
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        retain_as_published: version.is_v5(),
        ..Default::default()
    };
    watcher.subscribe_with(None, &[("will/#", options)]);
    (broker, watcher)
}

fn will() -> OwnedWill {
    OwnedWill::new("will/a", "gone")
}

fn with_will(version: Version) -> OwnedConnect {
    OwnedConnect::new(version, "a").will(will())
}

/// A 5.0 client whose session lasts an hour and whose will waits.
fn with_delay(seconds: u32) -> OwnedConnect {
    lasting(Version::V5_0, "a").will(will().delay(seconds))
}

#[track_caller]
fn expect_will(watcher: &mut Client) {
    let message = watcher.receive();
    assert_eq!((&*message.topic, message.text()), ("will/a", "gone"));
    watcher.expect_nothing_before_pong();
}

#[test]
fn a_lost_connection_publishes_the_will() {
    spec!("MQTT5-3.1.2-8", "MQTT5-3.1.2-7", "MQTT311-3.1.2-8", "MQTT31-3.1-13");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        let client = broker.connect(&with_will(version));
        watcher.expect_nothing_before_pong();
        drop(client);
        expect_will(&mut watcher);
        let wills = |event: &Event| matches!(event, Event::WillPublished { .. });
        assert_eq!(broker.events().iter().filter(|event| wills(event)).count(), 1);
        assert_eq!(broker.look(|shard| shard.statistics().wills_published), 1);
    }
}

#[test]
fn silence_publishes_the_will() {
    spec!("MQTT5-3.1.2-8", "MQTT311-3.1.2-8", "MQTT31-3.1-13");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        let _client = broker.connect(&with_will(version).keep_alive(10));
        broker.advance_seconds(14);
        watcher.expect_nothing_before_pong();
        broker.advance_seconds(1);
        expect_will(&mut watcher);
    }
}

#[test]
fn a_mistake_publishes_the_will() {
    spec!("MQTT5-3.1.2-8", "MQTT311-3.1.2-8", "MQTT31-3.1-13");
    let mistakes: [fn(&mut Client); 4] = [
        // No packet at all.
        |client| client.send_bytes(&[0x00, 0x00]),
        // A PUBLISH with QoS 3.
        |client| client.send_bytes(&[0x36, 0x03, 0x00, 0x01, b'a']),
        // A packet that servers send.
        |client| client.send_bytes(&[0xD0, 0x00]),
        |client| client.send_connect(&OwnedConnect::new(client.version(), "a")),
    ];
    for version in VERSIONS {
        for mistake in mistakes {
            let (broker, mut watcher) = watched(version);
            let mut client = broker.connect(&with_will(version));
            mistake(&mut client);
            expect_will(&mut watcher);
        }
    }
}

#[test]
fn whoever_the_broker_disconnects_leaves_a_will() {
    spec!("MQTT5-3.1.2-8", "MQTT311-3.1.2-8");
    let client_id = || Box::from("a");
    let kick =
        || Command::Kick { client_id: client_id(), reason: ReasonCode::AdministrativeAction };
    let stop = || Command::Stop { reason: ReasonCode::ServerShuttingDown, server_reference: None };
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        let mut client = broker.connect(&with_will(version));
        broker.input(Input::Command(kick()));
        client.expect_refused(ReasonCode::AdministrativeAction);
        expect_will(&mut watcher);

        let (broker, _watcher) = watched(version);
        let _client = broker.connect(&with_will(version));
        broker.input(Input::Command(stop()));
        assert_eq!(broker.look(|shard| shard.statistics().wills_published), 1);
    }
}

#[test]
fn a_normal_disconnect_drops_the_will() {
    spec!("MQTT5-3.14.4-3", "MQTT5-3.1.2-10", "MQTT311-3.14.4-3", "MQTT311-3.1.2-10");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        broker.connect(&with_will(version)).disconnect();
        watcher.expect_nothing_before_pong();
        // Nor is it found later, when the session goes on or ends.
        broker.connect(&lasting(version, "a").will(will().delay(10))).disconnect();
        broker.advance_seconds(10);
        drop(broker.lasting(version, "a"));
        broker.advance_seconds(4_000);
        watcher.expect_nothing_before_pong();
    }
}

#[test]
fn in_3_x_every_disconnect_drops_the_will() {
    spec!("MQTT311-3.14.4-3", "MQTT31-3.1-13");
    for version in [Version::V3_1, Version::V3_1_1] {
        let (broker, mut watcher) = watched(version);
        broker.connect(&with_will(version)).disconnect();
        watcher.expect_nothing_before_pong();
    }
}

#[test]
fn every_other_disconnect_publishes_the_will() {
    spec!("MQTT5-3.1.2-8", "MQTT5-3.14.4-3");
    for code in [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99] {
        let code = ReasonCode::from_value(code).expect("a reason code");
        let (broker, mut watcher) = watched(Version::V5_0);
        let mut client = broker.connect(&with_will(Version::V5_0));
        client.send_disconnect(code);
        client.expect_closed();
        expect_will(&mut watcher);
    }
}

#[test]
fn a_published_will_is_gone() {
    spec!("MQTT5-3.1.2-10", "MQTT311-3.1.2-10");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        drop(broker.connect(&lasting(version, "a").will(will())));
        expect_will(&mut watcher);
        drop(broker.lasting(version, "a"));
        broker.advance_seconds(4_000);
        watcher.expect_nothing_before_pong();
    }
}

#[test]
fn who_has_no_will_leaves_none() {
    spec!("MQTT311-3.1.2-12");
    for version in VERSIONS {
        let (broker, mut watcher) = watched(version);
        drop(broker.client(version, "a"));
        // The will of an earlier connection is not this one's.
        broker.connect(&lasting(version, "a").will(will().delay(10))).disconnect();
        drop(broker.lasting(version, "a"));
        broker.advance_seconds(20);
        watcher.expect_nothing_before_pong();
        let wills = |event: &Event| matches!(event, Event::WillPublished { .. });
        assert!(!broker.events().iter().any(wills));
    }
}

#[test]
fn a_will_is_retained_if_it_says_so() {
    spec!("MQTT5-3.1.2-15", "MQTT311-3.1.2-17", "MQTT31-3.1-14");
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
    spec!("MQTT31-3.1-14");
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
fn a_delayed_will_waits_and_is_published_once() {
    spec!("MQTT5-3.1.2-8", "MQTT5-3.1.2-7", "MQTT5-3.1.2-10");
    let (broker, mut watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    broker.advance(Duration::from_millis(9_999));
    watcher.expect_nothing_before_pong();
    broker.advance(Duration::from_millis(1));
    expect_will(&mut watcher);
    // Neither the next connection nor the end of the session brings it again.
    drop(broker.connect(&lasting(Version::V5_0, "a")));
    broker.advance_seconds(4_000);
    watcher.expect_nothing_before_pong();
}

#[test]
fn who_is_back_before_the_delay_is_over_is_not_mourned() {
    spec!("MQTT5-3.1.3-9", "MQTT5-3.1.2-8");
    let (broker, mut watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    broker.advance_seconds(9);
    let client = broker.connect(&lasting(Version::V5_0, "a"));
    broker.advance_seconds(100);
    watcher.expect_nothing_before_pong();
    drop(client);
    broker.advance_seconds(4_000);
    watcher.expect_nothing_before_pong();
}

#[test]
fn each_connection_has_a_will_of_its_own() {
    let (broker, mut watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    broker.advance_seconds(9);
    let newer = OwnedWill::new("will/a", "newer").delay(5);
    drop(broker.connect(&lasting(Version::V5_0, "a").will(newer)));
    broker.advance_seconds(4);
    watcher.expect_nothing_before_pong();
    broker.advance_seconds(1);
    assert_eq!(watcher.receive().text(), "newer");
    broker.advance_seconds(100);
    watcher.expect_nothing_before_pong();
}

#[test]
fn a_session_that_ends_before_the_delay_publishes_the_will() {
    spec!("MQTT5-3.1.2-8");
    // Seconds until: the delay, the session's end, and the will.
    for (delay, expiry, due) in [(10, 5, 5), (5, 10, 5), (5, 5, 5), (10, 0, 0)] {
        let (broker, mut watcher) = watched(Version::V5_0);
        let connect = OwnedConnect::v5("a").resumable(expiry).will(will().delay(delay));
        drop(broker.connect(&connect));
        if due > 0 {
            broker.advance(Duration::from_millis(due * 1_000 - 1));
            watcher.expect_nothing_before_pong();
            broker.advance(Duration::from_millis(1));
        }
        expect_will(&mut watcher);
        broker.advance_seconds(100);
        watcher.expect_nothing_before_pong();
    }
}

#[test]
fn disconnect_with_another_expiry_changes_when_a_delayed_will_is_due() {
    for (expiry, due) in [(5, 5), (20, 10), (0, 0)] {
        let (broker, mut watcher) = watched(Version::V5_0);
        let mut client = broker.connect(&with_delay(10));
        let disconnect = OwnedDisconnect::new(ReasonCode::DisconnectWithWillMessage)
            .session_expiry_interval(expiry);
        client.send_disconnect_with(&disconnect);
        client.expect_closed();
        if due > 0 {
            broker.advance_seconds(due - 1);
            watcher.expect_nothing_before_pong();
            broker.advance_seconds(1);
        }
        expect_will(&mut watcher);
    }
}

#[test]
fn a_delayed_will_is_due_when_a_clean_start_ends_its_session() {
    spec!("MQTT5-3.1.2-8");
    let (broker, mut watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    let _client = broker.client(Version::V5_0, "a");
    expect_will(&mut watcher);
    broker.advance_seconds(100);
    watcher.expect_nothing_before_pong();
}

#[test]
fn take_over_publishes_the_will_unless_the_session_goes_on_and_it_has_a_delay() {
    spec!("MQTT5-3.1.2-8", "MQTT5-3.1.3-9", "MQTT311-3.1.2-8");
    for (delay, expiry, clean_start, published) in [
        (0, 3_600, false, true),
        (0, 3_600, true, true),
        (10, 3_600, false, false),
        (10, 3_600, true, true),
        (0, 0, false, true),
        (10, 0, false, true),
        (10, 0, true, true),
    ] {
        let (broker, mut watcher) = watched(Version::V5_0);
        let connect = OwnedConnect::v5("a").resumable(expiry).will(will().delay(delay));
        let mut old = broker.connect(&connect);
        let _new = broker.connect(&lasting(Version::V5_0, "a").clean_start(clean_start));
        old.expect_refused(ReasonCode::SessionTakenOver);
        if published {
            expect_will(&mut watcher);
        }
        broker.advance_seconds(100);
        watcher.expect_nothing_before_pong();
    }
    for version in [Version::V3_1, Version::V3_1_1] {
        for clean_start in [true, false] {
            let (broker, mut watcher) = watched(version);
            let _old = broker.connect(&lasting(version, "a").will(will()));
            let _new = broker.connect(&lasting(version, "a").clean_start(clean_start));
            expect_will(&mut watcher);
        }
    }
}

#[test]
fn the_longest_will_delay_is_a_setting() {
    let (broker, mut watcher) = watched_with(Version::V5_0, |settings| {
        settings.limits.will_delay_interval_max_seconds = 10;
    });
    drop(broker.connect(&with_delay(1_000)));
    broker.advance_seconds(9);
    watcher.expect_nothing_before_pong();
    broker.advance_seconds(1);
    expect_will(&mut watcher);
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
    let broker = Broker::with(|settings| settings.durability = Durability::Stored);
    for (name, qos) in [("away", QoS::AtLeastOnce), ("careless", QoS::AtMostOnce)] {
        broker.lasting(Version::V5_0, name).subscribe(&[("will/a", qos)]);
    }
    broker.hold();
    // For how many sessions each is stored, if it is stored at all.
    for (qos, retain, stored_for) in [
        (QoS::AtMostOnce, false, None),
        (QoS::AtMostOnce, true, Some(0)),
        (QoS::AtLeastOnce, false, Some(1)),
        (QoS::ExactlyOnce, true, Some(1)),
    ] {
        let mut client = broker.open();
        let will = will().qos(qos).retain(retain);
        client.send_connect(&OwnedConnect::v5("a").will(will));
        broker.answer();
        client.expect_connack_with(ReasonCode::Success);
        drop(client);
        let Some(stored_for) = stored_for else {
            assert!(broker.has_asked_nothing());
            continue;
        };
        let Effect::Persist { record: Record::Published { message, sessions, .. }, .. } =
            broker.asked()
        else {
            panic!("the will is not stored");
        };
        assert_eq!((message.qos, message.retain), (qos, retain));
        assert_eq!(sessions.len(), stored_for, "{sessions:?}");
        assert!(sessions.iter().all(|name| &**name == "away"));
    }
}
