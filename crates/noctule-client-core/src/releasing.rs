//! The second half of QoS 2, where the session speaks by itself: what its user has to say in PUBREL
//! and PUBCOMP, asked before they leave, where nothing is locked.

use alloc::vec::Vec;
use core::mem;

use noctule_packet::{Ack, PacketId, PacketType, ReasonCode};
use noctule_session::Timestamp;

use crate::event::Epoch;
use crate::operation::OperationId;
use crate::remarks::Remarks;
use crate::session::{ClientSession, Status};

/// A PUBREL or a PUBCOMP that is about to be sent, 5.0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseStep {
    packet_type: PacketType,
    packet_id: PacketId,
    reason: ReasonCode,
    operation: Option<OperationId>,
    epoch: Epoch,
}

impl ReleaseStep {
    /// PUBREL, which says that the message is not sent again, or PUBCOMP, which says that a message
    /// that has arrived will not be passed on again.
    pub const fn packet_type(self) -> PacketType {
        self.packet_type
    }

    /// The packet identifier: of the message that has arrived, if it is PUBCOMP.
    pub const fn packet_id(self) -> PacketId {
        self.packet_id
    }

    /// The publication that it is about; none if it is about a message that has arrived, or one
    /// that was given up.
    pub const fn operation(self) -> Option<OperationId> {
        self.operation
    }

    /// What it says in any case.
    pub const fn reason(self) -> ReasonCode {
        self.reason
    }
}

/// The steps that the user was not asked about, in order.
#[derive(Debug, Default)]
pub(crate) struct Releasing {
    /// Whether he wants to be.
    is_asked: bool,
    unasked: Vec<ReleaseStep>,
}

impl Releasing {
    pub(crate) fn clear(&mut self) {
        self.unasked.clear();
    }
}

impl ClientSession {
    /// Holds PUBRELs and PUBCOMPs back from now on until what they say is given, see
    /// [`ClientSession::take_release_steps`].
    pub fn ask_for_release_remarks(&mut self) {
        self.releasing.is_asked = true;
    }

    /// The PUBRELs and PUBCOMPs that are about to be sent, in order; all of them are to be given to
    /// [`ClientSession::release`], in the same order.
    #[inline]
    pub fn take_release_steps(&mut self) -> Vec<ReleaseStep> {
        mem::take(&mut self.releasing.unasked)
    }

    /// Whether there are any.
    #[inline]
    pub fn has_release_steps(&self) -> bool {
        !self.releasing.unasked.is_empty()
    }

    /// Sends a packet that was held back, with what its user says. What cannot be said, or is more
    /// than the server takes, is left out. On a later connection nothing happens: it is asked again
    /// there.
    pub fn release(&mut self, _now: Timestamp, step: ReleaseStep, remarks: Option<&Remarks>) {
        if step.epoch == self.epoch && self.status == Status::Online {
            self.say_release(step, remarks);
        }
    }

    /// Whether the user is asked what PUBREL and PUBCOMP say.
    #[inline]
    pub(crate) fn asks_for_release_remarks(&self) -> bool {
        self.releasing.is_asked && self.version.is_v5()
    }

    /// Holds a packet back.
    #[cold]
    pub(crate) fn hold_release(
        &mut self,
        packet_type: PacketType,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        let is_ours = |release: &&crate::session::Release| release.packet_id == packet_id;
        let operation = match packet_type {
            PacketType::Pubrel if !reason.is_error() => {
                // Nearly always the last.
                self.releases.iter().rev().find(is_ours).map(|release| release.operation)
            }
            _ => None,
        };
        let epoch = self.epoch;
        let step = ReleaseStep { packet_type, packet_id, reason, operation, epoch };
        self.releasing.unasked.push(step);
    }

    /// Nobody is asked any more: what is held back leaves as it is.
    pub(crate) fn release_unasked(&mut self) {
        for step in self.take_release_steps() {
            self.say_release(step, None);
        }
    }

    // [MQTT5-3.6.2-2] [MQTT5-3.6.2-3] [MQTT5-3.7.2-2] [MQTT5-3.7.2-3]
    fn say_release(&mut self, step: ReleaseStep, remarks: Option<&Remarks>) {
        let ReleaseStep { packet_type, packet_id, reason, .. } = step;
        let ack = Ack::new(packet_id, reason);
        let rules = self.settings.validation.text_rules();
        let sayable = remarks.filter(|it| !it.is_empty() && it.check(rules).is_ok());
        if sayable.is_some_and(|remarks| self.say_with(packet_type, &ack, remarks)) {
            return;
        }
        // [MQTT5-3.6.2-1] [MQTT5-3.7.2-1] The reason is one that they may carry.
        let _ = ack.encode_as(packet_type, self.version, self.outbound.bytes_mut());
    }
}
