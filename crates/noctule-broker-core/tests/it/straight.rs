//! The commonest publications take a shorter way through the shard than all others: whatever comes,
//! it must lead to the same.

use std::sync::Arc;

use noctule_broker_core::{
    Durability, Event, Input, Message, ReadRules, Record, Reference, Settings, ShardId,
};
use noctule_packet::{Framing, Packet, PacketType, QoS, ReasonCode, TextRules, Version, split};
use noctule_testkit::{OwnedConnect, OwnedPublish, packet_bytes};

use crate::broker::{Broker, Client, lasting, placement_of, shards};
use crate::orders::{Choices, random_orders};
use crate::world::queued;

const CLIENTS: usize = 4;
const ACTS: usize = 150;
const TOPICS: [&str; 3] = ["a", "b", "c/d"];
const FILTERS: [&str; 5] = ["a", "b", "c/d", "+", "#"];
const PAYLOAD_BYTES: [usize; 5] = [0, 4, 30, 200, 9_000];

/// One of the two brokers, and what it has sent to each client.
struct Side {
    broker: Broker,
    /// Some are away, and have a session.
    clients: Vec<Option<Client>>,
}

impl Side {
    fn client(&mut self, number: usize) -> &mut Client {
        self.clients[number].as_mut().expect("it is there")
    }

    /// What a client gets when it comes again. It is away if it is refused.
    fn come_again(&mut self, number: usize) -> Vec<u8> {
        let mut client = self.broker.open();
        client.send_connect(&connect(number).clean_start(false));
        let arrived = self.broker.arrived(&client);
        assert_eq!(arrived.first(), Some(&((PacketType::Connack as u8) << 4)));
        self.clients[number] = (arrived[3] == 0).then_some(client);
        arrived
    }
}

/// What a client has got and not acknowledged, and its next packet identifier.
#[derive(Default)]
struct Peer {
    owes: Vec<(PacketType, u16)>,
    packet_id: u16,
    stalled: bool,
}

fn version(client: usize) -> Version {
    [Version::V5_0, Version::V3_1_1, Version::V5_0, Version::V3_1][client]
}

fn connect(client: usize) -> OwnedConnect {
    let connect = OwnedConnect::new(version(client), &format!("c{client}")).keep_alive(0);
    let connect = match version(client) {
        Version::V5_0 => connect.session_expiry_interval(60),
        _ => connect,
    };
    match client {
        // Windows, sizes and aliases that the short way does not know.
        0 => connect.receive_maximum(3),
        2 => connect.maximum_packet_size(150),
        _ => connect,
    }
}

/// A broker that lets publications go the short way, or one that has everything asked first.
fn side(is_short: bool, outbound_bytes_max: u32, durability: Durability) -> Side {
    let broker = Broker::with(|settings| {
        settings.durability = durability;
        settings.limits.outbound_bytes_max = outbound_bytes_max;
        settings.limits.queue_messages_max = 10;
        settings.limits.memory_bytes_max = 40_000;
        if !is_short {
            settings.read_rules = Some(ReadRules(Arc::new(|_: &str, _: &str| true)));
        }
    });
    let clients = (0..CLIENTS).map(|client| Some(broker.connect(&connect(client)))).collect();
    Side { broker, clients }
}

impl Peer {
    fn next_id(&mut self) -> u16 {
        self.packet_id = self.packet_id % 60_000 + 1;
        self.packet_id
    }

    /// Most are plain and go where the last one went, several at once.
    fn publishes(&mut self, version: Version, choices: &mut Choices) -> Vec<u8> {
        let topic = TOPICS[choices.choose(TOPICS.len())];
        let mut bytes = Vec::new();
        for _ in 0..=choices.choose(5) {
            let qos = match choices.choose(8) {
                0..4 => QoS::AtMostOnce,
                4..7 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            };
            let length = PAYLOAD_BYTES[choices.choose(8).saturating_sub(3)];
            let mut publish = OwnedPublish::new(topic, vec![b'.'; length], qos);
            if qos > QoS::AtMostOnce {
                publish = publish.packet_id(self.next_id()).dup(choices.choose(9) == 0);
            }
            match choices.choose(12) {
                0 => publish = publish.retain(true),
                1 if version.is_v5() => publish = publish.content_type("text"),
                2 if version.is_v5() => publish = publish.message_expiry_interval(9),
                _ => {}
            }
            publish.to_packet().encode(version, &mut bytes).unwrap();
            if qos == QoS::ExactlyOnce {
                bytes.extend(acknowledgement(PacketType::Pubrel, self.packet_id));
            }
        }
        bytes
    }

