//! The receiver's half of QoS 1 and 2: duplicates, the announced Receive Maximum, and the order of
//! acknowledgements.
//!
//! ```text
//!  PUBLISH QoS 1 ──▶ owed ──complete──▶ PUBACK
//!  PUBLISH QoS 2 ──▶ owed ──complete──▶ PUBREC ──PUBREL──▶ owed ──complete──▶ PUBCOMP
//!                                          └── reason ≥ 0x80: forgotten
//! ```
//!
//! Whoever takes a message may need long to keep it; [`Receiver::complete`] may come in any order,
//! [`Receiver::next_acknowledgement`] hands them out as the packets came.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::fmt;

use noctule_packet::{PacketId, QoS, ReasonCode};

/// The incoming side of a session, which outlives its connections.
///
/// However hostile the peer, what is owed is bounded by the packet identifiers that there are, and
/// no call costs more than their logarithm.
#[derive(Clone, Debug)]
pub struct Receiver {
    maximum: u16,
    /// Publications of this connection whose exchange is not over: the peer's send quota, used.
    open: u16,
    /// Boxed, as whoever only subscribes never has any.
    state: Option<Box<State>>,
    /// The number of the first acknowledgement that is owed.
    first: u64,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// QoS 2 packet identifiers between PUBLISH and PUBCOMP.
    exactly_once: BTreeMap<PacketId, Exchange>,
    /// The exchanges whose message is still being kept since an earlier connection.
    earlier: BTreeMap<AnswerId, PacketId>,
    /// Identifiers of no exchange whose PUBCOMP is owed all the same.
    unknown: BTreeSet<PacketId>,
    owed: VecDeque<Owed>,
}

/// A QoS 2 publication that is not released.
#[derive(Clone, Copy, Debug, Default)]
struct Exchange {
    /// The message is being kept; this answer is completed when it is.
    keeping: Option<AnswerId>,
    /// The PUBREC that is owed for the PUBLISH, or for its repetitions: one answers them all.
    pubrec: Option<AnswerId>,
    /// The PUBCOMP that is owed since a PUBREL came.
    pubcomp: Option<AnswerId>,
    /// Whether its PUBLISH came on this connection and counts in `open`.
    counted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    kind: AcknowledgementKind,
    packet_id: PacketId,
    reason: Option<ReasonCode>,
}

/// Names one acknowledgement that is owed. Never used again within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerId(u64);

impl AnswerId {
    /// The number behind the name.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The name with this number.
    pub const fn from_value(value: u64) -> Self {
        Self(value)
    }
}

/// What an incoming PUBLISH with QoS 1 or 2 turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A message to pass on; complete the answer when it is kept.
    New(AnswerId),
    /// A QoS 2 message that is known already: not to be passed on. Its PUBREC will be repeated.
    Duplicate,
}

/// Which packet acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcknowledgementKind {
    /// PUBACK.
    Puback,
    /// PUBREC.
    Pubrec,
    /// PUBCOMP.
    Pubcomp,
}

/// An acknowledgement to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Its name.
    pub answer: AnswerId,
    /// Which packet.
    pub kind: AcknowledgementKind,
    /// The packet identifier of the publication.
    pub packet_id: PacketId,
    /// How it went.
    pub reason: ReasonCode,
}

/// A packet that the peer should not have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverError {
    /// More unacknowledged publications than the Receive Maximum that was announced.
    ReceiveMaximumExceeded {
        /// What was announced.
        maximum: u16,
    },
}

impl fmt::Display for ReceiverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReceiveMaximumExceeded { maximum } => {
                write!(f, "more than {maximum} unacknowledged publications")
            }
        }
    }
}

impl core::error::Error for ReceiverError {}

impl Receiver {
    /// A receiver that has announced `maximum` as its Receive Maximum.
    pub fn new(maximum: u16) -> Self {
        Self { maximum, open: 0, state: None, first: 0 }
    }

    /// A QoS 2 publication that is kept, and not released, since before there was this receiver.
    pub fn restore(&mut self, packet_id: PacketId) {
        self.state().exactly_once.entry(packet_id).or_default();
    }

    /// The message of a restored publication is kept once more: complete the answer when it is. A
    /// repetition is not answered before. `None` if there is no such publication.
    pub fn keep_again(&mut self, packet_id: PacketId) -> Option<AnswerId> {
        let answer = AnswerId(self.first);
        let exchange =
            self.exchange_mut(packet_id).filter(|exchange| exchange.keeping.is_none())?;
        exchange.keeping = Some(answer);
        self.state().earlier.insert(answer, packet_id);
        self.first += 1;
        Some(answer)
    }

