//! Asking the server for a sign of life.

use std::sync::Arc;
use std::time::Duration;

use noctule_client_core::{ClientEvent, Ended};
use thiserror::Error;

use crate::events::Events;
use crate::mode::Async;
use crate::shared::Shared;
use crate::wait::OnOwnThread;

/// Why a ping has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PingError {
    /// There is no connection.
    #[error("there is no connection")]
    NotConnected,
    /// The connection ended before the answer: after the ping's time-out, at the latest.
    #[error("{0}")]
    Ended(Arc<Ended>),
    /// The client has ended.
    #[error("the client was shut down")]
    Closed,
    /// Nobody can wait for it here.
    #[error(transparent)]
    OnOwnThread(#[from] OnOwnThread),
}

/// Asks for a sign of life, and waits for it.
pub(crate) async fn ping(shared: &Arc<Shared>) -> Result<Duration, PingError> {
    let mut events = Events::<Async>::watching(Arc::clone(shared));
    let now = shared.now();
    let is_connected = shared.with(|inner| {
        let is_connected = inner.hub.session_mut().ping(now);
        inner.hub.ring();
        is_connected
    });
    if !is_connected {
        return Err(PingError::NotConnected);
    }
    loop {
        match events.next_event().await {
            Some(ClientEvent::PingAnswered { round_trip }) => return Ok(round_trip),
            Some(ClientEvent::Disconnected { ended, .. }) => return Err(PingError::Ended(ended)),
            Some(_) => {}
            None => return Err(PingError::Closed),
        }
    }
}
