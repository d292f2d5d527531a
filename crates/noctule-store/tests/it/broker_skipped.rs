//! Messages that have left their places in queues: whoever reads a queue behind a crash finds none
//! of them, although segments that are older than what says so leave the log one after the other.

use noctule_broker_core::{Record, Reference};
use noctule_packet::QoS;
use noctule_store::broker::{Archive, Opened};
use noctule_store::{Cut, Log, SimulatedDisk};

use crate::broker_changes::{message, terms};
use crate::broker_checkpoint::{Story, commit, open, places, queued, settle};

const SESSION: u64 = 1 << 16;

/// Commits records, and finishes their segment.
fn say(log: &mut Log, records: &[Record]) {
    commit(log, records).expect("there is power");
    log.seal().expect("there is room");
}

fn skipped(sequence: u64) -> Record {
    Record::Skipped { session: SESSION, sequence }
}

/// A message is given back to a shared subscription.
fn given_back(at: u64) -> Record {
    let (session, qos) = (2 << 16 | 1 << 15, QoS::AtLeastOnce);
    let (sequence, retain, identifiers, group) = (1, false, Vec::new(), None);
    let reference = Reference { session, sequence, qos, retain, identifiers, group };
    let sequence = at;
    Record::Moved { from: SESSION, sequence, message: message("given back", qos), reference }
}

/// Moves segments out of the log, one by one, and looks at the store behind each.
fn empty(log: &mut Log, archive: &mut Archive, look: impl Fn(&Archive)) {
    let view = log.view();
    for segment in view.sealed() {
        archive.take_in(&view, segment).expect("there is power");
        log.trim(segment + 1);
        look(archive);
    }
}

#[test]
fn what_has_left_its_place_before_a_crash_is_not_read_behind_it() {
    for is_in_runs in [false, true] {
        let disk = SimulatedDisk::new();
        let Opened { mut log, mut archive, .. } = open(&disk).expect("it is empty");
        say(&mut log, &[Record::SessionStarted(Box::new(terms(SESSION, "c", 60)))]);
        say(&mut log, &(1..=9).map(|sequence| queued(SESSION, sequence)).collect::<Vec<_>>());
        if is_in_runs {
            settle(&mut log, &mut archive);
        }
        say(&mut log, &[queued(SESSION, 10), skipped(3)]);
        say(&mut log, &[given_back(7)]);
        let disk = disk.after(Cut::Nothing);
        let Opened { mut log, mut archive, .. } = open(&disk).expect("it is whole");
        let found = |archive: &Archive| places(&archive.queues(), SESSION, 1);
        empty(&mut log, &mut archive, |archive| {
            let found = found(archive);
            assert!(!found.contains(&3) && !found.contains(&7), "{is_in_runs}: {found:?}");
        });
        assert_eq!(found(&archive), [1, 2, 4, 5, 6, 8, 9, 10]);
        // Neither is what leaves its place later.
        say(&mut log, &[skipped(5)]);
        settle(&mut log, &mut archive);
        assert_eq!(found(&archive), [1, 2, 4, 6, 8, 9, 10]);
    }
}

#[test]
fn whatever_leaves_the_log_behind_a_crash_only_what_waits_is_read() {
    for seed in 0..20 {
        let (mut disk, mut story) = (SimulatedDisk::new(), Story::new(seed));
        for _ in 0..5 {
            let Opened { mut log, mut archive, .. } = open(&disk).expect("it is whole");
            empty(&mut log, &mut archive, |archive| {
                let queues = archive.queues();
                for (session, waiting) in story.waiting() {
                    let first = waiting.first().copied().unwrap_or(u64::MAX);
                    let found = places(&queues, session, first);
                    let is_right = found.iter().all(|place| waiting.contains(place));
                    assert!(is_right, "seed {seed}, session {session}: {found:?}, not {waiting:?}");
                }
            });
            for _ in 0..80 {
                commit(&mut log, &story.batch()).expect("there is power");
            }
            disk = disk.after(Cut::Nothing);
        }
    }
}
