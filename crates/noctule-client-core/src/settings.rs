//! What a user decides about a session before it begins.

use core::fmt;
use core::time::Duration;

use noctule_packet::{TextRules, Version};

use crate::connect_options::ConnectOptions;
use crate::queue::QueueSettings;

/// Everything that is decided about a session before it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What CONNECT says.
    pub connect: ConnectOptions,
    /// The version to speak.
    pub version: Version,
    /// How far to go back, one version at a time, when the server refuses the version.
    pub lowest_version: Version,
    /// How the server's packets, and the user's, are judged.
    pub validation: Validation,
    /// Who acknowledges what arrives.
    pub acknowledgement: AcknowledgementMode,
    /// The queue of messages that wait.
    pub queue: QueueSettings,
    /// How a message that was interrupted is sent again.
    pub redelivery: Redelivery,
    /// Whether subscriptions that the server has forgotten are asked for again.
    pub subscribes_again: bool,
    /// A session that goes on brings messages before the program has subscribed to anything. Those
    /// of QoS 1 and 2 are kept for whoever asks first; and for so long after that first filter, for
    /// the filters that follow. Then what is for nobody is acknowledged and counted. Zero
    /// acknowledges it at once. Concerns a [`Hub`](crate::Hub).
    pub unclaimed_kept_for: Duration,
    /// The bounds of everything else.
    pub limits: Limits,
    /// How long the server may take from the first byte of CONNECT to CONNACK, and for a later
    /// authentication.
    pub connect_timeout: Option<Duration>,
    /// How long after an authentication with an own method the next one begins, on the same
    /// connection: before what was proven to the server expires there.
    pub reauthenticate_every: Option<Duration>,
    /// How long the server may be silent after a PINGREQ.
    pub ping_timeout: Option<Duration>,
    /// Whether what must survive the process is told, as [`Record`](crate::Record)s.
    pub is_durable: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect: ConnectOptions::default(),
            version: Version::V5_0,
            lowest_version: Version::V5_0,
            validation: Validation::default(),
            acknowledgement: AcknowledgementMode::default(),
            queue: QueueSettings::default(),
            redelivery: Redelivery::default(),
            subscribes_again: true,
            unclaimed_kept_for: Duration::from_secs(10),
            limits: Limits::default(),
            connect_timeout: Some(Duration::from_secs(30)),
            reauthenticate_every: None,
            ping_timeout: Some(Duration::from_secs(20)),
            is_durable: false,
        }
    }
}

/// How packets are judged. Bytes that are no packet end the connection in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// Everything that the specification forbids or discourages ends the connection, or is refused
    /// to the user: control characters and non-characters in any string, a payload that is not the
    /// UTF-8 that it claims to be, a session that we know nothing of.
    Strict,
    /// What the specification forbids ends the connection, or is refused to the user: of strings,
    /// those with U+0000 and those of more than 65,535 bytes.
    #[default]
    Standard,
    /// The same for what the user sends; what a server does wrong and can be lived with is told as
    /// [`Event::Tolerated`](crate::Event::Tolerated).
    Lenient,
}

impl Validation {
    pub(crate) const fn text_rules(self) -> TextRules {
        match self {
            Self::Strict => TextRules::Strict,
            Self::Standard | Self::Lenient => TextRules::Lenient,
        }
    }
}

/// Who acknowledges what arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcknowledgementMode {
    /// The session, as soon as a message is among its events; where it is durable
    /// ([`Settings::is_durable`]), not before the event is taken, so that no message is lost with a
    /// process that dies in between.
    #[default]
    Automatic,
    /// The user, with the token that comes with each message, of QoS 0 too: until then its bytes
    /// count as held.
    Manual,
}

/// How a message that was interrupted is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redelivery {
    /// Whether a QoS 2 message whose PUBREC had not come when the server forgot the session is
    /// published anew, at the risk that it arrives twice.
    pub exactly_once_anew: bool,
    /// Whether interrupted messages go one at a time from the first interruption on, so that one
    /// that the server cannot bear is not blamed on others. Otherwise they do so from the third on.
    pub is_slow: bool,
    /// How many connections in a row may end with a message, or a SUBSCRIBE or UNSUBSCRIBE, sent
    /// and unanswered before it is given up. Those do not count that the user has ended, nor those
    /// on which the server answered a message before it. Without, nothing is ever given up.
    pub interruptions_max: Option<u16>,
}

impl Default for Redelivery {
    fn default() -> Self {
        Self { exactly_once_anew: false, is_slow: false, interruptions_max: Some(16) }
    }
}

/// The bounds of everything but the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes wait for the transport before messages wait in the queue.
    pub outbound_bytes_max: usize,
    /// How many bytes of arrived messages may be with the user, or wait for the user, before
    /// reading stops.
    pub held_bytes_max: usize,
    /// How many messages of QoS 1 and 2 may be in flight, if the server allows as many.
    pub in_flight_max: u16,
    /// How many bytes of messages may be in flight; a single one may be larger.
    pub in_flight_bytes_max: usize,
    /// How many SUBSCRIBE and UNSUBSCRIBE may wait for their answer or for a connection.
    pub requests_max: usize,
    /// How many topic filters a SUBSCRIBE has that brings lost subscriptions back.
    pub filters_per_subscribe_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outbound_bytes_max: 256 * 1_024,
            held_bytes_max: 16 * 1_024 * 1_024,
            in_flight_max: 1_024,
            in_flight_bytes_max: 16 * 1_024 * 1_024,
            requests_max: 1_024,
            filters_per_subscribe_max: 64,
        }
    }
}

/// Settings that contradict each other or that no server could meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// A version that may be spoken has no such option.
    NotInVersion {
        /// What.
        option: &'static str,
        /// The version.
        version: Version,
    },
    /// Two options that exclude each other.
    Contradiction {
        /// One of them.
        option: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// A value that no packet may carry, or that nothing could work with.
    InvalidValue {
        /// What.
        option: &'static str,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInVersion { option, version } => {
                write!(f, "{option} is set, but MQTT {version} may be spoken and has none")
            }
            Self::Contradiction { option, other } => {
                write!(f, "{option} and {other} exclude each other")
            }
            Self::InvalidValue { option } => write!(f, "{option} has a value that cannot work"),
        }
    }
}

impl core::error::Error for SettingsError {}

impl Settings {
    /// Whether these settings can work.
    ///
    /// # Errors
    ///
    /// The first contradiction that is found, with the names of the options.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.lowest_version > self.version {
            let (option, other) = ("lowest_version", "version");
            return Err(SettingsError::Contradiction { option, other });
        }
        let limits = &self.limits;
        let bounds = [
            (limits.outbound_bytes_max, "limits.outbound_bytes_max"),
            (limits.held_bytes_max, "limits.held_bytes_max"),
            (limits.in_flight_max.into(), "limits.in_flight_max"),
            (limits.requests_max, "limits.requests_max"),
        ];
        // With such a bound nothing would ever move.
        if let Some((_, option)) = bounds.into_iter().find(|(bound, _)| *bound == 0) {
            return Err(SettingsError::InvalidValue { option });
        }
        for version in [Version::V3_1, Version::V3_1_1, Version::V5_0] {
            if (self.lowest_version..=self.version).contains(&version) {
                self.connect.check(version, self.validation.text_rules())?;
            }
        }
        Ok(())
    }
}
