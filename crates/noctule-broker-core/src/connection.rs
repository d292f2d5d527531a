//! What the shard knows about one network connection, and where its packets go.

use alloc::boxed::Box;
use alloc::vec::Vec;

use noctule_packet::{
    Ack, Connect, ConnectError, DecodeError, Frame, Packet, PacketId, PacketType, Version,
};
use noctule_session::{InboundAliases, KeepAlive, OutboundAliases, Timestamp};

use crate::connect::Connecting;
use crate::effect::Effects;
use crate::fault::{Fault, ProtocolError, Refused};
use crate::input::{ConnectionId, ListenerId};
use crate::memory::Memory;
use crate::outbound::Outbound;
use crate::peer::Peer;
use crate::publish::ParkedPublish;
use crate::rate::Rate;
use crate::registry::SessionKey;
use crate::shard::Shard;
use crate::subscribe::{ParkedSubscribe, ParkedUnsubscribe};

/// The bytes of an acknowledgement that says nothing but what it acknowledges.
pub(crate) const BARE_BYTES: usize = 4;

/// One network connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) generation: u32,
    pub(crate) listener: ListenerId,
    pub(crate) peer: Peer,
    pub(crate) phase: Phase,
    /// Known from CONNECT on.
    pub(crate) version: Version,
    pub(crate) keep_alive: KeepAlive,
    /// When the peer was last heard of, or took bytes that waited.
    pub(crate) heard: Timestamp,
    /// The deadline that stands among the timers.
    pub(crate) timer: Option<Timestamp>,
    pub(crate) outbound: Outbound,
    pub(crate) dirty: bool,
    /// `outbound` was found full; [`Input::Flushed`](crate::Input::Flushed) ends it.
    pub(crate) congested: bool,
    /// How much of `outbound` is counted as used memory.
    pub(crate) counted: usize,
    pub(crate) messages_rate: Rate,
    pub(crate) bytes_rate: Rate,
    /// Nothing is read until [`Timer::Throttle`](crate::timers::Timer::Throttle).
    pub(crate) is_throttled: bool,
    /// How much waited in `outbound` when reading was stopped for it, or when that was last looked
    /// at; 0 while the connection is read.
    pub(crate) unread_behind: usize,
    /// The packet that the connection is stopped at.
    pub(crate) parked: Option<Parked>,
    /// Counts what was parked, so that an answer finds the right one.
    pub(crate) step: u32,
    /// The Session Expiry Interval in CONNECT, whatever the limit has made of it.
    pub(crate) requested_expiry_interval: u32,
    /// The largest packet that the client takes.
    pub(crate) maximum_packet_size: u32,
    pub(crate) request_problem_information: bool,
    /// How many topic aliases the client may define.
    pub(crate) topic_alias_maximum: u16,
    /// Boxed like all that most connections never have.
    inbound_aliases: Option<Box<InboundAliases>>,
    /// `None` if the client takes no aliases.
    pub(crate) outbound_aliases: Option<Box<OutboundAliases>>,
    /// What the PUBACKs and PUBRECs that refuse a publication will say, by its packet identifier.
    refusals: Option<Box<Refusals>>,
}

/// What the refusals of publications will say, by their packet identifiers.
type Refusals = Vec<(PacketId, Refused)>;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// CONNECT has not been read, or is parked.
    Connecting,
    /// CONNACK was sent; the connection serves this session.
    Online(SessionKey),
    /// The last byte is in the outbound buffer; nothing is read any more.
    Closing,
}

/// A packet that waits for an answer. The next packets of its connection wait behind it.
#[derive(Debug)]
pub(crate) enum Parked {
    Connect(Box<Connecting>),
    /// Nothing waits: a CONNECT with this client identifier is about to be refused.
    Refused(Box<str>),
    Publish(Box<ParkedPublish>),
    /// A publication that another shard, or the store, has no room for yet.
    Room(Box<ParkedPublish>),
    Subscribe(Box<ParkedSubscribe>),
    Unsubscribe(Box<ParkedUnsubscribe>),
    /// A fan-out that goes on in later turns.
    FanOut,
}

/// What becomes of a connection after a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next packet may come.
    Next,
    /// The packet is parked.
    Wait,
}

