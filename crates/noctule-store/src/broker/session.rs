//! What is known of one session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use noctule_broker_core::{
    Away, Message, Reference, Step, StoredSession, StoredSubscription, StoredTerms, Timestamp,
};
use noctule_packet::PacketId;

use super::gaps::{self, Numbered, Queued};
use super::progress::Progress;

/// When what of a session is due that has no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) expires_at: Option<Timestamp>,
    pub(super) will_at: Option<Timestamp>,
    /// The last place whose message may have been sent.
    pub(super) sent: u64,
}

/// A session, while it lasts.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) terms: StoredTerms,
    /// `None` while it has a connection.
    pub(super) left: Option<Left>,
    pub(super) subscriptions: BTreeMap<Box<str>, StoredSubscription>,
    /// QoS 2 packet identifiers that its client has not released.
    pub(super) received: BTreeSet<PacketId>,
    pub(super) progress: Progress,
    /// Whether it did not last for a moment: what it had before is gone.
    pub(super) has_forgotten: bool,
    messages: BTreeMap<u64, Queued>,
    /// What of its queue stands in runs alone.
    pub(super) away: Option<Away>,
    /// What of that goes back to shared subscriptions, in order.
    unsent: Vec<Queued>,
}

impl Session {
    pub(super) fn new(terms: StoredTerms) -> Self {
        Self {
            terms,
            left: None,
            subscriptions: BTreeMap::new(),
            received: BTreeSet::new(),
            progress: Progress::default(),
            has_forgotten: false,
            messages: BTreeMap::new(),
            away: None,
            unsent: Vec::new(),
        }
    }

    /// Whether anything but the will is kept.
    pub(super) const fn lasts(&self) -> bool {
        self.terms.expiry_interval > 0
    }

    /// It has a connection again.
    pub(super) fn go_on(&mut self, terms: StoredTerms) {
        (self.terms, self.left) = (terms, None);
        self.forget_unless_it_lasts();
    }

    /// It has none any more, or its will is gone since.
    pub(super) fn leave(&mut self, expiry_interval: u32, left: Left) {
        self.terms.expiry_interval = expiry_interval;
        if left.will_at.is_none() {
            self.terms.will = None;
        }
        self.left = Some(left);
        self.forget_unless_it_lasts();
    }

    fn forget_unless_it_lasts(&mut self) {
        if !self.lasts() {
            self.subscriptions.clear();
            self.received.clear();
            self.progress = Progress::default();
            self.has_forgotten = true;
            self.messages.clear();
        }
    }

    pub(super) fn queue(&mut self, message: &Arc<Message>, reference: Reference) {
        if self.progress.wants(reference.sequence) {
            self.messages.insert(reference.sequence, (Arc::clone(message), reference));
        }
    }

    /// Something that stands in runs alone goes back to a shared subscription.
    pub(super) fn note_unsent(&mut self, message: &Arc<Message>, reference: Reference) {
        if self.progress.wants(reference.sequence) {
            self.unsent.push((Arc::clone(message), reference));
        }
    }

    pub(super) fn skip(&mut self, sequence: u64) {
        self.progress.skip(sequence);
        self.messages.remove(&sequence);
    }

    pub(super) fn acknowledge(&mut self, up_to: u64, next: PacketId) {
        self.progress.acknowledge(up_to, next);
        // Nearly always there is little to take away.
        while let Some(first) = self.messages.first_entry()
            && *first.key() <= self.progress.up_to()
        {
            first.remove();
        }
    }

    /// How many messages from a place on have to be in memory at least when its shard gets it back,
    /// if so many before it are.
    pub(super) fn wanted(&self, window: u16, next: u64, before: usize) -> usize {
        let (in_flight, sent) = match self.sent() {
            None => (window.into(), 0),
            Some(sent) => (0, sent.saturating_add(1).saturating_sub(next)),
        };
        let begun = self.progress.begun().max(in_flight).saturating_sub(before);
        begun.max(usize::try_from(sent).unwrap_or(usize::MAX))
    }

    /// Whether something of a shared subscription may wait for it that was not sent: that goes back
    /// as soon as there is no connection or no subscription any more.
    pub(super) fn may_have_unsent_shared(&self) -> bool {
        self.left.is_none() && self.subscriptions.keys().any(|filter| filter.starts_with("$share/"))
    }

    /// The last place whose message may have been sent, if that is known.
    fn sent(&self) -> Option<u64> {
        self.left.map_or(self.terms.may_send, |left| Some(left.sent))
    }

    /// As its shard gets it back.
    pub(super) fn into_stored(self) -> StoredSession {
        // What says how far it was sent may be missing, too.
        let sent = self.sent().map(|sent| sent.max(self.progress.sent_for_sure()));
        let last = self.messages.last_key_value().map_or(0, |(sequence, _)| *sequence);
        let last = last.max(self.progress.sent_for_sure());
        let last = self.away.map_or(last, |away| last.max(away.up_to));
        let last = self.left.map_or(last, |left| last.max(left.sent));
        let (mut messages, mut behind) = (self.messages, BTreeMap::new());
        if let Some(away) = &self.away {
            behind = messages.split_off(&away.from).split_off(&away.up_to.saturating_add(1));
        }
        let front = Numbered::new(&self.progress, messages, sent.map(|sent| sent.min(last)));
        let lost = front.lost(&self.progress, self.away.as_ref(), behind.keys().copied());
        let waiting = |queued| gaps::stored(queued, Step::Published);
        StoredSession {
            terms: self.terms,
            was_connected: self.left.is_none(),
            expires_at: self.left.and_then(|left| left.expires_at),
            will_at: self.left.and_then(|left| left.will_at),
            sent: sent.unwrap_or(u64::MAX),
            subscriptions: self.subscriptions.into_values().collect(),
            messages: front.messages,
            away: self.away,
            behind: behind.into_values().map(waiting).collect(),
            unsent: self.unsent.into_iter().map(waiting).collect(),
            lost,
            next: front.next,
            sequence: last.max(self.progress.last()),
            received: self.received.into_iter().collect(),
        }
    }
}
