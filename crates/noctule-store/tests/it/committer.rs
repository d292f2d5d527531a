//! Many threads and one log: what each is told to be durable is, in its order, and never without
//! what it was an answer to.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use noctule_store::{
    Appender, Committer, Cut, Disk, DiskFile, Log, LogSettings, Position, Repair, SimulatedDisk,
    StoreError, Wake,
};

const CUTS: [Cut; 4] = [Cut::Lost, Cut::Torn, Cut::Reordered, Cut::Nothing];
const PLENTY: u64 = 1 << 20;

fn open(disk: impl Disk + 'static) -> Log {
    let settings = LogSettings { segment_bytes: 4_096, ..LogSettings::default() };
    Log::open(Box::new(disk), settings, Repair::Refuse, |_| Ok(())).expect("an empty disk").0
}

fn start(disk: impl Disk + 'static, appenders: usize) -> (Committer, Vec<Appender>) {
    let wakes = (0..appenders).map(|_| -> Wake { Box::new(|| {}) }).collect();
    Committer::start(open(disk), PLENTY, wakes).expect("a thread")
}

fn append(appender: &mut Appender, number: u64) -> Position {
    let who = u8::try_from(number % 251).expect("a byte");
    let append = appender.append(|out| {
        out.extend_from_slice(&number.to_le_bytes());
        // Of different lengths.
        out.extend(std::iter::repeat_n(who, usize::from(who)));
    });
    append.expect("there is room")
}

/// The numbers that are found, in order, each with the appender that its lowest digit names.
fn found(disk: SimulatedDisk) -> BTreeMap<u64, Vec<u64>> {
    let mut found = BTreeMap::<u64, Vec<u64>>::new();
    let settings = LogSettings { segment_bytes: 4_096, ..LogSettings::default() };
    let visit = |record: noctule_store::Recovered<'_>| {
        let number = u64::from_le_bytes(*record.bytes.first_chunk().ok_or("it is short")?);
        found.entry(number % 10).or_default().push(number / 10);
        Ok(())
    };
    Log::open(Box::new(disk), settings, Repair::Salvage, visit).expect("it opens");
    found
}

/// Three threads append until the power goes at an operation of the disk. How far each was told to
/// be durable, and the disk.
fn run_until(operation: u64, ignores_syncs: bool) -> (Vec<u64>, SimulatedDisk) {
    let disk = SimulatedDisk::new();
    if ignores_syncs {
        disk.ignore_syncs();
    }
    let (committer, appenders) = start(disk.clone(), 3);
    disk.stop_at(disk.operations().saturating_add(operation));
    let threads = appenders.into_iter().zip(0..).map(|(mut appender, name)| {
        let disk = disk.clone();
        thread::spawn(move || {
            for number in 1..=400 {
                let position = append(&mut appender, number * 10 + name);
                assert_eq!(position, Position(number));
                if number % (name + 2) == 0 {
                    appender.post();
                }
                if disk.has_stopped() {
                    break;
                }
            }
            appender.post();
            appender
        })
    });
    let threads: Vec<_> = threads.collect();
    let appenders: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let _ = committer.stop();
    (appenders.iter().map(|appender| appender.durable().0).collect(), disk)
}

/// How many appenders have lost something that they were told to be durable.
fn lost(durable: &[u64], found: &BTreeMap<u64, Vec<u64>>) -> usize {
    let check = |(name, durable): (u64, &u64)| {
        let numbers = found.get(&name).map_or(&[][..], Vec::as_slice);
        let prefix: Vec<_> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, prefix, "appender {name}: no holes, nothing twice");
        usize::from((numbers.len() as u64) < *durable)
    };
    (0..).zip(durable).map(check).sum()
}

#[test]
fn what_was_said_to_be_durable_is_whenever_the_power_goes() {
    for operation in 1..60 {
        let (durable, disk) = run_until(operation, false);
        for cut in CUTS.into_iter().chain((0..4).map(Cut::Random)) {
            assert_eq!(lost(&durable, &found(disk.after(cut))), 0, "{operation}, {cut:?}");
        }
    }
    let (durable, disk) = run_until(u64::MAX, false);
    assert_eq!((durable, lost(&[400; 3], &found(disk.after(Cut::Lost)))), (vec![400; 3], 0));
}

/// The same check on a disk whose syncs do nothing has to fail.
#[test]
fn a_sync_that_does_nothing_is_found() {
    let (durable, disk) = run_until(u64::MAX, true);
    assert_eq!(durable, [400; 3]);
    assert_eq!(lost(&durable, &found(disk.after(Cut::Lost))), 3);
}

