//! The header of a segment, and its file's name.
//!
//! ```text
//!  0  8  mark "NOCTULE\n"            16  8  number of the segment
//!  8  2  format, 1                   24  8  sequence number of its first frame
//! 10  2  what the records are        32  4  zero
//! 12  4  1: all before is void       36  4  CRC-32 of 0..36
//! ```
//!
//! A file that is used again has a *life* in bytes 32..36, a number of chance that is never zero.
//! Each of its frames says it too, so that neither what is left of its former lives nor what
//! somebody has put into a record can be taken for a frame of this one. The sequence number is zero
//! until its first frame is written, in one write with the header.

use std::hash::{BuildHasher, RandomState};

use crate::frame::number_at;

pub(crate) const SEGMENT_HEADER_BYTES: usize = 40;
/// The newest format that is known, and the one that is written.
pub(crate) const FORMAT: u16 = 1;
/// What a rewritten segment is called before it counts.
pub(crate) const UNFINISHED_NAME: &str = "rewrite.unfinished";
/// What the file of a prepared segment is called before it has its room and its header.
pub(crate) const PREPARED_NAME: &str = "next.unfinished";

const MARK: [u8; 8] = *b"NOCTULE\n";
const BEGINS_ANEW: u32 = 1;

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) format: u16,
    pub(crate) content: u16,
    /// Whether everything in older segments is void.
    pub(crate) begins_anew: bool,
    pub(crate) number: u64,
    pub(crate) first_sequence: u64,
    /// Zero in a file that is never used again.
    pub(crate) life: u32,
}

/// A number that nobody can know before, and never zero.
pub(crate) fn begin_life() -> u32 {
    loop {
        let [a, b, c, d, ..] = RandomState::new().hash_one(0_u8).to_le_bytes();
        match u32::from_le_bytes([a, b, c, d]) {
            0 => {}
            life => return life,
        }
    }
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let flags = if self.begins_anew { BEGINS_ANEW } else { 0 };
        let fields = [
            (0, &MARK[..]),
            (8, &self.format.to_le_bytes()),
            (10, &self.content.to_le_bytes()),
            (12, &flags.to_le_bytes()),
            (16, &self.number.to_le_bytes()),
            (24, &self.first_sequence.to_le_bytes()),
            (32, &self.life.to_le_bytes()),
        ];
        for (at, field) in fields {
            header[at..at + field.len()].copy_from_slice(field);
        }
        let checksum = crc32fast::hash(&header[..36]);
        header[36..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// Whether its file has got ready, and no frame yet.
    pub(crate) fn is_prepared(&self) -> bool {
        self.life != 0 && self.first_sequence == 0
    }

    /// The header, if it is one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(&MARK) {
            return None;
        }
        let stated = u32::from_le_bytes(number_at(bytes, 36)?);
        if stated != crc32fast::hash(bytes.get(..36)?) {
            return None;
        }
        let flags = u32::from_le_bytes(number_at(bytes, 12)?);
        Some(Self {
            format: u16::from_le_bytes(number_at(bytes, 8)?),
            content: u16::from_le_bytes(number_at(bytes, 10)?),
            begins_anew: flags & BEGINS_ANEW != 0,
            number: u64::from_le_bytes(number_at(bytes, 16)?),
            first_sequence: u64::from_le_bytes(number_at(bytes, 24)?),
            life: u32::from_le_bytes(number_at(bytes, 32)?),
        })
    }
}

/// The name of a segment's file.
pub(crate) fn name(number: u64) -> String {
    format!("log-{number:016x}.seg")
}

/// The number of the segment that has this name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (self::name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_taken_for_them() {
        assert_eq!(number(&name(0xABC)), Some(0xABC));
        for other in ["log-1.seg", "log-000000000000000G.seg", "lock", "log-+00000000000000a.seg"] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn a_header_is_read_back_and_a_changed_one_is_not() {
        let header = SegmentHeader {
            format: 1,
            content: 2,
            begins_anew: true,
            number: 3,
            first_sequence: 4,
            life: 5,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut bytes = bytes;
            bytes[at] ^= 0x10;
            assert_eq!(SegmentHeader::decode(&bytes), None, "{at}");
        }
    }
}
