//! Damage to the log behind segments that have gone, which takes what said that messages were done:
//! whatever is missing then, all that was in flight keeps its packet identifier.

use noctule_broker_core::{
    Placement, Record, Reference, Restored, Step, StoredSession, StoredTerms, Timestamp,
};
use noctule_packet::QoS;
use noctule_store::broker::{self, Archive, CONTENT, Model, Opened, Settings};
use noctule_store::{Cut, Log, LogSettings, LoggedState, Repair, SimulatedDisk};

use crate::broker_changes::{after, message, terms};
use crate::broker_checkpoint::commit;
use crate::broker_restart::{Broker, HOUR, id};

const SESSION: u64 = 1 << 16;

/// What stands behind the headers of a segment, of a frame and of a record.
const FIRST_RECORD: usize = 40 + 44 + 8;

fn open(disk: &SimulatedDisk) -> Opened {
    let part = || Box::new(disk.clone());
    let state = LoggedState::open(part(), CONTENT, Repair::Salvage).expect("it is repaired").0;
    let log = LogSettings { segment_bytes: 1 << 20, ..LogSettings::default() };
    let settings = Settings { in_flight_max: 3, ..Settings::from(log) };
    broker::open(part(), part(), Box::new(state), settings, Repair::Salvage)
        .expect("it is repaired")
}

fn queued(sequence: u64) -> Record {
    let (session, qos, identifiers) = (SESSION, QoS::ExactlyOnce, Vec::new());
    let reference = Reference { session, sequence, qos, retain: false, identifiers, group: None };
    let message = message(&format!("m{sequence}"), qos);
    Record::Queued { publication: 0, message, references: reference.into() }
}

fn started(may_send: u64) -> Record {
    let may_send = Some(may_send);
    Record::SessionStarted(Box::new(StoredTerms { may_send, ..terms(SESSION, "sub", HOUR) }))
}

fn acknowledged(up_to: u64, next: u16) -> Record {
    Record::Acknowledged { session: SESSION, up_to, next: id(next) }
}

fn skipped(sequence: u64) -> Record {
    Record::Skipped { session: SESSION, sequence }
}

fn left(sent: u64) -> Record {
    let (expiry_interval, expires_at, will_at) = (HOUR, None, None);
    Record::SessionLeft { session: SESSION, expiry_interval, expires_at, will_at, sent }
}

/// Commits each record by itself, in a segment of its own for all of them.
fn say(log: &mut Log, records: impl IntoIterator<Item = Record>) -> u64 {
    for record in records {
        commit(log, &[record]).expect("there is power");
    }
    log.seal().expect("there is room");
    log.view().sealed().last().copied().expect("there was something to say")
}

fn empty(log: &mut Log, archive: &mut Archive, segment: u64) {
    archive.take_in(&log.view(), segment).expect("there is power");
    log.trim(segment + 1);
}

fn session(model: Model) -> StoredSession {
    match model.into_restored(&Placement::new([7; 16], 1)).remove(0).swap_remove(0) {
        Restored::Session(session) => *session,
        other => panic!("{other:?}"),
    }
}

/// The packet identifiers of what may have been sent, and the messages.
fn numbered(session: &StoredSession) -> Vec<(u16, u64)> {
    let ids = (session.next.value()..).zip(&session.messages);
    let sent = ids.filter(|(_, it)| it.sequence <= session.sent && it.step == Step::Published);
    sent.map(|(packet_id, message)| (packet_id, message.sequence)).collect()
}

/// A store whose first segments have gone without what was acknowledged behind them, and which has
/// lost that acknowledgement.
fn without_acknowledgement(first: &[u64], second: &[u64]) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let Opened { mut log, mut archive, .. } = open(&disk);
    let first = [started(1_000)].into_iter().chain(first.iter().copied().map(queued));
    let early = say(&mut log, first);
    empty(&mut log, &mut archive, early);
    let late = say(&mut log, second.iter().copied().map(queued));
    let done = say(&mut log, [acknowledged(6, 7)]);
    say(&mut log, [queued(10)]);
    empty(&mut log, &mut archive, late);
    let disk = disk.after(Cut::Nothing);
    disk.damage(&format!("log-{done:016x}.seg"), |bytes| bytes[FIRST_RECORD + 1] ^= 1);
    disk
}

