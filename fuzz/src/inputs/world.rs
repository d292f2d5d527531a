//! Shards, their connections, and everything that is asked and not answered yet.

use std::collections::VecDeque;
use std::time::Duration;

use noctule_broker_core::{
    Command, ConnectionId, Durability, Effect, Effects, Input, ListenerId, Placement, Principal,
    Reading, Restored, Shard, ShardId, ShardMessage, StoredSession, StoredSubscription,
    StoredTerms, Timestamp, Token,
};
use noctule_packet::{
    Framing, PacketId, PacketType, QoS, ReasonCode, SubscriptionOptions, Version, split,
};

use super::link::Link;
use super::settings::settings;
use super::{START, invariants, packets};
use crate::choices::Choices;

const SLOTS: usize = 5;
/// How many turns a shard may ask for at one moment.
const TURNS_MAX: usize = 10_000;

/// Something that a shard has asked, and that may be answered once, twice, late or never.
#[derive(Clone, Debug)]
struct Asked {
    shard: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Authenticate(Token),
    Authorize(Token),
    Empty,
    /// Of all records so many.
    Persist(u64),
}

pub(crate) struct World {
    shards: Vec<Shard>,
    effects: Effects,
    /// What the shards say to each other, by sender and receiver.
    carried: Vec<Vec<VecDeque<ShardMessage>>>,
    /// How many records each shard has handed out.
    records: Vec<u64>,
    /// How many shards have said that what was stored is in its place.
    restored: usize,
    now: Timestamp,
    links: Vec<Option<Link>>,
    generations: [u32; SLOTS],
    asked: VecDeque<Asked>,
    /// What was answered last.
    answered: VecDeque<Asked>,
}

impl World {
    pub(crate) fn new(choices: &mut Choices<'_>) -> Self {
        let shards = choices.pick(&[1, 2]);
        let mut settings = settings(choices);
        settings.placement = Placement::new([1; 16], shards);
        let shard = |number| {
            let mut settings = settings.clone();
            settings.shard = ShardId(number);
            Shard::new(settings, START, 7 + u64::from(number))
        };
        let inboxes = || (0..shards).map(|_| VecDeque::new()).collect();
        let mut world = Self {
            shards: (0..shards).map(shard).collect(),
            effects: Effects::new(),
            carried: (0..shards).map(|_| inboxes()).collect(),
            records: vec![0; usize::from(shards)],
            restored: 0,
            now: START,
            links: (0..SLOTS).map(|_| None).collect(),
            generations: [0; SLOTS],
            asked: VecDeque::new(),
            answered: VecDeque::new(),
        };
        if settings.durability == Durability::Stored {
            world.restore();
        }
        world
    }

    /// Gives the shards back what was stored, before anybody connects.
    fn restore(&mut self) {
        let mut stored = stored_session();
        let longest = self.shards[0].settings().limits.session_expiry_interval_max_seconds;
        stored.terms.expiry_interval = stored.terms.expiry_interval.min(longest);
        let home = self.shards[0].settings().placement.client(&stored.terms.client_id);
        let session = Input::Restore(Restored::Session(Box::new(stored)));
        self.input(usize::from(home.0), session);
        for shard in 0..self.shards.len() {
            self.input(shard, Input::Restore(Restored::End { last_name: 1 << 16 }));
        }
        let (last, all) = (self.shards.len() - 1, usize::MAX);
        while self.carry(0, last, all) + self.carry(last, 0, all) > 0 {}
        assert_eq!(self.restored, self.shards.len(), "a shard waits for others for ever");
        for shard in 0..self.shards.len() {
            self.input(shard, Input::Restore(Restored::GoOn));
        }
    }

    pub(crate) fn slot(&self, choices: &mut Choices<'_>) -> usize {
        choices.below(SLOTS)
    }

    pub(crate) fn version(&self, slot: usize) -> Version {
        self.links[slot].as_ref().map_or(Version::V5_0, Link::version)
    }

