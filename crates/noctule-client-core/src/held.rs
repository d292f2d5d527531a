//! Messages that are with the user and not acknowledged: how many bytes they are, who still has to
//! say something, and which answer waits for it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;

use noctule_packet::{PacketId, ReasonCode};
use noctule_session::AnswerId;

use crate::event::Epoch;
use crate::remarks::Remarks;

/// Acknowledges one message. It is bound to the connection that the message came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckToken {
    pub(crate) serial: u64,
    pub(crate) epoch: Epoch,
}

impl AckToken {
    /// Which connection the message came on.
    pub const fn epoch(self) -> Epoch {
        self.epoch
    }
}

/// What an acknowledgement by the user has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// The acknowledgement leaves as soon as those of earlier messages have left.
    Done,
    /// Others have the message too, and have not acknowledged it.
    Waiting {
        /// How many.
        holders: u16,
    },
    /// The connection is gone that the message came on: the server sends the message again, with a
    /// new token. Or the token was used before.
    Stale,
}

/// Why an acknowledgement was refused. The message is still to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckRefused {
    /// Before 5.0 there are neither reason codes nor properties.
    NotInVersion {
        /// The version.
        version: noctule_packet::Version,
    },
    /// No acknowledgement carries this reason code.
    InvalidReason {
        /// What was given.
        reason: ReasonCode,
    },
    /// What no packet may carry.
    InvalidValue {
        /// What.
        option: &'static str,
    },
}

impl fmt::Display for AckRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInVersion { version } => {
                write!(f, "MQTT {version} has no reasons in acknowledgements")
            }
            Self::InvalidValue { option } => {
                write!(f, "{option} has a value that no packet may carry")
            }
            Self::InvalidReason { reason } => {
                write!(f, "{reason:?} is no reason code of an acknowledgement")
            }
        }
    }
}

impl core::error::Error for AckRefused {}

/// What is over may stand among what is not: so many at least, and as many as that, before it is
/// taken out.
const OVER_MIN: usize = 32;

#[derive(Clone, Debug)]
struct Held {
    serial: u64,
    answer: Option<Answer>,
    bytes: usize,
    holders: u16,
    reason: ReasonCode,
    remarks: Option<Box<Remarks>>,
}

/// What waits for a message to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: AnswerId,
    pub(crate) epoch: Epoch,
    /// The packet identifier of a QoS 2 message. Its answer is good on later connections too, as it
    /// is not handed out again.
    pub(crate) exactly_once: Option<PacketId>,
}

/// A message that all holders have acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Released {
    pub(crate) answer: Option<Answer>,
    pub(crate) reason: ReasonCode,
    pub(crate) remarks: Option<Box<Remarks>>,
}

/// What a holder's acknowledgement has brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    Unknown,
    Waiting(u16),
    Done(Released),
}

/// The messages that are with the user.
#[derive(Debug, Default)]
pub(crate) struct HeldMessages {
    /// By their serial numbers, which grow; the first is not over.
    list: VecDeque<Held>,
    /// How many in the list are over.
    over: usize,
    /// The serial number of the next.
    next: u64,
    bytes: usize,
}

impl HeldMessages {
    /// How many bytes are with the user.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands a message out to one holder.
    pub(crate) fn hold(&mut self, epoch: Epoch, answer: Option<Answer>, bytes: usize) -> AckToken {
        let serial = self.next;
        self.next += 1;
        self.bytes += bytes;
        let reason = ReasonCode::Success;
        let remarks = None;
        self.list.push_back(Held { serial, answer, bytes, holders: 1, reason, remarks });
        AckToken { serial, epoch }
    }

    fn find(&mut self, token: AckToken) -> Option<&mut Held> {
        // Nearly always the first.
        let at = match self.list.front() {
            Some(first) if first.serial == token.serial => 0,
            _ => self.list.binary_search_by_key(&token.serial, |held| held.serial).ok()?,
        };
        self.list.get_mut(at).filter(|held| held.holders > 0)
    }

