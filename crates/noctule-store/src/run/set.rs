//! The set of all runs: what each queue has in them, and which files are needed.
//!
//! What becomes durable in which order is the caller's: first the run, then a manifest that names
//! it, then the log may forget. And first a manifest without a run, then its file goes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::run::format;
use crate::run::manifest::Manifest;
use crate::run::merge::{self, Merge};
use crate::run::new_run::NewRun;
use crate::run::reader::{DamagedPart, QueueMessage, QueuePart, Run, Slice, SliceLimits};
use crate::run::view::RunsView;
use crate::run::window::Window;

/// How much damage is set aside in files of its own.
const QUARANTINE_BYTES_MAX: u64 = 16 * 1_024 * 1_024;

/// When runs are written anew as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSettings {
    /// From so many runs on some are merged.
    pub runs_max: usize,
    /// A run is written anew when less than this part of it is needed, in percent.
    pub alive_percent_min: u64,
}

impl Default for RunSettings {
    /// 8 runs, each of which a slice of a queue has to ask, and two fifths alive: with what a merge
    /// needs meanwhile, less than three times as much as what is needed.
    fn default() -> Self {
        Self { runs_max: 8, alive_percent_min: 40 }
    }
}

/// All runs of a store.
#[derive(Debug)]
pub struct Runs {
    disk: Box<dyn Disk>,
    settings: RunSettings,
    /// In the order of their messages.
    members: Vec<Member>,
    /// Up to where a queue is done that still has something in a run.
    marks: BTreeMap<u64, u64>,
    /// Files that are not needed any more, and the first manifest without them.
    dropped: VecDeque<(u64, u64)>,
    next: u64,
    /// How often the manifest has changed.
    version: u64,
    is_merging: bool,
    /// What others see of it, and how it is read here.
    view: RunsView,
    set_aside_bytes: u64,
}

/// A run and what of it is needed.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) run: Arc<Run>,
    alive_queues: usize,
    pub(crate) alive_bytes: u64,
    pub(crate) all_bytes: u64,
}

impl Member {
    fn new(run: Run) -> Self {
        let all_bytes = run.index.extents().map(|extent| extent.bytes).sum();
        let alive_queues = run.index.queues();
        Self { run: Arc::new(run), alive_queues, alive_bytes: all_bytes, all_bytes }
    }

    /// Notes that a queue is done up to there. Whether something of it is left here, if something
    /// of it was ever here.
    fn finish(&mut self, queue: u64, upto: u64) -> Option<bool> {
        let extent = self.run.index.find(queue)?;
        if self.run.done.is_set(extent.part) {
            return Some(false);
        }
        if extent.last > upto {
            return Some(true);
        }
        self.run.done.set(extent.part);
        self.alive_queues -= 1;
        self.alive_bytes = self.alive_bytes.saturating_sub(extent.bytes);
        Some(false)
    }
}

impl Runs {
    /// Opens the runs that the manifest names, and removes all others. Says what cannot be read.
    ///
    /// `manifest` is what was stored last, or empty for a store that begins: then every run there
    /// is goes, so whoever may have lost the manifest renames the files first.
    ///
    /// What queues have done is not kept here: it is told anew, with [`finish`](Self::finish) and
    /// [`retain`](Self::retain).
    ///
    /// # Errors
    ///
    /// If something is of a newer format, if the manifest is damaged, or if the system cannot read
    /// a file. Nothing was removed then.
    pub fn open(
        mut disk: Box<dyn Disk>,
        settings: RunSettings,
        manifest: &[u8],
    ) -> Result<(Self, Vec<DamagedPart>), StoreError> {
        let Manifest { mut next, runs } = Manifest::decode(manifest)?;
        let names = disk.names().map_err(StoreError::io("list", "the directory"))?;
        let numbers: Vec<u64> = names.iter().filter_map(|name| format::number(name)).collect();
        let (mut members, mut damaged) = (Vec::new(), Vec::new());
        let mut is_changed = false;
        for (run, bytes) in &runs {
            if !numbers.contains(run) {
                let (run, bytes, reason) = (*run, *bytes, "its file is missing");
                damaged.push(DamagedPart { run, offset: 0, bytes, reason });
                is_changed = true;
                continue;
            }
            members.push(Member::new(Run::open(&mut *disk, *run, *bytes, &mut damaged)?));
        }
        for number in numbers {
            next = next.max(number + 1);
            if !runs.iter().any(|(run, _)| *run == number) {
                let name = format::name(number);
                disk.remove(&name).map_err(StoreError::io("remove", name))?;
            }
        }
        let mut set = Self {
            disk,
            settings,
            members,
            marks: BTreeMap::new(),
            dropped: VecDeque::new(),
            next,
            version: u64::from(is_changed),
            is_merging: false,
            view: RunsView::default(),
            set_aside_bytes: 0,
        };
        set.set_aside(&damaged);
        set.drop_done();
        set.show();
        Ok((set, damaged))
    }

