//! The store of a simulated broker, without its threads: what shards have to keep is gathered, then
//! committed, and the log is emptied from its front. Its disk forgets what was not synced.

use noctule_broker_core::{Placement, Record, Restored};
use noctule_store::broker::{self, Archive, CONTENT, Opened, Slice, encode};
use noctule_store::{
    Batch, Cut, Disk, Log, LogSettings, LoggedState, Repair, SimulatedClock, SimulatedDisk,
    SliceLimits, StoreError,
};

use crate::store_fault::{StoreFault, Unsynced};

/// How many messages are read of a queue at a time: few, so that there are many times.
const SLICE_MESSAGES: usize = 3;

/// What a shard has handed over.
#[derive(Debug, Default)]
struct Posted {
    records: Vec<Vec<u8>>,
    /// How many of all its records were taken for a commit, and how many are durable.
    gathered: u64,
    durable: u64,
}

/// How a store is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) segment_bytes: u64,
    pub(crate) free_segments_max: usize,
    /// So many finished segments stay.
    pub(crate) sealed_max: usize,
}

/// A store that is open.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) disk: SimulatedDisk,
    pub(crate) clock: SimulatedClock,
    pub(crate) layout: Layout,
    pub(crate) fault: Option<StoreFault>,
    log: Log,
    archive: Archive,
    shards: Vec<Posted>,
    frame: Batch,
}

impl Storage {
    /// Opens what is on a disk.
    pub(crate) fn open(
        disk: SimulatedDisk,
        clock: SimulatedClock,
        layout: Layout,
        fault: Option<StoreFault>,
        placement: &Placement,
    ) -> Result<(Self, Vec<Vec<Restored>>), StoreError> {
        let part = |is_synced: bool| -> Box<dyn Disk> {
            if is_synced { Box::new(disk.clone()) } else { Box::new(Unsynced::new(disk.clone())) }
        };
        if fault == Some(StoreFault::IgnoreSyncs) {
            disk.ignore_syncs();
        }
        let state = part(fault != Some(StoreFault::LeaveStateUnsynced));
        let state = LoggedState::open(state, CONTENT, Repair::Refuse)?.0;
        let settings = LogSettings {
            segment_bytes: layout.segment_bytes,
            free_segments_max: layout.free_segments_max,
            ..LogSettings::default()
        };
        let runs = part(fault != Some(StoreFault::LeaveRunsUnsynced));
        let opened = broker::open(part(true), runs, Box::new(state), settings, Repair::Refuse)?;
        let Opened { mut log, archive, model, .. } = opened;
        log.simulate_clock(&clock);
        let mut restored = model.into_restored(placement);
        if let Some(fault) = fault {
            restored.iter_mut().flatten().for_each(|one| fault.spoil(one));
        }
        let shards = (0..placement.shards()).map(|_| Posted::default()).collect();
        let frame = Batch::new();
        let storage = Self { disk, clock, layout, fault, log, archive, shards, frame };
        Ok((storage, restored))
    }

    /// What is on the disk when the power has come back.
    pub(crate) fn after(&self, cut: Cut) -> SimulatedDisk {
        self.disk.after(cut)
    }

    /// How old the store is, in milliseconds.
    pub(crate) fn age(&self) -> u64 {
        millis(self.log.ages().now())
    }

    /// Puts a record behind all earlier ones of its shard.
    pub(crate) fn append(&mut self, shard: usize, record: &Record) {
        let mut bytes = Vec::new();
        assert!(encode(record, &mut bytes), "a record that the store does not know: {record:?}");
        let forgets = self.fault.is_some_and(|fault| fault.forgets(record));
        // It counts, as if it were kept.
        self.shards[shard].records.push(if forgets { Vec::new() } else { bytes });
    }

    /// Whether anything waits to be gathered.
    pub(crate) fn has_posted(&self) -> bool {
        self.shards.iter().any(|shard| !shard.records.is_empty())
    }

    /// Takes what all shards have handed over, at one moment.
    pub(crate) fn gather(&mut self) -> Result<(), StoreError> {
        for shard in &mut self.shards {
            for record in shard.records.drain(..) {
                shard.gathered += 1;
                if !record.is_empty() {
                    self.frame.push(|out| out.extend_from_slice(&record))?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is nothing to commit, because a fault has forgotten all of it.
    pub(crate) fn is_frame_empty(&self) -> bool {
        self.frame.is_empty()
    }

    /// Makes durable what was gathered.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        self.log.commit(&mut self.frame)?;
        for shard in &mut self.shards {
            shard.durable = shard.gathered;
        }
        self.log.keep_up();
        Ok(())
    }

    /// How many records of a shard are durable, says the store.
    pub(crate) fn durable(&self, shard: usize) -> u64 {
        self.shards[shard].durable
    }

    /// A fault: so many are durable, because somebody says so.
    pub(crate) fn claim(&mut self, shard: usize, records: u64) {
        self.shards[shard].durable = records;
    }

    /// Empties the log from its front, if there is too much of it: which sessions have messages in
    /// runs now, and up to which place, for each segment.
    pub(crate) fn empty_log(&mut self) -> Result<Vec<Vec<(u64, u64)>>, StoreError> {
        let mut spilled = Vec::new();
        let view = self.log.view();
        let sealed = view.sealed();
        let excess = sealed.len().saturating_sub(self.layout.sealed_max);
        for segment in sealed.into_iter().take(excess) {
            spilled.push(if self.fault == Some(StoreFault::TrimUnasked) {
                Vec::new()
            } else {
                self.archive.take_in(&view, segment)?
            });
            self.log.trim(segment + 1);
        }
        if !spilled.is_empty() {
            self.archive.tend()?;
        }
        Ok(spilled)
    }

    /// Reads a part of a queue.
    pub(crate) fn read_queue(
        &self,
        session: u64,
        from: u64,
        bytes_max: u64,
    ) -> Result<Slice, StoreError> {
        let limits = SliceLimits { messages: SLICE_MESSAGES, bytes: bytes_max as usize };
        self.archive.queues().read(session, from, &limits)
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    duration.as_millis() as u64
}
