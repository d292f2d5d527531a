//! The embedding program's way to a running broker: every setting, typed, then `start`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use noctule_broker_core::{
    Durability, Features, LimitOutOfRange, Limits, ListenerId, ListenerSettings, Placement,
    ReadRules, Settings, ShardId, SharedStrategy, Timestamp,
};
use noctule_packet::{TextRules, Version};
use noctule_store::{Disk, StoreError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::descriptors;
use crate::disks::Disks;
use crate::error::StartError;
use crate::handle::{Handle, Shared};
use crate::inbox::Mail;
use crate::life::Life;
use crate::listener::{Listener, OpenListener};
use crate::recovery::Recovery;
use crate::request::Request;
use crate::run::Start;
use crate::storage::{OpenStorage, Storage};
use crate::threads;

/// Publications of the host program that wait for the broker's thread; behind them,
/// [`Handle::publish`] waits.
const PUBLICATIONS_WAITING_MAX: usize = 256;

/// The most shards a broker has: as many as there are partitions of client identifiers.
const SHARDS_MAX: u16 = 1_024;

/// An MQTT broker inside this program. See [`Broker::builder`].
#[derive(Debug)]
pub struct Broker;

impl Broker {
    /// Starts with default settings and no listener: only this program can use the broker then.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

/// What a broker is made of.
///
/// ```
/// use std::time::Duration;
/// use noctule_broker::{Broker, Limits, Listener};
///
/// let mut limits = Limits::default();
/// limits.maximum_packet_size = 64 * 1024;
/// let broker = Broker::builder()
///     .listen("127.0.0.1:0")
///     .limits(limits)
///     .start()?;
/// println!("listening on {}", broker.local_addrs()[0]);
/// broker.stop_blocking(Duration::from_secs(1))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    listeners: Vec<Listener>,
    settings: Settings,
    shards: Option<u16>,
    allow_anonymous: Option<bool>,
    raise_descriptor_limit: bool,
    data: Option<PathBuf>,
    recovery: Recovery,
    sync_interval: Option<Duration>,
    disks: Disks,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            settings: Settings::default(),
            shards: None,
            allow_anonymous: None,
            raise_descriptor_limit: true,
            data: None,
            recovery: Recovery::default(),
            sync_interval: None,
            disks: Disks::default(),
        }
    }
}

impl Builder {
    /// Adds a way in: an address, or a [`Listener`] with its own settings.
    pub fn listen(mut self, listener: impl Into<Listener>) -> Self {
        self.listeners.push(listener.into());
        self
    }

    /// What [`Listener::allow_anonymous`] says for listeners that say nothing themselves.
    pub fn allow_anonymous(mut self, allow: bool) -> Self {
        self.allow_anonymous = Some(allow);
        self
    }

    /// Bounds on what clients may use. [`start`](Self::start) refuses values that leave room for
    /// nothing, and lowers `connections_max` to what the limit of open descriptors allows.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Features that can be switched off; all are on by default.
    pub fn features(mut self, features: Features) -> Self {
        self.settings.features = features;
        self
    }

    /// Which text is refused beyond what is ill-formed; control characters and non-characters are
    /// by default.
    pub fn text_rules(mut self, rules: TextRules) -> Self {
        self.settings.text_rules = rules;
        self
    }

    /// How a member of a shared subscription is picked; by default the one with the fewest messages
    /// in flight.
    pub fn shared_strategy(mut self, strategy: SharedStrategy) -> Self {
        self.settings.shared_strategy = strategy;
        self
    }

    /// Seconds between two publications of the `$SYS` topics; 10 by default, 0 publishes
    /// none.
    pub fn system_interval_seconds(mut self, seconds: u32) -> Self {
        self.settings.system_interval_seconds = seconds;
        self
    }

    /// What a 5.0 client gets that asks for Response Information: at most 65,535 bytes, no U+0000.
    /// Nothing by default.
    pub fn response_information(mut self, information: impl Into<Box<str>>) -> Self {
        self.settings.response_information = Some(information.into());
        self
    }

    /// Whether a refused PUBLISH of a 3.x client, which knows no negative acknowledgement, closes
    /// its connection; it does not by default.
    pub fn close_on_refused_publish(mut self, close: bool) -> Self {
        self.settings.close_on_refused_publish = close;
        self
    }

    /// A rule over (client identifier, topic name) that decides about every delivery; by default
    /// everything is delivered.
    pub fn read_rules(mut self, rules: ReadRules) -> Self {
        self.settings.read_rules = Some(rules);
        self
    }

