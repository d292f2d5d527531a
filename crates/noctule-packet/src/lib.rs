//! MQTT control packets for versions 3.1, 3.1.1 and 5.0: bytes in, values out.
//!
//! The crate knows no socket, no clock and no state. A stream is cut into frames by [`split`], a
//! frame becomes a value by [`Packet::decode`] or by the `decode` of its own type, and every value
//! appends itself to a buffer with `encode`. The version is an argument, not a second set of types:
//! what a version does not have is empty when decoded and left out when encoded.
//!
//! Decoding is total. No input panics, recurses, allocates ahead of the bytes that are there or
//! costs more than time in proportion to its length. Strings and binary data are borrowed from the
//! input. An error knows its [reason code](DecodeError::reason_code) and the
//! [statement](DecodeError::statement) of the specification that the bytes break.
//!
//! ```
//! use noctule_packet::{Framing, Packet, Publish, QoS, TextRules, TopicName, Version, split};
//!
//! let publish = Publish {
//!     topic: Some(TopicName::new("house/kitchen/temperature").unwrap()),
//!     payload: b"21.5",
//!     ..Publish::default()
//! };
//! let mut out = Vec::new();
//! publish.encode(Version::V5_0, &mut out).unwrap();
//!
//! match split(&out, 65_536).unwrap() {
//!     Framing::Partial { needed } => panic!("{needed} bytes are needed"),
//!     Framing::Complete(frame) => {
//!         let packet = Packet::decode(&frame, Version::V5_0, TextRules::Strict).unwrap();
//!         let Packet::Publish(received) = packet else { panic!() };
//!         assert_eq!(received.qos, QoS::AtMostOnce);
//!         assert_eq!(received, publish);
//!         assert_eq!(frame.length, out.len());
//!     }
//! }
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod ack;
mod auth;
mod connack;
mod connect;
mod describe;
mod disconnect;
mod error;
mod error_text;
mod framing;
mod hidden;
mod packet;
mod ping;
mod property;
mod publish;
mod reason;
mod return_code;
mod spec;
mod suback;
mod subscribe;
mod text;
mod topic;
mod unsuback;
mod unsubscribe;
mod user_property;
mod version;
mod will;
mod wire;

pub use ack::Ack;
pub use auth::Auth;
pub use connack::{Connack, ConnackProperties};
pub use connect::{Connect, ConnectError, ConnectProperties};
pub use describe::Description;
pub use disconnect::Disconnect;
pub use error::{DecodeError, EncodeError};
pub use framing::{Frame, Framing, split};
pub use packet::Packet;
pub use ping::{Pingreq, Pingresp};
pub use property::PropertyId;
pub use publish::{
    ForwardedProperties, PlainPublish, PlainPublishes, Publish, PublishHead, PublishProperties,
};
pub use reason::ReasonCode;
pub use return_code::ConnectReturnCode;
pub use suback::Suback;
pub use subscribe::{
    RetainHandling, Subscribe, Subscription, SubscriptionList, SubscriptionOptions,
};
pub use text::TextRules;
pub use topic::{KeptTopicName, ShareName, TopicError, TopicFilter, TopicName};
pub use unsuback::Unsuback;
pub use unsubscribe::{FilterList, Unsubscribe};
pub use user_property::UserProperties;
pub use version::{PacketId, PacketType, QoS, Version};
pub use will::{Will, WillProperties};
