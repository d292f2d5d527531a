//! Fan-out: one publication to everybody whom the router named, in slices that leave others their
//! turn.

use alloc::sync::Arc;

use noctule_packet::{QoS, TopicName};

use crate::delivery::Terms;
use crate::effect::Effects;
use crate::fault::Refused;
use crate::forwarded::Forwarded;
use crate::input::ConnectionId;
use crate::message::Message;
use crate::origin::Origin;
use crate::persist::Awaiting;
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::router::{Match, Matches, Target};
use crate::session::Identifiers;
use crate::shard::Shard;

/// A fan-out that goes on in a later turn.
#[derive(Debug)]
pub(crate) struct FanOut {
    message: Arc<Message>,
    publisher: Publisher,
    origin: Origin,
    name: u64,
    matches: Matches,
    from: usize,
    then: Then,
}

/// What waits for the end of a fan-out.
#[derive(Debug, Default)]
pub(crate) struct Then {
    /// The connection that reads on.
    pub(crate) resume: Option<ConnectionId>,
    /// The acknowledgement that has one part less to wait for.
    pub(crate) acknowledge: Option<(SessionKey, u64)>,
    /// The forward that this was.
    pub(crate) forwarded: Option<Forwarded>,
    /// Whether it has led to something that must be durable first.
    pub(crate) is_recorded: bool,
}

impl FanOut {
    /// Passes over all who have unsubscribed since this began, and adds nobody: whoever has come
    /// since gets what is retained.
    // [MQTT5-3.10.4-2] [MQTT311-3.10.4-2]
    fn keep_subscribed(&mut self, subscribed: &Matches) {
        if Arc::ptr_eq(&self.matches, subscribed) {
            return;
        }
        let rest = self.matches.get(self.from..).unwrap_or_default();
        let is_due = |target| rest.binary_search_by_key(&target, |found| found.target).is_ok();
        let kept = subscribed.iter().filter(|found| is_due(found.target)).copied();
        self.matches = kept.collect();
        self.from = 0;
    }
}

impl Shard {
    /// Everybody who wants a message on this topic.
    pub(crate) fn route(&mut self, topic: TopicName<'_>) -> Matches {
        self.router.matches(topic)
    }

    /// Delivers to all targets, unless the same publisher's earlier publication waits for its turn:
    /// then this one waits behind it, so that nobody gets them the other way round. Where it
    /// stopped, if it did.
    // [MQTT5-4.6.0-5] [MQTT5-4.6.0-6] [MQTT311-4.6.0-5] [MQTT311-4.6.0-6]
    pub(crate) fn start_fan_out(
        &mut self,
        publication: &mut Publication<'_>,
        matches: &[Match],
        effects: &mut Effects,
    ) -> Option<usize> {
        if !self.work.is_empty()
            && self.work.iter().any(|earlier| earlier.publisher == publication.publisher)
        {
            return Some(0);
        }
        self.fan_out(publication, matches, 0, effects)
    }

    /// Delivers to the targets from `from` on, and records for whom it waits; where it stopped if
    /// the turn's share ran out.
    fn fan_out(
        &mut self,
        publication: &mut Publication<'_>,
        matches: &[Match],
        from: usize,
        effects: &mut Effects,
    ) -> Option<usize> {
        let rest = self.deliver_to_all(publication, matches, from, effects);
        self.record_queued(publication, effects);
        rest
    }

    fn deliver_to_all(
        &mut self,
        publication: &mut Publication<'_>,
        matches: &[Match],
        from: usize,
        effects: &mut Effects,
    ) -> Option<usize> {
        self.frames.clear();
        let several = matches.len() > 1;
        let mut at = from;
        while let Some(first) = matches.get(at) {
            if self.budget == 0 {
                return Some(at);
            }
            self.budget -= 1;
            let from = at;
            at += 1;
            while matches.get(at).is_some_and(|other| other.target == first.target) {
                at += 1;
            }
            let run = matches.get(from..at).unwrap_or_default();
            match first.target {
                // [MQTT5-4.5.0-1] [MQTT311-4.5.0-1]
                Target::Session(session) => {
                    if let Some(terms) = merge(session, run, publication) {
                        self.deliver(publication, &terms, several, effects);
                    }
                }
                Target::Group(group) => self.assign(group, publication, several, effects),
                // Told already, by `forward`.
                Target::Shard(_) => {}
            }
        }
        None
    }

