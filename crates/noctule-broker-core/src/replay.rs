//! Replays: the retained messages that a new subscription is owed, in slices and under flow
//! control.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{QoS, SubscriptionOptions};

use crate::delivery::Terms;
use crate::effect::Effects;
use crate::message::Message;
use crate::publication::Publication;
use crate::registry::SessionKey;
use crate::retained::{Position, filter_levels};
use crate::session::Identifiers;
use crate::shard::Shard;

/// How many nodes of the trie one slice visits, and how many messages it takes out.
const STEPS: usize = 1_024;
const MESSAGES: usize = 64;

/// One subscription's walk through the retained messages.
#[derive(Debug)]
pub(crate) struct Replay {
    filter: Box<str>,
    levels: Box<[Box<str>]>,
    position: Position,
    /// Messages that were kept after this were delivered live.
    since: u64,
    options: SubscriptionOptions,
    identifier: Option<u32>,
}

impl Replay {
    pub(crate) fn new(filter: &str, terms: (SubscriptionOptions, Option<u32>), since: u64) -> Self {
        Self {
            filter: filter.into(),
            levels: filter_levels(filter),
            position: Position::Start,
            since,
            options: terms.0,
            identifier: terms.1,
        }
    }

    /// The filter of the subscription.
    pub(crate) fn filter(&self) -> &str {
        &self.filter
    }
}

impl Shard {
    /// Sends retained messages while the session takes them; the rest follows when its window
    /// opens, its buffer drains, or in the next turn.
    // [MQTT5-3.3.1-9] [MQTT311-3.3.1-6] [MQTT311-3.3.1-8]
    pub(crate) fn replay(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let Some(id) = session.connection else { return };
        let Some(mut replay) = session.replays.pop_front() else { return };
        let mut sent = 0;
        loop {
            if self.budget == 0 {
                self.schedule_replay(key);
                break;
            }
            if !self.is_online(id) || !self.has_room(id) || !self.window_is_open(key, &replay) {
                break;
            }
            let slice = self.take_slice(&mut replay);
            self.budget = self.budget.saturating_sub(slice.len().max(1));
            for (at, message) in slice.iter().enumerate() {
                if !self.window_is_open(key, &replay) || !self.has_room(id) {
                    replay.position = match at.checked_sub(1).and_then(|last| slice.get(last)) {
                        Some(last) => Position::After(last.topic.clone()),
                        None => replay.position,
                    };
                    sent = at;
                    break;
                }
                self.send_retained(key, &replay, message, effects);
                sent = at + 1;
            }
            if sent < slice.len() {
                // Nothing of the slice went: start over from where it began.
                break;
            }
            if replay.position == Position::End {
                let Some(session) = self.registry.session_mut(key) else { return };
                match session.replays.pop_front() {
                    Some(next) => replay = next,
                    None => return,
                }
            }
        }
        if let Some(session) = self.registry.session_mut(key) {
            session.replays.push_front(replay);
        }
    }

    fn window_is_open(&self, key: SessionKey, replay: &Replay) -> bool {
        replay.options.qos == QoS::AtMostOnce
            || self.registry.session(key).is_some_and(|session| session.sender.is_open())
    }

    fn take_slice(&self, replay: &mut Replay) -> Vec<Arc<Message>> {
        let mut slice = Vec::new();
        let (now, since) = (self.now, replay.since);
        self.retained.walk(&replay.levels, &mut replay.position, STEPS, |kept| {
            if slice.len() == MESSAGES {
                return false;
            }
            if kept.stamp <= since && !kept.message.is_expired(now) {
                slice.push(Arc::clone(&kept.message));
            }
            true
        });
        slice
    }

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
        if !self.replaying.contains(&key) {
            self.replaying.push_back(key);
        }
    }

    /// Goes on with the replays that used up an earlier turn.
    pub(crate) fn go_on_replaying(&mut self, effects: &mut Effects) {
        for _ in 0..self.replaying.len() {
            if self.budget == 0 {
                return;
            }
            if let Some(key) = self.replaying.pop_front() {
                self.replay(key, effects);
            }
        }
    }
}
