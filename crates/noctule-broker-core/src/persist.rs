//! What a shard has to keep, and who waits until it is kept.
//!
//! Records are handed out in order and become durable in order, so that one number says how far the
//! store is. Whoever must not go on before something is durable waits for the number of the last
//! record that was handed out.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{PacketId, QoS};

use crate::effect::{Effect, Effects, Token};
use crate::forwarded::Forwarded;
use crate::groups::Place;
use crate::input::ConnectionId;
use crate::passing::Awaited;
use crate::publication::Publication;
use crate::queued_run::QueuedRun;
use crate::registry::SessionKey;
use crate::session::{Delivery, Kept};
use crate::settings::Durability;
use crate::shard::Shard;
use crate::stored::{Record, Reference, is_shared_queue};
use crate::straight::Run;

/// The records of a shard.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// How many were handed out.
    handed_out: u64,
    /// How many, up to the last one that somebody may wait for: one that comes behind it may be
    /// left for later.
    urgent: u64,
    /// How many of them are durable.
    durable: u64,
    /// Who waits for how many, in order.
    waiting: VecDeque<(u64, Awaiting)>,
    /// Up to which place sessions may be sent messages when so many are durable, in order.
    horizons: VecDeque<(u64, SessionKey, u64)>,
    /// For whom the publication that is being delivered waits now.
    references: Vec<(SessionKey, Reference)>,
    /// The sessions whose clients have acknowledged something since that was last recorded.
    acknowledged: Vec<SessionKey>,
    /// Counts what needs a name for ever: stored sessions, and QoS 2 publications.
    names: u64,
    /// The stored sessions by their names.
    sessions: BTreeMap<u64, SessionKey>,
}

impl Records {
    /// The session that the store knows by this name.
    pub(crate) fn session(&self, name: u64) -> Option<SessionKey> {
        self.sessions.get(&name).copied()
    }

    pub(crate) fn note_session(&mut self, name: u64, key: SessionKey) {
        self.sessions.insert(name, key);
    }

    pub(crate) fn forget_session(&mut self, name: u64) {
        self.sessions.remove(&name);
    }

    /// A session may be sent messages up to this place as soon as the last record is durable,
    /// whether or not anybody else waits for that.
    pub(crate) fn await_horizon(&mut self, session: SessionKey, up_to: u64) {
        self.horizons.push_back((self.handed_out, session, up_to));
    }

    /// The next of them, if its record is durable.
    fn next_horizon(&mut self) -> Option<(SessionKey, (u64, u64))> {
        let durable = self.durable;
        let (at, session, up_to) = *self.horizons.front().filter(|(at, ..)| *at <= durable)?;
        self.horizons.pop_front();
        Some((session, (up_to, at)))
    }

    /// One is handed out that somebody may wait for.
    fn note_urgent(&mut self) {
        self.handed_out += 1;
        self.urgent = self.handed_out;
    }

    /// How many were handed out.
    pub(crate) const fn handed_out(&self) -> u64 {
        self.handed_out
    }
}

/// What goes on as soon as a record is durable.
#[derive(Debug)]
pub(crate) enum Awaiting {
    /// A part of the packet that a connection is stopped at.
    Packet(Token),
    /// A part of a publication's acknowledgement, or that of a release.
    Acknowledgement { session: SessionKey, answer: u64 },
    /// The answer to another shard.
    Forward(Box<Forwarded>),
    /// The PUBREL of a message whose PUBREC has come on this connection.
    Pubrel { connection: ConnectionId, packet_id: PacketId },
    /// The acknowledgements of publications that went the straight way together.
    Run(Box<Awaited>),
    /// What a session's queue has at this place, and what may stand behind it.
    Queue { session: SessionKey, sequence: u64 },
    /// A will that is due.
    Will { number: u64 },
}

