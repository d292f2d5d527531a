//! Long queues: shards ask for parts of them, which a thread reads for all, and hear which messages
//! are where they may stay and need not be in memory any more.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use noctule_broker_core::{Input, ShardId, StoredMessage};
use noctule_store::broker::Queues;
use noctule_store::{SliceLimits, StoreError};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tracing::{error, info};

use crate::checkpoints::Wishes;
use crate::shard::{ShardDriver, SharedDriver};
use crate::storage::ends;

/// How many messages are read at a time at most, however small they are.
const MESSAGES_MAX: usize = 1_024;

/// What cannot be read now is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// A shard hears of so many queues before it does something else.
const QUEUES_A_TURN: usize = 256;

/// Of each session the last place in its queue that was spilled.
pub(crate) type Spilled = Vec<(u64, u64)>;

/// What a shard has to hear.
#[derive(Debug)]
enum News {
    Read {
        session: u64,
        from: u64,
        messages: Vec<StoredMessage>,
        next: Option<u64>,
    },
    Spilled(Arc<Spilled>),
    /// The log is emptied. So many shards have not heard what was spilled.
    Emptied(Arc<AtomicUsize>),
    AllEmptied,
}

/// Where the news for one shard waits.
#[derive(Debug, Default)]
struct Postbox {
    news: Mutex<VecDeque<News>>,
    bell: Notify,
}

impl Postbox {
    fn news(&self) -> MutexGuard<'_, VecDeque<News>> {
        // Nobody can panic halfway through a change.
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, news: News) {
        self.news().push_back(news);
        self.bell.notify_one();
    }
}

/// The news of all shards.
#[derive(Clone, Debug)]
pub(crate) struct Postboxes(Arc<[Postbox]>);

impl Postboxes {
    pub(crate) fn new(shards: u16) -> Self {
        Self((0..shards).map(|_| Postbox::default()).collect())
    }

    /// Lets all shards know what was spilled: whose sessions these are, each knows for itself.
    pub(crate) fn tell_spilled(&self, spilled: Spilled) {
        if spilled.is_empty() {
            return;
        }
        let spilled = Arc::new(spilled);
        self.0.iter().for_each(|postbox| postbox.put(News::Spilled(Arc::clone(&spilled))));
    }

    /// Lets all shards know that the log is emptied, when the last one knows what was spilled: the
    /// memory that is free then is everybody's.
    pub(crate) fn tell_emptied(&self) {
        let missing = Arc::new(AtomicUsize::new(self.0.len()));
        self.0.iter().for_each(|postbox| postbox.put(News::Emptied(Arc::clone(&missing))));
    }

    fn note_emptied(&self, missing: &AtomicUsize) {
        if missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.iter().for_each(|postbox| postbox.put(News::AllEmptied));
        }
    }
}

/// What a shard asks for.
#[derive(Clone, Copy, Debug)]
struct Request {
    shard: ShardId,
    session: u64,
    from: u64,
    limits: SliceLimits,
}

#[derive(Debug)]
enum Order {
    Read(Request),
    Stop,
}

/// The thread that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
}

impl Reader {
    pub(crate) fn start(queues: Queues, postboxes: Postboxes) -> io::Result<Self> {
        let (orders, requests) = mpsc::channel();
        let reading = Reading { queues, postboxes, again: VecDeque::new(), is_failing: false };
        let work = move || reading.work(&requests);
        let thread = Builder::new().name("noctule-read".into()).spawn(work)?;
        Ok(Self { orders, thread })
    }

    /// A shard's way to it, and to the thread that empties the log.
    pub(crate) fn door(
        &self,
        shard: ShardId,
        postboxes: &Postboxes,
        checkpoints: &Wishes,
    ) -> Backlogs {
        let (orders, postboxes) = (self.orders.clone(), postboxes.clone());
        Backlogs { shard, orders, postboxes, checkpoints: checkpoints.clone() }
    }

    /// Ends the thread, unless the disk keeps it for longer than this. Whether it has ended.
    pub(crate) fn stop(self, until: Instant) -> bool {
        // If it is gone, it has panicked.
        let _ = self.orders.send(Order::Stop);
        if !ends(|| self.thread.is_finished(), until) {
            return false;
        }
        if self.thread.join().is_err() {
            error!(target: "noctule", "the thread that reads queues has panicked");
        }
        true
    }
}

