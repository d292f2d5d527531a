//! What the shards of a [`Broker`] ask and say to each other, held until a test lets it go on.

use noctule_broker_core::{Effect, ShardId};

use crate::broker::Broker;
use crate::world::name_of;

impl Broker {
    /// From now on questions to the driver (authenticate, authorise, persist, load, forward, change
    /// a route) wait for [`Broker::asked`] instead of being answered with yes.
    pub(crate) fn hold(&self) {
        self.world.borrow_mut().holds = true;
    }

    /// From now on what shards say to each other waits too.
    pub(crate) fn hold_mail(&self) {
        self.hold();
        self.world.borrow_mut().holds_mail = true;
    }

    /// The oldest question that was held.
    #[track_caller]
    pub(crate) fn asked(&self) -> Effect {
        self.asked_by().1
    }

    /// The oldest question that was held, and which shard has asked it.
    #[track_caller]
    pub(crate) fn asked_by(&self) -> (ShardId, Effect) {
        let asked = self.world.borrow_mut().asked.pop_front();
        asked.expect("the shard has asked nothing")
    }

    /// The newest question that was held, and which shard has asked it.
    #[track_caller]
    pub(crate) fn asked_last(&self) -> (ShardId, Effect) {
        let asked = self.world.borrow_mut().asked.pop_back();
        asked.expect("the shard has asked nothing")
    }

    /// Answers a question with yes, or carries what one shard has said to another.
    pub(crate) fn give(&self, (from, asked): (ShardId, Effect)) {
        let mut world = self.world.borrow_mut();
        world.answer(from, asked);
        world.settle();
    }

    /// What shards have said to each other and is held, oldest first: from, to, what.
    pub(crate) fn letters(&self) -> Vec<(u16, u16, String)> {
        let world = self.world.borrow();
        let letters = world.asked.iter().filter_map(|(from, asked)| match asked {
            Effect::ToShard { to, .. } => Some((from.0, to.0, name_of(asked))),
            _ => None,
        });
        letters.collect()
    }

    /// Carries the oldest that one shard has said to another and that is held; its name.
    #[track_caller]
    pub(crate) fn carry(&self, from: u16, to: u16) -> String {
        let wanted = |(by, asked): &(ShardId, Effect)| {
            by.0 == from && matches!(asked, Effect::ToShard { to: whom, .. } if whom.0 == to)
        };
        let mut world = self.world.borrow_mut();
        let at = world.asked.iter().position(wanted).expect("nothing is held between them");
        let letter = world.asked.remove(at).expect("it was there");
        drop(world);
        let name = name_of(&letter.1);
        self.give(letter);
        name
    }

    /// Carries all that one shard says to another; the names.
    pub(crate) fn carry_between(&self, from: u16, to: u16) -> Vec<String> {
        let is_between = |letters: &[(u16, u16, String)]| {
            letters.iter().any(|(by, whom, _)| (*by, *whom) == (from, to))
        };
        let mut names = Vec::new();
        while is_between(&self.letters()) {
            names.push(self.carry(from, to));
        }
        names
    }

    /// Carries all that shards say to each other until nothing is left; more will be held again.
    pub(crate) fn carry_all(&self) {
        while let Some((from, to, _)) = self.letters().first() {
            self.carry(*from, *to);
        }
    }

    /// Whether no question is held.
    pub(crate) fn has_asked_nothing(&self) -> bool {
        self.world.borrow().asked.is_empty()
    }

    /// Answers the oldest question that was held as memory mode does: with yes.
    #[track_caller]
    pub(crate) fn answer(&self) {
        self.give(self.asked_by());
    }

    /// Answers the oldest question of a kind that was held with yes.
    #[track_caller]
    pub(crate) fn answer_first(&self, wanted: impl Fn(&Effect) -> bool) {
        let mut world = self.world.borrow_mut();
        let at = world.asked.iter().position(|(_, asked)| wanted(asked));
        let asked = world.asked.remove(at.expect("it was not asked")).expect("it was there");
        drop(world);
        self.give(asked);
    }

    /// Answers everything that was held, in order, and holds nothing any more.
    pub(crate) fn answer_all(&self) {
        let mut world = self.world.borrow_mut();
        (world.holds, world.holds_mail) = (false, false);
        drop(world);
        while !self.has_asked_nothing() {
            self.answer();
        }
    }
}
