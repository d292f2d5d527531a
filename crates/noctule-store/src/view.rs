//! What other threads see of a log: which segment is written to, and what is in the finished ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::error::StoreError;
use crate::reading::{Reading, Segment};
use crate::recovery::Recovered;
use crate::summary::Summary;

/// A log as other threads than the committer's see it; clones are views of the same one.
#[derive(Clone, Debug)]
pub struct LogView(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Nobody has it for longer than one operation, and a commit does without.
    disk: Mutex<Box<dyn Disk>>,
    /// The bytes of each segment that counts.
    segments: Mutex<BTreeMap<u64, u64>>,
    active: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogView {
    pub(crate) fn new(disk: Box<dyn Disk>) -> Self {
        let (disk, segments) = (Mutex::new(disk), Mutex::default());
        Self(Arc::new(Shared { disk, segments, active: AtomicU64::new(0) }))
    }

    /// The segment that is written to. What is appended after this was asked goes to it or to one
    /// with a larger number.
    pub fn active(&self) -> u64 {
        self.0.active.load(Ordering::Acquire)
    }

    /// The segments that are finished and were not trimmed, the oldest first.
    pub fn sealed(&self) -> Vec<u64> {
        self.segments().range(..self.active()).map(|(number, _)| *number).collect()
    }

    /// Whether anything was written to the segment that is written to.
    pub fn has_begun(&self) -> bool {
        self.segments().contains_key(&self.active())
    }

    /// The bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments().values().sum()
    }

    /// Hands out all records of a finished segment, in order, while the log goes on. What cannot be
    /// read, or is not understood, is set aside and told in the summary.
    ///
    /// # Errors
    ///
    /// If there is no such segment, or it was trimmed meanwhile: then not all of it was handed out.
    /// If the system cannot read it.
    pub fn read(
        &self,
        segment: u64,
        mut visit: impl FnMut(Recovered<'_>) -> Result<(), String>,
    ) -> Result<Summary, StoreError> {
        let missing = || StoreError::NoSuchSegment { segment };
        let find = || self.segments().get(&segment).copied();
        let end = find().filter(|_| segment < self.active()).ok_or_else(missing)?;
        let opened = Segment::open(&mut **self.disk(), segment);
        let summary = opened.and_then(|opened| {
            let mut reading = Reading::new(self, &mut visit);
            reading.read(&opened, end)?;
            Ok(reading.end_of_sealed())
        });
        // Its file may be another segment's by now.
        find().ok_or_else(missing)?;
        summary
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Box<dyn Disk>> {
        lock(&self.0.disk)
    }

    pub(crate) fn segments(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        lock(&self.0.segments)
    }

    pub(crate) fn set_active(&self, number: u64) {
        self.0.active.store(number, Ordering::Release);
    }
}
