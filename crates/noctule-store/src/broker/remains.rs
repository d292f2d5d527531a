//! What a segment of the log has that may have to stay when the segment goes, without its messages:
//! noted record by record, by whoever writes the segment or by whoever reads it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;
use noctule_broker_core::{AS_RETAINED, Record, Reference};
use noctule_packet::PacketId;

use super::changes::{Changes, bytes};
use super::damaged::Damaged;
use super::keys::{got, unrouted};
use super::live::Live;
use super::reader::{Reader, put_sized};
use super::record::{QueuedBytes, ReceivedBytes, decode, look_at_acknowledged, look_at_run};
use super::spilled;
use crate::error::StoreError;
use crate::run::{Runs, Spill};
use crate::state::{State, StateBatch};
use crate::summary::Summary;
use crate::view::LogView;

/// Of two acknowledgements that are further apart, what lies between them counts, too: packet
/// identifiers do not say how often they have gone around.
const APART_MAX: u64 = 32_768;

/// What a segment has that may have to stay.
#[derive(Debug, Default)]
pub(super) struct Remains {
    // The broker gives its sessions their names, and nobody else does.
    queues: HashMap<u64, Queue, FixedState>,
    /// What changes the state, each record behind its length; those of one session are in order.
    records: Vec<u8>,
    /// QoS 2 publications and wills that are not routed to all: the records, by name.
    received: BTreeMap<u64, Vec<u8>>,
    /// Who has got which publication.
    got: BTreeMap<u64, BTreeSet<u64>>,
    routed: BTreeSet<u64>,
    /// The largest name of a publication.
    last_name: u64,
    /// What these publications take in memory, about.
    publication_bytes: usize,
}

/// What there is of a queue.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    /// The last place that has a message here.
    last: u64,
    /// How far all is acknowledged here at least.
    done: u64,
    acknowledged: Option<Acknowledged>,
}

/// How far a session has acknowledged, without another record of it behind that.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    up_to: u64,
    next: PacketId,
    /// The last place that stands among the records.
    noted: u64,
}

impl Acknowledged {
    fn record(self, session: u64) -> Record {
        Record::Acknowledged { session, up_to: self.up_to, next: self.next }
    }
}

impl Remains {
    /// Looks at all of a segment.
    pub(super) fn of(log: &LogView, segment: u64) -> Result<(Self, Summary), StoreError> {
        let mut remains = Self::default();
        let summary = log.read(segment, |recovered| {
            remains.note(recovered.bytes).map_err(|error| error.to_string())
        })?;
        Ok((remains, summary))
    }

    /// Notes the next record of the segment.
    pub(super) fn note(&mut self, bytes: &[u8]) -> Result<(), Damaged> {
        if let Some(run) = look_at_run(bytes)? {
            let queue = self.queues.entry(run.session).or_default();
            queue.last = queue.last.max(run.last);
            return Ok(());
        }
        if self.note_queued(bytes)? {
            return Ok(());
        }
        if let Some((session, up_to, next)) = look_at_acknowledged(bytes)? {
            self.acknowledge(session, up_to, next);
            return Ok(());
        }
        if let Some(received) = ReceivedBytes::look(bytes)? {
            received.look_at_message()?;
            self.put(received.session, received.head);
            self.publication_bytes += bytes.len();
            self.received.insert(received.publication, bytes.to_vec());
            return Ok(());
        }
        match decode(bytes)? {
            Record::Routed { publication } => {
                let received = self.received.remove(&publication);
                let got = self.got.remove(&publication);
                let bytes = received.map_or(0, |received| received.len())
                    + got.map_or(0, |got| got.len() * size_of::<u64>());
                self.publication_bytes = self.publication_bytes.saturating_sub(bytes);
                self.publication_bytes += size_of::<u64>();
                self.routed.insert(publication);
            }
            Record::WillDue { session, publication, .. } => {
                self.put(session, bytes);
                self.publication_bytes += bytes.len();
                self.received.insert(publication, bytes.to_vec());
            }
            Record::Retained { publication, .. } | Record::RetainedRemoved { publication, .. } => {
                put_sized(&mut self.records, bytes);
                if publication != 0 {
                    self.got.entry(publication).or_default().insert(AS_RETAINED);
                    self.publication_bytes += size_of::<u64>();
                }
            }
            _ => self.put(session_of(bytes)?, bytes),
        }
        Ok(())
    }

    /// Notes a message that waits, if it is one.
    fn note_queued(&mut self, bytes: &[u8]) -> Result<bool, Damaged> {
        let Self { queues, got, .. } = self;
        let queued = QueuedBytes::look(bytes, |Reference { session, sequence, .. }| {
            // What a shared subscription has got, and what does not wait there, has place 0.
            if sequence > 0 {
                let queue = queues.entry(session).or_default();
                queue.last = queue.last.max(sequence);
            }
        })?;
        let Some(QueuedBytes { publication, from, .. }) = queued else { return Ok(false) };
        if publication != 0 {
            self.last_name = self.last_name.max(publication);
            let got = got.entry(publication).or_default();
            QueuedBytes::look(bytes, |reference| {
                self.publication_bytes += size_of::<u64>();
                got.insert(reference.session);
            })?;
        }
        if let Some((session, sequence)) = from {
            self.put(session, &self::bytes(&Record::Skipped { session, sequence }));
        }
        Ok(true)
    }

