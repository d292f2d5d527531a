//! What a session reports, as sentences for people.

use alloc::boxed::Box;
use core::fmt::{self, Display, Formatter};

use noctule_packet::DecodeError;

use crate::ended::{Ended, ServerReason, TransportEnd};
use crate::fault::Fault;
use crate::operation::{Doubt, DropCause, Outcome, RequestOutcome};
use crate::remarks::Remarks;

/// Words of the server's, in brackets, if there are any.
struct Said<'a>(Option<&'a str>);

impl<'a> Said<'a> {
    fn of(remarks: &'a Option<Box<Remarks>>) -> Self {
        Self(remarks.as_ref().and_then(|remarks| remarks.reason_string.as_deref()))
    }
}

impl Display for Said<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |text| write!(formatter, " ({text})"))
    }
}

impl Display for ServerReason {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (code, name) = (self.code.value(), self.code.name());
        write!(formatter, "{name} (0x{code:02X}){}", Said(self.text.as_deref()))
    }
}

impl Display for Ended {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByUser => formatter.write_str("the connection was ended by this side"),
            Self::Refused(reason) => write!(formatter, "the server refused: {reason}"),
            Self::Downgraded { from, to } => {
                write!(formatter, "the server does not speak MQTT {from}; {to} comes next")
            }
            Self::ByServer(reason) => write!(formatter, "the server disconnected: {reason}"),
            // Before 5.0 it could not know.
            Self::Fault(Fault::Decode(DecodeError::PacketTooLarge { size, maximum })) => write!(
                formatter,
                "the server sent a packet of {size} bytes, and connect.maximum_packet_size is \
                 {maximum}"
            ),
            Self::Fault(fault) => write!(formatter, "the server broke the protocol: {fault}"),
            Self::Authentication(error) => write!(formatter, "authentication failed: {error}"),
            Self::ConnectTimeout => {
                formatter.write_str("the server did not answer CONNECT in time")
            }
            Self::PingTimeout => formatter.write_str("the server did not answer a ping in time"),
            Self::Transport(TransportEnd::NotOpened) => {
                formatter.write_str("no connection could be opened")
            }
            Self::Transport(TransportEnd::Closed) => {
                formatter.write_str("the server closed the connection")
            }
            Self::Transport(TransportEnd::Failed) => formatter.write_str("the connection broke"),
        }
    }
}

impl Display for Doubt {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SessionLost => "the server forgot the session before it acknowledged",
            Self::ConnectionLost => "the connection ended before the answer",
            Self::TimedOut => "no answer came in time",
            Self::Cancelled => "it was given up",
            Self::GivenUp { interruptions } => {
                return write!(
                    formatter,
                    "{interruptions} connections ended while it was in flight"
                );
            }
            Self::TooLarge { size, maximum } => {
                return write!(
                    formatter,
                    "the packet has {size} bytes, and the server takes {maximum} now"
                );
            }
            Self::NotSupported { option } => {
                return write!(formatter, "the server supports no {option} now");
            }
            Self::Expired => "its time was up before another session could take it",
            Self::QueueFull => "the queue had no room for it when the session was lost",
            Self::Stored => "it is in the store, and the next start goes on with it",
            Self::Closed => "the client was shut down before the answer",
        })
    }
}

impl Display for DropCause {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::QueueFull => "the queue was full",
            Self::Expired => "it waited longer than it may",
            Self::TimedOut => "its time was up",
            Self::Cancelled => "it was given up",
            Self::TooLarge { size, maximum } => {
                return write!(
                    formatter,
                    "the packet has {size} bytes, and the server takes {maximum}"
                );
            }
            Self::NotSupported { option } => {
                return write!(formatter, "the server does not support {option}");
            }
            Self::NotInVersion { option, version } => {
                return write!(formatter, "MQTT {version} has no {option}");
            }
            Self::ConnectionLost => "the connection ended before it was written",
            Self::Offline => "there is no connection and the offline queue does not keep it",
            Self::NoPacketId => "all packet identifiers are in use",
            Self::Closed => "the client was shut down",
        })
    }
}

impl Display for Outcome {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered { .. } => formatter.write_str("delivered"),
            Self::Rejected { reason, remarks } => {
                let (code, name) = (reason.value(), reason.name());
                write!(formatter, "rejected: {name} (0x{code:02X}){}", Said::of(remarks))
            }
            Self::Indeterminate { why } => {
                write!(formatter, "it is not known whether it was delivered: {why}")
            }
            Self::Dropped { why } => write!(formatter, "not delivered: {why}"),
        }
    }
}

impl Display for RequestOutcome {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { codes, remarks } => {
                match codes.iter().find(|code| code.is_error()) {
                    Some(code) => {
                        let (value, name) = (code.value(), code.name());
                        write!(formatter, "refused: {name} (0x{value:02X})")?;
                    }
                    None => formatter.write_str("granted")?,
                }
                write!(formatter, "{}", Said::of(remarks))
            }
            Self::Indeterminate { why } => {
                write!(formatter, "it is not known whether the server did it: {why}")
            }
            Self::Dropped { why } => write!(formatter, "not sent: {why}"),
        }
    }
}
