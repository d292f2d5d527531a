//! Shared subscriptions: which member gets a message, what waits for one, and what a member leaves
//! behind.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use noctule_packet::{QoS, TopicFilter};

use crate::delivery::Terms;
use crate::effect::{Effect, Effects};
use crate::event::{DropCause, Event, Limit};
use crate::message::Message;
use crate::publication::Publication;
use crate::registry::SessionKey;
use crate::router::{Change, Match, Target};
use crate::session::{Delivery, Identifiers, Subscription};
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
    by_filter: HashMap<Arc<str>, GroupKey, FixedState>,
    /// Those in which messages wait for a member.
    backlogged: BTreeSet<GroupKey>,
    hasher: FixedState,
}

/// The members of one shared subscription.
#[derive(Debug)]
struct Group {
    filter: Arc<str>,
    members: Vec<Member>,
    /// Where round robin goes on; behind the last member, it begins anew.
    next: usize,
    /// Messages that no member could take, in order.
    backlog: VecDeque<Arc<Message>>,
    backlog_bytes: u64,
}

/// What members could not finish, by its shared subscription, and in order.
type Unfinished = BTreeMap<GroupKey, Vec<Arc<Message>>>;

#[derive(Clone, Copy, Debug)]
struct Member {
    session: SessionKey,
    subscription: Subscription,
}

impl Groups {
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        let by_filter = HashMap::with_hasher(hasher.clone());
        let backlogged = BTreeSet::new();
        Self { slots: Vec::new(), free: Vec::new(), by_filter, backlogged, hasher }
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

    fn member(&self, key: GroupKey, at: usize) -> Option<Member> {
        self.group(key)?.members.get(at).copied()
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
        let filter: Arc<str> = filter.into();
        if let Some((generation, group)) = self.slots.get_mut(slot as usize) {
            key.generation = *generation;
            *group = Some(Group {
                filter: Arc::clone(&filter),
                members: Vec::new(),
                next: 0,
                backlog: VecDeque::new(),
                backlog_bytes: 0,
            });
        }
        self.by_filter.insert(filter, key);
        (key, true)
    }

    fn remove(&mut self, filter: &str) {
        let Some(key) = self.by_filter.remove(filter) else { return };
        if let Some((generation, group)) = self.slots.get_mut(key.slot as usize) {
            *generation = generation.wrapping_add(1);
            *group = None;
            self.free.push(key.slot);
        }
        self.backlogged.remove(&key);
    }

    /// Lets a message wait for a member, behind all others or before them.
    fn keep(&mut self, key: GroupKey, message: Arc<Message>, behind: bool) {
        let Some(group) = self.group_mut(key) else { return };
        group.backlog_bytes += message.bytes() as u64;
        if behind {
            group.backlog.push_back(message);
        } else {
            group.backlog.push_front(message);
        }
        self.backlogged.insert(key);
    }

    /// Takes the message that has waited longest.
    fn take(&mut self, key: GroupKey) -> Option<Arc<Message>> {
        let group = self.group_mut(key)?;
        let message = group.backlog.pop_front()?;
        group.backlog_bytes -= message.bytes() as u64;
        if group.backlog.is_empty() {
            self.backlogged.remove(&key);
        }
        Some(message)
    }

    /// The next of these groups, which are in order, in which messages wait. A session may be a
    /// member of very many others.
    fn next_backlogged(&self, of: &[GroupKey], behind: Option<GroupKey>) -> Option<GroupKey> {
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
            && let Err(place) = session.groups.binary_search(&key)
        {
            session.groups.insert(place, key);
        }
        if !made {
            return Change::None;
        }
        let target = Target::Group(key);
        let Subscription { options, identifier } = subscription;
        self.router.subscribe(filter.filter(), Match { target, options, identifier })
    }

    /// Takes a session out of a group. What it was never sent goes to the others. What has begun is
    /// brought to its end while it is connected; without a connection, what it did not acknowledge
    /// with QoS 1 goes to the others too, but no QoS 2 message.
    pub(crate) fn leave_group(
        &mut self,
        session: SessionKey,
        filter: TopicFilter<'_>,
        effects: &mut Effects,
    ) -> Change {
        let (key, _) = self.groups.find_or_make(filter.as_str());
        let mut left = self.take_unfinished(session, |group| group == key);
        if let Some(session) = self.registry.session_mut(session)
            && let Ok(place) = session.groups.binary_search(&key)
        {
            session.groups.remove(place);
        }
        let left = left.remove(&key).unwrap_or_default();
        let Some(group) = self.groups.group_mut(key) else { return Change::None };
        group.members.retain(|member| member.session != session);
        if group.members.is_empty() {
            for message in left.into_iter().chain(core::mem::take(&mut group.backlog)) {
                self.drop_shared(key, &message.topic, DropCause::NoMember, None, effects);
            }
            self.groups.remove(filter.as_str());
            return self.router.unsubscribe(filter.filter(), Target::Group(key));
        }
        self.give_back(key, left, effects);
        Change::None
    }

