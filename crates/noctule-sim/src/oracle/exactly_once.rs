//! No copy too many.
//!
//! Stands for: a QoS 2 message is passed on once, however often it is sent [MQTT5-4.3.3-10]
//! [MQTT5-4.3.3-13] [MQTT311-4.3.3-2], and reaches each subscriber once; a message that is sent
//! again has DUP set and its first packet identifier [MQTT5-3.3.1-1] [MQTT5-4.4.0-1]
//! [MQTT311-4.4.0-1]; a subscriber gets a message once, not live and from what is retained.

use noctule_packet::QoS;

use super::Oracle;
use super::arrival::{Arrived, Kind};
use super::publication::PublicationId;

impl Oracle {
    pub(super) fn count_copies(
        &mut self,
        session: usize,
        id: PublicationId,
        arrived: &Arrived,
        kind: Kind,
    ) {
        let got = self.sessions[session].got.entry(id).or_default();
        let was_there = std::mem::replace(&mut got.any, true);
        // A repetition is no copy, except of what never came. One with QoS 2 that comes here was
        // done already.
        let counts = !arrived.dup || !was_there || arrived.qos == QoS::ExactlyOnce;
        match kind {
            Kind::Live | Kind::Either if counts => {
                got.live += 1;
                got.exactly_once += u32::from(arrived.qos == QoS::ExactlyOnce);
            }
            Kind::Replay if counts => got.replayed += 1,
            Kind::Live | Kind::Either | Kind::Replay => {}
        }
        let got = *got;
        let message = self.publication(id);
        // What is delivered with QoS 1 may be repeated behind a power cut, and what is for QoS 0
        // may be routed again.
        let repeated = self.copies_of_cuts(message);
        // Of what a session got in memory mode the store knows nothing, nor of what was sent in it
        // before that is with all.
        let is_unknown = message.is_in_memory && self.was_cut_meanwhile(message)
            || message.is_routed_again && self.sessions[session].was_in_memory;
        let once = message.copies_max() + if is_unknown { repeated } else { 0 };
        let is_repeated = got.live > message.copies_max() + repeated || got.exactly_once > once;
        if kind == Kind::Live && is_repeated {
            let (client, sends) = (arrived.client, message.sends);
            let what = format!(
                "client {client} got {} {} times, sent {sends} times",
                self.describe(id),
                got.live
            );
            self.find("[MQTT5-4.3.3-10] [MQTT5-4.3.3-13] [MQTT311-4.3.3-2] [MQTT5-3.3.1-1]", what);
        }
        let was_cut = self.copies_of_cuts(self.publication(id)) > 0;
        if got.live > 0 && got.replayed > 0 && self.publication(id).copies_max() == 1 && !was_cut {
            self.check_not_both(session, id, arrived);
        }
    }

    /// One subscription that was made once gets a message live or as a replay.
    fn check_not_both(&mut self, session: usize, id: PublicationId, arrived: &Arrived) {
        let topics = self.topics.clone();
        let runs = &self.sessions[session].runs;
        let mut matching = runs.iter().filter(|run| topics.is_match(run.filter, arrived.topic));
        let Some(only) = matching.next() else { return };
        let once = only.rounds.len() == 1 && only.is_first && matching.next().is_none();
        if once && !only.rounds.iter().any(|round| round.asked.retain_as_published) {
            let message = self.describe(id);
            let what = format!("client {} got {message} live and replayed", arrived.client);
            self.find("[MQTT5-3.3.1-9] [MQTT5-3.8.4-4]", what);
        }
    }

    /// A PUBLISH under a QoS 2 packet identifier that is not released.
    pub(crate) fn repeated(&mut self, arrived: &Arrived, known: PublicationId) {
        self.next_step();
        // Of what stands further behind than its client takes at a time, a broker that has lost its
        // power does not know that it was sent.
        let is_repetition = arrived.dup;
        if arrived.publication != Some(known) || !is_repetition {
            let what = format!(
                "client {} got {:?} under the packet identifier of {}, which is not released",
                arrived.client,
                arrived.publication,
                self.describe(known)
            );
            self.find("[MQTT5-2.2.1-4] [MQTT5-4.3.3-1] [MQTT311-2.3.1-4]", what);
        }
    }
}
