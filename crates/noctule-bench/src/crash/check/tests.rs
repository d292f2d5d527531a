//! Planted journals: one in which nothing is wrong, and that one with every kind of fault.

use noctule_packet::QoS;

use super::Checker;
use crate::crash::finding::{Finding, Kind};
use crate::crash::journal::{Arrival, Event, Message, Opening, Stream, Will};

const PUBLISHER: usize = 0;
const SUBSCRIBER: usize = 1;
const MORTAL: usize = 2;
const TOPICS: u8 = 0;
const KEPT: u8 = 6;

/// A stream of QoS 2, one of QoS 1, and one of retained messages.
const STREAMS: [Stream; 3] = [
    Stream { publisher: PUBLISHER, group: TOPICS, qos: QoS::ExactlyOnce, retain: false },
    Stream { publisher: PUBLISHER, group: TOPICS, qos: QoS::AtLeastOnce, retain: false },
    Stream { publisher: PUBLISHER, group: KEPT, qos: QoS::AtLeastOnce, retain: true },
];

fn message(stream: usize, number: u32) -> Message {
    Message { stream, number }
}

fn connect(client: usize, connection: u32, clean_start: bool, is_stored: bool) -> Event {
    Event::Connect { client, opening: Opening { connection, clean_start, is_stored, will: None } }
}

fn connack(client: usize, session_present: bool) -> Event {
    Event::Connack { client, session_present }
}

/// A message that is acknowledged.
fn published(stream: usize, number: u32) -> Vec<Event> {
    let message = message(stream, number);
    let mut events = vec![Event::Publish { message }];
    if STREAMS[stream].qos == QoS::ExactlyOnce {
        events.push(Event::Received { message });
    }
    events.push(Event::Completed { message });
    events
}

fn arrived(stream: usize, number: u32) -> Event {
    arrived_as(stream, number, STREAMS[stream].qos, false)
}

fn arrived_as(stream: usize, number: u32, qos: QoS, dup: bool) -> Event {
    let arrival = Arrival { qos, dup, is_repetition: false, packet_id: 1 };
    Event::Arrived { client: SUBSCRIBER, message: message(stream, number), arrival }
}

fn subscribed() -> [Event; 2] {
    [
        Event::Subscribe { client: SUBSCRIBER, group: TOPICS, qos: QoS::ExactlyOnce },
        Event::Suback { client: SUBSCRIBER, group: TOPICS, granted: Some(QoS::ExactlyOnce) },
    ]
}

/// Everybody is there, and the subscriber is subscribed.
fn beginning() -> Vec<Event> {
    let mut events = vec![
        connect(PUBLISHER, 1, false, true),
        connack(PUBLISHER, false),
        connect(SUBSCRIBER, 2, false, true),
        connack(SUBSCRIBER, false),
    ];
    events.extend(subscribed());
    events
}

/// A crash, and everybody comes back.
fn crash() -> Vec<Event> {
    vec![
        Event::Stopped,
        connect(PUBLISHER, 3, false, true),
        connack(PUBLISHER, true),
        connect(SUBSCRIBER, 4, false, true),
        connack(SUBSCRIBER, true),
    ]
}

/// Two messages before the crash, of which one comes before it, and two in the aftermath.
fn good() -> Vec<Event> {
    let mut events = beginning();
    events.extend(published(0, 1));
    events.push(arrived(0, 1));
    events.extend(published(1, 1));
    events.extend(published(2, 1));
    events.extend(crash());
    events.push(arrived(1, 1));
    events.push(Event::Aftermath);
    for stream in 0..2 {
        events.extend(published(stream, 2));
        events.push(arrived(stream, 2));
    }
    events.extend([Event::Look { look: 9 }, retained(1), Event::Settled]);
    events
}

fn retained(number: u32) -> Event {
    Event::Retained { look: 9, message: message(2, number) }
}

