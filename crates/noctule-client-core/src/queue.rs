//! The queue of messages that wait for a connection, for the server's quota or for the transport:
//! bounded in bytes, in number and in age.

use alloc::collections::VecDeque;
use core::time::Duration;

use noctule_packet::QoS;

use crate::operation::OperationId;
use crate::outgoing::Outgoing;

/// What waits while there is no connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Messages of every QoS, SUBSCRIBE and UNSUBSCRIBE.
    #[default]
    All,
    /// What the server answers: messages of QoS 1 and 2, SUBSCRIBE and UNSUBSCRIBE.
    Acknowledged,
    /// Messages of QoS 1 and 2.
    AtLeastOnce,
    /// Nothing.
    Nothing,
}

/// What happens to a message that the queue has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It is refused.
    #[default]
    Refuse,
    /// It is refused, and [`Event::RoomAgain`](crate::Event::RoomAgain) tells when there is room.
    Wait,
    /// It is accepted and dropped.
    DropNewest,
    /// The oldest messages are dropped in its favour.
    DropOldest,
}

/// The bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// What waits while there is no connection.
    pub keep: Keep,
    /// What happens when it is full.
    pub overflow: Overflow,
    /// The bytes of the messages in it, with what they cost beside their content.
    pub bytes_max: usize,
    /// The number of messages in it.
    pub count_max: usize,
    /// How long a message may wait. The Message Expiry Interval bounds that in any case.
    pub age_max: Option<Duration>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            keep: Keep::All,
            overflow: Overflow::Refuse,
            bytes_max: 16 * 1_024 * 1_024,
            count_max: 100_000,
            age_max: None,
        }
    }
}

impl Keep {
    /// Whether messages of this QoS wait.
    pub const fn keeps_message(self, qos: QoS) -> bool {
        match self {
            Self::All => true,
            Self::Acknowledged | Self::AtLeastOnce => !matches!(qos, QoS::AtMostOnce),
            Self::Nothing => false,
        }
    }

    /// Whether SUBSCRIBE and UNSUBSCRIBE wait.
    pub const fn keeps_requests(self) -> bool {
        matches!(self, Self::All | Self::Acknowledged)
    }
}

/// The messages that wait, in the order in which they were accepted. QoS 0 waits apart: it needs no
/// quota, and so must not wait for any.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    at_most_once: VecDeque<Outgoing>,
    acknowledged: VecDeque<Outgoing>,
    bytes: usize,
    /// For how many bytes somebody was refused who waits to hear of room.
    awaited: Option<usize>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.at_most_once.len() + self.acknowledged.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at_most_once.is_empty() && self.acknowledged.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a message of this QoS that is sent now would overtake another one.
    #[inline]
    pub(crate) fn has_before(&self, qos: QoS) -> bool {
        !match qos {
            QoS::AtMostOnce => self.at_most_once.is_empty(),
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.acknowledged.is_empty(),
        }
    }

    /// Which bound does not allow so many more bytes, and its value.
    pub(crate) fn full(&self, bytes: usize, to: &QueueSettings) -> Option<(&'static str, u64)> {
        if self.bytes.saturating_add(bytes) > to.bytes_max {
            return Some(("queue.bytes_max", to.bytes_max as u64));
        }
        (self.len() >= to.count_max).then_some(("queue.count_max", to.count_max as u64))
    }

    fn part(&mut self, qos: QoS) -> &mut VecDeque<Outgoing> {
        match qos {
            QoS::AtMostOnce => &mut self.at_most_once,
            QoS::AtLeastOnce | QoS::ExactlyOnce => &mut self.acknowledged,
        }
    }

    pub(crate) fn push(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.bytes();
        self.part(outgoing.qos).push_back(outgoing);
    }

    /// Puts a message back that was in flight before all that wait.
    pub(crate) fn push_front(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.bytes();
        self.part(outgoing.qos).push_front(outgoing);
    }

    /// The message that is to be sent next. Without a quota that is the next of QoS 0.
    pub(crate) fn peek(&self, has_quota: bool) -> Option<&Outgoing> {
        self.deque_of_next(has_quota)?.front()
    }

    fn deque_of_next(&self, has_quota: bool) -> Option<&VecDeque<Outgoing>> {
        let acknowledged = self.acknowledged.front().filter(|_| has_quota);
        match (self.at_most_once.front(), acknowledged) {
            (Some(a), Some(b)) if b.operation < a.operation => Some(&self.acknowledged),
            (Some(_), _) => Some(&self.at_most_once),
            (None, Some(_)) => Some(&self.acknowledged),
            (None, None) => None,
        }
    }

    /// Takes what [`Queue::peek`] shows.
    pub(crate) fn pop(&mut self, has_quota: bool) -> Option<Outgoing> {
        let qos = self.peek(has_quota)?.qos;
        let outgoing = self.part(qos).pop_front()?;
        self.bytes -= outgoing.bytes();
        Some(outgoing)
    }

    /// Takes the message that has waited longest.
    pub(crate) fn pop_oldest(&mut self) -> Option<Outgoing> {
        self.pop(true)
    }

    /// Takes the next message that the policy does not keep.
    pub(crate) fn pop_unkept(&mut self, keep: Keep) -> Option<Outgoing> {
        let qos = if keep.keeps_message(QoS::AtMostOnce) {
            return None;
        } else if keep.keeps_message(QoS::AtLeastOnce) {
            QoS::AtMostOnce
        } else {
            self.peek(true)?.qos
        };
        let outgoing = self.part(qos).pop_front()?;
        self.bytes -= outgoing.bytes();
        Some(outgoing)
    }

    /// A message that waits.
    pub(crate) fn find(&self, operation: OperationId) -> Option<&Outgoing> {
        [&self.at_most_once, &self.acknowledged]
            .into_iter()
            .find_map(|part| part.get(position(part, operation)?))
    }

    /// Takes a message out.
    pub(crate) fn remove(&mut self, operation: OperationId) -> Option<Outgoing> {
        for part in [&mut self.at_most_once, &mut self.acknowledged] {
            if let Some(at) = position(part, operation)
                && let Some(outgoing) = part.remove(at)
            {
                self.bytes -= outgoing.bytes();
                return Some(outgoing);
            }
        }
        None
    }

    /// Somebody was refused and waits to hear of room for so many bytes.
    pub(crate) fn await_room(&mut self, bytes: usize) {
        self.awaited = self.awaited.max(Some(bytes));
    }

    #[inline]
    pub(crate) const fn is_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    /// Whether somebody who waits for room is to be told now: there is room for the message, and
    /// for more than it.
    pub(crate) fn take_room_again(&mut self, to: &QueueSettings) -> bool {
        let Some(bytes) = self.awaited else { return false };
        let is_emptier = self.bytes <= to.bytes_max / 4 * 3
            && self.len() <= to.count_max.saturating_sub(1) / 4 * 3;
        let has_room = is_emptier && self.full(bytes, to).is_none();
        has_room && self.awaited.take().is_some()
    }
}

/// Operations grow along the queue.
fn position(part: &VecDeque<Outgoing>, operation: OperationId) -> Option<usize> {
    part.binary_search_by_key(&operation, |outgoing| outgoing.operation).ok()
}
