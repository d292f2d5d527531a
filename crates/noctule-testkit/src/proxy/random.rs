//! Numbers that look random and are the same for the same seed.

/// A sequence of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The sequence of one stream of bytes: that of a seed, a connection and a direction.
    pub(super) fn of(seed: u64, connection: u64, direction: u64) -> Self {
        let mut random = Self(seed);
        random.0 = random.next() ^ connection;
        random.0 = random.next() ^ direction;
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 1 to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        1 + self.next() % most.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(mut random: Random) -> Vec<u64> {
        (0..20).map(|_| random.up_to(1_000)).collect()
    }

    #[test]
    fn a_seed_is_a_sequence_for_each_stream() {
        assert_eq!(sequence(Random::of(7, 1, 0)), sequence(Random::of(7, 1, 0)));
        for other in [Random::of(8, 1, 0), Random::of(7, 2, 0), Random::of(7, 1, 1)] {
            assert_ne!(sequence(Random::of(7, 1, 0)), sequence(other));
        }
        assert!(sequence(Random::of(0, 0, 0)).iter().all(|number| (1..=1_000).contains(number)));
    }
}
