//! What the acknowledgement of a publication waits for: the store, other shards, the rest of a
//! fan-out, and at QoS 2 its turn behind earlier ones.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{PacketId, ReasonCode};
use noctule_session::AnswerId;

use crate::effect::Effects;
use crate::fan_out::Then;
use crate::fault::{Fault, Refused};
use crate::message::Message;
use crate::persist::Awaiting;
use crate::publication::{Publication, Publisher};
use crate::publish::Acknowledge;
use crate::registry::SessionKey;
use crate::restore::is_unrouted;
use crate::shard::Shard;
use crate::stored::Record;

/// What an acknowledgement still waits for.
#[derive(Debug)]
pub(crate) struct Outstanding {
    parts: u32,
    reason: ReasonCode,
    /// That of the publication; `None` for a release.
    packet_id: Option<PacketId>,
    /// What the store calls the publication, if it must know that it is routed; 0 otherwise.
    name: u64,
    /// Whether the store has to know its packet identifier before its publisher does: it has come
    /// to the store meanwhile.
    is_deposited: bool,
}

/// A QoS 2 publication that is routed when it is kept: as records become durable in order, so do
/// those of one publisher.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    message: Arc<Message>,
    /// What the store calls it; 0 if it only waits behind one that is kept.
    name: u64,
}

impl Outstanding {
    /// What an acknowledgement waits for that has so many parts; 0 would never be done.
    pub(crate) const fn new(parts: u32, reason: ReasonCode, packet_id: Option<PacketId>) -> Self {
        Self { parts, reason, packet_id, name: 0, is_deposited: false }
    }

    /// What the store has to wait for before it is told that a publication is routed: one part is
    /// that this is begun.
    pub(crate) const fn unrouted(name: u64, packet_id: Option<PacketId>) -> Self {
        Self { parts: 1, reason: ReasonCode::Success, packet_id, name, is_deposited: false }
    }

    /// It waits for so much more.
    pub(crate) const fn await_parts(&mut self, parts: u32) {
        self.parts += parts;
    }

    /// What a PUBCOMP waits for.
    pub(crate) const fn release() -> Self {
        Self {
            parts: 1,
            reason: ReasonCode::Success,
            packet_id: None,
            name: 0,
            is_deposited: false,
        }
    }
}

impl Shard {
    /// Lets a QoS 2 publication of a session that is stored wait for its own record, as a
    /// repetition after a crash must not double it. Whether it has to wait.
    pub(crate) fn hold(
        &mut self,
        key: SessionKey,
        owed: &Acknowledge,
        message: Arc<Message>,
        effects: &mut Effects,
    ) -> bool {
        let (answer, packet_id) = (owed.answer.value(), owed.packet_id);
        let kept = self.registry.session_mut(key).and_then(|session| session.queue_kept());
        let name = match kept.map(|kept| kept.name) {
            Some(session) => {
                let (publication, message) = (self.next_name(), Arc::clone(&message));
                self.record(Record::Received { session, packet_id, publication, message }, effects);
                publication
            }
            // The session has left the store meanwhile: no overtaking even so.
            None if self.holds_any(key) => 0,
            None => return false,
        };
        self.held.insert((key, answer), Held { message, name });
        if name > 0 {
            self.await_durable(Awaiting::Acknowledgement { session: key, answer }, effects);
        }
        true
    }

    /// Whether a publication of a session waits for the store.
    fn holds_any(&self, key: SessionKey) -> bool {
        self.held_of(key).next().is_some()
    }

    fn held_of(&self, key: SessionKey) -> impl Iterator<Item = (&(SessionKey, u64), &Held)> {
        self.held.range((key, 0)..=(key, u64::MAX))
    }

    fn first_held(&self, key: SessionKey) -> Option<((SessionKey, u64), Held)> {
        self.held_of(key).next().map(|(at, held)| (*at, held.clone()))
    }

    /// Lets the store know the packet identifiers of publications that are still on their way when
    /// their session comes to it, under this name. What is not accepted yet may come again.
    pub(crate) fn deposit_keeping(
        &mut self,
        (key, session): (SessionKey, u64),
        mut keeping: Vec<(AnswerId, PacketId)>,
        effects: &mut Effects,
    ) {
        keeping.sort_unstable();
        for (answer, packet_id) in keeping {
            let at = (key, answer.value());
            let routed = self.outstanding.get(&at).map(|routed| routed.name);
            match (self.held.get(&at).cloned(), routed) {
                // The store has had it before, and routes it again behind a crash.
                (Some(Held { name: 1.., .. }), _) | (None, Some(1..)) => {
                    self.deposit_received(session, packet_id, effects);
                }
                (Some(Held { message, .. }), _) => {
                    let publication = self.next_name();
                    let kept = Held { message: Arc::clone(&message), name: publication };
                    self.held.insert(at, kept);
                    let record = Record::Received { session, packet_id, publication, message };
                    self.record(record, effects);
                    let (session, answer) = at;
                    self.await_durable(Awaiting::Acknowledgement { session, answer }, effects);
                }
                (None, Some(0)) => {
                    if let Some(routed) = self.outstanding.get_mut(&at) {
                        routed.is_deposited = true;
                    }
                }
                (None, None) => {}
            }
        }
    }

