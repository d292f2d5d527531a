//! The log: appends batches, each with one sync, and goes on in a new segment after every failure.

use std::collections::BTreeMap;

use crate::age::{Ages, WallClock, system_clock};
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::frame::Batch;
use crate::recovery::{self, Recovered, Remains, Repair};
use crate::segment::{self, FORMAT, SEGMENT_HEADER_BYTES, SegmentHeader, UNFINISHED_NAME};
use crate::summary::Summary;

/// What a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// What its records mean, so that no other kind of store is taken for it.
    pub content: u16,
    /// The bytes of a segment from which on another one is begun.
    pub segment_bytes: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { content: 0, segment_bytes: 8 * 1_024 * 1_024 }
    }
}

/// An append-only log in a directory of its own.
#[derive(Debug)]
pub struct Log {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) settings: LogSettings,
    pub(crate) ages: Ages,
    /// The bytes of each segment.
    pub(crate) segments: BTreeMap<u64, u64>,
    /// What a newer segment has made void and could not be removed yet.
    pub(crate) obsolete: Vec<u64>,
    pub(crate) active: Option<Active>,
    pub(crate) next_segment: u64,
    pub(crate) next_sequence: u64,
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) length: u64,
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
        Self::open_at(disk, settings, repair, system_clock, visit)
    }

    pub(crate) fn open_at(
        mut disk: Box<dyn Disk>,
        settings: LogSettings,
        repair: Repair,
        wall: WallClock,
        mut visit: impl FnMut(Recovered<'_>) -> Result<(), String>,
    ) -> Result<(Self, Summary), StoreError> {
        // Whoever wants to know before anything changes, or wants nothing of it, looks first.
        if repair != Repair::Salvage {
            let looked = recovery::recover(&mut *disk, &settings, &mut |_| Ok(()))?;
            match repair {
                _ if looked.summary.is_intact() => {}
                Repair::Empty => set_aside(&mut *disk)?,
                Repair::Refuse | Repair::Salvage => {
                    return Err(StoreError::Damaged(Box::new(looked.summary)));
                }
            }
        }
        let remains = recovery::recover(&mut *disk, &settings, &mut visit)?;
        let Remains { segments, obsolete, next_segment, next_sequence, last, summary } = remains;
        let mut log = Self {
            disk,
            settings,
            ages: Ages::behind(last, wall),
            segments: segments.into_iter().collect(),
            obsolete,
            active: None,
            next_segment,
            next_sequence,
        };
        // There is none, or nobody misses it.
        let _ = log.disk.remove(UNFINISHED_NAME);
        log.remove_obsolete();
        Ok((log, summary))
    }

    /// How old the store is.
    pub const fn ages(&self) -> &Ages {
        &self.ages
    }

    /// How many files there are. Each opening begins another one when it is written to.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    /// The bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.values().sum()
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
        let remains = recovery::recover(&mut *self.disk, &self.settings, &mut visit)?;
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
        // Given back only when all is well.
        match self.active.take() {
            Some(active) if active.length < self.settings.segment_bytes => {
                self.append(active, batch, false)
            }
            _ => {
                let number = self.next_segment;
                let done = self.begin_segment().and_then(|active| self.append(active, batch, true));
                if done.is_err() {
                    self.forget(number);
                }
                done
            }
        }
    }

    /// A new segment has come to nothing: without this, a disk that is full for hours would be left
    /// with thousands of them.
    fn forget(&mut self, number: u64) {
        match self.disk.remove(&segment::name(number)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {}
            _ => {
                self.segments.remove(&number);
            }
        }
    }

    fn append(
        &mut self,
        mut active: Active,
        batch: &mut Batch,
        is_new: bool,
    ) -> Result<(), StoreError> {
        let (sequence, offset) = (self.next_sequence, active.length);
        let frame = batch.seal(active.number, sequence, self.ages.now(), self.ages.wall());
        let name = segment::name(active.number);
        active.file.write_at(frame, offset).map_err(StoreError::io("write", &name))?;
        active.file.sync().map_err(StoreError::io("sync", &name))?;
        if is_new {
            self.disk.sync_names().map_err(StoreError::io("sync", "the directory"))?;
        }
        active.length += frame.len() as u64;
        self.next_sequence += 1;
        self.segments.insert(active.number, active.length);
        self.active = Some(active);
        batch.clear();
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<Active, StoreError> {
        let number = self.next_segment;
        // Never again, whatever comes of it.
        self.next_segment += 1;
        let name = segment::name(number);
        let mut file = self.disk.create(&name).map_err(StoreError::io("create", &name))?;
        let header = SegmentHeader {
            format: FORMAT,
            content: self.settings.content,
            begins_anew: false,
            number,
            first_sequence: self.next_sequence,
        };
        // Counted even if it comes to nothing, so that it is removed one day.
        self.segments.insert(number, SEGMENT_HEADER_BYTES as u64);
        file.write_at(&header.encode(), 0).map_err(StoreError::io("write", &name))?;
        Ok(Active { number, length: SEGMENT_HEADER_BYTES as u64, file })
    }

    /// Removes what is void. What cannot be removed now is tried again the next time.
    pub(crate) fn remove_obsolete(&mut self) {
        let Self { disk, obsolete, .. } = self;
        obsolete.retain(|number| {
            let removed = disk.remove(&segment::name(*number));
            removed.is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound)
        });
    }
}

/// Gives everything other names, so that the log begins empty.
fn set_aside(disk: &mut dyn Disk) -> Result<(), StoreError> {
    let names = disk.names().map_err(StoreError::io("list", "the directory"))?;
    for name in names.iter().filter(|name| segment::number(name).is_some()) {
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
