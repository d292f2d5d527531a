//! What a shard has kept: its records go to the store in order, and it hears how far the store is.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;

use noctule_broker_core::{Input, Record};
use noctule_store::{Appender, StoreError, broker};
use tokio::sync::Notify;
use tracing::{error, info};

use crate::shard::{Connection, ShardDriver, SharedDriver};

/// A shard's way to the store.
pub(crate) struct Keeper {
    appender: Appender,
    /// Rung by the store's thread when more is durable, or when the disk begins or ceases to fail.
    bell: Arc<Notify>,
    /// Records that found no room, in order. While there are any, nothing is read from clients.
    waiting: VecDeque<Record>,
    /// What is posted at the end of the turn: nothing, what may go along with others, or what
    /// somebody waits for.
    posting: Posting,
    is_in_trouble: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Posting {
    Nothing,
    Leisurely,
    Urgent,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Keeper")
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Keeper {
    pub(crate) fn new(appender: Appender, bell: Arc<Notify>) -> Self {
        let (waiting, posting) = (VecDeque::new(), Posting::Nothing);
        Self { appender, bell, waiting, posting, is_in_trouble: false }
    }

    /// Puts a record behind all earlier ones.
    fn keep(&mut self, record: Record, is_urgent: bool) {
        let posting = if is_urgent { Posting::Urgent } else { Posting::Leisurely };
        self.posting = self.posting.max(posting);
        if !self.waiting.is_empty() || !self.append(&record) {
            self.waiting.push_back(record);
        }
    }

    /// Whether there was room for it.
    fn append(&mut self, record: &Record) -> bool {
        match self.appender.append(|out| {
            // What the core can say, the store can keep.
            let _ = broker::encode(record, out);
        }) {
            Ok(_) => true,
            Err(StoreError::TooFarBehind { .. }) => false,
            // No packet is as large as what the log cannot hold.
            Err(error) => {
                error!(target: "noctule", %error, "a record cannot be kept");
                false
            }
        }
    }

    /// Appends what found no room before. Whether some of it finds none even now.
    fn catch_up(&mut self) -> bool {
        while let Some(record) = self.waiting.pop_front() {
            if !self.append(&record) {
                self.waiting.push_front(record);
                return true;
            }
            self.posting = Posting::Urgent;
        }
        false
    }

    fn post(&mut self) {
        match mem::replace(&mut self.posting, Posting::Nothing) {
            Posting::Nothing => {}
            Posting::Leisurely => self.appender.post_lazily(),
            Posting::Urgent => self.appender.post(),
        }
    }

    /// Says once that the disk fails, and once that it does no more.
    fn tell_trouble(&mut self) {
        match self.appender.trouble() {
            Some(trouble) if !self.is_in_trouble => {
                self.is_in_trouble = true;
                error!(target: "noctule", error = %trouble, "the store cannot keep anything now: \
                    what must be kept is not acknowledged until it can");
            }
            None if self.is_in_trouble => {
                self.is_in_trouble = false;
                info!(target: "noctule", "the store keeps everything again");
            }
            Some(_) | None => {}
        }
    }
}

impl ShardDriver {
    /// Keeps a record; it is on its way at the end of the turn.
    pub(crate) fn keep(&mut self, record: Record, is_urgent: bool) {
        if let Some(keeper) = &mut self.keeper {
            keeper.keep(record, is_urgent);
            self.signals().flush.raise();
        }
    }

    /// Whether clients have to wait because the store does not keep up.
    pub(crate) fn is_choked(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| !keeper.waiting.is_empty())
    }

    /// Ends a turn: what it has kept goes to the store.
    pub(crate) fn post_records(&mut self) {
        if self.keeper.is_none() {
            return;
        }
        self.shard.record_acknowledgements(&mut self.effects);
        self.carry_out_effects(self.now());
        if let Some(keeper) = &mut self.keeper {
            keeper.post();
        }
    }

    /// More of it is durable.
    fn on_durable(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        let records = keeper.appender.durable().0;
        keeper.tell_trouble();
        let was_choked = !keeper.waiting.is_empty();
        let is_choked = keeper.catch_up();
        keeper.post();
        let _ = self.input(Input::Persisted { records });
        if was_choked && !is_choked {
            for connection in self.connections.iter() {
                if let Connection::Socket(socket) = connection {
                    socket.wake_task();
                }
            }
        }
    }
}

/// Lets the shard know how far the store is.
pub(crate) async fn keep_loop(driver: SharedDriver) {
    let bell = driver.borrow().keeper.as_ref().map(|keeper| Arc::clone(&keeper.bell));
    let Some(bell) = bell else { return };
    loop {
        bell.notified().await;
        driver.borrow_mut().on_durable();
    }
}
