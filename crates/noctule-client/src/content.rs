//! Payloads by their content type: who reads one, and what it says as a type of the program's.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use noctule_client_core::Message;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::payload::{JSON, PayloadError, is_json};

/// Reads payloads of one content type, as values that any type can be made of; see
/// [`ClientBuilder::decoder`](crate::generic::ClientBuilder::decoder). A function is one.
pub trait Decoder: Send + Sync {
    /// What a payload says.
    ///
    /// # Errors
    ///
    /// If it says nothing in this format.
    fn decode(&self, payload: &[u8]) -> Result<Value, Box<dyn Error + Send + Sync>>;
}

impl<F> Decoder for F
where
    F: Fn(&[u8]) -> Result<Value, Box<dyn Error + Send + Sync>> + Send + Sync,
{
    fn decode(&self, payload: &[u8]) -> Result<Value, Box<dyn Error + Send + Sync>> {
        self(payload)
    }
}

/// The decoders that a program has registered, by content type.
#[derive(Clone, Default)]
pub(crate) struct Decoders(BTreeMap<String, Arc<dyn Decoder>>);

impl fmt::Debug for Decoders {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// A content type without its parameters.
fn kind_of(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl Decoders {
    pub(crate) fn insert(&mut self, content_type: &str, decoder: Arc<dyn Decoder>) {
        self.0.insert(kind_of(content_type), decoder);
    }
}

/// What a message says, by its content type: registered decoders come first, then JSON and text.
pub(crate) fn decode<T: DeserializeOwned>(
    message: &Message,
    decoders: Option<&Decoders>,
) -> Result<T, PayloadError> {
    let payload = message.payload();
    let kind = kind_of(message.properties().content_type.unwrap_or_default());
    if let Some(decoder) = decoders.and_then(|decoders| decoders.0.get(&kind)) {
        let value = decoder.decode(payload).map_err(PayloadError::Decoder)?;
        return Ok(serde_json::from_value(value)?);
    }
    match &*kind {
        // Before 5.0 no message can say what it is.
        "" | JSON => Ok(serde_json::from_slice(payload)?),
        kind if is_json(kind) => Ok(serde_json::from_slice(payload)?),
        kind if kind.starts_with("text/") => {
            let text = std::str::from_utf8(payload)?.to_owned();
            Ok(serde_json::from_value(Value::String(text))?)
        }
        _ => Err(PayloadError::NoDecoder { content_type: kind }),
    }
}
