//! The `$SYS` topics: what they say, who sees them, and that nobody else writes them.

use std::time::Duration;

use noctule_broker_core::{Durability, Event, Input, StoreReport};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client};
use crate::world::Shards;

/// A broker that says something of itself every ten seconds.
fn broker() -> Broker {
    Broker::with(|settings| settings.system_interval_seconds = 10)
}

fn client(broker: &Broker, version: Version, client_id: &str) -> Client {
    broker.connect(&OwnedConnect::new(version, client_id).keep_alive(0))
}

/// What is said now about `name`, to somebody who just comes to look and is not counted any more.
#[track_caller]
fn value(broker: &Broker, name: &str) -> String {
    let mut looker = client(broker, Version::V5_0, "looker");
    looker.subscribe(&[(&format!("$SYS/broker/{name}"), QoS::AtMostOnce)]);
    let message = looker.receive();
    assert!(message.retain);
    looker.expect_nothing_before_pong();
    message.text().to_owned()
}

#[track_caller]
fn number(broker: &Broker, name: &str) -> f64 {
    value(broker, name).parse().expect("a number")
}

#[test]
fn a_new_subscriber_is_told_at_once_and_then_at_the_interval() {
    for version in VERSIONS {
        let broker = broker();
        let mut subscriber = client(&broker, version, "subscriber");
        subscriber.subscribe(&[("$SYS/broker/uptime", QoS::ExactlyOnce)]);
        let first = subscriber.receive();
        assert_eq!((first.text(), first.retain, first.qos), ("0 seconds", true, QoS::AtMostOnce));
        subscriber.expect_nothing_before_pong();
        for seconds in [10, 20, 30] {
            broker.advance_seconds(9);
            subscriber.expect_nothing_before_pong();
            broker.advance_seconds(1);
            let next = subscriber.receive();
            assert_eq!((next.text(), next.retain), (&*format!("{seconds} seconds"), false));
            subscriber.expect_nothing_before_pong();
        }
        let mut late = client(&broker, version, "late");
        late.subscribe(&[("$SYS/+/uptime", QoS::AtMostOnce)]);
        assert_eq!(late.receive().text(), "30 seconds");
    }
}

#[test]
fn wildcards_at_the_first_level_do_not_match_them() {
    spec!("MQTT5-4.7.2-1", "MQTT311-4.7.2-1");
    for version in VERSIONS {
        let broker = broker();
        let mut everything = client(&broker, version, "everything");
        let wide = ["#", "+/#", "+/broker/uptime", "+/broker/#", "+/+/+"];
        everything.subscribe(&wide.map(|filter| (filter, QoS::AtMostOnce)));
        everything.expect_nothing_before_pong();
        broker.advance_seconds(20);
        everything.expect_nothing_before_pong();
        let mut system = client(&broker, version, "system");
        system.subscribe(&[("$SYS/#", QoS::AtMostOnce)]);
        let topics: Vec<_> = (0..48).map(|_| system.receive().topic).collect();
        assert!(topics.iter().all(|topic| topic.starts_with("$SYS/broker/")));
        system.expect_nothing_before_pong();
    }
}

#[test]
fn an_interval_of_0_says_nothing_and_wakes_nobody() {
    let broker = Broker::new();
    let mut subscriber = client(&broker, Version::V5_0, "subscriber");
    subscriber.subscribe(&[("$SYS/#", QoS::AtMostOnce)]);
    broker.advance_seconds(1_000);
    subscriber.expect_nothing_before_pong();
    assert_eq!(broker.look(Shards::poll_timeout), None);
}

#[test]
fn clients_cannot_publish_there() {
    for version in VERSIONS {
        let broker = broker();
        let before = value(&broker, "version");
        let mut subscriber = client(&broker, version, "subscriber");
        subscriber.subscribe(&[("$SYS", QoS::AtMostOnce), ("$SYS/forged", QoS::AtMostOnce)]);
        let mut liar = client(&broker, version, "liar");
        for topic in ["$SYS/broker/version", "$SYS/forged", "$SYS/", "$SYS"] {
            for (qos, retain) in [
                (QoS::AtMostOnce, true),
                (QoS::AtLeastOnce, false),
                (QoS::AtLeastOnce, true),
                (QoS::ExactlyOnce, true),
            ] {
                let _ = broker.events();
                for payload in ["forged", ""] {
                    let publish = OwnedPublish::new(topic, payload, qos).retain(retain);
                    let code = liar.publish_with(&publish);
                    let told = version.is_v5() && qos > QoS::AtMostOnce;
                    assert_eq!(code == ReasonCode::NotAuthorized, told, "{version} {code}");
                    liar.expect_nothing_before_pong();
                }
                let refused = broker.events().into_iter().filter(|event| {
                    matches!(event, Event::PacketRefused { topic: refused, reason, .. }
                        if **refused == *topic && reason.code == ReasonCode::NotAuthorized)
                });
                assert_eq!(refused.count(), 2);
            }
        }
        subscriber.expect_nothing_before_pong();
        assert_eq!(value(&broker, "version"), before);
        liar.publish("$SYSTEM/mine", "1", QoS::AtLeastOnce);
        liar.publish("$other", "1", QoS::AtLeastOnce);
    }
}

#[test]
fn a_will_is_not_published_there() {
    for version in VERSIONS {
        let broker = broker();
        let before = value(&broker, "version");
        let will = OwnedWill::new("$SYS/broker/version", "forged").retain(true);
        let mut liar = broker.open();
        liar.send_connect(&OwnedConnect::new(version, "liar").will(will));
        drop(liar);
        assert_eq!(value(&broker, "version"), before);
    }
}

