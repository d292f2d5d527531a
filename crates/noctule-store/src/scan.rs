//! Reads one segment from its front to its end, over whatever is damaged in it.

use std::io;

use crate::disk::DiskFile;
use crate::frame::{FrameHeader, HEADER_BYTES, Home, MARK, is_begun, number_at};

/// How much is looked through at once for the next frame.
const SEARCH_BYTES: usize = 64 * 1_024;

/// A frame whose header can be read.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
    /// Shorter than the header says if the segment ends before.
    pub(crate) body: Vec<u8>,
}

/// What comes next in a segment.
#[derive(Debug)]
pub(crate) enum Found {
    Frame(Frame),
    /// Bytes that are no frame.
    Gap {
        offset: u64,
        bytes: u64,
        /// How many of them are a frame that was begun: in a file that is used again all others
        /// may be what its former life has left.
        begun_bytes: u64,
    },
    End,
}

/// A place in a segment.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    home: Home,
    offset: u64,
    length: u64,
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, home: Home, offset: u64, length: u64) -> Self {
        Self { file, home, offset, length }
    }

    fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        // Never more than there is, whatever a length says.
        let bytes = bytes.min(size(self.length.saturating_sub(offset)));
        let mut read = vec![0; bytes];
        self.file.read_at(&mut read, offset)?;
        Ok(read)
    }

    pub(crate) fn next(&mut self) -> io::Result<Found> {
        if self.offset >= self.length {
            return Ok(Found::End);
        }
        let offset = self.offset;
        let start = self.read(offset, HEADER_BYTES)?;
        let Some((header, life)) = FrameHeader::decode(&start, self.home) else {
            self.offset = self.search(offset + 1)?;
            let bytes = self.offset - offset;
            return Ok(Found::Gap { offset, bytes, begun_bytes: self.begun_bytes(&start, bytes) });
        };
        // The first frame tells what an unreadable header of the segment does not.
        self.home.life = Some(life);
        let start = offset + HEADER_BYTES as u64;
        let mut body = self.read(start, size(header.body_bytes.into()))?;
        let mut end = start + body.len() as u64;
        if body.len() < size(header.body_bytes.into()) {
            // It was not written whole, or its length is of no use: what is behind may still be.
            end = self.search(start)?.min(end);
            body.truncate(size(end - start));
        }
        self.offset = end;
        Ok(Found::Frame(Frame { segment: self.home.segment, offset, header, body }))
    }

    /// How many of these bytes, which `start` begins, are the frame of a write that got through in
    /// part.
    fn begun_bytes(&self, start: &[u8], bytes: u64) -> u64 {
        match self.home.life {
            None | Some(0) => bytes,
            Some(life) if is_begun(start, self.home.segment, life) => {
                let body = number_at(start, 4).map_or(0, u32::from_le_bytes);
                bytes.min(HEADER_BYTES as u64 + u64::from(body))
            }
            Some(_) => 0,
        }
    }

    /// The first place from `from` on where a frame begins, or the segment's end.
    fn search(&self, from: u64) -> io::Result<u64> {
        let mut from = from;
        while from < self.length {
            let window = self.read(from, SEARCH_BYTES + HEADER_BYTES)?;
            let starts = window.windows(MARK.len()).take(SEARCH_BYTES).enumerate();
            for (at, _) in starts.filter(|(_, bytes)| *bytes == MARK) {
                if FrameHeader::decode(&window[at..], self.home).is_some() {
                    return Ok(from + at as u64);
                }
            }
            from += SEARCH_BYTES as u64;
        }
        Ok(self.length)
    }
}
