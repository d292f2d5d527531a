//! Replays: the retained messages that a new subscription is owed, in slices and under flow
//! control.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use noctule_packet::{QoS, SubscriptionOptions};

use crate::delivery::Terms;
use crate::effect::Effects;
use crate::input::ConnectionId;
use crate::message::Message;
use crate::publication::Publication;
use crate::registry::SessionKey;
use crate::retained::{Position, filter_levels};
use crate::session::Identifiers;
use crate::shard::Shard;

/// How many nodes of the trie one slice visits, and how many messages it takes out.
const STEPS: usize = 1_024;
const MESSAGES: usize = 64;

/// How many visited nodes cost as much of a turn as one delivery.
const NODES_PER_DELIVERY: usize = 8;

/// One subscription's walk through the retained messages.
#[derive(Debug)]
pub(crate) struct Replay {
    filter: Arc<str>,
    levels: Box<[Box<str>]>,
    position: Position,
    since: Since,
    options: SubscriptionOptions,
    identifier: Option<u32>,
}

/// What had happened when a subscription was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    /// Messages that were kept after this are delivered live.
    clock: u64,
    /// Fan-outs that began before this may still deliver older messages.
    fan_outs: u64,
}

/// The replays of one session, in the order in which they are served, and by filter.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    waiting: BTreeMap<Turn, Replay>,
    by_filter: BTreeMap<Arc<str>, Turn>,
    /// The number of the last one.
    last: u64,
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

    fn put(&mut self, number: u64, replay: Replay) {
        let turn = Turn { needs_window: !replay.is_at_most_once(), number };
        self.by_filter.insert(Arc::clone(&replay.filter), turn);
        self.waiting.insert(turn, replay);
    }

    fn end(&mut self, filter: &str) -> Option<(u64, Replay)> {
        let turn = self.by_filter.remove(filter)?;
        Some((turn.number, self.waiting.remove(&turn)?))
    }

    fn take_first(&mut self) -> Option<(u64, Replay)> {
        let (turn, replay) = self.waiting.pop_first()?;
        self.by_filter.remove(&replay.filter);
        Some((turn.number, replay))
    }

    /// Ends all that send nothing above QoS 0.
    pub(crate) fn end_at_most_once(&mut self) {
        self.waiting.retain(|turn, _| turn.needs_window);
        self.by_filter.retain(|_, turn| turn.needs_window);
    }
}

impl Replay {
    /// Whether it sends nothing above QoS 0.
    fn is_at_most_once(&self) -> bool {
        self.options.qos == QoS::AtMostOnce
    }
}

impl Shard {
    /// What a subscription that is made now need not be sent again.
    pub(crate) fn since(&self) -> Since {
        Since { clock: self.retained.clock(), fan_outs: self.fan_outs_deferred }
    }

    /// Lets a new subscription have the retained messages that it matches.
    pub(crate) fn begin_replay(
        &mut self,
        key: SessionKey,
        filter: &str,
        terms: (SubscriptionOptions, Option<u32>),
        since: Since,
    ) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let replay = Replay {
            filter: filter.into(),
            levels: filter_levels(filter),
            position: Position::Start,
            since,
            options: terms.0,
            identifier: terms.1,
        };
        session.replays.begin(replay);
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
        terms: (SubscriptionOptions, Option<u32>),
    ) {
        let Some(session) = self.registry.session_mut(key) else { return };
        if let Some((number, mut replay)) = session.replays.end(filter) {
            (replay.options, replay.identifier) = terms;
            session.replays.put(number, replay);
        }
    }

    /// Sends retained messages while the session takes them; the rest follows when its window
    /// opens, its buffer drains, or in the next turn.
    pub(crate) fn replay(&mut self, key: SessionKey, effects: &mut Effects) {
        loop {
            let Some(session) = self.registry.session_mut(key) else { return };
            let Some(id) = session.connection else { return };
            let Some((number, mut replay)) = session.replays.take_first() else { return };
            self.go_on_with(id, key, &mut replay, effects);
            if replay.position != Position::End {
                if let Some(session) = self.registry.session_mut(key) {
                    session.replays.put(number, replay);
                }
                return;
            }
        }
    }

    /// Goes on with one replay until its end or until it has to wait.
    fn go_on_with(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        replay: &mut Replay,
        effects: &mut Effects,
    ) {
        while replay.position != Position::End && self.takes_more(id, key, replay) {
            let fan_outs_done = self.fan_outs_deferred - self.work.len() as u64;
            if self.budget == 0 || fan_outs_done < replay.since.fan_outs {
                self.schedule_replay(key);
                return;
            }
            let slice = self.take_slice(key, replay);
            for (at, message) in slice.iter().enumerate() {
                self.send_retained(key, replay, message, effects);
                if at + 1 < slice.len() && !self.takes_more(id, key, replay) {
                    replay.position = Position::After(message.topic.clone());
                    return;
                }
            }
        }
    }

    /// Whether a retained message could be sent now.
    fn takes_more(&mut self, id: ConnectionId, key: SessionKey, replay: &Replay) -> bool {
        let open = replay.is_at_most_once()
            || self.registry.session(key).is_some_and(|session| session.sender.is_open());
        open && self.is_online(id) && self.has_room(id)
    }

    /// The next messages to send; no more than the window lets pass, and none that is delivered
    /// live: that would follow what is newer, or repeat it.
    fn take_slice(&mut self, key: SessionKey, replay: &mut Replay) -> Vec<Arc<Message>> {
        let quota = self.registry.session(key).map_or(0, |session| session.sender.quota());
        let most = match replay.options.qos {
            QoS::AtMostOnce => MESSAGES,
            QoS::AtLeastOnce | QoS::ExactlyOnce => MESSAGES.min(usize::from(quota).max(1)),
        };
        let mut slice = Vec::new();
        let (now, clock) = (self.now, replay.since.clock);
        let left = self.retained.walk(&replay.levels, &mut replay.position, STEPS, |kept| {
            if kept.stamp <= clock && !kept.message.is_expired(now) {
                slice.push(Arc::clone(&kept.message));
            }
            if slice.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let cost = slice.len() + (STEPS - left) / NODES_PER_DELIVERY;
        self.budget = self.budget.saturating_sub(cost.max(1));
        slice
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
        let Some(mut publication) = Publication::of(message, None) else { return };
        let mut identifiers = Identifiers::new();
        identifiers.extend(replay.identifier);
        let terms =
            Terms { session: key, qos: replay.options.qos, retain: true, identifiers, group: None };
        self.deliver(&mut publication, terms, false, effects);
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
