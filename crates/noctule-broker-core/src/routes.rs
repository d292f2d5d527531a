//! Routes: what other shards know of this one's subscriptions, and the other way round.
//!
//! SUBACK promises that messages arrive, so it waits until every other shard knows the filter. A
//! second subscriber to a filter that is not known everywhere yet waits with the first.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use noctule_packet::TopicFilter;

use crate::effect::{Effects, Token, Waiting};
use crate::input::ShardId;
use crate::origin::Row;
use crate::router::{Change, Match, Target};
use crate::shard::Shard;
use crate::shard_message::Body;

/// The routes that some shard has not confirmed.
#[derive(Debug)]
pub(crate) struct Routes {
    by_filter: HashMap<Box<str>, u64, FixedState>,
    unconfirmed: HashMap<u64, Unconfirmed, FixedState>,
    /// Counts the routes that were ever made, so that an answer finds the right one.
    serial: u64,
}

#[derive(Debug)]
struct Unconfirmed {
    filter: Box<str>,
    /// How many shards have not answered.
    parts: u32,
    waiting: Vec<Token>,
}

impl Routes {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            by_filter: HashMap::with_hasher(FixedState::with_seed(seed)),
            unconfirmed: HashMap::with_hasher(FixedState::with_seed(seed)),
            serial: 0,
        }
    }

    /// A filter that `parts` shards get to know from now on.
    fn begin(&mut self, filter: &str, parts: u32, token: Token) -> Token {
        self.serial += 1;
        let serial = self.serial;
        self.by_filter.insert(filter.into(), serial);
        let unconfirmed = Unconfirmed { filter: filter.into(), parts, waiting: vec![token] };
        self.unconfirmed.insert(serial, unconfirmed);
        Token(Waiting::Route { serial })
    }

    /// Waits with the first subscriber, if the filter is not known everywhere yet.
    fn wait(&mut self, filter: &str, token: Token) -> bool {
        let serial = self.by_filter.get(filter);
        let Some(route) = serial.and_then(|serial| self.unconfirmed.get_mut(serial)) else {
            return false;
        };
        route.waiting.push(token);
        true
    }

    /// Nobody waits for a route any more that is given up; who did.
    fn forget(&mut self, filter: &str) -> Vec<Token> {
        let serial = self.by_filter.remove(filter);
        let forgotten = serial.and_then(|serial| self.unconfirmed.remove(&serial));
        forgotten.map(|route| route.waiting).unwrap_or_default()
    }

    /// Who waits for a route to be known everywhere.
    fn waiting(&self, serial: u64) -> Vec<Token> {
        let route = self.unconfirmed.get(&serial);
        route.map(|route| route.waiting.clone()).unwrap_or_default()
    }

    /// Who need not wait any more, now that one more shard knows the route.
    fn confirm(&mut self, serial: u64) -> Vec<Token> {
        let Some(route) = self.unconfirmed.get_mut(&serial) else { return Vec::new() };
        route.parts -= 1;
        if route.parts > 0 {
            return Vec::new();
        }
        let Some(route) = self.unconfirmed.remove(&serial) else { return Vec::new() };
        self.by_filter.remove(&route.filter);
        route.waiting
    }
}

impl Shard {
    /// Tells the other shards of the first or the last subscriber to a filter. How many answers
    /// `token` has to wait for.
    pub(crate) fn change_routes(
        &mut self,
        filter: &str,
        change: Change,
        token: Token,
        effects: &mut Effects,
    ) -> u32 {
        let shards = self.settings.placement.shards();
        if shards == 1 {
            return 0;
        }
        let Ok(parsed) = TopicFilter::new(filter) else { return 0 };
        let filter = parsed.filter();
        let (interested, token, parts) = match change {
            Change::None => return u32::from(self.routes.wait(filter, token)),
            Change::First => (true, self.routes.begin(filter, u32::from(shards - 1), token), 1),
            Change::Last => {
                for token in self.routes.forget(filter) {
                    if let Waiting::Join { number } = token.0 {
                        self.joins.waiting.remove(&number);
                    }
                }
                (false, Token::nobody(), 0)
            }
        };
        for to in (0..shards).map(ShardId).filter(|to| *to != self.settings.shard) {
            let filter = filter.into();
            effects.tell(to, Body::ChangeRoute { token, filter, interested });
        }
        parts
    }

    /// Another shard knows a route, and forwards what it publishes behind this.
    pub(crate) fn on_route_confirmed(
        &mut self,
        from: ShardId,
        token: Token,
        published: &Row,
        effects: &mut Effects,
    ) {
        // What it had forwarded before has come before.
        self.seen.note_all(from, published);
        let Waiting::Route { serial } = token.0 else { return };
        for token in self.routes.waiting(serial) {
            self.note_confirmed(token, from, published);
        }
        for token in self.routes.confirm(serial) {
            match token.0 {
                Waiting::Join { number } => self.on_join_known(number, effects),
                _ => self.on_part_done(token, effects),
            }
        }
    }

    /// Another shard has its first, or no more, subscribers to a filter.
    pub(crate) fn on_route_changed(&mut self, from: ShardId, filter: &str, interested: bool) {
        let target = Target::Shard(from);
        if interested {
            let options = Default::default();
            self.router.subscribe(filter, Match { target, options, identifier: None });
        } else {
            self.router.unsubscribe(filter, target);
        }
    }
}

#[cfg(test)]
mod tests {
    use noctule_packet::SubscriptionOptions;
    use noctule_session::Timestamp;

    use super::*;
    use crate::placement::Placement;
    use crate::registry::SessionKey;
    use crate::settings::Settings;
    use crate::shard_message::{GroupMessage, Unfinished};

    #[test]
    fn a_request_to_join_that_is_withdrawn_leaves_nothing_waiting() {
        let settings = Settings { placement: Placement::new([7; 16], 3), ..Settings::default() };
        let mut shard = Shard::new(settings, Timestamp::default(), 7);
        let mut effects = Effects::new();
        let (from, session) = (ShardId(1), SessionKey::for_test(0));
        let join = GroupMessage::Join {
            token: Token::nobody(),
            filter: "$share/g/x".into(),
            session,
            options: SubscriptionOptions::default(),
            identifier: None,
            window: Some(1),
            is_stored: false,
        };
        shard.on_group_message(from, join, &mut effects);
        assert_eq!((shard.joins.waiting.len(), shard.routes.unconfirmed.len()), (1, 1));
        let (filter, unfinished) = ("$share/g/x".into(), Unfinished::new());
        let leave = GroupMessage::Leave { filter, session, unfinished };
        shard.on_group_message(from, leave, &mut effects);
        assert_eq!((shard.joins.waiting.len(), shard.routes.unconfirmed.len()), (0, 0));
    }
}
