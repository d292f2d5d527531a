//! A log that is trimmed and whose files are used again, with the note of its user that says from
//! where on it counts, and a long story that can be cut anywhere.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use noctule_store::{Batch, Cut, Disk, DiskFile, Log, LogSettings, Repair, SimulatedDisk};

pub(crate) const SETTINGS: LogSettings =
    LogSettings { content: 7, segment_bytes: 1_500, free_segments_max: 2 };

const NOTE: &str = "note";

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    Nothing,
    /// The log is trimmed before its user knows that durably.
    TrimsFirst,
}

/// What was promised, and what may be there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    /// In which segment each number is.
    pub(crate) kept: BTreeMap<u32, u64>,
    pub(crate) written: u32,
}

/// Where the user of the log keeps from where on it counts: each note behind the one before.
#[derive(Debug)]
struct Note {
    file: Box<dyn DiskFile>,
    length: u64,
}

/// From where on the log counts.
fn noted(disk: &SimulatedDisk) -> u64 {
    let Ok(file) = disk.clone().open(NOTE) else { return 0 };
    let mut bytes = vec![0; usize::try_from(file.length().expect("it is there")).expect("small")];
    file.read_at(&mut bytes, 0).expect("it is there");
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight"));
    let notes = bytes.chunks_exact(16).map(|note| (number(&note[..8]), number(&note[8..])));
    notes.filter(|(first, check)| *first == !check).map(|(first, _)| first).next_back().unwrap_or(0)
}

/// Makes a disk whose note is durable, and empty.
pub(crate) fn disk() -> SimulatedDisk {
    let mut disk = SimulatedDisk::new();
    disk.create(NOTE).and_then(|mut file| file.sync()).expect("there is room");
    disk.sync_names().expect("there is room");
    disk
}

/// The log on a disk, and the numbers that are in it.
pub(crate) fn open(disk: &SimulatedDisk) -> Result<(Log, Vec<(u64, u32)>), String> {
    open_after(disk, Cut::Nothing)
}

fn open_after(disk: &SimulatedDisk, cut: Cut) -> Result<(Log, Vec<(u64, u32)>), String> {
    let is_whole = cut == Cut::Lost;
    let mut found = Vec::new();
    let visit = |record: noctule_store::Recovered<'_>| {
        let digits = record.bytes.first_chunk().ok_or("a record that is no number")?;
        found.push((record.segment, u32::from_le_bytes(*digits)));
        Ok(())
    };
    let opened =
        Log::open_from(noted(disk), Box::new(disk.clone()), SETTINGS, Repair::Salvage, visit);
    let (log, summary) = opened.map_err(|error| error.to_string())?;
    if !summary.is_intact() {
        return Err(format!("nothing is damaged: {summary}"));
    }
    // A write that has left nothing is not told as unfinished.
    if let Some(torn) = summary.torn.as_ref().filter(|_| is_whole) {
        return Err(format!("nothing is torn: {torn:?}"));
    }
    // Whoever empties the log reads all of it.
    let view = log.view();
    for segment in view.sealed() {
        view.read(segment, |_| Ok(())).map_err(|error| error.to_string())?;
    }
    Ok((log, found))
}

/// Tries something again while the disk fails, until the power is gone.
fn patiently<T, E: std::fmt::Display>(
    disk: &SimulatedDisk,
    mut act: impl FnMut() -> Result<T, E>,
) -> ControlFlow<String, T> {
    for _ in 0..12 {
        match act() {
            Ok(done) => return ControlFlow::Continue(done),
            Err(error) if disk.has_stopped() => return ControlFlow::Break(error.to_string()),
            Err(_) => {}
        }
    }
    panic!("it does not heal");
}

/// One story.
pub(crate) struct Story {
    pub(crate) plant: Plant,
    /// Frames of the same size stand in the same places in each life of a file.
    pub(crate) same_size: bool,
    pub(crate) chapters: u32,
}

impl Story {
    fn write(&self, number: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&number.to_le_bytes());
        let more = if self.same_size { 96 } else { number * 37 % 300 };
        out.resize(out.len() + usize::try_from(more).expect("small"), 0xA5);
    }

    /// Appends, trims and restarts, until the power goes.
    pub(crate) fn tell(
        &self,
        disk: &SimulatedDisk,
        promises: &mut Promises,
    ) -> ControlFlow<String> {
        let (mut log, _) = patiently(disk, || open(disk))?;
        let file = patiently(disk, || disk.clone().open(NOTE))?;
        let length = file.length().expect("it is there").next_multiple_of(16);
        let mut note = Note { file, length };
        for chapter in 0..self.chapters {
            let mut batch = Batch::new();
            let from = promises.written + 1;
            let count = if self.same_size { 2 } else { chapter % 3 + 1 };
            for number in from..from + count {
                batch.push(|out| self.write(number, out)).expect("it fits");
            }
            promises.written += count;
            patiently(disk, || log.commit(&mut batch))?;
            let segment = log.view().active();
            promises.kept.extend((from..=promises.written).map(|number| (number, segment)));
            if chapter % 2 == 1 {
                log.keep_up();
            }
            if chapter % 5 == 4 {
                self.checkpoint(disk, &mut log, &mut note, chapter)?;
            }
            if chapter % 13 == 12 {
                drop(log);
                log = patiently(disk, || open(disk))?.0;
            }
        }
        ControlFlow::Continue(())
    }

    fn checkpoint(
        &self,
        disk: &SimulatedDisk,
        log: &mut Log,
        note: &mut Note,
        chapter: u32,
    ) -> ControlFlow<String> {
        // At times all that is there, at times less.
        let before = log.view().active() - u64::from(chapter / 5 % 3);
        if self.plant == Plant::TrimsFirst {
            log.trim(before);
            log.keep_up();
        }
        let bytes = [before.to_le_bytes(), (!before).to_le_bytes()].concat();
        patiently(disk, || note.file.write_durably(&bytes, note.length))?;
        note.length += 16;
        log.trim(before);
        ControlFlow::Continue(())
    }
}

/// What is wrong behind a power cut.
pub(crate) fn judge(disk: &SimulatedDisk, cut: Cut, promises: &Promises) -> Result<Log, String> {
    let first = noted(disk);
    let (log, found) = open_after(disk, cut)?;
    if !found.is_sorted_by(|(_, a), (_, b)| a < b) {
        return Err(format!("out of order: {found:?}"));
    }
    let lost = promises
        .kept
        .iter()
        .find(|(number, segment)| **segment >= first && !found.contains(&(**segment, **number)));
    if let Some((lost, segment)) = lost {
        return Err(format!("{lost} is lost from {segment}, from {first} on: {found:?}"));
    }
    for (segment, number) in &found {
        if *segment < first || promises.kept.get(number).is_some_and(|kept| kept != segment) {
            return Err(format!("{number} is there again in {segment}: {found:?}"));
        }
        if *number > promises.written {
            return Err(format!("invented: {found:?}"));
        }
    }
    Ok(log)
}

pub(crate) const CUTS: [Cut; 9] = [
    Cut::Nothing,
    Cut::Lost,
    Cut::Torn,
    Cut::Reordered,
    Cut::Random(1),
    Cut::Random(2),
    Cut::Random(3),
    Cut::Random(4),
    Cut::Random(5),
];
