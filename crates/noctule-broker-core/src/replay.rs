//! Replays: the retained messages that a new subscription is owed, in slices and under flow
//! control.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{ControlFlow, Range};

use noctule_packet::{QoS, SubscriptionOptions};
use smallvec::SmallVec;

use crate::connection::Parked;
use crate::delivery::Terms;
use crate::effect::{Effects, Token};
use crate::input::{ConnectionId, ShardId};
use crate::message::Message;
use crate::origin::{Origin, Positions, Row, Seen};
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::retained::{Position, filter_levels};
use crate::session::{Identifiers, Session, SubscriptionIdentifier};
use crate::shard::Shard;
use crate::shard_message::{AskRetained, Body, GiveRetained};
use crate::stored::Record;

/// How many nodes of the trie one slice visits, and how many messages it takes out.
const STEPS: usize = 1_024;
const MESSAGES: usize = 64;

/// How many visited nodes cost as much of a turn as one delivery.
const NODES_PER_DELIVERY: usize = 8;

/// How many topics are remembered for one session as delivered live.
const LIVE_TOPICS_MAX: usize = 65_536;

/// Retained messages and which publications they were.
type Slice = Vec<(Arc<Message>, Origin)>;

/// One subscription's walk through the retained messages.
#[derive(Debug)]
pub(crate) struct Replay {
    filter: Arc<str>,
    levels: Arc<[Box<str>]>,
    /// The shards whose retained messages have not all been sent, and how far the first of them has
    /// been gone through.
    owners: Range<u16>,
    position: Position,
    /// Whether the first of them has been asked and has not answered.
    asked: bool,
    since: Since,
    options: SubscriptionOptions,
    identifier: Option<SubscriptionIdentifier>,
    /// Whether the store is to know when it is done.
    is_owed: bool,
}

/// How a subscription wants what it is sent, and whether the store is to know when it has got all.
pub(crate) type ReplayTerms = (SubscriptionOptions, Option<SubscriptionIdentifier>, bool);

/// What had happened when a subscription was made.
#[derive(Clone, Debug)]
pub(crate) struct Since {
    /// What was published behind this is delivered live.
    pub(crate) positions: Positions,
    /// Retained messages that were delivered live before this count for nothing.
    deliveries: u64,
    /// Fan-outs that began before this may still deliver older messages.
    fan_outs: u64,
}

/// The replays of one session.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    /// Boxed, as most sessions have none most of the time.
    open: Option<Box<OpenReplays>>,
    /// The number of the last one.
    last: u64,
    /// Whether SUBACK is still to come for a subscription that has been made.
    pub(crate) is_expecting: bool,
    /// Counts what was put into [`OpenReplays::live`].
    deliveries: u64,
}

/// Those that are not done.
#[derive(Debug, Default)]
struct OpenReplays {
    /// In the order in which they are served.
    waiting: BTreeMap<Turn, Replay>,
    by_filter: BTreeMap<Arc<str>, Turn>,
    /// With several shards, what was delivered live meanwhile, and as which of all deliveries: a
    /// shard that is asked may not have seen it yet, or may give it once more.
    live: BTreeMap<Box<str>, SmallVec<[(u64, Origin); 1]>>,
}

/// When a replay is served: what needs no window must not wait for one; else by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    needs_window: bool,
    number: u64,
}

impl Replays {
    fn begin(&mut self, replay: Replay) {
        self.end(&replay.filter);
        self.last += 1;
        self.put(self.last, replay);
    }

