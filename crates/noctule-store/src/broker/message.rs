//! Messages and wills as parts of records.

use noctule_broker_core::{Message, Will};
use noctule_packet::{
    ForwardedProperties, Framing, Publish, PublishHead, QoS, TextRules, Version, split,
};

use super::damaged::Damaged;
use super::reader::{Reader, flags, put_sized, put_tagged, put_time, read_flags};

const EXPIRES_AT: u8 = 1;
const PROPERTIES: u8 = 2;
const MESSAGE_EXPIRY_INTERVAL: u8 = 3;

/// All of them, for who compares them with the page.
#[cfg(test)]
pub(super) const TAGS: [u8; 3] = [EXPIRES_AT, PROPERTIES, MESSAGE_EXPIRY_INTERVAL];

/// Appends a message, which is followed by nothing but tagged fields.
pub(super) fn put_message(message: &Message, out: &mut Vec<u8>) {
    let Message { topic, payload, qos, retain, properties, expires_at } = message;
    put_plain(topic, payload, *qos, *retain, out);
    put_time(out, EXPIRES_AT, *expires_at);
    put_properties(properties, out);
}

/// Appends a message that has nothing else.
pub(super) fn put_plain(topic: &str, payload: &[u8], qos: QoS, retain: bool, out: &mut Vec<u8>) {
    out.push(flags(qos, retain));
    put_sized(out, topic.as_bytes());
    put_sized(out, payload);
}

/// Reads a message and all that follows it; `others` gets the tagged fields that are none of it.
pub(super) fn read_message(
    mut reader: Reader<'_>,
    mut others: impl FnMut(u8, &mut Reader<'_>) -> Result<(), Damaged>,
) -> Result<Message, Damaged> {
    let (qos, retain) = read_flags(reader.byte("flags")?, 0)?;
    let topic = reader.topic()?.into();
    let payload = reader.sized("payload")?.into();
    let (mut expires_at, mut properties) = (None, ForwardedProperties::empty());
    reader.tagged(|tag, field| {
        match tag {
            EXPIRES_AT => expires_at = Some(field.time()?),
            PROPERTIES => properties = read_properties(field.rest())?,
            _ => others(tag, field)?,
        }
        Ok(())
    })?;
    Ok(Message { topic, payload, qos, retain, properties, expires_at })
}

pub(super) fn put_will(will: &Will, out: &mut Vec<u8>) {
    let Will { topic, payload, qos, retain, .. } = will;
    out.push(flags(*qos, *retain));
    out.extend_from_slice(&will.delay_interval.to_le_bytes());
    put_sized(out, topic.as_bytes());
    put_sized(out, payload);
    put_properties(&will.properties, out);
    if let Some(seconds) = will.message_expiry_interval {
        put_tagged(out, MESSAGE_EXPIRY_INTERVAL, &seconds.to_le_bytes());
    }
}

pub(super) fn read_will(mut reader: Reader<'_>) -> Result<Will, Damaged> {
    let (qos, retain) = read_flags(reader.byte("flags")?, 0)?;
    let delay_interval = reader.word("delay")?;
    let topic = reader.topic()?.into();
    let payload = reader.sized("payload")?.into();
    let (mut message_expiry_interval, mut properties) = (None, ForwardedProperties::empty());
    reader.tagged(|tag, field| {
        match tag {
            PROPERTIES => properties = read_properties(field.rest())?,
            MESSAGE_EXPIRY_INTERVAL => message_expiry_interval = Some(field.word("interval")?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(Will { topic, payload, qos, retain, properties, message_expiry_interval, delay_interval })
}

fn put_properties(properties: &ForwardedProperties, out: &mut Vec<u8>) {
    if !properties.is_empty() {
        put_tagged(out, PROPERTIES, properties.as_bytes());
    }
}

/// Reads properties as those of a PUBLISH, so that there are none that no PUBLISH can have.
fn read_properties(bytes: &[u8]) -> Result<ForwardedProperties, Damaged> {
    let head = PublishHead {
        version: Version::V5_0,
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: "t",
        packet_id: None,
        topic_alias: None,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        forwarded: bytes,
        payload_length: 0,
    };
    let mut packet = Vec::new();
    head.encode(&mut packet);
    let properties = match split(&packet, u32::MAX) {
        Ok(Framing::Complete(frame)) => Publish::decode(&frame, Version::V5_0, TextRules::Lenient)
            .ok()
            .map(|publish| ForwardedProperties::from_publish(&publish.properties)),
        _ => None,
    };
    // There are others that are not passed on, and one order in which they are written.
    let properties = properties.filter(|properties| properties.as_bytes() == bytes);
    properties.ok_or(Damaged::Invalid("properties"))
}
