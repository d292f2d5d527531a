//! What CONNECT says: owned, so that it can be said on every connection.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use noctule_packet::{
    Connect, ConnectProperties, QoS, TextRules, TopicName, UserProperties, Version, Will,
    WillProperties,
};

use crate::settings::SettingsError;
use crate::text::{are_texts, is_text};

/// What CONNECT says. The `Debug` form hides the password.
#[derive(Clone, PartialEq)]
pub struct ConnectOptions {
    /// The client identifier; empty asks the server to choose one.
    pub client_id: String,
    /// When an older session is thrown away.
    pub clean_start: CleanStart,
    /// Seconds between two packets of ours; 0 means without limit.
    pub keep_alive: u16,
    /// How long the session outlives a connection, in seconds. Before 5.0 there is only 0 or for
    /// ever.
    pub session_expiry_interval: u32,
    /// How many unacknowledged QoS 1 and 2 messages we take.
    pub receive_maximum: u16,
    /// The largest packet that we take.
    pub maximum_packet_size: u32,
    /// The highest topic alias that we take.
    pub topic_alias_maximum: u16,
    /// Whether we want Response Information.
    pub request_response_information: bool,
    /// Whether we want reason strings and user properties.
    pub request_problem_information: bool,
    /// The user properties.
    pub user_properties: UserProperties<'static>,
    /// The message to publish when a connection ends badly.
    pub will: Option<WillOptions>,
    /// The user name.
    pub user_name: Option<String>,
    /// The password.
    pub password: Option<Vec<u8>>,
}

/// When an older session is thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CleanStart {
    /// On the first connection, unless the session was restored; then never. Before 5.0 a session
    /// that outlives its connection is never thrown away, as that version cannot say both.
    #[default]
    First,
    /// On every connection.
    Always,
    /// Never. A session that the server still has is gone on with, although we know nothing of it.
    Never,
}

/// The will of a client.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WillOptions {
    /// Where to publish it.
    pub topic: Box<str>,
    /// The message itself.
    pub payload: Box<[u8]>,
    /// The quality of service to publish it with.
    pub qos: QoS,
    /// Whether to publish it as a retained message.
    pub retain: bool,
    /// Seconds between the end of the connection and the publication.
    pub delay_interval: Option<u32>,
    /// Whether the payload is UTF-8.
    pub payload_format_indicator: Option<bool>,
    /// The lifetime of the published message in seconds.
    pub message_expiry_interval: Option<u32>,
    /// What the payload is.
    pub content_type: Option<Box<str>>,
    /// Where to answer.
    pub response_topic: Option<Box<str>>,
    /// What to send along with the answer.
    pub correlation_data: Option<Box<[u8]>>,
    /// The user properties.
    pub user_properties: UserProperties<'static>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            client_id: String::new(),
            clean_start: CleanStart::First,
            keep_alive: 60,
            session_expiry_interval: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: 16 * 1_024 * 1_024,
            topic_alias_maximum: 16,
            request_response_information: false,
            request_problem_information: true,
            user_properties: UserProperties::new(),
            will: None,
            user_name: None,
            password: None,
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectOptions")
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("session_expiry_interval", &self.session_expiry_interval)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "hidden"))
            .finish_non_exhaustive()
    }
}

