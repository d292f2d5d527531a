//! Records as bytes: a kind and tagged fields, so that a later version can add to what an earlier
//! one has stored.
//!
//! ```text
//!  record = kind (1 byte), field*
//!  field  = tag (1 byte), length (4 bytes, big endian), value
//! ```
//!
//! A field whose tag is not known is passed over; one that is missing has its default, or makes the
//! record an error if there is none. Numbers are big endian. A message is a PUBLISH packet of MQTT
//! 5.0 with packet identifier 1, if it has one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use noctule_packet::{
    ForwardedProperties, Framing, PacketId, Publish, PublishHead, QoS, RetainHandling,
    SubscriptionOptions, TextRules, TopicFilter, UserProperties, Version, split,
};

use super::{Record, StoredMessage, StoredSubscription};
use crate::operation::OperationId;

/// The kinds of records.
mod kind {
    pub(super) const OPENED: u8 = 1;
    pub(super) const SESSION_STARTED: u8 = 2;
    pub(super) const CONNECTING: u8 = 3;
    pub(super) const ACCEPTED: u8 = 4;
    pub(super) const TRANSMITTED: u8 = 5;
    pub(super) const RECEIVED: u8 = 6;
    pub(super) const TOLD: u8 = 7;
    pub(super) const FINISHED: u8 = 8;
    pub(super) const ABANDONED: u8 = 9;
    pub(super) const ARRIVED: u8 = 10;
    pub(super) const RELEASED: u8 = 11;
    pub(super) const SUBSCRIBED: u8 = 12;
    pub(super) const UNSUBSCRIBED: u8 = 13;
    pub(super) const INTERRUPTED: u8 = 14;
    pub(super) const SUBSCRIPTION_INTERRUPTED: u8 = 15;
}

/// The tags of fields.
mod tag {
    /// 8 bytes.
    pub(super) const OPERATION: u8 = 1;
    /// 2 bytes.
    pub(super) const PACKET_ID: u8 = 2;
    /// Text.
    pub(super) const CLIENT_ID: u8 = 3;
    /// Nothing: it is there or not.
    pub(super) const IS_NEW: u8 = 4;
    /// A PUBLISH packet.
    pub(super) const MESSAGE: u8 = 5;
    /// 8 bytes, in milliseconds.
    pub(super) const MESSAGE_EXPIRY: u8 = 6;
    /// 8 bytes, in milliseconds.
    pub(super) const AGE_MAX: u8 = 7;
    /// Text.
    pub(super) const FILTER: u8 = 8;
    /// 1 byte, as in SUBSCRIBE.
    pub(super) const OPTIONS: u8 = 9;
    /// 4 bytes.
    pub(super) const IDENTIFIER: u8 = 10;
    /// Text; each has a value behind it.
    pub(super) const USER_PROPERTY_NAME: u8 = 11;
    /// Text.
    pub(super) const USER_PROPERTY_VALUE: u8 = 12;
    /// 2 bytes.
    pub(super) const INTERRUPTIONS: u8 = 13;
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// There is no byte at all.
    Empty,
    /// A later version may know it.
    UnknownKind {
        /// What it says.
        kind: u8,
    },
    /// A field ends behind the record.
    Truncated,
    /// A field is missing, or has no value that it may have.
    Field {
        /// The kind.
        kind: u8,
        /// The field's tag.
        tag: u8,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the record is empty"),
            Self::UnknownKind { kind } => write!(f, "there is no record of kind {kind}"),
            Self::Truncated => f.write_str("the record ends inside a field"),
            Self::Field { kind, tag } => {
                write!(f, "field {tag} of a record of kind {kind} is missing or wrong")
            }
        }
    }
}

impl core::error::Error for RecordError {}

