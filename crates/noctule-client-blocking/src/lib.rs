//! An MQTT client for programs without a runtime: 5.0, 3.1.1 and 3.1, over TCP, TLS, WebSocket and
//! Unix sockets, that never loses track of a message. It is `noctule-client` with the same names,
//! whose calls return when they are done; a thread of its own keeps the connection.
//!
//! ```no_run
//! use noctule_client_blocking::{Client, QoS};
//!
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("mqtt://localhost").connect()?;
//! let hello = client.subscribe("hello/#").send()?;
//! let receipt = client.publish("hello/world", "it works").qos(QoS::AtLeastOnce).send()?;
//! println!("{}", receipt.wait());
//! for message in hello {
//!     println!("{}: {}", message.topic(), message.text().unwrap_or("?"));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The [guide] has the rest. It awaits; here the same names are used without `.await`.
#![forbid(unsafe_code)]

pub use noctule_client::blocking::{
    Client, ClientBuilder, Events, Group, Publish, Request, Route, Routed, Subscribe, Subscription,
    Unsubscribe,
};
pub use noctule_client::guide;
pub use noctule_client::{
    Ack, AckRefused, Acknowledged, AliasPolicy, AliasResolver, AuthError, Authenticator, Backoff,
    Captures, Cause, CleanStart, ClientBuildError, ClientEvent, Closed, ConnectError,
    ConnectOptions, ConnectionEnd, Counter, Credentials, CredentialsError, CredentialsFuture,
    CredentialsProvider, DecodeError, Direction, DisconnectOptions, DisconnectRefused,
    Distribution, Doubt, Draft, DropCause, Ended, Failure, Fault, Figures, FromPayload, Handler,
    Incoming, Interceptor, Jitter, Keep, Latency, Limits, Message, Metrics, Negotiated,
    NextAttempt, OnFull, OnOwnThread, OperationId, Origin, Outcome, Overflow, PacketId, PacketLine,
    PacketType, Passage, Pattern, PatternError, Payload, PayloadError, PayloadReader, Pending,
    PingError, ProtocolError, PublishError, PublishProperties, PublishRefused, QoS, QueueSettings,
    Reaction, ReasonCode, ReauthenticateError, ReauthenticateRefused, Receipt, ReconnectPolicy,
    ReconnectSettings, Reconnector, Redelivery, Redirect, Redirects, ReleaseRemarks, ReleaseStep,
    Remarks, RequestError, RequestOutcome, RequestRefused, Resubscription, RetainHandling,
    RouteError, RoutedMessage, ServerReason, Settings, SettingsError, ShutdownReport, Snapshot,
    Stage, State, StopReason, SubscribeDraft, SubscribeError, SubscriptionOptions,
    SubscriptionStatus, TimedOut, TopicError, TopicFilter, TopicName, TransportEnd, Unfinished,
    UnsubscribeDraft, UnsubscribeError, Unsubscribed, UserProperties, Validation, Verdict, Version,
    WillOptions, transport,
};
#[cfg(feature = "json")]
pub use noctule_client::{Decoder, Json};
#[cfg(feature = "store")]
pub use noctule_client::{
    Disk, DiskFile, RealDisk, Repair, Restored, StoreError, StoreSettings, StoreSummary, Stored,
};
#[cfg(feature = "scram")]
pub use noctule_client::{Scram, ScramMechanism};
