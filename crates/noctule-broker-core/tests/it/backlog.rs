//! Queues of which only the store has the messages.

use std::collections::BTreeMap;

use noctule_broker_core::{Away, DropCause, Event, Input, Record, Restored, StoredSession};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting, placement_of};
use crate::stored::{message, name, stored_session, storing, storing_with};

/// A session that is subscribed to `t` and has no connection.
fn absent(broker: &Broker, version: Version) {
    let mut client = broker.lasting(version, "a");
    client.subscribe(&[("t", QoS::ExactlyOnce)]);
}

/// Publishes messages with these numbers, every third one with QoS 2.
fn publish(publisher: &mut Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let qos = if number % 3 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        publisher.publish("t", number.to_string(), qos);
    }
}

#[track_caller]
fn expect(client: &mut Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let message = client.receive();
        assert_eq!((message.text(), message.dup), (&*number.to_string(), false));
    }
}

fn waiting(broker: &Broker) -> (u64, bool) {
    let gauges = broker.look(|shard| shard.gauges());
    (gauges.queued_messages, gauges.queued_bytes > 0)
}

#[test]
fn what_the_store_has_is_forgotten_and_read_back_in_order() {
    spec!("MQTT5-4.6.0-5", "MQTT311-4.6.0-5", "MQTT5-3.1.2-23", "MQTT311-3.1.2-5");
    for version in VERSIONS {
        let broker = storing();
        absent(&broker, version);
        let mut publisher = broker.client(Version::V5_0, "publisher");
        publish(&mut publisher, 0..10);
        let memory = || broker.look(|shard| shard.gauges()).memory_bytes;
        assert!(memory() > 0);
        broker.spill();
        assert_eq!((memory(), waiting(&broker)), (0, (10, true)));
        publish(&mut publisher, 10..15);
        assert!(memory() > 0);
        broker.spill();
        publish(&mut publisher, 15..18);
        assert_eq!(waiting(&broker), (18, true));
        let mut client = broker.connect(&lasting(version, "a").receive_maximum(3));
        expect(&mut client, 0..18);
        client.expect_nothing_before_pong();
        assert_eq!((memory(), waiting(&broker)), (0, (0, false)));
        publish(&mut publisher, 18..19);
        expect(&mut client, 18..19);
    }
}

