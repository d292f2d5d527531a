//! A batch of records as it stands in a segment: a header with a checksum of its own, and records
//! each with theirs.
//!
//! ```text
//!  0  4  mark "NFRM"                 24  8  wall clock, ms since 1970
//!  4  4  bytes of the records        32  4  number of records
//!  8  8  sequence number             36  4  zero
//! 16  8  age of the store, ms        40  4  CRC-32 of the segment's number and of 0..40
//! 44     records: 4 bytes of content, CRC-32 of that length and the content, content
//! ```
//!
//! All numbers are little-endian.

use std::time::Duration;

use crate::error::StoreError;

pub(crate) const HEADER_BYTES: usize = 44;
/// What a record has before its content.
pub(crate) const RECORD_HEADER_BYTES: usize = 8;
pub(crate) const MARK: [u8; 4] = *b"NFRM";

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) body_bytes: u32,
    pub(crate) sequence: u64,
    pub(crate) age: Duration,
    pub(crate) wall: Duration,
    pub(crate) records: u32,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The number at this place of a header.
pub(crate) fn number_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

impl FrameHeader {
    pub(crate) fn encode(&self, segment: u64) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let fields = [
            (0, &MARK[..]),
            (4, &self.body_bytes.to_le_bytes()),
            (8, &self.sequence.to_le_bytes()),
            (16, &millis(self.age).to_le_bytes()),
            (24, &millis(self.wall).to_le_bytes()),
            (32, &self.records.to_le_bytes()),
        ];
        for (at, field) in fields {
            header[at..at + field.len()].copy_from_slice(field);
        }
        let checksum = checksum(segment, &header[..40]);
        header[40..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// The header that begins with these bytes, if one does that belongs to this segment.
    pub(crate) fn decode(bytes: &[u8], segment: u64) -> Option<Self> {
        if !bytes.starts_with(&MARK) {
            return None;
        }
        let stated = u32::from_le_bytes(number_at(bytes, 40)?);
        if stated != checksum(segment, bytes.get(..40)?) {
            return None;
        }
        Some(Self {
            body_bytes: u32::from_le_bytes(number_at(bytes, 4)?),
            sequence: u64::from_le_bytes(number_at(bytes, 8)?),
            age: Duration::from_millis(u64::from_le_bytes(number_at(bytes, 16)?)),
            wall: Duration::from_millis(u64::from_le_bytes(number_at(bytes, 24)?)),
            records: u32::from_le_bytes(number_at(bytes, 32)?),
        })
    }
}

fn checksum(segment: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The checksum of a record.
pub(crate) fn record_checksum(content: &[u8]) -> u32 {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    checksum_of_parts(&length.to_le_bytes(), content)
}

fn checksum_of_parts(length: &[u8; 4], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(content);
    hasher.finalize()
}

/// Records that are to be committed together.
#[derive(Debug)]
pub struct Batch {
    /// A place for the header, and the records.
    bytes: Vec<u8>,
    records: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// No records.
    pub fn new() -> Self {
        Self { bytes: vec![0; HEADER_BYTES], records: 0 }
    }

    /// Appends a record, whose content `write` appends to what it is given.
    ///
    /// # Errors
    ///
    /// If the record or the batch is larger than any frame. The batch is as before then.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), StoreError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        write(&mut self.bytes);
        let length = self.bytes.len() - start - RECORD_HEADER_BYTES;
        let sizes = (u32::try_from(length), u32::try_from(self.bytes.len()));
        let (Ok(content_bytes), Ok(_)) = sizes else {
            self.bytes.truncate(start);
            return Err(StoreError::TooLarge { length });
        };
        let checksum = record_checksum(&self.bytes[start + RECORD_HEADER_BYTES..]);
        self.bytes[start..start + 4].copy_from_slice(&content_bytes.to_le_bytes());
        self.bytes[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
        self.records += 1;
        Ok(())
    }

    /// How many records there are.
    pub const fn len(&self) -> u32 {
        self.records
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The bytes that it takes in the log.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of the records in it.
    pub(crate) fn record_bytes(&self) -> usize {
        self.bytes.len() - HEADER_BYTES
    }

    /// Appends all records of another batch, which is empty then. The bytes of both together fit
    /// into a frame.
    pub(crate) fn take_from(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
        } else if let Some(records) = other.bytes.get(HEADER_BYTES..) {
            self.bytes.extend_from_slice(records);
            self.records += other.records;
        }
        other.clear();
    }

    /// Takes all records out.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
        self.records = 0;
    }

    /// The whole frame.
    pub(crate) fn seal(
        &mut self,
        segment: u64,
        sequence: u64,
        age: Duration,
        wall: Duration,
    ) -> &[u8] {
        let body_bytes = u32::try_from(self.bytes.len() - HEADER_BYTES).unwrap_or(u32::MAX);
        let header = FrameHeader { body_bytes, sequence, age, wall, records: self.records };
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.encode(segment));
        &self.bytes
    }
}

/// One record of a frame's body, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Record { at: usize, content: &'a [u8] },
    Damaged { at: usize, bytes: usize, reason: &'static str },
}

/// The records of a frame's body, which should be `expected` bytes long. What is damaged is among
/// them.
pub(crate) fn parts(body: &[u8], expected: usize) -> impl Iterator<Item = Part<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= expected {
            return None;
        }
        let (start, rest) = (at, body.get(at..).unwrap_or_default());
        let Some(length) = number_at(rest, 0).map(u32::from_le_bytes) else {
            at = expected;
            return Some(Part::Damaged { at: start, bytes: rest.len(), reason: "it is cut short" });
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let end = RECORD_HEADER_BYTES.saturating_add(length);
        let Some(content) = rest.get(RECORD_HEADER_BYTES..end) else {
            at = expected;
            let reason = "its length leads beyond its batch";
            return Some(Part::Damaged { at: start, bytes: rest.len(), reason });
        };
        at += end;
        if number_at(rest, 4).map(u32::from_le_bytes) != Some(record_checksum(content)) {
            return Some(Part::Damaged { at: start, bytes: end, reason: "its checksum is wrong" });
        }
        Some(Part::Record { at: start, content })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Vec<u8> {
        let mut batch = Batch::new();
        for content in [&b"one"[..], b"", b"three"] {
            batch.push(|out| out.extend_from_slice(content)).expect("it fits");
        }
        batch.seal(7, 3, Duration::from_millis(5), Duration::from_millis(6)).to_vec()
    }

    #[test]
    fn a_frame_says_what_was_put_into_it() {
        let frame = sealed();
        let header = FrameHeader::decode(&frame, 7).expect("a header");
        assert_eq!((header.sequence, header.records), (3, 3));
        assert_eq!((header.age.as_millis(), header.wall.as_millis()), (5, 6));
        let body = &frame[HEADER_BYTES..];
        let contents: Vec<_> = parts(body, body.len())
            .map(|part| match part {
                Part::Record { content, .. } => content.to_vec(),
                damaged @ Part::Damaged { .. } => panic!("{damaged:?}"),
            })
            .collect();
        assert_eq!(contents, [&b"one"[..], b"", b"three"]);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let frame = sealed();
        for bit in 0..frame.len() * 8 {
            let mut frame = frame.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            let body = &frame[HEADER_BYTES..];
            let is_seen = FrameHeader::decode(&frame, 7).is_none()
                || parts(body, body.len()).any(|part| matches!(part, Part::Damaged { .. }));
            assert!(is_seen, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_segment_is_none() {
        assert_eq!(FrameHeader::decode(&sealed(), 8), None);
    }
}