    /// Begins another run, which a [`Spill`](crate::Spill) then writes.
    ///
    /// # Errors
    ///
    /// If the system cannot create it.
    pub fn begin(&mut self) -> Result<NewRun, StoreError> {
        let number = self.next;
        // Never again, whatever comes of it.
        self.next += 1;
        let name = format::name(number);
        let file = self.disk.create(&name).map_err(StoreError::io("create", name))?;
        Ok(NewRun::new(number, file))
    }

    /// Takes a run in that was written, behind all others: what it has of a queue comes after what
    /// the others have, and what they have already is skipped. One that was not written goes.
    ///
    /// What queues have done while it was written is told again.
    ///
    /// # Errors
    ///
    /// If its name does not become durable. Then it is not taken in.
    pub fn end(&mut self, run: NewRun) -> Result<(), StoreError> {
        if let Some(member) = self.complete(run)? {
            self.members.push(member);
            self.version += 1;
            self.drop_done();
            self.show();
        }
        Ok(())
    }

    /// Shows others which runs there are.
    fn show(&self) {
        self.view.show(self.members.iter().map(|member| Arc::clone(&member.run)).collect());
    }

    /// What other threads see of the runs.
    pub fn view(&self) -> RunsView {
        self.view.clone()
    }

    /// Makes the name of a run durable that was written, and removes any other.
    fn complete(&mut self, run: NewRun) -> Result<Option<Member>, StoreError> {
        let NewRun { number, file, finished, .. } = run;
        let named = match &finished {
            Some(_) => self.disk.sync_names().map_err(StoreError::io("sync", "the directory")),
            None => Ok(()),
        };
        match (finished, named) {
            (Some(finished), Ok(())) => {
                let run = Run::new(number, finished.bytes, finished.index, file);
                let mut member = Member::new(run);
                // What was done while it was written.
                for (queue, mark) in &self.marks {
                    member.finish(*queue, *mark);
                }
                Ok(Some(member))
            }
            (_, named) => {
                // If it stays, the next opening removes it.
                let _ = self.disk.remove(&format::name(number));
                named.map(|()| None)
            }
        }
    }

    /// Reads the next messages of a queue, from this seq on.
    ///
    /// # Errors
    ///
    /// If the system cannot read. What is damaged is told in the slice, and stepped over.
    pub fn read(
        &mut self,
        queue: u64,
        from: u64,
        limits: &SliceLimits,
        deliver: impl FnMut(QueueMessage<'_>),
    ) -> Result<Slice, StoreError> {
        let slice = self.view.read(queue, from, limits, deliver);
        self.set_aside_seen();
        slice
    }

    /// The last seq that the runs have of a queue which is not done with it.
    pub fn last(&self, queue: u64) -> Option<u64> {
        self.members.iter().filter_map(|member| member.run.last(queue)).max()
    }

    /// Shows what the runs have of each queue, part by part, without reading any message.
    ///
    /// # Errors
    ///
    /// If the system cannot read it.
    pub fn each_part(&self, visit: &mut dyn FnMut(QueuePart)) -> Result<(), StoreError> {
        self.members.iter().try_for_each(|member| member.run.each_part(visit))
    }

    /// Notes that a queue is done with everything up to this seq. A queue that is gone is done with
    /// everything up to [`u64::MAX`].
    pub fn finish(&mut self, queue: u64, upto: u64) {
        let (mut is_known, mut is_left, mut is_any_done) = (false, false, false);
        for member in &mut self.members {
            if let Some(left) = member.finish(queue, upto) {
                (is_known, is_left) = (true, is_left || left);
                is_any_done |= member.alive_queues == 0;
            }
        }
        // What is written anew meanwhile has to hear of it too.
        if is_left || (is_known && self.is_merging) {
            let mark = self.marks.entry(queue).or_insert(upto);
            *mark = upto.max(*mark);
        } else if is_known {
            self.marks.remove(&queue);
        }
        if is_any_done {
            self.drop_done();
        }
    }

    /// Notes that all queues are gone for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        let mut gone = Vec::new();
        for member in &self.members {
            for extent in member.run.index.extents() {
                if !member.run.done.is_set(extent.part) && !keep(extent.queue) {
                    gone.push(extent.queue);
                }
            }
        }
        for queue in gone {
            self.finish(queue, u64::MAX);
        }
    }

    fn drop_done(&mut self) {
        let before = self.dropped.len();
        let version = self.version + 1;
        let dropped = &mut self.dropped;
        self.members.retain(|member| {
            if member.alive_queues == 0 {
                dropped.push_back((version, member.run.number));
            }
            member.alive_queues > 0
        });
        if self.dropped.len() > before {
            self.version = version;
            self.show();
        }
    }

