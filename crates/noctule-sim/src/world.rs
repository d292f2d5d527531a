//! The world of one run: a virtual clock, everything that is under way, and who gets it next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use noctule_broker_core::{
    ConnectionId, Durability, Effects, Input, Placement, Settings, Shard, ShardId, ShardMessage,
    Timestamp,
};

use crate::client::Client;
use crate::link::{Link, LinkId};
use crate::oracle::Oracle;
use crate::power::Power;
use crate::profile::Profile;
use crate::random::Random;
use crate::situation::Situations;
use crate::topics::Topics;
use crate::watch::NewSubscription;

/// Where virtual time begins, in milliseconds.
const BEGINNING: u64 = 1_000_000;

/// Something that is due at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    /// A client does something.
    Act,
    /// A connection reaches a shard.
    Open(LinkId),
    /// Bytes reach the broker.
    Upward(LinkId),
    /// The shard may go on with a connection's bytes.
    Continue(LinkId),
    /// The driver may try to write again.
    Write(LinkId),
    /// Bytes reach the client.
    Downward(LinkId),
    /// The client learns that its connection is gone.
    EndOfStream(LinkId),
    /// The broker learns that the client is gone.
    Gone(LinkId),
    /// The broker gives up writing to a connection that it has ended.
    GiveUp(LinkId),
    /// A message reaches a shard from another one.
    Between {
        from: usize,
        to: usize,
    },
    /// A shard's deadline.
    Timer(usize),
    /// The oldest answer that a shard waits for is there.
    Answer(usize),
    /// Acknowledgements of a client are due.
    Acknowledge(usize),
    /// A client's keep alive is due.
    Ping(LinkId),
    /// What shards have to keep is taken for a commit, and the commit.
    Gather,
    Commit,
}

/// A shard and what its driver holds.
#[derive(Debug)]
pub(crate) struct Driven {
    pub(crate) shard: Shard,
    pub(crate) effects: Effects,
    /// By slot: the slot's generation and the connection that has it.
    pub(crate) slots: Vec<(u32, Option<LinkId>)>,
    pub(crate) free: Vec<u32>,
    pub(crate) timer_at: Option<u64>,
    pub(crate) answers: VecDeque<Input<'static>>,
    /// How many records it has handed out, and of how many it hears that they are durable.
    pub(crate) records: u64,
    pub(crate) durable: u64,
    /// Whether everything that was given back to it is in its place.
    pub(crate) is_restored: bool,
    pub(crate) answers_last: u64,
}

impl Driven {
    fn new(settings: &Settings, number: u16, now: Timestamp, seed: u64) -> Self {
        let mut own = settings.clone();
        own.shard = ShardId(number);
        Self {
            shard: Shard::new(own, now, seed),
            effects: Effects::of_bytes_at_hand(),
            slots: Vec::new(),
            free: Vec::new(),
            timer_at: None,
            answers: VecDeque::new(),
            records: 0,
            durable: 0,
            is_restored: false,
            answers_last: 0,
        }
    }
}

fn channels(placement: &Placement) -> Vec<Vec<Channel>> {
    let channel = || (0..placement.shards()).map(|_| Channel::default()).collect();
    (0..placement.shards()).map(|_| channel()).collect()
}

/// Messages on their way from one shard to another, in their order.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    pub(crate) messages: VecDeque<ShardMessage>,
    pub(crate) last: u64,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) profile: Profile,
    pub(crate) random: Random,
    pub(crate) topics: Arc<Topics>,
    pub(crate) placement: Placement,
    /// In milliseconds.
    pub(crate) now: u64,
    pub(crate) due: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    scheduled: u64,
    pub(crate) shards: Vec<Driven>,
    pub(crate) channels: Vec<Vec<Channel>>,
    pub(crate) links: Vec<Link>,
    pub(crate) clients: Vec<Client>,
    pub(crate) oracle: Oracle,
    /// The broker's store, if it has one.
    pub(crate) power: Option<Power>,
    pub(crate) situations: Situations,
    pub(crate) new_subscriptions: Vec<NewSubscription>,
    pub(crate) actions_done: u32,
    /// No disturbances any more: everything is to come to its end.
    pub(crate) is_quiet: bool,
    pub(crate) prints: bool,
}

