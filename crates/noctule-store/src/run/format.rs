//! What stands at fixed places of a run: its header and its footer; and its file's name.
//!
//! ```text
//! header                              footer
//!  0  8  mark "NOCTRUN\n"              0  8  mark "NRUNEND\n"
//!  8  2  format, 1                     8  8  number of the run
//! 10  2  zero                         16  8  where the chunks begin
//! 12  8  number of the run            24  8  where the index begins
//! 20  4  CRC-32 of 0..20              32  8  number of chunks
//!                                     40  8  number of messages
//!                                     48  8  number of bodies that stand before the chunks
//!                                     56  4  CRC-32 of 0..56
//! ```
//!
//! Between them: bodies that several references share, the chunks with the messages of one queue
//! after the other, and the index of the chunks. All numbers are little-endian.

use crate::frame::number_at;

/// The newest format that is known, and the one that is written.
pub(crate) const FORMAT: u16 = 1;
pub(crate) const HEADER_BYTES: usize = 24;
pub(crate) const FOOTER_BYTES: usize = 60;
/// What a shared body has before its bytes: their number, and the checksum.
pub(crate) const BODY_HEADER_BYTES: usize = 8;

const HEADER_MARK: [u8; 8] = *b"NOCTRUN\n";
const FOOTER_MARK: [u8; 8] = *b"NRUNEND\n";

/// The checksum of a part of a run: of the run's number, of the part's place in it, and of bytes.
/// So nothing that stands elsewhere is ever taken for it.
pub(crate) fn checksum<'b>(
    run: u64,
    offset: u64,
    parts: impl IntoIterator<Item = &'b [u8]>,
) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut place = [0; 16];
    place[..8].copy_from_slice(&run.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    hasher.update(&place);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

pub(crate) fn header(run: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&HEADER_MARK);
    header[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    header[12..20].copy_from_slice(&run.to_le_bytes());
    let checksum = crc32fast::hash(&header[..20]);
    header[20..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The format that a header says, if it is one of this run.
pub(crate) fn format_of(header: &[u8], run: u64) -> Option<u16> {
    let stated = u32::from_le_bytes(number_at(header, 20)?);
    let is_ours = header.starts_with(&HEADER_MARK)
        && stated == crc32fast::hash(header.get(..20)?)
        && number_at(header, 12).map(u64::from_le_bytes) == Some(run);
    is_ours.then_some(u16::from_le_bytes(number_at(header, 8)?))
}

/// What the end of a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) chunks_begin: u64,
    pub(crate) index_begin: u64,
    pub(crate) chunks: u64,
    pub(crate) messages: u64,
    pub(crate) bodies: u64,
}

impl Footer {
    pub(crate) fn encode(&self, run: u64) -> [u8; FOOTER_BYTES] {
        let mut footer = [0; FOOTER_BYTES];
        footer[..8].copy_from_slice(&FOOTER_MARK);
        let Self { chunks_begin, index_begin, chunks, messages, bodies } = *self;
        let numbers = [run, chunks_begin, index_begin, chunks, messages, bodies];
        for (at, number) in numbers.into_iter().enumerate() {
            footer[8 + at * 8..16 + at * 8].copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&footer[..56]);
        footer[56..].copy_from_slice(&checksum.to_le_bytes());
        footer
    }

    pub(crate) fn decode(bytes: &[u8], run: u64) -> Option<Self> {
        let number = |at| number_at(bytes, at).map(u64::from_le_bytes);
        let stated = u32::from_le_bytes(number_at(bytes, 56)?);
        let is_ours = bytes.starts_with(&FOOTER_MARK)
            && stated == crc32fast::hash(bytes.get(..56)?)
            && number(8)? == run;
        let footer = Self {
            chunks_begin: number(16)?,
            index_begin: number(24)?,
            chunks: number(32)?,
            messages: number(40)?,
            bodies: number(48)?,
        };
        is_ours.then_some(footer)
    }
}

/// Appends a shared body as it stands at this place.
pub(crate) fn encode_body(body: &[u8], run: u64, offset: u64, out: &mut Vec<u8>) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(run, offset, [&length[..], body]).to_le_bytes());
    out.extend_from_slice(body);
}

/// The shared body that is `whole`, at this place.
pub(crate) fn decode_body(whole: &[u8], run: u64, offset: u64) -> Option<&[u8]> {
    let body = whole.get(BODY_HEADER_BYTES..)?;
    let length: [u8; 4] = number_at(whole, 0)?;
    let is_whole = u32::try_from(body.len()).is_ok_and(|bytes| bytes.to_le_bytes() == length);
    let stated = u32::from_le_bytes(number_at(whole, 4)?);
    (is_whole && stated == checksum(run, offset, [&length[..], body])).then_some(body)
}

/// The name of a run's file.
pub(crate) fn name(number: u64) -> String {
    format!("run-{number:016x}.run")
}

/// The number of the run that has this name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("run-")?.strip_suffix(".run")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (self::name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not_taken_for_them() {
        assert_eq!(number(&name(0xABC)), Some(0xABC));
        for other in ["run-1.run", "run-000000000000000G.run", "log-0000000000000001.seg", "lock"] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn header_and_footer_are_read_back_and_changed_ones_are_not() {
        let header = header(7);
        assert_eq!((format_of(&header, 7), format_of(&header, 8)), (Some(FORMAT), None));
        for at in 0..header.len() {
            let mut header = header;
            header[at] ^= 4;
            assert_eq!(format_of(&header, 7), None, "{at}");
        }
        let footer = Footer { chunks_begin: 1, index_begin: 2, chunks: 3, messages: 4, bodies: 5 };
        let bytes = footer.encode(7);
        assert_eq!((Footer::decode(&bytes, 7), Footer::decode(&bytes, 8)), (Some(footer), None));
        for at in 0..bytes.len() {
            let mut bytes = bytes;
            bytes[at] ^= 4;
            assert_eq!(Footer::decode(&bytes, 7), None, "{at}");
        }
    }

    #[test]
    fn a_body_belongs_to_its_place() {
        let mut whole = Vec::new();
        encode_body(b"body", 7, 100, &mut whole);
        assert_eq!(decode_body(&whole, 7, 100), Some(&b"body"[..]));
        assert_eq!(decode_body(&whole, 8, 100), None);
        assert_eq!(decode_body(&whole, 7, 101), None);
        assert_eq!(decode_body(&whole[..11], 7, 100), None);
    }
}
