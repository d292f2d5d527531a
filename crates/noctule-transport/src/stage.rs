//! What an attempt to connect is doing, so that a time-out can tell.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What an attempt to connect is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Asking for the SRV records of a domain.
    Srv,
    /// Asking for the addresses of a host.
    Resolving,
    /// Waiting for TCP or a Unix socket.
    Connecting,
    /// Waiting for the TLS handshake with a proxy.
    ProxyTls,
    /// Waiting for a proxy's consent.
    Proxy,
    /// Waiting for the TLS handshake with the server.
    Tls,
    /// Waiting for the program's handshake hook.
    Hook,
    /// Waiting for the WebSocket handshake.
    WebSocket,
    /// Waiting for the program's own connector.
    Connector,
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Srv => "looking up the domain's SRV records",
            Self::Resolving => "resolving the host's name",
            Self::Connecting => "connecting the socket",
            Self::ProxyTls => "in the TLS handshake with the proxy",
            Self::Proxy => "waiting for the proxy's answer",
            Self::Tls => "in the TLS handshake",
            Self::Hook => "waiting for the WebSocket handshake hook",
            Self::WebSocket => "waiting for the server's WebSocket handshake",
            Self::Connector => "waiting for the program's own connector",
        })
    }
}

impl Stage {
    /// What to look at when the other side ends the connection there.
    pub(crate) fn advice_on_break(self) -> &'static str {
        match self {
            Self::Proxy | Self::ProxyTls => "; check the proxy's port and its scheme",
            Self::WebSocket => "; check that this port and path speak WebSocket",
            _ => "",
        }
    }
}

/// Remembers the stage of an attempt for whoever ends it.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<Stage>);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Stage::Resolving))
    }

    pub(crate) fn enter(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
