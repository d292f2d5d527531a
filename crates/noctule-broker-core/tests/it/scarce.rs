//! Memory that is nearly used up by what the store could have alone: publishers wait until it does,
//! and nothing that was acknowledged is dropped.

use std::time::Duration;

use noctule_broker_core::{DropCause, Event, ShardId};
use noctule_packet::{QoS, Version};
use noctule_testkit::{OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, placement_of};
use crate::stored::storing_with;

const MEMORY_BYTES_MAX: u64 = 64 * 1024;

/// A broker with little memory, and a session without a connection that is subscribed to `t`.
fn small(version: Version) -> Broker {
    let homes = ["absent", "publisher", "other", "third", "$share/g/x"].map(|name| (name, 0));
    let broker = storing_with(|settings| {
        settings.limits.memory_bytes_max = MEMORY_BYTES_MAX;
        settings.placement = placement_of(settings.placement.shards(), &homes);
    });
    broker.lasting(version, "absent").subscribe(&[("t", QoS::ExactlyOnce)]);
    broker.hold_emptying();
    broker
}

/// Publishes until the broker asks for an empty log. How many it has acknowledged, at most so many.
fn fill(broker: &Broker, publisher: &mut Client, qos: QoS) -> usize {
    for count in 0..100 {
        let publish = OwnedPublish::new("t", [0; 1_000], qos).packet_id(1);
        publisher.send_publish(&publish);
        if broker.emptying() == [ShardId(0)] {
            return count;
        }
        finish(publisher, qos);
    }
    100
}

fn finish(publisher: &mut Client, qos: QoS) {
    use noctule_packet::{PacketType, ReasonCode};
    if qos == QoS::AtLeastOnce {
        publisher.expect_puback(1);
        return;
    }
    publisher.expect_pubrec(1);
    publisher.send_ack(PacketType::Pubrel, 1, ReasonCode::Success);
    publisher.expect_pubcomp(1);
}

fn drops(broker: &Broker) -> usize {
    let full = |event: &Event| matches!(event, Event::Dropped { cause: DropCause::QueueFull, .. });
    broker.events().iter().filter(|event| full(event)).count()
}

#[test]
fn whoever_is_faster_than_the_log_is_emptied_waits_and_loses_nothing() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = small(version);
            let mut publisher = broker.client(version, "publisher");
            let mut count = 0;
            for _ in 0..5 {
                let more = fill(&broker, &mut publisher, qos);
                assert!((30..60).contains(&more), "{more}");
                // Nobody asks twice, and nobody else is held up.
                let mut other = broker.lasting(version, "other");
                other.publish("else", "x", QoS::AtLeastOnce);
                other.send_publish(&OwnedPublish::new("t", "y", qos).packet_id(9));
                assert_eq!(broker.emptying(), []);
                assert_eq!(broker.look(|shards| shards.gauges()).waiting_for_store, 2);
                drop(other);
                broker.spill();
                assert_eq!(broker.look(|shards| shards.gauges()).waiting_for_store, 1);
                broker.log_emptied();
                finish(&mut publisher, qos);
                count += more + 1;
            }
            assert_eq!(drops(&broker), 0);
            let mut absent = broker.lasting(version, "absent");
            let mut got = 0;
            loop {
                match absent.receive_all().len() {
                    0 => break,
                    more => got += more,
                }
            }
            assert_eq!(got, count);
        }
    }
}

/// It would stay there, even when they have gone, until their sessions end.
#[test]
fn clients_that_acknowledge_nothing_have_no_more_read_back_than_there_is_memory_for() {
    for version in VERSIONS {
        let broker = small(version);
        let mut publisher = broker.client(version, "publisher");
        let mut count = 0;
        for _ in 0..5 {
            count += fill(&broker, &mut publisher, QoS::AtLeastOnce) + 1;
            broker.spill();
            broker.log_emptied();
            finish(&mut publisher, QoS::AtLeastOnce);
        }
        let used = || broker.look(|shards| shards.gauges()).memory_bytes;
        for _ in 0..3 {
            drop(broker.lasting(version, "absent"));
            assert!((MEMORY_BYTES_MAX / 2..MEMORY_BYTES_MAX + 4_096).contains(&used()));
        }
        let mut absent = broker.lasting(version, "absent");
        while count > 0 {
            let more = absent.receive_all().len();
            assert!(more > 0, "{count} are missing");
            count -= more;
        }
        absent.expect_nothing_before_pong();
        assert_eq!(used(), 0);
    }
}

#[test]
fn if_emptying_the_log_does_not_help_queues_drop_what_is_too_much() {
    let broker = small(Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    fill(&broker, &mut publisher, QoS::AtLeastOnce);
    broker.log_emptied();
    finish(&mut publisher, QoS::AtLeastOnce);
    for _ in 0..50 {
        publisher.publish("t", [0; 1_000], QoS::AtLeastOnce);
    }
    assert_eq!(broker.emptying(), []);
    assert!(drops(&broker) > 30);
    // After a while it may help.
    broker.advance(Duration::from_millis(250));
    publisher.send_publish(&OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(1));
    assert_eq!(broker.emptying(), [ShardId(0)]);
    broker.spill();
    broker.log_emptied();
    publisher.expect_puback(1);
    assert_eq!(drops(&broker), 0);
}

#[test]
fn whoever_takes_its_messages_keeps_getting_them_while_memory_is_scarce() {
    let broker = small(Version::V5_0);
    let mut live = broker.lasting(Version::V5_0, "other");
    live.subscribe(&[("live", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    fill(&broker, &mut publisher, QoS::AtLeastOnce);
    let mut third = broker.lasting(Version::V5_0, "third");
    third.publish("live", "x", QoS::AtLeastOnce);
    assert_eq!(live.receive().text(), "x");
}

#[test]
fn a_queue_in_the_store_is_not_looked_into_because_others_have_used_up_the_memory() {
    for version in VERSIONS {
        let broker = small(version);
        broker.hold_reads();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("t", "waits", QoS::AtLeastOnce);
        broker.spill();
        broker.lasting(version, "other").subscribe(&[("$share/g/x", QoS::AtLeastOnce)]);
        for _ in 0..100 {
            publisher.publish("x", [0; 1_000], QoS::AtLeastOnce);
        }
        assert!(drops(&broker) > 0, "there is no memory for more");
        publisher.send_publish(&OwnedPublish::new("t", "more", QoS::AtLeastOnce).packet_id(1));
        assert_eq!(broker.emptying(), [ShardId(0)]);
        broker.log_emptied();
        publisher.expect_puback(1);
        assert_eq!(drops(&broker), 1);
        assert!(!broker.read(), "it would take what there is not");
    }
}
