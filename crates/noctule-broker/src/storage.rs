//! The store of a broker: opened before its shards start, and closed when the last one has ended.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

use noctule_broker_core::{Durability, Restored, Settings, ShardId};
use noctule_store::broker::{Findings, Opened};
use noctule_store::{Committer, Wake};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::backlogs::{Backlogs, Postboxes, Reader};
use crate::checkpoints::{Checkpoints, Memory, Wishes};
use crate::disks::Disks;
use crate::error::{BrokerError, StartError};
use crate::keeping::Keeper;
use crate::recovery::Recovery;
use crate::tally::Tally;

/// Whoever stops the broker waits no longer than this for a disk that does not answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// An open store.
pub(crate) struct Storage {
    threads: Mutex<Option<Threads>>,
    path: PathBuf,
}

struct Threads {
    committer: Arc<Committer>,
    checkpoints: Checkpoints,
    reader: Reader,
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
    pub(crate) backlogs: Backlogs,
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
        disks: &Disks,
        recovery: Recovery,
        interval: Option<Duration>,
        settings: &Settings,
    ) -> Result<OpenStorage, StartError> {
        let (placement, in_flight_max) = (settings.placement, settings.limits.in_flight_max);
        let opened = disks.open(path, recovery, in_flight_max, interval)?;
        let Opened { log, archive, model, findings } = opened;
        let age = log.ages().now();
        let bells: Vec<_> = (0..placement.shards()).map(|_| Arc::new(Notify::new())).collect();
        let wake = |bell: &Arc<Notify>| {
            let bell = Arc::clone(bell);
            let wake: Wake = Box::new(move || bell.notify_one());
            wake
        };
        let wakes = bells.iter().map(wake).collect();
        let (committer, appenders) =
            Committer::start(log, disks.waiting_bytes_max, wakes).map_err(StartError::Thread)?;
        let committer = Arc::new(committer);
        let postboxes = Postboxes::new(placement.shards());
        let reader = Reader::start(archive.queues(), postboxes.clone());
        let reader = reader.map_err(StartError::Thread)?;
        let wishes = Wishes::default();
        let door = |shard| reader.door(ShardId(shard), &postboxes, &wishes);
        let doors = (0..placement.shards()).map(door);
        let doors: Vec<_> = doors.collect();
        let checkpoints = Checkpoints::start(
            Arc::clone(&committer),
            archive,
            postboxes,
            Memory::of(settings),
            wishes,
        );
        let checkpoints = checkpoints.map_err(StartError::Thread)?;
        let keepers = appenders.into_iter().zip(bells);
        let keepers = keepers.map(|(appender, bell)| Keeper::new(appender, bell));
        let restored = model.into_restored(&placement);
        tell(path, interval, &Tally::of(&restored), &findings);
        let shares = keepers.zip(doors).zip(restored);
        let share = |((keeper, backlogs), restored)| Share { keeper, backlogs, restored };
        let shares = shares.map(share).collect();
        let threads = Mutex::new(Some(Threads { committer, checkpoints, reader }));
        let storage = Arc::new(Self { threads, path: path.to_owned() });
        Ok(OpenStorage { storage, age, shares })
    }
}

/// Says in one line where everything is kept, and what of it is there.
fn tell(path: &Path, interval: Option<Duration>, tally: &Tally, findings: &Findings) {
    let Tally { sessions, subscriptions, messages, retained } = tally;
    let torn = [&findings.state, &findings.log].into_iter().filter_map(|part| part.torn.as_ref());
    let unfinished_bytes: u64 = torn.map(|torn| torn.bytes).sum();
    let durability =
        if interval.is_some() { Durability::Interval } else { Durability::Stored }.name();
    info!(target: "noctule", path = %path.display(), durability, sessions, subscriptions,
        messages, retained, unfinished_bytes, "everything is kept on disk");
    if let Some(interval) = interval {
        let interval_ms = interval.as_millis();
        info!(target: "noctule", interval_ms,
            "the disk is synced every so often: a power cut takes what was acknowledged since");
    }
    if !findings.is_intact() {
        warn!(target: "noctule", path = %path.display(), %findings,
            "the store was damaged: what cannot be read is set aside, everything else is used");
    }
    warn_of_others(path);
}

/// Whoever else may write there could put other files in place of the broker's.
fn warn_of_others(path: &Path) {
    let Ok(mode) = fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777) else {
        return;
    };
    if mode & 0o022 != 0 {
        warn!(target: "noctule", path = %path.display(), mode = format_args!("{mode:03o}"),
            "others may write to the broker's directory: chmod 700 makes it the broker's alone");
    }
}

impl Storage {
    /// Keeps what is on its way, as far as the disk takes it in time.
    pub(crate) fn close(mut self) -> Result<(), BrokerError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), BrokerError> {
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Threads { committer, checkpoints, reader }) = threads else { return Ok(()) };
        let until = Instant::now() + SILENCE_MAX;
        committer.begin_stop();
        checkpoints.begin_stop();
        // That what is on its way becomes durable comes first: emptying the log can wait.
        let has_ended = ends(|| committer.has_stopped(), until)
            && ends(|| checkpoints.has_stopped(), until)
            && reader.stop(until);
        if !has_ended {
            let seconds = SILENCE_MAX.as_secs();
            error!(target: "noctule", path = %self.path.display(), seconds,
                "the disk does not answer: the store is left as a crash would leave it");
            return Err(BrokerError::StoreSilent { path: self.path.clone() });
        }
        checkpoints.stop();
        let Some(committer) = Arc::into_inner(committer) else { return Ok(()) };
        if let Err(error) = committer.stop() {
            error!(target: "noctule", %error, "what was on its way to the disk may be \
                lost: nobody was promised that it is not");
        }
        Ok(())
    }
}

/// Waits until a thread has ended, but no longer than this. Whether it has.
#[allow(clippy::disallowed_methods, reason = "no shard runs here any more, and no end is an event")]
pub(crate) fn ends(has_ended: impl Fn() -> bool, until: Instant) -> bool {
    while !has_ended() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

impl Drop for Storage {
    fn drop(&mut self) {
        // Whoever wants to know closes it.
        let _ = self.end();
    }
}
