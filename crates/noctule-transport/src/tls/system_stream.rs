//! The bytes inside the system's TLS, over a stream that does not block.

use std::io::{self, Read, Write};

use crate::info::TlsInfo;

/// How much is encrypted at once: what one record of TLS holds.
const PIECE_BYTES: usize = 16 * 1024;

/// The bytes inside the system's TLS.
pub(crate) struct SystemStream<S> {
    tls: native_tls::TlsStream<S>,
    /// What was taken from the writer and not by the library, which wants to be given the very
    /// same bytes again after it could not go on.
    pending: Vec<u8>,
    has_said_goodbye: bool,
}

impl<S: Read + Write> SystemStream<S> {
    pub(crate) fn new(tls: native_tls::TlsStream<S>) -> Self {
        Self { tls, pending: Vec::new(), has_said_goodbye: false }
    }

    /// What lies below.
    pub(crate) fn below(&mut self) -> &mut S {
        self.tls.get_mut()
    }

    /// What the library tells about the connection.
    pub(crate) fn info(&self) -> TlsInfo {
        TlsInfo { alpn: self.tls.negotiated_alpn().ok().flatten(), ..TlsInfo::default() }
    }

    fn drain(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.tls.write(&self.pending) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says to the other side that nothing more will be written. When it would block, call it
    /// again.
    pub(crate) fn say_goodbye(&mut self) -> io::Result<()> {
        self.drain()?;
        if !self.has_said_goodbye {
            self.tls.shutdown()?;
            self.has_said_goodbye = true;
        }
        self.tls.flush()
    }
}

impl<S: Read + Write> Read for SystemStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tls.read(buffer)
    }
}

impl<S: Read + Write> Write for SystemStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.drain()?;
        let piece = bytes.get(..PIECE_BYTES).unwrap_or(bytes);
        self.pending.extend_from_slice(piece);
        match self.drain() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(piece.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.tls.flush()
    }
}
