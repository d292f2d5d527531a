//! A store's directory that is only looked at: whatever would change it does nothing.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::lock::Lock;
use crate::real::{names_in, owner_only, read_at, refuse_link};

/// A directory that is read and stays as it is, locked against a process that would change it.
///
/// A store that is opened on it can be read, but nothing of it can be kept.
#[derive(Debug)]
pub struct UnchangedDisk {
    path: PathBuf,
    bytes_read: Arc<AtomicU64>,
    _lock: Option<Lock>,
}

impl UnchangedDisk {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// If another process has it open, or if the system does not allow it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let lock = Lock::take_if_there(&path)?;
        Ok(Self { path, bytes_read: Arc::default(), _lock: lock })
    }

    /// A directory in this one, or an empty one if there is none of that name.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and if it is a symbolic link.
    pub fn below(&self, name: &str) -> Result<Self, StoreError> {
        let path = self.path.join(name);
        refuse_link(&path)?;
        let lock = Lock::take_if_there(&path)?;
        Ok(Self { path, bytes_read: Arc::clone(&self.bytes_read), _lock: lock })
    }

    /// How many bytes were read of it and of those below, as it goes on.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_read)
    }
}

impl Disk for UnchangedDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        match names_in(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names,
        }
    }

    /// A file that is nowhere.
    fn create(&mut self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(UnchangedFile { file: None, bytes_read: Arc::clone(&self.bytes_read) }))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        owner_only(options.read(true));
        let file = Some(options.open(self.path.join(name))?);
        Ok(Box::new(UnchangedFile { file, bytes_read: Arc::clone(&self.bytes_read) }))
    }

    fn rename(&mut self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct UnchangedFile {
    file: Option<File>,
    bytes_read: Arc<AtomicU64>,
}

impl DiskFile for UnchangedFile {
    fn length(&self) -> io::Result<u64> {
        self.file.as_ref().map_or(Ok(0), |file| Ok(file.metadata()?.len()))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        read_at(file, bytes, offset)?;
        self.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn write_at(&mut self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
