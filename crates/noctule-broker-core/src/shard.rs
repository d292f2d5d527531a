//! The shard: all state in one owner, and the one way in.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use noctule_packet::{Connect, Frame, Framing, PacketType, ReasonCode, split};
use noctule_session::Timestamp;
use smallvec::smallvec;

use crate::connection::{Connection, Connections, Flow, Parked, Phase};
use crate::credit::Windows;
use crate::effect::{Effect, Effects, Token, Waiting};
use crate::event::Reason;
use crate::fan_out::FanOut;
use crate::fault::{Fault, ProtocolError};
use crate::frames::Frames;
use crate::groups::Groups;
use crate::input::{ConnectionId, Consumed, Input, Reading, ShardId};
use crate::last_topic::LastTopic;
use crate::member::Joins;
use crate::memory::Memory;
use crate::origin::{Positions, Row};
use crate::outbound::Outbound;
use crate::outstanding::{Held, Outstanding};
use crate::persist::Records;
use crate::rate::Rate;
use crate::registry::{Registry, SessionKey};
use crate::restore::Restoring;
use crate::retained::Retained;
use crate::router::Router;
use crate::routes::Routes;
use crate::settings::{Durability, Settings};
use crate::shard_message::AskRetained;
use crate::spares::Spares;
use crate::statistics::{ClientSummary, Gauges, Statistics};
use crate::store_room::StoreRoom;
use crate::system::{Counters, Loads};
use crate::timers::{Timer, Timers};
use crate::will::DueWills;

/// How many packets, deliveries and timers one turn may take.
const TURN_BUDGET: usize = 8_192;

/// A part of a broker that shares nothing with others. See the [crate's front page](crate) for an
/// example.
#[derive(Debug)]
pub struct Shard {
    pub(crate) settings: Arc<Settings>,
    pub(crate) now: Timestamp,
    pub(crate) started: Timestamp,
    pub(crate) connections: Connections,
    pub(crate) registry: Registry,
    pub(crate) router: Router,
    pub(crate) routes: Routes,
    pub(crate) groups: Groups,
    pub(crate) joins: Joins,
    pub(crate) windows: Windows,
    /// How many publications with RETAIN set were made here, by who owns their topics.
    pub(crate) published: Row,
    /// Questions about retained messages that came before what they are about.
    pub(crate) asks: Vec<(ShardId, Box<AskRetained>)>,
    /// How far those of all shards have been seen.
    pub(crate) seen: Positions,
    pub(crate) counters: Counters,
    pub(crate) retained: Retained,
    pub(crate) timers: Timers,
    pub(crate) due_wills: DueWills,
    pub(crate) statistics: Statistics,
    pub(crate) subscriptions: u64,
    /// Connections with something to write.
    pub(crate) dirty: Vec<ConnectionId>,
    pub(crate) spares: Spares,
    pub(crate) frames: Frames,
    /// Whether nobody has to be asked about a publication; see [`straight`](crate::straight).
    pub(crate) goes_straight: bool,
    /// `None` while it is in use.
    pub(crate) last_topic: Option<Box<LastTopic>>,
    pub(crate) memory: Memory,
    /// What waits in the store.
    pub(crate) stored: Memory,
    pub(crate) connect_rate: Rate,
    /// Fan-outs that wait for a turn.
    pub(crate) work: VecDeque<FanOut>,
    /// How many fan-outs were ever put there.
    pub(crate) fan_outs_deferred: u64,
    /// Sessions whose replays wait for a turn.
    pub(crate) replaying: VecDeque<SessionKey>,
    pub(crate) outstanding: HashMap<(SessionKey, u64), Outstanding, FixedState>,
    /// QoS 2 publications that wait to be routed, those of one session in their order.
    pub(crate) held: BTreeMap<(SessionKey, u64), Held>,
    /// What is left of this turn.
    pub(crate) budget: usize,
    pub(crate) random: Random,
    pub(crate) loads: Loads,
    pub(crate) stopping: Option<ReasonCode>,
    pub(crate) records: Records,
    pub(crate) store_room: StoreRoom,
    pub(crate) restoring: Restoring,
}