    /// Whether nothing is owed, and nothing remembered for it.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.waiting.is_empty() && open.live.is_empty())
    }

    fn put(&mut self, number: u64, replay: Replay) {
        let turn = Turn { needs_window: !replay.is_at_most_once(), number };
        let open = self.open.get_or_insert_default();
        open.by_filter.insert(Arc::clone(&replay.filter), turn);
        open.waiting.insert(turn, replay);
    }

    fn end(&mut self, filter: &str) -> Option<(u64, Replay)> {
        let open = self.open.as_mut()?;
        let turn = open.by_filter.remove(filter)?;
        Some((turn.number, open.waiting.remove(&turn)?))
    }

    fn take(&mut self, number: u64) -> Option<Replay> {
        let open = self.open.as_mut()?;
        let turn = open.waiting.keys().copied().find(|turn| turn.number == number)?;
        let replay = open.waiting.remove(&turn)?;
        open.by_filter.remove(&replay.filter);
        Some(replay)
    }

    fn take_first(&mut self) -> Option<(u64, Replay)> {
        let open = self.open.as_mut()?;
        let (turn, replay) = open.waiting.pop_first()?;
        open.by_filter.remove(&replay.filter);
        Some((turn.number, replay))
    }

    /// Whether what is delivered live has to be remembered.
    fn is_watching(&self) -> bool {
        self.is_expecting || self.open.as_ref().is_some_and(|open| !open.waiting.is_empty())
    }

    /// Remembers what is delivered live, unless that is too much.
    fn note_live(&mut self, topic: &str, origin: Origin) {
        let open = self.open.get_or_insert_default();
        if open.live.len() < LIVE_TOPICS_MAX {
            self.deliveries += 1;
            open.live.entry(topic.into()).or_default().push((self.deliveries, origin));
        }
    }

    fn forget_live(&mut self) {
        if !self.is_watching() {
            self.open = None;
        }
    }

    /// Whether, since a subscription was made, a message was delivered live, or something newer
    /// that its owner, which has seen `seen`, does not know yet.
    fn is_outdated(&self, since: &Since, topic: &str, origin: Origin, seen: &Seen) -> bool {
        let live = self.open.as_ref().and_then(|open| open.live.get(topic));
        let live = live.map(SmallVec::as_slice).unwrap_or_default();
        let mut later = live.iter().filter(|(number, _)| *number > since.deliveries);
        later.any(|(_, live)| *live == origin || !seen.covers(*live))
    }

    fn find_mut(&mut self, filter: &str) -> Option<&mut Replay> {
        let open = self.open.as_mut()?;
        let turn = open.by_filter.get(filter)?;
        open.waiting.get_mut(turn)
    }

    /// From now on the store knows what a subscription is still owed. Whether that is anything that
    /// outlives its connection.
    pub(crate) fn note_owed(&mut self, filter: &str) -> bool {
        let replay = self.find_mut(filter).filter(|replay| !replay.is_at_most_once());
        replay.map(|replay| replay.is_owed = true).is_some()
    }

    /// Ends all that send nothing above QoS 0.
    pub(crate) fn end_at_most_once(&mut self) {
        let Some(open) = &mut self.open else { return };
        open.waiting.retain(|turn, _| turn.needs_window);
        open.by_filter.retain(|_, turn| turn.needs_window);
    }
}

impl Replay {
    fn is_done(&self) -> bool {
        self.position == Position::End && self.owners.len() <= 1
    }

    /// Whether it sends nothing above QoS 0.
    fn is_at_most_once(&self) -> bool {
        self.options.qos == QoS::AtMostOnce
    }
}

impl Shard {
    /// What a subscription that is made now need not be sent again.
    pub(crate) fn since(&self, key: SessionKey) -> Since {
        let session = self.registry.session(key);
        Since {
            positions: self.seen.clone(),
            deliveries: session.map_or(0, |session| session.replays.deliveries),
            fan_outs: self.fan_outs_deferred,
        }
    }

    /// A route that a subscription waits for is known to a shard, which forwards what it
    /// publishes behind this.
    pub(crate) fn note_confirmed(&mut self, token: Token, from: ShardId, published: &Row) {
        let Some(id) = self.stopped_at(token) else { return };
        let parked = self.connections.find_mut(id).and_then(|found| found.parked.as_mut());
        if let Some(Parked::Subscribe(parked)) = parked
            && let Some(since) = &mut parked.since
        {
            since.positions.note_all(from, published);
            // What has come before this may still be on its way to the session.
            since.fan_outs = self.fan_outs_deferred;
        }
    }

