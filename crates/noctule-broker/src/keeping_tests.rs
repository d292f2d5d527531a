//! What finds no room in the store is kept all the same, in its place.

use std::sync::mpsc;

use noctule_packet::Version;
use noctule_store::{Committer, Log, LogSettings, Repair, SimulatedDisk};

use super::*;

const PACKETS: &[u8] = b"\x32\x06\0\x01a\0\x071\x32\x06\0\x01a\0\x082";

/// What a store keeps of all that it is given while it has room for one record, and of the rest
/// when that one is durable.
fn kept(give: impl FnOnce(&mut Keeper), rest: impl FnOnce(&mut Keeper)) -> Vec<Record> {
    let disk = SimulatedDisk::new();
    let open = |visit: &mut dyn FnMut(Record)| {
        let settings = LogSettings { content: broker::CONTENT, ..LogSettings::default() };
        let read = |record: noctule_store::Recovered<'_>| {
            visit(broker::decode(record.bytes).map_err(|_| "it is damaged")?);
            Ok(())
        };
        Log::open(Box::new(disk.clone()), settings, Repair::Refuse, read).expect("it opens").0
    };
    let (bell, rings) = mpsc::channel();
    let wake = Box::new(move || bell.send(()).expect("somebody hears it"));
    let log = open(&mut |_| panic!("it is empty"));
    let (committer, mut appenders) = Committer::start(log, 1, vec![wake]).expect("a thread");
    let mut keeper = Keeper::new(appenders.remove(0), Arc::new(Notify::new()));
    give(&mut keeper);
    keeper.post();
    rings.recv().expect("it becomes durable");
    rest(&mut keeper);
    keeper.catch_up();
    while !keeper.waiting.is_empty() {
        keeper.post();
        rings.recv().expect("it becomes durable");
        keeper.catch_up();
    }
    keeper.post();
    committer.stop().expect("the disk is well");
    let mut found = Vec::new();
    drop(open(&mut |record| found.push(record)));
    found
}

#[test]
fn a_run_that_finds_no_room_waits_with_its_bytes_and_in_its_place() {
    let (count, version) = (2, Version::V3_1_1);
    let run = |first, packets| QueuedRun { session: 65_536, first, count, version, packets };
    let skipped = Record::Skipped { session: 65_536, sequence: 5 };
    let give = |keeper: &mut Keeper| {
        keeper.keep_run(&run(1, PACKETS));
        keeper.keep_run(&run(3, PACKETS));
        keeper.keep(&skipped, true);
        assert_eq!((keeper.waiting.len(), keeper.finds_room()), (2, false));
    };
    let found = kept(give, |keeper| {
        keeper.keep_run(&run(6, PACKETS));
        assert_eq!(keeper.waiting.len(), 3, "there is room, but not for it first");
    });
    let run = |first| Record::QueuedRun(run(first, PACKETS).to_owned());
    assert_eq!(found, [run(1), run(3), skipped, run(6)]);
}
