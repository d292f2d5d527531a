//! One connection, seen from the client: what it has sent, what it has been sent, and whether that
//! can be.

use std::collections::{BTreeSet, VecDeque};

use noctule_broker_core::ConnectionId;
use noctule_packet::{
    Connect, Frame, Framing, Packet, PacketId, PacketType, QoS, TextRules, Version, split,
};

/// A connection between opening and closing.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    /// Which shard has it.
    pub(crate) shard: usize,
    /// Sent, and not consumed by the shard.
    pub(crate) sent: Vec<u8>,
    /// The shard has said that nothing is to be read for now.
    pub(crate) paused: bool,
    /// The shard has said that it is to be closed.
    pub(crate) ends: bool,
    /// The beginning of a packet that was read so far.
    arrived: Vec<u8>,
    /// The client's CONNECT, as far as it was sent.
    opening: Opening,
    /// What the shard may send next.
    stage: Stage,
    /// Whether the client has only acknowledged what it was sent.
    honest: bool,
    pub(crate) owed: VecDeque<(PacketType, PacketId)>,
    /// The QoS 1 and 2 messages of this connection that are not completed.
    open: BTreeSet<PacketId>,
    receive_maximum: usize,
    maximum_packet_size: usize,
}

/// What is known of the protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// No whole packet was sent.
    Nothing,
    /// The first packet names this version.
    Version(Version),
    /// The first packet names none.
    Unreadable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Connected,
    Over,
}

impl Link {
    pub(crate) fn new(id: ConnectionId, shard: usize) -> Self {
        Self {
            id,
            shard,
            sent: Vec::new(),
            paused: false,
            ends: false,
            arrived: Vec::new(),
            opening: Opening::Nothing,
            stage: Stage::Connecting,
            honest: true,
            owed: VecDeque::new(),
            open: BTreeSet::new(),
            receive_maximum: usize::from(u16::MAX),
            maximum_packet_size: usize::MAX,
        }
    }

    /// The version that the client speaks, or would.
    pub(crate) fn version(&self) -> Version {
        match self.opening {
            Opening::Version(version) => version,
            Opening::Nothing | Opening::Unreadable => Version::V5_0,
        }
    }

    /// The client sends something; what is `honest` is right for what it was sent.
    pub(crate) fn push(&mut self, bytes: &[u8], honest: bool) {
        self.honest &= honest;
        self.sent.extend_from_slice(bytes);
        if self.opening != Opening::Nothing {
            return;
        }
        let Ok(Framing::Complete(frame)) = split(&self.sent, u32::MAX) else { return };
        self.opening = match Connect::decode(&frame, TextRules::Strict) {
            Ok(connect) => {
                let properties = &connect.properties;
                self.receive_maximum = usize::from(properties.receive_maximum.unwrap_or(u16::MAX));
                if let Some(maximum) = properties.maximum_packet_size {
                    self.maximum_packet_size = maximum as usize;
                }
                Opening::Version(connect.version)
            }
            Err(error) => error.version.map_or(Opening::Unreadable, Opening::Version),
        };
    }

    /// The client reads these bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
        let arrived = std::mem::take(&mut self.arrived);
        let mut rest = &arrived[..];
        while let Framing::Complete(frame) = split(rest, u32::MAX).expect("the broker's frames") {
            self.take_frame(&frame);
            rest = &rest[frame.length..];
        }
        self.arrived = rest.to_vec();
    }

    /// What waits to be written continues what was read, and ends with a whole packet.
    pub(crate) fn check_waiting<'a>(&self, waiting: impl Iterator<Item = &'a [u8]>) {
        let mut stream = self.arrived.clone();
        waiting.for_each(|chunk| stream.extend_from_slice(chunk));
        let mut rest = &stream[..];
        while !rest.is_empty() {
            match split(rest, u32::MAX) {
                Ok(Framing::Complete(frame)) => rest = &rest[frame.length..],
                other => panic!("a part of a packet waits: {other:?} of {rest:x?}"),
            }
        }
    }

    fn take_frame(&mut self, frame: &Frame<'_>) {
        assert_ne!(self.stage, Stage::Over, "{} follows the end", frame.packet_type);
        let Opening::Version(version) = self.opening else {
            // Nobody knows what the client would understand: it is an end, whatever it says.
            let end = matches!(frame.packet_type, PacketType::Connack | PacketType::Disconnect);
            assert!(end, "{} answers no CONNECT", frame.packet_type);
            self.stage = Stage::Over;
            return;
        };
        let packet = Packet::decode(frame, version, TextRules::Strict);
        let packet = packet.unwrap_or_else(|error| panic!("{frame:?} of {version}: {error}"));
        let (length, maximum) = (frame.length, self.maximum_packet_size);
        assert!(length <= maximum, "{length} bytes, at most {maximum}: {packet:?}");
        match self.stage {
            Stage::Connecting => self.take_first(&packet, version),
            Stage::Connected => self.take_packet(&packet, version),
            Stage::Over => {}
        }
    }

    fn take_first(&mut self, packet: &Packet<'_>, version: Version) {
        self.stage = match packet {
            Packet::Connack(connack) if connack.reason_code.is_error() => Stage::Over,
            Packet::Connack(_) => Stage::Connected,
            Packet::Disconnect(_) if version.is_v5() => Stage::Over,
            other => panic!("{other:?} comes before CONNACK"),
        };
    }

    fn take_packet(&mut self, packet: &Packet<'_>, version: Version) {
        match packet {
            Packet::Publish(publish) => {
                if let Some(packet_id) = publish.packet_id {
                    self.take_message(publish.qos, packet_id);
                }
            }
            Packet::Pubrel(ack) => self.owed.push_back((PacketType::Pubcomp, ack.packet_id)),
            Packet::Disconnect(_) if version.is_v5() => self.stage = Stage::Over,
            Packet::Puback(_)
            | Packet::Pubrec(_)
            | Packet::Pubcomp(_)
            | Packet::Suback(_)
            | Packet::Unsuback(_)
            | Packet::Pingresp => {}
            other => panic!("a broker sends no {other:?}"),
        }
    }

    fn take_message(&mut self, qos: QoS, packet_id: PacketId) {
        let answer = if qos == QoS::ExactlyOnce { PacketType::Pubrec } else { PacketType::Puback };
        self.owed.push_back((answer, packet_id));
        if self.honest {
            assert!(self.open.insert(packet_id), "{packet_id:?} is in flight already");
            let (open, maximum) = (self.open.len(), self.receive_maximum);
            assert!(open <= maximum, "{open} are in flight, at most {maximum}");
        }
    }

    /// The client acknowledges; whether that ends the message.
    pub(crate) fn on_acknowledged(&mut self, packet_id: PacketId, ends: bool) {
        if ends {
            self.open.remove(&packet_id);
        }
    }
}