    /// What a member without a connection was never sent goes to the others; what it was sent waits
    /// for its return.
    // [MQTT5-4.8.2-4]
    pub(crate) fn give_back_unsent(&mut self, session: SessionKey, effects: &mut Effects) {
        let mut left = BTreeMap::new();
        self.take_unsent(session, &mut left, |_| true);
        for (key, left) in left {
            self.give_back(key, left, effects);
        }
    }

    /// What a session that ends was not sent, or has not acknowledged, goes to other members of all
    /// its shared subscriptions.
    pub(crate) fn give_back_unfinished(&mut self, session: SessionKey, effects: &mut Effects) {
        for (key, left) in self.take_unfinished(session, |_| true) {
            self.give_back(key, left, effects);
        }
    }

    /// Takes what a session was not sent, and without a connection also what it has not
    /// acknowledged, of the shared subscriptions that `leaves` says yes to.
    fn take_unfinished(
        &mut self,
        key: SessionKey,
        leaves: impl Fn(GroupKey) -> bool + Copy,
    ) -> Unfinished {
        let mut taken = Unfinished::new();
        // [MQTT5-3.10.4-3]
        if let Some(session) = self.registry.session_mut(key)
            && session.connection.is_none()
        {
            // [MQTT5-4.8.2-5]
            let sent = session.sender.take_at_least_once(|sent| sent.group.is_some_and(leaves));
            for delivery in sent {
                sort_in(&mut taken, delivery);
            }
        }
        self.take_unsent(key, &mut taken, leaves);
        taken
    }

    fn take_unsent(
        &mut self,
        session: SessionKey,
        into: &mut Unfinished,
        leaves: impl Fn(GroupKey) -> bool,
    ) {
        let Some(session) = self.registry.session_mut(session) else { return };
        // What waits may be much more than that.
        if session.queued_shared == 0 {
            return;
        }
        for (delivery, _) in session.sender.take_waiting(|waits| waits.group.is_some_and(&leaves)) {
            session.note_dequeued(&delivery);
            sort_in(into, delivery);
        }
    }

    /// Puts messages before all that wait for a member, and lets the members have them.
    fn give_back(&mut self, key: GroupKey, left: Vec<Arc<Message>>, effects: &mut Effects) {
        if left.is_empty() {
            return;
        }
        for message in left.into_iter().rev() {
            self.groups.keep(key, message, false);
        }
        let members: Vec<SessionKey> = self.groups.members(key).collect();
        for member in members {
            self.pull_from_groups(member, effects);
        }
    }