#[test]
fn what_was_in_flight_behind_a_lost_acknowledgement_keeps_its_packet_identifier() {
    let disk = without_acknowledgement(&[], &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let Opened { model, findings, .. } = open(&disk);
    assert!(!findings.is_intact(), "{findings}");
    let found = session(model);
    assert_eq!(numbered(&found), [(7, 7), (8, 8), (9, 9), (10, 10)]);
    // Its client knows them by these.
    let mut broker = Broker::restored(open(&disk).model, 1, Timestamp::from_millis(1_000));
    let (client, present) = broker.connect("sub", HOUR, None);
    assert!(present);
    let expected: Vec<_> = (7..=10).map(|at| format!("{at}: m{at} QoS 2 DUP")).collect();
    assert_eq!(broker.seen(client), expected);
}

#[test]
fn what_stands_before_a_hole_keeps_its_packet_identifier_and_so_does_what_stands_behind_it() {
    let disk = without_acknowledgement(&[1, 2, 3], &[4, 5, 6, 7, 8, 9]);
    let expected = [(1, 1), (2, 2), (3, 3), (7, 7), (8, 8), (9, 9), (10, 10)];
    let Opened { model, mut log, mut archive, .. } = open(&disk);
    assert_eq!(numbered(&session(model)), expected);
    // However much of that leaves the log.
    let sealed = log.view().sealed();
    sealed.into_iter().for_each(|segment| empty(&mut log, &mut archive, segment));
    assert_eq!(numbered(&session(open(&disk.after(Cut::Nothing)).model)), expected);
}

/// What is made of records.
fn found(records: impl IntoIterator<Item = Record>) -> StoredSession {
    session(after(&records.into_iter().collect::<Vec<_>>()))
}

#[test]
fn only_what_may_have_been_sent_has_had_a_packet_identifier() {
    let waiting = || [2, 3, 5, 8, 10].map(queued);
    let all = |first| [first, acknowledged(1, 2), skipped(7)].into_iter().chain(waiting());
    for (sent, ids, lost) in [
        (0, [2, 3, 4, 5, 6].as_slice(), [4, 6, 9].as_slice()),
        (3, &[2, 3, 4, 5, 6], &[4, 6, 9]),
        (4, &[2, 3, 5, 6, 7], &[6, 9]),
        (7, &[2, 3, 5, 7, 8], &[9]),
        (8, &[2, 3, 5, 7, 8], &[9]),
        (9, &[2, 3, 5, 7, 9], &[]),
        (1_000, &[2, 3, 5, 7, 9], &[]),
    ] {
        let stored = found(all(started(sent)));
        assert_eq!(stored.lost, lost, "sent up to {sent}");
        // Records say of what is lost that it was skipped, and then it counts no more.
        let lost = lost.iter().copied().map(skipped);
        let mut later = all(started(sent)).chain(lost).chain([started(1_000)]).collect::<Vec<_>>();
        let again = found(later.clone());
        let of_messages: Vec<u16> = numbered(&again).into_iter().map(|(id, _)| id).collect();
        assert_eq!((&*of_messages, &*again.lost), (ids, [].as_slice()), "sent up to {sent}");
        // When its client was done with all that, the next one has the next identifier.
        later.push(left(12));
        let gone = found(later);
        assert_eq!((gone.sequence, gone.messages.len()), (12, usize::from(ids[4]) + 1));
    }
}

#[test]
fn what_its_receiver_has_is_released_although_the_message_is_missing() {
    let packet_id = id(2);
    let step = [
        Record::Pubrec { session: SESSION, packet_id },
        Record::Pubrec { session: SESSION, packet_id: id(4) },
        Record::Pubcomp { session: SESSION, packet_id: id(3) },
    ];
    let records = [started(5), queued(5)].into_iter().chain(step);
    let mut broker =
        Broker::restored(after(&records.collect::<Vec<_>>()), 1, Timestamp::from_millis(1_000));
    let (client, _) = broker.connect("sub", HOUR, None);
    assert_eq!(broker.seen(client), ["PUBREL 2", "PUBREL 4", "5: m5 QoS 2 DUP"]);
}

/// Otherwise the next message would get the identifier of one that its receiver has.
#[test]
fn what_was_sent_keeps_its_identifiers_although_nothing_is_left_of_it() {
    let released = |value| Record::Pubrec { session: SESSION, packet_id: id(value) };
    for horizon in [2, 10] {
        let damaged = [started(horizon), acknowledged(1, 2), skipped(3), released(2), released(4)];
        let stored = found(damaged.clone());
        assert_eq!((stored.next, stored.sequence, stored.lost.len()), (id(2), 5, 0));
        let mut broker = Broker::restored(after(&damaged), 1, Timestamp::from_millis(1_000));
        let (client, _) = broker.connect("sub", HOUR, None);
        assert_eq!(broker.seen(client), ["PUBREL 2", "PUBREL 4"], "{horizon}");
        let records = [&damaged[..], &[queued(6)]].concat();
        let steps = found(records).messages.into_iter().map(|message| message.step);
        let expected = [Step::Released(0), Step::Done, Step::Released(1), Step::Published];
        assert_eq!(steps.collect::<Vec<_>>(), expected, "the next one is not taken for another");
    }
}

#[test]
fn more_than_all_packet_identifiers_are_passed_when_all_of_that_is_missing() {
    const ALL: u64 = 65_535;
    let last = 3 * ALL + 20;
    let next = (last % ALL) as u16 + 1;
    // Nothing is left; one is, and everything before it; what was in flight, and something from
    // before all of that.
    let stored = found([started(0), left(last)]);
    assert_eq!((stored.next, stored.sequence, stored.messages.len()), (id(next), last, 0));
    let stored = found([started(last), queued(last - 1), queued(last)]);
    assert_eq!(numbered(&stored), [(next - 2, last - 1), (next - 1, last)]);
    let stored = found([started(last), queued(1), queued(2), queued(last - 1), queued(last)]);
    assert_eq!(numbered(&stored), [(next - 2, last - 1), (next - 1, last)]);
    assert_eq!(stored.lost, []);
}

#[test]
fn as_much_as_was_ever_sent_waits_when_nothing_is_missing() {
    let records = [started(66_558)].into_iter().chain((1..=66_600).map(queued));
    let stored = found(records);
    assert_eq!((stored.messages.len(), stored.next, stored.lost.len()), (66_600, id(1), 0));
    assert!(stored.messages.iter().map(|message| message.sequence).eq(1..=66_600));
}
