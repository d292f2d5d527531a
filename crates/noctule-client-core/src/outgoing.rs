//! A message of ours that is kept until it has ended: one allocation, in the parts that PUBLISH
//! needs.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use noctule_packet::{ForwardedProperties, PacketId, PublishHead, QoS, Version};
use noctule_session::Timestamp;

use crate::operation::OperationId;
use crate::publication::Publication;

/// What a message costs beside its bytes.
const OVERHEAD: usize = 96;

/// A message that waits or is in flight.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) operation: OperationId,
    /// Topic, properties in wire form, payload.
    body: Box<[u8]>,
    properties_length: u32,
    topic_length: u16,
    /// How many connections have ended with this message in flight.
    pub(crate) interruptions: u16,
    pub(crate) topic_alias: Option<NonZeroU16>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Whether the user has been told how it ended.
    pub(crate) is_silent: bool,
    /// Whether a connection of a session that is gone may have sent it.
    pub(crate) was_sent: bool,
    /// Its Message Expiry Interval counted from when it was accepted.
    pub(crate) expires: Option<Timestamp>,
    /// When it is dropped if it was not sent.
    pub(crate) discarded: Option<Timestamp>,
    pub(crate) timeout: Option<Timestamp>,
}

/// When something becomes of a message by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Its Message Expiry Interval counted from when it was accepted.
    pub(crate) expires: Option<Timestamp>,
    /// When it is dropped if it was not sent.
    pub(crate) discarded: Option<Timestamp>,
    /// When its operation ends at the latest.
    pub(crate) timeout: Option<Timestamp>,
}

impl Times {
    /// The times of a message that is accepted now.
    pub(crate) fn of(
        now: Timestamp,
        publication: &Publication<'_>,
        age_max: Option<Duration>,
    ) -> Self {
        let lifetime = publication.properties.message_expiry_interval;
        let expires = lifetime.map(|seconds| now.plus_seconds(seconds));
        let aged = publication.age_max.or(age_max).map(|age| now + age);
        let timeout = publication.timeout.map(|timeout| now + timeout);
        Self { expires, discarded: earlier(expires, aged), timeout }
    }
}

impl Outgoing {
    /// Keeps a publication. `forwarded` are its properties.
    pub(crate) fn new(
        now: Timestamp,
        operation: OperationId,
        publication: &Publication<'_>,
        forwarded: &ForwardedProperties,
        age_max: Option<Duration>,
    ) -> Self {
        let topic = publication.topic.as_str().as_bytes();
        let properties = forwarded.as_bytes();
        let length = topic.len() + properties.len() + publication.payload.len();
        let mut body = Vec::with_capacity(length);
        body.extend_from_slice(topic);
        body.extend_from_slice(properties);
        body.extend_from_slice(publication.payload);
        let Times { expires, discarded, timeout } = Times::of(now, publication, age_max);
        Self {
            operation,
            body: body.into_boxed_slice(),
            properties_length: u32::try_from(properties.len()).unwrap_or(u32::MAX),
            topic_length: u16::try_from(topic.len()).unwrap_or(u16::MAX),
            interruptions: 0,
            topic_alias: publication.properties.topic_alias.and_then(NonZeroU16::new),
            qos: publication.qos,
            retain: publication.retain,
            is_silent: false,
            was_sent: false,
            expires,
            discarded,
            timeout,
        }
    }

    pub(crate) fn topic(&self) -> &str {
        let topic = self.body.get(..usize::from(self.topic_length)).unwrap_or_default();
        core::str::from_utf8(topic).unwrap_or_default()
    }

    /// The properties in wire form.
    pub(crate) fn forwarded(&self) -> &[u8] {
        let start = usize::from(self.topic_length);
        let length = usize::try_from(self.properties_length).unwrap_or(usize::MAX);
        self.body.get(start..start.saturating_add(length)).unwrap_or_default()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        let length = usize::try_from(self.properties_length).unwrap_or(usize::MAX);
        let start = usize::from(self.topic_length).saturating_add(length);
        self.body.get(start..).unwrap_or_default()
    }

    /// What it takes of a queue's bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + OVERHEAD
    }

    /// What [`Outgoing::bytes`] of this publication would be.
    pub(crate) fn bytes_of(
        publication: &Publication<'_>,
        forwarded: &ForwardedProperties,
    ) -> usize {
        let topic = publication.topic.as_str().len();
        topic + forwarded.as_bytes().len() + publication.payload.len() + OVERHEAD
    }

    pub(crate) const fn times(&self) -> Times {
        Times { expires: self.expires, discarded: self.discarded, timeout: self.timeout }
    }

    pub(crate) const fn set_times(&mut self, times: Times) {
        let Times { expires, discarded, timeout } = times;
        (self.expires, self.discarded, self.timeout) = (expires, discarded, timeout);
    }

    /// Replaces its lifetime.
    pub(crate) fn set_expiry(&mut self, expires: Option<Timestamp>) {
        self.expires = expires;
        self.discarded = earlier(self.discarded, expires);
    }

    /// The first moment at which something is to be decided about it: its time may be up.
    pub(crate) fn deadline(&self, is_queued: bool) -> Option<Timestamp> {
        if is_queued { earlier(self.timeout, self.discarded) } else { self.timeout }
    }

    /// What a version lacks that the message needs.
    pub(crate) fn missing_in(&self, version: Version) -> Option<&'static str> {
        if version.is_v5() {
            return None;
        }
        if self.expires.is_some() {
            return Some("message_expiry_interval");
        }
        if self.topic_alias.is_some() {
            return Some("topic_alias");
        }
        (self.properties_length > 0).then_some("properties")
    }

    /// Its PUBLISH, but for the topic alias.
    pub(crate) fn head(
        &self,
        now: Timestamp,
        version: Version,
        packet_id: Option<PacketId>,
        dup: bool,
    ) -> PublishHead<'_> {
        PublishHead {
            version,
            dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic(),
            packet_id,
            topic_alias: None,
            message_expiry_interval: self.expires.map(|expires| seconds_left(now, expires)),
            subscription_identifiers: &[],
            forwarded: self.forwarded(),
            payload_length: self.payload().len(),
        }
    }
}

/// What is left of a lifetime in whole seconds, rounded up.
fn seconds_left(now: Timestamp, expires: Timestamp) -> u32 {
    u32::try_from(expires.since(now).as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// The earlier of two moments that may be missing.
pub(crate) fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
