//! CONNECT: from the packet to the CONNACK, through authentication and the session that is taken
//! over or made.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;

use noctule_packet::{
    Connack, ConnackProperties, Connect, Packet, ReasonCode, UserProperties, Version,
};
use noctule_session::{KeepAlive, OutboundAliases};

use crate::access::Authentication;
use crate::connection::{Connection, Flow, Parked, Phase};
use crate::effect::{Credentials, Effect, Effects, Principal, Token, Waiting};
use crate::event::{Event, Reason};
use crate::fault::{Fault, ProtocolError, Refused};
use crate::input::ConnectionId;
use crate::persist::Awaiting;
use crate::rate::UNLIMITED;
use crate::registry::SessionKey;
use crate::session::{Kept, Session};
use crate::settings::Durability;
use crate::shard::Shard;
use crate::stored::{Record, StoredTerms};
use crate::timers::Timer;
use crate::will::Will;

/// Client identifiers of up to so many bytes are not too long for any broker.
const CLIENT_ID_BYTES_ALWAYS: u16 = 23;

/// What a CONNECT asked for, while it waits for answers.
#[derive(Debug)]
pub(crate) struct Connecting {
    pub(crate) client_id: Arc<str>,
    assigned: bool,
    version: Version,
    clean_start: bool,
    keep_alive: u16,
    server_keep_alive: Option<u16>,
    session_expiry_interval: u32,
    /// What the client asked for, before the limit shortened it.
    requested_expiry_interval: u32,
    receive_maximum: u16,
    maximum_packet_size: u32,
    topic_alias_maximum: u16,
    request_response_information: bool,
    request_problem_information: bool,
    will: Option<Box<Will>>,
    principal: Principal,
    session_present: bool,
    /// What an acknowledgement means.
    durability: Durability,
    /// The session, from the moment at which the connection owns it.
    pub(crate) session: Option<SessionKey>,
}

impl Connection {
    /// The client identifier of a CONNECT that was not answered yet, unless it is empty.
    pub(crate) fn connecting_client_id(&self) -> Option<Box<str>> {
        match &self.parked {
            Some(Parked::Connect(connecting)) => Some((&*connecting.client_id).into()),
            Some(Parked::Refused(client_id)) => Some(client_id.clone()),
            _ => None,
        }
        .filter(|client_id| !client_id.is_empty())
    }
}

impl Shard {
    pub(crate) fn on_connect(
        &mut self,
        id: ConnectionId,
        connect: &Connect<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let Some(connection) = self.connections.find_mut(id) else { return Ok(Flow::Wait) };
        connection.version = connect.version;
        connection.maximum_packet_size = connect.properties.maximum_packet_size.unwrap_or(u32::MAX);
        let listener = connection.listener;
        let Some(settings) = self.settings.listeners.get(usize::from(listener.0)) else {
            return Err(Refused::new(ReasonCode::ServerUnavailable, "the listener is gone").into());
        };
        if !settings.versions.contains(&connect.version) {
            return Err(Refused::new(
                ReasonCode::UnsupportedProtocolVersion,
                "the protocol version is not accepted here (listener.versions)",
            )
            .into());
        }
        let asked = settings.authentication == Authentication::Ask;
        // [MQTT5-4.12.0-1]
        if connect.properties.authentication_method.is_some() {
            return Err(ProtocolError::AuthenticationMethod.into());
        }
        let connecting = self.accept_connect(connect)?;
        let credentials = asked.then(|| Credentials {
            client_id: (&*connecting.client_id).into(),
            user_name: connect.user_name.map(Into::into),
            password: connect.password.map(Into::into),
        });
        let step = self.park(id, Parked::Connect(Box::new(connecting)));
        match credentials {
            Some(credentials) => {
                let token = Token(Waiting::Packet { connection: id, step });
                effects.push(Effect::Authenticate { token, listener, credentials });
                Ok(Flow::Wait)
            }
            None => self.on_authenticated(id, Ok(Principal::default()), effects),
        }
    }

    /// Goes on when it is known who the client is.
    pub(crate) fn on_authenticated(
        &mut self,
        id: ConnectionId,
        outcome: Result<Principal, ReasonCode>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let principal =
            outcome.map_err(|code| Refused::new(code, "authentication refused the client"))?;
        let Some(connecting) = self.connecting(id) else { return Ok(Flow::Wait) };
        connecting.principal = principal;
        self.open_session(id, effects)
    }

