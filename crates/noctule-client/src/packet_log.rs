//! The packet log: each packet that is sent and received, as one line of text without secrets.

use std::fmt;
use std::sync::Arc;

use noctule_packet::{DecodeError, Description, PacketType, Version};

use crate::extensions::shielded;
use crate::trace::Trace;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the server.
    Sent,
    /// From the server.
    Received,
}

impl fmt::Display for Direction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sent => "sent",
            Self::Received => "received",
        })
    }
}

/// A packet that was sent or received, for a
/// [packet log](crate::generic::ClientBuilder::packet_log). Its text is one line: direction, type,
/// identifiers, flags, topic, properties, reason codes, sizes. Of secrets it has only the length;
/// [`Description`] says what they are.
#[derive(Debug)]
pub struct PacketLine<'a> {
    direction: Direction,
    description: Description<'a>,
    size: usize,
    /// How many of its bytes there were, if the connection ended inside it.
    until: Option<usize>,
}

impl PacketLine<'_> {
    /// Which way it goes.
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// Its type; `None` if its bytes do not begin like any.
    pub const fn packet_type(&self) -> Option<PacketType> {
        self.description.packet_type()
    }

    /// How many bytes it has. Of bytes that are no packet, how many were there.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// What is wrong with it, if it is malformed.
    pub const fn error(&self) -> Option<DecodeError> {
        self.description.error()
    }
}

impl fmt::Display for PacketLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.direction, self.description)?;
        match self.until {
            Some(until) => write!(formatter, " (the connection ended after {until} bytes of it)"),
            None => write!(formatter, " ({} bytes)", self.size),
        }
    }
}

/// Where a line goes.
pub(crate) type Sink = Arc<dyn Fn(&PacketLine<'_>) + Send + Sync>;

/// The packet log of one connection.
pub(crate) struct PacketLog {
    /// The program's own; otherwise it goes to `tracing`.
    pub(crate) sink: Option<Sink>,
    pub(crate) trace: Trace,
    pub(crate) version: Version,
    pub(crate) shows_user_name: bool,
}

impl PacketLog {
    /// Tells of a packet, of which at least the beginning is there.
    pub(crate) fn tell(
        &self,
        direction: Direction,
        bytes: &[u8],
        size: usize,
        until: Option<usize>,
    ) {
        let description = Description::of_bytes(bytes, self.version);
        let description = description.show_user_name(self.shows_user_name);
        let line = PacketLine { direction, description, size, until };
        match &self.sink {
            Some(sink) => shielded(|| sink(&line)),
            None => self.trace.packet(&line),
        }
    }
}
