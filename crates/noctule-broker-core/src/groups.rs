//! The shared subscriptions that live on a shard: their members, and what waits for one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use noctule_packet::QoS;

use crate::input::ShardId;
use crate::message::Message;
use crate::placement::Placement;
use crate::registry::SessionKey;
use crate::session::Subscription;

/// How many members that have left a group with work in flight are remembered.
const DEPARTED_MAX: usize = 64;

/// Where numbers of messages begin, so that there is room before them.
const BEGINNING: u64 = 1 << 63;

/// Names a group: a place that is used again, and how often it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKey {
    slot: u32,
    generation: u32,
}

/// Which message of which group a delivery is, so that it finds its place when it comes back.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    /// Where the group lives.
    pub(crate) owner: ShardId,
    /// The group's whole filter, `$share` and all.
    pub(crate) filter: Arc<str>,
    /// Which group of this filter; `None` of a message from before the last crash, which is that of
    /// the group that has the filter now.
    pub(crate) group: Option<GroupKey>,
    /// Counts messages; 0 of one from before the last crash, which are older than all others.
    pub(crate) number: u64,
    /// Where the store has it as the group's, and not as its session's.
    pub(crate) place: Option<Place>,
}

impl Tag {
    /// That of a message that a member had before the last crash: the store has it as the member's.
    pub(crate) fn from_before(filter: Arc<str>, placement: &Placement) -> Self {
        Self { owner: placement.group(&filter), filter, group: None, number: 0, place: None }
    }
}

/// A place in a queue that is kept: mostly in one of a shared subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) queue: u64,
    pub(crate) sequence: u64,
}

/// A message of a group that waits for a member, or goes back to where it waited.
#[derive(Clone, Debug)]
pub(crate) struct Unassigned {
    /// 0 until the group has given it one, if it is from before the last crash.
    pub(crate) number: u64,
    /// Where the store has it.
    pub(crate) place: Option<Place>,
    pub(crate) message: Arc<Message>,
}

/// All groups of a shard.
#[derive(Debug)]
pub(crate) struct Groups {
    slots: Vec<(u32, Option<Group>)>,
    free: Vec<u32>,
    /// By the whole filter, `$share` and all.
    by_filter: HashMap<Arc<str>, GroupKey, FixedState>,
    /// Those in which messages wait for a member.
    backlogged: BTreeSet<GroupKey>,
    /// The numbers of the last message, and of the first one from before the last crash. No two
    /// messages have the same, whichever group they are for.
    last: u64,
    first: u64,
    pub(crate) hasher: FixedState,
}

/// The members of one shared subscription.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) filter: Arc<str>,
    pub(crate) members: Vec<Member>,
    /// Who of other shards has left and is not done with so many messages, the last one at the end.
    departed: Vec<((ShardId, SessionKey), u32)>,
    /// Where round robin goes on; behind the last member, it begins anew.
    pub(crate) next: usize,
    /// Messages that no member could take, by their numbers.
    backlog: BTreeMap<u64, (Option<Place>, Arc<Message>)>,
    backlog_bytes: u64,
    /// The last place that was taken in its queue, if it has one that is kept.
    pub(crate) last: Option<Place>,
    /// Whether what waits is kept, because a member is.
    pub(crate) is_kept: bool,
}

/// One member, and for one of another shard what that has lent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) shard: ShardId,
    pub(crate) session: SessionKey,
    pub(crate) subscription: Subscription,
    /// How many messages it takes at a time, if it is connected; unused on its own shard.
    pub(crate) window: Option<u16>,
    /// How many it has been given and is not done with; unused on its own shard.
    pub(crate) outstanding: u32,
    /// Whether its session is stored.
    pub(crate) is_stored: bool,
}

impl Group {
    pub(crate) fn backlog(&self) -> (u64, u64) {
        (self.backlog.len() as u64, self.backlog_bytes)
    }

    /// The message that has waited longest.
    pub(crate) fn first_waiting(&self) -> Option<&Arc<Message>> {
        self.backlog.first_key_value().map(|(_, (_, message))| message)
    }

