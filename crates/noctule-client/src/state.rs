//! How things stand with the connection.

use std::sync::Arc;
use std::time::Duration;

use noctule_client_core::Negotiated;

use crate::error::StopReason;

/// How things stand with the connection.
///
/// ```text
///               ┌────── another attempt ──────┐
///               ▼                             │
///  ──▶ Connecting ──▶ Connected ── lost ──▶ Waiting        Stopped, in the end, from everywhere
///          ▲ ▲            │
///          │ └─ reconnect ┤ disconnect
///          │              ▼
///          │         Disconnecting
///        start            │
///          │              ▼
///          └────────── Offline
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// A connection is being made.
    Connecting,
    /// The server has accepted the connection.
    Connected(Arc<Negotiated>),
    /// The user has ended the connection, and the server is being told.
    Disconnecting,
    /// There is no connection because the user wants none, until
    /// [`Client::start`](crate::generic::Client::start).
    Offline,
    /// The next attempt comes after so long a pause.
    Waiting(Duration),
    /// There is no connection, and there will be none.
    Stopped(Arc<StopReason>),
}

impl State {
    /// Whether the server has accepted the connection.
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }
}
