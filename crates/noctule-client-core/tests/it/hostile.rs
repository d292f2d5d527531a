//! Servers that say anything at any time: the session neither panics nor grows, and every operation
//! still ends exactly once.

use std::collections::BTreeMap;

use noctule_client_core::{AcknowledgementMode, Event, Status, TransportEnd, Validation};
use noctule_packet::{
    Ack, Auth, Connack, Disconnect, Packet, PacketId, Publish, PublishProperties, QoS, ReasonCode,
    Suback, TopicName, Unsuback, Version,
};
use proptest::prelude::*;

use crate::world::{VERSIONS, World, lasting};

/// What a server, or the user, does.
#[derive(Clone, Debug)]
enum Act {
    /// A packet of this kind with these values.
    Say(u8, u16, u8),
    Garbage(Vec<u8>),
    Publish(u8),
    Subscribe,
    Cut,
    Connect(bool),
    Write(usize),
    Wait(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (0..12_u8, 0..9_u16, any::<u8>())
            .prop_map(|(kind, id, more)| Act::Say(kind, id, more)),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Act::Garbage),
        4 => (0..3_u8).prop_map(Act::Publish),
        1 => Just(Act::Subscribe),
        1 => Just(Act::Cut),
        3 => any::<bool>().prop_map(Act::Connect),
        4 => (0..200_usize).prop_map(Act::Write),
        1 => any::<u16>().prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 0..150)
}

/// The bytes of some packet, none if the version has no such packet.
fn packet(version: Version, kind: u8, packet_id: u16, more: u8) -> Vec<u8> {
    let Some(id) = PacketId::new(packet_id) else { return vec![0x30, more] };
    let payload = vec![b'x'; usize::from(more) * 4];
    let codes = [ReasonCode::Success, ReasonCode::NotAuthorized, ReasonCode::UnspecifiedError];
    let code = codes[usize::from(more) % codes.len()];
    let ack = Ack::new(id, code);
    let level = QoS::from_level(more % 3).unwrap_or_default();
    let packet = match kind {
        0 => Packet::Connack(Connack {
            session_present: more.is_multiple_of(2),
            ..Connack::default()
        }),
        1 => Packet::Puback(ack),
        2 => Packet::Pubrec(ack),
        3 => Packet::Pubrel(Ack::new(id, ReasonCode::Success)),
        4 => Packet::Pubcomp(Ack::new(id, ReasonCode::Success)),
        5 => Packet::Suback(Suback::new(id, vec![code])),
        6 => Packet::Unsuback(Unsuback::new(id, vec![code])),
        7 => Packet::Pingresp,
        8 => Packet::Disconnect(Disconnect::default()),
        9 => Packet::Auth(Auth::default()),
        _ => Packet::Publish(Publish {
            qos: level,
            topic: TopicName::new("t").ok(),
            packet_id: Some(id).filter(|_| level > QoS::AtMostOnce),
            properties: PublishProperties {
                topic_alias: (version.is_v5() && kind == 11).then_some(u16::from(more) + 1),
                ..PublishProperties::default()
            },
            payload: &payload,
            ..Publish::default()
        }),
    };
    let mut bytes = Vec::new();
    let _ = packet.encode(version, &mut bytes);
    bytes
}

struct Test {
    world: World,
    ends: BTreeMap<u64, u32>,
    begun: u64,
    unread: Vec<u8>,
}

const HELD_BYTES_MAX: usize = 4_000;
const OUTBOUND_BYTES_MAX: usize = 1_000;

impl Test {
    fn new(version: Version, validation: Validation, is_manual: bool) -> Self {
        let mut settings = lasting(version);
        settings.validation = validation;
        settings.limits.held_bytes_max = HELD_BYTES_MAX;
        settings.limits.outbound_bytes_max = OUTBOUND_BYTES_MAX;
        settings.queue.count_max = 20;
        if is_manual {
            settings.acknowledgement = AcknowledgementMode::Manual;
        }
        Self { world: World::new(settings), ends: BTreeMap::new(), begun: 0, unread: Vec::new() }
    }

