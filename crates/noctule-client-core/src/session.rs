//! The session of a client: what it is made of, and what its driver asks it.
//!
//! ```text
//!            transport_up             CONNACK 0x00
//!  Offline ───────────────▶ Connecting ───────────▶ Online
//!     ▲                         │ CONNACK ≥ 0x80,     │ DISCONNECT either way,
//!     │                         │ fault, too late     │ fault, no PINGRESP
//!     │     transport_down      ▼                     ▼
//!     └────────────────────── Closing ◀───────────────┘
//!  transport_down leads from every state to Offline
//! ```

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use noctule_packet::{PacketId, QoS, ReasonCode, Version};
use noctule_session::{AnswerId, InboundAliases, Receiver, Sender, Timestamp};

use crate::alias::{AliasPolicy, Aliases};
use crate::auth::{Authentication, Authenticator};
use crate::connect_options::ConnectOptions;
use crate::ended::Ended;
use crate::event::{Epoch, Event, Events};
use crate::held::HeldMessages;
use crate::negotiated::Negotiated;
use crate::operation::OperationId;
use crate::outbound::Outbound;
use crate::outgoing::Outgoing;
use crate::queue::Queue;
use crate::record::{Record, Records};
use crate::releasing::Releasing;
use crate::remarks::Remarks;
use crate::requesting::Requests;
use crate::restore::Restored;
use crate::settings::{Settings, SettingsError, Validation};
use crate::stall::Stall;
use crate::subscriptions::Subscriptions;
use crate::text::is_text;
use crate::timer::Clocks;
use crate::topic_cache::TopicCache;

/// The session of a client, which outlives its connections.
#[derive(Debug)]
pub struct ClientSession {
    pub(crate) settings: Settings,
    pub(crate) status: Status,
    pub(crate) epoch: Epoch,
    /// What is spoken, or will be.
    pub(crate) version: Version,
    /// Which server that is, if anybody has said so.
    pub(crate) server_name: Box<str>,
    pub(crate) server: Server,
    pub(crate) negotiated: Option<Box<Negotiated>>,
    pub(crate) outbound: Outbound,
    pub(crate) sender: Sender<Outgoing>,
    pub(crate) receiver: Receiver,
    pub(crate) queue: Queue,
    pub(crate) requests: Requests,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) held: HeldMessages,
    pub(crate) stall: Stall,
    pub(crate) aliases: Aliases,
    pub(crate) inbound_aliases: InboundAliases,
    pub(crate) topics: TopicCache,
    pub(crate) authentication: Authentication,
    pub(crate) records: Records,
    pub(crate) events: Events,
    pub(crate) clocks: Clocks,
    /// When an operation is to be looked at.
    pub(crate) deadlines: BTreeSet<(Timestamp, OperationId)>,
    /// QoS 2 messages between PUBREC and PUBCOMP, in the order of the PUBRECs.
    pub(crate) releases: VecDeque<Release>,
    /// The bytes of the messages that the sender has.
    pub(crate) in_flight_bytes: usize,
    /// Whether something of an earlier connection is to be repeated.
    pub(crate) is_repeating: bool,
    /// The message that is repeated alone.
    pub(crate) repeated_alone: Option<PacketId>,
    /// The first of the messages that were answered on this connection.
    pub(crate) first_answered: Option<OperationId>,
    /// Whether a message was interrupted so often that it has to go alone.
    pub(crate) has_suspect: bool,
    /// PUBRELs that were sent for PUBRECs that nobody expected.
    pub(crate) stray_releases: u32,
    /// What the user says in acknowledgements that have not left.
    pub(crate) remarks: BTreeMap<AnswerId, Box<Remarks>>,
    /// PUBRELs and PUBCOMPs whose user is asked what they say.
    pub(crate) releasing: Releasing,
    pub(crate) next_operation: OperationId,
    /// Whether the server may have a session that we know.
    pub(crate) has_session: bool,
    /// How long the session outlives a connection, in seconds, as was said last.
    pub(crate) session_expiry_interval: u32,
    /// When the server was heard last on a connection that it had accepted.
    pub(crate) last_alive: Option<Timestamp>,
    /// What an earlier process knows of the time before.
    pub(crate) earlier_silence: Duration,
    /// Whether a CONNECT may have reached the server whose CONNACK has not reached us.
    pub(crate) is_unanswered: bool,
    /// Whether the server has a session that we know nothing of, and may not have.
    pub(crate) is_session_unknown: bool,
    pub(crate) assigned_client_id: Option<Box<str>>,
    /// What earlier processes have published, until somebody asks.
    pub(crate) restored: Vec<Restored>,
    pub(crate) clean_start: bool,
    /// Whether the server has accepted the connection.
    pub(crate) is_accepted: bool,
    pub(crate) ended: Option<Ended>,
    pub(crate) is_closed: bool,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// There is none.
    #[default]
    Offline,
    /// CONNECT is under way.
    Connecting,
    /// The server has accepted it.
    Online,
    /// What is in the outbound buffer is still to be written, nothing is read any more.
    Closing,
}

