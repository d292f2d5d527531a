//! A socket on its way to the shard that serves it: from the listener's thread to any shard, which
//! reads up to CONNECT, and from there to the home of the client identifier.

use std::io;

use noctule_broker_core::{Input, ListenerId, Peer, ShardId};
use tracing::debug;

use crate::connection::Socket;
use crate::inbox::Letter;
use crate::shard::{Connection, ShardDriver};
use crate::stream::{DetachedStream, Stream};

/// A socket that a shard is to serve. While it is detached, between two threads, the kernel keeps
/// whatever the peer sends or does.
#[derive(Debug)]
pub(crate) struct Arrival<S> {
    stream: S,
    peer: Peer,
    listener: ListenerId,
    /// What was read from it and not consumed: CONNECT, and what came right behind it.
    rest: Vec<u8>,
    /// Whether a shard has read CONNECT and named this one.
    moved: bool,
}

impl<S> Arrival<S> {
    /// A socket that was accepted.
    pub(crate) const fn new(stream: S, peer: Peer, listener: ListenerId) -> Self {
        Self { stream, peer, listener, rest: Vec::new(), moved: false }
    }
}

impl Arrival<Stream> {
    fn detach(self) -> io::Result<Arrival<DetachedStream>> {
        let Self { stream, peer, listener, rest, moved } = self;
        Ok(Arrival { stream: stream.detach()?, peer, listener, rest, moved })
    }
}

impl Arrival<DetachedStream> {
    fn attach(self) -> io::Result<Arrival<Stream>> {
        let Self { stream, peer, listener, rest, moved } = self;
        Ok(Arrival { stream: Stream::attach(stream)?, peer, listener, rest, moved })
    }
}

impl ShardDriver {
    /// Gives a new socket to the next shard in turn.
    pub(crate) fn hand_out(&mut self, arrival: Arrival<Stream>) {
        let to = ShardId(self.next_arrival);
        self.next_arrival = (self.next_arrival + 1) % self.mail.shards();
        if to == self.mail.shard() {
            self.open(arrival);
        } else {
            self.send_on(to, arrival);
        }
    }

    /// Sends a socket, which the shard has forgotten, to the home of its client.
    pub(crate) fn hand_over(&mut self, home: ShardId, socket: Socket) {
        let Socket { stream, peer, listener, rest, .. } = socket;
        self.send_on(home, Arrival { stream, peer, listener, rest, moved: true });
    }

    fn send_on(&mut self, to: ShardId, arrival: Arrival<Stream>) {
        let peer = arrival.peer.clone();
        match arrival.detach() {
            Ok(arrival) => {
                self.send_letter(to, Letter::Arrival(Box::new(arrival)));
                self.mail.note_input(false);
            }
            Err(error) => {
                debug!(target: "noctule", %peer, %error, "a connection could not be handed over");
            }
        }
    }

    /// Serves a socket that has come from another thread.
    pub(crate) fn on_arrival(&mut self, arrival: Arrival<DetachedStream>) {
        let peer = arrival.peer.clone();
        match arrival.attach() {
            Ok(arrival) => self.open(arrival),
            Err(error) => {
                debug!(target: "noctule", %peer, %error, "a connection could not be taken over");
            }
        }
    }

    /// Serves a socket, beginning with what was read from it elsewhere.
    fn open(&mut self, arrival: Arrival<Stream>) {
        let Arrival { stream, peer, listener, rest, moved } = arrival;
        let socket = Connection::Socket(Socket::new(stream, peer.clone(), listener));
        let Some(connection) = self.connections.insert(socket) else { return };
        let _ = self.input(Input::Opened { connection, listener, peer, moved });
        if !rest.is_empty() {
            self.pass_later(connection, rest);
        }
        self.serve(connection);
    }
}
