//! Any packet that owns what it holds.

use noctule_packet::{Packet, PacketType};

use super::{
    OwnedAck, OwnedAuth, OwnedConnack, OwnedConnect, OwnedDisconnect, OwnedPublish, OwnedSuback,
    OwnedSubscribe, OwnedUnsuback, OwnedUnsubscribe,
};

/// Any packet, as a record keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the specification's packets by their names")]
pub enum OwnedPacket {
    Connect(Box<OwnedConnect>),
    Connack(Box<OwnedConnack>),
    Publish(Box<OwnedPublish>),
    Puback(OwnedAck),
    Pubrec(OwnedAck),
    Pubrel(OwnedAck),
    Pubcomp(OwnedAck),
    Subscribe(OwnedSubscribe),
    Suback(OwnedSuback),
    Unsubscribe(OwnedUnsubscribe),
    Unsuback(OwnedUnsuback),
    Pingreq,
    Pingresp,
    Disconnect(OwnedDisconnect),
    Auth(OwnedAuth),
}

impl OwnedPacket {
    /// A copy of the packet.
    pub fn copy_of(packet: &Packet<'_>) -> Self {
        let ack = || match OwnedAck::copy_of(packet) {
            Some(ack) => ack,
            None => unreachable!("{packet:?} is an acknowledgement"),
        };
        match packet {
            Packet::Connect(connect) => Self::Connect(Box::new(OwnedConnect::copy_of(connect))),
            Packet::Connack(connack) => Self::Connack(Box::new(OwnedConnack::copy_of(connack))),
            Packet::Publish(publish) => Self::Publish(Box::new(OwnedPublish::copy_of(publish))),
            Packet::Puback(_) => Self::Puback(ack()),
            Packet::Pubrec(_) => Self::Pubrec(ack()),
            Packet::Pubrel(_) => Self::Pubrel(ack()),
            Packet::Pubcomp(_) => Self::Pubcomp(ack()),
            Packet::Subscribe(subscribe) => Self::Subscribe(OwnedSubscribe::copy_of(subscribe)),
            Packet::Suback(suback) => Self::Suback(OwnedSuback::copy_of(suback)),
            Packet::Unsubscribe(unsubscribe) => {
                Self::Unsubscribe(OwnedUnsubscribe::copy_of(unsubscribe))
            }
            Packet::Unsuback(unsuback) => Self::Unsuback(OwnedUnsuback::copy_of(unsuback)),
            Packet::Pingreq => Self::Pingreq,
            Packet::Pingresp => Self::Pingresp,
            Packet::Disconnect(disconnect) => {
                Self::Disconnect(OwnedDisconnect::copy_of(disconnect))
            }
            Packet::Auth(auth) => Self::Auth(OwnedAuth::copy_of(auth)),
        }
    }

    /// Which packet this is.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::Connack(_) => PacketType::Connack,
            Self::Publish(_) => PacketType::Publish,
            Self::Puback(_) => PacketType::Puback,
            Self::Pubrec(_) => PacketType::Pubrec,
            Self::Pubrel(_) => PacketType::Pubrel,
            Self::Pubcomp(_) => PacketType::Pubcomp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::Suback(_) => PacketType::Suback,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::Unsuback(_) => PacketType::Unsuback,
            Self::Pingreq => PacketType::Pingreq,
            Self::Pingresp => PacketType::Pingresp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }

    /// The PUBLISH, if it is one.
    pub const fn publish(&self) -> Option<&OwnedPublish> {
        match self {
            Self::Publish(publish) => Some(publish),
            _ => None,
        }
    }

    /// The PUBACK, PUBREC, PUBREL or PUBCOMP, if it is one.
    pub const fn ack(&self) -> Option<&OwnedAck> {
        match self {
            Self::Puback(ack) | Self::Pubrec(ack) | Self::Pubrel(ack) | Self::Pubcomp(ack) => {
                Some(ack)
            }
            _ => None,
        }
    }
}
