//! The power goes at every operation of a story of runs, in every way.

use noctule_store::{Cut, Disk, SimulatedDisk, StoreError};

use crate::runs::model::{ALL, Pending, Shelf};

const CUTS: [Cut; 7] = [
    Cut::Nothing,
    Cut::Lost,
    Cut::Torn,
    Cut::Reordered,
    Cut::Random(1),
    Cut::Random(2),
    Cut::Random(3),
];

/// What is done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    SyncsDoNothing,
    /// Files are removed before the manifest without them is durable.
    RemovesEarly,
}

/// Bodies of one queue alone, and of two.
fn pending(chapter: u64) -> Pending {
    let mut pending = Pending::default();
    for number in 0..6 {
        let (queue, seq) = (number % 4, chapter * 1_000 + number);
        pending.push(&[(queue, seq)], &[1], &[7; 90]);
        pending.push(&[(queue, seq + 500), (20 + queue, seq)], &[], &[8; 700]);
    }
    pending
}

/// Spills, drains, merges and deletes, until the power goes.
fn story(shelf: &mut Shelf, fault: Fault) -> Result<(), StoreError> {
    for chapter in 0..9 {
        shelf.spill(&mut pending(chapter))?;
        shelf.store();
        if chapter % 2 == 1 {
            // Most queues are drained, and one goes.
            for queue in [0, 1, 2, 20, 21, 22] {
                shelf.finish(queue, (chapter - 1) * 1_000 + 700);
            }
            shelf.finish(3, chapter * 1_000 - 600);
            if fault == Fault::RemovesEarly {
                shelf.runs.stored(u64::MAX);
            }
            shelf.store();
        }
        if chapter % 3 == 2 {
            shelf.merge()?;
            if fault == Fault::RemovesEarly {
                shelf.runs.stored(u64::MAX);
            }
            shelf.store();
        }
    }
    for queue in 0..30 {
        shelf.finish(queue, u64::MAX);
    }
    shelf.store();
    Ok(())
}

/// What is wrong behind a power cut; or the shelf, to go on with.
fn judge(disk: SimulatedDisk, shelf: &Shelf) -> Result<Shelf, String> {
    let opened = Shelf::reopen(disk, shelf.manifest.clone(), shelf.durable.clone());
    let (mut again, damaged) = opened.map_err(|error| error.to_string())?;
    if let Some(damaged) = damaged.first() {
        return Err(damaged.to_string());
    }
    if let Some(wrong) = again.wrong(&ALL) {
        return Err(wrong);
    }
    again.store();
    let names = again.disk.names().expect("there is power");
    if names.len() != again.runs.len() {
        return Err(format!("{names:?} are left of {} runs", again.runs.len()));
    }
    Ok(again)
}

/// The first thing that is wrong, and how often the power went.
fn every_cut(fault: Fault) -> (Option<String>, u32) {
    let mut cuts = 0;
    for stop in 1.. {
        let disk = SimulatedDisk::new();
        if fault == Fault::SyncsDoNothing {
            disk.ignore_syncs();
        }
        let mut shelf = Shelf::new(disk.clone()).expect("it opens");
        disk.stop_at(stop);
        let told = story(&mut shelf, fault);
        for cut in CUTS {
            cuts += 1;
            let wrong = judge(disk.after(cut), &shelf).and_then(|mut again| {
                // And goes on, to be cut again right behind.
                let mut pending = Pending::default();
                pending.push(&[(77, 1), (78, 1)], &[], b"and on");
                again.spill(&mut pending).map_err(|error| error.to_string())?;
                again.store();
                let disk = again.disk.after(if cut == Cut::Nothing { Cut::Lost } else { cut });
                judge(disk, &again).map(drop)
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
fn what_a_durable_manifest_names_survives_a_power_cut_at_every_operation() {
    let (wrong, cuts) = every_cut(Fault::Nothing);
    assert_eq!(wrong, None);
    assert!(cuts > 300, "only {cuts} cuts");
}

#[test]
fn a_sync_that_does_nothing_is_found() {
    assert!(every_cut(Fault::SyncsDoNothing).0.is_some());
}

#[test]
fn a_file_that_goes_too_early_is_found() {
    assert!(every_cut(Fault::RemovesEarly).0.is_some_and(|wrong| wrong.contains("missing")));
}
