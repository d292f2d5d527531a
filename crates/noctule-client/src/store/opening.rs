//! Opening a store: what is read of it, where that keeps nobody waiting, and the session that is
//! made of that.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use noctule_client_core::{
    AcknowledgementMode, ClientSession, Hub, Overflow, Record, Settings, Timestamp,
};
use noctule_store::{Disk, Log, LogSettings, RealDisk, StoreError, Summary};

use crate::builder::ClientBuilder;
use crate::error::ClientBuildError;
use crate::mode::Async;
use crate::shared::Shared;
use crate::store::desk::{Desk, Writer};
use crate::store::journal::Journal;
use crate::store::record::Story;
use crate::store::silence::Silence;
use crate::store::{Place, StoreSettings};

/// What the records of these logs are: a client's session.
const CONTENT: u16 = 1;
/// Each process begins a file. When there are more they are made into one: each is read, and made
/// durable again, by each opening.
const SEGMENTS_MAX: usize = 8;

/// The store that a client is to have.
pub(crate) struct Chosen {
    settings: StoreSettings,
    /// What was read of it, if that has happened.
    read: Option<Read>,
}

impl From<StoreSettings> for Chosen {
    fn from(settings: StoreSettings) -> Self {
        Self { settings, read: None }
    }
}

/// What was read of a store, in which nobody writes yet.
struct Read {
    log: Log,
    summary: Summary,
    story: Story,
}

impl ClientBuilder<Async> {
    /// Reads the store, if there is one, on a thread of its own, whatever the runtime: with much in
    /// it, or on a slow disk, that takes its time. [`connect`](Self::connect) does this;
    /// `start`, `start_thread` and `drive` read it on the caller's thread, unless this was awaited
    /// before.
    ///
    /// ```no_run
    /// use noctule_client::Client;
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder("mqtt://broker.example")
    ///     .client_id("thermometer-7")
    ///     .store("/var/lib/thermometer")
    ///     .open_store()
    ///     .await?
    ///     .start()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the store cannot be opened, or the system gives no thread.
    pub async fn open_store(mut self) -> Result<Self, ClientBuildError> {
        if let Some(chosen) = &mut self.store
            && chosen.read.is_none()
        {
            let settings = chosen.settings.clone();
            let read = apart(move || read(&settings)).await.map_err(|source| {
                let (action, name) = ("start the thread of", "the store".to_owned());
                StoreError::Io { action, name, source }
            })?;
            chosen.read = Some(read?);
        }
        Ok(self)
    }
}

/// Who waits for a thread, or what has come of its work.
enum Awaited<T> {
    Nobody,
    By(Waker),
    Done(thread::Result<T>),
}

fn lock<T>(awaited: &Mutex<Awaited<T>>) -> MutexGuard<'_, Awaited<T>> {
    awaited.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something on a thread of its own. A panic comes back to whoever waits.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, std::io::Error> {
    let awaited = Arc::new(Mutex::new(Awaited::Nobody));
    let place = Arc::clone(&awaited);
    let run = move || {
        let done = catch_unwind(AssertUnwindSafe(work));
        let before = std::mem::replace(&mut *lock(&place), Awaited::Done(done));
        if let Awaited::By(waker) = before {
            waker.wake();
        }
    };
    thread::Builder::new().name("noctule-store".to_owned()).spawn(run)?;
    let done = poll_fn(|context| {
        let mut awaited = lock(&awaited);
        match std::mem::replace(&mut *awaited, Awaited::By(context.waker().clone())) {
            Awaited::Done(done) => Poll::Ready(done),
            Awaited::Nobody | Awaited::By(_) => Poll::Pending,
        }
    });
    Ok(done.await.unwrap_or_else(|panic| resume_unwind(panic)))
}

/// Reads a store.
fn read(store: &StoreSettings) -> Result<Read, ClientBuildError> {
    let disk = match &store.place {
        Place::Folder(path) => Box::new(RealDisk::open(path)?),
        Place::Own(open) => open()?,
    };
    read_on(disk, store)
}

fn read_on(disk: Box<dyn Disk>, store: &StoreSettings) -> Result<Read, ClientBuildError> {
    let mut story = Story::default();
    let log_settings = LogSettings { content: CONTENT, ..LogSettings::default() };
    let (log, summary) =
        Log::open(disk, log_settings, store.repair, |record| story.read(record.bytes))?;
    Ok(Read { log, summary, story })
}

/// A session that was read, and its store, in which nobody writes yet.
pub(crate) struct Opened {
    pub(super) log: Log,
    pub(super) settings: Settings,
    pub(super) bytes_max: u64,
    pub(super) summary: Summary,
    must_rewrite: bool,
    heard: Option<Duration>,
}

/// Opens a store on any disk, and makes a session of it.
#[cfg(test)]
pub(crate) fn open_on(
    disk: Box<dyn Disk>,
    store: &StoreSettings,
    settings: Settings,
) -> Result<(Hub, Opened), ClientBuildError> {
    restore(read_on(disk, store)?, store, settings)
}

/// Makes a session of what was read.
fn restore(
    read: Read,
    store: &StoreSettings,
    mut settings: Settings,
) -> Result<(Hub, Opened), ClientBuildError> {
    let Read { log, summary, story } = read;
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
pub(crate) fn share(store: Chosen, settings: Settings) -> Result<Arc<Shared>, ClientBuildError> {
    let Chosen { settings: store, read: earlier } = store;
    let read = match earlier {
        Some(read) => read,
        None => read(&store)?,
    };
    let (hub, opened) = restore(read, &store, settings)?;
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
        let writer = Writer::new(log, settings, Arc::clone(&desk), bytes_max, heard);
        let tell = move || {
            if let Some(shared) = shared.upgrade() {
                shared.on_kept();
            }
        };
        writer.start(must_rewrite, tell).map_err(|source| {
            let (action, name) = ("start the thread of", "the store".to_owned());
            StoreError::Io { action, name, source }
        })?;
        Ok(Journal::new(desk, bytes_max, summary, silence))
    }
}
