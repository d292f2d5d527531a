//! Conversations of a broker that are told, with what is made of them.

use std::sync::Arc;

use noctule_broker_core::{
    Message, Record, Reference, Restored, Step, StoredSession, StoredTerms, Timestamp,
};
use noctule_packet::{PacketId, QoS};
use noctule_store::broker::{Damaged, Model, Unreadable};
use noctule_store::{State, StateBatch};

use crate::broker_changes::{
    after, checkpoint, empty_state, message, placement, subscription, terms, will,
};

const ONE: u64 = 1 << 16;
const TWO: u64 = 2 << 16;

fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("not 0")
}

fn started(session: u64, expiry_interval: u32) -> Record {
    Record::SessionStarted(Box::new(terms(session, "a", expiry_interval)))
}

fn left(session: u64, will_at: Option<Timestamp>) -> Record {
    let expires_at = Some(Timestamp::from_millis(9));
    Record::SessionLeft { session, expiry_interval: 60, expires_at, will_at, sent: 3 }
}

fn queued(session: u64, sequences: impl IntoIterator<Item = u64>) -> Vec<Record> {
    let queue = |sequence: u64| {
        let qos = QoS::ExactlyOnce;
        let (retain, identifiers, group) = (true, vec![7], None);
        let reference = Reference { session, sequence, qos, retain, identifiers, group };
        let message = message(&sequence.to_string(), qos);
        Record::Queued { publication: 0, message, references: reference.into() }
    };
    sequences.into_iter().map(queue).collect()
}

fn all(model: Model) -> Vec<Restored> {
    model.into_restored(&placement()).into_iter().flatten().collect()
}

fn sessions(model: Model) -> Vec<StoredSession> {
    let sessions = all(model).into_iter().filter_map(|restored| match restored {
        Restored::Session(session) => Some(*session),
        _ => None,
    });
    sessions.collect()
}

/// The only session after these records, read all at once or from a state.
#[track_caller]
fn session(records: &[Record]) -> StoredSession {
    let mut found = sessions(after(records));
    assert_eq!(found.len(), 1);
    let mut state = empty_state();
    checkpoint(&mut state, records, 2);
    let model = Model::from_state(&state, |found| panic!("{found:?}")).expect("it can be read");
    let found_in_state = sessions(model);
    assert_eq!(found_in_state.len(), 1);
    let session = found.remove(0);
    let without_messages = StoredSession {
        messages: Vec::new(),
        sequence: found_in_state[0].sequence,
        // Messages that were sent and are not there count as done.
        next: found_in_state[0].next,
        ..session.clone()
    };
    assert_eq!(found_in_state, [without_messages]);
    session
}

fn places(session: &StoredSession) -> Vec<(u64, Step)> {
    session.messages.iter().map(|message| (message.sequence, message.step)).collect()
}

#[test]
fn a_session_comes_back_with_all_that_it_had() {
    let mut records = vec![
        Record::SessionStarted(Box::new(StoredTerms {
            user_name: Some("u".into()),
            will: Some(will(QoS::AtLeastOnce)),
            ..terms(ONE, "a", 60)
        })),
        Record::Subscribed { session: ONE, subscription: subscription("x") },
        Record::Subscribed { session: ONE, subscription: subscription("y") },
        Record::Unsubscribed { session: ONE, filter: "x".into() },
    ];
    records.extend(queued(ONE, [3, 4]));
    let stored = session(&records);
    assert!(stored.was_connected);
    assert_eq!(stored.terms.user_name.as_deref(), Some("u"));
    assert_eq!(stored.subscriptions, [subscription("y")]);
    assert_eq!((stored.next, stored.sequence), (id(1), 4));
    let first = &stored.messages[0];
    assert_eq!((first.qos, first.retain, &*first.identifiers), (QoS::ExactlyOnce, true, &[7][..]));
    assert_eq!(*first.message.payload, *b"3");
    let will_at = Some(Timestamp::from_millis(5));
    records.push(left(ONE, will_at));
    let stored = session(&records);
    assert!(!stored.was_connected && stored.terms.will.is_some());
    assert_eq!((stored.expires_at, stored.will_at), (Some(Timestamp::from_millis(9)), will_at));
    records.push(left(ONE, None));
    assert_eq!(session(&records).terms.will, None);
    records.push(started(ONE, 60));
    let stored = session(&records);
    assert!(stored.was_connected);
    assert_eq!((stored.expires_at, stored.messages.len()), (None, 2));
}

