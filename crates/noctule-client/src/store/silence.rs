//! When the server was heard last: the next process has to know whether the session may have
//! expired.

use std::time::Duration;

use noctule_store::Ages;

/// How often it is noted while nothing else is, at most and at least.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// Into how many parts the session's lifetime is divided for that.
const PARTS: u32 = 16;

/// When the server was heard last, in the age of the store.
#[derive(Debug)]
pub(crate) struct Silence {
    ages: Ages,
    interval: Duration,
    /// Not noted yet.
    heard: Option<Duration>,
    noted: Duration,
    /// Whether it is to be noted at once.
    pub(super) is_wanted: bool,
}

impl Silence {
    /// For a session of so many seconds.
    pub(super) fn new(ages: Ages, lifetime: u32) -> Self {
        let (least, most) = INTERVALS;
        let interval = (Duration::from_secs(lifetime.into()) / PARTS).clamp(least, most);
        let noted = ages.now();
        Self { ages, interval, heard: None, noted, is_wanted: false }
    }

    pub(super) fn on_heard(&mut self) {
        self.heard = Some(self.ages.now());
    }

    /// Whether it is to be noted although nothing else is.
    pub(super) fn is_due(&self) -> bool {
        let is_due = |heard: Duration| self.is_wanted || heard >= self.noted + self.interval;
        self.heard.is_some_and(is_due)
    }

    /// What is to be noted now.
    pub(super) fn take(&mut self) -> Option<Duration> {
        let heard = self.heard.take()?;
        (self.noted, self.is_wanted) = (heard, false);
        Some(heard)
    }
}

#[cfg(test)]
mod tests {
    use noctule_store::{Log, LogSettings, Repair, SimulatedDisk};

    use super::*;

    #[test]
    fn it_is_noted_with_other_things_after_a_while_and_when_a_connection_ends() {
        let disk = Box::new(SimulatedDisk::new());
        let opened = Log::open(disk, LogSettings::default(), Repair::Salvage, |_| Ok(()));
        let ages = opened.expect("it opens").0.ages().clone();
        for (lifetime, seconds) in [(0, 10), (1_600, 100), (u32::MAX, 300)] {
            let silence = Silence::new(ages.clone(), lifetime);
            assert_eq!(silence.interval, Duration::from_secs(seconds));
        }
        let mut silence = Silence::new(ages, 0);
        silence.is_wanted = true;
        assert!(!silence.is_due(), "nothing was heard");
        silence.on_heard();
        assert!(silence.is_due());
        assert_eq!(
            (silence.take().is_some(), silence.take(), silence.is_due()),
            (true, None, false)
        );
        silence.on_heard();
        assert!(!silence.is_due(), "it was noted just now");
        silence.heard = Some(silence.noted + silence.interval);
        assert!(silence.is_due());
    }
}