/// A small generator of numbers that nobody must guess only until the seed is known.
#[derive(Debug)]
pub(crate) struct Random {
    hasher: FixedState,
    count: u64,
}

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.count += 1;
        self.hasher.hash_one(self.count)
    }
}

impl Shard {
    /// A shard without connections. `seed` makes its choices differ from another shard's.
    pub fn new(settings: Settings, now: Timestamp, seed: u64) -> Self {
        let mut timers = Timers::default();
        let shards = settings.placement.shards();
        // The first shard speaks for all.
        if settings.system_interval_seconds > 0 && settings.shard == ShardId(0) {
            timers.set(now, Timer::System);
        }
        Self {
            now,
            started: now,
            connections: Connections::default(),
            registry: Registry::new(seed),
            router: Router::new(seed),
            routes: Routes::new(seed),
            groups: Groups::new(seed),
            joins: Joins::default(),
            windows: Windows::new(shards, settings.limits.forward_bytes_max),
            published: smallvec![0; usize::from(shards)],
            asks: Vec::new(),
            seen: Positions::new(shards),
            counters: Counters::default(),
            retained: Retained::new(Arc::clone(&settings.totals)),
            timers,
            due_wills: DueWills::default(),
            statistics: Statistics::default(),
            subscriptions: 0,
            dirty: Vec::new(),
            spares: Spares::default(),
            frames: Frames::default(),
            goes_straight: crate::straight::is_free(&settings),
            last_topic: None,
            memory: Memory::new(
                settings.limits.memory_bytes_max,
                shards,
                Arc::clone(&settings.totals),
            ),
            stored: Memory::of_store(
                settings.limits.stored_bytes_max,
                shards,
                Arc::clone(&settings.totals),
            ),
            connect_rate: Rate::default(),
            work: VecDeque::new(),
            fan_outs_deferred: 0,
            replaying: VecDeque::new(),
            outstanding: HashMap::with_hasher(FixedState::with_seed(seed)),
            held: BTreeMap::new(),
            budget: 0,
            random: Random { hasher: FixedState::with_seed(seed), count: 0 },
            loads: Loads::new(now),
            stopping: None,
            records: Records::default(),
            store_room: StoreRoom::default(),
            restoring: Restoring::default(),
            settings: Arc::new(settings),
        }
    }

    /// Takes one input at `now` and says with `effects` what follows from it. What it returns is
    /// about the bytes of [`Input::Bytes`] and [`Input::Continue`] only.
    pub fn on_input(
        &mut self,
        now: Timestamp,
        input: Input<'_>,
        effects: &mut Effects,
    ) -> Consumed {
        self.now = self.now.max(now);
        self.budget = TURN_BUDGET;
        match input {
            Input::Opened { connection: id, listener, peer, moved } => {
                self.statistics.connections_opened += u64::from(!moved);
                self.settings.totals.connections.add(1);
                let connection = Connection::new(id.generation, listener, peer, self.now);
                self.connections.insert(id, connection);
                match self.stopping {
                    Some(code) => {
                        let text = "the server stops".into();
                        self.disconnect(id, Reason { code, text, limit: None }, None, effects);
                    }
                    None => self.watch(id),
                }
            }
            Input::Bytes { connection, bytes } | Input::Continue { connection, bytes } => {
                return self.on_bytes(connection, bytes, effects);
            }
            Input::Flushed { connection } => self.on_flushed(connection, effects),
            Input::Closed { connection } => self.on_closed(connection, effects),
            Input::Authenticated { token, outcome } => {
                if let Some(id) = self.stopped_at(token) {
                    let flow = self.on_authenticated(id, outcome, effects);
                    self.settle(id, flow, effects);
                }
            }
            Input::Authorized { token, allowed } => {
                if let Waiting::Will { number } = token.0 {
                    self.on_will_authorized(number, allowed, effects);
                } else if let Some(id) = self.stopped_at(token) {
                    self.on_authorized(id, allowed, effects);
                }
            }
            Input::Persisted { records } => self.on_persisted(records, effects),
            Input::QueueRead { session, from, messages, next } => {
                self.on_queue_read(session, from, messages, next, effects);
            }
            Input::Spilled { session, up_to } => self.on_spilled(session, up_to, effects),
            Input::LogEmptied => self.on_log_emptied(effects),
            Input::Restore(restored) => self.on_restore(restored, effects),
            Input::StoreReport(report) => self.counters.note_store(report),
            Input::StoreRoom { has_room } => self.on_store_room(has_room, effects),
            Input::FromShard { from, message } => self.on_shard_message(from, message, effects),
            Input::Command(command) => self.on_command(&command, effects),
            Input::Timeout => {
                self.on_timeout(effects);
                self.go_on_replaying(effects);
            }
        }
        Consumed::default()
    }

