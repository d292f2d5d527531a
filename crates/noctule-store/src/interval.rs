//! A disk whose log is synced only every so often: what was written since then is lost by a power
//! cut, and by nothing else.
//!
//! Only [`DiskFile::write_durably`] is other than it says, which nothing but the frames of a log in
//! recycled segments uses. Names, headers, runs and the state are as durable as ever.

use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::disk::{Disk, DiskFile};

/// A directory in which what a log writes is synced by a thread, every so often. What is left is
/// synced when it is dropped; [`Disk::sync_late`] says whether that was possible.
#[derive(Debug)]
pub struct IntervalDisk {
    disk: Box<dyn Disk>,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Desk {
    todo: Mutex<Todo>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Todo {
    unsynced: Vec<Arc<Mutex<Open>>>,
    is_syncing: bool,
    /// Somebody waits until all of it is synced.
    hurries: bool,
    is_stopping: bool,
    /// A sync that has failed, and that nobody has been told of.
    failed: Option<io::ErrorKind>,
}

#[derive(Debug)]
struct Open {
    file: Box<dyn DiskFile>,
    is_unsynced: bool,
    /// Nobody knows what became of what was written: nothing more is.
    failed: Option<io::ErrorKind>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IntervalDisk {
    /// Syncs what is written to a log on this disk no later than so long after it was written.
    ///
    /// # Errors
    ///
    /// If the system has no thread for it.
    pub fn new(disk: Box<dyn Disk>, interval: Duration) -> io::Result<Self> {
        let desk = Arc::<Desk>::default();
        let work = Arc::clone(&desk);
        let thread = Builder::new()
            .name("noctule-sync".into())
            .spawn(move || while work.sync_behind(interval) {})?;
        Ok(Self { disk, desk, thread: Some(thread) })
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let open = Arc::new(Mutex::new(Open { file, is_unsynced: false, failed: None }));
        Box::new(IntervalFile { open, desk: Arc::clone(&self.desk) })
    }
}

impl Desk {
    /// Waits until something is written, and then until it is to be synced. Whether there may be
    /// more.
    fn sync_behind(&self, interval: Duration) -> bool {
        let idle = |todo: &mut Todo| todo.unsynced.is_empty() && !todo.is_stopping;
        let todo = self.changed.wait_while(lock(&self.todo), idle);
        let todo = todo.unwrap_or_else(PoisonError::into_inner);
        let goes_on = |todo: &mut Todo| !todo.is_stopping && !todo.hurries;
        let waited = self.changed.wait_timeout_while(todo, interval, goes_on);
        let mut todo = waited.unwrap_or_else(PoisonError::into_inner).0;
        let (files, is_stopping) = (mem::take(&mut todo.unsynced), todo.is_stopping);
        todo.is_syncing = true;
        drop(todo);
        let mut failed = None;
        for file in files {
            let mut open = lock(&file);
            open.is_unsynced = false;
            if let Err(error) = open.file.sync() {
                open.failed = Some(error.kind());
                failed = open.failed;
            }
        }
        let mut todo = lock(&self.todo);
        todo.is_syncing = false;
        todo.failed = failed.or(todo.failed);
        drop(todo);
        self.changed.notify_all();
        !is_stopping
    }
}

impl Drop for IntervalDisk {
    fn drop(&mut self) {
        lock(&self.desk.todo).is_stopping = true;
        self.desk.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Disk for IntervalDisk {
    fn syncs_at_once(&self) -> bool {
        false
    }

    fn sync_late(&mut self) -> io::Result<()> {
        let mut todo = lock(&self.desk.todo);
        todo.hurries = true;
        self.desk.changed.notify_all();
        let goes_on = |todo: &mut Todo| todo.is_syncing || !todo.unsynced.is_empty();
        let waited = self.desk.changed.wait_while(todo, goes_on);
        let mut todo = waited.unwrap_or_else(PoisonError::into_inner);
        todo.hurries = false;
        todo.failed.take().map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.disk.names()
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name).map(|file| self.file(file))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.file(file))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.disk.sync_names()
    }
}

#[derive(Debug)]
struct IntervalFile {
    open: Arc<Mutex<Open>>,
    desk: Arc<Desk>,
}

impl DiskFile for IntervalFile {
    fn length(&self) -> io::Result<u64> {
        lock(&self.open).file.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        lock(&self.open).file.read_at(bytes, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        lock(&self.open).file.write_at(bytes, offset)
    }

    fn write_durably(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut open = lock(&self.open);
        if let Some(kind) = open.failed {
            lock(&self.desk.todo).failed = None;
            return Err(kind.into());
        }
        open.file.write_at(bytes, offset)?;
        if !mem::replace(&mut open.is_unsynced, true) {
            drop(open);
            lock(&self.desk.todo).unsynced.push(Arc::clone(&self.open));
            self.desk.changed.notify_all();
        }
        Ok(())
    }

    fn allocate(&mut self, length: u64) -> io::Result<()> {
        lock(&self.open).file.allocate(length)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        lock(&self.open).file.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        lock(&self.open).file.sync()
    }
}