    /// The session is taken over, gone on with or made, and from here on nobody else owns the
    /// identifier.
    fn open_session(&mut self, id: ConnectionId, effects: &mut Effects) -> Result<Flow, Fault> {
        let Some(Connecting { client_id, assigned, clean_start, .. }) = self.connecting(id) else {
            return Ok(Flow::Wait);
        };
        let (client_id, assigned, clean_start) = (Arc::clone(client_id), *assigned, *clean_start);
        // [MQTT5-3.1.3-2] [MQTT311-3.1.3-2]
        let known = self.registry.find(&client_id);
        let clean_start = clean_start || known.is_some_and(|key| self.is_over(key));
        // [MQTT5-3.1.3-6] [MQTT5-3.2.2-16] [MQTT311-3.1.3-6]
        if assigned && known.is_some() {
            let another = self.invent_client_id();
            if let Some(connecting) = self.connecting(id) {
                connecting.client_id = another;
            }
            return self.open_session(id, effects);
        }
        self.check_stored_sessions(id, known)?;
        self.settle_durability(id, known)?;
        let before = self.recorded();
        if let Some(key) = known {
            self.take_over(key, clean_start, effects);
        }
        let key = match self.registry.find(&client_id) {
            // [MQTT5-3.1.2-5] [MQTT311-3.1.2-4] [MQTT31-3.1-8]
            Some(key) => {
                if let Some(connecting) = self.connecting(id) {
                    connecting.session_present = true;
                }
                key
            }
            // [MQTT5-3.1.2-4] [MQTT5-3.1.2-6] [MQTT311-3.1.2-6]
            None => self.make_session(id),
        };
        self.adopt(id, key);
        self.record_session(id, key, effects);
        if self.recorded() == before {
            return self.on_session_persisted(id, effects);
        }
        let step = self.next_step(id);
        let token = Token(Waiting::Packet { connection: id, step });
        self.await_durable(Awaiting::Packet(token), effects);
        Ok(Flow::Wait)
    }

    /// Whether a session has expired, and nobody came to ending it yet.
    // [MQTT5-4.1.0-2]
    fn is_over(&self, key: SessionKey) -> bool {
        let session = self.registry.session(key);
        let expires_at = session.and_then(|session| session.expires_at);
        expires_at.is_some_and(|at| at <= self.now)
    }

    /// Bounds what is kept for clients that never come back.
    fn check_stored_sessions(
        &mut self,
        id: ConnectionId,
        known: Option<SessionKey>,
    ) -> Result<(), Refused> {
        let wants_one = self.connecting(id).is_some_and(|known| known.session_expiry_interval > 0);
        let known = known.and_then(|key| self.registry.session(key));
        if !wants_one || known.is_some_and(|session| session.is_counted) {
            return Ok(());
        }
        let maximum = self.settings.limits.stored_sessions_max;
        let count = self.settings.totals.stored_sessions.count();
        if count < u64::from(maximum) {
            return Ok(());
        }
        Err(Refused::limit(
            ReasonCode::QuotaExceeded,
            "too many sessions are kept",
            "limits.stored_sessions_max",
            maximum,
            count + 1,
        ))
    }

    /// What an acknowledgement will mean, unless the store takes no session now.
    fn settle_durability(
        &mut self,
        id: ConnectionId,
        known: Option<SessionKey>,
    ) -> Result<(), Refused> {
        let settings = Arc::clone(&self.settings);
        let Some(listener) = self.connections.find(id).map(|known| known.listener) else {
            return Ok(());
        };
        let Some(connecting) = self.connecting(id) else { return Ok(()) };
        let durability = settings.durability_of(listener, &connecting.principal);
        connecting.durability = durability;
        let (expiry_interval, will) = (connecting.session_expiry_interval, connecting.will.clone());
        self.check_store_room(known, durability, expiry_interval, will.as_deref())
    }

