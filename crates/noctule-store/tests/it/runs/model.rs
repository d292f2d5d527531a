//! Runs with a model beside them that says what must be there.

use std::collections::BTreeMap;

use noctule_store::{
    DamagedPart, RunSettings, Runs, SimulatedDisk, Slice, SliceLimits, Spill, StoreError,
};

/// Everything at once.
pub(crate) const ALL: SliceLimits = SliceLimits { messages: usize::MAX, bytes: usize::MAX };

pub(crate) const SETTINGS: RunSettings = RunSettings { runs_max: 4, alive_percent_min: 25 };

/// A message: seq, flags, body.
pub(crate) type Entry = (u64, Vec<u8>, Vec<u8>);

/// Chance that a seed tells.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn size(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).expect("it is small")
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.below(u64::MAX).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// What must be there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) queues: BTreeMap<u64, Vec<Entry>>,
    /// Up to where each queue is done.
    pub(crate) marks: BTreeMap<u64, u64>,
}

impl Model {
    pub(crate) fn next(&self, queue: u64) -> u64 {
        self.marks.get(&queue).map_or(0, |mark| mark.saturating_add(1))
    }

    /// What a queue still needs.
    pub(crate) fn needed(&self, queue: u64) -> Vec<Entry> {
        let entries = self.queues.get(&queue).into_iter().flatten();
        entries.filter(|entry| entry.0 >= self.next(queue)).cloned().collect()
    }
}

/// What is in the log still.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) spill: Spill,
    pub(crate) entries: Vec<(u64, Entry)>,
    bodies: u64,
}

impl Pending {
    /// A body with references from these queues, each with its seq.
    pub(crate) fn push(&mut self, references: &[(u64, u64)], flags: &[u8], body: &[u8]) {
        self.bodies += 1;
        for (queue, seq) in references {
            self.spill.push(*queue, *seq, flags, self.bodies, body).expect("it is small");
            self.entries.push((*queue, (*seq, flags.to_vec(), body.to_vec())));
        }
    }
}

/// Runs, what is durable beside them, and what must be there.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) runs: Runs,
    pub(crate) disk: SimulatedDisk,
    /// What is kept elsewhere, durably.
    pub(crate) manifest: Vec<u8>,
    /// With the runs of that manifest.
    pub(crate) durable: Model,
    pub(crate) model: Model,
}

impl Shelf {
    pub(crate) fn new(disk: SimulatedDisk) -> Result<Self, StoreError> {
        let (runs, _) = Runs::open(Box::new(disk.clone()), SETTINGS, &[])?;
        let (durable, model) = (Model::default(), Model::default());
        Ok(Self { runs, disk, manifest: Vec::new(), durable, model })
    }

    /// What is found by another process, which hears of the marks again.
    pub(crate) fn reopen(
        disk: SimulatedDisk,
        manifest: Vec<u8>,
        durable: Model,
    ) -> Result<(Self, Vec<DamagedPart>), StoreError> {
        let (mut runs, damaged) = Runs::open(Box::new(disk.clone()), SETTINGS, &manifest)?;
        for (queue, mark) in &durable.marks {
            runs.finish(*queue, *mark);
        }
        let model = durable.clone();
        Ok((Self { runs, disk, manifest, durable, model }, damaged))
    }

    pub(crate) fn spill(&mut self, pending: &mut Pending) -> Result<(), StoreError> {
        let mut run = self.runs.begin()?;
        let written = pending.spill.write(&mut run);
        self.runs.end(run)?;
        written?;
        for (queue, entry) in pending.entries.drain(..) {
            let entries = self.model.queues.entry(queue).or_default();
            // What came before counts.
            if entries.iter().all(|(seq, ..)| *seq != entry.0) {
                entries.push(entry);
            }
        }
        for entries in self.model.queues.values_mut() {
            entries.sort_by_key(|(seq, ..)| *seq);
        }
        pending.spill.clear();
        Ok(())
    }

    /// The manifest becomes durable, if there is power.
    pub(crate) fn store(&mut self) {
        let version = self.runs.version();
        if self.disk.has_stopped() {
            return;
        }
        self.manifest = self.runs.manifest();
        self.durable = self.model.clone();
        self.runs.stored(version);
    }

    pub(crate) fn finish(&mut self, queue: u64, upto: u64) {
        self.runs.finish(queue, upto);
        let mark = self.model.marks.entry(queue).or_default();
        *mark = upto.max(*mark);
        // Marks are durable in another way.
        self.durable.marks.clone_from(&self.model.marks);
    }

    pub(crate) fn slice(
        &mut self,
        queue: u64,
        from: u64,
        limits: &SliceLimits,
    ) -> Result<(Vec<Entry>, Slice), StoreError> {
        let mut read = Vec::new();
        let slice = self.runs.read(queue, from, limits, |message| {
            read.push((message.seq, message.flags.to_vec(), message.body.to_vec()));
        })?;
        assert_eq!(slice.messages, read.len());
        Ok((read, slice))
    }

    /// Everything that a queue needs, in slices.
    pub(crate) fn read(&mut self, queue: u64, limits: &SliceLimits) -> (Vec<Entry>, Slice) {
        let (mut all, mut whole) = (Vec::new(), Slice::default());
        whole.next = self.model.next(queue);
        loop {
            let (read, slice) = self.slice(queue, whole.next, limits).expect("there is power");
            assert!(slice.next > whole.next || !slice.has_more, "it goes on: {slice:?}");
            assert!(slice.messages <= limits.messages.max(1), "{slice:?}");
            assert!(slice.messages <= 1 || slice.bytes <= limits.bytes, "{slice:?}");
            all.extend(read);
            (whole.next, whole.has_more) = (slice.next, slice.has_more);
            whole.damaged.extend(slice.damaged);
            if !slice.has_more {
                return (all, whole);
            }
        }
    }

    pub(crate) fn merge(&mut self) -> Result<bool, StoreError> {
        let Some(mut merge) = self.runs.begin_merge()? else { return Ok(false) };
        let written = loop {
            match merge.step() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let damaged = self.runs.end_merge(merge)?;
        assert_eq!(damaged, []);
        written.map(|()| true)
    }

    /// What is not as the model says.
    pub(crate) fn wrong(&mut self, limits: &SliceLimits) -> Option<String> {
        let queues: Vec<u64> = self.model.queues.keys().copied().collect();
        for queue in queues {
            let (found, slice) = self.read(queue, limits);
            let needed = self.model.needed(queue);
            let seqs = |entries: &[Entry]| entries.iter().map(|it| it.0).collect::<Vec<_>>();
            if found != needed {
                let (found, needed) = (seqs(&found), seqs(&needed));
                return Some(format!("queue {queue}: {found:?} and not {needed:?}; {slice:?}"));
            }
        }
        None
    }
}
