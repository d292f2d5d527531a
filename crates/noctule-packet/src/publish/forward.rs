//! The broker's way to send a message on: properties that pass unaltered, and the part of PUBLISH
//! that stands before the payload, written in one go.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{DUP, PublishProperties, QOS_SHIFT, RETAIN};
use crate::property::{Properties, PropertyId};
use crate::wire::{put_variable, variable_length};
use crate::{
    PacketId, PacketType, QoS, TextRules, TopicName, UserProperties, Version, WillProperties,
};

/// The properties that a server passes on unaltered, in wire form: payload format indicator,
/// content type, response topic, correlation data and the user properties in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedProperties(Box<[u8]>);

impl ForwardedProperties {
    /// No properties; allocates nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// What to pass on of a message.
    pub fn from_publish(properties: &PublishProperties<'_>) -> Self {
        let PublishProperties {
            payload_format_indicator,
            content_type,
            response_topic,
            correlation_data,
            user_properties,
            message_expiry_interval: _,
            topic_alias: _,
            subscription_identifiers: _,
        } = properties;
        let is_plain = payload_format_indicator.is_none()
            && content_type.is_none()
            && response_topic.is_none()
            && correlation_data.is_none()
            && user_properties.is_empty();
        if is_plain {
            return Self::empty();
        }
        Self::of(
            *payload_format_indicator,
            *content_type,
            *response_topic,
            *correlation_data,
            user_properties,
        )
    }

    /// What to pass on of a will.
    pub fn from_will(properties: &WillProperties<'_>) -> Self {
        let WillProperties {
            payload_format_indicator,
            content_type,
            response_topic,
            correlation_data,
            user_properties,
            will_delay_interval: _,
            message_expiry_interval: _,
        } = properties;
        Self::of(
            *payload_format_indicator,
            *content_type,
            *response_topic,
            *correlation_data,
            user_properties,
        )
    }

    fn of(
        payload_format_indicator: Option<bool>,
        content_type: Option<&str>,
        response_topic: Option<TopicName<'_>>,
        correlation_data: Option<&[u8]>,
        user_properties: &UserProperties<'_>,
    ) -> Self {
        let content_type = content_type.map(str::as_bytes);
        let response_topic = response_topic.as_ref().map(|topic| topic.as_str().as_bytes());
        let binary = [
            (PropertyId::ContentType, content_type),
            (PropertyId::ResponseTopic, response_topic),
            (PropertyId::CorrelationData, correlation_data),
        ];
        let length = payload_format_indicator.map_or(0, |_| 2)
            + binary.iter().map(|(_, value)| value.map_or(0, |v| 3 + v.len())).sum::<usize>()
            + user_properties.as_encoded().len();
        // The exact size: what a broker keeps must not hold spare capacity.
        let mut out = Vec::with_capacity(length);
        // [MQTT5-3.3.2-4]
        if let Some(utf8) = payload_format_indicator {
            out.extend_from_slice(&[PropertyId::PayloadFormatIndicator as u8, u8::from(utf8)]);
        }
        // [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-20]
        for (property, value) in binary {
            if let Some(value) = value {
                out.push(property as u8);
                put_bounded(&mut out, value);
            }
        }
        // [MQTT5-3.3.2-17] [MQTT5-3.3.2-18] [MQTT5-3.1.3-10]
        out.extend_from_slice(user_properties.as_encoded());
        ForwardedProperties(out.into_boxed_slice())
    }

    /// The wire form, without a length before it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The properties as values again.
    pub fn decode(&self) -> PublishProperties<'_> {
        let rules = TextRules::Lenient;
        let read = Properties::without_length(&self.0, PacketType::Publish, rules);
        // They were written from values, so they can be read.
        PublishProperties::decode(read).unwrap_or_default()
    }
}

