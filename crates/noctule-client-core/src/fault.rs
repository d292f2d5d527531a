//! What a server can do wrong, and the one place that turns it into DISCONNECT and the end of the
//! connection.

use core::fmt;

use noctule_packet::{DecodeError, PacketType, ReasonCode};
use noctule_session::{AliasError, ReceiverError, SenderError, Timestamp};

use crate::ended::Ended;
use crate::session::ClientSession;

/// Why a connection cannot go on, by whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are no packet, or one that is larger than what CONNECT allows.
    Decode(DecodeError),
    /// The packet is well-formed, but not allowed now.
    Protocol(ProtocolError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => fmt::Display::fmt(error, f),
            Self::Protocol(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl core::error::Error for Fault {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Decode(error) => error.source(),
            Self::Protocol(error) => error.source(),
        }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<ProtocolError> for Fault {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// A well-formed packet that is not allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// Something came before CONNACK that may not.
    BeforeConnack(PacketType),
    /// CONNACK came twice.
    SecondConnack,
    /// A packet that only clients send, or that servers of this version do not send.
    ClientPacket(PacketType),
    /// CONNACK claims a session although a clean start was asked for.
    SessionAfterCleanStart,
    /// CONNACK claims a session, and we have none.
    UnknownSession,
    /// We left the client identifier to the server, and it chose none.
    NoAssignedClientIdentifier,
    /// The server sent more unacknowledged messages than we take.
    Receiver(ReceiverError),
    /// A topic alias that means nothing.
    TopicAlias(AliasError),
    /// An acknowledgement that fits nothing.
    Acknowledgement {
        /// Of which kind.
        packet_type: PacketType,
        /// What does not fit.
        error: SenderError,
    },
    /// SUBACK or UNSUBACK for nothing that was asked.
    UnknownRequest(PacketType),
    /// SUBACK or UNSUBACK has more or fewer reason codes than there were topic filters.
    CodeCount {
        /// Which packet.
        packet_type: PacketType,
        /// The reason codes.
        codes: usize,
        /// The topic filters.
        filters: usize,
    },
    /// PINGRESP without PINGREQ.
    UnexpectedPingresp,
    /// AUTH that fits no authentication in progress, or with another method.
    UnexpectedAuth,
    /// The server authenticates with another method than ours, or says nothing of ours.
    AuthenticationMethod,
    /// The authenticator does not believe the server.
    ServerNotAuthentic,
    /// The payload is not the UTF-8 that it claims to be.
    PayloadFormat,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeforeConnack(packet_type) => write!(f, "{packet_type} came before CONNACK"),
            Self::SecondConnack => f.write_str("a second CONNACK"),
            Self::ClientPacket(packet_type) => write!(f, "{packet_type} is not sent by a server"),
            Self::SessionAfterCleanStart => {
                f.write_str("the server claims a session after a clean start")
            }
            Self::UnknownSession => {
                f.write_str("the server claims a session that this client does not know")
            }
            Self::NoAssignedClientIdentifier => {
                f.write_str("the server has assigned no client identifier")
            }
            Self::Receiver(error) => fmt::Display::fmt(error, f),
            Self::TopicAlias(error) => fmt::Display::fmt(error, f),
            Self::Acknowledgement { packet_type, error } => write!(f, "{packet_type}: {error}"),
            Self::UnknownRequest(packet_type) => write!(f, "{packet_type} answers no request"),
            Self::CodeCount { packet_type, codes, filters } => {
                write!(f, "{packet_type} has {codes} reason codes for {filters} topic filters")
            }
            Self::UnexpectedPingresp => f.write_str("PINGRESP answers no PINGREQ"),
            Self::UnexpectedAuth => f.write_str("AUTH does not fit the authentication in progress"),
            Self::AuthenticationMethod => {
                f.write_str("the authentication method is not the one that CONNECT named")
            }
            Self::ServerNotAuthentic => f.write_str("the server has not proven who it is"),
            Self::PayloadFormat => f.write_str("the payload is not the UTF-8 that it claims to be"),
        }
    }
}

impl core::error::Error for ProtocolError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Receiver(error) => error.source(),
            Self::TopicAlias(error) => error.source(),
            _ => None,
        }
    }
}

impl From<ReceiverError> for ProtocolError {
    fn from(error: ReceiverError) -> Self {
        Self::Receiver(error)
    }
}

impl From<AliasError> for ProtocolError {
    fn from(error: AliasError) -> Self {
        Self::TopicAlias(error)
    }
}

impl ProtocolError {
    /// What a 5.0 server is told.
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Receiver(_) => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAlias(AliasError::OutOfRange { .. }) => ReasonCode::TopicAliasInvalid,
            Self::PayloadFormat => ReasonCode::PayloadFormatInvalid,
            Self::AuthenticationMethod => ReasonCode::BadAuthenticationMethod,
            Self::ServerNotAuthentic => ReasonCode::NotAuthorized,
            _ => ReasonCode::ProtocolError,
        }
    }

    /// The statement that the server breaks, where one has an identifier.
    pub const fn statement(&self) -> Option<&'static str> {
        Some(match self {
            Self::BeforeConnack(_) => "MQTT5-3.2.0-1",
            Self::SecondConnack => "MQTT5-3.2.0-2",
            Self::SessionAfterCleanStart => "MQTT5-3.2.2-2",
            Self::UnknownSession => "MQTT5-3.2.2-4",
            Self::NoAssignedClientIdentifier => "MQTT5-3.2.2-16",
            Self::Receiver(_) => "MQTT5-3.3.4-9",
            Self::TopicAlias(AliasError::OutOfRange { .. }) => "MQTT5-3.1.2-26",
            Self::UnknownRequest(_) => "MQTT5-2.2.1-6",
            Self::CodeCount { packet_type: PacketType::Suback, .. } => "MQTT5-3.8.4-6",
            _ => return None,
        })
    }
}

impl Fault {
    /// What a 5.0 server is told.
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason_code(),
            Self::Protocol(error) => error.reason_code(),
        }
    }

    /// The statement that the server breaks, where one is known.
    pub const fn statement(&self) -> Option<&'static str> {
        match self {
            Self::Decode(error) => error.statement(),
            Self::Protocol(error) => error.statement(),
        }
    }
}

impl ClientSession {
    /// Ends the connection because of what the server did: the only place where a fault becomes a
    /// packet.
    // [MQTT5-4.13.1-1] [MQTT5-4.13.2-1]
    pub(crate) fn fail(&mut self, now: Timestamp, fault: Fault) {
        self.end(now, Some(fault.reason_code()), Ended::Fault(fault));
    }

    /// Lets a mistake of the server pass where the validation is lenient.
    pub(crate) fn tolerate(&mut self, error: ProtocolError) -> Result<(), Fault> {
        if self.is_lenient() {
            self.events.push(crate::event::Event::Tolerated(error));
            return Ok(());
        }
        Err(error.into())
    }
}
