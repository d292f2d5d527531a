//! SUBSCRIBE: from the packet to the SUBACK and the retained messages behind it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{
    Packet, PacketId, QoS, ReasonCode, RetainHandling, Suback, Subscribe, SubscriptionOptions,
    TopicFilter, Version,
};

use crate::access::Authorization;
use crate::connection::{Flow, Parked};
use crate::effect::{Effect, Effects, Question, Token, Waiting};
use crate::event::{Event, Reason};
use crate::fault::{Fault, Refused};
use crate::input::ConnectionId;
use crate::persist::Awaiting;
use crate::registry::SessionKey;
use crate::replay::{ReplayTerms, Since};
use crate::router::{Change, Match, Target};
use crate::session::{Subscription, SubscriptionIdentifier};
use crate::shard::Shard;
use crate::stored::{Record, StoredSubscription};

/// A SUBSCRIBE that waits for answers.
#[derive(Debug)]
pub(crate) struct ParkedSubscribe {
    packet_id: PacketId,
    session: SessionKey,
    requests: Vec<Request>,
    /// How many requests authorisation has answered.
    asked: usize,
    /// What needs no replay, once the subscriptions are made.
    pub(crate) since: Option<Since>,
    /// How many answers of the store and other shards SUBACK waits for.
    pub(crate) parts: u32,
}

/// One filter of a SUBSCRIBE and what becomes of it.
#[derive(Debug)]
pub(crate) struct Request {
    filter: Box<str>,
    options: SubscriptionOptions,
    identifier: Option<SubscriptionIdentifier>,
    code: ReasonCode,
    /// Whether the session did not have it before.
    new: bool,
    /// Whether the store knows that retained messages are to be sent for it.
    is_owed: bool,
}

/// An UNSUBSCRIBE that waits for answers.
#[derive(Debug)]
pub(crate) struct ParkedUnsubscribe {
    pub(crate) packet_id: PacketId,
    pub(crate) codes: Vec<ReasonCode>,
    pub(crate) parts: u32,
}

impl Request {
    pub(crate) fn from_stored(stored: StoredSubscription) -> Self {
        let StoredSubscription { filter, options, identifier, is_owed } = stored;
        let identifier = identifier.and_then(SubscriptionIdentifier::new);
        let code = ReasonCode::granted(options.qos);
        Self { filter, options, identifier, code, new: false, is_owed }
    }

    /// What is stored of it.
    fn to_stored(&self) -> StoredSubscription {
        StoredSubscription {
            filter: self.filter.clone(),
            options: self.options,
            identifier: self.identifier.map(SubscriptionIdentifier::get),
            is_owed: self.is_owed,
        }
    }

    const fn replay_terms(&self) -> ReplayTerms {
        (self.options, self.identifier, self.is_owed)
    }

    /// Whether the retained messages that it matches are to be sent.
    fn wants_retained(&self) -> bool {
        let wants = match self.options.retain_handling {
            // [MQTT5-3.3.1-9] [MQTT5-3.8.4-4] [MQTT311-3.3.1-6] [MQTT311-3.8.4-3]
            RetainHandling::SendAtSubscribe => true,
            // [MQTT5-3.3.1-10]
            RetainHandling::SendIfNew => self.new,
            // [MQTT5-3.3.1-11]
            RetainHandling::DoNotSend => false,
        };
        wants && !self.filter.starts_with("$share/")
    }
}

