//! What the host decides about a shard: who may come in, which features there are, and every limit.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use noctule_packet::{QoS, TextRules};

use crate::access::{Authorization, ListenerSettings, ReadRules};
use crate::input::ShardId;
use crate::placement::Placement;
use crate::totals::Totals;

/// Everything that a [`Shard`](crate::Shard) is told when it is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The ways in; [`ListenerId`](crate::ListenerId) is an index into this list.
    pub listeners: Vec<ListenerSettings>,
    /// Which text is refused beyond what is ill-formed.
    pub text_rules: TextRules,
    /// Features that can be switched off.
    pub features: Features,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// How a member of a shared subscription is picked.
    pub shared_strategy: SharedStrategy,
    /// Whether publish and subscribe are asked about with
    /// [`Effect::Authorize`](crate::Effect::Authorize).
    pub authorization: Authorization,
    /// Decides about each delivery; `None` lets everything pass.
    pub read_rules: Option<ReadRules>,
    /// Whether records are handed out with [`Effect::Persist`](crate::Effect::Persist).
    pub durability: Durability,
    /// Seconds between two publications of the `$SYS` topics; 0 publishes none.
    pub system_interval_seconds: u32,
    /// Answered as Response Information to a 5.0 client that asks for it.
    pub response_information: Option<Box<str>>,
    /// Whether a refused PUBLISH of a 3.x client closes its connection instead of being
    /// acknowledged.
    pub close_on_refused_publish: bool,
    /// What lives on which shard; the same for all shards of a broker.
    pub placement: Placement,
    /// Which shard this is.
    pub shard: ShardId,
    /// What all shards of a broker use together; a clone of the settings shares it.
    pub totals: Arc<Totals>,
    /// What the broker does wrong on purpose.
    #[cfg(feature = "planted-faults")]
    pub planted_fault: Option<crate::planted::PlantedFault>,
}

impl Default for Settings {
    /// One open listener, every feature, default limits, memory mode, one shard.
    fn default() -> Self {
        Self {
            listeners: vec![ListenerSettings::default()],
            text_rules: TextRules::Strict,
            features: Features::default(),
            limits: Limits::default(),
            shared_strategy: SharedStrategy::default(),
            authorization: Authorization::AllowAll,
            read_rules: None,
            durability: Durability::Memory,
            system_interval_seconds: 10,
            response_information: None,
            close_on_refused_publish: false,
            placement: Placement::default(),
            shard: ShardId(0),
            totals: Arc::default(),
            #[cfg(feature = "planted-faults")]
            planted_fault: None,
        }
    }
}

/// Where sessions and messages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// In memory: every record counts as kept at once.
    #[default]
    Memory,
    /// In a store: acknowledgements wait for [`Input::Persisted`](crate::Input::Persisted).
    Stored,
    /// The same, but what counts as kept there lasts through a power cut only a little later.
    Interval,
}

impl Durability {
    /// Its name in a configuration, in the log and for clients.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Stored => "local",
            Self::Interval => "interval",
        }
    }
}

/// How a member of a shared subscription is picked for a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedStrategy {
    /// The member with the fewest messages in flight.
    #[default]
    LeastInFlight,
    /// One after the other.
    RoundRobin,
    /// Any, by chance.
    Random,
    /// The same member for all messages of one publisher, while it is there.
    StickyPublisher,
    /// The same member for all messages of one topic, while it is there.
    StickyTopic,
}

/// Features of MQTT that can be switched off. What is off is announced in CONNACK and refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// The highest QoS a client may publish with.
    pub maximum_qos: QoS,
    /// Retained messages.
    pub retain_available: bool,
    /// Subscriptions with `+` or `#`.
    pub wildcard_subscription_available: bool,
    /// Subscription Identifiers.
    pub subscription_identifiers_available: bool,
    /// `$share` filters.
    pub shared_subscription_available: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            subscription_identifiers_available: true,
            shared_subscription_available: true,
        }
    }
}

