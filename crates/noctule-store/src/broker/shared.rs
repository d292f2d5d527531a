//! What is known of one queue of a shared subscription.
//!
//! Any shard may say that a message waits there no more, and so before the one where it waits has
//! said that it does. That must not bring it back, so that all places that are done are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use noctule_broker_core::{Message, StoredSharedQueue};

use super::damaged::Damaged;
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
        let lost = self.done.missing(last).filter(is_lost).take(LOST_MAX).collect();
        let messages = self.messages.into_iter().collect();
        Some(StoredSharedQueue { queue, filter, messages, lost, last })
    }

    /// Appends what is known of it, but for its messages, as it stands in the state.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_shared_queue(self.filter.as_deref().unwrap_or_default(), self.last, out);
        if !self.done.0.is_empty() {
            put_tagged_with(out, DONE, |out| {
                for (first, last) in &self.done.0 {
                    out.extend_from_slice(&first.to_le_bytes());
                    out.extend_from_slice(&last.to_le_bytes());
                }
            });
        }
    }

    pub(super) fn read(reader: Reader<'_>) -> Result<Self, Damaged> {
        let mut queue = Self::default();
        let mut done = Places::default();
        let (filter, last) = read_shared_queue(reader, |tag, field| {
            while tag == DONE && field.left() > 0 {
                done.insert_all(field.number("places")?, field.number("places")?);
            }
            Ok(())
        })?;
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

/// Places, each run of them as its first and its last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Places(BTreeMap<u64, u64>);

impl Places {
    fn insert(&mut self, place: u64) {
        self.insert_all(place, place);
    }

    fn insert_all(&mut self, mut first: u64, mut last: u64) {
        if first > last {
            return;
        }
        // Those that this one touches become a part of it.
        while let Some((known, end)) = self.0.range(..=last.saturating_add(1)).next_back()
            && *end >= first.saturating_sub(1)
        {
            let known = *known;
            first = first.min(known);
            last = last.max(self.0.remove(&known).unwrap_or(last));
        }
        self.0.insert(first, last);
    }

    fn contains(&self, place: u64) -> bool {
        self.0.range(..=place).next_back().is_some_and(|(_, last)| *last >= place)
    }

    /// Up to where there is no gap.
    fn up_to(&self) -> u64 {
        self.0.first_key_value().filter(|(first, _)| **first <= 1).map_or(0, |(_, last)| *last)
    }

    fn last(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, last)| *last)
    }

    /// The places up to this one that are none of these.
    fn missing(&self, up_to: u64) -> impl Iterator<Item = u64> {
        let mut next = 1;
        let gaps = self.0.iter().map(move |(first, last)| {
            let begin = core::mem::replace(&mut next, last.saturating_add(1));
            begin..*first
        });
        gaps.flatten().chain(self.last().saturating_add(1)..up_to.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_places_are_joined_and_gaps_are_known() {
        let mut places = Places::default();
        for (place, up_to) in [(3, 0), (1, 1), (6, 1), (5, 1), (2, 3), (4, 6), (4, 6), (9, 6)] {
            places.insert(place);
            assert_eq!(places.up_to(), up_to, "{place}");
        }
        assert_eq!(places.0, BTreeMap::from([(1, 6), (9, 9)]));
        assert_eq!(places.missing(11).collect::<Vec<_>>(), [7, 8, 10, 11]);
        assert_eq!(places.last(), 9);
        places.insert_all(2, 8);
        assert_eq!(places.0, BTreeMap::from([(1, 9)]));
        places.insert_all(20, u64::MAX);
        assert!(places.contains(u64::MAX) && !places.contains(10));
    }
}
