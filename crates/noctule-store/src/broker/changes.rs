//! What records change in the state, and what the state says: sessions, subscriptions, shared
//! subscriptions' queues, retained messages, how far queues are done, and which QoS 2 publications
//! have come. Messages that wait and publications that are not routed stand elsewhere.
//!
//! Each session that a record names is read from the state once, goes on as in a [`Model`], and is
//! compared in the end with what the state has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use noctule_broker_core::{Record, Reference, is_shared_queue};
use noctule_packet::PacketId;

use super::damaged::{Damaged, Unreadable};
use super::keys::{self, LAST_NAME, Part, RETAINED, SESSIONS, SHARED};
use super::model::Model;
use super::progress::Progress;
use super::reader::Reader;
use super::record::{decode, encode};
use super::session::{Left, Session};
use super::shared::SharedQueue;
use crate::error::StoreError;
use crate::state::{State, StateBatch};

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Gathers what records change in the state.
#[derive(Debug)]
pub struct Changes<'a> {
    state: &'a dyn State,
    /// The sessions that were touched, as they are.
    model: Model,
    /// What the state has of them.
    before: HashMap<u64, Entries>,
    batch: StateBatch,
}

impl<'a> Changes<'a> {
    /// Begins with what the state has.
    ///
    /// # Errors
    ///
    /// If the state cannot be read.
    pub fn new(state: &'a dyn State) -> Result<Self, StoreError> {
        let (mut model, mut before) = (Model::default(), Entries::new());
        if let Some(value) = state.get(LAST_NAME)? {
            model.note_name(name_in(&value));
            before.insert(LAST_NAME.to_vec(), value);
        }
        // No session has this name.
        let before = HashMap::from([(0, before)]);
        Ok(Self { state, model, before, batch: StateBatch::new() })
    }

