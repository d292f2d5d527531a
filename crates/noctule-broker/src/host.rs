//! The host program as a client of its own broker: MQTT 5.0 over memory instead of a socket.
//!
//! Quality of service, order and back-pressure are those of any client, because for the shard it is
//! one. Each subscription of the host has a connection, on any shard; all its publications share
//! one on the first, so that they keep their order. Their client identifiers are `$host-`, sixteen
//! hexadecimal digits drawn at start, and a number, so that a client from outside does not take
//! them over by accident. With the right number, the identifier's home is where the connection is.

use std::mem;
use std::rc::Rc;
use std::time::Duration;

use noctule_broker_core::{ConnectionId, Input, Outbound, Reading};
use noctule_packet::{
    Ack, Connect, ConnectProperties, Disconnect, Framing, Packet, PacketId, QoS, ReasonCode,
    TextRules, Version, split,
};
use tokio::sync::mpsc;
use tracing::error;

use crate::error::{PublishError, Stopped, SubscribeError};
use crate::flush::Mark;
use crate::publisher::Publisher;
use crate::request::{PublishRequest, Request};
use crate::shard::{Connection, ShardDriver, SharedDriver};
use crate::subscriber::Subscriber;
use crate::task::spawn;

/// What is taken from the outbound buffer at a time.
const TAKE_BYTES_MAX: usize = 64 * 1024;

/// One of the host's connections.
#[derive(Debug)]
pub(crate) struct HostClient {
    pub(crate) role: Role,
    /// Encoded packets that the shard has not consumed.
    pub(crate) inbound: Vec<u8>,
    /// Bytes from the shard that were not decoded: part of a packet, or what finds no room.
    outbound: Vec<u8>,
    next: Next,
    /// On which of the driver's lists of connections to write to.
    pub(crate) mark: Mark,
    is_closing: bool,
    is_resumed: bool,
    /// The Server Keep Alive, until somebody sees to it.
    keep_alive_seconds: Option<u16>,
}

/// What a connection of the host is for.
#[derive(Debug)]
pub(crate) enum Role {
    Publisher(Publisher),
    Subscriber(Subscriber),
}

/// Whether the shard takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Feed,
    Continue,
    AwaitResume,
}

/// Whether a packet for the host found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Taken,
    Full,
}

impl HostClient {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            inbound: Vec::new(),
            outbound: Vec::new(),
            next: Next::Feed,
            mark: Mark::Clean,
            is_closing: false,
            is_resumed: false,
            keep_alive_seconds: None,
        }
    }

    pub(crate) fn start_closing(&mut self) {
        self.is_closing = true;
    }

    pub(crate) fn resume(&mut self) {
        self.is_resumed = true;
        if self.next == Next::AwaitResume {
            self.next = Next::Continue;
        }
    }

    /// Whether everything that was sent has been consumed.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbound.is_empty()
    }

    fn connect(&mut self, client_id: &str) {
        let receive_maximum = match &self.role {
            Role::Publisher(_) => None,
            Role::Subscriber(subscriber) => Some(subscriber.receive_maximum()),
        };
        let properties = ConnectProperties { receive_maximum, ..ConnectProperties::default() };
        self.send(&Packet::Connect(Box::new(Connect {
            version: Version::V5_0,
            clean_start: true,
            keep_alive: 0,
            properties,
            client_id,
            will: None,
            user_name: None,
            password: None,
        })));
    }

    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        send_to(&mut self.inbound, packet);
    }

    /// Takes bytes from the shard and tells how many.
    fn take(&mut self, outbound: &mut Outbound) -> usize {
        let mut taken = 0;
        for chunk in outbound.chunks() {
            let room = TAKE_BYTES_MAX - taken;
            let part = chunk.get(..chunk.len().min(room)).unwrap_or_default();
            self.outbound.extend_from_slice(part);
            taken += part.len();
        }
        outbound.advance(taken);
        taken
    }

    /// Acts on every packet that is complete, until one finds no room.
    fn decode(&mut self, id: ConnectionId) -> Room {
        let mut room = Room::Taken;
        let bytes = mem::take(&mut self.outbound);
        let mut from = 0;
        while let Some(rest) = bytes.get(from..)
            && let Ok(Framing::Complete(frame)) = split(rest, u32::MAX)
        {
            match Packet::decode(&frame, Version::V5_0, TextRules::Lenient) {
                Ok(packet) => {
                    room = self.on_packet(id, &packet);
                    if room == Room::Full {
                        break;
                    }
                }
                Err(error) => {
                    error!(target: "noctule", %error, "the host does not understand the broker");
                }
            }
            from += frame.length;
        }
        self.outbound = bytes;
        self.outbound.drain(..from);
        if self.outbound.is_empty() {
            self.outbound = Vec::new();
        }
        room
    }

    fn on_packet(&mut self, id: ConnectionId, packet: &Packet<'_>) -> Room {
        if let Packet::Connack(connack) = packet {
            self.keep_alive_seconds = connack.properties.server_keep_alive.filter(|keep| *keep > 0);
        }
        match &mut self.role {
            Role::Publisher(publisher) => {
                publisher.on_packet(packet, &mut self.inbound);
                Room::Taken
            }
            Role::Subscriber(subscriber) => subscriber.on_packet(id, packet, &mut self.inbound),
        }
    }
}

