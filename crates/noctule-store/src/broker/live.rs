//! What segments have that may have to stay, noted while they are written: nearly always all of
//! their messages have been delivered when a segment is to go, if only since then, and nobody reads
//! it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::remains::Remains;
use crate::frame::Batch;
use crate::witness::Witness;

/// What is noted of a segment takes no more memory, about. One with more is read when it is to go:
/// there is much in it that has to stay in any case.
const BYTES_MAX: usize = 4 * 1_024 * 1_024;

/// What was noted of the segments that this process has written; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Live {
    segments: Arc<Mutex<BTreeMap<u64, Option<Remains>>>>,
    /// Whether what was committed survives a power cut.
    syncs_at_once: bool,
}

impl Live {
    pub(super) fn new(syncs_at_once: bool) -> Self {
        Self { segments: Arc::default(), syncs_at_once }
    }

    /// What was noted of a segment that is finished, unless it was too much or another process has
    /// written it.
    pub(super) fn take(&self, segment: u64) -> Option<Remains> {
        self.segments().get_mut(&segment)?.take()
    }

    /// Up to which place a session has acknowledged everything in the segments behind this one, as
    /// far as that was noted and survives a power cut; else 0.
    pub(super) fn done_behind(&self, segment: u64, session: u64) -> u64 {
        if !self.syncs_at_once {
            return 0;
        }
        let segments = self.segments();
        let later = segments.range(segment + 1..).filter_map(|(_, noted)| noted.as_ref());
        later.map(|remains| remains.done(session)).max().unwrap_or(0)
    }

    /// The segment stays for now.
    pub(super) fn put_back(&self, segment: u64, noted: Option<Remains>) {
        self.segments().insert(segment, noted);
    }

    /// All segments before this one have gone.
    pub(super) fn trim(&self, before: u64) {
        let mut segments = self.segments();
        *segments = segments.split_off(&before);
    }

    fn segments(&self) -> MutexGuard<'_, BTreeMap<u64, Option<Remains>>> {
        // Nobody can panic halfway through a change.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Live {
    fn on_committed(&mut self, segment: u64, batch: &Batch) {
        let mut segments = self.segments();
        let noted = segments.entry(segment).or_insert_with(|| Some(Remains::default()));
        for record in batch.contents() {
            let Some(remains) = noted else { return };
            // What cannot be understood is told by whoever reads the segment.
            if remains.note(record).is_err() || remains.memory_bytes() > BYTES_MAX {
                *noted = None;
            }
        }
    }
}
