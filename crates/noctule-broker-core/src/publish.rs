//! PUBLISH, step by step: validate, authorise, route, keep and forward, deliver, acknowledge.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;

use noctule_packet::{ForwardedProperties, PacketId, Publish, QoS, ReasonCode, TopicName};
use noctule_session::{AnswerId, Arrival};

use crate::access::Authorization;
use crate::connection::{Flow, Parked};
use crate::effect::{Effect, Effects, Question, Token, Waiting};
use crate::event::Event;
use crate::fan_out::Then;
use crate::fault::{Fault, ProtocolError, Refused};
use crate::input::ConnectionId;
use crate::last_topic::Routed;
use crate::message::Message;
use crate::outstanding::Outstanding;
use crate::persist::Awaiting;
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::router::Matches;
use crate::shard::Shard;

/// A publication that waits for authorisation.
#[derive(Debug)]
pub(crate) struct ParkedPublish {
    message: Arc<Message>,
    pub(crate) session: SessionKey,
    pub(crate) acknowledgement: Option<Acknowledge>,
}

/// The acknowledgement that a QoS 1 or 2 publication is owed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledge {
    pub(crate) packet_id: PacketId,
    pub(crate) answer: AnswerId,
}

impl Shard {
    /// Step 3: may this packet come now, and which topic is meant? What is in `routed` belongs to
    /// the topic.
    pub(crate) fn on_publish(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        publish: &Publish<'_>,
        routed: &mut Option<Routed>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        self.statistics.publish_received += 1;
        self.check_features(publish)?;
        let resolved;
        let topic = match self.resolve_alias(id, publish)? {
            None => publish.topic,
            Some(text) => {
                resolved = text;
                TopicName::new(&resolved).ok()
            }
        };
        let Some(topic) = topic else { return Ok(Flow::Next) };
        let unreleased = self.check_unreleased(key, publish)?;
        let acknowledgement = match self.admit(id, key, publish)? {
            #[cfg(feature = "planted-faults")]
            Admitted::Duplicate
                if self.is_planted(crate::planted::PlantedFault::PassOnDuplicate) =>
            {
                None
            }
            Admitted::Duplicate => return Ok(Flow::Next),
            Admitted::New(acknowledgement) => acknowledgement,
        };
        let mut publication = Publication::new(topic, publish.payload, publish.qos);
        publication.retain = publish.retain;
        // [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-18]
        // [MQTT5-3.3.2-20]
        publication.properties = Cow::Owned(ForwardedProperties::from_publish(&publish.properties));
        let asked = publish.properties.message_expiry_interval;
        let interval = self.settings.limits.message_expiry_interval(asked);
        publication.expires_at = interval.map(|seconds| self.now.plus_seconds(seconds));
        publication.publisher = Publisher::Session(key);
        let user_properties = publish.properties.user_properties.len();
        let checked = if routed.is_some() { Ok(()) } else { self.check_topic(topic) };
        let checked = checked.and_then(|()| self.check_user_properties(user_properties));
        if let Err(refused) = checked.and(unreleased) {
            return self.refuse_publish(id, key, topic.as_str(), acknowledgement, refused, effects);
        }
        self.authorize(id, key, &mut publication, acknowledgement, routed, effects)
    }

    /// Step 4: may it be published?
    fn authorize(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        publication: &mut Publication<'_>,
        acknowledgement: Option<Acknowledge>,
        routed: &mut Option<Routed>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        if self.settings.authorization == Authorization::AllowAll {
            return self.accept(id, key, publication, acknowledgement, routed, effects);
        }
        let Some(session) = self.registry.session(key) else { return Ok(Flow::Wait) };
        let (client_id, principal) = (Arc::clone(&session.client_id), session.principal.clone());
        let message = publication.message();
        let question = Question::Publish { topic: message.topic.clone(), retain: message.retain };
        let parked = ParkedPublish { message, session: key, acknowledgement };
        let step = self.park(id, Parked::Publish(Box::new(parked)));
        let token = Token(Waiting::Packet { connection: id, step });
        effects.push(Effect::Authorize { token, client_id, principal, question });
        Ok(Flow::Wait)
    }