    pub(crate) fn member_mut(
        &mut self,
        shard: ShardId,
        session: SessionKey,
    ) -> Option<&mut Member> {
        self.members.iter_mut().find(|known| (known.shard, known.session) == (shard, session))
    }

    /// Takes a member in, or changes one. Whoever has left and comes back is still busy with what
    /// it was given before.
    pub(crate) fn join(&mut self, mut member: Member) {
        let id = (member.shard, member.session);
        if let Some(known) = self.member_mut(member.shard, member.session) {
            (known.subscription, known.window) = (member.subscription, member.window);
            known.is_stored = member.is_stored;
            self.note_kept();
            return;
        }
        if let Some(at) = self.departed.iter().position(|(departed, _)| *departed == id) {
            member.outstanding = self.departed.remove(at).1;
        }
        self.members.push(member);
        self.note_kept();
    }

    fn note_kept(&mut self) {
        let keeps =
            |member: &Member| member.is_stored && member.subscription.options.qos > QoS::AtMostOnce;
        self.is_kept = self.members.iter().any(keeps);
    }

    /// Takes a member out that has given so many messages back.
    pub(crate) fn leave(&mut self, id: (ShardId, SessionKey), given_back: usize) {
        self.settle(id, given_back);
        let is_it = |member: &Member| (member.shard, member.session) == id;
        let Some(at) = self.members.iter().position(is_it) else { return };
        let outstanding = self.members.remove(at).outstanding;
        self.note_kept();
        if outstanding > 0 {
            // A session that ends with a QoS 2 message says no more about it.
            if self.departed.len() == DEPARTED_MAX {
                self.departed.remove(0);
            }
            self.departed.push((id, outstanding));
        }
    }

    /// A member, or who was one, is done with so many messages.
    pub(crate) fn settle(&mut self, id: (ShardId, SessionKey), count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if let Some(member) = self.member_mut(id.0, id.1) {
            member.outstanding = member.outstanding.saturating_sub(count);
        } else if let Some(at) = self.departed.iter().position(|(departed, _)| *departed == id)
            && let Some((_, outstanding)) = self.departed.get_mut(at)
        {
            *outstanding = outstanding.saturating_sub(count);
            if *outstanding == 0 {
                self.departed.remove(at);
            }
        }
    }
}

