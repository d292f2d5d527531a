//! Shared subscriptions: which member gets a message, what waits for one, and what a member leaves
//! behind.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use noctule_packet::{QoS, TopicFilter};

use crate::delivery::Terms;
use crate::effect::Effects;
use crate::event::DropCause;
use crate::message::Message;
use crate::publication::Publication;
use crate::registry::SessionKey;
use crate::router::{Change, Match, Target};
use crate::session::{Identifiers, Subscription};
use crate::settings::SharedStrategy;
use crate::shard::Shard;

/// Names a group: a place that is used again, and how often it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKey {
    slot: u32,
    generation: u32,
}

/// All groups of a shard.
#[derive(Debug)]
pub(crate) struct Groups {
    slots: Vec<(u32, Option<Group>)>,
    free: Vec<u32>,
    /// By the whole filter, `$share` and all.
    by_filter: HashMap<Box<str>, GroupKey, FixedState>,
    hasher: FixedState,
}

/// The members of one shared subscription.
#[derive(Debug)]
struct Group {
    members: Vec<Member>,
    /// Where round robin goes on.
    next: usize,
    /// Messages that no member could take, in order.
    backlog: VecDeque<Arc<Message>>,
    backlog_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    session: SessionKey,
    subscription: Subscription,
}

impl Groups {
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        let by_filter = HashMap::with_hasher(hasher.clone());
        Self { slots: Vec::new(), free: Vec::new(), by_filter, hasher }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_filter.len()
    }

    /// Messages and bytes that wait for a member.
    pub(crate) fn backlog(&self) -> (u64, u64) {
        self.slots.iter().filter_map(|(_, group)| group.as_ref()).fold((0, 0), |sum, group| {
            (sum.0 + group.backlog.len() as u64, sum.1 + group.backlog_bytes)
        })
    }

    pub(crate) fn members(&self, key: GroupKey) -> impl Iterator<Item = SessionKey> {
        let members = self.group(key).map(|group| group.members.as_slice()).unwrap_or_default();
        members.iter().map(|member| member.session)
    }

    fn group(&self, key: GroupKey) -> Option<&Group> {
        let (generation, group) = self.slots.get(key.slot as usize)?;
        (*generation == key.generation).then_some(group.as_ref()?)
    }

    fn group_mut(&mut self, key: GroupKey) -> Option<&mut Group> {
        let (generation, group) = self.slots.get_mut(key.slot as usize)?;
        if *generation == key.generation { group.as_mut() } else { None }
    }

    fn find_or_make(&mut self, filter: &str) -> (GroupKey, bool) {
        if let Some(key) = self.by_filter.get(filter) {
            return (*key, false);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let mut key = GroupKey { slot, generation: 0 };
        if let Some((generation, group)) = self.slots.get_mut(slot as usize) {
            key.generation = *generation;
            *group = Some(Group {
                members: Vec::new(),
                next: 0,
                backlog: VecDeque::new(),
                backlog_bytes: 0,
            });
        }
        self.by_filter.insert(filter.into(), key);
        (key, true)
    }

    fn remove(&mut self, filter: &str) {
        let Some(key) = self.by_filter.remove(filter) else { return };
        if let Some((generation, group)) = self.slots.get_mut(key.slot as usize) {
            *generation = generation.wrapping_add(1);
            *group = None;
            self.free.push(key.slot);
        }
    }
}

impl Shard {
    /// Makes a session a member of the group that a `$share` filter names.
    pub(crate) fn join_group(
        &mut self,
        session: SessionKey,
        filter: TopicFilter<'_>,
        subscription: Subscription,
    ) -> Change {
        let (key, made) = self.groups.find_or_make(filter.as_str());
        if let Some(group) = self.groups.group_mut(key) {
            let member = Member { session, subscription };
            match group.members.iter_mut().find(|known| known.session == session) {
                Some(known) => *known = member,
                None => group.members.push(member),
            }
        }
        if let Some(session) = self.registry.session_mut(session)
            && !session.groups.contains(&key)
        {
            session.groups.push(key);
        }
        if !made {
            return Change::None;
        }
        let target = Target::Group(key);
        let Subscription { options, identifier } = subscription;
        self.router.subscribe(filter.filter(), Match { target, options, identifier })
    }

