//! Wills: sent when they are due, and only then.
//!
//! Stands for: a will is published when its connection ends without a DISCONNECT that says
//! otherwise [MQTT5-3.1.2-8] [MQTT5-3.14.4-3] [MQTT311-3.1.2-8] [MQTT311-3.14.4-3], after its delay
//! or with the end of its session, and not if its client has come back by then [MQTT5-3.1.3-9]; it
//! is never published twice.

use noctule_packet::QoS;

use super::Oracle;
use super::power::{Standing, UNDER_WAY};
use super::publication::{Publication, PublicationId};
use crate::client::NEVER;
use crate::link::{Link, LinkId};

/// How much later than due a will may be, in milliseconds.
const LATE: u64 = 1_100;

/// Names a will.
pub(crate) type WillId = usize;

/// A will as its client wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WillPlan {
    pub(crate) topic: usize,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// In seconds.
    pub(crate) delay: u32,
}

/// What is known of a will.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WillModel {
    pub(super) publication: PublicationId,
    pub(super) client: usize,
    delay: u32,
    /// What its session's is, once it is armed.
    expiry: u32,
    pub(super) fate: Fate,
}

/// What becomes of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its connection was not let in yet.
    Unknown,
    /// Its connection lasts.
    Armed,
    /// It is published at this time, unless its client comes back.
    Due { at: u64 },
    /// It must not be published.
    Void,
    /// Its client came back at about the time when it was due.
    Uncertain,
}

impl Oracle {
    /// A CONNECT with a will.
    pub(crate) fn will_is_set(&mut self, client: usize, link: LinkId, plan: WillPlan) -> WillId {
        let publication = self.add_publication(Publication {
            publisher: client,
            topic: plan.topic,
            qos: plan.qos,
            retain: plan.retain,
            clears: false,
            is_will: true,
            sends: 1,
            first_sent: None,
            sent_on: link,
            accepted: None,
            accepted_at: 0,
            is_in_memory: self.in_memory.contains(&link),
            is_unpromised: self.in_memory.contains(&link),
            is_routed_again: false,
            is_refused: false,
        });
        let (delay, fate) = (plan.delay, Fate::Unknown);
        self.wills.push(WillModel { publication, client, delay, expiry: 0, fate });
        self.wills.len() - 1
    }

    pub(crate) fn will_publication(&self, will: WillId) -> PublicationId {
        self.wills[will].publication
    }

    pub(super) fn will_is_armed(&mut self, will: Option<WillId>, expiry: u32) {
        if let Some(will) = will {
            (self.wills[will].fate, self.wills[will].expiry) = (Fate::Armed, expiry);
        }
    }

    /// Its connection has ended.
    pub(super) fn connection_of_will_ended(&mut self, link: &Link, quietly: bool) {
        let step = self.next_step();
        let Some(will) = link.will else { return };
        let model = &mut self.wills[will];
        if model.fate != Fate::Armed {
            return;
        }
        if quietly {
            model.fate = Fate::Void;
            return;
        }
        let expiry = if link.session_expiry == NEVER { u32::MAX } else { link.session_expiry };
        let delay = u64::from(model.delay.min(expiry)) * 1_000;
        model.fate = Fate::Due { at: self.now + delay };
        let publication = model.publication;
        self.publication_mut(publication).first_sent = Some(step);
    }

    /// The power goes.
    pub(super) fn wills_before_cut(&mut self, standings: &[Standing]) {
        let now = self.now;
        for at in 0..self.wills.len() {
            let will = self.wills[at];
            let standing = standings.get(will.client).copied().unwrap_or_default();
            let message = self.publication(will.publication);
            let is_kept = message.retain || message.qos > QoS::AtMostOnce;
            let is_doubtful = match will.fate {
                Fate::Unknown => standing.is_unclear,
                Fate::Armed => standing.is_unclear || !is_kept || message.is_in_memory,
                // Perhaps the store does not know that its connection has ended: then it is due
                // later, and its client may be back by then.
                Fate::Due { .. } if message.is_in_memory => true,
                Fate::Due { at } if at <= now => {
                    let is_lost = !is_kept && now < at + UNDER_WAY;
                    let is_later = standing.is_unsettled && will.delay > 0;
                    is_lost || is_later || standing.is_unclear
                }
                Fate::Due { .. } => standing.is_unclear || standing.is_unsettled,
                Fate::Void => standing.is_unsettled,
                Fate::Uncertain => false,
            };
            if is_doubtful {
                self.wills[at].fate = Fate::Uncertain;
                self.begin_will(will.publication);
            }
        }
    }

    /// The broker has begun again, and whoever was connected is not any more.
    pub(super) fn wills_behind_cut(&mut self, cut: u64) {
        let now = self.now;
        for at in 0..self.wills.len() {
            let WillModel { publication, delay, expiry, fate, .. } = self.wills[at];
            match fate {
                Fate::Armed => {
                    let delay = u64::from(delay.min(expiry)) * 1_000;
                    self.wills[at].fate = Fate::Due { at: now + delay };
                    self.begin_will(publication);
                }
                // It came due while nobody was there, or before, if the clock was set back.
                Fate::Due { at: due } if (due > cut) == (due < now) => {
                    self.wills[at].fate = Fate::Due { at: now };
                }
                _ => {}
            }
        }
    }

    /// From now on it may be published.
    fn begin_will(&mut self, id: PublicationId) {
        let step = self.next_step();
        self.publication_mut(id).first_sent.get_or_insert(step);
    }

    /// The client is back: what was not due yet is void, if its session goes on.
    pub(super) fn will_of_next_connection(
        &mut self,
        client: usize,
        present: bool,
        is_unclear: bool,
    ) {
        let now = self.now;
        for will in self.wills.iter_mut().filter(|will| will.client == client) {
            let Fate::Due { at } = will.fate else { continue };
            if !present {
                // It was due with the end of its session, if not before.
                will.fate = Fate::Due { at: at.min(now) };
            } else if is_unclear && now < at + LATE {
                // A CONNECT in between may have begun the session anew.
                will.fate = Fate::Uncertain;
            } else if now + LATE < at {
                will.fate = Fate::Void;
            } else if now < at + LATE && will.delay > 0 {
                will.fate = Fate::Uncertain;
            }
        }
    }

    /// At the end: which wills must, and must not, have been published.
    pub(super) fn must_be_published(&self, id: PublicationId) -> Option<bool> {
        let will = self.wills.iter().find(|will| will.publication == id)?;
        match will.fate {
            Fate::Due { at } => (at + LATE < self.now).then_some(true),
            Fate::Void => Some(false),
            Fate::Unknown | Fate::Armed => Some(false),
            Fate::Uncertain => None,
        }
    }

    pub(super) fn check_wills(&mut self) {
        for at in 0..self.wills.len() {
            let id = self.wills[at].publication;
            let got = self.sessions.iter().any(|session| session.got.contains_key(&id));
            if got && self.must_be_published(id) == Some(false) {
                let fate = self.wills[at].fate;
                let what = format!("the will {} was published: {fate:?}", self.describe(id));
                self.find("[MQTT5-3.1.2-10] [MQTT5-3.1.3-9] [MQTT311-3.1.2-10]", what);
            }
        }
    }
}
