//! What can go wrong, one type for each operation, with what to do where that is known.

use std::sync::Arc;

use noctule_client_core::{
    Doubt, DropCause, Ended, PublishRefused, ReauthenticateRefused, Remarks, RequestRefused,
    SettingsError,
};
use noctule_packet::{ReasonCode, TopicError};
use noctule_transport::{BuildError, TransportError, UrlError};
use thiserror::Error;

use crate::credentials::CredentialsError;
use crate::wait::OnOwnThread;

/// Why a client was not built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientBuildError {
    /// There is no URL.
    #[error("a client needs the URL of a server")]
    NoUrl,
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Options of the transport contradict each other.
    #[error(transparent)]
    Transport(#[from] BuildError),
    /// Options of the session contradict each other.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The topic of the will is none.
    #[error("the topic of the will {topic:?}: {source}")]
    WillTopic {
        /// What was given.
        topic: String,
        /// What is wrong with it.
        source: TopicError,
    },
    /// The store cannot be opened.
    #[cfg(feature = "store")]
    #[error(transparent)]
    Store(#[from] noctule_store::StoreError),
    /// The store has the session of another client.
    #[cfg(feature = "store")]
    #[error("the store has the session of client {stored:?}, not of {wanted:?}: use another one")]
    StoreOfAnother {
        /// Whose session it has.
        stored: String,
        /// Whose it should have.
        wanted: String,
    },
    /// The system gives no thread.
    #[cfg(feature = "thread")]
    #[error("cannot start the client's thread: {0}")]
    Thread(std::io::Error),
    /// A task can only be started inside a runtime.
    #[cfg(feature = "tokio")]
    #[error(
        "there is no tokio runtime here: call this from async code, or give one with `runtime`"
    )]
    NoRuntime,
}

/// Why a client makes no connection any more.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StopReason {
    /// It was shut down, or all its handles are gone.
    #[error("the client was shut down")]
    ShutDown,
    /// The server could not be reached, and the plan allows no other attempt.
    #[error(transparent)]
    Transport(Arc<TransportError>),
    /// There were no credentials for the attempt, and the plan allows no other one.
    #[error(transparent)]
    Credentials(Arc<CredentialsError>),
    /// The connection ended, or was refused, and the plan allows no other attempt.
    #[error("{0}")]
    Ended(Arc<Ended>),
    /// The client's own task or thread has ended before it.
    #[error("the client's task has ended: code that it called panicked, or its runtime is gone")]
    Abandoned,
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The client was not built.
    #[error(transparent)]
    Build(#[from] ClientBuildError),
    /// There will be no connection.
    #[error(transparent)]
    Stopped(Arc<StopReason>),
    /// There was none in time. It goes on being tried.
    #[error("there was no connection within {0:?}")]
    TimedOut(std::time::Duration),
    /// Nobody can wait for it here.
    #[error(transparent)]
    OnOwnThread(#[from] OnOwnThread),
}

/// Why a re-authentication has failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReauthenticateError {
    /// It cannot begin.
    #[error(transparent)]
    Refused(#[from] ReauthenticateRefused),
    /// The connection ended over it, or before it was done.
    #[error("{0}")]
    Ended(Arc<Ended>),
    /// The client has ended.
    #[error("the client was shut down")]
    Closed,
    /// Nobody can wait for it here.
    #[error(transparent)]
    OnOwnThread(#[from] OnOwnThread),
}

/// Why a message was not accepted. Nothing of it is kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic is none.
    #[error("topic {topic:?}: {source}")]
    Topic {
        /// What was given.
        topic: String,
        /// What is wrong with it.
        source: TopicError,
    },
    /// The session does not take it.
    #[error(transparent)]
    Refused(#[from] PublishRefused),
    /// An interceptor has refused it, for this reason of its own.
    #[error("an interceptor refused the message: {0}")]
    Intercepted(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store cannot keep anything at the moment. It is tried again by itself.
    #[cfg(feature = "store")]
    #[error("the store cannot keep the message: {0}")]
    Store(Arc<noctule_store::StoreError>),
    /// The store takes as much as it may.
    #[cfg(feature = "store")]
    #[error("the store is full: bytes_max = {maximum}")]
    StoreFull {
        /// The bytes that it may take.
        maximum: u64,
    },
    /// Nobody can wait for it here.
    #[error(transparent)]
    OnOwnThread(#[from] OnOwnThread),
}

/// Why there is no subscription.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// A topic filter is none.
    #[error("topic filter {filter:?}: {source}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: TopicError,
    },
    /// The session does not take the request.
    #[error(transparent)]
    Refused(#[from] RequestRefused),
    /// An interceptor has refused the request, for this reason of its own.
    #[error("an interceptor refused the subscription: {0}")]
    Intercepted(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server has refused a filter. Those that it has granted were ended again.
    #[error("the server refused {filter:?}: {} (0x{:02X})", .code.name(), .code.value())]
    Rejected {
        /// Which filter, the first of those refused.
        filter: String,
        /// Why.
        code: ReasonCode,
        /// Why in words, and whatever else the server says.
        remarks: Option<Box<Remarks>>,
    },
    /// The server may or may not have made the subscription.
    #[error("it is not known whether the server has subscribed: {0}")]
    Indeterminate(Doubt),
    /// The request was not sent.
    #[error("the request was not sent: {0}")]
    Dropped(DropCause),
    /// Nobody can wait for it here.
    #[error(transparent)]
    OnOwnThread(#[from] OnOwnThread),
}

/// Why it is not certain that a subscription has ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnsubscribeError {
    /// A topic filter is none.
    #[error("topic filter {filter:?}: {source}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: TopicError,
    },
    /// The session does not take the request.
    #[error(transparent)]
    Refused(#[from] RequestRefused),
    /// An interceptor has refused the request, for this reason of its own.
    #[error("an interceptor refused to unsubscribe: {0}")]
    Intercepted(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server has refused.
    #[error("the server refused: {} (0x{:02X})", .code.name(), .code.value())]
    Rejected {
        /// Why.
        code: ReasonCode,
        /// Why in words, and whatever else the server says.
        remarks: Option<Box<Remarks>>,
    },
    /// The server may or may not have ended the subscription.
    #[error("it is not known whether the server has unsubscribed: {0}")]
    Indeterminate(Doubt),
    /// The request was not sent.
    #[error("the request was not sent: {0}")]
    Dropped(DropCause),
    /// Nobody can wait for it here.
    #[error(transparent)]
    OnOwnThread(#[from] OnOwnThread),
}
