//! What to do after which failure.

use alloc::vec::Vec;

use noctule_packet::ReasonCode;

use crate::ended::{Ended, TransportEnd};

/// How a connection failed, as far as a policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The server refused the connection; before 5.0 with the code that its return code stands for.
    Refused(ReasonCode),
    /// The server ended the connection with DISCONNECT.
    ByServer(ReasonCode),
    /// The server did what it must not do.
    Fault,
    /// Our side of the authentication failed.
    Authentication,
    /// No CONNACK came in time.
    ConnectTimeout,
    /// Nothing came after a PINGREQ.
    PingTimeout,
    /// The transport ended.
    Transport(TransportEnd),
    /// Nothing failed.
    None,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Try the next endpoint, or wait if all have failed.
    Retry,
    /// Wait in any case, and longer.
    RetryLater,
    /// Try no more.
    Stop,
}

/// What to do after which failure: what the user says, or else what makes sense.
///
/// Of a session that was taken over it makes sense to come back if it may have been by a connection
/// of the client itself, one that it had given up without CONNACK, and else to stop.
///
/// ```
/// use noctule_client_core::{Failure, Reaction, ReconnectPolicy};
/// use noctule_packet::ReasonCode;
///
/// let taken_over = Failure::ByServer(ReasonCode::SessionTakenOver);
/// let policy = ReconnectPolicy::default();
/// assert_eq!(policy.reaction(taken_over), Reaction::Stop);
/// assert_eq!(policy.with(taken_over, Reaction::Retry).reaction(taken_over), Reaction::Retry);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconnectPolicy {
    exceptions: Vec<(Failure, Reaction)>,
}

impl Failure {
    /// What a policy sees of an end.
    pub fn of(ended: &Ended) -> Self {
        match ended {
            Ended::ByUser | Ended::Downgraded { .. } => Self::None,
            Ended::Refused(reason) => Self::Refused(reason.code),
            Ended::ByServer(reason) => Self::ByServer(reason.code),
            Ended::Fault(_) => Self::Fault,
            Ended::Authentication(_) => Self::Authentication,
            Ended::ConnectTimeout => Self::ConnectTimeout,
            Ended::PingTimeout => Self::PingTimeout,
            Ended::Transport(end) => Self::Transport(*end),
        }
    }

    /// What makes sense unless the user says otherwise.
    const fn reaction(self) -> Reaction {
        use ReasonCode as R;
        match self {
            Self::Authentication => Reaction::Stop,
            // Whoever has the session now would be thrown out, and come back.
            Self::ByServer(R::SessionTakenOver) => Reaction::Stop,
            Self::Refused(code) | Self::ByServer(code) => match code {
                // Nothing changes by asking again.
                R::UnsupportedProtocolVersion
                | R::ClientIdentifierNotValid
                | R::BadUserNameOrPassword
                | R::NotAuthorized
                | R::Banned
                | R::BadAuthenticationMethod => Reaction::Stop,
                R::ServerUnavailable
                | R::ServerBusy
                | R::ServerShuttingDown
                | R::QuotaExceeded
                | R::AdministrativeAction
                | R::MessageRateTooHigh
                | R::ConnectionRateExceeded
                | R::UseAnotherServer => Reaction::RetryLater,
                _ => Reaction::Retry,
            },
            Self::Fault
            | Self::ConnectTimeout
            | Self::PingTimeout
            | Self::Transport(_)
            | Self::None => Reaction::Retry,
        }
    }
}

impl ReconnectPolicy {
    /// The same, but for one failure.
    #[must_use]
    pub fn with(mut self, failure: Failure, reaction: Reaction) -> Self {
        self.exceptions.retain(|(known, _)| *known != failure);
        self.exceptions.push((failure, reaction));
        self
    }

    /// What to do after a failure.
    pub fn reaction(&self, failure: Failure) -> Reaction {
        self.said(failure).unwrap_or_else(|| failure.reaction())
    }

    /// What the user has said.
    pub(crate) fn said(&self, failure: Failure) -> Option<Reaction> {
        let mut exceptions = self.exceptions.iter();
        exceptions.find(|(known, _)| *known == failure).map(|(_, reaction)| *reaction)
    }
}
