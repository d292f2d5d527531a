//! The subscriptions of topics that were published to lately.
//!
//! A change of subscriptions does not empty the cache: the changed filters are remembered, and an
//! entry is looked at again only if one of them matches its topic.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use noctule_packet::TopicName;

use super::Matches;

/// How many changes are remembered; an entry older than all of them counts as outdated.
const CHANGES_MAX: usize = 32;
/// How much memory one half of the cache takes, about.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// What an entry costs beyond its topic and matches.
const ENTRY_BYTES: usize = 96;

/// A bounded cache in two halves: what is used moves to the young half, and when that is full the
/// old one is given up.
#[derive(Debug)]
pub(crate) struct MatchCache {
    young: HashMap<Box<str>, Entry, FixedState>,
    young_bytes: usize,
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
            young_bytes: 0,
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

    /// Counts changes of subscriptions.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
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
        let topic_bytes = topic.len();
        let bytes = entry.bytes(topic_bytes);
        if self.young_bytes + bytes > BYTES_MAX {
            core::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        if let Some(before) = self.young.insert(topic, entry) {
            self.young_bytes -= before.bytes(topic_bytes);
        }
    }
}

impl Entry {
    fn bytes(&self, topic_bytes: usize) -> usize {
        ENTRY_BYTES + topic_bytes + size_of_val(&*self.matches)
    }
}

/// Whether no change since `since` concerns the topic.
fn is_current(changes: &VecDeque<Box<str>>, epoch: u64, since: u64, topic: TopicName<'_>) -> bool {
    let Ok(missed) = usize::try_from(epoch - since) else { return false };
    missed <= changes.len()
        && changes.iter().rev().take(missed).all(|filter| !matches(filter, topic))
}

/// Whether a filter matches. It has lost its share name, so that one that begins with `$share/` is
/// no shared one.
fn matches(filter: &str, topic: TopicName<'_>) -> bool {
    if topic.is_system() && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = topic.levels();
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

#[cfg(test)]
impl MatchCache {
    /// What all topics and matches take.
    pub(crate) fn bytes(&self) -> usize {
        let entries = self.young.iter().chain(&self.old);
        entries.map(|(topic, entry)| entry.bytes(topic.len())).sum()
    }
}