#[test]
fn a_session_with_another_name_ends_the_older_one_of_its_client() {
    let mut records = vec![started(ONE, 60)];
    records.push(Record::Subscribed { session: ONE, subscription: subscription("x") });
    records.extend(queued(ONE, [1]));
    records.push(started(TWO, 60));
    let mut state = empty_state();
    checkpoint(&mut state, &records, 3);
    let mut keys = Vec::new();
    state.scan(b"s", &mut |key, _| keys.push(key.to_vec())).expect("it can be read");
    assert_eq!(keys, [[b"s", &TWO.to_be_bytes()[..], &[1]].concat()]);
    // What comes late of the older one is nobody's.
    records.push(Record::Subscribed { session: ONE, subscription: subscription("y") });
    records.extend(queued(ONE, [2]));
    records.push(started(ONE, 60));
    let stored = session(&records);
    assert_eq!(stored.terms.session, TWO);
    assert!(stored.subscriptions.is_empty() && stored.messages.is_empty());
    records.push(Record::SessionEnded { session: TWO });
    assert!(sessions(after(&records)).is_empty());
    let mut state = empty_state();
    checkpoint(&mut state, &records, 2);
    let mut keys = Vec::new();
    state.scan(b"", &mut |key, _| keys.push(key.to_vec())).expect("it can be read");
    assert_eq!(keys, [b"n"], "nothing is left but the largest name");
    let restored = all(after(&records));
    assert!(matches!(restored[..], [Restored::End { last_name: TWO }, _, _]), "{restored:?}");
}

#[test]
fn of_a_session_that_ends_with_its_connection_only_the_will_is_kept() {
    let mut records = vec![started(ONE, 60)];
    records.push(Record::Subscribed { session: ONE, subscription: subscription("x") });
    records.extend(queued(ONE, [1]));
    let terms = StoredTerms { will: Some(will(QoS::AtLeastOnce)), ..terms(ONE, "a", 0) };
    records.push(Record::SessionStarted(Box::new(terms)));
    records.extend(queued(ONE, [2]));
    records.push(Record::Subscribed { session: ONE, subscription: subscription("y") });
    let stored = session(&records);
    assert!(stored.was_connected && stored.terms.will.is_some());
    assert!(stored.subscriptions.is_empty() && stored.messages.is_empty());
}

#[test]
fn packet_identifiers_follow_one_another_and_begin_again_behind_the_last() {
    let mut records = vec![started(ONE, 60)];
    records.push(Record::Acknowledged { session: ONE, up_to: 10, next: id(65_534) });
    records.extend(queued(ONE, [10, 12, 13, 14, 15, 16]));
    for packet_id in [65_535, 1, 65_534] {
        records.push(Record::Pubrec { session: ONE, packet_id: id(packet_id) });
    }
    records.push(Record::Pubcomp { session: ONE, packet_id: id(65_535) });
    let expected =
        [(12, Step::Released(2)), (13, Step::Done), (14, Step::Released(1)), (15, Step::Published)];
    assert_eq!(places(&session(&records))[..4], expected);
    records.push(Record::Skipped { session: ONE, sequence: 16 });
    assert_eq!(places(&session(&records)), expected);
    assert_eq!(session(&records).sequence, 16);
    // The first two are done.
    records.push(Record::Acknowledged { session: ONE, up_to: 13, next: id(1) });
    let stored = session(&records);
    assert_eq!(places(&stored), [(14, Step::Released(1)), (15, Step::Published)]);
    assert_eq!(stored.next, id(1));
    // What is older than that says nothing.
    records.push(Record::Acknowledged { session: ONE, up_to: 12, next: id(65_535) });
    records.extend(queued(ONE, [12, 13]));
    assert_eq!(session(&records), stored);
}

/// Once around all packet identifiers, nothing is left of what they stood for before.
#[test]
fn a_packet_identifier_that_is_used_again_stands_for_another_message() {
    let mut records = vec![started(ONE, 60)];
    let mut next = 1;
    // As often as marks of so many messages go around once.
    for sequence in 1..=65_535 {
        records.extend(queued(ONE, [sequence]));
        records.push(Record::Pubrec { session: ONE, packet_id: id(next) });
        records.push(Record::Pubcomp { session: ONE, packet_id: id(next) });
        next = if next == 65_535 { 1 } else { next + 1 };
        if sequence % 255 == 0 {
            let mark = Record::Acknowledged { session: ONE, up_to: sequence, next: id(next) };
            // All of it may be read twice.
            let start = records.len() - 3 * 255;
            records.push(mark);
            records.extend_from_within(start..);
        }
    }
    records.extend(queued(ONE, 65_536..65_636));
    let stored = sessions(after(&records)).remove(0);
    assert_eq!((stored.next.value(), next), (1, 1));
    assert_eq!(stored.messages.len(), 100);
    assert!(stored.messages.iter().all(|message| message.step == Step::Published));
}

