//! WebSocket (RFC 6455) as MQTT uses it: binary frames that carry a byte stream. Nothing in here
//! knows a socket; tokio and a plain thread drive the same code.

mod accept;
mod error;
mod frames;
mod header;
mod options;
mod request;
#[cfg(test)]
mod tests;

pub use accept::{AcceptedRequest, WebSocketAcceptor};
pub use error::WebSocketError;
pub use options::{UpgradeRequest, WebSocketOptions};

pub(crate) use accept::Acceptance;
pub(crate) use frames::{Frames, Role};
pub(crate) use options::Hook;
pub(crate) use request::Upgrade;
