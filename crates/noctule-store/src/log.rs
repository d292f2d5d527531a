//! The log: appends batches, each with one sync, and goes on in a new segment after every failure.

use crate::age::{Ages, system_clock};
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::frame::Batch;
use crate::recovery::{self, Recovered, Remains, Repair};
use crate::segment::{
    self, FORMAT, PREPARED_NAME, SEGMENT_HEADER_BYTES, SegmentHeader, UNFINISHED_NAME,
};
use crate::summary::Summary;
use crate::upkeep;
use crate::view::LogView;
use crate::witness::Witness;

/// What a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// What its records mean, so that no other kind of store is taken for it.
    pub content: u16,
    /// The bytes of a segment from which on another one is begun.
    pub segment_bytes: u64,
    /// How many trimmed segments are kept to be used again. If none are, a segment grows as it is
    /// written; otherwise it has all its bytes from the start, and overwriting them costs less.
    pub free_segments_max: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { content: 0, segment_bytes: 8 * 1_024 * 1_024, free_segments_max: 0 }
    }
}

impl LogSettings {
    pub(crate) fn uses_again(&self) -> bool {
        self.free_segments_max > 0
    }

    pub(crate) fn header(&self, number: u64, life: u32, first_sequence: u64) -> SegmentHeader {
        let (format, content, begins_anew) = (FORMAT, self.content, false);
        SegmentHeader { format, content, begins_anew, number, first_sequence, life }
    }
}

/// An append-only log in a directory of its own.
#[derive(Debug)]
pub struct Log {
    pub(crate) view: LogView,
    pub(crate) settings: LogSettings,
    pub(crate) ages: Ages,
    /// Nothing before this segment counts.
    pub(crate) first: u64,
    /// The last segment with a frame.
    pub(crate) newest: u64,
    /// What nobody needs and could not be removed yet.
    pub(crate) obsolete: Vec<u64>,
    /// What can be used again.
    pub(crate) free: Vec<u64>,
    pub(crate) active: Option<Active>,
    /// The next one, if it is ready.
    pub(crate) prepared: Option<Active>,
    pub(crate) next_segment: u64,
    pub(crate) next_sequence: u64,
    /// Whether files are to be removed, and whether getting the next segment ready has failed: then
    /// it is tried again when it is needed.
    pub(crate) must_remove: bool,
    pub(crate) has_failed_ahead: bool,
    /// Beyond so many bytes a committer has no room for more.
    pub(crate) bytes_max: u64,
    /// Who sees what is committed.
    pub(crate) witness: Option<Box<dyn Witness>>,
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) life: u32,
    pub(crate) length: u64,
    /// Whether it has no frame yet.
    pub(crate) is_new: bool,
    pub(crate) file: Box<dyn DiskFile>,
}

