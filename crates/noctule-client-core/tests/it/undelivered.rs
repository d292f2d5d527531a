//! Publications that fail and whose receipts nobody holds: whoever follows the client hears of it.

use std::task::{Poll, Waker};

use noctule_client_core::{
    ClientEvent, ClientSession, Doubt, DropCause, FollowerId, Hub, OperationId, Outcome, Overflow,
    Publication, Record, Settings, Timestamp, TransportEnd,
};
use noctule_packet::{QoS, ReasonCode, TopicName, Version};

use crate::world::lasting;

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn publish(hub: &mut Hub, topic: &str, qos: QoS) -> OperationId {
    let publication = Publication::new(TopicName::new(topic).unwrap(), b"x").qos(qos);
    hub.publish(NOW, &publication).unwrap()
}

fn connect(hub: &mut Hub, connack: &[u8]) {
    hub.session_mut().transport_up(NOW);
    hub.session_mut().receive(NOW, connack);
    write(hub);
}

fn write(hub: &mut Hub) {
    let count = hub.session().outbound().len();
    hub.session_mut().written(NOW, count);
    hub.settle(NOW);
}

/// What a follower is told of publications that have failed.
fn told(hub: &mut Hub, follower: FollowerId) -> Vec<(OperationId, String, Outcome)> {
    let mut told = Vec::new();
    while let Poll::Ready(Some(event)) = hub.poll_event(follower, Waker::noop()) {
        if let ClientEvent::Undelivered { operation, topic, outcome } = event {
            told.push((operation, topic.to_string(), outcome));
        }
    }
    told
}

fn receipt(hub: &mut Hub, operation: OperationId) -> Option<Outcome> {
    match hub.poll_published(operation, Waker::noop()) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => None,
    }
}

const ACCEPTED: &[u8] = b"\x20\x03\0\0\0";

/// P-26, D-35: a failure reaches a receipt or those who follow, and only one of the two.
#[test]
fn a_failure_that_no_receipt_takes_is_told() {
    let mut hub = Hub::new(lasting(Version::V5_0)).unwrap();
    connect(&mut hub, ACCEPTED);
    let follower = hub.follow();
    let topics = ["held", "dropped", "late", "fine", "cancelled"];
    let [held, dropped, late, fine, cancelled] =
        topics.map(|topic| publish(&mut hub, topic, QoS::AtLeastOnce));
    write(&mut hub);
    for operation in [dropped, fine, cancelled] {
        hub.forget(operation);
    }
    assert!(hub.cancel(NOW, cancelled));
    let refused = ReasonCode::NotAuthorized.value();
    for (packet_id, reason) in [(1, refused), (2, refused), (3, refused), (4, 0), (5, refused)] {
        hub.session_mut().receive(NOW, &[0x40, 3, 0, packet_id, reason]);
    }
    hub.settle(NOW);
    let outcome = Outcome::Rejected { reason: ReasonCode::NotAuthorized, remarks: None };
    let failed = |operation, topic: &str| vec![(operation, topic.to_string(), outcome.clone())];
    assert_eq!(told(&mut hub, follower), failed(dropped, "dropped"));
    assert_eq!(receipt(&mut hub, held), Some(outcome.clone()));
    hub.forget(held);
    assert_eq!(told(&mut hub, follower), []);
    // A receipt that is dropped with an end that nobody has seen has not taken it.
    hub.forget(late);
    assert_eq!(told(&mut hub, follower), failed(late, "late"));
}

#[test]
fn whatever_way_it_failed_the_topic_is_told() {
    let mut settings = lasting(Version::V5_0);
    settings.queue.overflow = Overflow::DropNewest;
    settings.queue.count_max = 2;
    let mut hub = Hub::new(settings).unwrap();
    let follower = hub.follow();
    connect(&mut hub, ACCEPTED);
    // One fits in the queue that is not written when the connection ends, and one does not.
    for topic in ["unwritten", "a", "b"] {
        let operation = publish(&mut hub, topic, QoS::AtMostOnce);
        hub.forget(operation);
    }
    hub.session_mut().transport_down(NOW, TransportEnd::Failed);
    hub.settle(NOW);
    let full = Outcome::Dropped { why: DropCause::QueueFull };
    let topics = |told: Vec<(OperationId, String, Outcome)>| {
        told.into_iter().map(|(_, topic, outcome)| (topic, outcome)).collect::<Vec<_>>()
    };
    assert_eq!(topics(told(&mut hub, follower)), [("unwritten".into(), full.clone())]);
    let operation = publish(&mut hub, "newest", QoS::AtMostOnce);
    hub.forget(operation);
    hub.settle(NOW);
    assert_eq!(topics(told(&mut hub, follower)), [("newest".into(), full)]);
    hub.close(NOW);
    let closed = Outcome::Dropped { why: DropCause::Closed };
    let expected = [("a".into(), closed.clone()), ("b".into(), closed)];
    assert_eq!(topics(told(&mut hub, follower)), expected);
}

