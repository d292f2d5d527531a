//! What a session lets observe, made into what there is to count and how long it took. It is read
//! while the hub is locked, and told when it is not.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use noctule_client_core::{Hub, Observation, OperationId, OutcomeKind};
use noctule_packet::QoS;

use crate::clock;
use crate::metrics::{Counter, Latency, Metrics};

/// Knows when what is under way has begun.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    publications: BTreeMap<OperationId, (QoS, Instant)>,
    subscriptions: BTreeMap<OperationId, Instant>,
    /// The pings that have no answer, in order.
    pings: VecDeque<Instant>,
    /// What the hub's own counts were when they were read last.
    dropped: usize,
    unclaimed: u64,
}

/// What there is to tell.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    counts: [(u64, Option<Counter>); KINDS],
    latencies: Vec<(Latency, Duration)>,
}

/// How many kinds of counts a session gives rise to.
const KINDS: usize = 10;

impl Reading {
    fn count(&mut self, counter: Counter, amount: u64) {
        if amount == 0 {
            return;
        }
        let place = self.counts.iter_mut().find(|(_, known)| known.is_none_or(|it| it == counter));
        if let Some((sum, known)) = place {
            (*sum, *known) = (*sum + amount, Some(counter));
        }
    }

    /// Tells it. Nothing may be locked.
    pub(crate) fn tell(&self, metrics: &dyn Metrics) {
        for (sum, counter) in &self.counts {
            match counter {
                Some(counter) => metrics.count(*counter, *sum),
                None => break,
            }
        }
        for (latency, taken) in &self.latencies {
            metrics.latency(*latency, *taken);
        }
    }
}

impl Meter {
    /// What has come up since it was read last, if anything has.
    pub(crate) fn read(&mut self, hub: &mut Hub) -> Option<Reading> {
        let (dropped, unclaimed) = (hub.dropped_of_all(), hub.unclaimed());
        let mut observations = hub.session_mut().take_observations().peekable();
        let has_dropped = (dropped, unclaimed) != (self.dropped, self.unclaimed);
        if observations.peek().is_none() && !has_dropped {
            return None;
        }
        let (now, mut reading) = (clock::now(), Reading::default());
        for observation in observations {
            self.note(now, observation, &mut reading);
        }
        let more = u64::try_from(dropped.wrapping_sub(self.dropped)).unwrap_or(u64::MAX);
        reading.count(Counter::MessagesDropped, more);
        reading.count(Counter::MessagesUnclaimed, unclaimed.saturating_sub(self.unclaimed));
        (self.dropped, self.unclaimed) = (dropped, unclaimed);
        Some(reading)
    }

    fn note(&mut self, now: Instant, observation: Observation, reading: &mut Reading) {
        match observation {
            Observation::Accepted { operation, qos } => {
                self.publications.insert(operation, (qos, now));
                reading.count(Counter::PublicationsAccepted, 1);
            }
            Observation::Published { operation, outcome } => {
                reading.count(counter_of(outcome), 1);
                let is_answered = matches!(outcome, OutcomeKind::Delivered | OutcomeKind::Rejected);
                match self.publications.remove(&operation) {
                    Some((qos, begun)) if is_answered => {
                        reading.latencies.push((Latency::Publish(qos), now - begun));
                    }
                    _ => {}
                }
            }
            Observation::SubscribeBegun { operation } => {
                self.subscriptions.insert(operation, now);
            }
            Observation::Subscribed { operation, is_answered } => {
                match self.subscriptions.remove(&operation) {
                    Some(begun) if is_answered => {
                        reading.latencies.push((Latency::Subscribe, now - begun));
                    }
                    _ => {}
                }
            }
            Observation::Received { dup } => {
                reading.count(Counter::MessagesReceived, 1);
                reading.count(Counter::Redeliveries, u64::from(dup));
            }
            Observation::MessageDropped => reading.count(Counter::MessagesDropped, 1),
            Observation::PingSent => {
                self.pings.push_back(now);
                reading.count(Counter::Pings, 1);
            }
            Observation::PingAnswered => {
                if let Some(begun) = self.pings.pop_front() {
                    reading.latencies.push((Latency::Ping, now - begun));
                }
            }
            Observation::Disconnected => self.pings.clear(),
            _ => {}
        }
    }
}

const fn counter_of(outcome: OutcomeKind) -> Counter {
    match outcome {
        OutcomeKind::Delivered => Counter::PublicationsDelivered,
        OutcomeKind::Rejected => Counter::PublicationsRejected,
        OutcomeKind::Indeterminate => Counter::PublicationsIndeterminate,
        OutcomeKind::Dropped => Counter::PublicationsDropped,
    }
}