    /// Lets the store know on which terms a session goes on.
    fn record_session(&mut self, id: ConnectionId, key: SessionKey, effects: &mut Effects) {
        if !self.keeps() {
            return;
        }
        let Some(connecting) = self.connecting(id) else { return };
        let was_there = connecting.session_present;
        let in_memory = connecting.durability == Durability::Memory;
        let will = connecting.will.clone().filter(|_| !in_memory);
        let receive_maximum = connecting.receive_maximum;
        let Some(session) = self.registry.session_mut(key) else { return };
        let is_needed =
            will.as_ref().is_some_and(|will| will.is_kept()) || session.backlog().is_some();
        // What was promised to wait for it in the store does so until it is done with.
        let stays = !in_memory || (session.is_leaving_store() && session.is_owed_something());
        let lasts = session.may_return() && stays;
        if !lasts && !is_needed {
            return self.leave_store(key, effects);
        }
        let known = session.kept.as_ref().map(|kept| kept.name);
        let name = known.unwrap_or_else(|| self.next_name());
        if !lasts {
            self.entrust_to_groups(key, effects);
        }
        let Some(session) = self.registry.session_mut(key) else { return };
        let kept = session.kept.get_or_insert_with(|| Box::new(Kept::new(name)));
        kept.has_will = will.is_some();
        kept.note_expiry_interval(session.expiry_interval);
        let expiry_interval = kept.expiry_interval;
        self.records.note_session(name, key);
        let terms = StoredTerms {
            session: name,
            may_send: Some(session.begin_horizon(self.records.handed_out())),
            client_id: Arc::clone(&session.client_id),
            user_name: session.principal.user_name.clone(),
            version: session.version,
            expiry_interval,
            receive_maximum,
            will,
        };
        session.count_stored(&mut self.stored);
        self.record(Record::SessionStarted(Box::new(terms)), effects);
        if known.is_none() && was_there {
            self.deposit(key, effects);
        }
    }

    /// Answers with CONNACK, then sends what the session still owes its client.
    pub(crate) fn on_session_persisted(
        &mut self,
        id: ConnectionId,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let Some(connection) = self.connections.find_mut(id) else { return Ok(Flow::Wait) };
        // [MQTT5-3.2.0-2]
        let Some(Parked::Connect(mut connecting)) = connection.parked.take() else {
            return Ok(Flow::Wait);
        };
        let Some(key) = self.registry.find(&connecting.client_id) else { return Ok(Flow::Wait) };
        let maximum = connection.maximum_packet_size;
        if !self.send_connack(id, &connecting) {
            self.set_parked(id, Parked::Connect(connecting));
            return Err(Refused::limit(
                ReasonCode::PacketTooLarge,
                "the CONNACK is too large for the client",
                "Maximum Packet Size in CONNECT",
                maximum,
                0_u32,
            )
            .into());
        }
        let Some(connection) = self.connections.find_mut(id) else { return Ok(Flow::Wait) };
        // Only now may anything else be sent. [MQTT5-3.2.0-1] [MQTT311-3.2.0-1]
        connection.phase = Phase::Online(key);
        if let Some(session) = self.registry.session_mut(key) {
            // The last connection's will is not sent any more. [MQTT5-3.1.3-9]
            // [MQTT5-3.1.2-7] [MQTT311-3.1.2-8]
            session.will = connecting.will.take();
        }
        let (listener, peer) = (connection.listener, connection.peer.clone());
        self.statistics.clients_connected += 1;
        self.watch(id);
        effects.push(Effect::Event(Event::Connected {
            connection: id,
            client_id: Arc::clone(&connecting.client_id),
            listener,
            peer,
            version: connecting.version,
            session_present: connecting.session_present,
            keep_alive: connecting.server_keep_alive.unwrap_or(connecting.keep_alive),
            durability: connecting.durability,
        }));
        self.lend_window(key, effects);
        self.pump(key, effects);
        Ok(Flow::Next)
    }

    /// Checks everything that can be checked without asking anybody.
    fn accept_connect(&mut self, connect: &Connect<'_>) -> Result<Connecting, Fault> {
        let limits = &self.settings.limits;
        let connections = self.settings.totals.connections.count();
        if connections > u64::from(limits.connections_max) {
            return Err(Refused::limit(
                ReasonCode::ServerBusy,
                "too many connections",
                "limits.connections_max",
                limits.connections_max,
                connections,
            )
            .into());
        }
        self.check_user_properties(connect.properties.user_properties.len())?;
        let (client_id, assigned) = self.accept_client_id(connect)?;
        self.check_load(&client_id)?;
        let (keep_alive, server_keep_alive) = self.accept_keep_alive(connect)?;
        let will = self.accept_will(connect)?;
        let limits = &self.settings.limits;
        let requested = match connect.version {
            // A 3.x session without "clean session" never expires.
            // [MQTT311-3.1.2-4] [MQTT311-3.1.2-6]
            Version::V3_1 | Version::V3_1_1 if connect.clean_start => 0,
            Version::V3_1 | Version::V3_1_1 => u32::MAX,
            Version::V5_0 => connect.properties.session_expiry_interval.unwrap_or(0),
        };
        let session_expiry_interval = requested.min(limits.session_expiry_interval_max_seconds);
        let properties = &connect.properties;
        Ok(Connecting {
            client_id,
            assigned,
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive,
            server_keep_alive,
            session_expiry_interval,
            requested_expiry_interval: requested,
            receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
            maximum_packet_size: properties.maximum_packet_size.unwrap_or(u32::MAX),
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
            request_response_information: properties.request_response_information == Some(true),
            request_problem_information: properties.request_problem_information != Some(false),
            will,
            principal: Principal::default(),
            session_present: false,
            durability: Durability::default(),
            session: None,
        })
    }