struct Reading {
    queues: Queues,
    postboxes: Postboxes,
    /// What could not be read, and when it is tried again.
    again: VecDeque<(Instant, Request)>,
    is_failing: bool,
}

impl Reading {
    fn work(mut self, orders: &Receiver<Order>) {
        loop {
            let wait =
                self.again.front().map(|(at, _)| at.saturating_duration_since(Instant::now()));
            let order = match wait {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => orders.recv_timeout(wait),
            };
            match order {
                Ok(Order::Read(request)) => self.read(request),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.again.front().is_some_and(|(at, _)| *at <= Instant::now())
                && let Some((_, request)) = self.again.pop_front()
            {
                self.read(request);
            }
        }
    }

    fn read(&mut self, request: Request) {
        let Request { shard, session, from, limits } = request;
        let slice = match self.queues.read(session, from, &limits) {
            Ok(slice) => slice,
            Err(error) => return self.try_again(request, &error),
        };
        if mem::take(&mut self.is_failing) {
            info!(target: "noctule", "messages that wait on disk can be read again");
        }
        for reason in &slice.unreadable {
            error!(target: "noctule", session, reason, "messages that waited on disk are lost");
        }
        let next = slice.has_more.then_some(slice.next);
        let news = News::Read { session, from, messages: slice.messages, next };
        if let Some(postbox) = self.postboxes.0.get(usize::from(shard.0)) {
            postbox.put(news);
        }
    }

    fn try_again(&mut self, request: Request, error: &StoreError) {
        if !mem::replace(&mut self.is_failing, true) {
            error!(target: "noctule", %error, "messages that wait on disk cannot be read now: \
                their clients wait until they can");
        }
        self.again.push_back((Instant::now() + RETRY, request));
    }
}

/// A shard's side of it.
#[derive(Debug)]
pub(crate) struct Backlogs {
    shard: ShardId,
    orders: Sender<Order>,
    postboxes: Postboxes,
    pub(crate) checkpoints: Wishes,
}

impl Backlogs {
    fn read(&self, session: u64, from: u64, bytes_max: u64) {
        let bytes = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let limits = SliceLimits { messages: MESSAGES_MAX, bytes };
        let request = Request { shard: self.shard, session, from, limits };
        // If the thread is gone, it has panicked, and said so.
        let _ = self.orders.send(Order::Read(request));
    }
}

impl ShardDriver {
    /// Empties the log; the shard hears of it when that is done.
    pub(crate) fn empty_log(&self) {
        if let Some(backlogs) = &self.backlogs {
            backlogs.checkpoints.hurry();
        }
    }

    /// Reads a part of a queue; the shard hears of it when that is done.
    pub(crate) fn read_queue(&self, session: u64, from: u64, bytes_max: u64) {
        if let Some(backlogs) = &self.backlogs {
            backlogs.read(session, from, bytes_max);
        }
    }
}

/// Lets the shard know what was read, and what was spilled.
pub(crate) async fn backlog_loop(driver: SharedDriver) {
    let found =
        driver.borrow().backlogs.as_ref().map(|found| (found.shard, found.postboxes.clone()));
    let Some((shard, postboxes)) = found else { return };
    let Some(postbox) = postboxes.0.get(usize::from(shard.0)) else { return };
    loop {
        postbox.bell.notified().await;
        // What comes meanwhile rings again.
        let news = mem::take(&mut *postbox.news());
        for news in news {
            match news {
                News::Read { session, from, messages, next } => {
                    let read = Input::QueueRead { session, from, messages, next };
                    let _ = driver.borrow_mut().input(read);
                    yield_now().await;
                }
                News::Emptied(missing) => postboxes.note_emptied(&missing),
                News::AllEmptied => drop(driver.borrow_mut().input(Input::LogEmptied)),
                News::Spilled(spilled) => {
                    for some in spilled.chunks(QUEUES_A_TURN) {
                        for (session, up_to) in some.iter().copied() {
                            let _ = driver.borrow_mut().input(Input::Spilled { session, up_to });
                        }
                        yield_now().await;
                    }
                }
            }
        }
    }
}
