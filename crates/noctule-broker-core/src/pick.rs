//! Which member of a shared subscription gets a message: the strategies.

use core::hash::BuildHasher;

use noctule_packet::QoS;

use crate::groups::{GroupKey, Member};
use crate::publication::Publication;
use crate::settings::SharedStrategy;
use crate::shard::Shard;

impl Shard {
    /// The member that gets a message, by the strategy, among those that can take it now.
    pub(crate) fn pick(
        &mut self,
        key: GroupKey,
        publication: &Publication<'_>,
    ) -> Option<(usize, Member)> {
        let group = self.groups.group(key)?;
        let (count, next) = (group.members.len(), group.next);
        let mut in_turn = (next..count).chain(0..next.min(count));
        let at = match self.settings.shared_strategy {
            SharedStrategy::LeastInFlight => {
                let mut least: Option<(usize, usize)> = None;
                for at in in_turn {
                    let Some(in_flight) = self.in_flight_if_able(key, at, publication.qos) else {
                        continue;
                    };
                    if least.is_none_or(|(fewest, _)| in_flight < fewest) {
                        least = Some((in_flight, at));
                    }
                }
                least?.1
            }
            SharedStrategy::RoundRobin => {
                in_turn.find(|at| self.in_flight_if_able(key, *at, publication.qos).is_some())?
            }
            SharedStrategy::Random => self.pick_at_random(key, publication.qos)?,
            SharedStrategy::StickyPublisher | SharedStrategy::StickyTopic => {
                self.pick_sticky(key, publication)?
            }
        };
        self.groups.group_mut(key)?.next = at + 1;
        Some((at, self.groups.member(key, at)?))
    }

    fn pick_at_random(&mut self, key: GroupKey, qos: QoS) -> Option<usize> {
        let (mut able, mut chosen) = (0, None);
        for at in 0..self.groups.members(key).len() {
            if self.in_flight_if_able(key, at, qos).is_some() {
                able += 1;
                // Each of those that are able is chosen with the same chance in the end.
                if self.random.next().is_multiple_of(able) {
                    chosen = Some(at);
                }
            }
        }
        chosen
    }

    /// The connected member with the highest hash together with the publisher or topic: it changes
    /// for others only if it leaves.
    fn pick_sticky(&self, key: GroupKey, publication: &Publication<'_>) -> Option<usize> {
        let by_topic = self.settings.shared_strategy == SharedStrategy::StickyTopic;
        let (topic, publisher) = if by_topic {
            (publication.topic.as_str(), 0)
        } else {
            ("", self.publisher_number(publication.publisher))
        };
        let members = self.groups.members(key).iter().enumerate();
        let connected = members.filter(|(_, member)| self.is_connected(member));
        let hasher = &self.groups.hasher;
        let hash =
            |member: &Member| hasher.hash_one((topic, publisher, member.shard, member.session));
        connected.max_by_key(|(_, member)| hash(member)).map(|(at, _)| at)
    }

    fn is_connected(&self, member: &Member) -> bool {
        if member.shard != self.settings.shard {
            return member.window.is_some();
        }
        self.registry.session(member.session).is_some_and(|session| session.connection.is_some())
    }

    /// How much a member has in flight, if it can take a message now.
    fn in_flight_if_able(&mut self, key: GroupKey, at: usize, qos: QoS) -> Option<usize> {
        let member = self.groups.member(key, at)?;
        if !self.can_take(&member, qos) {
            return None;
        }
        if member.shard != self.settings.shard {
            return Some(member.outstanding as usize);
        }
        Some(self.registry.session(member.session)?.sender.in_flight())
    }

    /// Whether a member takes a message now. Of one on another shard only that is known which was
    /// lent.
    pub(crate) fn can_take(&mut self, member: &Member, qos: QoS) -> bool {
        let queued = qos.min(member.subscription.options.qos) > QoS::AtMostOnce;
        if member.shard != self.settings.shard {
            let lent = member
                .window
                .is_some_and(|window| !queued || member.outstanding < u32::from(window));
            return lent && self.windows.is_open(member.shard);
        }
        let Some(session) = self.registry.session(member.session) else { return false };
        let Some(id) = session.connection else { return false };
        (!queued || session.is_open()) && self.has_room(id)
    }
}
