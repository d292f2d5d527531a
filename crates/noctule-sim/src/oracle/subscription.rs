//! What a session has subscribed to, as far as its client can know: when a subscription surely was,
//! and when it possibly was.

use noctule_packet::{QoS, ReasonCode, RetainHandling};

use super::publication::{Publication, PublicationId};
use super::{Oracle, level};
use crate::link::LinkId;

/// What a client asks for with one filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
    pub(crate) identifier: Option<u32>,
}

/// One SUBSCRIBE for a filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) asked: Asked,
    pub(crate) link: LinkId,
    pub(crate) sent: u64,
    pub(crate) granted: Option<u64>,
}

/// A subscription from its first SUBSCRIBE to its end.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) filter: usize,
    pub(crate) rounds: Vec<Round>,
    /// When UNSUBSCRIBE was sent.
    pub(crate) ending: Option<u64>,
    /// When UNSUBACK came.
    pub(crate) ended: Option<u64>,
    /// Whether the broker said that it had no such subscription before.
    pub(crate) is_first: bool,
}

impl Run {
    /// When the client knew of it.
    pub(crate) fn granted(&self) -> Option<u64> {
        self.rounds.iter().find_map(|round| round.granted)
    }

    /// The SUBSCRIBEs whose terms may have counted for a message.
    pub(crate) fn possible_rounds(&self, message: &Publication) -> impl Iterator<Item = &Round> {
        let sent = message.first_sent.unwrap_or(u64::MAX);
        // What was sent again may have a first copy that is still on its way to some shard.
        let is_single = message.copies_max() == 1;
        let accepted = message.settled().filter(|_| is_single).unwrap_or(u64::MAX);
        let is_over = self.ended.is_some_and(|ended| ended < sent);
        self.rounds.iter().enumerate().filter_map(move |(at, round)| {
            let later = self.rounds.iter().skip(at + 1).filter_map(|later| later.granted).min();
            let replaced = later.is_some_and(|granted| granted < sent);
            let possible = !is_over && !replaced && round.sent < accepted;
            possible.then_some(round)
        })
    }

    /// Whether the message was surely published while this subscription was. Until it is known to
    /// be accepted, it may be accepted at any time.
    pub(crate) fn surely_covers(&self, message: &Publication) -> bool {
        let Some((granted, sent)) = self.granted().zip(message.first_sent) else { return false };
        let accepted = message.settled().unwrap_or(u64::MAX);
        granted < sent && self.ending.is_none_or(|ending| accepted < ending)
    }
}

/// What a session may get of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// The bounds of the QoS; no upper one: it may get none.
    pub(crate) least: Option<u8>,
    pub(crate) most: Option<u8>,
    pub(crate) identifiers: Vec<u32>,
    pub(crate) sure_identifiers: Vec<u32>,
    pub(crate) as_published: bool,
}

impl Oracle {
    pub(crate) fn subscribes(&mut self, client: usize, link: LinkId, filters: &[(usize, Asked)]) {
        let sent = self.next_step();
        let Some(session) = self.session_of(client) else { return };
        for (filter, asked) in filters {
            let round = Round { asked: *asked, link, sent, granted: None };
            let runs = &mut self.sessions[session].runs;
            let same = |run: &&mut Run| run.filter == *filter && run.ending.is_none();
            match runs.iter_mut().rev().find(same) {
                Some(run) => run.rounds.push(round),
                None => {
                    let is_first = runs.iter().all(|run| run.filter != *filter);
                    let rounds = vec![round];
                    let (ending, ended) = (None, None);
                    runs.push(Run { filter: *filter, rounds, ending, ended, is_first });
                }
            }
        }
    }

    pub(crate) fn subscribed(&mut self, client: usize, filters: &[usize], codes: &[ReasonCode]) {
        let step = self.next_step();
        // MQTT5-3.9.3-1 MQTT311-3.9.3-1
        if codes.len() != filters.len() {
            let what = format!("client {client}: {} codes, {} filters", codes.len(), filters.len());
            self.find("[MQTT5-3.9.3-1]", what);
        }
        let Some(session) = self.session_of(client) else { return };
        for (filter, code) in filters.iter().zip(codes) {
            let runs = &mut self.sessions[session].runs;
            let waits = |round: &&mut Round| round.granted.is_none();
            // Answers come in order: the oldest of this connection that has none.
            let link = self.clients[client].link;
            let rounds = runs.iter_mut().filter(|run| run.filter == *filter);
            let round = rounds
                .flat_map(|run| run.rounds.iter_mut())
                .filter(|round| Some(round.link) == link)
                .find(waits);
            let Some(round) = round else { continue };
            round.granted = Some(step);
            let asked = round.asked.qos;
            // MQTT5-3.8.4-7 MQTT311-3.8.4-6
            if *code != ReasonCode::granted(asked) {
                self.refuse_refusal(client, self.topics.clone().filter(*filter), *code);
            }
        }
    }

    pub(crate) fn unsubscribes(&mut self, client: usize, filter: usize) -> u64 {
        let step = self.next_step();
        let Some(session) = self.session_of(client) else { return step };
        for run in self.sessions[session].runs.iter_mut().filter(|run| run.filter == filter) {
            run.ending.get_or_insert(step);
        }
        step
    }

    pub(crate) fn unsubscribed(&mut self, client: usize, filters: &[usize], sent: u64) {
        let step = self.next_step();
        let Some(session) = self.session_of(client) else { return };
        for run in self.sessions[session].runs.iter_mut() {
            // Those that were begun again since go on.
            if filters.contains(&run.filter) && run.ending.is_some_and(|ending| ending <= sent) {
                run.ended.get_or_insert(step);
            }
        }
    }

    /// The filters that a client believes to have subscribed to.
    pub(crate) fn filters_of(&self, client: usize) -> Vec<usize> {
        let Some(session) = self.session_of(client) else { return Vec::new() };
        let runs = self.sessions[session].runs.iter();
        runs.filter(|run| run.ending.is_none()).map(|run| run.filter).collect()
    }

    /// What a session may get of a message, by all of its subscriptions.
    pub(super) fn expected(&self, session: usize, id: PublicationId) -> Expected {
        let message = self.publication(id);
        let own = self.sessions[session].client == message.publisher;
        let mut expected = Expected::default();
        for run in &self.sessions[session].runs {
            if !self.topics.is_match(run.filter, message.topic) {
                continue;
            }
            let mut least: Option<u8> = None;
            let mut ever_local = false;
            let mut identifiers = Vec::new();
            for round in run.possible_rounds(message) {
                identifiers.push(round.asked.identifier);
                // MQTT5-3.8.3-3: what is routed again is nobody's if its session left the store.
                if round.asked.no_local && own {
                    ever_local = true;
                    let was_there = Some(round.sent) < message.first_sent;
                    let is_known = was_there && !self.sessions[session].was_in_memory;
                    if !message.is_routed_again || is_known {
                        continue;
                    }
                }
                let granted = level(round.asked.qos).min(level(message.qos));
                least = Some(least.map_or(granted, |least| least.min(granted)));
                expected.most = expected.most.max(Some(granted));
                expected.identifiers.extend(round.asked.identifier);
                expected.as_published |= round.asked.retain_as_published;
            }
            if run.surely_covers(message) && !ever_local {
                expected.least = expected.least.max(least);
                if let [Some(identifier)] = identifiers[..] {
                    expected.sure_identifiers.push(identifier);
                }
            }
        }
        expected
    }
}
