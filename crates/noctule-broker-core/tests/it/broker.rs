//! A broker under virtual time, with in-memory connections that a scripted [`Peer`] speaks over. It
//! has as many shards as `NOCTULE_SHARDS` says, one by default.
//!
//! Everything happens at once and on one thread: a packet that a peer sends has had all its effects
//! when `send` returns, and time stands still until [`Broker::advance`] moves it. Whoever expects a
//! packet that is not there fails at once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use noctule_broker_core::{
    ClientSummary, Command, ConnectionId, Effect, Effects, Event, Gauges, Input, ListenerId,
    Placement, Principal, Question, Reading, Settings, Shard, ShardId, ShardMessage, Statistics,
    Timestamp, Token,
};
use noctule_packet::{ReasonCode, Version};
use noctule_testkit::{OwnedConnect, Peer, Stream};

/// A scripted peer of a [`Broker`].
pub(crate) type Client = Peer<Wire>;

/// How many rounds the shard may take to come to rest.
const ROUNDS: usize = 100_000;

/// A shard and the world around it.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    world: Rc<RefCell<World>>,
}

#[derive(Debug)]
struct World {
    shards: Shards,
    now: Timestamp,
    effects: Vec<Effects>,
    /// What shards have said to each other: from, to, what.
    mail: VecDeque<(ShardId, ShardId, ShardMessage)>,
    /// Which shard has asked with a token.
    askers: Vec<(Token, ShardId)>,
    links: Vec<Link>,
    events: Vec<Event>,
    /// Questions to the driver, which answers none of them by itself while they are held.
    asked: VecDeque<(ShardId, Effect)>,
    holds: bool,
    /// What shards say to each other is held too.
    holds_mail: bool,
    /// Every effect, for tests of their order.
    trace: Vec<String>,
}

/// All shards of a broker, counted together.
#[derive(Debug)]
pub(crate) struct Shards(Vec<Shard>);

impl Shards {
    pub(crate) fn statistics(&self) -> Statistics {
        let mut sum = Statistics::default();
        self.0.iter().for_each(|shard| sum.add(shard.statistics()));
        sum
    }

    pub(crate) fn gauges(&self) -> Gauges {
        let mut sum = Gauges::default();
        self.0.iter().for_each(|shard| sum.add(&shard.gauges()));
        sum
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = ClientSummary> + '_ {
        self.0.iter().flat_map(Shard::clients)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(Shard::poll_timeout).min()
    }

    fn of(&mut self, id: ShardId) -> &mut Shard {
        &mut self.0[usize::from(id.0)]
    }

    fn ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.0.len() as u16).map(ShardId)
    }
}

/// A placement over so many shards with these client identifiers, or filters of shared
/// subscriptions, where the test wants them.
pub(crate) fn placement_of(shards: u16, homes: &[(&str, u16)]) -> Placement {
    let candidates = (0_u128..).map(|key| Placement::new(key.to_le_bytes(), shards));
    let fits = |placement: &Placement| {
        homes.iter().all(|(name, shard)| placement.client(name).0 == *shard)
    };
    candidates.take(1_000_000).find(fits).expect("a key that puts everything in its place")
}

/// How many shards a broker has in these tests.
pub(crate) fn shards() -> u16 {
    std::env::var("NOCTULE_SHARDS").map_or(1, |count| count.parse().expect("a number of shards"))
}

/// One connection, seen from the driver.
#[derive(Debug)]
struct Link {
    id: ConnectionId,
    shard: ShardId,
    /// Sent by the peer and not consumed by the shard.
    sent: Vec<u8>,
    has_news: bool,
    paused: bool,
    /// Written by the shard and not read by the peer.
    arrived: Vec<u8>,
    /// Whether the peer takes nothing, so that the outbound buffer fills.
    stalled: bool,
    /// The shard has closed it.
    closed: bool,
    /// The peer is gone.
    gone: bool,
}