impl Record {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opened { operation } => put_operation(out, kind::OPENED, *operation),
            Self::SessionStarted { client_id, is_new } => {
                out.push(kind::SESSION_STARTED);
                put(out, tag::CLIENT_ID, client_id.as_bytes());
                if *is_new {
                    put(out, tag::IS_NEW, &[]);
                }
            }
            Self::Connecting => out.push(kind::CONNECTING),
            Self::Accepted { operation, message } => {
                put_operation(out, kind::ACCEPTED, *operation);
                message.encode(out);
            }
            Self::Transmitted { operation, packet_id } => {
                put_operation(out, kind::TRANSMITTED, *operation);
                put(out, tag::PACKET_ID, &packet_id.value().to_be_bytes());
            }
            Self::Received { operation } => put_operation(out, kind::RECEIVED, *operation),
            Self::Interrupted { operation, interruptions } => {
                put_operation(out, kind::INTERRUPTED, *operation);
                put(out, tag::INTERRUPTIONS, &interruptions.to_be_bytes());
            }
            Self::Told { operation } => put_operation(out, kind::TOLD, *operation),
            Self::Finished { operation } => put_operation(out, kind::FINISHED, *operation),
            Self::Abandoned { packet_id } => put_packet_id(out, kind::ABANDONED, *packet_id),
            Self::Arrived { packet_id } => put_packet_id(out, kind::ARRIVED, *packet_id),
            Self::Released { packet_id } => put_packet_id(out, kind::RELEASED, *packet_id),
            Self::Subscribed { subscription } => {
                out.push(kind::SUBSCRIBED);
                subscription.encode(out);
            }
            Self::Unsubscribed { filter } => {
                out.push(kind::UNSUBSCRIBED);
                put(out, tag::FILTER, filter.as_bytes());
            }
            Self::SubscriptionInterrupted { filter, interruptions } => {
                out.push(kind::SUBSCRIPTION_INTERRUPTED);
                put(out, tag::FILTER, filter.as_bytes());
                put(out, tag::INTERRUPTIONS, &interruptions.to_be_bytes());
            }
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes. None of them makes this panic.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let (&kind, fields) = bytes.split_first().ok_or(RecordError::Empty)?;
        let fields = Fields { kind, bytes: fields };
        fields.check()?;
        Ok(match kind {
            kind::OPENED => Self::Opened { operation: fields.operation()? },
            kind::SESSION_STARTED => Self::SessionStarted {
                client_id: fields.text(tag::CLIENT_ID)?,
                is_new: fields.find(tag::IS_NEW).is_some(),
            },
            kind::CONNECTING => Self::Connecting,
            kind::ACCEPTED => {
                let operation = fields.operation()?;
                Self::Accepted { operation, message: fields.message()? }
            }
            kind::TRANSMITTED => {
                let operation = fields.operation()?;
                Self::Transmitted { operation, packet_id: fields.packet_id()? }
            }
            kind::RECEIVED => Self::Received { operation: fields.operation()? },
            kind::INTERRUPTED => {
                let operation = fields.operation()?;
                Self::Interrupted { operation, interruptions: fields.interruptions()? }
            }
            kind::TOLD => Self::Told { operation: fields.operation()? },
            kind::FINISHED => Self::Finished { operation: fields.operation()? },
            kind::ABANDONED => Self::Abandoned { packet_id: fields.packet_id()? },
            kind::ARRIVED => Self::Arrived { packet_id: fields.packet_id()? },
            kind::RELEASED => Self::Released { packet_id: fields.packet_id()? },
            kind::SUBSCRIBED => Self::Subscribed { subscription: fields.subscription()? },
            kind::UNSUBSCRIBED => Self::Unsubscribed { filter: fields.text(tag::FILTER)? },
            kind::SUBSCRIPTION_INTERRUPTED => {
                let filter = fields.text(tag::FILTER)?;
                Self::SubscriptionInterrupted { filter, interruptions: fields.interruptions()? }
            }
            kind => return Err(RecordError::UnknownKind { kind }),
        })
    }

    /// Takes the time off that has passed since the record was made: what is left of a message's
    /// lifetime, and of the time that it may wait.
    pub fn age(&mut self, elapsed: Duration) {
        if let Self::Accepted { message, .. } = self {
            for left in [&mut message.message_expiry_interval, &mut message.age_max] {
                *left = left.map(|left| left.saturating_sub(elapsed));
            }
        }
    }
}

impl StoredMessage {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut packet = Vec::new();
        let head = PublishHead {
            version: Version::V5_0,
            dup: false,
            qos: self.qos,
            retain: self.retain,
            topic: &self.topic,
            packet_id: Some(PacketId::MIN),
            topic_alias: None,
            message_expiry_interval: None,
            subscription_identifiers: &[],
            forwarded: self.forwarded.as_bytes(),
            payload_length: self.payload.len(),
        };
        head.encode(&mut packet);
        packet.extend_from_slice(&self.payload);
        put(out, tag::MESSAGE, &packet);
        put_duration(out, tag::MESSAGE_EXPIRY, self.message_expiry_interval);
        put_duration(out, tag::AGE_MAX, self.age_max);
    }
}

impl StoredSubscription {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, tag::FILTER, self.filter.as_bytes());
        let SubscriptionOptions { qos, no_local, retain_as_published, retain_handling } =
            self.options;
        let options = qos.level()
            | u8::from(no_local) << 2
            | u8::from(retain_as_published) << 3
            | (retain_handling as u8) << 4;
        put(out, tag::OPTIONS, &[options]);
        if let Some(identifier) = self.identifier {
            put(out, tag::IDENTIFIER, &identifier.to_be_bytes());
        }
        for (name, value) in self.user_properties.iter() {
            put(out, tag::USER_PROPERTY_NAME, name.as_bytes());
            put(out, tag::USER_PROPERTY_VALUE, value.as_bytes());
        }
    }
}

fn put(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    // No value is near this length: the largest is a packet.
    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(value);
}

fn put_operation(out: &mut Vec<u8>, kind: u8, operation: OperationId) {
    out.push(kind);
    put(out, tag::OPERATION, &operation.value().to_be_bytes());
}

fn put_packet_id(out: &mut Vec<u8>, kind: u8, packet_id: PacketId) {
    out.push(kind);
    put(out, tag::PACKET_ID, &packet_id.value().to_be_bytes());
}

