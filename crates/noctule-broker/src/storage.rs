//! The store of a broker: opened before its shards start, and closed when the last one has ended.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use noctule_broker_core::{Placement, Restored};
use noctule_store::broker::{self, CONTENT, Findings, Opened};
use noctule_store::{Committer, LogSettings, LoggedState, RealDisk, Repair, StoreError, Wake};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::checkpoints::Checkpoints;
use crate::keeping::Keeper;
use crate::tally::Tally;

/// The bytes of a segment of the log, and how many are kept to be used again.
const SEGMENT_BYTES: u64 = 32 * 1024 * 1024;
const FREE_SEGMENTS_MAX: usize = 4;

/// What one shard may have on its way to the disk; what comes behind it waits, and so do its
/// clients.
const WAITING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An open store.
pub(crate) struct Storage {
    threads: Mutex<Option<Threads>>,
    path: PathBuf,
}

struct Threads {
    committer: Arc<Committer>,
    checkpoints: Checkpoints,
}

/// A store that was opened.
#[derive(Debug)]
pub(crate) struct OpenStorage {
    pub(crate) storage: Arc<Storage>,
    /// How old it is.
    pub(crate) age: Duration,
    /// What each shard gets of it.
    pub(crate) shares: Vec<Share>,
}

/// What an opened store gives to a shard.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) keeper: Keeper,
    pub(crate) restored: Vec<Restored>,
}

impl fmt::Debug for Storage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Storage").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Storage {
    /// Opens the store in a directory, which is made if there is none.
    pub(crate) fn open(
        path: &Path,
        repair: Repair,
        placement: Placement,
    ) -> Result<OpenStorage, StoreError> {
        let Opened { log, archive, model, findings } = open_all(path, repair)?;
        let age = log.ages().now();
        let bells: Vec<_> = (0..placement.shards()).map(|_| Arc::new(Notify::new())).collect();
        let wake = |bell: &Arc<Notify>| {
            let bell = Arc::clone(bell);
            let wake: Wake = Box::new(move || bell.notify_one());
            wake
        };
        let thread = |source| StoreError::Io { action: "start", name: "a thread".into(), source };
        let wakes = bells.iter().map(wake).collect();
        let (committer, appenders) =
            Committer::start(log, WAITING_BYTES_MAX, wakes).map_err(thread)?;
        let committer = Arc::new(committer);
        let checkpoints = Checkpoints::start(Arc::clone(&committer), archive).map_err(thread)?;
        let keepers = appenders.into_iter().zip(bells);
        let keepers = keepers.map(|(appender, bell)| Keeper::new(appender, bell));
        let restored = model.into_restored(&placement);
        tell(path, &Tally::of(&restored), &findings);
        let shares = keepers.zip(restored);
        let shares = shares.map(|(keeper, restored)| Share { keeper, restored }).collect();
        let threads = Mutex::new(Some(Threads { committer, checkpoints }));
        let storage = Arc::new(Self { threads, path: path.to_owned() });
        Ok(OpenStorage { storage, age, shares })
    }
}

/// Opens all parts of a store, each in its place: the log in the directory, and below it what is
/// not in the log any more.
fn open_all(path: &Path, repair: Repair) -> Result<Opened, StoreError> {
    let disk = RealDisk::open(path)?;
    let runs = RealDisk::open(path.join("runs"))?;
    let state = RealDisk::open(path.join("state"))?;
    let (state, summary) = LoggedState::open(Box::new(state), CONTENT, repair)?;
    if !summary.is_intact() {
        warn!(target: "noctule", path = %path.display(), %summary, "the state was damaged");
    }
    let settings = LogSettings {
        segment_bytes: SEGMENT_BYTES,
        free_segments_max: FREE_SEGMENTS_MAX,
        ..LogSettings::default()
    };
    broker::open(Box::new(disk), Box::new(runs), Box::new(state), settings, repair)
}

/// Says in one line where everything is kept, and what of it is there.
fn tell(path: &Path, tally: &Tally, findings: &Findings) {
    let Tally { sessions, subscriptions, messages, retained } = tally;
    let unfinished_bytes = findings.log.torn.as_ref().map_or(0, |torn| torn.bytes);
    info!(target: "noctule", path = %path.display(), durability = "local", sessions, subscriptions,
        messages, retained, unfinished_bytes, "everything is kept on disk");
    if !findings.is_intact() {
        warn!(target: "noctule", path = %path.display(), %findings, "the store was damaged");
    }
}

impl Drop for Storage {
    /// Keeps what is on its way.
    fn drop(&mut self) {
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { committer, checkpoints }) = threads else { return };
        checkpoints.stop();
        let Some(committer) = Arc::into_inner(committer) else { return };
        if let Err(error) = committer.stop() {
            error!(target: "noctule", %error, "what was on its way to the store is lost: \
                none of it was acknowledged");
        }
    }
}
