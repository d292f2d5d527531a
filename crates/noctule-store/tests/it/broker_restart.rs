//! A broker that crashes: what its records say is given to other shards, more or fewer than before,
//! and its clients go on where they were.

use std::collections::VecDeque;
use std::time::Duration;

use noctule_broker_core::{
    ConnectionId, Durability, Effect, Effects, Input, ListenerId, ListenerSettings, Placement,
    Record, Restored, Settings, Shard, ShardId, ShardMessage, Timestamp,
};
use noctule_packet::{
    Ack, Connect, ConnectProperties, Framing, Packet, PacketId, Publish, QoS, ReasonCode,
    Subscribe, SubscriptionList, SubscriptionOptions, TextRules, TopicFilter, TopicName,
    UserProperties, Version, Will, WillProperties, split,
};
use noctule_store::broker::Model;

use crate::broker_changes::{after, begun, checkpoint, empty_state};

const V5: Version = Version::V5_0;

pub(crate) struct Connection {
    home: ShardId,
    /// What was written and is no whole packet yet.
    written: Vec<u8>,
    seen: Vec<String>,
}

impl Connection {
    fn read(&mut self) {
        loop {
            let Ok(framing) = split(&self.written, u32::MAX) else { panic!("no packet") };
            let Framing::Complete(frame) = framing else { return };
            let packet = Packet::decode(&frame, V5, TextRules::Strict).expect("a packet");
            self.seen.push(told(&packet));
            let length = frame.length;
            self.written.drain(..length);
        }
    }
}

pub(crate) struct Broker {
    pub(crate) shards: Vec<Shard>,
    effects: Effects,
    now: Timestamp,
    pub(crate) records: Vec<Record>,
    /// How many records each shard has handed out.
    handed_out: Vec<u64>,
    /// Whether nothing becomes durable.
    pub(crate) holds: bool,
    restored: usize,
    /// Where clients come in: in memory mode at the second listener.
    pub(crate) listener: ListenerId,
    /// What clients take at a time.
    receive_maximum: Option<u16>,
    mail: VecDeque<(ShardId, ShardId, ShardMessage)>,
    connections: Vec<Connection>,
}

pub(crate) fn placement(shards: u16) -> Placement {
    Placement::new([7; 16], shards)
}

impl Broker {
    pub(crate) fn new(shards: u16, now: Timestamp) -> Self {
        let make = |shard| {
            let mut settings = Settings::default();
            settings.durability = Durability::Stored;
            settings.system_interval_seconds = 0;
            settings.limits.in_flight_max = u16::MAX;
            let mut in_memory = ListenerSettings::default();
            in_memory.durability = Some(Durability::Memory);
            settings.listeners.push(in_memory);
            settings.placement = placement(shards);
            settings.shard = ShardId(shard);
            Shard::new(settings, now, 7)
        };
        Self {
            shards: (0..shards).map(make).collect(),
            effects: Effects::new(),
            now,
            records: Vec::new(),
            handed_out: vec![0; usize::from(shards)],
            holds: false,
            restored: 0,
            listener: ListenerId(0),
            receive_maximum: None,
            mail: VecDeque::new(),
            connections: Vec::new(),
        }
    }

    /// Shards that were given back what a model says.
    pub(crate) fn restored(model: Model, shards: u16, now: Timestamp) -> Self {
        let mut broker = Self::new(shards, now);
        for (shard, all) in (0..).map(ShardId).zip(model.into_restored(&placement(shards))) {
            for restored in all {
                broker.input(shard, Input::Restore(restored));
            }
        }
        assert_eq!(broker.restored, usize::from(shards));
        for shard in (0..shards).map(ShardId) {
            broker.input(shard, Input::Restore(Restored::GoOn));
        }
        broker
    }

    /// What another broker makes of the records, some of which are in a state already.
    pub(crate) fn crash(self, shards: u16, later: Duration) -> Self {
        let now = self.now + later;
        let broker = Self::restored(after(&self.records), shards, now);
        for cut in [0, self.records.len() / 2, self.records.len()] {
            let (first, rest) = self.records.split_at(cut);
            let mut state = empty_state();
            checkpoint(&mut state, first, 3);
            let mut model = begun(&state, first);
            rest.iter().for_each(|record| model.apply(record.clone()));
            let shown = |model: Model| format!("{:?}", model.into_restored(&placement(shards)));
            assert_eq!(shown(model), shown(after(&self.records)), "cut at {cut}");
        }
        // The records go on behind those before the crash.
        Self { records: [self.records, broker.records].concat(), ..broker }
    }