impl Connection {
    pub(crate) fn new(generation: u32, listener: ListenerId, peer: Peer, now: Timestamp) -> Self {
        Self {
            generation,
            listener,
            peer,
            phase: Phase::Connecting,
            version: Version::V3_1_1,
            keep_alive: KeepAlive::from_seconds(0),
            heard: now,
            timer: None,
            outbound: Outbound::default(),
            dirty: false,
            congested: false,
            counted: 0,
            messages_rate: Rate::default(),
            bytes_rate: Rate::default(),
            is_throttled: false,
            unread_behind: 0,
            parked: None,
            step: 0,
            requested_expiry_interval: 0,
            maximum_packet_size: u32::MAX,
            request_problem_information: true,
            topic_alias_maximum: 0,
            inbound_aliases: None,
            outbound_aliases: None,
            refusals: None,
        }
    }

    /// Whether the outbound buffer takes more messages. If not, that is remembered.
    pub(crate) fn has_room(&mut self, maximum: usize) -> bool {
        self.congested |= self.outbound.len() >= maximum;
        !self.congested
    }

    /// The topic aliases that the client has defined.
    pub(crate) fn inbound_aliases(&mut self) -> &mut InboundAliases {
        let maximum = self.topic_alias_maximum;
        self.inbound_aliases.get_or_insert_with(|| Box::new(InboundAliases::new(maximum)))
    }

    /// Whether the client is online and takes every PUBLISH just as it comes: of any size, and
    /// without an alias for its topic.
    pub(crate) fn takes_anything(&self) -> bool {
        self.session().is_some()
            && self.maximum_packet_size == u32::MAX
            && self.outbound_aliases.is_none()
    }

    /// Counts what waits to be written now. Whether it has to be put on the list of those that have
    /// something to write.
    pub(crate) fn note_waiting(&mut self, memory: &mut Memory) -> bool {
        let waiting = self.outbound.len();
        let counted = core::mem::replace(&mut self.counted, waiting);
        memory.change(counted as u64, waiting as u64);
        !core::mem::replace(&mut self.dirty, true)
    }

    /// Notes what the acknowledgement that refuses a publication will say.
    pub(crate) fn note_refusal(&mut self, packet_id: PacketId, refused: Refused) {
        self.refusals.get_or_insert_default().push((packet_id, refused));
    }

    /// What was noted for the acknowledgement that leaves now.
    pub(crate) fn take_refusal(&mut self, packet_id: PacketId) -> Option<Refused> {
        let refusals = self.refusals.as_mut()?;
        let at = refusals.iter().position(|(refused, _)| *refused == packet_id)?;
        let (_, refused) = refusals.remove(at);
        Some(refused)
    }

    /// The session that is served, if CONNACK was sent.
    pub(crate) fn session(&self) -> Option<SessionKey> {
        match self.phase {
            Phase::Online(session) => Some(session),
            Phase::Connecting | Phase::Closing => None,
        }
    }
}

/// The connections of a shard, by the driver's slot.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Option<Box<Connection>>>,
    open: usize,
}

impl Connections {
    pub(crate) fn len(&self) -> usize {
        self.open
    }

    pub(crate) fn find(&self, id: ConnectionId) -> Option<&Connection> {
        let connection = self.slots.get(id.slot as usize)?.as_deref()?;
        (connection.generation == id.generation).then_some(connection)
    }

    pub(crate) fn find_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let connection = self.slots.get_mut(id.slot as usize)?.as_deref_mut()?;
        (connection.generation == id.generation).then_some(connection)
    }

    pub(crate) fn insert(&mut self, id: ConnectionId, connection: Connection) {
        let at = id.slot as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(at)
            && slot.replace(Box::new(connection)).is_none()
        {
            self.open += 1;
        }
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Box<Connection>> {
        self.find(id)?;
        self.open -= 1;
        self.slots.get_mut(id.slot as usize)?.take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.slots.iter().enumerate().filter_map(|(slot, connection)| {
            let connection = connection.as_deref()?;
            let slot = u32::try_from(slot).ok()?;
            Some((ConnectionId { slot, generation: connection.generation }, connection))
        })
    }
}

/// The version whose CONNACK a client can read if its CONNECT could not be: a level above ours is
/// that of a successor of 5.0.
fn version_to_answer_in(refused: &ConnectError) -> Version {
    match refused.error {
        DecodeError::UnsupportedProtocolVersion { level } if level > Version::V5_0.level() => {
            Version::V5_0
        }
        _ => refused.version.unwrap_or(Version::V3_1_1),
    }
}

/// Refuses what no client may send, whatever stands in it.
fn refuse_by_type(frame: &Frame<'_>, version: Version) -> Result<(), Fault> {
    let packet_type = frame.packet_type;
    match packet_type {
        PacketType::Connack => Err(ProtocolError::ServerPacket(packet_type).into()),
        // One that is malformed besides is called that, as established servers do.
        PacketType::Suback | PacketType::Unsuback | PacketType::Pingresp => {
            frame.check(packet_type, version)?;
            Err(ProtocolError::ServerPacket(packet_type).into())
        }
        // [MQTT5-4.12.0-1]
        PacketType::Auth if version.is_v5() => Err(ProtocolError::AuthWithoutMethod.into()),
        _ => Ok(()),
    }
}

