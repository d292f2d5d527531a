//! A message that is about to be published, and may still be changed.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use noctule_client_core::Publication;
use noctule_packet::{
    EncodeError, PublishProperties, QoS, TopicError, TopicName, UserProperties, Version,
};

use crate::error::PublishError;

/// A message that is about to be published, as an [`Interceptor`](crate::Interceptor) sees it. What
/// is not changed is not copied.
pub struct Draft<'a> {
    topic: Cow<'a, str>,
    payload: Cow<'a, [u8]>,
    qos: QoS,
    retain: bool,
    /// Those that stand for themselves, and the user properties.
    properties: PublishProperties<'a>,
    response_topic: Option<Cow<'a, str>>,
    correlation_data: Option<Cow<'a, [u8]>>,
    content_type: Option<Cow<'a, str>>,
    timeout: Option<Duration>,
    age_max: Option<Duration>,
    version: Version,
}

impl fmt::Debug for Draft<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Draft")
            .field("topic", &self.topic)
            .field("qos", &self.qos)
            .finish_non_exhaustive()
    }
}

impl<'a> Draft<'a> {
    pub(crate) fn new(publication: &Publication<'a>, version: Version) -> Self {
        let properties = publication.properties.clone();
        Self {
            topic: Cow::Borrowed(publication.topic.as_str()),
            payload: Cow::Borrowed(publication.payload),
            qos: publication.qos,
            retain: publication.retain,
            response_topic: properties.response_topic.map(|it| Cow::Borrowed(it.as_str())),
            correlation_data: properties.correlation_data.map(Cow::Borrowed),
            content_type: properties.content_type.map(Cow::Borrowed),
            properties,
            timeout: publication.timeout,
            age_max: publication.age_max,
            version,
        }
    }

    /// The message as it is now.
    pub(crate) fn publication(&self) -> Result<Publication<'_>, PublishError> {
        let topic = |text: &str, source| PublishError::Topic { topic: text.to_owned(), source };
        let name = TopicName::new(&self.topic).map_err(|error| topic(&self.topic, error))?;
        let response_topic = match self.response_topic.as_deref() {
            Some(text) => Some(TopicName::new(text).map_err(|error| topic(text, error))?),
            None => None,
        };
        let properties = PublishProperties {
            response_topic,
            correlation_data: self.correlation_data.as_deref(),
            content_type: self.content_type.as_deref(),
            ..self.properties.clone()
        };
        let mut publication = Publication::new(name, &self.payload).qos(self.qos);
        publication.retain = self.retain;
        publication.properties = properties;
        (publication.timeout, publication.age_max) = (self.timeout, self.age_max);
        Ok(publication)
    }

    /// The version that is spoken, or will be. Before 5.0 there are no properties.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Where to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Sends it elsewhere.
    ///
    /// # Errors
    ///
    /// If that is no topic.
    pub fn set_topic(&mut self, topic: impl Into<String>) -> Result<(), TopicError> {
        let topic = topic.into();
        TopicName::new(&topic)?;
        self.topic = Cow::Owned(topic);
        Ok(())
    }

    /// The message itself.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Puts another payload in the place of its own.
    pub fn set_payload(&mut self, payload: impl Into<Vec<u8>>) {
        self.payload = Cow::Owned(payload.into());
    }

    /// The quality of service.
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// Changes the quality of service.
    pub const fn set_qos(&mut self, qos: QoS) {
        self.qos = qos;
    }

    /// Whether the server shall keep it for later subscribers.
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// Changes whether the server shall keep it.
    pub const fn set_retain(&mut self, retain: bool) {
        self.retain = retain;
    }

    /// How long the message is worth delivering, in seconds.
    pub const fn message_expiry_interval(&self) -> Option<u32> {
        self.properties.message_expiry_interval
    }

    /// Changes how long the message is worth delivering.
    pub const fn set_message_expiry_interval(&mut self, seconds: Option<u32>) {
        self.properties.message_expiry_interval = seconds;
    }

    /// Whether the payload is UTF-8, if that is said.
    pub const fn payload_format_indicator(&self) -> Option<bool> {
        self.properties.payload_format_indicator
    }

    /// Says whether the payload is UTF-8.
    pub const fn set_payload_format_indicator(&mut self, is_text: Option<bool>) {
        self.properties.payload_format_indicator = is_text;
    }

    /// What the payload is.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Says what the payload is.
    pub fn set_content_type(&mut self, content_type: Option<String>) {
        self.content_type = content_type.map(Cow::Owned);
    }

    /// Where to answer.
    pub fn response_topic(&self) -> Option<&str> {
        self.response_topic.as_deref()
    }

    /// Changes where to answer.
    ///
    /// # Errors
    ///
    /// If that is no topic.
    pub fn set_response_topic(&mut self, topic: Option<String>) -> Result<(), TopicError> {
        if let Some(topic) = &topic {
            TopicName::new(topic)?;
        }
        self.response_topic = topic.map(Cow::Owned);
        Ok(())
    }

    /// What to send along with the answer.
    pub fn correlation_data(&self) -> Option<&[u8]> {
        self.correlation_data.as_deref()
    }

    /// Changes what to send along with the answer.
    pub fn set_correlation_data(&mut self, data: Option<Vec<u8>>) {
        self.correlation_data = data.map(Cow::Owned);
    }

    /// The user properties.
    pub const fn user_properties(&self) -> &UserProperties<'a> {
        &self.properties.user_properties
    }

    /// Adds a user property.
    ///
    /// # Errors
    ///
    /// If name or value is too long, or has a null character.
    pub fn add_user_property(&mut self, name: &str, value: &str) -> Result<(), EncodeError> {
        self.properties.user_properties.push(name, value)
    }

    /// Changes all user properties.
    pub fn set_user_properties(&mut self, properties: UserProperties<'a>) {
        self.properties.user_properties = properties;
    }
}