impl World {
    pub(crate) fn new(profile: Profile, settings: &Settings, mut random: Random) -> Self {
        let topics = Arc::new(Topics::new());
        let placement = settings.placement;
        let now = BEGINNING;
        let (mut shards, channels) = (Vec::new(), channels(&placement));
        for number in 0..placement.shards() {
            let seed = random.next();
            shards.push(Driven::new(settings, number, Timestamp::from_millis(now), seed));
        }
        let clients: Vec<Client> =
            (0..profile.clients).map(|at| Client::new(at, &placement, &mut random)).collect();
        let is_stored = profile.durability == Durability::Stored;
        let oracle = Oracle::new(Arc::clone(&topics), clients.len(), is_stored);
        Self {
            profile,
            random,
            topics,
            placement,
            now,
            due: BinaryHeap::new(),
            scheduled: 0,
            shards,
            channels,
            links: Vec::new(),
            clients,
            oracle,
            power: None,
            situations: Situations::default(),
            new_subscriptions: Vec::new(),
            actions_done: 0,
            is_quiet: false,
            prints: false,
        }
    }

    /// Other shards begin, in the place of those that are gone.
    pub(crate) fn make_shards(&mut self, settings: &Settings) {
        let now = self.timestamp();
        self.channels = channels(&settings.placement);
        self.shards.clear();
        for number in 0..settings.placement.shards() {
            let seed = self.random.next();
            self.shards.push(Driven::new(settings, number, now, seed));
        }
    }

    /// Lets something happen `delay` milliseconds from now.
    pub(crate) fn schedule(&mut self, delay: u64, happening: Happening) {
        self.schedule_at(self.now + delay, happening);
    }

    pub(crate) fn schedule_at(&mut self, at: u64, happening: Happening) {
        self.scheduled += 1;
        self.due.push(Reverse((at.max(self.now), self.scheduled, happening)));
    }

    /// Lets everything happen that is due up to `end`, or until the oracle has found something.
    pub(crate) fn run_until(&mut self, end: u64) {
        while self.oracle.is_content()
            && let Some(Reverse((at, _, _))) = self.due.peek()
            && *at <= end
            && let Some(Reverse((at, _, happening))) = self.due.pop()
        {
            self.now = at;
            self.oracle.tick(self.broker_now());
            self.let_happen(happening);
        }
        self.now = self.now.max(end);
    }

    fn let_happen(&mut self, happening: Happening) {
        match happening {
            Happening::Act => self.act(),
            Happening::Open(link) => self.open_on_shard(link),
            Happening::Upward(link) => self.bytes_reach_broker(link),
            Happening::Continue(link) => self.go_on(link),
            Happening::Write(link) => self.write_out(link),
            Happening::Downward(link) => self.bytes_reach_client(link),
            Happening::EndOfStream(link) => self.client_sees_end(link),
            Happening::Gone(link) => self.broker_sees_end(link),
            Happening::GiveUp(link) => self.give_up(link),
            Happening::Between { from, to } => self.message_reaches_shard(from, to),
            Happening::Timer(shard) => self.deadline(shard),
            Happening::Answer(shard) => self.answer(shard),
            Happening::Acknowledge(client) => self.acknowledge_due(client),
            Happening::Ping(link) => self.ping_due(link),
            Happening::Gather => self.gather(),
            Happening::Commit => self.commit(),
        }
    }

    /// Prints what happens, where a trace was asked for.
    pub(crate) fn trace(&self, text: impl FnOnce() -> String) {
        if self.prints {
            println!("{:>9} {}", self.now - BEGINNING, text());
        }
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.broker_now())
    }

    /// The connection that a shard means.
    pub(crate) fn link_of(&self, shard: usize, id: ConnectionId) -> Option<LinkId> {
        let (generation, link) = self.shards[shard].slots.get(id.slot as usize)?;
        if *generation == id.generation { *link } else { None }
    }
}
