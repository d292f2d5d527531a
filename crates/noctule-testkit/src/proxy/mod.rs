//! Faults on the way between a client and a server: a proxy over real sockets that a test controls.

mod lane;
mod packets;
mod pump;
mod random;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use noctule_packet::PacketType;

use lane::{Corrupting, Cutting, Place, Splitting};
use pump::{Shared, accept};

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// What the client sends.
    Server = 0,
    /// What the server sends.
    Client = 1,
}

/// How a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In order, by FIN, toward both sides: what was passed on arrives.
    End,
    /// By RST, toward both sides, as when a machine crashes: what was passed on last may be lost.
    Reset,
}

/// A proxy between any client and any server that does to their connections what a test says.
///
/// ```
/// use noctule_packet::{PacketType, QoS};
/// use noctule_testkit::{Cut, FaultProxy, OwnedPublish, Peer, TestBroker, Toward};
///
/// let broker = TestBroker::start();
/// let proxy = FaultProxy::to(broker.address());
/// // The first PUBACK breaks in the middle.
/// proxy.cut_within(Toward::Client, PacketType::Puback, 1, Cut::Reset);
///
/// let mut client = Peer::v5(proxy.address(), "client");
/// client.send_publish(&OwnedPublish::new("a", "1", QoS::AtLeastOnce).packet_id(1));
/// assert_eq!(broker.next_publish("a").wait().text(), "1");
/// ```
///
/// Faults that happen once happen on the connection that first gets so far, and bytes and packets
/// are counted from the beginning of each connection: what happens does not depend on timing.
/// Nothing is known of TLS and WebSocket here, so packets can be named only without them; faults
/// by time and by bytes know no difference.
///
/// Dropping it ends all connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Listens on a free port of the loopback address, and passes everything on to this server.
    ///
    /// # Panics
    ///
    /// When the server's address or a port is not to be had.
    #[track_caller]
    pub fn to(server: impl ToSocketAddrs) -> Self {
        let target = address_of(server);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("the listener's address");
        let shared = Arc::new(Shared::new(target));
        let accepting = Arc::clone(&shared);
        let acceptor = thread::Builder::new()
            .name("fault-proxy".to_owned())
            .spawn(move || accept(&listener, &accepting))
            .expect("a thread");
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to give to a client.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Leads further connections to another server.
    ///
    /// # Panics
    ///
    /// When the server's address is not to be had.
    #[track_caller]
    pub fn lead_to(&self, server: impl ToSocketAddrs) {
        let target = address_of(server);
        self.shared.with(|control| control.target = target);
    }

    /// Cuts all connections now. How many they were.
    pub fn cut(&self, cut: Cut) -> usize {
        self.shared.cut_all(cut)
    }

    /// Cuts the first connection on which exactly so many bytes were passed on in a direction. A
    /// connection with more of them is cut with the next bytes.
    pub fn cut_after(&self, toward: Toward, bytes: u64, cut: Cut) {
        self.add_cut(toward, Place::Behind(bytes), cut);
    }

    /// Cuts the first connection that gets so far in the middle of a packet: the `number`th of this
    /// type in a direction, counted from 1.
    pub fn cut_within(&self, toward: Toward, packet_type: PacketType, number: u64, cut: Cut) {
        self.add_cut(toward, Place::Within(packet_type, number), cut);
    }

    /// Cuts every connection, from now on also those that come, before it has got further than
    /// `most` bytes in either direction: where, the seed says.
    pub fn cut_randomly(&self, seed: u64, most: u64, cut: Cut) {
        let cutting = Some(Cutting { seed, most, cut });
        self.shared.with(|control| control.faults.cutting = cutting);
    }

    fn add_cut(&self, toward: Toward, place: Place, cut: Cut) {
        self.shared.with(|control| control.faults.cuts.push((toward, place, cut)));
    }

    /// Lets nothing through any more, and says so to nobody: connections are half-open, and new
    /// ones are opened and say nothing. [`heal`](Self::heal) lets through what has been held back.
    pub fn black_hole(&self) {
        self.shared.with(|control| control.is_black_hole = [true; 2]);
    }

    /// The same in one direction: the other side goes on hearing.
    pub fn black_hole_toward(&self, toward: Toward) {
        self.shared.with(|control| control.is_black_hole[toward as usize] = true);
    }

    /// Delays everything in both directions by at least so much.
    pub fn delay(&self, delay: Duration) {
        self.shared.with(|control| control.delay = delay);
    }

    /// Lets at most so many bytes a second through in each direction of each connection.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.shared.with(|control| control.bytes_per_second = Some(bytes_per_second));
    }

    /// Writes each byte on its own.
    pub fn split_into_bytes(&self) {
        self.split_randomly(0, 1);
    }

    /// Writes pieces of 1 to `most` bytes, as the seed says.
    pub fn split_randomly(&self, seed: u64, most: u64) {
        let splitting = Some(Splitting { seed, most });
        self.shared.with(|control| control.faults.splitting = splitting);
    }

    /// Flips a bit in the byte at this place, counted from 0, of the first connection that gets so
    /// far.
    pub fn corrupt(&self, toward: Toward, at: u64) {
        self.shared.with(|control| control.faults.corrupt_at.push((toward, at)));
    }

    /// Flips a bit in one byte of so many on average, as the seed says.
    pub fn corrupt_randomly(&self, seed: u64, one_in: u64) {
        let corrupting = Some(Corrupting { seed, one_in });
        self.shared.with(|control| control.faults.corrupting = corrupting);
    }

    /// Resets new connections as soon as they are opened.
    pub fn refuse_connections(&self) {
        self.shared.with(|control| control.is_refusing = true);
    }

    /// Ends all faults, also those that have not happened yet. What was cut stays cut.
    pub fn heal(&self) {
        self.shared.with(|control| {
            control.faults = lane::Faults::default();
            control.is_black_hole = [false; 2];
            control.is_refusing = false;
            control.delay = Duration::ZERO;
            control.bytes_per_second = None;
        });
    }

    /// How many connections were taken so far; those that were refused do not count.
    pub fn connections(&self) -> u64 {
        self.shared.with(|control| control.accepted)
    }

    /// How many connections there are.
    pub fn open_connections(&self) -> usize {
        self.shared.open()
    }

    /// How many bytes were passed on in a direction.
    pub fn forwarded(&self, toward: Toward) -> u64 {
        self.shared.with(|control| control.forwarded[toward as usize])
    }

    /// Blocks until so many connections were taken, but not longer than five seconds.
    ///
    /// # Panics
    ///
    /// When they do not come in time.
    #[track_caller]
    pub fn wait_for_connections(&self, count: u64) {
        let within = Duration::from_secs(5);
        if !self.shared.wait(within, |control| control.accepted >= count) {
            panic!("{count} connections were expected, {} came in {within:?}", self.connections());
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.with(|control| control.is_stopping = true);
        // The acceptor looks up when somebody connects.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.shared.stop();
    }
}

#[track_caller]
fn address_of(server: impl ToSocketAddrs) -> SocketAddr {
    let mut addresses = server.to_socket_addrs().expect("the server's address");
    addresses.next().expect("the server has an address")
}
