//! What makes an attempt come to nothing before there is a connection.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use noctule_transport::TransportError;

use crate::credentials::CredentialsError;
use crate::error::StopReason;

/// Why an attempt has come to no connection.
#[derive(Clone, Debug)]
pub(crate) enum AttemptError {
    Transport(Arc<TransportError>),
    Credentials(Arc<CredentialsError>),
}

impl AttemptError {
    /// The same for whoever looks at it.
    pub(crate) fn told(&self) -> Arc<dyn Error + Send + Sync> {
        match self {
            Self::Transport(error) => Arc::clone(error) as _,
            Self::Credentials(error) => Arc::clone(error) as _,
        }
    }

    /// The same for a client that makes no other attempt.
    pub(crate) fn reason(&self) -> StopReason {
        match self {
            Self::Transport(error) => StopReason::Transport(Arc::clone(error)),
            Self::Credentials(error) => StopReason::Credentials(Arc::clone(error)),
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => fmt::Display::fmt(error, formatter),
            Self::Credentials(error) => fmt::Display::fmt(error, formatter),
        }
    }
}

impl From<TransportError> for AttemptError {
    fn from(error: TransportError) -> Self {
        Self::Transport(Arc::new(error))
    }
}

impl From<CredentialsError> for AttemptError {
    fn from(error: CredentialsError) -> Self {
        Self::Credentials(Arc::new(error))
    }
}
