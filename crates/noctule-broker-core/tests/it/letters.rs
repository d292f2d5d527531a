//! What the shards of a [`Broker`] ask and say to each other, held until a test lets it go on.

use std::collections::{BTreeMap, VecDeque};

use noctule_broker_core::{Effect, Effects, Input, Record, Restored, ShardId, StoredMessage};

use crate::broker::Broker;
use crate::world::name_of;

impl Broker {
    /// From now on questions to the driver (authenticate, authorise, persist, forward, change a
    /// route) wait for [`Broker::asked`] instead of being answered with yes.
    pub(crate) fn hold(&self) {
        let mut world = self.world.borrow_mut();
        world.holds = true;
        world.leisurely.clear();
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

    /// The oldest record that somebody waits for is kept now.
    #[track_caller]
    pub(crate) fn kept(&self) {
        let mut world = self.world.borrow_mut();
        let (shard, records) = world.unkept.pop_front().expect("every record is kept");
        world.input(shard, Input::Persisted { records });
    }

    /// The oldest question that was held, which must be about a record. It is not kept yet.
    #[track_caller]
    pub(crate) fn record(&self) -> Record {
        match self.asked() {
            Effect::Persist { record, .. } => record,
            asked => panic!("{asked:?}"),
        }
    }

    /// The store puts everything where it may stay that waits for anybody.
    pub(crate) fn spill(&self) {
        self.spill_up_to(u64::MAX);
    }

    /// The store puts of each queue where it may stay what stands up to a place.
    pub(crate) fn spill_up_to(&self, place: u64) {
        let mut world = self.world.borrow_mut();
        let queues: Vec<_> =
            world.queues.iter().map(|(name, queue)| (*name, queue.clone())).collect();
        for (session, queue) in queues {
            let Some((up_to, _)) = queue.range(..=place).next_back() else { continue };
            for shard in world.shards.ids() {
                world.input(shard, Input::Spilled { session, up_to: *up_to });
            }
        }
    }

    /// From now on the log is emptied when [`Broker::log_emptied`] says so.
    pub(crate) fn hold_emptying(&self) {
        self.world.borrow_mut().holds_emptying = true;
    }

    /// Which shards have asked for an empty log since the last call.
    pub(crate) fn emptying(&self) -> Vec<ShardId> {
        std::mem::take(&mut self.world.borrow_mut().emptying)
    }

    /// The log is emptied.
    pub(crate) fn log_emptied(&self) {
        let mut world = self.world.borrow_mut();
        for shard in world.shards.ids() {
            world.input(shard, Input::LogEmptied);
        }
    }

    /// What the store has of queues, by the names of sessions.
    pub(crate) fn stored_queues(&self, queues: BTreeMap<u64, BTreeMap<u64, StoredMessage>>) {
        self.world.borrow_mut().queues = queues;
    }

    /// From now on a part of a queue is read when [`Broker::read`] says so.
    pub(crate) fn hold_reads(&self) {
        self.world.borrow_mut().holds_reads = true;
    }

    /// The session and the place of the oldest read that is held.
    #[track_caller]
    pub(crate) fn reading(&self) -> (u64, u64) {
        match self.world.borrow().reads.front() {
            Some((_, Effect::ReadQueue { session, from, .. })) => (*session, *from),
            other => panic!("{other:?}"),
        }
    }

    /// Answers the oldest read that is held. Whether there was one.
    pub(crate) fn read(&self) -> bool {
        let mut world = self.world.borrow_mut();
        let Some((shard, read)) = world.reads.pop_front() else { return false };
        world.answer(shard, read);
        world.settle();
        true
    }

    /// All records that are held, of all shards; they are not kept yet.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut world = self.world.borrow_mut();
        let (records, others): (VecDeque<_>, _) = std::mem::take(&mut world.asked)
            .into_iter()
            .partition(|(_, asked)| matches!(asked, Effect::Persist { .. }));
        world.asked = others;
        let record = |(_, asked)| match asked {
            Effect::Persist { record, .. } => record,
            asked => panic!("{asked:?}"),
        };
        records.into_iter().map(record).collect()
    }

    /// Every record that somebody waits for is kept now, and those that it leads to.
    pub(crate) fn keep_all(&self) {
        while !self.world.borrow().unkept.is_empty() {
            self.kept();
        }
    }

    /// A driver has come to the end of a turn with every shard.
    pub(crate) fn end_turn(&self) {
        let mut world = self.world.borrow_mut();
        let world = &mut *world;
        for (shard, effects) in world.shards.0.iter_mut().zip(&mut world.effects) {
            let mut ended = Effects::new();
            shard.record_acknowledgements(&mut ended);
            effects.extend(ended.drain());
        }
        world.settle();
    }

    /// Gives back what was stored, each to the shard that it is for, up to the moment at which
    /// clients may come.
    #[track_caller]
    pub(crate) fn restore(&self, restored: Vec<Restored>) {
        self.restore_up_to_end(restored);
        self.go_on();
    }

    /// [`Broker::restore`], but what a crash has interrupted does not go on yet.
    #[track_caller]
    pub(crate) fn restore_up_to_end(&self, restored: Vec<Restored>) {
        let mut world = self.world.borrow_mut();
        for restored in restored {
            let input = Input::Restore(restored);
            let shard = world.meant(&input);
            world.input(shard, input);
        }
        for shard in world.shards.ids() {
            let end = Restored::End { last_name: 100 << 16 };
            world.input(shard, Input::Restore(end));
        }
        assert_eq!(world.restored, world.shards.0.len());
    }

    /// What a crash has interrupted goes on.
    pub(crate) fn go_on(&self) {
        let mut world = self.world.borrow_mut();
        for shard in world.shards.ids() {
            world.input(shard, Input::Restore(Restored::GoOn));
        }
    }

    /// The records that nobody waits for, since the last call.
    pub(crate) fn leisurely(&self) -> Vec<Record> {
        std::mem::take(&mut self.world.borrow_mut().leisurely)
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
