//! The sender's half of QoS 1 and 2: order, quota, packet identifiers and what must be sent again.
//!
//! ```text
//!                enqueue           quota open                PUBACK
//!  (message) ──────────────▶ waiting ─────────▶ published ────────────▶ gone      QoS 1
//!                                                   │
//!                                                   │ PUBREC < 0x80      PUBCOMP
//!                                                   ├───────────▶ released ─────▶ gone   QoS 2
//!                                                   │ PUBREC ≥ 0x80
//!                                                   └───────────▶ gone
//!  a new connection: everything published or released is sent again, in order, then what waits
//! ```

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use noctule_packet::{PacketId, QoS};

use crate::packet_id::{PACKET_IDS, distance, packet_id_of};

/// The outgoing side of a session, which outlives its connections. `M` is whatever the owner needs
/// to build the PUBLISH again.
#[derive(Clone, Debug)]
pub struct Sender<M> {
    slots: VecDeque<Slot<M>>,
    /// The sequence number of `slots[0]`.
    first: u64,
    /// How many slots from the front need nothing more on this connection.
    sent: usize,
    waiting: VecDeque<(M, QoS)>,
    receive_maximum: u16,
    quota_used: u16,
    /// How many slots are not done.
    in_flight: usize,
}

/// One message that has its packet identifier.
#[derive(Clone, Debug)]
enum Slot<M> {
    Published { message: M, qos: QoS, attempted: bool },
    Released,
    Done,
}

/// What is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub enum Transmission<'a, M> {
    /// A PUBLISH.
    Publish {
        /// Its packet identifier.
        packet_id: PacketId,
        /// What to send.
        message: &'a M,
        /// Its quality of service, never `AtMostOnce`.
        qos: QoS,
        /// Whether an earlier connection may have sent it already.
        dup: bool,
    },
    /// A PUBREL whose PUBCOMP never came.
    Pubrel {
        /// Its packet identifier.
        packet_id: PacketId,
    },
}

/// An acknowledgement that fits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// Nothing is in flight with this packet identifier.
    #[error("no message is in flight with this packet identifier")]
    UnknownPacketId,
    /// The message with this packet identifier expects another packet now.
    #[error("the message with this packet identifier expects another acknowledgement")]
    WrongStep,
}

