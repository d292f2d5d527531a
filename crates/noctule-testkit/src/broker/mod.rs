//! A small broker for tests of clients: it behaves, except where the test says otherwise, and
//! writes everything down.

mod behave;
pub(crate) mod clock;
mod connect;
mod connection;
mod deliver;
pub(crate) mod house;
pub(crate) mod outlet;
mod record;
mod rule;
mod scripted;
mod seen;
mod session;
mod sockets;
mod state;
mod wait;

use std::net::SocketAddr;
use std::sync::Arc;

use noctule_packet::{Packet, PacketType, ReasonCode};

pub use record::{Happening, Received};
pub(crate) use record::{check_filter, check_topic, matches};
pub use rule::When;
pub use scripted::ScriptedConnection;
pub(crate) use state::State;
pub use wait::Wait;

use crate::{OwnedConnack, OwnedDisconnect, OwnedPublish, Peer};
use clock::Clock;
use house::House;
use rule::Matcher;
use sockets::Sockets;

/// A small broker for tests of clients.
///
/// It accepts connections, grants subscriptions, acknowledges and forwards messages, keeps sessions
/// and retained messages, in MQTT 3.1, 3.1.1 and 5.0. A test overrides that by rules
/// ([`on_connect`](Self::on_connect), [`on_publish`](Self::on_publish), …), acts on its connections
/// ([`publish`](Self::publish), [`disconnect_all`](Self::disconnect_all), …), and waits for what
/// clients do ([`next_publish`](Self::next_publish), …).
///
/// ```
/// use noctule_packet::QoS;
/// use noctule_testkit::{Peer, TestBroker};
///
/// let broker = TestBroker::start();
/// // The program under test connects to `broker.url()`; here a peer stands in for it.
/// let mut program = Peer::v5(broker.address(), "thermometer");
/// program.publish("kitchen/temperature", "21.5", QoS::AtLeastOnce);
///
/// assert_eq!(broker.next_publish("kitchen/#").wait().text(), "21.5");
/// ```
///
/// Its clock is the system's, the runtime's (`in_memory`) or the test's own
/// (`in_virtual_time`), and it keeps time like any other broker: a client that is silent for one
/// and a half times its keep alive is disconnected and its will published, and sessions and
/// messages expire. A keep alive of 0, also one that the broker imposes
/// ([`accept_with`](Self::accept_with)), lets clients be silent.
///
/// It is no measure of what a broker has to be: it never disconnects a client for what it costs,
/// wills are not delayed, and enhanced authentication is for scripts.
///
/// Dropping it ends all connections.
#[derive(Debug)]
pub struct TestBroker {
    pub(crate) house: Arc<House>,
    sockets: Option<Sockets>,
}

impl TestBroker {
    /// Listens on a free port of the loopback address.
    ///
    /// # Panics
    ///
    /// When no port or no thread is to be had.
    pub fn start() -> Self {
        let house = Arc::new(House::new(Clock::system()));
        let sockets = Some(Sockets::listen(&house));
        Self { house, sockets }
    }

    /// A broker whose connections are made in this process; see
    /// [`connector`](Self::connector) and [`connect`](Self::connect). It has no thread and no
    /// socket, and its time is the runtime's: in a test that begins with
    /// `#[tokio::test(start_paused = true)]` nobody waits in real time.
    ///
    /// ```
    /// use noctule_client::{Client, QoS};
    /// use noctule_testkit::TestBroker;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = TestBroker::in_memory();
    /// let client =
    ///     Client::builder(broker.url()).connector(broker.connector()).connect().await?;
    /// let receipt = client.publish("a/b", "1").qos(QoS::AtLeastOnce).send()?;
    /// assert!(receipt.await.is_delivered());
    /// assert_eq!(broker.next_publish("a/#").await.text(), "1");
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tokio")]
    pub fn in_memory() -> Self {
        Self::without_sockets(Clock::runtime())
    }

    #[cfg(any(feature = "tokio", feature = "client-core"))]
    pub(crate) fn without_sockets(clock: Clock) -> Self {
        Self { house: Arc::new(House::new(clock)), sockets: None }
    }

    /// The URL to give to a client.
    pub fn url(&self) -> String {
        match &self.sockets {
            Some(sockets) => format!("mqtt://{}", sockets.address()),
            None => "mqtt://test-broker".to_owned(),
        }
    }

    /// Where it listens.
    ///
    /// # Panics
    ///
    /// When it is in memory.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        match &self.sockets {
            Some(sockets) => sockets.address(),
            None => panic!("a broker in memory has no address"),
        }
    }
}