impl Broker {
    /// A broker with default settings, but without `$SYS`, which would keep time moving.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A broker whose settings were changed.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        settings.system_interval_seconds = 0;
        settings.placement = Placement::new([7; 16], shards());
        change(&mut settings);
        let now = Timestamp::from_millis(1_000_000);
        let shards = (0..settings.placement.shards()).map(|shard| {
            let mut settings = settings.clone();
            settings.shard = ShardId(shard);
            Shard::new(settings, now, 7 + u64::from(shard))
        });
        let shards = Shards(shards.collect());
        let world = World {
            effects: shards.ids().map(|_| Effects::new()).collect(),
            shards,
            now,
            mail: VecDeque::new(),
            askers: Vec::new(),
            links: Vec::new(),
            events: Vec::new(),
            asked: VecDeque::new(),
            holds: false,
            holds_mail: false,
            trace: Vec::new(),
        };
        Self { world: Rc::new(RefCell::new(world)) }
    }

    /// A broker of so many shards with these names at home where the test wants them.
    pub(crate) fn placed(
        shards: u16,
        homes: &[(&str, u16)],
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::with(|settings| {
            settings.placement = placement_of(shards, homes);
            change(settings);
        })
    }

    /// A connection on which nothing has been sent, on one shard after the other. The peer waits
    /// for nothing.
    pub(crate) fn open(&self) -> Client {
        let world = self.world.borrow();
        let shard = ShardId(world.links.len() as u16 % world.shards.0.len() as u16);
        drop(world);
        self.open_at(shard)
    }

    /// [`Broker::open`], and on which shard the connection comes in.
    pub(crate) fn open_at(&self, shard: ShardId) -> Client {
        let mut world = self.world.borrow_mut();
        let slot = world.links.len();
        let id = ConnectionId { slot: slot as u32, generation: 0 };
        world.links.push(Link {
            id,
            shard,
            sent: Vec::new(),
            has_news: false,
            paused: false,
            arrived: Vec::new(),
            stalled: false,
            closed: false,
            gone: false,
        });
        let peer = format!("peer-{slot}").into();
        let opened = Input::Opened { connection: id, listener: ListenerId(0), peer, moved: false };
        world.input(shard, opened);
        drop(world);
        let mut client = Peer::over(Wire { world: Rc::clone(&self.world), slot });
        client.set_timeout(Duration::ZERO);
        client
    }

    /// A client that was let in with this CONNECT.
    #[track_caller]
    pub(crate) fn connect(&self, connect: &OwnedConnect) -> Client {
        let mut client = self.open();
        client.open(connect);
        client
    }

    /// A client with a clean start and no session behind the connection.
    #[track_caller]
    pub(crate) fn client(&self, version: Version, client_id: &str) -> Client {
        self.connect(&OwnedConnect::new(version, client_id))
    }

    /// A client whose session stays when its connection ends: for an hour, or in 3.x for ever.
    #[track_caller]
    pub(crate) fn lasting(&self, version: Version, client_id: &str) -> Client {
        self.connect(&lasting(version, client_id))
    }

    /// Lets time pass; whatever falls due on the way happens when it is due.
    pub(crate) fn advance(&self, duration: Duration) {
        let mut world = self.world.borrow_mut();
        let end = world.now + duration;
        while let Some(due) = world.shards.poll_timeout().filter(|due| *due <= end) {
            world.now = world.now.max(due);
            world.settle();
        }
        world.now = end;
    }

    /// [`Broker::advance`] in seconds.
    pub(crate) fn advance_seconds(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.world.borrow().now
    }

    /// Passes an input that no peer can cause, to the shard that it is for.
    pub(crate) fn input(&self, input: Input<'_>) {
        let mut world = self.world.borrow_mut();
        match input {
            Input::Command(command @ Command::Stop { .. }) => {
                for shard in world.shards.ids() {
                    world.input(shard, Input::Command(command.clone()));
                }
            }
            input => {
                let shard = world.meant(&input);
                world.input(shard, input);
            }
        }
    }

    /// Passes an input to one shard.
    pub(crate) fn input_at(&self, shard: ShardId, input: Input<'_>) {
        self.world.borrow_mut().input(shard, input);
    }

    /// Where a client identifier, a topic's retained message or a shared subscription is at home.
    pub(crate) fn home(&self, name: &str) -> ShardId {
        self.world.borrow().shards.0[0].settings().placement.client(name)
    }

    /// Names with this prefix that are at home on one shard.
    pub(crate) fn names_at(&self, home: ShardId, prefix: &str) -> impl Iterator<Item = String> {
        let placement = self.world.borrow().shards.0[0].settings().placement;
        let names = (0_u32..).map(move |number| format!("{prefix}{number}"));
        names.filter(move |name| placement.client(name) == home)
    }

    /// Topics in the order in which their retained messages are replayed: owner by owner.
    pub(crate) fn in_replay_order(&self, topics: &[String]) -> Vec<String> {
        let mut topics = topics.to_vec();
        topics.sort_by_key(|topic| (self.home(topic), topic.clone()));
        topics
    }

    /// What has happened since the last call.
    pub(crate) fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.world.borrow_mut().events)
    }

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

    /// The names of the effects since the last call, in order; what was written to connections is
    /// among them as `Write` with the packet's type.
    pub(crate) fn trace(&self) -> Vec<String> {
        std::mem::take(&mut self.world.borrow_mut().trace)
    }

    /// Looks at the shards themselves.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Shards) -> T) -> T {
        look(&self.world.borrow().shards)
    }

    /// Looks at the pieces that wait to be written to this peer.
    pub(crate) fn look_at_outbound<T>(
        &self,
        client: &Client,
        look: impl FnOnce(&[&[u8]]) -> T,
    ) -> T {
        let mut world = self.world.borrow_mut();
        let Link { id, shard, .. } = world.links[client.stream().slot];
        let outbound = world.shards.of(shard).outbound(id).expect("the connection is open");
        look(&outbound.chunks().collect::<Vec<_>>())
    }

    /// From now on this peer reads nothing, so that what the shard has for it stays in its buffer.
    pub(crate) fn stall(&self, client: &Client) {
        self.world.borrow_mut().links[client.stream().slot].stalled = true;
    }

    /// Lets a peer that reads nothing take at least so many bytes, if they are there.
    pub(crate) fn take(&self, client: &Client, count: usize) {
        let mut world = self.world.borrow_mut();
        let world = &mut *world;
        let link = &mut world.links[client.stream().slot];
        let outbound =
            world.shards.of(link.shard).outbound(link.id).expect("the connection is open");
        let before = link.arrived.len();
        while link.arrived.len() < before + count {
            let Some(chunk) = outbound.chunks().next().map(<[u8]>::to_vec) else { return };
            outbound.advance(chunk.len().min(count));
            link.arrived.extend(&chunk[..chunk.len().min(count)]);
        }
    }

    /// Takes what has arrived at a peer and was not looked at by it.
    pub(crate) fn arrived(&self, client: &Client) -> Vec<u8> {
        std::mem::take(&mut self.world.borrow_mut().links[client.stream().slot].arrived)
    }

    /// The peer reads again.
    pub(crate) fn unstall(&self, client: &Client) {
        let mut world = self.world.borrow_mut();
        world.links[client.stream().slot].stalled = false;
        world.settle();
    }
}