/// Whether Request Problem Information 0 keeps reason strings and user properties out.
// [MQTT5-3.1.2-29]
fn may_be_silenced(packet: &Packet<'_>) -> bool {
    !matches!(packet, Packet::Publish(_) | Packet::Connack(_) | Packet::Disconnect(_))
}

/// The packet without its reason string and user properties, which may be left out of all answers.
// [MQTT5-3.2.2-19] [MQTT5-3.2.2-20] [MQTT5-3.4.2-2] [MQTT5-3.4.2-3] [MQTT5-3.5.2-2] [MQTT5-3.5.2-3]
// [MQTT5-3.6.2-2] [MQTT5-3.6.2-3] [MQTT5-3.7.2-2] [MQTT5-3.7.2-3] [MQTT5-3.9.2-1] [MQTT5-3.9.2-2]
// [MQTT5-3.11.2-1] [MQTT5-3.11.2-2] [MQTT5-3.14.2-3] [MQTT5-3.14.2-4]
fn without_explanation<'a>(packet: &Packet<'a>) -> Packet<'a> {
    let mut packet = packet.clone();
    let (reason_string, user_properties) = match &mut packet {
        Packet::Connack(connack) => {
            (&mut connack.properties.reason_string, &mut connack.properties.user_properties)
        }
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            (&mut ack.reason_string, &mut ack.user_properties)
        }
        Packet::Suback(suback) => (&mut suback.reason_string, &mut suback.user_properties),
        Packet::Unsuback(unsuback) => (&mut unsuback.reason_string, &mut unsuback.user_properties),
        Packet::Disconnect(disconnect) => {
            (&mut disconnect.reason_string, &mut disconnect.user_properties)
        }
        Packet::Auth(auth) => (&mut auth.reason_string, &mut auth.user_properties),
        Packet::Connect(_)
        | Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::Pingreq
        | Packet::Pingresp => return packet,
    };
    *reason_string = None;
    *user_properties = Default::default();
    packet
}

impl Shard {
    /// Takes one whole packet of a connection.
    pub(crate) fn on_frame(
        &mut self,
        id: ConnectionId,
        (phase, version): (Phase, Version),
        frame: &Frame<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        self.statistics.packets_received += 1;
        let Phase::Online(session) = phase else {
            return self.on_frame_before_session(id, phase, frame, effects);
        };
        match frame.packet_type {
            // It comes most often.
            PacketType::Publish => self.on_publish_frame(id, session, version, frame, effects),
            // [MQTT5-3.1.0-2] [MQTT311-3.1.0-2]
            PacketType::Connect => Err(ProtocolError::SecondConnect.into()),
            _ => {
                refuse_by_type(frame, version)?;
                let packet = Packet::decode(frame, version, self.settings.text_rules)?;
                self.on_packet(id, session, packet, effects)
            }
        }
    }

    fn on_frame_before_session(
        &mut self,
        id: ConnectionId,
        phase: Phase,
        frame: &Frame<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        if phase == Phase::Closing {
            return Ok(Flow::Wait);
        }
        // The first byte has shown that already: see `on_bytes`.
        if frame.packet_type != PacketType::Connect {
            return Err(ProtocolError::FirstPacketNotConnect.into());
        }
        match Connect::decode(frame, self.settings.text_rules) {
            Ok(connect) => {
                let flow = self.on_connect(id, &connect, effects);
                if let Some(connection) = self.connections.find_mut(id)
                    && flow.is_err()
                {
                    let refused = || Parked::Refused(connect.client_id.into());
                    connection.parked.get_or_insert_with(refused);
                }
                flow
            }
            Err(refused) => {
                if let Some(connection) = self.connections.find_mut(id) {
                    connection.version = version_to_answer_in(&refused);
                }
                Err(Fault::Decode(refused.error))
            }
        }
    }

