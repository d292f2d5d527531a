//! A small model of MQTT that watches a run and says what a correct broker would not have done.
//!
//! Each check stands in a file of its own, with the statements that it stands for. The model knows
//! what clients have sent and got, and in which order; of the broker it believes only which
//! messages it says it has dropped, and when it says a connection begins and ends.

pub(crate) mod arrival;
mod completeness;
mod exactly_once;
mod order;
pub(crate) mod power;
pub(crate) mod publication;
mod quota;
mod retained;
pub(crate) mod session;
mod shared;
pub(crate) mod subscription;
pub(crate) mod will;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use noctule_packet::{QoS, ReasonCode};

use self::publication::{Publication, PublicationId};
use self::session::{ClientModel, SessionModel};
use self::will::WillModel;
use crate::link::LinkId;
use crate::topics::Topics;

/// What a correct broker would not have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The statements of MQTT that were broken, by their identifiers.
    pub statement: &'static str,
    /// What happened.
    pub what: String,
}

/// The model.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// Whether the broker has a store.
    is_stored: bool,
    pub(crate) topics: Arc<Topics>,
    /// Counts what clients do and see: the order in which things have happened.
    step: u64,
    /// Virtual time in milliseconds.
    now: u64,
    publications: Vec<Publication>,
    clients: Vec<ClientModel>,
    sessions: Vec<SessionModel>,
    wills: Vec<WillModel>,
    /// How many messages the broker says it has dropped, by client or shared subscription and
    /// topic.
    dropped: BTreeMap<(String, usize), u32>,
    /// Connections in memory mode.
    in_memory: BTreeSet<LinkId>,
    /// When the power was cut.
    cuts: Vec<u64>,
    violation: Option<Violation>,
}

impl Oracle {
    pub(crate) fn new(topics: Arc<Topics>, clients: usize, is_stored: bool) -> Self {
        Self {
            topics,
            is_stored,
            step: 0,
            now: 0,
            publications: Vec::new(),
            clients: (0..clients).map(|_| ClientModel::default()).collect(),
            sessions: Vec::new(),
            wills: Vec::new(),
            dropped: BTreeMap::new(),
            in_memory: BTreeSet::new(),
            cuts: Vec::new(),
            violation: None,
        }
    }

    /// One more client.
    pub(crate) fn add_client(&mut self) {
        self.clients.push(ClientModel::default());
    }

    /// A connection to a listener in memory mode.
    pub(crate) fn dials_in_memory(&mut self, link: LinkId) {
        self.in_memory.insert(link);
    }

    /// How many publications there were.
    pub(crate) fn count(&self) -> usize {
        self.publications.len()
    }

    /// Whether nothing was found yet.
    pub(crate) fn is_content(&self) -> bool {
        self.violation.is_none()
    }

    pub(crate) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(crate) fn tick(&mut self, now: u64) {
        self.now = now;
    }

    /// The next moment in the order of what happens.
    fn next_step(&mut self) -> u64 {
        self.step += 1;
        self.step
    }

    /// Only the first finding counts: the others may follow from it.
    pub(crate) fn find(&mut self, statement: &'static str, what: String) {
        self.violation.get_or_insert(Violation { statement, what });
    }

    /// The broker has sent what nobody may send.
    pub(crate) fn malformed(&mut self, client: usize, what: &str) {
        self.find("[MQTT5-4.13.1-1]", format!("client {client} was sent {what}"));
    }

    /// An answer to nothing.
    pub(crate) fn unexpected(&mut self, client: usize, what: &str, packet_id: u16) {
        let what = format!("client {client} was sent {what} {packet_id}, which answers nothing");
        self.find("[MQTT5-2.2.1-5] [MQTT5-2.2.1-6]", what);
    }

    /// The broker says that it has dropped a message.
    pub(crate) fn dropped(&mut self, whose: &str, topic: &str) {
        if let Some(topic) = self.topics.find(topic) {
            *self.dropped.entry((whose.to_owned(), topic)).or_default() += 1;
        }
    }

    /// Whether the broker says that it has dropped a message of a topic.
    pub(crate) fn has_dropped(&self, whose: &str, topic: usize) -> bool {
        self.dropped.contains_key(&(whose.to_owned(), topic))
    }

    /// Whether the broker has said that it dropped a message, which no other message uses as its
    /// excuse.
    fn excuse(&mut self, whose: &str, topic: usize) -> bool {
        match self.dropped.get_mut(&(whose.to_owned(), topic)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn publication(&self, id: PublicationId) -> &Publication {
        &self.publications[id.0 as usize]
    }

    /// Whether a message surely takes effect before another one.
    fn is_surely_before(&self, message: &Publication, other: &Publication) -> bool {
        message.is_surely_before(other, self.is_stored)
    }

    fn publication_mut(&mut self, id: PublicationId) -> &mut Publication {
        &mut self.publications[id.0 as usize]
    }

    /// Says which message is meant, for people.
    fn describe(&self, id: PublicationId) -> String {
        let Publication { publisher, topic, qos, retain, .. } = self.publication(id);
        let (topic, qos) = (self.topics.name(*topic), qos.level());
        let retain = if *retain { ", retain" } else { "" };
        format!("message {} (client {publisher}, {topic}, QoS {qos}{retain})", id.0)
    }

    /// A refusal where no limit was in the way.
    fn refuse_refusal(&mut self, client: usize, what: &str, code: ReasonCode) {
        self.find("[MQTT5-3.8.4-6]", format!("client {client}: {what} was refused with {code:?}"));
    }
}

/// The levels in order, for bounds.
pub(crate) fn level(qos: QoS) -> u8 {
    qos.level()
}