impl Shard {
    pub(crate) fn on_subscribe(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        subscribe: &Subscribe<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let mut requests = Vec::new();
        let features = &self.settings.features;
        if subscribe.subscription_identifier.is_some()
            && !features.subscription_identifiers_available
        {
            let text = "subscription identifiers are not supported \
                        (features.subscription_identifiers_available)";
            let code = ReasonCode::SubscriptionIdentifiersNotSupported;
            return Err(Refused::new(code, text).into());
        }
        self.check_user_properties(subscribe.user_properties.len())?;
        let (maximum, filters) =
            (self.settings.limits.subscriptions_max, subscribe.subscriptions.len());
        if filters > maximum as usize {
            return Err(too_many_subscriptions(maximum, filters).into());
        }
        for subscription in subscribe.subscriptions.iter() {
            let refused = self.check_filter(key, subscription.filter)?;
            requests.push(Request {
                filter: subscription.filter.as_str().into(),
                options: subscription.options,
                identifier: subscribe.subscription_identifier.and_then(SubscriptionIdentifier::new),
                code: match &refused {
                    Some(refused) => refused.code,
                    // [MQTT5-3.2.2-10] [MQTT5-3.8.4-7] [MQTT311-3.8.4-5]
                    None => ReasonCode::granted(subscription.options.qos),
                },
                new: false,
                is_owed: false,
            });
            if let Some(refused) = refused {
                self.refuse_filter(key, subscription.filter.as_str(), refused, effects)?;
            }
        }
        let packet_id = subscribe.packet_id;
        let parked =
            ParkedSubscribe { packet_id, session: key, requests, asked: 0, since: None, parts: 0 };
        self.ask_next(id, parked, effects)
    }

    /// Asks authorisation about the next filter, or goes on when all are answered.
    fn ask_next(
        &mut self,
        id: ConnectionId,
        mut parked: ParkedSubscribe,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        if self.settings.authorization == Authorization::AllowAll {
            return self.subscribe_all(id, parked, effects);
        }
        while let Some(request) = parked.requests.get(parked.asked) {
            if request.code.is_error() {
                parked.asked += 1;
                continue;
            }
            let Some(session) = self.registry.session(parked.session) else {
                return Ok(Flow::Wait);
            };
            let client_id = Arc::clone(&session.client_id);
            let principal = session.principal.clone();
            let question = Question::Subscribe { filter: (&*request.filter).into() };
            let step = self.park(id, Parked::Subscribe(Box::new(parked)));
            let token = Token(Waiting::Packet { connection: id, step });
            effects.push(Effect::Authorize { token, client_id, principal, question });
            return Ok(Flow::Wait);
        }
        self.subscribe_all(id, parked, effects)
    }

    /// Goes on when authorisation has answered about one filter.
    pub(crate) fn on_subscribe_authorized(
        &mut self,
        id: ConnectionId,
        mut parked: ParkedSubscribe,
        allowed: bool,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let session = parked.session;
        if let Some(request) = parked.requests.get_mut(parked.asked)
            && !allowed
        {
            request.code = ReasonCode::NotAuthorized;
            let refused = Refused::new(ReasonCode::NotAuthorized, "not authorized to subscribe");
            let filter = request.filter.clone();
            self.refuse_filter(session, &filter, refused, effects)?;
        }
        parked.asked += 1;
        self.ask_next(id, parked, effects)
    }

    /// Makes the subscriptions that are allowed, and waits for whoever must know them.
    fn subscribe_all(
        &mut self,
        id: ConnectionId,
        mut parked: ParkedSubscribe,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let key = parked.session;
        let step = self.next_step(id);
        let token = Token(Waiting::Packet { connection: id, step });
        parked.since = Some(self.since(key));
        self.expect_replays(key, true);
        // [MQTT5-3.8.4-5] [MQTT311-3.8.4-4]
        for at in 0..parked.requests.len() {
            let Some(request) = parked.requests.get_mut(at) else { break };
            if request.code.is_error() {
                continue;
            }
            if let Err(refused) = self.check_number(key, &request.filter) {
                request.code = refused.code;
                self.refuse_filter(key, &request.filter, refused, effects)?;
                continue;
            }
            let (new, change) = self.add_subscription(key, request);
            request.new = new;
            parked.parts += self.publish_subscription(key, request, change, token, effects);
        }
        #[cfg(feature = "planted-faults")]
        if self.is_planted(crate::planted::PlantedFault::GrantEarly) {
            parked.parts = 0;
        }
        if parked.parts > 0 {
            self.set_parked(id, Parked::Subscribe(Box::new(parked)));
            return Ok(Flow::Wait);
        }
        self.finish_subscribe(id, parked, effects)
    }

