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
//!  a new connection: PUBREL for all released in the order of their PUBRECs, then everything
//!  published in its first order, then what waits
//! ```

mod reserve;
mod restore;

pub use restore::Begun;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use noctule_packet::{PacketId, QoS};

use crate::packet_id::{PACKET_IDS, distance, packet_id_of};

/// The outgoing side of a session, which outlives its connections. `M` is whatever the owner needs
/// to build the PUBLISH again.
///
/// There are fewer slots than packet identifiers, so that a `u16` counts them.
#[derive(Clone, Debug)]
pub struct Sender<M> {
    slots: VecDeque<Slot<M>>,
    /// The sequence number of `slots[0]`.
    first: u64,
    /// How many slots from the front need no PUBLISH any more on this connection. The slot behind
    /// them, if there is one, is published and to be repeated.
    sent: u16,
    /// Boxed, as nearly always there is none.
    backlog: Option<Box<Backlog<M>>>,
    receive_maximum: u16,
    /// How many slots are released, or published on this connection.
    quota_used: u16,
    /// How many slots are not done.
    in_flight: u16,
    /// How many messages were released ever.
    released: u64,
}

/// What is to be sent when its time comes.
#[derive(Clone, Debug)]
struct Backlog<M> {
    /// The sequence numbers of the PUBRELs that this connection has to repeat.
    releases: VecDeque<u64>,
    waiting: VecDeque<(M, QoS)>,
    /// The packet identifiers that stand for no message and are not free.
    reserved: Vec<PacketId>,
}

impl<M> Default for Backlog<M> {
    fn default() -> Self {
        Self { releases: VecDeque::new(), waiting: VecDeque::new(), reserved: Vec::new() }
    }
}

/// One message that has its packet identifier.
#[derive(Clone, Debug)]
enum Slot<M> {
    Published {
        message: M,
        qos: QoS,
    },
    Released {
        /// Counts up with each PUBREC.
        order: u64,
    },
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

/// The oldest message that has a packet identifier and is not done.
#[derive(Debug, PartialEq, Eq)]
pub enum Oldest<'a, M> {
    /// There is none.
    None,
    /// It is published.
    Published(&'a M),
    /// It is released.
    Released,
}

/// An acknowledgement that fits nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderError {
    /// Nothing is in flight with this packet identifier.
    UnknownPacketId,
    /// The message with this packet identifier expects another packet now.
    WrongStep,
}

impl fmt::Display for SenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownPacketId => "no message is in flight with this packet identifier",
            Self::WrongStep => {
                "the message with this packet identifier expects another acknowledgement"
            }
        })
    }
}

impl core::error::Error for SenderError {}

impl<M> Backlog<M> {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.releases.is_empty()
    }
}

