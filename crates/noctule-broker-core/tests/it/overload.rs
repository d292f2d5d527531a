//! Too much for all together, or too fast: new work is shed first, and nobody who keeps to the
//! rules loses anything.

use std::time::Duration;

use noctule_broker_core::{DropCause, Event, Limit};
use noctule_packet::{QoS, ReasonCode, Version};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, placement_of};

const MEMORY_BYTES_MAX: u64 = 64 * 1024;

/// The causes and limits of what was dropped since the last call.
fn drops(broker: &Broker) -> Vec<(DropCause, &'static str)> {
    let dropped = broker.events().into_iter().filter_map(|event| match event {
        Event::Dropped { cause, limit, .. } => Some((cause, limit?.setting)),
        _ => None,
    });
    dropped.collect()
}

/// A broker in which a session without a connection has filled what memory there is.
fn full(version: Version) -> Broker {
    let broker = Broker::with(|settings| {
        settings.limits.memory_bytes_max = MEMORY_BYTES_MAX;
        settings.placement =
            placement_of(settings.placement.shards(), &[("absent", 0), ("reader", 0)]);
    });
    broker.lasting(version, "absent").subscribe(&[("full/#", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(version, "filling");
    for _ in 0..100 {
        publisher.publish("full/x", [0; 1_000], QoS::AtLeastOnce);
    }
    let gauges = broker.look(|shards| shards.gauges());
    // What other shards have leased and do not use is little.
    assert!(gauges.memory_bytes > MEMORY_BYTES_MAX / 8 * 7, "{gauges:?}");
    assert!(gauges.memory_bytes < MEMORY_BYTES_MAX + 2_000, "{gauges:?}");
    let dropped = drops(&broker);
    assert!(dropped.len() > 30);
    assert!(dropped.iter().all(|it| *it == (DropCause::QueueFull, "limits.memory_bytes_max")));
    broker
}

#[test]
fn no_client_is_let_in_while_memory_is_short() {
    for version in VERSIONS {
        let broker = full(version);
        let mut reader = broker.open();
        reader.send_connect(&OwnedConnect::new(version, "reader"));
        reader.expect_connack_with(ReasonCode::ServerBusy);
        reader.expect_closed();
        let refused = broker.events().into_iter().find_map(|event| match event {
            Event::Refused { reason, .. } => reason.limit,
            _ => None,
        });
        let limit: Limit = refused.expect("a refusal with a limit");
        assert_eq!((limit.setting, limit.maximum), ("limits.memory_bytes_max", MEMORY_BYTES_MAX));
        // But who has a session may come and take what has filled it.
        let mut absent = broker.lasting(version, "absent");
        assert!(absent.receive_all().len() > 30);
        broker.client(version, "reader").expect_nothing_before_pong();
    }
}

/// What is dropped is the work of those who are not ready for it: whoever takes its messages at
/// once goes on getting them.
#[test]
fn whoever_keeps_up_loses_nothing_while_memory_is_short() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.limits.memory_bytes_max = MEMORY_BYTES_MAX;
            let shards = settings.placement.shards();
            settings.placement = placement_of(shards, &[("absent", 0), ("reader", 0)]);
        });
        broker.lasting(version, "absent").subscribe(&[("#", QoS::AtLeastOnce)]);
        let mut reader = broker.client(version, "reader");
        reader.subscribe(&[("#", QoS::ExactlyOnce)]);
        let mut publisher = broker.client(version, "publisher");
        for number in 0..200_u32 {
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number as usize % 3];
            publisher.publish("t", [number.to_be_bytes(); 250].concat(), qos);
            assert_eq!(reader.receive().payload[..4], number.to_be_bytes());
        }
        assert!(drops(&broker).len() > 60);
    }
}