    /// Goes on when authorisation has answered.
    pub(crate) fn on_publish_authorized(
        &mut self,
        id: ConnectionId,
        parked: ParkedPublish,
        allowed: bool,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        if allowed {
            return self.accept_parked(id, parked, effects);
        }
        let ParkedPublish { message, session, acknowledgement } = parked;
        let refused = Refused::new(ReasonCode::NotAuthorized, "not authorized to publish");
        self.refuse_publish(id, session, &message.topic, acknowledgement, refused, effects)
    }

    /// Goes on with a publication that waited for an answer or for another shard.
    pub(crate) fn accept_parked(
        &mut self,
        id: ConnectionId,
        parked: ParkedPublish,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let ParkedPublish { message, session, acknowledgement } = parked;
        match Publication::of(&message, Publisher::Session(session)) {
            Some(mut publication) => {
                self.accept(id, session, &mut publication, acknowledgement, &mut None, effects)
            }
            None => Ok(Flow::Next),
        }
    }

    /// Steps 5 to 8 for a publication that may be made.
    fn accept(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        publication: &mut Publication<'_>,
        acknowledgement: Option<Acknowledge>,
        routed: &mut Option<Routed>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        publication.is_in_memory = self.is_in_memory(key);
        let matches = self.route_once(publication.topic, routed);
        let owner = self.retained_elsewhere(publication);
        let blocked_by = self.blocked_by(matches, owner);
        if blocked_by.is_some() || self.waits_for_room(key, publication, matches) {
            let message = publication.message();
            let parked = ParkedPublish { message, session: key, acknowledgement };
            match blocked_by {
                Some(shard) => self.wait_for_credit(id, shard, parked),
                None => self.wait_for_room(id, parked, effects),
            }
            return Ok(Flow::Wait);
        }
        if let Err(refused) = self.check_retained(publication) {
            let topic = publication.topic.as_str();
            return self.refuse_publish(id, key, topic, acknowledgement, refused, effects);
        }
        // Of interest to nobody: said in PUBACK only. Established servers answer PUBREC without it.
        let reason = if matches.is_empty() && publication.qos == QoS::AtLeastOnce {
            ReasonCode::NoMatchingSubscribers
        } else {
            ReasonCode::Success
        };
        let Some(owed) = acknowledgement else {
            let rest = self.make_public(publication, matches, None, effects).1;
            return Ok(self.go_on_behind(id, publication, matches, rest, None));
        };
        let (answer, packet_id) = (owed.answer.value(), Some(owed.packet_id));
        let waiting = (key, answer);
        if publication.qos == QoS::ExactlyOnce
            && self.hold(key, &owed, publication.message(), effects)
        {
            self.outstanding.insert(waiting, Outstanding::new(1, reason, packet_id));
            return Ok(Flow::Next);
        }
        let (parts, rest) = self.make_public(publication, matches, Some(waiting), effects);
        let parts = parts + u32::from(rest.is_some());
        if parts > 0 {
            self.outstanding.insert(waiting, Outstanding::new(parts, reason, packet_id));
        } else {
            self.acknowledge(id, key, answer, reason);
        }
        Ok(self.go_on_behind(id, publication, matches, rest, Some(waiting)))
    }

    /// Steps 5 to 7: keeps what is retained, forwards and delivers. How many answers of the store
    /// and other shards there will be, and where the fan-out has stopped.
    pub(crate) fn make_public(
        &mut self,
        publication: &mut Publication<'_>,
        matches: &Matches,
        waiting: Option<(SessionKey, u64)>,
        effects: &mut Effects,
    ) -> (u32, Option<usize>) {
        let before = self.recorded();
        self.number(publication);
        if self.retained_elsewhere(publication).is_none() {
            self.change_retained(publication, effects);
        }
        let mut parts = self.forward(publication, matches, waiting, effects);
        let rest = self.start_fan_out(publication, matches, effects);
        if let Some((session, answer)) = waiting
            && self.recorded() > before
            && !publication.is_in_memory
        {
            parts += 1;
            self.await_durable(Awaiting::Acknowledgement { session, answer }, effects);
        }
        #[cfg(feature = "planted-faults")]
        if self.is_planted(crate::planted::PlantedFault::AcknowledgeEarly) {
            parts = 0;
        }
        (parts, rest)
    }

