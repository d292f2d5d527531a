//! Turns: what is larger than a turn leaves others theirs.

use std::time::Duration;

use noctule_broker_core::{
    ConnectionId, Durability, Effect, Effects, Input, ListenerId, Placement, Reading, Record,
    Settings, Shard, ShardId, ShardMessage, Timestamp,
};
use noctule_packet::{
    Framing, Packet, PacketId, QoS, Subscribe, SubscriptionList, SubscriptionOptions, TextRules,
    TopicFilter, Version, spec, split,
};
use noctule_testkit::{OwnedConnect, OwnedPublish};

use crate::broker::placement_of;

/// The deliveries of one turn, and what a slice may take on top.
const TURN: usize = 8_192;
const SLICE: usize = 64;

/// A shard whose turns are given one by one.
struct Turns {
    shard: Shard,
    now: Timestamp,
    effects: Effects,
    /// What the shard has said to another one.
    mail: Vec<ShardMessage>,
    /// What it has asked the store to keep.
    records: Vec<Record>,
}

impl Turns {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.system_interval_seconds = 0;
        change(&mut settings);
        let now = Timestamp::from_millis(1_000);
        let shard = Shard::new(settings, now, 7);
        Self { shard, now, effects: Effects::new(), mail: Vec::new(), records: Vec::new() }
    }

    fn input(&mut self, input: Input<'_>) -> Reading {
        let consumed = self.shard.on_input(self.now, input, &mut self.effects);
        for effect in self.effects.drain() {
            match effect {
                Effect::ToShard { message, .. } => self.mail.push(message),
                Effect::Persist { record, .. } => self.records.push(record),
                _ => {}
            }
        }
        consumed.reading
    }

    fn client(&mut self, slot: u32) -> ConnectionId {
        let connection = ConnectionId { slot, generation: 0 };
        self.client_with(connection, 0)
    }

    /// Everything that was recorded is durable.
    fn keep(&mut self) {
        self.input(Input::Persisted { records: u64::MAX });
    }

    fn stored_client(&mut self, slot: u32, is_stored: bool) -> ConnectionId {
        let connection = ConnectionId { slot, generation: 0 };
        let _ = self.input(Input::Opened {
            connection,
            listener: ListenerId(0),
            peer: "".into(),
            moved: false,
        });
        let connect = OwnedConnect::v311(&format!("client-{slot:04}")).clean_start(!is_stored);
        self.send(connection, &[Packet::Connect(Box::new(connect.to_packet()))]);
        self.keep();
        assert_eq!(self.take(connection), ["CONNACK"]);
        connection
    }

    fn client_with(&mut self, connection: ConnectionId, keep_alive: u16) -> ConnectionId {
        let _ = self.input(Input::Opened {
            connection,
            listener: ListenerId(0),
            peer: "".into(),
            moved: false,
        });
        let client_id = format!("client-{:04}", connection.slot);
        let connect = OwnedConnect::v311(&client_id).keep_alive(keep_alive);
        self.send(connection, &[Packet::Connect(Box::new(connect.to_packet()))]);
        assert_eq!(self.take(connection), ["CONNACK"]);
        connection
    }

    /// Passes packets as one read.
    fn send(&mut self, connection: ConnectionId, packets: &[Packet<'_>]) -> Reading {
        let mut bytes = Vec::new();
        for packet in packets {
            packet.encode(Version::V3_1_1, &mut bytes).expect("a packet");
        }
        self.input(Input::Bytes { connection, bytes: &bytes })
    }

    fn publish(&mut self, connection: ConnectionId, publishes: &[OwnedPublish]) -> Reading {
        let packets: Vec<_> =
            publishes.iter().map(|publish| Packet::Publish(publish.to_packet())).collect();
        self.send(connection, &packets)
    }

    fn subscribe(&mut self, connection: ConnectionId, filters: &[&str]) {
        self.subscribe_at(connection, filters, SubscriptionOptions::default().qos);
    }

    fn subscribe_at(&mut self, connection: ConnectionId, filters: &[&str], qos: QoS) {
        let mut subscriptions = SubscriptionList::default();
        for filter in filters {
            let filter = TopicFilter::new(filter).expect("a filter");
            let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
            subscriptions.push(&filter, options);
        }
        self.send(
            connection,
            &[Packet::Subscribe(Subscribe {
                packet_id: PacketId::new(1).expect("a packet identifier"),
                subscription_identifier: None,
                user_properties: Default::default(),
                subscriptions,
            })],
        );
    }

    /// Another turn. Whether there was work for it.
    fn turn(&mut self) -> bool {
        let due = self.shard.poll_timeout().is_some_and(|due| due <= self.now);
        if due {
            let _ = self.input(Input::Timeout);
        }
        due
    }

    /// What was written to a connection: of a PUBLISH its topic, payload and flag, of others the
    /// type.
    fn take(&mut self, connection: ConnectionId) -> Vec<String> {
        let outbound = self.shard.outbound(connection).expect("a connection");
        let bytes: Vec<u8> = outbound.chunks().flatten().copied().collect();
        outbound.advance(bytes.len());
        let (mut rest, mut packets) = (&bytes[..], Vec::new());
        while let Framing::Complete(frame) = split(rest, u32::MAX).expect("a packet") {
            let packet = Packet::decode(&frame, Version::V3_1_1, TextRules::Strict);
            packets.push(match packet.expect("a packet") {
                Packet::Publish(publish) => {
                    let publish = OwnedPublish::copy_of(&publish);
                    let flag = if publish.retain { "retained" } else { "live" };
                    format!("{} {} {flag}", publish.topic, publish.text())
                }
                other => other.packet_type().to_string(),
            });
            rest = &rest[frame.length..];
            if rest.is_empty() {
                break;
            }
        }
        packets
    }
}