    /// Overload sheds new work first. Whoever has a session here is not new, and may be the one who
    /// can take what has used up the memory.
    fn check_load(&mut self, client_id: &str) -> Result<(), Fault> {
        if let Some(limit) = self.memory.shortage()
            && self.registry.find(client_id).is_none()
        {
            let (code, text) = (ReasonCode::ServerBusy, "there is no memory for another client");
            return Err(Refused { code, text, limit: Some(limit) }.into());
        }
        let limits = &self.settings.limits;
        let shards = u32::from(self.settings.placement.shards());
        let rate = match limits.connect_rate_max {
            UNLIMITED => UNLIMITED,
            rate => rate.div_ceil(shards),
        };
        let before = self.connect_rate;
        if self.connect_rate.note(self.now, 1, rate) > 0 {
            // Whoever is refused takes nothing from those who come later.
            self.connect_rate = before;
            return Err(Refused::limit(
                ReasonCode::ConnectionRateExceeded,
                "too many clients connect at a time",
                "limits.connect_rate_max",
                limits.connect_rate_max,
                u64::from(limits.connect_rate_max) + 1,
            )
            .into());
        }
        Ok(())
    }

    /// The client identifier, or one that is made up for a client that has none.
    // [MQTT5-3.1.3-3] [MQTT5-3.1.3-8] [MQTT311-3.1.3-3] [MQTT311-3.1.3-9]
    fn accept_client_id(&mut self, connect: &Connect<'_>) -> Result<(Arc<str>, bool), Fault> {
        // [MQTT5-3.1.3-5] [MQTT311-3.1.3-5] [MQTT31-3.1-3]
        let maximum = self.settings.limits.client_id_bytes_max.max(CLIENT_ID_BYTES_ALWAYS);
        if connect.client_id.len() > usize::from(maximum) {
            return Err(Refused::limit(
                ReasonCode::ClientIdentifierNotValid,
                "the client identifier is too long",
                "limits.client_id_bytes_max",
                maximum,
                connect.client_id.len() as u64,
            )
            .into());
        }
        if !connect.client_id.is_empty() {
            return Ok((Arc::from(connect.client_id), false));
        }
        let may_be_empty = match connect.version {
            // [MQTT31-3.1-5]
            Version::V3_1 => false,
            // [MQTT311-3.1.3-7] [MQTT311-3.1.3-8]
            Version::V3_1_1 => connect.clean_start,
            Version::V5_0 => true,
        };
        if !may_be_empty {
            return Err(Refused::new(
                ReasonCode::ClientIdentifierNotValid,
                "an empty client identifier needs a clean session",
            )
            .into());
        }
        Ok((self.invent_client_id(), true))
    }

    /// A client identifier that hardly any session has, and whose home is here.
    fn invent_client_id(&mut self) -> Arc<str> {
        loop {
            let (high, low) = (self.random.next(), self.random.next());
            let client_id = format!("auto-{high:016x}{low:016x}");
            if self.settings.placement.client(&client_id) == self.settings.shard {
                return client_id.into();
            }
        }
    }

    /// The Keep Alive to use, and the Server Keep Alive to announce if it is another one.
    // [MQTT5-3.1.2-21] [MQTT5-3.2.2-21] [MQTT5-3.2.2-22]
    fn accept_keep_alive(&self, connect: &Connect<'_>) -> Result<(u16, Option<u16>), Fault> {
        let maximum = self.settings.limits.keep_alive_max_seconds;
        let within =
            maximum == u16::MAX || (connect.keep_alive != 0 && connect.keep_alive <= maximum);
        if within {
            return Ok((connect.keep_alive, None));
        }
        if connect.version.is_v5() {
            return Ok((maximum, Some(maximum)));
        }
        // Before 5.0 the client cannot be told another value. No return code says that; 2 is the
        // one that makes an operator look into the log.
        Err(Refused::limit(
            ReasonCode::ClientIdentifierNotValid,
            "the keep alive is too long",
            "limits.keep_alive_max_seconds",
            maximum,
            connect.keep_alive,
        )
        .into())
    }

