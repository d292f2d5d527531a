//! Connections for tokio.

mod accept;
mod dial;
#[cfg(feature = "srv")]
mod service;
mod shake;
#[cfg(feature = "native-tls")]
mod system_tls;
mod tcp;
mod websocket;

use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

pub use websocket::WebSocketStream;

use crate::builder::{DialerBuilder, Settings};
use crate::error::{BoxError, TransportError};
use crate::info::ConnectionInfo;
use crate::stage::Progress;
use crate::url::Url;

/// Bytes both ways, in order and without loss.
pub trait AsyncStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> AsyncStream for S {}

/// A connection of any kind.
pub type BoxedStream = Box<dyn AsyncStream>;

/// What a [`Connector`] returns.
pub type ConnectFuture<'a> =
    Pin<Box<dyn Future<Output = Result<BoxedStream, BoxError>> + Send + 'a>>;

/// The program's own way to a server.
pub trait Connector: Send + Sync {
    /// Connects once. It is called for every attempt.
    fn connect(&self) -> ConnectFuture<'_>;
}

/// A connection that stands, and what is known about it.
#[non_exhaustive]
pub struct Connected {
    /// The bytes.
    pub stream: BoxedStream,
    /// What was agreed on.
    pub info: ConnectionInfo,
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connected").field("info", &self.info).finish_non_exhaustive()
    }
}

/// Connects to one server, any number of times.
#[derive(Clone, Debug)]
pub struct Dialer {
    settings: Arc<Settings>,
}

impl Dialer {
    /// Settings to choose from.
    #[must_use]
    pub fn builder(url: Url) -> DialerBuilder {
        DialerBuilder::new(url)
    }

    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.settings.url
    }

    /// Connects once: finds the host's addresses, tries them, and passes all handshakes.
    /// SRV records are looked up each time.
    ///
    /// Dropping the future gives the attempt up.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses, or all of it takes too long.
    pub async fn dial(&self) -> Result<Connected, TransportError> {
        let progress = Progress::new();
        let after = self.settings.connect_timeout;
        let attempt = dial::dial(&self.settings, &progress);
        match tokio::time::timeout(after, attempt).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::TimedOut { stage: progress.stage(), after }),
        }
    }
}
