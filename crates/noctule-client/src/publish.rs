//! Publishing: what a message is, and when it is accepted.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use noctule_client_core::{OperationId, Publication};
use noctule_packet::{PublishProperties, QoS, TopicName, UserProperties};

use crate::draft::Draft;
use crate::error::PublishError;
use crate::mode::{Async, Blocking, Mode};
use crate::receipt::Receipt;
use crate::shared::Shared;
use crate::wait::try_block_on;

/// A message to publish; see [`Client::publish`](crate::Client::publish).
#[must_use = "nothing is published before `send`"]
pub struct Publish<'a, D> {
    shared: &'a Arc<Shared>,
    topic: &'a str,
    payload: &'a [u8],
    qos: QoS,
    retain: bool,
    properties: PublishProperties<'a>,
    timeout: Option<Duration>,
    age_max: Option<Duration>,
    mode: Mode<D>,
}

impl<D> fmt::Debug for Publish<'_, D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Publish")
            .field("topic", &self.topic)
            .field("qos", &self.qos)
            .finish_non_exhaustive()
    }
}

impl<'a, D> Publish<'a, D> {
    pub(crate) fn new(shared: &'a Arc<Shared>, topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            shared,
            topic,
            payload,
            qos: QoS::AtMostOnce,
            retain: false,
            properties: PublishProperties::default(),
            timeout: None,
            age_max: None,
            mode: Mode::default(),
        }
    }

    /// The quality of service; at most once by default.
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Whether the server shall keep it for later subscribers.
    pub const fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// All properties at once, 5.0 only.
    pub fn properties(mut self, properties: PublishProperties<'a>) -> Self {
        self.properties = properties;
        self
    }

    /// What the payload is, for example `application/json`; 5.0 only.
    pub const fn content_type(mut self, content_type: &'a str) -> Self {
        self.properties.content_type = Some(content_type);
        self
    }

    /// Where to answer; 5.0 only.
    pub fn response_topic(mut self, topic: TopicName<'a>) -> Self {
        self.properties.response_topic = Some(topic);
        self
    }

    /// What to send along with the answer; 5.0 only.
    pub const fn correlation_data(mut self, data: &'a [u8]) -> Self {
        self.properties.correlation_data = Some(data);
        self
    }

    /// How long the message is worth delivering, in whole seconds; 5.0 only. It also bounds how
    /// long it waits in the offline queue.
    pub fn expires_after(mut self, lifetime: Duration) -> Self {
        let seconds = u32::try_from(crate::builder::seconds(lifetime)).unwrap_or(u32::MAX);
        self.properties.message_expiry_interval = Some(seconds);
        self
    }

    /// The user properties; 5.0 only.
    pub fn user_properties(mut self, properties: UserProperties<'a>) -> Self {
        self.properties.user_properties = properties;
        self
    }

    /// When to give up waiting for the end; unlimited by default. A message that was sent goes on
    /// being delivered.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long it may wait for its first transmission, in place of the queue's setting.
    pub const fn age_max(mut self, age: Duration) -> Self {
        self.age_max = Some(age);
        self
    }

    fn publication(&self) -> Result<Publication<'a>, PublishError> {
        let topic = TopicName::new(self.topic)
            .map_err(|source| PublishError::Topic { topic: self.topic.to_owned(), source })?;
        let mut publication = Publication::new(topic, self.payload).qos(self.qos);
        publication.retain = self.retain;
        publication.properties = self.properties.clone();
        publication.timeout = self.timeout;
        publication.age_max = self.age_max;
        Ok(publication)
    }

    /// Hands the message over at once. It never waits, and may be called from anywhere.
    ///
    /// # Errors
    ///
    /// If it is not accepted: the queue is full, or it needs what the version or the server lacks.
    pub fn send(self) -> Result<Receipt, PublishError> {
        Receipt::of(self.shared, self.hand_over())
    }

    fn hand_over(&self) -> Result<OperationId, PublishError> {
        self.shared.publish(&self.publication()?)
    }

    async fn wait_for_room(self) -> Result<Receipt, PublishError> {
        Receipt::of(self.shared, self.hand_over_when_ready().await)
    }

    async fn hand_over_when_ready(&self) -> Result<OperationId, PublishError> {
        let publication = self.publication()?;
        let draft = self.shared.intercept(&publication)?;
        let changed = draft.as_ref().map(Draft::publication).transpose()?;
        let publication = changed.as_ref().unwrap_or(&publication);
        let with_alias = self.shared.with_alias(publication);
        let publication = with_alias.as_ref().unwrap_or(publication);
        poll_fn(|context| {
            let now = self.shared.now();
            self.shared.with(|inner| {
                inner.check_store(publication)?;
                let polled = inner.hub.poll_publish(now, publication, context.waker());
                polled.map_err(PublishError::from)
            })
        })
        .await
    }
}

impl Publish<'_, Async> {
    /// Hands the message over as soon as the queue has room for it.
    ///
    /// # Errors
    ///
    /// If it is not accepted for another reason.
    pub async fn send_when_ready(self) -> Result<Receipt, PublishError> {
        self.wait_for_room().await
    }
}

impl Publish<'_, Blocking> {
    /// Waits until the queue has room for the message, and hands it over.
    ///
    /// # Errors
    ///
    /// If it is not accepted for another reason.
    pub fn send_when_ready(self) -> Result<Receipt, PublishError> {
        try_block_on(self.wait_for_room())
    }
}
