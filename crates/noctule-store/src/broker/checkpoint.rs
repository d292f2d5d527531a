//! Checkpoints: what is alive in the oldest finished segment of the log moves to where it may stay,
//! so that the segment can be used again.
//!
//! Messages that still wait go to a run, everything that lives long to the state, and with it, in
//! one batch, from which segment on the log counts. A crash before that batch leaves a run that
//! nobody names; behind it the segment is void.
//!
//! A segment is read for what still waits in it. If nothing does, and this process has written it,
//! nobody reads it: what else was in it was noted then.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::changes::Changes;
use super::keys::{FIRST_SEGMENT, RUNS};
use super::live::Live;
use super::progress::Progress;
use super::queues::Queues;
use super::remains::Remains;
use crate::error::StoreError;
use crate::run::{Merge, Runs, SliceLimits};
use crate::state::{State, StateBatch};
use crate::summary::Summary;
use crate::view::LogView;

/// What is read of a queue at a time, by whoever looks through all of them.
const SLICE: SliceLimits = SliceLimits { messages: 10_000, bytes: 4 * 1_024 * 1_024 };

/// The long-lived part of a broker's store: what is not in the log any more.
#[derive(Debug)]
pub struct Archive {
    state: Box<dyn State>,
    runs: Runs,
    queues: Queues,
    /// What was noted of segments while they were written.
    live: Live,
    /// From which segment on the log counts.
    first: u64,
    /// The first segment that was not there when the store was opened.
    begun: u64,
    /// The version of their manifest that is stored.
    stored: u64,
    merge: Option<Merge>,
    /// What has left the segment that was begun with, if it is in a run already.
    spilled: Option<Spilled>,
    unreadable: Vec<String>,
}

/// What has left a segment.
#[derive(Clone, Debug)]
struct Spilled {
    segment: u64,
    /// The sessions it was for, and the last place of each.
    lasts: BTreeMap<u64, u64>,
    /// What could not be read meanwhile.
    unreadable: Option<String>,
}

impl Archive {
    pub(super) fn new(
        state: Box<dyn State>,
        runs: Runs,
        queues: Queues,
        live: Live,
        (first, begun): (u64, u64),
    ) -> Self {
        let stored = 0;
        let (spilled, merge, unreadable) = (None, None, Vec::new());
        Self { state, runs, queues, live, first, begun, stored, spilled, merge, unreadable }
    }

    /// What has left the log, for whoever reads queues.
    pub fn queues(&self) -> Queues {
        self.queues.clone()
    }

    /// Moves what is alive in a segment out of it, which is the oldest one. When this returns, the
    /// log counts from the next one on, and that is durable. Of each session of which something
    /// has moved to where [`Queues`] finds it, the last place is told: nothing that waits before it
    /// is in the log any more.
    ///
    /// # Errors
    ///
    /// If the disk does not take it, or the segment cannot be read. Then everything is as before,
    /// and it may be tried again.
    pub fn take_in(&mut self, log: &LogView, segment: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        if self.has_taken_in(segment) {
            return Ok(Vec::new());
        }
        let noted = self.live.take(segment);
        match &noted {
            Some(remains) => self.move_out(log, segment, remains, None),
            None => {
                let (remains, summary) = Remains::of(log, segment)?;
                self.move_out(log, segment, &remains, Some(summary))
            }
        }
        .inspect_err(|_| self.live.put_back(segment, noted))
    }

