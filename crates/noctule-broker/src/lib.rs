//! An MQTT broker for 3.1, 3.1.1 and 5.0 that runs inside any Rust program.
//!
//! ```
//! use std::time::Duration;
//! use noctule_broker::{Broker, Publication, QoS};
//!
//! let broker = Broker::builder().listen("127.0.0.1:0").start()?;
//! let mut messages = broker.subscribe_blocking("greetings/#")?;
//! broker.publish_blocking(Publication::new("greetings/all", "hello").qos(QoS::AtLeastOnce))?;
//! assert_eq!(messages.next_blocking().unwrap().text(), Some("hello"));
//! broker.stop_blocking(Duration::from_secs(1))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The broker owns its threads, so a program needs no runtime to embed it. The protocol itself is
//! in `noctule-broker-core`; this crate supplies it with sockets, a clock and a log.
//!
//! Log lines go to [`tracing`] under the target `noctule`.
#![forbid(unsafe_code)]

mod address;
mod backlogs;
mod blocking;
mod builder;
mod checkpoints;
mod connection;
mod connections;
mod descriptors;
mod disks;
mod effects;
mod error;
mod event_log;
mod farewell;
mod flush;
mod handle;
mod host;
mod inbox;
mod keeping;
mod life;
mod listener;
#[cfg(test)]
mod logged;
mod publication;
mod publisher;
mod recovery;
mod request;
mod run;
mod shard;
mod signal;
mod storage;
mod stream;
mod subscriber;
mod subscription;
mod tally;
mod task;
mod threads;
mod transit;
mod watch;

pub use address::LocalAddress;
pub use builder::{Broker, Builder};
pub use error::{BrokerError, PublishError, StartError, Stopped, SubscribeError};
pub use farewell::Farewell;
pub use handle::Handle;
pub use listener::Listener;
pub use noctule_broker_core::{
    ClientSummary, ConnectionId, DropCause, Durability, Features, Gauges, LimitOutOfRange, Limits,
    ReadRules, SharedStrategy, Statistics,
};
pub use noctule_packet::{QoS, ReasonCode, RetainHandling, TextRules, Version};
pub use noctule_store::StoreStatus;
pub use publication::{Publication, Received};
pub use recovery::Recovery;
pub use subscription::{Subscription, SubscriptionRequest};
