//! A state that is small: all of it is in memory, and a log on a [`Disk`] keeps it.
//!
//! A batch is one record, so that it comes back whole or not at all. When the log has grown to
//! twice of what is in it, it is rewritten with what lives, one record for each key.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::frame::{Batch, number_at};
use crate::log::{Log, LogSettings};
use crate::recovery::Repair;
use crate::state::{STATE_FORMAT, State, StateBatch};
use crate::state_disk::StateDisk;
use crate::summary::Summary;

/// Below so many bytes a log is not worth rewriting.
const REWRITE_BYTES: u64 = 16 * 1_024;
/// Each opening begins another segment, however little is written.
const SEGMENTS_MAX: usize = 16;

const PUT: u8 = 1;
const REMOVE: u8 = 2;

/// A state in memory, with a log that keeps it. Its files have names of their own, so that it may
/// share its directory with a log and with others.
#[derive(Debug)]
pub struct LoggedState {
    log: Log,
    live: BTreeMap<Vec<u8>, Vec<u8>>,
    batch: Batch,
    /// The bytes of the log at which it is rewritten.
    rewrite_at: u64,
}

impl LoggedState {
    /// Opens a state; `content` says what its keys and values mean, so that no other kind of store
    /// is taken for it.
    ///
    /// # Errors
    ///
    /// If it is of a newer format or of another kind, if it is damaged and `repair` does not allow
    /// that, or if the system cannot read it.
    pub fn open(
        disk: Box<dyn Disk>,
        content: u16,
        repair: Repair,
    ) -> Result<(Self, Summary), StoreError> {
        let settings = LogSettings { content, ..LogSettings::default() };
        let (mut live, mut newer) = (BTreeMap::new(), None);
        let disk = Box::new(StateDisk::new(disk));
        let (log, summary) = Log::open(disk, settings, repair, |record| {
            match number_at(record.bytes, 0).map(u16::from_le_bytes) {
                Some(format) if format > STATE_FORMAT => newer = Some(format),
                _ => replay(record.bytes, &mut live)?,
            }
            Ok(())
        })?;
        if let Some(found) = newer {
            let name = "the state".to_owned();
            return Err(StoreError::NewerFormat { name, found, known: STATE_FORMAT });
        }
        let mut state = Self { log, live, batch: Batch::new(), rewrite_at: 0 };
        state.rewrite_at = rewrite_at(state.live_bytes());
        Ok((state, summary))
    }

    fn live_bytes(&self) -> u64 {
        self.live.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    /// That it cannot be done now costs room and nothing else: it is tried again a little later.
    fn rewrite_if_due(&mut self) {
        if self.log.bytes() < self.rewrite_at && self.log.segments() <= SEGMENTS_MAX {
            return;
        }
        let rewritten = self.log.rewrite(&self.live, |(key, value), out| {
            out.extend_from_slice(&STATE_FORMAT.to_le_bytes());
            write_change(key, Some(value), out);
        });
        self.rewrite_at = match rewritten {
            Ok(()) => rewrite_at(self.log.bytes()),
            Err(_) => self.log.bytes() + REWRITE_BYTES,
        };
    }
}

fn rewrite_at(live_bytes: u64) -> u64 {
    live_bytes.max(REWRITE_BYTES) * 2
}

impl State for LoggedState {
    fn apply(&mut self, batch: &StateBatch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        // What could not be committed is not wanted any more if this is another batch.
        self.batch.clear();
        self.batch.push(|out| {
            out.extend_from_slice(&STATE_FORMAT.to_le_bytes());
            for (key, value) in batch.changes() {
                write_change(key, value, out);
            }
        })?;
        self.log.commit(&mut self.batch)?;
        for (key, value) in batch.changes() {
            change(key, value, &mut self.live);
        }
        self.rewrite_if_due();
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.live.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let behind = self.live.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        for (key, value) in behind.take_while(|(key, _)| key.starts_with(prefix)) {
            visit(key, value);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.log.bytes()
    }
}

fn change(key: &[u8], value: Option<&[u8]>, live: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    match value {
        Some(value) => live.insert(key.to_vec(), value.to_vec()),
        None => live.remove(key),
    };
}

fn write_change(key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(if value.is_some() { PUT } else { REMOVE });
    for bytes in std::iter::once(key).chain(value) {
        // Both were checked when they came into their batch.
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

/// Does what a record says, if all of it can be read.
fn replay(record: &[u8], live: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), String> {
    let (mut changes, mut rest) = (Vec::new(), record.get(2..).ok_or("it is cut short")?);
    while let Some((kind, behind)) = rest.split_first() {
        rest = behind;
        let key = take(&mut rest)?;
        let value = match *kind {
            PUT => Some(take(&mut rest)?),
            REMOVE => None,
            other => return Err(format!("there is no change of kind {other}")),
        };
        changes.push((key, value));
    }
    for (key, value) in changes {
        change(key, value, live);
    }
    Ok(())
}

/// Bytes with their length before them.
fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let short = "a length leads beyond its record";
    let length = u32::from_le_bytes(number_at(rest, 0).ok_or(short)?);
    let behind = rest.get(4..).unwrap_or_default();
    let bytes = usize::try_from(length).ok().and_then(|length| behind.split_at_checked(length));
    let (taken, behind) = bytes.ok_or(short)?;
    *rest = behind;
    Ok(taken)
}
