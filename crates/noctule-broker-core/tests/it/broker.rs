//! A broker under virtual time, with in-memory connections that a scripted [`Peer`] speaks over. It
//! has as many shards as `NOCTULE_SHARDS` says, one by default.
//!
//! Everything happens at once and on one thread: a packet that a peer sends has had all its effects
//! when `send` returns, and time stands still until [`Broker::advance`] moves it. Whoever expects a
//! packet that is not there fails at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use noctule_broker_core::{
    Command, ConnectionId, Event, Input, ListenerId, Placement, Settings, ShardId, StoredMessage,
    Timestamp,
};
use noctule_packet::{ReasonCode, Version};
use noctule_testkit::{OwnedConnect, Peer};

use crate::wire::{Link, Wire};
use crate::world::{Shards, World};

/// A scripted peer of a [`Broker`].
pub(crate) type Client = Peer<Wire>;

/// A shard and the world around it.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    pub(crate) world: Rc<RefCell<World>>,
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
        Self { world: Rc::new(RefCell::new(World::new(&settings))) }
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
        world.links.push(Link::new(id, shard));
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

    /// The names of the effects since the last call, in order; what was written to connections is
    /// among them as `Write` with the packet's type.
    pub(crate) fn trace(&self) -> Vec<String> {
        std::mem::take(&mut self.world.borrow_mut().trace)
    }

    /// What was ever recorded as waiting for sessions, by their names and by its places.
    pub(crate) fn queues(&self) -> BTreeMap<u64, BTreeMap<u64, StoredMessage>> {
        self.world.borrow().queues.clone()
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

/// Whether the events say that this client was refused or disconnected for this reason.
pub(crate) fn ended_with(events: &[Event], code: ReasonCode) -> bool {
    use noctule_broker_core::Ended;
    events.iter().any(|event| match event {
        Event::Refused { reason, .. } => reason.code == code,
        Event::Disconnected { ended: Ended::ByServer(reason), .. } => reason.code == code,
        _ => false,
    })
}
