//! One of the load's sockets: bytes that wait to be written, and the beginning of a packet that has
//! not come as a whole.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use anyhow::{Result, bail};

/// A socket that never waits.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    /// To be written.
    pub(crate) out: Vec<u8>,
    written: usize,
    /// What was read of a packet that is not complete.
    rest: Vec<u8>,
    /// The socket takes no more for now.
    is_blocked: bool,
    /// On the list of those to write to.
    pub(crate) is_dirty: bool,
}

impl Link {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            out: Vec::new(),
            written: 0,
            rest: Vec::new(),
            is_blocked: false,
            is_dirty: false,
        }
    }

    /// The socket may take more.
    pub(crate) fn unblock(&mut self) {
        self.is_blocked = false;
    }

    /// Writes as much as the socket takes.
    pub(crate) fn write_out(&mut self) -> Result<()> {
        while !self.is_blocked && self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Reads once behind what was left. How many bytes `buffer` now holds, and whether there may be
    /// more to read.
    pub(crate) fn read_into(&mut self, buffer: &mut [u8]) -> Result<(usize, bool)> {
        let kept = self.rest.len();
        buffer[..kept].copy_from_slice(&self.rest);
        self.rest.clear();
        match self.stream.read(&mut buffer[kept..]) {
            Ok(0) => bail!("the broker closed a connection"),
            Ok(count) => Ok((kept + count, kept + count == buffer.len())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok((kept, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps what is no whole packet.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        self.rest.extend_from_slice(rest);
    }
}
