//! A PUBLISH that owns what it holds, and its builder.

use noctule_packet::{Publish, PublishProperties, QoS};

use super::{lend_topic, lend_user_properties, own_user_properties};

/// A PUBLISH: what a test builds to send, and what [`Peer::receive`](crate::Peer::receive) returns.
///
/// ```
/// use noctule_packet::QoS;
/// use noctule_testkit::OwnedPublish;
///
/// let publish = OwnedPublish::new("kitchen/oven", "220", QoS::AtLeastOnce)
///     .retain(true)
///     .message_expiry_interval(60);
/// assert_eq!(publish.text(), "220");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's, described at their setters")]
pub struct OwnedPublish {
    pub dup: bool,
    pub qos: QoS,
    pub retain: bool,
    /// Empty when an alias alone says the topic.
    pub topic: String,
    /// `None` at QoS 0, and in a message to send that has not got one yet.
    pub packet_id: Option<u16>,
    pub payload: Vec<u8>,
    pub payload_format_indicator: Option<bool>,
    pub message_expiry_interval: Option<u32>,
    pub topic_alias: Option<u16>,
    pub response_topic: Option<String>,
    pub correlation_data: Option<Vec<u8>>,
    pub user_properties: Vec<(String, String)>,
    pub subscription_identifiers: Vec<u32>,
    pub content_type: Option<String>,
}

impl OwnedPublish {
    /// A message that is neither retained nor a duplicate, without packet identifier and without
    /// properties.
    pub fn new(topic: &str, payload: impl AsRef<[u8]>, qos: QoS) -> Self {
        OwnedPublish {
            dup: false,
            qos,
            retain: false,
            topic: topic.to_owned(),
            packet_id: None,
            payload: payload.as_ref().to_vec(),
            payload_format_indicator: None,
            message_expiry_interval: None,
            topic_alias: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
            subscription_identifiers: Vec::new(),
            content_type: None,
        }
    }

    /// The packet identifier of a message at QoS 1 or 2.
    ///
    /// # Panics
    ///
    /// When it has none.
    #[track_caller]
    pub const fn id(&self) -> u16 {
        match self.packet_id {
            Some(packet_id) => packet_id,
            None => panic!("the message has no packet identifier"),
        }
    }

    /// The payload as text.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        match str::from_utf8(&self.payload) {
            Ok(text) => text,
            Err(error) => panic!("the payload is not UTF-8 ({error}): {:?}", self.payload),
        }
    }

    /// Whether the message may have been sent before.
    #[must_use]
    pub const fn dup(mut self, dup: bool) -> Self {
        self.dup = dup;
        self
    }

    /// Whether the server keeps the message for later subscribers.
    #[must_use]
    pub const fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// The packet identifier.
    #[must_use]
    pub const fn packet_id(mut self, packet_id: u16) -> Self {
        self.packet_id = Some(packet_id);
        self
    }

    /// Whether the payload is said to be UTF-8.
    #[must_use]
    pub const fn payload_format_indicator(mut self, is_utf8: bool) -> Self {
        self.payload_format_indicator = Some(is_utf8);
        self
    }

    /// How many seconds the message is of use.
    #[must_use]
    pub const fn message_expiry_interval(mut self, seconds: u32) -> Self {
        self.message_expiry_interval = Some(seconds);
        self
    }

    /// The topic alias.
    #[must_use]
    pub const fn topic_alias(mut self, alias: u16) -> Self {
        self.topic_alias = Some(alias);
        self
    }

    /// The topic for answers.
    #[must_use]
    pub fn response_topic(mut self, topic: &str) -> Self {
        self.response_topic = Some(topic.to_owned());
        self
    }

    /// What an answer repeats.
    #[must_use]
    pub fn correlation_data(mut self, data: impl AsRef<[u8]>) -> Self {
        self.correlation_data = Some(data.as_ref().to_vec());
        self
    }

    /// One more user property.
    #[must_use]
    pub fn user_property(mut self, name: &str, value: &str) -> Self {
        self.user_properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more subscription identifier, which only a server may send.
    #[must_use]
    pub fn subscription_identifier(mut self, identifier: u32) -> Self {
        self.subscription_identifiers.push(identifier);
        self
    }

    /// What the payload is.
    #[must_use]
    pub fn content_type(mut self, content_type: &str) -> Self {
        self.content_type = Some(content_type.to_owned());
        self
    }

    /// A copy of the packet.
    pub fn copy_of(publish: &Publish<'_>) -> Self {
        let properties = &publish.properties;
        OwnedPublish {
            dup: publish.dup,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic.map_or("", |topic| topic.as_str()).to_owned(),
            packet_id: publish.packet_id.map(|packet_id| packet_id.value()),
            payload: publish.payload.to_vec(),
            payload_format_indicator: properties.payload_format_indicator,
            message_expiry_interval: properties.message_expiry_interval,
            topic_alias: properties.topic_alias,
            response_topic: properties.response_topic.map(|topic| topic.as_str().to_owned()),
            correlation_data: properties.correlation_data.map(<[u8]>::to_vec),
            user_properties: own_user_properties(&properties.user_properties),
            subscription_identifiers: properties.subscription_identifiers.clone(),
            content_type: properties.content_type.map(str::to_owned),
        }
    }

    /// The packet to send.
    ///
    /// # Panics
    ///
    /// When a topic is not valid or the packet identifier is 0.
    #[track_caller]
    pub fn to_packet(&self) -> Publish<'_> {
        Publish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: lend_topic(&self.topic),
            packet_id: self.packet_id.map(|packet_id| {
                noctule_packet::PacketId::new(packet_id).expect("a packet identifier that is not 0")
            }),
            properties: PublishProperties {
                payload_format_indicator: self.payload_format_indicator,
                message_expiry_interval: self.message_expiry_interval,
                topic_alias: self.topic_alias,
                response_topic: self.response_topic.as_deref().and_then(lend_topic),
                correlation_data: self.correlation_data.as_deref(),
                user_properties: lend_user_properties(&self.user_properties),
                subscription_identifiers: self.subscription_identifiers.clone(),
                content_type: self.content_type.as_deref(),
            },
            payload: &self.payload,
        }
    }
}
