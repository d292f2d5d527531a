//! PUBLISH: an application message on its way.

mod forward;
mod plain;
mod plain_publishes;

use alloc::vec::Vec;

pub use forward::{ForwardedProperties, PublishHead};
pub use plain::PlainPublish;
pub use plain_publishes::PlainPublishes;

use crate::property::{Properties, PropertyId};
use crate::wire::{Reader, VARIABLE_MAX};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, QoS, TextRules, TopicName,
    UserProperties, Version,
};

/// An application message.
///
/// ```
/// use noctule_packet::{Publish, TopicName, Version};
///
/// let publish = Publish {
///     topic: Some(TopicName::new("house/kitchen").unwrap()),
///     payload: b"21.5",
///     ..Publish::default()
/// };
/// let mut out = Vec::new();
/// publish.encode(Version::V3_1_1, &mut out).unwrap();
/// assert_eq!(out, b"\x30\x13\x00\x0Dhouse/kitchen21.5");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publish<'a> {
    /// Whether this may be a repetition.
    pub dup: bool,
    /// The quality of service.
    pub qos: QoS,
    /// Whether the message is, or shall be, retained.
    pub retain: bool,
    /// The topic; `None` if the topic alias alone stands for it.
    pub topic: Option<TopicName<'a>>,
    /// The packet identifier, exactly at QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// The properties, empty before 5.0.
    pub properties: PublishProperties<'a>,
    /// The message itself.
    pub payload: &'a [u8],
}

/// The properties of PUBLISH.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishProperties<'a> {
    /// Whether the payload is UTF-8.
    pub payload_format_indicator: Option<bool>,
    /// The lifetime of the message in seconds.
    pub message_expiry_interval: Option<u32>,
    /// A number that stands for the topic on this connection.
    pub topic_alias: Option<u16>,
    /// Where to answer.
    pub response_topic: Option<TopicName<'a>>,
    /// What to send along with the answer.
    pub correlation_data: Option<&'a [u8]>,
    /// The user properties.
    pub user_properties: UserProperties<'a>,
    /// The identifiers of the subscriptions that matched.
    pub subscription_identifiers: Vec<u32>,
    /// What the payload is.
    pub content_type: Option<&'a str>,
}

const RETAIN: u8 = 0b0001;
const QOS_SHIFT: u8 = 1;
const QOS: u8 = 0b0110;
const DUP: u8 = 0b1000;

