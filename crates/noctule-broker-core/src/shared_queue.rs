//! What is kept of a shared subscription: messages that wait for any of its members, as long as one
//! of these is stored.
//!
//! What a stored member gets at once, on the shard of its group, is recorded as its own. Everything
//! else has a place in a queue of the group until a record of its member takes it over, or until it
//! is done with. What a stored member gives back gets a queue to itself, which the member's shard
//! names: so nobody waits for another shard between two records.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::QoS;

use crate::effect::Effects;
use crate::event::DropCause;
use crate::groups::{GroupKey, Member, Place, Unassigned};
use crate::member::Stage;
use crate::message::Message;
use crate::publication::Publication;
use crate::registry::SessionKey;
use crate::restored::StoredSharedQueue;
use crate::session::{Delivery, Session};
use crate::shard::Shard;
use crate::shard_message::Unfinished;
use crate::stored::{Record, Reference, name_shared_queue};

impl Place {
    pub(crate) fn reference(self, qos: QoS) -> Reference {
        let (session, sequence, identifiers) = (self.queue, self.sequence, Vec::new());
        Reference { session, sequence, qos, retain: false, identifiers, group: None }
    }
}

/// Whether a crash gives a message that a member has got back to the group, unless the store has it
/// as the member's. Once it was sent with QoS 2, it ends with the session of a member that is not
/// stored.
// [MQTT5-4.8.2-5]
pub(crate) const fn is_returned(qos: QoS, is_stored: bool) -> bool {
    match qos {
        QoS::AtMostOnce => false,
        QoS::AtLeastOnce => true,
        QoS::ExactlyOnce => is_stored,
    }
}

impl Shard {
    /// Gives a message that is to wait its place, if the group is kept. It is recorded with
    /// [`record_queued`](Self::record_queued).
    pub(crate) fn note_shared(
        &mut self,
        key: GroupKey,
        qos: QoS,
        effects: &mut Effects,
    ) -> Option<Place> {
        let place = self.next_place(key, effects)?;
        self.note_shared_queued(place, qos);
        Some(place)
    }

    /// The same for a message that a member gets at once: it has no place if the store will have it
    /// as the member's, or if it is gone with the member.
    pub(crate) fn keep_assigned(
        &mut self,
        key: GroupKey,
        member: &Member,
        publication: &Publication<'_>,
        effects: &mut Effects,
    ) -> Option<Place> {
        let qos = publication.qos.min(member.subscription.options.qos);
        if qos == QoS::AtMostOnce {
            return None;
        }
        let is_here = member.shard == self.settings.shard;
        let session = self.registry.session(member.session);
        let is_stored =
            if is_here { session.is_some_and(Session::is_stored) } else { member.is_stored };
        if is_returned(qos, is_stored) && !(is_here && is_stored) {
            return self.note_shared(key, publication.qos, effects);
        }
        // If it is routed again behind a crash, nobody else may get it.
        if publication.name > 0
            && let Some(last) = self.shared_queue(key, effects)
        {
            let none = Place { sequence: 0, ..*last };
            self.note_shared_queued(none, publication.qos);
        }
        None
    }

    /// Records at once that a message waits, if the group is kept.
    pub(crate) fn record_waiting(
        &mut self,
        key: GroupKey,
        message: &Arc<Message>,
        effects: &mut Effects,
    ) -> Option<Place> {
        let place = self.next_place(key, effects)?;
        let (references, message) = (place.reference(message.qos).into(), Arc::clone(message));
        self.record(Record::Queued { publication: 0, message, references }, effects);
        Some(place)
    }

    fn next_place(&mut self, key: GroupKey, effects: &mut Effects) -> Option<Place> {
        let last = self.shared_queue(key, effects)?;
        last.sequence += 1;
        Some(*last)
    }

    /// The last place in the queue of a group that is kept; it begins when it is first needed.
    fn shared_queue(&mut self, key: GroupKey, effects: &mut Effects) -> Option<&mut Place> {
        let group = self.groups.group(key).filter(|group| group.is_kept)?;
        if group.last.is_none() {
            let filter = Arc::clone(&group.filter);
            let queue = name_shared_queue(self.next_name());
            self.record(Record::SharedQueue { queue, filter, last: None }, effects);
            self.groups.group_mut(key)?.last = Some(Place { queue, sequence: 0 });
        }
        self.groups.group_mut(key)?.last.as_mut()
    }

    /// A group has no members any more.
    pub(crate) fn end_shared_queue(&mut self, key: GroupKey, effects: &mut Effects) {
        let Some(group) = self.groups.group_mut(key) else { return };
        if let Some(Place { queue, sequence }) = group.last.take() {
            let filter = Arc::clone(&group.filter);
            let last = Some(sequence);
            self.record_leisurely(Record::SharedQueue { queue, filter, last }, effects);
        }
    }

    /// A message is done with, wherever it had its place.
    pub(crate) fn record_done_with(&mut self, place: Option<Place>, effects: &mut Effects) {
        if let Some(place) = place {
            self.record_taken(place, effects);
        }
    }

