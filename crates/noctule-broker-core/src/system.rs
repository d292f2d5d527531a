//! The `$SYS` topics: what the broker says of itself, retained, at an interval.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use noctule_packet::{QoS, TopicName};

use crate::effect::Effects;
use crate::event::DropCause;
use crate::input::ShardId;
use crate::publication::Publication;
use crate::shard::Shard;
use crate::shard_message::Body;
use crate::statistics::{Gauges, Statistics};
use crate::store_report::StoreReport;
use crate::timers::Timer;

/// A counter with its name.
type Counter = (&'static str, fn(&Statistics) -> u64);

/// What there are load averages of.
const LOADS: [Counter; 8] = [
    ("messages/received", |counted| counted.packets_received),
    ("messages/sent", |counted| counted.packets_sent),
    ("publish/received", |counted| counted.publish_received),
    ("publish/sent", |counted| counted.publish_sent),
    ("publish/dropped", |counted| counted.dropped_total()),
    ("bytes/received", |counted| counted.bytes_received),
    ("bytes/sent", |counted| counted.bytes_sent),
    ("connections", |counted| counted.connections_opened),
];

/// What all shards have counted, as far as they have answered.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    round: u64,
    missing: u16,
    sum: (Statistics, Gauges),
    /// What was said last of the store, if there is one.
    store: Option<StoreReport>,
}

impl Counters {
    pub(crate) fn note_store(&mut self, report: StoreReport) {
        self.store = Some(report);
    }
}

/// The load averages of all shards.
pub(crate) type Loads = crate::loads::Loads<{ LOADS.len() }>;

impl Shard {
    /// It is time for the `$SYS` topics, which the first shard publishes for all: it asks the
    /// others, and sets the next time.
    pub(crate) fn on_system_interval(&mut self, effects: &mut Effects) {
        let interval = self.settings.system_interval_seconds;
        if interval == 0 {
            return;
        }
        let others = self.settings.placement.shards() - 1;
        let (round, sum) = (self.counters.round + 1, (self.statistics.clone(), self.gauges()));
        let store = self.counters.store.take();
        self.counters = Counters { round, missing: others, sum, store };
        for to in 1..=others {
            effects.tell(ShardId(to), Body::AskCounters { round });
        }
        if others == 0 {
            self.publish_system_topics(effects);
        }
        self.timers.set(self.now.plus_seconds(interval), Timer::System);
    }

    /// Tells the first shard what was counted here.
    pub(crate) fn give_counters(&self, to: ShardId, round: u64, effects: &mut Effects) {
        let counters = Box::new((self.statistics.clone(), self.gauges()));
        effects.tell(to, Body::GiveCounters { round, counters });
    }

    /// Another shard has said what it has counted.
    pub(crate) fn on_counters(
        &mut self,
        round: u64,
        counters: &(Statistics, Gauges),
        effects: &mut Effects,
    ) {
        // Whoever answers late has been asked again.
        if round != self.counters.round {
            return;
        }
        self.counters.sum.0.add(&counters.0);
        self.counters.sum.1.add(&counters.1);
        self.counters.missing = self.counters.missing.saturating_sub(1);
        if self.counters.missing == 0 {
            self.publish_system_topics(effects);
        }
    }

    fn publish_system_topics(&mut self, effects: &mut Effects) {
        let statistics = &self.counters.sum.0;
        self.loads.update(self.now, LOADS.map(|(_, of)| of(statistics)));
        let values = self.system_values().into_iter().chain(self.load_values());
        for (name, value) in values.chain(self.drop_values()).chain(self.store_values()) {
            let topic = format!("$SYS/broker/{name}");
            let Ok(topic) = TopicName::new(&topic) else { continue };
            let mut publication = Publication::new(topic, value.as_bytes(), QoS::AtMostOnce);
            publication.retain = true;
            // No limit applies below `$SYS`.
            let _ = self.publish_on_behalf(publication, effects);
        }
    }