    fn act(&mut self, act: Act) {
        let (now, version) = (self.world.now, self.world.session.version());
        match act {
            Act::Say(kind, id, more) => self.say(&packet(version, kind, id, more)),
            Act::Garbage(bytes) => self.say(&bytes),
            Act::Publish(level) => {
                let topic = TopicName::new("t").unwrap();
                let publication = noctule_client_core::Publication::new(topic, b"payload")
                    .qos(QoS::from_level(level).unwrap());
                self.begun += u64::from(self.world.session.publish(now, &publication).is_ok());
            }
            Act::Subscribe => {
                self.world.subscribe(&["t"], QoS::ExactlyOnce);
                self.begun += 1;
            }
            Act::Cut => self.cut(),
            Act::Connect(session_present) => {
                if self.world.session.status() == Status::Offline {
                    self.world.session.transport_up(now);
                    self.say(&packet(version, 0, 1, u8::from(!session_present)));
                }
            }
            Act::Write(count) => {
                let count = count.min(self.world.session.outbound().len());
                self.world.session.written(now, count);
            }
            Act::Wait(millis) => {
                self.world.now = now + std::time::Duration::from_millis(millis.into());
                self.world.session.on_timeout(self.world.now);
            }
        }
        if self.world.session.wants_close() {
            self.cut();
        }
        self.note();
        assert!(self.world.session.outbound().len() <= OUTBOUND_BYTES_MAX * 5 + 5_000);
        // Four times the bound, where somebody waits for an answer behind what is held.
        assert!(self.world.session.held_bytes() <= HELD_BYTES_MAX * 4 + 2_000);
    }

    fn say(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let consumed = self.world.session.receive(self.world.now, &self.unread);
        assert!(consumed <= self.unread.len());
        self.unread.drain(..consumed);
    }

    fn cut(&mut self) {
        self.unread.clear();
        self.world.session.transport_down(self.world.now, TransportEnd::Closed);
    }

    fn note(&mut self) {
        for event in self.world.events() {
            if let Event::Published { operation, .. } | Event::Subscribed { operation, .. } = event
            {
                *self.ends.entry(operation.value()).or_default() += 1;
            }
        }
    }

    fn check(&mut self) {
        self.cut();
        self.world.session.close(self.world.now);
        self.note();
        assert_eq!(self.ends.len() as u64, self.begun);
        assert!(self.ends.values().all(|count| *count == 1), "{:?}", self.ends);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// P-23: there is no input to panic over; that nothing is unsafe, the compiler sees to.
    #[test]
    fn nothing_that_a_server_says_breaks_more_than_the_connection(
        acts in acts(),
        version in 0..3_usize,
        validation in 0..3_usize,
        is_manual: bool,
    ) {
        let validation =
            [Validation::Strict, Validation::Standard, Validation::Lenient][validation];
        let mut test = Test::new(VERSIONS[version], validation, is_manual);
        for act in acts {
            test.act(act);
        }
        test.check();
    }
}

/// A flood that is never read is never answered without bound either.
#[test]
fn a_server_that_asks_and_never_reads_is_not_read_any_more() {
    for version in VERSIONS {
        for kind in [2, 3] {
            let mut test = Test::new(version, Validation::Standard, false);
            test.act(Act::Connect(false));
            for round in 0..100_000_u32 {
                let id = 1 + (round % 60_000) as u16;
                let bytes = packet(version, kind, id, 0);
                if test.world.session.receive(test.world.now, &bytes) == 0 {
                    break;
                }
            }
            assert!(!test.world.session.wants_input(), "{version} {kind}");
            assert!(test.world.session.outbound().len() < OUTBOUND_BYTES_MAX * 6);
        }
    }
}

/// 5,000 messages in one burst arrive in order, however they are cut.
#[test]
fn a_burst_arrives_in_order() {
    for version in VERSIONS {
        for size in [1, 7, 1_000_000] {
            let mut world = World::online(lasting(version));
            let mut bytes = Vec::new();
            for number in 0..5_000_u16 {
                let qos = QoS::from_level((number % 3) as u8).unwrap();
                let payload = number.to_string();
                let publish = Packet::Publish(Publish {
                    qos,
                    topic: TopicName::new("t").ok(),
                    packet_id: PacketId::new(number + 1).filter(|_| qos > QoS::AtMostOnce),
                    payload: payload.as_bytes(),
                    ..Publish::default()
                });
                bytes.extend(world.encoded(&publish));
            }
            let mut arrived = Vec::new();
            let mut unread = Vec::new();
            for piece in bytes.chunks(size) {
                unread.extend_from_slice(piece);
                let consumed = world.session.receive(world.now, &unread);
                unread.drain(..consumed);
                arrived.extend(world.payloads());
                world.flush();
            }
            let expected = (0..5_000).map(|number: u16| number.to_string());
            assert!(arrived.into_iter().eq(expected), "{version} {size}");
            assert!(unread.is_empty());
        }
    }
}
