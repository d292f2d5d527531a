//! How anything reaches another shard. During a turn, what is for other shards is collected by
//! destination, and goes to the destination's inbox at the end of the turn, or earlier when there
//! is much of it: so with one wake-up for many letters, and none if the thread there is awake. That
//! thread gives them to its shard, a turn's share at a time. What one shard sends to another
//! arrives in order.
//!
//! There is no bound here: the shards lend each other credits for publications, and everything else
//! answers something or is a connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::vec;

use noctule_broker_core::{Input, ShardId, ShardMessage};
use tokio::task::yield_now;

use crate::shard::{ShardDriver, SharedDriver};
use crate::stream::DetachedStream;
use crate::task::step_aside;
use crate::transit::Arrival;

/// This many letters for one shard do not wait for the end of the turn.
const BATCH_LETTERS_MAX: usize = 256;

/// What one turn takes out of an inbox; the thread's own connections come next.
const TURN_LETTERS_MAX: usize = 4_096;
const TURN_TIME_MAX: Duration = Duration::from_millis(2);

/// So many letters are read at one time of the clock.
const CLOCK_LETTERS: usize = 16;

/// What goes from one shard's thread to another's.
#[derive(Debug)]
pub(crate) enum Letter {
    /// What a shard says to another.
    Message { from: ShardId, message: ShardMessage },
    /// A socket that is to be served there.
    Arrival(Box<Arrival<DetachedStream>>),
}

/// Letters that went into an inbox together.
type Batch = Vec<Letter>;

/// Where a shard's thread finds what others have for it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    batches: VecDeque<Batch>,
    /// Whom to wake; nobody while the reader knows already that something is there.
    reader: Option<Waker>,
}

