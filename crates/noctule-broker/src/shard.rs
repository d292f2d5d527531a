//! The driver around one shard: passes inputs in, has the effects carried out, and keeps what the
//! shard leaves to its host: connections, mail, the read buffer, the list of those to write to.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use noctule_broker_core::{
    Command, ConnectionId, Consumed, Effects, Input, ListenerId, Peer, Settings, Shard, Timestamp,
};
use tokio::time::Instant;

use crate::backlogs::Backlogs;
use crate::connection::{READ_AHEAD_BYTES, READ_BYTES_MAX, Socket};
use crate::connections::Connections;
use crate::event_log::EventLog;
use crate::flush::Dirty;
use crate::host::HostClient;
use crate::inbox::{Inbox, Mail};
use crate::keeping::Keeper;
use crate::publisher::PublisherDoor;
use crate::signal::Signal;
use crate::task::Failure;

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
    /// Everything that was stored is in its place.
    pub(crate) restored: Signal,
}

/// One end of a connection that the shard serves.
#[derive(Debug)]
pub(crate) enum Connection {
    /// A client's.
    Socket(Socket),
    /// The host program's.
    Host(Box<HostClient>),
}

/// The clock of all shards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) started: Instant,
    /// What it showed then: the age of the store.
    pub(crate) began_at: Timestamp,
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
    /// `None` in memory mode.
    pub(crate) keeper: Option<Keeper>,
    /// `None` in memory mode.
    pub(crate) backlogs: Option<Backlogs>,
    /// Connections of the host whose packets wait for another turn of the shard.
    pub(crate) waiting_hosts: Vec<ConnectionId>,
    /// From this many written bytes on the shard is told that the buffer has drained.
    pub(crate) flushed_bytes_min: usize,
    pub(crate) dirty: Dirty,
    /// Some connection has let others pass in this turn and reads on in the next.
    pub(crate) goes_on: bool,
    clock: Clock,
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
        clock: Clock,
    ) -> Self {
        let mail = Mail::new(settings.shard, inboxes);
        let flushed_bytes_min = settings.limits.outbound_bytes_max as usize / 2;
        Self {
            this,
            shard: Shard::new(settings, clock.began_at, seed),
            connections: Connections::new(),
            mail,
            next_arrival: 0,
            read_buffer: vec![0; READ_AHEAD_BYTES + READ_BYTES_MAX].into_boxed_slice(),
            effects: Effects::of_bytes_at_hand(),
            effects_spare: Effects::of_bytes_at_hand(),
            event_log: EventLog::default(),
            host_listener,
            publisher: PublisherDoor::new(),
            keeper: None,
            backlogs: None,
            waiting_hosts: Vec::new(),
            flushed_bytes_min,
            clock,
            dirty: Dirty::default(),
            goes_on: false,
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
        self.clock.began_at + self.clock.started.elapsed()
    }

    pub(crate) fn connections_open(&self) -> usize {
        self.connections.len()
    }

    /// The other end of a connection that is still open.
    pub(crate) fn peer(&mut self, id: ConnectionId) -> Option<Peer> {
        Some(match self.connections.find(id)? {
            Connection::Socket(socket) => socket.peer.clone(),
            Connection::Host(_) => "host".into(),
        })
    }

    /// Passes an input to the shard and does what follows from it.
    pub(crate) fn input(&mut self, input: Input<'_>) -> Consumed {
        self.input_at(self.now(), input)
    }

    /// The same with a clock that was read a moment ago.
    pub(crate) fn input_at(&mut self, now: Timestamp, input: Input<'_>) -> Consumed {
        let bytes = input.bytes();
        let consumed = self.shard.on_input(now, input, &mut self.effects);
        self.carry_out_effects(now, bytes);
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
        match self.connections.remove(id).as_deref() {
            Some(Connection::Socket(socket)) => socket.wake_task(),
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
        self.post_kept();
        self.mail.post();
    }

    pub(crate) const fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// When the timer task must act, if the shard waits for anything.
    pub(crate) fn arm(&mut self) -> Option<Instant> {
        self.armed = self.shard.poll_timeout();
        self.armed.map(|at| self.clock.started + at.since(self.clock.began_at))
    }

    fn note_timeout(&mut self) {
        let Some(at) = self.shard.poll_timeout() else { return };
        // A deadline that has moved back is found out when the timer fires.
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            self.signals.timer.raise();
        }
    }

    /// Whether the shard has left work for another turn.
    pub(crate) fn has_work(&self) -> bool {
        self.shard.poll_timeout().is_some_and(|at| at <= self.now())
    }
}
