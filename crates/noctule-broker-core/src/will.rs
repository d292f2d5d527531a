//! Wills: what is published for a client that went without saying so, and when.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use noctule_packet::{ForwardedProperties, QoS, ReasonCode};

use crate::access::Authorization;
use crate::effect::{Effect, Effects, Principal, Question, Token, Waiting};
use crate::event::Event;
use crate::fault::Refused;
use crate::message::Message;
use crate::payload::Payload;
use crate::persist::Awaiting;
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::settings::Durability;
use crate::shard::Shard;
use crate::source::WillOwner;
use crate::stored::Record;
use crate::timers::Timer;

/// A will as CONNECT gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Will {
    /// Where it is published.
    pub topic: Arc<str>,
    /// The Application Message's bytes.
    pub payload: Payload,
    /// Its quality of service.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// The properties that reach subscribers unaltered.
    pub properties: ForwardedProperties,
    /// In seconds from its publication on; `None` if it does not expire.
    pub message_expiry_interval: Option<u32>,
    /// In seconds.
    pub delay_interval: u32,
}

impl Will {
    pub(crate) fn new(will: &noctule_packet::Will<'_>, delay_max_seconds: u32) -> Self {
        Self {
            topic: will.topic.as_str().into(),
            payload: will.payload.into(),
            qos: will.qos,
            retain: will.retain,
            // [MQTT5-3.1.3-10]
            properties: ForwardedProperties::from_will(&will.properties),
            message_expiry_interval: will.properties.message_expiry_interval,
            delay_interval: will.properties.will_delay_interval.unwrap_or(0).min(delay_max_seconds),
        }
    }

    /// Bytes of its topic, its payload and its properties.
    pub(crate) fn bytes(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.as_bytes().len()
    }

    /// Whether it is kept even for a session that is not.
    pub(crate) fn is_kept(&self) -> bool {
        self.retain || self.qos > QoS::AtMostOnce
    }
}

/// Wills that wait for the store, or that authorisation has not answered about yet.
#[derive(Debug, Default)]
pub(crate) struct DueWills {
    waiting: BTreeMap<u64, DueWill>,
    /// The number of the last one.
    last: u64,
}

#[derive(Debug)]
struct DueWill {
    publisher: SessionKey,
    client_id: Arc<str>,
    principal: Principal,
    message: Arc<Message>,
    /// What the store calls the publication, if it has to know that it is routed; 0 otherwise.
    name: u64,
    /// Whether its client is promised nothing that has to be in the store.
    is_in_memory: bool,
}

impl DueWills {
    fn keep(&mut self, due: DueWill) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, due);
        self.last
    }
}

impl Shard {
    /// The connection ended without giving up its will: it is due now, later, or at session end.
    pub(crate) fn schedule_will(&mut self, key: SessionKey, effects: &mut Effects) {
        let now = self.now;
        let Some(session) = self.registry.session_mut(key) else { return };
        // [MQTT311-3.1.2-12]
        let Some(will) = &session.will else { return };
        if will.delay_interval == 0 {
            // [MQTT5-3.1.2-8] [MQTT311-3.1.2-8] [MQTT31-3.1-13]
            self.publish_will(key, effects);
            return;
        }
        // If the session ends before that, its will is published then. [MQTT5-3.1.2-8]
        let at = now.plus_seconds(will.delay_interval);
        session.will_at = Some(at);
        self.timers.set(at, Timer::Will(key));
    }

    /// Publishes the will, which is gone then, if its client may publish it.
    pub(crate) fn publish_will(&mut self, key: SessionKey, effects: &mut Effects) {
        let now = self.now;
        let Some(session) = self.registry.session_mut(key) else { return };
        if let Some(at) = session.will_at.take() {
            self.timers.cancel(at, Timer::Will(key));
        }
        // [MQTT5-3.1.2-10] [MQTT311-3.1.2-10]
        let Some(will) = session.will.take() else { return };
        let client_id = Arc::clone(&session.client_id);
        let principal = session.principal.clone();
        let is_in_memory = session.durability == Durability::Memory;
        let is_kept = will.is_kept() && !is_in_memory && self.keeps();
        let Will { topic, payload, qos, retain, properties, message_expiry_interval, .. } = *will;
        let interval = self.settings.limits.message_expiry_interval(message_expiry_interval);
        let expires_at = interval.map(|seconds| now.plus_seconds(seconds));
        // [MQTT5-3.1.2-14] [MQTT5-3.1.2-15] [MQTT311-3.1.2-9] [MQTT311-3.1.2-16]
        // [MQTT311-3.1.2-17] [MQTT31-3.1-14]
        let message = Arc::new(Message { topic, payload, qos, retain, properties, expires_at });
        let mut due =
            DueWill { publisher: key, client_id, principal, message, name: 0, is_in_memory };
        if is_kept {
            due.name = self.next_name();
            self.record_due(&due, effects);
            let number = self.due_wills.keep(due);
            self.await_durable(Awaiting::Will { number }, effects);
        } else {
            self.authorize_will(due, effects);
        }
    }