    /// From now on, or from now on no more, a session waits for a SUBACK with retained messages
    /// behind it.
    pub(crate) fn expect_replays(&mut self, key: SessionKey, is_expecting: bool) {
        if let Some(session) = self.registry.session_mut(key) {
            session.replays.is_expecting = is_expecting;
        }
    }

    /// Remembers what a session gets live while it is owed retained messages.
    pub(crate) fn note_live(&mut self, publication: &Publication<'_>, terms: &Terms) {
        let is_live = publication.retain && publication.origin.position > 0;
        if !is_live || terms.group.is_some() || self.settings.placement.shards() == 1 {
            return;
        }
        let Some(session) = self.registry.session_mut(terms.session) else { return };
        if session.replays.is_watching() {
            session.replays.note_live(publication.topic.as_str(), publication.origin);
        }
    }

    /// Lets a new subscription have the retained messages that it matches.
    pub(crate) fn begin_replay(
        &mut self,
        key: SessionKey,
        filter: &str,
        terms: ReplayTerms,
        since: Since,
    ) {
        let owners = self.owners(filter);
        let Some(session) = self.registry.session_mut(key) else { return };
        let replay = Replay {
            filter: filter.into(),
            levels: filter_levels(filter),
            owners,
            position: Position::Start,
            asked: false,
            since,
            options: terms.0,
            identifier: terms.1,
            is_owed: terms.2,
        };
        session.replays.begin(replay);
    }

    /// The shards that may have retained messages which a filter matches.
    fn owners(&self, filter: &str) -> Range<u16> {
        let placement = &self.settings.placement;
        let has_wildcard = filter.contains(['+', '#']);
        if has_wildcard && !filter.starts_with("$SYS/") {
            return 0..placement.shards();
        }
        let owner = placement.retained(filter).0;
        owner..owner + 1
    }

    /// Ends the replay of a subscription that is no more, or that another one takes the place of.
    pub(crate) fn end_replay(&mut self, key: SessionKey, filter: &str) {
        if let Some(session) = self.registry.session_mut(key) {
            session.replays.end(filter);
        }
    }

    /// Lets a replay that its subscription's replacement did not begin anew go on as that says.
    pub(crate) fn change_replay(
        &mut self,
        key: SessionKey,
        filter: &str,
        terms: ReplayTerms,
        effects: &mut Effects,
    ) {
        let Some(session) = self.registry.session_mut(key) else { return };
        if let Some((number, mut replay)) = session.replays.end(filter) {
            (replay.options, replay.identifier, replay.is_owed) = terms;
            session.replays.put(number, replay);
        } else if terms.2 {
            self.record_replayed(key, filter, effects);
        }
    }

    /// The store is about to hear of a subscription that takes the place of one with the same
    /// filter: when its replay ends meanwhile, that is not yet to be told. Whether there is one.
    pub(crate) fn supersede_replay(&mut self, key: SessionKey, filter: &str) -> bool {
        let session = self.registry.session_mut(key);
        let replay = session.and_then(|session| session.replays.find_mut(filter));
        replay.map(|replay| replay.is_owed = false).is_some()
    }

    /// Lets the store know that a subscription is owed no retained messages any more. Until it does
    /// they would be sent once more behind a crash.
    fn record_replayed(&mut self, key: SessionKey, filter: &str, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let subscription = session.subscriptions.get(filter);
        let Some(subscription) = subscription.map(|known| known.to_stored(filter, false)) else {
            return;
        };
        if let Some(session) = session.queue_name() {
            self.record_leisurely(Record::Subscribed { session, subscription }, effects);
        }
    }

    /// A replay has come to its end, or has to wait.
    fn settle_replay(
        &mut self,
        key: SessionKey,
        (number, replay): (u64, Replay),
        effects: &mut Effects,
    ) {
        if !replay.is_done() {
            if let Some(session) = self.registry.session_mut(key) {
                session.replays.put(number, replay);
            }
        } else if replay.is_owed {
            self.record_replayed(key, &replay.filter, effects);
        }
    }