/// What is known of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionStatus {
    /// There is none.
    None,
    /// A SUBSCRIBE for it has no answer yet.
    Pending,
    /// The server has granted it.
    Granted(ReasonCode),
    /// The server has forgotten it, and nobody has asked for it again
    /// ([`Settings::subscribes_again`](crate::Settings::subscribes_again) is off).
    Lost,
}

/// What the server takes on this connection: of CONNACK what every message asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) maximum_packet_size: u32,
    pub(crate) maximum_qos: QoS,
    pub(crate) retain_available: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            maximum_packet_size: u32::MAX,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
        }
    }
}

/// A QoS 2 message that the server has and has not released.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) packet_id: PacketId,
    pub(crate) operation: OperationId,
    pub(crate) timeout: Option<Timestamp>,
    pub(crate) is_silent: bool,
    /// What PUBREC has said.
    pub(crate) reason: ReasonCode,
    pub(crate) remarks: Option<Box<Remarks>>,
}

impl Release {
    /// One whose PUBREC has said nothing.
    pub(crate) const fn new(
        packet_id: PacketId,
        operation: OperationId,
        timeout: Option<Timestamp>,
        is_silent: bool,
    ) -> Self {
        let (reason, remarks) = (ReasonCode::Success, None);
        Self { packet_id, operation, timeout, is_silent, reason, remarks }
    }
}