    pub(crate) fn input(&mut self, shard: ShardId, input: Input<'_>) -> usize {
        let consumed = self.turn(shard, input);
        self.settle();
        consumed
    }

    fn turn(&mut self, shard: ShardId, input: Input<'_>) -> usize {
        let consumed =
            self.shards[usize::from(shard.0)].on_input(self.now, input, &mut self.effects).bytes;
        self.do_effects(shard);
        consumed
    }

    fn do_effects(&mut self, shard: ShardId) {
        for effect in self.effects.drain() {
            match effect {
                Effect::Persist { record, .. } => {
                    self.records.push(record);
                    self.handed_out[usize::from(shard.0)] += 1;
                }
                Effect::ToShard { to, message } => self.mail.push_back((shard, to, message)),
                Effect::Restored => self.restored += 1,
                _ => {}
            }
        }
    }

    pub(crate) fn settle(&mut self) {
        loop {
            let before = (self.records.len(), self.mail.len());
            while let Some((from, to, message)) = self.mail.pop_front() {
                self.turn(to, Input::FromShard { from, message });
            }
            for shard in (0..self.shards.len() as u16).map(ShardId) {
                let at = usize::from(shard.0);
                if self.shards[at].poll_timeout().is_some_and(|due| due <= self.now) {
                    self.turn(shard, Input::Timeout);
                }
                self.shards[at].record_acknowledgements(&mut self.effects);
                self.do_effects(shard);
                if !self.holds {
                    let records = self.handed_out[at];
                    self.turn(shard, Input::Persisted { records });
                }
                let mut dirty = Vec::new();
                self.shards[at].take_dirty(&mut dirty);
                for connection in dirty {
                    let Some(outbound) = self.shards[at].outbound(connection) else { continue };
                    let to = &mut self.connections[connection.slot as usize];
                    outbound.chunks().for_each(|chunk| to.written.extend_from_slice(chunk));
                    let length = outbound.len();
                    outbound.advance(length);
                    to.read();
                }
            }
            if self.mail.is_empty() && (self.records.len(), self.mail.len()) == before {
                return;
            }
        }
    }

    fn id(slot: usize) -> ConnectionId {
        ConnectionId { slot: slot as u32, generation: 0 }
    }

    pub(crate) fn send(&mut self, slot: usize, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(V5, &mut bytes).expect("it is a packet");
        let home = self.connections[slot].home;
        let taken = self.input(home, Input::Bytes { connection: Self::id(slot), bytes: &bytes });
        assert_eq!(taken, bytes.len());
    }

    /// A client that goes on with its session, if there is one; whether there is.
    pub(crate) fn connect(
        &mut self,
        client_id: &str,
        expiry: u32,
        will: Option<Will<'_>>,
    ) -> (usize, bool) {
        let slot = self.connections.len();
        let home = self.shards[0].settings().placement.client(client_id);
        self.connections.push(Connection { home, written: Vec::new(), seen: Vec::new() });
        let (connection, peer) = (Self::id(slot), "peer".into());
        let listener = self.listener;
        let opened = Input::Opened { connection, listener, peer, moved: false };
        self.input(home, opened);
        let properties = ConnectProperties {
            session_expiry_interval: Some(expiry),
            receive_maximum: self.receive_maximum,
            ..Default::default()
        };
        let connect = Connect {
            version: V5,
            clean_start: false,
            keep_alive: 0,
            properties,
            client_id,
            will,
            user_name: None,
            password: None,
        };
        self.send(slot, &Packet::Connect(Box::new(connect)));
        let connack = self.connections[slot].seen.remove(0);
        (slot, connack == "CONNACK present")
    }

    /// The transport is gone.
    pub(crate) fn lose(&mut self, slot: usize) {
        self.input(self.connections[slot].home, Input::Closed { connection: Self::id(slot) });
    }

    /// So many seconds go by.
    pub(crate) fn wait(&mut self, seconds: u32) {
        self.now = self.now.plus_seconds(seconds);
        self.settle();
    }

    /// What a client was sent since this was last called.
    pub(crate) fn seen(&mut self, slot: usize) -> Vec<String> {
        std::mem::take(&mut self.connections[slot].seen)
    }

