//! A message that a user wants published, and why it may be refused on the spot.

use core::fmt;
use core::time::Duration;

use noctule_packet::{PublishProperties, QoS, TopicName, Version};

/// A message to publish. It borrows everything; what must be kept is copied once.
///
/// ```
/// use noctule_client_core::Publication;
/// use noctule_packet::{QoS, TopicName};
///
/// let topic = TopicName::new("house/kitchen").unwrap();
/// let publication = Publication::new(topic, b"21.5").qos(QoS::AtLeastOnce).retain(true);
/// assert_eq!(publication.payload, b"21.5");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Publication<'a> {
    /// Where to.
    pub topic: TopicName<'a>,
    /// The message itself.
    pub payload: &'a [u8],
    /// The quality of service.
    pub qos: QoS,
    /// Whether the server shall retain it.
    pub retain: bool,
    /// The properties, 5.0 only. A topic alias is for
    /// [`AliasPolicy::Manual`](crate::AliasPolicy::Manual), and there are no Subscription
    /// Identifiers.
    pub properties: PublishProperties<'a>,
    /// When the operation ends at the latest; unlimited without.
    pub timeout: Option<Duration>,
    /// How long it may wait for its first transmission, in place of the queue's setting.
    pub age_max: Option<Duration>,
}

impl<'a> Publication<'a> {
    /// A message of QoS 0 that has nothing but a topic and a payload.
    pub fn new(topic: TopicName<'a>, payload: &'a [u8]) -> Self {
        Self {
            topic,
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            properties: PublishProperties::default(),
            timeout: None,
            age_max: None,
        }
    }

    /// Sets the quality of service.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Sets the retain flag.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Sets when the operation ends at the latest.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The name of a property that there is, if there is one.
    #[inline]
    pub(crate) fn property(&self) -> Option<&'static str> {
        let properties = &self.properties;
        let found = [
            (properties.payload_format_indicator.is_some(), "payload_format_indicator"),
            (properties.message_expiry_interval.is_some(), "message_expiry_interval"),
            (properties.topic_alias.is_some(), "topic_alias"),
            (properties.response_topic.is_some(), "response_topic"),
            (properties.correlation_data.is_some(), "correlation_data"),
            (properties.content_type.is_some(), "content_type"),
            (!properties.user_properties.is_empty(), "user_properties"),
            (!properties.subscription_identifiers.is_empty(), "subscription_identifiers"),
        ];
        found.into_iter().find_map(|(is_there, name)| is_there.then_some(name))
    }
}

/// Why a publication was not accepted. Nothing of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishRefused {
    /// The version that is spoken has no such thing.
    NotInVersion {
        /// What.
        option: &'static str,
        /// The version.
        version: Version,
    },
    /// The server has said in CONNACK that it does not support this.
    NotSupported {
        /// What.
        option: &'static str,
    },
    /// A value that no PUBLISH may carry.
    InvalidValue {
        /// What.
        option: &'static str,
    },
    /// The server takes no packet of this size.
    TooLarge {
        /// The bytes of the packet.
        size: usize,
        /// What the server takes.
        maximum: u32,
    },
    /// There is no connection, and the offline queue keeps nothing of this kind.
    Offline,
    /// It is larger than the queue can ever take, and cannot be sent at once.
    TooLargeForQueue {
        /// What it takes.
        size: usize,
        /// The setting's value.
        maximum: usize,
    },
    /// There is no room in the queue.
    Full {
        /// The setting that is reached.
        limit: &'static str,
        /// Its value.
        maximum: u64,
    },
    /// The session was closed.
    Closed,
}

impl fmt::Display for PublishRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInVersion { option, version } => write!(f, "MQTT {version} has no {option}"),
            Self::NotSupported { option } => write!(f, "the server does not support {option}"),
            Self::InvalidValue { option } => {
                write!(f, "{option} has a value that no PUBLISH may carry")
            }
            Self::TooLarge { size, maximum } => {
                write!(f, "the packet has {size} bytes, the server takes {maximum}")
            }
            Self::Offline => {
                f.write_str("there is no connection and the offline queue does not keep this")
            }
            Self::TooLargeForQueue { size, maximum } => write!(
                f,
                "the message takes {size} bytes of the queue, which has {maximum}: queue.bytes_max"
            ),
            Self::Full { limit, maximum } => write!(f, "the queue is full: {limit} = {maximum}"),
            Self::Closed => f.write_str("the session is closed"),
        }
    }
}

impl core::error::Error for PublishRefused {}
