//! What stored sessions may take of the store, all of them together and each for itself.

use std::time::Duration;

use noctule_broker_core::{DropCause, Ended, Event, Limit};
use noctule_packet::{PacketType, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting, placement_of};
use crate::stored::storing_with;

const STORED_BYTES_MAX: u64 = 64 * 1024;

/// A broker that has room for fifty messages of 1,000 bytes on one shard, whoever they wait for.
fn narrow() -> Broker {
    let homes = ["a", "b", "publisher", "t/0", "$share/g/t"].map(|name| (name, 0));
    storing_with(|settings| {
        settings.limits.stored_bytes_max = STORED_BYTES_MAX;
        settings.placement = placement_of(settings.placement.shards(), &homes);
    })
}

fn absent(broker: &Broker, version: Version, names: &[&str], filter: &str) {
    for name in names {
        broker.lasting(version, name).subscribe(&[(filter, QoS::ExactlyOnce)]);
    }
}

fn publish(publisher: &mut Client, count: usize) {
    for number in 0..count {
        let qos = if number % 3 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        publisher.publish("t", [0; 1_000], qos);
    }
}

/// How many messages were dropped since the last call; all of them for this limit.
#[track_caller]
fn drops(broker: &Broker) -> usize {
    let events = broker.events().into_iter();
    let dropped = events.filter_map(|event| match event {
        Event::Dropped { cause, limit, .. } => Some((cause, limit.expect("a limit"))),
        _ => None,
    });
    let dropped: Vec<(DropCause, Limit)> = dropped.collect();
    for (cause, limit) in &dropped {
        assert_eq!((*cause, limit.setting), (DropCause::QueueFull, "limits.stored_bytes_max"));
        assert_eq!(limit.maximum, STORED_BYTES_MAX);
        assert!(limit.wanted > STORED_BYTES_MAX, "{limit:?}");
    }
    dropped.len()
}

fn queued(broker: &Broker) -> (u64, u64) {
    let gauges = broker.look(|shards| shards.gauges());
    (gauges.queued_messages, gauges.queued_bytes)
}

#[test]
fn what_waits_in_the_store_is_bounded_over_all_sessions() {
    for version in VERSIONS {
        let broker = narrow();
        absent(&broker, version, &["a", "b"], "t");
        let mut publisher = broker.client(version, "publisher");
        publish(&mut publisher, 20);
        // Where it stands makes no difference.
        broker.spill();
        assert_eq!((queued(&broker).0, drops(&broker)), (40, 0));
        publish(&mut publisher, 40);
        let (messages, bytes) = queued(&broker);
        assert!(bytes <= STORED_BYTES_MAX && bytes > STORED_BYTES_MAX - 2_000, "{bytes}");
        assert_eq!(drops(&broker) as u64, 120 - messages);
        let mut client = broker.lasting(version, "a");
        assert!(client.receive_all().len() as u64 >= messages / 2);
        publish(&mut publisher, 10);
        assert_eq!(drops(&broker), 0);
    }
}

#[test]
fn a_session_that_ends_leaves_its_room_in_the_store() {
    for ends in ["later", "now", "anew"] {
        let broker = narrow();
        absent(&broker, Version::V5_0, &["a"], "t");
        let mut publisher = broker.client(Version::V5_0, "publisher");
        publish(&mut publisher, 80);
        assert!(drops(&broker) > 10);
        match ends {
            "later" => broker.advance(Duration::from_secs(3_600)),
            "now" => drop(broker.client(Version::V5_0, "a")),
            _ => drop(broker.connect(&lasting(Version::V5_0, "a").clean_start(true))),
        }
        absent(&broker, Version::V5_0, &["b"], "t");
        publish(&mut publisher, 50);
        assert_eq!((drops(&broker), queued(&broker).0), (0, 50));
    }
}

