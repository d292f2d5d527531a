//! What a peer sends: raw bytes, any packet, and single steps of the handshakes.

use std::io::ErrorKind;

use noctule_packet::{
    Ack, Connack, Connect, Disconnect, Packet, PacketId, PacketType, Publish, ReasonCode,
};

use crate::transcript::Direction;
use crate::{OwnedConnack, OwnedConnect, OwnedDisconnect, OwnedPublish, Peer, Stream};

impl<S: Stream> Peer<S> {
    /// Sends bytes as they are. [`bytes`](crate::bytes) and [`packet_bytes`](crate::packet_bytes)
    /// help to write them.
    ///
    /// A connection that the other side has closed already is noted and does not fail the test:
    /// the next expectation says whether that is right.
    ///
    /// # Panics
    ///
    /// When the other side does not read and sending is blocked for longer than the time-out.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.note_sent(bytes);
        let left = self.deadline().saturating_duration_since(std::time::Instant::now());
        let result = self
            .stream
            .set_write_timeout(left)
            .and_then(|()| self.stream.write_all(bytes))
            .and_then(|()| self.stream.flush());
        match result {
            Ok(()) => {}
            Err(error) if is_closed(error.kind()) => {
                self.transcript.add(Direction::Event, format!("not sent: {error}"));
            }
            Err(error) => self.fail(&format!("Sending failed: {error}")),
        }
    }

    /// Sends a packet in the peer's version; a CONNECT in its own.
    ///
    /// # Panics
    ///
    /// When the packet cannot be written in this version, and as [`send_bytes`](Self::send_bytes).
    #[track_caller]
    pub fn send(&mut self, packet: Packet<'_>) {
        if let Packet::Connect(connect) = &packet {
            self.version = connect.version;
        }
        let mut bytes = Vec::new();
        if let Err(error) = packet.encode(self.version, &mut bytes) {
            self.fail(&format!("{packet:?} cannot be written in {}: {error}", self.version));
        }
        self.send_bytes(&bytes);
    }

    /// Sends CONNECT and waits for nothing.
    #[track_caller]
    pub fn send_connect(&mut self, connect: &OwnedConnect) {
        if let Some(size) = connect.maximum_packet_size {
            self.set_maximum_packet_size(size);
        }
        let connect: Connect<'_> = connect.to_packet();
        self.send(Packet::Connect(Box::new(connect)));
    }

    /// Sends CONNACK, as a server.
    #[track_caller]
    pub fn send_connack(&mut self, connack: &OwnedConnack) {
        let connack: Connack<'_> = connack.to_packet();
        self.send(Packet::Connack(connack));
    }

    /// Sends PUBLISH and waits for nothing. Whoever publishes at QoS 1 or 2 this way chooses the
    /// packet identifier.
    #[track_caller]
    pub fn send_publish(&mut self, publish: &OwnedPublish) {
        let publish: Publish<'_> = publish.to_packet();
        self.send(Packet::Publish(publish));
    }

    /// Sends PUBACK with success.
    #[track_caller]
    pub fn send_puback(&mut self, packet_id: u16) {
        self.send_ack(PacketType::Puback, packet_id, ReasonCode::Success);
    }

    /// Sends PUBREC with success.
    #[track_caller]
    pub fn send_pubrec(&mut self, packet_id: u16) {
        self.send_ack(PacketType::Pubrec, packet_id, ReasonCode::Success);
    }

    /// Sends PUBREL with success.
    #[track_caller]
    pub fn send_pubrel(&mut self, packet_id: u16) {
        self.send_ack(PacketType::Pubrel, packet_id, ReasonCode::Success);
    }

    /// Sends PUBCOMP with success.
    #[track_caller]
    pub fn send_pubcomp(&mut self, packet_id: u16) {
        self.send_ack(PacketType::Pubcomp, packet_id, ReasonCode::Success);
    }

    /// Sends a PUBACK, PUBREC, PUBREL or PUBCOMP. Versions before 5.0 do not send the reason.
    #[track_caller]
    pub fn send_ack(&mut self, packet_type: PacketType, packet_id: u16, reason: ReasonCode) {
        let ack = Ack::new(self.packet_id(packet_id), reason);
        let packet = match packet_type {
            PacketType::Puback => Packet::Puback(ack),
            PacketType::Pubrec => Packet::Pubrec(ack),
            PacketType::Pubrel => Packet::Pubrel(ack),
            PacketType::Pubcomp => Packet::Pubcomp(ack),
            other => panic!("{other} acknowledges no PUBLISH"),
        };
        self.send(packet);
    }

    /// Sends PINGREQ.
    #[track_caller]
    pub fn send_pingreq(&mut self) {
        self.send(Packet::Pingreq);
    }

    /// Sends DISCONNECT and leaves the connection open. Versions before 5.0 do not send the reason.
    #[track_caller]
    pub fn send_disconnect(&mut self, reason_code: ReasonCode) {
        self.send_disconnect_with(&OwnedDisconnect::new(reason_code));
    }

    /// Sends DISCONNECT with properties and leaves the connection open.
    #[track_caller]
    pub fn send_disconnect_with(&mut self, disconnect: &OwnedDisconnect) {
        let disconnect: Disconnect<'_> = disconnect.to_packet();
        self.send(Packet::Disconnect(disconnect));
    }

    /// The packet identifier with this value.
    #[track_caller]
    pub(crate) fn packet_id(&self, value: u16) -> PacketId {
        match PacketId::new(value) {
            Some(packet_id) => packet_id,
            None => self.fail("A packet identifier of 0 can be sent with `send_bytes` only"),
        }
    }

    /// A packet identifier that the conveniences have not used lately.
    pub(crate) const fn next_packet_id(&mut self) -> u16 {
        self.last_packet_id =
            if self.last_packet_id == u16::MAX { 1 } else { self.last_packet_id + 1 };
        self.last_packet_id
    }
}

/// Whether the other side is gone.
pub(crate) const fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn packet_identifiers_begin_anew_without_0() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut peer = Peer::connect(listener.local_addr().unwrap());
        assert_eq!([peer.next_packet_id(), peer.next_packet_id()], [1, 2]);
        peer.last_packet_id = u16::MAX - 1;
        assert_eq!([peer.next_packet_id(), peer.next_packet_id()], [u16::MAX, 1]);
    }
}
