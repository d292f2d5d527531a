//! Rewriting a log: what is still needed goes to a new segment that makes all older ones void.
//!
//! The new segment is written under another name, synced, and then renamed: before that it does not
//! count, after it the old ones do not.

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::frame::Batch;
use crate::log::{Active, Log, Position, positions};
use crate::segment::{self, FORMAT, SEGMENT_HEADER_BYTES, SegmentHeader, UNFINISHED_NAME};

/// The bytes of a batch of the new segment.
const BATCH_BYTES: usize = 1024 * 1024;

impl Log {
    /// Keeps these records, in this order, and nothing else. The result is where they stand now;
    /// `None` for one that has become unreadable.
    ///
    /// # Errors
    ///
    /// If that fails, everything is as before.
    pub fn rewrite(&mut self, live: &[Position]) -> Result<Vec<Option<Position>>, StoreError> {
        let number = self.next_segment;
        let written = self.write_unfinished(number, live);
        let (active, moved, sequence) = match written {
            Ok(written) => written,
            Err(error) => {
                // It does not count, and the next one replaces it.
                let _ = self.disk.remove(UNFINISHED_NAME);
                return Err(error);
            }
        };
        // From here on nobody knows whether the new segment counts until the names are synced, so
        // whatever is appended meanwhile has to stand behind it.
        (self.next_segment, self.next_sequence) = (number + 1, sequence);
        self.active = None;
        let name = segment::name(number);
        self.disk.rename(UNFINISHED_NAME, &name).map_err(StoreError::io("rename", &name))?;
        let length = active.length;
        let before: Vec<u64> = self.segments.keys().copied().collect();
        self.segments.insert(number, length);
        self.disk.sync_names().map_err(StoreError::io("sync", "the directory"))?;
        self.active = Some(active);
        for old in before {
            self.segments.remove(&old);
            self.obsolete.push(old);
        }
        self.remove_obsolete();
        Ok(moved)
    }

    fn write_unfinished(
        &mut self,
        number: u64,
        live: &[Position],
    ) -> Result<(Active, Vec<Option<Position>>, u64), StoreError> {
        let file = self.disk.create(UNFINISHED_NAME);
        let file = file.map_err(StoreError::io("create", UNFINISHED_NAME))?;
        let (first_sequence, mut sequence) = (self.next_sequence, self.next_sequence);
        let mut active = Active { number, length: SEGMENT_HEADER_BYTES as u64, file };
        let header = SegmentHeader {
            format: FORMAT,
            content: self.settings.content,
            begins_anew: true,
            number,
            first_sequence,
        };
        let failed = || StoreError::io("write", UNFINISHED_NAME);
        active.file.write_at(&header.encode(), 0).map_err(failed())?;
        let mut source: Option<(u64, Box<dyn DiskFile>)> = None;
        let mut batch = Batch::new();
        let (mut moved, mut in_batch) = (vec![None; live.len()], Vec::new());
        for (at, position) in live.iter().enumerate() {
            let file = match &mut source {
                Some((segment, file)) if *segment == position.segment => file,
                other => {
                    let name = segment::name(position.segment);
                    let opened = self.disk.open(&name).map_err(StoreError::io("open", &name))?;
                    &mut other.insert((position.segment, opened)).1
                }
            };
            if let Some(content) = self.read(&**file, *position)? {
                batch.push(|out| out.extend_from_slice(&content))?;
                in_batch.push(at);
            }
            if batch.bytes() >= BATCH_BYTES || at + 1 == live.len() && !batch.is_empty() {
                let offset = active.length;
                let frame = batch.seal(number, sequence, self.ages.now(), self.ages.wall());
                active.file.write_at(frame, offset).map_err(failed())?;
                active.length += frame.len() as u64;
                sequence += 1;
                let places = positions(&batch, number, offset);
                for (at, place) in in_batch.drain(..).zip(places) {
                    if let Some(moved) = moved.get_mut(at) {
                        *moved = Some(place);
                    }
                }
                batch.clear();
            }
        }
        active.file.sync().map_err(StoreError::io("sync", UNFINISHED_NAME))?;
        Ok((active, moved, sequence))
    }
}