    /// A message is done with, and needs its place no more.
    pub(crate) fn record_taken(&mut self, place: Place, effects: &mut Effects) {
        let Place { queue: session, sequence } = place;
        self.record_leisurely(Record::Skipped { session, sequence }, effects);
    }

    /// Puts what waits since before the last crash back to its group, or ends it if there are no
    /// members any more. What comes from now on has another queue.
    pub(crate) fn go_on_with_shared(&mut self, stored: StoredSharedQueue, effects: &mut Effects) {
        let StoredSharedQueue { queue, filter, messages, lost, last } = stored;
        let sealed = Record::SharedQueue { queue, filter: Arc::clone(&filter), last: Some(last) };
        self.record_leisurely(sealed, effects);
        for sequence in lost {
            self.record_taken(Place { queue, sequence }, effects);
        }
        let group = self.groups.find(&filter);
        for (sequence, message) in messages {
            let place = Some(Place { queue, sequence });
            match group {
                Some(key) => {
                    let number = self.groups.next_number();
                    self.keep_in_backlog(key, Unassigned { number, place, message }, effects);
                }
                None => {
                    self.count_drop(DropCause::NoMember);
                    self.record_taken(Place { queue, sequence }, effects);
                }
            }
        }
    }

    /// What a session gives back, as messages that wait in a shared subscription again. What the
    /// store has as the session's, it has as the subscription's behind this.
    pub(crate) fn unassign(
        &mut self,
        key: SessionKey,
        filter: Arc<str>,
        left: Vec<(Delivery, Stage)>,
        effects: &mut Effects,
    ) -> Unfinished {
        let is_stored = self.registry.session(key).is_some_and(Session::is_stored);
        let is_kept = is_stored && !left.is_empty();
        let queue = is_kept.then(|| self.begin_full_queue(filter, left.len(), effects));
        let mut unfinished = Unfinished::new();
        for (sequence, (delivery, stage)) in (1..).zip(left) {
            let Some(tag) = delivery.group() else { continue };
            let message = Arc::clone(&delivery.message);
            let place = queue.map(|queue| Place { queue, sequence });
            let reference = place.map(|place| place.reference(message.qos));
            match (stage, reference) {
                (Stage::Waiting, to) => self.record_gone(key, &delivery, to, effects),
                (Stage::Sent, Some(reference)) => {
                    let (references, message) = (reference.into(), Arc::clone(&message));
                    self.record(Record::Queued { publication: 0, message, references }, effects);
                }
                (Stage::Sent, None) => {}
            }
            let place = place.or(tag.place);
            unfinished.push(Unassigned { number: tag.number, place, message });
        }
        unfinished
    }

    /// Begins a queue of a shared subscription that takes so many messages and no more.
    fn begin_full_queue(
        &mut self,
        filter: Arc<str>,
        messages: usize,
        effects: &mut Effects,
    ) -> u64 {
        let (queue, last) = (name_shared_queue(self.next_name()), Some(messages as u64));
        self.record(Record::SharedQueue { queue, filter, last }, effects);
        queue
    }

    /// A session is not stored from now on. A crash has to give what it has of shared subscriptions
    /// back to them, as from any other member that is not stored.
    pub(crate) fn entrust_to_groups(&mut self, key: SessionKey, effects: &mut Effects) {
        let mut filters = BTreeMap::<Arc<str>, usize>::new();
        for delivery in self.returned(key) {
            if let Some(tag) = delivery.group() {
                *filters.entry(Arc::clone(&tag.filter)).or_default() += 1;
            }
        }
        let mut queues = BTreeMap::new();
        for (filter, messages) in filters {
            let queue = self.begin_full_queue(Arc::clone(&filter), messages, effects);
            queues.insert(filter, Place { queue, sequence: 0 });
        }
        let mut records = Vec::new();
        for delivery in self.returned(key) {
            let Some(last) = delivery.group().and_then(|tag| queues.get_mut(&tag.filter)) else {
                continue;
            };
            last.sequence += 1;
            delivery.put_place(*last);
            let message = Arc::clone(&delivery.message);
            let references = last.reference(message.qos).into();
            records.push(Record::Queued { publication: 0, message, references });
        }
        for record in records {
            self.record(record, effects);
        }
    }

    /// What the client of a stored session was sent of shared subscriptions, and these get back if
    /// it is not stored. Nothing of theirs waits for who has no connection; and as long as anything
    /// else waits in the store only, the session stays there.
    fn returned(&mut self, key: SessionKey) -> impl Iterator<Item = &mut Delivery> {
        let leaves = |session: &&mut Session| session.is_stored() && session.backlog().is_none();
        let session = self.registry.session_mut(key).filter(leaves);
        let sent = session.into_iter().flat_map(|session| session.sender.published_mut());
        let returned = sent.filter(|(_, qos, _, delivery)| {
            is_returned(*qos, false) && delivery.group().is_some_and(|tag| tag.place.is_none())
        });
        returned.map(|(.., delivery)| delivery)
    }
}
