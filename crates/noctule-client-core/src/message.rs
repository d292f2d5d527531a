//! A message that has arrived, owned by whoever takes it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use noctule_packet::{ForwardedProperties, PacketId, Publish, PublishProperties, QoS, TopicName};

/// What a message costs beside what it carries: its own parts, its place among the events or in a
/// mailbox, its place among those that are held.
const OVERHEAD: usize = 256;

/// A message that has arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    topic: Arc<str>,
    payload: Box<[u8]>,
    /// Boxed, as most have none.
    properties: Option<Box<Properties>>,
    qos: QoS,
    retain: bool,
    dup: bool,
    packet_id: Option<PacketId>,
    topic_alias: Option<NonZeroU16>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Properties {
    forwarded: ForwardedProperties,
    message_expiry_interval: Option<u32>,
    subscription_identifiers: Vec<u32>,
}

impl Properties {
    fn of(properties: &PublishProperties<'_>) -> Self {
        Self {
            forwarded: ForwardedProperties::from_publish(properties),
            message_expiry_interval: properties.message_expiry_interval,
            subscription_identifiers: properties.subscription_identifiers.clone(),
        }
    }
}

impl Message {
    /// A message without properties.
    pub(crate) fn plain(
        topic: Arc<str>,
        payload: &[u8],
        qos: QoS,
        packet_id: Option<PacketId>,
    ) -> Self {
        Self {
            topic,
            payload: payload.into(),
            properties: None,
            qos,
            retain: false,
            dup: false,
            packet_id,
            topic_alias: None,
        }
    }

    /// What a PUBLISH carries, whose topic is known.
    pub(crate) fn of(topic: Arc<str>, publish: &Publish<'_>) -> Self {
        let properties = Properties::of(&publish.properties);
        let has_properties = properties != Properties::default();
        Self {
            topic,
            payload: publish.payload.into(),
            properties: has_properties.then(|| Box::new(properties)),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.packet_id,
            topic_alias: publish.properties.topic_alias.and_then(NonZeroU16::new),
        }
    }

    /// Where it was published.
    pub const fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The message itself.
    pub const fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The message itself, without the rest.
    pub fn into_payload(self) -> Box<[u8]> {
        self.payload
    }

    /// The quality of service that it came with.
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether it was retained.
    pub const fn retain(&self) -> bool {
        self.retain
    }

    /// Whether the server says that it may have sent it before.
    pub const fn dup(&self) -> bool {
        self.dup
    }

    /// The packet identifier that it came with, at QoS 1 and 2, to be shown to people: the server
    /// uses it again for other messages, and nothing is asked for by it.
    pub const fn packet_id(&self) -> Option<PacketId> {
        self.packet_id
    }

    /// The topic alias that it came with, to be shown to people: the topic is known without it.
    pub fn topic_alias(&self) -> Option<u16> {
        self.topic_alias.map(NonZeroU16::get)
    }

    /// The identifiers of the subscriptions that matched, as far as they have any.
    pub fn subscription_identifiers(&self) -> &[u32] {
        self.properties.as_ref().map_or(&[], |properties| &properties.subscription_identifiers)
    }

    /// What was left of its lifetime when it arrived, in seconds.
    pub fn message_expiry_interval(&self) -> Option<u32> {
        self.properties.as_ref()?.message_expiry_interval
    }

    /// Its properties, but for the topic alias.
    pub fn properties(&self) -> PublishProperties<'_> {
        let Some(properties) = &self.properties else { return PublishProperties::default() };
        PublishProperties {
            message_expiry_interval: properties.message_expiry_interval,
            subscription_identifiers: properties.subscription_identifiers.clone(),
            ..properties.forwarded.decode()
        }
    }

    /// Says that it was published elsewhere.
    pub fn set_topic(&mut self, topic: TopicName<'_>) {
        self.topic = topic.as_str().into();
    }

    /// Puts another payload in the place of its own.
    pub fn set_payload(&mut self, payload: impl Into<Box<[u8]>>) {
        self.payload = payload.into();
    }

    /// Changes all its properties. A topic alias is not kept.
    pub fn set_properties(&mut self, properties: &PublishProperties<'_>) {
        let properties = Properties::of(properties);
        let has_properties = properties != Properties::default();
        self.properties = has_properties.then(|| Box::new(properties));
    }

    /// What it takes of the bytes that may be held: everything that it carries, the topic too,
    /// although that may be shared, and something for itself.
    pub fn bytes(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| {
            let identifiers = size_of_val(&properties.subscription_identifiers[..]);
            size_of::<Properties>() + properties.forwarded.as_bytes().len() + identifiers
        });
        OVERHEAD + self.topic.len() + self.payload.len() + properties
    }
}