/// The part of a PUBLISH before the payload.
#[derive(Clone, Copy, Debug)]
pub struct PublishHead<'a> {
    /// The receiver's version.
    pub version: Version,
    /// Whether this may be a repetition.
    pub dup: bool,
    /// The quality of service.
    pub qos: QoS,
    /// The retain flag.
    pub retain: bool,
    /// The topic, empty where the alias stands for it.
    pub topic: &'a str,
    /// The packet identifier; left out at QoS 0.
    pub packet_id: Option<PacketId>,
    /// The topic alias (5.0 only).
    pub topic_alias: Option<u16>,
    /// What is left of the lifetime (5.0 only).
    pub message_expiry_interval: Option<u32>,
    /// The identifiers of the matching subscriptions (5.0 only).
    pub subscription_identifiers: &'a [u32],
    /// [`ForwardedProperties::as_bytes`] (5.0 only).
    pub forwarded: &'a [u8],
    /// The bytes of the payload that the caller appends.
    pub payload_length: usize,
}

impl PublishHead<'_> {
    /// The bytes of the whole packet, payload included.
    pub fn encoded_length(&self) -> usize {
        let remaining = self.remaining_length(self.property_length());
        1 + variable_length(remaining) + remaining
    }

    fn property_length(&self) -> usize {
        if !self.version.is_v5() {
            return 0;
        }
        let identifier = |&identifier: &u32| {
            1 + variable_length(usize::try_from(identifier).unwrap_or(usize::MAX))
        };
        self.topic_alias.map_or(0, |_| 3)
            + self.message_expiry_interval.map_or(0, |_| 5)
            + self.subscription_identifiers.iter().map(identifier).sum::<usize>()
            + self.forwarded.len()
    }

    fn remaining_length(&self, properties: usize) -> usize {
        let section =
            if self.version.is_v5() { variable_length(properties) + properties } else { 0 };
        let packet_id = if self.sent_packet_id().is_some() { 2 } else { 0 };
        2 + bounded(self.topic.as_bytes()).len() + packet_id + section + self.payload_length
    }

    fn sent_packet_id(&self) -> Option<PacketId> {
        // [MQTT5-2.2.1-2] [MQTT311-2.3.1-5]
        if self.qos == QoS::AtMostOnce { None } else { self.packet_id }
    }

    /// Appends everything but the payload. The result is where in `out` the packet identifier
    /// stands, so that a copy for another receiver only needs that patched.
    pub fn encode(&self, out: &mut Vec<u8>) -> Option<usize> {
        let properties = self.property_length();
        let remaining = self.remaining_length(properties);
        out.reserve((5 + remaining).saturating_sub(self.payload_length));
        // [MQTT5-3.3.1-2] [MQTT311-3.3.1-2]
        let dup = if self.dup && self.qos != QoS::AtMostOnce { DUP } else { 0 };
        let retain = if self.retain { RETAIN } else { 0 };
        let first = PacketType::Publish.value() << 4 | dup | self.qos.level() << QOS_SHIFT | retain;
        let topic = bounded(self.topic.as_bytes());
        let [high, low] = u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes();
        match u8::try_from(remaining) {
            // In one piece, as nearly all packets are small.
            Ok(remaining) if remaining < 0x80 => {
                out.extend_from_slice(&[first, remaining, high, low]);
            }
            _ => {
                out.push(first);
                put_variable(out, remaining);
                out.extend_from_slice(&[high, low]);
            }
        }
        out.extend_from_slice(topic);
        let position = self.sent_packet_id().map(|packet_id| {
            let position = out.len();
            out.extend_from_slice(&packet_id.value().to_be_bytes());
            position
        });
        if self.version.is_v5() {
            put_variable(out, properties);
            if properties > 0 {
                self.encode_properties(out);
            }
        }
        position
    }

    fn encode_properties(&self, out: &mut Vec<u8>) {
        if let Some(alias) = self.topic_alias {
            out.push(PropertyId::TopicAlias as u8);
            out.extend_from_slice(&alias.to_be_bytes());
        }
        if let Some(seconds) = self.message_expiry_interval {
            out.push(PropertyId::MessageExpiryInterval as u8);
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        for &identifier in self.subscription_identifiers {
            out.push(PropertyId::SubscriptionIdentifier as u8);
            put_variable(out, usize::try_from(identifier).unwrap_or(usize::MAX));
        }
        out.extend_from_slice(self.forwarded);
    }
}

/// As much of a field as two length bytes can say. Decoded and checked values are never longer.
fn bounded(bytes: &[u8]) -> &[u8] {
    bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes)
}

fn put_bounded(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bounded(bytes);
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
#[path = "forward_tests.rs"]
mod tests;
