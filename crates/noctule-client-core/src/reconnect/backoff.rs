//! How long to wait: longer each time, and not all clients at once.

use core::time::Duration;

/// How long to wait before a connection is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait; it doubles each time.
    pub base: Duration,
    /// What the bound grows to at most.
    pub maximum: Duration,
    /// How much of the bound is waited.
    pub jitter: Jitter,
    /// How long a connection has to last to count as a success: the next wait is short again.
    pub stable_after: Duration,
    /// How much longer to wait when the server says that it is busy.
    pub busy_delay: Duration,
}

/// How much of a wait is left to chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// All of it: anything from nothing to the bound.
    #[default]
    Full,
    /// Nothing: the bound itself.
    None,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            maximum: Duration::from_secs(120),
            jitter: Jitter::Full,
            stable_after: Duration::from_secs(30),
            busy_delay: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// The wait after so many waits in a row.
    pub(super) fn delay(&self, rounds: u32, random: &mut u64) -> Duration {
        let factor = 1_u32.checked_shl(rounds).filter(|_| rounds < 32).unwrap_or(u32::MAX);
        let bound = self.base.saturating_mul(factor).min(self.maximum);
        match self.jitter {
            Jitter::None => bound,
            Jitter::Full => {
                let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
                Duration::from_millis(next(random) % millis.saturating_add(1))
            }
        }
    }
}

/// The next number of a sequence that looks like chance (SplitMix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_its_maximum() {
        let backoff = Backoff { jitter: Jitter::None, ..Backoff::default() };
        for (rounds, seconds) in [(0, 1), (1, 2), (6, 64), (7, 120), (31, 120), (400, 120)] {
            assert_eq!(backoff.delay(rounds, &mut 0), Duration::from_secs(seconds), "{rounds}");
        }
    }

    #[test]
    fn there_need_be_no_bound() {
        let backoff = Backoff { base: Duration::MAX, maximum: Duration::MAX, ..Backoff::default() };
        for maximum in [Duration::MAX, Duration::from_millis(u64::MAX)] {
            assert!(Backoff { maximum, ..backoff }.delay(400, &mut 7) > Duration::from_secs(1));
        }
    }

    #[test]
    fn full_jitter_takes_anything_up_to_the_bound() {
        let backoff = Backoff::default();
        let mut random = 7;
        for rounds in 0..10 {
            let bound = Backoff { jitter: Jitter::None, ..backoff }.delay(rounds, &mut 0);
            let delays = (0..1_000).map(|_| backoff.delay(rounds, &mut random));
            let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
            for delay in delays {
                (least, most) = (least.min(delay), most.max(delay));
            }
            assert!(least < bound / 50 && most > bound / 50 * 49 && most <= bound, "{rounds}");
        }
    }
}