    /// Lets the connection go on: at once, or behind the rest of a fan-out.
    fn go_on_behind(
        &mut self,
        id: ConnectionId,
        publication: &mut Publication<'_>,
        matches: &Matches,
        rest: Option<usize>,
        acknowledge: Option<(SessionKey, u64)>,
    ) -> Flow {
        let Some(from) = rest else { return Flow::Next };
        self.park(id, Parked::FanOut);
        let then = Then { resume: Some(id), acknowledge, ..Then::default() };
        self.defer(publication, Arc::clone(matches), from, then);
        Flow::Wait
    }

    /// Retained messages and the publisher's QoS are only taken where they were announced.
    fn check_features(&self, publish: &Publish<'_>) -> Result<(), Fault> {
        let features = &self.settings.features;
        // [MQTT5-3.2.2-11]
        if publish.qos > features.maximum_qos {
            let text = "the QoS is not supported (features.maximum_qos)";
            return Err(Refused::new(ReasonCode::QosNotSupported, text).into());
        }
        // [MQTT5-3.2.2-14]
        if publish.retain && !features.retain_available {
            let text = "retained messages are not supported (features.retain_available)";
            return Err(Refused::new(ReasonCode::RetainNotSupported, text).into());
        }
        // [MQTT5-3.3.4-6]
        if !publish.properties.subscription_identifiers.is_empty() {
            return Err(ProtocolError::SubscriptionIdentifierFromClient.into());
        }
        Ok(())
    }

    /// The topic that an alias stands for, if the packet itself has none.
    // [MQTT5-3.3.2-12]
    fn resolve_alias(
        &mut self,
        id: ConnectionId,
        publish: &Publish<'_>,
    ) -> Result<Option<Arc<str>>, Fault> {
        let Some(alias) = publish.properties.topic_alias else { return Ok(None) };
        let Some(connection) = self.connections.find_mut(id) else { return Ok(None) };
        match publish.topic {
            Some(topic) => {
                let defined = connection.inbound_aliases().define(alias, topic.as_str());
                defined.map_err(ProtocolError::TopicAlias)?;
                Ok(None)
            }
            None => {
                let topic = connection.inbound_aliases().resolve(alias);
                Ok(Some(Arc::clone(topic.map_err(ProtocolError::TopicAlias)?)))
            }
        }
    }

    /// Packet identifiers that a client takes and never releases are kept for ever. A refusal in
    /// PUBREC frees its own; before 5.0 there is none, and only the end of the connection says so.
    // [MQTT5-4.3.3-9]
    fn check_unreleased(
        &self,
        key: SessionKey,
        publish: &Publish<'_>,
    ) -> Result<Result<(), Refused>, Fault> {
        let maximum = self.settings.limits.unreleased_max;
        let session = self.registry.session(key);
        let Some((session, packet_id)) = session.zip(publish.packet_id) else { return Ok(Ok(())) };
        let count = session.receiver.unreleased();
        if publish.qos < QoS::ExactlyOnce
            || count < usize::from(maximum)
            || session.receiver.is_unreleased(packet_id)
        {
            return Ok(Ok(()));
        }
        let (code, text) = (ReasonCode::QuotaExceeded, "too many QoS 2 messages are unreleased");
        let wanted = count as u64 + 1;
        let refused = Refused::limit(code, text, "limits.unreleased_max", maximum, wanted);
        if session.version.is_v5() { Ok(Err(refused)) } else { Err(refused.into()) }
    }

