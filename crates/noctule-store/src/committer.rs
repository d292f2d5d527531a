//! Group commit: many threads append, each to a batch of its own; one thread gathers what all of
//! them have posted into one frame, writes and syncs it, and says how far each is durable. What
//! comes during a sync is the next frame, so that the slower the disk, the more goes with one sync.
//!
//! All batches are taken at one moment. So what one thread posted before it told another cannot be
//! lost when that what the other one posted thereupon is not.

use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::frame::Batch;
use crate::log::Log;
use crate::status::{Counters, StoreStatus};
use crate::upkeep::Helper;
use crate::view::LogView;

/// After a failure the same is tried again, in a new segment, after so long, and then after twice
/// as long each time.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What rides along waits no longer than this for something to ride along with.
const RIDE_MAX: Duration = Duration::from_millis(50);

/// With less it is not worth while to begin a commit before a turn is over, and with so much it
/// always is.
const EARLY_BYTES_MIN: usize = 8 * 1_024;
const EARLY_BYTES_MAX: usize = 128 * 1_024;

/// No batch has so much.
const NOT_AWAITED: usize = usize::MAX;

/// What all appenders may have waiting together; a frame's length has four bytes.
const WAITING_BYTES_MAX: u64 = 1 << 31;

/// Called when more of what an appender has posted is durable, and when the disk begins or ceases
/// to fail. On the committer's thread: it wakes whoever waits, and does nothing else.
pub type Wake = Box<dyn Fn() + Send>;

/// Where in its own sequence of records an appender is: the first is 1, and 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// The thread that makes durable what others append.
#[derive(Debug)]
pub struct Committer {
    shared: Arc<Shared>,
    thread: JoinHandle<(Log, Result<(), StoreError>)>,
}

/// One thread's way into the log.
#[derive(Debug)]
pub struct Appender {
    shared: Arc<Shared>,
    index: usize,
    batch: Batch,
    appended: Extent,
}

/// So many records, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    records: u64,
    bytes: u64,
}

impl Extent {
    fn of(batch: &Batch) -> Self {
        Self { records: batch.len().into(), bytes: batch.record_bytes() as u64 }
    }
}

#[derive(Debug, Default)]
struct Durable {
    records: AtomicU64,
    bytes: AtomicU64,
}

struct Shared {
    desk: Mutex<Desk>,
    work: Condvar,
    durable: Box<[Durable]>,
    trouble: Mutex<Option<Arc<StoreError>>>,
    waiting_bytes_max: u64,
    /// What all appenders together have posted and is not durable.
    waiting_bytes: AtomicU64,
    /// Whether the log has grown to its bound.
    is_long: AtomicBool,
    /// From how many bytes on a commit would begin at once and be worth its price. None are
    /// [awaited](NOT_AWAITED) unless the committer waits, and nothing is there that anybody waits
    /// for.
    awaited_bytes: AtomicUsize,
    counters: Counters,
    view: LogView,
}

/// Where the appenders leave what they have.
struct Desk {
    posted: Box<[Batch]>,
    /// Whether nothing of it is waited for; something may ride along.
    is_empty: bool,
    rides_along: bool,
    /// Whether the committer sleeps until it is woken.
    is_asleep: bool,
    /// From which segment on the log is needed, if that is news.
    trim_before: Option<u64>,
    /// Whether the segment that is written to is to end.
    seals: bool,
    is_stopping: bool,
}

