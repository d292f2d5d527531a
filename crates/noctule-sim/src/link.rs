//! One network connection between a client and a shard: bytes under way in both directions, and
//! what each end knows of the other.

use std::collections::VecDeque;

use noctule_broker_core::{ConnectionId, ListenerId, ShardId};

use crate::oracle::will::WillId;

/// Names a connection of the run; never used again.
pub(crate) type LinkId = usize;

/// Bytes that arrive at a moment.
pub(crate) type Piece = (u64, Vec<u8>);

/// How far the broker's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokerEnd {
    /// The connection is on its way to a shard.
    Opening { moved: bool },
    /// A shard serves it.
    Open,
    /// The shard has ended it; what is in its buffer is still written.
    Closing,
    /// It is gone.
    Closed,
}

/// Something that a client has sent and the world takes note of when a shard has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Connect,
    Publish { topic: usize, retain: bool },
    Subscribe { filters: Vec<usize> },
    Other,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: usize,
    /// Opened by a client that never looks at it again.
    pub(crate) is_ghost: bool,
    pub(crate) shard: ShardId,
    pub(crate) listener: ListenerId,
    pub(crate) id: ConnectionId,
    pub(crate) broker_end: BrokerEnd,
    pub(crate) upward: VecDeque<Piece>,
    pub(crate) upward_last: u64,
    /// Arrived at the broker and not consumed.
    pub(crate) unread: Vec<u8>,
    /// How many bytes the client has sent, and how many the broker has consumed.
    pub(crate) sent: u64,
    pub(crate) consumed: u64,
    pub(crate) marks: VecDeque<(u64, Mark)>,
    pub(crate) last_mark: Mark,
    pub(crate) is_paused: bool,
    pub(crate) downward: VecDeque<Piece>,
    pub(crate) downward_last: u64,
    /// Bytes on their way to the client.
    pub(crate) downward_bytes: usize,
    /// The shard could not write everything at once.
    pub(crate) is_blocked: bool,
    /// Arrived at the client and not decoded.
    pub(crate) inbox: Vec<u8>,
    /// The client reads nothing.
    pub(crate) is_stalled: bool,
    /// It read nothing once.
    pub(crate) was_stalled: bool,
    pub(crate) client_is_open: bool,
    /// The client is gone and the network tells nobody.
    pub(crate) is_half_open: bool,
    /// The client has sent what no client may send, and may be disconnected for it ...
    pub(crate) misbehaved: bool,
    /// ... or must be.
    pub(crate) must_end: bool,
    pub(crate) sent_disconnect: bool,
    pub(crate) was_kicked: bool,
    pub(crate) clean_start: bool,
    /// In seconds, as asked for.
    pub(crate) session_expiry: u32,
    pub(crate) will: Option<WillId>,
    /// What Event::Connected said.
    pub(crate) let_in: Option<bool>,
    pub(crate) connect_consumed: bool,
    /// Which of its client's sessions the broker serves here.
    pub(crate) session_number: u32,
}

impl Link {
    pub(crate) fn new(client: usize, shard: ShardId, listener: ListenerId) -> Self {
        Self {
            client,
            is_ghost: false,
            shard,
            listener,
            id: ConnectionId { slot: 0, generation: 0 },
            broker_end: BrokerEnd::Opening { moved: false },
            upward: VecDeque::new(),
            upward_last: 0,
            unread: Vec::new(),
            sent: 0,
            consumed: 0,
            marks: VecDeque::new(),
            last_mark: Mark::Other,
            is_paused: false,
            downward: VecDeque::new(),
            downward_last: 0,
            downward_bytes: 0,
            is_blocked: false,
            inbox: Vec::new(),
            is_stalled: false,
            was_stalled: false,
            client_is_open: true,
            is_half_open: false,
            misbehaved: false,
            must_end: false,
            sent_disconnect: false,
            was_kicked: false,
            clean_start: false,
            session_expiry: 0,
            will: None,
            let_in: None,
            connect_consumed: false,
            session_number: 0,
        }
    }

    /// Whether both ends think that they are connected.
    pub(crate) fn is_whole(&self) -> bool {
        self.client_is_open && matches!(self.broker_end, BrokerEnd::Open)
    }
}
