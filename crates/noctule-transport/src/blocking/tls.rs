//! TLS over a stream that does not block.

use std::io::{self, Read, Write};

use rustls::Connection;

use super::stream::{FRUITLESS_BYTES_MAX, Transport, source_by_stream_below, would_block};

/// The bytes inside TLS.
#[derive(Debug)]
pub struct TlsStream<S> {
    connection: Connection,
    stream: S,
}

impl<S: Read + Write> TlsStream<S> {
    pub(super) fn new(connection: Connection, stream: S) -> Self {
        Self { connection, stream }
    }

    /// What TLS has agreed on, and more that rustls knows.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Goes on with the handshake; it would block until it is over.
    pub(super) fn handshake(&mut self) -> io::Result<()> {
        loop {
            let sent = self.send_records();
            let must_wait = would_block(&sent);
            if !must_wait {
                sent?;
            }
            if !self.connection.is_handshaking() {
                return if must_wait { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) };
            }
            if self.receive_records()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Sends what TLS has ready. It must not wait for reading, nor reading for it: else two sides
    /// that both write a lot would wait for each other for ever.
    fn send_records(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut self.stream)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    fn receive_records(&mut self) -> io::Result<usize> {
        let length = self.connection.read_tls(&mut self.stream)?;
        if let Err(error) = self.connection.process_new_packets() {
            // The alert tells the peer why; that it cannot be sent changes nothing.
            let _ = self.send_records();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(length)
    }
}

impl<S: Read + Write> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut fruitless = 0;
        while fruitless < FRUITLESS_BYTES_MAX {
            // TLS itself may have to answer, or a write has left something behind.
            let sent = self.send_records();
            if !would_block(&sent) {
                sent?;
            }
            let result = self.connection.reader().read(buffer);
            if !would_block(&result) {
                return result;
            }
            // At the end of the stream the reader says next whether it was a clean one.
            fruitless += self.receive_records()?;
        }
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl<S: Read + Write> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_records()?;
        let length = self.connection.writer().write(bytes)?;
        let sent = self.send_records();
        if would_block(&sent) { Ok(length) } else { sent.map(|()| length) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_records()?;
        self.stream.flush()
    }
}

impl<S: Transport> Transport for TlsStream<S> {
    fn shutdown(&mut self) -> io::Result<()> {
        self.connection.send_close_notify();
        self.send_records()?;
        self.stream.shutdown()
    }
}

source_by_stream_below!(TlsStream);
