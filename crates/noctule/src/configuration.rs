//! Everything that `noctule serve` can be told, as values.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use noctule_broker::{
    Broker, Builder, Durability, Features, Limits, Listener, Recovery, SharedStrategy, TextRules,
    Version,
};

use crate::data_directory;

/// Where the broker listens when nobody says otherwise. A machine without IPv6 has only the first.
pub(crate) const DEFAULT_ADDRESSES: [&str; 2] = ["127.0.0.1:1883", "[::1]:1883"];

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Json,
    Text,
}

/// The settings of `noctule serve`.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) listen: Vec<String>,
    pub(crate) listeners: Vec<ListenerConfiguration>,
    pub(crate) allow_anonymous: Option<bool>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) durability: Durability,
    pub(crate) sync_interval: Duration,
    pub(crate) recovery: Recovery,
    pub(crate) shards: Option<u16>,
    pub(crate) stop_deadline: Duration,
    pub(crate) log_level: tracing::Level,
    pub(crate) log_format: LogFormat,
    pub(crate) limits: Limits,
    pub(crate) features: Features,
    pub(crate) shared_strategy: SharedStrategy,
    pub(crate) text_rules: TextRules,
    pub(crate) system_interval_seconds: u32,
    pub(crate) response_information: Option<String>,
    pub(crate) close_on_refused_publish: bool,
}

/// A `[[listener]]` of a configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListenerConfiguration {
    pub(crate) address: String,
    pub(crate) versions: Option<Vec<Version>>,
    pub(crate) allow_anonymous: Option<bool>,
    pub(crate) durability: Option<Durability>,
    pub(crate) tell_durability: bool,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            listeners: Vec::new(),
            allow_anonymous: None,
            data: None,
            durability: Durability::Stored,
            sync_interval: Duration::from_millis(100),
            recovery: Recovery::default(),
            shards: None,
            stop_deadline: Duration::from_secs(10),
            log_level: tracing::Level::INFO,
            log_format: LogFormat::Text,
            limits: Limits::default(),
            features: Features::default(),
            shared_strategy: SharedStrategy::default(),
            text_rules: TextRules::default(),
            system_interval_seconds: 10,
            response_information: None,
            close_on_refused_publish: false,
        }
    }
}

impl Configuration {
    /// The broker that was described.
    ///
    /// # Errors
    ///
    /// If it is to have a directory and there is no place for one.
    pub(crate) fn builder(&self) -> Result<Builder> {
        let mut builder = Broker::builder()
            .recovery(self.recovery)
            .limits(self.limits.clone())
            .features(self.features.clone())
            .shared_strategy(self.shared_strategy)
            .text_rules(self.text_rules)
            .system_interval_seconds(self.system_interval_seconds)
            .close_on_refused_publish(self.close_on_refused_publish);
        if let Some(allow) = self.allow_anonymous {
            builder = builder.allow_anonymous(allow);
        }
        if self.durability == Durability::Interval {
            builder = builder.sync_interval(self.sync_interval);
        }
        if self.durability != Durability::Memory {
            builder = builder.data(self.data.clone().map_or_else(data_directory::by_default, Ok)?);
        }
        if let Some(shards) = self.shards {
            builder = builder.shards(shards);
        }
        if let Some(information) = &self.response_information {
            builder = builder.response_information(information.as_str());
        }
        if self.listen.is_empty() && self.listeners.is_empty() {
            let [first, second] = DEFAULT_ADDRESSES;
            return Ok(builder.listen(first).listen(Listener::new(second).optional(true)));
        }
        let plain = self.listen.iter().map(|address| Listener::new(address.as_str()));
        let detailed = self.listeners.iter().map(ListenerConfiguration::listener);
        Ok(plain.chain(detailed).fold(builder, Builder::listen))
    }
}

impl ListenerConfiguration {
    fn listener(&self) -> Listener {
        let mut listener = Listener::new(self.address.as_str());
        if let Some(versions) = &self.versions {
            listener = listener.versions(versions.iter().copied());
        }
        if let Some(allow) = self.allow_anonymous {
            listener = listener.allow_anonymous(allow);
        }
        if let Some(durability) = self.durability {
            listener = listener.durability(durability);
        }
        listener.tell_durability(self.tell_durability)
    }
}
