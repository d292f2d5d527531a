//! Spills, slices, marks, merges and restarts in any order, as chance has it.

use noctule_store::{Cut, SimulatedDisk, SliceLimits};

use crate::runs::model::{ALL, Chance, Pending, Shelf};

const QUEUES: u64 = 9;

/// Some messages: small, large, empty, and shared by several queues.
fn fill(chance: &mut Chance, shelf: &Shelf, pending: &mut Pending) {
    let mut nexts: Vec<u64> = (0..QUEUES)
        .map(|queue| {
            let last = shelf.model.queues.get(&queue).and_then(|entries| entries.last());
            last.map_or(0, |entry| entry.0 + 1).max(shelf.model.next(queue))
        })
        .collect();
    for _ in 0..chance.size(60) {
        let mut references = Vec::new();
        let count = if chance.below(3) == 0 { 1 + chance.size(QUEUES) } else { 1 };
        for _ in 0..count {
            // Some queues have more than others.
            let queue = chance.below(QUEUES).min(chance.below(QUEUES));
            let at = usize::try_from(queue).expect("it is small");
            let gap = if chance.below(4) == 0 { chance.below(1_000) } else { 0 };
            if references.iter().any(|(other, _)| *other == queue) || nexts[at] == u64::MAX {
                continue;
            }
            references.push((queue, nexts[at] + gap));
            nexts[at] += gap + 1;
        }
        let length = match chance.below(20) {
            0 => 0,
            1 => chance.size(30_000),
            _ => chance.size(600),
        };
        let (flags, body) = (chance.size(4), chance.bytes(length));
        let flags = chance.bytes(flags);
        pending.push(&references, &flags, &body);
    }
}

fn drain(chance: &mut Chance, shelf: &mut Shelf) {
    let queue = chance.below(QUEUES);
    let limits = SliceLimits { messages: chance.size(30), bytes: chance.size(5_000) };
    let from = shelf.model.next(queue);
    let (read, slice) = shelf.slice(queue, from, &limits).expect("there is power");
    assert_eq!(slice.damaged, []);
    let needed = shelf.model.needed(queue);
    assert_eq!(read[..], needed[..read.len()], "queue {queue} from {from}");
    assert_eq!(read.is_empty(), needed.is_empty());
    if let Some((last, ..)) = read.last() {
        shelf.finish(queue, *last);
    }
}

/// One story, which says how often something was merged and deleted in it.
fn story(seed: u64) -> (u32, u32) {
    let mut chance = Chance(seed);
    let mut shelf = Shelf::new(SimulatedDisk::new()).expect("it opens");
    let (mut merges, mut deletions) = (0, 0);
    for _ in 0..100 {
        match chance.below(12) {
            0..=1 => {
                let mut pending = Pending::default();
                fill(&mut chance, &shelf, &mut pending);
                shelf.spill(&mut pending).expect("there is room");
                shelf.store();
            }
            2..=6 => drain(&mut chance, &mut shelf),
            7 => {
                let before = shelf.disk.bytes();
                shelf.store();
                deletions += u32::from(shelf.disk.bytes() < before);
            }
            8 => merges += u32::from(shelf.merge().expect("there is room")),
            9 => {
                // While it is merged others go on, and perhaps it comes to nothing.
                let Some(mut merge) = shelf.runs.begin_merge().expect("it opens") else { continue };
                assert!(shelf.runs.begin_merge().is_ok_and(|second| second.is_none()));
                drain(&mut chance, &mut shelf);
                let mut pending = Pending::default();
                fill(&mut chance, &shelf, &mut pending);
                shelf.spill(&mut pending).expect("there is room");
                if chance.below(3) > 0 {
                    while merge.step().expect("there is room") {}
                }
                for _ in 0..chance.below(40) {
                    drain(&mut chance, &mut shelf);
                }
                assert_eq!(shelf.runs.end_merge(merge).expect("there is power"), []);
            }
            10 if chance.below(3) == 0 => {
                let gone = chance.below(QUEUES);
                shelf.finish(gone, u64::MAX);
            }
            _ => {
                shelf.store();
                let disk = shelf.disk.after(Cut::Random(seed));
                let (next, damaged) =
                    Shelf::reopen(disk, shelf.manifest, shelf.durable).expect("it opens");
                assert_eq!(damaged, []);
                shelf = next;
            }
        }
        let limits = SliceLimits { messages: chance.size(20), bytes: chance.size(3_000) };
        let limits = if chance.below(2) == 0 { ALL } else { limits };
        assert_eq!(shelf.wrong(&limits), None, "seed {seed}");
        let needs: u64 = u64::from((0..QUEUES).any(|it| !shelf.model.needed(it).is_empty()));
        assert_eq!(shelf.runs.is_empty(), needs == 0, "seed {seed}");
    }
    for queue in 0..QUEUES {
        shelf.finish(queue, u64::MAX);
    }
    assert!(shelf.runs.is_empty());
    assert_eq!(shelf.runs.bytes(), 0);
    shelf.store();
    assert_eq!(shelf.disk.bytes(), 0, "everything has come back");
    (merges, deletions)
}

#[test]
fn what_was_spilled_is_read_once_in_order_and_then_goes() {
    let (mut merges, mut deletions) = (0, 0);
    for seed in 0..10 {
        let (merged, deleted) = story(seed);
        merges += merged;
        deletions += deleted;
    }
    assert!(merges > 6 && deletions > 6, "{merges} merges and {deletions} deletions");
}