/// Bounds on what clients may use. A setting's name in a file or in a message is `limits.` and the
/// field's name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at a time.
    pub connections_max: u32,
    /// How long a connection may take to send its CONNECT.
    pub connect_timeout: Duration,
    /// The size of a CONNECT packet, in bytes.
    pub connect_bytes_max: u32,
    /// The size of any other packet from a client, in bytes; announced as Maximum Packet Size.
    pub maximum_packet_size: u32,
    /// The length of a client identifier, in bytes; 23 are always allowed.
    pub client_id_bytes_max: u16,
    /// User properties in one packet.
    pub user_properties_max: u16,
    /// Unacknowledged QoS 1 and 2 publications from one client; announced as Receive Maximum.
    pub receive_maximum: u16,
    /// QoS 2 publications of one session that are not released, over all its connections.
    pub unreleased_max: u16,
    /// Topic aliases that a client may define; announced as Topic Alias Maximum.
    pub topic_alias_maximum: u16,
    /// Topic aliases defined for one client, within what it allows.
    pub topic_alias_outbound_max: u16,
    /// The longest Keep Alive, in seconds; below 65,535 it also ends the right to have none.
    pub keep_alive_max_seconds: u16,
    /// The longest Session Expiry Interval, in seconds; `u32::MAX` is never.
    pub session_expiry_interval_max_seconds: u32,
    /// The longest Will Delay Interval, in seconds.
    pub will_delay_interval_max_seconds: u32,
    /// Sessions that outlive their connections. Beyond it, whoever wants one more is not let in.
    pub stored_sessions_max: u32,
    /// The longest Message Expiry Interval, in seconds, and that of messages that have none,
    /// retained ones too; `u32::MAX` leaves all as they are.
    pub message_expiry_interval_max_seconds: u32,
    /// Bytes of a will: topic, payload and properties. Its payload alone has 65,535 at most.
    pub will_bytes_max: u32,
    /// QoS 1 and 2 messages on their way to one client, within its Receive Maximum.
    pub in_flight_max: u16,
    /// Messages that wait for one session, or for one shared subscription.
    pub queue_messages_max: u32,
    /// Bytes of messages that wait for one session, or for one shared subscription.
    pub queue_bytes_max: u64,
    /// Bytes of all messages that wait in the store, for sessions and shared subscriptions.
    pub stored_bytes_max: u64,
    /// Bytes that wait to be written to one connection before QoS 0 is dropped and the rest queued.
    pub outbound_bytes_max: u32,
    /// Subscriptions of one session.
    pub subscriptions_max: u32,
    /// Bytes of publications on their way from one shard to another; behind them, publishers wait.
    pub forward_bytes_max: u32,
    /// Bytes of all messages that wait or are on their way, and of all outbound buffers. Beyond it
    /// no client is let in, and no message is taken in for one that is not ready for it.
    pub memory_bytes_max: u64,
    /// Clients let in per second, with bursts of one second's worth; `u32::MAX` is no limit.
    pub connect_rate_max: u32,
    /// PUBLISH packets per second and client, with bursts of one second's worth. Whoever is faster
    /// is read more slowly; `u32::MAX` is no limit.
    pub publish_rate_max: u32,
    /// Bytes of PUBLISH packets per second and client; as `publish_rate_max`.
    pub publish_bytes_rate_max: u32,
    /// Levels of a topic name or filter.
    pub topic_levels_max: u16,
    /// Length of a topic name or filter, in bytes.
    pub topic_bytes_max: u16,
    /// Retained messages.
    pub retained_messages_max: u64,
    /// Bytes of retained messages.
    pub retained_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1_000_000,
            connect_timeout: Duration::from_secs(10),
            connect_bytes_max: 512 * 1024,
            maximum_packet_size: 16 * 1024 * 1024,
            client_id_bytes_max: u16::MAX,
            user_properties_max: 1_000,
            receive_maximum: 1_024,
            unreleased_max: 10_000,
            topic_alias_maximum: 10,
            topic_alias_outbound_max: 16,
            keep_alive_max_seconds: u16::MAX,
            session_expiry_interval_max_seconds: u32::MAX,
            will_delay_interval_max_seconds: u32::MAX,
            stored_sessions_max: 1_000_000,
            message_expiry_interval_max_seconds: u32::MAX,
            will_bytes_max: 128 * 1024,
            in_flight_max: 1_024,
            queue_messages_max: 100_000,
            queue_bytes_max: 64 * 1024 * 1024,
            stored_bytes_max: 256 * 1024 * 1024 * 1024,
            outbound_bytes_max: 4 * 1024 * 1024,
            subscriptions_max: 10_000,
            forward_bytes_max: 1024 * 1024,
            memory_bytes_max: 2 * 1024 * 1024 * 1024,
            connect_rate_max: u32::MAX,
            publish_rate_max: u32::MAX,
            publish_bytes_rate_max: u32::MAX,
            topic_levels_max: 200,
            topic_bytes_max: u16::MAX,
            retained_messages_max: 1_000_000,
            retained_bytes_max: 1024 * 1024 * 1024,
        }
    }
}

