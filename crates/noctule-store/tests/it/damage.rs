//! Damage in the middle, at the end, and files that are not ours.

use noctule_store::{Log, LogSettings, Repair, SimulatedDisk, StoreError};

use crate::book::{Book, SETTINGS, read};

fn segment(number: u64) -> String {
    format!("log-{number:016x}.seg")
}

/// Three batches in one segment and more in others; where the batches begin in the first.
fn filled() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let mut book = Book::open(disk.clone()).expect("it opens");
    for number in [1, 19, 38, 57, 76] {
        book.append(number).expect("there is room");
    }
    disk
}

#[test]
fn an_unreadable_record_is_set_aside_and_the_others_come_back() {
    let disk = filled();
    // Inside of the first record: the header of the segment, of the batch and of the record.
    disk.damage(&segment(1), |bytes| bytes[40 + 44 + 8 + 6] ^= 1);
    let (numbers, summary) = read(&disk);
    assert_eq!(numbers, [19, 38, 57, 76]);
    let [damaged] = &summary.quarantined[..] else { panic!("{summary}") };
    assert_eq!((damaged.segment, damaged.offset), (1, 84));
    assert!(damaged.reason.contains("checksum"), "{summary}");
    assert_eq!(summary.torn, None);
    let error = Book::open_with(disk, Repair::Refuse).expect_err("it is damaged");
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
}

#[test]
fn a_batch_without_header_is_missed_and_told() {
    let disk = filled();
    disk.damage(&segment(1), |bytes| bytes[41] ^= 1);
    let (numbers, summary) = read(&disk);
    assert_eq!(numbers, [19, 38, 57, 76]);
    assert_eq!((summary.missing_batches, summary.quarantined.len()), (1, 1), "{summary}");
}

#[test]
fn every_flipped_bit_of_the_first_segment_costs_one_batch_at_most() {
    let disk = filled();
    let all = read(&disk).0;
    let length = {
        let mut length = 0;
        disk.damage(&segment(1), |bytes| length = bytes.len());
        length
    };
    for at in 0..length {
        let disk = disk.after(noctule_store::Cut::Nothing);
        disk.damage(&segment(1), |bytes| bytes[at] ^= 0x20);
        let book = Book::open(disk).expect("it opens");
        let left = book.numbers();
        assert!(left.len() + 1 >= all.len(), "byte {at}: {left:?}");
        assert!(left.len() == all.len() || !book.summary.is_clean(), "byte {at}: {left:?}");
        assert!(left.iter().all(|number| all.contains(number)), "byte {at}: {left:?}");
    }
}

#[test]
fn what_is_lost_of_a_log_that_was_rewritten_is_never_taken_for_a_torn_end() {
    let disk = filled();
    let mut book = Book::open(disk.clone()).expect("it opens");
    book.keep(|number| number < 39).expect("there is room");
    drop(book);
    let [name] = &noctule_store::Disk::names(&disk).expect("it is there")[..] else {
        panic!("more than one segment")
    };
    let all = read(&disk).0;
    assert_eq!(all, [1, 19, 38]);
    let mut length = 0;
    disk.damage(name, |bytes| length = bytes.len());
    for at in 0..length {
        let disk = disk.after(noctule_store::Cut::Nothing);
        disk.damage(name, |bytes| bytes[at] ^= 0x20);
        let (left, summary) = read(&disk);
        assert!(left == all || !summary.is_intact(), "byte {at}: {left:?}, {summary}");
    }
}

#[test]
fn a_torn_end_is_cut_off_and_told_once() {
    let disk = filled();
    let last = (1..9).rev().find(|number| {
        Log::open(Box::new(disk.clone()), SETTINGS, Repair::Salvage, |_| Ok(())).is_ok()
            && noctule_store::Disk::names(&disk)
                .is_ok_and(|names| names.contains(&segment(*number)))
    });
    let last = segment(last.expect("there is one"));
    disk.damage(&last, |bytes| bytes.truncate(bytes.len() - 3));
    let (numbers, summary) = read(&disk);
    assert_eq!(numbers, [1, 19, 38, 57]);
    assert!(summary.is_intact() && summary.torn.is_some(), "{summary}");
    assert!(summary.to_string().contains("unfinished"), "{summary}");
    let (again, summary) = read(&disk);
    assert_eq!((again, summary.is_clean()), (numbers, true));
    assert!(Book::open_with(disk, Repair::Refuse).is_ok());
}

#[test]
fn an_empty_beginning_keeps_the_old_files() {
    let disk = filled();
    disk.damage(&segment(1), |bytes| bytes[41] ^= 1);
    let book = Book::open_with(disk.clone(), Repair::Empty).expect("it opens");
    assert_eq!(book.numbers(), []);
    let names = noctule_store::Disk::names(&disk).expect("it is there");
    assert!(names.contains(&format!("aside-{}", segment(1))), "{names:?}");
    drop(book);
    let disk = filled();
    let book = Book::open_with(disk, Repair::Empty).expect("it opens");
    assert_eq!(book.numbers().len(), 5, "nothing is damaged, so nothing is set aside");
}

#[test]
fn what_the_reader_does_not_understand_is_set_aside() {
    let disk = filled();
    let (_, summary) = Log::open(Box::new(disk), SETTINGS, Repair::Salvage, |record| {
        if record.bytes.first() == Some(&38) { Err("of a later version".into()) } else { Ok(()) }
    })
    .expect("it opens");
    assert_eq!((summary.records, summary.quarantined.len()), (4, 1));
    assert_eq!(summary.quarantined[0].reason, "of a later version");
}

#[test]
fn other_formats_and_other_contents_are_refused() {
    let disk = filled();
    let other = LogSettings { content: 8, ..SETTINGS };
    let error = Log::open(Box::new(disk.clone()), other, Repair::Salvage, |_| Ok(()));
    let error = error.expect_err("it is another one's");
    assert!(matches!(error, StoreError::OtherContent { found: 7, wanted: 8, .. }), "{error}");
    disk.damage(&segment(1), |bytes| {
        bytes[8] = 2;
        let checksum = crc32(&bytes[..36]);
        bytes[36..40].copy_from_slice(&checksum.to_le_bytes());
    });
    let error = Book::open(disk).expect_err("it is newer");
    assert!(matches!(error, StoreError::NewerFormat { found: 2, known: 1, .. }), "{error}");
}

/// CRC-32 by the book, so that the format does not hang on one implementation.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
