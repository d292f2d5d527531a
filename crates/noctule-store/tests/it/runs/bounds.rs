//! What runs cost: reads of the disk, memory, and room on the disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use noctule_store::{Cut, Disk, DiskFile, RunSettings, Runs, SimulatedDisk, SliceLimits, Spill};

use crate::runs::model::{ALL, Pending, Shelf};

/// A disk that counts reads.
#[derive(Debug)]
struct Counting(SimulatedDisk, Arc<AtomicU64>);

#[derive(Debug)]
struct CountingFile(Box<dyn DiskFile>, Arc<AtomicU64>);

impl Disk for Counting {
    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.create(name)?;
        Ok(Box::new(CountingFile(file, Arc::clone(&self.1))))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.open(name)?;
        Ok(Box::new(CountingFile(file, Arc::clone(&self.1))))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.0.sync_names()
    }
}

impl DiskFile for CountingFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(bytes, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync()
    }
}

fn add(runs: &mut Runs, spill: &mut Spill) {
    let mut run = runs.begin().expect("there is room");
    spill.write(&mut run).expect("there is room");
    runs.end(run).expect("there is room");
    spill.clear();
}

/// How many reads a queue's slices of 100 take.
fn reads(runs: &mut Runs, reads: &AtomicU64, queue: u64) -> (u64, u64) {
    let (mut slices, mut next) = (0, 0);
    let before = reads.load(Ordering::Relaxed);
    loop {
        let limits = SliceLimits { messages: 100, bytes: usize::MAX };
        let slice = runs.read(queue, next, &limits, |_| {}).expect("there is power");
        next = slice.next;
        slices += 1;
        if !slice.has_more {
            return (reads.load(Ordering::Relaxed) - before, slices);
        }
    }
}

#[test]
fn a_slice_takes_few_reads() {
    let count = Arc::new(AtomicU64::new(0));
    let disk = Counting(SimulatedDisk::new(), Arc::clone(&count));
    let (mut runs, _) = Runs::open(Box::new(disk), RunSettings::default(), &[]).expect("it opens");
    let mut spill = Spill::new();
    for seq in 0..2_000_u64 {
        spill.push(1, seq, &[], seq, &[1; 256]).expect("it is small");
        // Some of the messages of two queues.
        let both = seq + 1_000_000;
        spill.push(2, seq, &[], both, &[1; 256]).expect("it is small");
        spill.push(3, seq, &[], both, &[1; 256]).expect("it is small");
        if seq % 100 == 0 {
            spill.push(10 + seq, seq, &[], 2_000_000 + seq, &[1; 256]).expect("it is small");
        }
    }
    add(&mut runs, &mut spill);
    let (taken, slices) = reads(&mut runs, &count, 1);
    assert!(taken <= slices * 3 && slices == 20, "{taken} reads for {slices} slices of its own");
    let (taken, slices) = reads(&mut runs, &count, 2);
    assert!(taken <= slices * 5, "{taken} reads for {slices} slices of shared ones");
    let (taken, slices) = reads(&mut runs, &count, 110);
    assert_eq!((taken, slices), (1, 1), "all of a small queue is read at once");
}

#[test]
fn memory_goes_by_queues_and_not_by_messages() {
    for (queues, each) in [(20_000_u64, 1), (20_000, 4), (50, 400)] {
        let disk = SimulatedDisk::new();
        let (mut runs, _) =
            Runs::open(Box::new(disk), RunSettings::default(), &[]).expect("it opens");
        let mut spill = Spill::new();
        for number in 0..queues * each {
            spill.push(number % queues * 3, number, &[0], number, &[5; 100]).expect("it is small");
        }
        add(&mut runs, &mut spill);
        assert_eq!(runs.messages(), queues * each);
        let memory = runs.memory_bytes();
        let bound = usize::try_from(queues).expect("it is small") * 17 + 4_096;
        assert!(memory < bound, "{memory} bytes for {queues} queues of {each}");
    }
}

#[test]
fn a_spill_says_what_it_takes() {
    let mut spill = Spill::new();
    for number in 0..100_000_u64 {
        spill.push(number % 10, number, &[0], number / 2, &[5; 100]).expect("it is small");
    }
    let memory = spill.memory_bytes();
    // 50,000 bodies and 100,000 references.
    assert!((5_000_000 + 2_500_000..12_000_000).contains(&memory), "{memory}");
    assert_eq!(spill.len(), 100_000);
    spill.clear();
    assert_eq!((spill.memory_bytes(), spill.is_empty()), (0, true));
}

