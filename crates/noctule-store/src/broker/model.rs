//! What stands when all records were read in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use noctule_broker_core::{
    AS_RETAINED, Message, Record, Reference, Source, StoredTerms, is_shared_queue,
};
use noctule_packet::PacketId;

use super::session::{Left, Session};
use super::shared::SharedQueue;

/// What stands when all records were read. Records of one session are read in the order in which
/// they were made, but those of different sessions may be mixed in any way; and some may be read
/// twice, if all between them are.
///
/// Messages and publications that stand nowhere in the log any more are given to it before the
/// log's are: a message as a [`Record::Queued`], a publication with [`Model::unrouted`].
#[derive(Debug, Default)]
pub struct Model {
    pub(super) sessions: HashMap<u64, Session>,
    clients: HashMap<Arc<str>, u64>,
    /// The queues of shared subscriptions.
    pub(super) shared: HashMap<u64, SharedQueue>,
    pub(super) retained: HashMap<Arc<str>, Arc<Message>>,
    /// QoS 2 publications and wills that were perhaps not routed to all, with their publishers, and
    /// how they came.
    pub(super) unrouted: BTreeMap<u64, (u64, Source, Arc<Message>)>,
    /// The sessions, and shared subscriptions' queues, that have got such a publication; and
    /// [`AS_RETAINED`].
    pub(super) queued: HashMap<u64, BTreeSet<u64>>,
    pub(super) last_name: u64,
}

