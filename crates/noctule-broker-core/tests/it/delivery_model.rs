//! Any life of a subscriber: lost connections, windows, partial reads and late acknowledgements in
//! any order, against what the qualities of service promise.

use std::collections::{BTreeSet, VecDeque};

use noctule_broker_core::{ConnectionId, Effects, Input, ListenerId, Settings, Shard, Timestamp};
use noctule_packet::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use noctule_packet::{
    Ack, Framing, Packet, PacketId, QoS, ReasonCode, TextRules, Version, spec, split,
};
use noctule_testkit::{OwnedConnect, OwnedPublish, packet_bytes};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(QoS),
    /// The subscriber reads so many bytes.
    Read(usize),
    /// It sends so many of the acknowledgements that it owes.
    Acknowledge(usize),
    /// Its connection is lost, with everything on the way.
    Lose,
    /// It comes back and takes so many messages at a time.
    Connect(u16),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![Just(AtMostOnce), Just(AtLeastOnce), Just(ExactlyOnce)]
            .prop_map(Step::Publish),
        4 => (1..400_usize).prop_map(Step::Read),
        4 => (1..4_usize).prop_map(Step::Acknowledge),
        1 => Just(Step::Lose),
        2 => (1..6_u16).prop_map(Step::Connect),
    ]
}

/// A shard, a publisher that never leaves, and a correct client that keeps its QoS 2 state.
struct World {
    shard: Shard,
    effects: Effects,
    publisher: ConnectionId,
    subscriber: Option<ConnectionId>,
    connections: u32,
    version: Version,
    published: Vec<(QoS, u32)>,
    /// What the subscriber's program was given.
    received: Vec<(QoS, u32)>,
    unread: Vec<u8>,
    owed: VecDeque<Packet<'static>>,
    /// QoS 2 identifiers between PUBLISH and PUBREL.
    begun: BTreeSet<PacketId>,
    /// Identifiers that this connection has brought and that are not completed.
    open: BTreeSet<PacketId>,
    receive_maximum: usize,
}

impl World {
    fn new(version: Version) -> Self {
        let mut settings = Settings::default();
        settings.system_interval_seconds = 0;
        settings.limits.outbound_bytes_max = 200;
        settings.limits.in_flight_max = 5;
        let mut world = Self {
            shard: Shard::new(settings, NOW, 1),
            effects: Effects::new(),
            publisher: ConnectionId { slot: 0, generation: 0 },
            subscriber: None,
            connections: 0,
            version,
            published: Vec::new(),
            received: Vec::new(),
            unread: Vec::new(),
            owed: VecDeque::new(),
            begun: BTreeSet::new(),
            open: BTreeSet::new(),
            receive_maximum: 5,
        };
        world.publisher = world.connect(&OwnedConnect::v311("p").keep_alive(0));
        world.come_back(5);
        if let Some(subscriber) = world.subscriber {
            let properties = if version.is_v5() { "00" } else { "" };
            let subscribe = packet_bytes(0x82, &format!("0001 {properties} s't' 02"));
            world.send(subscriber, &subscribe);
        }
        world
    }

    fn input(&mut self, input: Input<'_>) -> usize {
        let consumed = self.shard.on_input(NOW, input, &mut self.effects).bytes;
        while self.shard.poll_timeout() == Some(NOW) {
            let _ = self.shard.on_input(NOW, Input::Timeout, &mut self.effects);
        }
        consumed
    }

    fn send(&mut self, connection: ConnectionId, bytes: &[u8]) {
        assert_eq!(self.input(Input::Bytes { connection, bytes }), bytes.len());
    }