#[test]
fn shared_subscriptions_share_the_room_in_the_store() {
    let broker = narrow();
    absent(&broker, Version::V5_0, &["a"], "t");
    absent(&broker, Version::V5_0, &["b"], "$share/g/t");
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publish(&mut publisher, 25);
    assert_eq!((drops(&broker), queued(&broker).0), (0, 50));
    publish(&mut publisher, 25);
    assert_eq!(drops(&broker) as u64, 100 - queued(&broker).0);
    let mut member = broker.lasting(Version::V5_0, "b");
    assert!(member.receive_all().len() > 25);
    publish(&mut publisher, 5);
    assert_eq!(drops(&broker), 0);
}

#[test]
fn a_session_that_is_not_stored_needs_no_room_in_the_store() {
    let broker = narrow();
    let connect = OwnedConnect::new(Version::V5_0, "a").receive_maximum(1);
    let mut client = broker.connect(&connect);
    client.subscribe(&[("t", QoS::AtLeastOnce)]);
    publish(&mut broker.client(Version::V5_0, "publisher"), 100);
    assert_eq!((drops(&broker), queued(&broker).0), (0, 99));
}

/// Publishes with QoS 2 under this packet identifier.
fn send(client: &mut Client, packet_id: u16, dup: bool) {
    let publish = OwnedPublish::new("t", "x", QoS::ExactlyOnce).packet_id(packet_id);
    client.send_publish(&publish.dup(dup));
}

fn unreleased_max(maximum: u16) -> Broker {
    storing_with(|settings| settings.limits.unreleased_max = maximum)
}

#[test]
fn unreleased_publications_are_bounded_over_all_connections_of_a_session() {
    spec!("MQTT5-4.3.3-9");
    let broker = unreleased_max(3);
    for first in [1, 2] {
        let mut client = broker.lasting(Version::V5_0, "a");
        send(&mut client, first, false);
        client.expect_pubrec(first);
    }
    let mut client = broker.lasting(Version::V5_0, "a");
    send(&mut client, 3, false);
    client.expect_pubrec(3);
    broker.leisurely();
    for packet_id in [4, 5] {
        send(&mut client, packet_id, false);
        client.expect_pubrec_with(packet_id, ReasonCode::QuotaExceeded);
    }
    let refused = broker.events().into_iter().filter_map(|event| match event {
        Event::PacketRefused { reason, .. } => reason.limit,
        _ => None,
    });
    let limit = Limit { setting: "limits.unreleased_max", maximum: 3, wanted: 4 };
    assert_eq!(refused.collect::<Vec<_>>(), [limit, limit]);
    // A repetition is none more, and a release makes room.
    send(&mut client, 2, true);
    client.expect_pubrec(2);
    client.send_ack(PacketType::Pubrel, 2, ReasonCode::Success);
    client.expect_pubcomp(2);
    send(&mut client, 4, false);
    client.expect_pubrec(4);
}

#[test]
fn before_5_a_client_with_too_many_unreleased_publications_is_gone() {
    for version in VERSIONS.into_iter().filter(|version| !version.is_v5()) {
        let broker = unreleased_max(2);
        let mut client = broker.lasting(version, "a");
        for packet_id in [1, 2] {
            send(&mut client, packet_id, false);
            client.expect_pubrec(packet_id);
        }
        send(&mut client, 3, false);
        client.expect_closed();
        let ended = broker.events().into_iter().find_map(|event| match event {
            Event::Disconnected { ended: Ended::ByServer(reason), .. } => reason.limit,
            _ => None,
        });
        assert_eq!(ended.map(|limit| limit.setting), Some("limits.unreleased_max"));
        // What it had taken is still taken, and what was refused is not.
        let mut client = broker.lasting(version, "a");
        client.send_ack(PacketType::Pubrel, 1, ReasonCode::Success);
        client.expect_pubcomp(1);
        send(&mut client, 3, true);
        client.expect_pubrec(3);
    }
}
