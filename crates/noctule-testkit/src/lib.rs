//! Tests of programs that speak MQTT, without a broker to install, without sleeping, and without
//! luck.
//!
//! - what a program does with its client: [`Mock`], where the test says how each publication ends
//! - a program against a server that behaves, or does not: [`TestBroker`] and its [rules](When)
//! - a client or a server on a bad network: [`FaultProxy`]
//! - what takes minutes or days: `TestBroker::in_memory` and the runtime's stopped clock
//! - users of `noctule-client-core`: `SessionDriver`, also in virtual time
//! - a client, packet by packet: [`Script`], [`TestBroker::play`], [`TestBroker::script_next`]
//! - a broker, packet by packet: [`Peer`]
//!
//! Whatever fails shows the whole conversation so far, decoded, with times. Over sockets, any MQTT
//! client or server can be tested, whoever made it.
//!
//! # A unit test of a program
//!
//! ```
//! use noctule_client::{Client, QoS};
//! use noctule_testkit::Mock;
//!
//! /// The program under test.
//! async fn raise_alarm(client: &Client) -> bool {
//!     let sent = client.publish("alarm", "fire").qos(QoS::AtLeastOnce).send();
//!     sent.unwrap().await.is_delivered()
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In a test that begins with `#[tokio::test(start_paused = true)]`:
//! let mock = Mock::new();
//! let client = Client::builder(mock.url()).connector(mock.connector()).connect().await?;
//! let program = tokio::spawn(async move { raise_alarm(&client).await });
//! mock.next_publish().await.lose_connection();
//! mock.next_publish().await.acknowledge();
//! assert!(program.await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Against a server
//!
//! ```
//! use noctule_client::blocking::Client;
//! use noctule_client::QoS;
//! use noctule_packet::ReasonCode;
//! use noctule_testkit::TestBroker;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = TestBroker::start();
//! broker.on_publish("secret/#").refuse(ReasonCode::NotAuthorized);
//!
//! let client = Client::builder(broker.url()).client_id("program").connect()?;
//! let receipt = client.publish("secret/plan", "x").qos(QoS::AtLeastOnce).send()?;
//! assert!(!receipt.wait().is_delivered());
//! assert_eq!(broker.next_publish("secret/#").wait().text(), "x");
//! # Ok(())
//! # }
//! ```
//!
//! # On a bad network
//!
//! ```
//! use noctule_client::blocking::Client;
//! use noctule_client::QoS;
//! use noctule_packet::PacketType;
//! use noctule_testkit::{Cut, FaultProxy, TestBroker, Toward};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = TestBroker::start();
//! let proxy = FaultProxy::to(broker.address());
//! proxy.cut_within(Toward::Client, PacketType::Connack, 1, Cut::Reset);
//!
//! let client = Client::builder(proxy.url()).connect()?;
//! assert!(client.publish("a", "1").qos(QoS::AtLeastOnce).send()?.wait().is_delivered());
//! assert_eq!(proxy.connections(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # A broker, step by step
//!
//! A [`Peer`] is one end of a connection over a blocking socket. It does exactly what the test
//! says and nothing on its own: no automatic acknowledgement, no keep alive, no reconnect. It can
//! also do everything that a correct program never would. Whatever comes that the test did not
//! expect ends the test.
//!
//! ```
//! use noctule_packet::{QoS, ReasonCode};
//! use noctule_testkit::Peer;
//!
//! # let server = noctule_testkit::TestBroker::start();
//! # let broker = server.address();
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
//! Conveniences such as [`Peer::publish`] play a whole handshake. A test of the handshake itself
//! plays the steps:
//!
//! ```
//! use noctule_packet::QoS;
//! use noctule_testkit::{OwnedPublish, Peer};
//!
//! # let server = noctule_testkit::TestBroker::start();
//! # let broker = server.address();
//! let mut peer = Peer::v5(broker, "publisher");
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
//! ```
//! use noctule_packet::ReasonCode;
//! use noctule_testkit::{Peer, packet_bytes};
//!
//! # let server = noctule_testkit::TestBroker::start();
//! # let broker = server.address();
//! let mut peer = Peer::v5(broker, "liar");
//! // A SUBSCRIBE with the packet identifier 0.
//! peer.send_bytes(&packet_bytes(0x82, "0000 00 s'a/b' 01"));
//! peer.expect_refused(ReasonCode::MalformedPacket);
//! ```
//!
//! # A client, step by step
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
//! Everything that waits does so for at most five seconds ([`Peer::set_timeout`],
//! [`Wait::within`]). There is no need to sleep: what must *not* come is tested with
//! [`Peer::expect_nothing_before_pong`], or is not in [`TestBroker::received`] when something later
//! is.
//!
//! Nothing has to take long either. A broker or a mock in memory has the time of its tokio runtime,
//! and a test that begins with `#[tokio::test(start_paused = true)]` has stopped that: as soon as
//! nothing is to be done, it jumps to the next thing that is due. Over sockets, time is real.
//!
//! # Features
//!
//! - `tokio`: brokers and mocks in memory.
//! - `client-core`: `SessionDriver`.

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
#[cfg(feature = "client-core")]
mod session_driver;
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
#[cfg(feature = "client-core")]
pub use session_driver::{Driven, SessionDriver};
pub use stream::Stream;

use noctule_packet::Version;

/// Every protocol version, for tests whose one body runs for all of them.
///
/// ```
/// use noctule_packet::QoS;
/// use noctule_testkit::{Peer, TestBroker, VERSIONS};
///
/// let broker = TestBroker::start();
/// for version in VERSIONS {
///     let mut peer = Peer::speaking(version, broker.address(), "peer");
///     peer.subscribe(&[("a", QoS::AtMostOnce)]);
/// }
/// ```
pub const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];
