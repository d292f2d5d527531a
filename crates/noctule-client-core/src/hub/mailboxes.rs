//! All mailboxes, and which of them a message goes to: those that have a filter for its topic.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use noctule_packet::{TopicFilter, TopicName};

use crate::hub::Hub;
use crate::hub::mailbox::{Mailbox, MailboxSettings};

/// Names a mailbox of a hub. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(u64);

#[derive(Debug, Default)]
pub(crate) struct Mailboxes {
    list: BTreeMap<MailboxId, Mailbox>,
    next: u64,
    /// By filters without wildcards, which match one topic each.
    exact: BTreeMap<Box<str>, Vec<MailboxId>>,
    /// The other filters.
    patterns: Vec<(Box<str>, MailboxId)>,
    /// Where a message goes that no filter matches.
    unclaimed: Option<MailboxId>,
    /// The topic of the last message, and where it went.
    last: Option<(Arc<str>, Vec<MailboxId>)>,
    /// How many messages all of them together were too full for, those that are gone too.
    dropped: Arc<AtomicUsize>,
}

impl Hub {
    /// How many messages mailboxes were too full for, all of them together, wrapping around.
    pub fn dropped_of_all(&self) -> usize {
        self.mailboxes.dropped.load(Ordering::Relaxed)
    }
}

impl Mailboxes {
    pub(crate) fn open(&mut self, settings: MailboxSettings) -> MailboxId {
        let id = MailboxId(self.next);
        self.next += 1;
        self.list.insert(id, Mailbox::new(settings, Arc::clone(&self.dropped)));
        id
    }

    /// Makes a mailbox the one for what no filter matches.
    pub(crate) fn claim_rest(&mut self, id: MailboxId) {
        self.unclaimed = Some(id);
    }

    /// Lets a mailbox have the messages that a filter matches, too.
    pub(crate) fn add_filter(&mut self, id: MailboxId, filter: &TopicFilter<'_>) {
        self.last = None;
        let pattern = pattern_of(filter);
        if filter.has_wildcard() {
            self.patterns.push((pattern.into(), id));
        } else {
            self.exact.entry(pattern.into()).or_default().push(id);
        }
    }

    /// A mailbox is to have no more messages because of this filter.
    pub(crate) fn remove_filter(&mut self, id: MailboxId, filter: &TopicFilter<'_>) {
        let pattern = pattern_of(filter);
        self.retain(|known, by| by != id || known != pattern);
    }

    /// Takes a mailbox away.
    pub(crate) fn remove(&mut self, id: MailboxId) -> Option<Mailbox> {
        self.retain(|_, by| by != id);
        self.unclaimed = self.unclaimed.filter(|by| *by != id);
        self.list.remove(&id)
    }

    fn retain(&mut self, keep: impl Fn(&str, MailboxId) -> bool) {
        self.last = None;
        self.patterns.retain(|(pattern, id)| keep(pattern, *id));
        self.exact.retain(|topic, ids| {
            ids.retain(|id| keep(topic, *id));
            !ids.is_empty()
        });
    }

    pub(crate) fn find(&self, id: MailboxId) -> Option<&Mailbox> {
        self.list.get(&id)
    }

    pub(crate) fn find_mut(&mut self, id: MailboxId) -> Option<&mut Mailbox> {
        self.list.get_mut(&id)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mailbox> {
        self.list.values_mut()
    }

    /// The mailboxes that a topic's messages go to, each once. The list has to be given back.
    pub(crate) fn take_matching(&mut self, topic: &Arc<str>) -> Vec<MailboxId> {
        match self.last.take() {
            Some((known, ids)) if Arc::ptr_eq(&known, topic) || known == *topic => ids,
            _ => self.matching(topic),
        }
    }

    /// Gives the list back, to be used for the next message of the same topic.
    pub(crate) fn keep_matching(&mut self, topic: &Arc<str>, ids: Vec<MailboxId>) {
        self.last = Some((Arc::clone(topic), ids));
    }

    fn matching(&self, topic: &str) -> Vec<MailboxId> {
        let mut ids = self.exact.get(topic).cloned().unwrap_or_default();
        if let Ok(name) = TopicName::new(topic) {
            let matching = self.patterns.iter().filter(|(pattern, _)| {
                TopicFilter::new(pattern).is_ok_and(|pattern| pattern.matches(name))
            });
            ids.extend(matching.map(|(_, id)| *id));
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            ids.extend(self.unclaimed);
        }
        ids
    }
}

/// What a filter matches, without its share name.
fn pattern_of<'a>(filter: &TopicFilter<'a>) -> &'a str {
    filter.filter()
}
