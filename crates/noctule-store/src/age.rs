//! Time that goes on between processes: how old something stored is, whatever the clock says.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[cfg(feature = "simulated")]
use crate::simulated_clock::SimulatedClock;

/// Tells the wall clock's time, from 1970 on.
pub(crate) type WallClock = fn() -> Duration;

/// How old a store is: monotonic while a process runs, and by the wall clock between two processes,
/// where one that was set back counts as no time at all.
#[derive(Clone)]
pub struct Ages {
    before: Duration,
    started: Instant,
    wall: WallClock,
    /// What the last process has written, until another clock than the system's is used.
    #[cfg(feature = "simulated")]
    last: Option<(Duration, Duration)>,
    #[cfg(feature = "simulated")]
    simulated: Option<(SimulatedClock, Duration)>,
}

impl fmt::Debug for Ages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Ages").field(&self.now()).finish()
    }
}

/// The system's clock.
pub(crate) fn system_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Ages {
    /// Goes on behind what the last process has written, at its age and at its wall clock's time.
    pub(crate) fn behind(last: Option<(Duration, Duration)>, wall: WallClock) -> Self {
        Self {
            before: age_at(last, wall()),
            started: Instant::now(),
            wall,
            #[cfg(feature = "simulated")]
            last,
            #[cfg(feature = "simulated")]
            simulated: None,
        }
    }

    /// Goes by another clock than the system's, from the opening on.
    #[cfg(feature = "simulated")]
    pub(crate) fn simulate(&mut self, clock: &SimulatedClock) {
        self.before = age_at(self.last, clock.wall());
        self.simulated = Some((clock.clone(), clock.running()));
    }

    /// How old the store is.
    pub fn now(&self) -> Duration {
        #[cfg(feature = "simulated")]
        if let Some((clock, started)) = &self.simulated {
            return self.before + clock.running().saturating_sub(*started);
        }
        self.before + self.started.elapsed()
    }

    /// What the wall clock says.
    pub(crate) fn wall(&self) -> Duration {
        #[cfg(feature = "simulated")]
        if let Some((clock, _)) = &self.simulated {
            return clock.wall();
        }
        (self.wall)()
    }
}

/// How old a store is when it is opened.
fn age_at(last: Option<(Duration, Duration)>, wall: Duration) -> Duration {
    last.map_or(Duration::ZERO, |(age, at)| age + wall.saturating_sub(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_1_000() -> Duration {
        Duration::from_secs(1_000)
    }

    #[test]
    fn the_time_between_processes_counts_and_a_clock_that_was_set_back_does_not() {
        let seconds = Duration::from_secs;
        for (last, least) in [
            (None, seconds(0)),
            (Some((seconds(50), seconds(900))), seconds(150)),
            (Some((seconds(50), seconds(5_000))), seconds(50)),
        ] {
            let now = Ages::behind(last, at_1_000).now();
            assert!(now >= least && now < least + seconds(50), "{last:?}: {now:?}");
        }
    }
}
