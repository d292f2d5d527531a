//! What the handles of a client and its driver share, behind one lock that nobody holds while
//! anything waits or while code of the user's runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use noctule_client_core::{Hub, Timestamp, Unfinished};

use crate::state::State;

/// What the handles of a client and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// When the client's clock began.
    started: Instant,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) hub: Hub,
    pub(crate) state: State,
    /// Those who wait for another state.
    pub(crate) watchers: Vec<Waker>,
    /// The client is to end at this time, at the latest.
    pub(crate) ends_at: Option<Instant>,
    /// Where answers to requests come, once that is subscribed to.
    pub(crate) replies: Option<Replies>,
    /// How many requests were made.
    pub(crate) requests: u64,
    /// What was left undone, once the client has ended.
    pub(crate) unfinished: Option<Unfinished>,
}

/// The topic below which answers to requests come.
#[derive(Clone, Debug)]
pub(crate) struct Replies(pub(crate) Arc<str>);

impl Inner {
    /// Ends the session if the client is to end, and either nothing is left to do or its time is
    /// up.
    pub(crate) fn end_if_due(&mut self, now: Timestamp) {
        let Some(at) = self.ends_at.filter(|_| self.unfinished.is_none()) else { return };
        if self.hub.is_idle() || at <= Instant::now() {
            self.unfinished = Some(self.hub.close(now));
        }
    }
}

impl Shared {
    pub(crate) fn new(hub: Hub) -> Self {
        let inner = Inner {
            hub,
            state: State::Connecting,
            watchers: Vec::new(),
            ends_at: None,
            replies: None,
            requests: 0,
            unfinished: None,
        };
        Self { inner: Mutex::new(inner), started: Instant::now() }
    }

    /// The time on the client's clock.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::default() + self.started.elapsed()
    }

    /// A time on the client's clock as the system tells it.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.started + at.since(Timestamp::default())
    }

    /// Does something with the hub, and wakes whom that concerns.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut inner);
        let wakes = inner.hub.take_wakes();
        drop(inner);
        wakes.wake();
        result
    }

    /// Enters another state, and wakes those who wait for one.
    pub(crate) fn enter(&self, state: State) {
        let watchers = self.with(|inner| {
            inner.state = state;
            std::mem::take(&mut inner.watchers)
        });
        for watcher in watchers {
            watcher.wake();
        }
    }

    /// Ends the client, in a while at the latest: what is under way is finished before, if it can
    /// be.
    pub(crate) fn end_by(&self, at: Instant) {
        self.with(|inner| {
            let earlier = inner.ends_at.map_or(at, |known| known.min(at));
            inner.ends_at = Some(earlier);
            inner.hub.ring();
        });
    }
}

/// The user's side of a client: when the last one is dropped, the client ends.
#[derive(Debug)]
pub(crate) struct UserSide {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for UserSide {
    fn drop(&mut self) {
        self.shared.end_by(Instant::now() + crate::DRAIN_WHEN_DROPPED);
    }
}

/// The earlier of two times, if there is one.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
