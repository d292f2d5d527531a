//! What a shard wants done: the only way in which it reaches the world outside.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::{Drain, Vec};
use core::fmt;
use core::ops::Range;
use core::slice::Iter;

use crate::event::Event;
use crate::input::{ConnectionId, ListenerId, ShardId};
use crate::queued_run::QueuedRun;
use crate::registry::SessionKey;
use crate::settings::Durability;
use crate::shard_message::{Body, ShardMessage};
use crate::stored::Record;

/// Names one question, so that its answer finds the place that waits for it.
///
/// Opaque to the driver, which only hands it back. An answer for something that has ended is
/// recognised and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) Waiting);

/// Who waits for the answer that a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Waiting {
    /// The packet that a connection is stopped at.
    Packet { connection: ConnectionId, step: u32 },
    /// A publication or a release, by its place among the session's acknowledgements.
    Acknowledgement { session: SessionKey, answer: u64 },
    /// A publication that waits for nothing else.
    Alone { session: SessionKey, answer: u64 },
    /// Everybody who waits until all other shards know a route.
    Route { serial: u64 },
    /// The shard of a member that has joined a group here, by the join's number.
    Join { number: u64 },
    /// A will that is due, by its number.
    Will { number: u64 },
    /// The end of what the store gives back.
    Restore,
    /// Nobody.
    Nobody,
}

impl Token {
    /// A token whose answer is of no interest to anybody.
    pub const fn nobody() -> Self {
        Self(Waiting::Nobody)
    }
}

/// Who a client has proven to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// The authenticated user, `None` for an anonymous one.
    pub user_name: Option<Box<str>>,
    /// What an acknowledgement means for this user, whatever it means for the
    /// [listener](crate::ListenerSettings::durability).
    pub durability: Option<Durability>,
}

/// What a client offers as proof. Its `Debug` form hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The client identifier, already assigned if the client sent none.
    pub client_id: Box<str>,
    /// The user name in CONNECT.
    pub user_name: Option<Box<str>>,
    /// The password in CONNECT.
    pub password: Option<Box<[u8]>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "hidden"))
            .finish()
    }
}

/// What authorisation is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// May this be published to the topic?
    Publish {
        /// The topic name.
        topic: Arc<str>,
        /// Whether it would be retained.
        retain: bool,
    },
    /// May this filter be subscribed to?
    Subscribe {
        /// The whole filter, share name included.
        filter: Arc<str>,
    },
}

/// One thing that a shard wants done, to be carried out in order.
#[derive(Debug)]
pub enum Effect {
    /// Write what is in the outbound buffer, then close politely: shut down writing, discard input
    /// for a moment, close. The shard has forgotten the connection already and sends nothing more.
    Close {
        /// Which one.
        connection: ConnectionId,
    },
    /// The packet that paused a connection is done: send
    /// [`Input::Continue`](crate::Input::Continue).
    Resume {
        /// Which one.
        connection: ConnectionId,
    },
    /// Find out who a client is.
    Authenticate {
        /// To be handed back.
        token: Token,
        /// Where the client came in.
        listener: ListenerId,
        /// What it offers.
        credentials: Credentials,
    },
    /// Find out whether a client may do something. A will is asked about when it is due; its client
    /// is gone then, and may have got another session.
    Authorize {
        /// To be handed back.
        token: Token,
        /// Its client identifier.
        client_id: Arc<str>,
        /// Who it is.
        principal: Principal,
        /// What it wants.
        question: Question,
    },
    /// Make a record durable, behind all earlier ones;
    /// [`Input::Persisted`](crate::Input::Persisted) says how many are.
    Persist {
        /// What to keep.
        record: Record,
        /// Whether somebody waits for it. What nobody waits for may go along with the next one that
        /// is urgent.
        is_urgent: bool,
    },
    /// Make durable, behind all earlier records, what [`Record::QueuedRun`] would say, for which
    /// somebody waits. The packets stand in the bytes of the input that has had this effect; only
    /// with [`Effects::of_bytes_at_hand`].
    PersistRun {
        /// What to keep.
        run: QueuedRun<Range<usize>>,
    },
    /// Read a part of a session's queue, of which [`Input::Spilled`](crate::Input::Spilled) or what
    /// was [restored](crate::Away) has told that it is in the store;
    /// [`Input::QueueRead`](crate::Input::QueueRead) gives it back.
    ReadQueue {
        /// Which session.
        session: u64,
        /// The place of the first message, at the earliest.
        from: u64,
        /// How many bytes of messages, about: one message in any case.
        bytes_max: u64,
    },
    /// Empty the log as far as that is possible now, even if little is in it: memory is scarce.
    /// What follows from that comes with [`Input::Spilled`](crate::Input::Spilled) to all shards,
    /// and behind all of it [`Input::LogEmptied`](crate::Input::LogEmptied), whether it has helped
    /// or not.
    EmptyLog,
    /// Everything that was given back with [`Input::Restore`](crate::Input::Restore) is in its
    /// place, here and in what other shards know of it.
    Restored,
    /// Hand something to another shard, as
    /// [`Input::FromShard`](crate::Input::FromShard): behind all that it was handed before, and
    /// without fail.
    ToShard {
        /// Which shard.
        to: ShardId,
        /// What.
        message: ShardMessage,
    },
    /// Something worth a line in a log.
    Event(Event),
}

/// The effects of one or more inputs, in order; of one, if its bytes have to be
/// [at hand](Self::of_bytes_at_hand).
#[derive(Debug, Default)]
pub struct Effects {
    list: Vec<Effect>,
    has_bytes_at_hand: bool,
}

impl Effects {
    /// No effects yet.
    pub const fn new() -> Self {
        Self { list: Vec::new(), has_bytes_at_hand: false }
    }

    /// No effects yet, for whoever carries them out while the bytes of the input that has had them
    /// are still at hand: what is to be kept of those is not copied, see [`Effect::PersistRun`].
    pub const fn of_bytes_at_hand() -> Self {
        Self { list: Vec::new(), has_bytes_at_hand: true }
    }

    pub(crate) const fn has_bytes_at_hand(&self) -> bool {
        self.has_bytes_at_hand
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Looks at all effects, in order.
    pub fn iter(&self) -> Iter<'_, Effect> {
        self.list.iter()
    }

    /// Takes all effects out, in order; the memory is kept for the next turn.
    pub fn drain(&mut self) -> Drain<'_, Effect> {
        self.list.drain(..)
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    /// Says something to another shard.
    pub(crate) fn tell(&mut self, to: ShardId, body: Body) {
        self.push(Effect::ToShard { to, message: ShardMessage(body) });
    }
}
