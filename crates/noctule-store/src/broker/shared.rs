//! What is known of one queue of a shared subscription.
//!
//! Any shard may say that a message waits there no more, and so before the one where it waits has
//! said that it does. That must not bring it back, so that all places that are done are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use noctule_broker_core::{Message, StoredSharedQueue};

use super::damaged::Damaged;
use super::places::Places;
use super::reader::{Reader, put_sized, put_tagged, put_tagged_with};

pub(super) const LAST: u8 = 1;
/// In the state only.
const DONE: u8 = 2;

/// More of them than a crash could lose come from damage.
pub(super) const LOST_MAX: usize = 1 << 20;

/// A queue, until all that it will ever have is done.
#[derive(Debug, Default)]
pub(super) struct SharedQueue {
    /// `None` as long as nothing but the end of a message of it is known.
    filter: Option<Arc<str>>,
    /// The last place, if no more will be taken.
    last: Option<u64>,
    done: Places,
    messages: BTreeMap<u64, Arc<Message>>,
}

impl SharedQueue {
    pub(super) fn begin(&mut self, filter: Arc<str>, last: Option<u64>) {
        self.filter = Some(filter);
        self.last = self.last.max(last);
    }

    pub(super) fn queue(&mut self, sequence: u64, message: &Arc<Message>) {
        if self.wants(sequence) {
            self.messages.insert(sequence, Arc::clone(message));
        }
    }

    pub(super) fn finish(&mut self, sequence: u64) {
        self.done.insert(sequence);
        self.messages.remove(&sequence);
    }

    /// Whether a message at this place still waits.
    pub(super) fn wants(&self, sequence: u64) -> bool {
        sequence > 0 && !self.done.contains(sequence)
    }

    /// Up to where all is done.
    pub(super) fn up_to(&self) -> u64 {
        self.done.up_to()
    }

    /// Whether nothing of it is needed any more.
    pub(super) fn is_over(&self) -> bool {
        self.last.is_some_and(|last| self.done.up_to() >= last)
    }

    /// As its shard gets it back; `None` if nobody knows whose it is.
    pub(super) fn into_stored(self, queue: u64) -> Option<StoredSharedQueue> {
        let filter = self.filter?;
        let waits = self.messages.last_key_value().map_or(0, |(sequence, _)| *sequence);
        let last = self.last.unwrap_or(0).max(self.done.last()).max(waits);
        let is_lost = |sequence: &u64| !self.messages.contains_key(sequence);
        let lost =
            self.done.gaps(1..last.saturating_add(1)).filter(is_lost).take(LOST_MAX).collect();
        let messages = self.messages.into_iter().collect();
        Some(StoredSharedQueue { queue, filter, messages, lost, last })
    }

    /// Appends what is known of it, but for its messages, as it stands in the state.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_shared_queue(self.filter.as_deref().unwrap_or_default(), self.last, out);
        if !self.done.is_empty() {
            put_tagged_with(out, DONE, |out| self.done.put(out));
        }
    }

    pub(super) fn read(reader: Reader<'_>) -> Result<Self, Damaged> {
        let mut queue = Self::default();
        let mut done = Places::default();
        let (filter, last) =
            read_shared_queue(
                reader,
                |tag, field| {
                    if tag == DONE { done.read(field) } else { Ok(()) }
                },
            )?;
        queue.filter = (!filter.is_empty()).then_some(filter);
        (queue.last, queue.done) = (last, done);
        Ok(queue)
    }
}

/// Appends whose queue it is, and its last place.
pub(super) fn put_shared_queue(filter: &str, last: Option<u64>, out: &mut Vec<u8>) {
    put_sized(out, filter.as_bytes());
    if let Some(last) = last {
        put_tagged(out, LAST, &last.to_le_bytes());
    }
}

/// Reads them; `others` gets the other tagged fields.
pub(super) fn read_shared_queue(
    mut reader: Reader<'_>,
    mut others: impl FnMut(u8, &mut Reader<'_>) -> Result<(), Damaged>,
) -> Result<(Arc<str>, Option<u64>), Damaged> {
    let filter = reader.text("filter")?.into();
    let mut last = None;
    reader.tagged(|tag, field| match tag {
        LAST => field.number("sequence").map(|sequence| last = Some(sequence)),
        _ => others(tag, field),
    })?;
    Ok((filter, last))
}
