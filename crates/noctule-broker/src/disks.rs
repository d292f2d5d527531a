//! Where the files of a store are, and how much may be on its way there: the file system's
//! directories, or what a test has in their place to see what becomes of a broker whose disk fails.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use noctule_store::broker::{self, Opened, Settings};
use noctule_store::{Disk, LogSettings, StoreError};

use crate::error::StartError;
use crate::recovery::{self, Recovery};

/// What all shards may have on its way to the disk. Beyond it, whoever wants something kept waits.
const WAITING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// In place of the file system, the log grows to so many segments while it cannot be emptied.
const SEGMENTS_MAX: u64 = 1_024;

/// Opens a directory, which is made if there is none.
type Open = dyn Fn(&Path) -> Result<Box<dyn Disk>, StoreError> + Send + Sync;

/// The disks of a store.
#[derive(Clone)]
pub(crate) struct Disks {
    pub(crate) waiting_bytes_max: u64,
    /// In place of the file system, with the bytes of a segment.
    others: Option<(Arc<Open>, u64)>,
}

impl Default for Disks {
    fn default() -> Self {
        Self { waiting_bytes_max: WAITING_BYTES_MAX, others: None }
    }
}

impl fmt::Debug for Disks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Disks").finish_non_exhaustive()
    }
}

impl Disks {
    pub(crate) fn new(
        open: impl Fn(&Path) -> Result<Box<dyn Disk>, StoreError> + Send + Sync + 'static,
        waiting_bytes_max: u64,
        segment_bytes: u64,
    ) -> Self {
        Self { waiting_bytes_max, others: Some((Arc::new(open), segment_bytes)) }
    }

    pub(crate) fn open(
        &self,
        path: &Path,
        recovery: Recovery,
        in_flight_max: u16,
        interval: Option<Duration>,
    ) -> Result<Opened, StartError> {
        let Some((open, segment_bytes)) = &self.others else {
            return recovery::open(path, recovery, in_flight_max, interval);
        };
        let (content, segment_bytes, free_segments_max) = (broker::CONTENT, *segment_bytes, 4);
        let log = LogSettings { content, segment_bytes, free_segments_max };
        let settings = Settings { in_flight_max, ..Settings::from(log) };
        let opened = || {
            let (runs, state) = (open(&path.join("runs"))?, open(&path.join("state"))?);
            let mut opened = broker::open_parts(open(path)?, runs, state, settings)?;
            opened.log.limit(SEGMENTS_MAX * segment_bytes);
            Ok(opened)
        };
        opened().map_err(|source| StartError::Store { path: path.to_owned(), source })
    }
}