/// A CONNECT for a session that outlives its connection: for an hour, or in 3.x for ever.
pub(crate) fn lasting(version: Version, client_id: &str) -> OwnedConnect {
    let connect = OwnedConnect::new(version, client_id).clean_start(false);
    if version.is_v5() { connect.session_expiry_interval(3_600) } else { connect }
}

impl World {
    fn input(&mut self, shard: ShardId, input: Input<'_>) {
        let _ = self.turn(shard, input);
        self.settle();
    }

    fn turn(&mut self, shard: ShardId, input: Input<'_>) -> noctule_broker_core::Consumed {
        let effects = &mut self.effects[usize::from(shard.0)];
        self.shards.of(shard).on_input(self.now, input, effects)
    }

    /// Which shard an input of a test is for.
    fn meant(&self, input: &Input<'_>) -> ShardId {
        let asker = |token: &Token| {
            let asker = self.askers.iter().rev().find(|(asked, _)| asked == token);
            asker.map_or(ShardId(0), |(_, shard)| *shard)
        };
        match input {
            Input::Authenticated { token, .. }
            | Input::Authorized { token, .. }
            | Input::Persisted { token }
            | Input::Loaded { token, .. } => asker(token),
            Input::Opened { connection, .. }
            | Input::Bytes { connection, .. }
            | Input::Continue { connection, .. }
            | Input::Flushed { connection }
            | Input::Closed { connection } => {
                let link = self.links.get(connection.slot as usize);
                link.map_or(ShardId(0), |link| link.shard)
            }
            Input::Command(Command::Kick { client_id, .. }) => {
                self.shards.0[0].settings().placement.client(client_id)
            }
            Input::Command(_) | Input::FromShard { .. } | Input::Timeout => ShardId(0),
        }
    }