impl<M> Sender<M> {
    /// A sender that has sent nothing, for a peer that takes `receive_maximum` messages at a time.
    pub fn new(receive_maximum: u16) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            sent: 0,
            backlog: None,
            receive_maximum: receive_maximum.max(1),
            quota_used: 0,
            in_flight: 0,
            released: 0,
        }
    }

    /// A new connection is up: what is in flight is to be sent again, within the new quota.
    pub fn resume(&mut self, receive_maximum: u16) {
        // [MQTT5-4.9.0-1]
        self.receive_maximum = receive_maximum.max(1);
        // From here on nothing counts as sent. [MQTT5-4.4.0-1] [MQTT311-4.4.0-1] [MQTT31-4.2-1]
        self.sent = 0;
        let mut released: Vec<(u64, u64)> = (self.first..)
            .zip(&self.slots)
            .filter_map(|(sequence, slot)| match slot {
                Slot::Released { order } => Some((*order, sequence)),
                Slot::Published { .. } | Slot::Done => None,
            })
            .collect();
        // [MQTT5-4.6.0-4] [MQTT311-4.6.0-4] [MQTT31-4.3-1]
        released.sort_unstable();
        // Their PUBLISH packets still miss a PUBCOMP. [MQTT5-3.3.4-9]
        self.quota_used = u16::try_from(released.len()).unwrap_or(u16::MAX);
        let releases = released.into_iter().map(|(_, sequence)| sequence).collect();
        let backlog = self.backlog.take().map(|backlog| *backlog).unwrap_or_default();
        let backlog = Backlog { releases, ..backlog };
        let is_needed = !backlog.is_empty() || !backlog.reserved.is_empty();
        self.backlog = is_needed.then(|| Box::new(backlog));
        self.tidy();
    }

    /// Puts a message behind all others.
    pub fn enqueue(&mut self, message: M, qos: QoS) {
        self.backlog.get_or_insert_default().waiting.push_back((message, qos));
    }

    /// Sends a message past the queue, which [`Sender::is_open`] says is empty: its packet
    /// identifier, or the message back if it has to wait after all.
    #[inline]
    pub fn send_now(&mut self, message: M, qos: QoS) -> Result<PacketId, M> {
        if !self.is_open() {
            return Err(message);
        }
        Ok(self.publish(message, qos))
    }

    /// Whether a message that is enqueued now would be sent at once. It never passes one that
    /// waits or is to be repeated.
    // [MQTT5-4.6.0-5] [MQTT5-4.6.0-6] [MQTT311-4.6.0-5] [MQTT311-4.6.0-6]
    pub fn is_open(&self) -> bool {
        self.backlog.as_ref().is_none_or(|backlog| backlog.is_empty())
            && usize::from(self.sent) == self.slots.len()
            && self.has_room()
    }

    /// How many messages the peer takes at a time.
    pub fn receive_maximum(&self) -> u16 {
        self.receive_maximum
    }

    /// How many more messages may be sent now.
    pub fn quota(&self) -> u16 {
        self.receive_maximum.saturating_sub(self.quota_used)
    }

    /// How many messages have a packet identifier and are not done.
    pub fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    /// How many packet identifiers there are from that of the oldest message that is not done to
    /// that of the last one.
    pub fn span(&self) -> usize {
        self.slots.len()
    }

    /// How many messages wait for their first transmission.
    pub fn waiting(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.waiting.len())
    }

    /// Takes the first message that waits, so that it is never sent.
    pub fn skip_waiting(&mut self) -> Option<M> {
        self.backlog.as_mut()?.waiting.pop_front().map(|(message, _)| message)
    }

    /// The message that would be sent next for the first time.
    pub fn peek_waiting(&self) -> Option<&M> {
        self.backlog.as_ref()?.waiting.front().map(|(message, _)| message)
    }

    /// The oldest message that is not done; everything before it is.
    pub fn oldest(&self) -> Oldest<'_, M> {
        match self.slots.front() {
            Some(Slot::Published { message, .. }) => Oldest::Published(message),
            Some(Slot::Released { .. }) => Oldest::Released,
            Some(Slot::Done) | None => Oldest::None,
        }
    }

    /// The packet identifier of the oldest message that is not done, or that of the next one.
    pub fn oldest_packet_id(&self) -> PacketId {
        packet_id_of(self.first)
    }

    /// Whether quota and packet identifiers allow another PUBLISH. An identifier stands for one
    /// message only while less than all of them are in use in a row.
    // [MQTT5-2.2.1-3] [MQTT5-2.2.1-4] [MQTT311-2.3.1-4]
    fn has_room(&self) -> bool {
        self.has_quota() && self.has_identifiers()
    }

    fn has_identifiers(&self) -> bool {
        let reserved = self.backlog.as_ref().map_or(0, |backlog| backlog.reserved.len());
        ((self.slots.len() + reserved) as u64) < PACKET_IDS - 1
    }

    // [MQTT5-3.3.4-9] [MQTT5-4.9.0-2]
    fn has_quota(&self) -> bool {
        self.quota_used < self.receive_maximum
    }

    /// What to send next: first what must be repeated, then what waits. `None` when there is
    /// nothing or the quota is used up. Whatever is returned counts as sent.
    pub fn next_transmission(&mut self) -> Option<Transmission<'_, M>> {
        // A PUBREL takes no quota of its own, and so waits for none.
        // [MQTT5-3.3.4-10] [MQTT5-4.9.0-3]
        while let Some(sequence) =
            self.backlog.as_mut().and_then(|backlog| backlog.releases.pop_front())
        {
            let at = self.index_of_sequence(sequence);
            // Its PUBCOMP may have been quicker.
            if matches!(at.and_then(|at| self.slots.get(at)), Some(Slot::Released { .. })) {
                return Some(Transmission::Pubrel { packet_id: packet_id_of(sequence) });
            }
        }
        let at = usize::from(self.sent);
        // [MQTT5-3.3.1-1] [MQTT311-3.3.1-1] [MQTT31-3.3-1]
        let dup = at < self.slots.len();
        if dup {
            // [MQTT5-4.6.0-1] [MQTT311-4.6.0-1]
            if !self.has_quota() {
                return None;
            }
            self.quota_used += 1;
            self.sent += 1;
            self.tidy_behind();
        } else {
            if !self.has_room() {
                return None;
            }
            let (message, qos) = self.backlog.as_mut()?.waiting.pop_front()?;
            self.publish(message, qos);
        }
        // A new one is the last, whatever identifiers it had to pass over.
        let at = if dup { at } else { self.slots.len() - 1 };
        let packet_id = packet_id_of(self.first + at as u64);
        match self.slots.get(at)? {
            Slot::Published { message, qos } => {
                Some(Transmission::Publish { packet_id, message, qos: *qos, dup })
            }
            Slot::Released { .. } | Slot::Done => None,
        }
    }

    /// Gives a message the next packet identifier; everything before it has been sent.
    // [MQTT5-4.3.2-1] [MQTT5-4.3.3-1] [MQTT5-2.2.1-3] [MQTT5-2.2.1-4] [MQTT311-2.3.1-4]
    // [MQTT311-4.3.2-1] [MQTT311-4.3.3-1]
    fn publish(&mut self, message: M, qos: QoS) -> PacketId {
        self.pass_over_reserved();
        let packet_id = packet_id_of(self.first + self.slots.len() as u64);
        self.slots.push_back(Slot::Published { message, qos });
        self.sent += 1;
        self.in_flight += 1;
        self.quota_used += 1;
        packet_id
    }

    /// PUBACK: the message is done, whatever its reason code says.
    // [MQTT5-4.3.2-3] [MQTT5-4.4.0-2] [MQTT311-4.3.2-1]
    #[inline]
    pub fn on_puback(&mut self, packet_id: PacketId) -> Result<M, SenderError> {
        self.finish_published(packet_id, QoS::AtLeastOnce)
    }

    /// PUBREC with a reason code below 0x80: the message is not needed any more and a PUBREL is to
    /// be sent. `None` if that had happened before.
    // [MQTT5-4.3.3-3] [MQTT5-4.3.3-6] [MQTT311-4.3.3-1]
    pub fn on_pubrec(&mut self, packet_id: PacketId) -> Result<Option<M>, SenderError> {
        let at = self.index_of(packet_id)?;
        let Some(slot) = self.slots.get_mut(at) else { return Err(SenderError::UnknownPacketId) };
        if matches!(slot, Slot::Released { .. }) {
            return Ok(None);
        }
        match core::mem::replace(slot, Slot::Released { order: self.released }) {
            Slot::Published { message, qos: QoS::ExactlyOnce } => {
                self.released += 1;
                self.quota_used += u16::from(at >= usize::from(self.sent));
                self.tidy();
                Ok(Some(message))
            }
            other => {
                *slot = other;
                Err(SenderError::WrongStep)
            }
        }
    }

    /// PUBREC with a reason code of 0x80 or more: the message is done.
    // [MQTT5-4.4.0-2]
    pub fn on_pubrec_failed(&mut self, packet_id: PacketId) -> Result<M, SenderError> {
        self.finish_published(packet_id, QoS::ExactlyOnce)
    }

    /// PUBCOMP: the packet identifier is free again.
    // [MQTT5-4.3.3-5]
    pub fn on_pubcomp(&mut self, packet_id: PacketId) -> Result<(), SenderError> {
        let at = self.index_of(packet_id)?;
        match self.slots.get(at) {
            Some(Slot::Released { .. }) => {
                self.finish(at);
                Ok(())
            }
            _ => Err(SenderError::WrongStep),
        }
    }

    /// Gives a published message up as if it had been acknowledged, because it cannot be sent.
    pub fn abandon(&mut self, packet_id: PacketId) -> Option<M> {
        let at = self.index_of(packet_id).ok()?;
        match self.finish(at) {
            Some(Slot::Published { message, .. }) => Some(message),
            _ => None,
        }
    }

    /// Takes out every published message that `leaves` says yes to, unless it is a QoS 2 message:
    /// what a shared subscription gives to another member when this one is gone.
    pub fn take_at_least_once(&mut self, mut leaves: impl FnMut(&M) -> bool) -> Vec<M> {
        let mut taken = Vec::new();
        for at in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(at) else { break };
            // [MQTT5-4.8.2-5]
            if let Slot::Published { message, qos: QoS::AtLeastOnce } = slot
                && leaves(message)
                && let Slot::Published { message, .. } = core::mem::replace(slot, Slot::Done)
            {
                taken.push(message);
                self.in_flight -= 1;
                self.quota_used -= u16::from(at < usize::from(self.sent));
            }
        }
        self.tidy();
        taken
    }

    /// What waits, in order.
    pub fn iter_waiting(&self) -> impl Iterator<Item = (&M, QoS)> {
        let waiting = self.backlog.iter().flat_map(|backlog| &backlog.waiting);
        waiting.map(|(message, qos)| (message, *qos))
    }

    /// Takes everything that waits but the first `count` messages, in order.
    pub fn take_waiting_behind(&mut self, count: usize) -> VecDeque<(M, QoS)> {
        let Some(backlog) = &mut self.backlog else { return VecDeque::new() };
        backlog.waiting.split_off(count.min(backlog.waiting.len()))
    }

    /// Takes everything that waits and that `leaves` says yes to, in order.
    pub fn take_waiting(&mut self, mut leaves: impl FnMut(&M) -> bool) -> Vec<(M, QoS)> {
        let Some(backlog) = &mut self.backlog else { return Vec::new() };
        let (taken, kept) = core::mem::take(&mut backlog.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(message, _)| leaves(message));
        backlog.waiting = kept;
        taken.into()
    }

    #[inline]
    fn finish_published(&mut self, packet_id: PacketId, expected: QoS) -> Result<M, SenderError> {
        let is_first = packet_id == packet_id_of(self.first);
        let at = if is_first { 0 } else { self.index_of(packet_id)? };
        match self.slots.get(at) {
            Some(Slot::Published { qos, .. }) if *qos == expected => {}
            Some(Slot::Done) | None => return Err(SenderError::UnknownPacketId),
            _ => return Err(SenderError::WrongStep),
        }
        let slot = if at == 0 { self.finish_first() } else { self.finish(at) };
        match slot {
            Some(Slot::Published { message, .. }) => Ok(message),
            _ => Err(SenderError::UnknownPacketId),
        }
    }

    /// What [`finish`](Self::finish) does, for a published message in front of all others, where
    /// nearly all acknowledgements find theirs.
    #[inline]
    fn finish_first(&mut self) -> Option<Slot<M>> {
        let slot = self.slots.pop_front();
        self.first += 1;
        self.in_flight -= 1;
        if self.sent > 0 {
            self.sent -= 1;
            self.quota_used -= 1;
        }
        // Otherwise no slot is done, and all in front were sent.
        if usize::from(self.in_flight) < self.slots.len() || self.sent == 0 {
            self.tidy();
        }
        slot
    }

    /// Where the message with this packet identifier stands. An acknowledgement may be for what an
    /// earlier connection has sent and this one has not repeated yet: refusing it would repeat what
    /// the peer has got.
    fn index_of(&self, packet_id: PacketId) -> Result<usize, SenderError> {
        let at = usize::try_from(distance(self.first, packet_id)).unwrap_or(usize::MAX);
        match self.slots.get(at) {
            Some(Slot::Published { .. } | Slot::Released { .. }) => Ok(at),
            Some(Slot::Done) | None => Err(SenderError::UnknownPacketId),
        }
    }

    fn index_of_sequence(&self, sequence: u64) -> Option<usize> {
        usize::try_from(sequence.checked_sub(self.first)?).ok()
    }

    /// Frees a slot and its share of the quota.
    fn finish(&mut self, at: usize) -> Option<Slot<M>> {
        let slot = core::mem::replace(self.slots.get_mut(at)?, Slot::Done);
        let counted = at < usize::from(self.sent) || matches!(slot, Slot::Released { .. });
        self.in_flight -= 1;
        self.quota_used -= u16::from(counted);
        self.tidy();
        Some(slot)
    }

    /// Forgets the slots in front that are all done.
    #[inline]
    fn tidy(&mut self) {
        self.tidy_behind();
        while matches!(self.slots.front(), Some(Slot::Done)) {
            self.slots.pop_front();
            self.first += 1;
            self.sent -= 1;
        }
    }

    /// Passes over the slots that need no PUBLISH.
    // [MQTT5-4.3.3-6] [MQTT311-4.3.3-1]
    fn tidy_behind(&mut self) {
        while matches!(
            self.slots.get(usize::from(self.sent)),
            Some(Slot::Released { .. } | Slot::Done)
        ) {
            self.sent += 1;
        }
    }
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
