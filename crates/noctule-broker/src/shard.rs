//! The driver around one shard: passes inputs in, has the effects carried out, and keeps what the
//! shard leaves to its host: connections, mail, the read buffer, the list of those to write to.

use std::cell::RefCell;
use std::mem;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use noctule_broker_core::{
    Command, ConnectionId, Consumed, Effects, Input, ListenerId, Settings, Shard, Timestamp,
};
use tokio::time::Instant;

use crate::connection::{READ_AHEAD_BYTES, READ_BYTES_MAX, Socket};
use crate::connections::Connections;
use crate::event_log::EventLog;
use crate::host::HostClient;
use crate::inbox::{Inbox, Mail};
use crate::peer::Peer;
use crate::publisher::PublisherDoor;
use crate::signal::Signal;
use crate::task::Failure;

/// A connection with this much to write does not wait for the end of the turn.
const FLUSH_EARLY_BYTES: usize = 64 * 1024;

/// The driver as the tasks of its thread share it. A borrow never crosses an await.
pub(crate) type SharedDriver = Rc<RefCell<ShardDriver>>;

/// What wakes the tasks of the thread.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Some connection has bytes to write, or something is for another shard.
    pub(crate) flush: Signal,
    /// The shard's deadline has moved forward.
    pub(crate) timer: Signal,
    /// A connection is gone.
    pub(crate) connection_ended: Signal,
    /// The host's publishing connection may take more.
    pub(crate) publisher: Signal,
}

/// One end of a connection that the shard serves.
#[derive(Debug)]
pub(crate) enum Connection {
    /// A client's.
    Socket(Box<Socket>),
    /// The host program's.
    Host(Box<HostClient>),
}

/// A shard and everything around it.
#[derive(Debug)]
pub(crate) struct ShardDriver {
    pub(crate) this: Weak<RefCell<Self>>,
    pub(crate) shard: Shard,
    pub(crate) connections: Connections<Connection>,
    pub(crate) mail: Mail,
    /// The shard that gets the next new socket, on the thread that accepts them.
    pub(crate) next_arrival: u16,
    /// One for all connections: first room for what a connection had left over, then for a read.
    pub(crate) read_buffer: Box<[u8]>,
    pub(crate) effects: Effects,
    pub(crate) effects_spare: Effects,
    pub(crate) event_log: EventLog,
    pub(crate) host_listener: ListenerId,
    pub(crate) publisher: PublisherDoor,
    /// Connections of the host whose packets wait for another turn of the shard.
    pub(crate) waiting_hosts: Vec<ConnectionId>,
    /// From this many written bytes on the shard is told that the buffer has drained.
    pub(crate) flushed_bytes_min: usize,
    /// When all shards' clocks began.
    started: Instant,
    /// Connections that the shard has just named; empty between inputs.
    fresh: Vec<ConnectionId>,
    /// Connections to write to at the end of the turn, each once.
    dirty: Vec<ConnectionId>,
    dirty_spare: Vec<ConnectionId>,
    /// Connections whose full buffers were written out, which the shard does not know yet.
    flushed: Vec<ConnectionId>,
    /// The deadline that the timer task knows of.
    armed: Option<Timestamp>,
    is_stopping: bool,
    signals: Rc<Signals>,
    failure: Rc<Failure>,
}

impl ShardDriver {
    pub(crate) fn new(
        this: Weak<RefCell<Self>>,
        settings: Settings,
        seed: u64,
        host_listener: ListenerId,
        inboxes: Arc<[Inbox]>,
        started: Instant,
    ) -> Self {
        let mail = Mail::new(settings.shard, inboxes);
        let flushed_bytes_min = settings.limits.outbound_bytes_max as usize / 2;
        Self {
            this,
            shard: Shard::new(settings, Timestamp::default(), seed),
            connections: Connections::new(),
            mail,
            next_arrival: 0,
            read_buffer: vec![0; READ_AHEAD_BYTES + READ_BYTES_MAX].into_boxed_slice(),
            effects: Effects::new(),
            effects_spare: Effects::new(),
            event_log: EventLog::default(),
            host_listener,
            publisher: PublisherDoor::new(),
            waiting_hosts: Vec::new(),
            flushed_bytes_min,
            started,
            fresh: Vec::new(),
            dirty: Vec::new(),
            dirty_spare: Vec::new(),
            flushed: Vec::new(),
            armed: None,
            is_stopping: false,
            signals: Rc::default(),
            failure: Rc::default(),
        }
    }

    pub(crate) fn signals(&self) -> &Rc<Signals> {
        &self.signals
    }

