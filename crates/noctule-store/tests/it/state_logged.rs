//! The state that is small: cut at every operation, full, damaged, and among other files.

use noctule_store::{
    Cut, Disk, LoggedState, RealDisk, Repair, SimulatedDisk, State, StateBatch, StoreError, Summary,
};

use crate::book::Book;
use crate::state::{CONTENT, Chance, Model, Open, all, change, check};

const CUTS: [Cut; 7] = [
    Cut::Nothing,
    Cut::Lost,
    Cut::Torn,
    Cut::Reordered,
    Cut::Random(1),
    Cut::Random(2),
    Cut::Random(3),
];

fn open(disk: &SimulatedDisk) -> Result<(LoggedState, Summary), StoreError> {
    LoggedState::open(Box::new(disk.clone()), CONTENT, Repair::Salvage)
}

fn model(state: &LoggedState) -> Model {
    all(state, b"").into_iter().collect()
}

fn put(key: &[u8], value: &[u8]) -> StateBatch {
    let mut batch = StateBatch::new();
    batch.put(key, value).expect("it is short");
    batch
}

#[test]
fn it_does_what_every_engine_does() {
    let disk = SimulatedDisk::new();
    let mut open: Box<Open<'_>> = Box::new(|content| {
        let disk = disk.clone();
        let (state, summary) = LoggedState::open(Box::new(disk), content, Repair::Refuse)?;
        assert!(summary.is_clean(), "{summary}");
        Ok(Box::new(state))
    });
    check(&mut *open);
}

#[test]
fn it_comes_back_from_the_file_system() {
    let name = format!("noctule-store-state-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    check(&mut |content| {
        let disk = RealDisk::open(&folder)?;
        let (state, summary) = LoggedState::open(Box::new(disk), content, Repair::Refuse)?;
        assert!(summary.is_clean(), "{summary}");
        Ok(Box::new(state))
    });
    let _ = std::fs::remove_dir_all(folder);
}

/// Applies batches until the power goes. What was promised, and what may be there instead.
fn story(disk: &SimulatedDisk) -> (Model, Model, bool) {
    let (mut chance, mut promised) = (Chance(77), Model::new());
    let Ok((mut state, _)) = open(disk) else { return (promised.clone(), promised, false) };
    for _ in 0..60 {
        let mut next = promised.clone();
        let batch = change(&mut chance, &mut next);
        if state.apply(&batch).is_err() {
            assert_eq!(model(&state), promised, "what could not be kept is not seen");
            return (promised, next, false);
        }
        promised = next;
    }
    (promised.clone(), promised, true)
}