    /// Runs until nothing is left to do at this moment.
    fn settle(&mut self) {
        for _ in 0..ROUNDS {
            self.apply_effects();
            self.write_out();
            let mut is_busy = false;
            for shard in self.shards.ids() {
                if self.shards.of(shard).poll_timeout().is_some_and(|due| due <= self.now) {
                    is_busy = true;
                    let _ = self.turn(shard, Input::Timeout);
                }
            }
            is_busy |= self.read_once();
            while let Some((from, to, message)) = self.mail.pop_front() {
                is_busy = true;
                let _ = self.turn(to, Input::FromShard { from, message });
            }
            if !is_busy && self.effects.iter().all(Effects::is_empty) {
                return;
            }
        }
        panic!("the broker does not come to rest");
    }

    fn apply_effects(&mut self) {
        let mut questions = Vec::new();
        for shard in self.shards.ids() {
            let mut effects = std::mem::take(&mut self.effects[usize::from(shard.0)]);
            for effect in effects.drain() {
                if self.holds_mail || !matches!(effect, Effect::ToShard { .. }) {
                    self.trace.push(name_of(&effect));
                }
                match effect {
                    Effect::Close { connection } => {
                        self.links[connection.slot as usize].closed = true;
                    }
                    Effect::Resume { connection } => {
                        let link = &mut self.links[connection.slot as usize];
                        (link.paused, link.has_news) = (false, true);
                    }
                    Effect::Event(event) => self.events.push(event),
                    Effect::ToShard { to, message } if !self.holds_mail => {
                        self.mail.push_back((shard, to, message));
                    }
                    asked if self.holds => {
                        self.note_asker(shard, &asked);
                        self.asked.push_back((shard, asked));
                    }
                    asked => questions.push((shard, asked)),
                }
            }
        }
        for (shard, question) in questions {
            self.answer(shard, question);
        }
    }

    fn note_asker(&mut self, shard: ShardId, asked: &Effect) {
        if let Effect::Authenticate { token, .. }
        | Effect::Authorize { token, .. }
        | Effect::Persist { token, .. }
        | Effect::Load { token, .. } = asked
        {
            self.askers.push((*token, shard));
        }
    }

    fn answer(&mut self, shard: ShardId, asked: Effect) {
        let input = match asked {
            Effect::Authenticate { token, credentials, .. } => {
                let user_name = credentials.user_name;
                Input::Authenticated { token, outcome: Ok(Principal { user_name }) }
            }
            Effect::Authorize { token, question, .. } => {
                Input::Authorized { token, allowed: is_allowed(&question) }
            }
            Effect::Persist { token, .. } => Input::Persisted { token },
            Effect::Load { token, .. } => Input::Loaded { token, session: None },
            Effect::ToShard { to, message } => {
                let _ = self.turn(to, Input::FromShard { from: shard, message });
                return;
            }
            Effect::Close { .. } | Effect::Resume { .. } | Effect::Event(_) => return,
        };
        let _ = self.turn(shard, input);
    }

    /// Moves what the shards have to say to the peers that listen.
    fn write_out(&mut self) {
        let mut dirty = Vec::new();
        for shard in self.shards.ids() {
            self.shards.of(shard).take_dirty(&mut dirty);
        }
        dirty.extend(self.links.iter().map(|link| link.id));
        for id in dirty {
            let link = &mut self.links[id.slot as usize];
            let shard = link.shard;
            let outbound = self.shards.of(shard).outbound(id);
            let Some(outbound) = outbound.filter(|_| !link.stalled) else { continue };
            let bytes: Vec<u8> = outbound.chunks().flatten().copied().collect();
            if bytes.is_empty() {
                continue;
            }
            outbound.advance(bytes.len());
            self.trace.push(format!("Write {}", packet_types(&bytes)));
            link.arrived.extend(bytes);
            let _ = self.turn(shard, Input::Flushed { connection: id });
        }
    }