    /// When [`Input::Timeout`] is due, at the latest; a time that has passed means that there is
    /// work left for another turn.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if !self.work.is_empty() || !self.replaying.is_empty() {
            return Some(self.now);
        }
        self.timers.next()
    }

    /// Moves the connections that have got something to write since the last call into `into`.
    pub fn take_dirty(&mut self, into: &mut Vec<ConnectionId>) {
        for id in &self.dirty {
            if let Some(connection) = self.connections.find_mut(*id) {
                connection.dirty = false;
            }
        }
        into.append(&mut self.dirty);
    }

    /// What waits to be written to a connection, until [`Input::Closed`].
    pub fn outbound(&mut self, connection: ConnectionId) -> Option<&mut Outbound> {
        self.connections.find_mut(connection).map(|connection| &mut connection.outbound)
    }

    /// Takes the memory of a buffer that is written out back, to be lent to the next connection
    /// that has something to write: an idle connection holds none. A driver calls it when nothing
    /// of [`Shard::outbound`] is left.
    pub fn reclaim(&mut self, connection: ConnectionId) {
        let Some(connection) = self.connections.find_mut(connection) else { return };
        if connection.outbound.is_empty() {
            self.memory.shrink(core::mem::take(&mut connection.counted) as u64);
        }
        self.spares.take_back(&mut connection.outbound);
    }

    /// What was counted.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The settings that the shard was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How much of everything there is now; costs a walk over all sessions.
    pub fn gauges(&self) -> Gauges {
        let (queued_messages, queued_bytes) = self.groups.backlog();
        let mut gauges = Gauges {
            connections: self.connections.len() as u64,
            sessions: self.registry.len() as u64,
            subscriptions: self.subscriptions,
            shared_groups: self.groups.len() as u64,
            retained_messages: self.retained.messages(),
            retained_bytes: self.retained.bytes(),
            queued_messages,
            queued_bytes,
            memory_bytes: self.memory.used(),
            stored_bytes: self.stored.used(),
            waiting_for_store: self.waiting_for_room(),
            ..Gauges::default()
        };
        for session in self.registry.iter() {
            let (connected, in_memory) =
                (session.connection.is_some(), session.durability == Durability::Memory);
            gauges.clients_connected += u64::from(connected);
            gauges.clients_in_memory += u64::from(connected && in_memory);
            gauges.sessions_stored += u64::from(session.is_stored());
            gauges.queued_messages += session.waiting();
            gauges.queued_bytes += session.queued_bytes;
            gauges.in_flight_messages += session.sender.in_flight() as u64;
        }
        gauges
    }

    /// Every session, connected or not.
    pub fn clients(&self) -> impl Iterator<Item = ClientSummary> + '_ {
        self.registry.iter().map(|session| {
            let connection = session.connection.and_then(|id| self.connections.find(id));
            ClientSummary {
                client_id: Arc::clone(&session.client_id),
                version: session.version,
                connection: session.connection,
                peer: connection.map(|connection| connection.peer.clone()),
                user_name: session.principal.user_name.clone(),
                subscriptions: session.subscriptions.len(),
                queued_messages: session.waiting(),
                in_flight_messages: session.sender.in_flight(),
                session_expiry_interval: session.expiry_interval,
            }
        })
    }

    /// Takes every complete packet, as long as nothing waits and the turn lasts.
    fn on_bytes(&mut self, id: ConnectionId, bytes: &[u8], effects: &mut Effects) -> Consumed {
        let mut rest = bytes;
        while let Some(connection) = self.connections.find_mut(id) {
            let limits = &self.settings.limits;
            // [MQTT5-3.1.4-6] [MQTT311-3.1.4-5] [MQTT5-4.13.2-1]
            let reading = if connection.phase == Phase::Closing {
                break;
            } else if connection.parked.is_some() || connection.is_throttled {
                Some(Reading::Paused)
            } else if connection.outbound.len() >= 2 * limits.outbound_bytes_max as usize {
                // It sends, but does not read what we answer.
                connection.congested = true;
                connection.unread_behind = connection.outbound.len();
                Some(Reading::Paused)
            } else if self.budget == 0 {
                Some(Reading::Budget)
            } else {
                None
            };
            if let Some(reading) = reading {
                return Consumed { bytes: bytes.len() - rest.len(), reading };
            }
            let (phase, version) = (connection.phase, connection.version);
            if let Phase::Online(session) = phase
                && !self.lacks_store_room()
            {
                let stream = (bytes.len() - rest.len(), rest);
                let taken = self.go_straight(id, session, version, stream, effects);
                if taken > 0 {
                    rest = rest.get(taken..).unwrap_or_default();
                    continue;
                }
            }
            let connecting = phase == Phase::Connecting;
            let limits = &self.settings.limits;
            let maximum =
                if connecting { limits.connect_bytes_max } else { limits.maximum_packet_size };
            if connecting && is_no_connect(rest) {
                self.fail(id, &ProtocolError::FirstPacketNotConnect.into(), effects);
                continue;
            }
            let frame = match split(rest, maximum) {
                Ok(Framing::Complete(frame)) => frame,
                Ok(Framing::Partial { .. }) => {
                    let bytes = bytes.len() - rest.len();
                    return Consumed { bytes, reading: Reading::Drained };
                }
                Err(error) => {
                    self.fail(id, &error.into(), effects);
                    continue;
                }
            };
            self.note_heard(id);
            if connecting && let Some(home) = self.home_elsewhere(&frame) {
                self.forget(id);
                let bytes = bytes.len() - rest.len();
                return Consumed { bytes, reading: Reading::Moved(home) };
            }
            rest = rest.get(frame.length..).unwrap_or_default();
            self.budget -= 1;
            self.statistics.bytes_received += frame.length as u64;
            if frame.packet_type == PacketType::Publish {
                self.note_rate(id, frame.length);
            }
            if let Err(fault) = self.on_frame(id, (phase, version), &frame, effects) {
                self.fail(id, &fault, effects);
            }
        }
        Consumed { bytes: bytes.len(), reading: Reading::Drained }
    }

    /// The connection has said something.
    fn note_heard(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.find_mut(id) {
            connection.heard = self.now;
        }
    }

    /// A buffer that was too full has been written out.
    fn on_flushed(&mut self, id: ConnectionId, effects: &mut Effects) {
        self.reclaim(id);
        let now = self.now;
        let Some(connection) = self.connections.find_mut(id) else { return };
        if !core::mem::take(&mut connection.congested) {
            return;
        }
        if connection.phase == Phase::Closing {
            return;
        }
        // Nothing may have been read from it since; that was not its silence.
        if core::mem::take(&mut connection.unread_behind) > 0 {
            connection.heard = now;
        }
        let session = connection.session();
        effects.push(Effect::Resume { connection: id });
        if let Some(key) = session {
            self.pump(key, effects);
        }
    }

    /// Stops a connection at a packet; the number that its answer must name.
    pub(crate) fn park(&mut self, id: ConnectionId, parked: Parked) -> u32 {
        self.set_parked(id, parked);
        self.next_step(id)
    }

    /// The number that the next answer must name.
    pub(crate) fn next_step(&mut self, id: ConnectionId) -> u32 {
        let Some(connection) = self.connections.find_mut(id) else { return 0 };
        connection.step = connection.step.wrapping_add(1);
        connection.step
    }

    pub(crate) fn set_parked(&mut self, id: ConnectionId, parked: Parked) {
        if let Some(connection) = self.connections.find_mut(id) {
            connection.parked = Some(parked);
        }
    }

    /// The connection that still waits for exactly this answer.
    pub(crate) fn stopped_at(&self, token: Token) -> Option<ConnectionId> {
        let Waiting::Packet { connection: id, step } = token.0 else { return None };
        let connection = self.connections.find(id)?;
        (connection.step == step && connection.parked.is_some()).then_some(id)
    }

    /// What an answer led to: the connection goes on, waits again, or ends.
    pub(crate) fn settle(
        &mut self,
        id: ConnectionId,
        flow: Result<Flow, Fault>,
        effects: &mut Effects,
    ) {
        match flow {
            Ok(Flow::Next) => self.resume(id, effects),
            Ok(Flow::Wait) => {}
            Err(fault) => self.fail(id, &fault, effects),
        }
    }

    /// Lets a connection go on behind the packet that it was stopped at. As nothing was read from
    /// it since, its silence begins now.
    pub(crate) fn resume(&mut self, id: ConnectionId, effects: &mut Effects) {
        if let Some(connection) = self.connections.find_mut(id) {
            connection.heard = self.now;
        }
        effects.push(Effect::Resume { connection: id });
    }

    /// The store or another shard is done with a part of the packet that a connection is stopped
    /// at.
    pub(crate) fn on_part_done(&mut self, token: Token, effects: &mut Effects) {
        if token.0 == Waiting::Restore {
            self.on_restored_route_known(effects);
            return;
        }
        let Some(id) = self.stopped_at(token) else { return };
        let Some(connection) = self.connections.find_mut(id) else { return };
        let flow = match connection.parked.take() {
            Some(Parked::Subscribe(mut parked)) if parked.parts > 1 => {
                parked.parts -= 1;
                connection.parked = Some(Parked::Subscribe(parked));
                return;
            }
            Some(Parked::Unsubscribe(mut parked)) if parked.parts > 1 => {
                parked.parts -= 1;
                connection.parked = Some(Parked::Unsubscribe(parked));
                return;
            }
            Some(Parked::Subscribe(parked)) => self.finish_subscribe(id, *parked, effects),
            Some(Parked::Unsubscribe(parked)) => self.finish_unsubscribe(id, *parked),
            other @ Some(Parked::Connect(_)) => {
                connection.parked = other;
                self.on_session_persisted(id, effects)
            }
            other => {
                connection.parked = other;
                return;
            }
        };
        self.settle(id, flow, effects);
    }

    /// Where the client of a CONNECT is at home, if that is another shard. What is wrong with the
    /// packet, this one says itself.
    fn home_elsewhere(&self, frame: &Frame<'_>) -> Option<ShardId> {
        let placement = &self.settings.placement;
        if placement.shards() == 1 {
            return None;
        }
        let connect = Connect::decode(frame, self.settings.text_rules).ok()?;
        // Whoever has no identifier gets one whose home is here.
        let home = placement.client(connect.client_id);
        (!connect.client_id.is_empty() && home != self.settings.shard).then_some(home)
    }

    /// Forgets a connection that is gone, or that another shard goes on with.
    pub(crate) fn forget(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(id) {
            self.settings.totals.connections.subtract(1);
            self.wait_for_room_no_more(id);
            self.memory.shrink(connection.counted as u64);
            if let Some(at) = connection.timer {
                self.timers.cancel(at, Timer::Connection(id));
            }
        }
    }
}

/// Whether the first packet is another one, which shows before it is whole: only a CONNECT is
/// waited for.
// [MQTT5-3.1.0-1] [MQTT311-3.1.0-1]
fn is_no_connect(rest: &[u8]) -> bool {
    rest.first().is_some_and(|first| first >> 4 != PacketType::Connect as u8)
}
