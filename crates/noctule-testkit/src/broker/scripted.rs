//! Connections that the test itself plays, packet by packet, over whatever carries the bytes.

use std::sync::Arc;

use noctule_packet::{Packet, PacketType, ReasonCode};

use super::TestBroker;
use super::house::House;
use super::record::{Happening, Received};
use super::wait::Wait;
use crate::{OwnedConnack, OwnedConnect, OwnedPacket};

impl TestBroker {
    /// Plays the next connection in place of the broker, from the same task or thread as the test.
    /// The connection is the test's from this call on, whenever it is opened.
    ///
    /// ```
    /// use noctule_client::{Client, QoS};
    /// use noctule_packet::PacketType;
    /// use noctule_testkit::{TestBroker, bytes};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = TestBroker::in_memory();
    /// let script = broker.script_next();
    /// let client = Client::builder(broker.url()).connector(broker.connector()).start()?;
    /// let server = script.await;
    /// let connect = server.expect_connect().await;
    /// assert_eq!(connect.keep_alive, 60);
    /// server.accept();
    /// client.connected().await?;
    ///
    /// let receipt = client.publish("a", "1").qos(QoS::AtLeastOnce).send()?;
    /// server.expect(PacketType::Publish).await;
    /// server.send_bytes(&bytes("40 02 0001"));
    /// assert!(receipt.await.is_delivered());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn script_next(&self) -> Wait<ScriptedConnection> {
        let first = self.house.with(|state| {
            state.scripts += 1;
            state.opened + u64::try_from(state.scripts).unwrap_or(u64::MAX)
        });
        let house = Arc::clone(&self.house);
        let opened = self.wait_for("a connection", move |received| {
            let is_it = received.connection == first && received.what == Happening::Opened;
            is_it.then_some(())
        });
        opened.map(move |()| ScriptedConnection { house: Arc::clone(&house), number: first })
    }
}

/// The server's end of one connection that the test plays. It does nothing on its own.
///
/// [`TestBroker::script_next`] gives it. Dropping it leaves the connection open.
#[derive(Debug)]
pub struct ScriptedConnection {
    house: Arc<House>,
    number: u64,
}

impl ScriptedConnection {
    /// The connection's number, counted from 1.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the next packet of this connection.
    #[track_caller]
    pub fn next_packet(&self) -> Wait<OwnedPacket> {
        self.wait_for("a packet", |received| received.packet().cloned())
    }

    /// Waits for the next packet of this connection and a type; others stay for later.
    #[track_caller]
    pub fn expect(&self, packet_type: PacketType) -> Wait<OwnedPacket> {
        self.wait_for(packet_type.name(), move |received| {
            received.packet().filter(|packet| packet.packet_type() == packet_type).cloned()
        })
    }

    /// Waits for CONNECT.
    #[track_caller]
    pub fn expect_connect(&self) -> Wait<OwnedConnect> {
        self.wait_for("CONNECT", |received| match received.packet() {
            Some(OwnedPacket::Connect(connect)) => Some((**connect).clone()),
            _ => None,
        })
    }

    /// Waits until the client has closed the connection.
    #[track_caller]
    pub fn expect_closed(&self) -> Wait<()> {
        self.wait_for("the end of the connection", |received| {
            (received.what == Happening::Closed).then_some(())
        })
    }

    /// Sends CONNACK with success, and with a client identifier if CONNECT asked for one.
    pub fn accept(&self) {
        let mut connack = OwnedConnack::new(ReasonCode::Success);
        self.house.with(|state| {
            let is_nameless =
                |it: &super::connection::Connection| it.version.is_v5() && it.client_id.is_empty();
            if state.connections.get(&self.number).is_some_and(is_nameless) {
                connack.assigned_client_identifier = Some(format!("scripted-{}", self.number));
            }
            state.send(self.number, &Packet::Connack(connack.to_packet()));
        });
    }

    /// Sends a packet in the client's version.
    pub fn send(&self, packet: &Packet<'_>) {
        self.house.with(|state| state.send(self.number, packet));
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&self, bytes: &[u8]) {
        self.house.with(|state| state.send_bytes(self.number, bytes));
    }

    /// Ends the connection in order.
    pub fn close(&self) {
        self.house.with(|state| state.end(self.number));
    }

    /// Resets the connection.
    pub fn reset(&self) {
        self.house.with(|state| state.reset(self.number));
    }

    #[track_caller]
    fn wait_for<T: 'static>(
        &self,
        wanted: &str,
        mut select: impl FnMut(&Received) -> Option<T> + Send + 'static,
    ) -> Wait<T> {
        let number = self.number;
        Wait::new(&self.house, format!("{wanted} on connection #{number}"), move |received, _| {
            (received.connection == number).then(|| select(received)).flatten()
        })
    }
}
