//! Load averages: how much of something there was in a minute, seen over one, five and fifteen of
//! them.

use noctule_session::Timestamp;

/// The windows' names, and how much an average of each keeps of itself in a second: e^(-1/60) for
/// one minute, and so on.
const WINDOWS: [(&str, f64); 3] = [
    ("1min", 0.983_471_453_821_617_5),
    ("5min", 0.996_672_216_054_523_3),
    ("15min", 0.998_889_506_494_270_3),
];

/// The averages of `N` counters that only grow.
#[derive(Debug)]
pub(crate) struct Loads<const N: usize> {
    at: Timestamp,
    counted: [u64; N],
    averages: [[f64; WINDOWS.len()]; N],
}

impl<const N: usize> Loads<N> {
    /// No load up to `now`, where every counter stands at zero.
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self { at: now, counted: [0; N], averages: [[0.0; WINDOWS.len()]; N] }
    }

    /// Takes note of how far the counters have come; the time since the last call counts as one
    /// stretch of even load.
    pub(crate) fn update(&mut self, now: Timestamp, counters: [u64; N]) {
        let seconds = now.since(self.at).as_secs();
        if seconds == 0 {
            return;
        }
        let before = core::mem::replace(&mut self.counted, counters);
        self.at = now;
        let averages = self.averages.iter_mut().zip(before).zip(counters);
        for ((averages, before), counter) in averages {
            let a_minute = counter.saturating_sub(before) as f64 * 60.0 / seconds as f64;
            for (average, (_, kept)) in averages.iter_mut().zip(WINDOWS) {
                let kept = power(kept, seconds);
                *average = *average * kept + a_minute * (1.0 - kept);
            }
        }
    }

    /// The averages of the counter at `place`, each with its window's name.
    pub(crate) fn averages(&self, place: usize) -> impl Iterator<Item = (&'static str, f64)> {
        let averages = self.averages.get(place).copied().unwrap_or_default();
        WINDOWS.into_iter().zip(averages).map(|((window, _), average)| (window, average))
    }
}

/// `base` to the power of `exponent`, by squaring; `core` has none.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn averages(loads: &Loads<1>) -> [f64; 3] {
        let mut averages = loads.averages(0).map(|(_, average)| average);
        [(); 3].map(|()| averages.next().expect("three averages"))
    }

    #[test]
    fn even_load_becomes_the_average_and_fades() {
        for interval in [1, 7, 10, 60, 3_600] {
            let mut loads = Loads::new(Timestamp::from_millis(5_000));
            let (mut seconds, mut counter) = (0, 0);
            let at = |seconds| Timestamp::from_millis(5_000 + seconds * 1_000);
            while seconds < 4 * 3_600 {
                seconds += interval;
                counter += interval * 10;
                loads.update(at(seconds), [counter]);
            }
            for average in averages(&loads) {
                assert!((average - 600.0).abs() < 0.01, "{average}");
            }
            // A minute of silence takes e^-1 from the first, e^-(1/5) and e^-(1/15) from others.
            loads.update(at(seconds + 60), [counter]);
            for (average, expected) in averages(&loads).into_iter().zip([220.73, 491.24, 561.30]) {
                assert!((average - expected).abs() < 0.01, "{average} {expected}");
            }
        }
    }

    #[test]
    fn two_updates_at_one_time_count_nothing_twice_and_lose_nothing() {
        let start = Timestamp::from_millis(0);
        let mut loads = Loads::new(start);
        loads.update(start, [100]);
        assert_eq!(averages(&loads), [0.0; 3]);
        loads.update(Timestamp::from_millis(60_000), [120]);
        let expected = 120.0 * (1.0 - 0.367_879);
        assert!((averages(&loads)[0] - expected).abs() < 0.01);
    }
}
