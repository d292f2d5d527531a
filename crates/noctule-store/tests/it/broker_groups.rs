//! Messages that sessions have of shared subscriptions: which of these it is stands wherever the
//! message does, and what a client was not sent is in memory when it has to go back.

use noctule_broker_core::{Record, Reference, References, Restored, StoredSession, StoredTerms};
use noctule_packet::QoS;
use noctule_store::broker::{Model, Opened};
use noctule_store::{Cut, SimulatedDisk, SliceLimits};

use crate::broker_changes::{after, message, subscription, terms};
use crate::broker_checkpoint::{commit, open, settle};
use crate::broker_restart::placement;

const ONE: u64 = 1 << 16;
const TWO: u64 = 2 << 16;
const FILTER: &str = "$share/g/t";
/// Those of a session with a message, so many that they do not stand beside its place.
const MANY: u32 = 40;

fn reference(session: u64, sequence: u64, identifiers: u32, is_shared: bool) -> Reference {
    let identifiers = (1..=identifiers).collect();
    let (qos, group) = (QoS::AtLeastOnce, is_shared.then(|| FILTER.into()));
    Reference { session, sequence, qos, retain: false, identifiers, group }
}

fn queued(references: impl IntoIterator<Item = Reference>) -> Record {
    let references: References = references.into_iter().collect();
    Record::Queued { publication: 0, message: message("x", QoS::AtLeastOnce), references }
}

fn started(session: u64, client_id: &str, filter: Option<&str>) -> Vec<Record> {
    let known = terms(session, client_id, 60);
    let terms = StoredTerms { receive_maximum: 1, may_send: Some(2), ..known };
    let mut records = vec![Record::SessionStarted(Box::new(terms))];
    let subscription = filter.map(subscription);
    records.extend(subscription.map(|it| Record::Subscribed { session, subscription: it }));
    records
}

fn sessions(model: Model) -> Vec<StoredSession> {
    let all = model.into_restored(&placement(1)).into_iter().flatten();
    let session = |restored| match restored {
        Restored::Session(session) => Some(*session),
        _ => None,
    };
    all.filter_map(session).collect()
}

/// The places in memory, and where the part begins that is not.
fn in_memory(session: &StoredSession) -> (Vec<u64>, Option<u64>) {
    let places = session.messages.iter().map(|message| message.sequence);
    (places.collect(), session.away.map(|away| away.from))
}

#[test]
fn what_a_session_has_of_a_shared_subscription_says_so_in_the_log_and_in_runs() {
    let mut records = [started(ONE, "one", None), started(TWO, "two", None)].concat();
    records.push(queued([
        reference(ONE, 1, 0, false),
        reference(ONE, 2, 1, true),
        reference(TWO, 1, MANY, true),
        reference(TWO, 2, MANY, false),
    ]));
    let moved = reference(ONE, 3, 0, true);
    let (from, sequence, message) = (9 << 16 | 1 << 15, 1, message("y", QoS::AtLeastOnce));
    records.push(Record::Moved { from, sequence, message, reference: moved });
    let expected = [(ONE, vec![false, true, true]), (TWO, vec![true, false])];
    let disk = SimulatedDisk::new();
    let Opened { mut log, mut archive, .. } = open(&disk).expect("it is empty");
    commit(&mut log, &records).expect("there is power");
    let in_log = sessions(after(&records));
    settle(&mut log, &mut archive);
    let opened = open(&disk.after(Cut::Nothing)).expect("it is whole");
    let limits = SliceLimits { messages: 10, bytes: 1_000_000 };
    for (session, shared) in expected {
        let slice = archive.queues().read(session, 1, &limits).expect("there is power");
        let in_log = in_log.iter().find(|known| known.terms.session == session).expect("it is");
        for messages in [&slice.messages, &in_log.messages] {
            let of = messages.iter().map(|message| message.group.as_deref());
            let expected = shared.iter().map(|is_shared| is_shared.then_some(FILTER));
            assert!(of.eq(expected), "{session:x}: {messages:?}");
        }
    }
    let found = sessions(opened.model);
    let groups = |session: &StoredSession| session.messages[0].group.clone();
    assert_eq!(found.iter().map(groups).collect::<Vec<_>>(), [None, Some(FILTER.into())]);
}

#[test]
fn what_a_member_was_not_sent_of_a_shared_subscription_is_in_memory_and_nothing_else_of_its_queue()
{
    let queue = |is_shared: bool| {
        (1..=30).map(move |place| queued([reference(ONE, place, 0, is_shared && place % 9 == 2)]))
    };
    let left = Record::SessionLeft {
        session: ONE,
        expiry_interval: 60,
        expires_at: None,
        will_at: None,
        sent: 2,
    };
    // Without a connection, a subscription or such a message nothing has to go back.
    for (filter, is_shared, has_left, unsent) in [
        (Some(FILTER), true, false, &[11, 20, 29][..]),
        (Some(FILTER), true, true, &[]),
        (Some(FILTER), false, false, &[]),
        (Some("t"), true, false, &[]),
    ] {
        let disk = SimulatedDisk::new();
        let Opened { mut log, mut archive, .. } = open(&disk).expect("it is empty");
        for record in started(ONE, "one", filter).into_iter().chain(queue(is_shared)) {
            commit(&mut log, &[record]).expect("there is power");
        }
        if has_left {
            commit(&mut log, std::slice::from_ref(&left)).expect("there is power");
        }
        settle(&mut log, &mut archive);
        let found = sessions(open(&disk.after(Cut::Nothing)).expect("it is whole").model);
        assert_eq!(
            in_memory(&found[0]),
            (vec![1, 2], Some(3)),
            "{filter:?} {is_shared} {has_left}"
        );
        let places: Vec<u64> = found[0].unsent.iter().map(|message| message.sequence).collect();
        assert_eq!(places, unsent, "{filter:?} {is_shared} {has_left}");
    }
}
