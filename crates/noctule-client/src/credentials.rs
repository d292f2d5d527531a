//! Credentials that are asked for anew at each attempt to connect.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use noctule_client_core::ConnectOptions;
use noctule_transport::Url;

/// A user name and a password. The `Debug` form hides the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user_name: Option<String>,
    /// The password, or a token.
    pub password: Option<Vec<u8>>,
}

impl Credentials {
    /// Those of a URL.
    pub(crate) fn of(url: &Url) -> Self {
        let user_name = url.user().map(str::to_owned);
        Self { user_name, password: url.password().map(<[u8]>::to_vec) }
    }

    /// Has CONNECT say them, in place of others.
    pub(crate) fn put_into(self, options: &mut ConnectOptions) {
        (options.user_name, options.password) = (self.user_name, self.password);
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "hidden"))
            .finish()
    }
}

/// What [`CredentialsProvider::credentials`] returns.
pub type CredentialsFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Credentials, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// Gives the credentials for one attempt to connect: a token that expires is renewed here.
pub trait CredentialsProvider: Send + Sync {
    /// The credentials for the attempt that is about to be made. An error is a failed attempt.
    fn credentials(&self) -> CredentialsFuture<'_>;
}

/// Why a [`CredentialsProvider`] gave no credentials for an attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// It has failed.
    #[error("there are no credentials: {0}")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
    /// It took too long.
    #[error("there were no credentials within {after:?}")]
    TimedOut {
        /// The time that it had.
        after: Duration,
    },
}
