//! The table of all settings of `noctule serve`.

use std::time::Duration;

use noctule_broker::{Durability, QoS, Recovery, SharedStrategy, TextRules};

use crate::configuration::LogFormat;
use crate::key::Key;
use crate::value::{Kind, Value};

const U16: u64 = u16::MAX as u64;
const U32: u64 = u32::MAX as u64;
const BYTES_MAX: u64 = 1 << 50;
/// The largest packet that MQTT can say.
const PACKET_BYTES_MAX: u64 = 268_435_460;

/// A number of a struct in the configuration. The kind's range keeps it within the field's type.
macro_rules! number {
    ($table:ident . $field:ident, $kind:expr, $help:literal) => {
        Key {
            name: concat!(stringify!($table), ".", stringify!($field)),
            kind: $kind,
            help: $help,
            show: |configuration| Some(Value::Number(configuration.$table.$field.into())),
            set: |configuration, value| {
                if let Value::Number(number) = value
                    && let Ok(number) = number.try_into()
                {
                    configuration.$table.$field = number;
                }
            },
        }
    };
}

/// A yes or no of a struct in the configuration.
macro_rules! flag {
    ($table:ident . $field:ident, $help:literal) => {
        Key {
            name: concat!(stringify!($table), ".", stringify!($field)),
            kind: Kind::Flag,
            help: $help,
            show: |configuration| Some(Value::Flag(configuration.$table.$field)),
            set: |configuration, value| {
                if let Value::Flag(flag) = value {
                    configuration.$table.$field = flag;
                }
            },
        }
    };
}

/// A field that holds one of some values, each of which has a word.
macro_rules! choice {
    (
        $name:literal, |$configuration:ident| $place:expr,
        [$($word:literal => $value:path),+], $help:literal
    ) => {
        Key {
            name: $name,
            kind: Kind::Choice(&[$($word),+]),
            help: $help,
            show: |$configuration| {
                $(if $place == $value {
                    return Some(Value::Text($word.to_owned()));
                })+
                None
            },
            set: |$configuration, value| {
                if let Value::Text(text) = value {
                    $(if text == $word {
                        $place = $value;
                    })+
                }
            },
        }
    };
}

