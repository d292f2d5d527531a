//! All mailboxes, and which of them a message goes to: those that have a filter for its topic.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use noctule_packet::{TopicFilter, TopicName};

use crate::hub::Hub;
use crate::hub::filters::Filters;
use crate::hub::mailbox::{Mailbox, MailboxSettings};

/// Names a mailbox of a hub. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxId(u64);

impl MailboxId {
    #[cfg(test)]
    pub(crate) const fn from_value(value: u64) -> Self {
        Self(value)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Mailboxes {
    list: BTreeMap<MailboxId, Entry>,
    next: u64,
    filters: Filters,
    /// Where a message goes that no filter matches.
    unclaimed: Option<MailboxId>,
    /// How many mailboxes are narrowed.
    narrowed: usize,
    /// The topic of the last message, and where it went.
    last: Option<(Arc<str>, Vec<MailboxId>)>,
    /// How many messages all of them together were too full for, those that are gone too.
    dropped: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Entry {
    mailbox: Mailbox,
    /// What it is to have, without share names.
    filters: Vec<Box<str>>,
    /// And of that, only what one filter of each set matches.
    within: Vec<Vec<Box<str>>>,
}

impl Entry {
    fn admits(&self, topic: TopicName<'_>) -> bool {
        let matches =
            |filter: &str| TopicFilter::new(filter).is_ok_and(|filter| filter.matches(topic));
        self.within.iter().all(|filters| filters.iter().any(|filter| matches(filter)))
    }
}

impl Hub {
    /// How many messages mailboxes were too full for, all of them together, wrapping around.
    pub fn dropped_of_all(&self) -> usize {
        self.mailboxes.dropped.load(Ordering::Relaxed)
    }

    /// Another mailbox that has, of what goes into this one, what a filter matches; both have it
    /// then. It is taken as the first one is. None if there is no such mailbox.
    pub fn narrow(&mut self, mailbox: MailboxId, filter: &TopicFilter<'_>) -> Option<MailboxId> {
        let settings = self.mailboxes.find(mailbox)?.settings;
        let narrowed = self.open_mailbox(settings);
        self.mailboxes.narrow(narrowed, mailbox, filter);
        Some(narrowed)
    }
}

impl Mailboxes {
    pub(crate) fn open(&mut self, settings: MailboxSettings) -> MailboxId {
        let id = MailboxId(self.next);
        self.next += 1;
        let mailbox = Mailbox::new(settings, Arc::clone(&self.dropped));
        self.list.insert(id, Entry { mailbox, filters: Vec::new(), within: Vec::new() });
        id
    }

    /// Makes a mailbox the one for what no filter matches.
    pub(crate) fn claim_rest(&mut self, id: MailboxId) {
        self.last = None;
        self.unclaimed = Some(id);
    }

    /// Lets a mailbox have the messages that a filter matches, too.
    pub(crate) fn add_filter(&mut self, id: MailboxId, filter: &TopicFilter<'_>) {
        self.last = None;
        let pattern = filter.filter();
        if let Some(entry) = self.list.get_mut(&id)
            && self.filters.insert(pattern, id)
        {
            entry.filters.push(pattern.into());
        }
    }

    /// A mailbox is to have no more messages because of this filter.
    pub(crate) fn remove_filter(&mut self, id: MailboxId, filter: &TopicFilter<'_>) {
        self.last = None;
        let pattern = filter.filter();
        self.filters.remove(pattern, id);
        if let Some(entry) = self.list.get_mut(&id) {
            entry.filters.retain(|known| **known != *pattern);
        }
    }

    fn narrow(&mut self, id: MailboxId, of: MailboxId, filter: &TopicFilter<'_>) {
        let Some(wide) = self.list.get(&of) else { return };
        let mut within = wide.within.clone();
        within.push(wide.filters.clone());
        if let Some(entry) = self.list.get_mut(&id) {
            entry.within = within;
            self.narrowed += 1;
        }
        self.add_filter(id, filter);
    }

    /// Takes a mailbox away.
    pub(crate) fn remove(&mut self, id: MailboxId) -> Option<Mailbox> {
        self.last = None;
        self.unclaimed = self.unclaimed.filter(|by| *by != id);
        let entry = self.list.remove(&id)?;
        for filter in &entry.filters {
            self.filters.remove(filter, id);
        }
        self.narrowed -= usize::from(!entry.within.is_empty());
        Some(entry.mailbox)
    }

    pub(crate) fn find(&self, id: MailboxId) -> Option<&Mailbox> {
        self.list.get(&id).map(|entry| &entry.mailbox)
    }

    pub(crate) fn find_mut(&mut self, id: MailboxId) -> Option<&mut Mailbox> {
        self.list.get_mut(&id).map(|entry| &mut entry.mailbox)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Mailbox> {
        self.list.values_mut().map(|entry| &mut entry.mailbox)
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
        let Ok(name) = TopicName::new(topic) else { return Vec::new() };
        let mut ids = self.filters.matching(name);
        if self.narrowed > 0 {
            ids.retain(|id| self.list.get(id).is_some_and(|entry| entry.admits(name)));
        }
        if ids.is_empty() {
            ids.extend(self.unclaimed);
        }
        ids
    }
}