fn check(events: &[Event]) -> Vec<Finding> {
    let mut checker = Checker::new(STREAMS.to_vec(), 3);
    for event in events {
        checker.on_event(*event);
    }
    checker.take_report().findings
}

fn kinds(events: &[Event]) -> Vec<Kind> {
    check(events).into_iter().map(|finding| finding.kind).collect()
}

/// The good journal, with something put before one of its events.
fn good_with(more: &[Event], before: Event) -> Vec<Event> {
    let mut events = good();
    let place = events.iter().position(|event| *event == before).unwrap();
    events.splice(place..place, more.iter().copied());
    events
}

fn good_without(event: Event) -> Vec<Event> {
    let mut events = good();
    let place = events.iter().position(|each| *each == event).unwrap();
    events.remove(place);
    events
}

fn good_but(from: Event, to: Event) -> Vec<Event> {
    let mut events = good();
    let place = events.iter().rposition(|each| *each == from).unwrap();
    events[place] = to;
    events
}

#[test]
fn nothing_is_wrong_with_a_good_journal() {
    assert_eq!(check(&good()), []);
    let mut checker = Checker::new(STREAMS.to_vec(), 3);
    for event in good() {
        checker.on_event(event);
    }
    let tally = checker.take_report().tally;
    assert_eq!((tally.kills, tally.acknowledged, tally.owed), (1, 5, 4));
    assert_eq!((tally.sessions, tally.subscriptions, tally.retained), (2, 1, 1));
}

#[test]
fn what_is_owed_is_outstanding_until_it_comes() {
    let mut checker = Checker::new(STREAMS.to_vec(), 3);
    let mut most = 0;
    for event in good() {
        match event {
            Event::Retained { .. } => assert_eq!(checker.outstanding(), 1),
            Event::Settled => assert_eq!(checker.outstanding(), 0),
            _ => {}
        }
        checker.on_event(event);
        most = most.max(checker.outstanding());
    }
    // The message at QoS 1 before the crash, and while that is missing, PUBACK of another one.
    assert_eq!(most, 2);
}

#[test]
fn a_lost_message_is_found_at_either_quality() {
    assert_eq!(kinds(&good_without(arrived(0, 1))), [Kind::LostQos2]);
    assert_eq!(kinds(&good_without(arrived(1, 1))), [Kind::LostQos1]);
    assert_eq!(kinds(&good_without(arrived(1, 2))), [Kind::LostQos1]);
}

#[test]
fn a_message_that_was_not_acknowledged_may_be_lost() {
    let rejected = Event::Rejected { message: message(1, 1) };
    let completed = Event::Completed { message: message(1, 1) };
    let mut events = good_but(completed, rejected);
    events.retain(|event| *event != arrived(1, 1));
    assert_eq!(check(&events), []);
    // But then that is said.
    events.retain(|event| *event != rejected);
    assert_eq!(kinds(&events), [Kind::Misbehaved]);
}

#[test]
fn pubrec_binds_the_broker_though_the_publisher_never_finishes() {
    let (given_up, completed) =
        (Event::GivenUp { message: message(0, 1) }, Event::Completed { message: message(0, 1) });
    let mut events = good_but(completed, given_up);
    assert_eq!(check(&events), []);
    events.retain(|event| *event != arrived(0, 1));
    assert_eq!(kinds(&events), [Kind::LostQos2]);
    events.retain(|event| *event != Event::Received { message: message(0, 1) });
    assert_eq!(check(&events), []);
}

#[test]
fn a_duplicate_at_qos_2_is_found_and_a_repetition_under_its_identifier_is_none() {
    let duplicate = arrived_as(0, 1, QoS::ExactlyOnce, true);
    assert_eq!(kinds(&good_with(&[duplicate], Event::Settled)), [Kind::DuplicatedQos2]);
    let repetition = |dup| {
        let arrival = Arrival { qos: QoS::ExactlyOnce, dup, is_repetition: true, packet_id: 1 };
        Event::Arrived { client: SUBSCRIBER, message: message(0, 1), arrival }
    };
    assert_eq!(check(&good_with(&[repetition(true)], Event::Settled)), []);
    let without_dup = good_with(&[repetition(false)], Event::Settled);
    assert_eq!(kinds(&without_dup), [Kind::RepeatedWithoutDup]);
}

