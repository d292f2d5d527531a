//! PUBACK, PUBREC, PUBREL and PUBCOMP that own what they hold.

use noctule_packet::{Packet, ReasonCode};

use super::own_user_properties;

/// A PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedAck {
    /// Which PUBLISH is acknowledged.
    pub packet_id: u16,
    /// The reason; success before 5.0.
    pub reason_code: ReasonCode,
    /// The reason in words.
    pub reason_string: Option<String>,
    /// The user properties in their order.
    pub user_properties: Vec<(String, String)>,
}

impl OwnedAck {
    /// A copy of the acknowledgement, if the packet is one.
    pub fn copy_of(packet: &Packet<'_>) -> Option<Self> {
        let (Packet::Puback(ack)
        | Packet::Pubrec(ack)
        | Packet::Pubrel(ack)
        | Packet::Pubcomp(ack)) = packet
        else {
            return None;
        };
        Some(OwnedAck {
            packet_id: ack.packet_id.value(),
            reason_code: ack.reason_code,
            reason_string: ack.reason_string.map(str::to_owned),
            user_properties: own_user_properties(&ack.user_properties),
        })
    }
}