impl ConnectOptions {
    /// The CONNECT of these options, without authentication method and for this client identifier.
    pub(crate) fn packet<'a>(
        &'a self,
        version: Version,
        client_id: &'a str,
        clean_start: bool,
    ) -> Option<Connect<'a>> {
        let properties = ConnectProperties {
            session_expiry_interval: Some(self.session_expiry_interval).filter(|&it| it > 0),
            receive_maximum: Some(self.receive_maximum).filter(|&maximum| maximum < u16::MAX),
            maximum_packet_size: Some(self.maximum_packet_size),
            topic_alias_maximum: Some(self.topic_alias_maximum).filter(|&maximum| maximum > 0),
            request_response_information: self.request_response_information.then_some(true),
            request_problem_information: (!self.request_problem_information).then_some(false),
            user_properties: self.user_properties.clone(),
            authentication_method: None,
            authentication_data: None,
        };
        let will = match &self.will {
            Some(will) => Some(will.packet()?),
            None => None,
        };
        Some(Connect {
            version,
            clean_start,
            keep_alive: self.keep_alive,
            properties,
            client_id,
            will,
            user_name: self.user_name.as_deref(),
            password: self.password.as_deref(),
        })
    }

    /// Whether a version can say all of this.
    pub(crate) fn check(&self, version: Version, rules: TextRules) -> Result<(), SettingsError> {
        let invalid = |option| Err(SettingsError::InvalidValue { option });
        let is_text = |text: &str| is_text(rules, text);
        // [MQTT5-3.1.3-4] [MQTT311-3.1.3-4]
        if !is_text(&self.client_id) {
            return invalid("client_id");
        }
        // [MQTT5-3.1.3-12] [MQTT311-3.1.3-11]
        if self.user_name.as_deref().is_some_and(|name| !is_text(name)) {
            return invalid("user_name");
        }
        if self.password.as_ref().is_some_and(|it| it.len() > usize::from(u16::MAX)) {
            return invalid("password");
        }
        if self.receive_maximum == 0 {
            return invalid("receive_maximum");
        }
        if self.maximum_packet_size == 0 {
            return invalid("maximum_packet_size");
        }
        if !are_texts(rules, &self.user_properties) {
            return invalid("user_properties");
        }
        if let Some(will) = &self.will {
            will.check(version, rules)?;
        }
        if version.is_v5() { Ok(()) } else { self.check_without_properties(version) }
    }

    /// What 5.0 can say and earlier versions cannot.
    fn check_without_properties(&self, version: Version) -> Result<(), SettingsError> {
        let contradiction = |option, other| Err(SettingsError::Contradiction { option, other });
        // [MQTT311-3.1.2-22]
        if self.password.is_some() && self.user_name.is_none() {
            return contradiction("password", "no user_name");
        }
        // [MQTT311-3.1.3-7] [MQTT311-3.1.3-8]
        if self.client_id.is_empty() && self.session_expiry_interval > 0 {
            return contradiction("session_expiry_interval", "no client_id");
        }
        let missing = [
            (self.client_id.is_empty() && version == Version::V3_1, "no client_id"),
            (!self.user_properties.is_empty(), "user_properties"),
            (self.request_response_information, "request_response_information"),
            (self.receive_maximum != u16::MAX, "receive_maximum"),
        ];
        match missing.into_iter().find(|(is_there, _)| *is_there) {
            Some((_, option)) => Err(SettingsError::NotInVersion { option, version }),
            None => Ok(()),
        }
    }
}

impl WillOptions {
    /// `None` if a topic is none, which [`WillOptions::check`] has excluded.
    fn packet(&self) -> Option<Will<'_>> {
        let response_topic = match self.response_topic.as_deref() {
            Some(topic) => Some(TopicName::new(topic).ok()?),
            None => None,
        };
        Some(Will {
            qos: self.qos,
            retain: self.retain,
            properties: WillProperties {
                will_delay_interval: self.delay_interval,
                payload_format_indicator: self.payload_format_indicator,
                message_expiry_interval: self.message_expiry_interval,
                content_type: self.content_type.as_deref(),
                response_topic,
                correlation_data: self.correlation_data.as_deref(),
                user_properties: self.user_properties.clone(),
            },
            topic: TopicName::new(&self.topic).ok()?,
            payload: &self.payload,
        })
    }

    fn check(&self, version: Version, rules: TextRules) -> Result<(), SettingsError> {
        let invalid = |option| Err(SettingsError::InvalidValue { option });
        let is_text = |text: &str| is_text(rules, text);
        let is_topic = |topic: &str| is_text(topic) && TopicName::new(topic).is_ok();
        let length_max = usize::from(u16::MAX);
        // [MQTT5-3.1.3-11] [MQTT311-3.1.3-10]
        if !is_topic(&self.topic) {
            return invalid("will.topic");
        }
        if self.payload.len() > length_max {
            return invalid("will.payload");
        }
        if self.response_topic.as_deref().is_some_and(|topic| !is_topic(topic)) {
            return invalid("will.response_topic");
        }
        if self.content_type.as_deref().is_some_and(|text| !is_text(text)) {
            return invalid("will.content_type");
        }
        if self.correlation_data.as_ref().is_some_and(|data| data.len() > length_max) {
            return invalid("will.correlation_data");
        }
        if !are_texts(rules, &self.user_properties) {
            return invalid("will.user_properties");
        }
        let claims_text = self.payload_format_indicator == Some(true);
        let is_strict = rules == TextRules::Strict;
        if is_strict && claims_text && core::str::from_utf8(&self.payload).is_err() {
            return invalid("will.payload");
        }
        if version.is_v5() {
            return Ok(());
        }
        let missing = [
            (self.delay_interval.is_some(), "will.delay_interval"),
            (self.payload_format_indicator.is_some(), "will.payload_format_indicator"),
            (self.message_expiry_interval.is_some(), "will.message_expiry_interval"),
            (self.content_type.is_some(), "will.content_type"),
            (self.response_topic.is_some(), "will.response_topic"),
            (self.correlation_data.is_some(), "will.correlation_data"),
            (!self.user_properties.is_empty(), "will.user_properties"),
        ];
        match missing.into_iter().find(|(is_there, _)| *is_there) {
            Some((_, option)) => Err(SettingsError::NotInVersion { option, version }),
            None => Ok(()),
        }
    }
}