    /// Opens a connection in this slot, in place of the one that is there.
    pub(crate) fn open(&mut self, slot: usize) {
        self.close(slot);
        self.generations[slot] += 1;
        let number = u32::try_from(slot).expect("there are few");
        let connection = ConnectionId { slot: number, generation: self.generations[slot] };
        let shard = slot % self.shards.len();
        self.links[slot] = Some(Link::new(connection, shard));
        self.input(shard, opened(connection, false));
    }

    pub(crate) fn close(&mut self, slot: usize) {
        if let Some(link) = self.links[slot].take() {
            let connection = link.id;
            self.input(link.shard, Input::Closed { connection });
            let rest = self.shards[link.shard].outbound(connection);
            assert!(rest.is_none(), "a closed connection is forgotten");
        }
    }

    /// The client in this slot sends some bytes; see [`Link::push`].
    pub(crate) fn send(&mut self, slot: usize, bytes: &[u8], honest: bool) {
        if let Some(link) = &mut self.links[slot] {
            link.push(bytes, honest);
            if !link.paused {
                self.pass_on(slot, false);
            }
        }
    }

    /// Passes on again what was not consumed, whether or not the shard wants it.
    pub(crate) fn go_on(&mut self, slot: usize) {
        if self.links[slot].is_some() {
            self.pass_on(slot, true);
        }
    }

    fn pass_on(&mut self, slot: usize, resumed: bool) {
        let Some(link) = &mut self.links[slot] else { return };
        let (connection, shard) = (link.id, link.shard);
        let sent = std::mem::take(&mut link.sent);
        let bytes = &sent[..];
        let input = if resumed {
            Input::Continue { connection, bytes }
        } else {
            Input::Bytes { connection, bytes }
        };
        link.paused = false;
        let consumed = self.shards[shard].on_input(self.now, input, &mut self.effects);
        let rest = sent.get(consumed.bytes..).expect("no more is consumed than there is");
        link.sent = rest.to_vec();
        match consumed.reading {
            Reading::Drained => {
                let partial = matches!(split(rest, u32::MAX), Ok(Framing::Partial { .. }));
                assert!(rest.is_empty() || partial, "a whole packet is left: {rest:x?}");
            }
            // The next step that concerns this connection goes on.
            Reading::Budget => {}
            Reading::Paused => link.paused = true,
            Reading::Moved(home) => {
                let home = usize::from(home.0);
                assert_ne!(home, shard, "{connection:?} is at home");
                assert!(self.shards[shard].outbound(connection).is_none(), "it is still here");
                link.shard = home;
                self.apply_effects(shard);
                self.input(home, opened(connection, true));
                return self.pass_on(slot, false);
            }
        }
        self.apply_effects(shard);
    }

    /// The client reads at most so many bytes; whether there were any.
    pub(crate) fn read(&mut self, slot: usize, count: usize) -> bool {
        let Some(link) = &mut self.links[slot] else { return false };
        let (connection, shard) = (link.id, link.shard);
        let Some(outbound) = self.shards[shard].outbound(connection) else { return false };
        let mut read = outbound.chunks().collect::<Vec<_>>().concat();
        read.truncate(count);
        outbound.advance(read.len());
        let empty = outbound.is_empty();
        link.take(&read);
        if empty && !read.is_empty() {
            self.input(shard, Input::Flushed { connection });
        }
        !read.is_empty()
    }