#[test]
fn clients_and_sessions_are_told() {
    let broker = broker();
    let _one = client(&broker, Version::V3_1, "one");
    let _two = client(&broker, Version::V5_0, "two");
    drop(broker.lasting(Version::V3_1_1, "three"));
    broker.advance_seconds(10);
    let values = ["connected", "disconnected", "total"];
    let values = values.map(|name| value(&broker, &format!("clients/{name}")));
    assert_eq!(values, ["2", "1", "3"]);
}

#[test]
fn subscriptions_and_retained_messages_are_told() {
    let broker = broker();
    let mut one = client(&broker, Version::V5_0, "one");
    one.subscribe(&[("a", QoS::AtMostOnce), ("b/#", QoS::AtMostOnce)]);
    one.subscribe(&[("a", QoS::AtLeastOnce), ("$share/g/c", QoS::AtLeastOnce)]);
    let mut two = broker.lasting(Version::V5_0, "two");
    two.subscribe(&[("q", QoS::AtLeastOnce), ("$share/g/c", QoS::AtLeastOnce)]);
    drop(two);
    for topic in ["r/1", "r/2", "q"] {
        let publish = OwnedPublish::new(topic, "12345", QoS::AtLeastOnce).retain(true);
        one.publish_with(&publish);
    }
    one.publish_with(&OwnedPublish::new("r/2", "", QoS::AtLeastOnce).retain(true));
    broker.advance_seconds(10);
    for (name, expected) in [
        ("subscriptions/count", 5.0),
        ("shared_subscriptions/count", 1.0),
        ("retained messages/count", 2.0),
        ("store/messages/count", 1.0),
    ] {
        assert_eq!(number(&broker, name), expected, "{name}");
    }
    let bytes = broker.look(|shard| shard.gauges().queued_bytes);
    assert!(bytes > 6);
    assert_eq!(number(&broker, "store/messages/bytes"), bytes as f64);
}

#[test]
fn what_is_said_of_the_store_is_told() {
    let broker = broker();
    let _client = client(&broker, Version::V5_0, "one");
    let mut report = StoreReport::default();
    (report.runs_bytes, report.state_bytes, report.checkpoints) = (1, 2, 3);
    report.checkpoint_last = Duration::from_millis(4);
    report.checkpoint_longest = Duration::from_millis(5);
    broker.input(Input::StoreReport(report));
    broker.advance_seconds(10);
    for (name, expected) in [
        ("runs/bytes", "1"),
        ("state/bytes", "2"),
        ("checkpoints", "3"),
        ("checkpoint/last", "4000 microseconds"),
        ("checkpoint/longest", "5000 microseconds"),
        ("sessions/count", "0"),
        ("queues/bytes", "0"),
        ("clients/memory", "1"),
    ] {
        assert_eq!(value(&broker, &format!("store/{name}")), expected, "{name}");
    }
}

#[test]
fn what_was_counted_is_told() {
    let broker = broker();
    let mut client = client(&broker, Version::V3_1_1, "one");
    client.subscribe(&[("a", QoS::AtMostOnce)]);
    client.publish("a", "12345", QoS::AtLeastOnce);
    client.receive();
    let counted = broker.look(|shard| shard.statistics().clone());
    broker.advance_seconds(10);
    for (name, expected) in [
        ("messages/received", counted.packets_received),
        ("messages/sent", counted.packets_sent),
        ("publish/messages/received", counted.publish_received),
        ("publish/messages/sent", counted.publish_sent),
        ("publish/messages/dropped", 0),
        ("bytes/received", counted.bytes_received),
        ("bytes/sent", counted.bytes_sent),
    ] {
        // Looking changes nothing: it is said anew at the next interval only.
        assert_eq!(number(&broker, name), expected as f64, "{name}");
    }
    let version = value(&broker, "version");
    assert_eq!(version, format!("noctule {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn loads_are_told_for_a_minute_over_several_windows() {
    let broker = broker();
    let mut publisher = client(&broker, Version::V5_0, "publisher");
    // Two a second for an hour: the fifteen minutes' average is nearly there.
    for _ in 0..360 {
        for _ in 0..20 {
            publisher.publish("a", "1", QoS::AtMostOnce);
        }
        broker.advance_seconds(10);
    }
    let windows = ["1min", "5min", "15min"];
    let loads = windows.map(|window| number(&broker, &format!("load/publish/received/{window}")));
    for (load, expected) in loads.into_iter().zip([120.0, 120.0, 117.8]) {
        assert!((load - expected).abs() < 0.1, "{load} {expected}");
    }
    broker.advance_seconds(60);
    let load = number(&broker, "load/publish/received/1min");
    assert!((load - 44.1).abs() < 0.1, "{load}");
    assert_eq!(number(&broker, "load/publish/dropped/1min"), 0.0);
    let bytes = number(&broker, "load/bytes/received/15min");
    assert!(bytes > 6.0 * 100.0, "{bytes}");
}

#[test]
fn they_count_as_no_retained_messages_and_are_never_stored() {
    let broker = Broker::with(|settings| {
        settings.system_interval_seconds = 10;
        settings.limits.retained_messages_max = 0;
        settings.durability = Durability::Stored;
    });
    broker.advance_seconds(20);
    let gauges = broker.look(Shards::gauges);
    assert_eq!((gauges.retained_messages, gauges.retained_bytes), (0, 0));
    assert_eq!(value(&broker, "retained messages/count"), "0");
    assert!(!broker.trace().contains(&"Persist".to_owned()));
}
