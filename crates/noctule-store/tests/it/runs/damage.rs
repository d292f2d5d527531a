//! Damaged runs: every changed byte is seen or harmless, and takes nothing else with it.

use noctule_store::{Cut, Disk, SimulatedDisk, SliceLimits};

use crate::runs::model::{ALL, Entry, Pending, Shelf};

const RUN: &str = "run-0000000000000001.run";
const QUEUES: u64 = 6;

/// A run with bodies of one queue and of several, and one queue with chunks of its own if it is
/// large.
fn filled(is_large: bool) -> Shelf {
    let mut shelf = Shelf::new(SimulatedDisk::new()).expect("it opens");
    let mut pending = Pending::default();
    for seq in 0..6 {
        for queue in 0..QUEUES {
            pending.push(&[(queue, seq * 2)], &[1, 2], format!("own {queue} {seq}").as_bytes());
        }
        pending.push(&[(1, seq * 2 + 1), (4, seq * 2 + 1)], &[], b"shared by two queues");
    }
    if is_large {
        for seq in 100..120 {
            pending.push(&[(2, seq)], &[], &[u8::try_from(seq).expect("it is small"); 5_000]);
        }
    }
    shelf.spill(&mut pending).expect("there is room");
    shelf.store();
    shelf
}

fn length(disk: &SimulatedDisk) -> usize {
    let mut length = 0;
    disk.damage(RUN, |bytes| length = bytes.len());
    length
}

/// How many messages are missing after a change. What is there must be right.
fn missing(shelf: &mut Shelf, limits: &SliceLimits) -> (usize, bool) {
    let (mut missing, mut is_seen) = (0, false);
    for queue in 0..QUEUES {
        let (found, slice) = shelf.read(queue, limits);
        let needed = shelf.model.needed(queue);
        let is_right = |entry: &Entry| needed.contains(entry);
        assert!(found.iter().all(is_right) && found.is_sorted_by_key(|it| it.0));
        missing += needed.len() - found.len();
        is_seen |= !slice.damaged.is_empty();
    }
    (missing, is_seen)
}

fn flip(is_large: bool, at: usize) {
    let shelf = filled(is_large);
    let (manifest, durable) = (shelf.manifest.clone(), shelf.durable.clone());
    let limits = SliceLimits { messages: 4, bytes: usize::MAX };
    // Before it is opened, and behind the back of somebody who has it open.
    let disk = shelf.disk.after(Cut::Nothing);
    disk.damage(RUN, |bytes| bytes[at] ^= 0x20);
    let (mut opened, damaged) = Shelf::reopen(disk, manifest.clone(), durable.clone())
        .unwrap_or_else(|error| panic!("byte {at}: {error}"));
    let disk = shelf.disk.after(Cut::Nothing);
    let (mut open, none) = Shelf::reopen(disk.clone(), manifest, durable).expect("it opens");
    assert_eq!(none, []);
    disk.damage(RUN, |bytes| bytes[at] ^= 0x20);
    for (shelf, is_seen) in [(&mut opened, !damaged.is_empty()), (&mut open, false)] {
        let (lost, is_seen_now) = missing(shelf, &limits);
        assert!(lost == 0 || is_seen || is_seen_now, "byte {at}: {lost} are lost unseen");
        // A chunk here has less than 13 messages.
        assert!(lost <= 13, "byte {at}: {lost} are lost");
        assert_eq!(missing(shelf, &ALL).0, lost, "byte {at}: in one slice");
    }
    assert!(missing(&mut opened, &ALL).1 || !damaged.is_empty(), "byte {at} is not seen");
}

#[test]
fn every_changed_byte_of_a_run_is_seen() {
    for at in 0..length(&filled(false).disk) {
        flip(false, at);
    }
}

#[test]
fn every_changed_byte_of_a_run_with_large_queues_is_seen() {
    let length = length(&filled(true).disk);
    let sampled = (0..length).step_by(1_499);
    for at in sampled.chain(length - 700..length) {
        flip(true, at);
    }
}

