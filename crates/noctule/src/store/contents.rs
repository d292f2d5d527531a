//! What is in a store, one thing after the other, as lines.

use std::time::Duration;

use anyhow::Result;
use noctule_broker_core::{
    Away, Message, Restored, Step, StoredMessage, StoredSession, StoredSharedQueue,
    StoredSubscription, Timestamp, Will,
};
use noctule_packet::{QoS, Version};
use noctule_store::SliceLimits;
use noctule_store::broker::Queues;
use serde_json::Value;

use super::line::Line;
use crate::client::format_json::base64;

/// What is read of a queue at a time.
const SLICE: SliceLimits = SliceLimits { messages: 10_000, bytes: 4 * 1_024 * 1_024 };

/// What of it is wanted.
pub(super) struct Wanted<'a> {
    pub(super) queues: &'a Queues,
    pub(super) now: Timestamp,
    pub(super) payloads: bool,
    pub(super) client_id: Option<&'a str>,
    /// Whether a topic is one of those that are asked for; `None` if all are.
    pub(super) topic: Option<&'a dyn Fn(&str) -> bool>,
}

impl Wanted<'_> {
    /// Gives each line of a thing that was asked for.
    pub(super) fn lines(
        &self,
        restored: &Restored,
        mut give: impl FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        match restored {
            Restored::Session(session) => self.session(session, give),
            Restored::SharedQueue(queue) if self.client_id.is_none() => self.shared(queue, give),
            Restored::Retained(message) if self.client_id.is_none() => {
                self.about(&message.topic, || self.message("retained", message), &mut give)
            }
            Restored::Unrouted { message, .. } if self.client_id.is_none() => {
                self.about(&message.topic, || self.message("unrouted", message), &mut give)
            }
            _ => Ok(()),
        }
    }

    fn session(
        &self,
        session: &StoredSession,
        mut give: impl FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        let client_id = &*session.terms.client_id;
        if self.client_id.is_some_and(|wanted| wanted != client_id) {
            return Ok(());
        }
        if self.topic.is_none() {
            give(self.terms(session))?;
            for subscription in &session.subscriptions {
                give(subscribed(client_id, subscription))?;
            }
        }
        if let Some(will) = &session.terms.will {
            self.about(&will.topic, || self.will(client_id, will), &mut give)?;
        }
        self.all_waiting(client_id, &session.messages, &mut give)?;
        if let Some(away) = &session.away {
            self.away(session, away, &mut give)?;
        }
        self.all_waiting(client_id, &session.behind, &mut give)
    }

    /// What of a queue is on disk only, a part at a time.
    fn away(
        &self,
        session: &StoredSession,
        away: &Away,
        give: &mut impl FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        let mut from = away.from;
        loop {
            let mut slice = self.queues.read(session.terms.session, from, &SLICE)?;
            slice.messages.retain(|waiting| waiting.sequence <= away.up_to);
            self.all_waiting(&session.terms.client_id, &slice.messages, give)?;
            if !slice.has_more || slice.next > away.up_to {
                return Ok(());
            }
            from = slice.next;
        }
    }

    fn all_waiting(
        &self,
        client_id: &str,
        messages: &[StoredMessage],
        give: &mut impl FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        for waiting in messages {
            let line = || self.waiting(client_id, waiting);
            self.about(&waiting.message.topic, line, give)?;
        }
        Ok(())
    }

    /// What waits for any member of a shared subscription.
    fn shared(
        &self,
        queue: &StoredSharedQueue,
        mut give: impl FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        for (place, message) in &queue.messages {
            let line = || {
                let line = Line::of("shared").with("filter", &*queue.filter).with("place", *place);
                let line = line.with("topic", &*message.topic).with("qos", level(message.qos));
                self.rest(line, message)
            };
            self.about(&message.topic, line, &mut give)?;
        }
        Ok(())
    }

    /// Gives a line about something with a topic, if that was asked for.
    fn about(
        &self,
        topic: &str,
        line: impl FnOnce() -> Line,
        give: &mut impl FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        if self.topic.is_none_or(|is_wanted| is_wanted(topic)) { give(line()) } else { Ok(()) }
    }

    fn terms(&self, session: &StoredSession) -> Line {
        let terms = &session.terms;
        let left = |at: Option<Timestamp>| at.map(|at| seconds(at.since(self.now)));
        Line::of("session")
            .with("client_id", &*terms.client_id)
            .maybe("user_name", terms.user_name.as_deref())
            .with("version", version(terms.version))
            .with("was_connected", session.was_connected)
            .with("expiry_interval", terms.expiry_interval)
            .maybe("ends_in", left(session.expires_at))
            .maybe("will_in", left(session.will_at))
            .with("unreleased", session.received.len())
    }

    fn will(&self, client_id: &str, will: &Will) -> Line {
        let line = Line::of("will")
            .with("client_id", client_id)
            .with("topic", &*will.topic)
            .with("qos", level(will.qos))
            .with("retain", will.retain)
            .with("delay_interval", will.delay_interval);
        self.payload(line, &will.payload)
    }

    fn waiting(&self, client_id: &str, waiting: &StoredMessage) -> Line {
        let step = match waiting.step {
            Step::Published => None,
            Step::Released(_) => Some("released"),
            Step::Done => Some("done"),
        };
        let line = Line::of("message")
            .with("client_id", client_id)
            .with("place", waiting.sequence)
            .with("topic", &*waiting.message.topic)
            .with("qos", level(waiting.qos))
            .with("retain", waiting.retain)
            .maybe("shared", waiting.group.as_deref())
            .maybe("step", step);
        self.rest(line, &waiting.message)
    }

    fn message(&self, kind: &'static str, message: &Message) -> Line {
        let line = Line::of(kind).with("topic", &*message.topic).with("qos", level(message.qos));
        self.rest(line, message)
    }

    fn rest(&self, line: Line, message: &Message) -> Line {
        let line = line.maybe("expires_in", message.remaining_expiry_interval(self.now));
        self.payload(line, &message.payload)
    }

    fn payload(&self, line: Line, payload: &[u8]) -> Line {
        let line = line.with("payload_bytes", payload.len());
        match std::str::from_utf8(payload) {
            _ if !self.payloads => line,
            Ok(text) => line.with("payload", text),
            Err(_) => line.with("payload_base64", base64(payload)),
        }
    }
}

fn subscribed(client_id: &str, subscription: &StoredSubscription) -> Line {
    let options = subscription.options;
    Line::of("subscription")
        .with("client_id", client_id)
        .with("filter", &*subscription.filter)
        .with("qos", level(options.qos))
        .with("no_local", options.no_local)
        .with("retain_as_published", options.retain_as_published)
        .maybe("identifier", subscription.identifier)
        .maybe("owes_retained", subscription.is_owed.then_some(true))
}

fn seconds(left: Duration) -> u64 {
    left.as_secs()
}

fn level(qos: QoS) -> Value {
    qos.level().into()
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::V3_1 => "3.1",
        Version::V3_1_1 => "3.1.1",
        Version::V5_0 => "5.0",
    }
}
