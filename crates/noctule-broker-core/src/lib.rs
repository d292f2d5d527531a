//! A deterministic MQTT broker: one [`Shard`] owns connections, sessions, subscriptions and
//! retained messages, takes [`Input`]s and answers with [`Effect`]s. It has no clock, no socket,
//! no file and no thread; whoever drives it supplies all of them.
//!
//! ```
//! use noctule_broker_core::{ConnectionId, Effects, Input, ListenerId, Settings, Shard, Timestamp};
//!
//! let now = Timestamp::from_millis(0);
//! let mut shard = Shard::new(Settings::default(), now, 7);
//! let mut effects = Effects::new();
//! let connection = ConnectionId { slot: 0, generation: 0 };
//! let peer = "198.51.100.7:4711".into();
//! let opened = Input::Opened { connection, listener: ListenerId(0), peer, moved: false };
//! let _ = shard.on_input(now, opened, &mut effects);
//!
//! let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
//! let consumed = shard.on_input(now, Input::Bytes { connection, bytes: connect }, &mut effects);
//! assert_eq!(consumed.bytes, connect.len());
//!
//! let outbound = shard.outbound(connection).expect("the connection is open");
//! let connack: Vec<u8> = outbound.chunks().flatten().copied().collect();
//! assert_eq!(connack, b"\x20\x02\x00\x00");
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod acknowledge;
mod authorize;
mod backlog;
mod connect;
mod connection;
mod credit;
mod delivery;
mod disconnect;
mod durability;
mod effect;
mod event;
mod expiry;
mod fan_out;
mod fault;
mod forwarded;
mod frames;
mod groups;
mod horizon;
mod input;
mod last_topic;
mod loads;
mod member;
mod memory;
mod message;
mod origin;
mod outbound;
mod outlet;
mod outstanding;
mod passing;
mod payload;
mod peer;
mod persist;
mod pick;
mod placement;
#[cfg(feature = "planted-faults")]
mod planted;
mod publication;
mod publish;
mod queued_run;
mod rate;
mod registry;
mod replay;
mod restore;
mod restored;
mod retain;
mod retained;
mod router;
mod routes;
mod session;
mod settings;
mod shard;
mod shard_message;
mod shared;
mod shared_queue;
mod shelf;
mod source;
mod spares;
mod statistics;
mod store_report;
mod store_room;
mod stored;
mod straight;
mod subscribe;
mod subscriptions;
mod system;
mod timers;
mod totals;
mod unsubscribe;
mod will;

pub use access::{Authentication, Authorization, ListenerSettings, ReadRule, ReadRules};
pub use effect::{Credentials, Effect, Effects, Principal, Question, Token};
pub use event::{DropCause, Ended, Event, Limit, Reason};
pub use fault::{Fault, ProtocolError, Refused};
pub use input::{Command, ConnectionId, Consumed, Input, ListenerId, Reading, ShardId};
pub use message::Message;
pub use noctule_session::Timestamp;
pub use outbound::Outbound;
pub use payload::Payload;
pub use peer::Peer;
pub use placement::Placement;
#[cfg(feature = "planted-faults")]
pub use planted::PlantedFault;
pub use queued_run::QueuedRun;
pub use registry::SessionKey;
pub use restored::{Away, Restored, Step, StoredMessage, StoredSession, StoredSharedQueue};
pub use settings::{Durability, Features, LimitOutOfRange, Limits, Settings, SharedStrategy};
pub use shard::Shard;
pub use shard_message::ShardMessage;
pub use source::{Source, WillOwner};
pub use statistics::{ClientSummary, Gauges, Statistics};
pub use store_report::StoreReport;
pub use stored::{
    AS_RETAINED, Record, Reference, References, StoredSubscription, StoredTerms, is_shared_queue,
};
pub use totals::Totals;
pub use will::Will;
