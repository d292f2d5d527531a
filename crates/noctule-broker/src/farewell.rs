//! How a broker says good-bye: how long it waits, and where it sends its clients.

use std::time::Duration;

use noctule_broker_core::Command;
use noctule_packet::ReasonCode;

/// How [`Handle::stop`](crate::Handle::stop) ends the connections. A [`Duration`] is a farewell
/// with that deadline and nowhere to go.
///
/// ```
/// use std::time::Duration;
/// use noctule_broker::{Broker, Farewell};
///
/// let broker = Broker::builder().listen("127.0.0.1:0").start()?;
/// let elsewhere = Farewell::within(Duration::from_secs(5)).use_another_server("b.example:1883");
/// broker.stop_blocking(elsewhere)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    pub(crate) deadline: Duration,
    reason: ReasonCode,
    server_reference: Option<Box<str>>,
}

impl Farewell {
    /// A DISCONNECT "server shutting down" (0x8B) to 5.0 clients; all have this long to take their
    /// last bytes.
    pub const fn within(deadline: Duration) -> Self {
        Self { deadline, reason: ReasonCode::ServerShuttingDown, server_reference: None }
    }

    /// Sends 5.0 clients to another server for now (0x9C). The reference is one or more hosts
    /// separated by spaces, each with or without `:` and a port. It must fit a UTF-8 string of the
    /// protocol: at most 65,535 bytes, no U+0000; another one is left out.
    #[must_use]
    pub fn use_another_server(self, reference: impl Into<Box<str>>) -> Self {
        self.to(ReasonCode::UseAnotherServer, reference.into())
    }

    /// Sends 5.0 clients to another server for good (0x9D), as
    /// [`use_another_server`](Self::use_another_server) does otherwise.
    #[must_use]
    pub fn server_moved(self, reference: impl Into<Box<str>>) -> Self {
        self.to(ReasonCode::ServerMoved, reference.into())
    }

    fn to(self, reason: ReasonCode, reference: Box<str>) -> Self {
        let fits = reference.len() <= usize::from(u16::MAX) && !reference.contains('\0');
        Self { reason, server_reference: fits.then_some(reference), ..self }
    }

    pub(crate) fn into_command(self) -> Command {
        Command::Stop { reason: self.reason, server_reference: self.server_reference }
    }
}

impl From<Duration> for Farewell {
    fn from(deadline: Duration) -> Self {
        Self::within(deadline)
    }
}