#[test]
fn qos_1_repeats_with_dup_or_as_often_as_its_publisher() {
    let again = |dup| good_with(&[arrived_as(1, 1, QoS::AtLeastOnce, dup)], Event::Settled);
    assert_eq!(check(&again(true)), []);
    assert_eq!(kinds(&again(false)), [Kind::RepeatedWithoutDup]);
    let mut events = again(false);
    let first = Event::Publish { message: message(1, 1) };
    let place = events.iter().position(|event| *event == first).unwrap();
    events.insert(place, first);
    assert_eq!(check(&events), []);
}

#[test]
fn the_order_of_first_appearances_counts() {
    let mut events = good_without(arrived(1, 1));
    let settled = events.len() - 1;
    events.insert(settled, arrived(1, 1));
    assert_eq!(kinds(&events), [Kind::Disordered]);
}

#[test]
fn what_was_sent_while_a_subscription_was_made_may_come_when_it_is_sent_again() {
    let mut events = beginning();
    let suback = events.pop().unwrap();
    events.extend(published(1, 1).iter().take(1));
    events.extend([Event::Publish { message: message(1, 2) }, arrived(1, 2), suback]);
    events.extend(published(1, 1));
    events.extend([arrived(1, 1), Event::Completed { message: message(1, 2) }, Event::Settled]);
    assert_eq!(check(&events), []);
}

#[test]
fn what_nobody_has_sent_is_found() {
    assert_eq!(kinds(&good_with(&[arrived(1, 77)], Event::Settled)), [Kind::Misbehaved]);
    let garbled = Event::Garbled { client: SUBSCRIBER };
    assert_eq!(kinds(&good_with(&[garbled], Event::Settled)), [Kind::Misbehaved]);
    let message = message(0, 1);
    let swallowed = Event::Swallowed { client: SUBSCRIBER, message };
    assert_eq!(kinds(&good_with(&[swallowed], Event::Settled)), [Kind::Misbehaved]);
}

#[test]
fn a_message_at_another_quality_is_found() {
    let events = good_but(arrived(0, 2), arrived_as(0, 2, QoS::AtLeastOnce, false));
    assert_eq!(kinds(&events), [Kind::QosChanged]);
}

#[test]
fn a_lost_session_is_found_with_all_that_was_in_it() {
    let mut events = good_but(connack(SUBSCRIBER, true), connack(SUBSCRIBER, false));
    events.retain(|event| *event == arrived(0, 1) || !matches!(event, Event::Arrived { .. }));
    assert_eq!(kinds(&events), [Kind::SessionLost, Kind::SubscriptionLost, Kind::LostQos1]);
}

#[test]
fn a_lost_subscription_is_found_without_counting_what_it_explains() {
    let mut events = good();
    events.retain(|event| *event != arrived(0, 2) && *event != arrived(1, 2));
    assert_eq!(kinds(&events), [Kind::SubscriptionLost]);
}

#[test]
fn an_ended_subscription_stays_ended() {
    let (client, group) = (SUBSCRIBER, TOPICS);
    let asked = Event::Unsubscribe { client, group };
    let ended = Event::Unsuback { client, group };
    // Asked for, but not answered: both is right.
    assert_eq!(check(&good_with(&[asked], Event::Stopped)), []);
    let mut events = good_with(&[asked], Event::Stopped);
    events.retain(|event| *event != arrived(0, 2) && *event != arrived(1, 2));
    assert_eq!(check(&events), []);
    // Answered: what was published before may come, and later messages may not.
    let mut events = good_with(&[asked, ended], Event::Stopped);
    assert_eq!(kinds(&events), [Kind::NotSubscribed, Kind::NotSubscribed]);
    events.retain(|event| *event != arrived(0, 2) && *event != arrived(1, 2));
    assert_eq!(check(&events), []);
    // What was acknowledged before is still owed.
    events.retain(|event| *event != arrived(1, 1));
    assert_eq!(kinds(&events), [Kind::LostQos1]);
}

