//! The thread that writes a client's store, and what it and the driver hand each other.
//!
//! One batch is under way at a time; whatever comes up meanwhile is the next one. So the sync of a
//! disk, however slow, is shared by all that waited for it, and nobody who runs futures waits.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use noctule_client_core::{Record, Settings, compact};
use noctule_store::{Batch, Log, StoreError};

use crate::store::record::{self, Story};

/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// What is written at once; a single record may be larger.
const BATCH_BYTES: usize = 4 * 1_024 * 1_024;
/// A log that is smaller is not worth rewriting.
const REWRITE_BYTES_MIN: u64 = 4 * 1_024 * 1_024;

/// What the driver and the thread hand each other.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    papers: Mutex<Papers>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Papers {
    batch: Option<Handed>,
    done: u64,
    failure: Option<Arc<StoreError>>,
    bytes: u64,
    is_ending: bool,
    is_gone: bool,
}

/// A batch, and when the server was heard last if that is to be noted.
type Handed = (Vec<Record>, Option<Duration>);

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Papers> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a batch over. The one before is done.
    pub(crate) fn submit(&self, batch: Vec<Record>, heard: Option<Duration>) {
        self.lock().batch = Some((batch, heard));
        self.changed.notify_one();
    }

    /// How many batches are durable.
    pub(crate) fn done(&self) -> u64 {
        self.lock().done
    }

    /// The batch that is under way is durable, says a test in place of the thread.
    #[cfg(test)]
    pub(super) fn finish(&self) {
        self.lock().done += 1;
    }

    /// Why the batch that is under way is not durable yet, if there is a reason.
    pub(crate) fn failure(&self) -> Option<Arc<StoreError>> {
        self.lock().failure.clone()
    }

    /// The bytes of the log.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// There will be no more batches, and one that cannot be written is given up.
    pub(crate) fn end(&self) {
        self.lock().is_ending = true;
        self.changed.notify_one();
    }

    /// Whether the thread has let go of the store.
    pub(crate) fn is_gone(&self) -> bool {
        self.lock().is_gone
    }

    fn next_batch(&self) -> Option<Handed> {
        let mut papers = self.lock();
        loop {
            if let Some(batch) = papers.batch.take() {
                return Some(batch);
            }
            if papers.is_ending {
                return None;
            }
            papers = self.changed.wait(papers).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits before another try. Whether there is to be one.
    fn wait_to_retry(&self, error: StoreError) -> bool {
        let mut papers = self.lock();
        papers.failure = Some(Arc::new(error));
        let waited = self.changed.wait_timeout_while(papers, RETRY, |papers| !papers.is_ending);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_ending
    }
}

/// Writes the store.
pub(super) struct Writer {
    log: Log,
    settings: Settings,
    desk: Arc<Desk>,
    batch: Batch,
    rewrite_at: u64,
    bytes_max: u64,
    heard: Option<Duration>,
}

impl Writer {
    pub(super) fn new(
        log: Log,
        settings: Settings,
        desk: Arc<Desk>,
        bytes_max: u64,
        heard: Option<Duration>,
    ) -> Self {
        let (batch, rewrite_at) = (Batch::new(), 0);
        let mut writer = Self { log, settings, desk, batch, rewrite_at, bytes_max, heard };
        writer.plan_rewrite();
        writer
    }

    /// Starts the thread, which calls `tell` whenever something has changed.
    pub(super) fn start(
        mut self,
        must_rewrite: bool,
        tell: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        let run = move || {
            let desk = Arc::clone(&self.desk);
            if must_rewrite {
                // Damage is told once. If that does not work now, it is told again, and so are the
                // files made into one.
                let _ = self.rewrite();
                self.plan_rewrite();
            }
            self.run(&tell);
            // The lock goes with the log.
            drop(self);
            desk.lock().is_gone = true;
            tell();
        };
        thread::Builder::new().name("noctule-store".to_owned()).spawn(run).map(drop)
    }

    fn run(&mut self, tell: &impl Fn()) {
        while let Some((records, heard)) = self.desk.next_batch() {
            if let Some(heard) = heard {
                self.heard = Some(heard);
                let _ = self.batch.push(|out| record::encode_heard(heard, out));
            }
            if !self.keep(records, tell) {
                return;
            }
            let bytes = self.log.bytes();
            let mut papers = self.desk.lock();
            papers.done += 1;
            papers.failure = None;
            papers.bytes = bytes;
            drop(papers);
            tell();
            if bytes > self.rewrite_at {
                // What cannot be rewritten now can be later; nothing is lost.
                let _ = self.rewrite();
                self.plan_rewrite();
                self.desk.lock().bytes = self.log.bytes();
            }
        }
    }

    /// Makes records durable, however often it has to be tried. Whether they are.
    fn keep(&mut self, records: Vec<Record>, tell: &impl Fn()) -> bool {
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() || !self.batch.is_empty() {
            while self.batch.bytes() < BATCH_BYTES
                && let Some(record) = records.next()
            {
                let age = self.log.ages().now();
                let _ = self.batch.push(|out| {
                    record::encode(&record, age, out);
                });
            }
            while let Err(error) = self.log.commit(&mut self.batch) {
                let has_told = self.desk.failure().is_some();
                if !has_told {
                    self.desk.lock().failure = Some(Arc::new(error));
                    tell();
                    continue;
                }
                if !self.desk.wait_to_retry(error) {
                    return false;
                }
            }
        }
        true
    }

    /// Throws away what is over.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let mut story = Story::default();
        self.log.records(|record| story.read(record.bytes))?;
        let age = self.log.ages().now();
        let live = compact(&self.settings, story.into_facts(age)).into_iter().map(Ok);
        let heard = self.heard.map(Err);
        self.log.rewrite(heard.into_iter().chain(live), |kept, out| match kept {
            Ok(record) => {
                record::encode(record, age, out);
            }
            Err(heard) => record::encode_heard(*heard, out),
        })
    }

    /// Rewriting costs what lives, so it is worth it when as much again is dead.
    fn plan_rewrite(&mut self) {
        let lives = self.log.bytes();
        let bound = (self.bytes_max / 2).max(lives + lives / 4);
        self.rewrite_at = (2 * lives + REWRITE_BYTES_MIN).min(bound);
        let mut papers = self.desk.lock();
        papers.bytes = lives;
    }
}
