//! A message as the host program publishes it, and as it receives one.

use std::time::Duration;

use noctule_packet::{Publish, PublishProperties, QoS, TopicName, UserProperties};

use crate::error::PublishError;

/// A message that the host program publishes.
///
/// ```
/// use noctule_broker::{Publication, QoS};
///
/// let publication = Publication::new("house/kitchen/temperature", "21.5")
///     .qos(QoS::AtLeastOnce)
///     .retain(true)
///     .content_type("text/plain");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Publication {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    properties: Properties,
}

/// What a message carries beside topic and payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Properties {
    payload_is_utf8: Option<bool>,
    message_expiry_interval: Option<u32>,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation_data: Option<Vec<u8>>,
    user_properties: Vec<(String, String)>,
}

impl Publication {
    /// A message with QoS 0 that is not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::default(),
        }
    }

    /// The quality of service; QoS 0 by default.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Whether the message is kept for later subscribers.
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// How long the message is worth delivering; for ever by default. Parts of a second are cut
    /// off, and what is longer than `u32::MAX` seconds becomes that.
    pub fn message_expiry(mut self, interval: Duration) -> Self {
        let seconds = u32::try_from(interval.as_secs()).unwrap_or(u32::MAX);
        self.properties.message_expiry_interval = Some(seconds);
        self
    }

    /// Says that the payload is UTF-8 text.
    pub fn payload_is_utf8(mut self) -> Self {
        self.properties.payload_is_utf8 = Some(true);
        self
    }

    /// Describes the payload.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.properties.content_type = Some(content_type.into());
        self
    }

    /// Where an answer is expected.
    pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
        self.properties.response_topic = Some(topic.into());
        self
    }

    /// What tells the answer's receiver which request it belongs to.
    pub fn correlation_data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.properties.correlation_data = Some(data.into());
        self
    }

    /// Adds a user property behind those that are there.
    pub fn user_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.user_properties.push((name.into(), value.into()));
        self
    }

    /// The message as a packet, without a packet identifier.
    pub(crate) fn to_packet(&self) -> Result<Publish<'_>, PublishError> {
        let mut user_properties = UserProperties::new();
        for (name, value) in &self.properties.user_properties {
            user_properties.push(name, value).map_err(|_| PublishError::FieldTooLong)?;
        }
        let properties = &self.properties;
        Ok(Publish {
            dup: false,
            qos: self.qos,
            retain: self.retain,
            topic: Some(topic_name(&self.topic)?),
            packet_id: None,
            properties: PublishProperties {
                payload_format_indicator: properties.payload_is_utf8,
                message_expiry_interval: properties.message_expiry_interval,
                topic_alias: None,
                response_topic: properties.response_topic.as_deref().map(topic_name).transpose()?,
                correlation_data: properties.correlation_data.as_deref(),
                user_properties,
                subscription_identifiers: Vec::new(),
                content_type: properties.content_type.as_deref(),
            },
            payload: &self.payload,
        })
    }
}

fn topic_name(topic: &str) -> Result<TopicName<'_>, PublishError> {
    TopicName::new(topic).map_err(|_| PublishError::InvalidTopic { topic: topic.to_owned() })
}

/// A message that reached a subscription of the host program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Where it was published.
    pub topic: String,
    /// What was published.
    pub payload: Vec<u8>,
    /// The QoS of the delivery.
    pub qos: QoS,
    /// Whether it was retained before the subscription was made; with
    /// [`retain_as_published`](crate::SubscriptionRequest::retain_as_published), whether its
    /// publisher set RETAIN.
    pub retain: bool,
    /// Whether the publisher says that the payload is UTF-8 text.
    pub payload_is_utf8: bool,
    /// How long it is still worth something.
    pub message_expiry: Option<Duration>,
    /// The publisher's description of the payload.
    pub content_type: Option<String>,
    /// Where the publisher expects an answer.
    pub response_topic: Option<String>,
    /// What the publisher wants back in an answer.
    pub correlation_data: Option<Vec<u8>>,
    /// User properties in the publisher's order.
    pub user_properties: Vec<(String, String)>,
}

impl Received {
    pub(crate) fn from_packet(packet: &Publish<'_>) -> Self {
        let properties = &packet.properties;
        let owned = |text: &str| text.to_owned();
        Self {
            topic: packet.topic.map(|topic| owned(topic.as_str())).unwrap_or_default(),
            payload: packet.payload.to_vec(),
            qos: packet.qos,
            retain: packet.retain,
            payload_is_utf8: properties.payload_format_indicator.unwrap_or(false),
            message_expiry: properties
                .message_expiry_interval
                .map(|seconds| Duration::from_secs(seconds.into())),
            content_type: properties.content_type.map(owned),
            response_topic: properties.response_topic.map(|topic| owned(topic.as_str())),
            correlation_data: properties.correlation_data.map(<[u8]>::to_vec),
            user_properties: properties
                .user_properties
                .iter()
                .map(|(name, value)| (owned(name), owned(value)))
                .collect(),
        }
    }

    /// The payload as text, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok()
    }
}
