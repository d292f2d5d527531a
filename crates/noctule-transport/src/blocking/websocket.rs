//! A WebSocket as a byte stream that does not block.

use std::io::{self, IoSlice, Read, Write};

use super::stream::{FRUITLESS_BYTES_MAX, Transport, source_by_stream_below, would_block};
use crate::websocket::Frames;

/// The payload of a WebSocket's binary frames. Pings are answered while it is read; a close frame
/// is the end of the stream; shutting it down sends one.
#[derive(Debug)]
pub struct WebSocketStream<S> {
    stream: S,
    frames: Frames,
    /// What came together with the handshake and has not been read yet.
    early: Vec<u8>,
}

impl<S: Read + Write> WebSocketStream<S> {
    pub(super) fn new(stream: S, frames: Frames, early: Vec<u8>) -> Self {
        Self { stream, frames, early }
    }

    /// Sends all pending frames.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            let pending = self.frames.pending()?;
            if pending.is_empty() {
                return Ok(());
            }
            match self.stream.write(pending) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.frames.on_sent(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends pongs and the answer to a close as far as there is room, and forgets errors: what is
    /// wrong with the socket shows when it is read.
    fn answer(&mut self) {
        let _ = self.drain().and_then(|()| self.stream.flush());
    }

    /// Reads bytes of the socket, or those that came with the handshake.
    fn read_raw(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if self.early.is_empty() {
            return self.stream.read(space);
        }
        let length = self.early.len().min(space.len());
        for (to, from) in space.iter_mut().zip(self.early.drain(..length)) {
            *to = from;
        }
        Ok(length)
    }
}

impl<S: Read + Write> Read for WebSocketStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut fruitless = 0;
        while fruitless < FRUITLESS_BYTES_MAX {
            if self.frames.has_pending() {
                self.answer();
            }
            if !self.frames.is_open()? {
                return Ok(0);
            }
            let length = self.read_raw(buffer)?;
            if length == 0 {
                return self.frames.on_end().map(|()| 0);
            }
            let produced = self.frames.on_bytes(buffer.get_mut(..length).unwrap_or_default())?;
            if produced > 0 {
                if self.frames.has_pending() {
                    self.answer();
                }
                return Ok(produced);
            }
            fruitless += length;
        }
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl<S: Read + Write> Write for WebSocketStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.drain()?;
        let length = self.frames.write(pieces)?;
        let sent = self.drain();
        // What does not leave now leaves with the next write or flush.
        if would_block(&sent) { Ok(length) } else { sent.map(|()| length) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.stream.flush()
    }
}

impl<S: Transport> Transport for WebSocketStream<S> {
    fn shutdown(&mut self) -> io::Result<()> {
        self.frames.close()?;
        self.flush()?;
        self.stream.shutdown()
    }
}

source_by_stream_below!(WebSocketStream);
