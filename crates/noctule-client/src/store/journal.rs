//! What of a session is durable: the driver's side of the store.
//!
//! Facts come first, then bytes, then events. The driver asks before it tells anybody anything
//! ([`Journal::tellable`]), and keeps back what it has taken out of the session to be written until
//! the batch is durable that was handed over at that moment ([`Journal::is_kept`]).

use std::sync::Arc;
use std::task::{Poll, Waker};

use noctule_client_core::{ClientSession, OperationId, Record, enlist};
use noctule_store::{StoreError, Summary};

use crate::error::PublishError;
use crate::store::desk::Desk;
use crate::store::silence::Silence;

/// What of a session is durable.
#[derive(Debug)]
pub(crate) struct Journal {
    desk: Arc<Desk>,
    /// What was taken out of the session and not handed over.
    pending: Vec<Record>,
    /// How many batches were handed over.
    submitted: u64,
    /// How many of the session's events, which nobody was told since, depend on no later batch.
    covered: usize,
    /// The last message of the batch that is under way, and the last one that is durable.
    accepted: Option<OperationId>,
    durable: Option<OperationId>,
    waiters: Vec<Waker>,
    silence: Silence,
    bytes_max: u64,
    summary: Summary,
    /// Nothing is waited for any more.
    is_given_up: bool,
    /// Planted to see that the tests find it: bytes are written before the sync.
    #[cfg(test)]
    pub(crate) writes_early: bool,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.desk.end();
    }
}

/// Whether no event tells of what this record is about: it says what is about to happen, or what
/// only bytes wait for.
fn is_quiet(record: &Record) -> bool {
    matches!(
        record,
        Record::Accepted { .. }
            | Record::Transmitted { .. }
            | Record::Connecting
            | Record::Arrived { .. }
            | Record::Released { .. }
            | Record::Interrupted { .. }
            | Record::SubscriptionInterrupted { .. }
    )
}

impl Journal {
    pub(crate) fn new(desk: Arc<Desk>, bytes_max: u64, summary: Summary, silence: Silence) -> Self {
        Self {
            desk,
            pending: Vec::new(),
            submitted: 0,
            covered: 0,
            accepted: None,
            durable: None,
            waiters: Vec::new(),
            silence,
            bytes_max,
            summary,
            is_given_up: false,
            #[cfg(test)]
            writes_early: false,
        }
    }

    /// What was found when the store was opened.
    pub(crate) const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Whether a batch is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.is_given_up && self.desk.done() < self.submitted
    }

    /// The batch that is under way, or 0.
    pub(crate) fn batch(&self) -> u64 {
        if self.is_busy() { self.submitted } else { 0 }
    }

    /// Whether a batch is durable.
    pub(crate) fn is_kept(&self, batch: u64) -> bool {
        #[cfg(test)]
        if self.writes_early {
            return true;
        }
        self.desk.done() >= batch
    }

    fn take(&mut self, session: &mut ClientSession) {
        self.pending.append(&mut session.take_records());
    }

    /// How many of the session's events are told now, as no batch is under way: all of them if
    /// nothing has come up that they might depend on, and otherwise those that were there when the
    /// last batch was handed over. A user who does things all the time would keep the others from
    /// being told for as long.
    pub(crate) fn tellable(&mut self, session: &mut ClientSession) -> usize {
        self.take(session);
        let covered = std::mem::take(&mut self.covered);
        match self.is_given_up || self.pending.iter().all(is_quiet) {
            true => usize::MAX,
            false => covered,
        }
    }

    /// Hands over what has come up, if no batch is under way.
    pub(crate) fn submit(&mut self, session: &mut ClientSession) {
        self.take(session);
        let is_due = !self.pending.is_empty() || self.silence.is_due();
        if !is_due || self.is_busy() || self.is_given_up {
            return;
        }
        // The batch before is done.
        self.durable = self.accepted;
        let accepted = self.pending.iter().filter_map(|record| match record {
            Record::Accepted { operation, .. } => Some(*operation),
            _ => None,
        });
        self.accepted = accepted.max().or(self.accepted);
        self.submitted += 1;
        self.covered = session.pending_events();
        self.desk.submit(std::mem::take(&mut self.pending), self.silence.take());
    }

    /// The server was heard, on a connection that it has accepted.
    pub(crate) fn on_heard(&mut self) {
        self.silence.on_heard();
    }

    /// The connection has ended: how long ago the server was heard is noted at once.
    pub(crate) const fn on_down(&mut self) {
        self.silence.is_wanted = true;
    }

    /// Whether there is something to do for a driver that is about to sleep, of which nobody would
    /// wake it: it came up, or was done, since it has looked.
    pub(crate) fn has_news(&mut self, session: &mut ClientSession) -> bool {
        if self.is_busy() {
            return false;
        }
        self.take(session);
        !self.pending.is_empty() || session.has_events()
    }

    /// Whether everything is durable, and everybody told.
    pub(crate) fn is_quiet(&mut self, session: &mut ClientSession) -> bool {
        !self.is_busy() && !self.has_news(session)
    }

    /// Something has changed at the desk: those to be woken.
    pub(crate) fn on_change(&mut self) -> Vec<Waker> {
        if !self.is_busy() {
            self.durable = self.accepted;
        }
        std::mem::take(&mut self.waiters)
    }

    /// Whether nothing becomes durable at the moment.
    pub(crate) fn has_failed(&self) -> bool {
        self.desk.failure().is_some()
    }

    /// Waits for nothing any more: what is not durable now is lost.
    pub(crate) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// Whether it was given up.
    pub(crate) const fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// Whether the store takes more messages.
    pub(crate) fn check(&self) -> Result<(), PublishError> {
        if let Some(error) = self.desk.failure() {
            return Err(PublishError::Store(error));
        }
        if self.desk.bytes() > self.bytes_max {
            return Err(PublishError::StoreFull { maximum: self.bytes_max });
        }
        Ok(())
    }

    /// Whether a message is durable, or was once.
    pub(crate) fn poll_stored(
        &mut self,
        session: &mut ClientSession,
        operation: OperationId,
        waker: &Waker,
    ) -> Poll<Result<(), Arc<StoreError>>> {
        self.take(session);
        let is_all_durable = self.pending.is_empty() && !self.is_busy();
        if is_all_durable || self.durable.is_some_and(|durable| operation <= durable) {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = self.desk.failure() {
            return Poll::Ready(Err(error));
        }
        enlist(&mut self.waiters, waker);
        Poll::Pending
    }

    /// Lets go of the store. Whether that is done.
    pub(crate) fn leave(&self) -> bool {
        self.desk.end();
        self.desk.is_gone()
    }
}
