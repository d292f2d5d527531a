//! What a shard has kept: its records go to the store in order, and it hears how far the store is.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;

use noctule_broker_core::{Input, QueuedRun, Record};
use noctule_store::{Appender, StoreError, StoreStatus, broker};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::shard::{ShardDriver, SharedDriver};

/// A shard's way to the store.
pub(crate) struct Keeper {
    appender: Appender,
    /// Rung by the store's thread when more is durable, or when the disk begins or ceases to fail.
    bell: Arc<Notify>,
    /// Records that found no room, in order.
    waiting: VecDeque<Record>,
    /// What the shard knows about that.
    has_room: bool,
    /// What is posted at the end of the turn at the latest: nothing, what may go along with others,
    /// or what somebody waits for.
    posting: Posting,
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
        Self { appender, bell, waiting, has_room: true, posting }
    }

    /// Puts a record behind all earlier ones.
    fn keep(&mut self, record: &Record, is_urgent: bool) {
        let posting = if is_urgent { Posting::Urgent } else { Posting::Leisurely };
        self.posting = self.posting.max(posting);
        if !self.waiting.is_empty() || !self.append_record(record) {
            self.waiting.push_back(record.clone());
        }
    }

    /// The same for a run, whose bytes stay where they are if there is room.
    fn keep_run(&mut self, run: &QueuedRun<&[u8]>) {
        self.posting = Posting::Urgent;
        if !self.waiting.is_empty() || !self.append(|out| broker::encode_run(run, out)) {
            self.waiting.push_back(Record::QueuedRun(run.to_owned()));
        }
    }

    fn append_record(&mut self, record: &Record) -> bool {
        self.append(|out| {
            // What the core can say, the store can keep.
            let _ = broker::encode(record, out);
        })
    }

    /// Whether there was room for it.
    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        match self.appender.append(write) {
            Ok(_) => true,
            Err(StoreError::TooFarBehind { .. }) => false,
            // No packet is as large as what the log cannot hold.
            Err(error) => {
                error!(target: "noctule", %error, "a record cannot be kept");
                false
            }
        }
    }

    /// Appends what found no room before, as far as it finds some now.
    fn catch_up(&mut self) {
        while let Some(record) = self.waiting.pop_front() {
            if !self.append_record(&record) {
                self.waiting.push_front(record);
                return;
            }
            self.posting = Posting::Urgent;
        }
    }

    fn post(&mut self) {
        match mem::replace(&mut self.posting, Posting::Nothing) {
            Posting::Nothing => {}
            Posting::Leisurely => self.appender.post_lazily(),
            Posting::Urgent => self.appender.post(),
        }
    }

    /// Whether the store takes more.
    fn finds_room(&self) -> bool {
        self.waiting.is_empty() && self.appender.has_room(self.has_room)
    }
}

impl ShardDriver {
    /// Keeps a record; it is on its way at the end of the turn, or before if the disk is idle.
    pub(crate) fn keep(&mut self, record: &Record, is_urgent: bool) {
        self.keep_with(is_urgent, |keeper| keeper.keep(record, is_urgent));
    }

    /// The same with messages that were just read.
    pub(crate) fn keep_run(&mut self, run: &QueuedRun<&[u8]>) {
        self.keep_with(true, |keeper| keeper.keep_run(run));
    }

    fn keep_with(&mut self, is_urgent: bool, keep: impl FnOnce(&mut Keeper)) {
        if let Some(keeper) = &mut self.keeper {
            keep(keeper);
            if is_urgent && keeper.appender.is_awaited() {
                keeper.post();
            }
            self.signals().flush.raise();
        }
    }

    /// Ends a turn: what it has kept goes to the store.
    pub(crate) fn post_records(&mut self) {
        if self.keeper.is_none() {
            return;
        }
        self.shard.record_acknowledgements(&mut self.effects);
        self.carry_out_effects(self.now(), &[]);
        self.post_kept();
        self.note_store_room();
    }

    /// Sends what was kept so far to the store.
    pub(crate) fn post_kept(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            keeper.post();
        }
    }

    /// How the store is doing, if there is one.
    pub(crate) fn store_status(&self) -> Option<StoreStatus> {
        let mut status = self.keeper.as_ref().map(|keeper| keeper.appender.status());
        if let Some((status, backlogs)) = status.as_mut().zip(self.backlogs.as_ref()) {
            backlogs.checkpoints.counts().tell(status);
        }
        status
    }

    /// More of it is durable.
    fn on_durable(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        let records = keeper.appender.durable().0;
        keeper.catch_up();
        keeper.post();
        let _ = self.input(Input::Persisted { records });
        self.note_store_room();
    }

    /// Lets the shard know whether the store takes more, if that is news.
    fn note_store_room(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        let has_room = keeper.finds_room();
        if mem::replace(&mut keeper.has_room, has_room) == has_room {
            return;
        }
        let waiting_bytes = keeper.appender.waiting_bytes();
        let shard = self.mail.shard().0;
        if has_room {
            info!(target: "noctule", shard, waiting_bytes, "the store takes more again");
        } else {
            warn!(target: "noctule", shard, waiting_bytes, "too much waits for the disk: \
                clients that want something kept wait until it has taken some of it");
        }
        let _ = self.input(Input::StoreRoom { has_room });
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

#[cfg(test)]
#[path = "keeping_tests.rs"]
mod tests;
