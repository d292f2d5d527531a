//! The disks of a broker under test: in memory, where a power cut shows what was synced, and with
//! faults that begin and end when a test wants it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use noctule_broker::{Broker, Builder};
use noctule_store::{Cut, Disk, DiskFile, IntervalDisk, SimulatedDisk, StoreError};

/// Small ones are finished soon.
const SEGMENT_BYTES: u64 = 16 * 1024;

/// What is wrong with the disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no room.
    Full,
    /// Nothing can be changed.
    ReadOnly,
    /// What is written comes to nothing.
    Write,
    /// What is written is there, and no sync succeeds.
    Sync,
}

pub(crate) const FAULTS: [Fault; 4] = [Fault::Full, Fault::ReadOnly, Fault::Write, Fault::Sync];

/// The disks; clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    disks: BTreeMap<PathBuf, SimulatedDisk>,
    fault: Option<Fault>,
    /// The log's disk has none.
    spares_log: bool,
    /// Syncs wait.
    holds: bool,
    /// How many wait now.
    held: u32,
    operations: u64,
    failures: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// Takes no room.
    Change,
    /// Takes some.
    Write,
    Sync,
}

impl Disks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// A broker on them. So many bytes may be on their way to them.
    pub(crate) fn broker(&self, waiting_bytes_max: u64) -> Builder {
        let disks = self.clone();
        Broker::builder().data("data").disks(
            move |path| disks.open(path),
            waiting_bytes_max,
            SEGMENT_BYTES,
        )
    }

    /// The same, but its log is synced only when it ends.
    pub(crate) fn broker_that_syncs_late(&self, waiting_bytes_max: u64) -> Builder {
        let disks = self.clone();
        let open = move |path: &Path| {
            let disk = disks.open(path)?;
            let late = IntervalDisk::new(disk, Duration::from_secs(100_000)).expect("a thread");
            Ok(Box::new(late) as Box<dyn Disk>)
        };
        Broker::builder().data("data").disks(open, waiting_bytes_max, SEGMENT_BYTES)
    }

    fn open(&self, path: &Path) -> Result<Box<dyn Disk>, StoreError> {
        let inner = self.lock().disks.entry(path.to_owned()).or_default().clone();
        let is_log = path == Path::new("data");
        Ok(Box::new(FaultyDisk { inner, disks: self.clone(), is_log }))
    }

    /// What is left when the power is cut now, or with [`Cut::Nothing`] the process killed.
    pub(crate) fn after(&self, cut: Cut) -> Self {
        let left = |(path, disk): (&PathBuf, &SimulatedDisk)| (path.clone(), disk.after(cut));
        let disks = self.lock().disks.iter().map(left).collect();
        let state = State { disks, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// From now on this is wrong with them, or nothing.
    pub(crate) fn set(&self, fault: impl Into<Option<Fault>>) {
        self.lock().fault = fault.into();
    }

    /// The same, but for the disk of the log.
    pub(crate) fn set_but_for_the_log(&self, fault: Fault) {
        let mut state = self.lock();
        (state.fault, state.spares_log) = (Some(fault), true);
    }

    /// From now on syncs wait, or none does.
    pub(crate) fn hold(&self, holds: bool) {
        self.lock().holds = holds;
        self.0.changed.notify_all();
    }

    /// Waits until a sync does.
    pub(crate) fn wait_for_held(&self) {
        let waits = |state: &mut State| state.held == 0;
        let (state, timeout) =
            self.0.changed.wait_timeout_while(self.lock(), 4 * crate::DEADLINE, waits).unwrap();
        assert!(!timeout.timed_out(), "nothing is synced: {state:?}");
    }

    /// Waits until something has failed since there were so many failures.
    pub(crate) fn wait_for_failure_after(&self, failures: u64) {
        let waits = |state: &mut State| state.failures <= failures;
        let (state, timeout) =
            self.0.changed.wait_timeout_while(self.lock(), 4 * crate::DEADLINE, waits).unwrap();
        assert!(!timeout.timed_out(), "nothing fails: {state:?}");
    }

    pub(crate) fn failures(&self) -> u64 {
        self.lock().failures
    }

    /// How many writes, syncs and changes of names there were.
    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    fn operate(&self, operation: Operation, is_log: bool) -> io::Result<()> {
        let mut state = self.lock();
        state.operations += 1;
        if operation == Operation::Sync && state.holds {
            state.held += 1;
            self.0.changed.notify_all();
            state = self.0.changed.wait_while(state, |state| state.holds).unwrap();
            state.held -= 1;
        }
        let fault = state.fault.filter(|_| !(is_log && state.spares_log));
        let error = match (fault, operation) {
            (Some(Fault::Full), Operation::Write) => io::ErrorKind::StorageFull.into(),
            (Some(Fault::ReadOnly), _) => io::ErrorKind::ReadOnlyFilesystem.into(),
            (Some(Fault::Write), Operation::Write) | (Some(Fault::Sync), Operation::Sync) => {
                io::Error::other("the disk does not answer")
            }
            _ => return Ok(()),
        };
        state.failures += 1;
        self.0.changed.notify_all();
        Err(error)
    }
}

#[derive(Debug)]
struct FaultyDisk {
    inner: SimulatedDisk,
    disks: Disks,
    is_log: bool,
}

impl FaultyDisk {
    fn file(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile { inner, disks: self.disks.clone(), is_log: self.is_log })
    }
}

impl Disk for FaultyDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        self.inner.names()
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disks.operate(Operation::Write, self.is_log)?;
        let file = self.inner.create(name)?;
        Ok(self.file(file))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.inner.open(name)?;
        Ok(self.file(file))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disks.operate(Operation::Change, self.is_log)?;
        self.inner.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disks.operate(Operation::Change, self.is_log)?;
        self.inner.remove(name)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.disks.operate(Operation::Sync, self.is_log)?;
        self.inner.sync_names()
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn DiskFile>,
    disks: Disks,
    is_log: bool,
}

impl DiskFile for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disks.operate(Operation::Write, self.is_log)?;
        self.inner.write_at(bytes, offset)
    }

    fn write_durably(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disks.operate(Operation::Write, self.is_log)?;
        if let Err(error) = self.disks.operate(Operation::Sync, self.is_log) {
            self.inner.write_at(bytes, offset)?;
            return Err(error);
        }
        self.inner.write_durably(bytes, offset)
    }

    fn allocate(&mut self, length: u64) -> io::Result<()> {
        self.disks.operate(Operation::Write, self.is_log)?;
        self.inner.allocate(length)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.disks.operate(Operation::Change, self.is_log)?;
        self.inner.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disks.operate(Operation::Sync, self.is_log)?;
        self.inner.sync()
    }
}
