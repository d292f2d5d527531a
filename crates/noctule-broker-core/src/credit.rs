//! How much one shard may be sent by another before it has dealt with what came earlier, and who
//! waits for that.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::connection::Parked;
use crate::effect::Effects;
use crate::input::{ConnectionId, ShardId};
use crate::publish::ParkedPublish;
use crate::router::{Matches, Target};
use crate::shard::Shard;
use crate::shard_message::Body;

/// Of its window, how much a shard takes in before it says so.
const REPAY_PART: u64 = 4;

/// This shard's dealings with one other.
#[derive(Debug)]
pub(crate) struct Window {
    /// What it may still be sent; a publication that does not fit into what is left overdraws it.
    left: i64,
    /// What came from it, was dealt with, and has not been said.
    owed: u64,
    /// Connections whose publications wait for it.
    waiting: VecDeque<ConnectionId>,
}

/// The windows of a shard, by the other's number.
#[derive(Debug)]
pub(crate) struct Windows(Vec<Window>);

impl Windows {
    pub(crate) fn new(shards: u16, bytes: u32) -> Self {
        let window = || Window { left: i64::from(bytes), owed: 0, waiting: VecDeque::new() };
        Self((0..shards).map(|_| window()).collect())
    }

    fn of(&mut self, shard: ShardId) -> Option<&mut Window> {
        self.0.get_mut(usize::from(shard.0))
    }

    /// Whether a shard takes more.
    pub(crate) fn is_open(&self, shard: ShardId) -> bool {
        self.0.get(usize::from(shard.0)).is_some_and(|window| window.left > 0)
    }

    /// So much goes to a shard.
    pub(crate) fn spend(&mut self, shard: ShardId, bytes: usize) {
        if let Some(window) = self.of(shard) {
            window.left = window.left.saturating_sub_unsigned(bytes as u64);
        }
    }
}

impl Shard {
    /// The first shard that a publication must go to and that takes no more for now.
    pub(crate) fn blocked_by(&self, matches: &Matches, owner: Option<ShardId>) -> Option<ShardId> {
        if self.settings.placement.shards() == 1 {
            return None;
        }
        // Other shards stand behind all of this one's targets.
        let others = matches.iter().rev().map_while(|found| match found.target {
            Target::Shard(shard) => Some(shard),
            Target::Session(_) | Target::Group(_) => None,
        });
        others.chain(owner).find(|shard| !self.windows.is_open(*shard))
    }

    /// Lets a connection wait until a shard takes more.
    pub(crate) fn wait_for_credit(
        &mut self,
        id: ConnectionId,
        shard: ShardId,
        parked: ParkedPublish,
    ) {
        self.park(id, Parked::Room(alloc::boxed::Box::new(parked)));
        self.statistics.publish_paused += 1;
        if let Some(window) = self.windows.of(shard) {
            window.waiting.push_back(id);
        }
    }

    /// Another shard has dealt with so much of what it was sent.
    pub(crate) fn on_credit(&mut self, from: ShardId, bytes: u64, effects: &mut Effects) {
        let was_open = self.windows.is_open(from);
        if let Some(window) = self.windows.of(from) {
            window.left = window.left.saturating_add_unsigned(bytes);
        }
        if !was_open && self.windows.is_open(from) {
            self.feed_groups(effects);
        }
        while self.windows.is_open(from)
            && let Some(id) = self.windows.of(from).and_then(|window| window.waiting.pop_front())
        {
            self.try_again(id, effects);
        }
    }

    /// A publication that waited for room may go on, or wait for it elsewhere.
    pub(crate) fn try_again(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        match connection.parked.take() {
            Some(Parked::Room(parked)) => {
                let flow = self.accept_parked(id, *parked, effects);
                self.settle(id, flow, effects);
            }
            other => connection.parked = other,
        }
    }

    /// What came from another shard is dealt with: it may send as much again.
    pub(crate) fn repay(&mut self, to: ShardId, bytes: u64, effects: &mut Effects) {
        let enough = u64::from(self.settings.limits.forward_bytes_max) / REPAY_PART;
        let Some(window) = self.windows.of(to) else { return };
        window.owed += bytes;
        if window.owed >= enough {
            let bytes = core::mem::take(&mut window.owed);
            effects.tell(to, Body::Credit { bytes });
        }
    }
}