    /// Takes a session out of a group. What it was never sent, and what it did not acknowledge with
    /// QoS 1, goes to the others; a QoS 2 message stays with it.
    // [MQTT5-4.8.2-4] [MQTT5-4.8.2-5] [MQTT5-4.8.2-6]
    pub(crate) fn leave_group(
        &mut self,
        session: SessionKey,
        filter: TopicFilter<'_>,
        effects: &mut Effects,
    ) -> Change {
        let (key, _) = self.groups.find_or_make(filter.as_str());
        let left = self.take_back(session, key);
        let Some(group) = self.groups.group_mut(key) else { return Change::None };
        group.members.retain(|member| member.session != session);
        if group.members.is_empty() {
            self.groups.remove(filter.as_str());
            return self.router.unsubscribe(filter.filter(), Target::Group(key));
        }
        for message in left.into_iter().rev() {
            group.backlog_bytes += message.bytes() as u64;
            group.backlog.push_front(message);
        }
        let members: Vec<SessionKey> = self.groups.members(key).collect();
        for member in members {
            self.pull_from_groups(member, effects);
        }
        Change::None
    }

    fn take_back(&mut self, session: SessionKey, key: GroupKey) -> Vec<Arc<Message>> {
        let Some(session) = self.registry.session_mut(session) else { return Vec::new() };
        session.groups.retain(|group| *group != key);
        let sent = session.sender.take_at_least_once(|delivery| delivery.group == Some(key));
        let waiting = session.sender.take_waiting(|delivery| delivery.group == Some(key));
        let mut left: Vec<_> = sent.into_iter().map(|delivery| delivery.message).collect();
        for (delivery, _) in waiting {
            session.queued_bytes -= delivery.message.bytes() as u64;
            left.push(delivery.message);
        }
        left
    }

    /// Gives a publication to one member of the group, or lets it wait for one.
    // [MQTT5-4.8.2-1] [MQTT5-4.8.2-2] [MQTT5-4.8.2-3]
    pub(crate) fn assign(
        &mut self,
        key: GroupKey,
        publication: &mut Publication<'_>,
        share: bool,
        effects: &mut Effects,
    ) {
        let waits = self.groups.group(key).is_some_and(|group| !group.backlog.is_empty());
        let at_most_once = publication.qos == QoS::AtMostOnce;
        if (!waits || at_most_once)
            && let Some(member) = self.pick(key, publication)
        {
            let terms = member.terms(key, publication.retain);
            self.deliver(publication, terms, share, effects);
            return;
        }
        let limits = &self.settings.limits;
        let (messages_max, bytes_max) = (limits.queue_messages_max, limits.queue_bytes_max);
        let bytes = publication.bytes() as u64;
        let Some(group) = self.groups.group_mut(key) else { return };
        let full =
            group.backlog.len() >= messages_max as usize || group.backlog_bytes + bytes > bytes_max;
        let can_wait =
            group.members.iter().any(|member| member.subscription.options.qos > QoS::AtMostOnce);
        if at_most_once || !can_wait || full {
            self.count_drop(if full { DropCause::QueueFull } else { DropCause::NoMember });
            return;
        }
        group.backlog_bytes += bytes;
        group.backlog.push_back(publication.message());
    }