    /// Sends retained messages while the session takes them; the rest follows when its window
    /// opens, its buffer drains, or in the next turn.
    pub(crate) fn replay(&mut self, key: SessionKey, effects: &mut Effects) {
        loop {
            let Some(session) = self.registry.session_mut(key) else { return };
            let Some(id) = session.connection else { return };
            let Some((number, mut replay)) = session.replays.take_first() else {
                session.replays.forget_live();
                return;
            };
            self.go_on_with(id, key, (number, &mut replay), effects);
            let is_done = replay.is_done();
            self.settle_replay(key, (number, replay), effects);
            if !is_done {
                return;
            }
        }
    }

    /// Goes on with one replay until its end or until it has to wait.
    fn go_on_with(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        (number, replay): (u64, &mut Replay),
        effects: &mut Effects,
    ) {
        while !replay.is_done() && !replay.asked && self.takes_more(id, key, replay) {
            let fan_outs_done = self.fan_outs_deferred - self.work.len() as u64;
            if self.budget == 0 || fan_outs_done < replay.since.fan_outs {
                self.schedule_replay(key);
                return;
            }
            let messages_max = self.slice_messages(key, replay);
            let owner = ShardId(replay.owners.start);
            if owner != self.settings.shard {
                replay.asked = true;
                let ask = AskRetained {
                    session: key,
                    replay: number,
                    since: replay.since.positions.of(owner).cloned().unwrap_or_default(),
                    levels: Arc::clone(&replay.levels),
                    position: replay.position.clone(),
                    messages_max,
                };
                effects.tell(owner, Body::AskRetained(Box::new(ask)));
                return;
            }
            let (slice, position) = self.take_slice(&replay.levels, &replay.position, messages_max);
            let seen = self.seen_as_owner();
            self.send_slice((id, key), replay, (slice, &seen, position), effects);
        }
    }

    /// What this shard has seen of those retained messages that live here.
    fn seen_as_owner(&self) -> Seen {
        self.seen.of(self.settings.shard).cloned().unwrap_or_default()
    }

    /// Another shard wants to send retained messages of this one to a session. What it knows to be
    /// published may not have come here yet: that must be waited for.
    pub(crate) fn on_ask_retained(
        &mut self,
        from: ShardId,
        ask: Box<AskRetained>,
        effects: &mut Effects,
    ) {
        let seen = self.seen_as_owner();
        if !seen.covers_all(&ask.since) {
            self.asks.push((from, ask));
            return;
        }
        let AskRetained { session, replay, levels, position, messages_max, .. } = *ask;
        let (messages, position) = self.take_slice(&levels, &position, messages_max);
        let given = GiveRetained { session, replay, messages, position, seen };
        effects.tell(from, Body::GiveRetained(Box::new(given)));
    }

    /// Answers the questions that had to wait for what has come now.
    pub(crate) fn answer_asks(&mut self, effects: &mut Effects) {
        for (from, ask) in core::mem::take(&mut self.asks) {
            self.on_ask_retained(from, ask, effects);
        }
    }

    /// The retained messages that another shard was asked for.
    pub(crate) fn on_give_retained(&mut self, given: GiveRetained, effects: &mut Effects) {
        let GiveRetained { session: key, replay: number, messages, position, seen } = given;
        let Some(session) = self.registry.session_mut(key) else { return };
        let connection = session.connection;
        let Some(mut replay) = session.replays.take(number) else {
            // Its subscription has ended; the next one has waited for this answer.
            self.replay(key, effects);
            return;
        };
        replay.asked = false;
        if let Some(id) = connection {
            self.send_slice((id, key), &mut replay, (messages, &seen, position), effects);
        }
        self.settle_replay(key, (number, replay), effects);
        self.replay(key, effects);
    }