fn put_duration(out: &mut Vec<u8>, tag: u8, duration: Option<Duration>) {
    if let Some(duration) = duration {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        put(out, tag, &millis.to_be_bytes());
    }
}

/// The fields of one record.
#[derive(Clone, Copy)]
struct Fields<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Whether they end where the record ends.
    fn check(&self) -> Result<(), RecordError> {
        let length: usize = self.iter().map(|(_, value)| 5 + value.len()).sum();
        if length == self.bytes.len() { Ok(()) } else { Err(RecordError::Truncated) }
    }

    fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (&tag, behind) = rest.split_first()?;
            let (length, behind) = behind.split_first_chunk()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (value, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some((tag, value))
        })
    }

    fn find(&self, tag: u8) -> Option<&'a [u8]> {
        self.iter().find_map(|(found, value)| (found == tag).then_some(value))
    }

    const fn wrong(&self, tag: u8) -> RecordError {
        RecordError::Field { kind: self.kind, tag }
    }

    fn array<const N: usize>(&self, tag: u8) -> Result<[u8; N], RecordError> {
        self.find(tag).and_then(|value| value.try_into().ok()).ok_or_else(|| self.wrong(tag))
    }

    fn text(&self, tag: u8) -> Result<Box<str>, RecordError> {
        let text = self.find(tag).and_then(|value| core::str::from_utf8(value).ok());
        text.map(Into::into).ok_or_else(|| self.wrong(tag))
    }

    fn operation(&self) -> Result<OperationId, RecordError> {
        let value = u64::from_be_bytes(self.array(tag::OPERATION)?);
        OperationId::from_value(value).ok_or_else(|| self.wrong(tag::OPERATION))
    }

    fn packet_id(&self) -> Result<PacketId, RecordError> {
        let value = u16::from_be_bytes(self.array(tag::PACKET_ID)?);
        PacketId::new(value).ok_or_else(|| self.wrong(tag::PACKET_ID))
    }

    fn interruptions(&self) -> Result<u16, RecordError> {
        Ok(u16::from_be_bytes(self.array(tag::INTERRUPTIONS)?))
    }

    fn duration(&self, tag: u8) -> Result<Option<Duration>, RecordError> {
        match self.find(tag) {
            Some(_) => Ok(Some(Duration::from_millis(u64::from_be_bytes(self.array(tag)?)))),
            None => Ok(None),
        }
    }

    fn message(&self) -> Result<StoredMessage, RecordError> {
        let wrong = || self.wrong(tag::MESSAGE);
        let packet = self.find(tag::MESSAGE).ok_or_else(wrong)?;
        let Ok(Framing::Complete(frame)) = split(packet, u32::MAX) else { return Err(wrong()) };
        let publish = Publish::decode(&frame, Version::V5_0, TextRules::Lenient);
        let publish = publish.map_err(|_| wrong())?;
        Ok(StoredMessage {
            topic: publish.topic.ok_or_else(wrong)?.as_str().into(),
            forwarded: ForwardedProperties::from_publish(&publish.properties),
            payload: publish.payload.into(),
            qos: publish.qos,
            retain: publish.retain,
            message_expiry_interval: self.duration(tag::MESSAGE_EXPIRY)?,
            age_max: self.duration(tag::AGE_MAX)?,
        })
    }

    fn subscription(&self) -> Result<StoredSubscription, RecordError> {
        let filter = self.text(tag::FILTER)?;
        TopicFilter::new(&filter).map_err(|_| self.wrong(tag::FILTER))?;
        let [options] = self.array(tag::OPTIONS)?;
        let identifier = match self.find(tag::IDENTIFIER) {
            Some(_) => Some(u32::from_be_bytes(self.array(tag::IDENTIFIER)?)),
            None => None,
        };
        let mut user_properties = UserProperties::new();
        let mut name = None;
        for (tag, value) in self.iter() {
            let text = || core::str::from_utf8(value).map_err(|_| self.wrong(tag));
            match (tag, name) {
                (tag::USER_PROPERTY_NAME, _) => name = Some(text()?),
                (tag::USER_PROPERTY_VALUE, Some(of)) => {
                    user_properties.push(of, text()?).map_err(|_| self.wrong(tag))?;
                    name = None;
                }
                _ => {}
            }
        }
        let options = options_of(options).ok_or_else(|| self.wrong(tag::OPTIONS))?;
        Ok(StoredSubscription { filter, options, identifier, user_properties })
    }
}

fn options_of(byte: u8) -> Option<SubscriptionOptions> {
    let retain_handling = match byte >> 4 & 3 {
        0 => RetainHandling::SendAtSubscribe,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return None,
    };
    Some(SubscriptionOptions {
        qos: QoS::from_level(byte & 3)?,
        no_local: byte & 4 != 0,
        retain_as_published: byte & 8 != 0,
        retain_handling,
    })
}

#[cfg(test)]
#[path = "bytes_tests.rs"]
mod tests;
