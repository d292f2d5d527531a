//! How publications end: the server's acknowledgements, and the one place that tells the user.

use alloc::boxed::Box;

use noctule_packet::{Ack, PacketId, PacketType, ReasonCode};

use crate::event::Event;
use crate::fault::{Fault, ProtocolError};
use crate::operation::{DropCause, Outcome, Stage};
use crate::outgoing::Outgoing;
use crate::record::Record;
use crate::remarks::Remarks;
use crate::session::{ClientSession, Release};

impl ClientSession {
    /// PUBACK.
    // [MQTT5-4.3.2-3] [MQTT5-4.4.0-2] [MQTT311-2.3.1-3]
    #[inline]
    pub(crate) fn on_puback(
        &mut self,
        packet_id: PacketId,
        reason: ReasonCode,
        remarks: Option<Box<Remarks>>,
    ) -> Result<(), Fault> {
        match self.sender.on_puback(packet_id) {
            Ok(outgoing) => {
                self.leave_flight(packet_id, &outgoing);
                self.finish(&outgoing, false, Outcome::acknowledged(reason, remarks));
                Ok(())
            }
            Err(error) => {
                let packet_type = PacketType::Puback;
                self.tolerate(ProtocolError::Acknowledgement { packet_type, error })
            }
        }
    }

    /// PUBREC.
    // [MQTT5-4.3.3-3] [MQTT5-4.3.3-4] [MQTT311-4.3.3-1]
    pub(crate) fn on_pubrec(
        &mut self,
        packet_id: PacketId,
        reason: ReasonCode,
        remarks: Option<Box<Remarks>>,
    ) -> Result<(), Fault> {
        let packet_type = PacketType::Pubrec;
        if reason.is_error() {
            return match self.sender.on_pubrec_failed(packet_id) {
                Ok(outgoing) => {
                    self.leave_flight(packet_id, &outgoing);
                    self.finish(&outgoing, false, Outcome::acknowledged(reason, remarks));
                    Ok(())
                }
                Err(error) => self.tolerate(ProtocolError::Acknowledgement { packet_type, error }),
            };
        }
        match self.sender.on_pubrec(packet_id) {
            Ok(Some(outgoing)) => {
                self.leave_flight(packet_id, &outgoing);
                let Outgoing { operation, timeout, is_silent, .. } = outgoing;
                let mut release = Release::new(packet_id, operation, timeout, is_silent);
                (release.reason, release.remarks) = (reason, remarks);
                self.releases.push_back(release);
                self.records.note(|| Record::Received { operation });
                if !is_silent {
                    self.events.push(Event::Progressed { operation, stage: Stage::Received });
                }
                self.send_pubrel(packet_id);
                Ok(())
            }
            // The server repeats itself, and so do we.
            Ok(None) => {
                self.send_pubrel(packet_id);
                Ok(())
            }
            Err(noctule_session::SenderError::UnknownPacketId) => {
                self.release_stray(packet_id);
                Ok(())
            }
            Err(error) => self.tolerate(ProtocolError::Acknowledgement { packet_type, error }),
        }
    }

    /// PUBREL, as soon as its user has said what there is to say.
    #[inline]
    pub(crate) fn send_pubrel(&mut self, packet_id: PacketId) {
        let packet_type = PacketType::Pubrel;
        if self.asks_for_release_remarks() {
            return self.hold_release(packet_type, packet_id, ReasonCode::Success);
        }
        self.outbound.push(&Ack::bare(packet_type, packet_id));
    }

    /// The server keeps a message that we know nothing of, such as one that was given up: it is to
    /// forget it.
    fn release_stray(&mut self, packet_id: PacketId) {
        self.stray_releases = self.stray_releases.saturating_add(1);
        let reason = ReasonCode::PacketIdentifierNotFound;
        if self.asks_for_release_remarks() {
            return self.hold_release(PacketType::Pubrel, packet_id, reason);
        }
        let ack = Ack::new(packet_id, reason);
        // [MQTT5-3.6.2-1] The reason is one that PUBREL may carry.
        let _ = ack.encode_as(PacketType::Pubrel, self.version, self.outbound.bytes_mut());
    }

    /// PUBCOMP, whatever its reason code says: the server has had the message since PUBREC.
    // [MQTT5-4.3.3-5]
    pub(crate) fn on_pubcomp(
        &mut self,
        packet_id: PacketId,
        remarks: Option<Box<Remarks>>,
    ) -> Result<(), Fault> {
        match self.sender.on_pubcomp(packet_id) {
            Ok(()) => {
                // Nearly always the first.
                let at = self.releases.iter().position(|release| release.packet_id == packet_id);
                if let Some(mut release) = at.and_then(|at| self.releases.remove(at)) {
                    release.remarks = Remarks::join(release.remarks, remarks);
                    self.finish_release(release);
                }
                Ok(())
            }
            Err(noctule_session::SenderError::UnknownPacketId) if self.stray_releases > 0 => {
                self.stray_releases -= 1;
                Ok(())
            }
            Err(error) => {
                let packet_type = PacketType::Pubcomp;
                self.tolerate(ProtocolError::Acknowledgement { packet_type, error })
            }
        }
    }

    /// The sender has given a message back.
    #[inline]
    fn leave_flight(&mut self, packet_id: PacketId, outgoing: &Outgoing) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(outgoing.bytes());
        self.note_answered(outgoing.operation);
        if self.repeated_alone == Some(packet_id) {
            self.repeated_alone = None;
        }
    }

    /// A publication has ended: the only place that tells the user of one that was kept.
    #[inline]
    pub(crate) fn finish(&mut self, outgoing: &Outgoing, is_queued: bool, outcome: Outcome) {
        let operation = outgoing.operation;
        self.unwatch(operation, outgoing.deadline(is_queued));
        self.records.note(|| Record::Finished { operation });
        if !outgoing.is_silent {
            self.events.push(Event::published(operation, outcome, outgoing.topic()));
        }
    }

    /// A message that waits is given up.
    pub(crate) fn finish_dropped(&mut self, outgoing: &Outgoing, why: DropCause) {
        let outcome = if outgoing.was_sent {
            Outcome::Indeterminate { why: why.doubt() }
        } else {
            Outcome::Dropped { why }
        };
        self.finish(outgoing, true, outcome);
    }

    /// A QoS 2 message has ended behind its PUBREC: the server has it.
    pub(crate) fn finish_release(&mut self, release: Release) {
        let Release { operation, timeout, is_silent, reason, remarks, .. } = release;
        self.unwatch(operation, timeout);
        self.records.note(|| Record::Finished { operation });
        if !is_silent {
            let outcome = Outcome::Delivered { reason, remarks };
            self.events.push(Event::Published { operation, outcome, topic: None });
        }
    }
}