    /// How often the manifest has changed since the runs were opened: whoever has stored an older
    /// one stores it again.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The manifest, as it is stored.
    pub fn manifest(&self) -> Vec<u8> {
        let runs = self.members.iter().map(|member| (member.run.number, member.run.bytes));
        Manifest { next: self.next, runs: runs.collect() }.encode()
    }

    /// The manifest of this version is durable: the files go that it does not name.
    pub fn stored(&mut self, version: u64) {
        self.set_aside_seen();
        let Self { disk, dropped, .. } = self;
        dropped.retain(|(without, number)| {
            if *without > version {
                return true;
            }
            let removed = disk.remove(&format::name(*number));
            removed.is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound)
        });
    }

    /// Begins to write runs anew as one, if there are too many or too little of one is needed.
    /// There is one merge at a time.
    ///
    /// # Errors
    ///
    /// If the system cannot create a file.
    pub fn begin_merge(&mut self) -> Result<Option<Merge>, StoreError> {
        if self.is_merging {
            return Ok(None);
        }
        let alive: Vec<_> =
            self.members.iter().map(|member| (member.alive_bytes, member.all_bytes)).collect();
        let Some(chosen) = merge::choose(&alive, &self.settings) else { return Ok(None) };
        let sources = self.members.get(chosen).unwrap_or_default().iter();
        let sources = sources.map(|member| Arc::clone(&member.run)).collect();
        let run = self.begin()?;
        self.is_merging = true;
        Ok(Some(Merge::new(run, sources, self.marks.clone())))
    }

    /// Takes the result of a merge in, in place of what it was made of. One that was given up goes.
    /// Says what could not be read and so is not in it.
    ///
    /// # Errors
    ///
    /// If its name does not become durable. Then everything is as before.
    pub fn end_merge(&mut self, merge: Merge) -> Result<Vec<DamagedPart>, StoreError> {
        self.is_merging = false;
        let (run, sources, damaged, is_whole) = merge.into_parts();
        let merged = self.complete(run)?;
        if is_whole {
            self.set_aside(&damaged);
            let is_source = |member: &Member| sources.contains(&member.run.number);
            let at = self.members.iter().position(is_source).unwrap_or(0);
            self.version += 1;
            let Self { members, dropped, version, .. } = self;
            members.retain(|member| {
                if is_source(member) {
                    dropped.push_back((*version, member.run.number));
                }
                !is_source(member)
            });
            if let Some(member) = merged {
                self.members.insert(at, member);
            }
        }
        let Self { marks, members, .. } = self;
        marks.retain(|queue, _| members.iter().any(|member| member.run.last(*queue).is_some()));
        self.drop_done();
        self.show();
        Ok(if is_whole { damaged } else { Vec::new() })
    }

    /// Sets aside what whoever has read could not read.
    fn set_aside_seen(&mut self) {
        let seen = self.view.take_damaged();
        self.set_aside(&seen);
    }

    /// Keeps what cannot be read in files of its own, before its run goes. That it is kept is a
    /// favour: that it cannot be kept changes nothing.
    fn set_aside(&mut self, damaged: &[DamagedPart]) {
        for DamagedPart { run, offset, bytes, .. } in damaged {
            let name = format!("damaged-run-{run:016x}-{offset}.bin");
            let is_known = self.disk.names().is_ok_and(|names| names.contains(&name));
            if is_known || self.set_aside_bytes + bytes > QUARANTINE_BYTES_MAX {
                continue;
            }
            self.set_aside_bytes += bytes;
            let mut window = Window::default();
            let _ = self.disk.open(&format::name(*run)).and_then(|file| {
                let there = file.length()?.saturating_sub(*offset).min(*bytes);
                window.load(&*file, *run, *offset, there)?;
                let content = window.bytes(*run, *offset, there).unwrap_or_default();
                let mut aside = self.disk.create(&name)?;
                aside.write_at(content, 0)?;
                aside.sync()
            });
        }
    }

    /// How many runs there are.
    pub const fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The bytes of all runs on disk.
    pub fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.run.bytes).sum()
    }

    /// How many messages the runs have, done or not.
    pub fn messages(&self) -> u64 {
        self.members.iter().map(|member| member.run.index.messages).sum()
    }

    /// The bytes that all of this takes in memory.
    pub fn memory_bytes(&self) -> usize {
        let members =
            self.members.iter().map(|member| size_of::<Member>() + member.run.memory_bytes());
        // A node of a tree is two thirds full.
        members.sum::<usize>() + self.marks.len() * 24 + self.view.memory_bytes()
    }
}