    /// One arm for each packet that a client may send.
    fn on_packet(
        &mut self,
        id: ConnectionId,
        session: SessionKey,
        packet: Packet<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        match packet {
            Packet::Publish(publish) => self.on_publish(id, session, &publish, &mut None, effects),
            Packet::Puback(ack) => self.on_puback(session, ack.packet_id, ack.reason_code, effects),
            Packet::Pubrec(ack) => self.on_pubrec(id, session, &ack, effects),
            Packet::Pubrel(ack) => self.on_pubrel(id, session, &ack, effects),
            Packet::Pubcomp(ack) => self.on_pubcomp(id, session, &ack, effects),
            Packet::Subscribe(subscribe) => self.on_subscribe(id, session, &subscribe, effects),
            Packet::Unsubscribe(unsubscribe) => {
                self.on_unsubscribe(id, session, &unsubscribe, effects)
            }
            Packet::Pingreq => {
                // [MQTT5-3.12.4-1] [MQTT311-3.12.4-1] [MQTT31-3.12-1]
                self.send(id, &Packet::Pingresp);
                Ok(Flow::Next)
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(id, session, &disconnect, effects),
            Packet::Auth(_) => Err(ProtocolError::AuthWithoutMethod.into()),
            Packet::Connect(_) => Err(ProtocolError::SecondConnect.into()),
            Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => {
                Err(ProtocolError::ServerPacket(packet.packet_type()).into())
            }
        }
    }

    /// Encodes a packet behind what a connection has to send already. Whether it could be.
    pub(crate) fn send(&mut self, id: ConnectionId, packet: &Packet<'_>) -> bool {
        let Some(connection) = self.connections.find_mut(id) else { return false };
        if connection.phase == Phase::Closing {
            return false;
        }
        self.spares.lend(&mut connection.outbound);
        let unexplained;
        let mut packet = packet;
        if !connection.request_problem_information && may_be_silenced(packet) {
            unexplained = without_explanation(packet);
            packet = &unexplained;
        }
        let limit = connection.maximum_packet_size as usize;
        let version = connection.version;
        let buffer = connection.outbound.buffer();
        let start = buffer.len();
        let mut encoded = packet.encode(version, buffer).is_ok();
        if encoded && buffer.len() - start > limit {
            // What explains is left out before the packet is. [MQTT5-3.1.2-24]
            buffer.truncate(start);
            encoded = without_explanation(packet).encode(version, buffer).is_ok()
                && buffer.len() - start <= limit;
        }
        if !encoded {
            buffer.truncate(start);
            return false;
        }
        let bytes = buffer.len() - start;
        self.statistics.note_sent(bytes);
        if connection.note_waiting(&mut self.memory) {
            self.dirty.push(id);
        }
        true
    }

    /// Sends an acknowledgement of success that says nothing more, as nearly all do.
    // [MQTT5-2.2.1-5] [MQTT311-2.3.1-6]
    pub(crate) fn send_bare(&mut self, id: ConnectionId, packet: PacketType, packet_id: PacketId) {
        self.send_all_bare(id, packet, &[packet_id]);
    }

    /// The same for many packet identifiers.
    pub(crate) fn send_all_bare(
        &mut self,
        id: ConnectionId,
        packet: PacketType,
        packet_ids: &[PacketId],
    ) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        // [MQTT5-3.1.2-24]
        let fits = BARE_BYTES <= connection.maximum_packet_size as usize;
        if connection.phase == Phase::Closing || !fits {
            return;
        }
        self.spares.lend(&mut connection.outbound);
        let out = connection.outbound.buffer();
        out.reserve(packet_ids.len() * BARE_BYTES);
        for packet_id in packet_ids {
            out.extend_from_slice(&Ack::bare(packet, *packet_id));
            self.statistics.note_sent(BARE_BYTES);
        }
        if connection.note_waiting(&mut self.memory) {
            self.dirty.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use noctule_packet::{
        Ack, Connack, ConnackProperties, Disconnect, Framing, PacketId, ReasonCode, Suback,
        TextRules, Unsuback, UserProperties, spec, split,
    };

    use super::*;
    use crate::input::Input;
    use crate::settings::Settings;

    const ID: ConnectionId = ConnectionId { slot: 0, generation: 0 };

    /// A packet of each type that may explain itself, with a reason string and a user property.
    fn explained<'a>(text: &'a str, properties: &UserProperties<'a>) -> [Packet<'a>; 8] {
        let ack = || Ack {
            reason_string: Some(text),
            user_properties: properties.clone(),
            ..Ack::new(PacketId::MIN, ReasonCode::UnspecifiedError)
        };
        let connack_properties = ConnackProperties {
            reason_string: Some(text),
            user_properties: properties.clone(),
            ..Default::default()
        };
        let (reason_string, user_properties) = (Some(text), properties.clone());
        let codes: &[ReasonCode] = &[ReasonCode::UnspecifiedError];
        [
            Packet::Connack(Connack {
                session_present: false,
                reason_code: ReasonCode::UnspecifiedError,
                properties: connack_properties,
            }),
            Packet::Puback(ack()),
            Packet::Pubrec(ack()),
            Packet::Pubrel(Ack { reason_code: ReasonCode::PacketIdentifierNotFound, ..ack() }),
            Packet::Pubcomp(Ack { reason_code: ReasonCode::PacketIdentifierNotFound, ..ack() }),
            Packet::Suback(Suback {
                packet_id: PacketId::MIN,
                reason_string,
                user_properties: user_properties.clone(),
                reason_codes: codes.into(),
            }),
            Packet::Unsuback(Unsuback {
                packet_id: PacketId::MIN,
                reason_string,
                user_properties: user_properties.clone(),
                reason_codes: codes.into(),
            }),
            Packet::Disconnect(Disconnect {
                reason_code: ReasonCode::UnspecifiedError,
                reason_string,
                user_properties,
                ..Default::default()
            }),
        ]
    }

    fn bytes_of(packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(Version::V5_0, &mut bytes).unwrap();
        bytes
    }

    /// What a 5.0 client gets of `packet`.
    fn sent(packet: &Packet<'_>, set_up: impl Fn(&mut Connection)) -> Vec<u8> {
        let now = Timestamp::from_millis(0);
        let mut shard = Shard::new(Settings::default(), now, 0);
        let opened = Input::Opened {
            connection: ID,
            listener: ListenerId(0),
            peer: "".into(),
            moved: false,
        };
        let _ = shard.on_input(now, opened, &mut Effects::new());
        let connection = shard.connections.find_mut(ID).unwrap();
        connection.version = Version::V5_0;
        set_up(connection);
        shard.send(ID, packet);
        shard.outbound(ID).unwrap().chunks().flatten().copied().collect()
    }

    #[test]
    fn explanations_are_left_out_before_a_packet_outgrows_the_client() {
        spec!("MQTT5-3.2.2-19", "MQTT5-3.2.2-20", "MQTT5-3.4.2-2", "MQTT5-3.4.2-3");
        spec!("MQTT5-3.5.2-2", "MQTT5-3.5.2-3", "MQTT5-3.6.2-2", "MQTT5-3.6.2-3");
        spec!("MQTT5-3.7.2-2", "MQTT5-3.7.2-3", "MQTT5-3.9.2-1", "MQTT5-3.9.2-2");
        spec!("MQTT5-3.11.2-1", "MQTT5-3.11.2-2", "MQTT5-3.14.2-3", "MQTT5-3.14.2-4");
        spec!("MQTT5-3.1.2-24");
        let long = String::from_utf8(vec![b'x'; 100]).unwrap();
        let mut property = UserProperties::new();
        property.push("name", &long).unwrap();
        let none = UserProperties::new();
        // Both of them too large, each of them, and none.
        for (text, properties) in [(&*long, &property), ("", &property), (&*long, &none)] {
            for packet in &explained(text, properties) {
                let whole = bytes_of(packet);
                let exactly = whole.len() as u32;
                let at = |maximum| sent(packet, |to| to.maximum_packet_size = maximum);
                assert_eq!(at(exactly), whole, "{packet:?} fits");
                let bare = bytes_of(&without_explanation(packet));
                assert!(bare.len() + 100 < whole.len(), "{packet:?}");
                assert_eq!(at(exactly - 1), bare, "{packet:?} is too large by a byte");
                assert_eq!(at(bare.len() as u32), bare, "{packet:?} fits without explanation");
                assert_eq!(at(bare.len() as u32 - 1), [], "{packet:?} does not fit at all");
                let Ok(Framing::Complete(frame)) = split(&bare, u32::MAX) else { panic!() };
                let decoded = Packet::decode(&frame, Version::V5_0, TextRules::Strict).unwrap();
                assert_eq!(decoded.packet_type(), packet.packet_type());
            }
        }
    }

    #[test]
    fn a_client_that_wants_no_problem_information_gets_it_in_connack_and_disconnect_only() {
        spec!("MQTT5-3.1.2-29");
        let mut properties = UserProperties::new();
        properties.push("name", "value").unwrap();
        for packet in &explained("text", &properties) {
            let silenced = sent(packet, |to| to.request_problem_information = false);
            let may_explain = matches!(packet, Packet::Connack(_) | Packet::Disconnect(_));
            let expected =
                if may_explain { bytes_of(packet) } else { bytes_of(&without_explanation(packet)) };
            assert_eq!(silenced, expected, "{packet:?}");
            assert_eq!(sent(packet, |_| {}), bytes_of(packet));
        }
    }
}
