//! What is noted of a segment of a broker's log while it is written, in place of reading it: it is
//! the same, and nobody reads a segment in which nothing waits.

use std::collections::BTreeMap;
use std::time::Duration;

use noctule_broker_core::{Placement, Record, Restored};
use noctule_packet::PacketId;
use noctule_store::broker::{self, Archive, CONTENT, Changes, Opened, Settings};
use noctule_store::{
    Cut, Disk, IntervalDisk, Log, LogSettings, LoggedState, Repair, SimulatedDisk, SliceLimits,
    State,
};

use crate::broker_changes::terms;
use crate::broker_checkpoint::{Story, commit, queued};

/// So large that what is committed here stays in one segment.
const SETTINGS: LogSettings =
    LogSettings { content: CONTENT, segment_bytes: 1 << 20, free_segments_max: 2 };

const SESSION: u64 = 1 << 16;

/// The keys of what only a checkpoint writes.
const OF_CHECKPOINTS: [&[u8]; 4] = [b"f", b"m", b"p", b"g"];

/// The log and the runs are on one disk, and the state on another.
fn open(disk: &SimulatedDisk, state: &SimulatedDisk) -> Opened {
    open_parts(disk.clone(), disk.clone(), state)
}

/// The log is on a disk of its own.
fn open_on(log: IntervalDisk, state: &SimulatedDisk) -> Opened {
    open_parts(log, SimulatedDisk::new(), state)
}

fn open_parts(log: impl Disk + 'static, runs: SimulatedDisk, state: &SimulatedDisk) -> Opened {
    let state = LoggedState::open(Box::new(state.clone()), CONTENT, Repair::Refuse);
    let state = Box::new(state.expect("it is readable").0);
    let settings = Settings::from(SETTINGS);
    let (log, runs) = (Box::new(log), Box::new(runs));
    broker::open(log, runs, state, settings, Repair::Refuse).expect("it is readable")
}

fn acknowledged(up_to: u64) -> Record {
    Record::Acknowledged { session: SESSION, up_to, next: next_after(up_to) }
}

fn next_after(up_to: u64) -> PacketId {
    PacketId::new((up_to % 65_535) as u16 + 1).expect("it is not 0")
}

/// A log whose first segment has these records, each in a batch of its own, and is finished.
fn sealed(records: &[Record]) -> (SimulatedDisk, SimulatedDisk, Log, Archive) {
    let (disk, state) = (SimulatedDisk::new(), SimulatedDisk::new());
    let Opened { mut log, archive, .. } = open(&disk, &state);
    for records in records.chunks(100) {
        commit(&mut log, records).expect("there is power");
    }
    log.seal().expect("there is room");
    (disk, state, log, archive)
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn entries(state: &SimulatedDisk) -> Entries {
    let state = LoggedState::open(Box::new(state.clone()), CONTENT, Repair::Refuse);
    let mut entries = Entries::new();
    let scanned = state.expect("it is readable").0.scan(&[], &mut |key, value| {
        entries.insert(key.to_vec(), value.to_vec());
    });
    scanned.expect("it is readable");
    entries
}

/// What is said when the first segment is moved out of, and what the state has then.
fn taken_in(state: &SimulatedDisk, log: &Log, mut archive: Archive) -> (Vec<(u64, u64)>, Entries) {
    let view = log.view();
    let told = archive.take_in(&view, view.sealed()[0]).expect("there is power");
    assert_eq!(archive.take_unreadable(), [] as [String; 0]);
    drop(archive);
    (told, entries(state))
}

/// What the state has when these records were applied to it one after the other.
fn applied(records: &[Record]) -> Entries {
    let disk = SimulatedDisk::new();
    let state = LoggedState::open(Box::new(disk.clone()), CONTENT, Repair::Refuse);
    let mut state = state.expect("it is empty").0;
    let mut changes = Changes::new(&state).expect("it is readable");
    for record in records {
        changes.apply(record).expect("it is readable");
    }
    let batch = changes.finish().expect("it is small");
    state.apply(&batch).expect("there is room");
    drop(state);
    entries(&disk)
}

/// Moves out of the same segment as whoever has written it does, and as another process does.
fn check(records: &[Record], what: &str) {
    let (disk, state, log, archive) = sealed(records);
    let (other_disk, other_state) = (disk.after(Cut::Nothing), state.after(Cut::Nothing));
    let noted = taken_in(&state, &log, archive);
    let Opened { log, archive, .. } = open(&other_disk, &other_state);
    assert_eq!(noted, taken_in(&other_state, &log, archive), "{what}");
    let mut noted = noted.1;
    noted.retain(|key, _| !OF_CHECKPOINTS.iter().any(|prefix| key.starts_with(prefix)));
    assert_eq!(noted, applied(records), "{what}");
}

#[test]
fn what_is_noted_of_a_segment_is_what_is_read_from_it_and_what_it_says() {
    for seed in 0..20 {
        let mut story = Story::new(seed);
        let records: Vec<_> = (0..150).flat_map(|_| story.batch()).collect();
        check(&records, &format!("seed {seed}"));
    }
}

#[test]
fn acknowledgements_once_around_all_packet_identifiers_forget_what_was_known_of_them() {
    let mut records = vec![Record::SessionStarted(Box::new(terms(SESSION, "c", 60)))];
    for packet_id in [3, 9, 50_000] {
        let packet_id = PacketId::new(packet_id).expect("it is not 0");
        records.push(Record::Pubrec { session: SESSION, packet_id });
    }
    for up_to in [65_535, 65_535 + 1_500, 3 * 65_535 + 45_000] {
        let mut records = records.clone();
        records.extend((1..=up_to / 15).map(|at| acknowledged(at * 15)));
        check(&records, &format!("{up_to}"));
    }
}

#[test]
fn what_was_acknowledged_before_a_session_ceased_to_last_is_not_known_behind_that() {
    let started = Record::SessionStarted(Box::new(terms(SESSION, "c", 60)));
    let (expires_at, will_at, sent) = (None, None, 0);
    let left =
        Record::SessionLeft { session: SESSION, expiry_interval: 0, expires_at, will_at, sent };
    let records =
        [started.clone(), acknowledged(5), acknowledged(10), left, started, acknowledged(3)];
    check(&records, "it began anew");
    check(&records[..5], "it did nothing");
}

/// A log whose first segment has a thousand messages and is damaged in the middle; acknowledged up
/// to one place there, and up to another in the segment behind it.
fn damaged(here: u64, behind: u64) -> (SimulatedDisk, SimulatedDisk, Log, Archive) {
    let mut records = vec![Record::SessionStarted(Box::new(terms(SESSION, "c", 60)))];
    records.extend((1..=1_000).map(|sequence| queued(SESSION, sequence)));
    records.push(acknowledged(here));
    let (disk, state, mut log, archive) = sealed(&records);
    commit(&mut log, &[acknowledged(behind)]).expect("there is power");
    let mut first = disk.names().expect("there is power");
    first.retain(|name| name.starts_with("log-"));
    first.sort();
    disk.damage(&first[0], |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).expect("there is something");
        bytes[end / 2..end].fill(0x55);
    });
    (disk, state, log, archive)
}