/// The subscriber ends its session before the crash and comes back without a clean start.
fn cleaned(is_answered: bool, is_present: bool) -> Vec<Event> {
    let mut cleaning = vec![connect(SUBSCRIBER, 5, true, false)];
    if is_answered {
        cleaning.push(connack(SUBSCRIBER, false));
    }
    let mut events = good_with(&cleaning, Event::Stopped);
    let place = events.iter().rposition(|event| *event == connack(SUBSCRIBER, true)).unwrap();
    events[place] = connack(SUBSCRIBER, is_present);
    events
}

#[test]
fn a_cleaned_session_stays_away() {
    let without_arrivals = |mut events: Vec<Event>| {
        events.retain(|event| *event == arrived(0, 1) || !matches!(event, Event::Arrived { .. }));
        events
    };
    assert_eq!(check(&without_arrivals(cleaned(true, false))), []);
    assert_eq!(kinds(&without_arrivals(cleaned(true, true))), [Kind::SessionResurrected]);
    // Without an answer nobody knows.
    assert_eq!(check(&without_arrivals(cleaned(false, false))), []);
    assert_eq!(check(&cleaned(false, true)), []);
    // Its messages come though it does not.
    let expected = [Kind::SessionResurrected, Kind::NotSubscribed, Kind::NotSubscribed];
    assert_eq!(kinds(&cleaned(true, false)), expected);
}

#[test]
fn a_session_that_is_not_stored_ends_with_the_crash() {
    let client = SUBSCRIBER;
    let start = [connect(client, 2, true, false), connack(client, false)];
    let mut events = start.to_vec();
    events.extend(subscribed());
    events.extend(published(1, 1));
    events.extend([Event::Stopped, connect(client, 3, false, true)]);
    let mut good = events.clone();
    good.extend([connack(client, false), Event::Settled]);
    assert_eq!(check(&good), []);
    events.extend([connack(client, true), Event::Settled]);
    assert_eq!(kinds(&events), [Kind::SessionResurrected]);
}

#[test]
fn a_retained_message_is_there_and_as_new_as_the_last_one_acknowledged_or_seen() {
    assert_eq!(kinds(&good_without(retained(1))), [Kind::RetainedLost]);
    let mut newer = published(2, 2);
    let completed = newer.pop().unwrap();
    // Not acknowledged: the old one is right until the new one was seen.
    let rejected = Event::Rejected { message: message(2, 2) };
    newer.push(rejected);
    assert_eq!(check(&good_with(&newer, Event::Stopped)), []);
    newer.extend([Event::Look { look: 9 }, retained(2)]);
    assert_eq!(kinds(&good_with(&newer, Event::Stopped)), [Kind::RetainedOld]);
    let newer = [Event::Publish { message: message(2, 2) }, completed];
    assert_eq!(kinds(&good_with(&newer, Event::Stopped)), [Kind::RetainedOld]);
    assert_eq!(kinds(&good_but(retained(1), retained(3))), [Kind::Misbehaved]);
}

/// A connection with a will, how it ends, and how often its will comes.
fn mortal(will: Will, end: &[Event], arrivals: &[bool]) -> Vec<Kind> {
    let opening = Opening { connection: 7, clean_start: true, is_stored: false, will: Some(will) };
    let mut events = vec![Event::Connect { client: MORTAL, opening }, connack(MORTAL, false)];
    events.extend(end);
    for &dup in arrivals {
        let arrival = Arrival { qos: QoS::AtLeastOnce, dup, is_repetition: false, packet_id: 1 };
        events.push(Event::WillArrived { connection: 7, arrival });
    }
    events.push(Event::Settled);
    kinds(&events)
}

