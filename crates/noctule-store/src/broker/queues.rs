//! What of queues stands on disk only, read back in slices while the store goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use noctule_broker_core::StoredMessage;

use super::places::Places;
use super::progress::Progress;
use super::spilled;
use crate::error::StoreError;
use crate::run::{RunsView, SliceLimits};

/// The queues of sessions as far as they have left the log; clones read the same ones, each for a
/// thread of its own.
#[derive(Clone, Debug)]
pub struct Queues {
    runs: RunsView,
    /// Of each session the places whose messages were given up before they could be sent.
    skipped: Arc<Mutex<HashMap<u64, Places>>>,
}

/// A part of a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// What waits there, in order.
    pub messages: Vec<StoredMessage>,
    /// Everything before this place was read. Here the next slice begins.
    pub next: u64,
    /// Whether there is more, from there on.
    pub has_more: bool,
    /// What cannot be read, with the reason: it is gone.
    pub unreadable: Vec<String>,
}

impl Queues {
    pub(super) fn new(runs: RunsView) -> Self {
        Self { runs, skipped: Arc::default() }
    }

    fn skipped(&self) -> MutexGuard<'_, HashMap<u64, Places>> {
        // Nobody can panic halfway through a change.
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the next messages of a session's queue, from this place on. It waits for no checkpoint
    /// and for no merge.
    ///
    /// # Errors
    ///
    /// If the system cannot read: later it may. What is damaged is told in the slice, and stepped
    /// over.
    pub fn read(&self, session: u64, from: u64, limits: &SliceLimits) -> Result<Slice, StoreError> {
        let (mut messages, mut unreadable) = (Vec::new(), Vec::new());
        let found = self.runs.read(session, from, limits, |found| {
            match spilled::read(session, &found) {
                Ok(message) => messages.push(message),
                Err(error) => unreadable.push(format!("a message in a run: {error}")),
            }
        })?;
        if let Some(skipped) = self.skipped().get(&session) {
            messages.retain(|message| !skipped.contains(message.sequence));
        }
        unreadable.extend(found.damaged.iter().map(ToString::to_string));
        Ok(Slice { messages, next: found.next, has_more: found.has_more, unreadable })
    }

    /// What is known now of how far a session's queue is; nothing if the session is over.
    pub(super) fn skip(&self, session: u64, progress: Option<&Progress>) {
        let places = progress.map(Progress::skipped).filter(|places| !places.is_empty());
        let mut skipped = self.skipped();
        match places {
            Some(places) => drop(skipped.insert(session, places.clone())),
            None => drop(skipped.remove(&session)),
        }
    }
}