    /// A new connection is up. What was owed on the old one is owed no more: the peer repeats what
    /// was not acknowledged. The peer's quota begins anew.
    pub fn resume(&mut self, maximum: u16) {
        self.maximum = maximum;
        if let Some(state) = &mut self.state {
            state.unknown.clear();
        }
        while let Some(owed) = self.state.as_mut().and_then(|state| state.owed.pop_front()) {
            let answer = AnswerId(self.first);
            self.first += 1;
            // Nobody was told of a refusal: a repetition is to be looked at afresh.
            if let Some(reason) = owed.reason
                && owed.kind == AcknowledgementKind::Pubrec
            {
                self.pubrec_leaves(owed.packet_id, answer, reason);
            }
        }
        self.open = 0;
        let Some(State { exactly_once, earlier, .. }) = self.state.as_deref_mut() else { return };
        for (packet_id, exchange) in exactly_once {
            let keeping = exchange.keeping;
            *exchange = Exchange { keeping, ..Exchange::default() };
            if let Some(answer) = keeping {
                earlier.insert(answer, *packet_id);
            }
        }
    }

    /// How many QoS 2 packet identifiers are not released.
    pub fn unreleased(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.exactly_once.len())
    }

    /// Those of them whose messages are kept, in order.
    pub fn received(&self) -> impl Iterator<Item = PacketId> {
        let exchanges = self.state.iter().flat_map(|state| &state.exactly_once);
        exchanges
            .filter(|(_, exchange)| exchange.keeping.is_none())
            .map(|(packet_id, _)| *packet_id)
    }

    /// Those of them whose messages are still being kept, with the answers that wait for that.
    pub fn keeping(&self) -> impl Iterator<Item = (AnswerId, PacketId)> {
        let exchanges = self.state.iter().flat_map(|state| &state.exactly_once);
        exchanges.filter_map(|(packet_id, exchange)| Some((exchange.keeping?, *packet_id)))
    }

    /// Whether the message of this publication is still being kept, and no PUBREL has come for it
    /// on this connection.
    pub fn is_keeping(&self, answer: AnswerId, packet_id: PacketId) -> bool {
        let exchange = self.exchange(packet_id);
        exchange.is_some_and(|known| known.keeping == Some(answer) && known.pubcomp.is_none())
    }

    /// Whether this is one of them.
    pub fn is_unreleased(&self, packet_id: PacketId) -> bool {
        self.exchange(packet_id).is_some()
    }

    /// How many acknowledgements are owed.
    pub fn owed(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.owed.len())
    }

    /// Whether a PUBLISH with QoS 1 may be answered with PUBACK before the next packet, and without
    /// [`Receiver::on_publish`]: nothing is owed that would have to leave before, and it is within
    /// the Receive Maximum.
    // [MQTT5-3.3.4-7] [MQTT5-4.6.0-2] [MQTT311-4.6.0-2]
    #[inline]
    pub fn may_acknowledge_at_once(&self) -> bool {
        self.owed() == 0 && self.open < self.maximum
    }

    /// How many more publications may come before something is acknowledged.
    // [MQTT5-3.3.4-7]
    pub fn quota(&self) -> u16 {
        self.maximum.saturating_sub(self.open)
    }

    /// A PUBLISH with QoS 1 or 2.
    pub fn on_publish(&mut self, qos: QoS, packet_id: PacketId) -> Result<Arrival, ReceiverError> {
        let known = match qos {
            QoS::ExactlyOnce => self.exchange(packet_id),
            // [MQTT5-4.3.2-5] [MQTT311-4.3.2-2]
            QoS::AtMostOnce | QoS::AtLeastOnce => None,
        };
        if !known.is_some_and(|exchange| exchange.counted) {
            // [MQTT5-3.3.4-7] [MQTT5-3.3.4-8]
            if self.open >= self.maximum {
                return Err(ReceiverError::ReceiveMaximumExceeded { maximum: self.maximum });
            }
            self.open += 1;
        }
        // [MQTT5-4.3.3-10] [MQTT311-4.3.3-2] [MQTT31-4.1-2]
        if let Some(mut exchange) = known {
            exchange.counted = true;
            if exchange.pubrec.is_none() {
                let reason = exchange.keeping.is_none().then_some(ReasonCode::Success);
                let pubrec = self.owe(AcknowledgementKind::Pubrec, packet_id, reason);
                exchange.pubrec = Some(pubrec);
            }
            self.state().exactly_once.insert(packet_id, exchange);
            return Ok(Arrival::Duplicate);
        }
        if qos == QoS::ExactlyOnce {
            let answer = self.owe(AcknowledgementKind::Pubrec, packet_id, None);
            let (keeping, pubrec) = (Some(answer), Some(answer));
            let exchange = Exchange { keeping, pubrec, pubcomp: None, counted: true };
            self.state().exactly_once.insert(packet_id, exchange);
            return Ok(Arrival::New(answer));
        }
        Ok(Arrival::New(self.owe(AcknowledgementKind::Puback, packet_id, None)))
    }

    /// Many PUBLISH packets with QoS 1, one behind the other: [`Self::on_publish`] for each. The
    /// name of the first one's answer; the others follow.
    ///
    /// # Errors
    ///
    /// If they are more than the [quota](Self::quota); then none of them is taken.
    pub fn on_publish_many(&mut self, packet_ids: &[PacketId]) -> Result<AnswerId, ReceiverError> {
        let maximum = self.maximum;
        let exceeded = ReceiverError::ReceiveMaximumExceeded { maximum };
        let count = u16::try_from(packet_ids.len()).ok().filter(|count| *count <= self.quota());
        self.open += count.ok_or(exceeded)?;
        let first = AnswerId(self.first + self.owed() as u64);
        let kind = AcknowledgementKind::Puback;
        let owed = packet_ids.iter().map(|&packet_id| Owed { kind, packet_id, reason: None });
        self.state().owed.extend(owed);
        Ok(first)
    }

    /// A PUBREL: complete the answer when the release is kept. `None` if nothing is to be kept: its
    /// PUBCOMP is owed already, or the identifier is unknown; then its PUBCOMP is ready at once,
    /// with `unknown` as its reason code.
    pub fn on_pubrel(&mut self, packet_id: PacketId, unknown: ReasonCode) -> Option<AnswerId> {
        let Some(mut exchange) = self.exchange(packet_id) else {
            if self.state().unknown.insert(packet_id) {
                self.owe(AcknowledgementKind::Pubcomp, packet_id, Some(unknown));
            }
            return None;
        };
        if exchange.pubcomp.is_some() {
            return None;
        }
        // [MQTT5-4.3.3-11] [MQTT311-4.3.3-2]
        exchange.pubcomp = Some(self.owe(AcknowledgementKind::Pubcomp, packet_id, None));
        self.state().exactly_once.insert(packet_id, exchange);
        exchange.pubcomp
    }

    /// What `answer` waited for is done. If that was on an earlier connection, nothing is owed for
    /// it but the answer to a repetition that has come in the meantime.
    pub fn complete(&mut self, answer: AnswerId, reason: ReasonCode) {
        let packet_id = match self.owed_mut(answer) {
            Some(owed) => {
                owed.reason = Some(reason);
                owed.packet_id
            }
            None => match self.state.as_mut().and_then(|state| state.earlier.remove(&answer)) {
                Some(packet_id) => packet_id,
                None => return,
            },
        };
        let Some(exchange) = self.exchange_mut(packet_id) else { return };
        if exchange.keeping != Some(answer) {
            return;
        }
        exchange.keeping = None;
        match exchange.pubrec {
            Some(pubrec) => {
                if let Some(owed) = self.owed_mut(pubrec) {
                    owed.reason = Some(reason);
                }
            }
            // Refused, and nobody waits to be told.
            None if reason.is_error() => {
                self.state().exactly_once.remove(&packet_id);
            }
            None => {}
        }
    }

    /// What `count` answers from `first` on waited for is done, all of them to publications with
    /// QoS 1: [`Self::complete`] with success for each.
    pub fn complete_many(&mut self, first: AnswerId, count: u64) {
        let numbers = [first.0, first.0.saturating_add(count)];
        let places = numbers.map(|number| usize::try_from(number.saturating_sub(self.first)));
        let [from, to] = places.map(|place| place.unwrap_or(usize::MAX));
        let Some(State { owed, .. }) = self.state.as_deref_mut() else { return };
        let to = to.min(owed.len());
        for owed in owed.range_mut(from.min(to)..to) {
            owed.reason = Some(ReasonCode::Success);
        }
    }

    /// The next acknowledgement that may leave, in the order of the packets that it answers.
    // [MQTT5-4.6.0-2] [MQTT5-4.6.0-3] [MQTT311-4.6.0-2] [MQTT311-4.6.0-3] [MQTT31-4.3-1]
    pub fn next_acknowledgement(&mut self) -> Option<Acknowledgement> {
        let state = self.state.as_mut()?;
        let Owed { kind, packet_id, reason } = *state.owed.front()?;
        let reason = reason?;
        let answer = AnswerId(self.first);
        state.owed.pop_front();
        self.first += 1;
        match kind {
            AcknowledgementKind::Puback => self.open = self.open.saturating_sub(1),
            AcknowledgementKind::Pubrec => self.pubrec_leaves(packet_id, answer, reason),
            AcknowledgementKind::Pubcomp => self.pubcomp_leaves(packet_id, answer),
        }
        Some(Acknowledgement { answer, kind, packet_id, reason })
    }

    /// The packet identifiers of the PUBACKs that may leave next, as far as they stand one behind
    /// the other and report success: what [`Self::next_acknowledgement`] would say of them.
    // [MQTT5-4.6.0-2] [MQTT311-4.6.0-2] [MQTT31-4.3-1]
    pub fn next_pubacks(&mut self) -> impl Iterator<Item = PacketId> {
        core::iter::from_fn(|| {
            let owed = &mut self.state.as_mut()?.owed;
            let Owed { kind, packet_id, reason } = *owed.front()?;
            if kind != AcknowledgementKind::Puback || reason != Some(ReasonCode::Success) {
                return None;
            }
            owed.pop_front();
            self.first += 1;
            self.open = self.open.saturating_sub(1);
            Some(packet_id)
        })
    }

    fn pubrec_leaves(&mut self, packet_id: PacketId, answer: AnswerId, reason: ReasonCode) {
        let Some(exchange) = self.exchange_mut(packet_id) else { return };
        if exchange.pubrec != Some(answer) {
            return;
        }
        exchange.pubrec = None;
        // [MQTT5-4.3.3-9]
        if reason.is_error() {
            self.state().exactly_once.remove(&packet_id);
            self.open = self.open.saturating_sub(1);
        }
    }

    fn pubcomp_leaves(&mut self, packet_id: PacketId, answer: AnswerId) {
        let exchange = self.exchange(packet_id);
        let Some(exchange) = exchange.filter(|exchange| exchange.pubcomp == Some(answer)) else {
            self.state().unknown.remove(&packet_id);
            return;
        };
        // [MQTT5-4.3.3-12] [MQTT311-4.3.3-2]
        self.state().exactly_once.remove(&packet_id);
        // A peer's quota grows with each PUBCOMP, even one that ends an earlier connection's
        // exchange.
        self.open = self.open.saturating_sub(1);
        // The peer has released what it may not know to be kept; a repetition that came after
        // that waits for nothing any more.
        if let Some(answer) = exchange.keeping {
            self.state().earlier.remove(&answer);
        }
        if let Some(owed) = exchange.pubrec.and_then(|pubrec| self.owed_mut(pubrec)) {
            owed.reason.get_or_insert(ReasonCode::Success);
        }
    }

    fn state(&mut self) -> &mut State {
        self.state.get_or_insert_default()
    }

    fn exchange(&self, packet_id: PacketId) -> Option<Exchange> {
        self.state.as_ref()?.exactly_once.get(&packet_id).copied()
    }

    fn exchange_mut(&mut self, packet_id: PacketId) -> Option<&mut Exchange> {
        self.state.as_mut()?.exactly_once.get_mut(&packet_id)
    }

    fn owed_mut(&mut self, answer: AnswerId) -> Option<&mut Owed> {
        let at = usize::try_from(answer.0.checked_sub(self.first)?).ok()?;
        self.state.as_mut()?.owed.get_mut(at)
    }

    fn owe(
        &mut self,
        kind: AcknowledgementKind,
        packet_id: PacketId,
        reason: Option<ReasonCode>,
    ) -> AnswerId {
        let answer = AnswerId(self.first + self.owed() as u64);
        self.state().owed.push_back(Owed { kind, packet_id, reason });
        answer
    }
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
