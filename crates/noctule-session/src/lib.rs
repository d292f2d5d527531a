//! The symmetric delivery rules of MQTT: what a sender and a receiver of QoS 1 and 2 messages must
//! do, whichever of them is the client.
//!
//! Nothing here knows a socket, a clock or a packet's bytes. [`Sender`] hands out packet
//! identifiers, keeps the order and the quota and knows what to send again; [`Receiver`]
//! recognises duplicates and lets acknowledgements leave in the order in which the publications
//! arrived.
//!
//! ```
//! use noctule_packet::{QoS, ReasonCode};
//! use noctule_session::{Sender, Transmission};
//!
//! let mut sender = Sender::new(10);
//! sender.enqueue("on", QoS::AtLeastOnce);
//! let Some(Transmission::Publish { packet_id, message, .. }) = sender.next_transmission() else {
//!     panic!("the window is open");
//! };
//! assert_eq!((packet_id.value(), *message), (1, "on"));
//! assert!(sender.on_puback(packet_id).is_ok());
//! assert_eq!(sender.in_flight(), 0);
//! # let _ = ReasonCode::Success;
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod keep_alive;
mod packet_id;
mod receiver;
mod sender;
mod time;
mod topic_alias;

pub use keep_alive::KeepAlive;
pub use receiver::{
    Acknowledgement, AcknowledgementKind, AnswerId, Arrival, Receiver, ReceiverError,
};
pub use sender::{Begun, Oldest, Sender, SenderError, Transmission};
pub use time::Timestamp;
pub use topic_alias::{AliasError, InboundAliases, OutboundAliases};
