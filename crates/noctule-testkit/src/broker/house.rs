//! What everybody shares who has to do with a test broker: its state behind one lock, and how they
//! learn that it has changed.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
#[cfg(any(feature = "tokio", feature = "client-core"))]
use std::task::Waker;
use std::time::Duration;

use super::clock::Clock;
use super::outlet::{Chunk, Due};
use super::state::State;

/// A test broker's state, whoever carries its bytes.
pub(crate) struct House {
    state: Mutex<State>,
    changed: Condvar,
    pub(crate) clock: Clock,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").finish_non_exhaustive()
    }
}

impl House {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { state: Mutex::new(State::default()), changed: Condvar::new(), clock }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.now = self.clock.now();
        state.expire_sessions();
        state
    }

    /// Does something with the state, and tells whom that concerns.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = act(&mut state);
        let wakes = state.take_wakes();
        drop(state);
        self.changed.notify_all();
        for waker in wakes {
            waker.wake();
        }
        result
    }

    /// Looks at the state.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.lock())
    }

    /// Waits until `look` sees something, but not longer than so long.
    pub(crate) fn wait<R>(
        &self,
        within: Duration,
        mut look: impl FnMut(&mut State) -> Option<R>,
    ) -> Option<R> {
        let deadline = std::time::Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(seen) = look(&mut state) {
                return Some(seen);
            }
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.now = self.clock.now();
            state.expire_sessions();
        }
    }

    /// Waits for the next thing to be done with a connection; `None` when there is no such
    /// connection any more.
    pub(crate) fn next_chunk(&self, connection: u64) -> Option<Chunk> {
        let mut state = self.lock();
        loop {
            if state.is_silent(connection) {
                drop(state);
                self.with(|state| state.leave_silent(connection));
                state = self.lock();
            }
            let now = state.now;
            let due = state.connections.get_mut(&connection)?.take(now);
            let waited = match due {
                Due::Now(chunk) => return Some(chunk),
                Due::At(due) => {
                    let left = due.saturating_sub(now);
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Due::Never => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state = waited;
            state.now = self.clock.now();
        }
    }

    /// The next thing to be done with a connection. If it is not due, whoever asks is woken when
    /// there is something earlier; `None` when there is no such connection any more.
    #[cfg(any(feature = "tokio", feature = "client-core"))]
    pub(crate) fn next_due(&self, connection: u64, reader: Option<&Waker>) -> Option<Due> {
        if self.look(|state| state.is_silent(connection)) {
            self.with(|state| state.leave_silent(connection));
        }
        let mut state = self.lock();
        let now = state.now;
        let connection = state.connections.get_mut(&connection)?;
        let due = connection.take(now);
        if let Some(reader) = reader.filter(|_| !matches!(due, Due::Now(_))) {
            connection.outlet.wait(reader);
        }
        Some(due)
    }
}