    /// The will, unless it could never be published.
    fn accept_will(&self, connect: &Connect<'_>) -> Result<Option<Box<Will>>, Fault> {
        let Some(will) = &connect.will else { return Ok(None) };
        let features = &self.settings.features;
        // [MQTT5-3.2.2-12]
        if will.qos > features.maximum_qos {
            let text = "the will's QoS is not supported (features.maximum_qos)";
            return Err(Refused::new(ReasonCode::QosNotSupported, text).into());
        }
        // [MQTT5-3.2.2-13]
        if will.retain && !features.retain_available {
            let text = "retained wills are not supported (features.retain_available)";
            return Err(Refused::new(ReasonCode::RetainNotSupported, text).into());
        }
        self.check_user_properties(will.properties.user_properties.len())?;
        self.check_topic(will.topic)?;
        let limits = &self.settings.limits;
        let will = Will::new(will, limits.will_delay_interval_max_seconds);
        if will.bytes() > limits.will_bytes_max as usize {
            return Err(Refused::limit(
                ReasonCode::QuotaExceeded,
                "the will is too large",
                "limits.will_bytes_max",
                limits.will_bytes_max,
                will.bytes() as u64,
            )
            .into());
        }
        Ok(Some(Box::new(will)))
    }

    /// Bounds what one packet can carry along.
    pub(crate) fn check_user_properties(&self, count: usize) -> Result<(), Refused> {
        let maximum = self.settings.limits.user_properties_max;
        if count <= usize::from(maximum) {
            return Ok(());
        }
        Err(Refused::limit(
            ReasonCode::QuotaExceeded,
            "too many user properties",
            "limits.user_properties_max",
            maximum,
            count as u64,
        ))
    }

    fn connecting(&mut self, id: ConnectionId) -> Option<&mut Connecting> {
        match self.connections.find_mut(id)?.parked.as_mut()? {
            Parked::Connect(connecting) => Some(connecting),
            _ => None,
        }
    }

    /// Ends the connection that a session has, and the session itself if it is to begin anew.
    fn take_over(&mut self, key: SessionKey, clean_start: bool, effects: &mut Effects) {
        #[cfg(feature = "planted-faults")]
        let clean_start =
            clean_start && !self.is_planted(crate::planted::PlantedFault::KeepCleanSession);
        let Some(session) = self.registry.session(key) else { return };
        if let Some(old) = session.connection {
            // [MQTT5-3.1.4-3] [MQTT311-3.1.4-2] [MQTT31-3.1-10]
            self.disconnect(old, taken_over(), None, effects);
        }
        // [MQTT5-3.1.2-4] [MQTT5-3.1.4-4] [MQTT311-3.1.2-6] [MQTT311-3.1.4-3] [MQTT31-3.1-9]
        if clean_start && self.registry.session(key).is_some() {
            self.end_session(key, effects);
        }
    }

    /// A new session.
    fn make_session(&mut self, id: ConnectionId) -> SessionKey {
        let (client_id, version) = match self.connecting(id) {
            Some(connecting) => (Arc::clone(&connecting.client_id), connecting.version),
            None => (Arc::from(""), Version::V5_0),
        };
        // [MQTT5-3.2.2-2] [MQTT311-3.2.2-2]
        self.registry.insert(Session::new(client_id, version))
    }

