//! A log that is synced every so often: the death of the process takes nothing, a power cut what
//! was written since the last sync, and no sync is waited for.

use std::time::{Duration, Instant};

use noctule_store::{
    Batch, Committer, Cut, Disk, IntervalDisk, Log, LogSettings, Recovered, Repair, SimulatedDisk,
};

const NEVER: Duration = Duration::from_secs(100_000);
const SOON: Duration = Duration::from_millis(1);

fn open(disk: impl Disk + 'static, found: &mut Vec<u8>) -> Log {
    let settings =
        LogSettings { segment_bytes: 4_096, free_segments_max: 2, ..LogSettings::default() };
    let visit = |record: Recovered<'_>| {
        found.extend_from_slice(record.bytes);
        Ok(())
    };
    Log::open(Box::new(disk), settings, Repair::Salvage, visit).expect("it opens").0
}

fn open_new(disk: &SimulatedDisk, interval: Duration) -> Log {
    let disk = IntervalDisk::new(Box::new(disk.clone()), interval).expect("a thread");
    open(disk, &mut Vec::new())
}

fn commit(log: &mut Log, number: u8) -> Result<(), noctule_store::StoreError> {
    let mut batch = Batch::new();
    batch.push(|out| out.push(number)).expect("it is small");
    log.commit(&mut batch)
}

fn left(disk: SimulatedDisk) -> Vec<u8> {
    let mut found = Vec::new();
    drop(open(disk, &mut found));
    found
}

#[test]
fn what_is_not_synced_survives_the_process_and_not_the_power() {
    let disk = SimulatedDisk::new();
    let mut log = open_new(&disk, NEVER);
    for number in 0..5 {
        commit(&mut log, number).expect("there is room");
    }
    assert_eq!(left(disk.after(Cut::Nothing)), [0, 1, 2, 3, 4]);
    assert_eq!(left(disk.after(Cut::Lost)), [0; 0]);
    // Whatever is left of the writes, it is one of their beginnings.
    let torn = left(disk.after(Cut::Torn));
    assert_eq!(torn, [0, 1, 2, 3, 4][..torn.len()]);
    // The end is nobody's loss.
    drop(log);
    assert_eq!(left(disk.after(Cut::Lost)), [0, 1, 2, 3, 4]);
}

#[test]
fn it_is_synced_without_another_write() {
    let disk = SimulatedDisk::new();
    let mut log = open_new(&disk, SOON);
    commit(&mut log, 7).expect("there is room");
    let deadline = Instant::now() + Duration::from_secs(30);
    while left(disk.after(Cut::Lost)) != [7] {
        assert!(Instant::now() < deadline, "it is never synced");
        std::thread::yield_now();
    }
}

#[test]
fn a_sync_that_fails_is_told_by_the_next_write_and_the_log_goes_on_elsewhere() {
    let disk = SimulatedDisk::new();
    let mut log = open_new(&disk, SOON);
    commit(&mut log, 1).expect("there is room");
    disk.fail_syncs(1);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut last = 1_u8;
    loop {
        last = last.wrapping_add(1);
        match commit(&mut log, last) {
            Err(_) => break,
            Ok(()) => assert!(Instant::now() < deadline, "nobody hears of it"),
        }
        std::thread::yield_now();
    }
    commit(&mut log, last).expect("it goes on in a new segment");
    drop(log);
    let found = left(disk.after(Cut::Lost));
    assert_eq!(found.last(), Some(&last), "{found:?}");
}

#[test]
fn what_is_left_is_synced_when_a_committer_stops_which_says_whether_that_was_possible() {
    for fails in [false, true] {
        let disk = SimulatedDisk::new();
        let (committer, mut appenders) =
            Committer::start(open_new(&disk, NEVER), 1 << 20, vec![Box::new(|| {})])
                .expect("a thread");
        appenders[0].append(|out| out.push(9)).expect("it is small");
        appenders[0].post();
        let deadline = Instant::now() + Duration::from_secs(30);
        while left(disk.after(Cut::Nothing)) != [9] {
            assert!(Instant::now() < deadline, "it is never written");
            std::thread::yield_now();
        }
        assert_eq!(left(disk.after(Cut::Lost)), [0; 0]);
        disk.fail_syncs(u32::from(fails));
        assert_eq!(committer.stop().is_err(), fails);
        assert_eq!(left(disk.after(Cut::Lost)).is_empty(), fails);
    }
}
