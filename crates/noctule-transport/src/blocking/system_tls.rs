//! The system's TLS over a stream that does not block.

use std::io::{self, Read, Write};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;

use super::attempt::Attempt;
use super::stream::{BoxedTransport, Transport};
use crate::error::TransportError;
use crate::tls::{Shaking, SystemStream, SystemTls};

/// A stream for a library that takes an interruption for the end.
pub(super) struct Bridge {
    stream: BoxedTransport,
    /// The stream wants to be called again, without anything to wait for.
    was_interrupted: bool,
}

impl Bridge {
    fn translate<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.was_interrupted = true;
                Err(io::ErrorKind::WouldBlock.into())
            }
            result => result,
        }
    }
}

impl Read for Bridge {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.stream.read(buffer);
        self.translate(result)
    }
}

impl Write for Bridge {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.stream.write(bytes);
        self.translate(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.stream.flush();
        self.translate(result)
    }
}

/// Passes the handshake with the server of that name. The outer error is that the attempt is over.
pub(super) fn connect(
    tls: &SystemTls,
    name: &ServerName<'_>,
    stream: BoxedTransport,
    attempt: &mut Attempt<'_>,
) -> Result<Result<SecureStream, native_tls::Error>, TransportError> {
    let mut shaking = tls.connect(name, Bridge { stream, was_interrupted: false });
    loop {
        match shaking {
            Ok(Shaking::Done(stream)) => return Ok(Ok(SecureStream(SystemStream::new(stream)))),
            Ok(Shaking::Waits(mut waits)) => {
                if std::mem::take(&mut waits.get_mut().was_interrupted) {
                    attempt.check()?;
                } else {
                    attempt.wait(None)?;
                }
                shaking = Shaking::resume(waits);
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// The bytes inside the system's TLS, that never block.
pub(super) struct SecureStream(pub(super) SystemStream<Bridge>);

impl SecureStream {
    fn translate<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        let was_interrupted = std::mem::take(&mut self.0.below().was_interrupted);
        match result {
            Err(error) if was_interrupted && error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::ErrorKind::Interrupted.into())
            }
            result => result,
        }
    }
}

impl Read for SecureStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.0.read(buffer);
        self.translate(result)
    }
}

impl Write for SecureStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Transport for SecureStream {
    fn shutdown(&mut self) -> io::Result<()> {
        self.0.say_goodbye()?;
        self.0.below().stream.shutdown()
    }
}

impl Source for SecureStream {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.0.below().stream.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.0.below().stream.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.0.below().stream.deregister(registry)
    }
}