    /// Sends messages up to a position, but for those that are delivered live: they would follow
    /// what is newer, or repeat it.
    fn send_slice(
        &mut self,
        (id, key): (ConnectionId, SessionKey),
        replay: &mut Replay,
        (messages, seen, position): (Slice, &Seen, Position),
        effects: &mut Effects,
    ) {
        for (message, origin) in messages {
            if !self.takes_more(id, key, replay) {
                return;
            }
            let session = self.registry.session(key);
            let owner = ShardId(replay.owners.start);
            let comes_live =
                !replay.since.positions.of(owner).is_some_and(|seen| seen.covers(origin));
            let (since, topic) = (&replay.since, &message.topic);
            let is_outdated =
                session.is_some_and(|known| known.replays.is_outdated(since, topic, origin, seen));
            #[cfg(feature = "planted-faults")]
            let (comes_live, is_outdated) =
                if self.is_planted(crate::planted::PlantedFault::ReplayBehindLive) {
                    (false, false)
                } else {
                    (comes_live, is_outdated)
                };
            replay.position = Position::After(message.topic.clone());
            if !comes_live && !is_outdated {
                self.send_retained(key, replay, &message, effects);
            }
        }
        replay.position = position;
        if replay.position == Position::End && replay.owners.len() > 1 {
            replay.owners.start += 1;
            replay.position = Position::Start;
        }
    }

    /// Whether a retained message could be sent now.
    fn takes_more(&mut self, id: ConnectionId, key: SessionKey, replay: &Replay) -> bool {
        let open =
            replay.is_at_most_once() || self.registry.session(key).is_some_and(Session::is_open);
        open && self.is_online(id) && self.has_room(id)
    }

    /// How many messages to take at a time: no more than the window lets pass.
    fn slice_messages(&self, key: SessionKey, replay: &Replay) -> usize {
        let quota = self.registry.session(key).map_or(0, |session| session.sender.quota());
        match replay.options.qos {
            QoS::AtMostOnce => MESSAGES,
            QoS::AtLeastOnce | QoS::ExactlyOnce => MESSAGES.min(usize::from(quota).max(1)),
        }
    }

    /// The next retained messages of this shard, and how far that is.
    fn take_slice(
        &mut self,
        levels: &[Box<str>],
        position: &Position,
        messages_max: usize,
    ) -> (Slice, Position) {
        let (mut slice, mut position, now) = (Slice::new(), position.clone(), self.now);
        let left = self.retained.walk(levels, &mut position, STEPS, |kept| {
            if !kept.message.is_expired(now) {
                slice.push((Arc::clone(&kept.message), kept.origin));
            }
            let is_full = slice.len() == messages_max;
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let cost = slice.len() + (STEPS - left) / NODES_PER_DELIVERY;
        self.budget = self.budget.saturating_sub(cost.max(1));
        (slice, position)
    }

    /// Sends one message with RETAIN, which tells it from a live one.
    // [MQTT311-3.3.1-8] [MQTT31-3.3-2]
    fn send_retained(
        &mut self,
        key: SessionKey,
        replay: &Replay,
        message: &Arc<Message>,
        effects: &mut Effects,
    ) {
        self.frames.clear();
        let Some(mut publication) = Publication::of(message, Publisher::Nobody) else {
            return;
        };
        let mut identifiers = Identifiers::new();
        identifiers.extend(replay.identifier.map(SubscriptionIdentifier::get));
        let terms =
            Terms { session: key, qos: replay.options.qos, retain: true, identifiers, group: None };
        self.deliver(&mut publication, &terms, false, effects);
        self.record_queued(&mut publication, effects);
    }

    fn schedule_replay(&mut self, key: SessionKey) {
        if let Some(session) = self.registry.session_mut(key)
            && !core::mem::replace(&mut session.replay_scheduled, true)
        {
            self.replaying.push_back(key);
        }
    }

    /// Goes on with the replays that used up an earlier turn. Other work may have used up this one,
    /// which must not hold them off for ever.
    pub(crate) fn go_on_replaying(&mut self, effects: &mut Effects) {
        self.budget = self.budget.max(MESSAGES);
        for _ in 0..self.replaying.len() {
            if self.budget == 0 {
                return;
            }
            let Some(key) = self.replaying.pop_front() else { return };
            if let Some(session) = self.registry.session_mut(key) {
                session.replay_scheduled = false;
                self.replay(key, effects);
            }
        }
    }
}
