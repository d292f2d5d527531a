//! The will of a CONNECT that owns what it holds, and its builder.

use noctule_packet::{QoS, TopicName, Version, Will, WillProperties};

use super::{lend_topic, lend_user_properties, own_user_properties};

/// The will in a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's, described at their setters")]
pub struct OwnedWill {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    pub will_delay_interval: Option<u32>,
    pub payload_format_indicator: Option<bool>,
    pub message_expiry_interval: Option<u32>,
    pub content_type: Option<String>,
    pub response_topic: Option<String>,
    pub correlation_data: Option<Vec<u8>>,
    pub user_properties: Vec<(String, String)>,
}

impl OwnedWill {
    /// A will at QoS 0, not retained, without properties.
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        OwnedWill {
            topic: topic.to_owned(),
            payload: payload.as_ref().to_vec(),
            qos: QoS::AtMostOnce,
            retain: false,
            will_delay_interval: None,
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        }
    }

    /// The quality of service.
    #[must_use]
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Whether the will is published as a retained message.
    #[must_use]
    pub const fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// How many seconds the server waits before it publishes the will.
    #[must_use]
    pub const fn delay(mut self, seconds: u32) -> Self {
        self.will_delay_interval = Some(seconds);
        self
    }

    /// How many seconds the message is of use.
    #[must_use]
    pub const fn message_expiry_interval(mut self, seconds: u32) -> Self {
        self.message_expiry_interval = Some(seconds);
        self
    }

    /// One more user property.
    #[must_use]
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        self.user_properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A copy of the will.
    pub fn copy_of(will: &Will<'_>) -> Self {
        let properties = &will.properties;
        OwnedWill {
            topic: will.topic.as_str().to_owned(),
            payload: will.payload.to_vec(),
            qos: will.qos,
            retain: will.retain,
            will_delay_interval: properties.will_delay_interval,
            payload_format_indicator: properties.payload_format_indicator,
            message_expiry_interval: properties.message_expiry_interval,
            content_type: properties.content_type.map(str::to_owned),
            response_topic: properties.response_topic.map(|topic| topic.as_str().to_owned()),
            correlation_data: properties.correlation_data.map(<[u8]>::to_vec),
            user_properties: own_user_properties(&properties.user_properties),
        }
    }

    #[track_caller]
    pub(super) fn to_packet(&self, version: Version) -> Will<'_> {
        let topic: TopicName<'_> = lend_topic(&self.topic).expect("a will has a topic");
        let properties = if version.is_v5() {
            WillProperties {
                will_delay_interval: self.will_delay_interval,
                payload_format_indicator: self.payload_format_indicator,
                message_expiry_interval: self.message_expiry_interval,
                content_type: self.content_type.as_deref(),
                response_topic: self.response_topic.as_deref().and_then(lend_topic),
                correlation_data: self.correlation_data.as_deref(),
                user_properties: lend_user_properties(&self.user_properties),
            }
        } else {
            WillProperties::default()
        };
        Will { qos: self.qos, retain: self.retain, properties, topic, payload: &self.payload }
    }
}