    pub(crate) fn subscribe(&mut self, slot: usize, filter: &str) {
        self.send_subscribe(slot, filter);
        assert_eq!(self.connections[slot].seen.remove(0), "SUBACK");
    }

    pub(crate) fn send_subscribe(&mut self, slot: usize, filter: &str) {
        let mut subscriptions = SubscriptionList::new();
        let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() };
        subscriptions.push(&TopicFilter::new(filter).expect("a filter"), options);
        let subscribe = Subscribe {
            packet_id: PacketId::MIN,
            subscription_identifier: None,
            user_properties: UserProperties::new(),
            subscriptions,
        };
        self.send(slot, &Packet::Subscribe(subscribe));
    }

    pub(crate) fn publish(&mut self, slot: usize, publish: Publish<'_>) {
        let packet_id = publish.packet_id.or((publish.qos > QoS::AtMostOnce).then_some(id(1)));
        self.send(slot, &Packet::Publish(Publish { packet_id, ..publish }));
    }

    /// A whole publication, to whose end its publisher sees to.
    pub(crate) fn publish_all(&mut self, slot: usize, payload: &str, qos: QoS) {
        self.publish(slot, publication(payload, qos));
        if qos == QoS::ExactlyOnce {
            self.send(slot, &Packet::Pubrel(ack(1)));
        }
        self.seen(slot);
    }
}

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("not 0")
}

pub(crate) fn ack(packet_id: u16) -> Ack<'static> {
    Ack::new(id(packet_id), ReasonCode::Success)
}

pub(crate) fn topic(text: &str) -> Option<TopicName<'_>> {
    Some(TopicName::new(text).expect("a topic"))
}

pub(crate) fn publication(payload: &str, qos: QoS) -> Publish<'_> {
    Publish { topic: topic("t"), qos, payload: payload.as_bytes(), ..Publish::default() }
}

