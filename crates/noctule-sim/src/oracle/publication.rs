//! What was published: by whom, when, and when its publisher knew that it was accepted.

use noctule_packet::{QoS, ReasonCode};

use super::Oracle;
use crate::link::LinkId;

/// Names a publication; it stands in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PublicationId(pub(crate) u32);

/// One publication, or a will that may become one.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) publisher: usize,
    pub(crate) topic: usize,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// It is empty, and takes the retained message away.
    pub(crate) clears: bool,
    pub(crate) is_will: bool,
    /// How often its publisher has sent it.
    pub(crate) sends: u32,
    /// When it was sent first; a will: when its connection ended.
    pub(crate) first_sent: Option<u64>,
    pub(crate) sent_on: LinkId,
    /// When its publisher knew that the broker has it, and the broker's time then.
    pub(crate) accepted: Option<u64>,
    pub(super) accepted_at: u64,
    /// It was sent in memory mode, at some time: as a retained message it is never on disk.
    pub(super) is_in_memory: bool,
    /// It was sent in memory mode last, where an acknowledgement promises nothing.
    pub(super) is_unpromised: bool,
    /// The broker may route it once more, behind a power cut.
    pub(super) is_routed_again: bool,
    pub(crate) is_refused: bool,
}

impl PublicationId {
    /// Its payload, of a length that differs between publications.
    pub(crate) fn payload(self) -> Vec<u8> {
        let length = match self.0 % 64 {
            // Large enough to be shared instead of copied.
            63 => 8 * 1024 + 100,
            60..63 => 300,
            other => 4 + other as usize % 20,
        };
        let mut payload = self.0.to_be_bytes().to_vec();
        payload.resize(length, b'.');
        payload
    }

    /// The publication that a payload names.
    pub(crate) fn in_payload(payload: &[u8]) -> Option<Self> {
        let number = payload.first_chunk::<4>()?;
        Some(Self(u32::from_be_bytes(*number)))
    }
}

impl Publication {
    /// How many times a correct broker may deliver it to one subscriber, repetitions of its own not
    /// counted.
    pub(crate) fn copies_max(&self) -> u32 {
        if self.qos == QoS::AtLeastOnce { self.sends } else { 1 }
    }

    /// When it surely had its effect on all who wait for it. What is retained it changes once.
    pub(super) fn settled(&self) -> Option<u64> {
        self.accepted.filter(|_| !self.is_routed_again)
    }

    /// Whether it surely takes effect before `other`. One with QoS 2 `may_wait` for the store,
    /// while others of its publisher do not.
    pub(super) fn is_surely_before(&self, other: &Self, may_wait: bool) -> bool {
        let by_acknowledgement = self.accepted.zip(other.first_sent);
        let waits = may_wait && self.qos == QoS::ExactlyOnce && other.qos != QoS::ExactlyOnce;
        let by_connection = self.publisher == other.publisher
            && self.sends == 1
            && !waits
            && !self.is_will
            && !other.is_will
            && self.sent_on == other.sent_on
            && self.first_sent < other.first_sent;
        by_acknowledgement.is_some_and(|(accepted, sent)| accepted < sent) || by_connection
    }
}

impl Oracle {
    /// A client publishes something new.
    pub(crate) fn publishes(
        &mut self,
        publisher: usize,
        link: LinkId,
        (topic, qos): (usize, QoS),
        (retain, clears): (bool, bool),
    ) -> PublicationId {
        let first_sent = Some(self.next_step());
        self.add_publication(Publication {
            publisher,
            topic,
            qos,
            retain,
            clears,
            is_will: false,
            sends: 1,
            first_sent,
            sent_on: link,
            accepted: None,
            accepted_at: 0,
            is_in_memory: self.in_memory.contains(&link),
            is_unpromised: self.in_memory.contains(&link),
            is_routed_again: false,
            is_refused: false,
        })
    }

    pub(super) fn add_publication(&mut self, publication: Publication) -> PublicationId {
        let id = PublicationId(self.publications.len() as u32);
        self.publications.push(publication);
        id
    }

    /// The same message once more, because nobody knows whether it arrived.
    pub(crate) fn publishes_again(&mut self, id: PublicationId, link: LinkId) {
        self.next_step();
        let is_in_memory = self.in_memory.contains(&link);
        let publication = self.publication_mut(id);
        publication.sends += 1;
        publication.is_in_memory |= is_in_memory;
        if publication.accepted.is_none() {
            publication.is_unpromised = is_in_memory;
        }
    }

    /// PUBACK or PUBREC has come.
    pub(crate) fn acknowledged(&mut self, id: PublicationId, code: ReasonCode) {
        let step = self.next_step();
        let now = self.now;
        let publication = self.publication_mut(id);
        if publication.accepted.is_none() {
            (publication.accepted, publication.accepted_at) = (Some(step), now);
        }
        if code.is_error() {
            publication.is_refused = true;
            let what = format!("{} was refused with {code:?}", self.describe(id));
            self.find("[MQTT5-3.3.4-1]", what);
        }
    }
}
