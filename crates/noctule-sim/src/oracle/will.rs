//! Wills: sent when they are due, and only then.
//!
//! Stands for: a will is published when its connection ends without a DISCONNECT that says
//! otherwise [MQTT5-3.1.2-8] [MQTT5-3.14.4-3] [MQTT311-3.1.2-8] [MQTT311-3.14.4-3], after its delay
//! or with the end of its session, and not if its client has come back by then [MQTT5-3.1.3-9]; it
//! is never published twice.

use noctule_packet::QoS;

use super::Oracle;
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
            retain: plan.retain && !self.topics.is_for_groups(plan.topic),
            clears: false,
            is_will: true,
            sends: 1,
            first_sent: None,
            sent_on: link,
            accepted: None,
            is_refused: false,
        });
        let (delay, fate) = (plan.delay, Fate::Unknown);
        self.wills.push(WillModel { publication, client, delay, fate });
        self.wills.len() - 1
    }

    pub(crate) fn will_publication(&self, will: WillId) -> PublicationId {
        self.wills[will].publication
    }

    pub(super) fn will_is_armed(&mut self, will: Option<WillId>) {
        if let Some(will) = will {
            self.wills[will].fate = Fate::Armed;
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
