//! An MQTT client for tokio: 5.0, 3.1.1 and 3.1, over TCP, TLS, WebSocket and Unix sockets, that
//! never loses track of a message.
//!
//! - A [`Client`] is a handle: cheap to clone, usable from any task, never polled. A task of its
//!   own keeps the connection, and reconnects. It may have a thread instead (feature `thread`), or
//!   be a future for any other runtime (feature `futures-io`).
//! - [`Client::publish`](generic::Client::publish) gives a [`Receipt`], which says how the message
//!   ended, exactly once.
//! - [`Client::subscribe`](generic::Client::subscribe) gives a [`Subscription`], a stream of
//!   messages. A slow reader slows its server down, and nothing else.
//! - With a store ([`ClientBuilder::store`](generic::ClientBuilder::store)) the session outlives
//!   the process: what was accepted is on disk before it is sent, and goes on after a crash.
//!   [`Receipt::stored`] says when it is.
//! - What it does can be [seen](guide::observing): [`Figures`], spans of `tracing`, a log of its
//!   packets, and [interceptors](Interceptor).
//!
//! The [`guide`] has more, in short chapters.
//!
//! ```no_run
//! use noctule_client::{Client, QoS};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let client = Client::builder("mqtt://localhost").connect().await?;
//!     let mut hello = client.subscribe("hello/#").await?;
//!     let receipt = client.publish("hello/world", "it works").qos(QoS::AtLeastOnce).send()?;
//!     println!("{}", receipt.await);
//!     if let Some(message) = hello.recv().await {
//!         println!("{}: {}", message.topic(), message.text().unwrap_or("?"));
//!     }
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

use std::time::Duration;

#[cfg(not(any(feature = "tokio", feature = "thread", feature = "futures-io")))]
compile_error!(
    "a client needs somebody to run it: choose the feature `tokio`, `thread` or `futures-io`"
);

mod abandoned;
mod aliases;
mod asked;
mod attempt;
pub mod blocking;
mod builder;
mod client;
mod clock;
mod completion;
mod connection;
mod connection_end;
#[cfg(feature = "json")]
mod content;
mod course;
mod credentials;
mod draft;
mod error;
mod events;
mod extensions;
mod figures;
pub mod generic;
mod group;
mod guarded;
pub mod guide;
mod handler;
mod histogram;
mod interceptor;
mod meter;
mod metrics;
mod mode;
mod observability;
mod packet_log;
mod payload;
mod payload_builder;
mod payload_reader;
mod pending;
mod ping;
mod publish;
mod receipt;
mod reconnector;
mod referral;
mod release_remarks;
mod request;
mod request_draft;
#[cfg(feature = "store")]
mod restored;
mod resubscribe;
mod route;
#[cfg(feature = "futures-io")]
mod runtime;
#[cfg(feature = "scram")]
mod scram;
mod shared;
mod state;
#[cfg(feature = "store")]
mod store;
#[cfg(not(feature = "store"))]
mod store_off;
#[cfg(feature = "store")]
mod stored;
mod streams;
mod subscribe;
mod subscription;
mod tap;
#[cfg(any(feature = "tokio", feature = "futures-io"))]
mod task;
#[cfg(feature = "thread")]
mod thread;
#[cfg_attr(not(feature = "tracing"), path = "trace_off.rs")]
mod trace;
mod unsubscribe;
mod users;
mod wait;
mod wish;