impl Inbox {
    /// Puts a batch behind what waits already.
    fn put(&self, batch: Batch) {
        let reader = {
            let mut contents = self.lock();
            contents.batches.push_back(batch);
            contents.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ready when all that waits has been moved into `batches`, which is empty.
    fn poll_take(&self, batches: &mut VecDeque<Batch>, context: &Context<'_>) -> Poll<()> {
        let mut contents = self.lock();
        if contents.batches.is_empty() {
            contents.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        mem::swap(&mut contents.batches, batches);
        Poll::Ready(())
    }

    fn is_empty(&self) -> bool {
        self.lock().batches.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // Nobody can panic halfway through a change.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One shard's mail in both directions.
#[derive(Debug)]
pub(crate) struct Mail {
    shard: ShardId,
    /// The inboxes of all shards, its own among them.
    inboxes: Arc<[Inbox]>,
    /// What this turn has for each shard.
    outgoing: Box<[Batch]>,
    /// The shards that it has something for.
    destinations: Vec<ShardId>,
    /// Whether some of that came since the last input, and whether some must go with this turn.
    is_fresh: bool,
    is_due: bool,
    /// What was taken out of the inbox and not looked at.
    arrived: VecDeque<Batch>,
    /// The batch before those.
    reading: vec::IntoIter<Letter>,
}

impl Mail {
    /// The mail of one of the shards that these inboxes belong to.
    pub(crate) fn new(shard: ShardId, inboxes: Arc<[Inbox]>) -> Self {
        Self {
            shard,
            outgoing: inboxes.iter().map(|_| Batch::new()).collect(),
            inboxes,
            destinations: Vec::new(),
            is_fresh: false,
            is_due: false,
            arrived: VecDeque::new(),
            reading: Batch::new().into_iter(),
        }
    }

    /// The inboxes of so many shards.
    pub(crate) fn inboxes(shards: u16) -> Arc<[Inbox]> {
        (0..shards).map(|_| Inbox::default()).collect()
    }

    /// Whose mail it is.
    pub(crate) const fn shard(&self) -> ShardId {
        self.shard
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> u16 {
        u16::try_from(self.inboxes.len()).unwrap_or(u16::MAX)
    }

    /// Puts a letter into the batch for a shard. Whether that is full.
    fn add(&mut self, to: ShardId, letter: Letter) -> bool {
        let Some(batch) = self.outgoing.get_mut(usize::from(to.0)) else { return false };
        batch.push(letter);
        self.is_fresh = true;
        if batch.len() == 1 {
            self.destinations.push(to);
        }
        batch.len() >= BATCH_LETTERS_MAX
    }

    /// Says whether what an input has just collected may wait for the turns that follow at once.
    pub(crate) fn note_input(&mut self, may_wait: bool) {
        self.is_due |= mem::take(&mut self.is_fresh) && !may_wait;
    }

    /// Whether something was collected that must not wait.
    pub(crate) const fn is_due(&self) -> bool {
        self.is_due
    }

    /// Hands over everything that was collected.
    pub(crate) fn post(&mut self) {
        self.is_due = false;
        while let Some(to) = self.destinations.pop() {
            self.hand_over(to);
        }
    }

    fn hand_over(&mut self, to: ShardId) {
        let index = usize::from(to.0);
        let batch = self.outgoing.get_mut(index).map(mem::take).unwrap_or_default();
        if let Some(inbox) = self.inboxes.get(index)
            && !batch.is_empty()
        {
            inbox.put(batch);
        }
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.inboxes.get(usize::from(self.shard.0))
    }

    /// Whether anything has come that was not dealt with.
    pub(crate) fn has_arrived(&self) -> bool {
        self.is_reading() || !self.inbox().is_none_or(Inbox::is_empty)
    }

    /// Whether some of what was taken out of the inbox waits for another turn.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading.len() > 0 || !self.arrived.is_empty()
    }

    /// Ready when there is something to deal with.
    fn poll_arrived(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.is_reading() {
            return Poll::Ready(());
        }
        match self.inboxes.get(usize::from(self.shard.0)) {
            Some(inbox) => inbox.poll_take(&mut self.arrived, context),
            None => Poll::Pending,
        }
    }

    /// The next of what has arrived.
    fn next_letter(&mut self) -> Option<Letter> {
        if let Some(letter) = self.reading.next() {
            return Some(letter);
        }
        self.reading = self.arrived.pop_front()?.into_iter();
        self.reading.next()
    }
}

impl ShardDriver {
    /// Sends a letter, at the latest when what the same input had for clients here is written.
    pub(crate) fn send_letter(&mut self, to: ShardId, letter: Letter) {
        if self.mail.add(to, letter) {
            // Records go before letters that tell of them.
            self.post_kept();
            self.mail.hand_over(to);
        }
        self.signals().flush.raise();
    }

    /// Deals with what has come, as far as a turn's share goes.
    fn read_letters(&mut self) {
        let start = self.now();
        let mut now = start;
        for count in 1..=TURN_LETTERS_MAX {
            match self.mail.next_letter() {
                Some(Letter::Message { from, message }) => {
                    let _ = self.input_at(now, Input::FromShard { from, message });
                }
                Some(Letter::Arrival(arrival)) => self.on_arrival(*arrival),
                None => return,
            }
            if count % CLOCK_LETTERS == 0 {
                now = self.now();
                if now.since(start) > TURN_TIME_MAX {
                    return;
                }
            }
        }
    }
}

/// Reads what other shards send, and lets others run between the turns. However fast more of it
/// comes, the thread's own sockets are looked at after a turn's time.
pub(crate) async fn inbox_loop(driver: SharedDriver) {
    let mut looked = driver.borrow().now();
    loop {
        poll_fn(|context| driver.borrow_mut().mail.poll_arrived(context)).await;
        driver.borrow_mut().read_letters();
        if driver.borrow().now().since(looked) > TURN_TIME_MAX {
            yield_now().await;
            looked = driver.borrow().now();
        } else {
            step_aside().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use noctule_broker_core::ListenerId;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicU32);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_may_wait_goes_with_the_first_that_must_not() {
        let mut mail = Mail::new(ShardId(0), Mail::inboxes(2));
        let letter = || {
            let stream = DetachedStream::Unix(UnixStream::pair().unwrap().0);
            Letter::Arrival(Box::new(Arrival::new(stream, "somebody".into(), ListenerId(0))))
        };
        mail.note_input(false);
        assert!(!mail.is_due(), "there is nothing");
        mail.add(ShardId(1), letter());
        mail.note_input(true);
        mail.note_input(false);
        assert!(!mail.is_due(), "an input without letters changes nothing");
        mail.add(ShardId(1), letter());
        mail.note_input(false);
        mail.note_input(true);
        assert!(mail.is_due());
        mail.post();
        assert!(!mail.is_due());
        let waiting = mail.inboxes[1].lock().batches.pop_front();
        assert_eq!(waiting.map(|batch| batch.len()), Some(2));
    }

    #[test]
    fn a_reader_is_woken_once_until_it_has_read_everything() {
        let wakes = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let context = Context::from_waker(&waker);
        let (inbox, mut batches) = (Inbox::default(), VecDeque::new());
        for round in 1..=3 {
            assert!(inbox.poll_take(&mut batches, &context).is_pending());
            for _ in 0..10 {
                inbox.put(Batch::new());
            }
            assert_eq!(wakes.0.load(Ordering::Relaxed), round);
            assert!(inbox.poll_take(&mut batches, &context).is_ready());
            // It is awake, so that it needs no other wake-up for this one.
            inbox.put(Batch::new());
            assert_eq!(wakes.0.load(Ordering::Relaxed), round);
            assert_eq!(batches.drain(..).len(), 10);
            assert!(inbox.poll_take(&mut batches, &context).is_ready());
            assert_eq!(batches.drain(..).len(), 1);
        }
    }
}
