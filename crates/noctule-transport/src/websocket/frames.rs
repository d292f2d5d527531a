//! WebSocket frames (RFC 6455, section 5) as a byte stream, without a socket: payload is handed on
//! as it arrives, whatever the frames' borders, so no message is ever collected.

use std::io::{self, IoSlice};

use super::error::WebSocketError;
use super::header::{Header, HeaderReader, Opcode};
use crate::http::printable;

/// No frame that we send has more payload.
const SENT_PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// An idle connection keeps no larger buffer.
const KEPT_BYTES_MAX: usize = 4 * 1024;
/// The largest control frame (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

const NORMAL_CLOSURE: u16 = 1000;
const GOING_AWAY: u16 = 1001;

/// Which end of the WebSocket this is. Only clients mask what they send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only tokio has servers so far"))]
    Server,
}

/// Both directions of one WebSocket.
#[derive(Debug)]
pub(crate) struct Frames {
    role: Role,
    message_bytes_max: u64,
    header: HeaderReader,
    frame: Option<Header>,
    /// The payload of the control frame that is arriving.
    control: Vec<u8>,
    /// The bytes so far of the message that is arriving.
    message_bytes: Option<u64>,
    ending: Ending,
    /// Frames that wait to be sent, and how many of their bytes were.
    outbound: Vec<u8>,
    sent: usize,
    /// The answer to the latest ping; an older one that was not sent is replaced.
    pong: Option<Vec<u8>>,
    is_close_sent: bool,
    masks: Masks,
}

#[derive(Debug)]
enum Ending {
    Open,
    /// The peer said goodbye.
    Ended,
    /// It is to be told once the bytes before it have been.
    Failed(WebSocketError),
}

impl Frames {
    pub(crate) fn new(role: Role, message_bytes_max: u64) -> Self {
        Self {
            role,
            message_bytes_max,
            header: HeaderReader::default(),
            frame: None,
            control: Vec::new(),
            message_bytes: None,
            ending: Ending::Open,
            outbound: Vec::new(),
            sent: 0,
            pong: None,
            is_close_sent: false,
            masks: Masks::default(),
        }
    }

    /// Whether more can arrive; the error, if there was one.
    pub(crate) fn is_open(&self) -> Result<bool, WebSocketError> {
        match &self.ending {
            Ending::Open => Ok(true),
            Ending::Ended => Ok(false),
            Ending::Failed(error) => Err(error.clone()),
        }
    }

    /// The socket has ended.
    pub(crate) fn on_end(&mut self) -> io::Result<()> {
        let is_inside = self.frame.is_some() || !self.header.is_empty();
        self.ending = Ending::Ended;
        if is_inside { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Takes what has arrived and leaves its payload at the start of the same buffer. Returns how
    /// much that is. An error comes to light with [`is_open`](Self::is_open).
    pub(crate) fn on_bytes(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut taken, mut produced) = (0, 0);
        while taken < buffer.len() && matches!(self.ending, Ending::Open) {
            if let Err(error) = self.on_part(buffer, &mut taken, &mut produced) {
                self.queue_close(error.close_code())?;
                self.ending = Ending::Failed(error);
            }
        }
        Ok(produced)
    }

    /// Takes the next header byte, or as much payload as is there.
    fn on_part(
        &mut self,
        buffer: &mut [u8],
        taken: &mut usize,
        produced: &mut usize,
    ) -> Result<(), WebSocketError> {
        let Some(mut frame) = self.frame.take() else {
            let byte = buffer.get(*taken).copied().unwrap_or_default();
            *taken += 1;
            let Some(header) = self.header.on_byte(byte, self.role)? else { return Ok(()) };
            self.on_header(&header)?;
            return self.on_progress(header);
        };
        let there = (buffer.len() - *taken).min(usize::try_from(frame.left).unwrap_or(usize::MAX));
        let end = *taken + there;
        if frame.opcode.is_control() {
            let part = &mut buffer[*taken..end];
            frame.unmask(part);
            self.control.extend_from_slice(part);
        } else {
            frame.unmask(&mut buffer[*taken..end]);
            buffer.copy_within(*taken..end, *produced);
            *produced += there;
        }
        *taken = end;
        frame.left -= there as u64;
        self.on_progress(frame)
    }

    /// Checks a frame's place among the others.
    fn on_header(&mut self, header: &Header) -> Result<(), WebSocketError> {
        let before = match (header.opcode, self.message_bytes) {
            (Opcode::Binary, None) => 0,
            (Opcode::Continuation, Some(bytes)) => bytes,
            (Opcode::Binary, Some(_)) => {
                return Err(WebSocketError::violation("a message began inside another"));
            }
            (Opcode::Continuation, None) => {
                return Err(WebSocketError::violation("a continuation continues nothing"));
            }
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
        };
        let bytes = before.saturating_add(header.left);
        if bytes > self.message_bytes_max {
            return Err(WebSocketError::MessageTooLong { limit: self.message_bytes_max });
        }
        self.message_bytes = Some(bytes);
        Ok(())
    }

    /// Keeps a frame of which more is to come, or acts on one that is complete.
    fn on_progress(&mut self, frame: Header) -> Result<(), WebSocketError> {
        if frame.left > 0 {
            self.frame = Some(frame);
            return Ok(());
        }
        match frame.opcode {
            Opcode::Binary | Opcode::Continuation => {
                if frame.is_final {
                    self.message_bytes = None;
                }
            }
            Opcode::Ping => self.pong = Some(std::mem::take(&mut self.control)),
            Opcode::Pong => self.control.clear(),
            Opcode::Close => {
                let payload = std::mem::take(&mut self.control);
                self.ending = self.on_close(&payload)?;
            }
        }
        Ok(())
    }

    fn on_close(&mut self, payload: &[u8]) -> Result<Ending, WebSocketError> {
        let (code, reason) = match payload {
            [] => (NORMAL_CLOSURE, ""),
            [_] => return Err(WebSocketError::violation("a close code has two bytes")),
            [high, low, reason @ ..] => {
                let reason = std::str::from_utf8(reason)
                    .map_err(|_| WebSocketError::violation("a close reason is UTF-8"))?;
                (u16::from_be_bytes([*high, *low]), reason)
            }
        };
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(WebSocketError::violation("this close code is never sent"));
        }
        // Failing to answer is no failure: the peer is leaving anyway.
        let _ = self.queue_close(code);
        if matches!(code, NORMAL_CLOSURE | GOING_AWAY) {
            return Ok(Ending::Ended);
        }
        Ok(Ending::Failed(WebSocketError::Closed { code, reason: printable(reason) }))
    }