    fn system_values(&self) -> Vec<(Cow<'static, str>, String)> {
        let (counted, gauges) = &self.counters.sum;
        let version = concat!("noctule ", env!("CARGO_PKG_VERSION"));
        let uptime = self.now.since(self.started).as_secs();
        let disconnected = gauges.sessions - gauges.clients_connected.min(gauges.sessions);
        let values = [
            ("version", version.to_string()),
            ("uptime", format!("{uptime} seconds")),
            ("clients/connected", gauges.clients_connected.to_string()),
            ("clients/disconnected", disconnected.to_string()),
            ("clients/total", gauges.sessions.to_string()),
            ("messages/received", counted.packets_received.to_string()),
            ("messages/sent", counted.packets_sent.to_string()),
            ("publish/messages/received", counted.publish_received.to_string()),
            ("publish/messages/sent", counted.publish_sent.to_string()),
            ("publish/messages/dropped", counted.dropped_total().to_string()),
            ("bytes/received", counted.bytes_received.to_string()),
            ("bytes/sent", counted.bytes_sent.to_string()),
            ("subscriptions/count", gauges.subscriptions.to_string()),
            ("shared_subscriptions/count", gauges.shared_groups.to_string()),
            ("retained messages/count", gauges.retained_messages.to_string()),
            ("store/messages/count", gauges.queued_messages.to_string()),
            ("store/messages/bytes", gauges.queued_bytes.to_string()),
        ];
        values.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect()
    }

    /// What was not delivered, by its cause.
    fn drop_values(&self) -> Vec<(Cow<'static, str>, String)> {
        let dropped = DropCause::ALL.iter().zip(self.counters.sum.0.dropped);
        let name = |cause: &DropCause| format!("publish/messages/dropped/{}", cause.name());
        dropped.map(|(cause, count)| (Cow::Owned(name(cause)), count.to_string())).collect()
    }

    /// What is said of the store, if there is one.
    fn store_values(&self) -> Vec<(Cow<'static, str>, String)> {
        let Some(store) = &self.counters.store else { return Vec::new() };
        let (counted, gauges) = &self.counters.sum;
        let failing = store.failing.map_or(0, |time| time.as_secs());
        let values = [
            ("store/records/written", store.records.to_string()),
            ("store/bytes/written", store.bytes.to_string()),
            ("store/bytes/waiting", store.waiting_bytes.to_string()),
            ("store/log/bytes", store.log_bytes.to_string()),
            ("store/runs/bytes", store.runs_bytes.to_string()),
            ("store/state/bytes", store.state_bytes.to_string()),
            ("store/checkpoints", store.checkpoints.to_string()),
            ("store/checkpoint/last", micros(store.checkpoint_last)),
            ("store/checkpoint/longest", micros(store.checkpoint_longest)),
            ("store/commits", store.commits.to_string()),
            ("store/commits/failed", store.commits_failed.to_string()),
            ("store/commits/slow", store.commits_slow.to_string()),
            ("store/commit/last", micros(store.commit_last)),
            ("store/commit/longest", micros(store.commit_longest)),
            ("store/failing", format!("{failing} seconds")),
            ("store/sessions/count", gauges.sessions_stored.to_string()),
            ("store/queues/bytes", gauges.stored_bytes.to_string()),
            ("store/clients/memory", gauges.clients_in_memory.to_string()),
            ("store/clients/waiting", gauges.waiting_for_store.to_string()),
            ("store/publish/waited", counted.publish_unkept.to_string()),
        ];
        values.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect()
    }

    /// How much there is in a minute, over several windows.
    fn load_values(&self) -> Vec<(Cow<'static, str>, String)> {
        let loads = LOADS.iter().enumerate();
        loads
            .flat_map(|(place, (name, _))| {
                self.loads.averages(place).map(move |(window, average)| {
                    (Cow::Owned(format!("load/{name}/{window}")), format!("{average:.2}"))
                })
            })
            .collect()
    }
}

fn micros(time: Duration) -> String {
    format!("{} microseconds", time.as_micros())
}