    /// Answers with SUBACK and starts the replay of retained messages.
    pub(crate) fn finish_subscribe(
        &mut self,
        id: ConnectionId,
        parked: ParkedSubscribe,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let ParkedSubscribe { packet_id, session: key, requests, since, .. } = parked;
        self.expect_replays(key, false);
        // [MQTT5-3.8.4-6] [MQTT5-3.9.3-1] [MQTT5-3.9.3-2] [MQTT311-3.8.4-5] [MQTT311-3.9.3-1]
        // [MQTT311-3.9.3-2] [MQTT31-3.9-1]
        let codes: Vec<ReasonCode> = requests.iter().map(|request| request.code).collect();
        // [MQTT5-2.2.1-6] [MQTT5-3.8.4-1] [MQTT5-3.8.4-2] [MQTT311-2.3.1-7] [MQTT311-3.8.4-1]
        // [MQTT311-3.8.4-2]
        self.send_answer(id, &Packet::Suback(Suback::new(packet_id, codes)))?;
        for request in requests.iter().filter(|request| !request.code.is_error()) {
            let Some(session) = self.registry.session(key) else { return Ok(Flow::Wait) };
            let client_id = Arc::clone(&session.client_id);
            let filter = request.filter.clone();
            let qos = request.options.qos;
            effects.push(Effect::Event(Event::Subscribed { client_id, filter, qos }));
            let terms = request.replay_terms();
            match &since {
                Some(since) if request.wants_retained() => {
                    self.begin_replay(key, &request.filter, terms, since.clone());
                }
                _ => self.change_replay(key, &request.filter, terms, effects),
            }
        }
        self.replay(key, effects);
        // A new member may be the first that can take what waits in its group.
        self.pull_from_groups(key, effects);
        Ok(Flow::Next)
    }

    /// Sends an answer without which its client cannot go on, even if it takes no packet as large.
    pub(crate) fn send_answer(
        &mut self,
        id: ConnectionId,
        packet: &Packet<'_>,
    ) -> Result<(), Refused> {
        if self.send(id, packet) {
            return Ok(());
        }
        let maximum =
            self.connections.find(id).map_or(0, |connection| connection.maximum_packet_size);
        Err(Refused::limit(
            ReasonCode::PacketTooLarge,
            "the answer is too large for the client",
            "Maximum Packet Size in CONNECT",
            maximum,
            0_u32,
        ))
    }

    /// Lets a session that was stored have the retained messages that it was owed. What is
    /// published from now on it gets live.
    pub(crate) fn replay_anew(&mut self, key: SessionKey, request: &Request) {
        if request.is_owed {
            let since = self.since(key);
            self.begin_replay(key, &request.filter, request.replay_terms(), since);
        }
    }

    /// Puts one subscription in place of the session's last one with the same filter. Whether it
    /// had none, and what changed for other shards.
    pub(crate) fn add_subscription(
        &mut self,
        key: SessionKey,
        request: &Request,
    ) -> (bool, Change) {
        let Request { filter, options, identifier, .. } = request;
        let Ok(parsed) = TopicFilter::new(filter) else { return (false, Change::None) };
        let Some(session) = self.registry.session_mut(key) else { return (false, Change::None) };
        let subscription = Subscription { options: *options, identifier: *identifier };
        // [MQTT5-3.8.4-3] [MQTT311-3.8.4-3]
        let new = session.subscriptions.insert(filter.clone(), subscription).is_none();
        let (options, identifier) = (*options, *identifier);
        let change = match parsed.share_name() {
            None => {
                let target = Target::Session(key);
                self.router.subscribe(parsed.filter(), Match { target, options, identifier })
            }
            // Its shard does the rest: see `tell_subscription`.
            Some(_) if self.group_elsewhere(filter).is_some() => Change::None,
            Some(_) => self.join_own_group(key, parsed, subscription),
        };
        self.subscriptions += u64::from(new);
        (new, change)
    }

    /// Lets the store and the other shards know. How many answers to wait for.
    fn publish_subscription(
        &mut self,
        key: SessionKey,
        request: &mut Request,
        change: Change,
        token: Token,
        effects: &mut Effects,
    ) -> u32 {
        let mut parts = 0;
        let name = self.registry.session_mut(key).and_then(|session| session.queue_name());
        if let Some(session) = name {
            parts += 1;
            // What QoS 0 replays leaves with its connection.
            request.is_owed = request.options.qos > QoS::AtMostOnce
                && (self.supersede_replay(key, &request.filter) || request.wants_retained());
            let subscription = request.to_stored();
            self.record(Record::Subscribed { session, subscription }, effects);
            self.await_durable(Awaiting::Packet(token), effects);
        }
        parts + self.tell_subscription(key, request, change, token, effects)
    }

