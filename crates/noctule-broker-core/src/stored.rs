//! What a store is asked to keep.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

use noctule_packet::{PacketId, QoS, SubscriptionOptions, Version};
use noctule_session::Timestamp;
use smallvec::SmallVec;

use crate::message::Message;
use crate::queued_run::QueuedRun;
use crate::source::WillOwner;
use crate::will::Will;

/// One fact to be made durable. What a record says of a session counts only behind its
/// [`SessionStarted`](Self::SessionStarted) and before its [`SessionEnded`](Self::SessionEnded).
///
/// What waits in a shared subscription for any of its members has queues like those of sessions,
/// with [names of their own](is_shared_queue). Whatever shard has got a message of theirs may say
/// that it waits there no more, so that this may stand before what says that it waits.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Record {
    /// A session has got a connection: it begins, or goes on with other terms.
    SessionStarted(Box<StoredTerms>),
    /// A session has lost its connection, or its will has been published since.
    SessionLeft {
        /// Which session.
        session: u64,
        /// In seconds; what DISCONNECT has made of it.
        expiry_interval: u32,
        /// When it ends; `None` if never.
        expires_at: Option<Timestamp>,
        /// When its will is published; `None` if it has none any more.
        will_at: Option<Timestamp>,
        /// The last place in its queue whose message may have been sent. Those behind it have not
        /// been, as long as it has no connection.
        sent: u64,
    },
    /// A session is over, and everything that is kept for it.
    SessionEnded {
        /// Which session.
        session: u64,
    },
    /// A subscription was made or replaced.
    Subscribed {
        /// Whose.
        session: u64,
        /// What.
        subscription: StoredSubscription,
    },
    /// A subscription was ended.
    Unsubscribed {
        /// Whose.
        session: u64,
        /// The whole filter.
        filter: Box<str>,
    },
    /// A QoS 2 publication has come: it must not be accepted again under its packet identifier, and
    /// is routed from now on.
    Received {
        /// The publisher.
        session: u64,
        /// The packet identifier, until it is released.
        packet_id: PacketId,
        /// The publication's name.
        publication: u64,
        /// The message.
        message: Arc<Message>,
    },
    /// A publication that was recorded with [`Received`](Self::Received) or
    /// [`WillDue`](Self::WillDue) is recorded wherever it waits.
    Routed {
        /// The publication's name.
        publication: u64,
    },
    /// A will is due: from now on it is a publication, and its session has it no more.
    WillDue {
        /// Whose it was; 0 if nobody's that is kept.
        session: u64,
        /// The publication's name.
        publication: u64,
        /// Who may publish it, or not.
        owner: WillOwner,
        /// The message.
        message: Arc<Message>,
    },
    /// A QoS 2 publication was released by its publisher.
    Released {
        /// The publisher.
        session: u64,
        /// The packet identifier that is free again.
        packet_id: PacketId,
    },
    /// A message waits for sessions.
    Queued {
        /// The name of the publication that was recorded with [`Received`](Self::Received) or
        /// [`WillDue`](Self::WillDue), or 0.
        publication: u64,
        /// The message.
        message: Arc<Message>,
        /// For whom it waits.
        references: References,
    },
    /// Messages wait for one session.
    QueuedRun(QueuedRun),
    /// A message that waited in one queue waits in another one now: a member of a shared
    /// subscription has got it, or gives back what it was never sent.
    Moved {
        /// The queue that it has left: a session's, or a shared subscription's.
        from: u64,
        /// The place that it had there.
        sequence: u64,
        /// The message.
        message: Arc<Message>,
        /// Where it waits now.
        reference: Reference,
    },
    /// A shared subscription has a queue of this name, perhaps beside others.
    SharedQueue {
        /// Its name.
        queue: u64,
        /// The whole filter, `$share` and all.
        filter: Arc<str>,
        /// The last place in it, if no more will be taken: it is over when all are done.
        last: Option<u64>,
    },
    /// A message waits for a session no more, and was never sent to it; or it waits in a shared
    /// subscription no more.
    Skipped {
        /// Which session, or which queue of a shared subscription.
        session: u64,
        /// The message's place in its queue.
        sequence: u64,
    },
    /// A session's client is done with everything up to a place in its queue.
    Acknowledged {
        /// Which session.
        session: u64,
        /// The last place.
        up_to: u64,
        /// The packet identifier of the message behind it.
        next: PacketId,
    },
    /// A session that has a connection may be sent its queue up to a place, and no further.
    MaySend {
        /// Which session.
        session: u64,
        /// The last place.
        up_to: u64,
    },
    /// A session's client has a QoS 2 message.
    Pubrec {
        /// Which session.
        session: u64,
        /// The message's packet identifier.
        packet_id: PacketId,
    },
    /// A session's client knows that a QoS 2 message's packet identifier is free again.
    Pubcomp {
        /// Which session.
        session: u64,
        /// The packet identifier.
        packet_id: PacketId,
    },
    /// A topic has another retained message.
    Retained {
        /// The name of the publication that it is, if it was recorded with
        /// [`Received`](Self::Received) or [`WillDue`](Self::WillDue), or 0.
        publication: u64,
        /// The message.
        message: Arc<Message>,
    },
    /// A topic has no retained message any more.
    RetainedRemoved {
        /// As in [`Retained`](Self::Retained): what has removed it.
        publication: u64,
        /// The topic.
        topic: Arc<str>,
    },
}