#[test]
fn no_answer_is_found_without_what_it_answers() {
    for operation in 1..50 {
        let disk = SimulatedDisk::new();
        let (committer, appenders) = start(disk.clone(), 2);
        disk.stop_at(disk.operations() + operation);
        let Ok([mut answering, mut telling]) = <[Appender; 2]>::try_from(appenders) else {
            unreachable!("there are two")
        };
        let (tell, told) = mpsc::channel();
        let teller = thread::spawn(move || {
            for number in 1..200 {
                append(&mut telling, number * 10 + 1);
                telling.post();
                if tell.send(number).is_err() {
                    break;
                }
            }
        });
        for number in told {
            append(&mut answering, number * 10);
            answering.post();
        }
        teller.join().unwrap();
        let _ = committer.stop();
        for cut in CUTS {
            let found = found(disk.after(cut));
            let count = |name: u64| found.get(&name).map_or(0, Vec::len);
            assert!(count(0) <= count(1), "{operation}, {cut:?}: {found:?}");
        }
    }
}

/// A disk whose syncs take until somebody lets them end.
#[derive(Clone, Debug, Default)]
struct Gate(Arc<(Mutex<u32>, Condvar)>);

impl Gate {
    fn let_through(&self, syncs: u32) {
        *self.0.0.lock().unwrap() += syncs;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        *self.0.1.wait_while(open, |open| *open == 0).unwrap() -= 1;
    }
}

#[derive(Debug)]
struct GatedDisk(SimulatedDisk, Gate);

#[derive(Debug)]
struct GatedFile(Box<dyn DiskFile>, Gate);

impl Disk for GatedDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile(self.0.create(name)?, self.1.clone())))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.open(name)
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

impl DiskFile for GatedFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.1.pass();
        self.0.sync()
    }
}

/// Waits for something that another thread does.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "never {what}");
        thread::yield_now();
    }
}

#[test]
fn what_comes_during_a_sync_shares_the_next() {
    let (disk, gate) = (SimulatedDisk::new(), Gate::default());
    let (committer, mut appenders) = start(GatedDisk(disk.clone(), gate.clone()), 4);
    append(&mut appenders[0], 10);
    appenders[0].post();
    until("written", || disk.writes() == 2);
    for (appender, name) in appenders.iter_mut().zip(0..) {
        for number in 2..50 {
            append(appender, number * 10 + name);
            appender.post();
        }
        assert_eq!(appender.durable(), Position(0), "nothing is, before its sync");
    }
    gate.let_through(1);
    until("durable", || appenders[0].durable() == Position(1));
    until("written", || disk.writes() == 3);
    assert_eq!(appenders[3].durable(), Position(0));
    gate.let_through(1);
    until("durable", || appenders.iter().all(|appender| appender.durable() >= Position(48)));
    assert_eq!(appenders.iter().map(Appender::waiting_bytes).sum::<u64>(), 0);
    committer.stop().expect("there is nothing left");
    // The segment's header, the first record, and all others in one frame.
    assert_eq!(disk.writes(), 3);
}

#[test]
fn whoever_has_enough_is_told_that_the_disk_has_nothing_to_do() {
    let (disk, gate) = (SimulatedDisk::new(), Gate::default());
    let (committer, mut appenders) = start(GatedDisk(disk.clone(), gate.clone()), 2);
    let [busy, other] = &mut appenders[..] else { unreachable!("there are two") };
    append(other, 1);
    append(busy, 0);
    busy.post();
    until("written", || disk.writes() == 2);
    for number in 2..200 {
        append(other, number * 10 + 1);
    }
    assert!(!other.is_awaited(), "it syncs");
    gate.let_through(1);
    until("idle", || other.is_awaited());
    assert!(!busy.is_awaited(), "it has nothing");
    append(busy, 10);
    assert!(!busy.is_awaited(), "it has too little");
    other.post();
    assert!(!other.is_awaited(), "it has nothing more");
    gate.let_through(10);
    committer.stop().expect("there is power");
}

#[test]
fn a_commit_begins_before_a_turn_is_over_when_half_of_a_round_is_there() {
    let (committer, mut appenders) = start(SimulatedDisk::new(), 2);
    let [appender, probe] = &mut appenders[..] else { unreachable!("there are two") };
    let append = |appender: &mut Appender, kibibytes: usize| {
        let append = appender.append(|out| out.resize(out.len() + kibibytes * 1_024, 0));
        append.expect("there is room");
    };
    append(probe, 200);
    // Half of the last two frames, but not less than 8 KiB nor more than 128.
    for (kibibytes, parts) in [(8, 1), (8, 1), (16, 1), (6, 2), (200, 1), (60, 2), (65, 2)] {
        for part in 0..parts {
            until("idle", || probe.is_awaited());
            assert!(!appender.is_awaited(), "{part} times {kibibytes} are not enough");
            append(appender, kibibytes);
        }
        assert!(appender.is_awaited(), "{parts} times {kibibytes} are enough");
        appender.post();
        until("durable", || appender.waiting_bytes() == 0);
    }
    committer.stop().expect("there is power");
}

