//! Shared subscriptions, seen from the shard where a group lives: who joins and leaves, who gets a
//! message, what waits for a member, and what a member leaves behind.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{QoS, TopicFilter};

use crate::delivery::Terms;
use crate::effect::{Effect, Effects, Token, Waiting};
use crate::event::{DropCause, Event, Limit};
use crate::groups::{Group, GroupKey, Member, Place, Tag, Unassigned};
use crate::input::ShardId;
use crate::message::Message;
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::router::{Change, Match, Target};
use crate::session::{Identifiers, Session, Subscription, SubscriptionIdentifier};
use crate::shard::Shard;
use crate::shard_message::{Assign, Body, GroupMessage, Unfinished};
use crate::shared_queue::is_returned;

impl Shard {
    /// What another shard says about its members.
    pub(crate) fn on_group_message(
        &mut self,
        from: ShardId,
        message: GroupMessage,
        effects: &mut Effects,
    ) {
        match message {
            GroupMessage::Join {
                token,
                filter,
                session,
                options,
                identifier,
                window,
                is_stored,
            } => {
                let Ok(parsed) = TopicFilter::new(&filter) else { return };
                let subscription = Subscription { options, identifier };
                let (shard, outstanding) = (from, 0);
                let member =
                    Member { shard, session, subscription, window, outstanding, is_stored };
                let change = self.join_group(parsed, member);
                self.answer_join(parsed, change, (from, token), effects);
                self.feed((from, session), &filter, effects);
            }
            GroupMessage::Leave { filter, session, unfinished } => {
                let Ok(parsed) = TopicFilter::new(&filter) else { return };
                let change = self.leave_group((from, session), parsed, unfinished, effects);
                self.change_routes(&filter, change, Token::nobody(), effects);
            }
            GroupMessage::Lend { filter, session, window } => {
                let key = self.groups.find(&filter);
                let group = key.and_then(|key| self.groups.group_mut(key));
                if let Some(member) = group.and_then(|group| group.member_mut(from, session)) {
                    member.window = window;
                    if let Some(key) = key {
                        self.feed_all(key, effects);
                    }
                }
            }
            GroupMessage::Settle { group, session } => {
                self.settle_outstanding(group, (from, session), 1);
                let filter = self.groups.group(group).map(|group| Arc::clone(&group.filter));
                if let Some(filter) = filter {
                    self.feed((from, session), &filter, effects);
                }
            }
            GroupMessage::GiveBack { filter, group, session, unfinished } => {
                if let Some(group) = group {
                    self.settle_outstanding(group, (from, session), unfinished.len());
                }
                self.take_back((group, &filter), unfinished, effects);
            }
        }
    }

    /// Lets a member's shard know when every shard knows of its group.
    fn answer_join(
        &mut self,
        filter: TopicFilter<'_>,
        change: Change,
        (from, token): (ShardId, Token),
        effects: &mut Effects,
    ) {
        self.joins.last += 1;
        let number = self.joins.last;
        let waiting = Token(Waiting::Join { number });
        if self.change_routes(filter.as_str(), change, waiting, effects) > 0 {
            self.joins.waiting.insert(number, (from, token));
        } else {
            effects.tell(from, Body::Joined { token });
        }
    }

    /// Every shard knows the group that a member of another shard has joined.
    pub(crate) fn on_join_known(&mut self, number: u64, effects: &mut Effects) {
        if let Some((from, token)) = self.joins.waiting.remove(&number) {
            effects.tell(from, Body::Joined { token });
        }
    }

    /// Takes a member into the group that a `$share` filter names.
    pub(crate) fn join_group(&mut self, filter: TopicFilter<'_>, member: Member) -> Change {
        let (key, made) = self.groups.find_or_make(filter.as_str());
        if let Some(group) = self.groups.group_mut(key) {
            group.join(member);
        }
        if member.shard == self.settings.shard
            && let Some(session) = self.registry.session_mut(member.session)
            && let Err(place) = session.groups().binary_search(&key)
        {
            session.memberships_mut().here.insert(place, key);
        }
        if !made {
            return Change::None;
        }
        let target = Target::Group(key);
        let Subscription { options, identifier } = member.subscription;
        self.router.subscribe(filter.filter(), Match { target, options, identifier })
    }

