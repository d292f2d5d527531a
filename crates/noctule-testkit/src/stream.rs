//! What a peer needs of a byte stream: blocking reads and writes with time-outs.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A blocking byte stream that a [`Peer`](crate::Peer) can speak over. TCP and Unix streams are; a
/// test that needs another (TLS, a pipe in memory) implements these three methods.
pub trait Stream: Read + Write + fmt::Debug {
    /// After this time a blocked `read` fails with `WouldBlock` or `TimedOut`. Never zero.
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// After this time a blocked `write` fails with `WouldBlock` or `TimedOut`. Never zero.
    fn set_write_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// Ends the stream in the direction away from the peer, or in both.
    fn shut_down(&self, how: Shutdown) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        TcpStream::set_read_timeout(self, Some(timeout))
    }

    fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        TcpStream::set_write_timeout(self, Some(timeout))
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        UnixStream::set_read_timeout(self, Some(timeout))
    }

    fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        UnixStream::set_write_timeout(self, Some(timeout))
    }

    fn shut_down(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}
