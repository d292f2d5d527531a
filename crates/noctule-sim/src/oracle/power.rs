//! What a power cut may take, and what not.
//!
//! What a client was told is so, and what it was not told may be so or not. A broker has to keep
//! the session of a client that was told so with its subscriptions, whatever was acknowledged, and
//! what was retained; it may repeat what it has delivered below QoS 2. In memory mode nothing is
//! promised: no session that a client has there, and no message that it sends.

use noctule_packet::QoS;

use super::Oracle;
use super::publication::{Publication, PublicationId};

/// How long it may take until something is durable for all whom it is for, in milliseconds.
pub(super) const UNDER_WAY: u64 = 2_000;

/// What is known of a client when the power goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Nobody knows which session the broker has.
    pub(crate) is_unclear: bool,
    /// Nobody knows whether the broker has kept that its connection has ended.
    pub(crate) is_unsettled: bool,
}

impl Oracle {
    /// The power goes.
    pub(crate) fn power_is_cut(&mut self, standings: &[Standing]) {
        let step = self.next_step();
        self.cuts.push(step);
        let now = self.now;
        for message in self.publications.iter_mut().filter(|one| one.qos == QoS::ExactlyOnce) {
            let is_settled = message.accepted.is_some() && message.accepted_at + UNDER_WAY < now;
            message.is_routed_again |= message.first_sent.is_some() && !is_settled;
        }
        self.wills_before_cut(standings);
    }

    /// The broker is there again, and for it the time is `now`.
    pub(crate) fn power_is_back(&mut self, standings: &[Standing], now: u64) {
        let cut = std::mem::replace(&mut self.now, now);
        self.sessions_behind_cut(standings);
        self.wills_behind_cut(cut);
    }

    /// How often the power was cut since a step.
    pub(super) fn cuts_since(&self, step: u64) -> u32 {
        self.cuts.iter().filter(|cut| **cut > step).count() as u32
    }

    /// Whether what was delivered of a message may have been forgotten, even if it came again.
    pub(super) fn may_be_lost(&self, id: PublicationId) -> bool {
        let message = self.publication(id);
        self.was_cut_meanwhile(message) || self.may_be_undone(message)
    }

    /// Whether the power went before the publisher of a message knew that the broker has it.
    pub(super) fn was_cut_meanwhile(&self, message: &Publication) -> bool {
        let sent = message.first_sent.unwrap_or(u64::MAX);
        let unknown = sent..message.accepted.unwrap_or(u64::MAX);
        self.cuts.iter().any(|cut| unknown.contains(cut))
    }

    /// Whether the power went behind a retained message that was sent in memory mode.
    pub(super) fn may_be_undone(&self, message: &Publication) -> bool {
        message.is_in_memory && self.copies_of_cuts(message) > 0
    }

    /// Whether the power went behind a message of which nothing was promised.
    pub(super) fn may_be_missing(&self, message: &Publication) -> bool {
        message.is_unpromised && self.copies_of_cuts(message) > 0
    }

    /// How many copies of a message more than without them power cuts may have caused.
    pub(super) fn copies_of_cuts(&self, message: &Publication) -> u32 {
        self.cuts_since(message.first_sent.unwrap_or(u64::MAX))
    }
}
