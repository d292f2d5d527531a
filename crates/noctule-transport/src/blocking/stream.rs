//! What a blocking connection is made of.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::event::Source;

/// Bytes both ways, in order and without loss, that never block: reading and writing say
/// [`WouldBlock`](io::ErrorKind::WouldBlock) instead.
///
/// Reading may also say [`Interrupted`](io::ErrorKind::Interrupted), when the other side has sent
/// a lot of what only concerns a layer below: call it again, after having done something else.
///
/// What was written may still lie in a buffer until [`flush`](Write::flush) has succeeded.
pub trait Transport: Read + Write + Source + Send {
    /// Says to the other side that nothing more will be written. When it would block, flush and
    /// call it again.
    ///
    /// # Errors
    /// When the connection is broken, or it would block.
    fn shutdown(&mut self) -> io::Result<()>;
}

/// A connection of any kind.
pub type BoxedTransport = Box<dyn Transport>;

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn shutdown(&mut self) -> io::Result<()> {
        (**self).shutdown()
    }
}

impl Transport for mio::net::TcpStream {
    fn shutdown(&mut self) -> io::Result<()> {
        if_connected(Self::shutdown(self, Shutdown::Write))
    }
}

#[cfg(unix)]
impl Transport for mio::net::UnixStream {
    fn shutdown(&mut self) -> io::Result<()> {
        if_connected(Self::shutdown(self, Shutdown::Write))
    }
}

/// A connection that the other side has ended completely needs no goodbye.
fn if_connected(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// A peer can send as much as this without any payload before reading lets go, so that nobody can
/// keep a thread busy with pings or empty records.
pub(super) const FRUITLESS_BYTES_MAX: usize = 64 * 1024;

/// Whether an operation only has to wait.
pub(super) fn would_block<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Implements [`Source`] by the stream below.
macro_rules! source_by_stream_below {
    ($type:ident) => {
        impl<S: mio::event::Source> mio::event::Source for $type<S> {
            fn register(
                &mut self,
                registry: &mio::Registry,
                token: mio::Token,
                interests: mio::Interest,
            ) -> std::io::Result<()> {
                self.stream.register(registry, token, interests)
            }

            fn reregister(
                &mut self,
                registry: &mio::Registry,
                token: mio::Token,
                interests: mio::Interest,
            ) -> std::io::Result<()> {
                self.stream.reregister(registry, token, interests)
            }

            fn deregister(&mut self, registry: &mio::Registry) -> std::io::Result<()> {
                self.stream.deregister(registry)
            }
        }
    };
}
pub(super) use source_by_stream_below;
