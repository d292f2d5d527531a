//! Clients that do not read what is sent to them: QoS 0 is dropped, the rest waits its turn.

use noctule_broker_core::{Command, DropCause, Event, Input, Limit};
use noctule_packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use noctule_packet::{QoS, Version};
use noctule_testkit::{OwnedConnect, VERSIONS, packet_bytes};

use crate::broker::{Broker, Client, lasting};

const OUTBOUND_BYTES_MAX: u32 = 2_000;

/// A subscriber to `t` with this QoS that has stopped to read.
fn stalled(version: Version, qos: QoS) -> (Broker, Client, Client) {
    let broker = Broker::with(|settings| settings.limits.outbound_bytes_max = OUTBOUND_BYTES_MAX);
    let mut subscriber = broker.connect(&OwnedConnect::new(version, "s").keep_alive(0));
    subscriber.subscribe(&[("t", qos)]);
    let publisher = broker.connect(&OwnedConnect::new(version, "p").keep_alive(0));
    broker.stall(&subscriber);
    broker.events();
    (broker, subscriber, publisher)
}

/// A payload of 100 bytes that tells its number.
fn numbered(number: u32) -> Vec<u8> {
    format!("{number:0100}").into_bytes()
}

fn number(payload: &[u8]) -> u32 {
    std::str::from_utf8(payload).unwrap().parse().unwrap()
}

fn waiting_bytes(broker: &Broker, client: &Client) -> usize {
    broker.look_at_outbound(client, |chunks| chunks.iter().map(|chunk| chunk.len()).sum())
}

fn drops(broker: &Broker) -> u64 {
    broker.look(|shard| shard.statistics().dropped[DropCause::SlowReader.index()])
}

#[test]
fn qos_0_is_dropped_and_counted_for_a_client_that_does_not_read() {
    for version in VERSIONS {
        let (broker, mut subscriber, mut publisher) = stalled(version, AtMostOnce);
        for n in 0..100 {
            publisher.publish("t", numbered(n), AtMostOnce);
        }
        let dropped = drops(&broker);
        let limit = Limit {
            setting: "limits.outbound_bytes_max",
            maximum: u64::from(OUTBOUND_BYTES_MAX),
            wanted: 0,
        };
        let expected = Event::Dropped {
            client_id: "s".into(),
            topic: "t".into(),
            cause: DropCause::SlowReader,
            limit: Some(limit),
        };
        let told = broker.events();
        assert_eq!(told.iter().filter(|event| **event == expected).count() as u64, dropped);
        broker.unstall(&subscriber);
        let taken = u32::try_from(100 - dropped).unwrap();
        assert!((15..=25).contains(&taken), "{taken}");
        for n in 0..taken {
            assert_eq!(number(&subscriber.receive().payload), n);
        }
        subscriber.expect_nothing_before_pong();
        publisher.publish("t", numbered(200), AtMostOnce);
        assert_eq!(number(&subscriber.receive().payload), 200);
        assert_eq!(drops(&broker), dropped);
    }
}

#[test]
fn qos_1_and_2_wait_for_a_client_that_does_not_read_and_come_in_order() {
    for version in VERSIONS {
        let (broker, mut subscriber, mut publisher) = stalled(version, ExactlyOnce);
        for n in 0..200 {
            let qos = if n % 3 == 0 { ExactlyOnce } else { AtLeastOnce };
            publisher.publish("t", numbered(n), qos);
        }
        let waiting = waiting_bytes(&broker, &subscriber);
        assert!(waiting < OUTBOUND_BYTES_MAX as usize + 200, "{waiting}");
        assert!(broker.look(|shard| shard.gauges().queued_messages) > 150);
        broker.unstall(&subscriber);
        for n in 0..200 {
            assert_eq!(number(&subscriber.receive().payload), n);
        }
        subscriber.expect_nothing_before_pong();
        let gauges = broker.look(|shard| shard.gauges());
        assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0));
        assert_eq!((gauges.in_flight_messages, drops(&broker)), (0, 0));
    }
}

#[test]
fn qos_0_beside_a_queue_is_dropped_and_overtakes_nothing_of_its_own_level() {
    let (broker, mut subscriber, mut publisher) = stalled(Version::V5_0, AtLeastOnce);
    for n in 0..60 {
        publisher.publish("t", numbered(n), if n % 2 == 0 { AtLeastOnce } else { AtMostOnce });
    }
    broker.unstall(&subscriber);
    let (mut acknowledged, mut unacknowledged) = (Vec::new(), Vec::new());
    for _ in 0..60 - drops(&broker) {
        let message = subscriber.receive();
        match message.qos {
            AtMostOnce => unacknowledged.push(number(&message.payload)),
            _ => acknowledged.push(number(&message.payload)),
        }
    }
    let even: Vec<u32> = (0..60).step_by(2).collect();
    assert_eq!(acknowledged, even);
    assert!(unacknowledged.is_sorted() && unacknowledged.len() < 15);
    subscriber.expect_nothing_before_pong();
}

#[test]
fn a_message_that_waited_for_the_buffer_alone_follows_when_it_is_written_out() {
    for version in VERSIONS {
        let (broker, mut subscriber, mut publisher) = stalled(version, ExactlyOnce);
        for n in 0..100 {
            publisher.publish("t", numbered(n), AtMostOnce);
        }
        publisher.publish("t", numbered(100), AtLeastOnce);
        publisher.publish("t", numbered(101), ExactlyOnce);
        broker.unstall(&subscriber);
        for _ in 0..100 - drops(&broker) {
            assert_eq!(subscriber.expect_publish().qos, AtMostOnce);
        }
        // Nothing was in flight whose acknowledgement could have moved the queue.
        assert_eq!(number(&subscriber.expect_publish().payload), 100);
        assert_eq!(number(&subscriber.expect_publish().payload), 101);
    }
}