    /// The member that gets a message, by the strategy, among those that can take it now.
    fn pick(&mut self, key: GroupKey, publication: &Publication<'_>) -> Option<Member> {
        let members = self.groups.group(key)?.members.clone();
        let mut able = Vec::new();
        for (at, member) in members.iter().enumerate() {
            if self.can_take(member, publication.qos) {
                able.push(at);
            }
        }
        let strategy = self.settings.shared_strategy;
        let at = match strategy {
            SharedStrategy::LeastInFlight => able.into_iter().min_by_key(|at| {
                let session = members.get(*at).map(|member| member.session);
                let in_flight = session.and_then(|session| self.registry.session(session));
                let behind = at.wrapping_sub(self.groups.group(key).map_or(0, |group| group.next));
                (in_flight.map_or(0, |session| session.sender.in_flight()), behind)
            })?,
            SharedStrategy::RoundRobin => {
                let next = self.groups.group(key)?.next;
                able.iter().copied().find(|at| *at >= next).or(able.first().copied())?
            }
            SharedStrategy::Random => {
                let count = able.len().max(1) as u64;
                let at = usize::try_from(self.random.next() % count).unwrap_or(0);
                able.get(at).copied()?
            }
            SharedStrategy::StickyPublisher | SharedStrategy::StickyTopic => {
                self.pick_sticky(&members, publication)?
            }
        };
        let group = self.groups.group_mut(key)?;
        group.next = at + 1;
        if group.next >= group.members.len() {
            group.next = 0;
        }
        members.get(at).copied()
    }

    /// The connected member with the highest hash together with the publisher or topic: it changes
    /// for others only if it leaves.
    fn pick_sticky(&self, members: &[Member], publication: &Publication<'_>) -> Option<usize> {
        let by_topic = self.settings.shared_strategy == SharedStrategy::StickyTopic;
        let publisher = publication.publisher.and_then(|key| self.registry.session(key));
        let text = match publisher {
            Some(publisher) if !by_topic => &*publisher.client_id,
            _ => publication.topic.as_str(),
        };
        let connected = members.iter().enumerate().filter(|(_, member)| {
            let session = self.registry.session(member.session);
            session.is_some_and(|session| session.connection.is_some())
        });
        let hashed =
            connected.max_by_key(|(_, member)| self.groups.hasher.hash_one((text, member.session)));
        hashed.map(|(at, _)| at)
    }

    fn can_take(&mut self, member: &Member, qos: QoS) -> bool {
        let Some(session) = self.registry.session(member.session) else { return false };
        let Some(id) = session.connection else { return false };
        let queued = qos.min(member.subscription.options.qos) > QoS::AtMostOnce;
        (!queued || session.sender.is_open()) && self.has_room(id)
    }

    /// Lets a session whose window is open take what waits in its groups.
    pub(crate) fn pull_from_groups(&mut self, session: SessionKey, effects: &mut Effects) {
        let Some(groups) = self.registry.session(session).map(|session| session.groups.clone())
        else {
            return;
        };
        for key in groups {
            while let Some((member, message)) = self.take_from_backlog(session, key) {
                if message.is_expired(self.now) {
                    self.count_drop(DropCause::Expired);
                    continue;
                }
                self.frames.clear();
                let Some(mut publication) = Publication::of(&message, None) else { continue };
                let terms = member.terms(key, publication.retain);
                self.deliver(&mut publication, terms, false, effects);
            }
        }
    }

    fn take_from_backlog(
        &mut self,
        session: SessionKey,
        key: GroupKey,
    ) -> Option<(Member, Arc<Message>)> {
        let group = self.groups.group(key)?;
        let qos = group.backlog.front()?.qos;
        let member = *group.members.iter().find(|member| member.session == session)?;
        if !self.can_take(&member, qos) {
            return None;
        }
        let group = self.groups.group_mut(key)?;
        let message = group.backlog.pop_front()?;
        group.backlog_bytes -= message.bytes() as u64;
        Some((member, message))
    }
}

impl Member {
    fn terms(&self, group: GroupKey, retain: bool) -> Terms {
        let mut identifiers = Identifiers::new();
        identifiers.extend(self.subscription.identifier);
        Terms {
            session: self.session,
            qos: self.subscription.options.qos,
            retain: retain && self.subscription.options.retain_as_published,
            identifiers,
            group: Some(group),
        }
    }
}
