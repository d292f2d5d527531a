//! Files that are used again: the power goes and the disk fails at every operation of a story in
//! which each file has several lives.

use std::ops::ControlFlow;

use noctule_store::{Batch, Cut, Disk, Log, LogSettings, Repair, SimulatedDisk, StoreError};

use crate::ledger::{CUTS, Plant, Promises, SETTINGS, Story, disk, judge, open};

const CHAPTERS: u32 = 80;

fn story(plant: Plant, same_size: bool) -> Story {
    Story { plant, same_size, chapters: CHAPTERS }
}

/// Goes on behind a cut, and is cut right again.
fn goes_on(mut log: Log, disk: &SimulatedDisk, promises: &Promises) -> Result<(), String> {
    let mut promises = promises.clone();
    let before = open(&disk.after(Cut::Nothing))?.1;
    promises.kept.extend(before.iter().map(|(segment, number)| (*number, *segment)));
    promises.written += 1;
    let mut batch = Batch::new();
    batch.push(|out| out.extend(promises.written.to_le_bytes())).map_err(|e| e.to_string())?;
    log.commit(&mut batch).map_err(|error| error.to_string())?;
    promises.kept.insert(promises.written, log.view().active());
    judge(&disk.after(Cut::Lost), Cut::Nothing, &promises).map(|_| ())
}

/// Tells the story with a power cut at each operation. The first thing that is wrong, and how often
/// the power went.
fn every_cut(story: &Story, plant: impl Fn(&SimulatedDisk)) -> (Option<String>, u32) {
    let mut cuts = 0;
    let start = disk().operations();
    for stop in start + 1.. {
        let disk = disk();
        plant(&disk);
        disk.stop_at(stop);
        let mut promises = Promises::default();
        let told = story.tell(&disk, &mut promises);
        for cut in CUTS {
            cuts += 1;
            let after = disk.after(cut);
            let wrong =
                judge(&after, cut, &promises).and_then(|log| goes_on(log, &after, &promises));
            if let Err(wrong) = wrong {
                return (Some(format!("operation {stop}, {cut:?}: {wrong}")), cuts);
            }
        }
        if told.is_continue() {
            return (None, cuts);
        }
    }
    unreachable!("the story ends")
}

#[test]
fn what_was_promised_survives_a_power_cut_at_every_operation_of_many_lives() {
    for same_size in [true, false] {
        let (wrong, cuts) = every_cut(&story(Plant::Nothing, same_size), |_| {});
        assert_eq!(wrong, None, "{same_size}");
        assert!(cuts > 1_000, "only {cuts} cuts");
    }
}

#[test]
fn files_are_used_again_and_no_more_are_made() {
    let disk = disk();
    let mut promises = Promises::default();
    assert!(story(Plant::Nothing, true).tell(&disk, &mut promises).is_continue());
    let segments = promises.kept.values().max().expect("there are some");
    assert!(*segments > 20, "{segments}");
    // Three that are alive, two that are free, the next one, the note.
    let names = disk.names().expect("it is there");
    assert!(names.len() <= 7, "{names:?}");
    assert!(disk.files() < 12, "{} files were made for {segments} segments", disk.files());
}

#[test]
fn planted_faults_are_found() {
    let is_lost = |(wrong, _): (Option<String>, u32)| {
        let wrong = wrong.unwrap_or_default();
        assert!(wrong.contains("is lost") || wrong.contains("batches missing"), "{wrong:?}");
    };
    let story = |plant| story(plant, true);
    is_lost(every_cut(&story(Plant::TrimsFirst), |_| {}));
    is_lost(every_cut(&story(Plant::Nothing), SimulatedDisk::ignore_name_syncs));
    is_lost(every_cut(&story(Plant::Nothing), SimulatedDisk::ignore_syncs));
}

#[test]
fn whatever_operation_fails_nothing_is_promised_falsely_and_it_heals() {
    for failures in [1, 2, 5] {
        let start = disk().operations();
        for operation in start + 1.. {
            let disk = disk();
            disk.fail_at(operation, failures);
            let mut promises = Promises::default();
            let told = story(Plant::Nothing, true).tell(&disk, &mut promises);
            assert_eq!(told, ControlFlow::Continue(()));
            assert_eq!(promises.kept.len(), usize::try_from(promises.written).unwrap());
            for cut in CUTS {
                let judged = judge(&disk.after(cut), cut, &promises);
                assert!(judged.is_ok(), "{operation}, {cut:?}: {judged:?}");
            }
            if disk.operations() < operation {
                break;
            }
        }
    }
}