#[test]
fn a_full_disk_makes_all_wait_and_is_told_and_forgotten_when_it_has_room() {
    let disk = SimulatedDisk::new();
    let wakes = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&wakes);
    let wake: Wake = Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let (committer, mut appenders) =
        Committer::start(open(disk.clone()), 10_000, vec![wake]).expect("a thread");
    let appender = &mut appenders[0];
    disk.set_capacity(Some(100));
    let mut last = append(appender, 10);
    appender.post();
    until("told", || appender.trouble().is_some_and(|error| error.is_full()));
    until("woken", || wakes.load(Ordering::Relaxed) == 1);
    assert!(committer.trouble().is_some());
    // It takes more, up to its bound.
    let refused = loop {
        match appender.append(|out| out.extend_from_slice(&[0; 600])) {
            Ok(position) => last = position,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::TooFarBehind { bytes } if bytes >= 10_000), "{refused}");
    appender.post();
    assert_eq!(appender.durable(), Position(0));

    disk.set_capacity(None);
    until("durable", || appender.durable() == last);
    assert!(appender.trouble().is_none());
    append(appender, 20);
    appender.post();
    assert!(committer.stop().is_ok());
    assert_eq!(appender.durable(), Position(last.0 + 1));
}

#[test]
fn who_stops_is_told_what_could_not_be_kept() {
    let disk = SimulatedDisk::new();
    let (committer, mut appenders) = start(disk.clone(), 1);
    append(&mut appenders[0], 10);
    disk.set_capacity(Some(0));
    appenders[0].post();
    let error = committer.stop().expect_err("the disk is full");
    assert!(error.is_full(), "{error}");

    let disk = SimulatedDisk::new();
    let (committer, mut appenders) = start(disk.clone(), 1);
    append(&mut appenders[0], 10);
    appenders[0].post();
    append(&mut appenders[0], 20);
    assert!(committer.stop().is_ok());
    assert_eq!(found(disk.after(Cut::Lost))[&0], [1], "what was not posted is not waited for");
}

/// A log whose files are used again.
fn recycling(disk: impl Disk + 'static) -> Log {
    let settings =
        LogSettings { segment_bytes: 4_096, free_segments_max: 2, ..LogSettings::default() };
    Log::open(Box::new(disk), settings, Repair::Refuse, |_| Ok(())).expect("an empty disk").0
}

#[test]
fn what_rides_along_goes_with_the_next_commit_and_alone_if_there_is_none() {
    let disk = SimulatedDisk::new();
    let (committer, mut appenders) = start(disk.clone(), 2);
    const ROUNDS: u64 = 300;
    for round in 1..=ROUNDS {
        append(&mut appenders[0], round * 10);
        appenders[0].post_lazily();
        append(&mut appenders[1], round * 10 + 1);
        appenders[1].post();
        until("durable", || appenders[1].durable() == Position(round));
        assert_eq!(appenders[0].durable(), Position(round));
    }
    // A frame for each round and a header for each segment; a few more on a machine that is slow
    // enough for 50 ms to pass between two lines of this test.
    let least = ROUNDS + log_segments(&disk);
    assert!(disk.writes() <= least + ROUNDS / 10, "{} and not {least}", disk.writes());
    for round in 1..4 {
        append(&mut appenders[0], round * 10);
        appenders[0].post_lazily();
        until("durable", || appenders[0].durable() == Position(ROUNDS + round));
    }
    // It has nothing to wait for when it is stopped.
    append(&mut appenders[0], 10);
    appenders[0].post_lazily();
    committer.stop().expect("there is room");
    assert_eq!(appenders[0].durable(), Position(ROUNDS + 4));
}

fn log_segments(disk: &SimulatedDisk) -> u64 {
    disk.names().expect("it is there").len() as u64
}

