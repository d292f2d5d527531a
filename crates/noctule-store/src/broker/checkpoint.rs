//! Checkpoints: what is alive in the oldest finished segment of the log moves to where it may stay,
//! so that the segment can be used again.
//!
//! Messages that still wait go to a run, everything that lives long to the state, and with it, in
//! one batch, from which segment on the log counts. A crash before that batch leaves a run that
//! nobody names; behind it the segment is void.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;

use noctule_broker_core::Record;

use super::changes::{Changes, bytes};
use super::damaged::Damaged;
use super::keys::{FIRST_SEGMENT, RUNS, got, unrouted};
use super::progress::Progress;
use super::queues::Queues;
use super::record::{QueuedBytes, decode};
use super::spilled;
use crate::error::StoreError;
use crate::run::{Merge, Runs, SliceLimits, Spill};
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
    /// From which segment on the log counts.
    first: u64,
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
}

/// What a segment has that may have to stay.
#[derive(Debug, Default)]
struct Remains {
    /// The last place in each queue that has a message here.
    lasts: HashMap<u64, u64>,
    /// The sessions of the record that is looked at.
    of_record: Vec<u64>,
    /// QoS 2 publications that are not routed to all: the records, by name.
    received: BTreeMap<u64, Record>,
    /// Who has got which publication.
    got: BTreeMap<u64, BTreeSet<u64>>,
    routed: BTreeSet<u64>,
}

impl Remains {
    /// Looks at all of a segment, and applies it to what it changes in the state.
    fn of(
        log: &LogView,
        segment: u64,
        changes: &mut Changes<'_>,
    ) -> Result<(Self, Summary), StoreError> {
        let (mut remains, mut applied) = (Self::default(), Ok(()));
        let summary = log.read(segment, |recovered| {
            let noted = remains.note(recovered.bytes, changes);
            let noted = noted.map_err(|error| error.to_string())?;
            if applied.is_ok() {
                applied = noted;
            }
            Ok(())
        })?;
        applied.map(|()| (remains, summary))
    }

    fn note(
        &mut self,
        bytes: &[u8],
        changes: &mut Changes<'_>,
    ) -> Result<Result<(), StoreError>, Damaged> {
        let Self { lasts, of_record, .. } = self;
        of_record.clear();
        let queued = QueuedBytes::look(bytes, |reference| {
            // What a shared subscription has got, and what does not wait there, has place 0.
            if reference.sequence > 0 {
                lasts.insert(reference.session, reference.sequence);
            }
            of_record.push(reference.session);
        })?;
        if let Some(QueuedBytes { publication, from, .. }) = queued {
            if publication != 0 {
                changes.note_name(publication);
                self.got.entry(publication).or_default().extend(&self.of_record);
            }
            let moved = |(session, sequence)| changes.apply(&Record::Skipped { session, sequence });
            return Ok(from.map_or(Ok(()), moved));
        }
        let record = decode(bytes)?;
        let applied = changes.apply(&record);
        match record {
            Record::Received { publication, .. } => {
                self.received.insert(publication, record);
            }
            Record::Routed { publication } => {
                self.received.remove(&publication);
                self.got.remove(&publication);
                self.routed.insert(publication);
            }
            _ => {}
        }
        Ok(applied)
    }

    /// Puts what still waits into a run. The sessions it is for, and the last place of each.
    fn spill(
        &self,
        log: &LogView,
        segment: u64,
        changes: &mut Changes<'_>,
        runs: &mut Runs,
    ) -> Result<BTreeMap<u64, u64>, StoreError> {
        let (mut lasts, mut spill) = (BTreeMap::new(), Spill::new());
        let mut waits = false;
        for (session, last) in &self.lasts {
            waits |= changes.waits_up_to(*session, *last)?;
        }
        if !waits {
            return Ok(lasts);
        }
        let (mut identity, mut pushed) = (0, Ok(()));
        log.read(segment, |recovered| {
            let mut references = Vec::new();
            let queued = QueuedBytes::look(recovered.bytes, |it| references.push(it));
            let Ok(Some(QueuedBytes { message, .. })) = queued else { return Ok(()) };
            identity += 1;
            for reference in references.iter().filter(|reference| changes.wants(reference)) {
                lasts.insert(reference.session, reference.sequence);
                if pushed.is_ok() {
                    pushed = spilled::push(&mut spill, identity, message, reference);
                }
            }
            Ok(())
        })?;
        pushed?;
        if !spill.is_empty() {
            let mut run = runs.begin()?;
            let written = spill.write(&mut run);
            // What was not written goes.
            runs.end(run)?;
            written?;
        }
        Ok(lasts)
    }
}

impl Archive {
    pub(super) fn new(state: Box<dyn State>, runs: Runs, queues: Queues, first: u64) -> Self {
        let stored = 0;
        let (spilled, merge, unreadable) = (None, None, Vec::new());
        Self { state, runs, queues, first, stored, spilled, merge, unreadable }
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
        let Self { state, runs, queues, spilled, .. } = self;
        let mut changes = Changes::new(&**state)?;
        let (remains, summary) = Remains::of(log, segment, &mut changes)?;
        // What has become a run is not written again when only the state has failed.
        if spilled.as_ref().is_none_or(|spilled| spilled.segment != segment) {
            for session in changes.forgotten() {
                runs.finish(session, runs.last(session).unwrap_or(0));
            }
            let lasts = remains.spill(log, segment, &mut changes, runs)?;
            *spilled = Some(Spilled { segment, lasts });
        }
        for (session, progress) in changes.progress() {
            runs.finish(session, progress.map_or(u64::MAX, Progress::up_to));
            queues.skip(session, progress);
        }
        for (queue, up_to) in changes.shared() {
            runs.finish(queue, up_to);
        }
        let mut batch = changes.finish()?;
        self.put_unrouted(&remains, &mut batch)?;
        batch.put(FIRST_SEGMENT, (segment + 1).to_le_bytes())?;
        self.store(batch)?;
        self.first = segment + 1;
        if !summary.is_intact() {
            self.unreadable.push(format!("a part of the log: {summary}"));
        }
        let spilled = self.spilled.take();
        Ok(spilled.map_or_else(Vec::new, |spilled| spilled.lasts.into_iter().collect()))
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

    fn put_unrouted(&self, remains: &Remains, batch: &mut StateBatch) -> Result<(), StoreError> {
        for (publication, record) in &remains.received {
            batch.put(unrouted(*publication), bytes(record))?;
        }
        for (publication, sessions) in &remains.got {
            let is_kept = remains.received.contains_key(publication)
                || self.state.get(&unrouted(*publication))?.is_some();
            if is_kept {
                let mut all = self.state.get(&got(*publication))?.unwrap_or_default();
                sessions.iter().for_each(|session| all.extend_from_slice(&session.to_le_bytes()));
                batch.put(got(*publication), all)?;
            }
        }
        for publication in &remains.routed {
            if self.state.get(&unrouted(*publication))?.is_some() {
                batch.remove(unrouted(*publication))?;
                batch.remove(got(*publication))?;
            }
        }
        Ok(())
    }
}
