//! Bytes from the server: cut into packets, and each packet to the file that knows it.

use alloc::boxed::Box;

use noctule_packet::{
    Ack, Disconnect, Frame, Framing, PacketType, Pingresp, ReasonCode, Suback, Unsuback, split,
};
use noctule_session::Timestamp;

use crate::connect::comes_before_connack;
use crate::ended::{Ended, ServerReason};
use crate::event::Event;
use crate::fault::{Fault, ProtocolError};
use crate::negotiated::owned;
use crate::observe::Observation;
use crate::remarks::Remarks;
use crate::session::{ClientSession, Status};

/// How many times the bound of the outbound buffer it may hold, with what must not wait, before
/// nothing more is read that would need an answer.
const OUTBOUND_EXCESS: usize = 4;

impl ClientSession {
    /// Bytes have arrived. How many from the front are dealt with: what is left must be passed
    /// again, in front of what arrives later, when there is more or [`ClientSession::wants_input`]
    /// says so.
    pub fn receive(&mut self, now: Timestamp, bytes: &[u8]) -> usize {
        if matches!(self.status, Status::Offline | Status::Closing) {
            return bytes.len();
        }
        self.clocks.heard(now);
        let mut rest = bytes;
        while self.takes_more() {
            match self.receive_packet(now, rest) {
                Ok(Some(behind)) => rest = behind,
                Ok(None) => break,
                Err(fault) => {
                    self.fail(now, fault);
                    break;
                }
            }
        }
        if self.status == Status::Closing {
            return bytes.len();
        }
        self.note_stall(now);
        self.pump(now);
        bytes.len() - rest.len()
    }

    /// Deals with the first packet. What is behind it; `None` if it is not whole.
    #[inline]
    fn receive_packet<'a>(
        &mut self,
        now: Timestamp,
        bytes: &'a [u8],
    ) -> Result<Option<&'a [u8]>, Fault> {
        if self.status == Status::Online
            && let Some((packet_id, behind)) = Ack::split_bare_puback(bytes)
        {
            self.on_puback(packet_id, ReasonCode::Success, None)?;
            return Ok(Some(behind));
        }
        // [MQTT5-3.1.2-24]
        match split(bytes, self.settings.connect.maximum_packet_size)? {
            Framing::Partial { .. } => Ok(None),
            Framing::Complete(frame) => {
                self.on_frame(now, &frame)?;
                if self.awaits_verification(frame.packet_type) {
                    return Ok(None);
                }
                Ok(Some(bytes.get(frame.length..).unwrap_or_default()))
            }
        }
    }

    /// Whether another packet may be dealt with: its message may be held, its answer written.
    pub(crate) fn takes_more(&self) -> bool {
        self.status != Status::Closing
            && !self.authentication.is_waiting()
            && !self.holds_enough()
            && !self.outbound_is_excessive()
    }

    /// Whether the server has to take something before it is given answers that wait for nothing.
    /// The last message does not count: one alone may be beyond the bound, and that may be large,
    /// while the server goes on speaking.
    pub(crate) fn outbound_is_excessive(&self) -> bool {
        let length = self.outbound.len_beside_message();
        length / OUTBOUND_EXCESS > self.settings.limits.outbound_bytes_max
    }

    /// Whether a CONNACK is to be looked at again, because the user's method has not judged it yet.
    fn awaits_verification(&self, packet_type: PacketType) -> bool {
        packet_type == PacketType::Connack
            && self.status == Status::Connecting
            && self.authentication.is_waiting()
    }

    fn on_frame(&mut self, now: Timestamp, frame: &Frame<'_>) -> Result<(), Fault> {
        let packet_type = frame.packet_type;
        if self.status == Status::Connecting && !comes_before_connack(packet_type) {
            return Err(ProtocolError::BeforeConnack(packet_type).into());
        }
        let (version, rules) = (self.version, self.settings.validation.text_rules());
        match packet_type {
            PacketType::Publish => self.on_publish(now, frame),
            PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp => {
                let ack = Ack::decode(frame, version, rules)?;
                self.on_ack(packet_type, &ack)
            }
            PacketType::Suback => self.on_suback(&Suback::decode(frame, version, rules)?),
            PacketType::Unsuback => self.on_unsuback(&Unsuback::decode(frame, version, rules)?),
            PacketType::Pingresp => {
                Pingresp::decode(frame, version, rules)?;
                if let Some(round_trip) = self.clocks.ping_answered(now) {
                    self.events.observe(Observation::PingAnswered);
                    self.events.push(Event::PingAnswered { round_trip });
                    self.outlived_requests();
                    return Ok(());
                }
                self.tolerate(ProtocolError::UnexpectedPingresp)
            }
            PacketType::Connack if self.status == Status::Connecting => self.on_connack(now, frame),
            // [MQTT5-3.2.0-2]
            PacketType::Connack => Err(ProtocolError::SecondConnack.into()),
            PacketType::Auth if version.is_v5() => self.on_auth(now, frame),
            PacketType::Disconnect if version.is_v5() => {
                self.on_disconnect(now, &Disconnect::decode(frame, version, rules)?);
                Ok(())
            }
            PacketType::Connect
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::Pingreq
            | PacketType::Disconnect
            | PacketType::Auth => Err(ProtocolError::ClientPacket(packet_type).into()),
        }
    }

    fn on_ack(&mut self, packet_type: PacketType, ack: &Ack<'_>) -> Result<(), Fault> {
        let (packet_id, reason) = (ack.packet_id, ack.reason_code);
        let remarks = Remarks::of(ack.reason_string, &ack.user_properties);
        match packet_type {
            PacketType::Puback => self.on_puback(packet_id, reason, remarks),
            PacketType::Pubrec => self.on_pubrec(packet_id, reason, remarks),
            PacketType::Pubrel => {
                self.on_pubrel(packet_id, remarks);
                Ok(())
            }
            _ => self.on_pubcomp(packet_id, remarks),
        }
    }

    // [MQTT5-3.14.4-1]
    fn on_disconnect(&mut self, now: Timestamp, disconnect: &Disconnect<'_>) {
        let reason = ServerReason {
            code: disconnect.reason_code,
            text: disconnect.reason_string.map(Into::into),
            server_reference: disconnect.server_reference.map(Into::into),
            user_properties: owned(&disconnect.user_properties),
        };
        self.outbound.discard();
        self.end(now, None, Ended::ByServer(Box::new(reason)));
    }
}