#[test]
fn nobody_reads_a_segment_in_which_nothing_waits() {
    for (here, behind, is_read) in
        [(1_000, 1_000, false), (999, 999, true), (400, 1_000, false), (400, 999, true)]
    {
        let (disk, state, log, mut archive) = damaged(here, behind);
        let view = log.view();
        let told = archive.take_in(&view, view.sealed()[0]).expect("there is power");
        let found = (archive.take_unreadable().len(), told.len());
        assert_eq!(found, (usize::from(is_read), 0), "{here}, {behind}");
        drop((log, archive));
        let Opened { model, .. } = open(&disk.after(Cut::Nothing), &state);
        let restored = model.into_restored(&Placement::new([7; 16], 1)).remove(0);
        let Restored::Session(session) = &restored[0] else { panic!("it lasts") };
        let waiting = (&session.messages[..], &session.away, &session.behind[..]);
        assert_eq!(waiting, (&[][..], &None, &[][..]), "what was acknowledged is not there");
        assert_eq!((session.sequence, session.next), (behind, next_after(behind)));
    }
}

/// The places that are in a run when ten of a thousand messages were acknowledged in their own
/// segment and many more behind it.
fn spilled(mut opened: Opened) -> Vec<u64> {
    let Opened { log, archive, .. } = &mut opened;
    let mut records = vec![Record::SessionStarted(Box::new(terms(SESSION, "c", 60)))];
    records.extend((1..=1_000).map(|sequence| queued(SESSION, sequence)));
    records.push(acknowledged(10));
    for records in [&records[..], &[acknowledged(400)], &[acknowledged(990)]] {
        commit(log, records).expect("there is power");
        log.seal().expect("there is room");
    }
    let view = log.view();
    let told = archive.take_in(&view, view.sealed()[0]).expect("there is power");
    assert_eq!(told, [(SESSION, 1_000)]);
    let limits = SliceLimits { messages: usize::MAX, bytes: usize::MAX };
    let spilled = archive.queues().read(SESSION, 0, &limits).expect("there is power");
    spilled.messages.iter().map(|waiting| waiting.sequence).collect()
}

#[test]
fn what_was_acknowledged_behind_a_segment_does_not_become_a_run() {
    let opened = open(&SimulatedDisk::new(), &SimulatedDisk::new());
    assert_eq!(spilled(opened), (991..=1_000).collect::<Vec<_>>());
}

#[test]
fn what_a_power_cut_may_take_counts_for_nothing() {
    let (log, state) = (SimulatedDisk::new(), SimulatedDisk::new());
    let never = Duration::from_secs(100_000);
    let disk = IntervalDisk::new(Box::new(log), never).expect("a thread");
    assert_eq!(spilled(open_on(disk, &state)), (11..=1_000).collect::<Vec<_>>());
}
