//! Time as the protocol crates see it: a number that the caller supplies and that never runs
//! backwards.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

/// A point on the caller's monotonic clock, in milliseconds since an origin of the caller's choice.
///
/// The pure crates read no clock; whoever drives them passes `now` with every input.
///
/// ```
/// use core::time::Duration;
/// use noctule_session::Timestamp;
///
/// let start = Timestamp::from_millis(1_000);
/// assert_eq!((start + Duration::from_secs(2)).since(start), Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(
    /// One more than the milliseconds, so that a point in time that may be missing takes no room
    /// for saying so: there are many deadlines.
    NonZeroU64,
);

impl Timestamp {
    /// The timestamp that lies `millis` milliseconds behind the origin, `u64::MAX - 1` at most.
    pub const fn from_millis(millis: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(millis))
    }

    /// Milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0.get() - 1
    }

    /// The time that has passed since `earlier`, zero if `earlier` lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.as_millis().saturating_sub(earlier.as_millis()))
    }

    /// This point plus a number of seconds, as MQTT counts its intervals.
    pub const fn plus_seconds(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds as u64 * 1_000))
    }
}

impl Default for Timestamp {
    /// The origin.
    fn default() -> Self {
        Self::from_millis(0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Timestamp").field(&self.as_millis()).finish()
    }
}

impl core::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.as_millis();
        write!(formatter, "{}.{:03}s", millis / 1_000, millis % 1_000)
    }
}