/// What a packet is, in short.
fn told(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Connack(connack) if connack.session_present => "CONNACK present".to_owned(),
        Packet::Connack(_) => "CONNACK".to_owned(),
        Packet::Publish(publish) => {
            let packet_id = publish.packet_id.map_or(0, PacketId::value);
            let payload = String::from_utf8_lossy(publish.payload);
            let dup = if publish.dup { " DUP" } else { "" };
            let retain = if publish.retain { " RETAIN" } else { "" };
            format!("{packet_id}: {payload} QoS {}{dup}{retain}", publish.qos.level())
        }
        Packet::Puback(ack) => format!("PUBACK {}", ack.packet_id),
        Packet::Pubrec(ack) => format!("PUBREC {}", ack.packet_id),
        Packet::Pubrel(ack) => format!("PUBREL {}", ack.packet_id),
        Packet::Pubcomp(ack) => format!("PUBCOMP {}", ack.packet_id),
        Packet::Suback(_) => "SUBACK".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Whatever shards there were before, and are then.
pub(crate) const SHARDS: [(u16, u16); 4] = [(1, 1), (1, 3), (3, 1), (4, 2)];

pub(crate) const HOUR: u32 = 3_600;

#[test]
fn what_was_in_flight_goes_on_where_it_was() {
    for (before, then) in SHARDS {
        let mut broker = Broker::new(before, Timestamp::from_millis(1_000));
        let (client, _) = broker.connect("sub", HOUR, None);
        broker.subscribe(client, "t");
        let (publisher, _) = broker.connect("pub", 0, None);
        let qos = [1, 2, 2, 2, 2, 1].map(|level| QoS::from_level(level).expect("one"));
        for (number, qos) in (1..).zip(qos) {
            broker.publish_all(publisher, &format!("m{number}"), qos);
        }
        assert_eq!(broker.seen(client).len(), 6);
        broker.send(client, &Packet::Puback(ack(1)));
        // The third is done, and before the second, whose PUBCOMP never comes.
        broker.send(client, &Packet::Pubrec(ack(3)));
        broker.send(client, &Packet::Pubcomp(ack(3)));
        broker.send(client, &Packet::Pubrec(ack(4)));
        broker.send(client, &Packet::Pubrec(ack(2)));
        assert_eq!(broker.seen(client), ["PUBREL 3", "PUBREL 4", "PUBREL 2"]);

        let mut broker = broker.crash(then, Duration::from_secs(1));
        let (publisher, _) = broker.connect("pub", 0, None);
        broker.publish_all(publisher, "new", QoS::AtLeastOnce);
        let (client, present) = broker.connect("sub", HOUR, None);
        assert!(present);
        let mut seen = broker.seen(client);
        seen.sort();
        let expected =
            ["5: m5 QoS 2 DUP", "6: m6 QoS 1 DUP", "7: new QoS 1", "PUBREL 2", "PUBREL 4"];
        assert_eq!(seen, expected, "{before} shards, then {then}");

        // And it does so a second time, with what was recorded since.
        for packet_id in [2, 4] {
            broker.send(client, &Packet::Pubcomp(ack(packet_id)));
        }
        broker.send(client, &Packet::Pubrec(ack(5)));
        broker.send(client, &Packet::Puback(ack(6)));
        let mut broker = broker.crash(before, Duration::from_secs(1));
        let (client, _) = broker.connect("sub", HOUR, None);
        let mut seen = broker.seen(client);
        seen.sort();
        // The PUBACK behind what is not done is not recorded.
        assert_eq!(seen, ["6: m6 QoS 1 DUP", "7: new QoS 1 DUP", "PUBREL 5"]);
    }
}

#[test]
fn what_was_sent_while_acknowledgements_are_lost_comes_again_as_a_repetition() {
    let mut broker = Broker::new(1, Timestamp::from_millis(1_000));
    broker.receive_maximum = Some(2);
    let (client, _) = broker.connect("sub", HOUR, None);
    broker.subscribe(client, "t");
    let (publisher, _) = broker.connect("pub", 0, None);
    for (payload, qos) in [("m1", 2), ("m2", 1), ("m3", 1), ("m4", 2)] {
        let qos = QoS::from_level(qos).expect("one");
        broker.publish_all(publisher, payload, qos);
    }
    // Behind the first, which is not done, there is more than its client takes at a time.
    broker.send(client, &Packet::Puback(ack(2)));
    broker.send(client, &Packet::Puback(ack(3)));
    let seen = broker.seen(client);
    assert_eq!(seen, ["1: m1 QoS 2", "2: m2 QoS 1", "3: m3 QoS 1", "4: m4 QoS 2"]);
    let mut broker = broker.crash(1, Duration::from_secs(1));
    let (client, _) = broker.connect("sub", HOUR, None);
    let again = ["1: m1 QoS 2 DUP", "2: m2 QoS 1 DUP", "3: m3 QoS 1 DUP", "4: m4 QoS 2 DUP"];
    assert_eq!(broker.seen(client), again);
}

#[test]
fn releases_come_in_the_order_of_the_pubrecs() {
    let mut broker = Broker::new(1, Timestamp::from_millis(1_000));
    let (client, _) = broker.connect("sub", HOUR, None);
    broker.subscribe(client, "t");
    let (publisher, _) = broker.connect("pub", 0, None);
    for payload in ["a", "b", "c"] {
        broker.publish_all(publisher, payload, QoS::ExactlyOnce);
    }
    for packet_id in [3, 1, 2] {
        broker.send(client, &Packet::Pubrec(ack(packet_id)));
    }
    let mut broker = broker.crash(1, Duration::from_secs(1));
    let (client, _) = broker.connect("sub", HOUR, None);
    assert_eq!(broker.seen(client), ["PUBREL 3", "PUBREL 1", "PUBREL 2"]);
}

#[test]
fn what_waits_comes_in_order_and_what_is_acknowledged_never_again() {
    for (before, then) in SHARDS {
        let mut broker = Broker::new(before, Timestamp::from_millis(1_000));
        let (client, _) = broker.connect("sub", HOUR, None);
        broker.subscribe(client, "t");
        let (publisher, _) = broker.connect("pub", 0, None);
        broker.publish_all(publisher, "done", QoS::AtLeastOnce);
        broker.send(client, &Packet::Puback(ack(1)));
        broker.lose(client);
        for number in 0..20 {
            let qos = if number % 3 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            broker.publish_all(publisher, &format!("m{number}"), qos);
        }
        let mut broker = broker.crash(then, Duration::from_secs(1));
        let (client, present) = broker.connect("sub", HOUR, None);
        assert!(present);
        let seen = broker.seen(client);
        assert_eq!(seen.len(), 20);
        for (number, seen) in seen.iter().enumerate() {
            let qos = if number % 3 == 0 { 2 } else { 1 };
            // The client was away when it came, so that it was never sent.
            assert_eq!(*seen, format!("{}: m{number} QoS {qos}", number + 2));
        }
        // A session that ends is over after the next crash, too.
        broker.lose(client);
        let mut broker = broker.crash(before, Duration::from_secs(u64::from(HOUR) + 1));
        assert!(!broker.connect("sub", HOUR, None).1);
        let mut broker = broker.crash(then, Duration::ZERO);
        let (client, present) = broker.connect("sub", HOUR, None);
        assert!(present);
        assert!(broker.seen(client).is_empty());
    }
}

#[test]
fn retained_messages_are_there_until_they_expire_or_are_removed() {
    for (before, then) in SHARDS {
        let mut broker = Broker::new(before, Timestamp::from_millis(1_000));
        let (publisher, _) = broker.connect("pub", 0, None);
        for (name, payload, expiry) in [
            ("r/stays", "old", None),
            ("r/stays", "new", None),
            ("r/expires", "x", Some(10)),
            ("r/removed", "y", None),
            ("r/removed", "", None),
        ] {
            let publish = Publish {
                topic: topic(name),
                retain: true,
                ..publication(payload, QoS::AtMostOnce)
            };
            let mut publish = publish;
            publish.properties.message_expiry_interval = expiry;
            broker.publish(publisher, publish);
        }
        let mut broker = broker.crash(then, Duration::from_secs(5));
        let (client, _) = broker.connect("reader", 0, None);
        broker.subscribe(client, "r/#");
        let mut seen = broker.seen(client);
        seen.sort();
        assert_eq!(seen, ["0: new QoS 0 RETAIN", "0: x QoS 0 RETAIN"]);
        let mut broker = broker.crash(before, Duration::from_secs(6));
        let (client, _) = broker.connect("reader", 0, None);
        broker.subscribe(client, "r/#");
        assert_eq!(broker.seen(client), ["0: new QoS 0 RETAIN"]);
    }
}

#[test]
fn the_will_of_a_client_that_was_connected_is_published_once() {
    for expiry in [0, HOUR] {
        for (before, then) in SHARDS {
            let mut broker = Broker::new(before, Timestamp::from_millis(1_000));
            let (client, _) = broker.connect("sub", HOUR, None);
            broker.subscribe(client, "t");
            let will = Will {
                qos: QoS::AtLeastOnce,
                retain: false,
                topic: TopicName::new("t").expect("a topic"),
                payload: b"gone",
                properties: WillProperties::default(),
            };
            broker.connect("mortal", expiry, Some(will));
            let mut broker = broker.crash(then, Duration::from_secs(1));
            let (client, _) = broker.connect("sub", HOUR, None);
            assert_eq!(broker.seen(client), ["1: gone QoS 1"], "{before}, then {then}");
            broker.send(client, &Packet::Puback(ack(1)));
            let mut broker = broker.crash(before, Duration::from_secs(1));
            let (client, _) = broker.connect("sub", HOUR, None);
            assert!(broker.seen(client).is_empty());
            assert_eq!(broker.connect("mortal", HOUR, None).1, expiry > 0);
        }
    }
}

#[test]
fn a_will_that_was_due_and_not_routed_reaches_everybody_once() {
    for expiry in [0, HOUR] {
        for (before, then) in SHARDS {
            let mut broker = Broker::new(before, Timestamp::from_millis(1_000));
            for name in ["one", "two"] {
                let (client, _) = broker.connect(name, HOUR, None);
                broker.subscribe(client, "t");
            }
            let will = Will {
                qos: QoS::ExactlyOnce,
                retain: false,
                topic: TopicName::new("t").expect("a topic"),
                payload: b"gone",
                properties: WillProperties::default(),
            };
            let (mortal, _) = broker.connect("mortal", expiry, Some(will));
            broker.holds = true;
            broker.lose(mortal);
            let due = |record: &&Record| matches!(record, Record::WillDue { .. });
            assert_eq!(broker.records.iter().filter(due).count(), 1);
            let queued = |record: &Record| matches!(record, Record::Queued { .. });
            assert!(!broker.records.iter().any(queued), "it is not durable");
            let mut broker = broker.crash(then, Duration::from_secs(1));
            broker.wait(1);
            let mut broker = broker.crash(before, Duration::from_secs(1));
            for name in ["one", "two"] {
                let (client, _) = broker.connect(name, HOUR, None);
                assert_eq!(broker.seen(client), ["1: gone QoS 2"], "{before}, then {then}");
            }
            assert_eq!(broker.records.iter().filter(due).count(), 1, "it is due once");
        }
    }
}

#[test]
fn a_publication_that_was_received_and_not_routed_reaches_everybody_once() {
    for (before, then) in SHARDS {
        let mut broker = Broker::new(before, Timestamp::from_millis(1_000));
        for name in ["one", "two", "three"] {
            let (client, _) = broker.connect(name, HOUR, None);
            broker.subscribe(client, "t");
        }
        let (publisher, _) = broker.connect("pub", HOUR, None);
        broker.holds = true;
        broker.publish(publisher, publication("m", QoS::ExactlyOnce));
        assert!(broker.seen(publisher).is_empty(), "it is not durable");
        assert!(matches!(broker.records.last(), Some(Record::Received { .. })));

        let mut broker = broker.crash(then, Duration::from_secs(1));
        let (publisher, present) = broker.connect("pub", HOUR, None);
        assert!(present);
        broker.publish(publisher, Publish { dup: true, ..publication("m", QoS::ExactlyOnce) });
        broker.send(publisher, &Packet::Pubrel(ack(1)));
        assert_eq!(broker.seen(publisher), ["PUBREC 1", "PUBCOMP 1"]);
        // The next one with this packet identifier is another one.
        broker.publish_all(publisher, "n", QoS::ExactlyOnce);
        for name in ["one", "two", "three"] {
            let (client, _) = broker.connect(name, HOUR, None);
            let seen: Vec<_> =
                broker.seen(client).iter().map(|seen| seen[..9].to_owned()).collect();
            assert_eq!(seen, ["1: m QoS ", "2: n QoS "], "{before}, then {then}");
        }
        let all = broker.records.clone();
        let broker = broker.crash(before, Duration::from_secs(1));
        let routed = |record: &&Record| matches!(record, Record::Routed { .. });
        assert_eq!(all.iter().filter(routed).count(), 2);
        assert_eq!(broker.records.iter().filter(routed).count(), 2);
    }
}

/// What is retained behind a crash that has lost that a publication is routed.
fn retained_behind_crash(
    (before, then): (u16, u16),
    publish: impl FnOnce(&mut Broker),
) -> Vec<String> {
    let mut broker = Broker::new(before, Timestamp::from_millis(1_000));
    publish(&mut broker);
    let all = broker.records.len();
    broker.records.retain(|record| !matches!(record, Record::Routed { .. }));
    assert_eq!(all - broker.records.len(), 1);
    let mut broker = broker.crash(then, Duration::from_secs(1));
    let (client, _) = broker.connect("reader", 0, None);
    broker.subscribe(client, "t");
    broker.seen(client)
}

#[test]
fn what_is_routed_again_does_not_take_the_place_of_a_newer_retained_message() {
    for shards in SHARDS {
        for (old, new) in [("old", "new"), ("", "new"), ("old", "")] {
            let retained = |payload, qos| Publish { retain: true, ..publication(payload, qos) };
            let newer = |broker: &mut Broker| {
                let (other, _) = broker.connect("other", 0, None);
                broker.publish(other, retained(new, QoS::AtMostOnce));
            };
            let expected = if new.is_empty() { vec![] } else { vec!["0: new QoS 0 RETAIN"] };
            let found = retained_behind_crash(shards, |broker| {
                let (publisher, _) = broker.connect("pub", HOUR, None);
                broker.publish(publisher, retained(old, QoS::ExactlyOnce));
                newer(broker);
            });
            assert_eq!(found, expected, "{shards:?}");
            let will = Will {
                qos: QoS::ExactlyOnce,
                retain: true,
                topic: TopicName::new("t").expect("a topic"),
                payload: old.as_bytes(),
                properties: WillProperties::default(),
            };
            let found = retained_behind_crash(shards, |broker| {
                let (mortal, _) = broker.connect("mortal", 0, Some(will));
                broker.lose(mortal);
                newer(broker);
            });
            assert_eq!(found, expected, "{shards:?}, a will");
        }
    }
}