#[test]
fn one_stalled_client_holds_up_nobody_else() {
    let (broker, stalled, mut publisher) = stalled(Version::V3_1_1, AtMostOnce);
    let mut other = broker.client(Version::V3_1_1, "other");
    other.subscribe(&[("t", AtMostOnce)]);
    for n in 0..100 {
        publisher.publish("t", numbered(n), AtMostOnce);
        assert_eq!(number(&other.receive().payload), n);
    }
    drop(stalled);
}

#[test]
fn a_client_that_sends_without_reading_is_not_read_until_it_reads() {
    for version in VERSIONS {
        let (broker, mut client, mut publisher) = stalled(version, AtMostOnce);
        let pings = packet_bytes(0xC0, "").repeat(10_000);
        client.send_bytes(&pings);
        let waiting = waiting_bytes(&broker, &client);
        assert!((4_000..=4_100).contains(&waiting), "{waiting}");
        publisher.publish("t", "x", AtMostOnce);
        assert_eq!(drops(&broker), 1);
        broker.unstall(&client);
        for _ in 0..10_000 {
            client.expect_pingresp();
        }
        client.expect_nothing_before_pong();
    }
}

#[test]
fn a_stalled_client_that_leaves_gets_the_rest_on_its_next_connection() {
    let broker = Broker::with(|settings| settings.limits.outbound_bytes_max = OUTBOUND_BYTES_MAX);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", AtLeastOnce)]);
    let mut publisher = broker.client(Version::V5_0, "p");
    broker.stall(&subscriber);
    for n in 0..100 {
        publisher.publish("t", numbered(n), AtLeastOnce);
    }
    drop(subscriber);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    let mut repeated = 0;
    for n in 0..100 {
        let message = subscriber.receive();
        assert_eq!(number(&message.payload), n);
        repeated += u32::from(message.dup);
    }
    assert!((15..=25).contains(&repeated), "{repeated} were put into the buffer that was lost");
}

#[test]
fn a_long_queue_does_not_fill_the_buffer_of_a_client_that_comes_back_and_does_not_read() {
    let broker = Broker::with(|settings| settings.limits.outbound_bytes_max = OUTBOUND_BYTES_MAX);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", AtLeastOnce)]);
    drop(subscriber);
    let mut publisher = broker.client(Version::V5_0, "p");
    for n in 0..200 {
        publisher.publish("t", numbered(n), AtLeastOnce);
    }
    let mut subscriber = broker.open();
    broker.stall(&subscriber);
    subscriber.send_connect(&lasting(Version::V5_0, "s"));
    let waiting = waiting_bytes(&broker, &subscriber);
    assert!(waiting < OUTBOUND_BYTES_MAX as usize + 200, "{waiting}");
    broker.unstall(&subscriber);
    subscriber.expect_connack();
    for n in 0..200 {
        assert_eq!(number(&subscriber.receive().payload), n);
    }
}

#[test]
fn large_payloads_reach_every_subscriber_whole() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscribers: Vec<Client> = [AtMostOnce, AtLeastOnce, ExactlyOnce, AtMostOnce]
            .iter()
            .enumerate()
            .map(|(n, qos)| {
                let mut subscriber = broker.client(version, &format!("s{n}"));
                subscriber.subscribe(&[("t", *qos)]);
                broker.stall(&subscriber);
                subscriber
            })
            .collect();
        let mut publisher = broker.client(Version::V5_0, "p");
        let sizes = [8_191, 8_192, 3, 100_000, 0, 8_193];
        for size in sizes {
            let payload: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[0]).collect();
            publisher.publish("t", payload, ExactlyOnce);
        }
        for subscriber in &mut subscribers {
            broker.unstall(subscriber);
            for size in sizes {
                let payload: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[0]).collect();
                assert!(subscriber.receive().payload == payload, "{size} bytes");
            }
            subscriber.expect_nothing_before_pong();
        }
    }
}

#[test]
fn large_payloads_are_not_copied_for_each_subscriber() {
    let broker = Broker::new();
    let mut subscribers = Vec::new();
    for n in 0..4 {
        let mut subscriber = broker.client(Version::V5_0, &format!("s{n}"));
        subscriber.subscribe(&[("t", if n % 2 == 0 { AtMostOnce } else { AtLeastOnce })]);
        broker.stall(&subscriber);
        subscribers.push(subscriber);
    }
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("t", [7; 10_000], AtLeastOnce);
    let places: Vec<_> = subscribers
        .iter()
        .map(|subscriber| {
            broker.look_at_outbound(subscriber, |chunks| {
                let payload = chunks.iter().find(|chunk| chunk.len() == 10_000);
                payload.map(|payload| payload.as_ptr())
            })
        })
        .collect();
    assert!(places[0].is_some());
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
}

#[test]
fn a_connection_that_is_over_is_not_asked_to_go_on_when_its_last_bytes_are_written() {
    for version in VERSIONS {
        let (broker, subscriber, mut publisher) = stalled(version, AtLeastOnce);
        for n in 0..100 {
            publisher.publish("t", numbered(n), AtLeastOnce);
        }
        let reason = noctule_packet::ReasonCode::AdministrativeAction;
        broker.input(Input::Command(Command::Kick { client_id: "s".into(), reason }));
        broker.trace();
        broker.unstall(&subscriber);
        assert!(!broker.trace().iter().any(|effect| effect == "Resume"), "{version}");
    }
}