    /// What was the will of a session is a publication now, which is routed when that is durable: a
    /// crash must neither lose it nor double it.
    fn record_due(&mut self, due: &DueWill, effects: &mut Effects) {
        let session = self.registry.session_mut(due.publisher);
        let kept = session.and_then(|session| session.kept.as_deref_mut());
        let session = kept.map_or(0, |kept| kept.name);
        let DueWill { client_id, principal, message, name: publication, .. } = due;
        let owner =
            WillOwner { client_id: Arc::clone(client_id), user_name: principal.user_name.clone() };
        let (publication, message) = (*publication, Arc::clone(message));
        self.record(Record::WillDue { session, publication, owner, message }, effects);
    }

    /// The store has a will as a publication.
    pub(crate) fn on_will_durable(&mut self, number: u64, effects: &mut Effects) {
        if let Some(due) = self.due_wills.waiting.remove(&number) {
            self.authorize_will(due, effects);
        }
    }

    /// Publishes a will that was due before the last crash to whom it has not reached.
    pub(crate) fn go_on_with_will(
        &mut self,
        (name, publisher): (u64, SessionKey),
        owner: WillOwner,
        message: Arc<Message>,
        effects: &mut Effects,
    ) {
        let WillOwner { client_id, user_name } = owner;
        let principal = Principal { user_name, ..Principal::default() };
        let is_in_memory = false;
        let due = DueWill { publisher, client_id, principal, message, name, is_in_memory };
        self.authorize_will(due, effects);
    }

    fn authorize_will(&mut self, due: DueWill, effects: &mut Effects) {
        if self.settings.authorization == Authorization::AllowAll {
            self.publish_due_will(&due, effects);
            return;
        }
        let (client_id, principal) = (Arc::clone(&due.client_id), due.principal.clone());
        let (topic, retain) = (due.message.topic.clone(), due.message.retain);
        let number = self.due_wills.keep(due);
        let token = Token(Waiting::Will { number });
        let question = Question::Publish { topic, retain };
        effects.push(Effect::Authorize { token, client_id, principal, question });
    }

    /// Goes on when authorisation has answered.
    pub(crate) fn on_will_authorized(&mut self, number: u64, allowed: bool, effects: &mut Effects) {
        let Some(due) = self.due_wills.waiting.remove(&number) else { return };
        if allowed {
            self.publish_due_will(&due, effects);
        } else {
            let text = "not authorized to publish the will";
            self.refuse_will(&due, &Refused::new(ReasonCode::NotAuthorized, text), effects);
        }
    }

    fn publish_due_will(&mut self, due: &DueWill, effects: &mut Effects) {
        // Its client may have another session by now. [MQTT5-3.8.3-3]
        let publisher = self.registry.find(&due.client_id).unwrap_or(due.publisher);
        let publisher = Publisher::Session(publisher);
        let Some(mut publication) = Publication::of(&due.message, publisher) else { return };
        publication.is_in_memory = due.is_in_memory;
        let published = match due.name {
            0 => self.publish_on_behalf(publication, effects),
            name => self.publish_named(publication, name, effects),
        };
        if let Err(refused) = published {
            self.refuse_will(due, &refused, effects);
            return;
        }
        self.statistics.wills_published += 1;
        let (client_id, topic) = (Arc::clone(&due.client_id), due.message.topic.clone());
        effects.push(Effect::Event(Event::WillPublished { client_id, topic }));
    }

    fn refuse_will(&mut self, due: &DueWill, refused: &Refused, effects: &mut Effects) {
        if due.name > 0 {
            self.record_leisurely(Record::Routed { publication: due.name }, effects);
        }
        self.statistics.publish_refused += 1;
        let (client_id, topic) = (Arc::clone(&due.client_id), due.message.topic.clone());
        let reason = refused.reason();
        effects.push(Effect::Event(Event::PacketRefused { client_id, topic, reason }));
    }
}
