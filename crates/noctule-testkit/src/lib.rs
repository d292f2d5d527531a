//! A scripted MQTT peer: tests of brokers and clients that read like a transcript.
//!
//! A [`Peer`] is one end of a connection over a blocking socket. It does exactly what the test
//! says and nothing on its own: no automatic acknowledgement, no keep alive, no reconnect. It can
//! also do everything that a correct program never would. Whatever comes that the test did not
//! expect ends the test with a panic that shows the whole conversation so far, decoded, with times.
//!
//! # Against a broker
//!
//! ```no_run
//! use noctule_packet::{QoS, ReasonCode};
//! use noctule_testkit::Peer;
//!
//! let broker = "127.0.0.1:1883";
//! let mut subscriber = Peer::v5(broker, "subscriber");
//! let codes = subscriber.subscribe(&[("kitchen/#", QoS::ExactlyOnce)]);
//! assert_eq!(codes, [ReasonCode::GrantedQos2]);
//!
//! let mut publisher = Peer::v311(broker, "publisher");
//! publisher.publish("kitchen/oven", "220", QoS::AtLeastOnce);
//!
//! let message = subscriber.receive();
//! assert_eq!(message.topic, "kitchen/oven");
//! assert_eq!(message.text(), "220");
//! subscriber.expect_nothing_before_pong();
//! ```
//!
//! # Step by step
//!
//! Conveniences such as [`Peer::publish`] play a whole handshake. A test of the handshake itself
//! plays the steps:
//!
//! ```no_run
//! use noctule_packet::QoS;
//! use noctule_testkit::{OwnedPublish, Peer};
//!
//! let mut peer = Peer::v5("127.0.0.1:1883", "publisher");
//! peer.send_publish(&OwnedPublish::new("a", "once", QoS::ExactlyOnce).packet_id(7));
//! peer.expect_pubrec(7);
//! peer.send_publish(&OwnedPublish::new("a", "once", QoS::ExactlyOnce).packet_id(7).dup(true));
//! peer.expect_pubrec(7);
//! peer.send_pubrel(7);
//! peer.expect_pubcomp(7);
//! ```
//!
//! # What a correct program never sends
//!
//! ```no_run
//! use noctule_packet::ReasonCode;
//! use noctule_testkit::{Peer, packet_bytes};
//!
//! let mut peer = Peer::v5("127.0.0.1:1883", "liar");
//! // A SUBSCRIBE with the packet identifier 0.
//! peer.send_bytes(&packet_bytes(0x82, "0000 00 s'a/b' 01"));
//! peer.expect_refused(ReasonCode::ProtocolError);
//! ```
//!
//! # Against a client
//!
//! A [`Script`] listens, and plays the server's side of one connection on its own thread:
//!
//! ```
//! use noctule_packet::ReasonCode;
//! use noctule_testkit::{OwnedConnack, Peer, Script};
//!
//! let server = Script::run(|mut peer| {
//!     let connect = peer.expect_connect();
//!     assert_eq!(connect.client_id, "thermometer");
//!     peer.send_connack(&OwnedConnack::new(ReasonCode::Success));
//!     peer.expect_disconnect(ReasonCode::Success);
//! });
//! // The program under test connects; here another peer stands in for it.
//! Peer::v5(server.address(), "thermometer").disconnect();
//! server.finish();
//! ```
//!
//! # Time
//!
//! A peer waits for a packet for at most five seconds ([`Peer::set_timeout`]). There is no need to
//! sleep: what must *not* come is tested with [`Peer::expect_nothing_before_pong`].

#![forbid(unsafe_code)]

mod arrival;
mod broker;
mod describe;
mod ending;
mod exchange;
mod expect;
#[cfg(feature = "tokio")]
mod memory;
mod mock;
mod notation;
mod owned;
mod peer;
mod proxy;
mod script;
mod send;
mod stream;
mod transcript;

pub use broker::{Happening, Received, ScriptedConnection, TestBroker, Wait, When};
#[cfg(feature = "tokio")]
pub use memory::{MemoryConnector, MemoryStream};
pub use mock::{Delivery, Mock, Publication};
pub use notation::{bytes, packet_bytes};
pub use owned::{
    OwnedAck, OwnedAuth, OwnedConnack, OwnedConnect, OwnedDisconnect, OwnedPacket, OwnedPublish,
    OwnedSuback, OwnedSubscribe, OwnedUnsuback, OwnedUnsubscribe, OwnedWill,
};
pub use peer::Peer;
pub use proxy::{Cut, FaultProxy, Toward};
pub use script::Script;
pub use stream::Stream;

use noctule_packet::Version;

/// Every protocol version, for tests whose one body runs for all of them.
///
/// ```no_run
/// use noctule_packet::QoS;
/// use noctule_testkit::{Peer, VERSIONS};
///
/// for version in VERSIONS {
///     let mut peer = Peer::speaking(version, "127.0.0.1:1883", "peer");
///     peer.subscribe(&[("a", QoS::AtMostOnce)]);
/// }
/// ```
pub const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];
