//! A stretch of a file that was read at once.

use std::io;

use crate::disk::DiskFile;

/// What of it is kept for the next read.
const KEPT_BYTES: usize = 1_024 * 1_024;

/// A stretch of a run's file.
#[derive(Debug, Default)]
pub(crate) struct Window {
    run: u64,
    offset: u64,
    /// How much of `bytes` counts.
    filled: usize,
    bytes: Vec<u8>,
}

impl Window {
    /// What stands there, if all of it was read.
    pub(crate) fn bytes(&self, run: u64, offset: u64, length: u64) -> Option<&[u8]> {
        if run != self.run {
            return None;
        }
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        self.bytes.get(..self.filled)?.get(start..end)
    }

    /// Reads this stretch, or nothing if the file ends before.
    pub(crate) fn load(
        &mut self,
        file: &dyn DiskFile,
        run: u64,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        (self.run, self.offset, self.filled) = (run, offset, 0);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > KEPT_BYTES && offset.saturating_add(length as u64) > file.length()? {
            // Nothing is allocated for what cannot be there.
            return Ok(());
        }
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
        let Some(bytes) = self.bytes.get_mut(..length) else { return Ok(()) };
        match file.read_at(bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        self.filled = length;
        Ok(())
    }

    /// Gives back what only a large message needed.
    pub(crate) fn shrink(&mut self) {
        if self.bytes.len() > KEPT_BYTES {
            *self = Self::default();
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}
