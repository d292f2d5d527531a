//! What happened, for a log: one value per line, with what an operator needs to act on it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use noctule_packet::{QoS, ReasonCode, Version};

use crate::input::{ConnectionId, ListenerId};
use crate::peer::Peer;
use crate::settings::Durability;

/// Something worth a line in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client was let in.
    Connected {
        /// Its connection.
        connection: ConnectionId,
        /// Its identifier.
        client_id: Arc<str>,
        /// Where it came in.
        listener: ListenerId,
        /// Its address.
        peer: Peer,
        /// What it speaks.
        version: Version,
        /// Whether it went on with a session.
        session_present: bool,
        /// Its Keep Alive in seconds.
        keep_alive: u16,
        /// What an acknowledgement means to it.
        durability: Durability,
    },
    /// A connection was turned away before it was let in.
    Refused {
        /// The connection.
        connection: ConnectionId,
        /// Its identifier, as far as it was known.
        client_id: Option<Box<str>>,
        /// Its address.
        peer: Peer,
        /// Why.
        reason: Reason,
    },
    /// A client left, or was made to leave.
    Disconnected {
        /// Its connection.
        connection: ConnectionId,
        /// Its identifier.
        client_id: Arc<str>,
        /// Why it ended.
        ended: Ended,
    },
    /// One packet was refused; the connection goes on.
    PacketRefused {
        /// The client.
        client_id: Arc<str>,
        /// What it wanted: a topic name or filter.
        topic: Arc<str>,
        /// Why not.
        reason: Reason,
    },
    /// A message was not delivered to a client, or to any member of a shared subscription.
    Dropped {
        /// The client, or the whole filter of the shared subscription.
        client_id: Arc<str>,
        /// Where it was published.
        topic: Arc<str>,
        /// Why.
        cause: DropCause,
        /// The bound that was reached, if one was.
        limit: Option<Limit>,
    },
    /// A subscription was made or replaced.
    Subscribed {
        /// The client.
        client_id: Arc<str>,
        /// The whole filter.
        filter: Box<str>,
        /// The granted QoS.
        qos: QoS,
    },
    /// A subscription was ended by its client.
    Unsubscribed {
        /// The client.
        client_id: Arc<str>,
        /// The whole filter.
        filter: Box<str>,
    },
    /// A session is over and its state is gone.
    SessionEnded {
        /// The client.
        client_id: Arc<str>,
    },
    /// A will was published.
    WillPublished {
        /// The client.
        client_id: Arc<str>,
        /// Where.
        topic: Arc<str>,
    },
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The reason code, as a 5.0 client gets it.
    pub code: ReasonCode,
    /// A sentence for people.
    pub text: Box<str>,
    /// The bound that was reached, if one was.
    pub limit: Option<Limit>,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)?;
        match self.limit {
            Some(limit) => write!(formatter, " ({limit})"),
            None => Ok(()),
        }
    }
}

/// A bound that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The setting that holds it, such as `limits.maximum_packet_size`.
    pub setting: &'static str,
    /// Its value.
    pub maximum: u64,
    /// What was wanted; 0 where no number tells.
    pub wanted: u64,
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} = {}", self.setting, self.maximum)?;
        if self.wanted > 0 {
            write!(formatter, ", wanted {}", self.wanted)?;
        }
        Ok(())
    }
}

/// Why a client's connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client sent DISCONNECT with this code (3.x: Normal).
    ByClient(ReasonCode),
    /// The transport went away without a DISCONNECT.
    ConnectionLost,
    /// The broker ended it.
    ByServer(Reason),
}

/// Why a message was not delivered to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropCause {
    /// It expired while it waited.
    Expired,
    /// It is larger than the client's Maximum Packet Size.
    PacketTooLarge,
    /// The session's queue is full.
    QueueFull,
    /// The connection does not take its bytes fast enough, and the message has QoS 0.
    SlowReader,
    /// The client may not read the topic.
    NotAuthorized,
    /// The client refused it with a reason code of 0x80 or more.
    RefusedByClient,
    /// No member of the shared subscription could take it.
    NoMember,
}

impl DropCause {
    /// Every cause, in the order of [`DropCause::index`].
    pub const ALL: [Self; 7] = [
        Self::Expired,
        Self::PacketTooLarge,
        Self::QueueFull,
        Self::SlowReader,
        Self::NotAuthorized,
        Self::RefusedByClient,
        Self::NoMember,
    ];

    /// The cause's place in [`DropCause::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A short name for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::PacketTooLarge => "packet_too_large",
            Self::QueueFull => "queue_full",
            Self::SlowReader => "slow_reader",
            Self::NotAuthorized => "not_authorized",
            Self::RefusedByClient => "refused_by_client",
            Self::NoMember => "no_member",
        }
    }
}