pub use aliases::AliasResolver;
pub use client::ShutdownReport;
pub use connection_end::{ConnectionEnd, Origin};
#[cfg(feature = "json")]
pub use content::Decoder;
pub use credentials::{Credentials, CredentialsError, CredentialsFuture, CredentialsProvider};
pub use draft::Draft;
pub use error::{
    ClientBuildError, ConnectError, PublishError, ReauthenticateError, StopReason, SubscribeError,
    UnsubscribeError,
};
pub use figures::{Figures, Snapshot};
pub use handler::{Handler, Handling};
pub use histogram::Distribution;
pub use interceptor::{Interceptor, Passage};
pub use metrics::{Cause, Counter, Latency, Metrics};
pub use mode::{Async, Blocking};
#[cfg(feature = "scram")]
pub use noctule_auth::ScramMechanism;
pub use noctule_client_core::{
    AckRefused, Acknowledged, AliasPolicy, AuthError, Authenticator, Backoff, Captures, CleanStart,
    ClientEvent, Closed, ConnectOptions, DisconnectOptions, DisconnectRefused, Doubt, DropCause,
    Ended, Failure, Fault, Jitter, Keep, Limits, Message, Negotiated, OnFull, OperationId, Outcome,
    Overflow, Pattern, PatternError, ProtocolError, PublishRefused, QueueSettings, Reaction,
    ReauthenticateRefused, ReconnectPolicy, ReconnectSettings, Redelivery, Redirect, Redirects,
    ReleaseStep, Remarks, RequestOutcome, RequestRefused, ServerReason, Settings, SettingsError,
    Stage, SubscriptionStatus, TransportEnd, Unfinished, Validation, WillOptions,
};
pub use noctule_packet::{
    DecodeError, PacketId, PacketType, PublishProperties, QoS, ReasonCode, RetainHandling,
    SubscriptionOptions, TopicError, TopicFilter, TopicName, UserProperties, Version,
};
#[cfg(feature = "store")]
pub use noctule_store::{Disk, DiskFile, RealDisk, Repair, StoreError, Summary as StoreSummary};
pub use noctule_transport as transport;
pub use packet_log::{Direction, PacketLine};
#[cfg(feature = "json")]
pub use payload::Json;
pub use payload::{FromPayload, PayloadError};
pub use payload_builder::Payload;
pub use payload_reader::PayloadReader;
pub use pending::Pending;
pub use ping::PingError;
pub use receipt::Receipt;
pub use reconnector::{NextAttempt, Reconnector};
pub use release_remarks::ReleaseRemarks;
pub use request::RequestError;
pub use request_draft::{SubscribeDraft, UnsubscribeDraft};
#[cfg(feature = "store")]
pub use restored::Restored;
pub use resubscribe::Resubscription;
pub use route::{RouteError, RoutedMessage, Verdict};
#[cfg(feature = "futures-io")]
pub use runtime::Runtime;
#[cfg(feature = "scram")]
pub use scram::Scram;
pub use state::State;
#[cfg(feature = "store")]
pub use store::StoreSettings;
#[cfg(feature = "store")]
pub use stored::Stored;
pub use subscription::{Ack, Incoming};
pub use unsubscribe::Unsubscribed;
pub use wait::{OnOwnThread, TimedOut};

/// A client whose user awaits.
pub type Client = client::Client<Async>;
/// Settings of a client whose user awaits.
pub type ClientBuilder = builder::ClientBuilder<Async>;
/// A message to publish; see [`Client::publish`](generic::Client::publish).
pub type Publish<'a> = publish::Publish<'a, Async>;
/// A subscription to ask for; see [`Client::subscribe`](generic::Client::subscribe).
pub type Subscribe = subscribe::Subscribe<Async>;
/// Subscriptions to end; see [`Client::unsubscribe`](generic::Client::unsubscribe).
pub type Unsubscribe = unsubscribe::Unsubscribe<Async>;
/// The messages of a subscription.
pub type Subscription = subscription::Subscription<Async>;
/// A route to ask for; see [`Client::route`](generic::Client::route).
pub type Route = route::Route<Async>;
/// The messages of a route.
pub type Routed = route::Routed<Async>;
/// Routes that begin alike.
pub type Group = group::Group<Async>;
/// A request to send; see [`Client::request`](generic::Client::request).
pub type Request<'a> = request::Request<'a, Async>;
/// What happens to the connection.
pub type Events = events::Events<Async>;

/// How long a client whose handles are all gone goes on with what is under way.
const DRAIN_WHEN_DROPPED: Duration = Duration::from_secs(5);
