//! Disks that are full, and syncs that fail: nothing is promised falsely, and it goes on.

use noctule_store::{Cut, SimulatedDisk};

use crate::book::{Book, read};

#[test]
fn a_full_disk_is_told_and_heals() {
    let disk = SimulatedDisk::new();
    let mut book = Book::open(disk.clone()).expect("it opens");
    book.append(1).expect("there is room");
    disk.set_capacity(Some(disk.bytes() + 20));
    book.put(2);
    for _ in 0..3 {
        let error = book.commit().expect_err("there is no room");
        assert!(error.is_full(), "{error}");
    }
    assert_eq!(read(&disk.after(Cut::Lost)).0, [1]);
    let names = noctule_store::Disk::names(&disk).expect("it is there");
    assert_eq!(names.len(), 1, "a full disk is not filled with attempts: {names:?}");
    disk.set_capacity(None);
    book.put(3);
    book.commit().expect("there is room again");
    let (numbers, summary) = read(&disk.after(Cut::Lost));
    assert_eq!((numbers, summary.is_intact()), (vec![1, 2, 3], true));
}

#[test]
fn a_rewrite_that_finds_no_room_leaves_everything_as_it_was() {
    let disk = SimulatedDisk::new();
    let mut book = Book::open(disk.clone()).expect("it opens");
    for number in 1..9 {
        book.append(number).expect("there is room");
    }
    disk.set_capacity(Some(disk.bytes() + 100));
    book.keep(|number| number > 2).expect_err("there is no room");
    assert_eq!(read(&disk.after(Cut::Nothing)).0, (1..9).collect::<Vec<_>>());
    disk.set_capacity(None);
    book.keep(|number| number > 6).expect("there is room again");
    book.append(9).expect("it goes on");
    assert_eq!(read(&disk.after(Cut::Lost)).0, [7, 8, 9]);
}

#[test]
fn what_a_failed_sync_has_dropped_is_written_again_elsewhere() {
    for failures in 1..4 {
        let disk = SimulatedDisk::new();
        let mut book = Book::open(disk.clone()).expect("it opens");
        book.append(1).expect("the disk answers");
        disk.fail_syncs(failures);
        book.put(2);
        for _ in 0..failures {
            book.commit().expect_err("the disk does not answer");
        }
        book.commit().expect("the disk answers again");
        book.append(3).expect("the disk answers");
        for cut in [Cut::Nothing, Cut::Lost, Cut::Torn, Cut::Random(failures.into())] {
            let (numbers, summary) = read(&disk.after(cut));
            assert_eq!((numbers, summary.is_intact()), (vec![1, 2, 3], true), "{cut:?}");
        }
    }
}

#[test]
fn a_log_that_is_rewritten_takes_no_more_room_than_what_lives() {
    let disk = SimulatedDisk::new();
    let mut book = Book::open(disk.clone()).expect("it opens");
    for number in 1..400 {
        book.append(number).expect("there is room");
        if number.is_multiple_of(20) {
            book.keep(|live| live + 5 > number).expect("there is room");
        }
    }
    assert!(disk.bytes() < 20_000, "{}", disk.bytes());
}