    /// Passes on what peers have sent. Whether there was anything.
    fn read_once(&mut self) -> bool {
        let mut any = false;
        for slot in 0..self.links.len() {
            let link = &mut self.links[slot];
            if link.closed || link.paused || !std::mem::take(&mut link.has_news) {
                continue;
            }
            any = true;
            let (connection, shard, sent) = (link.id, link.shard, std::mem::take(&mut link.sent));
            let consumed = self.turn(shard, Input::Bytes { connection, bytes: &sent });
            let link = &mut self.links[slot];
            link.sent = sent;
            link.sent.drain(..consumed.bytes);
            match consumed.reading {
                Reading::Drained => {}
                Reading::Budget => link.has_news = true,
                Reading::Paused => link.paused = true,
                Reading::Moved(home) => {
                    (link.shard, link.has_news) = (home, true);
                    let (listener, peer) = (ListenerId(0), format!("peer-{slot}").into());
                    let opened = Input::Opened { connection, listener, peer, moved: true };
                    let _ = self.turn(home, opened);
                }
            }
        }
        any
    }
}

/// In these tests nobody may publish or subscribe below `secret/`.
fn is_allowed(question: &Question) -> bool {
    let (Question::Publish { topic: place, .. } | Question::Subscribe { filter: place }) = question;
    !place.starts_with("secret/")
}

fn name_of(effect: &Effect) -> String {
    let text = match effect {
        // What it says is nobody's affair but the shards', and its name is enough here.
        Effect::ToShard { message, .. } => {
            let text = format!("{message:?}");
            text.trim_start_matches("ShardMessage(").trim_start_matches("Group(").to_owned()
        }
        other => format!("{other:?}"),
    };
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

/// The types of the packets in `bytes`, as far as they are whole.
fn packet_types(mut bytes: &[u8]) -> String {
    let mut types = Vec::new();
    while let Ok(noctule_packet::Framing::Complete(frame)) = noctule_packet::split(bytes, u32::MAX)
    {
        types.push(frame.packet_type.to_string());
        bytes = &bytes[frame.length..];
    }
    types.join(" ")
}

/// The peer's end of a connection in memory. Dropping it is a connection that is lost.
#[derive(Debug)]
pub(crate) struct Wire {
    world: Rc<RefCell<World>>,
    slot: usize,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        let link = &mut world.links[self.slot];
        if link.arrived.is_empty() {
            return if link.closed { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = link.arrived.len().min(into.len());
        into[..count].copy_from_slice(&link.arrived[..count]);
        link.arrived.drain(..count);
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        let link = &mut world.links[self.slot];
        if link.closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        link.sent.extend_from_slice(bytes);
        link.has_news = true;
        world.settle();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Wire {
    fn set_read_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn shut_down(&self, _: Shutdown) -> io::Result<()> {
        self.world.borrow_mut().hang_up(self.slot);
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A test that fails while the world is borrowed must show its own panic.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.hang_up(self.slot);
        }
    }
}

impl World {
    fn hang_up(&mut self, slot: usize) {
        let link = &mut self.links[slot];
        if !std::mem::replace(&mut link.gone, true) {
            link.closed = true;
            let (connection, shard) = (link.id, link.shard);
            self.input(shard, Input::Closed { connection });
        }
    }
}

/// Whether the events say that this client was refused or disconnected for this reason.
pub(crate) fn ended_with(events: &[Event], code: ReasonCode) -> bool {
    use noctule_broker_core::Ended;
    events.iter().any(|event| match event {
        Event::Refused { reason, .. } => reason.code == code,
        Event::Disconnected { ended: Ended::ByServer(reason), .. } => reason.code == code,
        _ => false,
    })
}