impl ClientSession {
    /// A session that has never been connected.
    ///
    /// # Errors
    ///
    /// If the settings contradict each other.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        settings.check()?;
        let version = settings.version;
        let records = Records::new(settings.is_durable);
        Ok(Self {
            status: Status::Offline,
            epoch: Epoch(0),
            version,
            server_name: Box::default(),
            server: Server::default(),
            negotiated: None,
            outbound: Outbound::default(),
            sender: Sender::new(u16::MAX),
            receiver: Receiver::new(settings.connect.receive_maximum),
            queue: Queue::default(),
            requests: Requests::default(),
            subscriptions: Subscriptions::default(),
            held: HeldMessages::default(),
            stall: Stall::default(),
            aliases: Aliases::default(),
            inbound_aliases: InboundAliases::default(),
            topics: TopicCache::default(),
            authentication: Authentication::default(),
            records,
            events: Events::default(),
            clocks: Clocks::default(),
            deadlines: BTreeSet::new(),
            releases: VecDeque::new(),
            in_flight_bytes: 0,
            is_repeating: false,
            repeated_alone: None,
            first_answered: None,
            has_suspect: false,
            stray_releases: 0,
            remarks: BTreeMap::new(),
            releasing: Releasing::default(),
            next_operation: OperationId::FIRST,
            has_session: false,
            session_expiry_interval: settings.connect.session_expiry_interval,
            last_alive: None,
            earlier_silence: Duration::ZERO,
            is_unanswered: false,
            is_session_unknown: false,
            assigned_client_id: None,
            restored: Vec::new(),
            clean_start: true,
            is_accepted: false,
            ended: None,
            is_closed: false,
            settings,
        })
    }

    /// Chooses the topic aliases of what is sent, from the next connection on.
    pub fn set_alias_policy(&mut self, policy: AliasPolicy) {
        self.aliases = Aliases::new(policy);
    }

    /// Uses a method of enhanced authentication, from the next connection on.
    ///
    /// # Errors
    ///
    /// If a version may be spoken that has none, or its name is no text that a packet may carry.
    pub fn set_authenticator(
        &mut self,
        method: Option<Box<dyn Authenticator>>,
    ) -> Result<(), SettingsError> {
        let version = self.settings.lowest_version;
        if method.is_some() && !version.is_v5() {
            return Err(SettingsError::NotInVersion { option: "authenticator", version });
        }
        let rules = self.settings.validation.text_rules();
        if method.as_ref().is_some_and(|method| !is_text(rules, method.method())) {
            return Err(SettingsError::InvalidValue { option: "authenticator" });
        }
        self.authentication.set(method);
        Ok(())
    }

    /// Whether the method is kept back from the next connections: their server must not see what
    /// it says.
    pub fn withhold_authentication(&mut self, is_withheld: bool) {
        self.authentication.is_withheld = is_withheld;
    }

    /// Says something else in CONNECT, from the next connection on: other credentials, another
    /// will.
    ///
    /// # Errors
    ///
    /// If that contradicts the other settings. Nothing has changed then.
    pub fn set_connect_options(&mut self, options: ConnectOptions) -> Result<(), SettingsError> {
        let before = core::mem::replace(&mut self.settings.connect, options);
        let checked = self.settings.check();
        if checked.is_err() {
            self.settings.connect = before;
        }
        checked
    }

    /// Says where the next connection goes to, in any words. A server that is not the one before is
    /// asked in the version of the settings, whatever the other has refused. It changes nothing
    /// while there is a connection.
    pub fn set_server(&mut self, server: &str) {
        if self.status == Status::Offline && *self.server_name != *server {
            self.server_name = server.into();
            self.version = self.settings.version;
        }
    }

    /// The settings.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How far the connection has come.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Which connection this is, or was.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The version that is spoken, or will be on the next connection.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What the last CONNACK left of what we asked for.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_deref()
    }

    /// The client identifier: ours, or the one that the server assigned.
    pub fn client_id(&self) -> &str {
        self.assigned_client_id.as_deref().unwrap_or(&self.settings.connect.client_id)
    }

    /// The next thing that happened. Taking a message acknowledges it where the session is durable
    /// and acknowledges by itself, so there may be records and bytes afterwards.
    pub fn next_event(&mut self) -> Option<Event> {
        let mut event = self.events.next()?;
        if self.settings.is_durable {
            self.acknowledge_taken(&mut event);
        }
        Some(event)
    }

    /// Whether something has happened that was not taken yet.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// How many things have happened that were not taken yet.
    pub fn pending_events(&self) -> usize {
        self.events.len()
    }

    /// What is to be made durable before anything is written or told, in order.
    pub fn take_records(&mut self) -> Vec<Record> {
        self.records.take()
    }

    /// What is to be written to the transport.
    pub fn outbound(&self) -> &[u8] {
        self.outbound.pending()
    }

    /// Whether the transport is to be closed now.
    pub fn wants_close(&self) -> bool {
        self.status == Status::Closing && self.outbound.is_empty()
    }

    /// Whether the transport is to be closed now, whatever of what was taken out of
    /// [`ClientSession::outbound`] is not written yet.
    pub fn discards_unwritten(&self) -> bool {
        self.status == Status::Closing && self.outbound.is_discarded()
    }

    /// Whether the driver may read. What was read and not consumed is passed again when it may.
    pub fn wants_input(&self) -> bool {
        match self.status {
            Status::Connecting | Status::Online => self.takes_more(),
            Status::Offline | Status::Closing => false,
        }
    }

    /// How many messages wait for a connection, for the server's quota or for the transport.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// How many bytes the messages take that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// How many messages of QoS 1 and 2 are in flight.
    pub fn in_flight(&self) -> usize {
        self.sender.in_flight()
    }

    /// How many requests wait for a connection or for their answer.
    pub fn pending_requests(&self) -> usize {
        self.requests.len()
    }

    /// How many bytes of messages the user has and has not acknowledged.
    pub const fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// How many subscriptions the server has granted.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// What the server has granted for a filter.
    pub fn granted(&self, filter: &str) -> Option<ReasonCode> {
        self.subscriptions.granted(filter)
    }

    /// What is known of a subscription, by its whole filter.
    pub fn subscription(&self, filter: &str) -> SubscriptionStatus {
        match self.subscriptions.granted(filter) {
            _ if self.requests.asks_for(filter) => SubscriptionStatus::Pending,
            Some(code) => SubscriptionStatus::Granted(code),
            None if self.subscriptions.is_left(filter) => SubscriptionStatus::Lost,
            None => SubscriptionStatus::None,
        }
    }

    pub(crate) fn is_lenient(&self) -> bool {
        self.settings.validation == Validation::Lenient
    }

    /// A name for the user's next operation.
    pub(crate) fn begin_operation(&mut self) -> OperationId {
        let operation = self.next_operation;
        self.next_operation = operation.next();
        operation
    }
}