/// Where it does something else than a broker usually does.
impl TestBroker {
    /// Begins a rule for CONNECT.
    pub fn on_connect(&self) -> When<'_> {
        self.on_packet(PacketType::Connect)
    }

    /// Begins a rule for PUBLISH to topics that this filter matches.
    ///
    /// # Panics
    ///
    /// When it is no topic filter.
    #[track_caller]
    pub fn on_publish(&self, filter: &str) -> When<'_> {
        check_filter(filter);
        When::new(&self.house, Matcher::PublishTo(filter.to_owned()))
    }

    /// Begins a rule for each SUBSCRIBE that has exactly this filter; with `"#"`, for all of them.
    ///
    /// # Panics
    ///
    /// When it is no topic filter.
    #[track_caller]
    pub fn on_subscribe(&self, filter: &str) -> When<'_> {
        check_filter(filter);
        let wanted = (filter != "#").then(|| filter.to_owned());
        When::new(&self.house, Matcher::SubscribeTo(wanted))
    }

    /// Begins a rule for all packets of a type, for example PINGREQ.
    pub fn on_packet(&self, packet_type: PacketType) -> When<'_> {
        When::new(&self.house, Matcher::Type(packet_type))
    }

    /// Forgets all rules.
    pub fn behave(&self) {
        self.house.with(|state| state.rules.clear());
    }

    /// Changes the CONNACK with which connections are accepted: what the server announces. Whether
    /// a session is present, the broker knows.
    pub fn accept_with(&self, connack: OwnedConnack) {
        self.house.with(|state| state.connack = connack);
    }

    /// Refuses connections before anything is said, or takes them again. A socket is reset.
    pub fn refuse_connections(&self, is_refusing: bool) {
        self.house.with(|state| state.is_refusing = is_refusing);
    }

    /// Has one of the next connections played by a script in place of the broker; several scripts
    /// are played in their order. One that fails, or that nobody connects to, fails the test when
    /// the broker is dropped.
    ///
    /// ```
    /// use noctule_packet::ReasonCode;
    /// use noctule_testkit::{OwnedConnect, Peer, TestBroker};
    ///
    /// let broker = TestBroker::start();
    /// broker.play(|mut peer| {
    ///     peer.expect_connect();
    ///     // … and the connection ends.
    /// });
    /// let mut client = Peer::connect(broker.address());
    /// client.send_connect(&OwnedConnect::v5("client"));
    /// client.expect_closed_or_reset();
    /// // The second connection is the broker's.
    /// Peer::v5(broker.address(), "client").disconnect();
    /// ```
    ///
    /// # Panics
    ///
    /// When the broker is in memory: [`script_next`](Self::script_next) is for both.
    #[track_caller]
    pub fn play(&self, script: impl FnOnce(Peer) + Send + 'static) {
        match &self.sockets {
            Some(sockets) => sockets.play(Box::new(script)),
            None => panic!("`play` needs sockets, `script_next` does not"),
        }
    }
}

/// What the broker does of itself.
impl TestBroker {
    /// Publishes a message to those who subscribe to its topic, as another client would. How many
    /// they are.
    ///
    /// # Panics
    ///
    /// When the topic is none.
    #[track_caller]
    pub fn publish(&self, publish: &OwnedPublish) -> usize {
        check_topic(&publish.topic);
        self.house.with(|state| state.keep_and_route(publish, None))
    }

    /// Ends all connections in order: with DISCONNECT and this reason in 5.0.
    pub fn disconnect_all(&self, reason: ReasonCode) {
        self.disconnect_all_with(&OwnedDisconnect::new(reason));
    }

    /// The same with properties, such as another server's name.
    pub fn disconnect_all_with(&self, disconnect: &OwnedDisconnect) {
        self.on_all(|state, number| {
            if state.connections.get(&number).is_some_and(|it| it.version.is_v5()) {
                state.send(number, &Packet::Disconnect(disconnect.to_packet()));
            }
            state.end(number);
        });
    }

    /// Ends all connections in order, without a word.
    pub fn close_all(&self) {
        self.on_all(State::end);
    }

    /// Resets all connections.
    pub fn reset_all(&self) {
        self.on_all(State::reset);
    }

    fn on_all(&self, act: impl Fn(&mut State, u64)) {
        self.house.with(|state| {
            let numbers: Vec<u64> = state.connections.keys().copied().collect();
            for number in numbers {
                act(state, number);
            }
        });
    }

    /// Forgets all sessions of clients that are not connected, as a server does that was replaced.
    pub fn forget_sessions(&self) {
        self.house.with(|state| state.sessions.retain(|_, session| session.connection.is_some()));
    }
}