#[test]
fn a_publication_is_unrouted_until_it_is_recorded_wherever_it_waits() {
    let publication = 7 << 16;
    let sent = message("m", QoS::ExactlyOnce);
    let mut records = vec![started(ONE, 60)];
    let message = Arc::clone(&sent);
    records.push(Record::Received { session: ONE, packet_id: id(4), publication, message });
    let reference = Reference {
        session: TWO,
        sequence: 1,
        qos: QoS::ExactlyOnce,
        retain: false,
        identifiers: Vec::new(),
        group: None,
    };
    records.push(Record::Queued { publication, message: sent, references: reference.into() });
    let shards = after(&records).into_restored(&placement());
    for shard in &shards {
        let who = shard.iter().find_map(|restored| match restored {
            Restored::Queued { publication: name, sessions } => Some((*name, &**sessions)),
            _ => None,
        });
        assert_eq!(who, Some((publication, &[TWO][..])));
        assert!(
            matches!(shard.last(), Some(Restored::End { last_name }) if *last_name == publication)
        );
    }
    let home = usize::from(placement().client("a").0);
    let is_unrouted = |restored: &Restored| matches!(restored, Restored::Unrouted { .. });
    let of: Vec<usize> =
        shards.iter().map(|shard| shard.iter().filter(|it| is_unrouted(it)).count()).collect();
    assert_eq!(of.iter().sum::<usize>(), 1);
    assert_eq!(of[home], 1);
    assert_eq!(session(&records).received, [id(4)]);
    // That its publisher's session is over changes nothing for others.
    let ended = Record::SessionEnded { session: ONE };
    let over = [&records[..], &[ended]].concat();
    assert_eq!(all(after(&over)).iter().filter(|it| is_unrouted(it)).count(), 1);
    records.push(Record::Released { session: ONE, packet_id: id(4) });
    assert!(session(&records).received.is_empty());
    records.push(Record::Routed { publication });
    let restored = all(after(&records));
    assert!(!restored.iter().any(is_unrouted));
    assert!(!restored.iter().any(|it| matches!(it, Restored::Queued { .. })));
}

#[test]
fn what_is_unreadable_in_a_state_is_told_and_the_rest_is_used() {
    let mut records = vec![started(ONE, 60)];
    for filter in ["x", "y"] {
        records.push(Record::Subscribed { session: ONE, subscription: subscription(filter) });
    }
    let retained = Message { topic: "r".into(), ..(*message("r", QoS::AtLeastOnce)).clone() };
    records.push(Record::Retained { publication: 0, message: Arc::new(retained) });
    let mut state = empty_state();
    checkpoint(&mut state, &records, 10);
    let mut keys = Vec::new();
    state.scan(b"", &mut |key, _| keys.push(key.to_vec())).expect("it can be read");
    let of_x = keys.iter().find(|key| key.ends_with(b"x")).expect("it is there").clone();
    let of_y = keys.iter().find(|key| key.ends_with(b"y")).expect("it is there").clone();
    let mut batch = StateBatch::new();
    batch
        .put(of_x.clone(), state.get(&of_y).expect("it can be read").expect("it is there"))
        .expect("short");
    batch.put(*b"rr", *b"").expect("it is short");
    // Others may have keys of their own.
    batch.put(*b"x", *b"").expect("it is short");
    state.apply(&batch).expect("it can be written");
    let mut told = Vec::new();
    let model = Model::from_state(&state, |unreadable| told.push(unreadable));
    let stored = sessions(model.expect("it can be read")).remove(0);
    assert_eq!(stored.subscriptions, [subscription("y")]);
    let expected = [
        Unreadable { key: b"rr".to_vec(), reason: Damaged::Short("kind") },
        Unreadable { key: of_x.clone(), reason: Damaged::Misplaced },
    ];
    assert_eq!(told, expected);
    // It goes when its session is written again.
    checkpoint(&mut state, &[left(ONE, None)], 1);
    assert_eq!(state.get(&of_x).expect("it can be read"), None);
    assert!(state.get(&of_y).expect("it can be read").is_some());
}
