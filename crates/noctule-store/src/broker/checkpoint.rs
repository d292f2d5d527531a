//! Checkpoints: what is alive in the oldest finished segment of the log moves to where it may stay,
//! so that the segment can be used again.
//!
//! Messages that still wait go to a run, everything that lives long to the state, and with it, in
//! one batch, from which segment on the log counts. A crash before that batch leaves a run that
//! nobody names; behind it the segment is void.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use noctule_broker_core::{Message, Record, Reference};

use super::changes::{Changes, bytes};
use super::keys::{FIRST_SEGMENT, RUNS, got, unrouted};
use super::spilled;
use crate::error::StoreError;
use crate::run::{Runs, Spill};
use crate::state::{State, StateBatch};
use crate::view::LogView;

/// The long-lived part of a broker's store: what is not in the log any more.
#[derive(Debug)]
pub struct Archive {
    pub(super) state: Box<dyn State>,
    pub(super) runs: Runs,
    /// The manifest of the runs that is stored.
    pub(super) stored: u64,
}

/// What a segment has that may have to stay.
#[derive(Debug, Default)]
struct Remains {
    queued: Vec<(Arc<Message>, Vec<Reference>)>,
    /// QoS 2 publications that are not routed to all: the records, by name.
    received: BTreeMap<u64, Record>,
    /// Who has got which publication.
    got: BTreeMap<u64, BTreeSet<u64>>,
    routed: BTreeSet<u64>,
}

impl Remains {
    fn note(&mut self, record: Record) {
        match record {
            Record::Queued { publication, message, references } => {
                if publication != 0 {
                    let sessions = references.iter().map(|reference| reference.session);
                    self.got.entry(publication).or_default().extend(sessions);
                }
                self.queued.push((message, references));
            }
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
    }
}

impl Archive {
    /// Moves what is alive in a segment out of it, which is the oldest one. When this returns, the
    /// log counts from the next one on, and that is durable.
    ///
    /// # Errors
    ///
    /// If the disk does not take it, or the segment cannot be read. Then everything is as before,
    /// and it may be tried again.
    pub fn take_in(&mut self, log: &LogView, segment: u64) -> Result<(), StoreError> {
        let mut remains = Remains::default();
        let mut changes = Changes::new(&*self.state)?;
        let mut failed = None;
        log.read(segment, |recovered| {
            let record = super::decode(recovered.bytes).map_err(|error| error.to_string())?;
            if let Err(error) = changes.apply(&record) {
                failed.get_or_insert(error);
            }
            remains.note(record);
            Ok(())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let mut spill = Spill::new();
        for (identity, (message, references)) in (0..).zip(&remains.queued) {
            for reference in references {
                if changes.wants(reference)? {
                    spilled::push(&mut spill, identity, message, reference)?;
                }
            }
        }
        let (done, mut batch) = (changes.done(), changes.finish()?);
        self.write_run(&mut spill)?;
        for (queue, up_to) in done {
            self.runs.finish(queue, up_to);
        }
        self.put_unrouted(&remains, &mut batch)?;
        batch.put(RUNS, self.runs.manifest())?;
        batch.put(FIRST_SEGMENT, (segment + 1).to_le_bytes())?;
        let version = self.runs.version();
        self.state.apply(&batch)?;
        self.runs.stored(version);
        self.stored = version;
        Ok(())
    }

    /// Writes what still waits as a run.
    fn write_run(&mut self, spill: &mut Spill) -> Result<(), StoreError> {
        if spill.is_empty() {
            return Ok(());
        }
        let mut run = self.runs.begin()?;
        spill.write(&mut run)?;
        self.runs.end(run)
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