/// Appends a packet. What the host sends was checked before, so a failure is a defect.
pub(crate) fn send_to(out: &mut Vec<u8>, packet: &Packet<'_>) {
    if let Err(error) = packet.encode(Version::V5_0, out) {
        error!(target: "noctule", %error, "the host cannot encode a packet");
    }
}

impl ShardDriver {
    /// Opens a connection of the host.
    pub(crate) fn open_host(&mut self, role: Role) -> Option<ConnectionId> {
        let client_id = self.host_client_id();
        let client = Connection::Host(Box::new(HostClient::new(role)));
        let connection = self.connections.insert(client)?;
        let listener = self.host_listener;
        let peer = "host".into();
        let _ = self.input(Input::Opened { connection, listener, peer, moved: false });
        self.host(connection)?.connect(&client_id);
        self.host_feed(connection);
        Some(connection)
    }

    pub(crate) fn host(&mut self, id: ConnectionId) -> Option<&mut HostClient> {
        match self.connections.find(id)? {
            Connection::Host(host) => Some(host),
            Connection::Socket(_) => None,
        }
    }

    /// Passes what the host has sent to the shard, as far as the shard takes it.
    pub(crate) fn host_feed(&mut self, id: ConnectionId) {
        let Some(host) = self.host(id) else { return };
        host.is_resumed = false;
        let bytes = mem::take(&mut host.inbound);
        let consumed = match host.next {
            Next::AwaitResume => {
                host.inbound = bytes;
                return;
            }
            Next::Feed => self.input(Input::Bytes { connection: id, bytes: &bytes }),
            Next::Continue => self.input(Input::Continue { connection: id, bytes: &bytes }),
        };
        let Some(host) = self.host(id) else { return };
        // Nothing is appended while the shard has the bytes, so the rest is all there is.
        host.inbound = bytes;
        host.inbound.drain(..consumed.bytes);
        host.next = match consumed.reading {
            Reading::Drained => Next::Feed,
            Reading::Budget => Next::Continue,
            Reading::Paused if host.is_resumed => Next::Continue,
            // Its home is here; see `host_client_id`.
            Reading::Paused | Reading::Moved(_) => Next::AwaitResume,
        };
        if host.next == Next::Continue {
            self.wake_host(id);
        } else if host.is_idle() {
            host.inbound = Vec::new();
            self.signals().publisher.raise();
        }
    }

    /// Takes what the shard has for the host, as far as the host has room.
    pub(crate) fn host_receive(&mut self, id: ConnectionId) {
        loop {
            let Some(Connection::Host(host)) = self.connections.find(id) else { return };
            host.mark = Mark::Clean;
            if host.decode(id) == Room::Full {
                break;
            }
            let Some(outbound) = self.shard.outbound(id) else { break };
            let waiting = outbound.len();
            if waiting == 0 {
                break;
            }
            let taken = host.take(outbound);
            if taken == waiting && waiting >= self.flushed_bytes_min {
                self.note_flushed(id);
            }
        }
        if let Some(seconds) = self.host(id).and_then(|host| host.keep_alive_seconds.take())
            && let Some(driver) = self.this.upgrade()
        {
            spawn(&Rc::clone(self.failure()), ping_loop(driver, id, seconds));
        }
        self.signals().publisher.raise();
        if self.host(id).is_some_and(|host| !host.is_idle()) {
            self.host_feed(id);
        }
    }

