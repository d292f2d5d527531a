//! Runs that are read by one while another adds some, writes some anew and removes some.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use noctule_store::{Disk, RunsView, SimulatedDisk, SliceLimits};

use crate::runs::model::{ALL, Pending, Shelf};

const RUNS: u64 = 6;
const EACH: u64 = 20;

/// Two queues in six runs; the bodies of one in four are theirs together.
fn filled() -> Shelf {
    let mut shelf = Shelf::new(SimulatedDisk::new()).expect("it opens");
    for run in 0..RUNS {
        add(&mut shelf, run);
    }
    shelf.store();
    shelf
}

fn add(shelf: &mut Shelf, run: u64) {
    let mut pending = Pending::default();
    for seq in run * EACH..(run + 1) * EACH {
        let body = [u8::try_from(seq % 251).expect("it is small"); 3_000];
        if seq.is_multiple_of(4) {
            pending.push(&[(1, seq), (2, seq)], &[], &body);
        } else {
            pending.push(&[(1, seq)], &[1], &body);
            pending.push(&[(2, seq)], &[2], &body);
        }
    }
    shelf.spill(&mut pending).expect("there is room");
}

/// What a view has of a queue from there on, and where it ends.
fn read(view: &RunsView, queue: u64, from: u64, limits: &SliceLimits) -> Vec<u64> {
    let (mut seqs, mut next) = (Vec::new(), from);
    loop {
        let slice = view.read(queue, next, limits, |message| {
            assert_eq!(message.body.len(), 3_000);
            assert!(message.body.iter().all(|byte| u64::from(*byte) == message.seq % 251));
            seqs.push(message.seq);
        });
        let slice = slice.expect("there is power");
        assert_eq!(slice.damaged, []);
        next = slice.next;
        if !slice.has_more {
            return seqs;
        }
    }
}

fn files(shelf: &Shelf) -> Vec<String> {
    shelf.disk.names().expect("there is power")
}

#[test]
fn a_slice_is_whole_although_its_runs_are_written_anew_and_go_meanwhile() {
    let mut shelf = filled();
    let view = shelf.runs.view();
    let (before, mut seqs) = (files(&shelf), Vec::new());
    let slice = view.read(1, 3, &ALL, |message| {
        if seqs.is_empty() {
            assert!(shelf.merge().expect("there is room"));
            shelf.store();
        }
        seqs.push(message.seq);
    });
    assert!(!slice.expect("there is power").has_more);
    assert!(files(&shelf).iter().all(|name| !before.contains(name)), "the old ones are gone");
    assert_eq!(seqs, (3..RUNS * EACH).collect::<Vec<_>>());
    assert_eq!(read(&view, 2, 0, &ALL), (0..RUNS * EACH).collect::<Vec<_>>());
}

#[test]
fn what_is_done_is_read_no_more_and_what_comes_is() {
    let mut shelf = filled();
    let view = shelf.runs.view();
    shelf.finish(1, u64::MAX);
    assert_eq!(read(&view, 1, 0, &ALL), []);
    add(&mut shelf, RUNS);
    let last = view.read(2, RUNS * EACH, &ALL, |_| {}).expect("there is power");
    assert_eq!((last.messages as u64, last.next), (EACH, (RUNS + 1) * EACH));
    shelf.finish(2, u64::MAX);
    shelf.finish(1, u64::MAX);
    shelf.store();
    assert_eq!((files(&shelf), read(&view, 2, 0, &ALL)), (vec![], vec![]));
}

#[test]
fn readers_see_everything_in_order_whatever_becomes_of_the_runs() {
    let mut shelf = filled();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for queue in [1, 2] {
            let (view, is_over) = (shelf.runs.view(), &is_over);
            scope.spawn(move || {
                let limits = SliceLimits { messages: 7, bytes: 30_000 };
                while !is_over.load(Ordering::Acquire) {
                    let seqs = read(&view, queue, 0, &limits);
                    assert!(seqs.len() as u64 >= RUNS * EACH);
                    assert!(seqs.iter().copied().eq(0..seqs.len() as u64), "{seqs:?}");
                }
            });
        }
        for run in RUNS..60 {
            add(&mut shelf, run);
            shelf.store();
            if shelf.merge().expect("there is room") {
                shelf.store();
            }
        }
        is_over.store(true, Ordering::Release);
    });
}

#[test]
fn what_a_reader_cannot_read_is_told_and_set_aside() {
    let mut shelf = filled();
    let view = shelf.runs.view();
    shelf.disk.damage("run-0000000000000002.run", |bytes| bytes[20_000] ^= 1);
    let mut seqs = Vec::new();
    let slice = view.read(1, 0, &ALL, |message| seqs.push(message.seq)).expect("there is power");
    assert_eq!((slice.damaged.len(), slice.has_more), (1, false));
    assert!(!seqs.is_empty() && seqs.len() as u64 > (RUNS - 1) * EACH, "{seqs:?}");
    let aside = |shelf: &Shelf| files(shelf).iter().any(|name| name.starts_with("damaged-run-"));
    assert!(!aside(&shelf));
    // The next time when files may go.
    shelf.store();
    assert!(aside(&shelf));
}
