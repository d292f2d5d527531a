//! One connection of a test broker, and how its bytes become packets.

use std::collections::BTreeMap;
use std::time::Duration;

use noctule_packet::{Connect, Framing, Packet, PacketType, ReasonCode, TextRules, Version, split};

use super::outlet::{Due, Outlet};
use crate::arrival::MAXIMUM_PACKET_SIZE;
use crate::describe::{describe, describe_bytes};
use crate::{OwnedPacket, OwnedPublish, OwnedWill};

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) version: Version,
    /// Empty until CONNECT has said it.
    pub(crate) client_id: String,
    pub(crate) is_accepted: bool,
    /// Whether the test says what is answered, and not the broker.
    pub(crate) is_scripted: bool,
    pub(crate) will: Option<OwnedWill>,
    aliases: BTreeMap<u16, String>,
    pub(crate) outlet: Outlet,
    /// What was received and not yet split into packets.
    unread: Vec<u8>,
    /// How long its client may be silent, and when it was heard last.
    silence_max: Option<Duration>,
    last_heard: Duration,
}

/// The bytes of what is no packet with an explanation, and the reason to give for leaving.
pub(crate) type Problem = (String, ReasonCode);

impl Connection {
    pub(crate) fn new(is_scripted: bool) -> Self {
        Self {
            version: Version::V5_0,
            client_id: String::new(),
            is_accepted: false,
            is_scripted,
            will: None,
            aliases: BTreeMap::new(),
            outlet: Outlet::default(),
            unread: Vec::new(),
            silence_max: None,
            last_heard: Duration::ZERO,
        }
    }

    /// The client has sent bytes.
    pub(crate) fn arrived(&mut self, now: Duration, bytes: &[u8]) {
        self.last_heard = now;
        self.unread.extend_from_slice(bytes);
    }

    /// The client is to be heard within one and a half times so many seconds; 0 is never.
    pub(crate) fn keep_alive(&mut self, seconds: u16) {
        let millis = u64::from(seconds) * 1_500;
        self.silence_max = (seconds > 0).then(|| Duration::from_millis(millis));
    }

    /// When its client has been silent for too long.
    pub(crate) fn silence_ends(&self) -> Option<Duration> {
        let silence_max = self.silence_max.filter(|_| !self.outlet.is_over())?;
        Some(self.last_heard + silence_max)
    }

    /// Takes the next thing that is due.
    pub(crate) fn take(&mut self, now: Duration) -> Due {
        match (self.outlet.take(now), self.silence_ends()) {
            (Due::At(at), Some(silence_ends)) => Due::At(at.min(silence_ends)),
            (Due::Never, Some(silence_ends)) => Due::At(silence_ends),
            (due, _) => due,
        }
    }

    /// Gives a message the topic that its alias stands for, or remembers what it stands for.
    pub(crate) fn resolve_alias(&mut self, publish: &mut OwnedPublish) {
        let Some(alias) = publish.topic_alias else { return };
        if !publish.topic.is_empty() {
            self.aliases.insert(alias, publish.topic.clone());
        } else if let Some(topic) = self.aliases.get(&alias) {
            publish.topic.clone_from(topic);
        }
    }

    /// The next whole packet and its line for the transcript, or what is wrong with it.
    pub(crate) fn next_packet(&mut self) -> Option<Result<(OwnedPacket, String), Problem>> {
        let unread = &self.unread;
        let frame = match split(unread, MAXIMUM_PACKET_SIZE) {
            Ok(Framing::Complete(frame)) => frame,
            Ok(Framing::Partial { .. }) => return None,
            Err(error) => {
                let shown = format!("{} ({error})", describe_bytes(unread));
                self.unread.clear();
                return Some(Err((shown, error.reason_code())));
            }
        };
        if frame.packet_type == PacketType::Connect
            && let Ok(connect) = Connect::decode(&frame, TextRules::Lenient)
        {
            self.version = connect.version;
        }
        let length = frame.length;
        let decoded = Packet::decode(&frame, self.version, TextRules::Lenient);
        let next = match decoded {
            Ok(packet) => Ok((OwnedPacket::copy_of(&packet), describe(&packet))),
            Err(error) => {
                let shown = format!("{} ({error})", describe_bytes(&unread[..length]));
                Err((shown, error.reason_code()))
            }
        };
        self.unread.drain(..length);
        Some(next)
    }
}
