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
//! The checksums are made when the batch is sealed, by whoever writes it: those who append have
//! something better to do.
//!
//! In a file that is used again, bytes 36..40 have the life of its segment, and each record's
//! checksum is XORed with that of the header, so that what an unfinished write has left of a former
//! life is none of this frame's records.
//!
//! All numbers are little-endian.

use std::mem;
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
    /// What the records' checksums are XORed with.
    pub(crate) mask: u32,
}

/// Which segment a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    pub(crate) segment: u64,
    /// Nothing is known of it if the segment's header cannot be read.
    pub(crate) life: Option<u32>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The number at this place of a header.
pub(crate) fn number_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

impl FrameHeader {
    /// Its bytes; the mask is what comes out of it.
    fn encode(&mut self, segment: u64, life: u32) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let fields = [
            (0, &MARK[..]),
            (4, &self.body_bytes.to_le_bytes()),
            (8, &self.sequence.to_le_bytes()),
            (16, &millis(self.age).to_le_bytes()),
            (24, &millis(self.wall).to_le_bytes()),
            (32, &self.records.to_le_bytes()),
            (36, &life.to_le_bytes()),
        ];
        for (at, field) in fields {
            header[at..at + field.len()].copy_from_slice(field);
        }
        let checksum = checksum(segment, &header[..40]);
        header[40..].copy_from_slice(&checksum.to_le_bytes());
        self.mask = mask(life, checksum);
        header
    }

    /// The header that begins with these bytes, if one does that belongs here, and the life of its
    /// segment.
    pub(crate) fn decode(bytes: &[u8], home: Home) -> Option<(Self, u32)> {
        if !bytes.starts_with(&MARK) {
            return None;
        }
        let life = u32::from_le_bytes(number_at(bytes, 36)?);
        if home.life.is_some_and(|expected| expected != life) {
            return None;
        }
        let stated = u32::from_le_bytes(number_at(bytes, 40)?);
        if stated != checksum(home.segment, bytes.get(..40)?) {
            return None;
        }
        let header = Self {
            body_bytes: u32::from_le_bytes(number_at(bytes, 4)?),
            sequence: u64::from_le_bytes(number_at(bytes, 8)?),
            age: Duration::from_millis(u64::from_le_bytes(number_at(bytes, 16)?)),
            wall: Duration::from_millis(u64::from_le_bytes(number_at(bytes, 24)?)),
            records: u32::from_le_bytes(number_at(bytes, 32)?),
            mask: mask(life, stated),
        };
        Some((header, life))
    }
}

/// Whether these bytes were to be the header of a frame of this life, and are damaged.
pub(crate) fn is_begun(bytes: &[u8], segment: u64, life: u32) -> bool {
    let home = Home { segment, life: Some(life) };
    let Some(stated) = number_at(bytes, 36).map(u32::from_le_bytes) else { return false };
    let mut healed = bytes.to_vec();
    healed[36..40].copy_from_slice(&life.to_le_bytes());
    stated == life || FrameHeader::decode(&healed, home).is_some()
}

fn mask(life: u32, checksum: u32) -> u32 {
    if life == 0 { 0 } else { checksum }
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
        self.bytes[start..start + 4].copy_from_slice(&content_bytes.to_le_bytes());
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
            mem::swap(self, other);
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
        life: u32,
        sequence: u64,
        (age, wall): (Duration, Duration),
    ) -> &[u8] {
        let body_bytes = u32::try_from(self.record_bytes()).unwrap_or(u32::MAX);
        let records = self.records;
        let mut header = FrameHeader { body_bytes, sequence, age, wall, records, mask: 0 };
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.encode(segment, life));
        self.put_checksums(header.mask);
        &self.bytes
    }

    /// The contents of the records.
    #[cfg(feature = "broker")]
    pub(crate) fn contents(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (header, behind) = rest.split_first_chunk::<RECORD_HEADER_BYTES>()?;
            let [a, b, c, d, ..] = *header;
            let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
            let (content, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some(content)
        })
    }

    /// Gives all records their checksums, XORed with `mask`.
    fn put_checksums(&mut self, mask: u32) {
        let mut rest = &mut self.bytes[HEADER_BYTES..];
        while let Some((header, behind)) = rest.split_first_chunk_mut::<RECORD_HEADER_BYTES>() {
            let [a, b, c, d, checksum @ ..] = header;
            let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d]));
            let Some((content, behind)) = behind.split_at_mut_checked(length.unwrap_or(usize::MAX))
            else {
                return;
            };
            *checksum = (record_checksum(content) ^ mask).to_le_bytes();
            rest = behind;
        }
    }
}

