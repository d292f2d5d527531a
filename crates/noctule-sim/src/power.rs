//! What happens when the power goes: the shards are gone with everything that was not synced, and
//! others begin where the disk says.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use noctule_broker_core::{Durability, Input, Placement, Restored, Settings, ShardId};
use noctule_store::{Cut, SimulatedClock, SimulatedDisk, StoreError};

use crate::client::Client;
use crate::keeping::Unsettled;
use crate::link::BrokerEnd;
use crate::oracle::power::Standing;
use crate::storage::Storage;
use crate::store_fault::StoreFault;
use crate::world::{Happening, World};

/// The wall's clock at the beginning, in milliseconds since 1970, and how far it is ever set back.
const WALL: u64 = 1_800_000_000_000;
const SET_BACK_MAX: u64 = 3_600_000;

/// When the power goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cuts {
    /// Never: the broker has no disk.
    #[default]
    Never,
    /// As chance will have it.
    Random,
    /// At this operation of the disk, of a run that is short.
    At(u64, Cut),
}

impl Cuts {
    /// A short run, to see how many operations there are.
    pub const AT_NONE: Self = Self::At(u64::MAX, Cut::Nothing);
}

/// A short run for each of these operations, and for each thing that can become of what is not
/// synced then.
pub fn short_cuts(operations: std::ops::Range<u64>) -> Vec<Cuts> {
    let every = |at| {
        let ways = [Cut::Nothing, Cut::Lost, Cut::Torn, Cut::Reordered, Cut::Random(at)];
        ways.map(|cut| Cuts::At(at, cut))
    };
    operations.flat_map(every).collect()
}

/// The power of a broker, and its store.
#[derive(Debug)]
pub(crate) struct Power {
    pub(crate) storage: Storage,
    settings: Settings,
    cuts: Cuts,
    /// How many cuts are still to come.
    left: u32,
    /// How much later it is on the wall than in virtual time.
    pub(crate) wall_ahead: u64,
    /// How much earlier it is for the broker than in virtual time; later, if it is negative.
    broker_behind: i64,
    /// The store's age and the wall's clock at the last commit: at any of several, if the power
    /// has interrupted one.
    pub(crate) stamps: Vec<(u64, u64)>,
    pub(crate) gathers_at: Option<u64>,
    pub(crate) is_committing: bool,
    pub(crate) unsettled: Vec<Unsettled>,
    /// Operations of the disk in the first life of the broker.
    operations: Option<u64>,
}

impl World {
    /// Gives the broker a store, which is empty.
    pub(crate) fn plug_in(&mut self, settings: &Settings, cuts: Cuts, fault: Option<StoreFault>) {
        if settings.durability != Durability::Stored || cuts == Cuts::Never {
            return;
        }
        let (disk, clock) = (SimulatedDisk::new(), SimulatedClock::new());
        clock.set(Duration::from_millis(self.now), Duration::from_millis(self.now + WALL));
        let layout = self.profile.layout;
        let opened = Storage::open(disk, clock, layout, fault, &settings.placement);
        let Ok((storage, restored)) = opened else {
            return self.oracle.find("[store]", "an empty store cannot be opened".to_owned());
        };
        let left = match cuts {
            Cuts::Never => 0,
            Cuts::Random => self.random.between(1, 4) as u32,
            Cuts::At(..) => 1,
        };
        self.power = Some(Power {
            storage,
            settings: settings.clone(),
            cuts,
            left,
            wall_ahead: WALL,
            broker_behind: self.now as i64,
            stamps: vec![(0, u64::MAX)],
            gathers_at: None,
            is_committing: false,
            unsettled: Vec::new(),
            operations: None,
        });
        for client in 0..self.clients.len() {
            // What is free again is soon used again by some.
            self.clients[client].habits.packet_ids_max = self.random.pick(&[u16::MAX, 30, 30]);
        }
        self.plan_cut();
        self.begin_life(restored);
    }

    /// Says at which operation of the disk the power goes next.
    fn plan_cut(&mut self) {
        let Some(power) = &mut self.power else { return };
        let at = match power.cuts {
            Cuts::Random if power.left > 0 => {
                // Some while the store is opened, most when there is something in it.
                let most = self.random.pick(&[8, 60, 250, 800]);
                self.random.between(1, most)
            }
            Cuts::At(operation, _) if power.left > 0 => operation,
            _ => return,
        };
        power.storage.disk.stop_at(at);
    }

    /// What time it is for the broker, in milliseconds.
    pub(crate) fn broker_now(&self) -> u64 {
        let behind = self.power.as_ref().map_or(0, |power| power.broker_behind);
        self.now.saturating_add_signed(-behind)
    }