fn retained(topic: &str, payload: &str) -> OwnedPublish {
    OwnedPublish::new(topic, payload, QoS::AtMostOnce).retain(true)
}

/// Keeps so many messages, below branches that hold ten each.
fn fill(turns: &mut Turns, publisher: ConnectionId, count: usize) {
    let all: Vec<_> = (0..count)
        .map(|number| retained(&format!("t/{:05}/{}", number / 10, number % 10), "1"))
        .collect();
    for some in all.chunks(1_000) {
        assert_eq!(turns.publish(publisher, some), Reading::Drained);
    }
}

#[test]
fn a_large_replay_takes_several_turns_and_others_are_served_between_them() {
    let mut turns = Turns::new();
    let publisher = turns.client(0);
    let (large, small, other) = (turns.client(1), turns.client(2), turns.client(3));
    fill(&mut turns, publisher, 3 * TURN);
    turns.publish(publisher, &[retained("one", "1")]);
    turns.subscribe(large, &["t/#"]);
    let first = turns.take(large);
    assert_eq!(first[0], "SUBACK");
    assert!(first.len() > SLICE && first.len() <= TURN + SLICE, "{}", first.len());
    let mut all = first[1..].to_vec();
    let mut rounds = 0;
    loop {
        // Neither a ping nor another replay waits for the end of this one.
        turns.send(other, &[Packet::Pingreq]);
        assert_eq!(turns.take(other), ["PINGRESP"]);
        turns.subscribe(small, &["one"]);
        assert_eq!(turns.take(small), ["SUBACK", "one 1 retained"]);
        if !turns.turn() {
            break;
        }
        let next = turns.take(large);
        assert!(next.len() <= TURN + SLICE, "{}", next.len());
        all.extend(next);
        rounds += 1;
    }
    assert!((3..10).contains(&rounds), "{rounds}");
    assert_eq!(all.len(), 3 * TURN);
    assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn two_large_replays_take_turns() {
    let mut turns = Turns::new();
    let publisher = turns.client(0);
    let clients = [turns.client(1), turns.client(2)];
    fill(&mut turns, publisher, 3 * TURN);
    for client in clients {
        turns.subscribe(client, &["t/#"]);
        assert!(turns.take(client).len() <= TURN + SLICE);
    }
    let mut counts = [Vec::new(), Vec::new()];
    while turns.turn() {
        for (counts, client) in counts.iter_mut().zip(clients) {
            counts.push(turns.take(client).len());
        }
    }
    for counts in counts {
        let idle = counts.windows(2).filter(|pair| *pair == [0, 0]).count();
        assert!(idle <= 1, "one waits for the other's end: {counts:?}");
    }
}

#[test]
fn a_search_that_finds_nothing_takes_turns_too() {
    let mut turns = Turns::new();
    let publisher = turns.client(0);
    let client = turns.client(1);
    for part in 0..10 {
        let some: Vec<_> =
            (0..8_000).map(|number| retained(&format!("{part}-{number}/a"), "1")).collect();
        turns.publish(publisher, &some);
    }
    turns.publish(publisher, &[retained("z/b", "1")]);
    turns.subscribe(client, &["+/b"]);
    assert_eq!(turns.take(client), ["SUBACK"], "one turn looks at everything");
    let mut rounds = 1;
    while turns.turn() {
        rounds += 1;
    }
    assert!((2..10).contains(&rounds), "{rounds}");
    assert_eq!(turns.take(client), ["z/b 1 retained"]);
}

#[test]
fn a_replay_waits_for_older_messages_that_are_still_on_their_way() {
    let mut turns = Turns::new();
    let publisher = turns.client(0);
    let subscribers: Vec<_> = (1..=100).map(|slot| turns.client(slot)).collect();
    for subscriber in &subscribers {
        turns.subscribe(*subscriber, &["a", "fill"]);
        assert_eq!(turns.take(*subscriber), ["SUBACK"]);
    }
    let fill = OwnedPublish::new("fill", "1", QoS::AtMostOnce);
    // The turn ends amid the subscribers to "a".
    let mut burst = vec![fill; 80];
    burst.push(retained("a", "1"));
    burst.push(retained("a", "2"));
    assert_eq!(turns.publish(publisher, &burst), Reading::Paused);
    let late: Vec<_> = subscribers
        .iter()
        .filter(|subscriber| !turns.take(**subscriber).iter().any(|packet| packet == "a 2 live"))
        .copied()
        .collect();
    assert!((1..100).contains(&late.len()), "{}", late.len());
    for subscriber in &late {
        turns.subscribe(*subscriber, &["a"]);
        assert_eq!(turns.take(*subscriber), ["SUBACK"]);
    }
    while turns.turn() {}
    for subscriber in &late {
        assert_eq!(turns.take(*subscriber), ["a 2 live", "a 2 retained"]);
    }
}

#[test]
fn clients_that_fall_silent_together_are_dropped_in_several_turns() {
    let mut turns = Turns::new();
    let count = 3 * TURN as u32;
    for slot in 0..count {
        turns.client_with(ConnectionId { slot, generation: 0 }, 10);
    }
    turns.now = turns.now + Duration::from_secs(15);
    let mut dropped = 0;
    while turns.turn() {
        let before = std::mem::replace(&mut dropped, turns.shard.statistics().clients_disconnected);
        assert!(dropped - before <= TURN as u64, "{} in one turn", dropped - before);
    }
    assert_eq!(dropped, u64::from(count));
}

/// One part of the budget for each packet, and one for letting it wait.
#[test]
fn a_run_that_waits_for_an_absent_session_leaves_others_their_turn() {
    let mut turns = Turns::with(|settings| settings.durability = Durability::Stored);
    let reader = turns.stored_client(0, true);
    turns.subscribe_at(reader, &["t"], QoS::AtLeastOnce);
    let _ = turns.input(Input::Closed { connection: reader });
    turns.keep();
    let publisher = turns.client(1);
    let publish = |id| OwnedPublish::new("t", "m", QoS::AtLeastOnce).packet_id(id);
    let publishes: Vec<_> = (1..=u16::try_from(TURN).expect("a number")).map(publish).collect();
    assert_eq!(turns.publish(publisher, &publishes), Reading::Budget);
    let taken = turns.shard.statistics().publish_received;
    assert_eq!(taken, TURN as u64 / 2);
}

/// A QoS 2 publication that must be stored, for more subscribers than a turn has deliveries.
#[test]
fn pubrec_waits_for_the_store_and_for_the_last_delivery() {
    for store_is_first in [true, false] {
        let mut turns = Turns::with(|settings| settings.durability = Durability::Stored);
        let clients: Vec<_> = (0..u32::try_from(TURN).expect("a number") + 1)
            .map(|slot| {
                let client = turns.client(slot);
                turns.subscribe(client, &["t"]);
                turns.take(client);
                client
            })
            .collect();
        let publisher = turns.client(u32::try_from(clients.len()).expect("a number"));
        let publish = OwnedPublish::new("t", "m", QoS::ExactlyOnce).packet_id(1).retain(true);
        turns.publish(publisher, &[publish]);
        assert!(matches!(turns.records[..], [Record::Retained { .. }]), "{:?}", turns.records);
        if store_is_first {
            turns.keep();
            assert_eq!(turns.take(publisher), [""; 0]);
            while turns.turn() {}
        } else {
            while turns.turn() {}
            assert_eq!(turns.take(publisher), [""; 0]);
            turns.keep();
        }
        assert_eq!(turns.take(publisher), ["PUBREC"]);
        for client in clients {
            assert_eq!(turns.take(client), ["t m live"]);
        }
    }
}

/// A publication for more stored sessions than a turn has deliveries, and perhaps one that is not.
#[test]
fn puback_waits_until_all_that_a_fan_out_has_recorded_is_durable() {
    for last_is_stored in [true, false] {
        let mut turns = Turns::with(|settings| settings.durability = Durability::Stored);
        for slot in 0..u32::try_from(TURN).expect("a number") + 1 {
            let is_last = slot as usize == TURN;
            let client = turns.stored_client(slot, !is_last || last_is_stored);
            turns.subscribe_at(client, &["t"], QoS::AtLeastOnce);
            turns.keep();
            assert_eq!(turns.take(client), ["SUBACK"]);
        }
        let publisher = turns.client(u32::try_from(TURN).expect("a number") + 1);
        turns.records.clear();
        turns.publish(publisher, &[OwnedPublish::new("t", "m", QoS::AtLeastOnce).packet_id(1)]);
        let waits_for = |record: &Record| match record {
            Record::Queued { references, .. } => references.len(),
            other => panic!("{other:?}"),
        };
        let [first] = &turns.records[..] else { panic!("{} records", turns.records.len()) };
        assert!((TURN - 2..=TURN).contains(&waits_for(first)));
        turns.keep();
        assert_eq!(turns.take(publisher), [""; 0], "there is more to deliver");
        while turns.turn() {}
        let stored = TURN + usize::from(last_is_stored);
        assert_eq!(turns.records.iter().map(waits_for).sum::<usize>(), stored);
        if turns.records.len() > 1 {
            assert_eq!(turns.take(publisher), [""; 0], "the rest is not durable");
            turns.keep();
        }
        assert_eq!(turns.take(publisher), ["PUBACK"]);
    }
}

/// What is on its way already is no exception.
#[test]
fn a_fan_out_passes_over_those_who_unsubscribe_before_it_comes_to_them() {
    spec!("MQTT5-3.10.4-2", "MQTT311-3.10.4-2");
    let mut turns = Turns::new();
    let subscribers: Vec<_> = (0..TURN as u32 + 100).map(|slot| turns.client(slot)).collect();
    for subscriber in &subscribers {
        turns.subscribe(*subscriber, &["t", "u"]);
        assert_eq!(turns.take(*subscriber), ["SUBACK"]);
    }
    let publisher = turns.client(subscribers.len() as u32);
    turns.publish(publisher, &[OwnedPublish::new("t", "x", QoS::AtMostOnce)]);
    let (leaver, stayer) = (subscribers[TURN + 98], subscribers[TURN + 99]);
    let unsubscribe = b"\xa2\x05\x00\x02\x00\x01t";
    let _ = turns.input(Input::Bytes { connection: leaver, bytes: unsubscribe });
    assert_eq!(turns.take(leaver), ["UNSUBACK"]);
    while turns.turn() {}
    assert_eq!(turns.take(leaver), [""; 0]);
    assert_eq!(turns.take(stayer), ["t x live"]);
    let delivered = subscribers.iter().filter(|id| turns.take(**id) == ["t x live"]).count();
    assert_eq!(delivered, subscribers.len() - 2);
}

#[test]
fn an_idle_connection_keeps_no_memory_of_what_it_was_sent() {
    let mut turns = Turns::new();
    let (first, second) = (turns.client(0), turns.client(1));
    turns.shard.reclaim(first);
    turns.shard.reclaim(second);
    for client in [first, second] {
        let spare = turns.shard.outbound(client).and_then(|outbound| outbound.take_spare());
        assert_eq!(spare, None);
        turns.subscribe(client, &["t"]);
        assert_eq!(turns.take(client), ["SUBACK"]);
    }
}

/// Passes on what both shards have said to each other, until they are silent.
fn carry(two: &mut [Turns; 2]) {
    while two.iter().any(|turns| !turns.mail.is_empty()) {
        for from in 0..2_u16 {
            for message in std::mem::take(&mut two[usize::from(from)].mail) {
                let input = Input::FromShard { from: ShardId(from), message };
                let _ = two[1 - usize::from(from)].input(input);
            }
        }
    }
}

/// Two shards that know of each other.
fn two() -> (Placement, [Turns; 2]) {
    let placement = placement_of(2, &[]);
    let shard = |shard| {
        Turns::with(|settings| {
            settings.placement = placement;
            settings.shard = ShardId(shard);
        })
    };
    (placement, [0, 1].map(shard))
}

/// The numbers of clients that are at home there.
fn slots_at(placement: Placement, home: u16) -> impl Iterator<Item = u32> {
    (0_u32..).filter(move |slot| placement.client(&format!("client-{slot:04}")).0 == home)
}

/// More subscribers on the first shard than a turn has deliveries.
fn subscribers(placement: Placement, two: &mut [Turns; 2], topic: &str) -> Vec<ConnectionId> {
    let slots = slots_at(placement, 0).take(TURN + 1);
    let clients = slots.map(|slot| {
        let client = two[0].client(slot);
        two[0].subscribe(client, &[topic]);
        carry(two);
        assert_eq!(two[0].take(client), ["SUBACK"]);
        client
    });
    clients.collect()
}

#[test]
fn a_publication_from_another_shard_is_acknowledged_behind_its_last_delivery() {
    let (placement, mut two) = two();
    let clients = subscribers(placement, &mut two, "t");
    let slot = slots_at(placement, 1).next().expect("a name");
    let publisher = two[1].client(slot);
    two[1].publish(publisher, &[OwnedPublish::new("t", "m", QoS::AtLeastOnce).packet_id(1)]);
    carry(&mut two);
    let late = clients.iter().filter(|client| two[0].take(**client).is_empty()).count();
    assert_eq!(late, 1, "the turn was long enough");
    assert_eq!(two[1].take(publisher), [""; 0]);
    assert!(two[0].turn());
    assert_eq!(two[1].take(publisher), [""; 0]);
    carry(&mut two);
    assert_eq!(two[1].take(publisher), ["PUBACK"]);
}

/// What comes before the confirmation of a route may still be on its way to the subscriber when
/// that has come.
#[test]
fn a_replay_waits_for_older_messages_of_other_shards_that_are_still_on_their_way() {
    for owner in [0, 1] {
        let (placement, mut two) = two();
        let names = (0_u32..).map(|number| format!("a/{number}"));
        let at_owner = |name: &String| placement.client(name).0 == owner;
        let topic = &*names.into_iter().find(at_owner).expect("a name");
        subscribers(placement, &mut two, topic);
        let slot = slots_at(placement, 0).nth(TURN + 1).expect("a name");
        let subscriber = two[0].client(slot);
        let slot = slots_at(placement, 1).next().expect("a name");
        let publisher = two[1].client(slot);
        two[0].subscribe(subscriber, &["a/+"]);
        two[1].publish(publisher, &[retained(topic, "1"), retained(topic, "2")]);
        carry(&mut two);
        assert_eq!(two[0].take(subscriber), ["SUBACK"]);
        while two[0].turn() {
            carry(&mut two);
        }
        let live = ["1", "2"].map(|text| format!("{topic} {text} live"));
        assert_eq!(two[0].take(subscriber), live);
    }
}

/// However short the way that it could take.
#[test]
fn what_crosses_behind_a_long_fan_out_stays_behind_it() {
    spec!("MQTT5-4.6.0-6", "MQTT311-4.6.0-6");
    let (placement, mut two) = two();
    let clients = subscribers(placement, &mut two, "t");
    let last = *clients.last().expect("a client");
    two[0].subscribe(last, &["u"]);
    carry(&mut two);
    assert_eq!(two[0].take(last), ["SUBACK"]);
    let slot = slots_at(placement, 1).next().expect("a name");
    let publisher = two[1].client(slot);
    let publish = |topic, text| OwnedPublish::new(topic, text, QoS::AtMostOnce);
    two[1].publish(publisher, &[publish("t", "1"), publish("u", "2"), publish("u", "3")]);
    carry(&mut two);
    assert_eq!(two[0].take(last), [""; 0], "the turn was long enough");
    while two[0].turn() {}
    assert_eq!(two[0].take(last), ["t 1 live", "u 2 live", "u 3 live"]);
}
