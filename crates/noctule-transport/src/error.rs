//! Why no byte stream came about: one variant per cause, each with what to do where that is known.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::proxy::ProxyError;
#[cfg(feature = "srv")]
use crate::srv::SrvError;
use crate::stage::Stage;
#[cfg(feature = "tls")]
use crate::tls::TlsError;
use crate::websocket::WebSocketError;

/// An error of the program's own code.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Why a server was not reached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The host's addresses could not be found out.
    #[error("cannot find the address of {host:?}: {source}; check the name and the network")]
    Resolve {
        /// The host.
        host: String,
        /// The resolver's reason.
        source: io::Error,
    },
    /// A domain's SRV records led to no server.
    #[cfg(feature = "srv")]
    #[error(transparent)]
    Srv(#[from] SrvError),
    /// The host has no address that the socket options allow.
    #[error("{host:?} has no address of the family that the socket is bound to")]
    NoAddress {
        /// The host.
        host: String,
    },
    /// None of the host's addresses took the connection.
    #[error("cannot connect to {authority}: {attempts}")]
    Connect {
        /// Host and port.
        authority: String,
        /// Every address that was tried and its reason.
        attempts: Attempts,
    },
    /// A Unix socket took no connection.
    #[error("cannot connect to the Unix socket {path:?}: {source}")]
    UnixSocket {
        /// The socket's file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The time for connecting was over.
    #[error("no connection within {after:?}: still {stage}")]
    TimedOut {
        /// What was being waited for.
        stage: Stage,
        /// The time that was allowed.
        after: Duration,
    },
    /// The program gave the attempt up.
    #[error("the attempt to connect was given up while {stage}")]
    Cancelled {
        /// What was being waited for.
        stage: Stage,
    },
    /// The TLS handshake failed.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy refused, or does not speak its protocol.
    #[error("the proxy {authority} {source}")]
    Proxy {
        /// The proxy's host and port.
        authority: String,
        /// What it said.
        source: ProxyError,
    },
    /// The server refused the WebSocket handshake, or does not speak WebSocket.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
    /// The program's handshake hook failed.
    #[error("the WebSocket handshake hook failed: {0}")]
    Hook(#[source] BoxError),
    /// The program's own connector failed.
    #[error("the program's own connector failed: {0}")]
    Connector(#[source] BoxError),
    /// The connection broke during a handshake.
    #[error("the connection broke while {stage}: {source}{}", .stage.advice_on_break())]
    Broken {
        /// What was being done.
        stage: Stage,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The operating system refused something that connecting needs.
    #[error("cannot prepare the connection: {0}")]
    Io(#[from] io::Error),
}

/// The addresses that were tried, each with its reason, in the order in which they failed.
#[derive(Debug, Default)]
pub struct Attempts(pub Vec<(SocketAddr, io::Error)>);

impl fmt::Display for Attempts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (address, error)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{address}: {error}")?;
        }
        Ok(())
    }
}

impl TransportError {
    /// Whether a proxy works but does not reach one address of the server, so that another may do.
    pub(crate) fn is_about_the_target(&self) -> bool {
        matches!(self, Self::Proxy { source: ProxyError::Unreachable { .. }, .. })
    }
}
