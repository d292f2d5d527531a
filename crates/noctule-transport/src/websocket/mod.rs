//! WebSocket (RFC 6455) as MQTT uses it: binary frames that carry a byte stream. Nothing in here
//! knows a socket; tokio and a plain thread drive the same code.
//!
//! Keys, requests and the headers of frames are tungstenite's. Its messages are not used, since
//! MQTT needs a stream: payload is decoded where it was read and handed on as it arrives, whatever
//! the borders of frames are, so that no message is collected and none has to fit into memory.

#[cfg(feature = "tokio")]
mod accept;
mod error;
mod frames;
mod header;
mod options;
mod request;
#[cfg(test)]
mod tests;

#[cfg(feature = "tokio")]
pub use accept::{AcceptedRequest, WebSocketAcceptor};
pub use error::WebSocketError;
pub use options::{UpgradeRequest, WebSocketOptions};

#[cfg(feature = "tokio")]
pub(crate) use accept::Acceptance;
pub(crate) use frames::Frames;
pub(crate) use options::Hook;
pub(crate) use request::Upgrade;
pub(crate) use tungstenite::protocol::Role;
