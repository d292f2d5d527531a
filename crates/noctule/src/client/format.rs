//! `-F`: a message as the text that a format asks for.

use std::fmt::Write;

use jiff::Zoned;
use jiff::fmt::strtime;
use noctule_client::Message;

use super::format_json;

/// Local time as ISO 8601 writes it.
pub(crate) const ISO_TIME: &str = "%Y-%m-%dT%H:%M:%S%z";

/// What to write for each message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Format {
    pub(crate) parts: Vec<Part>,
}

/// A part of a format.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// These bytes.
    Literal(Vec<u8>),
    /// Something about the message.
    Field(Field, Padding),
    /// The time, in the words of strftime.
    Time(String),
    /// The nanoseconds within the second.
    Nanoseconds,
}

/// Something about a message, by the letter behind the `%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    ContentType,
    CorrelationData,
    MessageExpiryInterval,
    PayloadFormatIndicator,
    IsoTime,
    UnixTime,
    Json,
    JsonPayload,
    PayloadLength,
    Payload,
    LowerHex,
    UpperHex,
    QoS,
    Retain,
    ResponseTopic,
    SubscriptionIdentifier,
    Topic,
    UserProperties,
    /// What only those know who see packets: the packet identifier and the topic alias.
    Hidden,
}

/// How wide something is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Padding {
    pub(crate) with_zeros: bool,
    pub(crate) is_left: bool,
    pub(crate) width: usize,
    pub(crate) width_max: Option<usize>,
}

/// Why a message cannot be written as the format wants it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

impl Format {
    /// The format that writes a message as JSON.
    pub(crate) fn json() -> Self {
        Self { parts: vec![Part::Field(Field::Json, Padding::default())] }
    }

    /// Appends a message to `out`.
    pub(crate) fn write(
        &self,
        message: &Message,
        now: &Zoned,
        out: &mut Vec<u8>,
    ) -> Result<(), NotJson> {
        for part in &self.parts {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Field(field, padding) => write_field(*field, padding, message, now, out)?,
                // It was tried when the format was read.
                Part::Time(format) => {
                    out.extend_from_slice(
                        strtime::format(format, now).unwrap_or_default().as_bytes(),
                    );
                }
                Part::Nanoseconds => {
                    out.extend_from_slice(format!("{:09}", now.subsec_nanosecond()).as_bytes());
                }
            }
        }
        Ok(())
    }
}

fn write_field(
    field: Field,
    padding: &Padding,
    message: &Message,
    now: &Zoned,
    out: &mut Vec<u8>,
) -> Result<(), NotJson> {
    let properties = message.properties();
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let payload = message.payload();
    let text = match field {
        Field::ContentType => properties.content_type.unwrap_or_default().to_owned(),
        Field::CorrelationData => {
            out.extend_from_slice(properties.correlation_data.unwrap_or_default());
            return Ok(());
        }
        Field::MessageExpiryInterval => number(message.message_expiry_interval().map(u64::from)),
        Field::PayloadFormatIndicator => number(properties.payload_format_indicator.map(u64::from)),
        Field::IsoTime => strtime::format(ISO_TIME, now).unwrap_or_default(),
        Field::UnixTime => {
            let since = now.timestamp();
            format!("{}.{:09}", since.as_second(), since.subsec_nanosecond())
        }
        Field::Json => {
            format_json::write(message, now, out);
            return Ok(());
        }
        Field::JsonPayload => return format_json::write_with_payload(message, now, out),
        Field::PayloadLength => payload.len().to_string(),
        Field::Payload => {
            pad_bytes(payload, padding, out);
            return Ok(());
        }
        Field::LowerHex => hex(payload, false),
        Field::UpperHex => hex(payload, true),
        Field::QoS => (message.qos() as u8).to_string(),
        Field::Retain => u8::from(message.retain()).to_string(),
        Field::ResponseTopic => properties.response_topic.map_or("", |it| it.as_str()).to_owned(),
        Field::SubscriptionIdentifier => {
            let identifiers = message.subscription_identifiers().iter().map(u32::to_string);
            identifiers.collect::<Vec<_>>().join(" ")
        }
        Field::Topic => message.topic().to_string(),
        Field::UserProperties => {
            let pairs = properties.user_properties.iter();
            pairs.map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join(" ")
        }
        Field::Hidden => String::new(),
    };
    pad(&text, field, padding, out);
    Ok(())
}

/// Appends text in the width that it is to have.
fn pad(text: &str, field: Field, padding: &Padding, out: &mut Vec<u8>) {
    let length_max = match field {
        Field::ContentType | Field::IsoTime | Field::ResponseTopic | Field::Topic => {
            padding.width_max.unwrap_or(usize::MAX)
        }
        _ => usize::MAX,
    };
    let text: String = text.chars().take(length_max).collect();
    let missing = padding.width.saturating_sub(text.chars().count());
    let has_zeros = padding.with_zeros
        && !padding.is_left
        && matches!(
            field,
            Field::MessageExpiryInterval
                | Field::PayloadFormatIndicator
                | Field::PayloadLength
                | Field::SubscriptionIdentifier
                | Field::LowerHex
                | Field::UpperHex
                | Field::Hidden
        );
    let fill = std::iter::repeat_n(if has_zeros { b'0' } else { b' ' }, missing);
    if padding.is_left {
        out.extend_from_slice(text.as_bytes());
        out.extend(fill);
    } else {
        out.extend(fill);
        out.extend_from_slice(text.as_bytes());
    }
}

fn pad_bytes(bytes: &[u8], padding: &Padding, out: &mut Vec<u8>) {
    let fill = std::iter::repeat_n(b' ', padding.width.saturating_sub(bytes.len()));
    if padding.is_left {
        out.extend_from_slice(bytes);
        out.extend(fill);
    } else {
        out.extend(fill);
        out.extend_from_slice(bytes);
    }
}

fn hex(bytes: &[u8], is_upper: bool) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = match is_upper {
            true => write!(text, "{byte:02X}"),
            false => write!(text, "{byte:02x}"),
        };
    }
    text
}
