//! What of a session must survive the process: facts to be stored in order, and a session made of
//! them again.
//!
//! The order of a driver's turn makes it durable: first the records, then the bytes, then the
//! events. So nothing leaves, and nobody is told, before what it promises is kept.

mod bytes;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use noctule_packet::{
    ForwardedProperties, PacketId, QoS, SubscriptionOptions, TopicName, UserProperties,
};
use noctule_session::Timestamp;

pub use bytes::RecordError;

use crate::operation::OperationId;
use crate::outgoing::{Outgoing, Times};
use crate::publication::Publication;

/// One fact to be made durable.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Record {
    /// A process begins. The names of operations begin here, so that none is used again.
    Opened {
        /// The first name.
        operation: OperationId,
    },
    /// The server has a session for us from now on. Everything stored before of what was in flight
    /// and received is void if `is_new`.
    SessionStarted {
        /// The client identifier in use.
        client_id: Box<str>,
        /// Whether the server had no session before.
        is_new: bool,
    },
    /// CONNECT is about to be sent. Until [`Record::SessionStarted`] follows, nobody knows what the
    /// server has made of it.
    Connecting,
    /// A message of QoS 1 or 2 was accepted from the user, or one of QoS 0 waits.
    Accepted {
        /// Its operation.
        operation: OperationId,
        /// The message.
        message: StoredMessage,
    },
    /// A message is about to be sent for the first time in its session.
    Transmitted {
        /// Its operation.
        operation: OperationId,
        /// Its packet identifier.
        packet_id: PacketId,
    },
    /// The server has a QoS 2 message: its PUBREC has arrived.
    Received {
        /// Its operation.
        operation: OperationId,
    },
    /// So many connections in a row have ended with a message sent and unanswered.
    Interrupted {
        /// Its operation.
        operation: OperationId,
        /// How many; 0 when something behind it has come through.
        interruptions: u16,
    },
    /// The user was told how an operation ended, and its message goes on unseen.
    Told {
        /// Which.
        operation: OperationId,
    },
    /// An operation is over: nothing of it is needed any more.
    Finished {
        /// Which.
        operation: OperationId,
    },
    /// A QoS 2 message was given up although the server may have kept it: its packet identifier is
    /// not used again in this session.
    Abandoned {
        /// Which.
        packet_id: PacketId,
    },
    /// A QoS 2 message was handed out to the user and must not be again. Before that is durable no
    /// PUBREC leaves, so one that was handed out to nobody comes again.
    Arrived {
        /// Its packet identifier.
        packet_id: PacketId,
    },
    /// The server has released a QoS 2 message.
    Released {
        /// Its packet identifier, which is free again.
        packet_id: PacketId,
    },
    /// A subscription was granted, for the first time or again. One that stands before a new
    /// session is lost until then.
    Subscribed {
        /// What to ask for again when the server forgets it.
        subscription: StoredSubscription,
    },
    /// A subscription was ended.
    Unsubscribed {
        /// The whole filter.
        filter: Box<str>,
    },
    /// So many connections in a row have ended before the server answered what asked for a lost
    /// subscription again.
    SubscriptionInterrupted {
        /// The whole filter.
        filter: Box<str>,
        /// How many.
        interruptions: u16,
    },
}

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    /// Where to.
    pub topic: Box<str>,
    /// The properties that are passed on.
    pub forwarded: ForwardedProperties,
    /// The message itself.
    pub payload: Box<[u8]>,
    /// The quality of service.
    pub qos: QoS,
    /// Whether the server shall retain it.
    pub retain: bool,
    /// What is left of its Message Expiry Interval. A store takes off the time that it was down.
    pub message_expiry_interval: Option<Duration>,
    /// How much longer it may wait for its first transmission.
    pub age_max: Option<Duration>,
}

/// A subscription as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSubscription {
    /// The whole filter.
    pub filter: Box<str>,
    /// How it wants its messages.
    pub options: SubscriptionOptions,
    /// Its Subscription Identifier.
    pub identifier: Option<u32>,
    /// What was sent along.
    pub user_properties: UserProperties<'static>,
}

impl StoredMessage {
    pub(crate) fn of(
        publication: &Publication<'_>,
        forwarded: &ForwardedProperties,
        age_max: Option<Duration>,
    ) -> Self {
        let seconds = publication.properties.message_expiry_interval;
        Self {
            topic: publication.topic.as_str().into(),
            forwarded: forwarded.clone(),
            payload: publication.payload.into(),
            qos: publication.qos,
            retain: publication.retain,
            message_expiry_interval: seconds.map(|seconds| Duration::from_secs(seconds.into())),
            age_max: publication.age_max.or(age_max),
        }
    }

    /// A message that was accepted before: what is left of its times.
    pub(crate) fn set_times(&mut self, now: Timestamp, times: Times) {
        self.message_expiry_interval = times.expires.map(|expires| expires.since(now));
        self.age_max = times.discarded.map(|discarded| discarded.since(now));
    }

    /// The message as it waits again. `None` if its topic is none.
    pub(crate) fn restore(&self, now: Timestamp, operation: OperationId) -> Option<Outgoing> {
        let topic = TopicName::new(&self.topic).ok()?;
        let mut publication = Publication::new(topic, &self.payload).qos(self.qos);
        publication.retain = self.retain;
        let mut outgoing =
            Outgoing::new(now, operation, &publication, &self.forwarded, self.age_max);
        outgoing.set_expiry(self.message_expiry_interval.map(|left| now + left));
        Some(outgoing)
    }
}

/// The records that nobody has taken yet; none unless the session is durable.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) is_durable: bool,
    list: Vec<Record>,
}

impl Records {
    pub(crate) const fn new(is_durable: bool) -> Self {
        Self { is_durable, list: Vec::new() }
    }

    /// Notes a fact, if facts are wanted.
    #[inline]
    pub(crate) fn note(&mut self, record: impl FnOnce() -> Record) {
        if self.is_durable {
            self.list.push(record());
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Record> {
        core::mem::take(&mut self.list)
    }
}