impl<'a> Publish<'a> {
    /// Reads a PUBLISH.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        Self::decode_knowing(frame, version, rules, None)
    }

    /// Reads a PUBLISH like [`decode`](Self::decode), but does not judge a topic name again that is
    /// known: if the packet has this one, it becomes [`topic`](Self::topic).
    pub fn decode_knowing(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
        known: Option<TopicName<'a>>,
    ) -> Result<Self, DecodeError> {
        frame.check(PacketType::Publish, version)?;
        // [MQTT5-3.3.1-4] [MQTT311-3.3.1-4] [MQTT31-2.1-2]
        let qos =
            QoS::from_level((frame.flags & QOS) >> QOS_SHIFT).ok_or(DecodeError::InvalidQos)?;
        let dup = decode_dup(frame.flags, qos, version)?;
        let mut body = Reader::new(frame.body);
        // [MQTT5-3.3.2-1] [MQTT311-3.3.2-1]
        let topic = body.binary()?;
        let topic = match known {
            Some(known) if known.as_str().as_bytes() == topic => Some(known),
            _ if topic.is_empty() && version.is_v5() => None,
            _ => {
                let topic = rules.check(topic)?;
                // [MQTT5-3.3.2-2] [MQTT311-3.3.2-2]
                Some(TopicName::new(topic).map_err(DecodeError::InvalidTopicName)?)
            }
        };
        let packet_id = match qos {
            // [MQTT5-2.2.1-2] [MQTT311-2.3.1-5]
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce | QoS::ExactlyOnce => Some(body.packet_id(PacketType::Publish)?),
        };
        let mut properties = PublishProperties::default();
        if version.is_v5() {
            if !body.skip_zero() {
                let read = Properties::read(&mut body, PacketType::Publish, rules)?;
                properties = PublishProperties::decode(read)?;
            }
            if topic.is_none() && properties.topic_alias.is_none() {
                return Err(DecodeError::MissingTopic);
            }
        }
        let retain = frame.flags & RETAIN != 0;
        // [MQTT31-3.3-6] An empty rest is an empty payload.
        let payload = body.rest();
        Ok(Publish { dup, qos, retain, topic, packet_id, properties, payload })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.check(version)?;
        let forwarded = if version.is_v5() {
            ForwardedProperties::from_publish(&self.properties)
        } else {
            ForwardedProperties::empty()
        };
        let head = PublishHead {
            version,
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic.as_ref().map_or("", TopicName::as_str),
            packet_id: self.packet_id,
            topic_alias: self.properties.topic_alias,
            message_expiry_interval: self.properties.message_expiry_interval,
            subscription_identifiers: &self.properties.subscription_identifiers,
            forwarded: forwarded.as_bytes(),
            payload_length: self.payload.len(),
        };
        // The fixed header has at most five bytes.
        if head.encoded_length() > usize::try_from(VARIABLE_MAX).unwrap_or(usize::MAX) {
            return Err(EncodeError::TooLarge);
        }
        head.encode(out);
        out.extend_from_slice(self.payload);
        Ok(())
    }

    /// Whether a packet of this version can say what this value says.
    fn check(&self, version: Version) -> Result<(), EncodeError> {
        let properties = &self.properties;
        // [MQTT5-2.2.1-2] [MQTT311-2.3.1-5] [MQTT5-3.3.1-2] [MQTT311-3.3.1-2]
        let with_id = self.qos != QoS::AtMostOnce;
        if self.packet_id.is_some() != with_id || (self.dup && !with_id) {
            return Err(EncodeError::InvalidValue);
        }
        if self.topic.is_none() && (!version.is_v5() || properties.topic_alias.is_none()) {
            return Err(EncodeError::NotInVersion);
        }
        let valid = |&identifier: &u32| (1..=VARIABLE_MAX).contains(&identifier);
        // [MQTT5-3.3.2-8]
        if properties.topic_alias == Some(0)
            || !properties.subscription_identifiers.iter().all(valid)
        {
            return Err(EncodeError::InvalidValue);
        }
        let length_max = usize::from(u16::MAX);
        let content_type = properties.content_type.map_or(0, str::len);
        let correlation_data = properties.correlation_data.map_or(0, <[u8]>::len);
        if properties.content_type.is_some_and(|text| text.contains('\0')) {
            return Err(EncodeError::InvalidValue);
        }
        if content_type > length_max || correlation_data > length_max {
            return Err(EncodeError::StringTooLong);
        }
        Ok(())
    }

    /// Whether the payload is well-formed UTF-8, as a Payload Format Indicator of 1 promises.
    pub fn payload_is_utf8(&self) -> bool {
        simdutf8::basic::from_utf8(self.payload).is_ok()
    }
}

fn decode_dup(flags: u8, qos: QoS, version: Version) -> Result<bool, DecodeError> {
    let dup = flags & DUP != 0;
    if dup && qos == QoS::AtMostOnce {
        // MQTT 3.1 gives the bit no meaning here and does not forbid it.
        if version == Version::V3_1 {
            return Ok(false);
        }
        // [MQTT5-3.3.1-2] [MQTT311-3.3.1-2]
        return Err(DecodeError::DupAtQos0);
    }
    Ok(dup)
}

impl<'a> PublishProperties<'a> {
    fn decode(mut properties: Properties<'a>) -> Result<Self, DecodeError> {
        let mut publish = PublishProperties::default();
        while let Some((property, value)) = properties.next()? {
            match property {
                PropertyId::PayloadFormatIndicator => {
                    publish.payload_format_indicator = value.flag();
                }
                PropertyId::MessageExpiryInterval => {
                    publish.message_expiry_interval = value.four_byte();
                }
                PropertyId::TopicAlias => publish.topic_alias = value.two_byte(),
                PropertyId::ResponseTopic => publish.response_topic = value.response_topic()?,
                PropertyId::CorrelationData => publish.correlation_data = value.binary(),
                PropertyId::SubscriptionIdentifier => {
                    publish.subscription_identifiers.extend(value.four_byte());
                }
                // [MQTT5-3.3.2-19]
                PropertyId::ContentType => publish.content_type = value.text(),
                other => return Err(properties.not_allowed(other)),
            }
        }
        publish.user_properties = properties.user_properties();
        Ok(publish)
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
