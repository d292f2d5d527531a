//! Metrics: what a client counts and measures, for whoever wants to have it.

use std::sync::Arc;
use std::time::Duration;

use noctule_client_core::{Ended, TransportEnd};
use noctule_packet::QoS;

/// Takes what a client counts and measures. [`Figures`](crate::Figures) is one that keeps it;
/// another one may pass it on to any library of metrics.
///
/// It is called by the client's own task or thread and by whoever publishes, subscribes and takes
/// messages: often, several at once, and never while anything of the client is locked. It should
/// return at once, and cannot wait for the client ([`OnOwnThread`](crate::OnOwnThread)). What it
/// panics with goes no further.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
///
/// use noctule_client::{Client, Counter, Latency, Metrics};
///
/// #[derive(Default)]
/// struct Losses(AtomicU64);
///
/// impl Metrics for Losses {
///     fn count(&self, counter: Counter, amount: u64) {
///         if let Counter::ConnectionsLost(_) = counter {
///             self.0.fetch_add(amount, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let losses = std::sync::Arc::new(Losses::default());
/// let builder = Client::builder("mqtt://localhost").metrics(losses.clone());
/// ```
pub trait Metrics: Send + Sync {
    /// Something has happened so many times more.
    fn count(&self, counter: Counter, amount: u64) {
        let _ = (counter, amount);
    }

    /// Something has taken so long.
    fn latency(&self, latency: Latency, taken: Duration) {
        let _ = (latency, taken);
    }
}

impl<M: Metrics + ?Sized> Metrics for Arc<M> {
    fn count(&self, counter: Counter, amount: u64) {
        (**self).count(counter, amount);
    }

    fn latency(&self, latency: Latency, taken: Duration) {
        (**self).latency(latency, taken);
    }
}

/// What a client counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Counter {
    /// Attempts to connect.
    ConnectAttempts,
    /// Attempts that came to a connection: the server has accepted it.
    Connections,
    /// Attempts that did not, each once.
    AttemptsFailed(Cause),
    /// Connections that have ended.
    ConnectionsLost(Cause),
    /// Control packets that were written.
    PacketsSent,
    /// Control packets that were read.
    PacketsReceived,
    /// Their bytes, without what TLS, WebSocket and TCP add.
    BytesSent,
    /// The same of those that were read.
    BytesReceived,
    /// Publications that were accepted from the user.
    PublicationsAccepted,
    /// Publications that were not: the caller has got an error.
    PublicationsRefused,
    /// Publications that ended as [`Outcome::Delivered`](crate::Outcome::Delivered). Of those that
    /// a store has brought from an earlier process, only the ends are counted.
    PublicationsDelivered,
    /// Publications that ended as [`Outcome::Rejected`](crate::Outcome::Rejected).
    PublicationsRejected,
    /// Publications that ended as [`Outcome::Indeterminate`](crate::Outcome::Indeterminate).
    PublicationsIndeterminate,
    /// Publications that ended as [`Outcome::Dropped`](crate::Outcome::Dropped).
    PublicationsDropped,
    /// PUBLISH packets that were sent again, with DUP.
    Retransmissions,
    /// Messages that have arrived.
    MessagesReceived,
    /// Of those, the ones of which the server says that it may have sent them before, with DUP.
    Redeliveries,
    /// Messages that a full stream did not take, as its
    /// [`on_full`](crate::generic::Subscribe::on_full) says: those of QoS 0, or those that have
    /// closed it. A message for several streams counts for each.
    MessagesDropped,
    /// Messages for which there was no stream.
    MessagesUnclaimed,
    /// Messages that an interceptor has filtered out.
    MessagesFiltered,
    /// Pings that were sent.
    Pings,
}