#[test]
fn two_power_cuts_lose_no_more_than_one() {
    let short = Story { plant: Plant::Nothing, same_size: true, chapters: 30 };
    for first in (disk().operations() + 1..90).step_by(3) {
        for cut in [Cut::Lost, Cut::Nothing, Cut::Random(first)] {
            let disk = disk();
            disk.stop_at(first);
            let mut promises = Promises::default();
            let _ = short.tell(&disk, &mut promises);
            let again = disk.after(cut);
            for second in 1..50 {
                let again = again.after(Cut::Nothing);
                let mut promises = promises.clone();
                // What came back is relied on.
                let found = open(&again).expect("it opens").1;
                promises.kept.extend(found.iter().map(|(segment, number)| (*number, *segment)));
                again.stop_at(again.operations() + second);
                let _ = short.tell(&again, &mut promises);
                for cut in [Cut::Lost, Cut::Torn, Cut::Random(second)] {
                    let judged = judge(&again.after(cut), Cut::Nothing, &promises);
                    assert!(judged.is_ok(), "{first}, {second}, {cut:?}: {judged:?}");
                }
            }
        }
    }
}

#[test]
fn a_full_disk_is_told_when_a_segment_is_made_and_heals() {
    for room in [0, 10, 500, 1_499, 1_500, 1_600] {
        let disk = disk();
        let (mut log, _) = open(&disk).expect("it opens");
        let mut batch = Batch::new();
        let put = |batch: &mut Batch, number: u32| {
            let write = |out: &mut Vec<u8>| {
                out.extend(number.to_le_bytes());
                out.resize(out.len() + 696, 0);
            };
            batch.push(write).expect("it fits");
        };
        put(&mut batch, 1);
        log.commit(&mut batch).expect("there is room");
        disk.set_capacity(Some(disk.bytes() + room));
        let mut failed = 0;
        for number in 2..8 {
            put(&mut batch, number);
            if let Err(error) = log.commit(&mut batch) {
                assert!(error.is_full(), "{error}");
                failed += 1;
            }
        }
        assert!(failed > 0 && disk.bytes() <= 4_000, "{room}");
        assert!(disk.names().expect("it is there").len() <= 4);
        disk.set_capacity(None);
        log.commit(&mut batch).expect("there is room again");
        let found = open(&disk.after(Cut::Lost)).expect("nothing is damaged").1;
        let numbers: Vec<_> = found.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7], "{room}");
    }
}

/// Opens a log of which nothing before `first` counts, commits one more record, and tells its
/// batch's number.
fn next_sequence(disk: &SimulatedDisk, first: u64) -> Result<u64, StoreError> {
    let (mut sequence, mut batch) = (0, Batch::new());
    let opened =
        Log::open_from(first, Box::new(disk.clone()), SETTINGS, Repair::Refuse, |_| Ok(()));
    let (mut log, summary) = opened?;
    assert!(summary.records <= 1 && summary.is_intact(), "{summary}");
    batch.push(|out| out.extend([0; 4])).expect("it fits");
    log.commit(&mut batch)?;
    log.records(|record| {
        sequence = record.sequence;
        Ok(())
    })?;
    Ok(sequence)
}

#[test]
fn a_log_that_was_trimmed_to_its_end_goes_on_counting_and_is_no_younger() {
    let disk = disk();
    let (mut log, _) = open(&disk).expect("it opens");
    let mut batch = Batch::new();
    for number in 0..20_u32 {
        batch.push(|out| out.extend(number.to_le_bytes())).expect("it fits");
        log.commit(&mut batch).expect("there is room");
    }
    drop(log);
    for stop in 1.. {
        let disk = disk.after(Cut::Nothing);
        disk.stop_at(stop);
        let stopped = next_sequence(&disk, 100);
        for cut in CUTS {
            let sequence = next_sequence(&disk.after(cut), 100).expect("it goes on");
            assert!(sequence > 20, "{stop}, {cut:?}: {sequence}");
        }
        if stopped.is_ok_and(|sequence| sequence == 21) {
            break;
        }
    }
}

