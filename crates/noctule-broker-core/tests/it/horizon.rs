//! How far a queue is sent before the store knows that it may be.

use noctule_broker_core::Record;
use noctule_packet::{QoS, Version, spec};
use noctule_testkit::{OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting};
use crate::stored::storing_with;

/// Places beyond the window.
const AHEAD: u64 = 1_024;
const WINDOW: u16 = 10;
const FIRST: u64 = AHEAD + WINDOW as u64;

fn broker() -> Broker {
    storing_with(|settings| {
        settings.limits.in_flight_max = WINDOW;
        settings.limits.receive_maximum = u16::MAX;
    })
}

fn publish(publisher: &mut Client, count: u64) {
    for packet_id in (1..=u16::MAX).take(count as usize) {
        let publish = OwnedPublish::new("t", "x", QoS::AtLeastOnce);
        publisher.send_publish(&publish.packet_id(packet_id));
    }
}

/// Takes all that is sent, and says how much that was.
fn take(broker: &Broker, client: &mut Client) -> u64 {
    let mut count = 0;
    loop {
        let all = client.receive_all().len() as u64;
        broker.end_turn();
        if all == 0 {
            return count;
        }
        count += all;
    }
}

/// The horizons among these records.
fn horizons(records: Vec<Record>) -> Vec<u64> {
    let horizon = |record| match record {
        Record::MaySend { up_to, .. } => Some(up_to),
        _ => None,
    };
    records.into_iter().filter_map(horizon).collect()
}

#[test]
fn nothing_is_sent_beyond_the_horizon_until_the_store_knows_that_it_has_moved() {
    spec!("MQTT5-4.4.0-1", "MQTT311-4.4.0-1");
    for version in VERSIONS {
        let broker = broker();
        let mut publisher = broker.client(Version::V5_0, "publisher");
        let mut client = broker.lasting(version, "a");
        client.subscribe(&[("t", QoS::AtLeastOnce)]);
        broker.hold();
        publish(&mut publisher, FIRST + 40);
        assert_eq!(take(&broker, &mut client), FIRST);
        // It was moved in time, had the store been as fast as the client; first with no hurry.
        let moved = horizons(broker.leisurely());
        assert!(moved[0] >= FIRST + AHEAD / 2 && moved[0] < FIRST + AHEAD / 4 * 3);
        let hurried = horizons(broker.records());
        assert!(hurried[0] >= FIRST + AHEAD / 4 * 3 && hurried[0] < 2 * FIRST);
        assert_eq!(hurried.len(), 1, "one is on its way already");
        broker.keep_all();
        assert_eq!(take(&broker, &mut client), 40);
    }
}

#[test]
fn no_disk_is_troubled_with_horizons_alone_where_something_is_kept_all_the_time() {
    let broker = broker();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    let mut client = broker.lasting(Version::V5_0, "a");
    client.subscribe(&[("t", QoS::AtLeastOnce)]);
    broker.hold();
    for _ in 0..5 * AHEAD {
        publish(&mut publisher, 1);
        client.receive();
        broker.end_turn();
        assert_eq!(horizons(broker.records()), []);
        broker.keep_all();
    }
    let moved = horizons(broker.leisurely());
    assert!(moved.is_sorted() && (9..=11).contains(&moved.len()), "{moved:?}");
}

#[test]
fn what_comes_for_a_client_that_waits_for_the_store_alone_is_sent_when_that_has_moved_on() {
    let broker = broker();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    let mut client = broker.lasting(Version::V5_0, "a");
    client.subscribe(&[("t", QoS::AtLeastOnce)]);
    // Nobody records what it has acknowledged.
    for _ in 0..FIRST {
        publish(&mut publisher, 1);
        client.receive();
    }
    broker.hold();
    publish(&mut publisher, 1);
    client.expect_nothing_before_pong();
    assert_eq!(horizons(broker.records()), [FIRST + AHEAD + u64::from(WINDOW)]);
    broker.keep_all();
    assert_eq!(client.receive().text(), "x");
}

#[test]
fn a_connection_begins_with_a_horizon_and_one_that_did_not_end_with_it_goes_on() {
    let broker = broker();
    broker.hold();
    for _ in 0..2 {
        let mut client = broker.open();
        client.send_connect(&lasting(Version::V5_0, "a"));
        let Record::SessionStarted(terms) = broker.record() else { panic!("another record") };
        assert_eq!(terms.may_send, Some(FIRST));
        broker.kept();
        client.expect_connack();
    }
}

