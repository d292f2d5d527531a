//! Synced writes that go past the system's cache: nobody reads soon what they write, and without
//! the cache's pages they cost a quarter less processor time, and less waiting.
//!
//! The disk takes whole blocks from memory that begins at one. So what is written is copied to such
//! memory, behind what its first block has already, and its last block is filled up with zeros.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::disk::BLOCK_BYTES;
use crate::linux;
use crate::real::read_at;

const BLOCK: usize = BLOCK_BYTES as usize;
/// More is written in several parts.
const PART_BYTES: usize = 1 << 20;

/// A file that is open a second time, for such writes only.
#[derive(Debug)]
pub(crate) struct Direct {
    file: File,
    /// Nothing is written behind it: the file would grow by what fills up its last block.
    length: u64,
    memory: Blocks,
    /// Its last write ended here, and the bytes before it in its block are the first of `memory`.
    end: Option<u64>,
}

impl Direct {
    /// Opens a file again, if its system is known to be better off with it.
    pub(crate) fn open(file: &File) -> Option<Self> {
        if !linux::overwrites_in_place(file) {
            return None;
        }
        // The name may have changed; the descriptor leads to the same file.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let opened = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path);
        let length = file.metadata().ok()?.len();
        Some(Self { file: opened.ok()?, length, memory: Blocks::default(), end: None })
    }

    /// Something else was written to the file.
    pub(crate) fn forget(&mut self) {
        self.end = None;
    }

    /// Writes all of `bytes`, each part durable when the call for it returns, to the file that was
    /// opened again. Of blocks behind its end it may say that this is not supported.
    pub(crate) fn write(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if end.next_multiple_of(BLOCK_BYTES) > self.length {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let lead_bytes = offset % BLOCK_BYTES;
        let (mut at, mut lead) = (offset - lead_bytes, usize::try_from(lead_bytes).unwrap_or(0));
        if self.end.take() != Some(offset) {
            read_at(file, &mut self.memory.first(BLOCK, 0)[..lead], at)?;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(PART_BYTES));
            let filled = lead + part.len();
            let blocks = self.memory.first(filled.next_multiple_of(BLOCK), lead);
            blocks[lead..filled].copy_from_slice(part);
            blocks[filled..].fill(0);
            linux::write_synced(&self.file, blocks, at)?;
            let whole = filled - filled % BLOCK;
            blocks.copy_within(whole..filled, 0);
            (at, lead, rest) = (at + whole as u64, filled - whole, behind);
        }
        self.end = Some(end);
        Ok(())
    }
}

/// Memory that begins with a block.
#[derive(Debug, Default)]
struct Blocks {
    bytes: Vec<u8>,
    start: usize,
}

impl Blocks {
    /// Its first bytes, so many, of which the first `kept` are as before.
    fn first(&mut self, count: usize, kept: usize) -> &mut [u8] {
        if self.bytes.len() < self.start + count {
            let mut bytes = vec![0; count + BLOCK];
            let start = bytes.as_ptr().align_offset(BLOCK);
            bytes[start..start + kept].copy_from_slice(&self.bytes[self.start..][..kept]);
            (self.bytes, self.start) = (bytes, start);
        }
        &mut self.bytes[self.start..self.start + count]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn blocks_begin_at_one_and_keep_what_is_asked_for_when_they_grow() {
        let mut blocks = Blocks::default();
        blocks.first(BLOCK, 0)[..3].copy_from_slice(b"abc");
        let grown = blocks.first(64 * BLOCK, 3);
        assert_eq!(&grown[..3], b"abc");
        assert_eq!((grown.len(), grown.as_ptr().align_offset(BLOCK)), (64 * BLOCK, 0));
    }

    #[test]
    fn what_is_written_stands_where_it_should_and_nothing_before_it_changes() {
        let path = std::env::temp_dir().join(format!("noctule-direct-{}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.expect("a file");
        let mut expected = vec![7; 4 * PART_BYTES];
        file.write_all_at(&expected, 0).expect("there is room");
        let direct = Direct::open(&file);
        assert_eq!(direct.is_some(), linux::overwrites_in_place(&file));
        // One behind the other, elsewhere, in one block, more than one part, up to the end.
        let writes = [(0, 44), (44, 300), (344, 9_000), (20_001, 10), (20_011, PART_BYTES + 5)];
        let last = (4 * PART_BYTES - 4_097, 4_097);
        let mut direct = direct.into_iter().collect::<Vec<_>>();
        for direct in &mut direct {
            for (number, (offset, count)) in writes.into_iter().chain([last]).enumerate() {
                let bytes = vec![u8::try_from(number).expect("few") + 100; count];
                direct.write(&file, &bytes, offset as u64).expect("there is room");
                let end = offset + count;
                expected[offset..end].copy_from_slice(&bytes);
                expected[end..end.next_multiple_of(BLOCK)].fill(0);
                assert_eq!(fs::read(&path).expect("a file"), expected, "write {number}");
            }
            let beyond = direct.write(&file, b"beyond", 4 * PART_BYTES as u64);
            let kind = beyond.expect_err("the file would grow").kind();
            assert_eq!(kind, io::ErrorKind::Unsupported);
        }
        fs::remove_file(&path).expect("it is there");
    }
}