    /// Takes a member out of a group. What it has not finished goes to the others.
    pub(crate) fn leave_group(
        &mut self,
        (shard, session): (ShardId, SessionKey),
        filter: TopicFilter<'_>,
        unfinished: Unfinished,
        effects: &mut Effects,
    ) -> Change {
        let Some(key) = self.groups.find(filter.as_str()) else { return Change::None };
        if let Some(group) = self.groups.group_mut(key) {
            // Who gives back what is from before a crash was not given it by this group.
            let given_back = unfinished.iter().filter(|waiting| waiting.number > 0).count();
            group.leave((shard, session), given_back);
        }
        self.take_back((Some(key), filter.as_str()), unfinished, effects);
        // What waited for the room of this one need not wait any more.
        self.feed_all(key, effects);
        if !self.groups.members(key).is_empty() {
            return Change::None;
        }
        while let Some(waiting) = self.take_waiting(key) {
            self.drop_waiting(key, &waiting, DropCause::NoMember, effects);
        }
        self.end_shared_queue(key, effects);
        self.groups.remove(filter.as_str());
        self.router.unsubscribe(filter.filter(), Target::Group(key))
    }

    /// Puts messages back to their places among all that wait for a member, and lets the members
    /// have them. What is from before a crash is that of the group which has the filter now.
    pub(crate) fn take_back(
        &mut self,
        (group, filter): (Option<GroupKey>, &str),
        mut unfinished: Unfinished,
        effects: &mut Effects,
    ) {
        if unfinished.is_empty() {
            return;
        }
        let key = group.or_else(|| self.groups.find(filter));
        self.groups.number(&mut unfinished);
        for mut waiting in unfinished {
            let Some(key) = key else {
                self.count_drop(DropCause::NoMember);
                self.record_done_with(waiting.place, effects);
                continue;
            };
            if waiting.place.is_none() {
                waiting.place = self.record_waiting(key, &waiting.message, effects);
            }
            self.keep_in_backlog(key, waiting, effects);
        }
        if let Some(key) = key {
            self.feed_all(key, effects);
        }
    }

    /// Lets the members of a group have what waits in it, as far as they can take it.
    fn feed_all(&mut self, key: GroupKey, effects: &mut Effects) {
        let Some(group) = self.groups.group(key) else { return };
        if group.first_waiting().is_none() {
            return;
        }
        let filter = Arc::clone(&group.filter);
        let members = group.members.iter().map(|member| (member.shard, member.session));
        for member in members.collect::<Vec<_>>() {
            self.feed(member, &filter, effects);
        }
    }

    /// Lets a member have what waits in a group, as far as it can take it.
    fn feed(
        &mut self,
        (shard, session): (ShardId, SessionKey),
        filter: &str,
        effects: &mut Effects,
    ) {
        if shard == self.settings.shard {
            self.pull_from_groups(session, effects);
            return;
        }
        let Some(key) = self.groups.find(filter) else { return };
        while let Some((member, waiting)) = self.take_from_backlog((shard, session), key, effects) {
            let Some(mut publication) = Publication::of(&waiting.message, Publisher::Nobody) else {
                continue;
            };
            let Some(tag) = self.tag(key, waiting.number, waiting.place) else { return };
            self.hand_over(tag, &member, &mut publication, effects);
        }
    }

    /// Another shard takes more again: so do the members that live there.
    pub(crate) fn feed_groups(&mut self, effects: &mut Effects) {
        for key in self.groups.backlogged() {
            self.feed_all(key, effects);
        }
    }