    /// Gives a publication to one member of the group, or lets it wait for one.
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
        match self.room_in_backlog(key, publication) {
            Ok(()) => self.groups.keep(key, publication.message(), true),
            // Nobody was promised that such a message waits.
            Err((cause, _)) if at_most_once => self.count_drop(cause),
            Err((cause, limit)) => {
                self.drop_shared(key, publication.topic.as_str(), cause, limit, effects);
            }
        }
    }

    /// Whether a publication that no member can take may wait for one.
    fn room_in_backlog(
        &self,
        key: GroupKey,
        publication: &Publication<'_>,
    ) -> Result<(), (DropCause, Option<Limit>)> {
        let no_member = Err((DropCause::NoMember, None));
        let Some(group) = self.groups.group(key) else { return no_member };
        let kept = |member: &Member| member.subscription.options.qos > QoS::AtMostOnce;
        if publication.qos == QoS::AtMostOnce || !group.members.iter().any(kept) {
            return no_member;
        }
        let limits = &self.settings.limits;
        let (messages, bytes) = (group.backlog.len() as u64, group.backlog_bytes);
        let (setting, maximum, wanted) = if messages >= u64::from(limits.queue_messages_max) {
            ("limits.queue_messages_max", u64::from(limits.queue_messages_max), messages + 1)
        } else {
            let wanted = bytes + publication.bytes() as u64;
            ("limits.queue_bytes_max", limits.queue_bytes_max, wanted)
        };
        if wanted > maximum {
            return Err((DropCause::QueueFull, Some(Limit { setting, maximum, wanted })));
        }
        Ok(())
    }

    fn drop_shared(
        &mut self,
        key: GroupKey,
        topic: &str,
        cause: DropCause,
        limit: Option<Limit>,
        effects: &mut Effects,
    ) {
        self.count_drop(cause);
        let Some(group) = self.groups.group(key) else { return };
        let (client_id, topic) = (Arc::clone(&group.filter), topic.into());
        effects.push(Effect::Event(Event::Dropped { client_id, topic, cause, limit }));
    }

    /// The member that gets a message, by the strategy, among those that can take it now.
    fn pick(&mut self, key: GroupKey, publication: &Publication<'_>) -> Option<Member> {
        let group = self.groups.group(key)?;
        let (count, next) = (group.members.len(), group.next);
        let at = match self.settings.shared_strategy {
            SharedStrategy::LeastInFlight => {
                let mut least: Option<(usize, usize)> = None;
                for at in (next..count).chain(0..next.min(count)) {
                    let Some(in_flight) = self.in_flight_if_able(key, at, publication.qos) else {
                        continue;
                    };
                    if least.is_none_or(|(fewest, _)| in_flight < fewest) {
                        least = Some((in_flight, at));
                    }
                }
                least?.1
            }
            SharedStrategy::RoundRobin => (next..count)
                .chain(0..next.min(count))
                .find(|at| self.in_flight_if_able(key, *at, publication.qos).is_some())?,
            SharedStrategy::Random => {
                let (mut able, mut chosen) = (0, None);
                for at in 0..count {
                    if self.in_flight_if_able(key, at, publication.qos).is_some() {
                        able += 1;
                        // Each of those that are able is chosen with the same chance in the end.
                        if self.random.next().is_multiple_of(able) {
                            chosen = Some(at);
                        }
                    }
                }
                chosen?
            }
            SharedStrategy::StickyPublisher | SharedStrategy::StickyTopic => {
                self.pick_sticky(key, publication)?
            }
        };
        self.groups.group_mut(key)?.next = at + 1;
        self.groups.member(key, at)
    }

    /// How much a member has in flight, if it can take a message now.
    fn in_flight_if_able(&mut self, key: GroupKey, at: usize, qos: QoS) -> Option<usize> {
        let member = self.groups.member(key, at)?;
        let able = self.can_take(&member, qos);
        let session = self.registry.session(member.session).filter(|_| able)?;
        Some(session.sender.in_flight())
    }

    /// The connected member with the highest hash together with the publisher or topic: it changes
    /// for others only if it leaves.
    fn pick_sticky(&self, key: GroupKey, publication: &Publication<'_>) -> Option<usize> {
        let by_topic = self.settings.shared_strategy == SharedStrategy::StickyTopic;
        let publisher = publication.publisher.and_then(|key| self.registry.session(key));
        let text = match publisher {
            Some(publisher) if !by_topic => &*publisher.client_id,
            _ => publication.topic.as_str(),
        };
        let connected = self.groups.members(key).enumerate().filter(|(_, member)| {
            let session = self.registry.session(*member);
            session.is_some_and(|session| session.connection.is_some())
        });
        let hashed =
            connected.max_by_key(|(_, member)| self.groups.hasher.hash_one((text, member)));
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
        let mut last = None;
        loop {
            let groups = self.registry.session(session).map(|session| session.groups.as_slice());
            last = self.groups.next_backlogged(groups.unwrap_or_default(), last);
            let Some(key) = last else { return };
            while let Some((member, message)) = self.take_from_backlog(session, key) {
                if message.is_expired(self.now) {
                    self.drop_shared(key, &message.topic, DropCause::Expired, None, effects);
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
        Some((member, self.groups.take(key)?))
    }
}

impl Member {
    fn terms(&self, group: GroupKey, retain: bool) -> Terms {
        let mut identifiers = Identifiers::new();
        // [MQTT5-3.3.4-5]
        identifiers.extend(self.subscription.identifier);
        Terms {
            session: self.session,
            // [MQTT5-4.8.2-3]
            qos: self.subscription.options.qos,
            retain: retain && self.subscription.options.retain_as_published,
            identifiers,
            group: Some(group),
        }
    }
}

fn sort_in(unfinished: &mut Unfinished, delivery: Delivery) {
    if let Some(group) = delivery.group {
        unfinished.entry(group).or_default().push(delivery.message);
    }
}
