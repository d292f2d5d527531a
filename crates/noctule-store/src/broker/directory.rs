//! A broker's store in the file system: the log in a directory, and in two below it what is not in
//! the log any more.

use std::path::Path;
use std::time::Duration;

use super::CONTENT;
use super::opening::{self, Opened, Settings};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::interval::IntervalDisk;
use crate::log::LogSettings;
use crate::real::RealDisk;
use crate::recovery::Repair;
use crate::state_logged::LoggedState;
use crate::unchanged::UnchangedDisk;

const RUNS: &str = "runs";
const STATE: &str = "state";

/// The bytes of a segment of the log, and how many are kept to be used again.
const SETTINGS: LogSettings =
    LogSettings { content: CONTENT, segment_bytes: 32 * 1_024 * 1_024, free_segments_max: 4 };

/// The log grows to this while it cannot be emptied: then whoever publishes what is to be kept
/// waits. It is some 60 segments, and a broker that can empty it has ten.
const LOG_BYTES_MAX: u64 = 2 * 1_024 * 1_024 * 1_024;

/// Opens the store in a directory, which is made if there is none. Damage is set aside. No client
/// was sent more than `in_flight_max` messages at a time. With an interval, what is written to the
/// log is synced so long after it was written at the latest, and counts as durable before.
///
/// # Errors
///
/// If another process has it open, if a part of it is of a newer format or of another kind, if a
/// symbolic link leads out of it, or if the system cannot read it.
pub fn open_directory(
    path: &Path,
    in_flight_max: u16,
    interval: Option<Duration>,
) -> Result<Opened, StoreError> {
    let disk = RealDisk::open(path)?;
    let (runs, state) = (disk.below(RUNS)?, disk.below(STATE)?);
    let log: Box<dyn Disk> = match interval {
        None => Box::new(disk),
        Some(interval) => {
            let disk = IntervalDisk::new(Box::new(disk), interval);
            Box::new(disk.map_err(StoreError::io("start", "a thread"))?)
        }
    };
    let mut opened = open_parts(log, Box::new(runs), Box::new(state), settings(in_flight_max))?;
    opened.log.limit(LOG_BYTES_MAX);
    Ok(opened)
}

/// Says what there is in a directory, and what of it is damaged, and changes nothing. What is
/// returned can be read; it can keep nothing.
///
/// # Errors
///
/// As [`open_directory`].
pub fn look(disk: UnchangedDisk) -> Result<Opened, StoreError> {
    let (runs, state) = (disk.below(RUNS)?, disk.below(STATE)?);
    let mut opened = open_parts(Box::new(disk), Box::new(runs), Box::new(state), settings(0))?;
    opened.archive.read_all(|unreadable| opened.findings.unreadable.push(unreadable))?;
    Ok(opened)
}

fn settings(in_flight_max: u16) -> Settings {
    Settings { in_flight_max, ..Settings::from(SETTINGS) }
}

/// Opens a store whose parts are on these disks. Damage is set aside.
///
/// # Errors
///
/// As [`open_directory`].
pub fn open_parts(
    log: Box<dyn Disk>,
    runs: Box<dyn Disk>,
    state: Box<dyn Disk>,
    settings: Settings,
) -> Result<Opened, StoreError> {
    let (state, summary) = LoggedState::open(state, CONTENT, Repair::Salvage)?;
    opening::open_behind(summary, log, runs, Box::new(state), settings, Repair::Salvage)
}
