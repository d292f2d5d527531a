//! What the acknowledgement of a publication waits for: the store, other shards, the rest of a
//! fan-out, and at QoS 2 its turn behind earlier ones.

use alloc::boxed::Box;
use alloc::sync::Arc;

use noctule_packet::{PacketId, ReasonCode};
use noctule_session::AnswerId;

use crate::effect::Effects;
use crate::fan_out::Then;
use crate::fault::{Fault, Refused};
use crate::message::Message;
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::shard::Shard;

/// What an acknowledgement still waits for.
#[derive(Debug)]
pub(crate) struct Outstanding {
    parts: u32,
    reason: ReasonCode,
    /// That of the publication; `None` for a release.
    packet_id: Option<PacketId>,
}

/// A QoS 2 publication that is routed when it is kept, and behind those of its publisher that came
/// earlier.
#[derive(Debug)]
pub(crate) struct Held {
    message: Arc<Message>,
    is_kept: bool,
}

impl Outstanding {
    /// What an acknowledgement waits for that has so many parts; 0 would never be done.
    pub(crate) const fn new(parts: u32, reason: ReasonCode, packet_id: Option<PacketId>) -> Self {
        Self { parts, reason, packet_id }
    }

    /// What a PUBCOMP waits for.
    pub(crate) const fn release() -> Self {
        Self { parts: 1, reason: ReasonCode::Success, packet_id: None }
    }
}

impl Shard {
    /// Lets a QoS 2 publication wait for its own record: a repetition after a crash must not double
    /// it.
    pub(crate) fn hold(
        &mut self,
        key: SessionKey,
        answer: u64,
        message: Arc<Message>,
        is_kept: bool,
    ) {
        self.held.insert((key, answer), Held { message, is_kept });
    }

    /// Whether a QoS 2 publication of this session waits to be routed.
    pub(crate) fn is_holding(&self, key: SessionKey) -> bool {
        self.held.range((key, 0)..=(key, u64::MAX)).next().is_some()
    }

    /// Step 8: the store has the record.
    pub(crate) fn on_persisted(&mut self, key: SessionKey, answer: u64, effects: &mut Effects) {
        let Some(held) = self.held.get_mut(&(key, answer)) else {
            self.on_answered(key, answer, None, effects);
            return;
        };
        held.is_kept = true;
        // [MQTT5-4.6.0-5] [MQTT311-4.6.0-6]
        while let Some(next) = self.held.range((key, 0)..=(key, u64::MAX)).next()
            && next.1.is_kept
        {
            let at = *next.0;
            if let Some(held) = self.held.remove(&at) {
                self.route_held(at, &held.message, effects);
            }
        }
    }

    /// Steps 5 to 7 for a QoS 2 publication that is kept.
    fn route_held(&mut self, at: (SessionKey, u64), message: &Arc<Message>, effects: &mut Effects) {
        let (key, answer) = at;
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
        let connection = self.registry.session(key).and_then(|session| session.connection);
        match connection {
            Some(id) => self.acknowledge(id, key, answer, done.reason),
            None => {
                if let Some(session) = self.registry.session_mut(key) {
                    session.receiver.complete(AnswerId::from_value(answer), done.reason);
                }
            }
        }
    }
}