    /// Puts payload into a frame. Call it when nothing is pending, so that memory stays bounded.
    /// Returns how much was taken.
    pub(crate) fn write(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_close_sent {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let length = offered.min(SENT_PAYLOAD_BYTES_MAX);
        if length == 0 {
            return Ok(0);
        }
        let start = self.begin_frame(Opcode::Binary, length)?;
        let mut left = length;
        for piece in pieces {
            let part = piece.get(..left).unwrap_or(piece);
            self.outbound.extend_from_slice(part);
            left -= part.len();
        }
        self.mask_from(start);
        Ok(length)
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.queue_close(NORMAL_CLOSURE)
    }

    /// The bytes to be sent now.
    pub(crate) fn pending(&mut self) -> io::Result<&[u8]> {
        if let Some(pong) = self.pong.take_if(|_| !self.is_close_sent) {
            // At the end of the others, where one frame ends and the next begins.
            self.queue_control(Opcode::Pong, &pong)?;
        }
        Ok(self.outbound.get(self.sent..).unwrap_or_default())
    }

    /// Whether there are bytes to be sent.
    pub(crate) fn has_pending(&self) -> bool {
        !self.outbound.is_empty() || (self.pong.is_some() && !self.is_close_sent)
    }

    /// So many of the pending bytes were sent.
    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.outbound.len() {
            self.outbound.clear();
            self.outbound.shrink_to(KEPT_BYTES_MAX);
            self.sent = 0;
        }
    }

    fn queue_close(&mut self, code: u16) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_close_sent, true) {
            self.queue_control(Opcode::Close, &code.to_be_bytes())?;
        }
        Ok(())
    }

    fn queue_control(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        debug_assert!(payload.len() <= CONTROL_BYTES_MAX);
        let start = self.begin_frame(opcode, payload.len())?;
        self.outbound.extend_from_slice(payload);
        self.mask_from(start);
        Ok(())
    }

    /// Writes a header. Returns where the payload begins and how it is to be masked.
    fn begin_frame(&mut self, opcode: Opcode, length: usize) -> io::Result<(usize, [u8; 4])> {
        let mask = match self.role {
            Role::Client => Some(self.masks.next()?),
            Role::Server => None,
        };
        Header { opcode, is_final: true, left: length as u64, mask }.encode(&mut self.outbound);
        Ok((self.outbound.len(), mask.unwrap_or_default()))
    }

    fn mask_from(&mut self, (start, mask): (usize, [u8; 4])) {
        if self.role == Role::Client {
            let payload = self.outbound.get_mut(start..).unwrap_or_default();
            Header { opcode: Opcode::Binary, is_final: true, left: 0, mask: Some(mask) }
                .unmask(payload);
        }
    }
}

/// Masks that nobody can foretell (RFC 6455, section 10.3), drawn many at a time.
#[derive(Debug, Default)]
struct Masks {
    drawn: Vec<[u8; 4]>,
}

impl Masks {
    fn next(&mut self) -> io::Result<[u8; 4]> {
        if let Some(mask) = self.drawn.pop() {
            return Ok(mask);
        }
        let mut random = [0; 128];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        self.drawn.extend(random.as_chunks().0);
        self.drawn.pop().ok_or_else(|| io::ErrorKind::Other.into())
    }
}