impl<M> Sender<M> {
    /// A sender that has sent nothing, for a peer that takes `receive_maximum` messages at a time.
    pub fn new(receive_maximum: u16) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            sent: 0,
            waiting: VecDeque::new(),
            receive_maximum,
            quota_used: 0,
            in_flight: 0,
        }
    }

    /// A new connection is up: what is in flight is to be sent again, within the new quota.
    // [MQTT5-4.4.0-1] [MQTT311-4.4.0-1]
    pub fn resume(&mut self, receive_maximum: u16) {
        self.receive_maximum = receive_maximum;
        self.quota_used = 0;
        self.sent = 0;
    }

    /// Puts a message behind all others.
    // [MQTT5-4.6.0-5] [MQTT5-4.6.0-6] [MQTT311-4.6.0-6]
    pub fn enqueue(&mut self, message: M, qos: QoS) {
        self.waiting.push_back((message, qos));
    }

    /// Sends a message past the queue, which [`Sender::is_open`] says is empty: its packet
    /// identifier, or the message back if it has to wait after all.
    pub fn send_now(&mut self, message: M, qos: QoS) -> Result<PacketId, M> {
        if !self.is_open() {
            return Err(message);
        }
        let packet_id = packet_id_of(self.first + self.slots.len() as u64);
        self.slots.push_back(Slot::Published { message, qos, attempted: true });
        self.sent += 1;
        self.in_flight += 1;
        self.quota_used += 1;
        Ok(packet_id)
    }

    /// Puts a message before all that wait.
    pub fn enqueue_first(&mut self, message: M, qos: QoS) {
        self.waiting.push_front((message, qos));
    }

    /// Whether a message that is enqueued now would be sent at once.
    pub fn is_open(&self) -> bool {
        self.waiting.is_empty() && self.sent == self.slots.len() && self.has_room()
    }

    /// How many more messages may be sent now.
    pub fn quota(&self) -> u16 {
        self.receive_maximum.saturating_sub(self.quota_used)
    }

    /// How many messages have a packet identifier and are not done.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many messages wait for their first transmission.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The messages that wait, in order.
    pub fn waiting_messages(&self) -> impl Iterator<Item = &M> {
        self.waiting.iter().map(|(message, _)| message)
    }

    /// Takes the first message that waits, so that it is never sent.
    pub fn skip_waiting(&mut self) -> Option<M> {
        self.waiting.pop_front().map(|(message, _)| message)
    }

    /// The message that would be sent next for the first time.
    pub fn peek_waiting(&self) -> Option<&M> {
        self.waiting.front().map(|(message, _)| message)
    }

    /// Whether the next transmission is a message that waits, not a repetition.
    pub fn has_repeated_all(&self) -> bool {
        self.sent == self.slots.len()
    }

    /// Whether quota and packet identifiers allow another PUBLISH.
    // [MQTT5-3.3.4-7] [MQTT5-3.3.4-9] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2]
    fn has_room(&self) -> bool {
        self.quota_used < self.receive_maximum && (self.slots.len() as u64) < PACKET_IDS - 1
    }

    /// What to send next: first what must be repeated, then what waits. `None` when there is
    /// nothing or the quota is used up. Whatever is returned counts as sent.
    // [MQTT5-4.3.2-1] [MQTT5-4.3.3-1] [MQTT5-4.6.0-1] [MQTT5-4.6.0-4] [MQTT311-4.6.0-1]
    // [MQTT311-4.6.0-4]
    pub fn next_transmission(&mut self) -> Option<Transmission<'_, M>> {
        while matches!(self.slots.get(self.sent), Some(Slot::Done)) {
            self.sent += 1;
        }
        if self.sent == self.slots.len() {
            if !self.has_room() {
                return None;
            }
            let (message, qos) = self.waiting.pop_front()?;
            self.slots.push_back(Slot::Published { message, qos, attempted: false });
            self.in_flight += 1;
        }
        let at = self.sent;
        let packet_id = packet_id_of(self.first + at as u64);
        let room = self.quota_used < self.receive_maximum;
        match self.slots.get_mut(at)? {
            Slot::Published { message, qos, attempted } => {
                if !room {
                    return None;
                }
                self.quota_used += 1;
                self.sent += 1;
                // [MQTT5-3.3.1-1] [MQTT311-3.3.1-1]
                let dup = core::mem::replace(attempted, true);
                Some(Transmission::Publish { packet_id, message, qos: *qos, dup })
            }
            Slot::Released => {
                self.sent += 1;
                Some(Transmission::Pubrel { packet_id })
            }
            Slot::Done => None,
        }
    }

    /// PUBACK: the message is done, whatever its reason code says.
    // [MQTT5-4.3.2-3] [MQTT311-4.3.2-1]
    pub fn on_puback(&mut self, packet_id: PacketId) -> Result<M, SenderError> {
        self.finish_published(packet_id, QoS::AtLeastOnce)
    }

    /// PUBREC with a reason code below 0x80: the message is not needed any more and a PUBREL is to
    /// be sent. `None` if that had happened before.
    // [MQTT5-4.3.3-3] [MQTT5-4.3.3-4] [MQTT5-4.3.3-6] [MQTT311-4.3.3-1]
    pub fn on_pubrec(&mut self, packet_id: PacketId) -> Result<Option<M>, SenderError> {
        let at = self.index_of(packet_id)?;
        let Some(slot) = self.slots.get_mut(at) else { return Err(SenderError::UnknownPacketId) };
        match core::mem::replace(slot, Slot::Released) {
            Slot::Published { message, qos: QoS::ExactlyOnce, .. } => Ok(Some(message)),
            Slot::Released => Ok(None),
            other => {
                *slot = other;
                Err(SenderError::WrongStep)
            }
        }
    }

    /// PUBREC with a reason code of 0x80 or more: the message is done.
    pub fn on_pubrec_failed(&mut self, packet_id: PacketId) -> Result<M, SenderError> {
        self.finish_published(packet_id, QoS::ExactlyOnce)
    }

    /// PUBCOMP: the packet identifier is free again.
    // [MQTT5-4.3.3-5]
    pub fn on_pubcomp(&mut self, packet_id: PacketId) -> Result<(), SenderError> {
        let at = self.index_of(packet_id)?;
        match self.slots.get(at) {
            Some(Slot::Released) => {
                self.finish(at);
                Ok(())
            }
            _ => Err(SenderError::WrongStep),
        }
    }

    /// Gives a published message up as if it had been acknowledged, because it cannot be sent.
    pub fn abandon(&mut self, packet_id: PacketId) -> Option<M> {
        let at = self.index_of(packet_id).ok()?;
        let slot = core::mem::replace(self.slots.get_mut(at)?, Slot::Done);
        self.finish(at);
        match slot {
            Slot::Published { message, .. } => Some(message),
            Slot::Released | Slot::Done => None,
        }
    }

    /// Takes out every published message that `leaves` says yes to, unless it is a QoS 2 message:
    /// what a shared subscription gives to another member when this one is gone.
    // [MQTT5-4.8.2-5] [MQTT5-4.8.2-6]
    pub fn take_at_least_once(&mut self, mut leaves: impl FnMut(&M) -> bool) -> Vec<M> {
        let mut taken = Vec::new();
        for at in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(at) else { break };
            if let Slot::Published { message, qos: QoS::AtLeastOnce, .. } = slot
                && leaves(message)
                && let Slot::Published { message, .. } = core::mem::replace(slot, Slot::Done)
            {
                taken.push(message);
                self.in_flight -= 1;
                if at < self.sent {
                    self.quota_used = self.quota_used.saturating_sub(1);
                }
            }
        }
        self.forget_done();
        taken
    }

    /// Takes everything that waits and that `leaves` says yes to, in order.
    pub fn take_waiting(&mut self, mut leaves: impl FnMut(&M) -> bool) -> Vec<(M, QoS)> {
        let (taken, kept): (Vec<_>, VecDeque<_>) = {
            let mut taken = Vec::new();
            let mut kept = VecDeque::new();
            for (message, qos) in core::mem::take(&mut self.waiting) {
                if leaves(&message) {
                    taken.push((message, qos));
                } else {
                    kept.push_back((message, qos));
                }
            }
            (taken, kept)
        };
        self.waiting = kept;
        taken
    }

    fn finish_published(&mut self, packet_id: PacketId, expected: QoS) -> Result<M, SenderError> {
        let at = self.index_of(packet_id)?;
        let Some(slot) = self.slots.get_mut(at) else { return Err(SenderError::UnknownPacketId) };
        match core::mem::replace(slot, Slot::Done) {
            Slot::Published { message, qos, .. } if qos == expected => {
                self.finish(at);
                Ok(message)
            }
            other => {
                *slot = other;
                Err(SenderError::WrongStep)
            }
        }
    }

    /// Where the message with this packet identifier stands. Only what this connection has sent
    /// can be acknowledged on it.
    fn index_of(&self, packet_id: PacketId) -> Result<usize, SenderError> {
        let at = usize::try_from(distance(self.first, packet_id)).unwrap_or(usize::MAX);
        match self.slots.get(at) {
            Some(Slot::Published { .. } | Slot::Released) if at < self.sent => Ok(at),
            _ => Err(SenderError::UnknownPacketId),
        }
    }

    /// Frees a slot and its share of the quota, and forgets the slots in front that are all done.
    fn finish(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot::Done;
        }
        self.in_flight -= 1;
        // A PUBREL repeated on this connection took no quota, so the count may be zero already.
        self.quota_used = self.quota_used.saturating_sub(1);
        self.forget_done();
    }

    fn forget_done(&mut self) {
        while matches!(self.slots.front(), Some(Slot::Done)) {
            self.slots.pop_front();
            self.first += 1;
            self.sent = self.sent.saturating_sub(1);
        }
    }
}
