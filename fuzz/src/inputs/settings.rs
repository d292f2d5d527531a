//! Settings with small limits, so that a few steps reach them.

use std::sync::Arc;
use std::time::Duration;

use noctule_broker_core::{
    Authentication, Authorization, Durability, ReadRules, Settings, SharedStrategy,
};
use noctule_packet::QoS;

use crate::choices::Choices;

const STRATEGIES: [SharedStrategy; 5] = [
    SharedStrategy::LeastInFlight,
    SharedStrategy::RoundRobin,
    SharedStrategy::Random,
    SharedStrategy::StickyPublisher,
    SharedStrategy::StickyTopic,
];

/// The settings of one run. A first byte of 0 takes the defaults, without `$SYS`.
pub(crate) fn settings(choices: &mut Choices<'_>) -> Settings {
    let mut settings = Settings::default();
    settings.system_interval_seconds = 0;
    let kind = choices.byte();
    if kind == 0 {
        return settings;
    }
    settings.shared_strategy = choices.pick(&STRATEGIES);
    if kind & 1 != 0 {
        settings.durability = Durability::Stored;
    }
    if kind & 2 != 0 {
        settings.authorization = Authorization::Ask;
    }
    if kind & 4 != 0 {
        settings.listeners[0].authentication = Authentication::Ask;
    }
    if kind & 8 != 0 {
        small_limits(&mut settings, choices);
    }
    if kind & 16 != 0 {
        settings.system_interval_seconds = 1;
    }
    if kind & 32 != 0 {
        features(&mut settings, choices);
    }
    settings.close_on_refused_publish = kind & 64 != 0;
    if kind & 128 != 0 {
        let may_read = |client_id: &str, topic: &str| client_id != "b" || topic != "a";
        settings.read_rules = Some(ReadRules(Arc::new(may_read)));
        settings.response_information = Some("answers/".into());
    }
    assert_eq!(settings.limits.check(), Ok(()));
    settings
}

fn features(settings: &mut Settings, choices: &mut Choices<'_>) {
    let bits = choices.byte();
    let features = &mut settings.features;
    features.maximum_qos = [QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::AtMostOnce, QoS::ExactlyOnce]
        [usize::from(bits & 3)];
    features.retain_available = bits & 4 == 0;
    features.wildcard_subscription_available = bits & 8 == 0;
    features.subscription_identifiers_available = bits & 16 == 0;
    features.shared_subscription_available = bits & 32 == 0;
}

fn small_limits(settings: &mut Settings, choices: &mut Choices<'_>) {
    let limits = &mut settings.limits;
    limits.connections_max = 1 + u32::from(choices.byte() % 6);
    limits.connect_timeout = Duration::from_secs(u64::from(choices.byte() % 4));
    limits.connect_bytes_max = 64 + u32::from(choices.byte());
    limits.maximum_packet_size = 64 + 8 * u32::from(choices.byte());
    limits.client_id_bytes_max = 23;
    limits.user_properties_max = u16::from(choices.byte() % 3);
    limits.receive_maximum = 1 + u16::from(choices.byte() % 4);
    limits.topic_alias_maximum = u16::from(choices.byte() % 3);
    limits.topic_alias_outbound_max = u16::from(choices.byte() % 3);
    limits.keep_alive_max_seconds = 1 + u16::from(choices.byte() % 32);
    limits.session_expiry_interval_max_seconds = u32::from(choices.byte());
    limits.will_delay_interval_max_seconds = u32::from(choices.byte() % 8);
    limits.in_flight_max = 1 + u16::from(choices.byte() % 4);
    limits.queue_messages_max = u32::from(choices.byte() % 6);
    limits.queue_bytes_max = 16 * u64::from(choices.byte());
    limits.outbound_bytes_max = 1_024 + 4 * u32::from(choices.byte());
    limits.subscriptions_max = 1 + u32::from(choices.byte() % 5);
    limits.topic_levels_max = 1 + u16::from(choices.byte() % 4);
    limits.topic_bytes_max = 1 + u16::from(choices.byte() % 16);
    limits.retained_messages_max = u64::from(choices.byte() % 4);
    limits.retained_bytes_max = 8 * u64::from(choices.byte());
}
