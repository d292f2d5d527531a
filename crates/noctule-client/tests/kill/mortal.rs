//! A disk whose program is killed by the system when it is about to do something to it.

use std::io;

use noctule_client::{Disk, DiskFile, RealDisk, StoreError};
use rustix::process::{Signal, getpid, kill_process};

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts what is done until the end.
#[derive(Clone, Debug)]
struct Life(Arc<AtomicU32>);

impl Life {
    /// Something is about to be done.
    fn pass(&self) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
            loop {
                std::thread::park();
            }
        }
    }
}

/// Opens a directory that is changed fewer than so many times.
pub(crate) fn open(path: &str, operations: u32) -> Result<Box<dyn Disk>, StoreError> {
    let life = Life(Arc::new(AtomicU32::new(operations)));
    Ok(Box::new(Mortal { disk: RealDisk::open(path)?, life }))
}

#[derive(Debug)]
struct Mortal {
    disk: RealDisk,
    life: Life,
}

impl Mortal {
    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(MortalFile { file, life: self.life.clone() })
    }
}

impl Disk for Mortal {
    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.life.pass();
        let file = self.disk.create(name)?;
        Ok(self.file(file))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(name)?;
        Ok(self.file(file))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.life.pass();
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.life.pass();
        self.disk.remove(name)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.life.pass();
        self.disk.sync_names()
    }
}

#[derive(Debug)]
struct MortalFile {
    file: Box<dyn DiskFile>,
    life: Life,
}

impl DiskFile for MortalFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.life.pass();
        self.file.write_at(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.life.pass();
        self.file.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.life.pass();
        self.file.sync()
    }
}
