//! The `$SYS` topics: what the broker says of itself, retained, at an interval.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use noctule_packet::{QoS, TopicName};
use noctule_session::Timestamp;

use crate::effect::Effects;
use crate::publication::Publication;
use crate::shard::Shard;
use crate::timers::Timer;

/// What the loads are computed from.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    at: Timestamp,
    received: u64,
    sent: u64,
}

impl Shard {
    /// Publishes all `$SYS` topics and sets the next time.
    pub(crate) fn publish_system_topics(&mut self, effects: &mut Effects) {
        let interval = self.settings.system_interval_seconds;
        if interval == 0 {
            return;
        }
        for (name, value) in self.system_values() {
            let topic = format!("$SYS/broker/{name}");
            let Ok(topic) = TopicName::new(&topic) else { continue };
            let mut publication = Publication::new(topic, value.as_bytes(), QoS::AtMostOnce);
            publication.retain = true;
            self.publish_on_behalf(publication, effects);
        }
        self.loads = Loads {
            at: self.now,
            received: self.statistics.publish_received,
            sent: self.statistics.publish_sent,
        };
        self.timers.set(self.now.plus_seconds(interval), Timer::System);
    }

    fn system_values(&self) -> Vec<(&'static str, String)> {
        let (counted, gauges) = (&self.statistics, self.gauges());
        let version = concat!("noctule ", env!("CARGO_PKG_VERSION"));
        let uptime = self.now.since(self.started).as_secs();
        let seconds = self.now.since(self.loads.at).as_secs().max(1);
        let disconnected = gauges.sessions - gauges.clients_connected.min(gauges.sessions);
        let received = (counted.publish_received - self.loads.received) / seconds;
        let sent = (counted.publish_sent - self.loads.sent) / seconds;
        [
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
            ("load/publish/received", received.to_string()),
            ("load/publish/sent", sent.to_string()),
        ]
        .into()
    }
}
