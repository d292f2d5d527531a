//! What a user has asked for, and how it ended: every operation ends exactly once.

use alloc::boxed::Box;
use core::fmt;
use core::num::NonZeroU64;

use noctule_packet::{ReasonCode, Version};

use crate::remarks::Remarks;

/// Names an operation of the user. Never used again within a session, and it grows with each one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(NonZeroU64);

impl OperationId {
    /// The first name of all.
    pub(crate) const FIRST: Self = Self(NonZeroU64::MIN);

    /// The number behind the name.
    pub const fn value(self) -> u64 {
        self.0.get()
    }

    /// The name with this number, which is not 0.
    pub const fn from_value(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The name behind this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl OperationId {
    /// The first name that another process uses. Not every name is stored, but no process uses up
    /// so many.
    pub(crate) const fn next_process(self) -> Self {
        const NAMES: u64 = 1 << 40;
        match NonZeroU64::new((self.0.get() / NAMES + 1).saturating_mul(NAMES)) {
            Some(first) => Self(first),
            None => self,
        }
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OperationId({})", self.0)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// How a publication ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// QoS 0: it was handed to the transport. QoS 1: the server has acknowledged it. QoS 2: the
    /// server has received it, once.
    Delivered {
        /// `Success`, or that nobody subscribes to the topic.
        reason: ReasonCode,
        /// What the server says beside that; for QoS 2 in PUBREC, and behind it in PUBCOMP.
        remarks: Option<Box<Remarks>>,
    },
    /// The server did not accept it.
    Rejected {
        /// Why.
        reason: ReasonCode,
        /// Why in words, and whatever else the server says.
        remarks: Option<Box<Remarks>>,
    },
    /// The server may or may not have got it.
    Indeterminate {
        /// Why nobody knows.
        why: Doubt,
    },
    /// The server has not got it, and will not get it.
    Dropped {
        /// Why.
        why: DropCause,
    },
}

/// How a SUBSCRIBE or UNSUBSCRIBE ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The server has answered.
    Answered {
        /// One code for each topic filter; before 5.0 an UNSUBSCRIBE has `Success` for all.
        codes: Box<[ReasonCode]>,
        /// What the server says beside them.
        remarks: Option<Box<Remarks>>,
    },
    /// It was sent and its answer did not come.
    Indeterminate {
        /// Why.
        why: Doubt,
    },
    /// It was not sent.
    Dropped {
        /// Why.
        why: DropCause,
    },
}

/// Why it is not known whether the server has got something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// The server has forgotten the session before it acknowledged.
    SessionLost,
    /// The connection ended before the answer, and the offline queue keeps nothing of this kind.
    ConnectionLost,
    /// The operation's own time is up. A message goes on being delivered.
    TimedOut,
    /// The user wants to know no more. A message goes on being delivered.
    Cancelled,
    /// Too many connections in a row ended with it in flight, so it was given up: see
    /// [`Redelivery::interruptions_max`](crate::Redelivery::interruptions_max).
    GivenUp {
        /// How many.
        interruptions: u16,
    },
    /// The server takes no packet of this size any more.
    TooLarge {
        /// The bytes of the packet.
        size: usize,
        /// What the server takes.
        maximum: u32,
    },
    /// A version or a server that lacks what the message needs has taken the session over.
    NotSupported {
        /// What.
        option: &'static str,
    },
    /// It was sent in a session that is gone, and waited too long for another one.
    Expired,
    /// It was sent in a session that is gone, and the queue had no room for it.
    QueueFull,
    /// The session was closed; the store has it, and the next process goes on with it.
    Stored,
    /// The session was closed.
    Closed,
}

/// Why something was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// The queue was full and its policy chose this message.
    QueueFull,
    /// It waited longer than it may.
    Expired,
    /// The operation's own time is up.
    TimedOut,
    /// The user wants it no more.
    Cancelled,
    /// The server takes no packet of this size.
    TooLarge {
        /// The bytes of the packet.
        size: usize,
        /// What the server takes.
        maximum: u32,
    },
    /// The server has said that it does not support this.
    NotSupported {
        /// What.
        option: &'static str,
    },
    /// The version that is spoken now has no such thing.
    NotInVersion {
        /// What.
        option: &'static str,
        /// The version.
        version: Version,
    },
    /// The connection ended before the transport took it, at QoS 0.
    ConnectionLost,
    /// There is no connection, and the offline queue keeps nothing of this kind.
    Offline,
    /// All packet identifiers are in use.
    NoPacketId,
    /// The session was closed.
    Closed,
}

/// How far a QoS 2 publication has come before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The server has it: PUBREC has arrived.
    Received,
}

impl Outcome {
    /// Delivered without anything to remark.
    pub const DELIVERED: Self = Self::Delivered { reason: ReasonCode::Success, remarks: None };

    /// Whether the server has got the message, as far as its quality of service can tell.
    pub const fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered { .. })
    }

    /// Whether it is news that it was not delivered: the user did not want that, and nobody goes on
    /// with it.
    pub(crate) const fn is_failure(&self) -> bool {
        !matches!(
            self,
            Self::Delivered { .. }
                | Self::Indeterminate { why: Doubt::Cancelled | Doubt::Stored }
                | Self::Dropped { why: DropCause::Cancelled }
        )
    }

    /// What the server says beside its reason code, if it says anything.
    pub fn remarks(&self) -> Option<&Remarks> {
        match self {
            Self::Delivered { remarks, .. } | Self::Rejected { remarks, .. } => remarks.as_deref(),
            Self::Indeterminate { .. } | Self::Dropped { .. } => None,
        }
    }

    /// What an acknowledgement with this reason code means.
    pub(crate) const fn acknowledged(reason: ReasonCode, remarks: Option<Box<Remarks>>) -> Self {
        if reason.is_error() {
            Self::Rejected { reason, remarks }
        } else {
            Self::Delivered { reason, remarks }
        }
    }
}

impl DropCause {
    /// What it means for something that an earlier session may have sent.
    pub(crate) const fn doubt(self) -> Doubt {
        match self {
            Self::QueueFull => Doubt::QueueFull,
            Self::Expired => Doubt::Expired,
            Self::TimedOut => Doubt::TimedOut,
            Self::Cancelled => Doubt::Cancelled,
            Self::TooLarge { size, maximum } => Doubt::TooLarge { size, maximum },
            Self::NotSupported { option } | Self::NotInVersion { option, .. } => {
                Doubt::NotSupported { option }
            }
            Self::ConnectionLost | Self::Offline | Self::NoPacketId => Doubt::SessionLost,
            Self::Closed => Doubt::Closed,
        }
    }
}

impl RequestOutcome {
    /// Whether the server has granted everything.
    pub fn is_granted(&self) -> bool {
        match self {
            Self::Answered { codes, .. } => codes.iter().all(|code| !code.is_error()),
            Self::Indeterminate { .. } | Self::Dropped { .. } => false,
        }
    }
}