    /// Quota and QoS 2 duplicates.
    fn admit(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        publish: &Publish<'_>,
    ) -> Result<Admitted, Fault> {
        let Some(packet_id) = publish.packet_id else { return Ok(Admitted::New(None)) };
        let Some(session) = self.registry.session_mut(key) else { return Ok(Admitted::Duplicate) };
        let arrival = session.receiver.on_publish(publish.qos, packet_id);
        match arrival.map_err(ProtocolError::Receiver)? {
            Arrival::New(answer) => Ok(Admitted::New(Some(Acknowledge { packet_id, answer }))),
            Arrival::Duplicate => {
                self.send_acknowledgements(id, key);
                Ok(Admitted::Duplicate)
            }
        }
    }

    /// Bounds on topic names, and the tree that belongs to the broker.
    pub(crate) fn check_topic(&self, topic: TopicName<'_>) -> Result<(), Refused> {
        let limits = &self.settings.limits;
        let text = topic.as_str();
        if text.len() > usize::from(limits.topic_bytes_max) {
            let (maximum, wanted) = (limits.topic_bytes_max, text.len() as u64);
            let setting = "limits.topic_bytes_max";
            let code = ReasonCode::TopicNameInvalid;
            return Err(Refused::limit(code, "the topic is too long", setting, maximum, wanted));
        }
        let levels = 1 + text.bytes().filter(|byte| *byte == b'/').count();
        if levels > usize::from(limits.topic_levels_max) {
            let (maximum, wanted) = (limits.topic_levels_max, levels as u64);
            let setting = "limits.topic_levels_max";
            let code = ReasonCode::TopicNameInvalid;
            return Err(Refused::limit(code, "too many topic levels", setting, maximum, wanted));
        }
        if text == "$SYS" || text.starts_with("$SYS/") {
            return Err(Refused::new(ReasonCode::NotAuthorized, "$SYS belongs to the broker"));
        }
        Ok(())
    }

    /// A publication that is not made: 5.0 clients are told why, 3.x clients get the
    /// acknowledgement that they need to go on, or lose their connection where the settings say so.
    // [MQTT311-3.3.5-2] [MQTT31-3.3-4]
    fn refuse_publish(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        topic: &str,
        acknowledgement: Option<Acknowledge>,
        refused: Refused,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let Some(session) = self.registry.session(key) else { return Ok(Flow::Wait) };
        let v5 = session.version.is_v5();
        if !v5 && self.settings.close_on_refused_publish {
            self.statistics.publish_refused += 1;
            self.withdraw(key, acknowledgement);
            return Err(refused.into());
        }
        let client_id = Arc::clone(&session.client_id);
        self.note_refused(client_id, topic.into(), &refused, effects);
        if let Some(owed) = acknowledgement {
            let told = if v5 { refused.code } else { ReasonCode::Success };
            if let Some(connection) = self.connections.find_mut(id).filter(|_| v5) {
                connection.note_refusal(owed.packet_id, refused);
            }
            self.acknowledge(id, key, owed.answer.value(), told);
        }
        Ok(Flow::Next)
    }

    /// Counts and tells that a publication is not made.
    pub(crate) fn note_refused(
        &mut self,
        client_id: Arc<str>,
        topic: Arc<str>,
        refused: &Refused,
        effects: &mut Effects,
    ) {
        self.statistics.publish_refused += 1;
        let reason = refused.reason();
        effects.push(Effect::Event(Event::PacketRefused { client_id, topic, reason }));
    }

    /// The connection ends before it is decided whether a publication may be made: if its client
    /// repeats it, that is the first time.
    pub(crate) fn withdraw(&mut self, key: SessionKey, acknowledgement: Option<Acknowledge>) {
        if let Some(session) = self.registry.session_mut(key)
            && let Some(owed) = acknowledgement
        {
            session.receiver.complete(owed.answer, ReasonCode::UnspecifiedError);
        }
    }
}

/// What [`Shard::admit`] says.
enum Admitted {
    /// Pass it on, and acknowledge it if it has QoS 1 or 2.
    New(Option<Acknowledge>),
    /// It was passed on before.
    Duplicate,
}
