//! The power goes at every operation of a long story, in every way: what was promised is there.

use std::collections::BTreeSet;

use noctule_store::{Cut, Disk, SimulatedDisk, StoreError};

use crate::book::Book;

const CUTS: [Cut; 7] = [
    Cut::Nothing,
    Cut::Lost,
    Cut::Torn,
    Cut::Reordered,
    Cut::Random(1),
    Cut::Random(2),
    Cut::Random(3),
];

/// What was promised, and what may be there.
#[derive(Clone, Debug, Default)]
struct Promises {
    /// Must be there.
    kept: BTreeSet<u32>,
    /// Must not be there any more.
    gone: BTreeSet<u32>,
    written: u32,
}

fn is_kept(number: u32) -> bool {
    number.is_multiple_of(3)
}

/// Appends, rolls segments and rewrites, until the power goes.
fn story(book: &mut Book, promises: &mut Promises) -> Result<(), StoreError> {
    for chapter in 0..12 {
        for _ in 0..chapter % 4 {
            promises.written += 1;
            book.put(promises.written);
        }
        let written = promises.written;
        book.commit()?;
        promises.kept.extend((1..=written).filter(|number| !promises.gone.contains(number)));
        if chapter % 5 == 4 {
            let going: Vec<_> = promises.kept.iter().filter(|it| !is_kept(**it)).copied().collect();
            // From now on either is right, until it has come back.
            for number in &going {
                promises.kept.remove(number);
            }
            book.keep(is_kept)?;
            promises.gone.extend(going);
        }
    }
    Ok(())
}

/// What of a story is wrong behind a power cut.
fn judge(disk: &SimulatedDisk, promises: &Promises) -> Result<Book, String> {
    let book = Book::open(disk.clone()).map_err(|error| error.to_string())?;
    let found = book.numbers();
    if !found.is_sorted_by(|a, b| a < b) {
        return Err(format!("out of order: {found:?}"));
    }
    let is_there = |number: &u32| found.contains(number);
    if let Some(lost) = promises.kept.iter().find(|number| !is_there(number)) {
        return Err(format!("{lost} is lost: {found:?}"));
    }
    if let Some(back) = promises.gone.iter().find(|number| is_there(number)) {
        return Err(format!("{back} is there again: {found:?}"));
    }
    if found.iter().any(|number| *number > promises.written) {
        return Err(format!("invented: {found:?}"));
    }
    if !book.summary.is_intact() {
        return Err(format!("nothing is damaged: {}", book.summary));
    }
    Ok(book)
}

/// Tells the story with a power cut at each operation. The first thing that is wrong, and how often
/// the power went.
fn every_cut(plant: impl Fn(&SimulatedDisk)) -> (Option<String>, u32) {
    let mut cuts = 0;
    for stop in 1.. {
        let disk = SimulatedDisk::new();
        plant(&disk);
        disk.stop_at(stop);
        let mut promises = Promises::default();
        let told = Book::open(disk.clone()).and_then(|mut book| story(&mut book, &mut promises));
        for cut in CUTS {
            cuts += 1;
            let wrong = judge(&disk.after(cut), &promises).and_then(|mut book| {
                // And goes on, to be cut again right behind.
                let next = promises.written + 1;
                book.append(next).map_err(|error| error.to_string())?;
                Ok(())
            });
            if let Err(wrong) = wrong {
                return (Some(format!("operation {stop}, {cut:?}: {wrong}")), cuts);
            }
        }
        if told.is_ok() {
            return (None, cuts);
        }
    }
    unreachable!("the story ends")
}

#[test]
fn what_was_promised_survives_a_power_cut_at_every_operation() {
    let (wrong, cuts) = every_cut(|_| {});
    assert_eq!(wrong, None);
    assert!(cuts > 200, "only {cuts} cuts");
}

#[test]
fn a_sync_that_does_nothing_is_found() {
    let (wrong, _) = every_cut(SimulatedDisk::ignore_syncs);
    assert!(wrong.is_some_and(|wrong| wrong.contains("is lost")));
}

#[test]
fn a_second_power_cut_right_behind_the_first_loses_nothing_either() {
    for first in 1..60 {
        let disk = SimulatedDisk::new();
        disk.stop_at(first);
        let mut promises = Promises::default();
        let _ = Book::open(disk.clone()).and_then(|mut book| story(&mut book, &mut promises));
        for cut in CUTS {
            // What only the death of the process left must be durable once it was read.
            let again = disk.after(cut);
            let Ok(mut book) = judge(&again, &promises) else { panic!("{first} {cut:?}") };
            let mut seen = promises.clone();
            seen.kept.extend(book.numbers());
            seen.gone.retain(|number| !seen.kept.contains(number));
            seen.written += 1;
            book.append(seen.written).expect("it goes on");
            seen.kept.insert(seen.written);
            for cut in CUTS {
                let judged = judge(&again.after(cut), &seen);
                assert!(judged.is_ok(), "{first}, then {cut:?}: {judged:?}");
            }
        }
    }
}

/// With the zeros that fill up its last block, half of it would be all of it.
#[test]
fn of_a_synced_write_that_is_torn_its_own_second_half_is_missing() {
    let mut disk = SimulatedDisk::new();
    let mut file = disk.create("file").expect("a disk");
    file.write_at(&[1; 8_192], 0).expect("a disk");
    file.sync().expect("a disk");
    disk.sync_names().expect("a disk");
    disk.ignore_syncs();
    file.write_durably(&[7; 300], 0).expect("a disk");
    let after = |cut| {
        let mut bytes = [0; 8_192];
        let file = disk.after(cut).open("file").expect("it is there");
        file.read_at(&mut bytes, 0).expect("its bytes");
        bytes
    };
    let (torn, whole) = (after(Cut::Torn), after(Cut::Nothing));
    assert!(torn[..150] == [7; 150] && torn[150..] == [1; 8_042]);
    assert!(whole[..300] == [7; 300] && whole[300..4_096] == [0; 3_796]);
    assert!(whole[4_096..] == [1; 4_096], "the next block is as it was");
}
