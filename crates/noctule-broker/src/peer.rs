//! The other end of a connection, as events name it.

use std::fmt;
use std::net::SocketAddr;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A client on TCP.
    Tcp(SocketAddr),
    /// A client on a Unix socket, which has no address.
    Unix,
    /// The host program.
    Host,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix => formatter.write_str("unix"),
            Self::Host => formatter.write_str("host"),
        }
    }
}