    /// Gives a publication to one member of the group, or lets it wait for one.
    pub(crate) fn assign(
        &mut self,
        key: GroupKey,
        publication: &mut Publication<'_>,
        several: bool,
        effects: &mut Effects,
    ) {
        if publication.name > 0 && self.has_got_shared(key, publication.name) {
            return;
        }
        let number = self.groups.next_number();
        let waits = self.groups.group(key).is_some_and(|group| group.first_waiting().is_some());
        let at_most_once = publication.qos == QoS::AtMostOnce;
        if (!waits || at_most_once)
            && let Some((_, member)) = self.pick(key, publication)
            && (member.shard == self.settings.shard || self.windows.is_open(member.shard))
        {
            let place = self.keep_assigned(key, &member, publication, effects);
            let Some(tag) = self.tag(key, number, place) else { return };
            if member.shard == self.settings.shard {
                let terms = member.terms(Some(tag), publication.retain);
                self.deliver(publication, &terms, several, effects);
            } else {
                self.hand_over(tag, &member, publication, effects);
            }
            return;
        }
        let mut room = self.room_in_backlog(key, publication);
        if matches!(room, Err((DropCause::QueueFull, _))) && self.drop_expired_shared(key, effects)
        {
            room = self.room_in_backlog(key, publication);
        }
        match room {
            Ok(()) => {
                let place = self.note_shared(key, publication.qos, effects);
                let message = publication.message();
                self.keep_in_backlog(key, Unassigned { number, place, message }, effects);
            }
            // Nobody was promised that such a message waits.
            Err((cause, _)) if at_most_once => self.count_drop(cause),
            Err((cause, limit)) => {
                self.drop_shared(key, publication.topic.as_str(), cause, limit, effects);
            }
        }
    }

    /// Hands a message over to the shard of a member.
    fn hand_over(
        &mut self,
        mut tag: Tag,
        member: &Member,
        publication: &mut Publication<'_>,
        effects: &mut Effects,
    ) {
        let group = tag.group.and_then(|key| self.groups.group_mut(key));
        let options = member.subscription.options;
        let qos = publication.qos.min(options.qos);
        if qos > QoS::AtMostOnce
            && let Some(known) =
                group.and_then(|group| group.member_mut(member.shard, member.session))
        {
            known.outstanding += 1;
        }
        if !is_returned(qos, member.is_stored)
            && let Some(place) = tag.place.take()
        {
            self.record_taken(place, effects);
        }
        let message = publication.message();
        self.windows.spend(member.shard, message.bytes());
        let Terms { session, retain, identifiers, .. } = member.terms(None, publication.retain);
        let assign = Assign { tag, session, message, qos, retain, identifiers };
        effects.tell(member.shard, Body::Assign(Box::new(assign)));
    }

    fn tag(&self, key: GroupKey, number: u64, place: Option<Place>) -> Option<Tag> {
        let filter = Arc::clone(&self.groups.group(key)?.filter);
        Some(Tag { owner: self.settings.shard, filter, group: Some(key), number, place })
    }

    fn settle_outstanding(&mut self, key: GroupKey, member: (ShardId, SessionKey), count: usize) {
        if let Some(group) = self.groups.group_mut(key) {
            group.settle(member, count);
        }
    }

    /// Whether a publication that no member can take may wait for one.
    fn room_in_backlog(
        &mut self,
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
        let (messages, bytes) = group.backlog();
        let (setting, maximum, wanted) = if messages >= u64::from(limits.queue_messages_max) {
            ("limits.queue_messages_max", u64::from(limits.queue_messages_max), messages + 1)
        } else {
            let wanted = bytes + publication.bytes() as u64;
            ("limits.queue_bytes_max", limits.queue_bytes_max, wanted)
        };
        let is_full = wanted > maximum;
        let mut limit = is_full.then_some(Limit { setting, maximum, wanted });
        if group.is_kept {
            limit = limit.or_else(|| self.stored.shortage_for(publication.bytes() as u64));
        }
        match limit.or(self.memory.shortage()) {
            Some(limit) => Err((DropCause::QueueFull, Some(limit))),
            None => Ok(()),
        }
    }