impl Log {
    /// Opens a log. `visit` gets every record in order; what it cannot read counts as damaged.
    ///
    /// # Errors
    ///
    /// If it is of a newer format or of another kind, if it is damaged and `repair` does not allow
    /// that, or if the system cannot read it.
    pub fn open(
        disk: Box<dyn Disk>,
        settings: LogSettings,
        repair: Repair,
        visit: impl FnMut(Recovered<'_>) -> Result<(), String>,
    ) -> Result<(Self, Summary), StoreError> {
        Self::open_from(0, disk, settings, repair, visit)
    }

    /// Opens a log that was trimmed: nothing before segment `first` counts any more.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_from(
        first: u64,
        disk: Box<dyn Disk>,
        settings: LogSettings,
        repair: Repair,
        mut visit: impl FnMut(Recovered<'_>) -> Result<(), String>,
    ) -> Result<(Self, Summary), StoreError> {
        let view = LogView::new(disk);
        // Whoever wants to know before anything changes, or wants nothing of it, looks first.
        if repair != Repair::Salvage {
            let looked = recovery::recover(&view, &settings, first, &mut |_| Ok(()))?;
            match repair {
                _ if looked.summary.is_intact() => {}
                Repair::Empty => set_aside(&mut **view.disk(), first)?,
                Repair::Refuse | Repair::Salvage => {
                    return Err(StoreError::Damaged(Box::new(looked.summary)));
                }
            }
        }
        let remains = recovery::recover(&view, &settings, first, &mut visit)?;
        let Remains { segments, mut obsolete, mut free, newest, .. } = remains;
        let Remains { next_segment, next_sequence, last, summary, .. } = remains;
        obsolete.extend(free.drain(..free.len().saturating_sub(settings.free_segments_max)));
        *view.segments() = segments.into_iter().collect();
        view.set_active(next_segment);
        let mut log = Self {
            view,
            settings,
            ages: Ages::behind(last, system_clock),
            first,
            newest,
            obsolete,
            free,
            active: None,
            prepared: None,
            next_segment,
            next_sequence,
            must_remove: false,
            has_failed_ahead: false,
            bytes_max: u64::MAX,
            witness: None,
        };
        // There are none, or nobody misses them.
        for name in [UNFINISHED_NAME, PREPARED_NAME] {
            let _ = log.view.disk().remove(name);
        }
        log.remove_obsolete();
        Ok((log, summary))
    }

    /// How old the store is.
    pub const fn ages(&self) -> &Ages {
        &self.ages
    }

    /// Goes by a clock that a simulation sets, from the opening on.
    #[cfg(feature = "simulated")]
    pub fn simulate_clock(&mut self, clock: &crate::SimulatedClock) {
        self.ages.simulate(clock);
    }

    /// Bounds what it grows to while nobody can trim it: beyond so many bytes a
    /// [`Committer`](crate::Committer) [has no room](crate::Appender::has_room) for more. What is
    /// appended all the same is committed.
    pub const fn limit(&mut self, bytes_max: u64) {
        self.bytes_max = bytes_max;
    }

    /// How many segments count. Each opening begins another one when it is written to.
    pub fn segments(&self) -> usize {
        self.view.segments().len()
    }

    /// The bytes of all segments that count.
    pub fn bytes(&self) -> u64 {
        self.view.bytes()
    }

    /// What other threads see of it.
    pub fn view(&self) -> LogView {
        self.view.clone()
    }

    /// Reads every record again, in order. Only when no commit has failed since the last one that
    /// has not: of that nobody knows what is there.
    ///
    /// # Errors
    ///
    /// If the system cannot read it.
    pub fn records(
        &mut self,
        mut visit: impl FnMut(Recovered<'_>) -> Result<(), String>,
    ) -> Result<Summary, StoreError> {
        let remains = recovery::recover(&self.view, &self.settings, self.first, &mut visit)?;
        Ok(remains.summary)
    }

    /// Appends a batch and syncs it: when this returns, it is durable, and the batch is empty.
    ///
    /// # Errors
    ///
    /// If that fails, the batch is as before and may be committed again, with more in it: that goes
    /// to a new segment, because nobody knows what is left of the old one.
    pub fn commit(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let has_room = self.has_room(batch);
        // Given back only when all is well.
        let active = match self.active.take() {
            Some(active) if has_room => active,
            _ => self.begin_segment()?,
        };
        let (number, is_new) = (active.number, active.is_new);
        let done = self.append(active, batch);
        if done.is_err() && is_new {
            self.forget(number);
        }
        done
    }

    /// Makes durable what its disk would sync later.
    pub(crate) fn sync_late(&self) -> Result<(), StoreError> {
        self.view.disk().sync_late().map_err(StoreError::io("sync", "the log"))
    }

    /// Whether the segment that is written to takes this batch too. One takes whatever comes first.
    pub(crate) fn has_room(&self, batch: &Batch) -> bool {
        let bytes = if self.settings.uses_again() { batch.bytes() as u64 } else { 1 };
        let is_roomy = |active: &Active| active.length + bytes <= self.settings.segment_bytes;
        self.active.as_ref().is_some_and(|active| active.is_new || is_roomy(active))
    }

    /// A new segment has come to nothing: without this, a disk that is full for hours would be left
    /// with thousands of them.
    fn forget(&mut self, number: u64) {
        if upkeep::remove(&self.view, number) {
            self.view.segments().remove(&number);
        } else if self.settings.uses_again() {
            self.obsolete.push(number);
        }
    }

    fn append(&mut self, mut active: Active, batch: &mut Batch) -> Result<(), StoreError> {
        let (number, sequence, offset) = (active.number, self.next_sequence, active.length);
        let times = (self.ages.now(), self.ages.wall());
        let frame = batch.seal(number, active.life, sequence, times);
        let name = segment::name(number);
        let file = &mut active.file;
        if self.settings.uses_again() {
            let written = if active.is_new {
                // A header that says which frame is the first must not be without it.
                let header = self.settings.header(number, active.life, sequence);
                file.write_durably(&[&header.encode(), frame].concat(), 0)
            } else {
                file.write_durably(frame, offset)
            };
            written.map_err(StoreError::io("write", &name))?;
        } else {
            file.write_at(frame, offset).map_err(StoreError::io("write", &name))?;
            file.sync().map_err(StoreError::io("sync", &name))?;
            if active.is_new {
                let synced = self.view.disk().sync_names();
                synced.map_err(StoreError::io("sync", "the directory"))?;
            }
        }
        active.length += frame.len() as u64;
        active.is_new = false;
        self.next_sequence += 1;
        self.newest = number;
        self.view.segments().insert(number, active.length);
        self.active = Some(active);
        if let Some(witness) = &mut self.witness {
            witness.on_committed(number, batch);
        }
        batch.clear();
        Ok(())
    }

    /// The segment that comes next.
    pub(crate) fn begin_segment(&mut self) -> Result<Active, StoreError> {
        if !self.settings.uses_again() {
            return self.begin_growing_segment();
        }
        let prepared = match self.prepared.take() {
            Some(prepared) => prepared,
            None => {
                let preparation = self.preparation(false);
                preparation.run(&self.view).inspect_err(|_| {
                    self.obsolete.extend(preparation.files());
                    self.remove_obsolete();
                })?
            }
        };
        self.has_failed_ahead = false;
        self.view.set_active(prepared.number);
        Ok(prepared)
    }

    fn begin_growing_segment(&mut self) -> Result<Active, StoreError> {
        let number = self.next_number();
        self.view.set_active(number);
        let name = segment::name(number);
        let created = self.view.disk().create(&name);
        let mut file = created.map_err(StoreError::io("create", &name))?;
        let header = self.settings.header(number, 0, self.next_sequence);
        // Counted even if it comes to nothing, so that it is removed one day.
        self.view.segments().insert(number, SEGMENT_HEADER_BYTES as u64);
        let written = file.write_at(&header.encode(), 0);
        if let Err(error) = written {
            self.forget(number);
            return Err(StoreError::io("write", &name)(error));
        }
        Ok(Active { number, life: 0, length: SEGMENT_HEADER_BYTES as u64, is_new: true, file })
    }

    /// Never again, whatever comes of it.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.next_segment += 1;
        self.next_segment - 1
    }
}

/// Gives everything that counts other names, so that the log begins empty.
fn set_aside(disk: &mut dyn Disk, first: u64) -> Result<(), StoreError> {
    let names = disk.names().map_err(StoreError::io("list", "the directory"))?;
    for name in
        names.iter().filter(|name| segment::number(name).is_some_and(|number| number >= first))
    {
        let aside = free_name(&names, name);
        disk.rename(name, &aside).map_err(StoreError::io("rename", name))?;
    }
    disk.sync_names().map_err(StoreError::io("sync", "the directory"))
}

fn free_name(names: &[String], name: &str) -> String {
    let mut aside = format!("aside-{name}");
    while names.contains(&aside) {
        aside.insert_str(0, "aside-");
    }
    aside
}