    /// So many have the message now.
    pub(crate) fn share(&mut self, token: AckToken, holders: u16) -> bool {
        let Some(held) = self.find(token) else { return false };
        held.holders = holders.max(1);
        true
    }

    /// One holder acknowledges. The first refusal wins, with what is said beside it; without one
    /// it is the last who says something.
    pub(crate) fn release(
        &mut self,
        token: AckToken,
        reason: ReasonCode,
        remarks: Option<Box<Remarks>>,
    ) -> Release {
        let Some(held) = self.find(token) else { return Release::Unknown };
        held.holders -= 1;
        if reason.is_error() && !held.reason.is_error() {
            (held.reason, held.remarks) = (reason, remarks);
        } else if remarks.is_some() && !held.reason.is_error() {
            held.remarks = remarks;
        }
        if held.holders > 0 {
            return Release::Waiting(held.holders);
        }
        let (answer, bytes, reason) = (held.answer, held.bytes, held.reason);
        let remarks = held.remarks.take();
        self.bytes -= bytes;
        self.over += 1;
        self.take_out();
        Release::Done(Released { answer, reason, remarks })
    }

    /// One that is held for long must not keep the places of all that come after it.
    fn take_out(&mut self) {
        while self.list.front().is_some_and(|held| held.holders == 0) {
            self.list.pop_front();
            self.over -= 1;
        }
        if self.over > OVER_MIN.max(self.list.len() / 2) {
            self.list.retain(|held| held.holders > 0);
            self.over = 0;
        }
    }

    /// The session is gone: no acknowledgement is of use to anybody.
    pub(crate) fn forget_answers(&mut self) {
        for held in &mut self.list {
            held.answer = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_holder_releases_and_the_worst_reason_wins() {
        let mut held = HeldMessages::default();
        let epoch = Epoch(1);
        let [a, b] = [10, 20].map(|bytes| held.hold(epoch, None, bytes));
        assert!(held.share(a, 3));
        let refused = ReasonCode::NotAuthorized;
        let says = |text: &str| Some(Box::new(Remarks::new(text)));
        let done = |reason, remarks| Release::Done(Released { answer: None, reason, remarks });
        for (token, reason, remarks, expected) in [
            (a, ReasonCode::Success, says("fine"), Release::Waiting(2)),
            (a, refused, says("no"), Release::Waiting(1)),
            (b, ReasonCode::Success, says("b"), done(ReasonCode::Success, says("b"))),
            (b, ReasonCode::Success, None, Release::Unknown),
            (a, ReasonCode::QuotaExceeded, says("late"), done(refused, says("no"))),
            (a, ReasonCode::Success, None, Release::Unknown),
        ] {
            assert_eq!(held.release(token, reason, remarks), expected);
        }
        assert_eq!((held.bytes(), held.list.len()), (0, 0));
        let c = held.hold(epoch, None, 1);
        assert_eq!((c.serial, held.bytes()), (2, 1));
    }

    #[test]
    fn a_message_that_is_held_for_long_keeps_nothing_of_later_ones() {
        let mut held = HeldMessages::default();
        let epoch = Epoch(1);
        let first = held.hold(epoch, None, 10);
        let mut middle = None;
        for number in 0..100_000 {
            let token = held.hold(epoch, None, 1);
            if number == 50_000 {
                middle = Some(token);
                continue;
            }
            assert!(matches!(held.release(token, ReasonCode::Success, None), Release::Done(_)));
            assert_eq!(held.release(token, ReasonCode::Success, None), Release::Unknown);
        }
        assert!(held.list.len() < 100, "{}", held.list.len());
        assert_eq!(held.bytes(), 11);
        for token in [middle, Some(first)].into_iter().flatten() {
            assert!(matches!(held.release(token, ReasonCode::Success, None), Release::Done(_)));
        }
        assert_eq!((held.bytes(), held.list.len()), (0, 0));
    }
}
