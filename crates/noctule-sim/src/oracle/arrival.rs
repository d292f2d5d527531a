//! A message has reached a client: was it to get it, and like this?
//!
//! Stands for: no message without a subscription, and none that was published after UNSUBACK
//! [MQTT5-3.10.4-2] [MQTT311-3.10.4-2]; the QoS is the lesser of the message's and the highest that
//! was granted [MQTT5-3.8.4-8] [MQTT5-3.3.4-2] [MQTT311-3.3.5-1]; every matching Subscription
//! Identifier and no other [MQTT5-3.3.4-3] [MQTT5-3.3.4-4]; RETAIN only on replays unless asked for
//! [MQTT5-3.3.1-12] [MQTT311-3.3.1-9].

use noctule_packet::QoS;

use super::publication::PublicationId;
use super::subscription::Expected;
use super::{Oracle, level};

/// A PUBLISH that a client got.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) client: usize,
    pub(crate) topic: usize,
    /// `None` if it is empty.
    pub(crate) publication: Option<PublicationId>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) identifiers: Vec<u32>,
}

/// Why a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Live,
    Replay,
    /// RETAIN is set and the client wanted it as published.
    Either,
}

impl Arrived {
    pub(crate) fn publication_in(payload: &[u8]) -> Option<PublicationId> {
        PublicationId::in_payload(payload)
    }
}

impl Oracle {
    pub(crate) fn arrived(&mut self, arrived: &Arrived) {
        self.next_step();
        let Some(id) = arrived.publication else {
            // Which of several it is cannot be told: it says nothing.
            return;
        };
        let Some(session) = self.session_of(arrived.client) else { return };
        if (id.0 as usize) >= self.publications.len() {
            self.malformed(arrived.client, "a message that nobody has published");
            return;
        }
        let message = self.publication(id);
        if message.topic != arrived.topic || message.first_sent.is_none() {
            let what = format!("client {} got {} too early", arrived.client, self.describe(id));
            self.find("[MQTT5-3.1.2-8] [MQTT5-3.3.1-1]", what);
            return;
        }
        if self.topics.is_for_groups(arrived.topic) {
            self.arrived_by_group(session, id, arrived);
            return;
        }
        let expected = self.expected(session, id);
        let kind = self.kind(session, id, arrived, &expected);
        if kind != Kind::Replay {
            self.check_terms(id, arrived, &expected);
        }
        self.count_copies(session, id, arrived, kind);
        if kind == Kind::Live {
            self.check_order(session, id, arrived);
        }
        self.check_retained_order(session, id, arrived, kind);
        if kind == Kind::Replay {
            self.check_replay(session, id, arrived);
        }
    }

    fn kind(
        &self,
        session: usize,
        id: PublicationId,
        arrived: &Arrived,
        expected: &Expected,
    ) -> Kind {
        if !arrived.retain {
            return Kind::Live;
        }
        let topics = &self.topics;
        let runs = self.sessions[session].runs.iter();
        let as_published = runs
            .filter(|run| topics.is_match(run.filter, arrived.topic))
            .flat_map(|run| &run.rounds)
            .any(|round| round.asked.retain_as_published);
        let retained = self.publication(id).retain;
        if retained && (expected.as_published || as_published) {
            Kind::Either
        } else {
            Kind::Replay
        }
    }

    fn check_terms(&mut self, id: PublicationId, arrived: &Arrived, expected: &Expected) {
        let client = arrived.client;
        let got = level(arrived.qos);
        if expected.most.is_none() && !(arrived.retain && self.publication(id).retain) {
            let what = format!("client {client} got {} without a subscription", self.describe(id));
            self.find("[MQTT5-3.10.4-2] [MQTT311-3.10.4-2] [MQTT5-3.8.3-3]", what);
            return;
        }
        if arrived.retain {
            return;
        }
        if expected.most.is_some_and(|most| got > most)
            || expected.least.is_some_and(|least| got < least)
        {
            let (least, most) = (expected.least, expected.most);
            let message = self.describe(id);
            let what =
                format!("client {client} got {message} with QoS {got}, not {least:?} to {most:?}");
            self.find("[MQTT5-3.8.4-8] [MQTT5-3.3.4-2] [MQTT311-3.3.5-1]", what);
        }
        let foreign = arrived.identifiers.iter().any(|own| !expected.identifiers.contains(own));
        let missing =
            expected.sure_identifiers.iter().any(|sure| !arrived.identifiers.contains(sure));
        if foreign || missing {
            let (got, message) = (&arrived.identifiers, self.describe(id));
            let what = format!(
                "client {client} got {message} with identifiers {got:?}, of {:?}, surely {:?}",
                expected.identifiers, expected.sure_identifiers
            );
            self.find("[MQTT5-3.3.4-3] [MQTT5-3.3.4-4]", what);
        }
    }
}