    fn subscription(&mut self, version: Version, choices: &mut Choices) -> Vec<u8> {
        let filter = FILTERS[choices.choose(FILTERS.len())];
        let (id, properties) = (self.next_id(), if version.is_v5() { "00" } else { "" });
        if choices.choose(3) == 0 {
            return packet_bytes(0xA2, &format!("{id:04x} {properties} s'{filter}'"));
        }
        let mut options = choices.choose(3);
        let mut identified = properties;
        if version.is_v5() {
            // No Local and Retain As Published.
            options |= [0, 0, 0, 4, 8][choices.choose(5)];
            identified = ["00", "00", "020B07"][choices.choose(3)];
        }
        packet_bytes(0x82, &format!("{id:04x} {identified} s'{filter}' {options:02x}"))
    }

    /// Acknowledges some of what it has got, mostly in order.
    fn acknowledgements(&mut self, choices: &mut Choices) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..choices.choose(6).min(self.owes.len()) {
            let at = if choices.choose(5) == 0 { choices.choose(self.owes.len()) } else { 0 };
            let (packet_type, packet_id) = self.owes.remove(at);
            bytes.extend(acknowledgement(packet_type, packet_id));
        }
        bytes
    }

    fn note(&mut self, version: Version, mut bytes: &[u8]) {
        while let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) {
            match Packet::decode(&frame, version, TextRules::Strict).unwrap() {
                Packet::Publish(publish) => {
                    let answer = match publish.qos {
                        QoS::ExactlyOnce => PacketType::Pubrec,
                        _ => PacketType::Puback,
                    };
                    self.owes.extend(publish.packet_id.map(|id| (answer, id.value())));
                }
                Packet::Pubrel(ack) => self.owes.push((PacketType::Pubcomp, ack.packet_id.value())),
                _ => {}
            }
            bytes = &bytes[frame.length..];
        }
        assert!(bytes.is_empty(), "whole packets");
    }
}

fn acknowledgement(packet_type: PacketType, packet_id: u16) -> Vec<u8> {
    let flags = if packet_type == PacketType::Pubrel { 2 } else { 0 };
    packet_bytes((packet_type as u8) << 4 | flags, &format!("{packet_id:04x}"))
}

/// Everything that can be told apart from outside.
fn state(side: &Side) -> String {
    let (mut events, trace) = (side.broker.events(), side.broker.trace());
    for event in &mut events {
        // How much memory is leased before it runs out depends on what is counted first.
        if let Event::Dropped { limit: Some(limit), .. } = event
            && limit.setting == "limits.memory_bytes_max"
        {
            limit.wanted = 0;
        }
    }
    side.broker.look(|shards| {
        format!("{:?}\n{:?}\n{events:?}\n{trace:?}", shards.statistics(), shards.gauges())
    })
}

fn act(sides: &mut [Side; 2], client: usize, peer: &mut Peer, choices: &mut Choices) -> String {
    let is_away = sides[0].clients[client].is_none();
    let (name, bytes) = match choices.choose(20) {
        5.. if is_away => return format!("{client} is away"),
        2 if !is_away => {
            *peer = Peer { packet_id: peer.packet_id, ..Peer::default() };
            for Side { clients, .. } in sides {
                clients[client] = None;
            }
            return format!("{client} goes");
        }
        0 if !is_away => {
            peer.stalled = !peer.stalled;
            for Side { broker, clients } in &*sides {
                let client = clients[client].as_ref().expect("it is there");
                match peer.stalled {
                    true => broker.stall(client),
                    false => broker.unstall(client),
                }
            }
            return format!("{client} stalled: {}", peer.stalled);
        }
        choice if choice == 1 || is_away => {
            *peer = Peer { packet_id: peer.packet_id, ..Peer::default() };
            let [arrived, expected] = sides.each_mut().map(|side| side.come_again(client));
            assert_eq!(arrived, expected, "{client} comes again");
            peer.note(version(client), &arrived);
            return format!("{client} comes again");
        }
        3..5 => ("subscription", peer.subscription(version(client), choices)),
        5..9 => ("acknowledgements", peer.acknowledgements(choices)),
        _ => ("publishes", peer.publishes(version(client), choices)),
    };
    for side in sides {
        side.client(client).send_bytes(&bytes);
    }
    format!("{client} {name} {bytes:x?}")
}

