//! Shared subscriptions: each message to one member.
//!
//! Stands for: a message goes to one member of the group, which has subscribed [MQTT5-4.8.2-4]; a
//! QoS 2 message that was sent to a member is never sent to another [MQTT5-4.8.2-5]; what a member
//! that is gone did not finish goes to another one.

use noctule_packet::QoS;

use super::Oracle;
use super::arrival::Arrived;
use super::publication::PublicationId;

impl Oracle {
    pub(super) fn arrived_by_group(
        &mut self,
        session: usize,
        id: PublicationId,
        arrived: &Arrived,
    ) {
        let client = arrived.client;
        let topics = self.topics.clone();
        let runs = &self.sessions[session].runs;
        let sent = self.publication(id).first_sent.unwrap_or(u64::MAX);
        // What waits for the group may be older than the member.
        let is_member = runs.iter().any(|run| {
            topics.is_match(run.filter, arrived.topic)
                && run.ended.is_none_or(|ended| ended >= sent)
        });
        if !is_member {
            let what = format!("client {client} got {} without a membership", self.describe(id));
            self.find("[MQTT5-4.8.2-4] [MQTT5-3.10.4-2]", what);
            return;
        }
        if arrived.retain {
            let what = format!("client {client} got {} as a replay", self.describe(id));
            self.find("[MQTT5-4.8.2-3]", what);
        }
        let got = self.sessions[session].got.entry(id).or_default();
        let was_there = std::mem::replace(&mut got.any, true);
        got.live += u32::from(!arrived.dup || !was_there);
        let copies: u32 = self.copies_in_group(id);
        let message = self.publication(id);
        let handed_on = match message.qos {
            // Every copy, whenever a member goes.
            QoS::AtLeastOnce => self.members_gone(id) * message.sends,
            QoS::AtMostOnce | QoS::ExactlyOnce => 0,
        };
        // What was assigned to a member when the power went may go to another one.
        let repeated = self.copies_of_cuts(message);
        if copies > message.copies_max() + handed_on && repeated == 0 {
            let what = format!("members of a group got {} {copies} times", self.describe(id));
            self.find("[MQTT5-4.8.2-4] [MQTT5-4.8.2-5]", what);
        }
    }

    fn copies_in_group(&self, id: PublicationId) -> u32 {
        self.sessions.iter().filter_map(|session| session.got.get(&id)).map(|got| got.live).sum()
    }

    /// How many members that may have had a message are gone: the broker may have begun a session
    /// anew without the client knowing yet.
    fn members_gone(&self, id: PublicationId) -> u32 {
        let topic = self.publication(id).topic;
        let mut gone = 0;
        for session in &self.sessions {
            let runs = session.runs.iter();
            let of_group = runs.filter(|run| self.topics.is_match(run.filter, topic));
            let leaves = of_group.clone().filter(|run| run.ending.is_some()).count() as u32;
            let left = of_group.count() > 0 && self.may_be_over(session);
            gone += leaves + u32::from(left);
        }
        gone
    }

    /// Whether the broker may have ended a session.
    fn may_be_over(&self, session: &super::session::SessionModel) -> bool {
        let client = &self.clients[session.client];
        session.is_over || session.number != client.sessions || client.online_since.is_none()
    }

    /// Whether a QoS 2 message may have died with a member.
    fn may_have_died(&self, id: PublicationId) -> bool {
        self.publication(id).qos == QoS::ExactlyOnce && self.members_gone(id) > 0
    }

    /// At the end, every message that had a member surely has reached one.
    pub(super) fn check_groups(&mut self) {
        for number in 0..self.publications.len() {
            let id = PublicationId(number as u32);
            let message = &self.publications[number];
            let topic = message.topic;
            if !self.topics.is_for_groups(topic)
                || message.qos == QoS::AtMostOnce
                || message.clears
                || message.accepted.is_none()
                || self.may_be_missing(message)
            {
                continue;
            }
            let had_member = self.sessions.iter().any(|session| {
                let mut runs = session.runs.iter();
                // With members in memory mode alone nothing is kept.
                let is_kept = !session.was_in_memory || self.copies_of_cuts(message) == 0;
                !session.is_over
                    && is_kept
                    && runs.any(|run| {
                        self.topics.is_match(run.filter, topic)
                            && run.ending.is_none()
                            && run.surely_covers(message)
                    })
            });
            if had_member && self.copies_in_group(id) == 0 && !self.may_have_died(id) {
                let filter = (0..self.topics.filters())
                    .find(|filter| self.topics.is_match(*filter, topic))
                    .map(|filter| self.topics.filter(filter).to_owned());
                let excused = filter.is_some_and(|filter| self.excuse(&filter, topic));
                if !excused && !self.excuse_by_member(topic) {
                    let what = format!("no member of the group got {}", self.describe(id));
                    self.find("[MQTT5-4.8.2-4] [MQTT5-4.3.2-1]", what);
                }
            }
        }
    }

    /// A member that was given a message may have lost it, and the broker says so.
    fn excuse_by_member(&mut self, topic: usize) -> bool {
        let found = self.dropped.iter_mut().find(|((_, of), count)| *of == topic && **count > 0);
        found.map(|(_, count)| *count -= 1).is_some()
    }
}
