//! The layer below a store: a directory and its files, where *written* and *synced* are two things.
//!
//! What was written may be gone, torn or there in another order after a power cut, until it is
//! synced; so may be the names of files, until the names are synced. After the death of the process
//! alone, everything that was written is there.

use std::fmt;
use std::io;

/// Disks are written to in blocks of no more than so many bytes.
#[cfg(any(feature = "simulated", all(target_os = "linux", target_pointer_width = "64")))]
pub(crate) const BLOCK_BYTES: u64 = 4 * 1_024;

static ZEROS: [u8; 64 * 1_024] = [0; 64 * 1_024];

/// The directory of one store.
pub trait Disk: fmt::Debug + Send {
    /// The names of all files, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// A new file, or an empty one in place of one that is there.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is there.
    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of whatever has it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Takes a file away.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes the names durable: what was created, renamed and removed.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Whether what it calls durable survives a power cut. With one that syncs later it may not:
    /// then nothing may be given up for what is in a later file.
    fn syncs_at_once(&self) -> bool {
        true
    }

    /// Makes durable now what it would sync later.
    fn sync_late(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One file of a store. Several threads may read it at a time.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Its bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills `bytes` from this offset on; an error if the file ends before.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes`.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes`, and they are durable when this returns; of what else was written
    /// nothing is said. What the file has behind them, up to the next multiple of 4,096 bytes from
    /// its start, may be zeros then. If it fails, any part of them may be there.
    fn write_durably(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)?;
        self.sync()
    }

    /// Makes it at least so long, so that later writes find their room; zeros are behind what is
    /// there. Durable when it is synced.
    fn allocate(&mut self, length: u64) -> io::Result<()> {
        write_zeros(self, length)
    }

    /// Cuts it off.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Makes durable what was written. If it fails, nobody knows what is: the system may have
    /// dropped it, so a second try would prove nothing.
    fn sync(&mut self) -> io::Result<()>;
}

/// Makes a file so long with zeros that are really written.
pub(crate) fn write_zeros(file: &mut (impl DiskFile + ?Sized), length: u64) -> io::Result<()> {
    let mut at = file.length()?;
    while at < length {
        let bytes = usize::try_from(length - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_at(&ZEROS[..bytes], at)?;
        at += bytes as u64;
    }
    Ok(())
}
