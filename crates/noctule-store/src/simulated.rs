//! A disk in memory that keeps *written* and *synced* apart, and shows what a power cut leaves.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{BLOCK_BYTES, Disk, DiskFile};

/// What is torn of a write is torn in pieces of so many bytes.
const SECTOR_BYTES: usize = 512;

/// What a power cut does to what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it is gone.
    Lost,
    /// All of it is there, but the second half of the last write.
    Torn,
    /// The last write of each file is there and those before it are not; so with the names.
    Reordered,
    /// Chance decides about every sector of every write and about every name.
    Random(u64),
    /// No power cut: only the process dies.
    Nothing,
}

/// A directory in memory; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    operations: u64,
    stops_at: Option<u64>,
    ignores_syncs: bool,
    capacity: Option<u64>,
    failing_syncs: u32,
    /// These operations fail.
    failing: Range<u64>,
    ignores_name_syncs: bool,
    writes: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(String, usize),
    Renamed(String, String, usize),
    Removed(String),
}

#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    /// What was done since the last sync, in order.
    changes: Vec<Change>,
    /// With all changes.
    current: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    /// Synced for itself, among others that are not.
    WriteDurably(usize, Vec<u8>),
    Allocate(usize),
    Truncate(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) | Self::WriteDurably(offset, written) => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Allocate(length) if bytes.len() < *length => bytes.resize(*length, 0),
            Self::Allocate(_) => {}
            Self::Truncate(length) => bytes.truncate(*length),
        }
    }

    fn is_durable(&self) -> bool {
        matches!(self, Self::WriteDurably(..))
    }

    /// How long it makes the file at least.
    fn end(&self) -> usize {
        match self {
            Self::Write(offset, bytes) | Self::WriteDurably(offset, bytes) => offset + bytes.len(),
            Self::Allocate(length) => *length,
            Self::Truncate(_) => 0,
        }
    }
}

/// What is written, in pieces that end where the sectors of the disk do.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = Change> {
    let first = (SECTOR_BYTES - offset % SECTOR_BYTES).min(bytes.len());
    let (first, rest) = bytes.split_at(first);
    let mut at = offset;
    std::iter::once(first).chain(rest.chunks(SECTOR_BYTES)).map(move |piece| {
        let change = Change::Write(at, piece.to_vec());
        at += piece.len();
        change
    })
}

impl SimulatedDisk {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many writes, syncs and changes of names there were.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// How many files were ever made.
    pub fn files(&self) -> usize {
        self.lock().files.len()
    }

    /// The power goes at this operation: it and all later ones fail.
    pub fn stop_at(&self, operation: u64) {
        self.lock().stops_at = Some(operation);
    }

    /// Whether the power has gone.
    pub fn has_stopped(&self) -> bool {
        self.lock().has_stopped()
    }

    /// A fault: syncs do nothing from now on.
    pub fn ignore_syncs(&self) {
        self.lock().ignores_syncs = true;
    }

    /// The bytes that all files together may have, from now on.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// So many of the next syncs fail, and what they should have synced is forgotten.
    pub fn fail_syncs(&self, count: u32) {
        self.lock().failing_syncs = count;
    }

    /// So many operations from this one on fail, counted as [`operations`](Self::operations) does;
    /// of a write that fails any part may be there.
    pub fn fail_at(&self, operation: u64, count: u64) {
        self.lock().failing = operation..operation.saturating_add(count);
    }

    /// A fault: the names of files are not synced any more.
    pub fn ignore_name_syncs(&self) {
        self.lock().ignores_name_syncs = true;
    }

    /// The bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    /// Changes a file behind everybody's back.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let at = *state.names.get(name).expect("a file of this name");
        let file = &mut state.files[at];
        change(&mut file.current);
        file.durable.clone_from(&file.current);
        file.changes.clear();
    }

    /// The directory as it is found after the power has come back, or the process again.
    #[must_use]
    pub fn after(&self, cut: Cut) -> Self {
        let state = self.lock();
        let mut chance = Chance(if let Cut::Random(seed) = cut { seed } else { 0 });
        let files = state.files.iter().map(|file| file.after(cut, &mut chance)).collect();
        let names = state.names_after(cut, &mut chance);
        let after = State { files, durable_names: names.clone(), names, ..State::default() };
        Self(Arc::new(Mutex::new(after)))
    }
}

/// A small generator of chance, so that a seed tells all.
struct Chance(u64);

impl Chance {
    fn coin(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) & 1 == 0
    }
}

