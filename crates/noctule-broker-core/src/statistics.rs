//! Counters of one shard; all of them only ever grow, gauges are asked of the shard itself.

use crate::event::DropCause;
use crate::peer::Peer;

/// What a shard has counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Bytes taken from connections.
    pub bytes_received: u64,
    /// Bytes put into outbound buffers.
    pub bytes_sent: u64,
    /// Packets of any type taken.
    pub packets_received: u64,
    /// Packets of any type put into outbound buffers.
    pub packets_sent: u64,
    /// PUBLISH packets taken.
    pub publish_received: u64,
    /// PUBLISH packets put into outbound buffers.
    pub publish_sent: u64,
    /// Connections opened.
    pub connections_opened: u64,
    /// Clients let in.
    pub clients_connected: u64,
    /// Connections turned away before they were let in.
    pub connections_refused: u64,
    /// Clients that the broker disconnected.
    pub clients_disconnected: u64,
    /// Publications refused by authorisation or policy.
    pub publish_refused: u64,
    /// Publications that waited because another shard had no room for them.
    pub publish_paused: u64,
    /// Publications that waited because the store had no room for them.
    pub publish_unkept: u64,
    /// Publications whose clients were read on a little later because they were too fast.
    pub publish_throttled: u64,
    /// Sessions that came to their end.
    pub sessions_ended: u64,
    /// Wills published.
    pub wills_published: u64,
    /// Messages not delivered, by [`DropCause::index`].
    pub dropped: [u64; DropCause::ALL.len()],
}

impl Statistics {
    /// Adds what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        let Self { dropped, .. } = other;
        let pairs = [
            (&mut self.bytes_received, other.bytes_received),
            (&mut self.bytes_sent, other.bytes_sent),
            (&mut self.packets_received, other.packets_received),
            (&mut self.packets_sent, other.packets_sent),
            (&mut self.publish_received, other.publish_received),
            (&mut self.publish_sent, other.publish_sent),
            (&mut self.connections_opened, other.connections_opened),
            (&mut self.clients_connected, other.clients_connected),
            (&mut self.connections_refused, other.connections_refused),
            (&mut self.clients_disconnected, other.clients_disconnected),
            (&mut self.publish_refused, other.publish_refused),
            (&mut self.publish_paused, other.publish_paused),
            (&mut self.publish_unkept, other.publish_unkept),
            (&mut self.publish_throttled, other.publish_throttled),
            (&mut self.sessions_ended, other.sessions_ended),
            (&mut self.wills_published, other.wills_published),
        ];
        let dropped = self.dropped.iter_mut().zip(dropped.iter().copied());
        for (sum, more) in pairs.into_iter().chain(dropped) {
            *sum += more;
        }
    }

    /// A packet was put into an outbound buffer.
    pub(crate) fn note_sent(&mut self, bytes: usize) {
        self.packets_sent += 1;
        self.bytes_sent += bytes as u64;
    }

    /// Messages not delivered, for any cause.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// How much of everything a shard holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gauges {
    /// Connections, let in or not.
    pub connections: u64,
    /// Clients that are connected.
    pub clients_connected: u64,
    /// Sessions, connected or not.
    pub sessions: u64,
    /// Subscriptions of all sessions.
    pub subscriptions: u64,
    /// Shared subscriptions' groups.
    pub shared_groups: u64,
    /// Retained messages, without those of `$SYS`.
    pub retained_messages: u64,
    /// Their bytes, with those of the tree of their topics.
    pub retained_bytes: u64,
    /// Messages that wait for sessions or groups.
    pub queued_messages: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// QoS 1 and 2 messages on their way to clients.
    pub in_flight_messages: u64,
    /// Bytes of all messages that wait or are on their way, and of outbound buffers as of when they
    /// were last added to.
    pub memory_bytes: u64,
    /// Sessions that the store has.
    pub sessions_stored: u64,
    /// Bytes of what waits in the store.
    pub stored_bytes: u64,
    /// Clients that are connected, and to whom an acknowledgement means that something is in
    /// memory.
    pub clients_in_memory: u64,
    /// Connections with a publication for which the store has no room.
    pub waiting_for_store: u64,
}

impl Gauges {
    /// Adds what another shard holds.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.connections, other.connections),
            (&mut self.clients_connected, other.clients_connected),
            (&mut self.sessions, other.sessions),
            (&mut self.subscriptions, other.subscriptions),
            (&mut self.shared_groups, other.shared_groups),
            (&mut self.retained_messages, other.retained_messages),
            (&mut self.retained_bytes, other.retained_bytes),
            (&mut self.queued_messages, other.queued_messages),
            (&mut self.queued_bytes, other.queued_bytes),
            (&mut self.in_flight_messages, other.in_flight_messages),
            (&mut self.memory_bytes, other.memory_bytes),
            (&mut self.sessions_stored, other.sessions_stored),
            (&mut self.stored_bytes, other.stored_bytes),
            (&mut self.clients_in_memory, other.clients_in_memory),
            (&mut self.waiting_for_store, other.waiting_for_store),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
    }
}

/// One client, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientSummary {
    /// Its identifier.
    pub client_id: alloc::sync::Arc<str>,
    /// What it speaks, or spoke last.
    pub version: noctule_packet::Version,
    /// Its connection, if it has one.
    pub connection: Option<crate::ConnectionId>,
    /// Its address, if it is connected.
    pub peer: Option<Peer>,
    /// Its authenticated user.
    pub user_name: Option<alloc::boxed::Box<str>>,
    /// How many subscriptions it has.
    pub subscriptions: usize,
    /// How many messages wait for it.
    pub queued_messages: u64,
    /// How many QoS 1 and 2 messages are on their way to it.
    pub in_flight_messages: usize,
    /// The Session Expiry Interval in seconds.
    pub session_expiry_interval: u32,
}
