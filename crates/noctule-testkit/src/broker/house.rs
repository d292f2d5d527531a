//! What everybody shares who has to do with a test broker: its state behind one lock, and how they
//! learn that it has changed.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
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
        }
    }

    /// Waits for the next thing to be done with a connection; `None` when there is no such
    /// connection any more.
    pub(crate) fn next_chunk(&self, connection: u64) -> Option<Chunk> {
        let mut state = self.lock();
        loop {
            let now = state.now;
            let due = state.connections.get_mut(&connection)?.outlet.take(now);
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
}
