//! What holds for a shard at any time, as far as it shows from outside.

use noctule_broker_core::{Limits, Shard};

/// What an answer may take that is sent whatever waits already.
const ANSWERS_BYTES: usize = 8 * 1024;

pub(crate) fn check(shard: &Shard) {
    let limits = &shard.settings().limits;
    let gauges = shard.gauges();
    let (mut connected, mut subscriptions, mut queued, mut in_flight) = (0, 0, 0, 0);
    let (mut sessions, mut names) = (0, Vec::new());
    for client in shard.clients() {
        sessions += 1;
        connected += u64::from(client.connection.is_some());
        subscriptions += client.subscriptions as u64;
        queued += client.queued_messages;
        in_flight += client.in_flight_messages as u64;
        assert!(client.subscriptions <= limits.subscriptions_max as usize, "{client:?}");
        assert!(client.queued_messages <= limits.queue_messages_max.into(), "{client:?}");
        assert!(client.in_flight_messages <= usize::from(limits.in_flight_max), "{client:?}");
        let longest = limits.session_expiry_interval_max_seconds;
        assert!(client.session_expiry_interval <= longest, "{client:?}");
        names.push(client.client_id);
    }
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two sessions of one: {names:?}");
    assert_eq!(gauges.sessions, sessions);
    assert_eq!(gauges.clients_connected, connected);
    assert_eq!(gauges.subscriptions, subscriptions);
    assert_eq!(gauges.in_flight_messages, in_flight);
    assert!(gauges.clients_connected <= gauges.connections, "{gauges:?}");
    assert!(gauges.queued_messages >= queued, "{gauges:?}");
    assert!(gauges.queued_bytes >= gauges.queued_messages, "{gauges:?}");
    assert_eq!(gauges.queued_bytes == 0, gauges.queued_messages == 0, "{gauges:?}");
    assert!(gauges.retained_messages <= limits.retained_messages_max, "{gauges:?}");
    assert!(gauges.retained_bytes <= limits.retained_bytes_max, "{gauges:?}");
    assert_eq!(gauges.retained_bytes == 0, gauges.retained_messages == 0, "{gauges:?}");
}

/// How much may wait for one connection: messages up to the limit, answers up to twice that, and
/// the last of each may go beyond.
pub(crate) fn outbound_bytes_bound(limits: &Limits) -> usize {
    2 * limits.outbound_bytes_max as usize + 2 * limits.maximum_packet_size as usize + ANSWERS_BYTES
}
