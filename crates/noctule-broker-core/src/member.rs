//! Shared subscriptions, seen from the shard of a member: joining and leaving groups wherever they
//! live, taking what they assign, and giving back what is not finished.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{QoS, TopicFilter};

use crate::delivery::Terms;
use crate::effect::{Effects, Token};
use crate::event::DropCause;
use crate::groups::{GroupKey, Member, Tag, Unassigned};
use crate::input::ShardId;
use crate::registry::SessionKey;
use crate::router::Change;
use crate::session::{Delivery, Session, Subscription};
use crate::shard::Shard;
use crate::shard_message::{Assign, Body, GroupMessage};

/// What a member could not finish, by the group, and in order; what is from before a crash comes
/// first.
type ByGroup = BTreeMap<(ShardId, Arc<str>, Option<GroupKey>), Vec<(Delivery, Stage)>>;

/// How far a delivery has come that is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was sent, and not acknowledged.
    Sent,
    /// It waited.
    Waiting,
}

/// What all filters of shared subscriptions begin with.
const SHARE: &str = "$share/";

/// Joins of other shards' members that wait until every shard knows the group.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    pub(crate) waiting: BTreeMap<u64, (ShardId, Token)>,
    /// The number of the last one.
    pub(crate) last: u64,
}

impl Shard {
    /// Where the group of a filter lives, if that is another shard.
    pub(crate) fn group_elsewhere(&self, filter: &str) -> Option<ShardId> {
        if !filter.starts_with(SHARE) {
            return None;
        }
        let owner = self.settings.placement.group(filter);
        (owner != self.settings.shard).then_some(owner)
    }

    /// Makes a session a member of a group of this shard.
    pub(crate) fn join_own_group(
        &mut self,
        session: SessionKey,
        filter: TopicFilter<'_>,
        subscription: Subscription,
    ) -> Change {
        let shard = self.settings.shard;
        let is_stored = self.registry.session(session).is_some_and(Session::is_stored);
        let (window, outstanding) = (None, 0);
        let member = Member { shard, session, subscription, window, outstanding, is_stored };
        self.join_group(filter, member)
    }

    /// Makes a session a member of a group of another shard, which answers with `token`.
    pub(crate) fn ask_to_join(
        &mut self,
        owner: ShardId,
        key: SessionKey,
        (filter, subscription): (&str, Subscription),
        token: Token,
        effects: &mut Effects,
    ) {
        let Subscription { options, identifier } = subscription;
        let (filter, session, window) = (filter.into(), key, self.window_to_lend(key));
        let is_stored = self.registry.session(key).is_some_and(Session::is_stored);
        effects.tell(
            owner,
            Body::Group(GroupMessage::Join {
                token,
                filter,
                session,
                options,
                identifier,
                window,
                is_stored,
            }),
        );
    }

    /// Takes a session out of a group, wherever that lives. What it was never sent goes to the
    /// others. What has begun is brought to its end while it is connected; without a connection,
    /// what it did not acknowledge with QoS 1 goes to the others too, but no QoS 2 message.
    pub(crate) fn leave(
        &mut self,
        key: SessionKey,
        filter: TopicFilter<'_>,
        effects: &mut Effects,
    ) -> Change {
        let elsewhere = self.group_elsewhere(filter.as_str());
        let leaves = |tag: &Tag| &*tag.filter == filter.as_str();
        let left = self.take_unfinished(key, leaves).into_values().flatten().collect();
        let unfinished = self.unassign(key, filter.as_str().into(), left, effects);
        let Some(owner) = elsewhere else {
            self.forget_own_group(key, filter.as_str());
            return self.leave_group((self.settings.shard, key), filter, unfinished, effects);
        };
        let filter = filter.as_str().into();
        let leave = GroupMessage::Leave { filter, session: key, unfinished };
        effects.tell(owner, Body::Group(leave));
        Change::None
    }

    fn forget_own_group(&mut self, key: SessionKey, filter: &str) {
        if let Some(group) = self.groups.find(filter)
            && let Some(session) = self.registry.session_mut(key)
            && let Ok(place) = session.groups().binary_search(&group)
        {
            session.memberships_mut().here.remove(place);
        }
    }

    /// Lets the owners of a session's groups on other shards know that it is connected, or that it
    /// is not.
    pub(crate) fn lend_window(&self, key: SessionKey, effects: &mut Effects) {
        if self.settings.placement.shards() == 1 {
            return;
        }
        let Some(session) = self.registry.session(key) else { return };
        let window = self.window_to_lend(key);
        let filters = session.subscriptions.filters();
        for filter in filters.filter(|filter| filter.starts_with(SHARE)) {
            if let Some(owner) = self.group_elsewhere(filter) {
                let filter = filter.into();
                let lend = GroupMessage::Lend { filter, session: key, window };
                effects.tell(owner, Body::Group(lend));
            }
        }
    }

    /// How many messages a session takes at a time, if it is connected.
    fn window_to_lend(&self, key: SessionKey) -> Option<u16> {
        let session = self.registry.session(key)?;
        session.connection.filter(|id| self.is_online(*id))?;
        Some(session.sender.receive_maximum())
    }

