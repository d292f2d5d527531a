//! The order in which servers are tried: by priority, and at random by weight within one.

use super::message::Record;

/// Puts records in the order of RFC 2782. `pick` chooses a number from 0 to the given one, that
/// included, each as likely as any other.
pub(super) fn order(mut records: Vec<Record>, pick: &mut dyn FnMut(u32) -> u32) -> Vec<Record> {
    // Those without weight come first, so that only a 0 picks them.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let group = || records.iter().take_while(|record| record.priority == priority);
        // As many records as a message holds cannot reach the end of the numbers.
        let sum = group().map(|record| u32::from(record.weight)).sum();
        let chosen = pick(sum);
        let mut running = 0;
        let index = group().position(|record| {
            running += u32::from(record.weight);
            running >= chosen
        });
        ordered.push(records.remove(index.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(records: &[(u16, u16, u16)]) -> Vec<Record> {
        let record =
            |&(priority, weight, port)| Record { priority, weight, port, target: "h".to_owned() };
        records.iter().map(record).collect()
    }

    /// Numbers that look random, the same in every run (SplitMix64).
    fn seeded(mut state: u64) -> impl FnMut(u32) -> u32 {
        move |most| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let mixed = (mixed ^ (mixed >> 31)) >> 32;
            u32::try_from(mixed % (u64::from(most) + 1)).unwrap()
        }
    }

    fn ports(given: &[(u16, u16, u16)], pick: &mut dyn FnMut(u32) -> u32) -> Vec<u16> {
        order(records(given), pick).into_iter().map(|record| record.port).collect()
    }

    #[test]
    fn the_lowest_priority_number_comes_first() {
        let given = [(20, 65535, 3), (0, 0, 1), (65535, 9, 4), (10, 1, 2)];
        for seed in 0..100 {
            assert_eq!(ports(&given, &mut seeded(seed)), [1, 2, 3, 4]);
        }
    }

    #[test]
    fn the_numbers_decide_as_the_rules_say() {
        let given = [(1, 5, 1), (1, 0, 2), (1, 3, 3)];
        // Without weight comes first in the list, so the running sums are 0, 5 and 8.
        for (numbers, expected) in [
            ([0, 0, 0], [2, 1, 3]),
            ([1, 0, 0], [1, 2, 3]),
            ([5, 1, 0], [1, 3, 2]),
            ([6, 5, 0], [3, 1, 2]),
            ([8, 0, 5], [3, 2, 1]),
        ] {
            let mut numbers = numbers.into_iter();
            assert_eq!(ports(&given, &mut |_| numbers.next().unwrap()), expected);
        }
    }

    #[test]
    fn weights_are_shares() {
        let (mut pick, mut first) = (seeded(7), [0_u32; 4]);
        for _ in 0..10_000 {
            let given = [(1, 60, 1), (1, 30, 2), (1, 10, 3), (2, 65535, 0)];
            first[usize::from(ports(&given, &mut pick)[0])] += 1;
        }
        assert_eq!(first[0], 0);
        for (port, expected) in [(1, 6000), (2, 3000), (3, 1000)] {
            assert!(first[port].abs_diff(expected) < 250, "{first:?}");
        }
    }

    #[test]
    fn all_records_stay_however_large_the_weights_are() {
        let given: Vec<_> = (0..5000).map(|port| (1, u16::MAX, port)).collect();
        let mut ordered = ports(&given, &mut seeded(1));
        ordered.sort_unstable();
        assert!(ordered.into_iter().eq(0..5000));
    }
}