    /// Keeps, routes and delivers what no packet of a connection brought: a will, `$SYS`.
    pub(crate) fn publish_on_behalf(
        &mut self,
        mut publication: Publication<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        self.number(&mut publication);
        if self.retained_elsewhere(&publication).is_none() {
            self.keep_retained(&mut publication, effects)?;
        }
        let matches = self.route(publication.topic);
        self.forward(&mut publication, &matches, None, effects);
        if let Some(from) = self.start_fan_out(&mut publication, &matches, effects) {
            self.defer(&mut publication, matches, from, Then::default());
        }
        Ok(())
    }

    /// Puts the rest of a fan-out behind all others that wait for a turn.
    pub(crate) fn defer(
        &mut self,
        publication: &mut Publication<'_>,
        matches: Matches,
        from: usize,
        then: Then,
    ) {
        self.fan_outs_deferred += 1;
        self.work.push_back(FanOut {
            message: publication.message(),
            publisher: publication.publisher,
            origin: publication.origin,
            name: publication.name,
            matches,
            from,
            then,
        });
    }

    /// Goes on with fan-outs that wait for a turn.
    pub(crate) fn go_on_fanning_out(&mut self, effects: &mut Effects) {
        while let Some(mut next) = self.work.pop_front() {
            let message = Arc::clone(&next.message);
            let before = self.recorded();
            let rest = Publication::of(&message, next.publisher).and_then(|mut publication| {
                (publication.origin, publication.name) = (next.origin, next.name);
                next.keep_subscribed(&self.route(publication.topic));
                self.fan_out(&mut publication, &next.matches, next.from, effects)
            });
            next.then.is_recorded |= self.recorded() > before;
            if let Some(from) = rest {
                next.from = from;
                self.work.push_front(next);
                return;
            }
            self.finish_fan_out(next.then, effects);
        }
    }

    fn finish_fan_out(&mut self, then: Then, effects: &mut Effects) {
        if let Some((session, answer)) = then.acknowledge {
            if then.is_recorded && !self.is_in_memory(session) {
                self.await_durable(Awaiting::Acknowledgement { session, answer }, effects);
            } else {
                self.on_answered(session, answer, None, effects);
            }
        }
        if let Some(forwarded) = then.forwarded {
            self.finish_recorded_forward(forwarded, then.is_recorded, effects);
        }
        let Some(id) = then.resume else { return };
        if let Some(connection) = self.connections.find_mut(id)
            && matches!(connection.parked, Some(crate::connection::Parked::FanOut))
        {
            connection.parked = None;
            self.resume(id, effects);
        }
    }
}

/// One delivery for all of a session's subscriptions that match: the highest QoS, every identifier.
fn merge(session: SessionKey, run: &[Match], publication: &Publication<'_>) -> Option<Terms> {
    let mut qos = None;
    let mut retain = false;
    let mut identifiers = Identifiers::new();
    for subscription in run {
        let options = subscription.options;
        // [MQTT5-3.8.3-3]
        if options.no_local && publication.publisher == Publisher::Session(session) {
            continue;
        }
        // [MQTT5-3.3.4-2] [MQTT311-3.3.5-1]
        qos = qos.max(Some(options.qos));
        retain |= options.retain_as_published;
        // [MQTT5-3.3.4-3] [MQTT5-3.3.4-4]
        if let Some(identifier) = subscription.identifier {
            identifiers.push(identifier.get());
        }
    }
    let qos: QoS = qos?;
    // [MQTT5-3.3.1-12] [MQTT5-3.3.1-13] [MQTT311-3.3.1-9] [MQTT31-3.3-2]
    let retain = retain && publication.retain;
    Some(Terms { session, qos, retain, identifiers, group: None })
}