    /// Goes on with a record.
    ///
    /// # Errors
    ///
    /// If the state cannot be read.
    pub fn apply(&mut self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::SessionStarted(terms) => {
                let older = self.state.get(&keys::client(&terms.client_id))?;
                for session in [name(older), terms.session] {
                    self.touch(session)?;
                }
                self.model.start((**terms).clone());
            }
            Record::Received { session, packet_id, publication, .. } => {
                self.receive(*session, *packet_id, *publication)?;
            }
            Record::WillDue { session, publication, .. } => {
                self.touch(*session)?;
                self.model.note_name(*publication);
                self.model.end_will(*session);
            }
            Record::Queued { publication, .. } => self.model.note_name(*publication),
            Record::Moved { from: session, sequence, .. } => {
                self.touch(*session)?;
                let (session, sequence) = (*session, *sequence);
                self.model.apply(Record::Skipped { session, sequence });
            }
            Record::Routed { .. } | Record::QueuedRun(_) => {}
            Record::Retained { publication, message } => {
                self.model.note_name(*publication);
                let (key, message) = (keys::retained(&message.topic), Arc::clone(message));
                self.batch.put(key, bytes(&Record::Retained { publication: 0, message }))?;
            }
            Record::RetainedRemoved { publication, topic } => {
                self.model.note_name(*publication);
                self.batch.remove(keys::retained(topic))?;
            }
            Record::SharedQueue { queue: session, .. }
            | Record::SessionLeft { session, .. }
            | Record::SessionEnded { session }
            | Record::Subscribed { session, .. }
            | Record::Unsubscribed { session, .. }
            | Record::Released { session, .. }
            | Record::Skipped { session, .. }
            | Record::Acknowledged { session, .. }
            | Record::MaySend { session, .. }
            | Record::Pubrec { session, .. }
            | Record::Pubcomp { session, .. } => {
                self.touch(*session)?;
                self.model.apply(record.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Goes on with a QoS 2 publication that was received, whatever its message is.
    pub(super) fn receive(
        &mut self,
        session: u64,
        packet_id: PacketId,
        publication: u64,
    ) -> Result<(), StoreError> {
        self.touch(session)?;
        self.model.note_name(publication);
        self.model.receive(session, packet_id);
        Ok(())
    }

    /// Whether a session may wait for something up to this place, as far as these records say.
    ///
    /// # Errors
    ///
    /// If the state cannot be read.
    pub(super) fn waits_up_to(&mut self, session: u64, last: u64) -> Result<bool, StoreError> {
        self.touch(session)?;
        let shared = self.model.shared.get(&session);
        Ok(shared.is_some_and(|queue| queue.up_to() < last)
            || self.lasting(session).is_some_and(|known| known.progress.up_to() < last))
    }

    /// Whether a message is still to be delivered to a session that was touched.
    pub(super) fn wants(&self, reference: &Reference) -> bool {
        if let Some(queue) = self.model.shared.get(&reference.session) {
            return queue.wants(reference.sequence);
        }
        let session = self.lasting(reference.session);
        session.is_some_and(|session| session.progress.wants(reference.sequence))
    }

    fn lasting(&self, session: u64) -> Option<&Session> {
        self.model.sessions.get(&session).filter(|known| known.lasts())
    }

    /// The sessions that were touched, and how far their queues are, unless they are over.
    pub(super) fn progress(&self) -> impl Iterator<Item = (u64, Option<&Progress>)> {
        let progress = |name: &u64| self.lasting(*name).map(|session| &session.progress);
        let sessions = self.before.keys().filter(|name| !is_shared_queue(**name));
        sessions.map(move |name| (*name, progress(name)))
    }

    /// The queues of shared subscriptions that were touched, and up to where they are done.
    pub(super) fn shared(&self) -> impl Iterator<Item = (u64, u64)> {
        let up_to = |name| self.model.shared.get(name).map_or(u64::MAX, SharedQueue::up_to);
        let queues = self.before.keys().filter(|name| is_shared_queue(**name));
        queues.map(move |name| (*name, up_to(name)))
    }

    /// The sessions that go on without what they had before.
    pub(super) fn forgotten(&self) -> impl Iterator<Item = u64> {
        let forgotten = self.model.sessions.iter().filter(|(_, known)| known.has_forgotten);
        forgotten.map(|(name, _)| *name)
    }

    pub(super) fn note_name(&mut self, name: u64) {
        self.model.note_name(name);
    }

    /// What is to be changed, together with what else the caller changes.
    ///
    /// # Errors
    ///
    /// If something is too large to be stored.
    pub fn finish(self) -> Result<StateBatch, StoreError> {
        let Self { model, before, mut batch, .. } = self;
        let mut after = Entries::new();
        for (name, session) in &model.sessions {
            put_session(*name, session, &mut after);
        }
        for (name, queue) in &model.shared {
            let mut value = Vec::new();
            queue.put(&mut value);
            after.insert(keys::shared(*name), value);
        }
        if model.last_name > 0 {
            after.insert(LAST_NAME.to_vec(), model.last_name.to_le_bytes().to_vec());
        }
        for (key, value) in before.into_values().flatten() {
            match after.get(&key) {
                None => batch.remove(key)?,
                Some(same) if *same == value => drop(after.remove(&key)),
                Some(_) => {}
            }
        }
        for (key, value) in after {
            batch.put(key, value)?;
        }
        Ok(batch)
    }

    /// Reads a session from the state, if there is one, unless that was done.
    fn touch(&mut self, session: u64) -> Result<(), StoreError> {
        if self.before.contains_key(&session) {
            return Ok(());
        }
        let (mut found, model) = (Entries::new(), &mut self.model);
        if is_shared_queue(session) {
            let key = keys::shared(session);
            if let Some(value) = self.state.get(&key)? {
                let _ = model.put(&key, &value);
                found.insert(key, value);
            }
            self.before.insert(session, found);
            return Ok(());
        }
        self.state.scan(&keys::session(session), &mut |key, value| {
            // What is unreadable was told when the state was opened, and goes now.
            let _ = model.put(key, value);
            found.insert(key.to_vec(), value.to_vec());
        })?;
        if let Some(known) = model.sessions.get(&session) {
            let key = keys::client(&known.terms.client_id);
            if let Some(value) = self.state.get(&key)?.filter(|value| name_in(value) == session) {
                found.insert(key, value);
            }
        }
        self.before.insert(session, found);
        Ok(())
    }
}

impl Model {
    /// Begins with what a state has; `unreadable` is told what of it is dropped.
    ///
    /// # Errors
    ///
    /// If the state cannot be read.
    pub fn from_state(
        state: &dyn State,
        mut unreadable: impl FnMut(Unreadable),
    ) -> Result<Self, StoreError> {
        let mut model = Self::default();
        model.note_name(name(state.get(LAST_NAME)?));
        for prefix in [RETAINED, SESSIONS, SHARED] {
            state.scan(prefix, &mut |key, value| {
                if let Err(reason) = model.put(key, value) {
                    unreadable(Unreadable { key: key.to_vec(), reason });
                }
            })?;
        }
        Ok(model)
    }

    /// Goes on with what stands under a key. A session's terms come before all else of it.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Damaged> {
        let mut reader = Reader::new(key);
        if key.starts_with(RETAINED) {
            let Record::Retained { message, .. } = decode(value)? else {
                return Err(Damaged::Misplaced);
            };
            fits(key, &keys::retained(&message.topic))?;
            self.retained.insert(Arc::clone(&message.topic), message);
            return Ok(());
        }
        let _ = reader.byte("key")?;
        let name = u64::from_be_bytes(reader.array("key")?);
        if key.starts_with(SHARED) {
            self.shared.insert(name, SharedQueue::read(Reader::new(value))?);
            return Ok(());
        }
        let part = reader.byte("key")?;
        if part == 1 {
            let Record::SessionStarted(terms) = decode(value)? else {
                return Err(Damaged::Misplaced);
            };
            fits(key, &keys::part(terms.session, Part::Terms))?;
            self.start(*terms);
            return Ok(());
        }
        // Something of a session that cannot be read itself, or that a newer one has ended.
        let session = self.sessions.get_mut(&name).ok_or(Damaged::Misplaced)?;
        match part {
            2 => put_left(key, value, session)?,
            3 => session.progress = Progress::read(Reader::new(value))?,
            4 => put_subscription(key, value, session)?,
            5 => {
                let packet_id = u16::from_be_bytes(reader.array("key")?);
                let packet_id = PacketId::new(packet_id).ok_or(Damaged::Misplaced)?;
                session.received.insert(packet_id);
            }
            other => return Err(Damaged::UnknownKind(other)),
        }
        Ok(())
    }
}

fn put_left(key: &[u8], value: &[u8], into: &mut Session) -> Result<(), Damaged> {
    let Record::SessionLeft { session, expiry_interval, expires_at, will_at, sent } =
        decode(value)?
    else {
        return Err(Damaged::Misplaced);
    };
    fits(key, &keys::part(session, Part::Left))?;
    into.leave(expiry_interval, Left { expires_at, will_at, sent });
    Ok(())
}

fn put_subscription(key: &[u8], value: &[u8], into: &mut Session) -> Result<(), Damaged> {
    let Record::Subscribed { session, subscription } = decode(value)? else {
        return Err(Damaged::Misplaced);
    };
    fits(key, &keys::part(session, Part::Subscription(&subscription.filter)))?;
    into.subscriptions.insert(subscription.filter.clone(), subscription);
    Ok(())
}

fn fits(key: &[u8], expected: &[u8]) -> Result<(), Damaged> {
    if key == expected { Ok(()) } else { Err(Damaged::Misplaced) }
}

/// All that the state has of a session.
fn put_session(name: u64, session: &Session, entries: &mut Entries) {
    let terms = Record::SessionStarted(Box::new(session.terms.clone()));
    entries.insert(keys::client(&session.terms.client_id), name.to_le_bytes().to_vec());
    entries.insert(keys::part(name, Part::Terms), bytes(&terms));
    if let Some(Left { expires_at, will_at, sent }) = session.left {
        let expiry_interval = session.terms.expiry_interval;
        let left =
            Record::SessionLeft { session: name, expiry_interval, expires_at, will_at, sent };
        entries.insert(keys::part(name, Part::Left), bytes(&left));
    }
    if session.progress != Progress::default() {
        let mut value = Vec::new();
        session.progress.put(&mut value);
        entries.insert(keys::part(name, Part::Progress), value);
    }
    for (filter, subscription) in &session.subscriptions {
        let subscribed = Record::Subscribed { session: name, subscription: subscription.clone() };
        entries.insert(keys::part(name, Part::Subscription(filter)), bytes(&subscribed));
    }
    for packet_id in &session.received {
        entries.insert(keys::part(name, Part::Received(packet_id.value())), Vec::new());
    }
}

pub(super) fn bytes(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    // It is one of those that are known here.
    let _ = encode(record, &mut bytes);
    bytes
}

/// A name in the state; 0 if there is none.
fn name(value: Option<Vec<u8>>) -> u64 {
    value.map_or(0, |value| name_in(&value))
}

fn name_in(value: &[u8]) -> u64 {
    Reader::new(value).long("name").unwrap_or(0)
}
