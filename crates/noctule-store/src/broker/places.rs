//! Places of a queue, however many: those that follow one another take no more room than one.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;

use super::damaged::Damaged;
use super::reader::Reader;

/// Places, each run of them as its first and its last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places(BTreeMap<u64, u64>);

impl Places {
    pub(super) fn insert(&mut self, place: u64) {
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

    /// Forgets all up to a place.
    pub(super) fn forget(&mut self, up_to: u64) {
        let behind = up_to.saturating_add(1);
        let rest = self.0.split_off(&behind);
        let cut = mem::replace(&mut self.0, rest).pop_last().map_or(0, |(_, last)| last);
        if cut > up_to {
            self.0.insert(behind, cut);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, place: u64) -> bool {
        self.0.range(..=place).next_back().is_some_and(|(_, last)| *last >= place)
    }

    /// Up to where there is no gap.
    pub(super) fn up_to(&self) -> u64 {
        self.0.first_key_value().filter(|(first, _)| **first <= 1).map_or(0, |(_, last)| *last)
    }

    pub(super) fn last(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, last)| *last)
    }

    /// The runs of them in order, each as its first and its last.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    /// Of these places those that are none of them.
    pub(super) fn gaps(&self, among: Range<u64>) -> impl Iterator<Item = u64> {
        let before = self.0.range(..among.start).next_back();
        let mut next = before.map_or(among.start, |(_, last)| among.start.max(last + 1));
        let end = among.end;
        let inside = self.0.range(among.start..end.max(among.start));
        let gaps = inside.map(move |(first, last)| mem::replace(&mut next, last + 1)..*first);
        let behind = self.0.range(..end).next_back();
        let behind = behind.map_or(among.start, |(_, last)| among.start.max(last + 1));
        gaps.flatten().chain(behind..end)
    }

    /// Appends them as they stand in the state.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        for (first, last) in self.runs() {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&last.to_le_bytes());
        }
    }

    /// Adds those that stand there.
    pub(super) fn read(&mut self, field: &mut Reader<'_>) -> Result<(), Damaged> {
        while field.left() > 0 {
            self.insert_all(field.number("places")?, field.number("places")?);
        }
        Ok(())
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
        assert_eq!(places.runs().collect::<Vec<_>>(), [(1, 6), (9, 9)]);
        assert_eq!(places.last(), 9);
        for (among, expected) in [
            (1..12, &[7, 8, 10, 11][..]),
            (3..10, &[7, 8]),
            (8..12, &[8, 10, 11]),
            (10..12, &[10, 11]),
            (2..5, &[]),
            (7..7, &[]),
        ] {
            assert_eq!(places.gaps(among.clone()).collect::<Vec<_>>(), expected, "{among:?}");
        }
        places.insert_all(2, 8);
        assert_eq!(places.runs().collect::<Vec<_>>(), [(1, 9)]);
        places.insert_all(20, 30);
        for (up_to, expected) in [
            (0, &[(1, 9), (20, 30)][..]),
            (4, &[(5, 9), (20, 30)]),
            (9, &[(20, 30)]),
            (19, &[(20, 30)]),
            (20, &[(21, 30)]),
            (30, &[]),
        ] {
            places.forget(up_to);
            assert_eq!(places.runs().collect::<Vec<_>>(), expected, "{up_to}");
        }
    }
}