impl Content {
    fn after(&self, cut: Cut, chance: &mut Chance) -> Self {
        let mut durable = self.durable.clone();
        let last = self.changes.len().saturating_sub(1);
        for (at, change) in self.changes.iter().enumerate() {
            match (cut, change) {
                (_, Change::WriteDurably(..)) => change.apply(&mut durable),
                (Cut::Lost, _) => {}
                (Cut::Torn, Change::Write(offset, bytes)) if at == last => {
                    // Without the zeros behind it, which only fill up its last block.
                    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
                    Change::Write(*offset, bytes[..end / 2].to_vec()).apply(&mut durable);
                }
                (Cut::Reordered, _) if at != last => {}
                (Cut::Random(_), Change::Write(offset, bytes)) => {
                    for piece in sectors(*offset, bytes) {
                        if chance.coin() {
                            piece.apply(&mut durable);
                        }
                    }
                }
                (Cut::Random(_), Change::Truncate(_) | Change::Allocate(_)) if chance.coin() => {}
                _ => change.apply(&mut durable),
            }
        }
        Self { current: durable.clone(), durable, changes: Vec::new() }
    }

    /// The last change was a write, and it is durable.
    fn settle_last(&mut self) {
        if let Some(Change::Write(offset, bytes)) = self.changes.pop() {
            self.changes.push(Change::WriteDurably(offset, bytes));
        }
        // What stands behind nothing that may be lost needs no note.
        let settled = self.changes.iter().take_while(|change| change.is_durable()).count();
        for change in self.changes.drain(..settled) {
            change.apply(&mut self.durable);
        }
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.names.values().map(|at| self.files[*at].current.len() as u64).sum()
    }

    fn has_stopped(&self) -> bool {
        self.stops_at.is_some_and(|stop| self.operations >= stop)
    }

    fn operate(&mut self) -> io::Result<()> {
        if !self.has_stopped() {
            self.operations += 1;
        }
        if self.has_stopped() {
            return Err(io::Error::other("the power is gone"));
        }
        if self.failing.contains(&self.operations) {
            return Err(io::Error::other("the disk does not answer"));
        }
        Ok(())
    }

    fn names_after(&self, cut: Cut, chance: &mut Chance) -> BTreeMap<String, usize> {
        let mut names = self.durable_names.clone();
        let last = self.name_changes.len().saturating_sub(1);
        for (at, change) in self.name_changes.iter().enumerate() {
            let happens = match cut {
                Cut::Lost => false,
                Cut::Torn | Cut::Nothing => true,
                Cut::Reordered => at == last,
                Cut::Random(_) => chance.coin(),
            };
            if happens {
                change.apply(&mut names);
            }
        }
        names
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Put(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Renamed(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Removed(name) => {
                names.remove(name);
            }
        }
    }
}

impl Disk for SimulatedDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().names.keys().cloned().collect())
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.operate()?;
        let file = state.files.len();
        state.files.push(Content::default());
        state.change_names(NameChange::Put(name.to_owned(), file));
        Ok(Box::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.lock().find(name)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        let file = state.find(from)?;
        state.change_names(NameChange::Renamed(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.find(name)?;
        state.operate()?;
        state.change_names(NameChange::Removed(name.to_owned()));
        Ok(())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        if !state.ignores_syncs && !state.ignores_name_syncs {
            state.durable_names = state.names.clone();
            state.name_changes.clear();
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl SimulatedFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.lock();
        if state.has_stopped() {
            return state.operate();
        }
        state.writes += u64::from(matches!(change, Change::Write(..)));
        // A write that the power interrupts may still get through.
        let interrupted = state.operate();
        if let Some(capacity) = state.capacity {
            let file = &state.files[self.file];
            let grows = change.end().saturating_sub(file.current.len()) as u64;
            if grows > 0 && state.bytes() + grows > capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let file = &mut state.files[self.file];
        change.apply(&mut file.current);
        file.changes.push(change);
        interrupted
    }
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.file].current.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.lock();
        let content = state.files[self.file].current.get(size(offset)..);
        let found = content.and_then(|content| content.get(..bytes.len()));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write(size(offset), bytes.to_vec()))
    }

    /// As a disk that takes whole blocks: what stood behind in the last one is gone.
    fn write_durably(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = bytes.to_vec();
        let (length, end) = (self.length()?, offset + bytes.len() as u64);
        let cleared = end.next_multiple_of(BLOCK_BYTES).min(length).saturating_sub(end);
        bytes.resize(bytes.len() + size(cleared), 0);
        self.change(Change::Write(size(offset), bytes))?;
        let mut state = self.disk.lock();
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            return Err(io::Error::other("the disk does not answer"));
        }
        if !state.ignores_syncs {
            state.files[self.file].settle_last();
        }
        Ok(())
    }

    fn allocate(&mut self, length: u64) -> io::Result<()> {
        self.change(Change::Allocate(size(length)))
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.change(Change::Truncate(size(length)))
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.operate()?;
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            // As if it were written, and it is not.
            state.files[self.file].changes.retain(Change::is_durable);
            return Err(io::Error::other("the disk does not answer"));
        }
        if !state.ignores_syncs {
            let file = &mut state.files[self.file];
            file.durable.clone_from(&file.current);
            file.changes.clear();
        }
        Ok(())
    }
}