impl Model {
    /// Goes on with a record.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::SessionStarted(terms) => self.start(*terms),
            Record::SessionLeft { session, expiry_interval, expires_at, will_at, sent } => {
                if let Some(known) = self.sessions.get_mut(&session) {
                    known.leave(expiry_interval, Left { expires_at, will_at, sent });
                }
            }
            Record::SessionEnded { session } => self.end(session),
            Record::Subscribed { session, subscription } => {
                if let Some(known) = self.lasting(session) {
                    known.subscriptions.insert(subscription.filter.clone(), subscription);
                }
            }
            Record::Unsubscribed { session, filter } => {
                if let Some(known) = self.lasting(session) {
                    known.subscriptions.remove(&filter);
                }
            }
            Record::Received { session, packet_id, publication, message } => {
                self.receive(session, packet_id);
                self.unrouted(publication, session, Source::Packet(packet_id), message);
            }
            Record::WillDue { session, publication, owner, message } => {
                self.end_will(session);
                self.unrouted(publication, session, Source::Will(owner), message);
            }
            Record::Routed { publication } => {
                self.unrouted.remove(&publication);
                self.queued.remove(&publication);
            }
            Record::Released { session, packet_id } => {
                if let Some(known) = self.lasting(session) {
                    known.received.remove(&packet_id);
                }
            }
            Record::Queued { publication, message, references } => {
                for reference in references {
                    self.note_got(publication, reference.session);
                    self.queue(&message, reference);
                }
            }
            Record::QueuedRun(run) => {
                for (message, reference) in run.messages() {
                    self.queue(&message, reference);
                }
            }
            record => self.go_on_delivering(record),
        }
    }

    /// Goes on with a record of how far a queue is, or of a retained message.
    fn go_on_delivering(&mut self, record: Record) {
        match record {
            Record::Moved { from, sequence, message, reference } => {
                self.queue(&message, reference);
                self.skip(from, sequence);
            }
            Record::SharedQueue { queue, filter, last } => {
                self.note_name(queue);
                self.change_shared(queue, |known| known.begin(filter, last));
            }
            Record::Skipped { session, sequence } => self.skip(session, sequence),
            Record::Acknowledged { session, up_to, next } => {
                if let Some(known) = self.lasting(session) {
                    known.acknowledge(up_to, next);
                }
            }
            Record::MaySend { session, up_to } => {
                if let Some(known) = self.lasting(session) {
                    known.terms.may_send = Some(up_to);
                }
            }
            Record::Pubrec { session, packet_id } => {
                if let Some(known) = self.lasting(session) {
                    known.progress.release(packet_id);
                }
            }
            Record::Pubcomp { session, packet_id } => {
                if let Some(known) = self.lasting(session) {
                    known.progress.complete(packet_id);
                }
            }
            Record::Retained { publication, message } => {
                self.note_got(publication, AS_RETAINED);
                self.retained.insert(Arc::clone(&message.topic), message);
            }
            Record::RetainedRemoved { publication, topic } => {
                self.note_got(publication, AS_RETAINED);
                self.retained.remove(&topic);
            }
            _ => {}
        }
    }

    fn queue(&mut self, message: &Arc<Message>, reference: Reference) {
        let queue = reference.session;
        if !is_shared_queue(queue) {
            if let Some(known) = self.lasting(queue) {
                known.queue(message, reference);
            }
        } else if reference.sequence > 0 {
            self.change_shared(queue, |known| known.queue(reference.sequence, message));
        }
    }

    /// A message waits no more where it was.
    fn skip(&mut self, queue: u64, sequence: u64) {
        if is_shared_queue(queue) {
            self.change_shared(queue, |known| known.finish(sequence));
        } else if let Some(known) = self.lasting(queue) {
            known.skip(sequence);
        }
    }

    fn change_shared(&mut self, queue: u64, change: impl FnOnce(&mut SharedQueue)) {
        let known = self.shared.entry(queue).or_default();
        change(known);
        if known.is_over() {
            self.shared.remove(&queue);
        }
    }

    /// Goes on with a QoS 2 publication, or with what was somebody's will, that was received and
    /// not routed yet. What a session has published counts, even if it is over.
    pub fn unrouted(
        &mut self,
        publication: u64,
        session: u64,
        source: Source,
        message: Arc<Message>,
    ) {
        self.note_name(publication);
        self.unrouted.insert(publication, (session, source, message));
    }

    /// A session has no will any more.
    pub(super) fn end_will(&mut self, session: u64) {
        if let Some(known) = self.sessions.get_mut(&session) {
            known.terms.will = None;
            if let Some(left) = &mut known.left {
                left.will_at = None;
            }
        }
    }

    pub(super) fn note_name(&mut self, name: u64) {
        self.last_name = self.last_name.max(name);
    }

    /// Somebody has got a publication, if that has a name.
    fn note_got(&mut self, publication: u64, who: u64) {
        if publication != 0 {
            self.note_name(publication);
            self.queued.entry(publication).or_default().insert(who);
        }
    }

    /// A QoS 2 packet identifier is in use until it is released.
    pub(super) fn receive(&mut self, session: u64, packet_id: PacketId) {
        if let Some(known) = self.lasting(session) {
            known.received.insert(packet_id);
        }
    }

    /// A session of which more than the will is kept.
    fn lasting(&mut self, session: u64) -> Option<&mut Session> {
        self.sessions.get_mut(&session).filter(|known| known.lasts())
    }

    /// A session has got a connection. Names only ever get larger, so that the session with a
    /// smaller one is the older one.
    pub(super) fn start(&mut self, terms: StoredTerms) {
        self.note_name(terms.session);
        let session = terms.session;
        if let Some(known) = self.clients.get(&terms.client_id).copied() {
            if known > session {
                return;
            }
            if known < session {
                self.end(known);
            }
        }
        if self.sessions.get(&session).is_some_and(|known| known.terms.client_id != terms.client_id)
        {
            self.end(session);
        }
        self.clients.insert(Arc::clone(&terms.client_id), session);
        match self.sessions.get_mut(&session) {
            Some(known) => known.go_on(terms),
            None => {
                self.sessions.insert(session, Session::new(terms));
            }
        }
    }

    fn end(&mut self, session: u64) {
        if let Some(ended) = self.sessions.remove(&session) {
            self.clients.remove(&ended.terms.client_id);
        }
    }
}
