//! Rewriting a log: what is still needed goes to a new segment that makes all older ones void.
//!
//! The new segment is written under another name, synced, and then renamed: before that it does not
//! count, after it the old ones do not.

use crate::error::StoreError;
use crate::frame::Batch;
use crate::log::{Active, Log};
use crate::segment::{self, FORMAT, SEGMENT_HEADER_BYTES, SegmentHeader, UNFINISHED_NAME};

/// The bytes of a batch of the new segment.
const BATCH_BYTES: usize = 1024 * 1024;

impl Log {
    /// Keeps these records, in this order, and nothing else. `encode` appends the content of one to
    /// what it is given.
    ///
    /// # Errors
    ///
    /// If that fails, everything is as before.
    pub fn rewrite<R>(
        &mut self,
        records: impl IntoIterator<Item = R>,
        encode: impl Fn(&R, &mut Vec<u8>),
    ) -> Result<(), StoreError> {
        let number = self.next_segment;
        // It would be among what is void.
        self.obsolete.extend(self.prepared.take().map(|prepared| prepared.number));
        let (active, sequence) = match self.write_unfinished(number, records, encode) {
            Ok(written) => written,
            Err(error) => {
                // It does not count, and the next one replaces it.
                let _ = self.view.disk().remove(UNFINISHED_NAME);
                return Err(error);
            }
        };
        // From here on nobody knows whether the new segment counts until the names are synced, so
        // whatever is appended meanwhile has to stand behind it.
        (self.next_segment, self.next_sequence) = (number + 1, sequence);
        self.active = None;
        let name = segment::name(number);
        let renamed = self.view.disk().rename(UNFINISHED_NAME, &name);
        renamed.map_err(StoreError::io("rename", &name))?;
        self.view.set_active(number);
        self.view.segments().insert(number, active.length);
        let synced = self.view.disk().sync_names();
        synced.map_err(StoreError::io("sync", "the directory"))?;
        (self.active, self.newest) = (Some(active), number);
        let counting = self.view.segments().split_off(&number);
        let before = std::mem::replace(&mut *self.view.segments(), counting);
        self.obsolete.extend(before.into_keys());
        self.remove_obsolete();
        Ok(())
    }

    fn write_unfinished<R>(
        &mut self,
        number: u64,
        records: impl IntoIterator<Item = R>,
        encode: impl Fn(&R, &mut Vec<u8>),
    ) -> Result<(Active, u64), StoreError> {
        let created = self.view.disk().create(UNFINISHED_NAME);
        let file = created.map_err(StoreError::io("create", UNFINISHED_NAME))?;
        let (first_sequence, mut sequence) = (self.next_sequence, self.next_sequence);
        let life = if self.settings.uses_again() { segment::begin_life() } else { 0 };
        let length = SEGMENT_HEADER_BYTES as u64;
        let mut active = Active { number, life, length, is_new: false, file };
        let header = SegmentHeader {
            format: FORMAT,
            content: self.settings.content,
            begins_anew: true,
            number,
            first_sequence,
            life,
        };
        let failed = || StoreError::io("write", UNFINISHED_NAME);
        active.file.write_at(&header.encode(), 0).map_err(failed())?;
        let mut batch = Batch::new();
        let mut put = |batch: &mut Batch| {
            let frame = batch.seal(number, life, sequence, (self.ages.now(), self.ages.wall()));
            active.file.write_at(frame, active.length).map_err(failed())?;
            active.length += frame.len() as u64;
            sequence += 1;
            batch.clear();
            Ok(())
        };
        for record in records {
            batch.push(|out| encode(&record, out))?;
            if batch.bytes() >= BATCH_BYTES {
                put(&mut batch)?;
            }
        }
        if !batch.is_empty() {
            put(&mut batch)?;
        }
        // All of them are promised: without one more behind it, the last might be a torn end.
        put(&mut batch)?;
        active.file.sync().map_err(StoreError::io("sync", UNFINISHED_NAME))?;
        Ok((active, sequence))
    }
}
