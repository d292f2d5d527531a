//! The flags about the will.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use noctule_client::{QoS, TopicName, WillOptions};

use super::failure::Failure;
use super::property::MessageProperties;
use super::value;

/// The flags about the will.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Will")]
pub(crate) struct WillFlags {
    /// Where the server publishes the will, if this client vanishes
    #[arg(long, value_name = "TOPIC")]
    will_topic: Option<String>,
    /// What it publishes; nothing by default
    #[arg(long, value_name = "TEXT", requires = "will_topic", allow_hyphen_values = true)]
    will_payload: Option<OsString>,
    /// The quality of service of the will [default: 0]
    #[arg(long, value_name = "QOS", requires = "will_topic", value_parser = value::qos)]
    will_qos: Option<QoS>,
    /// Whether the will is retained
    #[arg(long, requires = "will_topic")]
    will_retain: bool,
}

impl WillFlags {
    /// The will, if there is one.
    pub(crate) fn options(
        &self,
        properties: &MessageProperties,
    ) -> Result<Option<WillOptions>, Failure> {
        let Some(topic) = &self.will_topic else {
            return match properties.is_empty() {
                true => Ok(None),
                false => Err(Failure::usage("-D will needs a will: give --will-topic")),
            };
        };
        if let Err(error) = TopicName::new(topic) {
            return Err(Failure::usage(format!("--will-topic {topic:?}: {error}")));
        }
        let payload = self.will_payload.as_ref().map(|text| text.as_bytes());
        Ok(Some(WillOptions {
            topic: topic.as_str().into(),
            payload: payload.unwrap_or_default().into(),
            qos: self.will_qos.unwrap_or_default(),
            retain: self.will_retain,
            delay_interval: properties.will_delay_interval,
            payload_format_indicator: properties.payload_format_indicator,
            message_expiry_interval: properties.message_expiry_interval,
            content_type: properties.content_type.as_deref().map(Into::into),
            response_topic: properties.response_topic.as_deref().map(Into::into),
            correlation_data: properties.correlation_data.as_deref().map(Into::into),
            user_properties: properties.user_properties.clone(),
        }))
    }
}
