//! What a peer expects: the next packet.

use noctule_packet::{ConnectReturnCode, Packet, PacketType, ReasonCode};

use crate::arrival::Arrival;
use crate::describe::{describe, describe_bytes};
use crate::{
    OwnedAck, OwnedAuth, OwnedConnack, OwnedConnect, OwnedDisconnect, OwnedPublish, OwnedSuback,
    OwnedSubscribe, OwnedUnsuback, OwnedUnsubscribe, Peer, Stream,
};

/// Each expectation looks at the next thing that arrives, and panics with the whole conversation
/// when it is another one or when nothing arrives in time.
impl<S: Stream> Peer<S> {
    /// Expects exactly this packet, down to the last property.
    #[track_caller]
    pub fn expect(&mut self, expected: &Packet<'_>) {
        let packet = self.next_packet(&describe(expected));
        let differs = self.with_packet(&packet, |packet| {
            (packet != expected).then(|| format!("Expected\n  {expected:?}\nbut got\n  {packet:?}"))
        });
        if let Ok(Some(message)) = differs {
            self.fail(&message);
        }
    }

    /// Expects exactly these bytes, which must be one or more whole packets.
    #[track_caller]
    pub fn expect_bytes(&mut self, expected: &[u8]) {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.extend(self.next_packet(&describe_bytes(expected)));
        }
        if got != expected {
            let (expected, got) = (describe_bytes(expected), describe_bytes(&got));
            self.fail(&format!("Expected\n  {expected}\nbut got\n  {got}"));
        }
    }

    /// Expects CONNECT, as a server, and speaks its version from then on.
    #[track_caller]
    pub fn expect_connect(&mut self) -> OwnedConnect {
        self.expect_with("CONNECT", |packet| match packet {
            Packet::Connect(connect) => Some(OwnedConnect::copy_of(connect)),
            _ => None,
        })
    }

    /// Expects CONNACK with whatever code.
    #[track_caller]
    pub fn expect_connack(&mut self) -> OwnedConnack {
        let connack = self.expect_with("CONNACK", |packet| match packet {
            Packet::Connack(connack) => Some(OwnedConnack::copy_of(connack)),
            _ => None,
        });
        self.connack = Some(connack.clone());
        connack
    }

    /// Expects CONNACK with this code; before 5.0, with the return code that stands for it.
    #[track_caller]
    pub fn expect_connack_with(&mut self, reason: ReasonCode) -> OwnedConnack {
        let connack = self.expect_connack();
        let same = if self.version.is_v5() {
            connack.reason_code == reason
        } else {
            ConnectReturnCode::from(connack.reason_code) == ConnectReturnCode::from(reason)
        };
        if !same {
            self.fail(&format!("Expected CONNACK with {reason}, got {}", connack.reason_code));
        }
        connack
    }

    /// Expects PUBLISH and does not acknowledge it; [`receive`](Self::receive) does.
    #[track_caller]
    pub fn expect_publish(&mut self) -> OwnedPublish {
        self.expect_with("PUBLISH", |packet| match packet {
            Packet::Publish(publish) => Some(OwnedPublish::copy_of(publish)),
            _ => None,
        })
    }

    /// Expects a PUBACK that tells of no failure.
    #[track_caller]
    pub fn expect_puback(&mut self, packet_id: u16) -> OwnedAck {
        self.expect_ack(PacketType::Puback, packet_id, None)
    }

    /// Expects a PUBACK with this reason. Before 5.0 there is none, and any PUBACK will do.
    #[track_caller]
    pub fn expect_puback_with(&mut self, packet_id: u16, reason: ReasonCode) -> OwnedAck {
        self.expect_ack(PacketType::Puback, packet_id, Some(reason))
    }

    /// Expects a PUBREC that tells of no failure.
    #[track_caller]
    pub fn expect_pubrec(&mut self, packet_id: u16) -> OwnedAck {
        self.expect_ack(PacketType::Pubrec, packet_id, None)
    }

    /// Expects a PUBREC with this reason. Before 5.0 there is none, and any PUBREC will do.
    #[track_caller]
    pub fn expect_pubrec_with(&mut self, packet_id: u16, reason: ReasonCode) -> OwnedAck {
        self.expect_ack(PacketType::Pubrec, packet_id, Some(reason))
    }

    /// Expects a PUBREL that tells of no failure.
    #[track_caller]
    pub fn expect_pubrel(&mut self, packet_id: u16) -> OwnedAck {
        self.expect_ack(PacketType::Pubrel, packet_id, None)
    }

    /// Expects a PUBREL with this reason. Before 5.0 there is none, and any PUBREL will do.
    #[track_caller]
    pub fn expect_pubrel_with(&mut self, packet_id: u16, reason: ReasonCode) -> OwnedAck {
        self.expect_ack(PacketType::Pubrel, packet_id, Some(reason))
    }

    /// Expects a PUBCOMP that tells of no failure.
    #[track_caller]
    pub fn expect_pubcomp(&mut self, packet_id: u16) -> OwnedAck {
        self.expect_ack(PacketType::Pubcomp, packet_id, None)
    }

    /// Expects a PUBCOMP with this reason. Before 5.0 there is none, and any PUBCOMP will do.
    #[track_caller]
    pub fn expect_pubcomp_with(&mut self, packet_id: u16, reason: ReasonCode) -> OwnedAck {
        self.expect_ack(PacketType::Pubcomp, packet_id, Some(reason))
    }

    #[track_caller]
    fn expect_ack(
        &mut self,
        packet_type: PacketType,
        packet_id: u16,
        reason: Option<ReasonCode>,
    ) -> OwnedAck {
        let ack = self.expect_with(&format!("{packet_type} {packet_id}"), |packet| {
            OwnedAck::copy_of(packet)
                .filter(|ack| packet.packet_type() == packet_type && ack.packet_id == packet_id)
        });
        let wrong = match reason {
            Some(reason) => self.version.is_v5() && ack.reason_code != reason,
            None => ack.reason_code.is_error(),
        };
        if wrong {
            let expected = reason.map_or("no failure".to_owned(), |reason| reason.to_string());
            self.fail(&format!("Expected {packet_type} with {expected}, got {}", ack.reason_code));
        }
        ack
    }

    /// Expects SUBSCRIBE, as a server.
    #[track_caller]
    pub fn expect_subscribe(&mut self) -> OwnedSubscribe {
        self.expect_with("SUBSCRIBE", |packet| match packet {
            Packet::Subscribe(subscribe) => Some(OwnedSubscribe::copy_of(subscribe)),
            _ => None,
        })
    }

    /// Expects SUBACK with whatever codes.
    #[track_caller]
    pub fn expect_suback(&mut self, packet_id: u16) -> OwnedSuback {
        self.expect_with(&format!("SUBACK {packet_id}"), |packet| {
            match packet {
                Packet::Suback(suback) => Some(OwnedSuback::copy_of(suback)),
                _ => None,
            }
            .filter(|suback| suback.packet_id == packet_id)
        })
    }

    /// Expects UNSUBSCRIBE, as a server.
    #[track_caller]
    pub fn expect_unsubscribe(&mut self) -> OwnedUnsubscribe {
        self.expect_with("UNSUBSCRIBE", |packet| match packet {
            Packet::Unsubscribe(unsubscribe) => Some(OwnedUnsubscribe::copy_of(unsubscribe)),
            _ => None,
        })
    }

    /// Expects UNSUBACK with whatever codes.
    #[track_caller]
    pub fn expect_unsuback(&mut self, packet_id: u16) -> OwnedUnsuback {
        self.expect_with(&format!("UNSUBACK {packet_id}"), |packet| {
            match packet {
                Packet::Unsuback(unsuback) => Some(OwnedUnsuback::copy_of(unsuback)),
                _ => None,
            }
            .filter(|unsuback| unsuback.packet_id == packet_id)
        })
    }

    /// Expects PINGREQ, as a server.
    #[track_caller]
    pub fn expect_pingreq(&mut self) {
        self.expect_with("PINGREQ", |packet| matches!(packet, Packet::Pingreq).then_some(()));
    }

    /// Expects PINGRESP.
    #[track_caller]
    pub fn expect_pingresp(&mut self) {
        self.expect_with("PINGRESP", |packet| matches!(packet, Packet::Pingresp).then_some(()));
    }

    /// Expects AUTH with whatever code.
    #[track_caller]
    pub fn expect_auth(&mut self) -> OwnedAuth {
        self.expect_with("AUTH", |packet| match packet {
            Packet::Auth(auth) => Some(OwnedAuth::copy_of(auth)),
            _ => None,
        })
    }

    /// Expects DISCONNECT with this reason, and not yet the end of the connection.
    #[track_caller]
    pub fn expect_disconnect(&mut self, reason: ReasonCode) -> OwnedDisconnect {
        let disconnect =
            self.expect_with(&format!("DISCONNECT, {reason}"), |packet| match packet {
                Packet::Disconnect(disconnect) => Some(OwnedDisconnect::copy_of(disconnect)),
                _ => None,
            });
        if disconnect.reason_code != reason {
            self.fail(&format!("Expected DISCONNECT, {reason}, got {}", disconnect.reason_code));
        }
        disconnect
    }

    /// Expects a next packet that `select` takes.
    #[track_caller]
    pub(crate) fn expect_with<T>(
        &mut self,
        wanted: &str,
        select: impl FnOnce(&Packet<'_>) -> Option<T>,
    ) -> T {
        let packet = self.next_packet(wanted);
        match self.with_packet(&packet, select) {
            Ok(Some(selected)) => selected,
            _ => self.fail_at(wanted, &Arrival::Packet(packet)),
        }
    }

    /// Expects some next packet.
    #[track_caller]
    fn next_packet(&mut self, wanted: &str) -> Vec<u8> {
        let deadline = self.deadline();
        match self.next_arrival(deadline) {
            Arrival::Packet(packet) => packet,
            other => self.fail_at(wanted, &other),
        }
    }

    /// Ends the test because something else arrived than was wanted.
    #[track_caller]
    pub(crate) fn fail_at(&self, wanted: &str, arrival: &Arrival) -> ! {
        let got = match arrival {
            Arrival::Packet(packet) => {
                self.with_packet(packet, describe).unwrap_or_else(|error| error)
            }
            Arrival::Closed => "the end of the connection".to_owned(),
            Arrival::Broken(error) => format!("a broken connection ({error})"),
            Arrival::Nothing => match self.part_of_a_packet() {
                0 => "nothing in time".to_owned(),
                length => format!("{length} bytes of a packet that did not end in time"),
            },
        };
        self.fail(&format!("Expected {wanted}, got {got}"))
    }
}