    fn move_out(
        &mut self,
        log: &LogView,
        segment: u64,
        remains: &Remains,
        read: Option<Summary>,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        let Self { state, runs, queues, live, begun, spilled, .. } = self;
        let mut changes = Changes::new(&**state)?;
        remains.apply(&mut changes)?;
        // What has become a run is not written again when only the state has failed.
        if spilled.as_ref().is_none_or(|spilled| spilled.segment != segment) {
            for session in changes.forgotten() {
                runs.finish(session, runs.last(session).unwrap_or(0));
            }
            let (lasts, seen) = remains.spill(log, live, segment, &mut changes, runs)?;
            let damaged = read.or(seen).filter(|summary| !summary.is_intact());
            let unreadable = damaged.map(|summary| format!("a part of the log: {summary}"));
            *spilled = Some(Spilled { segment, lasts, unreadable });
        }
        for (session, progress) in changes.progress() {
            runs.finish(session, progress.map_or(u64::MAX, Progress::up_to));
            // What was there when the store was opened is known since then, to its very end.
            if segment >= *begun {
                queues.skip(session, progress);
            }
        }
        for (queue, up_to) in changes.shared() {
            runs.finish(queue, up_to);
        }
        let mut batch = changes.finish()?;
        remains.put_unrouted(&**state, &mut batch)?;
        batch.put(FIRST_SEGMENT, (segment + 1).to_le_bytes())?;
        self.store(batch)?;
        self.first = segment + 1;
        self.live.trim(self.first);
        let Some(Spilled { lasts, unreadable, .. }) = self.spilled.take() else {
            return Ok(Vec::new());
        };
        self.unreadable.extend(unreadable);
        Ok(lasts.into_iter().collect())
    }

    /// Whether a segment was moved out of already, although its file is there: the last one with
    /// records always is.
    pub const fn has_taken_in(&self, segment: u64) -> bool {
        segment < self.first
    }

    /// Goes on for some megabytes with writing runs anew, if there are too many or too little of
    /// one is needed, and gives back the room of those that nobody needs. Whether there is more to
    /// do.
    ///
    /// # Errors
    ///
    /// If the disk does not take it. Then everything is as before, and it may be tried again.
    pub fn tend(&mut self) -> Result<bool, StoreError> {
        if self.runs.version() != self.stored {
            self.store(StateBatch::new())?;
        }
        let merge = match self.merge.take() {
            Some(merge) => Some(merge),
            None => self.runs.begin_merge()?,
        };
        let Some(mut merge) = merge else { return Ok(false) };
        let stepped = merge.step();
        if matches!(stepped, Ok(true)) {
            self.merge = Some(merge);
            return Ok(true);
        }
        let damaged = self.runs.end_merge(merge)?;
        self.unreadable.extend(damaged.iter().map(ToString::to_string));
        stepped?;
        self.store(StateBatch::new())?;
        Ok(true)
    }

    /// Reads all that stands in runs, and says what of it cannot be read.
    ///
    /// # Errors
    ///
    /// If the system cannot read it.
    pub(super) fn read_all(&self, mut unreadable: impl FnMut(String)) -> Result<(), StoreError> {
        let mut queues = BTreeSet::new();
        self.runs.each_part(&mut |part| {
            queues.insert(part.queue);
        })?;
        for queue in queues {
            let (mut next, mut has_more) = (0, true);
            while has_more {
                let slice = self.queues.read(queue, next, &SLICE)?;
                slice.unreadable.into_iter().for_each(&mut unreadable);
                (next, has_more) = (slice.next, slice.has_more);
            }
        }
        Ok(())
    }

    /// The bytes of all runs on disk.
    pub fn runs_bytes(&self) -> u64 {
        self.runs.bytes()
    }

    /// The bytes of the state on disk.
    pub fn state_bytes(&self) -> u64 {
        self.state.bytes()
    }

    /// What could not be read since this was last asked, with the reason: it is gone.
    pub fn take_unreadable(&mut self) -> Vec<String> {
        mem::take(&mut self.unreadable)
    }

    /// Makes changes durable, and with them which runs there are.
    fn store(&mut self, mut batch: StateBatch) -> Result<(), StoreError> {
        batch.put(RUNS, self.runs.manifest())?;
        let version = self.runs.version();
        self.state.apply(&batch)?;
        self.runs.stored(version);
        self.stored = version;
        Ok(())
    }
}