    /// When something happens that the broker wants at a time of its own.
    pub(crate) fn virtual_time(&self, broker_time: u64) -> u64 {
        let behind = self.power.as_ref().map_or(0, |power| power.broker_behind);
        broker_time.saturating_add_signed(behind)
    }

    /// The power has gone, or something is wrong.
    pub(crate) fn on_store_error(&mut self, error: &StoreError) {
        let Some(power) = &self.power else { return };
        if power.storage.disk.has_stopped() {
            self.cut_power();
        } else {
            self.oracle.find("[store]", format!("the store fails: {error}"));
        }
    }

    /// The power goes now, by chance, in a run that leaves it to chance.
    pub(crate) fn cut_perhaps(&mut self) {
        let is_random = self.power.as_ref().is_some_and(|power| power.cuts == Cuts::Random);
        if is_random && self.oracle.is_content() && self.random.chance(60) {
            self.cut_power();
        }
    }

    /// The power does not go any more.
    pub(crate) fn let_power_stay(&mut self) {
        if let Some(power) = &mut self.power {
            power.left = 0;
            power.storage.disk.stop_at(u64::MAX);
        }
    }

    /// How many operations of the disk there were before the power went first.
    pub(crate) fn operations(&self) -> u64 {
        let Some(power) = &self.power else { return 0 };
        power.operations.unwrap_or_else(|| power.storage.disk.operations())
    }

    /// The power goes now, and comes back.
    pub(crate) fn cut_power(&mut self) {
        let Some(power) = &mut self.power else { return };
        self.situations.power_cuts += 1;
        power.left = power.left.saturating_sub(1);
        power.operations.get_or_insert(power.storage.disk.operations());
        let cut = match power.cuts {
            Cuts::At(_, cut) => cut,
            _ => self.choose_cut(),
        };
        self.trace(|| format!("power cut: {cut:?}"));
        let standings = self.standings();
        self.oracle.tick(self.broker_now());
        self.oracle.power_is_cut(&standings);
        for (client, standing) in self.clients.iter_mut().zip(&standings) {
            client.begins_anew |= standing.is_unclear;
        }
        for link in 0..self.links.len() {
            self.crash_link(link);
        }
        self.forget_broker();
        self.let_time_pass();
        if let Some(restored) = self.open_again(cut) {
            self.check_age();
            self.oracle.power_is_back(&standings, self.broker_now());
            self.begin_life(restored);
        }
    }

    fn choose_cut(&mut self) -> Cut {
        let seed = self.random.next();
        let random = Cut::Random(seed);
        self.random.pick(&[Cut::Nothing, Cut::Lost, Cut::Torn, Cut::Reordered, random, random])
    }

    /// What clients cannot know.
    fn standings(&self) -> Vec<Standing> {
        // A session in memory mode is gone, unless the store still had something for it.
        let standing = |client: &Client| Standing {
            is_unclear: client.durability == Some(Durability::Memory),
            ..Standing::default()
        };
        let mut standings: Vec<_> = self.clients.iter().map(standing).collect();
        for link in &self.links {
            // Its CONNECT was read, and nobody knows what has come of it.
            if link.connect_consumed && link.let_in.is_none() {
                standings[link.client].is_unclear = true;
            }
        }
        let power = self.power.iter();
        for told in power.flat_map(|power| &power.unsettled) {
            let is_durable = told.records.is_some_and(|records| {
                self.power.iter().any(|power| records <= power.storage.durable(told.shard))
            });
            let standing = &mut standings[told.client];
            standing.is_unclear |= told.is_end && !is_durable;
            standing.is_unsettled |= !is_durable;
        }
        standings
    }

    /// The broker's end of a connection is gone; what it has sent may still arrive.
    fn crash_link(&mut self, link: usize) {
        let known = &mut self.links[link];
        if known.broker_end == BrokerEnd::Closed {
            return;
        }
        known.broker_end = BrokerEnd::Closed;
        known.is_blocked = false;
        known.unread.clear();
        let under_way = known.downward.len();
        let kept =
            if self.random.chance(50) { under_way } else { self.random.index(under_way + 1) };
        self.links[link].downward.truncate(kept);
        let delay = self.random.between(0, 2 * self.profile.network_delay);
        let at = self.links[link].downward_last.max(self.now) + delay;
        self.schedule_at(at, Happening::EndOfStream(link));
    }