#[test]
fn the_short_way_leads_to_the_same_as_the_long_one() {
    let mut delivered = 0;
    random_orders(60, |choices| {
        let durability = [Durability::Memory, Durability::Stored][choices.choose(2)];
        let mut sides = [true, false].map(|is_short| side(is_short, 2_000, durability));
        let mut peers: [Peer; CLIENTS] = Default::default();
        let mut said = Vec::new();
        for _ in 0..ACTS {
            let client = choices.choose(CLIENTS);
            said.push(act(&mut sides, client, &mut peers[client], choices));
            let [short, long] = &sides;
            for (client, peer) in peers.iter_mut().enumerate() {
                let arrived = |side: &Side| {
                    let client = side.clients[client].as_ref();
                    client.map(|client| side.broker.arrived(client)).unwrap_or_default()
                };
                let (arrived, expected) = (arrived(short), arrived(long));
                assert_eq!(arrived, expected, "to {client} after {said:#?}");
                peer.note(version(client), &arrived);
            }
            assert_eq!(state(short), state(long), "after {said:#?}");
        }
        let [short, long] = &sides;
        assert_eq!(short.broker.queues(), long.broker.queues(), "after {said:#?}");
        delivered += sides[0].broker.look(|shards| shards.statistics().publish_sent);
    });
    assert!(delivered > 5_000, "{delivered}");
}

/// Each batch is small enough for the subscriber, which reads.
#[test]
fn who_does_not_read_its_acknowledgements_is_not_read_either() {
    let sides = [true, false].map(|is_short| {
        let mut side = side(is_short, 100, Durability::Memory);
        side.client(3).subscribe(&[("t", QoS::AtMostOnce)]);
        side.broker.stall(side.clients[1].as_ref().expect("it is there"));
        let publish = |id| OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(id);
        for batch in 0..6_u16 {
            let mut bytes = Vec::new();
            for id in 1..=15 {
                let publish = publish(15 * batch + id);
                publish.to_packet().encode(version(1), &mut bytes).unwrap();
            }
            side.client(1).send_bytes(&bytes);
        }
        side
    });
    let [short, long] = &sides;
    let received = long.broker.look(|shards| shards.statistics().publish_received);
    assert!((50..90).contains(&received), "{received}: it was read to the end");
    assert_eq!(state(short), state(long));
}

fn qos(id: u16) -> QoS {
    if id.is_multiple_of(3) { QoS::AtMostOnce } else { QoS::AtLeastOnce }
}

/// Ten publications to `t` in one piece; those with QoS 1 have the numbers that they carry.
fn run(version: Version, qos: impl Fn(u16) -> QoS) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in 1..=10 {
        let publish = OwnedPublish::new("t", id.to_string(), qos(id));
        let publish = if qos(id) == QoS::AtLeastOnce { publish.packet_id(id) } else { publish };
        publish.to_packet().encode(version, &mut bytes).unwrap();
    }
    bytes
}

#[test]
fn a_run_goes_to_another_shard_in_one_piece_and_is_answered_in_one() {
    let broker = Broker::placed(2, &[("p", 0), ("s", 1)], |_| {});
    let mut subscriber = broker.client(Version::V5_0, "s");
    subscriber.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(Version::V3_1_1, "p");
    publisher.publish("t", "known from now on", QoS::AtMostOnce);
    assert_eq!(subscriber.receive_all().len(), 1);
    broker.hold_mail();
    publisher.send_bytes(&run(Version::V3_1_1, qos));
    assert_eq!(broker.carry_between(0, 1), ["Run"]);
    for id in 1..=10 {
        let message = subscriber.receive();
        assert_eq!((message.text(), message.qos), (id.to_string().as_str(), qos(id)));
    }
    assert_eq!(broker.carry_between(1, 0), ["Answers"]);
    for id in (1..=10).filter(|id| qos(*id) == QoS::AtLeastOnce) {
        publisher.expect_puback(id);
    }
    publisher.expect_nothing_before_pong();
}

/// A stored session on this shard, and a publisher on the first one whose topic is known. Nothing
/// is kept from now on unless the test says so.
fn stored_run(home: u16) -> (Broker, Client, Client) {
    let store = |settings: &mut Settings| settings.durability = Durability::Stored;
    let broker = Broker::placed(2, &[("p", 0), ("s", home)], store);
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(Version::V3_1_1, "p");
    publisher.publish("t", "known from now on", QoS::AtMostOnce);
    assert_eq!(subscriber.receive_all().len(), 1);
    broker.hold();
    (broker, publisher, subscriber)
}

/// All ten are one record, in their places, and acknowledged as soon as that is durable.
fn is_kept_in_one_piece(broker: &Broker, publisher: &mut Client) {
    let [record @ Record::QueuedRun(_)] = &broker.records()[..] else { panic!("one run") };
    let stored: Vec<_> = queued(record).into_iter().map(payload_and_place).collect();
    let expected = (1..=10).map(|id| (id.to_string(), id));
    assert_eq!(stored, expected.collect::<Vec<_>>(), "what is stored, in its places");
    publisher.expect_nothing_before_pong();
    broker.kept();
    for id in 1..=10 {
        publisher.expect_puback(id);
    }
}