/// A limit with a value that no broker can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} = {value} is out of range: {minimum} to {maximum} are allowed")]
pub struct LimitOutOfRange {
    /// The setting's name.
    pub setting: &'static str,
    /// Its value.
    pub value: u64,
    /// The least that is allowed.
    pub minimum: u64,
    /// The most that is allowed.
    pub maximum: u64,
}

/// The largest packet that a remaining length can tell, with its header.
const PACKET_BYTES_MAX: u64 = 268_435_460;

impl Limits {
    /// The Message Expiry Interval of a message that was published with this one.
    pub(crate) fn message_expiry_interval(&self, asked: Option<u32>) -> Option<u32> {
        let maximum = self.message_expiry_interval_max_seconds;
        if maximum == u32::MAX { asked } else { Some(asked.unwrap_or(maximum).min(maximum)) }
    }

    /// Refuses values that contradict the protocol or leave room for nothing, such as a Receive
    /// Maximum of 0. What is unusual is allowed.
    ///
    /// ```
    /// let mut limits = noctule_broker_core::Limits::default();
    /// assert_eq!(limits.check(), Ok(()));
    /// limits.receive_maximum = 0;
    /// let error = limits.check().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "limits.receive_maximum = 0 is out of range: 1 to 65535 are allowed"
    /// );
    /// ```
    pub fn check(&self) -> Result<(), LimitOutOfRange> {
        let (u16_max, u32_max) = (u64::from(u16::MAX), u64::from(u32::MAX));
        let ranges = [
            ("limits.connections_max", u64::from(self.connections_max), 1, u32_max),
            ("limits.connect_bytes_max", self.connect_bytes_max.into(), 64, PACKET_BYTES_MAX),
            ("limits.maximum_packet_size", self.maximum_packet_size.into(), 64, PACKET_BYTES_MAX),
            ("limits.client_id_bytes_max", self.client_id_bytes_max.into(), 23, u16_max),
            ("limits.receive_maximum", self.receive_maximum.into(), 1, u16_max),
            ("limits.unreleased_max", self.unreleased_max.into(), 1, u16_max),
            ("limits.keep_alive_max_seconds", self.keep_alive_max_seconds.into(), 1, u16_max),
            ("limits.in_flight_max", self.in_flight_max.into(), 1, u16_max),
            ("limits.outbound_bytes_max", self.outbound_bytes_max.into(), 1_024, u32_max),
            ("limits.subscriptions_max", self.subscriptions_max.into(), 1, u32_max),
            ("limits.forward_bytes_max", self.forward_bytes_max.into(), 1, u32_max),
            ("limits.memory_bytes_max", self.memory_bytes_max, 1_024, u64::MAX),
            ("limits.connect_rate_max", self.connect_rate_max.into(), 1, u32_max),
            ("limits.publish_rate_max", self.publish_rate_max.into(), 1, u32_max),
            ("limits.publish_bytes_rate_max", self.publish_bytes_rate_max.into(), 1, u32_max),
            ("limits.topic_levels_max", self.topic_levels_max.into(), 1, u16_max),
            ("limits.topic_bytes_max", self.topic_bytes_max.into(), 1, u16_max),
        ];
        for (setting, value, minimum, maximum) in ranges {
            if !(minimum..=maximum).contains(&value) {
                return Err(LimitOutOfRange { setting, value, minimum, maximum });
            }
        }
        Ok(())
    }
}