    /// Lets the other shards know. How many answers to wait for.
    pub(crate) fn tell_subscription(
        &mut self,
        key: SessionKey,
        request: &Request,
        change: Change,
        token: Token,
        effects: &mut Effects,
    ) -> u32 {
        let Some(owner) = self.group_elsewhere(&request.filter) else {
            return self.change_routes(&request.filter, change, token, effects);
        };
        let Request { options, identifier, .. } = *request;
        let subscription = Subscription { options, identifier };
        self.ask_to_join(owner, key, (&request.filter, subscription), token, effects);
        1
    }

    /// What forbids a filter: alone, or the whole packet where the specification says so.
    fn check_filter(
        &self,
        key: SessionKey,
        filter: TopicFilter<'_>,
    ) -> Result<Option<Refused>, Fault> {
        let Some(session) = self.registry.session(key) else { return Ok(None) };
        let features = &self.settings.features;
        let unavailable = if filter.has_wildcard() && !features.wildcard_subscription_available {
            let text = "wildcards are not supported (features.wildcard_subscription_available)";
            Some(Refused::new(ReasonCode::WildcardSubscriptionsNotSupported, text))
        } else if filter.share_name().is_some() && !features.shared_subscription_available {
            let text = "shared subscriptions are not supported \
                        (features.shared_subscription_available)";
            Some(Refused::new(ReasonCode::SharedSubscriptionsNotSupported, text))
        } else {
            None
        };
        if let Some(refused) = unavailable {
            // [MQTT311-3.8.3-2]
            return if session.version.is_v5() { Err(refused.into()) } else { Ok(Some(refused)) };
        }
        let limits = &self.settings.limits;
        let levels = filter.levels().take(usize::from(limits.topic_levels_max) + 1).count();
        if levels > usize::from(limits.topic_levels_max) {
            return Ok(Some(Refused::limit(
                ReasonCode::TopicFilterInvalid,
                "too many topic levels",
                "limits.topic_levels_max",
                limits.topic_levels_max,
                levels as u64,
            )));
        }
        if filter.as_str().len() > usize::from(limits.topic_bytes_max) {
            return Ok(Some(Refused::limit(
                ReasonCode::TopicFilterInvalid,
                "the topic filter is too long",
                "limits.topic_bytes_max",
                limits.topic_bytes_max,
                filter.as_str().len() as u64,
            )));
        }
        Ok(None)
    }

    /// Whether a session may have this subscription beside those that it has.
    fn check_number(&self, key: SessionKey, filter: &str) -> Result<(), Refused> {
        let Some(session) = self.registry.session(key) else { return Ok(()) };
        let maximum = self.settings.limits.subscriptions_max;
        let held = session.subscriptions.len();
        if held < maximum as usize || session.subscriptions.contains(filter) {
            return Ok(());
        }
        Err(too_many_subscriptions(maximum, held + 1))
    }

    /// A filter that is not subscribed to: SUBACK says so, where its version has a code for it.
    fn refuse_filter(
        &mut self,
        key: SessionKey,
        filter: &str,
        refused: Refused,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let Some(session) = self.registry.session(key) else { return Ok(()) };
        // [MQTT31-3.8-2] [MQTT31-3.9-1]
        if session.version == Version::V3_1 {
            return Err(refused.into());
        }
        let reason: Reason = refused.reason();
        let client_id = Arc::clone(&session.client_id);
        let topic = filter.into();
        effects.push(Effect::Event(Event::PacketRefused { client_id, topic, reason }));
        Ok(())
    }
}

fn too_many_subscriptions(maximum: u32, wanted: usize) -> Refused {
    let (code, text) = (ReasonCode::QuotaExceeded, "too many subscriptions");
    Refused::limit(code, text, "limits.subscriptions_max", maximum, wanted as u64)
}