#[test]
fn a_run_for_a_stored_session_is_recorded_and_acknowledged_in_one_piece() {
    for home in [0, 1] {
        let (broker, mut publisher, mut subscriber) = stored_run(home);
        publisher.send_bytes(&run(Version::V3_1_1, |_| QoS::AtLeastOnce));
        for id in 1..=10 {
            assert_eq!(subscriber.receive().text(), id.to_string());
        }
        is_kept_in_one_piece(&broker, &mut publisher);
        publisher.expect_nothing_before_pong();
    }
}

#[test]
fn a_run_for_an_absent_session_waits_there_as_one_record() {
    for home in [0, 1] {
        let (broker, mut publisher, subscriber) = stored_run(home);
        drop(subscriber);
        broker.keep_all();
        broker.hold();
        publisher.send_bytes(&run(Version::V3_1_1, |_| QoS::AtLeastOnce));
        is_kept_in_one_piece(&broker, &mut publisher);
        broker.keep_all();
        let mut subscriber = broker.open();
        subscriber.send_connect(&lasting(Version::V5_0, "s"));
        broker.keep_all();
        assert!(subscriber.expect_connack().session_present);
        for id in 1..=10 {
            assert_eq!(subscriber.receive().text(), id.to_string());
        }
    }
}

/// Its publisher has to feel that there is none: whoever is answered sends more.
#[test]
fn a_run_that_finds_no_room_in_the_store_of_another_shard_is_answered_when_there_is_some() {
    for is_known in [true, false] {
        let (broker, mut publisher, _subscriber) = stored_run(1);
        let room = |has_room| broker.input_at(ShardId(1), Input::StoreRoom { has_room });
        if is_known {
            room(false);
        }
        publisher.send_bytes(&run(Version::V3_1_1, |_| QoS::AtLeastOnce));
        let records = broker.records().len();
        assert_eq!(records, if is_known { 10 } else { 1 });
        room(false);
        (0..records).for_each(|_| broker.kept());
        publisher.expect_nothing_before_pong();
        room(true);
        for id in 1..=10 {
            publisher.expect_puback(id);
        }
    }
}

#[test]
fn of_a_mixed_run_only_what_is_kept_is_recorded() {
    for home in [0, 1] {
        let (broker, mut publisher, mut subscriber) = stored_run(home);
        publisher.send_bytes(&run(Version::V3_1_1, qos));
        for id in 1..=10 {
            let message = subscriber.receive();
            assert_eq!((message.text(), message.qos), (id.to_string().as_str(), qos(id)));
        }
        let kept: Vec<_> = (1..=10).filter(|id| qos(*id) == QoS::AtLeastOnce).collect();
        let records = broker.records();
        let stored = records.iter().flat_map(queued).map(payload_and_place);
        let expected = kept.iter().zip(1..).map(|(id, place)| (id.to_string(), place));
        assert!(stored.eq(expected), "{records:?}");
        for _ in &records {
            broker.kept();
        }
        for id in kept {
            publisher.expect_puback(id);
        }
        publisher.expect_nothing_before_pong();
    }
}

fn payload_and_place((message, reference): (Arc<Message>, Reference)) -> (String, u64) {
    (String::from_utf8(message.payload.to_vec()).unwrap(), reference.sequence)
}

#[test]
fn a_run_for_a_stored_session_is_no_longer_than_the_receive_maximum() {
    let broker = Broker::with(|settings| {
        settings.durability = Durability::Stored;
        settings.placement = placement_of(shards(), &["p", "s", "t"].map(|name| (name, 0)));
        settings.limits.receive_maximum = 5;
    });
    let mut subscriber = broker.lasting(Version::V5_0, "s");
    subscriber.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("t", "known from now on", QoS::AtMostOnce);
    broker.hold();
    publisher.send_bytes(&run(Version::V5_0, qos));
    publisher.expect_disconnect(ReasonCode::ReceiveMaximumExceeded);
    assert_eq!(broker.records().iter().flat_map(queued).count(), 5);
}

#[test]
fn a_run_that_is_longer_than_a_turn_goes_on_in_the_next() {
    const MESSAGES: u16 = 9_000;
    let broker = Broker::new();
    let mut subscriber = broker.client(Version::V3_1_1, "s");
    subscriber.subscribe(&[("t", QoS::AtMostOnce)]);
    let mut bytes = Vec::new();
    for number in 0..MESSAGES {
        let publish = OwnedPublish::new("t", number.to_be_bytes(), QoS::AtMostOnce);
        publish.to_packet().encode(Version::V3_1_1, &mut bytes).unwrap();
    }
    // With several shards they are at home on all of them.
    for name in ["p0", "p1", "p2", "p3"] {
        broker.client(Version::V3_1_1, name).send_bytes(&bytes);
        for number in 0..MESSAGES {
            assert_eq!(*subscriber.receive().payload, number.to_be_bytes());
        }
    }
}