    /// On how many threads clients are served, 1 to 1024. By default the machine's processors but
    /// one, and one on a machine with two.
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Keeps sessions that outlive their connections, what waits for them, and retained messages in
    /// this directory, which is made if there is none: what is acknowledged is on disk. By default
    /// everything is in memory and gone with the process.
    ///
    /// ```no_run
    /// # use noctule_broker::Broker;
    /// let broker = Broker::builder().data("/var/lib/my-program").listen("127.0.0.1:1883");
    /// let broker = broker.start()?;
    /// # Ok::<(), noctule_broker::StartError>(())
    /// ```
    pub fn data(mut self, directory: impl Into<PathBuf>) -> Self {
        self.data = Some(directory.into());
        self
    }

    /// Acknowledges what is written to [`data`](Self::data) without waiting until the disk was told
    /// to make it last, which it is so long after that at the latest. A power cut takes what was
    /// acknowledged since; the death of the process takes nothing. By default nothing is
    /// acknowledged before.
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.sync_interval = Some(interval);
        self
    }

    /// What is done if the content of [`data`](Self::data) is damaged; by default the broker starts
    /// with whatever can be read.
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Gives the store other disks than the file system's directories, room for so many bytes on
    /// their way there, and segments of this size. For tests.
    #[doc(hidden)]
    pub fn disks(
        mut self,
        open: impl Fn(&Path) -> Result<Box<dyn Disk>, StoreError> + Send + Sync + 'static,
        waiting_bytes_max: u64,
        segment_bytes: u64,
    ) -> Self {
        self.disks = Disks::new(open, waiting_bytes_max, segment_bytes);
        self
    }

    /// Whether the process's limit of open descriptors is raised as far as it goes; it is by
    /// default.
    pub fn raise_descriptor_limit(mut self, raise: bool) -> Self {
        self.raise_descriptor_limit = raise;
        self
    }

    /// Opens the listeners and starts the broker's threads. Clients can connect when this returns.
    /// It blocks while host names are resolved; otherwise it is quick.
    ///
    /// # Errors
    ///
    /// If an address is wrong, taken or missing on this machine; if a listener could be reached
    /// from other machines and nobody said that everybody may connect; if a setting is out of
    /// range. No listener stays open then.
    pub fn start(mut self) -> Result<Handle, StartError> {
        self.settings.durability = self.durability();
        self.check()?;
        let shards = self.shards.unwrap_or_else(shards_by_default);
        let descriptor_limit = self.settle_descriptors(shards);
        info!(target: "noctule", shards, "starting");
        self.settings.placement = Placement::new(random_key(), shards);
        let placement = self.settings.placement;
        // Until everything is there, nobody is let wait: who comes earlier tries again.
        let opened = self.open_storage()?;
        let mut listeners = Vec::new();
        for mut listener in std::mem::take(&mut self.listeners) {
            if let Some(allow) = self.allow_anonymous {
                listener.allow_anonymous_unless_set(allow);
            }
            listeners.append(&mut listener.open()?);
        }
        let host_listener = self.settle_listeners(&listeners);
        let connections_max = self.settings.limits.connections_max;
        let local_addrs = listeners.iter().map(|listener| listener.address.clone()).collect();
        let life = Arc::new(Life::new(shards));
        let (publications, publications_end) = mpsc::channel(PUBLICATIONS_WAITING_MAX);
        let (mut starts, requests) = self.starts(host_listener, &life);
        if let Some(opened) = opened {
            share_out(opened, &mut starts);
        }
        if let Some(first) = starts.first_mut() {
            first.listeners = listeners;
            first.publications = Some(publications_end);
        }
        threads::start(starts, &life).map_err(StartError::Thread)?;
        Ok(Handle::new(Shared {
            requests,
            publications,
            placement,
            life,
            subscribed: AtomicUsize::new(0),
            local_addrs,
            descriptor_limit,
            connections_max,
        }))
    }

    /// What an acknowledgement means where no listener says otherwise.
    fn durability(&self) -> Durability {
        match (&self.data, self.sync_interval) {
            (None, _) => Durability::Memory,
            (Some(_), None) => Durability::Stored,
            (Some(_), Some(_)) => Durability::Interval,
        }
    }

    /// Opens the store, if there is to be one.
    fn open_storage(&self) -> Result<Option<OpenStorage>, StartError> {
        let Some(path) = &self.data else {
            info!(target: "noctule", durability = "memory",
                "everything is in memory, and gone with the process");
            return Ok(None);
        };
        let (disks, interval) = (&self.disks, self.sync_interval);
        Storage::open(path, disks, self.recovery, interval, &self.settings).map(Some)
    }

    /// What each shard's thread starts with, and the way to each.
    fn starts(
        &self,
        host_listener: ListenerId,
        life: &Arc<Life>,
    ) -> (Vec<Start>, Vec<mpsc::UnboundedSender<Request>>) {
        let shards = self.settings.placement.shards();
        let inboxes = Mail::inboxes(shards);
        let started = Instant::now();
        let start = |shard| {
            let (requests, requests_end) = mpsc::unbounded_channel();
            let mut settings = self.settings.clone();
            settings.shard = ShardId(shard);
            let start = Start {
                listeners: Vec::new(),
                host_listener,
                settings,
                seed: random(),
                inboxes: Arc::clone(&inboxes),
                started,
                began_at: Timestamp::default(),
                requests: requests_end,
                share: None,
                storage: None,
                publications: None,
                life: Arc::clone(life),
            };
            (start, requests)
        };
        (0..shards).map(start).unzip()
    }

    /// Refuses what would turn clients away only later.
    fn check(&self) -> Result<(), StartError> {
        self.settings.limits.check()?;
        if let Some(shards) = self.shards.filter(|shards| !(1..=SHARDS_MAX).contains(shards)) {
            let (value, maximum) = (shards.into(), SHARDS_MAX.into());
            let range = LimitOutOfRange { setting: "shards", value, minimum: 1, maximum };
            return Err(range.into());
        }
        for listener in &self.listeners {
            listener.check_durability(self.settings.durability)?;
        }
        let text = self.settings.response_information.as_deref().unwrap_or_default();
        if text.len() > usize::from(u16::MAX) || text.contains('\0') {
            return Err(StartError::ResponseInformation { length: text.len() });
        }
        Ok(())
    }

    /// Raises the descriptor limit and lowers the connection limit to what it allows.
    fn settle_descriptors(&mut self, shards: u16) -> Option<u64> {
        let limit = if self.raise_descriptor_limit {
            descriptors::raise_limit()
        } else {
            descriptors::limit()
        };
        let limit = limit?;
        let connections_max = &mut self.settings.limits.connections_max;
        let within = descriptors::connections_within(limit, shards);
        info!(target: "noctule", descriptor_limit = limit, "limit of open descriptors");
        if within < *connections_max {
            let log_level_is_warn = *connections_max != Limits::default().connections_max;
            if log_level_is_warn {
                warn!(target: "noctule", setting = "limits.connections_max",
                    wanted = *connections_max, connections_max = within, descriptor_limit = limit,
                    "the limit of open descriptors allows fewer connections than were asked for");
            } else {
                info!(target: "noctule", setting = "limits.connections_max",
                    connections_max = within, descriptor_limit = limit,
                    "connections are bounded by the limit of open descriptors");
            }
            *connections_max = within;
        }
        Some(limit)
    }

    /// Tells the shard about all listeners. Behind those with sockets stands the host program's.
    fn settle_listeners(&mut self, listeners: &[OpenListener]) -> ListenerId {
        let mut all: Vec<_> = listeners.iter().map(|listener| listener.settings.clone()).collect();
        let host = ListenerId(u16::try_from(all.len()).unwrap_or(u16::MAX));
        let mut host_settings = ListenerSettings::default();
        host_settings.versions = vec![Version::V5_0];
        all.push(host_settings);
        self.settings.listeners = all;
        host
    }
}

/// Gives each shard its share of an open store.
fn share_out(opened: OpenStorage, starts: &mut [Start]) {
    let OpenStorage { storage, age, shares } = opened;
    for (start, share) in starts.iter_mut().zip(shares) {
        // Its clock goes on behind that of the last broker.
        start.began_at = Timestamp::default() + age;
        start.share = Some(share);
        start.storage = Some(Arc::clone(&storage));
    }
}

/// One processor is left to whatever else the machine does; with two, a second shard would gain
/// little and cost every message that crosses over.
fn shards_by_default() -> u16 {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let shards = if processors <= 2 { 1 } else { processors - 1 };
    u16::try_from(shards).unwrap_or(SHARDS_MAX).min(SHARDS_MAX)
}

/// A number that cannot be guessed.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Clients that do not know it cannot choose identifiers that crowd on one shard.
fn random_key() -> [u8; 16] {
    (u128::from(random()) << 64 | u128::from(random())).to_le_bytes()
}
