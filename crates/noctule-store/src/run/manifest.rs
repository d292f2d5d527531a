//! Which runs there are, in bytes that the caller stores durably.
//!
//! ```text
//!  0  4  mark "NMAN"                     then for each run, in the order of their messages:
//!  4  2  format, 1                        0  8  number
//!  6  2  zero                             8  8  bytes of its file
//!  8  8  number of the next run          at the end:
//! 16  4  number of runs                   0  4  CRC-32 of everything before
//! ```

use crate::error::StoreError;
use crate::frame::number_at;

const MARK: [u8; 4] = *b"NMAN";
const FORMAT: u16 = 1;
const HEADER_BYTES: usize = 20;
const ENTRY_BYTES: usize = 16;

/// Which runs there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) next: u64,
    /// The number and the bytes of each.
    pub(crate) runs: Vec<(u64, u64)>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.runs.len() * ENTRY_BYTES + 4);
        bytes.extend_from_slice(&MARK);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.next.to_le_bytes());
        let count = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&count.to_le_bytes());
        for (number, length) in &self.runs {
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads it back. No bytes at all are a store that begins.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.is_empty() {
            return Ok(Self { next: 1, runs: Vec::new() });
        }
        if bytes.starts_with(&MARK)
            && let Some(found) = number_at(bytes, 4).map(u16::from_le_bytes)
            && found > FORMAT
        {
            return Err(StoreError::NewerFormat { name: NAME.into(), found, known: FORMAT });
        }
        Self::decode_whole(bytes).ok_or_else(|| {
            let damaged = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is damaged");
            StoreError::io("read", NAME)(damaged)
        })
    }

    fn decode_whole(bytes: &[u8]) -> Option<Self> {
        let (content, stated) = bytes.split_last_chunk()?;
        if !content.starts_with(&MARK) || u32::from_le_bytes(*stated) != crc32fast::hash(content) {
            return None;
        }
        let next = u64::from_le_bytes(number_at(content, 8)?);
        let count = u32::from_le_bytes(number_at(content, 16)?);
        let entries = content.get(HEADER_BYTES..)?.chunks_exact(ENTRY_BYTES);
        let mut runs = Vec::with_capacity(entries.len());
        for entry in entries {
            let number = |at| number_at(entry, at).map(u64::from_le_bytes);
            runs.push((number(0)?, number(8)?));
        }
        (u32::try_from(runs.len()) == Ok(count)).then_some(Self { next, runs })
    }
}

const NAME: &str = "the list of runs";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_a_changed_one_is_refused() {
        for runs in [vec![], vec![(1, 100)], vec![(7, 5), (3, 9), (8, u64::MAX)]] {
            let manifest = Manifest { next: 9, runs };
            let bytes = manifest.encode();
            assert_eq!(Manifest::decode(&bytes).ok(), Some(manifest));
            for at in 0..bytes.len() {
                let mut bytes = bytes.clone();
                bytes[at] ^= 8;
                assert!(Manifest::decode(&bytes).is_err(), "{at}");
                assert!(at == 0 || Manifest::decode(&bytes[..at]).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn a_newer_one_is_named() {
        let mut bytes = Manifest { next: 1, runs: Vec::new() }.encode();
        bytes[4] = 2;
        let error = Manifest::decode(&bytes).expect_err("it is newer");
        assert!(matches!(error, StoreError::NewerFormat { found: 2, known: 1, .. }), "{error}");
    }
}
