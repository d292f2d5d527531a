//! Connections for a thread that waits itself, without a runtime.
//!
//! The thread owns a [`Waiter`]. Reading and writing never block: they say
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock), and then the thread waits, which the socket or
//! another thread's [`Waker`] ends.

mod aside;
mod attempt;
mod dial;
#[cfg(feature = "srv")]
mod service;
mod shake;
mod stream;
#[cfg(feature = "native-tls")]
mod system_tls;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod waiter;
mod websocket;

use std::sync::Arc;

/// What an own [`Transport`] is registered with.
pub use mio;

pub use attempt::Attempt;
pub use stream::{BoxedTransport, Transport};
#[cfg(feature = "tls")]
pub use tls::TlsStream;
pub use waiter::{Waiter, Waker};
pub use websocket::WebSocketStream;

use crate::builder::{DialerBuilder, Settings};
use crate::error::{BoxError, TransportError};
use crate::info::ConnectionInfo;
use crate::stage::Progress;
use crate::url::Url;

/// The program's own way to a server.
pub trait Connector: Send + Sync {
    /// Connects once. It is called for every attempt, and should keep to the attempt's deadline.
    ///
    /// # Errors
    /// When the server cannot be reached.
    fn connect(&self, attempt: &mut Attempt<'_>) -> Result<BoxedTransport, BoxError>;
}

/// A connection that stands, and what is known about it.
#[non_exhaustive]
pub struct Connected {
    /// The bytes. It is registered with the waiter that it was dialled with.
    pub stream: BoxedTransport,
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
    /// Settings to choose from; they end in
    /// [`build_blocking`](DialerBuilder::build_blocking).
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
    /// Whenever the waiter's [`Waker`] is used, `is_cancelled` is asked; it ends the attempt with
    /// `true`. Such wake-ups are used up, so look at what they stand for when the attempt is over.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses, or all of it takes too long.
    pub fn dial(
        &self,
        waiter: &mut Waiter,
        is_cancelled: &mut dyn FnMut() -> bool,
    ) -> Result<Connected, TransportError> {
        let progress = Progress::new();
        let limit = self.settings.connect_timeout;
        dial::dial(&self.settings, &mut Attempt::new(waiter, is_cancelled, &progress, limit))
    }
}