#[test]
fn a_will_is_published_once() {
    let crash = [Event::Stopped];
    for will in [Will::AtOnce, Will::Soon] {
        assert_eq!(mortal(will, &crash, &[false]), []);
        assert_eq!(mortal(will, &crash, &[false, true]), []);
        assert_eq!(mortal(will, &crash, &[true]), []);
        assert_eq!(mortal(will, &crash, &[]), [Kind::WillMissing]);
        assert_eq!(mortal(will, &crash, &[false, false]), [Kind::WillUnwanted]);
    }
    let dropped = [Event::Drop { client: MORTAL }, Event::Ended { client: MORTAL }];
    assert_eq!(mortal(Will::AtOnce, &dropped, &[]), [Kind::WillMissing]);
    assert_eq!(mortal(Will::AtOnce, &dropped, &[false]), []);
}

#[test]
fn a_will_is_not_published_for_whoever_left_or_came_back() {
    let leaving = Event::Disconnect { client: MORTAL };
    let left = [leaving, Event::Ended { client: MORTAL }];
    assert_eq!(mortal(Will::AtOnce, &left, &[]), []);
    assert_eq!(mortal(Will::AtOnce, &left, &[false]), [Kind::WillUnwanted]);
    // Nobody knows whether the broker got the DISCONNECT, or had it on disk.
    let [disconnect, ended] = left;
    for before in [&[disconnect, Event::Stopped][..], &[disconnect, ended, Event::Stopped]] {
        assert_eq!(mortal(Will::AtOnce, before, &[]), []);
        assert_eq!(mortal(Will::AtOnce, before, &[false]), []);
        assert_eq!(mortal(Will::AtOnce, before, &[false, false]), [Kind::WillUnwanted]);
    }
    // What came behind it tells that it had.
    let again = [connect(MORTAL, 8, true, false), connack(MORTAL, false)];
    let received = published(0, 1);
    for later in [&again[..], &received, &[Event::Settled]] {
        let before = [&left[..], later, &[Event::Stopped]].concat();
        assert_eq!(mortal(Will::AtOnce, &before, &[]), []);
        assert_eq!(mortal(Will::AtOnce, &before, &[false]), [Kind::WillUnwanted]);
    }
    // What came before it, or needs no disk, tells nothing.
    let mut early = published(0, 1);
    early.splice(1..1, left);
    let unrecorded = [&left[..], &published(1, 1)].concat();
    for events in [early, unrecorded] {
        let before = [&events[..], &[Event::Stopped]].concat();
        assert_eq!(mortal(Will::AtOnce, &before, &[false]), []);
    }
    let arrival = Arrival { qos: QoS::AtLeastOnce, dup: false, is_repetition: false, packet_id: 1 };
    let arrived = Event::WillArrived { connection: 7, arrival };
    let before = [disconnect, ended, arrived, Event::Stopped];
    assert_eq!(mortal(Will::AtOnce, &before, &[]), [Kind::WillUnwanted]);
    let back = [Event::Stopped, connect(MORTAL, 8, false, true)];
    assert_eq!(mortal(Will::Soon, &back, &[]), []);
    assert_eq!(mortal(Will::Soon, &back, &[false]), []);
    assert_eq!(mortal(Will::Late, &back, &[]), []);
    assert_eq!(mortal(Will::Late, &back, &[false]), [Kind::WillUnwanted]);
    assert_eq!(mortal(Will::AtOnce, &back, &[]), [Kind::WillMissing]);
    let unknown = Event::WillArrived { connection: 1, arrival };
    assert_eq!(kinds(&[unknown]), [Kind::Misbehaved]);
}

#[test]
fn a_client_that_is_refused_or_thrown_out_is_told() {
    let kicked = Event::Kicked { client: SUBSCRIBER };
    let refused = Event::Refused { client: SUBSCRIBER };
    for event in [kicked, refused] {
        assert_eq!(kinds(&good_with(&[event], Event::Stopped)), [Kind::Misbehaved]);
    }
}
