//! What happened: everything that a session tells its user, in order.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use noctule_packet::{FilterList, PacketId, ReasonCode, SubscriptionList};

use crate::ended::Ended;
use crate::fault::ProtocolError;
use crate::held::AckToken;
use crate::message::Message;
use crate::negotiated::Negotiated;
use crate::observe::Observations;
use crate::operation::{OperationId, Outcome, RequestOutcome, Stage};
use crate::remarks::Remarks;

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The server has accepted the connection.
    Connected {
        /// Which connection of the session it is.
        epoch: Epoch,
        /// What holds on it.
        negotiated: Box<Negotiated>,
    },
    /// A connection ended, or did not come about: exactly once for each `transport_up`.
    Disconnected {
        /// Which connection of the session it was.
        epoch: Epoch,
        /// Whether the server had accepted it.
        was_connected: bool,
        /// Why.
        ended: Ended,
    },
    /// A message has arrived.
    Message {
        /// What.
        message: Message,
        /// What to acknowledge it with, where the user acknowledges.
        token: Option<AckToken>,
    },
    /// A QoS 2 publication has come further.
    Progressed {
        /// Which.
        operation: OperationId,
        /// How far.
        stage: Stage,
    },
    /// A publication has ended.
    Published {
        /// Which.
        operation: OperationId,
        /// How.
        outcome: Outcome,
        /// Where to it was published, unless it was delivered.
        topic: Option<Box<str>>,
    },
    /// The server has released a QoS 2 message (PUBREL), and says something beside that.
    Released {
        /// The packet identifier of the message.
        packet_id: PacketId,
        /// What it says.
        remarks: Box<Remarks>,
    },
    /// A SUBSCRIBE has ended.
    Subscribed {
        /// Which.
        operation: OperationId,
        /// What it has asked for.
        subscriptions: SubscriptionList<'static>,
        /// How.
        outcome: RequestOutcome,
    },
    /// An UNSUBSCRIBE has ended.
    Unsubscribed {
        /// Which.
        operation: OperationId,
        /// The subscriptions that it has asked to end.
        filters: FilterList<'static>,
        /// How.
        outcome: RequestOutcome,
    },
    /// The server had forgotten the session, and a subscription was asked for again.
    Resubscribed {
        /// The whole filter.
        filter: Box<str>,
        /// What the server says; `None` if it cannot be asked, because it supports no such
        /// subscription any more, or too many connections have ended over the question: then it
        /// is given up.
        code: Option<ReasonCode>,
        /// What it says beside that.
        remarks: Option<Box<Remarks>>,
    },
    /// The server had forgotten the session.
    SessionLost,
    /// There is room in the queue, after a publication was refused with
    /// [`Overflow::Wait`](crate::Overflow::Wait).
    RoomAgain,
    /// So much was held (`limits.held_bytes_max`) that nothing was read, for two seconds in which
    /// nobody took a message, and somebody waits for an answer of the server: he may be the one who
    /// should take messages. So reading goes on, up to four times the bound, and what comes with
    /// QoS 0 is dropped, until less is held.
    Stalled {
        /// The bytes of messages that are held.
        held_bytes: usize,
    },
    /// PINGRESP has come.
    PingAnswered {
        /// How long after its PINGREQ.
        round_trip: Duration,
    },
    /// A re-authentication has ended.
    Reauthenticated,
    /// The server did something wrong that was let pass.
    Tolerated(ProtocolError),
}

impl Event {
    /// A publication has ended.
    #[inline]
    pub(crate) fn published(operation: OperationId, outcome: Outcome, topic: &str) -> Self {
        let topic = (!outcome.is_delivered()).then(|| topic.into());
        Self::Published { operation, outcome, topic }
    }

    /// A publication has reached the server.
    #[inline]
    pub(crate) const fn delivered(operation: OperationId) -> Self {
        Self::Published { operation, outcome: Outcome::DELIVERED, topic: None }
    }
}

/// Counts the connections of a session; the first is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub(crate) u32);

impl Epoch {
    /// The number.
    pub const fn value(self) -> u32 {
        self.0
    }
}

/// The events that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Events {
    list: VecDeque<Event>,
    /// The bytes of the messages among them that nobody has to acknowledge.
    pub(crate) message_bytes: usize,
    pub(crate) observations: Observations,
}

impl Events {
    #[inline]
    pub(crate) fn push(&mut self, event: Event) {
        self.list.push_back(event);
    }

    pub(crate) fn next(&mut self) -> Option<Event> {
        let event = self.list.pop_front()?;
        self.observations.note_event(&event);
        if let Event::Message { message, token: None } = &event {
            self.message_bytes = self.message_bytes.saturating_sub(message.bytes());
        }
        Some(event)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}