#[test]
fn a_body_is_known_again_in_whatever_order_it_comes() {
    let mut runs = Runs::open(Box::new(SimulatedDisk::new()), RunSettings::default(), &[])
        .expect("it opens")
        .0;
    let mut spill = Spill::new();
    for _ in 0..2 {
        let identities = [50, 90, 70, 0, 50, 70, 90, 91, 70, 90, 0, 60, 91, 50, 60];
        let mut bytes = Vec::new();
        for (seq, identity) in (0..).zip(identities) {
            spill
                .push(1, seq, &[], identity, &[u8::try_from(identity).expect("it is small"); 1_000])
                .expect("it is small");
            bytes.push(u8::try_from(identity).expect("it is small"));
        }
        add(&mut runs, &mut spill);
        let mut read = Vec::new();
        runs.read(1, 0, &ALL, |message| read.push(message.body[0])).expect("there is power");
        assert_eq!(read, bytes);
        assert!((6_000..7_500).contains(&runs.bytes()), "{}", runs.bytes());
        runs.finish(1, u64::MAX);
    }
}

#[test]
fn a_body_that_many_queues_need_stands_once() {
    let mut shelf = Shelf::new(SimulatedDisk::new()).expect("it opens");
    let references: Vec<_> = (0..1_000).map(|queue| (queue, 5)).collect();
    let mut pending = Pending::default();
    pending.push(&references, &[1], &[9; 10_000]);
    shelf.spill(&mut pending).expect("there is room");
    assert!(shelf.disk.bytes() < 10_000 + 1_000 * 120, "{}", shelf.disk.bytes());
    assert_eq!(shelf.wrong(&ALL), None);
    // And if one alone is left, a merge keeps it for that one.
    for queue in 1..1_000 {
        shelf.finish(queue, 5);
    }
    assert!(shelf.merge().expect("there is room"));
    shelf.store();
    assert!(shelf.disk.bytes() < 10_300, "{}", shelf.disk.bytes());
    assert_eq!(shelf.wrong(&ALL), None);
}

#[test]
fn what_is_written_and_drained_for_long_takes_little_more_room_than_what_is_left() {
    let mut shelf = Shelf::new(SimulatedDisk::new()).expect("it opens");
    let (mut live_max, mut disk_max) = (0, 0);
    for round in 0..60_u64 {
        let mut pending = Pending::default();
        for number in 0..400 {
            pending.push(&[(number % 20, round * 1_000 + number)], &[], &[3; 256]);
        }
        shelf.spill(&mut pending).expect("there is room");
        // Ten rounds are left, and queue 0 never comes; in the end it goes.
        for queue in 1..20 {
            shelf.finish(queue, (round * 1_000).saturating_sub(9_001));
        }
        shelf.store();
        if shelf.merge().expect("there is room") {
            shelf.store();
        }
        let live = 10 * 400 * 256 + (round + 1) * 20 * 256;
        (live_max, disk_max) = (live_max.max(live), disk_max.max(shelf.disk.bytes()));
    }
    assert!(disk_max < live_max * 3, "{disk_max} bytes for {live_max}");
    for queue in 0..20 {
        assert!(shelf.disk.bytes() > 0);
        shelf.finish(queue, u64::MAX);
        shelf.store();
    }
    assert_eq!(shelf.disk.bytes(), 0);
}

#[test]
fn a_full_disk_is_told_gives_back_what_was_written_and_heals() {
    let mut shelf = Shelf::new(SimulatedDisk::new()).expect("it opens");
    let mut pending = Pending::default();
    pending.push(&[(1, 1)], &[], &[1; 500]);
    shelf.spill(&mut pending).expect("there is room");
    shelf.store();
    let before = shelf.disk.bytes();
    shelf.disk.set_capacity(Some(before + 3_000_000));
    for seq in 2..5_000 {
        pending.push(&[(1, seq)], &[], &[1; 1_000]);
    }
    for _ in 0..3 {
        let error = shelf.spill(&mut pending).expect_err("there is no room");
        assert!(error.is_full(), "{error}");
        assert_eq!(shelf.disk.bytes(), before);
    }
    shelf.disk.set_capacity(None);
    shelf.spill(&mut pending).expect("there is room again");
    shelf.store();
    let disk = shelf.disk.after(Cut::Lost);
    let (mut again, _) = Shelf::reopen(disk, shelf.manifest, shelf.durable).expect("it opens");
    assert_eq!(again.wrong(&ALL), None);
}

