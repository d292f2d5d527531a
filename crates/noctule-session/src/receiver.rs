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

use alloc::collections::{BTreeMap, VecDeque};

use noctule_packet::{PacketId, QoS, ReasonCode};

/// The incoming side of a session, which outlives its connections.
#[derive(Clone, Debug)]
pub struct Receiver {
    maximum: u16,
    /// QoS 2 packet identifiers between PUBLISH and PUBCOMP.
    exactly_once: BTreeMap<PacketId, Step>,
    owed: VecDeque<Owed>,
    /// The number of `owed[0]`.
    first: u64,
    /// QoS 1 publications that are not acknowledged.
    at_least_once: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The publication is being kept, which completes this answer.
    Keeping(AnswerId),
    /// Its PUBREC has left.
    Received,
    /// PUBREL came; its PUBCOMP is owed.
    Releasing,
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
    /// Which packet.
    pub kind: AcknowledgementKind,
    /// The packet identifier of the publication.
    pub packet_id: PacketId,
    /// How it went.
    pub reason: ReasonCode,
}

/// A packet that the peer should not have sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverError {
    /// More unacknowledged publications than the Receive Maximum that was announced.
    #[error("more than {maximum} unacknowledged publications")]
    ReceiveMaximumExceeded {
        /// What was announced.
        maximum: u16,
    },
}

impl Receiver {
    /// A receiver that has announced `maximum` as its Receive Maximum.
    pub fn new(maximum: u16) -> Self {
        Self {
            maximum,
            exactly_once: BTreeMap::new(),
            owed: VecDeque::new(),
            first: 0,
            at_least_once: 0,
        }
    }

    /// A new connection is up. What was owed on the old one is owed no more: the peer repeats what
    /// was not acknowledged.
    pub fn resume(&mut self, maximum: u16) {
        self.maximum = maximum;
        self.first += self.owed.len() as u64;
        self.owed.clear();
        self.at_least_once = 0;
        for step in self.exactly_once.values_mut() {
            if *step == Step::Releasing {
                *step = Step::Received;
            }
        }
    }

    /// How many QoS 2 packet identifiers are not released.
    pub fn unreleased(&self) -> usize {
        self.exactly_once.len()
    }

    /// How many acknowledgements are owed.
    pub fn owed(&self) -> usize {
        self.owed.len()
    }

    /// A PUBLISH with QoS 1 or 2.
    // [MQTT5-3.3.4-8] [MQTT5-4.3.2-5] [MQTT5-4.3.3-10] [MQTT311-4.3.3-2]
    pub fn on_publish(&mut self, qos: QoS, packet_id: PacketId) -> Result<Arrival, ReceiverError> {
        if qos == QoS::ExactlyOnce
            && let Some(step) = self.exactly_once.get(&packet_id)
        {
            let kept = !matches!(step, Step::Keeping(_));
            self.owe(AcknowledgementKind::Pubrec, packet_id, kept.then_some(ReasonCode::Success));
            return Ok(Arrival::Duplicate);
        }
        let unacknowledged = usize::from(self.at_least_once) + self.exactly_once.len();
        if unacknowledged >= usize::from(self.maximum) {
            return Err(ReceiverError::ReceiveMaximumExceeded { maximum: self.maximum });
        }
        if qos == QoS::ExactlyOnce {
            let answer = self.owe(AcknowledgementKind::Pubrec, packet_id, None);
            self.exactly_once.insert(packet_id, Step::Keeping(answer));
            return Ok(Arrival::New(answer));
        }
        self.at_least_once += 1;
        Ok(Arrival::New(self.owe(AcknowledgementKind::Puback, packet_id, None)))
    }

    /// A PUBREL: complete the answer when the release is kept. `None` if the identifier is unknown;
    /// then its PUBCOMP is ready at once, with `unknown` as its reason code.
    // [MQTT5-4.3.3-11] [MQTT5-4.3.3-12] [MQTT311-4.3.3-2]
    pub fn on_pubrel(&mut self, packet_id: PacketId, unknown: ReasonCode) -> Option<AnswerId> {
        match self.exactly_once.get_mut(&packet_id) {
            Some(step) => {
                *step = Step::Releasing;
                Some(self.owe(AcknowledgementKind::Pubcomp, packet_id, None))
            }
            None => {
                self.owe(AcknowledgementKind::Pubcomp, packet_id, Some(unknown));
                None
            }
        }
    }

    /// What `answer` waited for is done. If that was on an earlier connection, nothing is owed for
    /// it but the answers to repetitions that have come in the meantime.
    pub fn complete(&mut self, answer: AnswerId, reason: ReasonCode) {
        let at = answer.0.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(owed) = at.and_then(|at| self.owed.get_mut(at)) {
            owed.reason = Some(reason);
            if owed.kind != AcknowledgementKind::Pubrec {
                return;
            }
        }
        let keeping = self.exactly_once.iter().find(|(_, step)| **step == Step::Keeping(answer));
        let Some((&packet_id, _)) = keeping else { return };
        self.exactly_once.insert(packet_id, Step::Received);
        for owed in &mut self.owed {
            if owed.kind == AcknowledgementKind::Pubrec && owed.packet_id == packet_id {
                owed.reason = Some(reason);
            }
        }
    }

    /// The next acknowledgement that may leave, in the order of the packets that it answers.
    // [MQTT5-4.6.0-2] [MQTT5-4.6.0-3] [MQTT311-4.6.0-2] [MQTT311-4.6.0-3]
    pub fn next_acknowledgement(&mut self) -> Option<Acknowledgement> {
        let Owed { kind, packet_id, reason } = *self.owed.front()?;
        let reason = reason?;
        self.owed.pop_front();
        self.first += 1;
        match kind {
            AcknowledgementKind::Puback => self.at_least_once -= 1,
            // [MQTT5-4.3.3-9]
            AcknowledgementKind::Pubrec if reason.is_error() => {
                self.exactly_once.remove(&packet_id);
            }
            AcknowledgementKind::Pubrec => {}
            AcknowledgementKind::Pubcomp => {
                self.exactly_once.remove(&packet_id);
            }
        }
        Some(Acknowledgement { kind, packet_id, reason })
    }

    fn owe(
        &mut self,
        kind: AcknowledgementKind,
        packet_id: PacketId,
        reason: Option<ReasonCode>,
    ) -> AnswerId {
        let answer = AnswerId(self.first + self.owed.len() as u64);
        self.owed.push_back(Owed { kind, packet_id, reason });
        answer
    }
}
