//! What can go wrong with WebSocket: refused handshakes, and frames that break the rules.

use std::io;

use thiserror::Error;

use crate::http::HeadError;

/// Why a WebSocket was not opened, or broke.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// The server answered the handshake with another status than 101.
    #[error(
        "the server refused the WebSocket handshake: {status} {reason}{}",
        refusal_advice(*.status, .location.as_deref())
    )]
    Refused {
        /// The status.
        status: u16,
        /// The server's words for it.
        reason: String,
        /// Where the server sends us instead.
        location: Option<String>,
    },
    /// The peer's bytes are no HTTP/1.1.
    #[error("the other side does not speak HTTP/1.1, so no WebSocket either: check the port")]
    NotHttp,
    /// The head of the peer's handshake has no end.
    #[error("the head of the WebSocket handshake is longer than {limit} bytes")]
    HeadTooLong {
        /// How long it may be.
        limit: usize,
    },
    /// The handshake breaks a rule.
    #[error("the WebSocket handshake is wrong: {problem}")]
    Handshake {
        /// The rule.
        problem: &'static str,
    },
    /// The server chose none of the offered sub-protocols, or one that was not offered.
    #[error(
        "the server did not choose one of the sub-protocols {offered:?} but {chosen:?}: check \
         that its path speaks MQTT"
    )]
    Subprotocol {
        /// What was offered.
        offered: Vec<String>,
        /// What the server chose.
        chosen: Option<String>,
    },
    /// The program's hook made a request that cannot be sent.
    #[error("the WebSocket request cannot have the header {name:?}: {problem}")]
    Header {
        /// The header's name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The program's hook asks for a target that cannot be sent.
    #[error("the target of a WebSocket request starts with / and has no spaces: percent-encode it")]
    Target,
    /// A text frame came, where MQTT only has binary ones.
    #[error("the other side sent a text frame, but MQTT travels in binary frames")]
    TextFrame,
    /// A frame breaks a rule of WebSocket.
    #[error("the other side broke a rule of WebSocket: {rule}")]
    Violation {
        /// The rule.
        rule: &'static str,
    },
    /// A message is longer than allowed.
    #[error(
        "the other side sent a WebSocket message of more than {limit} bytes (message_bytes_max)"
    )]
    MessageTooLong {
        /// How long it may be.
        limit: u64,
    },
    /// The peer closed with a code that tells of an error.
    #[error("the other side closed the WebSocket with code {code}: {reason}")]
    Closed {
        /// The code.
        code: u16,
        /// The peer's words for it.
        reason: String,
    },
}

fn refusal_advice(status: u16, location: Option<&str>) -> String {
    match (status, location) {
        (300..=399, Some(location)) => format!("; it moved to {location}: use that URL"),
        (401 | 403 | 407, _) => "; check the credentials or the signature".to_owned(),
        (404, _) => "; check the path of the URL".to_owned(),
        (400 | 426, _) => "; check that this port and path speak WebSocket".to_owned(),
        _ => String::new(),
    }
}

impl WebSocketError {
    /// The reason that WebSocket gave for an error of input or output, if it was that.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().cloned()
    }

    pub(crate) const fn violation(rule: &'static str) -> Self {
        Self::Violation { rule }
    }

    /// The code of the close frame that tells the peer about it.
    pub(crate) const fn close_code(&self) -> u16 {
        match self {
            Self::TextFrame => 1003,
            Self::MessageTooLong { .. } => 1009,
            _ => 1002,
        }
    }
}

impl From<HeadError> for WebSocketError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::NotHttp => Self::NotHttp,
            HeadError::TooLong => Self::HeadTooLong { limit: crate::http::HEAD_BYTES_MAX },
        }
    }
}

impl From<WebSocketError> for io::Error {
    fn from(error: WebSocketError) -> Self {
        let kind = match error {
            WebSocketError::Closed { .. } => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
