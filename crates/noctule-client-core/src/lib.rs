//! A deterministic MQTT client: one [`ClientSession`] outlives any number of connections, takes
//! calls and bytes, and gives bytes and [`Event`]s. It has no clock, no socket, no file and no
//! thread; whoever drives it supplies all of them.
//!
//! A driver's turn: pass what happened ([`ClientSession::transport_up`],
//! [`receive`](ClientSession::receive), [`written`](ClientSession::written),
//! [`on_timeout`](ClientSession::on_timeout), [`transport_down`](ClientSession::transport_down));
//! then, in this order, store what [`take_records`](ClientSession::take_records) gives if the
//! session is durable, write [`outbound`](ClientSession::outbound), and take
//! [`next_event`](ClientSession::next_event) until there is none. Close the transport when
//! [`wants_close`](ClientSession::wants_close), read only while
//! [`wants_input`](ClientSession::wants_input), and wake up at
//! [`poll_timeout`](ClientSession::poll_timeout).
//!
//! ```
//! use noctule_client_core::{ClientSession, Event, Outcome, Publication, Settings, Timestamp};
//! use noctule_packet::{QoS, TopicName};
//!
//! let now = Timestamp::from_millis(0);
//! let mut settings = Settings::default();
//! settings.connect.client_id = "thermometer".into();
//! let mut session = ClientSession::new(settings).unwrap();
//! let topic = TopicName::new("house/kitchen").unwrap();
//! let publication = Publication::new(topic, b"21.5").qos(QoS::AtLeastOnce);
//! let operation = session.publish(now, &publication).unwrap();
//!
//! session.transport_up(now);
//! let connect = session.outbound().len();
//! session.written(now, connect);
//! assert_eq!(session.receive(now, b"\x20\x03\0\0\0"), 5);
//! assert_eq!(session.outbound(), b"\x32\x16\0\x0dhouse/kitchen\0\x01\021.5");
//! session.written(now, session.outbound().len());
//! session.receive(now, b"\x40\x02\0\x01");
//!
//! let Some(Event::Connected { .. }) = session.next_event() else { panic!() };
//! let published = Event::Published { operation, outcome: Outcome::DELIVERED, topic: None };
//! assert_eq!(session.next_event(), Some(published));
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod alias;
mod auth;
mod authenticate;
mod cancel;
mod connect;
mod connect_options;
mod describe;
mod disconnect;
mod ended;
mod event;
mod fault;
mod held;
mod hub;
mod incoming;
mod interruption;
mod message;
mod negotiated;
mod observe;
mod operation;
mod outbound;
mod outcome;
mod outgoing;
mod pattern;
mod publication;
mod publish;
mod queue;
mod receive;
mod reconnect;
mod record;
mod releasing;
mod remarks;
mod request;
mod requesting;
mod restore;
mod session;
mod settings;
mod stall;
mod subscriptions;
mod text;
mod timer;
mod topic_cache;
mod transmit;
mod unwritten;

pub use alias::AliasPolicy;
pub use auth::{AuthError, AuthenticationDone, AuthenticationStep, Authenticator};
pub use authenticate::ReauthenticateRefused;
pub use connect_options::{CleanStart, ConnectOptions, WillOptions};
pub use disconnect::{DisconnectOptions, DisconnectRefused, Unfinished};
pub use ended::{Ended, ServerReason, TransportEnd};
pub use event::{Epoch, Event};
pub use fault::{Fault, ProtocolError};
pub use held::{AckRefused, AckToken, Acknowledged};
pub use hub::{
    AlarmId, ClientEvent, Closed, FollowerId, Hub, MailboxId, MailboxSettings, OnFull, Taken,
    Wakes, enlist,
};
pub use message::Message;
pub use negotiated::Negotiated;
pub use noctule_session::Timestamp;
pub use observe::{Observation, OutcomeKind};
pub use operation::{Doubt, DropCause, OperationId, Outcome, RequestOutcome, Stage};
pub use pattern::{Captures, Pattern, PatternError};
pub use publication::{Publication, PublishRefused};
pub use queue::{Keep, Overflow, QueueSettings};
pub use reconnect::{
    Backoff, Failure, Jitter, Reaction, ReconnectPlan, ReconnectPolicy, ReconnectSettings,
    Redirect, RedirectRefused, Redirects, Step, StopCause, Target,
};
pub use record::{Record, RecordError, StoredMessage, StoredSubscription};
pub use releasing::ReleaseStep;
pub use remarks::Remarks;
pub use request::{RequestRefused, Resubscribe, SubscribeRequest, UnsubscribeRequest};
pub use restore::{Restored, compact};
pub use session::{ClientSession, Status, SubscriptionStatus};
pub use settings::{AcknowledgementMode, Limits, Redelivery, Settings, SettingsError, Validation};