impl Groups {
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        let by_filter = HashMap::with_hasher(hasher.clone());
        let backlogged = BTreeSet::new();
        let (slots, free, last, first) = (Vec::new(), Vec::new(), BEGINNING, BEGINNING);
        Self { slots, free, by_filter, backlogged, last, first, hasher }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_filter.len()
    }

    /// Messages and bytes that wait for a member.
    pub(crate) fn backlog(&self) -> (u64, u64) {
        let groups = self.slots.iter().filter_map(|(_, group)| group.as_ref());
        groups.map(Group::backlog).fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
    }

    pub(crate) fn member(&self, key: GroupKey, at: usize) -> Option<Member> {
        self.group(key)?.members.get(at).copied()
    }

    pub(crate) fn members(&self, key: GroupKey) -> &[Member] {
        self.group(key).map(|group| group.members.as_slice()).unwrap_or_default()
    }

    pub(crate) fn group(&self, key: GroupKey) -> Option<&Group> {
        let (generation, group) = self.slots.get(key.slot as usize)?;
        (*generation == key.generation).then_some(group.as_ref()?)
    }

    pub(crate) fn group_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        let (generation, group) = self.slots.get_mut(key.slot as usize)?;
        if *generation == key.generation { group.as_mut() } else { None }
    }

    pub(crate) fn find(&self, filter: &str) -> Option<GroupKey> {
        self.by_filter.get(filter).copied()
    }

    /// The group of a filter, and whether it was made for this.
    pub(crate) fn find_or_make(&mut self, filter: &str) -> (GroupKey, bool) {
        if let Some(key) = self.find(filter) {
            return (key, false);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let mut key = GroupKey { slot, generation: 0 };
        let filter: Arc<str> = filter.into();
        if let Some((generation, group)) = self.slots.get_mut(slot as usize) {
            key.generation = *generation;
            *group = Some(Group {
                filter: Arc::clone(&filter),
                members: Vec::new(),
                departed: Vec::new(),
                next: 0,
                backlog: BTreeMap::new(),
                backlog_bytes: 0,
                last: None,
                is_kept: false,
            });
        }
        self.by_filter.insert(filter, key);
        (key, true)
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        let Some(key) = self.by_filter.remove(filter) else { return };
        if let Some((generation, group)) = self.slots.get_mut(key.slot as usize) {
            *generation = generation.wrapping_add(1);
            *group = None;
            self.free.push(key.slot);
        }
        self.backlogged.remove(&key);
    }

    /// The number of a message that comes.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Numbers messages that have none, in their order and before all others.
    pub(crate) fn number(&mut self, unfinished: &mut [Unassigned]) {
        for waiting in unfinished.iter_mut().rev().filter(|waiting| waiting.number == 0) {
            self.first -= 1;
            waiting.number = self.first;
        }
    }

    /// Lets a message wait for a member: behind earlier ones, before later ones.
    pub(crate) fn keep(&mut self, key: GroupKey, waiting: Unassigned) {
        let Some(group) = self.group_mut(key) else { return };
        let Unassigned { number, place, message } = waiting;
        group.backlog_bytes += message.bytes() as u64;
        group.backlog.insert(number, (place, message));
        self.backlogged.insert(key);
    }

    /// Takes the message that has waited longest.
    pub(crate) fn take(&mut self, key: GroupKey) -> Option<Unassigned> {
        let group = self.group_mut(key)?;
        let (number, (place, message)) = group.backlog.pop_first()?;
        group.backlog_bytes -= message.bytes() as u64;
        if group.backlog.is_empty() {
            self.backlogged.remove(&key);
        }
        Some(Unassigned { number, place, message })
    }

    /// All groups in which messages wait.
    pub(crate) fn backlogged(&self) -> Vec<GroupKey> {
        self.backlogged.iter().copied().collect()
    }

    /// The next of these groups, which are in order, in which messages wait. A session may be a
    /// member of very many others.
    pub(crate) fn next_backlogged(
        &self,
        of: &[GroupKey],
        behind: Option<GroupKey>,
    ) -> Option<GroupKey> {
        let mut at = behind.map_or(0, |last| of.partition_point(|key| *key <= last));
        loop {
            let wanted = of.get(at)?;
            let found = self.backlogged.range(wanted..).next()?;
            if found == wanted {
                return Some(*found);
            }
            at += of.get(at..)?.partition_point(|key| key < found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outstanding(group: &mut Group, id: (ShardId, SessionKey)) -> u32 {
        let subscription = Subscription { options: Default::default(), identifier: None };
        let (shard, session) = id;
        let is_stored = false;
        let window = None;
        group.join(Member { shard, session, subscription, window, outstanding: 0, is_stored });
        group.member_mut(shard, session).expect("it has joined").outstanding
    }

    #[test]
    fn only_so_many_who_have_left_with_work_are_remembered_and_nobody_without() {
        let mut groups = Groups::new(7);
        let (key, _) = groups.find_or_make("$share/g/x");
        let group = groups.group_mut(key).expect("it was made");
        let id = |slot: usize| (ShardId(1), SessionKey::for_test(slot as u32));
        for slot in 0..=DEPARTED_MAX {
            assert_eq!(outstanding(group, id(slot)), 0);
            group.member_mut(id(slot).0, id(slot).1).expect("a member").outstanding = 3;
            group.leave(id(slot), 1);
        }
        assert_eq!((group.departed.len(), group.members.len()), (DEPARTED_MAX, 0));
        group.settle(id(2), 1);
        group.settle(id(3), 2);
        assert_eq!(group.departed.len(), DEPARTED_MAX - 1, "one is done");
        assert_eq!([0, 1, 2, 3].map(|slot| outstanding(group, id(slot))), [0, 2, 1, 0]);
    }
}
