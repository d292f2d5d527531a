//! What a store gives back before the first client comes.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{PacketId, QoS};
use noctule_session::Timestamp;

use crate::message::Message;
use crate::source::Source;
use crate::stored::{StoredSubscription, StoredTerms};

/// One message that waits for a stored session.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    /// The message.
    pub message: Arc<Message>,
    /// Its place in the queue.
    pub sequence: u64,
    /// The quality of service to deliver it with.
    pub qos: QoS,
    /// Whether to deliver it with RETAIN set.
    pub retain: bool,
    /// The Subscription Identifiers to deliver it with.
    pub identifiers: Vec<u32>,
    /// The whole filter of the shared subscription that has given the message to its session.
    pub group: Option<Arc<str>>,
    /// How far its delivery has come.
    pub step: Step,
}

/// How far the delivery of a stored message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It may have been sent.
    Published,
    /// Its PUBREC has come, as which one of those of the session.
    Released(u64),
    /// It is done, but something before it is not.
    Done,
}

/// The part of a queue that is not in memory: the store has it where it may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Away {
    /// The place of its first message, at the earliest.
    pub from: u64,
    /// The place of its last message.
    pub up_to: u64,
    /// How many messages it has.
    pub messages: u64,
    /// Their bytes, as near as the store knows.
    pub bytes: u64,
}

/// A session as a store gives it back.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSession {
    /// Its terms.
    pub terms: StoredTerms,
    /// Whether it had a connection, as far as the store knows.
    pub was_connected: bool,
    /// When it ends, unless it had a connection; `None` if never.
    pub expires_at: Option<Timestamp>,
    /// When its will is due, unless it had a connection.
    pub will_at: Option<Timestamp>,
    /// Its subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
    /// What waits for it, in order, and at least everything that may have been sent.
    pub messages: Vec<StoredMessage>,
    /// What waits behind that, and is read when its turn comes.
    pub away: Option<Away>,
    /// What waits behind that, in order.
    pub behind: Vec<StoredMessage>,
    /// What of the part that is [`away`](Self::away) goes back to shared subscriptions at once, in
    /// order, for it was not sent and there is no connection any more.
    pub unsent: Vec<StoredMessage>,
    /// Places whose messages are missing and were never sent: they get no packet identifiers, which
    /// the store is to be told.
    pub lost: Vec<u64>,
    /// The last place in its queue whose message may have been sent.
    pub sent: u64,
    /// The packet identifier of the first message.
    pub next: PacketId,
    /// The last place in its queue that was ever taken.
    pub sequence: u64,
    /// QoS 2 packet identifiers that its client has not released.
    pub received: Vec<PacketId>,
}

/// A queue of a shared subscription as a store gives it back.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSharedQueue {
    /// Its name.
    pub queue: u64,
    /// The whole filter.
    pub filter: Arc<str>,
    /// What waits, with its places and in their order.
    pub messages: Vec<(u64, Arc<Message>)>,
    /// Places that were taken, and of which nothing else is known.
    pub lost: Vec<u64>,
    /// The last place that was taken.
    pub last: u64,
}

/// What a store gives back, before the first client comes.
#[derive(Debug)]
#[non_exhaustive]
pub enum Restored {
    /// A session whose home is this shard.
    Session(Box<StoredSession>),
    /// A queue of a shared subscription that lives on this shard.
    SharedQueue(StoredSharedQueue),
    /// The retained message of a topic whose owner is this shard.
    Retained(Arc<Message>),
    /// A QoS 2 publication, or a will, that was received and perhaps not routed to all; for the
    /// home of its publisher.
    Unrouted {
        /// Its name.
        publication: u64,
        /// Who published it.
        session: u64,
        /// How it came.
        source: Source,
        /// The message.
        message: Arc<Message>,
    },
    /// The sessions that have got such a publication; for every shard.
    Queued {
        /// Its name.
        publication: u64,
        /// The sessions, and the queues of shared subscriptions; and
        /// [`AS_RETAINED`](crate::AS_RETAINED).
        sessions: Vec<u64>,
    },
    /// That was all. [`Effect::Restored`](crate::Effect::Restored) says when it is in its place.
    End {
        /// The largest name that was ever given to anything.
        last_name: u64,
    },
    /// All shards have said [`Effect::Restored`](crate::Effect::Restored): what was interrupted
    /// goes on.
    GoOn,
}