    /// The client sends what it owes, mostly in order and mostly with success.
    pub(crate) fn acknowledge(&mut self, slot: usize, choices: &mut Choices<'_>) {
        let bits = choices.byte();
        let Some(link) = &mut self.links[slot] else { return };
        let at = if bits & 7 == 7 { link.owed.len().saturating_sub(1) } else { 0 };
        let Some((packet_type, packet_id)) = link.owed.remove(at) else { return };
        let version = link.version();
        let may_refuse = packet_type != PacketType::Pubcomp && version.is_v5();
        let refuses = may_refuse && bits & 0x38 == 0x38;
        let code = if refuses { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
        link.on_acknowledged(packet_id, refuses || packet_type != PacketType::Pubrec);
        let bytes = packets::acknowledgement(version, packet_type, packet_id, code);
        self.send(slot, &bytes, true);
    }

    /// Answers one of the questions, or forgets it.
    pub(crate) fn answer(&mut self, choices: &mut Choices<'_>) {
        let bits = choices.byte();
        let at = if bits & 1 == 0 { 0 } else { choices.below(self.asked.len()) };
        let Some(asked) = self.asked.remove(at) else { return };
        if bits & 0x1E != 0x1E {
            self.answered.push_front(asked.clone());
            self.answered.truncate(8);
            self.give_answer(&asked, bits);
        }
    }

    /// Answers once more what was answered before.
    pub(crate) fn answer_again(&mut self, choices: &mut Choices<'_>) {
        let bits = choices.byte();
        let at = choices.below(self.answered.len());
        if let Some(asked) = self.answered.get(at).cloned() {
            self.give_answer(&asked, bits);
        }
    }

    fn give_answer(&mut self, asked: &Asked, bits: u8) {
        let no = bits & 0xC0 == 0xC0;
        let input = match asked.what {
            What::Authenticate(token) if no => {
                Input::Authenticated { token, outcome: Err(ReasonCode::BadUserNameOrPassword) }
            }
            What::Authenticate(token) => {
                Input::Authenticated { token, outcome: Ok(Principal::default()) }
            }
            What::Authorize(token) => Input::Authorized { token, allowed: !no },
            What::Empty => Input::LogEmptied,
            What::Persist(records) => Input::Persisted { records },
        };
        self.input(asked.shard, input);
    }

    pub(crate) fn advance(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.run_timers();
    }

    /// An input that comes when nothing is due, or nothing was written.
    pub(crate) fn timeout_or_flush(&mut self, slot: usize, choices: &mut Choices<'_>) {
        if choices.flag() {
            for shard in 0..self.shards.len() {
                self.input(shard, Input::Timeout);
            }
        } else if let Some(link) = &self.links[slot] {
            let (connection, shard) = (link.id, link.shard);
            self.input(shard, Input::Flushed { connection });
        }
    }

    pub(crate) fn command(&mut self, command: &Command) {
        for shard in 0..self.shards.len() {
            self.input(shard, Input::Command(command.clone()));
        }
    }

    /// Carries what one shard has said to another, in order; how much there was.
    pub(crate) fn carry(&mut self, from: usize, to: usize, count: usize) -> usize {
        let (from, to) = (from % self.shards.len(), to % self.shards.len());
        let sender = ShardId(u16::try_from(from).expect("there are few"));
        let mut carried = 0;
        while carried < count
            && let Some(message) = self.carried[from][to].pop_front()
        {
            self.input(to, Input::FromShard { from: sender, message });
            carried += 1;
        }
        carried
    }

    fn input(&mut self, shard: usize, input: Input<'_>) {
        let _ = self.shards[shard].on_input(self.now, input, &mut self.effects);
        self.apply_effects(shard);
    }

    /// Lets every shard come to rest at this moment.
    fn run_timers(&mut self) {
        for shard in 0..self.shards.len() {
            let mut turns = 0;
            while self.shards[shard].poll_timeout().is_some_and(|due| due <= self.now) {
                self.input(shard, Input::Timeout);
                turns += 1;
                assert!(turns < TURNS_MAX, "the shard does not come to rest");
            }
            self.shards[shard].record_acknowledgements(&mut self.effects);
            self.apply_effects(shard);
        }
    }

    fn apply_effects(&mut self, shard: usize) {
        let mut resumed = Vec::new();
        for effect in std::mem::take(&mut self.effects).drain() {
            let what = match effect {
                Effect::Close { connection } => {
                    // It is told too when the other side has closed: the slot is free then.
                    if let Some(link) = self.link(connection) {
                        assert!(!link.ends, "{connection:?} is closed twice");
                        link.ends = true;
                    }
                    continue;
                }
                Effect::Resume { connection } => {
                    resumed.push(connection);
                    continue;
                }
                Effect::Authenticate { token, .. } => What::Authenticate(token),
                Effect::Authorize { token, .. } => What::Authorize(token),
                Effect::Persist { .. } | Effect::PersistRun { .. } => {
                    self.records[shard] += 1;
                    What::Persist(self.records[shard])
                }
                // Nothing is ever put away.
                Effect::ReadQueue { .. } => continue,
                Effect::EmptyLog => What::Empty,
                Effect::Restored => {
                    self.restored += 1;
                    continue;
                }
                Effect::Event(event) => {
                    assert!(!format!("{event:?}").is_empty());
                    continue;
                }
                Effect::ToShard { to, message } => {
                    assert_ne!(usize::from(to.0), shard, "a shard talks to itself");
                    self.carried[shard][usize::from(to.0)].push_back(message);
                    continue;
                }
            };
            self.asked.push_back(Asked { shard, what });
        }
        for connection in resumed {
            if self.link(connection).is_some() {
                self.pass_on(connection.slot as usize, true);
            }
        }
    }

    fn link(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        let link = self.links[connection.slot as usize].as_mut()?;
        (link.id == connection).then_some(link)
    }

    pub(crate) fn check(&mut self) {
        let mut dirty = Vec::new();
        for shard in &mut self.shards {
            shard.take_dirty(&mut dirty);
            invariants::check(shard);
        }
        for link in self.links.iter().flatten() {
            let shard = &mut self.shards[link.shard];
            let bound = invariants::outbound_bytes_bound(&shard.settings().limits);
            if let Some(outbound) = shard.outbound(link.id) {
                assert!(outbound.len() <= bound, "{} bytes wait, {bound} may", outbound.len());
                link.check_waiting(outbound.chunks());
            }
        }
    }

    /// Everything is answered, carried and read, everybody leaves, and a long time goes by.
    pub(crate) fn finish(&mut self) {
        self.settle();
        for slot in 0..SLOTS {
            self.close(slot);
        }
        self.settle();
        self.check();
        for shard in &self.shards {
            let gauges = shard.gauges();
            assert_eq!((gauges.connections, gauges.clients_connected), (0, 0));
        }
    }

    /// Answers, carries and reads until nothing is left.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut quiet = self.asked.is_empty();
            while let Some(asked) = self.asked.pop_front() {
                self.give_answer(&asked, 0);
            }
            for from in 0..self.shards.len() {
                for to in 0..self.shards.len() {
                    quiet &= self.carry(from, to, usize::MAX) == 0;
                }
            }
            for slot in 0..SLOTS {
                quiet &= !self.read(slot, usize::MAX);
            }
            self.run_timers();
            if quiet {
                return;
            }
        }
        panic!("the shards do not come to rest");
    }
}

fn opened(connection: ConnectionId, moved: bool) -> Input<'static> {
    Input::Opened { connection, listener: ListenerId(0), peer: "peer".into(), moved }
}

/// What a store may have kept.
fn stored_session() -> StoredSession {
    let subscription = |filter: &str, qos| StoredSubscription {
        filter: filter.into(),
        options: SubscriptionOptions { qos, ..Default::default() },
        identifier: None,
        is_owed: true,
    };
    StoredSession {
        terms: StoredTerms {
            session: 1 << 16,
            client_id: "a".into(),
            user_name: None,
            version: Version::V5_0,
            expiry_interval: 60,
            receive_maximum: 2,
            may_send: None,
            will: None,
        },
        was_connected: true,
        expires_at: None,
        will_at: None,
        subscriptions: vec![subscription("a", QoS::AtLeastOnce)],
        messages: Vec::new(),
        away: None,
        behind: Vec::new(),
        unsent: Vec::new(),
        lost: Vec::new(),
        sent: 0,
        next: PacketId::MIN,
        sequence: 0,
        received: vec![PacketId::MIN],
    }
}
