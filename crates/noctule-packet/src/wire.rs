//! Reading and writing the data types of the wire: integers, strings, binary data.

use alloc::vec::Vec;

use crate::{DecodeError, EncodeError, PacketId, PacketType, TextRules};

/// The largest value of a variable byte integer.
pub(crate) const VARIABLE_MAX: u32 = 268_435_455;

/// Takes fields off the front of a packet's body. A field that is not there whole is an error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    /// Takes a byte off the front if it is 0: a length of nothing.
    pub(crate) fn skip_zero(&mut self) -> bool {
        let Some((0, rest)) = self.rest.split_first() else { return false };
        self.rest = rest;
        true
    }

    pub(crate) fn two_byte(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn four_byte(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn variable(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                // [MQTT5-1.5.5-1] A last byte of 0 says nothing, unless it is the only one.
                if byte == 0 && shift > 0 {
                    return Err(DecodeError::VariableByteIntegerNotMinimal);
                }
                return Ok(value);
            }
        }
        Err(DecodeError::VariableByteIntegerTooLong)
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.two_byte()?;
        self.take(usize::from(length))
    }

    pub(crate) fn text(&mut self, rules: TextRules) -> Result<&'a str, DecodeError> {
        rules.check(self.binary()?)
    }

    pub(crate) fn packet_id(&mut self, packet_type: PacketType) -> Result<PacketId, DecodeError> {
        // [MQTT5-2.2.1-3] [MQTT311-2.3.1-1] [MQTT31-2.4-1]
        PacketId::new(self.two_byte()?).ok_or(DecodeError::ZeroPacketId { packet_type })
    }

    /// A part that begins with its length as a variable byte integer.
    pub(crate) fn prefixed(&mut self) -> Result<Reader<'a>, DecodeError> {
        let length = self.variable()?;
        let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
        self.take(length).map(Reader::new)
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// How many bytes this value takes as a variable byte integer.
pub(crate) const fn variable_length(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Appends a variable byte integer; values above its range are written as the largest one.
pub(crate) fn put_variable(out: &mut Vec<u8>, value: usize) {
    let mut rest = u32::try_from(value).unwrap_or(VARIABLE_MAX).min(VARIABLE_MAX);
    loop {
        let [_, _, _, low] = rest.to_be_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(crate) fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    let length = u16::try_from(bytes.len()).map_err(|_| EncodeError::StringTooLong)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    // [MQTT5-1.5.4-2] [MQTT311-1.5.3-2] A `str` may hold what no peer takes.
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(EncodeError::InvalidValue);
    }
    put_binary(out, text.as_bytes())
}

pub(crate) fn put_two_byte(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes a part through `write` and then puts its length before it.
pub(crate) fn put_prefixed(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    write(out)?;
    let length = out.len().saturating_sub(start);
    if u32::try_from(length).map_or(true, |length| length > VARIABLE_MAX) {
        return Err(EncodeError::TooLarge);
    }
    let end = out.len();
    put_variable(out, length);
    let prefix = out.len().saturating_sub(end);
    // The prefix stands behind the part now; turning the tail brings it to the front.
    if let Some(tail) = out.get_mut(start..) {
        tail.rotate_right(prefix);
    }
    Ok(())
}

/// Writes a whole packet: first byte, remaining length, and what `write` appends. When that fails,
/// `out` is as it was before.
pub(crate) fn put_packet(
    out: &mut Vec<u8>,
    first_byte: u8,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.push(first_byte);
    let written = put_prefixed(out, write);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::spec;

    #[test]
    fn variable_byte_integers_are_minimal_both_ways() {
        spec!("MQTT5-1.5.5-1");
        for (value, bytes) in [
            (0, &[0x00][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ] {
            let mut out = vec![];
            put_variable(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(variable_length(value), bytes.len());
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.variable().map(|v| v as usize), Ok(value));
            assert!(reader.is_empty());
        }
        for (bytes, error) in [
            (&[0x80, 0x00][..], DecodeError::VariableByteIntegerNotMinimal),
            (&[0xFF, 0x80, 0x00], DecodeError::VariableByteIntegerNotMinimal),
            (&[0x80, 0x80, 0x80, 0x80, 0x01], DecodeError::VariableByteIntegerTooLong),
            (&[0xFF, 0xFF], DecodeError::Truncated),
            (&[], DecodeError::Truncated),
        ] {
            assert_eq!(Reader::new(bytes).variable(), Err(error), "{bytes:x?}");
        }
    }

    #[test]
    fn a_failed_packet_leaves_nothing_behind() {
        let mut out = vec![1, 2, 3];
        let long = vec![0; 65_536];
        let result = put_packet(&mut out, 0x10, |out| put_binary(out, &long));
        assert_eq!((result, out), (Err(EncodeError::StringTooLong), vec![1, 2, 3]));
    }

    #[test]
    fn lengths_stand_before_their_part() {
        for length in [0, 1, 127, 128, 16_384] {
            let mut out = vec![9];
            put_packet(&mut out, 0x30, |out| {
                out.extend((0..length).map(|i| i as u8));
                Ok(())
            })
            .unwrap();
            let mut reader = Reader::new(&out[2..]);
            let part = reader.prefixed().unwrap();
            assert!(reader.is_empty());
            assert_eq!(part.len(), length);
            assert!(part.rest().iter().enumerate().all(|(i, &byte)| byte == i as u8));
        }
    }
}
