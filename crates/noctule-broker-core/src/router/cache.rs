//! The subscriptions of topics that were published to lately.
//!
//! A change of subscriptions does not empty the cache: the changed filters are remembered, and an
//! entry is looked at again only if one of them matches its topic.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use noctule_packet::{TopicFilter, TopicName};

use super::Matches;

/// How many changes are remembered; an entry older than all of them counts as outdated.
const CHANGES_MAX: usize = 32;
/// How many topics, and how many matches, one half of the cache holds.
const TOPICS_MAX: usize = 8_192;
const MATCHES_MAX: usize = 262_144;

/// A bounded cache in two halves: what is used moves to the young half, and when that is full the
/// old one is given up.
#[derive(Debug)]
pub(crate) struct MatchCache {
    young: HashMap<Box<str>, Entry, FixedState>,
    young_matches: usize,
    old: HashMap<Box<str>, Entry, FixedState>,
    changes: VecDeque<Box<str>>,
    /// Counts changes; `changes` ends with the one that led to this number.
    epoch: u64,
}

#[derive(Debug)]
struct Entry {
    epoch: u64,
    matches: Matches,
}

impl MatchCache {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            young: HashMap::with_hasher(FixedState::with_seed(seed)),
            young_matches: 0,
            old: HashMap::with_hasher(FixedState::with_seed(seed)),
            changes: VecDeque::new(),
            epoch: 0,
        }
    }

    /// Subscriptions to `filter` have changed.
    pub(crate) fn forget(&mut self, filter: &str) {
        self.epoch += 1;
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(filter.into());
    }

    pub(crate) fn find(&mut self, topic: TopicName<'_>) -> Option<Matches> {
        let epoch = self.epoch;
        if let Some(entry) = self.young.get_mut(topic.as_str()) {
            if !is_current(&self.changes, epoch, entry.epoch, topic) {
                return None;
            }
            entry.epoch = epoch;
            return Some(Arc::clone(&entry.matches));
        }
        let (topic_text, entry) = self.old.remove_entry(topic.as_str())?;
        if !is_current(&self.changes, epoch, entry.epoch, topic) {
            return None;
        }
        let matches = Arc::clone(&entry.matches);
        self.insert(topic_text, Entry { epoch, ..entry });
        Some(matches)
    }

    pub(crate) fn keep(&mut self, topic: TopicName<'_>, matches: Matches) {
        self.insert(topic.as_str().into(), Entry { epoch: self.epoch, matches });
    }

    fn insert(&mut self, topic: Box<str>, entry: Entry) {
        if self.young.len() >= TOPICS_MAX || self.young_matches >= MATCHES_MAX {
            core::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_matches = 0;
        }
        self.young_matches += entry.matches.len();
        if let Some(before) = self.young.insert(topic, entry) {
            self.young_matches -= before.matches.len();
        }
    }
}

/// Whether no change since `since` concerns the topic.
fn is_current(changes: &VecDeque<Box<str>>, epoch: u64, since: u64, topic: TopicName<'_>) -> bool {
    let Ok(missed) = usize::try_from(epoch - since) else { return false };
    missed <= changes.len()
        && changes
            .iter()
            .rev()
            .take(missed)
            .all(|filter| TopicFilter::new(filter).is_ok_and(|filter| !filter.matches(topic)))
}
