//! Any control packet.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::{
    Ack, Auth, Connack, Connect, DecodeError, Disconnect, EncodeError, Frame, PacketType, Pingreq,
    Pingresp, Publish, Suback, Subscribe, TextRules, Unsuback, Unsubscribe, Version,
};

/// Any control packet.
///
/// ```
/// use noctule_packet::{Framing, Packet, TextRules, Version, split};
///
/// let mut out = Vec::new();
/// Packet::Pingreq.encode(Version::V5_0, &mut out).unwrap();
/// let Ok(Framing::Complete(frame)) = split(&out, 1_024) else { panic!() };
/// let packet = Packet::decode(&frame, Version::V5_0, TextRules::Strict).unwrap();
/// assert_eq!(packet, Packet::Pingreq);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Packet<'a> {
    /// A client asks for a connection.
    Connect(Box<Connect<'a>>),
    /// The server's answer to CONNECT.
    Connack(Connack<'a>),
    /// An application message.
    Publish(Publish<'a>),
    /// Acknowledges a QoS 1 message.
    Puback(Ack<'a>),
    /// First answer to a QoS 2 message.
    Pubrec(Ack<'a>),
    /// Second step of the sender of a QoS 2 message.
    Pubrel(Ack<'a>),
    /// Last answer to a QoS 2 message.
    Pubcomp(Ack<'a>),
    /// A client asks for subscriptions.
    Subscribe(Subscribe<'a>),
    /// The server's answer to SUBSCRIBE.
    Suback(Suback<'a>),
    /// A client ends subscriptions.
    Unsubscribe(Unsubscribe<'a>),
    /// The server's answer to UNSUBSCRIBE.
    Unsuback(Unsuback<'a>),
    /// A client's sign of life.
    Pingreq,
    /// The server's answer to PINGREQ.
    Pingresp,
    /// The connection ends on purpose.
    Disconnect(Disconnect<'a>),
    /// A step of enhanced authentication.
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Reads the packet in a frame. A CONNECT must be one of this version.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Packet<'a>, DecodeError> {
        Ok(match frame.packet_type {
            PacketType::Connect => {
                let connect = Connect::decode(frame, rules).map_err(|error| error.error)?;
                if connect.version != version {
                    let level = connect.version.level();
                    return Err(DecodeError::UnsupportedProtocolVersion { level });
                }
                Packet::Connect(Box::new(connect))
            }
            PacketType::Connack => Packet::Connack(Connack::decode(frame, version, rules)?),
            PacketType::Publish => Packet::Publish(Publish::decode(frame, version, rules)?),
            PacketType::Puback => Packet::Puback(Ack::decode(frame, version, rules)?),
            PacketType::Pubrec => Packet::Pubrec(Ack::decode(frame, version, rules)?),
            PacketType::Pubrel => Packet::Pubrel(Ack::decode(frame, version, rules)?),
            PacketType::Pubcomp => Packet::Pubcomp(Ack::decode(frame, version, rules)?),
            PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(frame, version, rules)?),
            PacketType::Suback => Packet::Suback(Suback::decode(frame, version, rules)?),
            PacketType::Unsubscribe => {
                Packet::Unsubscribe(Unsubscribe::decode(frame, version, rules)?)
            }
            PacketType::Unsuback => Packet::Unsuback(Unsuback::decode(frame, version, rules)?),
            PacketType::Pingreq => {
                Pingreq::decode(frame, version, rules).map(|_| Packet::Pingreq)?
            }
            PacketType::Pingresp => {
                Pingresp::decode(frame, version, rules).map(|_| Packet::Pingresp)?
            }
            PacketType::Disconnect => {
                Packet::Disconnect(Disconnect::decode(frame, version, rules)?)
            }
            PacketType::Auth => Packet::Auth(Auth::decode(frame, version, rules)?),
        })
    }

    /// Appends the packet. When that fails, `out` is as it was before.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Packet::Connect(connect) if connect.version != version => {
                Err(EncodeError::NotInVersion)
            }
            Packet::Connect(connect) => connect.encode(out),
            Packet::Puback(ack)
            | Packet::Pubrec(ack)
            | Packet::Pubrel(ack)
            | Packet::Pubcomp(ack) => ack.encode_as(self.packet_type(), version, out),
            Packet::Pingreq => Pingreq.encode(version, out),
            Packet::Pingresp => Pingresp.encode(version, out),
            Packet::Connack(packet) => packet.encode(version, out),
            Packet::Publish(packet) => packet.encode(version, out),
            Packet::Subscribe(packet) => packet.encode(version, out),
            Packet::Suback(packet) => packet.encode(version, out),
            Packet::Unsubscribe(packet) => packet.encode(version, out),
            Packet::Unsuback(packet) => packet.encode(version, out),
            Packet::Disconnect(packet) => packet.encode(version, out),
            Packet::Auth(packet) => packet.encode(version, out),
        }
    }

    /// The packet's type.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Packet::Connect(_) => PacketType::Connect,
            Packet::Connack(_) => PacketType::Connack,
            Packet::Publish(_) => PacketType::Publish,
            Packet::Puback(_) => PacketType::Puback,
            Packet::Pubrec(_) => PacketType::Pubrec,
            Packet::Pubrel(_) => PacketType::Pubrel,
            Packet::Pubcomp(_) => PacketType::Pubcomp,
            Packet::Subscribe(_) => PacketType::Subscribe,
            Packet::Suback(_) => PacketType::Suback,
            Packet::Unsubscribe(_) => PacketType::Unsubscribe,
            Packet::Unsuback(_) => PacketType::Unsuback,
            Packet::Pingreq => PacketType::Pingreq,
            Packet::Pingresp => PacketType::Pingresp,
            Packet::Disconnect(_) => PacketType::Disconnect,
            Packet::Auth(_) => PacketType::Auth,
        }
    }
}

impl<'a> From<Connect<'a>> for Packet<'a> {
    fn from(connect: Connect<'a>) -> Self {
        Packet::Connect(Box::new(connect))
    }
}

macro_rules! from_packet {
    ($($name:ident),+) => {
        $(impl<'a> From<$name<'a>> for Packet<'a> {
            fn from(packet: $name<'a>) -> Self {
                Packet::$name(packet)
            }
        })+
    };
}

from_packet!(Connack, Publish, Subscribe, Suback, Unsubscribe, Unsuback, Disconnect, Auth);

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