/// Stands for the topic among the sessions that have got a publication: its retained message was
/// changed by that, and perhaps by others since.
pub const AS_RETAINED: u64 = 0;

/// The bit that the names of shared subscriptions' queues have, and no others: there are fewer
/// shards.
const SHARED: u64 = 1 << 15;

/// The name of a shared subscription's queue, made of one that nothing else has.
pub(crate) const fn name_shared_queue(name: u64) -> u64 {
    name | SHARED
}

/// Whether a queue of this name is a shared subscription's, and not a session's.
pub const fn is_shared_queue(name: u64) -> bool {
    name & SHARED != 0
}

/// For whom a message waits, and how it is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Which session, or which queue of a shared subscription.
    pub session: u64,
    /// The place in its queue: that of the next message is the next one. 0 says of a shared
    /// subscription's that it has got the message, though this does not wait there.
    pub sequence: u64,
    /// The quality of service to deliver it with.
    pub qos: QoS,
    /// Whether to deliver it with RETAIN set.
    pub retain: bool,
    /// The Subscription Identifiers to deliver it with.
    pub identifiers: Vec<u32>,
    /// The whole filter of the shared subscription that has given the message to this session.
    pub group: Option<Arc<str>>,
}

/// For whom a message waits. Mostly that is one, which takes no memory of its own.
///
/// ```
/// use noctule_broker_core::{Reference, References};
/// use noctule_packet::QoS;
///
/// let one = |session| Reference {
///     session,
///     sequence: 1,
///     qos: QoS::AtLeastOnce,
///     retain: false,
///     identifiers: Vec::new(),
///     group: None,
/// };
/// let references: References = (1..4).map(one).collect();
/// assert_eq!(references[2].session, 3);
/// assert_eq!(References::from(one(1))[..], references[..1]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References(SmallVec<[Reference; 1]>);

impl References {
    /// Puts one behind all others.
    pub fn push(&mut self, reference: Reference) {
        self.0.push(reference);
    }

    /// Takes the last one.
    pub fn pop(&mut self) -> Option<Reference> {
        self.0.pop()
    }
}

impl Deref for References {
    type Target = [Reference];

    fn deref(&self) -> &[Reference] {
        &self.0
    }
}

impl DerefMut for References {
    fn deref_mut(&mut self) -> &mut [Reference] {
        &mut self.0
    }
}

impl From<Reference> for References {
    fn from(reference: Reference) -> Self {
        Self(SmallVec::from_buf([reference]))
    }
}

impl FromIterator<Reference> for References {
    fn from_iter<I: IntoIterator<Item = Reference>>(references: I) -> Self {
        Self(references.into_iter().collect())
    }
}

impl IntoIterator for References {
    type Item = Reference;
    type IntoIter = <SmallVec<[Reference; 1]> as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The terms of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTerms {
    /// Its name, which no other session has or had.
    pub session: u64,
    /// The client identifier. An older session under it is over.
    pub client_id: Arc<str>,
    /// Its user, if it has one.
    pub user_name: Option<Box<str>>,
    /// The version that its client speaks.
    pub version: Version,
    /// In seconds; 0 if nothing is kept but the will.
    pub expiry_interval: u32,
    /// How many messages its client takes at a time.
    pub receive_maximum: u16,
    /// The last place in its queue whose message may be sent now; `None` if nobody has said.
    pub may_send: Option<u64>,
    /// What is published if its connection ends without DISCONNECT.
    pub will: Option<Box<Will>>,
}

/// One subscription as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSubscription {
    /// The whole filter.
    pub filter: Box<str>,
    /// Its options.
    pub options: SubscriptionOptions,
    /// Its Subscription Identifier.
    pub identifier: Option<u32>,
    /// Whether retained messages are to be sent for it, and not all have been: they are sent from
    /// the first on behind a crash.
    pub is_owed: bool,
}
