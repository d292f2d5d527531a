//! `-F`: a message as the text that a format asks for.

use std::fmt::{self, Write};

use jiff::Zoned;
use jiff::fmt::strtime;
use noctule_client::Message;

use super::format_json;

/// Local time as ISO 8601 writes it.
pub(crate) const ISO_TIME: &str = "%Y-%m-%dT%H:%M:%S%z";

/// How many places of a fraction there are if nobody says so, as with printf.
const PLACES: usize = 6;

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
    PacketId,
    TopicAlias,
    /// The payload as a binary floating-point number of 4 bytes.
    Float,
    /// And of 8.
    Double,
}

/// How wide something is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Padding {
    pub(crate) with_zeros: bool,
    pub(crate) is_left: bool,
    pub(crate) width: usize,
    /// What stands behind the point: the widest that text may be, the places of a fraction, or how
    /// many digits of hexadecimal belong together.
    pub(crate) width_max: Option<usize>,
    /// What stands between those.
    pub(crate) separator: Option<char>,
}

/// Why a message cannot be written as the format wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritable {
    NotJson,
    /// It is no number of so many bytes.
    NotFloat(usize),
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("is not JSON"),
            Self::NotFloat(bytes) => {
                write!(f, "is not a floating-point number of {bytes} bytes")
            }
        }
    }
}

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
    ) -> Result<(), Unwritable> {
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
) -> Result<(), Unwritable> {
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
        Field::LowerHex => grouped(&hex(payload, false), padding),
        Field::UpperHex => grouped(&hex(payload, true), padding),
        Field::Float => {
            let bytes = payload.try_into().map_err(|_| Unwritable::NotFloat(4))?;
            float(f32::from_le_bytes(bytes).into(), padding)
        }
        Field::Double => {
            let bytes = payload.try_into().map_err(|_| Unwritable::NotFloat(8))?;
            float(f64::from_le_bytes(bytes), padding)
        }
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
        // As mosquitto_sub has it.
        Field::PacketId => message.packet_id().map_or(0, |id| id.value()).to_string(),
        Field::TopicAlias => number(message.topic_alias().map(u64::from)),
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
                | Field::PacketId
                | Field::TopicAlias
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

/// A number in decimal, padded with zeros behind its sign if it is to be.
fn float(value: f64, padding: &Padding) -> String {
    let places = padding.width_max.unwrap_or(PLACES);
    let width = padding.width;
    match padding.with_zeros && !padding.is_left && value.is_finite() {
        true => format!("{value:0width$.places$}"),
        false => format!("{value:.places$}"),
    }
}

/// Digits in groups.
fn grouped(digits: &str, padding: &Padding) -> String {
    let Some(size) = padding.width_max.filter(|size| *size > 0) else { return digits.to_owned() };
    let separator = padding.separator.unwrap_or(' ');
    let mut text = String::with_capacity(2 * digits.len());
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % size == 0 {
            text.push(separator);
        }
        text.push(digit);
    }
    text
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
