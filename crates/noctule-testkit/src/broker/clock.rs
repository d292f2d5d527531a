//! What time it is for a test broker: the system's time, or that of the runtime, which a test may
//! stop.

#[cfg(feature = "client-core")]
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A clock that began with its broker.
#[derive(Debug)]
pub(crate) enum Clock {
    System(Instant),
    #[cfg(feature = "tokio")]
    Runtime(tokio::time::Instant),
    /// It stands still unless it is set.
    #[cfg(feature = "client-core")]
    Virtual(Mutex<Duration>),
}

impl Clock {
    pub(crate) fn system() -> Self {
        Clock::System(Instant::now())
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn runtime() -> Self {
        Clock::Runtime(tokio::time::Instant::now())
    }

    #[cfg(feature = "client-core")]
    pub(crate) fn virtual_time() -> Self {
        Clock::Virtual(Mutex::default())
    }

    #[cfg(feature = "client-core")]
    pub(crate) const fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }

    /// Changes the time, if it is virtual.
    #[cfg(feature = "client-core")]
    pub(crate) fn set(&self, time: Duration) {
        if let Clock::Virtual(now) = self {
            *now.lock().unwrap_or_else(PoisonError::into_inner) = time;
        }
    }

    /// How long it has run.
    pub(crate) fn now(&self) -> Duration {
        match self {
            Clock::System(start) => start.elapsed(),
            #[cfg(feature = "tokio")]
            Clock::Runtime(start) => start.elapsed(),
            #[cfg(feature = "client-core")]
            Clock::Virtual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