/// One record of a frame's body, or why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Record { at: usize, content: &'a [u8] },
    Damaged { at: usize, bytes: usize, reason: &'static str },
}

/// The records of a frame's body, which should be `expected` bytes long and have their checksums
/// XORed with `mask`. What is damaged is among them.
pub(crate) fn parts(body: &[u8], expected: usize, mask: u32) -> impl Iterator<Item = Part<'_>> {
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
        let stated = number_at(rest, 4).map(u32::from_le_bytes);
        if stated != Some(record_checksum(content) ^ mask) {
            return Some(Part::Damaged { at: start, bytes: end, reason: "its checksum is wrong" });
        }
        Some(Part::Record { at: start, content })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(6));

    fn batch() -> Batch {
        let mut batch = Batch::new();
        for content in [&b"one"[..], b"", b"three"] {
            batch.push(|out| out.extend_from_slice(content)).expect("it fits");
        }
        batch
    }

    fn home(segment: u64, life: u32) -> Home {
        Home { segment, life: Some(life) }
    }

    /// What a frame says, if all of it can be read.
    fn contents(frame: &[u8], home: Home) -> Option<Vec<Vec<u8>>> {
        let (header, _) = FrameHeader::decode(frame, home)?;
        let body = &frame[HEADER_BYTES..];
        let contents = parts(body, body.len(), header.mask).map(|part| match part {
            Part::Record { content, .. } => Some(content.to_vec()),
            Part::Damaged { .. } => None,
        });
        contents.collect()
    }

    #[test]
    fn a_frame_says_what_was_put_into_it() {
        for life in [0, 9] {
            let frame = batch().seal(7, life, 3, TIMES).to_vec();
            let header = FrameHeader::decode(&frame, home(7, life)).expect("a header").0;
            assert_eq!((header.sequence, header.records), (3, 3));
            assert_eq!((header.age, header.wall), TIMES);
            let contents = contents(&frame, home(7, life)).expect("all is well");
            assert_eq!(contents, [&b"one"[..], b"", b"three"]);
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for life in [0, 9] {
            let frame = batch().seal(7, life, 3, TIMES).to_vec();
            for bit in 0..frame.len() * 8 {
                let mut frame = frame.clone();
                frame[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(contents(&frame, home(7, life)), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_frame_of_another_segment_or_another_life_is_none() {
        for life in [0, 9] {
            let frame = batch().seal(7, life, 3, TIMES).to_vec();
            assert_eq!(FrameHeader::decode(&frame, home(8, life)), None);
            assert_eq!(FrameHeader::decode(&frame, Home { segment: 8, life: None }), None);
            assert_eq!(FrameHeader::decode(&frame, home(7, 10)), None);
            assert!(FrameHeader::decode(&frame, Home { segment: 7, life: None }).is_some());
        }
    }

    #[test]
    fn the_records_of_a_former_life_are_none_of_this_one_where_they_stand_in_the_same_places() {
        for (segment, life, sequence) in [(8, 9, 3), (7, 10, 3), (7, 9, 4)] {
            let old = batch().seal(7, 9, 3, TIMES).to_vec();
            let mut frame = batch().seal(segment, life, sequence, TIMES).to_vec();
            assert!(contents(&frame, home(segment, life)).is_some());
            frame[HEADER_BYTES..].copy_from_slice(&old[HEADER_BYTES..]);
            assert_eq!(contents(&frame, home(segment, life)), None);
        }
    }

    #[test]
    fn a_batch_that_was_sealed_takes_more_and_is_sealed_again() {
        let mut again = batch();
        again.seal(7, 9, 3, TIMES);
        again.push(|out| out.push(4)).expect("it fits");
        again.seal(8, 10, 3, TIMES);
        let mut whole = Batch::new();
        whole.push(|out| out.push(0)).expect("it fits");
        whole.take_from(&mut again);
        let contents = contents(whole.seal(9, 11, 3, TIMES), home(9, 11)).expect("all is well");
        assert_eq!(contents, [&[0][..], b"one", b"", b"three", &[4]]);
    }
}
