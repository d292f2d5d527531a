//! PUBLISH, step by step: validate, authorise, route, keep and forward, deliver, acknowledge.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{ForwardedProperties, PacketId, Publish, QoS, ReasonCode, TopicName};
use noctule_session::{AnswerId, Arrival};
use smallvec::SmallVec;

use crate::access::Authorization;
use crate::connection::{Flow, Parked};
use crate::effect::{Effect, Effects, Question, Token, Waiting};
use crate::event::Event;
use crate::fan_out::Then;
use crate::fault::{Fault, ProtocolError, Refused};
use crate::input::{ConnectionId, ShardId};
use crate::last_topic::Routed;
use crate::message::Message;
use crate::origin::Origin;
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::router::{Matches, Target};
use crate::settings::Durability;
use crate::shard::Shard;
use crate::shard_message::{Body, Forward};
use crate::stored::Record;
use crate::timers::Timer;

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
    packet_id: PacketId,
    answer: AnswerId,
}

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
        let acknowledgement = match self.admit(id, key, publish, effects)? {
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
        publication.expires_at = publish
            .properties
            .message_expiry_interval
            .map(|seconds| self.now.plus_seconds(seconds));
        publication.publisher = Publisher::Session(key);
        let user_properties = publish.properties.user_properties.len();
        let checked = if routed.is_some() { Ok(()) } else { self.check_topic(topic) };
        if let Err(refused) = checked.and_then(|()| self.check_user_properties(user_properties)) {
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
        let matches = self.route_once(publication.topic, routed);
        let owner = self.retained_elsewhere(publication);
        if let Some(shard) = self.blocked_by(matches, owner) {
            let message = publication.message();
            let parked = ParkedPublish { message, session: key, acknowledgement };
            self.wait_for_credit(id, shard, parked);
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
        let kept = self.persist(key, publication, matches, acknowledgement.as_ref(), effects);
        let Some(owed) = acknowledgement else {
            let rest = self.make_public(publication, matches, None, effects).1;
            return Ok(self.go_on_behind(id, publication, matches, rest, None));
        };
        let (answer, packet_id) = (owed.answer.value(), Some(owed.packet_id));
        let waiting = (key, answer);
        if publication.qos == QoS::ExactlyOnce && (kept > 0 || self.is_holding(key)) {
            self.hold(key, answer, publication.message(), kept == 0);
            self.outstanding.insert(waiting, Outstanding { parts: 1, reason, packet_id });
            return Ok(Flow::Next);
        }
        let (parts, rest) = self.make_public(publication, matches, Some(waiting), effects);
        let parts = kept + parts + u32::from(rest.is_some());
        if parts > 0 {
            self.outstanding.insert(waiting, Outstanding { parts, reason, packet_id });
        } else {
            self.acknowledge(id, key, answer, reason);
        }
        Ok(self.go_on_behind(id, publication, matches, rest, Some(waiting)))
    }

    /// Steps 5 to 7: keeps what is retained, forwards and delivers. How many answers of other
    /// shards there will be, and where the fan-out has stopped.
    fn make_public(
        &mut self,
        publication: &mut Publication<'_>,
        matches: &Matches,
        waiting: Option<(SessionKey, u64)>,
        effects: &mut Effects,
    ) -> (u32, Option<usize>) {
        self.number(publication);
        if self.retained_elsewhere(publication).is_none() {
            self.change_retained(publication);
        }
        let parts = self.forward(publication, matches, waiting, effects);
        #[cfg(feature = "planted-faults")]
        let parts =
            if self.is_planted(crate::planted::PlantedFault::AcknowledgeEarly) { 0 } else { parts };
        (parts, self.start_fan_out(publication, matches, effects))
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
        let then = Then { resume: Some(id), acknowledge, forwarded: None };
        self.defer(publication, Arc::clone(matches), from, then);
        Flow::Wait
    }

    /// Step 6: hands out what must be durable. How many answers the acknowledgement waits for.
    pub(crate) fn persist(
        &mut self,
        key: SessionKey,
        publication: &mut Publication<'_>,
        matches: &Matches,
        acknowledgement: Option<&Acknowledge>,
        effects: &mut Effects,
    ) -> u32 {
        if self.settings.durability == Durability::Memory {
            return 0;
        }
        let sessions = self.stored_sessions(publication, matches);
        let received = acknowledgement
            .filter(|_| publication.qos == QoS::ExactlyOnce && self.is_stored(key))
            .and_then(|owed| {
                let session = self.registry.session(key)?;
                Some((Arc::clone(&session.client_id), owed.packet_id))
            });
        if sessions.is_empty() && !publication.retain && received.is_none() {
            return 0;
        }
        let token = match acknowledgement {
            Some(owed) => {
                Token(Waiting::Acknowledgement { session: key, answer: owed.answer.value() })
            }
            None => Token::nobody(),
        };
        let message = publication.message();
        let record = Record::Published { received, message, sessions };
        effects.push(Effect::Persist { token, record });
        u32::from(acknowledgement.is_some())
    }

    /// The client identifiers of the stored sessions that the message will wait for, each once.
    fn stored_sessions(&self, publication: &Publication<'_>, matches: &Matches) -> Vec<Arc<str>> {
        let mut keys = Vec::new();
        // What is delivered at most once waits for nobody.
        for found in matches.iter().filter(|_| publication.qos > QoS::AtMostOnce) {
            match found.target {
                Target::Session(session) => {
                    let publisher = publication.publisher.session();
                    let own = found.options.no_local && publisher == Some(session);
                    if found.options.qos > QoS::AtMostOnce && !own {
                        keys.push(session);
                    }
                }
                Target::Group(group) => {
                    let own = self.settings.shard;
                    let members = self.groups.members(group).iter();
                    let own_members = members.filter(|member| member.shard == own);
                    keys.extend(own_members.map(|member| member.session));
                }
                Target::Shard(_) => {}
            }
        }
        keys.retain(|key| self.is_stored(*key));
        keys.sort_unstable();
        keys.dedup();
        let names = keys.into_iter().filter_map(|key| self.registry.session(key));
        names.map(|session| Arc::clone(&session.client_id)).collect()
    }

    /// Step 6: one record for each other shard that has subscribers or keeps the retained message.
    /// How many answers to wait for.
    pub(crate) fn forward(
        &mut self,
        publication: &mut Publication<'_>,
        matches: &Matches,
        waiting: Option<(SessionKey, u64)>,
        effects: &mut Effects,
    ) -> u32 {
        if self.settings.placement.shards() == 1 {
            return 0;
        }
        let owner = self.retained_elsewhere(publication);
        // Other shards stand behind all targets of this one, the same ones next to each other.
        let mut others: SmallVec<[ShardId; 8]> = matches
            .iter()
            .rev()
            .map_while(|found| match found.target {
                Target::Shard(shard) => Some(shard),
                Target::Session(_) | Target::Group(_) => None,
            })
            .chain(owner)
            .collect();
        if others.is_empty() {
            return 0;
        }
        others.sort_unstable();
        others.dedup();
        let token =
            waiting.map(|(session, answer)| Token(Waiting::Acknowledgement { session, answer }));
        let publisher = self.publisher_number(publication.publisher);
        let (message, origin) = (publication.message(), publication.origin);
        for to in &others {
            let keep_for = (owner == Some(*to)).then(|| self.publisher_name(publication.publisher));
            let message = Arc::clone(&message);
            self.windows.spend(*to, message.bytes());
            let forward = Forward { token, message, origin, publisher, keep_for };
            effects.tell(*to, Body::Forward(forward));
        }
        if waiting.is_none() {
            return 0;
        }
        // There are no more shards than a u16 counts.
        u32::try_from(others.len()).unwrap_or(u32::MAX)
    }

    /// The shard that keeps the retained message of this topic, if another one does and it is to be
    /// changed.
    pub(crate) fn retained_elsewhere(&self, publication: &Publication<'_>) -> Option<ShardId> {
        // [MQTT5-3.3.1-8] [MQTT311-3.3.1-12]
        if !publication.retain {
            return None;
        }
        let owner = self.settings.placement.retained(publication.topic.as_str());
        (owner != self.settings.shard).then_some(owner)
    }

    /// Gives a retained publication its number, by which all shards know it.
    pub(crate) fn number(&mut self, publication: &mut Publication<'_>) {
        if !publication.retain {
            return;
        }
        let owner = self.settings.placement.retained(publication.topic.as_str());
        if let Some(position) = self.published.get_mut(usize::from(owner.0)) {
            *position += 1;
            publication.origin = Origin { shard: self.settings.shard, position: *position };
            self.seen.note(owner, publication.origin);
        }
    }

    /// Notes that a retained publication, of whatever shard, was seen.
    pub(crate) fn note_seen(&mut self, publication: &Publication<'_>) {
        if publication.retain {
            let owner = self.settings.placement.retained(publication.topic.as_str());
            self.seen.note(owner, publication.origin);
        }
    }

    /// Lets a QoS 2 publication wait for its own record: a repetition after a crash must not double
    /// it.
    fn hold(&mut self, key: SessionKey, answer: u64, message: Arc<Message>, is_kept: bool) {
        self.held.insert((key, answer), Held { message, is_kept });
    }

    /// Whether a QoS 2 publication of this session waits to be routed.
    fn is_holding(&self, key: SessionKey) -> bool {
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
                let (topic, reason) = (message.topic.clone(), refused.reason());
                self.statistics.publish_refused += 1;
                effects.push(Effect::Event(Event::PacketRefused { client_id, topic, reason }));
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
                if let Some(connection) = connection.and_then(|id| self.connections.find_mut(id)) {
                    connection.refusals.extend(packet_id.map(|packet_id| (packet_id, *refused)));
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

    /// Quota and QoS 2 duplicates.
    fn admit(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        publish: &Publish<'_>,
        _: &mut Effects,
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
        self.statistics.publish_refused += 1;
        if !v5 && self.settings.close_on_refused_publish {
            self.withdraw(key, acknowledgement);
            return Err(refused.into());
        }
        let client_id = Arc::clone(&session.client_id);
        let reason = refused.reason();
        effects.push(Effect::Event(Event::PacketRefused {
            client_id,
            topic: topic.into(),
            reason,
        }));
        if let Some(owed) = acknowledgement {
            let told = if v5 { refused.code } else { ReasonCode::Success };
            if let Some(connection) = self.connections.find_mut(id).filter(|_| v5) {
                connection.refusals.push((owed.packet_id, refused));
            }
            self.acknowledge(id, key, owed.answer.value(), told);
        }
        Ok(Flow::Next)
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

    /// Keeps or forgets the topic's retained message, if there is room for it.
    pub(crate) fn keep_retained(
        &mut self,
        publication: &mut Publication<'_>,
    ) -> Result<(), Refused> {
        self.check_retained(publication)?;
        self.change_retained(publication);
        Ok(())
    }

    fn change_retained(&mut self, publication: &mut Publication<'_>) {
        // [MQTT5-3.3.1-8] [MQTT311-3.3.1-12]
        if !publication.retain {
            return;
        }
        #[cfg(feature = "planted-faults")]
        if self.is_planted(crate::planted::PlantedFault::KeepOldRetained) {
            return;
        }
        let topic = publication.topic.as_str();
        // [MQTT5-3.3.1-7] [MQTT311-3.3.1-11]
        let (before, until) = if publication.payload.is_empty() {
            // [MQTT5-3.3.1-6] [MQTT311-3.3.1-10] [MQTT31-3.3-3]
            (self.retained.remove(topic), None)
        } else {
            let (message, origin) = (publication.message(), publication.origin);
            // [MQTT5-3.3.1-5] [MQTT311-3.3.1-5] [MQTT311-3.3.1-7]
            (self.retained.insert(message, origin), publication.expires_at)
        };
        if let Some(at) = before.and_then(|before| before.expires_at) {
            self.timers.cancel(at, Timer::Retained(topic.into()));
        }
        if let Some(at) = until {
            self.timers.set(at, Timer::Retained(topic.into()));
        }
    }

    fn check_retained(&self, publication: &Publication<'_>) -> Result<(), Refused> {
        if !publication.retain {
            return Ok(());
        }
        let limits = &self.settings.limits;
        let topic = publication.topic.as_str();
        let unbounded = topic.starts_with("$SYS/") || publication.payload.is_empty();
        if unbounded || self.retained_elsewhere(publication).is_some() {
            return Ok(());
        }
        let (totals, before) = (&self.settings.totals, self.retained.find(topic));
        let count = totals.retained_messages.count() + u64::from(before.is_none());
        let code = ReasonCode::QuotaExceeded;
        if count > limits.retained_messages_max {
            let (setting, maximum) = ("limits.retained_messages_max", limits.retained_messages_max);
            let text = "too many retained messages";
            return Err(Refused::limit(code, text, setting, maximum, count));
        }
        let bytes = totals.retained_bytes.count() - self.retained.bytes()
            + self.retained.bytes_with(topic, publication.bytes() as u64);
        if bytes > limits.retained_bytes_max {
            let (setting, maximum) = ("limits.retained_bytes_max", limits.retained_bytes_max);
            let text = "too many bytes of retained messages";
            return Err(Refused::limit(code, text, setting, maximum, bytes));
        }
        Ok(())
    }
}

/// What [`Shard::admit`] says.
enum Admitted {
    /// Pass it on, and acknowledge it if it has QoS 1 or 2.
    New(Option<Acknowledge>),
    /// It was passed on before.
    Duplicate,
}

impl Outstanding {
    /// What a PUBCOMP waits for.
    pub(crate) const fn release() -> Self {
        Self { parts: 1, reason: ReasonCode::Success, packet_id: None }
    }
}