#[test]
fn damage_is_told_with_its_place_and_set_aside() {
    let shelf = filled(false);
    let mut at = 0;
    shelf.disk.damage(RUN, |bytes| {
        let place = bytes.windows(7).position(|it| it == b"own 3 4").expect("it is there");
        bytes[place] ^= 1;
        at = place as u64;
    });
    let (manifest, durable) = (shelf.manifest.clone(), shelf.durable.clone());
    let (mut again, damaged) = Shelf::reopen(shelf.disk, manifest, durable).expect("it opens");
    assert_eq!(damaged, []);
    let (read, slice) = again.read(3, &ALL);
    assert_eq!(read, []);
    let [damaged] = &slice.damaged[..] else { panic!("{slice:?}") };
    assert!(damaged.run == 1 && damaged.offset < at && damaged.offset + damaged.bytes > at);
    assert!(damaged.to_string().contains("of run 1 cannot be read: its checksum"), "{damaged}");
    let aside = format!("damaged-run-0000000000000001-{}.bin", damaged.offset);
    assert!(again.disk.names().expect("it is there").contains(&aside));
    for queue in [0, 1, 2, 4, 5] {
        assert_eq!(again.read(queue, &ALL).0, again.model.needed(queue));
    }
}

#[test]
fn a_merge_takes_what_can_be_read_and_says_what_cannot() {
    let mut shelf = filled(false);
    for run in 2..6 {
        let mut pending = Pending::default();
        pending.push(&[(1, run * 100), (2, run * 100)], &[], b"another");
        shelf.spill(&mut pending).expect("there is room");
    }
    shelf.disk.damage(RUN, |bytes| {
        let place = bytes.windows(7).position(|it| it == b"own 3 4").expect("it is there");
        bytes[place] ^= 1;
        // The first shared body.
        let place = bytes.windows(6).position(|it| it == b"shared").expect("it is there");
        bytes[place] ^= 1;
    });
    let mut merge = shelf.runs.begin_merge().expect("it opens").expect("there are too many");
    while merge.step().expect("there is room") {}
    let damaged = shelf.runs.end_merge(merge).expect("there is power");
    assert_eq!(damaged.len(), 2, "{damaged:?}");
    assert_eq!(shelf.runs.len(), 1);
    shelf.store();
    let (lost, is_seen) = missing(&mut shelf, &ALL);
    assert_eq!((lost, is_seen), (6 + 2, false));
    let names = shelf.disk.names().expect("it is there");
    let aside = names.iter().filter(|name| name.starts_with("damaged-run-"));
    assert_eq!((names.len(), aside.count()), (3, 2), "{names:?}");
}

#[test]
fn a_run_that_is_cut_short_keeps_its_front() {
    let shelf = filled(true);
    let whole = length(&shelf.disk);
    for cut in [1, 50, 70, 200, 5_100, 30_000, whole - 100, whole] {
        let disk = shelf.disk.after(Cut::Nothing);
        disk.damage(RUN, |bytes| bytes.truncate(whole - cut));
        let (manifest, durable) = (shelf.manifest.clone(), shelf.durable.clone());
        let (mut again, damaged) = Shelf::reopen(disk, manifest, durable).expect("it opens");
        assert!(!damaged.is_empty());
        let (lost, _) = missing(&mut again, &ALL);
        assert!(cut > 200 || lost == 0, "{lost} are lost with {cut} bytes");
        // All behind the large queue, and of that so many chunks of three messages.
        let most = 24 + 3 * (cut / 15_000 + 1);
        assert!(cut > 30_000 || lost <= most, "{lost} are lost with {cut} bytes");
    }
}

#[test]
fn a_missing_file_is_told_and_the_others_are_read() {
    let mut shelf = filled(false);
    let mut pending = Pending::default();
    pending.push(&[(1, 1_000)], &[], b"in the second run");
    shelf.spill(&mut pending).expect("there is room");
    shelf.store();
    let mut disk = shelf.disk.after(Cut::Nothing);
    disk.remove(RUN).expect("it is there");
    let (mut again, damaged) =
        Shelf::reopen(disk, shelf.manifest, shelf.durable).expect("it opens");
    let [damaged] = &damaged[..] else { panic!("{damaged:?}") };
    assert_eq!((damaged.run, damaged.reason), (1, "its file is missing"));
    assert_eq!(again.read(1, &ALL).0.len(), 1);
    assert!(again.runs.version() > 0, "the manifest has changed");
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_removed() {
    let shelf = filled(false);
    shelf.disk.damage(RUN, |bytes| {
        bytes[8] = 2;
        let checksum = crate::damage::crc32(&bytes[..20]);
        bytes[20..24].copy_from_slice(&checksum.to_le_bytes());
    });
    let error = Shelf::reopen(shelf.disk.clone(), shelf.manifest, shelf.durable);
    let error = error.map(|_| ()).expect_err("it is newer");
    assert!(error.to_string().contains("has format 2"), "{error}");
    assert_eq!(shelf.disk.names().expect("it is there").len(), 1);
}