    pub(crate) fn failure(&self) -> &Rc<Failure> {
        &self.failure
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::default() + self.started.elapsed()
    }

    pub(crate) fn connections_open(&self) -> usize {
        self.connections.len()
    }

    /// The other end of a connection that is still open.
    pub(crate) fn peer(&mut self, id: ConnectionId) -> Option<Peer> {
        Some(match self.connections.find(id)? {
            Connection::Socket(socket) => socket.peer,
            Connection::Host(_) => Peer::Host,
        })
    }

    /// Passes an input to the shard and does what follows from it.
    pub(crate) fn input(&mut self, input: Input<'_>) -> Consumed {
        self.input_at(self.now(), input)
    }

    /// The same with a clock that was read a moment ago.
    pub(crate) fn input_at(&mut self, now: Timestamp, input: Input<'_>) -> Consumed {
        let consumed = self.shard.on_input(now, input, &mut self.effects);
        self.carry_out_effects(now);
        self.note_dirty();
        self.note_timeout();
        consumed
    }

    /// Ends a connection on this side and in the shard.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        if self.connections.find(id).is_none() {
            return;
        }
        let _ = self.input(Input::Closed { connection: id });
        match self.connections.remove(id) {
            Some(Connection::Socket(socket)) => socket.wake_tasks(),
            Some(Connection::Host(_)) => self.signals.publisher.raise(),
            None => {}
        }
        self.signals.connection_ended.raise();
    }

    /// Disconnects a client; tells whether it was connected.
    pub(crate) fn kick(&mut self, client_id: Box<str>) -> bool {
        let is_connected = self
            .shard
            .clients()
            .any(|client| *client.client_id == *client_id && client.connection.is_some());
        if is_connected {
            let reason = noctule_packet::ReasonCode::AdministrativeAction;
            let _ = self.input(Input::Command(Command::Kick { client_id, reason }));
        }
        is_connected
    }

    /// Says good-bye to every client, and takes nothing more from the host.
    pub(crate) fn stop(&mut self, farewell: Command) {
        self.is_stopping = true;
        self.signals.publisher.raise();
        let _ = self.input(Input::Command(farewell));
        self.mail.post();
    }

    pub(crate) const fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// When the timer task must act, if the shard waits for anything.
    pub(crate) fn arm(&mut self) -> Option<Instant> {
        self.armed = self.shard.poll_timeout();
        self.armed.map(|at| self.started + at.since(Timestamp::default()))
    }

    fn note_timeout(&mut self) {
        let Some(at) = self.shard.poll_timeout() else { return };
        // A deadline that has moved back is found out when the timer fires.
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            self.signals.timer.raise();
        }
    }

    fn note_dirty(&mut self) {
        let mut fresh = mem::take(&mut self.fresh);
        self.shard.take_dirty(&mut fresh);
        for id in fresh.drain(..) {
            if self.marks_dirty(id) {
                self.dirty.push(id);
            }
        }
        self.fresh = fresh;
        if !self.dirty.is_empty() {
            self.signals.flush.raise();
        }
    }

    /// Remembers to tell the shard that a full buffer has been written out. Not at once: this may
    /// be in the middle of another input.
    pub(crate) fn note_flushed(&mut self, id: ConnectionId) {
        self.flushed.push(id);
        self.signals.flush.raise();
    }

    /// Whether a connection is to be put on the list; one with much to write is served at once.
    fn marks_dirty(&mut self, id: ConnectionId) -> bool {
        let waiting = self.shard.outbound(id).map_or(0, |outbound| outbound.len());
        match self.connections.find(id) {
            Some(Connection::Socket(socket)) => {
                if waiting >= FLUSH_EARLY_BYTES && socket.may_write() {
                    self.write_once(id);
                    return false;
                }
                socket.mark_dirty()
            }
            Some(Connection::Host(host)) => host.mark_dirty(),
            None => false,
        }
    }

    /// Ends a turn: hands over what is for other shards, and writes once to each connection that
    /// has something to write.
    pub(crate) fn flush(&mut self) {
        self.mail.post();
        let mut dirty = mem::replace(&mut self.dirty, mem::take(&mut self.dirty_spare));
        for id in dirty.drain(..) {
            match self.connections.find(id) {
                Some(Connection::Socket(_)) => self.write_once(id),
                Some(Connection::Host(_)) => self.host_receive(id),
                None => {}
            }
        }
        self.dirty_spare = dirty;
        for connection in mem::take(&mut self.flushed) {
            let _ = self.input(Input::Flushed { connection });
        }
    }
}