#[test]
fn what_was_given_back_to_other_members_is_not_read_again() {
    spec!("MQTT5-4.8.2-4");
    let homes = [("a", 1), ("$share/g/s", 0)];
    let broker = storing_with(|settings| settings.placement = placement_of(2, &homes));
    let connect = lasting(Version::V5_0, "a");
    let mut client = broker.connect(&connect.clone().receive_maximum(2));
    client.subscribe(&[("t", QoS::AtLeastOnce), ("$share/g/s", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    for (topic, payload) in [("t", "1"), ("t", "2"), ("t", "3"), ("s", "x"), ("t", "4")] {
        publisher.publish(topic, payload, QoS::AtLeastOnce);
    }
    // It gives back what stands in the middle of its queue.
    drop(client);
    broker.spill();
    // It takes nothing of what is read, which is forgotten again.
    drop(broker.connect(&connect.clone().receive_maximum(2)));
    broker.spill();
    let mut client = broker.connect(&connect);
    let all = [client.receive_all(), client.receive_all()].concat();
    let mut texts: Vec<_> = all.iter().map(OwnedPublish::text).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["1", "2", "3", "4", "x"]);
}

#[test]
fn what_comes_while_a_part_is_read_stays_behind_it() {
    spec!("MQTT5-4.6.0-5", "MQTT311-4.6.0-5");
    let broker = storing();
    absent(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publish(&mut publisher, 0..3);
    broker.spill();
    broker.hold_reads();
    let mut client = broker.lasting(Version::V5_0, "a");
    publish(&mut publisher, 3..5);
    client.expect_nothing_before_pong();
    broker.spill();
    publish(&mut publisher, 5..7);
    assert!(broker.read(), "the first part was asked for");
    expect(&mut client, 0..2);
    client.expect_nothing_before_pong();
    while broker.read() {}
    expect(&mut client, 2..7);
    client.expect_nothing_before_pong();
}

#[test]
fn a_client_that_goes_and_comes_gets_what_it_had_again_and_then_the_rest() {
    spec!("MQTT5-4.4.0-1", "MQTT311-4.4.0-1", "MQTT5-4.6.0-1", "MQTT311-4.6.0-1");
    let broker = storing();
    absent(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publish(&mut publisher, 1..9);
    broker.spill();
    broker.hold_reads();
    let mut client = broker.connect(&lasting(Version::V5_0, "a").receive_maximum(1));
    assert!(broker.read());
    assert_eq!(client.expect_publish().text(), "1");
    drop(client);
    // What was read and not sent is forgotten again; what was sent is not.
    broker.spill();
    assert_eq!(waiting(&broker), (7, true));
    let mut client = broker.lasting(Version::V5_0, "a");
    let again = client.receive();
    assert_eq!((again.text(), again.packet_id, again.dup), ("1", Some(1), true));
    while broker.read() {}
    expect(&mut client, 2..9);
    client.expect_nothing_before_pong();
}

/// However many clients come and go, nothing waits in memory for them.
#[test]
fn what_was_read_back_for_a_client_that_has_gone_is_forgotten_at_once() {
    let broker = storing();
    absent(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publish(&mut publisher, 1..6);
    broker.spill();
    let used = || broker.look(|shard| shard.gauges()).memory_bytes;
    assert_eq!(used(), 0);
    let mut client = broker.connect(&lasting(Version::V5_0, "a").receive_maximum(1));
    assert_eq!(client.expect_publish().text(), "1");
    let two = used();
    drop(client);
    assert_eq!(used(), two / 2, "what is in flight");
    expect_again(&broker);
}

#[test]
fn what_is_read_for_a_client_that_has_gone_meanwhile_is_forgotten_at_once() {
    for count in [1, 5] {
        let broker = storing();
        absent(&broker, Version::V5_0);
        let mut publisher = broker.client(Version::V5_0, "publisher");
        publish(&mut publisher, 0..count);
        broker.spill();
        broker.hold_reads();
        drop(broker.lasting(Version::V5_0, "a"));
        assert!(broker.read(), "it was asked for while the client was there");
        let used = broker.look(|shard| shard.gauges()).memory_bytes;
        assert_eq!((used, waiting(&broker)), (0, (count.into(), true)));
        assert!(!broker.read(), "nobody wants more of it");
        let mut client = broker.lasting(Version::V5_0, "a");
        while broker.read() {}
        expect(&mut client, 0..count);
        client.expect_nothing_before_pong();
    }
}

#[test]
fn a_queue_that_is_full_is_looked_into_once_and_not_for_each_message_that_it_has_no_room_for() {
    let broker = storing_with(|settings| settings.limits.queue_messages_max = 4);
    absent(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publish(&mut publisher, 0..4);
    broker.spill();
    broker.hold_reads();
    for reads in [true, false, false] {
        publish(&mut publisher, 4..5);
        assert_eq!(broker.read(), reads);
    }
    let mut client = broker.lasting(Version::V5_0, "a");
    while broker.read() {}
    expect(&mut client, 0..4);
    client.expect_nothing_before_pong();
}

/// The client `a` comes again: it was sent the first message.
fn expect_again(broker: &Broker) {
    let mut client = broker.lasting(Version::V5_0, "a");
    assert!(client.receive().dup);
    expect(&mut client, 2..6);
    client.expect_nothing_before_pong();
}

#[test]
fn an_answer_for_a_queue_that_was_put_away_since_is_ignored() {
    let broker = storing();
    absent(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publish(&mut publisher, 1..6);
    broker.spill();
    broker.hold_reads();
    let client = broker.connect(&lasting(Version::V5_0, "a").receive_maximum(1));
    assert!(broker.read(), "two messages: one is sent, one waits");
    drop(client);
    let mut client = broker.connect(&lasting(Version::V5_0, "a").receive_maximum(2));
    assert_eq!(client.expect_publish().text(), "1");
    assert!(broker.read(), "what was not sent was forgotten again");
    assert_eq!(client.expect_publish().text(), "2");
    drop(client);
    broker.spill();
    let mut client = broker.lasting(Version::V5_0, "a");
    while broker.read() {}
    for number in 1..6 {
        let message = client.receive();
        assert_eq!((message.text(), message.dup), (&*number.to_string(), number < 3));
    }
    client.expect_nothing_before_pong();
}

#[test]
fn a_session_may_end_while_a_part_of_its_queue_is_read() {
    let broker = storing();
    absent(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publish(&mut publisher, 0..5);
    broker.spill();
    broker.hold_reads();
    drop(broker.lasting(Version::V5_0, "a"));
    let mut client = broker.client(Version::V5_0, "a");
    while broker.read() {}
    broker.spill();
    client.expect_nothing_before_pong();
    let gauges = broker.look(|shard| shard.gauges());
    assert_eq!((gauges.queued_messages, gauges.memory_bytes), (0, 0));
}

#[test]
fn what_has_expired_in_the_store_is_dropped_when_it_is_read_and_makes_room() {
    spec!("MQTT5-3.3.2-5");
    let broker = storing_with(|settings| settings.limits.queue_messages_max = 4);
    absent(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    for number in 0..4 {
        let message = OwnedPublish::new("t", number.to_string(), QoS::AtLeastOnce);
        publisher.send_publish(&message.packet_id(9).message_expiry_interval(10));
        publisher.expect_puback(9);
    }
    broker.spill();
    broker.advance_seconds(11);
    // The queue counts as full until somebody has looked into the store.
    publish(&mut publisher, 4..5);
    publish(&mut publisher, 5..6);
    let events = broker.events();
    let dropped = |cause| {
        let is_it =
            |event: &&Event| matches!(event, Event::Dropped { cause: why, .. } if *why == cause);
        events.iter().filter(is_it).count()
    };
    assert_eq!((dropped(DropCause::Expired), dropped(DropCause::QueueFull)), (4, 1));
    let mut client = broker.lasting(Version::V5_0, "a");
    assert_eq!(client.receive().text(), "5");
    client.expect_nothing_before_pong();
}

#[test]
fn a_slow_client_has_a_part_of_its_queue_in_memory() {
    let broker = storing();
    let mut client = broker.connect(&lasting(Version::V5_0, "a").receive_maximum(1));
    client.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    for number in 0..300 {
        publisher.publish("t", format!("{number:01000}"), QoS::AtLeastOnce);
    }
    let memory = || broker.look(|shard| shard.gauges()).memory_bytes;
    assert!(memory() > 300_000);
    broker.spill();
    assert!((10_000..100_000).contains(&memory()), "{}", memory());
    for number in 0..300 {
        assert_eq!(client.receive().text(), format!("{number:01000}"));
    }
    client.expect_nothing_before_pong();
}

#[test]
fn a_session_that_ends_with_its_connection_now_still_gets_what_the_store_has() {
    let broker = storing();
    absent(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publish(&mut publisher, 0..5);
    broker.spill();
    broker.hold_reads();
    broker.hold();
    let mut client = broker.open();
    client.send_connect(&OwnedConnect::new(Version::V5_0, "a").clean_start(false));
    // Or the store would forget what nobody can get any more behind a crash.
    match broker.record() {
        Record::SessionStarted(terms) => assert_eq!(terms.expiry_interval, 3_600),
        other => panic!("{other:?}"),
    }
    broker.kept();
    broker.answer_all();
    client.expect_connack_with(ReasonCode::Success);
    publish(&mut publisher, 5..7);
    broker.spill();
    while broker.read() {}
    expect(&mut client, 0..7);
    client.expect_nothing_before_pong();
    drop(client);
    assert_eq!(broker.look(|shard| shard.gauges()).sessions, 1, "only the publisher's");
}

#[test]
fn a_restored_queue_is_read_when_its_turn_comes() {
    let broker = storing();
    let all: Vec<_> =
        (1..9).map(|place| message(place, &place.to_string(), QoS::ExactlyOnce)).collect();
    let stored = all.iter().map(|stored| (stored.sequence, stored.clone()));
    let queues = BTreeMap::from([(name(1), stored.collect::<BTreeMap<_, _>>())]);
    broker.stored_queues(queues);
    let bytes = all[0].message.bytes() as u64;
    let session = StoredSession {
        messages: all[..2].to_vec(),
        away: Some(Away { from: 3, up_to: 6, messages: 4, bytes: 4 * bytes }),
        behind: all[6..].to_vec(),
        sent: 1,
        sequence: 8,
        ..stored_session(1, "a")
    };
    broker.restore(vec![Restored::Session(Box::new(session))]);
    let gauges = broker.look(|shard| shard.gauges());
    assert_eq!((gauges.queued_messages, gauges.queued_bytes), (7, 7 * bytes));
    assert_eq!(gauges.memory_bytes, 4 * bytes);
    let mut client = broker.lasting(Version::V5_0, "a");
    for number in 1..9 {
        let message = client.receive();
        let got = (message.text(), message.packet_id, message.dup);
        assert_eq!(got, (&*number.to_string(), Some(number), number == 1));
    }
    client.expect_nothing_before_pong();
    assert_eq!(waiting(&broker), (0, false));
}

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn whatever_is_put_away_when_nothing_is_lost_and_all_is_in_order() {
    for seed in 0..200 {
        let mut chance = Chance(seed);
        let broker = storing();
        absent(&broker, Version::V5_0);
        broker.hold_reads();
        let mut publisher = broker.client(Version::V5_0, "publisher");
        let (mut published, mut received) = (0, Vec::new());
        let mut client: Option<Client> = None;
        for _ in 0..120 {
            match chance.below(8) {
                0..=2 => {
                    publish(&mut publisher, published..published + 1);
                    published += 1;
                }
                3 => broker.spill_up_to(chance.below(u64::from(published) + 1)),
                4 => drop(broker.read()),
                5 => {
                    let window = 1 + chance.below(4) as u16;
                    let connect = lasting(Version::V5_0, "a").receive_maximum(window);
                    client = client.xor(Some(broker.connect(&connect)));
                }
                _ => {
                    let some = client.as_mut().map(Client::receive_all).unwrap_or_default();
                    received.extend(some.iter().map(|message| message.text().to_owned()));
                }
            }
        }
        drop(client);
        let mut client = broker.lasting(Version::V5_0, "a");
        loop {
            let some = client.receive_all();
            received.extend(some.iter().map(|message| message.text().to_owned()));
            if !broker.read() && some.is_empty() {
                break;
            }
        }
        let expected: Vec<_> = (0..published).map(|number| number.to_string()).collect();
        assert_eq!(received, expected, "seed {seed}");
    }
}

#[test]
fn what_the_store_cannot_read_is_passed_over() {
    let broker = storing();
    absent(&broker, Version::V5_0);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publish(&mut publisher, 1..4);
    broker.spill();
    publish(&mut publisher, 4..5);
    broker.hold_reads();
    let mut client = broker.lasting(Version::V5_0, "a");
    let (session, from) = broker.reading();
    let nothing = |next| Input::QueueRead { session, from, messages: Vec::new(), next };
    broker.input_at(broker.home("a"), nothing(Some(from + 2)));
    assert!(broker.read(), "the first part, whose answer is no news");
    client.expect_nothing_before_pong();
    assert!(broker.read());
    expect(&mut client, 3..5);
    client.expect_nothing_before_pong();
}

#[test]
fn the_store_is_told_where_it_has_nothing_before_what_stands_behind_that_is_sent() {
    let broker = storing();
    let stored = |place: u64| message(place, &place.to_string(), QoS::ExactlyOnce);
    let queue = BTreeMap::from([3, 5, 7].map(|place| (place, stored(place))));
    broker.stored_queues(BTreeMap::from([(name(1), queue)]));
    let session = StoredSession {
        messages: vec![stored(1)],
        away: Some(Away { from: 3, up_to: 8, messages: 3, bytes: 3 }),
        lost: vec![2],
        sent: 1,
        sequence: 8,
        ..stored_session(1, "a")
    };
    broker.restore(vec![Restored::Session(Box::new(session))]);
    let skipped = |sequence| Record::Skipped { session: name(1), sequence };
    assert_eq!(broker.leisurely(), [skipped(2)]);
    broker.hold();
    let mut client = broker.open();
    client.send_connect(&lasting(Version::V5_0, "a"));
    assert!(matches!(broker.record(), Record::SessionStarted(_)));
    broker.kept();
    client.expect_connack_with(ReasonCode::Success);
    assert_eq!(client.expect_publish().text(), "1");
    // It is read in two parts.
    for (places, sent) in [(&[4, 6][..], &[("3", 2), ("5", 3)][..]), (&[8], &[("7", 4)])] {
        for place in places {
            assert_eq!(broker.record(), skipped(*place));
            client.expect_nothing_before_pong();
            broker.kept();
        }
        let Record::MaySend { up_to, .. } = broker.record() else { panic!("another record") };
        assert!(up_to == 6 || places == [8], "what was read, and nothing that is not");
        client.expect_nothing_before_pong();
        broker.kept();
        for (text, packet_id) in sent {
            let message = client.expect_publish();
            assert_eq!((message.text(), message.packet_id), (*text, Some(*packet_id)));
        }
    }
    client.expect_nothing_before_pong();
}
