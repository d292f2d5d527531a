//! An Application Message that outlives the packet which brought it.

use alloc::sync::Arc;

use noctule_packet::{ForwardedProperties, QoS};
use noctule_session::Timestamp;

use crate::payload::Payload;

/// An Application Message as the broker keeps it: immutable, and shared by all who will get it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where it was published.
    pub topic: Arc<str>,
    /// The Application Message's bytes.
    pub payload: Payload,
    /// The quality of service of the publication.
    pub qos: QoS,
    /// Whether the publisher set RETAIN.
    pub retain: bool,
    /// The properties that reach subscribers unaltered.
    pub properties: ForwardedProperties,
    /// When it ceases to be worth delivering.
    pub expires_at: Option<Timestamp>,
}

/// What one message costs beyond its topic, payload and properties, in bytes (a round estimate).
const OVERHEAD_BYTES: usize = 128;

impl Message {
    /// A message that has nothing but a topic and a payload.
    pub(crate) fn plain(topic: Arc<str>, payload: Payload, qos: QoS) -> Self {
        let properties = ForwardedProperties::empty();
        Self { topic, payload, qos, retain: false, properties, expires_at: None }
    }

    /// Whether it is such a message.
    pub(crate) fn is_plain(&self) -> bool {
        !self.retain && self.properties.is_empty() && self.expires_at.is_none()
    }

    /// What the message counts against byte limits.
    pub fn bytes(&self) -> usize {
        bytes(&self.topic, &self.payload, &self.properties)
    }

    /// Whether the message has expired at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The Message Expiry Interval to send at `now`: what is left, in seconds that have begun.
    pub fn remaining_expiry_interval(&self, now: Timestamp) -> Option<u32> {
        remaining_expiry_interval(self.expires_at, now)
    }
}

/// What is left of an expiry at `now`, in seconds that have begun.
// [MQTT5-3.3.2-6]
pub(crate) fn remaining_expiry_interval(
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<u32> {
    let left = expires_at?.since(now).as_millis().div_ceil(1_000);
    Some(u32::try_from(left).unwrap_or(u32::MAX))
}

/// What a message counts that has nothing but a topic and a payload.
pub(crate) const fn plain_bytes(topic: &str, payload: &[u8]) -> usize {
    OVERHEAD_BYTES + topic.len() + payload.len()
}

/// What a message with these parts counts against byte limits.
pub(crate) fn bytes(topic: &str, payload: &[u8], properties: &ForwardedProperties) -> usize {
    plain_bytes(topic, payload) + properties.as_bytes().len()
}
