//! The header of a WebSocket frame (RFC 6455, section 5.2), which tungstenite reads and writes: its
//! bytes may come in pieces, it has to keep the rules, and its mask goes over what follows.

use std::io::Cursor;

use tungstenite::protocol::Role;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::error::WebSocketError;

/// The largest control frame (RFC 6455, section 5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;
/// Two bytes, eight for the length, four for the mask.
const HEADER_BYTES_MAX: usize = 14;

/// A frame that is arriving.
#[derive(Debug)]
pub(super) struct Arriving {
    /// The next byte of its mask comes first.
    pub(super) header: FrameHeader,
    /// The payload bytes that have not arrived yet.
    pub(super) left: u64,
}

impl Arriving {
    pub(super) fn is_control(&self) -> bool {
        matches!(self.header.opcode, OpCode::Control(_))
    }

    /// Takes the mask off the next bytes of the payload.
    pub(super) fn unmask(&mut self, part: &mut [u8]) {
        if let Some(mask) = &mut self.header.mask {
            apply(*mask, part);
            mask.rotate_left(part.len() % 4);
        }
    }
}

/// Puts a mask on, or takes it off.
pub(super) fn apply(mask: [u8; 4], part: &mut [u8]) {
    let (fours, rest) = part.as_chunks_mut::<4>();
    let word = u32::from_ne_bytes(mask);
    for four in fours {
        *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// Collects a header.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

impl HeaderReader {
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes bytes up to the end of the header, which it returns once it is complete. Also returns
    /// how many bytes were taken.
    pub(super) fn on_bytes(
        &mut self,
        input: &[u8],
        role: Role,
    ) -> Result<(usize, Option<Arriving>), WebSocketError> {
        let before = self.length;
        let space = self.bytes.get_mut(before..).unwrap_or_default();
        let there = space.len().min(input.len());
        for (to, from) in space.iter_mut().zip(input) {
            *to = *from;
        }
        let known = self.bytes.get(..before + there).unwrap_or_default();
        let mut cursor = Cursor::new(known);
        let parsed = FrameHeader::parse(&mut cursor);
        let parsed = parsed.map_err(|_| WebSocketError::violation("this opcode is reserved"))?;
        let Some((header, length)) = parsed else {
            self.length = known.len();
            return Ok((there, None));
        };
        let end = usize::try_from(cursor.position()).unwrap_or(HEADER_BYTES_MAX);
        self.length = 0;
        check(&header, length, role)?;
        if header.len(length) != end {
            return Err(WebSocketError::violation("a length takes the fewest bytes"));
        }
        Ok((end.saturating_sub(before), Some(Arriving { header, left: length })))
    }
}

fn check(header: &FrameHeader, length: u64, role: Role) -> Result<(), WebSocketError> {
    let violation = |rule| Err(WebSocketError::violation(rule));
    // [MQTT5-6.0.0-1] [MQTT311-6.0.0-1]
    if header.opcode == OpCode::Data(Data::Text) {
        return Err(WebSocketError::TextFrame);
    }
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return violation("a reserved bit is 0 without an extension");
    }
    if matches!(header.opcode, OpCode::Control(_)) {
        if !header.is_final {
            return violation("a control frame is not fragmented");
        }
        if length > CONTROL_BYTES_MAX as u64 {
            return violation("a control frame has at most 125 bytes");
        }
    }
    if length > i64::MAX as u64 {
        return violation("a length's first bit is 0");
    }
    match (role, header.mask) {
        (Role::Client, Some(_)) => violation("a server does not mask its frames"),
        (Role::Server, None) => violation("a client masks its frames"),
        (Role::Client, None) | (Role::Server, Some(_)) => Ok(()),
    }
}
