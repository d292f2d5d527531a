//! Retained messages.
//!
//! Stands for: the last message published with RETAIN is kept, and replaces the one before
//! [MQTT5-3.3.1-5] [MQTT311-3.3.1-5]; an empty one takes it away [MQTT5-3.3.1-6]
//! [MQTT311-3.3.1-10]; a new subscription gets it if it asks for that [MQTT5-3.3.1-9]
//! [MQTT5-3.3.1-10] [MQTT5-3.3.1-11] [MQTT311-3.3.1-6], and nothing older than what it has seen.

use noctule_packet::{QoS, RetainHandling};

use super::Oracle;
use super::arrival::{Arrived, Kind};
use super::publication::{Publication, PublicationId};

impl Oracle {
    /// No replay of a value that is surely older than one that the session has got.
    pub(super) fn check_retained_order(
        &mut self,
        session: usize,
        id: PublicationId,
        arrived: &Arrived,
        kind: Kind,
    ) {
        let message = self.publication(id);
        if !message.retain {
            return;
        }
        let known = self.sessions[session].retained.get(&arrived.topic);
        let newer = known.and_then(|known| {
            let mut all = known.iter().map(|(_, newer, qos)| (*newer, *qos));
            all.find(|(newer, qos)| {
                let is_before = self.is_surely_before(message, self.publication(*newer));
                is_before && !self.may_be_lost(*newer) && !self.may_be_overtaken(arrived, *qos)
            })
        });
        if let Some((newer, _)) = newer
            && kind == Kind::Replay
            && !arrived.dup
        {
            let (old, new) = (self.describe(id), self.describe(newer));
            let what = format!("client {} got {old} replayed behind {new}", arrived.client);
            self.find("[MQTT5-3.3.1-5] [MQTT311-3.3.1-5]", what);
        }
        let step = self.step;
        let retained = &mut self.sessions[session].retained;
        retained.entry(arrived.topic).or_default().push((step, id, arrived.qos));
    }

    /// A QoS 2 message to a stored session waits for the store, and one with QoS 0 waits for
    /// nothing: between the two there is no order that a broker has to keep.
    fn may_be_overtaken(&self, arrived: &Arrived, newer: QoS) -> bool {
        self.is_stored && arrived.qos == QoS::ExactlyOnce && newer == QoS::AtMostOnce
    }

    /// A replay needs a retained message that nothing surely replaced before the SUBSCRIBE, and a
    /// SUBSCRIBE that asks for it.
    pub(super) fn check_replay(&mut self, session: usize, id: PublicationId, arrived: &Arrived) {
        let topics = self.topics.clone();
        let message = self.publication(id).clone();
        let runs = &self.sessions[session].runs;
        let rounds = runs
            .iter()
            .filter(|run| topics.is_match(run.filter, arrived.topic))
            .flat_map(|run| run.rounds.iter().map(move |round| (run, round)));
        let last_asked = rounds
            .filter(|(run, round)| match round.asked.retain_handling {
                RetainHandling::SendAtSubscribe => true,
                // The rounds before may never have been read.
                RetainHandling::SendIfNew => {
                    run.granted().is_none_or(|granted| granted > round.sent)
                }
                RetainHandling::DoNotSend => false,
            })
            .map(|(_, round)| round.sent)
            .max();
        let Some(asked) = last_asked.filter(|_| message.retain) else {
            let what = format!("client {} got {} unasked", arrived.client, self.describe(id));
            self.find("[MQTT5-3.3.1-10] [MQTT5-3.3.1-11] [MQTT5-3.3.1-12] [MQTT311-3.3.1-9]", what);
            return;
        };
        let count = self.sessions[session].got.get(&id).map_or(0, |got| got.replayed);
        // The first SUBSCRIBE that may have caused it: only if all came later, it was replaced.
        let first = runs_first_asked(&self.sessions[session].runs, &topics, arrived.topic);
        let replaced = self.publications.iter().any(|other| {
            other.retain
                && other.topic == arrived.topic
                && self.is_surely_before(&message, other)
                && other.accepted.is_some_and(|accepted| accepted < first.unwrap_or(asked))
                && !self.may_be_undone(other)
        });
        if replaced && count == 1 && !arrived.dup {
            let what =
                format!("client {} got {}, which was replaced", arrived.client, self.describe(id));
            self.find("[MQTT5-3.3.1-5] [MQTT5-3.3.1-6] [MQTT311-3.3.1-10]", what);
        }
    }

    /// Which messages a topic may have retained in the end, by their order; `None` is none.
    pub(super) fn possible_retained(&self, topic: usize) -> Vec<Option<PublicationId>> {
        let of_topic = |message: &&Publication| message.retain && message.topic == topic;
        let all: Vec<(usize, &Publication)> = self
            .publications
            .iter()
            .enumerate()
            .filter(|(_, message)| of_topic(message) && message.first_sent.is_some())
            .collect();
        let mut possible = Vec::new();
        let mut is_sure = false;
        for (number, message) in &all {
            let id = PublicationId(*number as u32);
            let surely = if message.is_will {
                self.must_be_published(id) == Some(true)
            } else {
                message.accepted.is_some()
            };
            is_sure |= surely && !self.may_be_undone(message);
            // Replaced by what was surely accepted.
            let replaced = all.iter().any(|(_, other)| {
                other.accepted.is_some()
                    && self.is_surely_before(message, other)
                    && !self.may_be_undone(other)
            });
            if !replaced {
                possible.push(if message.clears { None } else { Some(id) });
                // In memory mode it has taken away what was there, and is gone itself.
                possible.extend(self.may_be_undone(message).then_some(None));
            }
        }
        if !is_sure {
            possible.push(None);
        }
        possible
    }

    /// What a client got last of a topic with RETAIN set by its publisher.
    pub(crate) fn last_retained(&self, client: usize, topic: usize) -> Option<PublicationId> {
        let session = &self.sessions[self.session_of(client)?];
        session.retained.get(&topic)?.last().map(|(_, id, _)| *id)
    }

    /// What newcomers on every shard got as the retained message of a topic in the end.
    pub(crate) fn check_final(&mut self, topic: usize, found: &[Option<PublicationId>]) {
        let name = self.topics.clone().name(topic).to_owned();
        if found.windows(2).any(|pair| pair[0] != pair[1]) {
            let what = format!("newcomers got different retained messages of {name}: {found:?}");
            self.find("[MQTT5-3.3.1-5] [MQTT311-3.3.1-5]", what);
        }
        let possible = self.possible_retained(topic);
        if let Some(first) = found.first()
            && !possible.contains(first)
        {
            let what = format!("newcomers got {first:?} of {name}, possible: {possible:?}");
            self.find("[MQTT5-3.3.1-5] [MQTT5-3.3.1-6] [MQTT311-3.3.1-5] [MQTT311-3.3.1-10]", what);
        }
    }
}

fn runs_first_asked(
    runs: &[super::subscription::Run],
    topics: &crate::topics::Topics,
    topic: usize,
) -> Option<u64> {
    let matching = runs.iter().filter(|run| topics.is_match(run.filter, topic));
    matching.flat_map(|run| run.rounds.iter()).map(|round| round.sent).min()
}
