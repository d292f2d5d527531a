//! A session on disk: where it is, how much it may take, and how a client gets it back.

mod desk;
mod journal;
mod record;
mod silence;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use noctule_client_core::{AcknowledgementMode, Hub};
use noctule_client_core::{ClientSession, Overflow, Record, Settings, Timestamp};
use noctule_store::{Disk, Log, LogSettings, RealDisk, Repair, StoreError, Summary};

use crate::error::ClientBuildError;
use crate::shared::Shared;
use crate::store::desk::{Desk, Writer};
use crate::store::record::Story;
use crate::store::silence::Silence;

pub(crate) use journal::Journal;

/// What the records of these logs are: a client's session.
const CONTENT: u16 = 1;
/// Each process begins a file. When there are more they are made into one: each is read, and made
/// durable again, by each opening.
const SEGMENTS_MAX: usize = 8;
const BYTES_MAX: u64 = 256 * 1_024 * 1_024;

/// Where a client's session is kept, and how much it may take. A path alone is one with the
/// defaults.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    place: Place,
    bytes_max: u64,
    repair: Repair,
}

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    Own(Arc<dyn Fn() -> Result<Box<dyn Disk>, StoreError> + Send + Sync>),
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.fmt(formatter),
            Self::Own(_) => formatter.write_str("the program's own"),
        }
    }
}

impl<P: Into<PathBuf>> From<P> for StoreSettings {
    fn from(path: P) -> Self {
        Self::at(Place::Folder(path.into()))
    }
}

impl StoreSettings {
    /// A directory of its own, which is made if it is not there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        path.into().into()
    }

    /// A disk of the program's own, in place of a directory: encrypted, say, or for tests one that
    /// fails. It is opened when the client is built, and must belong to that client alone.
    pub fn on_disk(
        open: impl Fn() -> Result<Box<dyn Disk>, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self::at(Place::Own(Arc::new(open)))
    }

    fn at(place: Place) -> Self {
        Self { place, bytes_max: BYTES_MAX, repair: Repair::default() }
    }

    /// The bytes that the store may take, 256 MiB by default. When they are used up, messages of
    /// QoS 1 and 2 are refused. How many of them may wait, and how long, the queue's settings say.
    #[must_use]
    pub const fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// What is done about a store that is damaged; by default what can be read is used, and what
    /// cannot is set aside.
    #[must_use]
    pub const fn repair(mut self, repair: Repair) -> Self {
        self.repair = repair;
        self
    }
}

/// A session that was read, and its store, in which nobody writes yet.
pub(crate) struct Opened {
    log: Log,
    settings: Settings,
    bytes_max: u64,
    summary: Summary,
    must_rewrite: bool,
    heard: Option<Duration>,
}

/// Opens a store, and makes a session of it.
fn open(store: &StoreSettings, settings: Settings) -> Result<(Hub, Opened), ClientBuildError> {
    let disk = match &store.place {
        Place::Folder(path) => Box::new(RealDisk::open(path)?),
        Place::Own(open) => open()?,
    };
    open_on(disk, store, settings)
}

/// The same on any disk.
pub(crate) fn open_on(
    disk: Box<dyn Disk>,
    store: &StoreSettings,
    mut settings: Settings,
) -> Result<(Hub, Opened), ClientBuildError> {
    let mut story = Story::default();
    let log_settings = LogSettings { content: CONTENT, ..LogSettings::default() };
    let (log, summary) =
        Log::open(disk, log_settings, store.repair, |record| story.read(record.bytes))?;
    let must_rewrite = !summary.is_clean();
    let age = log.ages().now();
    let heard = story.heard;
    let records: Vec<Record> = story.into_facts(age).collect();
    check_owner(&settings, &records)?;
    settings.is_durable = true;
    // What a hub wants of its session.
    settings.acknowledgement = AcknowledgementMode::Manual;
    if settings.queue.overflow == Overflow::Refuse {
        settings.queue.overflow = Overflow::Wait;
    }
    let now = Timestamp::default();
    let mut session = ClientSession::restore(settings.clone(), now, records)?;
    if let Some(heard) = heard {
        session.assume_silence(now, age.saturating_sub(heard));
    }
    let bytes_max = store.bytes_max;
    Ok((Hub::of(session), Opened { log, settings, bytes_max, summary, must_rewrite, heard }))
}

/// A session belongs to its client identifier.
fn check_owner(settings: &Settings, records: &[Record]) -> Result<(), ClientBuildError> {
    let wanted = &settings.connect.client_id;
    let stored = records.iter().rev().find_map(|record| match record {
        Record::SessionStarted { client_id, .. } => Some(client_id),
        _ => None,
    });
    match stored {
        Some(stored) if !wanted.is_empty() && **stored != **wanted => {
            let (stored, wanted) = (stored.to_string(), wanted.clone());
            Err(ClientBuildError::StoreOfAnother { stored, wanted })
        }
        _ => Ok(()),
    }
}

/// What the handles and the driver of a client with a store share.
pub(crate) fn share(
    store: &StoreSettings,
    settings: Settings,
) -> Result<Arc<Shared>, ClientBuildError> {
    let (hub, opened) = open(store, settings)?;
    opened.share(hub)
}

impl Opened {
    pub(crate) fn share(self, hub: Hub) -> Result<Arc<Shared>, ClientBuildError> {
        let shared = Arc::new(Shared::new(hub));
        let journal = self.start(Arc::downgrade(&shared))?;
        shared.with(|inner| inner.journal = Some(journal));
        Ok(shared)
    }

    /// Starts the thread that writes.
    fn start(self, shared: Weak<Shared>) -> Result<Journal, ClientBuildError> {
        let Self { log, settings, bytes_max, summary, must_rewrite, heard } = self;
        let lifetime = settings.connect.session_expiry_interval;
        let silence = Silence::new(log.ages().clone(), lifetime);
        let desk = Arc::new(Desk::default());
        let must_rewrite = must_rewrite || log.segments() > SEGMENTS_MAX;
        let mut writer = Writer::new(log, settings, Arc::clone(&desk), bytes_max, heard);
        if must_rewrite {
            // Damage is told once. If that does not work now, it is told again, and so are the
            // files made into one.
            let _ = writer.rewrite();
        }
        let tell = move || {
            if let Some(shared) = shared.upgrade() {
                shared.on_kept();
            }
        };
        writer.start(tell).map_err(|source| {
            let (action, name) = ("start the thread of", "the store".to_owned());
            StoreError::Io { action, name, source }
        })?;
        Ok(Journal::new(desk, bytes_max, summary, silence))
    }
}

#[cfg(test)]
mod failing_tests;
#[cfg(test)]
mod parking_tests;
#[cfg(test)]
mod power_cut_tests;
