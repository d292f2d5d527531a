//! How a connection has ended, for whoever asks afterwards.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use noctule_client_core::{Ended, Negotiated};
use noctule_packet::ReasonCode;

/// How a connection has ended, or what an attempt has come to instead of one.
///
/// ```no_run
/// use noctule_client::{Client, Origin};
///
/// # fn show(client: &Client) {
/// if let Some(end) = client.last_end() {
///     match end.origin() {
///         Origin::User => println!("we wanted it"),
///         Origin::Server => println!("the server wanted it: {end}"),
///         Origin::Failure => println!("nobody wanted it: {end}"),
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionEnd {
    /// Why.
    pub ended: Arc<Ended>,
    /// What else is known of it: a [`TransportError`](crate::transport::TransportError) if no
    /// transport was opened, or if TLS or WebSocket have broken it, a
    /// [`std::io::Error`] if it broke otherwise, a [`CredentialsError`](crate::CredentialsError) if
    /// there were no credentials.
    pub error: Option<Arc<dyn Error + Send + Sync>>,
    /// What held on the connection: all of its CONNACK. `None` if the server never accepted it.
    pub negotiated: Option<Arc<Negotiated>>,
}

/// Who has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The user, by a call.
    User,
    /// The server, by DISCONNECT, or by a CONNACK that refuses.
    Server,
    /// Nobody: the transport broke or was never opened, something did not come in time, or one side
    /// has done what the other could not let pass.
    Failure,
}

impl ConnectionEnd {
    /// Who has ended it.
    pub fn origin(&self) -> Origin {
        match &*self.ended {
            Ended::ByUser => Origin::User,
            Ended::Refused(_) | Ended::ByServer(_) | Ended::Downgraded { .. } => Origin::Server,
            Ended::Fault(_)
            | Ended::Authentication(_)
            | Ended::ConnectTimeout
            | Ended::PingTimeout
            | Ended::Transport(_) => Origin::Failure,
        }
    }

    /// The reason code that was told, if any was: the server's, or ours for what it did wrong.
    pub fn reason_code(&self) -> Option<ReasonCode> {
        match &*self.ended {
            Ended::Fault(fault) => Some(fault.reason_code()),
            other => other.server_reason().map(|reason| reason.code),
        }
    }

    /// The server's reason in words, if it gave one.
    pub fn reason_string(&self) -> Option<&str> {
        self.ended.server_reason()?.text.as_deref()
    }
}

impl fmt::Display for ConnectionEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => fmt::Display::fmt(error, formatter),
            None => fmt::Display::fmt(&self.ended, formatter),
        }
    }
}