    /// Of many acknowledgements of a session the last one says it all.
    fn acknowledge(&mut self, session: u64, up_to: u64, next: PacketId) {
        let Self { queues, records, .. } = self;
        let queue = queues.entry(session).or_default();
        queue.done = queue.done.max(up_to);
        let noted = match queue.acknowledged {
            Some(known) if known.up_to > up_to => return,
            Some(known) if up_to - known.noted <= APART_MAX => known.noted,
            Some(known) => {
                put_sized(records, &bytes(&known.record(session)));
                known.up_to
            }
            None => {
                put_sized(records, &bytes(&Record::Acknowledged { session, up_to, next }));
                up_to
            }
        };
        queue.acknowledged = Some(Acknowledged { up_to, next, noted });
    }

    /// Notes a record of a session, or of a shared subscription's queue, behind all earlier ones.
    fn put(&mut self, session: u64, record: &[u8]) {
        let Self { queues, records, .. } = self;
        let queue = queues.get_mut(&session);
        if let Some(known) = queue.and_then(|queue| queue.acknowledged.take()) {
            put_sized(records, &bytes(&known.record(session)));
        }
        put_sized(records, record);
    }

    /// Up to which place a session has acknowledged everything here, if it has; else 0.
    pub(super) fn done(&self, session: u64) -> u64 {
        self.queues.get(&session).map_or(0, |queue| queue.done)
    }

    /// What all this takes in memory, about.
    pub(super) fn memory_bytes(&self) -> usize {
        let queue = size_of::<(u64, Queue)>() + 1;
        self.queues.len() * queue + self.records.len() + self.publication_bytes
    }

    /// Applies it to what it changes in the state.
    pub(super) fn apply(&self, changes: &mut Changes<'_>) -> Result<(), StoreError> {
        changes.note_name(self.last_name);
        let mut rest = Reader::new(&self.records);
        while let Ok(bytes) = rest.sized("record") {
            if let Ok(Some(received)) = ReceivedBytes::look(bytes) {
                let ReceivedBytes { session, packet_id, publication, .. } = received;
                changes.receive(session, packet_id, publication)?;
            } else if let Ok(record) = decode(bytes) {
                changes.apply(&record)?;
            }
        }
        for (session, queue) in &self.queues {
            if let Some(known) = queue.acknowledged {
                changes.apply(&known.record(*session))?;
            }
        }
        Ok(())
    }

    /// Puts what still waits into a run, for which the segment is read. The sessions it is for, and
    /// the last place of each; and what was found in the segment, if it was read. What is noted of
    /// later segments in `live` counts: what was acknowledged there waits no more.
    pub(super) fn spill(
        &self,
        log: &LogView,
        live: &Live,
        segment: u64,
        changes: &mut Changes<'_>,
        runs: &mut Runs,
    ) -> Result<(BTreeMap<u64, u64>, Option<Summary>), StoreError> {
        let (mut lasts, mut spill) = (BTreeMap::new(), Spill::new());
        let mut done = HashMap::<u64, u64, FixedState>::default();
        for (session, queue) in self.queues.iter().filter(|(_, queue)| queue.last > 0) {
            if changes.waits_up_to(*session, queue.last)? {
                let later = live.done_behind(segment, *session);
                if later < queue.last {
                    done.insert(*session, later);
                }
            }
        }
        if done.is_empty() {
            return Ok((lasts, None));
        }
        let waits = |it: &Reference| {
            done.get(&it.session).is_some_and(|done| it.sequence > *done) && changes.wants(it)
        };
        let (mut identity, mut pushed, mut references) = (0, Ok(()), Vec::new());
        let mut push = |identity, message: &[u8], reference: &Reference| {
            lasts.insert(reference.session, reference.sequence);
            if pushed.is_ok() {
                pushed = spilled::push(&mut spill, identity, message, reference);
            }
        };
        let summary = log.read(segment, |recovered| {
            if let Ok(Some(run)) = look_at_run(recovered.bytes) {
                run.each(waits, |message, reference| {
                    identity += 1;
                    push(identity, message, reference);
                });
                return Ok(());
            }
            references.clear();
            let queued = QueuedBytes::look(recovered.bytes, |it| references.push(it));
            let Ok(Some(QueuedBytes { message, .. })) = queued else { return Ok(()) };
            identity += 1;
            for reference in references.iter().filter(|reference| waits(reference)) {
                push(identity, message, reference);
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
        Ok((lasts, Some(summary)))
    }

    /// Keeps the publications that are not routed to all, and forgets those that are.
    pub(super) fn put_unrouted(
        &self,
        state: &dyn State,
        batch: &mut StateBatch,
    ) -> Result<(), StoreError> {
        for (publication, record) in &self.received {
            batch.put(unrouted(*publication), record.as_slice())?;
        }
        for (publication, sessions) in &self.got {
            let is_kept = self.received.contains_key(publication)
                || state.get(&unrouted(*publication))?.is_some();
            if is_kept {
                let mut all = state.get(&got(*publication))?.unwrap_or_default();
                sessions.iter().for_each(|session| all.extend_from_slice(&session.to_le_bytes()));
                batch.put(got(*publication), all)?;
            }
        }
        for publication in &self.routed {
            if state.get(&unrouted(*publication))?.is_some() {
                batch.remove(unrouted(*publication))?;
                batch.remove(got(*publication))?;
            }
        }
        Ok(())
    }
}

/// The session, or the queue, that a record is about: behind its kind.
fn session_of(record: &[u8]) -> Result<u64, Damaged> {
    let mut reader = Reader::new(record);
    let _ = reader.byte("kind")?;
    reader.number("session")
}
