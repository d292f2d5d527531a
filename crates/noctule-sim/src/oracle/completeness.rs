//! Nothing is lost in silence: what must have arrived in the end.
//!
//! Stands for: QoS 1 at least once and QoS 2 exactly once for every session that was subscribed
//! when a message was published and is there in the end [MQTT5-4.3.2-1] [MQTT5-4.3.3-1]
//! [MQTT5-4.5.0-1] [MQTT311-4.5.0-1]; QoS 0 on connections that nothing has happened to; retained
//! messages to new subscriptions [MQTT5-3.3.1-9]; whatever the broker drops, it says so.

use noctule_packet::{QoS, RetainHandling};

use super::Oracle;
use super::publication::PublicationId;
use crate::link::LinkId;

impl Oracle {
    /// Everything has come to rest. `is_fine` says of a connection that both its ends are there and
    /// nothing ever happened to it.
    pub(crate) fn check_end(&mut self, names: &[String], is_fine: &dyn Fn(LinkId) -> bool) {
        for client in 0..self.clients.len() {
            let Some(session) = self.session_of(client) else { continue };
            let Some(online_since) = self.clients[client].online_since else { continue };
            for number in 0..self.publications.len() {
                let id = PublicationId(number as u32);
                if self.is_missing(session, id, online_since, is_fine) {
                    let topic = self.publication(id).topic;
                    if !self.excuse(&names[client], topic) {
                        let what = format!("client {client} never got {}", self.describe(id));
                        let statement = "[MQTT5-4.3.2-1] [MQTT5-4.3.3-1] [MQTT5-4.5.0-1]";
                        self.find(statement, what);
                        return;
                    }
                }
            }
            self.check_replayed(client, session, names);
        }
        self.check_groups();
        self.check_wills();
    }

    fn is_missing(
        &self,
        session: usize,
        id: PublicationId,
        online_since: u64,
        is_fine: &dyn Fn(LinkId) -> bool,
    ) -> bool {
        let message = self.publication(id);
        let Some(sent) = message.first_sent else { return false };
        if message.clears
            || self.topics.is_for_groups(message.topic)
            || self.sessions[session].got.contains_key(&id)
            || self.may_be_missing(message)
        {
            return false;
        }
        let is_sure = if message.is_will {
            self.must_be_published(id) == Some(true)
        } else if message.qos == QoS::AtMostOnce {
            is_fine(message.sent_on)
        } else {
            message.accepted.is_some() && !message.is_refused
        };
        let expected = self.expected(session, id);
        match expected.least {
            None => false,
            Some(0) => {
                let link = self.clients[self.sessions[session].client].link;
                is_sure && online_since < sent && link.is_some_and(is_fine)
            }
            Some(_) => is_sure,
        }
    }

    /// Every new subscription that asked for it has got the retained message of each topic, or a
    /// newer one.
    fn check_replayed(&mut self, client: usize, session: usize, names: &[String]) {
        let topics = self.topics.clone();
        let link = self.clients[client].link;
        for run in self.sessions[session].runs.clone() {
            let Some(first) = run.rounds.first() else { continue };
            let asks = first.asked.retain_handling != RetainHandling::DoNotSend
                && run.is_first
                && run.rounds.len() == 1
                && first.granted.is_some()
                && run.ending.is_none()
                // What QoS 0 replays leaves with its connection.
                && (first.asked.qos > QoS::AtMostOnce || Some(first.link) == link)
                && !topics.is_shared(run.filter);
            if !asks {
                continue;
            }
            for topic in (0..topics.len()).filter(|topic| topics.is_match(run.filter, *topic)) {
                let was_there = self.retained_at(topic, first.sent);
                let Some(value) = was_there else { continue };
                // What it was replaced by at some time, QoS 0 leaves with its connection too.
                if self.may_be_at_most_once(topic, value) && Some(first.link) != link {
                    continue;
                }
                // What replaces it is not for its own publisher.
                if first.asked.no_local && self.has_retained(client, topic) {
                    continue;
                }
                let got = self.sessions[session].retained.get(&topic);
                let any = got.is_some_and(|got| got.iter().any(|(step, _, _)| *step > first.sent));
                // What came live instead may have been dropped.
                let was_dropped = self.has_dropped(&names[client], topic);
                if !any && !was_dropped {
                    let what = format!(
                        "client {client} never got {} for its subscription to {}",
                        self.describe(value),
                        topics.filter(run.filter)
                    );
                    self.find("[MQTT5-3.3.1-9] [MQTT5-3.8.4-4] [MQTT311-3.3.1-6]", what);
                }
            }
        }
    }

    /// Whether a retained message, or one that may have come behind it, has QoS 0.
    fn may_be_at_most_once(&self, topic: usize, value: PublicationId) -> bool {
        let value = self.publication(value);
        self.publications.iter().any(|other| {
            other.retain
                && other.topic == topic
                && other.qos == QoS::AtMostOnce
                && !self.is_surely_before(other, value)
        })
    }

    fn has_retained(&self, client: usize, topic: usize) -> bool {
        let mut own = self.publications.iter().filter(|message| message.publisher == client);
        own.any(|message| message.retain && message.topic == topic)
    }

    /// The message that was surely retained at a step, and that nothing can have taken away since.
    fn retained_at(&self, topic: usize, step: u64) -> Option<PublicationId> {
        let mut last = None;
        for (number, message) in self.publications.iter().enumerate() {
            if !message.retain || message.topic != topic || message.first_sent.is_none() {
                continue;
            }
            // A clearing one that came at any time leaves nothing to be sure of.
            if message.clears || message.is_will || self.may_be_undone(message) {
                return None;
            }
            if message.accepted.is_some_and(|accepted| accepted < step) {
                last = Some(PublicationId(number as u32));
            }
        }
        last
    }
}
