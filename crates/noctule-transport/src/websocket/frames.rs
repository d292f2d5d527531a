//! WebSocket frames (RFC 6455, section 5) as a byte stream, without a socket: payload is handed on
//! as it arrives, whatever the frames' borders, so no message is ever collected.

use std::io::{self, IoSlice};

use tungstenite::protocol::Role;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::error::WebSocketError;
use super::header::{Arriving, CONTROL_BYTES_MAX, HeaderReader, apply};
use crate::http::printable;

/// No frame that we send has more payload.
const SENT_PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// An idle connection keeps no larger buffer.
const KEPT_BYTES_MAX: usize = 4 * 1024;

const NORMAL_CLOSURE: u16 = 1000;
const GOING_AWAY: u16 = 1001;

/// Both directions of one WebSocket.
#[derive(Debug)]
pub(crate) struct Frames {
    role: Role,
    message_bytes_max: u64,
    header: HeaderReader,
    frame: Option<Arriving>,
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

    /// The socket has ended. Whoever has said goodbye before, or broken a rule, is at its end
    /// already.
    pub(crate) fn on_end(&mut self) -> io::Result<()> {
        if !matches!(self.ending, Ending::Open) {
            return Ok(());
        }
        let is_inside = self.frame.is_some() || !self.header.is_empty();
        self.ending = Ending::Ended;
        if is_inside { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Takes what has arrived and leaves its payload at the start of the same buffer. Returns how
    /// much that is. An error comes to light with [`is_open`](Self::is_open).
    // [MQTT5-6.0.0-2] [MQTT311-6.0.0-2]
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

    /// Takes a header, or as much payload as is there.
    fn on_part(
        &mut self,
        buffer: &mut [u8],
        taken: &mut usize,
        produced: &mut usize,
    ) -> Result<(), WebSocketError> {
        let Some(mut frame) = self.frame.take() else {
            let input = buffer.get(*taken..).unwrap_or_default();
            let (length, frame) = self.header.on_bytes(input, self.role)?;
            *taken += length;
            let Some(frame) = frame else { return Ok(()) };
            self.on_header(&frame)?;
            return self.on_progress(frame);
        };
        let there = (buffer.len() - *taken).min(usize::try_from(frame.left).unwrap_or(usize::MAX));
        let end = *taken + there;
        if frame.is_control() {
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
    fn on_header(&mut self, frame: &Arriving) -> Result<(), WebSocketError> {
        let before = match (frame.header.opcode, self.message_bytes) {
            (OpCode::Control(_), _) => return Ok(()),
            (OpCode::Data(Data::Continue), Some(bytes)) => bytes,
            (OpCode::Data(Data::Continue), None) => {
                return Err(WebSocketError::violation("a continuation continues nothing"));
            }
            (OpCode::Data(_), None) => 0,
            (OpCode::Data(_), Some(_)) => {
                return Err(WebSocketError::violation("a message began inside another"));
            }
        };
        let bytes = before.saturating_add(frame.left);
        if bytes > self.message_bytes_max {
            return Err(WebSocketError::MessageTooLong { limit: self.message_bytes_max });
        }
        self.message_bytes = Some(bytes);
        Ok(())
    }

    /// Keeps a frame of which more is to come, or acts on one that is complete.
    fn on_progress(&mut self, frame: Arriving) -> Result<(), WebSocketError> {
        if frame.left > 0 {
            self.frame = Some(frame);
            return Ok(());
        }
        match frame.header.opcode {
            OpCode::Data(_) => {
                if frame.header.is_final {
                    self.message_bytes = None;
                }
            }
            OpCode::Control(Control::Ping) => self.pong = Some(std::mem::take(&mut self.control)),
            OpCode::Control(Control::Close) => {
                let payload = std::mem::take(&mut self.control);
                self.ending = self.on_close(&payload)?;
            }
            OpCode::Control(Control::Pong | Control::Reserved(_)) => self.control.clear(),
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
        // [MQTT5-6.0.0-1] [MQTT311-6.0.0-1]
        let (start, mask) = self.begin_frame(OpCode::Data(Data::Binary), length)?;
        let mut left = length;
        for piece in pieces {
            let part = piece.get(..left).unwrap_or(piece);
            self.outbound.extend_from_slice(part);
            left -= part.len();
        }
        self.mask_from(start, mask);
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
            self.queue_control(Control::Pong, &pong)?;
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
            self.queue_control(Control::Close, &code.to_be_bytes())?;
        }
        Ok(())
    }

    fn queue_control(&mut self, kind: Control, payload: &[u8]) -> io::Result<()> {
        debug_assert!(payload.len() <= CONTROL_BYTES_MAX);
        let (start, mask) = self.begin_frame(OpCode::Control(kind), payload.len())?;
        self.outbound.extend_from_slice(payload);
        self.mask_from(start, mask);
        Ok(())
    }

    /// Writes a header. Returns where the payload begins and how it is to be masked.
    fn begin_frame(
        &mut self,
        opcode: OpCode,
        length: usize,
    ) -> io::Result<(usize, Option<[u8; 4]>)> {
        // Only clients mask, and so that nobody can foretell it (RFC 6455, section 10.3).
        let mask = (self.role == Role::Client).then(rand::random);
        let header = FrameHeader { is_final: true, opcode, mask, ..FrameHeader::default() };
        header.format(length as u64, &mut self.outbound).map_err(io::Error::other)?;
        Ok((self.outbound.len(), mask))
    }

    fn mask_from(&mut self, start: usize, mask: Option<[u8; 4]>) {
        if let Some(mask) = mask {
            apply(mask, self.outbound.get_mut(start..).unwrap_or_default());
        }
    }
}
