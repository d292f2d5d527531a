//! The records of a session as bytes, as `docs/storage-format.md` draws them.

use std::time::Duration;

use noctule_client_core::{OperationId, Record, StoredMessage, StoredSubscription};
use noctule_packet::{
    ForwardedProperties, Framing, PacketId, Publish, PublishHead, QoS, Subscribe, SubscriptionList,
    TextRules, TopicFilter, Version, split,
};

const OPENED: u8 = 1;
const SESSION_STARTED: u8 = 2;
const CONNECTING: u8 = 3;
const ACCEPTED: u8 = 4;
const TRANSMITTED: u8 = 5;
const RECEIVED: u8 = 6;
const TOLD: u8 = 7;
const FINISHED: u8 = 8;
const ARRIVED: u8 = 9;
const RELEASED: u8 = 10;
const SUBSCRIBED: u8 = 11;
const UNSUBSCRIBED: u8 = 12;
const ABANDONED: u8 = 13;
const HEARD: u8 = 14;
const INTERRUPTED: u8 = 15;
const SUBSCRIPTION_INTERRUPTED: u8 = 16;

/// No duration.
const NONE: u64 = u64::MAX;

/// Appends a record, at this age of the store. Whether it is one that is known here.
pub(super) fn encode(record: &Record, age: Duration, out: &mut Vec<u8>) -> bool {
    match record {
        Record::Opened { operation } => of_operation(out, OPENED, *operation),
        Record::SessionStarted { client_id, is_new } => {
            out.extend_from_slice(&[SESSION_STARTED, u8::from(*is_new)]);
            out.extend_from_slice(client_id.as_bytes());
        }
        Record::Connecting => out.push(CONNECTING),
        Record::Accepted { operation, message } => {
            of_operation(out, ACCEPTED, *operation);
            let times = [Some(age), message.message_expiry_interval, message.age_max];
            for time in times {
                out.extend_from_slice(&time.map_or(NONE, millis).to_le_bytes());
            }
            encode_message(message, out);
        }
        Record::Transmitted { operation, packet_id } => {
            of_operation(out, TRANSMITTED, *operation);
            out.extend_from_slice(&packet_id.value().to_le_bytes());
        }
        Record::Received { operation } => of_operation(out, RECEIVED, *operation),
        Record::Interrupted { operation, interruptions } => {
            of_operation(out, INTERRUPTED, *operation);
            out.extend_from_slice(&interruptions.to_le_bytes());
        }
        Record::Told { operation } => of_operation(out, TOLD, *operation),
        Record::Finished { operation } => of_operation(out, FINISHED, *operation),
        Record::Abandoned { packet_id } => of_packet_id(out, ABANDONED, *packet_id),
        Record::Arrived { packet_id } => of_packet_id(out, ARRIVED, *packet_id),
        Record::Released { packet_id } => of_packet_id(out, RELEASED, *packet_id),
        Record::Subscribed { subscription } => {
            out.push(SUBSCRIBED);
            encode_subscription(subscription, out);
        }
        Record::Unsubscribed { filter } => {
            out.push(UNSUBSCRIBED);
            out.extend_from_slice(filter.as_bytes());
        }
        Record::SubscriptionInterrupted { filter, interruptions } => {
            out.push(SUBSCRIPTION_INTERRUPTED);
            out.extend_from_slice(&interruptions.to_le_bytes());
            out.extend_from_slice(filter.as_bytes());
        }
        _ => return false,
    }
    true
}

/// Appends when the server was heard last, in the age of the store.
pub(super) fn encode_heard(heard: Duration, out: &mut Vec<u8>) {
    out.push(HEARD);
    out.extend_from_slice(&millis(heard).to_le_bytes());
}

fn of_operation(out: &mut Vec<u8>, kind: u8, operation: OperationId) {
    out.push(kind);
    out.extend_from_slice(&operation.value().to_le_bytes());
}

fn of_packet_id(out: &mut Vec<u8>, kind: u8, packet_id: PacketId) {
    out.push(kind);
    out.extend_from_slice(&packet_id.value().to_le_bytes());
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NONE - 1).min(NONE - 1)
}

fn encode_message(message: &StoredMessage, out: &mut Vec<u8>) {
    let head = PublishHead {
        version: Version::V5_0,
        dup: false,
        qos: message.qos,
        retain: message.retain,
        topic: &message.topic,
        packet_id: (message.qos > QoS::AtMostOnce).then_some(PacketId::MIN),
        topic_alias: None,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        forwarded: message.forwarded.as_bytes(),
        payload_length: message.payload.len(),
    };
    head.encode(out);
    out.extend_from_slice(&message.payload);
}

fn encode_subscription(subscription: &StoredSubscription, out: &mut Vec<u8>) {
    let mut subscriptions = SubscriptionList::new();
    // The filter was one when it was granted.
    if let Ok(filter) = TopicFilter::new(&subscription.filter) {
        subscriptions.push(&filter, subscription.options);
    }
    let subscribe = Subscribe {
        packet_id: PacketId::MIN,
        subscription_identifier: subscription.identifier,
        user_properties: subscription.user_properties.clone(),
        subscriptions,
    };
    let _ = subscribe.encode(Version::V5_0, out);
}

/// What a log says.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// Facts, with the age of the store when their times were taken.
    facts: Vec<(Record, Option<Duration>)>,
    /// When the server was heard last, in the age of the store.
    pub(super) heard: Option<Duration>,
}

impl Story {
    /// Goes on with another record.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some((&HEARD, rest)) = bytes.split_first() {
            self.heard = time(rest)?.0.max(self.heard);
            return Ok(());
        }
        self.facts.push(decode(bytes)?);
        Ok(())
    }

    /// The facts as they are now, at this age of the store.
    pub(super) fn into_facts(self, now: Duration) -> impl Iterator<Item = Record> {
        self.facts.into_iter().map(move |(record, age)| at(record, age, now))
    }
}