    fn send_packet(&mut self, connection: ConnectionId, version: Version, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes).unwrap();
        self.send(connection, &bytes);
    }

    fn connect(&mut self, connect: &OwnedConnect) -> ConnectionId {
        let connection = ConnectionId { slot: self.connections, generation: 0 };
        self.connections += 1;
        let peer = "peer".into();
        self.input(Input::Opened { connection, listener: ListenerId(0), peer, moved: false });
        let packet = Packet::Connect(Box::new(connect.to_packet()));
        self.send_packet(connection, connect.version, &packet);
        connection
    }

    fn come_back(&mut self, receive_maximum: u16) {
        if self.subscriber.is_some() {
            return;
        }
        let mut connect = OwnedConnect::new(self.version, "s").resumable(3_600).keep_alive(0);
        self.receive_maximum = 5;
        if self.version.is_v5() {
            connect = connect.receive_maximum(receive_maximum).topic_alias_maximum(1);
            self.receive_maximum = usize::from(receive_maximum);
        }
        self.subscriber = Some(self.connect(&connect));
    }

    fn lose(&mut self) {
        if let Some(connection) = self.subscriber.take() {
            self.input(Input::Closed { connection });
            self.unread.clear();
            self.owed.clear();
            self.open.clear();
        }
    }

    fn publish(&mut self, qos: QoS) {
        let number = u32::try_from(self.published.len()).unwrap();
        let mut publish = OwnedPublish::new("t", number.to_string(), qos);
        if qos > AtMostOnce {
            publish = publish.packet_id(1);
        }
        self.send_packet(self.publisher, Version::V3_1_1, &Packet::Publish(publish.to_packet()));
        if qos == ExactlyOnce {
            self.send(self.publisher, &packet_bytes(0x62, "0001"));
        }
        self.published.push((qos, number));
        let outbound = self.shard.outbound(self.publisher).unwrap();
        outbound.advance(outbound.len());
        self.input(Input::Flushed { connection: self.publisher });
    }

    fn read(&mut self, count: usize) {
        let Some(connection) = self.subscriber else { return };
        let outbound = self.shard.outbound(connection).unwrap();
        let count = count.min(outbound.len());
        self.unread.extend(outbound.chunks().flatten().take(count));
        outbound.advance(count);
        if outbound.is_empty() {
            self.input(Input::Flushed { connection });
        }
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Framing::Complete(frame) = split(rest, u32::MAX).unwrap() {
            let packet = Packet::decode(&frame, self.version, TextRules::Strict).unwrap();
            self.take(packet);
            rest = &rest[frame.length..];
        }
        self.unread = rest.to_vec();
    }

    fn take(&mut self, packet: Packet<'_>) {
        match packet {
            Packet::Publish(publish) => {
                let number = std::str::from_utf8(publish.payload).unwrap().parse().unwrap();
                let Some(packet_id) = publish.packet_id else {
                    self.received.push((publish.qos, number));
                    return;
                };
                assert!(self.open.insert(packet_id), "{packet_id:?} came twice");
                assert!(self.open.len() <= self.receive_maximum, "too many open: {:?}", self.open);
                let ack = Ack::new(packet_id, ReasonCode::Success);
                if publish.qos == ExactlyOnce {
                    let new = self.begun.insert(packet_id);
                    assert!(new || publish.dup, "{packet_id:?} is in use");
                    self.received.extend(new.then_some((publish.qos, number)));
                    self.owed.push_back(Packet::Pubrec(ack));
                } else {
                    self.received.push((publish.qos, number));
                    self.owed.push_back(Packet::Puback(ack));
                }
            }
            Packet::Pubrel(ack) => {
                assert!(!ack.reason_code.is_error(), "{ack:?}");
                self.begun.remove(&ack.packet_id);
                let ack = Ack::new(ack.packet_id, ReasonCode::Success);
                self.owed.push_back(Packet::Pubcomp(ack));
            }
            Packet::Connack(_) | Packet::Suback(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn acknowledge(&mut self, count: usize) {
        for _ in 0..count {
            let Some(connection) = self.subscriber else { return };
            let Some(packet) = self.owed.pop_front() else { return };
            if let Packet::Puback(ack) | Packet::Pubcomp(ack) = &packet {
                self.open.remove(&ack.packet_id);
            }
            self.send_packet(connection, self.version, &packet);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish(qos) => self.publish(qos),
            Step::Read(count) => self.read(count),
            Step::Acknowledge(count) => self.acknowledge(count),
            Step::Lose => self.lose(),
            Step::Connect(receive_maximum) => self.come_back(receive_maximum),
        }
    }

    /// Lets everything that is on its way arrive.
    fn finish(&mut self) {
        self.come_back(1);
        loop {
            self.read(usize::MAX);
            if self.owed.is_empty() && self.shard.gauges().in_flight_messages == 0 {
                return;
            }
            assert!(!self.owed.is_empty(), "nothing moves any more");
            self.acknowledge(usize::MAX);
        }
    }

    fn numbers(messages: &[(QoS, u32)], qos: QoS) -> Vec<u32> {
        messages.iter().filter(|message| message.0 == qos).map(|message| message.1).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_quality_keeps_its_promise_in_any_life(
        v5 in any::<bool>(),
        steps in prop::collection::vec(steps(), 1..150),
    ) {
        spec!("MQTT5-4.4.0-1", "MQTT5-4.6.0-5", "MQTT5-3.3.4-9", "MQTT5-4.9.0-2");
        spec!("MQTT311-4.4.0-1", "MQTT311-4.6.0-6");
        let mut world = World::new(if v5 { Version::V5_0 } else { Version::V3_1_1 });
        for step in steps {
            world.step(step);
        }
        world.finish();
        let (published, received) = (&world.published, &world.received);
        prop_assert_eq!(
            World::numbers(received, ExactlyOnce),
            World::numbers(published, ExactlyOnce),
            "QoS 2: each once, in order"
        );
        let mut first = BTreeSet::new();
        let mut at_least_once = World::numbers(received, AtLeastOnce);
        at_least_once.retain(|number| first.insert(*number));
        prop_assert_eq!(
            at_least_once,
            World::numbers(published, AtLeastOnce),
            "QoS 1: each at least once, the first times in order"
        );
        let at_most_once = World::numbers(received, AtMostOnce);
        prop_assert!(at_most_once.is_sorted_by(|a, b| a < b), "QoS 0: none twice, in order");
        let gauges = world.shard.gauges();
        prop_assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0));
    }
}