    /// Puts a connection of the host on the list of those that have something to do in a new turn.
    pub(crate) fn wake_host(&mut self, id: ConnectionId) {
        if !self.waiting_hosts.contains(&id) {
            self.waiting_hosts.push(id);
        }
        self.signals().flush.raise();
    }

    pub(crate) fn has_waiting_hosts(&self) -> bool {
        !self.waiting_hosts.is_empty()
    }

    /// Goes on with the host's connections that had to wait for a new turn.
    pub(crate) fn continue_hosts(&mut self) {
        for id in mem::take(&mut self.waiting_hosts) {
            self.host_receive(id);
            match self.host(id) {
                Some(host) if host.is_closing => self.close_host(id),
                Some(_) => self.host_feed(id),
                None => {}
            }
        }
    }

    fn close_host(&mut self, id: ConnectionId) {
        let is_stopping = self.is_stopping();
        match self.host(id).map(|host| &mut host.role) {
            Some(Role::Publisher(publisher)) => {
                let why = if is_stopping { Stopped.into() } else { PublishError::Disconnected };
                let refusal = publisher.disconnect(&why);
                self.publisher.on_closed(refusal);
            }
            Some(Role::Subscriber(subscriber)) => {
                let reason = ReasonCode::ServerUnavailable;
                subscriber.refuse(SubscribeError::Disconnected(reason));
            }
            None => {}
        }
        self.close(id);
    }

    /// The host's program took a message.
    fn on_taken(&mut self, id: ConnectionId, packet_id: PacketId, qos: QoS) {
        let Some(host) = self.host(id) else { return };
        let ack = Ack::new(packet_id, ReasonCode::Success);
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => host.send(&Packet::Puback(ack)),
            QoS::ExactlyOnce => host.send(&Packet::Pubrec(ack)),
        }
        self.host_receive(id);
    }

    /// The host's program wants no more messages.
    fn on_leave(&mut self, id: ConnectionId) {
        if let Some(host) = self.host(id) {
            host.send(&Packet::Disconnect(Disconnect::default()));
            self.host_feed(id);
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            // Whoever asked may have given up; the answer is then nobody's.
            Request::Statistics(reply) => {
                let _ = reply.send((self.shard.statistics().clone(), self.shard.gauges()));
            }
            Request::StoreStatus(reply) => {
                let _ = reply.send(self.store_status());
            }
            Request::Clients(reply) => {
                let _ = reply.send(self.shard.clients().collect());
            }
            Request::Kick { client_id, reply } => {
                let _ = reply.send(self.kick(client_id));
            }
            Request::Subscribe { subscription: _, requests: _, reply } if self.is_stopping() => {
                let _ = reply.send(Err(Stopped.into()));
            }
            Request::Subscribe { subscription, requests, reply } => {
                let subscriber = Subscriber::new(subscription, requests, reply);
                self.open_host(Role::Subscriber(subscriber));
            }
            Request::Taken { connection, packet_id, qos } => {
                self.on_taken(connection, packet_id, qos);
            }
            Request::Room { connection } => self.host_receive(connection),
            Request::Leave { connection } => self.on_leave(connection),
        }
    }
}

/// Answers the handles.
pub(crate) async fn request_loop(
    driver: SharedDriver,
    mut requests: mpsc::UnboundedReceiver<Request>,
) {
    while let Some(request) = requests.recv().await {
        driver.borrow_mut().on_request(request);
    }
}

/// Publishes what the handles publish, in order, as fast as the shard takes it.
pub(crate) async fn publish_loop(
    driver: SharedDriver,
    mut publications: mpsc::Receiver<PublishRequest>,
) {
    while let Some(request) = publications.recv().await {
        let admitted =
            std::future::poll_fn(|context| driver.borrow_mut().poll_publisher(context)).await;
        match admitted {
            Ok(()) => driver.borrow_mut().publish(request),
            Err(error) => {
                let _ = request.reply.send(Err(error));
            }
        }
    }
}

/// Keeps a connection of the host alive for a broker that demands it.
async fn ping_loop(driver: SharedDriver, id: ConnectionId, keep_alive_seconds: u16) {
    let interval = Duration::from_millis(u64::from(keep_alive_seconds) * 750);
    loop {
        tokio::time::sleep(interval).await;
        let mut driver = driver.borrow_mut();
        let Some(host) = driver.host(id) else { return };
        host.send(&Packet::Pingreq);
        driver.host_feed(id);
    }
}