/// All settings, in the order of the help and of a printed configuration.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "listen",
        kind: Kind::List,
        help: "Where to listen: ADDRESS:PORT or unix:PATH; can be given more than once \
               [default: 127.0.0.1:1883 and [::1]:1883]",
        show: |configuration| {
            (!configuration.listen.is_empty()).then(|| Value::List(configuration.listen.clone()))
        },
        set: |configuration, value| {
            if let Value::List(addresses) = value {
                configuration.listen = addresses;
            }
        },
    },
    Key {
        name: "allow_anonymous",
        kind: Kind::Flag,
        help: "Whether clients may connect without proving who they are [default: only on \
               loopback addresses and Unix sockets; others need this said]",
        show: |configuration| configuration.allow_anonymous.map(Value::Flag),
        set: |configuration, value| {
            if let Value::Flag(flag) = value {
                configuration.allow_anonymous = Some(flag);
            }
        },
    },
    Key {
        name: "data",
        kind: Kind::Directory,
        help: "The directory in which everything is kept that outlives a connection; it is made if \
               there is none, for its owner only [default: /var/lib/noctule for root; for others \
               noctule in $XDG_STATE_HOME or ~/.local/state, on macOS in \
               ~/Library/Application Support]",
        show: |configuration| {
            let data = configuration.data.as_ref()?;
            Some(Value::Text(data.display().to_string()))
        },
        set: |configuration, value| {
            if let Value::Text(directory) = value {
                configuration.data = Some(directory.into());
            }
        },
    },
    choice!(
        "durability",
        |configuration| configuration.durability,
        [
            "local" => Durability::Stored,
            "interval" => Durability::Interval,
            "memory" => Durability::Memory
        ],
        "What an acknowledgement means: local, that it is on disk; interval, that a power cut \
         takes it if it comes before the next sync; memory, that it is in memory, and gone with \
         the process"
    ),
    Key {
        name: "sync_interval_milliseconds",
        kind: Kind::Count { min: 1, max: 60_000 },
        help: "How long after an acknowledgement the disk is synced, if durability is interval",
        show: |configuration| {
            let milliseconds = configuration.sync_interval.as_millis();
            Some(Value::Number(u64::try_from(milliseconds).unwrap_or(u64::MAX)))
        },
        set: |configuration, value| {
            if let Value::Number(milliseconds) = value {
                configuration.sync_interval = Duration::from_millis(milliseconds);
            }
        },
    },
    choice!(
        "recovery",
        |configuration| configuration.recovery,
        [
            "repair" => Recovery::Repair,
            "refuse" => Recovery::Refuse,
            "empty" => Recovery::Empty
        ],
        "What is done about damaged data: repair, set aside what cannot be read and start with the \
         rest; refuse, do not start; empty, set everything aside and start with nothing"
    ),
    Key {
        name: "shards",
        kind: Kind::Count { min: 1, max: 1_024 },
        help: "Threads that serve clients [default: the processors but one; one if there are two]",
        show: |configuration| configuration.shards.map(|shards| Value::Number(shards.into())),
        set: |configuration, value| {
            if let Value::Number(number) = value
                && let Ok(shards) = number.try_into()
            {
                configuration.shards = Some(shards);
            }
        },
    },
    Key {
        name: "stop_deadline",
        kind: Kind::Seconds { min: 0, max: 3_600 },
        help: "How long clients have to take their last bytes when the broker is stopped",
        show: |configuration| Some(Value::Number(configuration.stop_deadline.as_secs())),
        set: |configuration, value| {
            if let Value::Number(seconds) = value {
                configuration.stop_deadline = Duration::from_secs(seconds);
            }
        },
    },
    choice!(
        "log.level",
        |configuration| configuration.log_level,
        [
            "error" => tracing::Level::ERROR,
            "warn" => tracing::Level::WARN,
            "info" => tracing::Level::INFO,
            "debug" => tracing::Level::DEBUG,
            "trace" => tracing::Level::TRACE
        ],
        "The least important lines to log: error, warn, info, debug, trace"
    ),
    choice!(
        "log.format",
        |configuration| configuration.log_format,
        ["text" => LogFormat::Text, "json" => LogFormat::Json],
        "How log lines look: text, or json with one object a line"
    ),
    number!(
        limits.connections_max,
        Kind::Count { min: 1, max: U32 },
        "Connections at a time; lowered to what the limit of open descriptors leaves"
    ),
    Key {
        name: "limits.connect_timeout",
        kind: Kind::Seconds { min: 1, max: 3_600 },
        help: "How long a connection may take to send its CONNECT",
        show: |configuration| Some(Value::Number(configuration.limits.connect_timeout.as_secs())),
        set: |configuration, value| {
            if let Value::Number(seconds) = value {
                configuration.limits.connect_timeout = Duration::from_secs(seconds);
            }
        },
    },
    number!(
        limits.connect_bytes_max,
        Kind::Bytes { min: 64, max: PACKET_BYTES_MAX },
        "The size of a CONNECT packet"
    ),
    number!(
        limits.maximum_packet_size,
        Kind::Bytes { min: 64, max: PACKET_BYTES_MAX },
        "The size of any other packet from a client"
    ),
    number!(
        limits.client_id_bytes_max,
        Kind::Bytes { min: 23, max: U16 },
        "The length of a client identifier"
    ),
    number!(
        limits.user_properties_max,
        Kind::Count { min: 0, max: U16 },
        "User properties in one packet"
    ),
    number!(
        limits.receive_maximum,
        Kind::Count { min: 1, max: U16 },
        "QoS 1 and 2 messages that one client may have unacknowledged"
    ),
    number!(
        limits.unreleased_max,
        Kind::Count { min: 1, max: U16 },
        "QoS 2 messages of one session without their PUBREL, over all its connections; one more is \
         refused, or closes a 3.x connection"
    ),
    number!(
        limits.topic_alias_maximum,
        Kind::Count { min: 0, max: U16 },
        "Topic aliases that one client may define"
    ),
    number!(
        limits.topic_alias_outbound_max,
        Kind::Count { min: 0, max: U16 },
        "Topic aliases that the broker defines for one client, within what it allows"
    ),
    number!(
        limits.keep_alive_max_seconds,
        Kind::Seconds { min: 1, max: U16 },
        "The longest Keep Alive; below 65535 a client must have one"
    ),
    number!(
        limits.session_expiry_interval_max_seconds,
        Kind::Seconds { min: 0, max: U32 },
        "How long a session is kept at most without its client; 4294967295 is for ever"
    ),
    number!(
        limits.will_delay_interval_max_seconds,
        Kind::Seconds { min: 0, max: U32 },
        "The longest Will Delay Interval"
    ),
    number!(
        limits.stored_sessions_max,
        Kind::Count { min: 0, max: U32 },
        "Sessions that outlive their connections; whoever wants one more is not let in"
    ),
    number!(
        limits.message_expiry_interval_max_seconds,
        Kind::Seconds { min: 0, max: U32 },
        "How long a message waits at most, also if it is retained or says nothing about it; \
         4294967295 is for ever"
    ),
    number!(
        limits.will_bytes_max,
        Kind::Bytes { min: 0, max: PACKET_BYTES_MAX },
        "The size of a will: topic, payload and properties"
    ),
    number!(
        limits.in_flight_max,
        Kind::Count { min: 1, max: U16 },
        "QoS 1 and 2 messages on their way to one client, within its Receive Maximum"
    ),
    number!(
        limits.queue_messages_max,
        Kind::Count { min: 0, max: U32 },
        "Messages that wait for one session, or for one shared subscription"
    ),
    number!(
        limits.queue_bytes_max,
        Kind::Bytes { min: 0, max: BYTES_MAX },
        "Bytes of messages that wait for one session, or for one shared subscription"
    ),
    number!(
        limits.stored_bytes_max,
        Kind::Bytes { min: 0, max: BYTES_MAX },
        "Bytes of all messages that wait in the store; beyond it they are dropped as from a full \
         queue"
    ),
    number!(
        limits.outbound_bytes_max,
        Kind::Bytes { min: 1_024, max: U32 },
        "Bytes that wait to be written to one connection before QoS 0 is dropped"
    ),
    number!(
        limits.subscriptions_max,
        Kind::Count { min: 1, max: U32 },
        "Subscriptions of one session"
    ),
    number!(
        limits.forward_bytes_max,
        Kind::Bytes { min: 1, max: U32 },
        "Bytes of messages on their way from one shard to another before publishers wait"
    ),
    number!(
        limits.memory_bytes_max,
        Kind::Bytes { min: 1_024, max: BYTES_MAX },
        "Bytes of all messages that wait or are on their way; beyond it new work is turned away"
    ),
    number!(
        limits.connect_rate_max,
        Kind::Count { min: 1, max: U32 },
        "Clients let in per second; 4294967295 is no limit"
    ),
    number!(
        limits.publish_rate_max,
        Kind::Count { min: 1, max: U32 },
        "PUBLISH packets per second and client; whoever is faster is read more slowly"
    ),
    number!(
        limits.publish_bytes_rate_max,
        Kind::Bytes { min: 1, max: U32 },
        "Bytes of PUBLISH packets per second and client; as publish_rate_max"
    ),
    number!(
        limits.topic_levels_max,
        Kind::Count { min: 1, max: U16 },
        "Levels of a topic name or filter"
    ),
    number!(
        limits.topic_bytes_max,
        Kind::Bytes { min: 1, max: U16 },
        "Length of a topic name or filter"
    ),
    number!(limits.retained_messages_max, Kind::Count { min: 0, max: U32 }, "Retained messages"),
    number!(
        limits.retained_bytes_max,
        Kind::Bytes { min: 0, max: BYTES_MAX },
        "Bytes of retained messages"
    ),
    choice!(
        "features.maximum_qos",
        |configuration| configuration.features.maximum_qos,
        ["0" => QoS::AtMostOnce, "1" => QoS::AtLeastOnce, "2" => QoS::ExactlyOnce],
        "The highest QoS a client may publish with"
    ),
    flag!(features.retain_available, "Whether messages can be retained"),
    flag!(features.wildcard_subscription_available, "Whether filters may hold + and #"),
    flag!(
        features.subscription_identifiers_available,
        "Whether there are Subscription Identifiers"
    ),
    flag!(features.shared_subscription_available, "Whether there are shared subscriptions"),
    choice!(
        "shared_strategy",
        |configuration| configuration.shared_strategy,
        [
            "least_in_flight" => SharedStrategy::LeastInFlight,
            "round_robin" => SharedStrategy::RoundRobin,
            "random" => SharedStrategy::Random,
            "sticky_publisher" => SharedStrategy::StickyPublisher,
            "sticky_topic" => SharedStrategy::StickyTopic
        ],
        "How a member of a shared subscription is picked: least_in_flight, round_robin, random, \
         sticky_publisher, sticky_topic"
    ),
    choice!(
        "text_rules",
        |configuration| configuration.text_rules,
        ["strict" => TextRules::Strict, "lenient" => TextRules::Lenient],
        "Whether control characters and non-characters are refused in text: strict, lenient"
    ),
    Key {
        name: "system_interval_seconds",
        kind: Kind::Seconds { min: 0, max: 86_400 },
        help: "Seconds between two publications of the $SYS topics; 0 publishes none",
        show: |configuration| Some(Value::Number(configuration.system_interval_seconds.into())),
        set: |configuration, value| {
            if let Value::Number(seconds) = value
                && let Ok(seconds) = seconds.try_into()
            {
                configuration.system_interval_seconds = seconds;
            }
        },
    },
    Key {
        name: "response_information",
        kind: Kind::Text,
        help: "What a 5.0 client gets that asks for Response Information",
        show: |configuration| configuration.response_information.clone().map(Value::Text),
        set: |configuration, value| {
            if let Value::Text(text) = value {
                configuration.response_information = Some(text);
            }
        },
    },
    Key {
        name: "close_on_refused_publish",
        kind: Kind::Flag,
        help: "Whether a refused PUBLISH of a 3.x client closes its connection",
        show: |configuration| Some(Value::Flag(configuration.close_on_refused_publish)),
        set: |configuration, value| {
            if let Value::Flag(flag) = value {
                configuration.close_on_refused_publish = flag;
            }
        },
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::configuration::Configuration;

    #[test]
    fn every_flag_is_unique() {
        let flags: HashSet<_> = KEYS.iter().map(Key::flag).collect();
        assert_eq!(flags.len(), KEYS.len());
    }

    #[test]
    fn every_default_is_a_value_that_may_be_written() {
        let configuration = Configuration::default();
        for key in KEYS {
            if let Some(value) = (key.show)(&configuration) {
                assert_eq!(key.kind.check(value.clone()), Ok(value), "{}", key.name);
            }
        }
    }

    #[test]
    fn what_is_set_is_shown() {
        for key in KEYS {
            let values = match key.kind {
                Kind::Flag => vec![Value::Flag(true), Value::Flag(false)],
                Kind::Choice(words) => {
                    words.iter().map(|word| Value::Text((*word).to_owned())).collect()
                }
                Kind::Bytes { min, max }
                | Kind::Count { min, max }
                | Kind::Seconds { min, max } => {
                    vec![Value::Number(min), Value::Number(max)]
                }
                Kind::Directory | Kind::Text => vec![Value::Text("x".to_owned())],
                Kind::List => vec![Value::List(vec!["x".to_owned()])],
            };
            for value in values {
                let mut configuration = Configuration::default();
                (key.set)(&mut configuration, value.clone());
                assert_eq!((key.show)(&configuration), Some(value), "{}", key.name);
            }
        }
    }
}
