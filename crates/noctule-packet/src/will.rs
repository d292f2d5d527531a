//! The will: the message in CONNECT that the server publishes when the connection ends badly.

use alloc::vec::Vec;

use crate::property::{Properties, PropertyId, PropertyWriter};
use crate::wire::{Reader, put_binary, put_text};
use crate::{DecodeError, EncodeError, QoS, TextRules, TopicName, UserProperties, Version};

/// The will of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Will<'a> {
    /// The quality of service to publish it with.
    pub qos: QoS,
    /// Whether to publish it as a retained message.
    pub retain: bool,
    /// The properties, empty before 5.0.
    pub properties: WillProperties<'a>,
    /// The topic to publish it to.
    pub topic: TopicName<'a>,
    /// The message itself.
    pub payload: &'a [u8],
}

/// The properties of a will.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WillProperties<'a> {
    /// Seconds between the end of the connection and the publication.
    pub will_delay_interval: Option<u32>,
    /// Whether the payload is UTF-8.
    pub payload_format_indicator: Option<bool>,
    /// The lifetime of the published message in seconds.
    pub message_expiry_interval: Option<u32>,
    /// What the payload is.
    pub content_type: Option<&'a str>,
    /// Where to answer.
    pub response_topic: Option<TopicName<'a>>,
    /// What to send along with the answer.
    pub correlation_data: Option<&'a [u8]>,
    /// The user properties.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Will<'a> {
    pub(crate) fn decode(
        body: &mut Reader<'a>,
        version: Version,
        qos: QoS,
        retain: bool,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        // [MQTT5-3.1.2-9] [MQTT311-3.1.2-9]
        let mut properties = WillProperties::default();
        if version.is_v5() {
            properties = WillProperties::decode(body, rules)?;
        }
        // [MQTT5-3.1.3-11] [MQTT311-3.1.3-10]
        let topic = TopicName::new(body.text(rules)?).map_err(DecodeError::InvalidWillTopic)?;
        let payload = body.binary()?;
        Ok(Will { qos, retain, properties, topic, payload })
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if version.is_v5() {
            self.properties.encode(out)?;
        }
        put_text(out, self.topic.as_str())?;
        put_binary(out, self.payload)
    }
}

impl<'a> WillProperties<'a> {
    fn decode(body: &mut Reader<'a>, rules: TextRules) -> Result<Self, DecodeError> {
        let mut properties = Properties::read_will(body, rules)?;
        let mut will = WillProperties::default();
        while let Some((property, value)) = properties.next()? {
            match property {
                PropertyId::WillDelayInterval => will.will_delay_interval = value.four_byte(),
                PropertyId::PayloadFormatIndicator => will.payload_format_indicator = value.flag(),
                PropertyId::MessageExpiryInterval => {
                    will.message_expiry_interval = value.four_byte();
                }
                PropertyId::ContentType => will.content_type = value.text(),
                PropertyId::ResponseTopic => will.response_topic = value.response_topic()?,
                PropertyId::CorrelationData => will.correlation_data = value.binary(),
                other => return Err(properties.not_allowed(other)),
            }
        }
        will.user_properties = properties.user_properties();
        Ok(will)
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        PropertyWriter::section(out, |to| {
            to.four_byte(PropertyId::WillDelayInterval, self.will_delay_interval);
            to.flag(PropertyId::PayloadFormatIndicator, self.payload_format_indicator);
            to.four_byte(PropertyId::MessageExpiryInterval, self.message_expiry_interval);
            to.text(PropertyId::ContentType, self.content_type)?;
            to.topic(PropertyId::ResponseTopic, self.response_topic)?;
            to.binary(PropertyId::CorrelationData, self.correlation_data)?;
            to.user_properties(&self.user_properties);
            Ok(())
        })
    }
}