#[test]
fn finished_segments_are_read_while_the_log_goes_on() {
    let disk = disk();
    let (mut log, _) = open(&disk).expect("it opens");
    let view = log.view();
    let mut batch = Batch::new();
    let mut written = Vec::new();
    for number in 0..60_u32 {
        for part in 0..3_u32 {
            batch.push(|out| out.extend([number, part].map(u32::to_le_bytes).concat())).unwrap();
        }
        let at_least = view.active();
        log.commit(&mut batch).expect("there is room");
        assert!(view.active() >= at_least);
        written.push((view.active(), u64::from(number) + 1));
    }
    let sealed = view.sealed();
    assert!(sealed.len() > 2 && sealed.last().is_some_and(|last| *last < view.active()));
    let mut read = Vec::new();
    for segment in sealed.clone() {
        let file = disk.clone().open(&format!("log-{segment:016x}.seg")).expect("it is there");
        let summary = view.read(segment, |record| {
            let mut bytes = [0; 8];
            file.read_at(&mut bytes, record.offset).expect("it is there");
            assert_eq!((record.segment, record.bytes), (segment, &bytes[..]));
            read.push((record.segment, record.sequence));
            Ok(())
        });
        assert!(summary.expect("it is there").is_clean());
    }
    let expected = written.iter().filter(|(segment, _)| *segment < view.active());
    assert_eq!(read, expected.flat_map(|batch| [*batch; 3]).collect::<Vec<_>>());

    let is_missing = |segment| {
        let read = view.read(segment, |_| Ok(()));
        matches!(read, Err(StoreError::NoSuchSegment { segment: said }) if said == segment)
    };
    assert!(is_missing(view.active()), "it is not finished");
    log.trim(sealed[1]);
    assert!(is_missing(sealed[0]) && !is_missing(sealed[1]), "it was trimmed");
    // It is trimmed and written over while it is read.
    let trimmed = view.read(sealed[1], |_| {
        log.trim(sealed[1] + 1);
        Ok(())
    });
    assert!(matches!(trimmed, Err(StoreError::NoSuchSegment { .. })), "{trimmed:?}");
    // What is damaged in one is told, and set aside.
    disk.damage(&format!("log-{:016x}.seg", sealed[2]), |bytes| bytes[40 + 44 + 9] ^= 1);
    let summary = view.read(sealed[2], |_| Ok(())).expect("it is there");
    assert_eq!((summary.quarantined.len(), summary.torn), (1, None));
}

/// The lengths of all segments.
fn lengths(disk: &SimulatedDisk) -> Vec<u64> {
    let mut names = disk.names().expect("it is there");
    names.retain(|name| name.ends_with(".seg"));
    names.sort();
    let length = |name| disk.clone().open(name).and_then(|file| file.length());
    names.iter().map(|name| length(name).expect("it is there")).collect()
}

#[test]
fn a_log_that_is_ended_early_uses_its_files_again_as_long_as_anything_comes() {
    let disk = disk();
    let (mut log, _) = open(&disk).expect("it opens");
    let view = log.view();
    let mut files = 0;
    for round in 1..=10_u32 {
        for number in 0..round % 3 + 1 {
            let mut batch = Batch::new();
            batch.push(|out| out.extend(number.to_le_bytes())).expect("it fits");
            log.commit(&mut batch).expect("there is room");
        }
        log.seal().expect("there is room");
        log.trim(view.active() - 1);
        if round == 3 {
            files = disk.files();
        }
    }
    assert_eq!(disk.files(), files, "no more are made than three");
    assert_eq!(lengths(&disk), [SETTINGS.segment_bytes; 3]);
    // Nothing has come: one that is empty, and what is in the last one.
    log.seal().expect("there is room");
    log.keep_up();
    let [last, active] = lengths(&disk)[..] else { panic!("two") };
    assert!(last < 300 && active == SETTINGS.segment_bytes, "{last}");
    let operations = disk.operations();
    log.seal().expect("there is room");
    log.keep_up();
    assert_eq!(disk.operations(), operations, "nothing to do");
}

#[test]
fn a_segment_that_was_begun_early_is_used_whatever_comes_first_and_goes_if_that_fails() {
    let disk = disk();
    let (mut log, _) = open(&disk).expect("it opens");
    let mut batch = Batch::new();
    for (bytes, fails) in [(8, false), (8, true), (5_000, false), (5_000, true)] {
        batch.push(|out| out.resize(out.len() + bytes, 1)).expect("it fits");
        log.commit(&mut batch).expect("there is room");
        log.seal().expect("there is room");
        let files = lengths(&disk).len();
        batch.push(|out| out.resize(out.len() + bytes, 2)).expect("it fits");
        if fails {
            disk.fail_at(disk.operations() + 1, 1);
            log.commit(&mut batch).expect_err("the disk does not answer");
            assert_eq!(lengths(&disk).len(), files - 1, "nobody needs it");
        }
        log.commit(&mut batch).expect("there is room");
        assert_eq!(lengths(&disk).len(), files, "{bytes} {fails}");
        log.seal().expect("there is room");
    }
}

#[test]
fn all_of_a_segment_that_gets_ready_ahead_is_written() {
    let disk = SimulatedDisk::new();
    let segment_bytes = 1 << 20;
    let settings = LogSettings { segment_bytes, ..SETTINGS };
    let opened = Log::open(Box::new(disk.clone()), settings, Repair::Refuse, |_| Ok(()));
    let (mut log, _) = opened.expect("it opens");
    let mut batch = Batch::new();
    batch.push(|out| out.resize(out.len() + 600_000, 1)).expect("it fits");
    log.commit(&mut batch).expect("there is room");
    let before = disk.writes();
    log.keep_up();
    assert!(disk.writes() >= before + segment_bytes / 65_536, "{}", disk.writes() - before);
}
