//! A clock that a simulation sets, in the place of the system's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A machine's clocks: the one that runs on by itself, and the one on the wall, which may jump.
/// Clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct SimulatedClock(Arc<Mutex<(Duration, Duration)>>);

impl SimulatedClock {
    /// Both clocks at their beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// It is so late, by the one and by the other.
    pub fn set(&self, running: Duration, wall: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (running, wall);
    }

    /// What the one that runs on says.
    pub fn running(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// What the one on the wall says.
    pub fn wall(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
