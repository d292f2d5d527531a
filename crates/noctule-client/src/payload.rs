//! What a payload says, as a type of the program's.

use std::convert::Infallible;

use noctule_client_core::Message;
use noctule_packet::ReasonCode;
use thiserror::Error;

/// Something that the payload of a message says. Implement it for formats of your own.
pub trait FromPayload: Sized {
    /// Why a payload does not say it.
    type Error;

    /// Reads it from a message, whose content type tells the format where it is given.
    ///
    /// # Errors
    ///
    /// If the payload does not say it.
    fn from_payload(message: &Message) -> Result<Self, Self::Error>;
}

impl FromPayload for Vec<u8> {
    type Error = Infallible;

    fn from_payload(message: &Message) -> Result<Self, Infallible> {
        Ok(message.payload().to_vec())
    }
}

impl FromPayload for String {
    type Error = PayloadError;

    fn from_payload(message: &Message) -> Result<Self, PayloadError> {
        Ok(std::str::from_utf8(message.payload())?.to_owned())
    }
}

/// Why a payload does not say what was asked of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// It is no text.
    #[error("the payload is not UTF-8: {0}")]
    Text(#[from] std::str::Utf8Error),
    /// It says of itself that it is something else.
    #[error("the payload is {found:?}, expected {expected:?}")]
    ContentType {
        /// What it is.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// It has too few bytes.
    #[error("the payload is too short: {wanted} bytes are to follow, and {left} do")]
    Short {
        /// How many were to be taken.
        wanted: usize,
        /// How many are left.
        left: usize,
    },
    /// It is no text of this encoding, or there is none for it.
    #[error("the text is not {0}")]
    Encoding(&'static str),
    /// A byte is no truth value.
    #[error("{0} is neither 0 for false nor 1 for true")]
    Bool(u8),
    /// It is no such JSON.
    #[cfg(feature = "json")]
    #[error("the payload is no such JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The program's own decoder cannot read it.
    #[cfg(feature = "json")]
    #[error("the payload cannot be decoded: {0}")]
    Decoder(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody knows its format.
    #[cfg(feature = "json")]
    #[error("there is no decoder for {content_type:?}: register one")]
    NoDecoder {
        /// What it says that it is.
        content_type: String,
    },
}

/// What a handler says of a message whose payload it cannot read.
impl From<PayloadError> for ReasonCode {
    fn from(_: PayloadError) -> Self {
        Self::PayloadFormatInvalid
    }
}

/// A payload in JSON.
#[cfg(feature = "json")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// What a payload in JSON calls itself.
#[cfg(feature = "json")]
pub(crate) const JSON: &str = "application/json";

/// Whether a content type, in small letters and without parameters, is one of JSON.
#[cfg(feature = "json")]
pub(crate) fn is_json(kind: &str) -> bool {
    kind == JSON || kind.ends_with("+json")
}

#[cfg(feature = "json")]
impl<T: serde::de::DeserializeOwned> FromPayload for Json<T> {
    type Error = PayloadError;

    /// A payload that says nothing about itself may be JSON, too.
    fn from_payload(message: &Message) -> Result<Self, PayloadError> {
        if let Some(found) = message.properties().content_type {
            let kind = found.split(';').next().unwrap_or_default().trim();
            if !is_json(&kind.to_ascii_lowercase()) {
                let found = found.to_owned();
                return Err(PayloadError::ContentType { found, expected: JSON });
            }
        }
        Ok(Self(serde_json::from_slice(message.payload())?))
    }
}