impl Reference {
    /// Gives a message the next place in a queue.
    pub(crate) fn new(kept: &mut Kept, qos: QoS, delivery: &mut Delivery) -> Self {
        kept.sequence += 1;
        delivery.set_sequence(kept.sequence);
        let (identifiers, group) = delivery.to_stored();
        Self {
            session: kept.name,
            sequence: kept.sequence,
            qos,
            retain: delivery.retain,
            identifiers,
            group,
        }
    }
}

impl Shard {
    /// Whether anything is kept.
    pub(crate) fn keeps(&self) -> bool {
        self.settings.durability != Durability::Memory
    }

    /// Hands out a record that somebody may wait for.
    pub(crate) fn record(&mut self, record: Record, effects: &mut Effects) {
        self.records.note_urgent();
        effects.push(Effect::Persist { record, is_urgent: true });
    }

    /// Records the messages of a run, which have their places in a session's queue. Those that wait
    /// there may have to wait for its horizon, too.
    pub(crate) fn record_run(&mut self, run: &Run<'_>, effects: &mut Effects) {
        let Some(Place { queue: session, sequence: first }) = run.recorded() else { return };
        let count = u32::try_from(run.count).unwrap_or(u32::MAX);
        let (version, packets) = (run.version, run.packets());
        if let Some(packets) = run.at().filter(|_| effects.has_bytes_at_hand()) {
            self.records.note_urgent();
            let run = QueuedRun { session, first, count, version, packets };
            effects.push(Effect::PersistRun { run });
        } else {
            let run = QueuedRun { session, first, count, version, packets };
            self.record(Record::QueuedRun(run.to_owned()), effects);
        }
        if let Some(key) = run.waits_for {
            self.waits_for_horizon(key, effects);
        }
    }

    /// Hands out a record for which nobody waits, and which may be lost in a crash: then something
    /// is sent again.
    pub(crate) fn record_leisurely(&mut self, record: Record, effects: &mut Effects) {
        self.records.handed_out += 1;
        effects.push(Effect::Persist { record, is_urgent: false });
    }

    /// How many records were handed out, up to the last one that somebody may wait for.
    pub(crate) fn recorded(&self) -> u64 {
        self.records.urgent
    }

    /// Lets something wait until all that was [recorded](Self::record) so far is durable; if it is
    /// already, it goes on at once.
    pub(crate) fn await_durable(&mut self, awaiting: Awaiting, effects: &mut Effects) {
        if self.records.urgent > self.records.durable {
            self.records.waiting.push_back((self.records.urgent, awaiting));
        } else {
            self.go_on(awaiting, effects);
        }
    }

    /// A name that nothing else has, or ever had.
    pub(crate) fn next_name(&mut self) -> u64 {
        self.records.names += 1;
        (self.records.names << 16) | u64::from(self.settings.shard.0)
    }

    /// From here on names are larger than this one.
    pub(crate) fn go_on_naming_behind(&mut self, name: u64) {
        self.records.names = self.records.names.max(name >> 16);
    }

    /// So many records are durable: whoever waits for them goes on.
    pub(crate) fn on_persisted(&mut self, records: u64, effects: &mut Effects) {
        self.records.durable = self.records.durable.max(records.min(self.records.handed_out));
        while let Some((session, horizon)) = self.records.next_horizon() {
            self.on_horizon_durable(session, horizon, effects);
        }
        while let Some((wanted, _)) = self.records.waiting.front()
            && *wanted <= self.records.durable
            && let Some((_, awaiting)) = self.records.waiting.pop_front()
        {
            self.go_on(awaiting, effects);
        }
    }

