//! What can happen to a shard: every input it understands, and what it says about the bytes it
//! took.

use alloc::boxed::Box;
use alloc::vec::Vec;

use noctule_packet::ReasonCode;

use crate::effect::{Principal, Token};
use crate::peer::Peer;
use crate::restored::{Restored, StoredMessage};
use crate::shard_message::ShardMessage;
use crate::store_report::StoreReport;

/// A network connection, named by the driver: a slot that is used again, and how often it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// Index of the driver's slot; small and dense, because the shard indexes by it.
    pub slot: u32,
    /// Counts the connections that had this slot, so that a late answer finds nobody.
    pub generation: u32,
}

/// Which of [`Settings::listeners`](crate::Settings::listeners) accepted a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// One shard of the broker, by its number: the first is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// Everything that can happen to a [`Shard`](crate::Shard).
#[derive(Debug)]
pub enum Input<'a> {
    /// A transport connection is up; nothing has been read from it.
    Opened {
        /// The new connection.
        connection: ConnectionId,
        /// Who accepted it.
        listener: ListenerId,
        /// The peer's address, for events only.
        peer: Peer,
        /// Whether it was opened on another shard first, which said [`Reading::Moved`].
        moved: bool,
    },
    /// Bytes were read. What [`Consumed::bytes`] does not cover must be passed again, in front of
    /// what is read later.
    Bytes {
        /// Where they come from.
        connection: ConnectionId,
        /// All bytes that were not consumed yet.
        bytes: &'a [u8],
    },
    /// The driver has a turn to spare after [`Reading::Budget`] or an
    /// [`Effect::Resume`](crate::Effect::Resume).
    Continue {
        /// The connection that goes on.
        connection: ConnectionId,
        /// All bytes that were not consumed yet; may be empty.
        bytes: &'a [u8],
    },
    /// The outbound buffer, which was once too full to take more, has been written out.
    Flushed {
        /// The connection that can take more.
        connection: ConnectionId,
    },
    /// The transport is gone: the peer closed it, or it broke. The connection's name may be used
    /// again.
    Closed {
        /// The connection that ended.
        connection: ConnectionId,
    },
    /// Answers [`Effect::Authenticate`](crate::Effect::Authenticate).
    Authenticated {
        /// The question's token.
        token: Token,
        /// Who it is, or why the client is refused.
        outcome: Result<Principal, ReasonCode>,
    },
    /// Answers [`Effect::Authorize`](crate::Effect::Authorize).
    Authorized {
        /// The question's token.
        token: Token,
        /// Whether it may be done.
        allowed: bool,
    },
    /// So many of all records that were handed out with
    /// [`Effect::Persist`](crate::Effect::Persist) and
    /// [`Effect::PersistRun`](crate::Effect::PersistRun) are where they must be: the first ones.
    Persisted {
        /// How many, since the shard was made.
        records: u64,
    },
    /// Answers [`Effect::ReadQueue`](crate::Effect::ReadQueue).
    QueueRead {
        /// Which session.
        session: u64,
        /// What was asked for.
        from: u64,
        /// The messages, in order. What cannot be read is missing.
        messages: Vec<StoredMessage>,
        /// From which place on there may be others that were stored when it was read.
        next: Option<u64>,
    },
    /// What waits for a session is, up to a place in its queue, where it may stay and can be read:
    /// it need not be in memory.
    Spilled {
        /// Which session.
        session: u64,
        /// The last place.
        up_to: u64,
    },
    /// The log is emptied, for whoever has asked with
    /// [`Effect::EmptyLog`](crate::Effect::EmptyLog) since that began; and all shards have heard
    /// what has left it.
    LogEmptied,
    /// What was stored, before anything else happens.
    Restore(Restored),
    /// Whether there is room for records on their way to the store. While there is none, whoever
    /// wants something kept waits, and nobody else.
    StoreRoom {
        /// There is at first.
        has_room: bool,
    },
    /// How the store is doing; what is said last stands in the `$SYS` topics.
    StoreReport(StoreReport),
    /// Another shard has said something with
    /// [`Effect::ToShard`](crate::Effect::ToShard). What one shard says to another must come in
    /// the order in which it was said.
    FromShard {
        /// Who.
        from: ShardId,
        /// What.
        message: ShardMessage,
    },
    /// The host program wants something.
    Command(Command),
    /// The deadline of [`Shard::poll_timeout`](crate::Shard::poll_timeout) has passed.
    Timeout,
}

impl<'a> Input<'a> {
    /// The bytes that come with it; none with most.
    pub const fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes { bytes, .. } | Self::Continue { bytes, .. } => bytes,
            _ => &[],
        }
    }
}

/// What the host program can ask of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Disconnect the client with this identifier; its will is sent.
    Kick {
        /// Whom.
        client_id: Box<str>,
        /// What a 5.0 client is told.
        reason: ReasonCode,
    },
    /// Disconnect every client and take no new one.
    Stop {
        /// What 5.0 clients are told.
        reason: ReasonCode,
        /// Where 5.0 clients are sent, with [`ReasonCode::UseAnotherServer`] or
        /// [`ReasonCode::ServerMoved`].
        server_reference: Option<Box<str>>,
    },
}

/// How far the shard got with the bytes of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Consumed {
    /// How many bytes from the front are dealt with.
    pub bytes: usize,
    /// What the driver does next.
    pub reading: Reading,
}

/// What a driver does after it has passed bytes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// No complete packet is left: read on.
    #[default]
    Drained,
    /// The turn's share is used up: let others run, then send [`Input::Continue`].
    Budget,
    /// A packet waits for an answer: read nothing until [`Effect::Resume`](crate::Effect::Resume).
    Paused,
    /// The client's home is another shard, and this one has forgotten the connection. Open it
    /// there, and pass on all bytes that were not consumed and all that follow.
    Moved(ShardId),
}
