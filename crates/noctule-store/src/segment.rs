//! The header of a segment, and its file's name.
//!
//! ```text
//!  0  8  mark "NOCTULE\n"            16  8  number of the segment
//!  8  2  format, 1                   24  8  sequence number of its first frame
//! 10  2  what the records are        32  4  zero
//! 12  4  1: all before is void       36  4  CRC-32 of 0..36
//! ```

use crate::frame::number_at;

pub(crate) const SEGMENT_HEADER_BYTES: usize = 40;
/// The newest format that is known, and the one that is written.
pub(crate) const FORMAT: u16 = 1;
/// What a new segment is called before it counts.
pub(crate) const UNFINISHED_NAME: &str = "rewrite.unfinished";

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
        ];
        for (at, field) in fields {
            header[at..at + field.len()].copy_from_slice(field);
        }
        let checksum = crc32fast::hash(&header[..36]);
        header[36..].copy_from_slice(&checksum.to_le_bytes());
        header
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
