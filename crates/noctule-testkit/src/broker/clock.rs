//! What time it is for a test broker: the system's time, or that of the runtime, which a test may
//! stop.

use std::time::{Duration, Instant};

/// A clock that began with its broker.
#[derive(Debug)]
pub(crate) enum Clock {
    System(Instant),
    #[cfg(feature = "tokio")]
    Runtime(tokio::time::Instant),
}

impl Clock {
    pub(crate) fn system() -> Self {
        Clock::System(Instant::now())
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn runtime() -> Self {
        Clock::Runtime(tokio::time::Instant::now())
    }

    /// How long it has run.
    pub(crate) fn now(&self) -> Duration {
        match self {
            Clock::System(start) => start.elapsed(),
            #[cfg(feature = "tokio")]
            Clock::Runtime(start) => start.elapsed(),
        }
    }
}
