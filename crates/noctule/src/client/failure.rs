//! Why a client ends without having done everything: one line for people, one exit status for
//! programs.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use noctule_client::transport::TransportError;
use noctule_client::{
    Client, ConnectError, Ended, Reaction, ReasonCode, ReconnectPolicy, StopReason,
};

/// The documented exit statuses, as they stand in the help.
pub(crate) const EXIT_STATUSES: &str = "\
Exit status:
  0  Everything that was asked for has happened
  1  Something on this machine failed, such as reading a file or writing the output
  2  The command line is wrong; nothing was tried
  3  There is no connection: name, network, TLS, proxy, or a server that is not there
  4  The server refused this client: user name, password, certificate or client identifier
  5  The server refused a topic, a subscription or a message
  6  The time of -W was over
  7  Not everything was delivered or received
  130, 143  Interrupted by SIGINT or SIGTERM before everything had happened";

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// This machine does not do what it should.
    Local,
    /// The command line is wrong.
    Usage,
    /// There is no connection.
    Connection,
    /// The server does not want this client.
    Refused,
    /// The server does not want this topic, or this message.
    Topic,
    /// The time is over.
    TimeOut,
    /// Something is missing.
    Undelivered,
    /// A signal with this number came first.
    Interrupted(u8),
}

impl Status {
    const fn code(self) -> u8 {
        match self {
            Self::Local => 1,
            Self::Usage => 2,
            Self::Connection => 3,
            Self::Refused => 4,
            Self::Topic => 5,
            Self::TimeOut => 6,
            Self::Undelivered => 7,
            Self::Interrupted(signal) => 128 + signal,
        }
    }
}

/// Why a client ends without having done everything.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// One line; nothing, if nobody needs to be told.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, message)
    }

    pub(crate) fn local(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(Status::Local, format!("{what}: {error}"))
    }

    /// Why a client that makes no connection any more does not.
    pub(crate) fn of_connect(error: &ConnectError) -> Self {
        match error {
            ConnectError::Stopped(reason) => Self::of_stop(reason),
            // Nothing was tried, so what is wrong is what was asked for.
            other => Self::usage(other.to_string()),
        }
    }

    fn of_stop(reason: &StopReason) -> Self {
        let status = match reason {
            StopReason::Ended(ended) => match ended.server_reason() {
                Some(said) if is_about_us(said.code) && matches!(**ended, Ended::Refused(_)) => {
                    Status::Refused
                }
                Some(said) if REFUSED_REQUESTS.contains(&said.code) => Status::Topic,
                _ if matches!(**ended, Ended::Authentication(_)) => Status::Refused,
                _ => Status::Connection,
            },
            _ => Status::Connection,
        };
        let advice = match reason {
            StopReason::Transport(error) => advice_on_transport(error),
            StopReason::Ended(ended) => advice_on_end(ended),
            _ => "",
        };
        Self::new(status, format!("{reason}{advice}"))
    }

    /// The same failure of a client that has stopped by itself, with what `otherwise` says if it
    /// has not.
    pub(crate) async fn of_closed(client: &Client) -> Self {
        match client.connected().await {
            Err(error) => Self::of_connect(&error),
            Ok(_) => Self::new(Status::Connection, "the client has ended"),
        }
    }

    /// Says it, and gives the exit status.
    pub(crate) fn report(&self, program: &str, is_quiet: bool) -> ExitCode {
        if !is_quiet && !self.message.is_empty() {
            say(program, &self.message);
        }
        ExitCode::from(self.status.code())
    }
}

/// Writes a line for people.
pub(crate) fn say(program: &str, message: impl fmt::Display) {
    // What a server says may hold line breaks, and what moves a terminal's cursor.
    let line = message.to_string().replace(char::is_control, " ");
    // If nobody can read it, the exit status still tells.
    let _ = writeln!(io::stderr(), "{program}: {line}");
}

/// Whether a refusal is about who we are, and not about how the server is.
const fn is_about_us(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::BadUserNameOrPassword
            | ReasonCode::NotAuthorized
            | ReasonCode::ClientIdentifierNotValid
            | ReasonCode::Banned
            | ReasonCode::BadAuthenticationMethod
    )
}

/// What a server says in DISCONNECT to whom it has refused something: it would refuse it again.
const REFUSED_REQUESTS: [ReasonCode; 14] = [
    ReasonCode::MalformedPacket,
    ReasonCode::ProtocolError,
    ReasonCode::ImplementationSpecificError,
    ReasonCode::NotAuthorized,
    ReasonCode::TopicFilterInvalid,
    ReasonCode::TopicNameInvalid,
    ReasonCode::PacketTooLarge,
    ReasonCode::QuotaExceeded,
    ReasonCode::PayloadFormatInvalid,
    ReasonCode::RetainNotSupported,
    ReasonCode::QosNotSupported,
    ReasonCode::SharedSubscriptionsNotSupported,
    ReasonCode::SubscriptionIdentifiersNotSupported,
    ReasonCode::WildcardSubscriptionsNotSupported,
];

/// After what to connect again: not after what would happen again.
pub(crate) fn policy() -> ReconnectPolicy {
    let stop = |policy: ReconnectPolicy, code: &ReasonCode| {
        policy.with(noctule_client::Failure::ByServer(*code), Reaction::Stop)
    };
    REFUSED_REQUESTS.iter().fold(ReconnectPolicy::default(), stop)
}

fn advice_on_transport(error: &TransportError) -> &'static str {
    match error {
        TransportError::Connect { .. } => "; check -h and -p, and that a broker listens there",
        TransportError::Srv(_) => "; check -h, or name a server with -h and -p instead of -S",
        TransportError::UnixSocket { .. } => "; check --unix, and that a broker listens there",
        TransportError::TimedOut { .. } => "; check -h, -p and the network",
        TransportError::Proxy { .. } => "; check --proxy",
        TransportError::Tls(_) => "; see --cafile, --cert, --key and --insecure",
        _ => "",
    }
}

fn advice_on_end(ended: &Ended) -> &'static str {
    match ended {
        Ended::Refused(said) => match said.code {
            ReasonCode::BadUserNameOrPassword | ReasonCode::NotAuthorized => "; check -u and -P",
            ReasonCode::ClientIdentifierNotValid => "; give another client identifier with -i",
            ReasonCode::UnsupportedProtocolVersion => "; try another version with -V",
            _ => "",
        },
        Ended::ByServer(said) if said.code == ReasonCode::SessionTakenOver => {
            "; another client has the same identifier, so give another one with -i"
        }
        Ended::ByServer(said) if REFUSED_REQUESTS.contains(&said.code) => {
            "; check the topic, the message, and what this user may do"
        }
        Ended::Transport(_) | Ended::Fault(_) => {
            "; check that MQTT is spoken at this port (with TLS it needs --cafile or \
             --tls-use-os-certs, and --cert if the server wants one; with WebSocket --ws)"
        }
        Ended::ConnectTimeout => "; check that MQTT is spoken at this port",
        _ => "",
    }
}