    /// What has come to the store on its way is known there before its publisher is told that it
    /// is routed: then a repetition is none. Whether there is something to wait for.
    fn deposit_routed(
        &mut self,
        at: (SessionKey, u64),
        routed: &Outstanding,
        effects: &mut Effects,
    ) -> bool {
        let Some(packet_id) = routed.packet_id else { return false };
        // Its client may have released it without waiting for the answer.
        let answer = AnswerId::from_value(at.1);
        let session = self.registry.session_mut(at.0);
        let session = session.filter(|session| session.receiver.is_keeping(answer, packet_id));
        let Some(kept) = session.and_then(|session| session.queue_kept()) else { return false };
        let session = kept.name;
        self.deposit_received(session, packet_id, effects);
        self.outstanding.insert(at, Outstanding::new(1, routed.reason, routed.packet_id));
        let (session, answer) = at;
        self.await_durable(Awaiting::Acknowledgement { session, answer }, effects);
        true
    }

    /// Step 8: the store has the record.
    // [MQTT5-4.6.0-5] [MQTT311-4.6.0-6]
    pub(crate) fn on_kept(&mut self, key: SessionKey, answer: u64, effects: &mut Effects) {
        let Some(held) = self.held.remove(&(key, answer)) else {
            return self.on_answered(key, answer, None, effects);
        };
        self.route_held((key, answer), &held, effects);
        // What only waits behind it goes on, too.
        while let Some((at, held)) = self.first_held(key).filter(|(_, held)| held.name == 0) {
            self.held.remove(&at);
            self.route_held(at, &held, effects);
        }
    }

    /// Steps 5 to 7 for a QoS 2 publication that is kept.
    fn route_held(&mut self, at: (SessionKey, u64), held: &Held, effects: &mut Effects) {
        let ((key, answer), Held { message, name }) = (at, held);
        if let Some(outstanding) = self.outstanding.get_mut(&at).filter(|_| *name > 0) {
            outstanding.name = *name;
        }
        let in_time = !message.is_expired(self.now);
        let publication = Publication::of(message, Publisher::Session(key));
        if let Some(mut publication) = publication.filter(|_| in_time) {
            // Others may have been kept since this one was looked at.
            if let Err(refused) = self.check_retained(&publication) {
                let client_id = self.publisher_name(publication.publisher);
                self.note_refused(client_id, Arc::clone(&message.topic), &refused, effects);
                self.on_answered(key, answer, Some(Box::new(refused)), effects);
                return;
            }
            publication.name = *name;
            let matches = self.route(publication.topic);
            let (mut parts, rest) = self.make_public(&mut publication, &matches, Some(at), effects);
            if let Some(from) = rest {
                parts += 1;
                let then = Then { acknowledge: Some(at), ..Then::default() };
                self.defer(&mut publication, matches, from, then);
            }
            if let Some(outstanding) = self.outstanding.get_mut(&at) {
                outstanding.parts += parts;
            }
        }
        // [MQTT5-4.3.3-13]
        self.on_answered(key, answer, None, effects);
    }

    /// Step 8: one of the parts that an acknowledgement waits for is done, or refused.
    pub(crate) fn on_answered(
        &mut self,
        key: SessionKey,
        answer: u64,
        refused: Option<Box<Refused>>,
        effects: &mut Effects,
    ) {
        let Some(outstanding) = self.outstanding.get_mut(&(key, answer)) else { return };
        outstanding.parts = outstanding.parts.saturating_sub(1);
        let (done, packet_id) = (outstanding.parts == 0, outstanding.packet_id);
        let session = self.registry.session(key);
        let connection = session.and_then(|session| session.connection);
        if let Some(refused) = refused
            && let Some(session) = session
        {
            if session.version.is_v5() {
                outstanding.reason = refused.code;
                if let Some(connection) = connection.and_then(|id| self.connections.find_mut(id))
                    && let Some(packet_id) = packet_id
                {
                    connection.note_refusal(packet_id, *refused);
                }
            } else if let Some(id) = connection
                && self.settings.close_on_refused_publish
            {
                self.fail(id, &Fault::Refused(*refused), effects);
            }
        }
        if !done {
            return;
        }
        let Some(done) = self.outstanding.remove(&(key, answer)) else { return };
        if done.name > 0 {
            self.record_leisurely(Record::Routed { publication: done.name }, effects);
        }
        if is_unrouted(answer) {
            return;
        }
        if done.is_deposited
            && !done.reason.is_error()
            && self.deposit_routed((key, answer), &done, effects)
        {
            return;
        }
        if done.name > 0
            && done.reason.is_error()
            && self.release_refused((key, answer), &done, effects)
        {
            return;
        }
        let connection = self.registry.session(key).and_then(|session| session.connection);
        match connection {
            Some(id) => {
                self.acknowledge(id, key, answer, done.reason);
                self.on_room_behind(id, effects);
            }
            None => {
                if let Some(session) = self.registry.session_mut(key) {
                    session.receiver.complete(AnswerId::from_value(answer), done.reason);
                }
            }
        }
    }
    /// A refusal frees the packet identifier, which the store has to know before the client does:
    /// what comes under it then is something else. Whether there is something to wait for.
    // [MQTT5-4.3.3-9]
    fn release_refused(
        &mut self,
        at: (SessionKey, u64),
        refused: &Outstanding,
        effects: &mut Effects,
    ) -> bool {
        let kept = self.registry.session_mut(at.0).and_then(|session| session.queue_kept());
        let (Some(session), Some(packet_id)) = (kept.map(|kept| kept.name), refused.packet_id)
        else {
            return false;
        };
        self.record(Record::Released { session, packet_id }, effects);
        self.outstanding.insert(at, Outstanding::new(1, refused.reason, refused.packet_id));
        let (session, answer) = at;
        self.await_durable(Awaiting::Acknowledgement { session, answer }, effects);
        true
    }
}