    /// Makes room for what has not expired. Whether there was anything else.
    fn drop_expired_shared(&mut self, key: GroupKey, effects: &mut Effects) -> bool {
        let mut has_dropped = false;
        while let Some(first) = self.groups.group(key).and_then(Group::first_waiting)
            && first.is_expired(self.now)
            && let Some(waiting) = self.take_waiting(key)
        {
            self.drop_waiting(key, &waiting, DropCause::Expired, effects);
            has_dropped = true;
        }
        has_dropped
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

    /// Lets a session whose window is open take what waits in the groups of its own shard.
    pub(crate) fn pull_from_groups(&mut self, session: SessionKey, effects: &mut Effects) {
        let own = self.settings.shard;
        let mut last = None;
        loop {
            let groups = self.registry.session(session).map(|session| session.groups());
            last = self.groups.next_backlogged(groups.unwrap_or_default(), last);
            let Some(key) = last else { return };
            while let Some((member, waiting)) = self.take_from_backlog((own, session), key, effects)
            {
                let Unassigned { number, place, message } = waiting;
                let terms = member.terms(self.tag(key, number, place), message.retain);
                self.deliver_shared(&message, terms, effects);
            }
        }
    }

    /// Delivers what waited in a shared subscription. The place that it had there is its session's
    /// to keep, or free.
    pub(crate) fn deliver_shared(
        &mut self,
        message: &Arc<Message>,
        mut terms: Terms,
        effects: &mut Effects,
    ) {
        self.frames.clear();
        let Some(mut publication) = Publication::of(message, Publisher::Nobody) else { return };
        let session = self.registry.session(terms.session);
        let is_stored = session.is_some_and(Session::is_stored);
        let stays = !is_stored && is_returned(publication.qos.min(terms.qos), false);
        let tag = terms.group.as_mut().filter(|_| !stays);
        let place = tag.and_then(|tag| tag.place.take());
        self.deliver(&mut publication, &terms, false, effects);
        match place {
            Some(place) => self.record_moved(place, &mut publication, effects),
            None => self.record_queued(&mut publication, effects),
        }
    }

    fn take_from_backlog(
        &mut self,
        (shard, session): (ShardId, SessionKey),
        key: GroupKey,
        effects: &mut Effects,
    ) -> Option<(Member, Unassigned)> {
        loop {
            let group = self.groups.group_mut(key)?;
            let qos = group.first_waiting()?.qos;
            let member = *group.member_mut(shard, session)?;
            if !self.can_take(&member, qos) {
                return None;
            }
            let waiting = self.take_waiting(key)?;
            if !waiting.message.is_expired(self.now) {
                return Some((member, waiting));
            }
            self.drop_waiting(key, &waiting, DropCause::Expired, effects);
        }
    }

    pub(crate) fn keep_in_backlog(
        &mut self,
        key: GroupKey,
        waiting: Unassigned,
        effects: &mut Effects,
    ) {
        if self.groups.group(key).is_some() {
            let bytes = waiting.message.bytes() as u64;
            self.memory.grow(bytes);
            if waiting.place.is_some() {
                self.stored.grow(bytes);
            }
            self.groups.keep(key, waiting);
        } else {
            self.drop_waiting(key, &waiting, DropCause::NoMember, effects);
        }
    }

    fn take_waiting(&mut self, key: GroupKey) -> Option<Unassigned> {
        let waiting = self.groups.take(key)?;
        let bytes = waiting.message.bytes() as u64;
        self.memory.shrink(bytes);
        if waiting.place.is_some() {
            self.stored.shrink(bytes);
        }
        Some(waiting)
    }

    fn drop_waiting(
        &mut self,
        key: GroupKey,
        waiting: &Unassigned,
        cause: DropCause,
        effects: &mut Effects,
    ) {
        self.drop_shared(key, &waiting.message.topic, cause, None, effects);
        self.record_done_with(waiting.place, effects);
    }
}

impl Member {
    fn terms(&self, group: Option<Tag>, retain: bool) -> Terms {
        let mut identifiers = Identifiers::new();
        // [MQTT5-3.3.4-5]
        identifiers.extend(self.subscription.identifier.map(SubscriptionIdentifier::get));
        Terms {
            session: self.session,
            // [MQTT5-4.8.2-3]
            qos: self.subscription.options.qos,
            retain: retain && self.subscription.options.retain_as_published,
            identifiers,
            group,
        }
    }
}