#[test]
fn memory_is_free_again_when_messages_are_acknowledged_or_their_session_ends() {
    for version in VERSIONS {
        let broker = full(version);
        // In 3.x, its session stays for ever.
        if version.is_v5() {
            broker.advance(Duration::from_secs(3_600));
            assert_eq!(broker.look(|shards| shards.gauges().memory_bytes), 0);
            let mut client = broker.lasting(version, "absent");
            client.expect_nothing_before_pong();
        }
    }
    for version in VERSIONS {
        let broker = Broker::new();
        broker.lasting(version, "s").subscribe(&[("t", QoS::ExactlyOnce)]);
        let mut publisher = broker.client(version, "p");
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
            publisher.publish("t", "x", qos);
        }
        assert!(broker.look(|shards| shards.gauges().memory_bytes) > 0);
        let mut subscriber = broker.lasting(version, "s");
        for _ in 0..3 {
            subscriber.receive();
        }
        assert_eq!(broker.look(|shards| shards.gauges().memory_bytes), 0);
    }
}

/// Counts the PUBLISH packets that reach the other end of a fast publisher.
#[test]
fn a_client_that_publishes_too_fast_is_read_more_slowly_and_loses_nothing() {
    // With several shards they are at home on all of them.
    let all = VERSIONS
        .into_iter()
        .flat_map(|version| ["p0", "p1", "p2", "p3"].map(|name| (version, name)));
    for (version, name) in all {
        let broker = Broker::with(|settings| settings.limits.publish_rate_max = 10);
        let mut subscriber = broker.connect(&OwnedConnect::new(version, "s").keep_alive(0));
        subscriber.subscribe(&[("t", QoS::AtMostOnce)]);
        let mut publisher = broker.connect(&OwnedConnect::new(version, name).keep_alive(10));
        let mut bytes = Vec::new();
        for number in 0..50_u8 {
            let publish = OwnedPublish::new("t", [number], QoS::AtMostOnce);
            publish.to_packet().encode(version, &mut bytes).unwrap();
        }
        publisher.send_bytes(&bytes);
        publisher.send_pingreq();
        let mut received = subscriber.receive_all();
        assert_eq!(received.len(), 11, "a second's worth, and the one that was too much");
        for _ in 0..39 {
            broker.advance(Duration::from_millis(100));
            received.extend(subscriber.receive_all());
        }
        let numbers: Vec<_> = received.iter().map(|message| message.payload[0]).collect();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
        broker.advance(Duration::from_millis(100));
        publisher.expect_pingresp();
        assert_eq!(broker.look(|shards| shards.statistics().publish_throttled), 40);
    }
}

#[test]
fn a_client_that_publishes_too_many_bytes_is_read_more_slowly() {
    let broker = Broker::with(|settings| settings.limits.publish_bytes_rate_max = 10_000);
    let mut subscriber = broker.client(Version::V5_0, "s");
    subscriber.subscribe(&[("t", QoS::AtMostOnce)]);
    let mut publisher = broker.client(Version::V5_0, "p");
    for _ in 0..5 {
        publisher.send_publish(&OwnedPublish::new("t", [0; 10_000], QoS::AtMostOnce));
    }
    assert_eq!(subscriber.receive_all().len(), 1);
    broker.advance(Duration::from_secs(1));
    assert_eq!(subscriber.receive_all().len(), 1);
    broker.advance(Duration::from_secs(4));
    assert_eq!(subscriber.receive_all().len(), 3);
}

#[test]
fn clients_that_connect_too_fast_are_refused_and_told() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.limits.connect_rate_max = 5 * u32::from(settings.placement.shards());
            let homes: Vec<_> = (0..8).map(|number| (format!("c{number}"), 0)).collect();
            let homes: Vec<_> = homes.iter().map(|(name, home)| (&**name, *home)).collect();
            settings.placement = placement_of(settings.placement.shards(), &homes);
        });
        let clients: Vec<_> =
            (0..5).map(|number| broker.client(version, &format!("c{number}"))).collect();
        broker.events();
        let mut refused = broker.open();
        refused.send_connect(&OwnedConnect::new(version, "c5"));
        let code = if version.is_v5() {
            ReasonCode::ConnectionRateExceeded
        } else {
            ReasonCode::ServerUnavailable
        };
        refused.expect_connack_with(code);
        let told = broker.events().into_iter().any(|event| match event {
            Event::Refused { reason, .. } => {
                reason.limit.is_some_and(|limit| limit.setting == "limits.connect_rate_max")
            }
            _ => false,
        });
        assert!(told);
        broker.advance(Duration::from_millis(200));
        drop((clients, broker.client(version, "c6")));
    }
}