/// Tells the story with a power cut at each operation: the first thing that is wrong, how often the
/// power went, and how often the log was rewritten.
fn every_cut(plant: impl Fn(&SimulatedDisk)) -> (Option<String>, u32, usize) {
    let mut cuts = 0;
    for stop in 1.. {
        let disk = SimulatedDisk::new();
        plant(&disk);
        disk.stop_at(stop);
        let (promised, next, is_told) = story(&disk);
        for cut in CUTS {
            cuts += 1;
            let after = disk.after(cut);
            let (mut state, summary) = open(&after).expect("it opens");
            let found = model(&state);
            if (found != promised && found != next) || !summary.is_intact() {
                return (Some(format!("operation {stop}, {cut:?}: {summary}")), cuts, 0);
            }
            // What was seen once stays, however soon the power goes again.
            state.apply(&put(b"behind", b"")).expect("it goes on");
            drop(state);
            for cut in CUTS {
                let mut again = model(&open(&after.after(cut)).expect("it opens").0);
                assert_eq!(again.remove(&b"behind"[..]), Some(Vec::new()), "{stop}, {cut:?}");
                assert_eq!(again, found, "{stop}, then {cut:?}");
            }
        }
        if is_told {
            let names = disk.names().expect("it is there");
            let last = names.iter().filter_map(|name| {
                let number = name.strip_prefix("state-log-")?.strip_suffix(".seg")?;
                usize::from_str_radix(number, 16).ok()
            });
            return (None, cuts, last.max().unwrap_or(0));
        }
    }
    unreachable!("the story ends")
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_and_halves_nothing() {
    let (wrong, cuts, last_segment) = every_cut(|_| {});
    assert_eq!(wrong, None);
    assert!(cuts > 800, "only {cuts} cuts");
    assert!(last_segment > 1, "the story is too short for its log to be rewritten");
}

#[test]
fn a_sync_that_does_nothing_is_found() {
    let (wrong, ..) = every_cut(SimulatedDisk::ignore_syncs);
    assert!(wrong.is_some());
}

#[test]
fn a_full_disk_is_told_and_heals() {
    let disk = SimulatedDisk::new();
    let (mut state, _) = open(&disk).expect("it opens");
    state.apply(&put(b"a", b"kept")).expect("there is room");
    disk.set_capacity(Some(disk.bytes() + 20));
    let wanted = put(b"a", &[7; 500]);
    for _ in 0..3 {
        assert!(state.apply(&wanted).is_err_and(|error| error.is_full()));
        assert_eq!(state.get(b"a").expect("it is read"), Some(b"kept".to_vec()));
    }
    disk.set_capacity(None);
    state.apply(&put(b"b", b"another")).expect("there is room again");
    drop(state);
    let (state, summary) = open(&disk.after(Cut::Lost)).expect("it opens");
    assert_eq!(state.get(b"a").expect("it is read"), Some(b"kept".to_vec()), "{summary}");
    assert_eq!(state.get(b"b").expect("it is read"), Some(b"another".to_vec()), "{summary}");
}

#[test]
fn the_log_takes_little_more_than_what_lives_however_often_it_is_opened() {
    let disk = SimulatedDisk::new();
    for round in 0_u32..300 {
        let (mut state, _) = open(&disk).expect("it opens");
        for part in 0_u32..10 {
            let number = (round + part).to_le_bytes();
            state.apply(&put(&number, &[1; 200])).expect("there is room");
            let mut batch = StateBatch::new();
            batch.remove(round.saturating_sub(20).to_le_bytes()).expect("it is short");
            state.apply(&batch).expect("there is room");
        }
        assert!(disk.bytes() < 64 * 1_024, "round {round}: {} bytes", disk.bytes());
        assert!(disk.names().expect("it is there").len() < 20, "round {round}");
    }
}

#[test]
fn what_is_damaged_is_told_and_takes_one_batch_as_a_whole() {
    let disk = SimulatedDisk::new();
    let (mut state, _) = open(&disk).expect("it opens");
    for (first, second) in [(&b"a"[..], &b"b"[..]), (b"c", b"d"), (b"e", b"f")] {
        let mut batch = put(first, b"value");
        batch.put(second, b"value").expect("it is short");
        state.apply(&batch).expect("there is room");
    }
    drop(state);
    let name = "state-log-0000000000000001.seg";
    let mut length = 0;
    disk.damage(name, |bytes| length = bytes.len());
    for at in 40..length {
        let disk = disk.after(Cut::Nothing);
        disk.damage(name, |bytes| bytes[at] ^= 0x20);
        let (state, summary) = open(&disk).expect("it opens");
        let found: Vec<_> = all(&state, b"").into_iter().map(|(key, _)| key).collect();
        let found: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
        let whole = [(&b"a"[..], &b"b"[..]), (b"c", b"d"), (b"e", b"f")];
        let halves =
            whole.iter().filter(|(first, second)| found.contains(first) != found.contains(second));
        assert_eq!(halves.count(), 0, "byte {at}: {found:?}");
        assert!(found.len() >= 4, "byte {at}: {found:?}");
        assert!(found.len() == 6 || !summary.is_clean(), "byte {at}: {summary}");
    }
}

#[test]
fn a_newer_format_is_refused() {
    let disk = SimulatedDisk::new();
    let (mut state, _) = open(&disk).expect("it opens");
    state.apply(&put(b"a", b"b")).expect("there is room");
    drop(state);
    disk.damage("state-log-0000000000000001.seg", |bytes| {
        // Behind the headers of the segment, of the batch and of the record.
        let at = 40 + 44 + 8;
        bytes[at] = 2;
        let content = [&bytes[at - 8..at - 4], &bytes[at..]].concat();
        let checksum = crate::damage::crc32(&content);
        bytes[at - 4..at].copy_from_slice(&checksum.to_le_bytes());
    });
    let names = disk.names().expect("it is there");
    let error = open(&disk).expect_err("it is newer");
    assert!(matches!(error, StoreError::NewerFormat { found: 2, known: 1, .. }), "{error}");
    assert_eq!(disk.names().expect("it is there"), names, "and nothing is touched");
}

#[test]
fn it_shares_a_directory_with_a_log() {
    let disk = SimulatedDisk::new();
    let mut book = Book::open(disk.clone()).expect("it opens");
    let (mut state, _) = open(&disk).expect("it opens");
    book.append(1).expect("there is room");
    state.apply(&put(b"a", b"b")).expect("there is room");
    book.append(2).expect("there is room");
    drop((book, state));
    let disk = disk.after(Cut::Lost);
    assert_eq!(crate::book::read(&disk).0, [1, 2]);
    let (state, summary) = open(&disk).expect("it opens");
    assert_eq!((model(&state).len(), summary.records), (1, 1));
}
