//! What one shard tells another. Between any two shards messages arrive in the order in which they
//! were sent, and none is lost; nothing else is promised.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{QoS, SubscriptionOptions};
use smallvec::SmallVec;

use crate::effect::Token;
use crate::fault::Refused;
use crate::groups::{GroupKey, Tag, Unassigned};
use crate::message::Message;
use crate::origin::{Origin, Row, Seen};
use crate::passing::Passed;
use crate::registry::SessionKey;
use crate::retained::Position;
use crate::session::SubscriptionIdentifier;
use crate::statistics::{Gauges, Statistics};

/// One message between two shards of a broker. What stands in it is their own affair: a driver only
/// carries it.
#[derive(Debug)]
pub struct ShardMessage(pub(crate) Body);

/// What is said.
#[derive(Debug)]
pub(crate) enum Body {
    /// A publication, for the subscribers of the receiving shard.
    Forward(Forward),
    /// Publications of one client that are plain, and alike but for their payloads.
    Run(Passed),
    /// So many of them, one behind the other, have been dealt with.
    Answers { session: SessionKey, first: u64, count: u64 },
    /// A publication has been dealt with, and a part of it refused.
    Answer { token: Token, refused: Option<Box<Refused>> },
    /// So many bytes of publications have been dealt with.
    Credit { bytes: u64 },
    /// The sender has its first, or no more, subscribers to a filter, which has no share name.
    ChangeRoute { token: Token, filter: Box<str>, interested: bool },
    /// That is known. All that is published behind this, for each owner, will be forwarded.
    ConfirmRoute { token: Token, published: Row },
    /// For the owner of retained messages: the next of those that a filter matches.
    AskRetained(Box<AskRetained>),
    /// Its answer.
    GiveRetained(Box<GiveRetained>),
    /// For the owner of a shared subscription.
    Group(GroupMessage),
    /// For a member of one: a message that it is to have.
    Assign(Box<Assign>),
    /// A member that `token` waits for has been taken in, and every shard knows it.
    Joined { token: Token },
    /// The first shard wants to know what was counted, and numbers its questions.
    AskCounters { round: u64 },
    /// That is it.
    GiveCounters { round: u64, counters: Box<(Statistics, Gauges)> },
}

/// A publication on its way to another shard.
#[derive(Debug)]
pub(crate) struct Forward {
    /// To be returned with the answer, if anybody waits for one.
    pub(crate) token: Option<Token>,
    pub(crate) message: Arc<Message>,
    pub(crate) origin: Origin,
    /// What the store calls it, or 0.
    pub(crate) name: u64,
    /// Stands for the publisher's client identifier; publications of the same one keep their order.
    pub(crate) publisher: u64,
    /// The publisher's client identifier, if the receiving shard is to keep the message.
    pub(crate) keep_for: Option<Arc<str>>,
    /// Whether the publisher is promised nothing that has to be in the store.
    pub(crate) is_in_memory: bool,
}

/// A question about retained messages.
#[derive(Debug)]
pub(crate) struct AskRetained {
    /// Whose replay this is for, and which.
    pub(crate) session: SessionKey,
    pub(crate) replay: u64,
    /// What the owner must have seen before it answers.
    pub(crate) since: Seen,
    pub(crate) levels: Arc<[Box<str>]>,
    pub(crate) position: Position,
    pub(crate) messages_max: usize,
}

/// Retained messages, up to a position.
#[derive(Debug)]
pub(crate) struct GiveRetained {
    pub(crate) session: SessionKey,
    pub(crate) replay: u64,
    pub(crate) messages: Vec<(Arc<Message>, Origin)>,
    pub(crate) position: Position,
    /// What their owner had seen of all shards when it looked.
    pub(crate) seen: Seen,
}

/// What a member of a shared subscription, or its shard for it, says.
#[derive(Debug)]
pub(crate) enum GroupMessage {
    /// It joins, or changes its subscription.
    Join {
        token: Token,
        filter: Arc<str>,
        session: SessionKey,
        options: SubscriptionOptions,
        identifier: Option<SubscriptionIdentifier>,
        window: Option<u16>,
        is_stored: bool,
    },
    /// It leaves. What it has not finished goes back to the others.
    Leave { filter: Arc<str>, session: SessionKey, unfinished: Unfinished },
    /// It is connected, and takes so many messages at a time; or it is not.
    Lend { filter: Arc<str>, session: SessionKey, window: Option<u16> },
    /// It is done with one message.
    Settle { group: GroupKey, session: SessionKey },
    /// It will not be sent these, or has not acknowledged them.
    GiveBack {
        filter: Arc<str>,
        group: Option<GroupKey>,
        session: SessionKey,
        unfinished: Unfinished,
    },
}

/// Messages that go back to a shared subscription.
pub(crate) type Unfinished = Vec<Unassigned>;

/// A message for one member of a shared subscription.
#[derive(Debug)]
pub(crate) struct Assign {
    pub(crate) tag: Tag,
    pub(crate) session: SessionKey,
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: SmallVec<[u32; 2]>,
}
