//! What a test broker writes down for the assertions.

use std::time::Duration;

use noctule_packet::{TopicFilter, TopicName};

use crate::{OwnedPacket, OwnedPublish};

/// Something that a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which connection, counted from 1.
    pub connection: u64,
    /// The client identifier, once CONNECT has said it.
    pub client_id: String,
    /// When, from the start of the broker.
    pub at: Duration,
    /// What.
    pub what: Happening,
}

/// What a client can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It opened a connection.
    Opened,
    /// It sent a packet.
    Packet(OwnedPacket),
    /// It sent what is no packet, and was disconnected.
    Malformed(String),
    /// The connection ended, whoever ended it.
    Closed,
}

impl Received {
    /// The packet, if it is one.
    pub const fn packet(&self) -> Option<&OwnedPacket> {
        match &self.what {
            Happening::Packet(packet) => Some(packet),
            _ => None,
        }
    }

    /// The PUBLISH, if it is one to a topic that the filter matches.
    pub fn publish_to(&self, filter: &str) -> Option<&OwnedPublish> {
        self.packet()?.publish().filter(|publish| matches(filter, &publish.topic))
    }
}

/// Whether a topic filter matches a topic.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    match (TopicFilter::new(filter), TopicName::new(topic)) {
        (Ok(filter), Ok(topic)) => filter.matches(topic),
        _ => false,
    }
}

/// Fails the test if this is no topic filter: it would match nothing, and nobody would know why.
#[track_caller]
pub(crate) fn check_filter(filter: &str) {
    if let Err(error) = TopicFilter::new(filter) {
        panic!("{filter:?} is no topic filter: {error}");
    }
}

/// Fails the test if nothing can be published to this topic.
#[track_caller]
pub(crate) fn check_topic(topic: &str) {
    if let Err(error) = TopicName::new(topic) {
        panic!("{topic:?} is no topic name: {error}");
    }
}
