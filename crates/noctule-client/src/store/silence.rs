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
