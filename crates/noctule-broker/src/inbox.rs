//! How anything reaches another shard. During a turn, what is for other shards is collected by
//! destination; at its end each batch goes to the destination's inbox, in one piece and with at
//! most one wake-up. The thread there takes the whole batch and gives it to its shard, a turn's
//! share at a time. So what one shard sends to another arrives in order.
//!
//! There is no bound here: the shards lend each other credits for publications, and everything else
//! answers something or is a connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use noctule_broker_core::{Input, ShardId, ShardMessage};

use crate::shard::{ShardDriver, SharedDriver};
use crate::stream::DetachedStream;
use crate::task::step_aside;
use crate::transit::Arrival;

/// What one turn takes out of an inbox; the thread's own connections come next.
const TURN_LETTERS_MAX: usize = 4_096;
const TURN_TIME_MAX: Duration = Duration::from_millis(2);

/// Room for more letters than this is not kept once they are gone.
const ROOM_KEPT_LETTERS: usize = 4_096;

/// What goes from one shard's thread to another's.
#[derive(Debug)]
pub(crate) enum Letter {
    /// What a shard says to another.
    Message { from: ShardId, message: ShardMessage },
    /// A socket that is to be served there.
    Arrival(Box<Arrival<DetachedStream>>),
}

type Letters = VecDeque<Letter>;

/// Where a shard's thread finds what others have for it.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    letters: Letters,
    /// Whom to wake; nobody while the reader knows already that something is there.
    reader: Option<Waker>,
}

impl Inbox {
    /// Puts a batch behind what waits already.
    fn put(&self, batch: &mut Letters) {
        let reader = {
            let mut contents = self.lock();
            if contents.letters.is_empty() {
                mem::swap(&mut contents.letters, batch);
            } else {
                contents.letters.append(batch);
            }
            contents.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Ready when all that waits has been moved into `letters`, which is empty.
    fn poll_take(&self, letters: &mut Letters, context: &Context<'_>) -> Poll<()> {
        let mut contents = self.lock();
        if contents.letters.is_empty() {
            contents.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        mem::swap(&mut contents.letters, letters);
        Poll::Ready(())
    }

    fn is_empty(&self) -> bool {
        self.lock().letters.is_empty()
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
    outgoing: Box<[Letters]>,
    /// The shards that it has something for.
    destinations: Vec<ShardId>,
    /// What was taken out of the inbox and not dealt with.
    arrived: Letters,
}

impl Mail {
    /// The mail of one of the shards that these inboxes belong to.
    pub(crate) fn new(shard: ShardId, inboxes: Arc<[Inbox]>) -> Self {
        Self {
            shard,
            outgoing: inboxes.iter().map(|_| Letters::new()).collect(),
            inboxes,
            destinations: Vec::new(),
            arrived: Letters::new(),
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

    /// Puts a letter into the batch that leaves at the end of the turn.
    fn add(&mut self, to: ShardId, letter: Letter) {
        let Some(batch) = self.outgoing.get_mut(usize::from(to.0)) else { return };
        if batch.is_empty() {
            self.destinations.push(to);
        }
        batch.push_back(letter);
    }

    /// Hands over what the turn has collected.
    pub(crate) fn post(&mut self) {
        for to in self.destinations.drain(..) {
            let index = usize::from(to.0);
            if let (Some(inbox), Some(batch)) =
                (self.inboxes.get(index), self.outgoing.get_mut(index))
            {
                inbox.put(batch);
            }
        }
    }

    /// Whether anything has come that was not dealt with.
    pub(crate) fn has_arrived(&self) -> bool {
        !self.arrived.is_empty() || !self.inbox().is_some_and(Inbox::is_empty)
    }

    fn inbox(&self) -> Option<&Inbox> {
        self.inboxes.get(usize::from(self.shard.0))
    }

    /// Ready when there is something to deal with.
    fn poll_arrived(&mut self, context: &Context<'_>) -> Poll<()> {
        if !self.arrived.is_empty() {
            return Poll::Ready(());
        }
        if self.arrived.capacity() > ROOM_KEPT_LETTERS {
            self.arrived = Letters::new();
        }
        match self.inboxes.get(usize::from(self.shard.0)) {
            Some(inbox) => inbox.poll_take(&mut self.arrived, context),
            None => Poll::Pending,
        }
    }
}

impl ShardDriver {
    /// Sends a letter at the end of this turn.
    pub(crate) fn send_letter(&mut self, to: ShardId, letter: Letter) {
        self.mail.add(to, letter);
        self.signals().flush.raise();
    }

    /// Deals with what has come, as far as a turn's share goes.
    fn read_letters(&mut self) {
        let end = Instant::now() + TURN_TIME_MAX;
        for _ in 0..TURN_LETTERS_MAX {
            match self.mail.arrived.pop_front() {
                Some(Letter::Message { from, message }) => {
                    let _ = self.input(Input::FromShard { from, message });
                }
                Some(Letter::Arrival(arrival)) => self.on_arrival(*arrival),
                None => return,
            }
            if Instant::now() >= end {
                return;
            }
        }
    }
}

/// Reads what other shards send, and lets others run between the turns.
pub(crate) async fn inbox_loop(driver: SharedDriver) {
    loop {
        poll_fn(|context| driver.borrow_mut().mail.poll_arrived(context)).await;
        driver.borrow_mut().read_letters();
        step_aside().await;
    }
}
