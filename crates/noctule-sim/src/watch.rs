//! What the world sees of the broker from outside: events, what was read, what waits. The oracle
//! and the named situations live on it.

use noctule_broker_core::{Durability, Ended, Event, Input};
use noctule_packet::ReasonCode;

use crate::link::{LinkId, Mark};
use crate::world::World;

/// A subscription that is being made, and its replay.
#[derive(Clone, Debug)]
pub(crate) struct NewSubscription {
    client: usize,
    shard: usize,
    filter: usize,
    /// Until when its replay is under way, once SUBACK was sent.
    replays_until: Option<u64>,
}

/// How long a replay is under way at least, in milliseconds.
const REPLAY: u64 = 3;

impl World {
    pub(crate) fn command(&mut self, shard: usize, input: Input<'_>) {
        self.input(shard, input);
    }

    pub(crate) fn note_event(&mut self, shard: usize, event: &Event) {
        self.trace(|| format!("shard {shard}: {event:?}"));
        match event {
            Event::Connected { connection, session_present, durability, .. } => {
                if let Some(link) = self.link_of(shard, *connection) {
                    self.note_mode(link, *session_present, *durability);
                    self.note_connected(link, *session_present);
                }
            }
            Event::Disconnected { connection, ended, .. } => {
                if let Some(link) = self.link_of(shard, *connection) {
                    self.note_disconnected(link, ended);
                    self.note_unsettled(self.links[link].client, shard, false);
                }
            }
            Event::Dropped { client_id, topic, .. } => self.oracle.dropped(client_id, topic),
            Event::SessionEnded { client_id } => {
                let client = self.clients.iter().position(|known| known.client_id == **client_id);
                if let Some(client) = client {
                    self.oracle.session_ended(client);
                    self.note_unsettled(client, shard, true);
                }
            }
            Event::Subscribed { client_id, filter, .. } => {
                let client = self.clients.iter().position(|known| known.client_id == **client_id);
                let filter = self.topics.find_filter(filter);
                let until = self.now + self.profile.shard_delay.max(REPLAY);
                for new in &mut self.new_subscriptions {
                    if Some(new.client) == client && Some(new.filter) == filter {
                        new.replays_until.get_or_insert(until);
                    }
                }
            }
            _ => {}
        }
    }

    fn note_connected(&mut self, link: LinkId, present: bool) {
        let client = self.links[link].client;
        let mut is_unclear = false;
        for (number, other) in self.links.iter_mut().enumerate() {
            if other.client == client && number != link && other.let_in.is_none() {
                // Its CONNECT was read and never answered.
                is_unclear |= std::mem::take(&mut other.connect_consumed);
            }
        }
        if is_unclear {
            self.oracle.connect_unanswered(client);
        }
        self.oracle.connected(link, &self.links[link], present);
        self.links[link].let_in = Some(present);
        self.links[link].session_number = self.oracle.sessions_begun(client);
    }

    /// A session may go on in another mode.
    fn note_mode(&mut self, link: LinkId, present: bool, durability: Durability) {
        let client = self.links[link].client;
        let before = self.clients[client].durability.replace(durability);
        match (before.filter(|_| present), durability) {
            (Some(Durability::Memory), Durability::Stored) => self.situations.comes_to_store += 1,
            (Some(Durability::Stored), Durability::Memory) => self.situations.leaves_store += 1,
            _ => {}
        }
    }

    fn note_disconnected(&mut self, link: LinkId, ended: &Ended) {
        let known = &self.links[link];
        let client = &self.clients[known.client];
        if let Ended::ByServer(reason) = ended
            && reason.code == ReasonCode::SessionTakenOver
            && (!client.unreleased.is_empty()
                || client
                    .unfinished
                    .iter()
                    .any(|sent| sent.qos == noctule_packet::QoS::ExactlyOnce))
        {
            self.situations.take_over_with_qos_2 += 1;
        }
        self.oracle.disconnected(&self.links[link], ended);
    }

    /// A shard has read a packet.
    pub(crate) fn note_read(&mut self, link: LinkId, mark: &Mark) {
        let (client, shard) = (self.links[link].client, usize::from(self.links[link].shard.0));
        match mark {
            Mark::Subscribe { filters } => {
                for filter in filters {
                    let (filter, replays_until) = (*filter, None);
                    let new = NewSubscription { client, shard, filter, replays_until };
                    self.new_subscriptions.push(new);
                }
            }
            Mark::Publish { topic, retain: true } => self.note_races(shard, *topic),
            Mark::Connect | Mark::Publish { .. } | Mark::Other => {}
        }
    }

    fn note_races(&mut self, shard: usize, topic: usize) {
        let now = self.now;
        self.new_subscriptions.retain(|new| new.replays_until.is_none_or(|until| now <= until));
        for new in &self.new_subscriptions {
            if new.shard == shard || !self.topics.is_match(new.filter, topic) {
                continue;
            }
            match new.replays_until {
                Some(_) => self.situations.retained_race_replay += 1,
                None => self.situations.retained_race_route += 1,
            }
        }
    }

    /// A shard reads nothing more from a connection for now.
    pub(crate) fn note_pause(&mut self, link: LinkId) {
        let known = &self.links[link];
        let (shard, id) = (usize::from(known.shard.0), known.id);
        let is_publish = matches!(known.last_mark, Mark::Publish { .. });
        let maximum = 2 * self.profile.limits.outbound_bytes_max as usize;
        let outbound = self.shards[shard].shard.outbound(id);
        let is_congested = outbound.is_some_and(|outbound| outbound.len() >= maximum);
        let asks = self.profile.authorization == noctule_broker_core::Authorization::Ask;
        if is_publish && !is_congested && !asks {
            self.situations.budget_pause += 1;
        }
    }
}