#[test]
fn a_client_that_leaves_one_message_unacknowledged_gets_no_identifier_twice() {
    spec!("MQTT5-2.2.1-3", "MQTT5-2.2.1-4", "MQTT311-2.3.1-4");
    let broker = broker();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    let mut client = broker.lasting(Version::V5_0, "a");
    client.subscribe(&[("t", QoS::AtLeastOnce)]);
    publish(&mut publisher, 1);
    let first = client.expect_publish().packet_id.expect("it has one");
    let mut count = 1;
    loop {
        publish(&mut publisher, 1_000);
        let before = count;
        count += take(&broker, &mut client);
        if count == before {
            break;
        }
    }
    // Far fewer than there are identifiers, so that what the store knows of one is of one message.
    assert!((32_768..36_000).contains(&count), "{count}");
    // However often it comes again.
    for _ in 0..5 {
        drop(client);
        client = broker.lasting(Version::V5_0, "a");
        assert_eq!(client.expect_publish().packet_id, Some(first));
        assert_eq!(take(&broker, &mut client), 0);
    }
    client.send_puback(first);
    assert!(take(&broker, &mut client) >= 1_000);
}

/// A start reads back all that may have been sent.
#[test]
fn a_horizon_is_not_beyond_what_is_in_memory() {
    let broker = broker();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    broker.lasting(Version::V5_0, "a").subscribe(&[("t", QoS::AtLeastOnce)]);
    publish(&mut publisher, 3 * FIRST);
    broker.spill();
    broker.hold();
    let mut client = broker.open();
    client.send_connect(&lasting(Version::V5_0, "a"));
    let Record::SessionStarted(terms) = broker.record() else { panic!("another record") };
    assert_eq!(terms.may_send, Some(0), "all of it stands in the store alone");
    broker.kept();
    client.expect_connack();
    let (mut sent, mut known) = (0, 0);
    loop {
        let more = take(&broker, &mut client);
        sent += more;
        assert!(more <= 2, "one part of two is read at a time");
        assert_eq!(sent, known);
        if sent == 3 * FIRST {
            break;
        }
        let [up_to] = horizons(broker.records())[..] else { panic!("behind {sent}") };
        let is_all_read = up_to >= 3 * FIRST;
        assert!(up_to - sent <= 2 || is_all_read, "what was read, and nothing behind it");
        known = up_to.min(3 * FIRST);
        broker.kept();
    }
}

/// Nothing is left to wake a client whose horizon was on its way when it was drawn back.
#[test]
fn who_waits_for_a_horizon_that_is_drawn_back_waits_for_the_one_behind_it() {
    let broker = broker();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    let mut client = broker.lasting(Version::V5_0, "a");
    client.subscribe(&[("t", QoS::AtLeastOnce)]);
    broker.hold();
    let large = "x".repeat(1_024);
    for _ in 0..FIRST + 200 {
        let publish = OwnedPublish::new("t", large.as_str(), QoS::AtLeastOnce);
        publisher.send_publish(&publish.packet_id(1));
        broker.records();
        publisher.expect_nothing_before_pong();
    }
    assert_eq!(take(&broker, &mut client), FIRST, "the rest waits for the store");
    broker.spill();
    broker.keep_all();
    let mut sent = FIRST;
    loop {
        let more = take(&broker, &mut client);
        sent += more;
        broker.keep_all();
        if more == 0 {
            break;
        }
    }
    assert_eq!(sent, FIRST + 200);
}

/// It comes back when what it has counted on leaves memory: that was not sent.
#[test]
fn a_horizon_comes_back_when_messages_leave_memory_that_were_not_sent() {
    let broker = broker();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    let mut client = broker.lasting(Version::V5_0, "a");
    client.subscribe(&[("t", QoS::AtLeastOnce)]);
    let large = "x".repeat(1_024);
    for _ in 0..FIRST {
        publisher.publish("t", &large, QoS::AtLeastOnce);
    }
    broker.leisurely();
    broker.spill();
    let back = horizons(broker.leisurely());
    // What it was sent, and one part that waits for it.
    let [up_to] = back[..] else { panic!("{back:?}") };
    assert!((u64::from(WINDOW)..FIRST / 4).contains(&up_to), "{up_to}");
    broker.spill();
    assert_eq!(horizons(broker.leisurely()), [], "that is known");
    broker.hold();
    let mut sent = 0;
    while sent < FIRST {
        let more = take(&broker, &mut client);
        assert!(sent + more <= up_to || sent >= up_to, "{more} behind {sent}");
        sent += more;
        broker.keep_all();
        broker.records();
    }
}