    /// Gives the session to the connection.
    fn adopt(&mut self, id: ConnectionId, key: SessionKey) {
        let limits = &self.settings.limits;
        let (alias_maximum, alias_outbound_max) =
            (limits.topic_alias_maximum, limits.topic_alias_outbound_max);
        let (in_flight_max, receive_maximum) = (limits.in_flight_max, limits.receive_maximum);
        #[cfg(feature = "planted-faults")]
        let exceeds =
            u16::from(self.is_planted(crate::planted::PlantedFault::ExceedReceiveMaximum));
        let Some(session) = self.registry.session_mut(key) else { return };
        let Some(connection) = self.connections.find_mut(id) else { return };
        let Some(Parked::Connect(connecting)) = connection.parked.as_mut() else { return };
        // [MQTT5-4.1.0-1] [MQTT311-4.1.0-2]
        if let Some(at) = session.expires_at.take() {
            self.timers.cancel(at, Timer::SessionExpiry(key));
        }
        if let Some(at) = session.will_at.take() {
            // [MQTT5-3.1.2-8] [MQTT5-3.1.3-9]
            self.timers.cancel(at, Timer::Will(key));
        }
        connecting.session = Some(key);
        session.connection = Some(id);
        session.version = connecting.version;
        session.principal = connecting.principal.clone();
        session.durability = connecting.durability;
        session.expiry_interval = connecting.session_expiry_interval;
        session.count(&self.settings.totals.stored_sessions);
        session.sender.resume(connecting.receive_maximum.min(in_flight_max));
        #[cfg(feature = "planted-faults")]
        session
            .sender
            .resume(connecting.receive_maximum.min(in_flight_max).saturating_add(exceeds));
        let receive_maximum = if connecting.version.is_v5() { receive_maximum } else { u16::MAX };
        session.receiver.resume(receive_maximum);
        connection.keep_alive =
            KeepAlive::from_seconds(connecting.server_keep_alive.unwrap_or(connecting.keep_alive));
        connection.requested_expiry_interval = connecting.requested_expiry_interval;
        connection.maximum_packet_size = connecting.maximum_packet_size;
        connection.request_problem_information = connecting.request_problem_information;
        // [MQTT5-3.3.2-7]
        connection.topic_alias_maximum = alias_maximum;
        let outbound_max = connecting.topic_alias_maximum.min(alias_outbound_max);
        connection.outbound_aliases =
            (outbound_max > 0).then(|| Box::new(OutboundAliases::new(outbound_max)));
    }

    /// Tells the client what it got and what it may do, if it takes packets of that size.
    // [MQTT5-3.1.4-5] [MQTT311-3.1.4-4] [MQTT5-3.2.2-2] [MQTT5-3.2.2-3] [MQTT311-3.2.2-1]
    // [MQTT311-3.2.2-2] [MQTT311-3.2.2-3]
    fn send_connack(&mut self, id: ConnectionId, connecting: &Connecting) -> bool {
        let settings = Arc::clone(&self.settings);
        let (limits, features) = (&settings.limits, &settings.features);
        let unavailable = |available: bool| (!available).then_some(false);
        // [MQTT5-3.1.2-28]
        let mut user_properties = UserProperties::new();
        let listener = self.connections.find(id).map_or(0, |known| known.listener.0);
        if settings.listeners.get(usize::from(listener)).is_some_and(|it| it.tell_durability) {
            let _ = user_properties.push("durability", connecting.durability.name());
        }
        let response_information = settings
            .response_information
            .as_deref()
            .filter(|_| connecting.request_response_information);
        let properties = ConnackProperties {
            session_expiry_interval: Some(connecting.session_expiry_interval)
                .filter(|interval| *interval < connecting.requested_expiry_interval),
            receive_maximum: (limits.receive_maximum < u16::MAX).then_some(limits.receive_maximum),
            // Full QoS is said by silence, which the encoder knows. [MQTT5-3.2.2-9]
            maximum_qos: Some(features.maximum_qos),
            retain_available: unavailable(features.retain_available),
            maximum_packet_size: Some(limits.maximum_packet_size),
            // [MQTT5-3.1.3-7]
            assigned_client_identifier: connecting.assigned.then_some(&*connecting.client_id),
            topic_alias_maximum: (limits.topic_alias_maximum > 0)
                .then_some(limits.topic_alias_maximum),
            wildcard_subscription_available: unavailable(features.wildcard_subscription_available),
            subscription_identifiers_available: unavailable(
                features.subscription_identifiers_available,
            ),
            shared_subscription_available: unavailable(features.shared_subscription_available),
            server_keep_alive: connecting.server_keep_alive,
            response_information,
            user_properties,
            ..Default::default()
        };
        // 3.1 has no session present flag: the byte is reserved there.
        let session_present = connecting.session_present && connecting.version != Version::V3_1;
        let connack = Connack { session_present, reason_code: ReasonCode::Success, properties };
        self.send(id, &Packet::Connack(connack))
    }
}

fn taken_over() -> Reason {
    let text = "another connection took the session over".into();
    Reason { code: ReasonCode::SessionTakenOver, text, limit: None }
}
