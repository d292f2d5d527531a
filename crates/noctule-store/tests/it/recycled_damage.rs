//! Damage in files that are used again, what their former lives have left, and what somebody has
//! put into them in order to be taken for the log itself.

use noctule_store::{Batch, Cut, Log, Repair, SimulatedDisk, Summary};

use crate::damage::crc32;
use crate::ledger::SETTINGS;

/// A disk whose files have had several lives: the first segment that counts, and the sequence
/// numbers of the batches that do.
fn with_lives(content: impl Fn(u64) -> Vec<u8>) -> (SimulatedDisk, u64, Vec<u64>) {
    let disk = SimulatedDisk::new();
    let (mut log, _) = open(&disk, 0, Repair::Refuse);
    let mut batch = Batch::new();
    let mut homes = Vec::new();
    for sequence in 1..=60 {
        batch.push(|out| out.extend(content(sequence))).expect("it fits");
        log.commit(&mut batch).expect("there is room");
        homes.push((log.view().active(), sequence));
        log.trim(log.view().active().saturating_sub(1));
    }
    let first = log.view().active() - 1;
    assert!(first > 5, "{first}");
    let counting = homes.iter().filter(|(segment, _)| *segment >= first);
    (disk, first, counting.map(|(_, sequence)| *sequence).collect())
}

fn open(disk: &SimulatedDisk, first: u64, repair: Repair) -> (Log, (Vec<u64>, Summary)) {
    let mut sequences = Vec::new();
    let opened = Log::open_from(first, Box::new(disk.clone()), SETTINGS, repair, |record| {
        sequences.push(record.sequence);
        Ok(())
    });
    let (log, summary) = opened.expect("it opens");
    (log, (sequences, summary))
}

fn segment(number: u64) -> String {
    format!("log-{number:016x}.seg")
}

fn small(sequence: u64) -> Vec<u8> {
    vec![0xA5; 100 + usize::try_from(sequence % 3).expect("small")]
}

#[test]
fn what_a_former_life_has_left_is_no_damage_and_nothing_unfinished() {
    let (disk, first, counting) = with_lives(small);
    for cut in [Cut::Nothing, Cut::Lost] {
        let (_, (found, summary)) = open(&disk.after(cut), first, Repair::Refuse);
        assert_eq!((&found, summary.is_clean()), (&counting, true), "{summary}");
    }
}

#[test]
fn every_flipped_byte_costs_one_batch_at_most_and_is_seen() {
    let (disk, first, counting) = with_lives(small);
    let mut seen = 0;
    for number in first..first + 2 {
        let mut length = 0;
        disk.damage(&segment(number), |bytes| length = bytes.len());
        for at in 0..length {
            let disk = disk.after(Cut::Nothing);
            disk.damage(&segment(number), |bytes| bytes[at] ^= 0x20);
            let (_, (found, summary)) = open(&disk, first, Repair::Salvage);
            assert!(found.len() + 1 >= counting.len(), "{number}, byte {at}: {found:?}");
            assert!(found.iter().all(|sequence| counting.contains(sequence)), "byte {at}");
            let is_whole = found.len() == counting.len();
            assert!(is_whole || !summary.is_clean(), "{number}, byte {at}: {found:?}");
            seen += usize::from(!is_whole);
        }
    }
    assert!(seen > 1_000, "{seen}");
}

#[test]
fn a_batch_behind_a_bad_one_is_damage_in_the_first_segment_too() {
    let (disk, first, counting) = with_lives(small);
    disk.damage(&segment(first), |bytes| bytes[40..60].fill(0));
    let (_, (found, summary)) = open(&disk, first, Repair::Salvage);
    assert_eq!(found, counting[1..]);
    assert_eq!((summary.missing_batches, summary.torn), (1, None));
}

/// A frame of one record, as whoever knows everything but a number of chance would make it.
fn forged(segment: u64, sequence: u64, life: u32) -> Vec<u8> {
    let mut frame = b"NFRM".to_vec();
    frame.extend(12_u32.to_le_bytes());
    frame.extend(sequence.to_le_bytes());
    frame.extend([0; 16]);
    frame.extend(1_u32.to_le_bytes());
    frame.extend(life.to_le_bytes());
    let checksum = crc32(&[&segment.to_le_bytes()[..], &frame].concat());
    frame.extend(checksum.to_le_bytes());
    let record = [4, 0, 0, 0, 6, 6, 6, 6];
    let mask = if life == 0 { 0 } else { checksum };
    frame.extend([4, 0, 0, 0]);
    frame.extend((crc32(&record) ^ mask).to_le_bytes());
    frame.extend([6; 4]);
    frame
}

#[test]
fn what_somebody_puts_into_a_record_is_never_taken_for_a_batch() {
    for life in [0, 1, 77] {
        let content = |sequence| {
            // For all lives to come, and ahead of all that is written.
            (0..8).flat_map(|ahead| forged(sequence / 2 + ahead, 1_000 + ahead, life)).collect()
        };
        let (disk, first, counting) = with_lives(content);
        let (_, (found, summary)) = open(&disk, first, Repair::Refuse);
        assert_eq!((found, summary.is_clean()), (counting, true), "{summary}");
    }
}
