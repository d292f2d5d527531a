//! The header of a WebSocket frame (RFC 6455, section 5.2): reading it byte by byte, writing it,
//! and the mask that it carries.

use super::error::WebSocketError;
use super::frames::Role;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// Up to this length the second byte holds it.
const SHORT_MAX: u8 = 125;
const TWO_BYTES: u8 = 126;
const EIGHT_BYTES: u8 = 127;
/// Two bytes, eight for the length, four for the mask.
const HEADER_BYTES_MAX: usize = 14;

/// What a frame is for. A text frame is an error and so has no place here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(crate) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn from_bits(bits: u8) -> Result<Self, WebSocketError> {
        match bits {
            0x0 => Ok(Self::Continuation),
            0x1 => Err(WebSocketError::TextFrame),
            0x2 => Ok(Self::Binary),
            0x8 => Ok(Self::Close),
            0x9 => Ok(Self::Ping),
            0xa => Ok(Self::Pong),
            _ => Err(WebSocketError::violation("this opcode is reserved")),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }
}

/// A frame, and how much of it is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) opcode: Opcode,
    pub(crate) is_final: bool,
    /// The payload bytes that have not arrived yet.
    pub(crate) left: u64,
    /// The mask, its next byte first.
    pub(crate) mask: Option<[u8; 4]>,
}

impl Header {
    /// Takes the mask off the next bytes of the payload, or puts it on.
    pub(crate) fn unmask(&mut self, part: &mut [u8]) {
        let Some(mask) = &mut self.mask else { return };
        let (fours, rest) = part.as_chunks_mut::<4>();
        let word = u32::from_ne_bytes(*mask);
        for four in fours {
            *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip(*mask) {
            *byte ^= mask;
        }
        mask.rotate_left(rest.len());
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let fin = if self.is_final { FINAL } else { 0 };
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        to.push(fin | self.opcode.bits());
        match (u8::try_from(self.left), u16::try_from(self.left)) {
            (Ok(length @ 0..=SHORT_MAX), _) => to.push(masked | length),
            (_, Ok(length)) => {
                to.push(masked | TWO_BYTES);
                to.extend_from_slice(&length.to_be_bytes());
            }
            _ => {
                to.push(masked | EIGHT_BYTES);
                to.extend_from_slice(&self.left.to_be_bytes());
            }
        }
        to.extend(self.mask.iter().flatten());
    }
}

/// Collects a header.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    bytes: [u8; HEADER_BYTES_MAX],
    length: usize,
}

impl HeaderReader {
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes the next byte; the header, if it was the last. What is wrong in the first two bytes
    /// is found when they are there.
    pub(crate) fn on_byte(
        &mut self,
        byte: u8,
        role: Role,
    ) -> Result<Option<Header>, WebSocketError> {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length += 1;
        let [first, second, ..] = self.bytes;
        if self.length == 1 {
            check_first(first)?;
            return Ok(None);
        }
        if self.length == 2 {
            check_second(Opcode::from_bits(first & 0x0f)?, second, role)?;
        }
        let extended = match second & !MASKED {
            TWO_BYTES => 2,
            EIGHT_BYTES => 8,
            _ => 0,
        };
        let mask_bytes = if second & MASKED == 0 { 0 } else { 4 };
        if self.length < 2 + extended + mask_bytes {
            return Ok(None);
        }
        self.length = 0;
        let after_length = self.bytes.get(2 + extended..).unwrap_or_default();
        let mask = after_length.first_chunk().copied().filter(|_| mask_bytes > 0);
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let left = self.payload_length(second & !MASKED)?;
        Ok(Some(Header { opcode, is_final: first & FINAL != 0, left, mask }))
    }

    fn payload_length(&self, short: u8) -> Result<u64, WebSocketError> {
        let [_, _, a, b, c, d, e, f, g, h, ..] = self.bytes;
        let (length, least) = match short {
            TWO_BYTES => (u16::from_be_bytes([a, b]).into(), u64::from(SHORT_MAX) + 1),
            EIGHT_BYTES => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 1 << 16),
            _ => (short.into(), 0),
        };
        if length < least {
            return Err(WebSocketError::violation("a length takes the fewest bytes"));
        }
        if length > i64::MAX as u64 {
            return Err(WebSocketError::violation("a length's first bit is 0"));
        }
        Ok(length)
    }
}

fn check_first(first: u8) -> Result<(), WebSocketError> {
    let opcode = Opcode::from_bits(first & 0x0f)?;
    if first & RESERVED != 0 {
        return Err(WebSocketError::violation("a reserved bit is 0 without an extension"));
    }
    if opcode.is_control() && first & FINAL == 0 {
        return Err(WebSocketError::violation("a control frame is not fragmented"));
    }
    Ok(())
}

fn check_second(opcode: Opcode, second: u8, role: Role) -> Result<(), WebSocketError> {
    match (role, second & MASKED != 0) {
        (Role::Client, true) => {
            return Err(WebSocketError::violation("a server does not mask its frames"));
        }
        (Role::Server, false) => {
            return Err(WebSocketError::violation("a client masks its frames"));
        }
        (Role::Client, false) | (Role::Server, true) => {}
    }
    if opcode.is_control() && second & !MASKED > SHORT_MAX {
        return Err(WebSocketError::violation("a control frame has at most 125 bytes"));
    }
    Ok(())
}