/// A record as it is at another age of the store.
fn at(mut record: Record, age: Option<Duration>, now: Duration) -> Record {
    if let (Record::Accepted { message, .. }, Some(age)) = (&mut record, age) {
        let elapsed = now.saturating_sub(age);
        for time in [&mut message.message_expiry_interval, &mut message.age_max] {
            *time = time.map(|left| left.saturating_sub(elapsed));
        }
    }
    record
}

/// Reads a fact, and the age of the store when its times were taken.
fn decode(bytes: &[u8]) -> Result<(Record, Option<Duration>), String> {
    let (kind, rest) = bytes.split_first().ok_or("it is empty")?;
    let mut age = None;
    let record = match *kind {
        OPENED => Record::Opened { operation: operation(rest)?.0 },
        SESSION_STARTED => {
            let (is_new, client_id) = rest.split_first().ok_or("it is too short")?;
            Record::SessionStarted { client_id: text(client_id)?, is_new: *is_new != 0 }
        }
        CONNECTING => Record::Connecting,
        ACCEPTED => {
            let (operation, rest) = operation(rest)?;
            let (accepted, rest) = time(rest)?;
            let (expiry, rest) = time(rest)?;
            let (wait, rest) = time(rest)?;
            age = accepted;
            let message = StoredMessage {
                message_expiry_interval: expiry,
                age_max: wait,
                ..decode_message(rest)?
            };
            Record::Accepted { operation, message }
        }
        TRANSMITTED => {
            let (operation, rest) = operation(rest)?;
            Record::Transmitted { operation, packet_id: packet_id(rest)? }
        }
        RECEIVED => Record::Received { operation: operation(rest)?.0 },
        INTERRUPTED => {
            let (operation, rest) = operation(rest)?;
            Record::Interrupted { operation, interruptions: count(rest)?.0 }
        }
        TOLD => Record::Told { operation: operation(rest)?.0 },
        FINISHED => Record::Finished { operation: operation(rest)?.0 },
        ABANDONED => Record::Abandoned { packet_id: packet_id(rest)? },
        ARRIVED => Record::Arrived { packet_id: packet_id(rest)? },
        RELEASED => Record::Released { packet_id: packet_id(rest)? },
        SUBSCRIBED => Record::Subscribed { subscription: decode_subscription(rest)? },
        UNSUBSCRIBED => Record::Unsubscribed { filter: text(rest)? },
        SUBSCRIPTION_INTERRUPTED => {
            let (interruptions, rest) = count(rest)?;
            Record::SubscriptionInterrupted { filter: text(rest)?, interruptions }
        }
        other => return Err(format!("its kind {other} is not known")),
    };
    Ok((record, age))
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let (digits, rest) = bytes.split_first_chunk().ok_or("it is too short")?;
    Ok((u64::from_le_bytes(*digits), rest))
}

fn operation(bytes: &[u8]) -> Result<(OperationId, &[u8]), String> {
    let (value, rest) = number(bytes)?;
    Ok((OperationId::from_value(value).ok_or("its operation is 0")?, rest))
}

fn time(bytes: &[u8]) -> Result<(Option<Duration>, &[u8]), String> {
    let (value, rest) = number(bytes)?;
    Ok(((value != NONE).then(|| Duration::from_millis(value)), rest))
}

fn count(bytes: &[u8]) -> Result<(u16, &[u8]), String> {
    let (digits, rest) = bytes.split_first_chunk().ok_or("it is too short")?;
    Ok((u16::from_le_bytes(*digits), rest))
}

fn packet_id(bytes: &[u8]) -> Result<PacketId, String> {
    Ok(PacketId::new(count(bytes)?.0).ok_or("its packet identifier is 0")?)
}

fn text(bytes: &[u8]) -> Result<Box<str>, String> {
    Ok(std::str::from_utf8(bytes).map_err(|error| error.to_string())?.into())
}

/// The one packet that the bytes are.
fn frame(bytes: &[u8]) -> Result<noctule_packet::Frame<'_>, String> {
    match split(bytes, u32::MAX) {
        Ok(Framing::Complete(frame)) if frame.length == bytes.len() => Ok(frame),
        Ok(_) => Err("its packet has another length".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn decode_message(bytes: &[u8]) -> Result<StoredMessage, String> {
    let publish = Publish::decode(&frame(bytes)?, Version::V5_0, TextRules::Lenient)
        .map_err(|error| error.to_string())?;
    Ok(StoredMessage {
        topic: publish.topic.as_ref().ok_or("it has no topic")?.as_str().into(),
        forwarded: ForwardedProperties::from_publish(&publish.properties),
        payload: publish.payload.into(),
        qos: publish.qos,
        retain: publish.retain,
        message_expiry_interval: None,
        age_max: None,
    })
}

fn decode_subscription(bytes: &[u8]) -> Result<StoredSubscription, String> {
    let subscribe = Subscribe::decode(&frame(bytes)?, Version::V5_0, TextRules::Lenient)
        .map_err(|error| error.to_string())?;
    let subscription = subscribe.subscriptions.iter().next().ok_or("it has no filter")?;
    let mut user_properties = noctule_packet::UserProperties::new();
    for (name, value) in subscribe.user_properties.iter() {
        user_properties.push(name, value).map_err(|error| error.to_string())?;
    }
    Ok(StoredSubscription {
        filter: subscription.filter.as_str().into(),
        options: subscription.options,
        identifier: subscribe.subscription_identifier,
        user_properties,
    })
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