    fn go_on(&mut self, awaiting: Awaiting, effects: &mut Effects) {
        match awaiting {
            Awaiting::Packet(token) => self.on_part_done(token, effects),
            Awaiting::Acknowledgement { session, answer } => {
                self.on_kept(session, answer, effects);
            }
            Awaiting::Forward(forwarded) => self.finish_durable_forward(*forwarded, effects),
            Awaiting::Pubrel { connection, packet_id } => {
                if self.is_online(connection) {
                    self.send_pubrel(connection, packet_id);
                }
            }
            Awaiting::Run(run) => self.finish_durable_run(*run, effects),
            Awaiting::Queue { session, sequence } => {
                self.on_queue_durable(session, sequence, effects);
            }
            Awaiting::Will { number } => self.on_will_durable(number, effects),
        }
    }

    /// Gives a message that a stored session is to get its place in the queue. It is recorded with
    /// [`record_queued`](Self::record_queued).
    pub(crate) fn note_queued(&mut self, key: SessionKey, qos: QoS, delivery: &mut Delivery) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let Some(kept) = session.queue_kept() else { return };
        let reference = Reference::new(kept, qos, delivery);
        self.records.references.push((key, reference));
    }

    /// Notes with place 0 that a publication with a name was dropped for a stored session: when it
    /// is routed once more behind a crash, the session has had it.
    pub(crate) fn note_dropped(&mut self, key: SessionKey, publication: &Publication<'_>) {
        if publication.name == 0 || publication.qos == QoS::AtMostOnce {
            return;
        }
        let kept = self.registry.session_mut(key).and_then(|session| session.queue_kept());
        if let Some(Kept { name: session, .. }) = kept {
            let (session, qos, identifiers) = (*session, publication.qos, Vec::new());
            let (sequence, retain, group) = (0, false, None);
            let reference = Reference { session, sequence, qos, retain, identifiers, group };
            self.records.references.push((SessionKey::NOBODY, reference));
        }
    }

    /// Notes that a message waits in a shared subscription, or with place 0 that this has got it.
    pub(crate) fn note_shared_queued(&mut self, place: Place, qos: QoS) {
        self.records.references.push((SessionKey::NOBODY, place.reference(qos)));
    }

    /// Records that a message has left its place in a shared subscription: for its session's queue,
    /// if it has got a place there, and for good otherwise.
    pub(crate) fn record_moved(
        &mut self,
        from: Place,
        publication: &mut Publication<'_>,
        effects: &mut Effects,
    ) {
        let Some((session, reference)) = self.records.references.pop() else {
            self.record_taken(from, effects);
            return;
        };
        self.await_place(session, &reference, publication);
        let (message, Place { queue: from, sequence }) = (publication.message(), from);
        self.record(Record::Moved { from, sequence, message, reference }, effects);
    }

    /// What must be stored before it is sent is sent when the next record is durable.
    fn await_place(
        &mut self,
        session: SessionKey,
        reference: &Reference,
        publication: &Publication<'_>,
    ) {
        if publication.is_stored_first(reference.qos) && !is_shared_queue(reference.session) {
            let queue = Awaiting::Queue { session, sequence: reference.sequence };
            self.records.waiting.push_back((self.records.handed_out + 1, queue));
        }
    }

    /// Records for whom a publication waits since this was last called.
    pub(crate) fn record_queued(
        &mut self,
        publication: &mut Publication<'_>,
        effects: &mut Effects,
    ) {
        if self.records.references.is_empty() {
            return;
        }
        let noted = core::mem::take(&mut self.records.references);
        for (session, reference) in &noted {
            self.await_place(*session, reference, publication);
        }
        let references = noted.into_iter().map(|(_, reference)| reference).collect();
        let message = publication.message();
        let publication = publication.name;
        self.record(Record::Queued { publication, message, references }, effects);
    }

    /// A message that waited for a session is gone without having been sent.
    pub(crate) fn record_skipped(
        &mut self,
        key: SessionKey,
        delivery: &Delivery,
        effects: &mut Effects,
    ) {
        self.record_gone(key, delivery, None, effects);
    }

    /// A message that waited for a session waits elsewhere, or is gone, without having been sent.
    pub(crate) fn record_gone(
        &mut self,
        key: SessionKey,
        delivery: &Delivery,
        to: Option<Reference>,
        effects: &mut Effects,
    ) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let is_last = session.waiting() == 0;
        let Some(kept) = session.queue_kept() else { return };
        kept.skipped = self.records.handed_out + 1;
        let (name, sequence) = (kept.name, kept.sequence_of(delivery));
        let record = match to {
            None => Record::Skipped { session: name, sequence },
            Some(reference) => {
                let message = Arc::clone(&delivery.message);
                Record::Moved { from: name, sequence, message, reference }
            }
        };
        session.note_gone(sequence);
        self.record(record, effects);
        if !is_last {
            self.await_durable(Awaiting::Queue { session: key, sequence }, effects);
        }
    }

    /// Lets the store know of places where it has no message: what stands behind them is sent as if
    /// there were none.
    pub(crate) fn record_lost(&mut self, key: SessionKey, places: Vec<u64>, effects: &mut Effects) {
        let session = self.registry.session_mut(key);
        let Some(kept) = session.and_then(|session| session.queue_kept()) else { return };
        let (name, Some(last)) = (kept.name, places.last().copied()) else { return };
        kept.skipped = self.records.handed_out + places.len() as u64;
        for sequence in places {
            self.record(Record::Skipped { session: name, sequence }, effects);
        }
        self.await_durable(Awaiting::Queue { session: key, sequence: last }, effects);
    }

    /// Whether the next message of a queue must not be sent yet: its packet identifier follows from
    /// what stands before it, so that all of that has to be durable.
    pub(crate) fn waits_for_store(&self, key: SessionKey) -> bool {
        let Some(session) = self.registry.session(key) else { return false };
        let Some(kept) = session.kept.as_deref() else { return false };
        if session.sender.has_repetitions() {
            return false;
        }
        let next = session.sender.peek_waiting();
        let Some(next) = next.filter(|next| next.is_stored_first) else { return false };
        kept.sequence_of(next) > kept.durable || kept.skipped > self.records.durable
    }

    /// A message of a queue is durable.
    fn on_queue_durable(&mut self, key: SessionKey, sequence: u64, effects: &mut Effects) {
        if let Some(session) = self.registry.session_mut(key)
            && let Some(kept) = &mut session.kept
        {
            kept.durable = kept.durable.max(sequence);
            self.pump(key, effects);
        }
    }

    /// A client has acknowledged something; it is recorded together with what else it does.
    pub(crate) fn note_acknowledged(&mut self, key: SessionKey) {
        if let Some(session) = self.registry.session_mut(key)
            && let Some(kept) = session.queue_kept()
            && !core::mem::replace(&mut kept.has_acknowledged, true)
        {
            self.records.acknowledged.push(key);
        }
    }

    /// Hands out what clients have acknowledged since the last call, in one record for each. A
    /// driver calls it once a turn: what it misses is sent again after a crash.
    pub fn record_acknowledgements(&mut self, effects: &mut Effects) {
        if self.lacks_store_room() {
            return;
        }
        while let Some(key) = self.records.acknowledged.pop() {
            let Some(session) = self.registry.session_mut(key) else { continue };
            if session.is_leaving_store() && !session.is_owed_something() {
                self.leave_store(key, effects);
            } else if let Some(kept) = session.queue_kept() {
                kept.has_acknowledged = false;
                self.record_done(key, effects);
                self.move_horizon_along(key, effects);
            }
        }
    }

    /// Hands out how far a session's client is done, if that is news.
    pub(crate) fn record_done(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let done = session.done_up_to();
        let Some(kept) = session.queue_kept() else { return };
        if let Some((up_to, next)) = done.filter(|(up_to, _)| *up_to > kept.done) {
            kept.done = up_to;
            let session = kept.name;
            self.record_leisurely(Record::Acknowledged { session, up_to, next }, effects);
        }
    }
}
