//! A histogram whose steps grow with what is measured, so that few of them do for everything.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Each doubling is divided into so many steps, as a power of two.
const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// More microseconds than this, some 19 hours, count as this.
const MICROS_MAX: u64 = (1 << 36) - 1;
const BUCKETS: usize = bucket_of(MICROS_MAX) + 1;

/// Where a number of microseconds is counted: below 64 each has a bucket of its own, above that a
/// bucket is at most 1/32 as wide as what it begins with.
const fn bucket_of(micros: u64) -> usize {
    let micros = if micros > MICROS_MAX { MICROS_MAX } else { micros };
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let doubling = micros.ilog2() - STEP_BITS;
    ((doubling as usize) << STEP_BITS) + (micros >> doubling) as usize
}

/// The highest number of microseconds that is counted in a bucket.
const fn highest_of(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let doubling = (bucket >> STEP_BITS) as u32 - 1;
    let step = (bucket - ((doubling as usize) << STEP_BITS)) as u64;
    ((step + 1) << doubling) - 1
}

/// Counts durations, by any number of threads at once.
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
    longest_micros: AtomicU64,
}

impl fmt::Debug for Histogram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.read(), formatter)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, sum_micros: AtomicU64::new(0), longest_micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    pub(crate) fn record(&self, taken: Duration) {
        let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX).min(MICROS_MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub(crate) fn read(&self) -> Distribution {
        let counts: Vec<u64> = self.buckets.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        Distribution {
            count: counts.iter().sum(),
            counts,
            sum_micros: self.sum_micros.load(Ordering::Relaxed),
            longest_micros: self.longest_micros.load(Ordering::Relaxed),
        }
    }
}

/// How long something took, each time that it was measured.
///
/// What it says is rounded up, to the microsecond and by 1/32 (3.2 %) at most. Times above some 19
/// hours count as that.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: Vec<u64>,
    count: u64,
    sum_micros: u64,
    longest_micros: u64,
}

impl Distribution {
    pub(crate) const NOTHING: Self =
        Self { counts: Vec::new(), count: 0, sum_micros: 0, longest_micros: 0 };

    /// How often it was measured.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// So many per cent took this long or less: 50 is the median, 100 the longest. `None` if
    /// nothing was measured.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let share = (percent.clamp(0.0, 100.0) / 100.0 * self.count as f64).ceil() as u64;
        let rank = share.clamp(1, self.count);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        // Somebody may be about to say that it was longer.
        let longest = match self.longest_micros {
            0 => u64::MAX,
            longest => longest,
        };
        Some(Duration::from_micros(highest_of(bucket).min(longest)))
    }

    /// The mean, without the error of the steps. `None` if nothing was measured.
    pub fn mean(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.sum_micros.checked_div(self.count)?))
    }

    /// The longest, without the error of the steps. `None` if nothing was measured.
    pub fn longest(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_micros(self.longest_micros))
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} times", self.count)?;
        for (name, percent) in [("median", 50.0), ("90 %", 90.0), ("99 %", 99.0)] {
            if let Some(taken) = self.percentile(percent) {
                write!(formatter, ", {name} {taken:?}")?;
            }
        }
        self.longest().map_or(Ok(()), |longest| write!(formatter, ", longest {longest:?}"))
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Distribution({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_its_bucket_and_the_error_is_bounded() {
        let steps = (0..36).flat_map(|power| {
            let power = 1_u64 << power;
            [power - 1, power, power + 1, power + power / 3]
        });
        for micros in (0..100_000).chain(steps).filter(|micros| *micros <= MICROS_MAX) {
            let highest = highest_of(bucket_of(micros));
            assert!(highest >= micros, "{micros}");
            assert!(highest - micros <= micros / 32, "{micros}: {highest}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        assert_eq!(highest_of(BUCKETS - 1), MICROS_MAX);
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for bucket in 1..BUCKETS {
            assert_eq!(bucket_of(highest_of(bucket - 1) + 1), bucket);
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list_within_the_error() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().percentile(50.0), None);
        assert_eq!((histogram.read().mean(), histogram.read().longest()), (None, None));
        for micros in (1..=1_000).rev() {
            histogram.record(Duration::from_micros(micros * 10));
        }
        let read = histogram.read();
        for percent in [1_u64, 10, 50, 90, 99, 100] {
            let right = Duration::from_micros(percent * 100);
            let told = read.percentile(percent as f64).unwrap();
            assert!(told >= right && told <= right + right / 32, "{percent}: {told:?}");
        }
        assert_eq!(read.percentile(0.0), read.percentile(0.1));
        assert_eq!(read.percentile(100.0), Some(Duration::from_millis(10)));
        assert_eq!(read.longest(), Some(Duration::from_millis(10)));
        assert_eq!(read.mean(), Some(Duration::from_micros(5_005)));
        assert_eq!(read.count(), 1_000);
    }

    #[test]
    fn what_takes_too_long_to_be_measured_counts_all_the_same() {
        let histogram = Histogram::default();
        histogram.record(Duration::MAX);
        histogram.record(Duration::ZERO);
        let read = histogram.read();
        assert_eq!(read.percentile(50.0), Some(Duration::ZERO));
        assert_eq!(read.percentile(100.0), Some(Duration::from_micros(MICROS_MAX)));
    }
}
