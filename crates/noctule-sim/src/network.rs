//! The network: bytes that are split, late, held up, or never arrive.

use noctule_broker_core::{ListenerId, ShardId};

use crate::link::{BrokerEnd, Link, LinkId, Mark};
use crate::world::{Happening, World};

impl World {
    /// A new connection from a client, to some shard.
    pub(crate) fn dial(&mut self, client: usize) -> LinkId {
        let shard = ShardId(self.random.below(self.shards.len() as u64) as u16);
        let link = self.links.len();
        let is_in_memory = self.profile.changes_modes && self.random.chance(50);
        if is_in_memory {
            self.oracle.dials_in_memory(link);
        }
        self.links.push(Link::new(client, shard, ListenerId(u16::from(is_in_memory))));
        let delay = self.random.between(0, self.profile.network_delay);
        self.schedule(delay, Happening::Open(link));
        link
    }

    /// Sends a packet of a client on its way, in pieces.
    pub(crate) fn send_upward(&mut self, link: LinkId, packet: &[u8], mark: Mark) {
        let known = &mut self.links[link];
        if !known.client_is_open {
            return;
        }
        known.sent += packet.len() as u64;
        known.marks.push_back((known.sent, mark));
        let mut rest = packet;
        while !rest.is_empty() {
            let cut = self.random.chance(10);
            let count = if cut { 1 + self.random.index(rest.len()) } else { rest.len() };
            let delay = self.random.between(0, self.profile.network_delay);
            let at = self.links[link].upward_last.max(self.now + delay);
            self.links[link].upward_last = at;
            self.links[link].upward.push_back((at, rest[..count].to_vec()));
            self.schedule_at(at, Happening::Upward(link));
            rest = &rest[count..];
        }
    }

    pub(crate) fn send_downward(&mut self, link: LinkId, bytes: Vec<u8>) {
        let known = &mut self.links[link];
        if bytes.is_empty() {
            return;
        }
        known.downward_bytes += bytes.len();
        if !known.client_is_open {
            return;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let cut = self.random.chance(10);
            let count = if cut { 1 + self.random.index(rest.len()) } else { rest.len() };
            let delay = self.random.between(0, self.profile.network_delay);
            let at = self.links[link].downward_last.max(self.now + delay);
            self.links[link].downward_last = at;
            self.links[link].downward.push_back((at, rest[..count].to_vec()));
            self.schedule_at(at, Happening::Downward(link));
            rest = &rest[count..];
        }
    }

    pub(crate) fn bytes_reach_client(&mut self, link: LinkId) {
        let known = &mut self.links[link];
        if known.is_stalled || !known.client_is_open {
            return;
        }
        // More than one piece may be there, if the client did not read for a while.
        while known.downward.front().is_some_and(|(at, _)| *at <= self.now)
            && let Some((_, bytes)) = known.downward.pop_front()
        {
            known.downward_bytes -= bytes.len();
            known.inbox.extend(bytes);
        }
        let is_blocked = known.is_blocked;
        self.client_reads(link);
        if is_blocked {
            self.schedule(0, Happening::Write(link));
        }
    }

    /// The client reads again what it had left in the network.
    pub(crate) fn unstall(&mut self, link: LinkId) {
        self.links[link].is_stalled = false;
        self.schedule(0, Happening::Downward(link));
        if matches!(self.links[link].broker_end, BrokerEnd::Closed) {
            let at = self.links[link].downward_last.max(self.now);
            self.schedule_at(at, Happening::EndOfStream(link));
        }
    }

    /// A connection breaks: the client is gone at once, some of what it sent still arrives, and the
    /// broker learns of it later or never.
    pub(crate) fn cut(&mut self, link: LinkId, half_open: bool) {
        self.trace(|| format!("link {link} is cut{}", if half_open { ", half-open" } else { "" }));
        let known = &mut self.links[link];
        known.client_is_open = false;
        known.is_half_open = half_open;
        known.downward.clear();
        let under_way = known.upward.len();
        let kept = if under_way == 0 { 0 } else { self.random.index(under_way + 1) };
        self.links[link].upward.truncate(kept);
        if !half_open {
            let delay = self.random.between(0, 2 * self.profile.network_delay);
            let at = self.links[link].upward_last.max(self.now) + delay;
            self.schedule_at(at, Happening::Gone(link));
        }
    }

    /// A client ends its connection in good order: what it sent arrives.
    pub(crate) fn shut_down(&mut self, link: LinkId) {
        let known = &mut self.links[link];
        known.client_is_open = false;
        known.downward.clear();
        let at = known.upward_last.max(self.now);
        self.schedule_at(at + 1, Happening::Gone(link));
    }
}