#[test]
fn a_merge_that_finds_no_room_or_is_given_up_changes_nothing() {
    let mut shelf = Shelf::new(SimulatedDisk::new()).expect("it opens");
    for run in 0..6 {
        let mut pending = Pending::default();
        pending.push(&[(1, run * 2), (2, run)], &[], &[1; 5_000]);
        pending.push(&[(1, run * 2 + 1)], &[], &[1; 5_000]);
        shelf.spill(&mut pending).expect("there is room");
    }
    shelf.store();
    let before = shelf.disk.bytes();
    shelf.disk.set_capacity(Some(before + 1_000));
    assert!(shelf.merge().expect_err("there is no room").is_full());
    shelf.disk.set_capacity(None);
    let merge = shelf.runs.begin_merge().expect("there is room").expect("there are too many");
    shelf.runs.end_merge(merge).expect("it is given up");
    assert_eq!((shelf.disk.bytes(), shelf.runs.len()), (before, 6));
    assert_eq!(shelf.wrong(&ALL), None);
    shelf.disk.fail_syncs(1);
    assert!(shelf.merge().is_err());
    assert_eq!((shelf.disk.bytes(), shelf.runs.len()), (before, 6));
    assert!(shelf.merge().expect("there is room"));
    assert_eq!(shelf.runs.len(), 1);
    assert_eq!(shelf.wrong(&ALL), None);
}

/// Six runs with two messages each of queue 1, and one of queues 2 and 3.
fn six_runs() -> Shelf {
    let mut shelf = Shelf::new(SimulatedDisk::new()).expect("it opens");
    for run in 0..6 {
        let mut pending = Pending::default();
        pending.push(&[(1, run * 2), (2, run)], &[], &[1; 5_000]);
        pending.push(&[(1, run * 2 + 1)], &[], &[1; 5_000]);
        pending.push(&[(3, run)], &[], &[1; 5_000]);
        shelf.spill(&mut pending).expect("there is room");
    }
    shelf.store();
    shelf
}

#[test]
fn a_merge_leaves_out_what_is_done() {
    let mut shelf = six_runs();
    // Of no run everything: only the merge can give something back.
    shelf.finish(1, 0);
    assert_eq!((shelf.runs.len(), shelf.runs.messages()), (6, 24));
    assert!(shelf.merge().expect("there is room"));
    assert_eq!((shelf.runs.len(), shelf.runs.messages()), (1, 23));
    shelf.finish(3, 2);
    assert_eq!(shelf.wrong(&ALL), None);
}

#[test]
fn what_is_done_during_a_merge_is_done_behind_it() {
    let mut shelf = six_runs();
    let mut merge = shelf.runs.begin_merge().expect("there is room").expect("there are too many");
    shelf.finish(1, u64::MAX);
    while merge.step().expect("there is room") {}
    shelf.finish(3, u64::MAX);
    shelf.finish(2, 3);
    assert_eq!(shelf.runs.end_merge(merge).expect("there is power"), []);
    let lasts = [1, 2, 3].map(|queue| shelf.runs.last(queue));
    assert_eq!((shelf.runs.len(), lasts), (1, [None, Some(5), None]));
    assert_eq!(shelf.wrong(&ALL), None);
    shelf.finish(2, 5);
    shelf.store();
    assert_eq!((shelf.runs.len(), shelf.disk.bytes()), (0, 0));
}

#[test]
fn what_becomes_done_altogether_during_a_merge_leaves_nothing() {
    let mut shelf = six_runs();
    let mut merge = shelf.runs.begin_merge().expect("there is room").expect("there are too many");
    while merge.step().expect("there is room") {}
    (1..4).for_each(|queue| shelf.finish(queue, u64::MAX));
    assert_eq!(shelf.runs.end_merge(merge).expect("there is power"), []);
    shelf.store();
    assert_eq!((shelf.runs.len(), shelf.disk.bytes()), (0, 0));
}