    /// The shards are gone, and what they had to say to each other.
    fn forget_broker(&mut self) {
        let is_clients = |happening: &Happening| {
            !matches!(
                happening,
                Happening::Between { .. }
                    | Happening::Timer(_)
                    | Happening::Answer(_)
                    | Happening::Gather
                    | Happening::Commit
            )
        };
        self.due.retain(|Reverse((_, _, happening))| is_clients(happening));
        self.shards.clear();
        self.channels.clear();
        self.new_subscriptions.clear();
        if let Some(power) = &mut self.power {
            (power.gathers_at, power.is_committing) = (None, false);
            power.unsettled.clear();
        }
    }

    /// The broker is down for a while, and its clock may be set.
    fn let_time_pass(&mut self) {
        let down = self.random.pick(&[0, 100, 3_000, 3_000, 30_000, 4_000_000]);
        let set_back =
            if self.random.chance(20) { self.random.between(0, SET_BACK_MAX) } else { 0 };
        let Some(power) = &mut self.power else { return };
        power.wall_ahead = power.wall_ahead + down - set_back;
    }

    /// Opens the store until the power stays long enough.
    fn open_again(&mut self, mut cut: Cut) -> Option<Vec<Vec<Restored>>> {
        loop {
            let shards = self.random.pick(&[1, 2, 3, 4]);
            let now = self.now;
            let power = self.power.as_mut()?;
            let shards = if self.random.chance(50) { shards } else { self.placement.shards() };
            let key = self.profile.placement_key;
            power.settings.placement = Placement::new(key, shards);
            let wall = now + power.wall_ahead;
            let clock = power.storage.clock.clone();
            clock.set(Duration::from_millis(now), Duration::from_millis(wall));
            let disk = power.storage.after(cut);
            power.storage.disk = disk.clone();
            self.plan_cut();
            let power = self.power.as_mut()?;
            let (layout, fault) = (power.storage.layout, power.storage.fault);
            match Storage::open(disk.clone(), clock, layout, fault, &power.settings.placement) {
                Ok((storage, restored)) => {
                    power.storage = storage;
                    return Some(restored);
                }
                Err(_) if disk.has_stopped() => {
                    self.situations.power_cuts_in_opening += 1;
                    power.left = power.left.saturating_sub(1);
                    cut = self.choose_cut();
                }
                Err(error) => {
                    self.oracle.find("[store]", format!("the store cannot be opened: {error}"));
                    return None;
                }
            }
        }
    }

    /// Time goes on where the disk says, and by what has passed on the wall.
    fn check_age(&mut self) {
        let now = self.now;
        let Some(power) = &mut self.power else { return };
        let (age, wall) = (power.storage.age(), now + power.wall_ahead);
        power.broker_behind = now as i64 - age as i64;
        let is_behind =
            |(age_then, then): &(u64, u64)| age == age_then + wall.saturating_sub(*then);
        if !power.stamps.iter().any(is_behind) {
            let stamps = &power.stamps;
            let what = format!("the store is {age} ms old at {wall}, not behind one of {stamps:?}");
            return self.oracle.find("[store]", what);
        }
        power.stamps.retain(is_behind);
    }

    /// Shards begin with what was stored.
    fn begin_life(&mut self, restored: Vec<Vec<Restored>>) {
        let Some(power) = &mut self.power else { return };
        // What the one before had leased is free.
        power.settings.totals = Arc::default();
        let settings = power.settings.clone();
        self.placement = settings.placement;
        self.make_shards(&settings);
        for client in &mut self.clients {
            client.home = settings.placement.client(&client.client_id);
        }
        for (shard, all) in restored.into_iter().enumerate() {
            for one in all {
                self.input(shard, Input::Restore(one));
            }
        }
        self.deliver_between_shards();
        if self.shards.iter().any(|driven| !driven.is_restored) {
            return self.oracle.find("[store]", "a shard is never restored".to_owned());
        }
        // Connections are lost only now.
        for client in 0..self.clients.len() {
            self.note_unsettled(client, usize::from(self.clients[client].home.0), false);
        }
        for shard in 0..self.shards.len() {
            self.input(shard, Input::Restore(Restored::GoOn));
        }
    }

    /// Before clients come, shards tell each other what they know.
    fn deliver_between_shards(&mut self) {
        loop {
            let shards = self.shards.len();
            let pairs = (0..shards).flat_map(|from| (0..shards).map(move |to| (from, to)));
            let waiting: Vec<_> =
                pairs.filter(|(from, to)| !self.channels[*from][*to].messages.is_empty()).collect();
            if waiting.is_empty() {
                return;
            }
            let (from, to) = self.random.pick(&waiting);
            if let Some(message) = self.channels[from][to].messages.pop_front() {
                self.input(to, Input::FromShard { from: ShardId(from as u16), message });
            }
        }
    }
}