/// The process that published it is gone, and with it all receipts.
#[test]
fn a_failure_of_an_earlier_process_is_told_to_the_first_who_follows() {
    let mut settings = lasting(Version::V5_0);
    settings.is_durable = true;
    let mut before = Hub::new(settings.clone()).unwrap();
    connect(&mut before, ACCEPTED);
    let once = publish(&mut before, "once", QoS::ExactlyOnce);
    let stored: Vec<Record> = before.session_mut().take_records();

    let restore = |settings: Settings| {
        Hub::of(ClientSession::restore(settings, NOW, stored.clone()).unwrap())
    };
    let mut hub = restore(settings);
    // The server has forgotten the session.
    connect(&mut hub, ACCEPTED);
    // Whoever leaves without having looked has not heard of it either.
    let leaver = hub.follow();
    hub.leave(leaver);
    let follower = hub.follow();
    let heard = told(&mut hub, follower);
    assert!(
        matches!(&heard[..], [(operation, topic, Outcome::Indeterminate { .. })]
            if *operation == once && topic == "once"),
        "{heard:?}"
    );
    let other = hub.follow();
    assert_eq!(told(&mut hub, other), []);
}

/// Whoever takes the receipt is told by it, whenever that is, and others are not told again.
#[test]
fn a_failure_of_an_earlier_process_is_told_once() {
    let mut settings = lasting(Version::V5_0);
    settings.is_durable = true;
    let mut before = Hub::new(settings.clone()).unwrap();
    connect(&mut before, ACCEPTED);
    let [once, other] = ["once", "other"].map(|it| publish(&mut before, it, QoS::ExactlyOnce));
    write(&mut before);
    let stored: Vec<Record> = before.session_mut().take_records();
    let restore = || {
        let session = ClientSession::restore(settings.clone(), NOW, stored.clone());
        Hub::of(session.unwrap())
    };
    let lost = Some(Outcome::Indeterminate { why: Doubt::SessionLost });
    let take = |hub: &mut Hub| {
        let restored: Vec<_> = hub.take_restored().into_iter().map(|it| it.operation).collect();
        assert_eq!((restored, hub.take_restored()), (vec![once, other], vec![]));
    };

    // Taken before it fails.
    let mut hub = restore();
    take(&mut hub);
    let follower = hub.follow();
    hub.forget(other);
    connect(&mut hub, ACCEPTED);
    assert_eq!(receipt(&mut hub, once), lost);
    let heard: Vec<_> = told(&mut hub, follower).into_iter().map(|it| it.0).collect();
    assert_eq!(heard, [other]);

    // After that, before anybody follows.
    let mut hub = restore();
    connect(&mut hub, ACCEPTED);
    take(&mut hub);
    let follower = hub.follow();
    assert_eq!(told(&mut hub, follower), []);
    assert_eq!(receipt(&mut hub, once), lost);
    hub.forget(other);
    let heard: Vec<_> = told(&mut hub, follower).into_iter().map(|it| it.0).collect();
    assert_eq!(heard, [other]);

    // And when those who follow know it already.
    let mut hub = restore();
    let follower = hub.follow();
    connect(&mut hub, ACCEPTED);
    assert_eq!(told(&mut hub, follower).len(), 2);
    take(&mut hub);
    assert_eq!(receipt(&mut hub, once), lost);
    hub.forget(other);
    assert_eq!(told(&mut hub, follower), []);
}

/// Somebody who waits for an answer of his own takes nobody's news away.
#[test]
fn who_watches_the_connection_hears_of_no_message() {
    let mut hub = Hub::new(lasting(Version::V5_0)).unwrap();
    let lost = publish(&mut hub, "lost", QoS::AtLeastOnce);
    hub.forget(lost);
    let watcher = hub.watch();
    connect(&mut hub, ACCEPTED);
    hub.session_mut().receive(NOW, b"\x40\x04\0\x01\x87\0");
    hub.settle(NOW);
    let event = hub.poll_event(watcher, Waker::noop());
    assert!(matches!(event, Poll::Ready(Some(ClientEvent::Connected(_)))), "{event:?}");
    assert_eq!(told(&mut hub, watcher), []);
    let other = hub.watch();
    hub.leave(watcher);
    hub.leave(other);
    let follower = hub.follow();
    let topics: Vec<_> = told(&mut hub, follower).into_iter().map(|it| it.1).collect();
    assert_eq!(topics, ["lost"]);
    // And whoever follows together with a watcher hears of it.
    let _watcher = hub.watch();
    let other = publish(&mut hub, "other", QoS::AtLeastOnce);
    hub.forget(other);
    write(&mut hub);
    hub.session_mut().receive(NOW, b"\x40\x04\0\x02\x87\0");
    hub.settle(NOW);
    assert_eq!(told(&mut hub, follower).len(), 1);
}

/// An idle client pings for days.
#[test]
fn pings_push_nothing_out_that_was_not_read() {
    let mut hub = Hub::new(lasting(Version::V5_0)).unwrap();
    let follower = hub.follow();
    connect(&mut hub, ACCEPTED);
    hub.settle(NOW);
    for _ in 0..1_000 {
        assert!(hub.session_mut().ping(NOW));
        write(&mut hub);
        hub.session_mut().receive(NOW, b"\xD0\0");
        hub.settle(NOW);
    }
    let mut events = Vec::new();
    while let Poll::Ready(Some(event)) = hub.poll_event(follower, Waker::noop()) {
        events.push(event);
    }
    assert!(matches!(events[0], ClientEvent::Connected(_)), "{events:?}");
    assert!(matches!(events[1..], [ClientEvent::PingAnswered { .. }]), "{events:?}");
}