#[test]
fn a_committer_trims_and_uses_its_files_again() {
    let disk = SimulatedDisk::new();
    let wakes = vec![Box::new(|| {}) as Wake];
    let (committer, mut appenders) =
        Committer::start(recycling(disk.clone()), PLENTY, wakes).expect("a thread");
    let view = committer.view();
    let appender = &mut appenders[0];
    let mut read = 0;
    for number in 1..=2_000 {
        let at_least = appender.active_segment();
        append(appender, number * 10);
        appender.post();
        if number % 10 == 0 {
            until("durable", || appender.durable() == Position(number));
            assert!(view.active() >= at_least);
        }
        if number % 20 == 0 {
            for segment in view.sealed() {
                read += view.read(segment, |_| Ok(())).expect("it is there").records;
                committer.trim(segment + 1);
            }
            until("trimmed", || view.sealed().is_empty());
        }
    }
    assert!(view.active() > 50, "{}", view.active());
    assert!(disk.files() < 20, "{} files for {} segments", disk.files(), view.active());
    let log = committer.stop().expect("there is room");
    let mut left = 0;
    let visit = |_: noctule_store::Recovered<'_>| {
        left += 1;
        Ok(())
    };
    let mut log = log;
    log.records(visit).expect("it is there");
    assert_eq!(read + left, 2_000);
}

#[test]
fn a_power_cut_loses_nothing_of_a_committer_that_prepares_ahead() {
    for operation in (1..400).step_by(3) {
        let disk = SimulatedDisk::new();
        let wakes = vec![Box::new(|| {}) as Wake];
        let log = recycling(disk.clone());
        disk.stop_at(disk.operations() + operation);
        let (committer, mut appenders) = Committer::start(log, PLENTY, wakes).expect("a thread");
        let appender = &mut appenders[0];
        let mut number = 0;
        while !disk.has_stopped() {
            number += 1;
            append(appender, number * 10);
            appender.post();
            until("durable", || appender.durable() == Position(number) || disk.has_stopped());
        }
        let durable = appender.durable().0;
        let _ = committer.stop();
        for cut in CUTS {
            assert_eq!(lost(&[durable], &found(disk.after(cut))), 0, "{operation}, {cut:?}");
        }
    }
}

/// A disk that is slow with names only.
#[derive(Debug)]
struct SlowNames(SimulatedDisk, Gate);

impl Disk for SlowNames {
    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(name)
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.open(name)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.1.pass();
        self.0.sync_names()
    }
}

#[test]
fn no_commit_waits_for_the_next_segment_to_get_ready() {
    let (disk, gate) = (SimulatedDisk::new(), Gate::default());
    // The opening, which looks before it touches anything, and the first segment.
    gate.let_through(3);
    let wakes = vec![Box::new(|| {}) as Wake];
    let log = recycling(SlowNames(disk.clone(), gate.clone()));
    let (committer, mut appenders) = Committer::start(log, PLENTY, wakes).expect("a thread");
    let appender = &mut appenders[0];
    let mut commit = |number| {
        appender.append(|out| out.extend_from_slice(&[7; 100])).expect("there is room");
        appender.post();
        until("durable", || appender.durable() == Position(number));
    };
    // It is nearly full then, and the names are synced when the gate opens, not before.
    (1..26).for_each(&mut commit);
    until("renamed", || disk.names().is_ok_and(|names| names.len() == 2));
    gate.let_through(100);
    (26..100).for_each(commit);
    committer.stop().expect("there is room");
}

#[test]
fn a_log_that_nobody_can_empty_has_no_room_at_its_bound_until_it_is_trimmed() {
    let woken = Arc::new(AtomicU64::new(0));
    let wakes = vec![Box::new({
        let woken = Arc::clone(&woken);
        move || {
            woken.fetch_add(1, Ordering::AcqRel);
        }
    }) as Wake];
    let mut log = recycling(SimulatedDisk::new());
    log.limit(10 * 4_096);
    let (committer, mut appenders) = Committer::start(log, PLENTY, wakes).expect("a thread");
    let (view, appender) = (committer.view(), &mut appenders[0]);
    let mut number = 0;
    while appender.has_room(true) {
        assert!(number < 10_000 && view.bytes() < 11 * 4_096, "{number}");
        number += 1;
        append(appender, number * 10);
        appender.post();
        until("durable", || appender.durable() == Position(number));
        // It is told behind the commit.
        until("looked at", || view.bytes() <= 10 * 4_096 || !appender.has_room(true));
    }
    assert!(view.bytes() > 10 * 4_096);
    // What is appended all the same is committed, and that makes no room.
    append(appender, number * 10);
    appender.post();
    until("durable", || appender.durable() == Position(number + 1));
    let before = woken.load(Ordering::Acquire);
    assert!(!appender.has_room(false));
    committer.trim(view.active());
    until("room", || appender.has_room(false));
    until("woken", || woken.load(Ordering::Acquire) > before);
    committer.stop().expect("there is room");
}