/// Why a connection has ended, or did not come about: [`Ended`] without the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The user wanted it.
    ByUser,
    /// The server refused it, or does not speak the version.
    Refused,
    /// The server sent DISCONNECT.
    ByServer,
    /// The server broke the protocol.
    Fault,
    /// Our side of the authentication failed.
    Authentication,
    /// No CONNACK came in time.
    ConnectTimeout,
    /// No answer to a ping came in time.
    PingTimeout,
    /// No transport could be opened.
    NotOpened,
    /// The server closed the transport without a word.
    Closed,
    /// The transport failed.
    Broken,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ByUser,
        Self::Refused,
        Self::ByServer,
        Self::Fault,
        Self::Authentication,
        Self::ConnectTimeout,
        Self::PingTimeout,
        Self::NotOpened,
        Self::Closed,
        Self::Broken,
    ];

    /// The same without the details.
    pub const fn of(ended: &Ended) -> Self {
        match ended {
            Ended::ByUser => Self::ByUser,
            Ended::Refused(_) | Ended::Downgraded { .. } => Self::Refused,
            Ended::ByServer(_) => Self::ByServer,
            Ended::Fault(_) => Self::Fault,
            Ended::Authentication(_) => Self::Authentication,
            Ended::ConnectTimeout => Self::ConnectTimeout,
            Ended::PingTimeout => Self::PingTimeout,
            Ended::Transport(TransportEnd::NotOpened) => Self::NotOpened,
            Ended::Transport(TransportEnd::Closed) => Self::Closed,
            Ended::Transport(TransportEnd::Failed) => Self::Broken,
        }
    }

    /// A name for it, in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ByUser => "by_user",
            Self::Refused => "refused",
            Self::ByServer => "by_server",
            Self::Fault => "fault",
            Self::Authentication => "authentication",
            Self::ConnectTimeout => "connect_timeout",
            Self::PingTimeout => "ping_timeout",
            Self::NotOpened => "not_opened",
            Self::Closed => "closed",
            Self::Broken => "broken",
        }
    }
}

impl Counter {
    /// The counters that are not divided by [`Cause`].
    pub(crate) const PLAIN: [Self; 19] = [
        Self::ConnectAttempts,
        Self::Connections,
        Self::PacketsSent,
        Self::PacketsReceived,
        Self::BytesSent,
        Self::BytesReceived,
        Self::PublicationsAccepted,
        Self::PublicationsRefused,
        Self::PublicationsDelivered,
        Self::PublicationsRejected,
        Self::PublicationsIndeterminate,
        Self::PublicationsDropped,
        Self::Retransmissions,
        Self::MessagesReceived,
        Self::Redeliveries,
        Self::MessagesDropped,
        Self::MessagesUnclaimed,
        Self::MessagesFiltered,
        Self::Pings,
    ];

    /// All of them, those with a [`Cause`] once for each.
    pub fn all() -> impl Iterator<Item = Self> {
        let failed = Cause::ALL.into_iter().map(Self::AttemptsFailed);
        let lost = Cause::ALL.into_iter().map(Self::ConnectionsLost);
        Self::PLAIN.into_iter().chain(failed).chain(lost)
    }

    /// A name for it, in small letters, without its cause.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectAttempts => "connect_attempts",
            Self::Connections => "connections",
            Self::AttemptsFailed(_) => "attempts_failed",
            Self::ConnectionsLost(_) => "connections_lost",
            Self::PacketsSent => "packets_sent",
            Self::PacketsReceived => "packets_received",
            Self::BytesSent => "bytes_sent",
            Self::BytesReceived => "bytes_received",
            Self::PublicationsAccepted => "publications_accepted",
            Self::PublicationsRefused => "publications_refused",
            Self::PublicationsDelivered => "publications_delivered",
            Self::PublicationsRejected => "publications_rejected",
            Self::PublicationsIndeterminate => "publications_indeterminate",
            Self::PublicationsDropped => "publications_dropped",
            Self::Retransmissions => "retransmissions",
            Self::MessagesReceived => "messages_received",
            Self::Redeliveries => "redeliveries",
            Self::MessagesDropped => "messages_dropped",
            Self::MessagesUnclaimed => "messages_unclaimed",
            Self::MessagesFiltered => "messages_filtered",
            Self::Pings => "pings",
        }
    }

    /// What it is divided by, if it is.
    pub const fn cause(self) -> Option<Cause> {
        match self {
            Self::AttemptsFailed(cause) | Self::ConnectionsLost(cause) => Some(cause),
            _ => None,
        }
    }
}

/// What a client measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Latency {
    /// From the beginning of an attempt to connect to a CONNACK that accepts it.
    Connect,
    /// From the acceptance of a publication to its end, if that is `Delivered` or `Rejected`, with
    /// all the time for which it waited; at QoS 0 the transport has taken it then.
    Publish(QoS),
    /// From the request for a subscription to SUBACK, with all the time for which it waited.
    Subscribe,
    /// From PINGREQ to PINGRESP.
    Ping,
}

impl Latency {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Publish(QoS::AtMostOnce),
        Self::Publish(QoS::AtLeastOnce),
        Self::Publish(QoS::ExactlyOnce),
        Self::Subscribe,
        Self::Ping,
    ];

    /// A name for it, in small letters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish(QoS::AtMostOnce) => "publish_qos_0",
            Self::Publish(QoS::AtLeastOnce) => "publish_qos_1",
            Self::Publish(QoS::ExactlyOnce) => "publish_qos_2",
            Self::Subscribe => "subscribe",
            Self::Ping => "ping",
        }
    }
}