    /// A message of a group of another shard, for a member of this one.
    pub(crate) fn on_assign(&mut self, from: ShardId, assign: Assign, effects: &mut Effects) {
        let Assign { tag, session: key, message, qos, retain, identifiers } = assign;
        self.repay(from, message.bytes() as u64, effects);
        let queued = qos > QoS::AtMostOnce;
        let member = self.registry.session_mut(key).filter(|session| {
            // It may have left, or gone, since this was sent. [MQTT5-3.10.4-2]
            session.subscriptions.contains(&tag.filter) && session.connection.is_some()
        });
        if member.is_none() {
            if queued {
                let Tag { owner, filter, group, number, place } = tag;
                let unfinished = Vec::from([Unassigned { number, place, message }]);
                let give_back = GroupMessage::GiveBack { filter, group, session: key, unfinished };
                effects.tell(owner, Body::Group(give_back));
            } else {
                self.count_drop(DropCause::NoMember);
            }
            return;
        }
        let group = queued.then_some(tag);
        let terms = Terms { session: key, qos, retain, identifiers, group };
        self.deliver_shared(&message, terms, effects);
    }

    /// A member is done with a message, one way or the other: if its group lives on another shard,
    /// that may send another one.
    pub(crate) fn settle_shared(
        &mut self,
        key: SessionKey,
        tag: Option<&Tag>,
        effects: &mut Effects,
    ) {
        let Some(tag) = tag else { return };
        self.record_done_with(tag.place, effects);
        // What is from before a crash is not known to its group as this member's.
        if let Some(group) = tag.group.filter(|_| tag.owner != self.settings.shard) {
            let settle = GroupMessage::Settle { group, session: key };
            effects.tell(tag.owner, Body::Group(settle));
        }
    }

    /// What a member without a connection was never sent goes to the others; what it was sent waits
    /// for its return.
    // [MQTT5-4.8.2-4]
    pub(crate) fn give_back_unsent(&mut self, key: SessionKey, effects: &mut Effects) {
        let mut left = ByGroup::new();
        self.take_unsent(key, &mut left, |_| true);
        self.give_back(key, left, effects);
    }

    /// What a session that ends was not sent, or has not acknowledged, goes to other members of all
    /// its shared subscriptions.
    pub(crate) fn give_back_unfinished(&mut self, key: SessionKey, effects: &mut Effects) {
        let left = self.take_unfinished(key, |_| true);
        self.give_back(key, left, effects);
    }

    fn give_back(&mut self, session: SessionKey, left: ByGroup, effects: &mut Effects) {
        #[cfg(feature = "planted-faults")]
        if self.is_planted(crate::planted::PlantedFault::LoseWorkOfMember) {
            return;
        }
        for ((owner, filter, group), left) in left {
            let unfinished = self.unassign(session, Arc::clone(&filter), left, effects);
            if owner == self.settings.shard {
                self.take_back((group, &filter), unfinished, effects);
            } else {
                let give_back = GroupMessage::GiveBack { filter, group, session, unfinished };
                effects.tell(owner, Body::Group(give_back));
            }
        }
    }

    /// Takes what a session was not sent, and without a connection also what it has not
    /// acknowledged, of the shared subscriptions that `leaves` says yes to.
    fn take_unfinished(
        &mut self,
        key: SessionKey,
        leaves: impl Fn(&Tag) -> bool + Copy,
    ) -> ByGroup {
        let mut taken = ByGroup::new();
        // [MQTT5-3.10.4-3]
        if let Some(session) = self.registry.session_mut(key)
            && session.connection.is_none()
        {
            // [MQTT5-4.8.2-5]
            let sent = session.sender.take_at_least_once(|sent| sent.group().is_some_and(leaves));
            for delivery in sent {
                self.release_delivery(key, &delivery);
                sort_in(&mut taken, delivery, Stage::Sent);
            }
        }
        self.take_unsent(key, &mut taken, leaves);
        taken
    }

    fn take_unsent(&mut self, key: SessionKey, into: &mut ByGroup, leaves: impl Fn(&Tag) -> bool) {
        let Some(session) = self.registry.session_mut(key) else { return };
        // What waits may be much more than that.
        if session.queued_shared == 0 {
            return;
        }
        let waiting = session.take_waiting(|waits| waits.group().is_some_and(&leaves));
        for (delivery, _) in waiting {
            if let Some(session) = self.registry.session_mut(key) {
                session.note_dequeued(&delivery);
                session.count_stored(&mut self.stored);
            }
            self.release_delivery(key, &delivery);
            sort_in(into, delivery, Stage::Waiting);
        }
    }
}

fn sort_in(left: &mut ByGroup, delivery: Delivery, stage: Stage) {
    if let Some(tag) = delivery.group() {
        let of = (tag.owner, Arc::clone(&tag.filter), tag.group);
        left.entry(of).or_default().push((delivery, stage));
    }
}
