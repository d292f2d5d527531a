//! Figures: metrics that are kept, to be read at any time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::{Distribution, Histogram};
use crate::metrics::{Cause, Counter, Latency, Metrics};

/// Keeps what a client, or several, count and measure. Clones are the same figures.
///
/// It takes some 50 KiB, whatever is measured, and an update costs a few atomic additions.
///
/// ```
/// use noctule_client::{Client, Counter, Figures, Latency};
///
/// let figures = Figures::new();
/// let builder = Client::builder("mqtt://localhost").metrics(figures.clone());
/// // … and later:
/// let now = figures.snapshot();
/// println!("{} messages", now.count(Counter::MessagesReceived));
/// println!("pings: {:?}", now.latency(Latency::Ping).percentile(99.0));
/// println!("{now}");
/// ```
#[derive(Clone, Default)]
pub struct Figures(Arc<Kept>);

struct Kept {
    counters: Box<[AtomicU64]>,
    latencies: [Histogram; Latency::ALL.len()],
}

impl Default for Kept {
    fn default() -> Self {
        let counters = Counter::all().map(|_| AtomicU64::new(0)).collect();
        Self { counters, latencies: Default::default() }
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Figures").field(&self.snapshot()).finish()
    }
}

impl Figures {
    /// Figures of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted until now.
    pub fn count(&self, counter: Counter) -> u64 {
        let place = self.0.counters.get(place_of(counter));
        place.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// What was measured until now.
    pub fn latency(&self, latency: Latency) -> Distribution {
        self.histogram(latency).map(Histogram::read).unwrap_or_default()
    }

    /// Everything until now. While the client is at work, one figure may be a little newer than
    /// another.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            counters: self.0.counters.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            latencies: self.0.latencies.iter().map(Histogram::read).collect(),
        }
    }

    fn histogram(&self, latency: Latency) -> Option<&Histogram> {
        let at = Latency::ALL.iter().position(|known| *known == latency)?;
        self.0.latencies.get(at)
    }
}

impl Metrics for Figures {
    fn count(&self, counter: Counter, amount: u64) {
        if let Some(count) = self.0.counters.get(place_of(counter)) {
            count.fetch_add(amount, Ordering::Relaxed);
        }
    }

    fn latency(&self, latency: Latency, taken: Duration) {
        if let Some(histogram) = self.histogram(latency) {
            histogram.record(taken);
        }
    }
}

/// All figures at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    counters: Vec<u64>,
    latencies: Vec<Distribution>,
}

impl Snapshot {
    /// What was counted.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counters.get(place_of(counter)).copied().unwrap_or_default()
    }

    /// What was measured.
    pub fn latency(&self, latency: Latency) -> &Distribution {
        const NOTHING: &Distribution = &Distribution::NOTHING;
        let at = Latency::ALL.iter().position(|known| *known == latency);
        at.and_then(|at| self.latencies.get(at)).unwrap_or(NOTHING)
    }
}

impl fmt::Display for Snapshot {
    /// A line for each figure that is not zero.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for counter in Counter::all() {
            let count = self.count(counter);
            match counter.cause() {
                _ if count == 0 => {}
                None => writeln!(formatter, "{}: {count}", counter.name())?,
                Some(cause) => {
                    writeln!(formatter, "{} ({}): {count}", counter.name(), cause.name())?;
                }
            }
        }
        for latency in Latency::ALL {
            let measured = self.latency(latency);
            if measured.count() > 0 {
                writeln!(formatter, "{}: {measured}", latency.name())?;
            }
        }
        Ok(())
    }
}

/// Where a counter is kept, in the order of [`Counter::all`].
const fn place_of(counter: Counter) -> usize {
    const CAUSES: usize = Cause::ALL.len();
    match counter {
        Counter::AttemptsFailed(cause) => Counter::PLAIN.len() + cause as usize,
        Counter::ConnectionsLost(cause) => Counter::PLAIN.len() + CAUSES + cause as usize,
        Counter::ConnectAttempts => 0,
        Counter::Connections => 1,
        Counter::PacketsSent => 2,
        Counter::PacketsReceived => 3,
        Counter::BytesSent => 4,
        Counter::BytesReceived => 5,
        Counter::PublicationsAccepted => 6,
        Counter::PublicationsRefused => 7,
        Counter::PublicationsDelivered => 8,
        Counter::PublicationsRejected => 9,
        Counter::PublicationsIndeterminate => 10,
        Counter::PublicationsDropped => 11,
        Counter::Retransmissions => 12,
        Counter::MessagesReceived => 13,
        Counter::Redeliveries => 14,
        Counter::MessagesDropped => 15,
        Counter::MessagesUnclaimed => 16,
        Counter::MessagesFiltered => 17,
        Counter::Pings => 18,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use noctule_packet::QoS;

    use super::*;

    #[test]
    fn every_counter_has_a_place_of_its_own_in_order() {
        let places: Vec<usize> = Counter::all().map(place_of).collect();
        assert_eq!(places, (0..places.len()).collect::<Vec<_>>());
        let name = |counter: Counter| (counter.name(), counter.cause().map(Cause::name));
        let names: BTreeSet<_> = Counter::all().map(name).collect();
        assert_eq!(names.len(), places.len());
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, at);
        }
    }

    #[test]
    fn what_is_counted_and_measured_is_read_again() {
        let figures = Figures::new();
        let same = figures.clone();
        for (amount, counter) in (1..).zip(Counter::all()) {
            Metrics::count(&same, counter, amount);
        }
        let taken = Duration::from_millis(3);
        Metrics::latency(&same, Latency::Publish(QoS::ExactlyOnce), taken);
        let read = figures.snapshot();
        for (amount, counter) in (1..).zip(Counter::all()) {
            assert_eq!((read.count(counter), figures.count(counter)), (amount, amount));
        }
        let told = read.latency(Latency::Publish(QoS::ExactlyOnce));
        assert_eq!(told.longest(), Some(Duration::from_millis(3)));
        assert_eq!(read.latency(Latency::Publish(QoS::AtLeastOnce)).count(), 0);
    }

    #[test]
    fn a_snapshot_is_written_without_what_is_zero() {
        let figures = Figures::new();
        assert_eq!(figures.snapshot().to_string(), "");
        Metrics::count(&figures, Counter::Pings, 2);
        Metrics::count(&figures, Counter::ConnectionsLost(Cause::Broken), 1);
        Metrics::latency(&figures, Latency::Ping, Duration::from_millis(4));
        let text = "pings: 2\nconnections_lost (broken): 1\nping: 1 times, median 4ms, 90 % 4ms, \
                    99 % 4ms, longest 4ms\n";
        assert_eq!(figures.snapshot().to_string(), text);
    }
}