impl Desk {
    fn is_idle(&self) -> bool {
        self.is_empty && self.trim_before.is_none() && !self.seals && !self.is_stopping
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("durable", &self.durable).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Committer {
    /// Starts the thread, with an appender for each of `wakes`. Each may have `waiting_bytes_max`
    /// bytes of records that are not durable; together they have no more than 2 GiB.
    ///
    /// # Errors
    ///
    /// If the system has no thread for it.
    pub fn start(
        log: Log,
        waiting_bytes_max: u64,
        wakes: Vec<Wake>,
    ) -> io::Result<(Self, Vec<Appender>)> {
        let count = wakes.len();
        let share = WAITING_BYTES_MAX / u64::try_from(count.max(1)).unwrap_or(u64::MAX);
        let posted = (0..count).map(|_| Batch::new()).collect();
        let shared = Arc::new(Shared {
            desk: Mutex::new(Desk {
                posted,
                is_empty: true,
                rides_along: false,
                is_asleep: false,
                trim_before: None,
                seals: false,
                is_stopping: false,
            }),
            work: Condvar::new(),
            durable: (0..count).map(|_| Durable::default()).collect(),
            trouble: Mutex::new(None),
            waiting_bytes_max: waiting_bytes_max.min(share),
            waiting_bytes: AtomicU64::new(0),
            is_long: AtomicBool::new(false),
            awaited_bytes: AtomicUsize::new(NOT_AWAITED),
            counters: Counters::new(),
            view: log.view(),
        });
        let appenders = (0..count).map(|index| Appender {
            shared: Arc::clone(&shared),
            index,
            batch: Batch::new(),
            appended: Extent::default(),
        });
        let appenders = appenders.collect();
        let helper = if log.settings.uses_again() { Some(Helper::start()?) } else { None };
        let round = Round::new(Arc::clone(&shared), wakes, helper);
        let thread = Builder::new().name("noctule-commit".into()).spawn(move || round.run(log))?;
        Ok((Self { shared, thread }, appenders))
    }

    /// Why nothing becomes durable now, if so. It goes on by itself when the disk does.
    pub fn trouble(&self) -> Option<Arc<StoreError>> {
        self.shared.trouble()
    }

    /// How the store is doing.
    pub fn status(&self) -> StoreStatus {
        self.shared.status()
    }

    /// What other threads see of the log: which segment is written to, and what is in the finished
    /// ones.
    pub fn view(&self) -> LogView {
        self.shared.view.clone()
    }

    /// Forgets all segments before this one, soon, as [`Log::trim`] does: that the log counts from
    /// there on is durable elsewhere already.
    pub fn trim(&self, before: u64) {
        let mut desk = lock(&self.shared.desk);
        desk.trim_before = desk.trim_before.max(Some(before));
        drop(desk);
        self.shared.work.notify_all();
    }

    /// Ends the segment that is written to, soon, as [`Log::seal`] does.
    pub fn seal(&self) {
        lock(&self.shared.desk).seals = true;
        self.shared.work.notify_all();
    }

    /// Begins to [`stop`](Self::stop), and does not wait for it.
    pub fn begin_stop(&self) {
        lock(&self.shared.desk).is_stopping = true;
        self.shared.work.notify_all();
    }

    /// Whether the thread has ended, so that [`stop`](Self::stop) waits for nothing. A disk that
    /// does not answer keeps it for as long.
    pub fn has_stopped(&self) -> bool {
        self.thread.is_finished()
    }

    /// Commits what was posted, and ends the thread. What comes later is lost.
    ///
    /// # Errors
    ///
    /// If that could not be committed; it is tried once more, but not again and again. Or if the
    /// disk syncs later and could not do so now.
    pub fn stop(self) -> Result<Log, StoreError> {
        self.begin_stop();
        match self.thread.join() {
            Ok((log, done)) => done.map(|()| log),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Shared {
    fn trouble(&self) -> Option<Arc<StoreError>> {
        lock(&self.trouble).clone()
    }

    fn status(&self) -> StoreStatus {
        let waiting_bytes = self.waiting_bytes.load(Ordering::Acquire);
        let log_bytes = self.view.bytes();
        StoreStatus { waiting_bytes, log_bytes, ..self.counters.status(self.trouble()) }
    }

    /// What may wait at most where there was too much: more would come and go all the time.
    fn waiting_bytes_low(&self) -> u64 {
        self.waiting_bytes_max / 2
    }
}

impl Appender {
    /// Appends a record, whose content `write` appends to what it is given. It begins to become
    /// durable when it is posted.
    ///
    /// # Errors
    ///
    /// If it is larger than any frame, or if so much waits for the disk already that it does not
    /// fit: then nothing is appended.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<Position, StoreError> {
        let waiting = self.waiting_bytes();
        if waiting >= self.shared.waiting_bytes_max {
            return Err(StoreError::TooFarBehind { bytes: waiting });
        }
        let before = self.batch.record_bytes();
        self.batch.push(write)?;
        self.appended.records += 1;
        self.appended.bytes += (self.batch.record_bytes() - before) as u64;
        Ok(Position(self.appended.records))
    }

    /// Hands over what was appended. Whoever tells another thread about it does this before.
    pub fn post(&mut self) {
        let wakes = self.hand_over(|desk| mem::take(&mut desk.is_empty));
        if wakes {
            self.shared.work.notify_one();
        }
    }

    /// Whether the disk has nothing to do, and so much was appended that it is better
    /// [posted](Self::post) now than with what is still to come: one part of a window is on its way
    /// to the disk then while the other one is worked on.
    pub fn is_awaited(&self) -> bool {
        self.batch.record_bytes() >= self.shared.awaited_bytes.load(Ordering::Relaxed)
    }

    /// Hands over what was appended and is not waited for: it rides along with the next commit, of
    /// whatever comes within 50 ms.
    pub fn post_lazily(&mut self) {
        let wakes = self.hand_over(|desk| {
            desk.rides_along = true;
            mem::take(&mut desk.is_asleep)
        });
        if wakes {
            self.shared.work.notify_one();
        }
    }

    fn hand_over(&mut self, tell: impl FnOnce(&mut Desk) -> bool) -> bool {
        if self.batch.is_empty() {
            return false;
        }
        let bytes = self.batch.record_bytes() as u64;
        let mut desk = lock(&self.shared.desk);
        self.shared.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        if let Some(posted) = desk.posted.get_mut(self.index) {
            posted.take_from(&mut self.batch);
        }
        let wakes = tell(&mut desk);
        if !desk.is_empty {
            self.shared.awaited_bytes.store(NOT_AWAITED, Ordering::Relaxed);
        }
        wakes
    }

    /// The segment that is written to. What is posted after this was asked goes to it or to one
    /// with a larger number.
    pub fn active_segment(&self) -> u64 {
        self.shared.view.active()
    }

    /// The last record that is durable, and with it all before.
    pub fn durable(&self) -> Position {
        Position(self.own().records.load(Ordering::Acquire))
    }

    /// The bytes of the records that are not.
    pub fn waiting_bytes(&self) -> u64 {
        self.appended.bytes - self.own().bytes.load(Ordering::Acquire)
    }

    /// Whether all appenders together have no more waiting than one of them may, and the log is
    /// not longer [than it may be](Log::limit). Once they had more, so that `had_room` is false,
    /// half of that has to become durable first; all are woken then.
    pub fn has_room(&self, had_room: bool) -> bool {
        if self.shared.is_long.load(Ordering::Acquire) {
            return false;
        }
        let waiting = self.shared.waiting_bytes.load(Ordering::Acquire);
        let Shared { waiting_bytes_max, .. } = *self.shared;
        waiting < if had_room { waiting_bytes_max } else { self.shared.waiting_bytes_low() }
    }

    /// Why nothing becomes durable now, if so.
    pub fn trouble(&self) -> Option<Arc<StoreError>> {
        self.shared.trouble()
    }

    /// How the store is doing.
    pub fn status(&self) -> StoreStatus {
        self.shared.status()
    }

    fn own(&self) -> &Durable {
        &self.shared.durable[self.index]
    }
}

/// What the committer's thread has in its hands.
struct Round {
    shared: Arc<Shared>,
    wakes: Vec<Wake>,
    /// Empty batches, to be exchanged for what was posted.
    taken: Vec<Batch>,
    /// The next frame, and what of each appender is in it.
    frame: Batch,
    extents: Vec<Extent>,
    /// The bytes of the last two frames.
    lately: [usize; 2],
    retry: Duration,
    helper: Option<Helper>,
}

impl Round {
    fn new(shared: Arc<Shared>, wakes: Vec<Wake>, helper: Option<Helper>) -> Self {
        let count = wakes.len();
        Self {
            shared,
            wakes,
            taken: (0..count).map(|_| Batch::new()).collect(),
            frame: Batch::new(),
            extents: vec![Extent::default(); count],
            lately: [0; 2],
            retry: RETRY_FIRST,
            helper,
        }
    }

    fn run(mut self, mut log: Log) -> (Log, Result<(), StoreError>) {
        let done = loop {
            let is_stopping = self.gather(&mut log);
            let is_done = self.frame.is_empty() && is_stopping;
            let committed = self.commit(&mut log);
            self.keep_up(&mut log);
            self.note_length(&log);
            match committed {
                Ok(()) if is_done => break Ok(()),
                Err(error) if is_stopping => break Err(error),
                Ok(()) => {}
                Err(error) => self.wait_for_better(error),
            }
        };
        if let Some(helper) = self.helper {
            helper.stop(&mut log);
        }
        // Also behind a failure: what was written before it was acknowledged, with such a disk.
        let synced = log.sync_late();
        (log, done.and(synced))
    }

    fn commit(&mut self, log: &mut Log) -> Result<(), StoreError> {
        if self.frame.is_empty() {
            return Ok(());
        }
        self.lately = [self.lately[1], self.frame.record_bytes()];
        self.shared.counters.begin();
        if let Some(helper) = self.helper.as_mut().filter(|_| !log.has_room(&self.frame)) {
            helper.hand_over(log);
        }
        let committed = log.commit(&mut self.frame);
        self.shared.counters.end();
        committed?;
        self.publish();
        Ok(())
    }

    /// From how many bytes on a commit is to begin. Clients that wait for answers send what they
    /// have in two parts then, one while the other one is on its way to the disk; parts of one size
    /// leave the disk the least time to wait.
    fn early_bytes(&self) -> usize {
        (self.lately.iter().sum::<usize>() / 2).clamp(EARLY_BYTES_MIN, EARLY_BYTES_MAX)
    }

    fn keep_up(&mut self, log: &mut Log) {
        match &mut self.helper {
            Some(helper) => helper.serve(log),
            None => log.keep_up(),
        }
    }

    /// Says whether the log is too long, if that is news.
    fn note_length(&self, log: &Log) {
        let was_long = self.shared.is_long.load(Ordering::Acquire);
        // Where it was too long, an eighth of it has to go: more would come and go all the time.
        let bytes_max = if was_long { log.bytes_max / 8 * 7 } else { log.bytes_max };
        let is_long = log.bytes() > bytes_max;
        if is_long != was_long {
            self.shared.is_long.store(is_long, Ordering::Release);
            self.wakes.iter().for_each(|wake| wake());
        }
    }

    /// Takes what all have posted, at one moment; waits for it if there is nothing to do. Whether
    /// nothing is to come after it.
    fn gather(&mut self, log: &mut Log) -> bool {
        let mut desk = lock(&self.shared.desk);
        // As long as something comes all the time, what rides along needs to wake nobody.
        let mut until = Instant::now() + RIDE_MAX;
        while desk.is_idle() && self.frame.is_empty() {
            self.shared.awaited_bytes.store(self.early_bytes(), Ordering::Relaxed);
            let left = until.saturating_duration_since(Instant::now());
            let work = &self.shared.work;
            if !left.is_zero() {
                desk = work.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner).0;
            } else if desk.rides_along {
                break;
            } else {
                desk.is_asleep = true;
                desk = work.wait(desk).unwrap_or_else(PoisonError::into_inner);
                desk.is_asleep = false;
                until = Instant::now() + RIDE_MAX;
            }
        }
        self.shared.awaited_bytes.store(NOT_AWAITED, Ordering::Relaxed);
        let trim_before = desk.trim_before.take();
        let seals = mem::take(&mut desk.seals);
        desk.rides_along = false;
        desk.is_empty = true;
        for (posted, taken) in desk.posted.iter_mut().zip(&mut self.taken) {
            mem::swap(posted, taken);
        }
        let is_stopping = desk.is_stopping;
        drop(desk);
        for (taken, extent) in self.taken.iter_mut().zip(&mut self.extents) {
            let more = Extent::of(taken);
            extent.records += more.records;
            extent.bytes += more.bytes;
            self.frame.take_from(taken);
        }
        log.trim_to(trim_before.unwrap_or(0));
        if seals {
            self.seal(log);
        }
        is_stopping
    }

    fn seal(&mut self, log: &mut Log) {
        if let Some(helper) = &mut self.helper {
            helper.hand_over(log);
        }
        // If that fails, so does the next commit, which tells it.
        let _ = log.seal();
    }

    /// Says that the frame is durable.
    fn publish(&mut self) {
        self.retry = RETRY_FIRST;
        let was_failing = lock(&self.shared.trouble).take().is_some();
        let (records, bytes) = (self.extents.iter())
            .fold((0, 0), |sum, extent| (sum.0 + extent.records, sum.1 + extent.bytes));
        self.shared.counters.note_durable(records, bytes);
        let low = self.shared.waiting_bytes_low();
        let waiting = self.shared.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let concerns_all = was_failing || (waiting >= low && waiting - bytes < low);
        let all = self.extents.iter_mut().zip(&self.shared.durable).zip(&self.wakes);
        for ((extent, durable), wake) in all {
            let Extent { records, bytes } = mem::take(extent);
            durable.bytes.fetch_add(bytes, Ordering::Release);
            durable.records.fetch_add(records, Ordering::Release);
            if records > 0 || concerns_all {
                wake();
            }
        }
    }

    /// Says that the disk fails, and gives it time; no longer than until it is to stop.
    fn wait_for_better(&mut self, error: StoreError) {
        self.shared.counters.note_failed();
        let had_failed = lock(&self.shared.trouble).replace(Arc::new(error)).is_some();
        if !had_failed {
            self.wakes.iter().for_each(|wake| wake());
        }
        let desk = lock(&self.shared.desk);
        let stops = |desk: &mut Desk| !desk.is_stopping;
        drop(self.shared.work.wait_timeout_while(desk, self.retry, stops));
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }
}
