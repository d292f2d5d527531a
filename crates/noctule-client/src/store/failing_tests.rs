//! Disks that are full and stores that are: nothing is promised falsely, and it goes on.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use noctule_client_core::{Doubt, Outcome, TransportEnd};
use noctule_store::{Cut, SimulatedDisk};

use crate::connection::Turn;
use crate::error::PublishError;
use crate::store::power_cut_tests::{Process, Server, Told};

/// Moves bytes until this is so.
fn until(process: &mut Process<'_>, told: &mut Told, is_so: impl Fn(&Process<'_>) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so(process) {
        assert!(Instant::now() < deadline, "it never comes");
        if let Turn::Rest(_) = process.turn() {
            thread::park_timeout(Duration::from_millis(10));
        }
        process.listen(told);
    }
}

fn has_failed(process: &Process<'_>) -> bool {
    process.course.shared.with(|inner| inner.journal.as_ref().is_some_and(|it| it.has_failed()))
}

/// A process whose disk is full, with one message that was delivered before and one that hangs.
fn with_full_disk<'a>(
    disk: &SimulatedDisk,
    server: &'a mut Server,
    told: &mut Told,
) -> Process<'a> {
    let mut process = Process::start(disk.clone(), server, false).expect("it starts");
    process.publish(told).expect("there is room");
    assert!(process.run(told));
    disk.set_capacity(Some(disk.bytes()));
    process.publish(told).expect("nobody knows yet");
    until(&mut process, told, has_failed);
    process
}

#[test]
fn a_full_disk_refuses_sends_nothing_and_heals() {
    let (disk, mut server, mut told) = (SimulatedDisk::new(), Server::default(), Told::default());
    let mut process = with_full_disk(&disk, &mut server, &mut told);
    assert_eq!(process.server.received, [0]);
    assert!(!told.kept.contains(&1), "it is not stored");
    let error = process.publish(&mut told).expect_err("it cannot be kept");
    assert!(matches!(&error, PublishError::Store(source) if source.is_full()), "{error}");
    disk.set_capacity(None);
    until(&mut process, &mut told, |process| process.open.is_empty());
    assert_eq!(process.server.received, [0, 1]);
    process.publish(&mut told).expect("there is room again");
    assert!(process.run(&mut told));
    assert_eq!(process.server.received, [0, 1, 2]);
    drop(process);
    // And what is on the disk is a store again.
    let mut process = Process::start(disk.after(Cut::Lost), &mut server, false).expect("it starts");
    assert!(process.live(&mut told));
}

#[test]
fn whoever_ends_without_disk_is_not_told_that_anything_is_stored() {
    let (disk, mut server, mut told) = (SimulatedDisk::new(), Server::default(), Told::default());
    let mut process = with_full_disk(&disk, &mut server, &mut told);
    process.course.shared.end_by(Instant::now());
    let turn = process.turn();
    assert!(matches!(turn, Turn::Over(TransportEnd::Failed)), "{turn:?}");
    let unfinished = process.course.shared.with(|inner| inner.unfinished).expect("it has ended");
    assert!(!unfinished.are_stored && unfinished.in_flight == 1, "{unfinished:?}");
    let (_, receipt, _) = process.open.pop().expect("it was accepted");
    let polled = pin!(receipt).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(Outcome::Indeterminate { why: Doubt::Closed }));
    assert_eq!(process.server.received, [0]);
}

#[test]
fn what_is_over_takes_no_room() {
    let (disk, mut server, mut told) = (SimulatedDisk::new(), Server::default(), Told::default());
    let mut process = Process::start(disk.clone(), &mut server, false).expect("it starts");
    while told.next < 300 {
        // Refused as long as the store is being rewritten.
        let _ = process.publish(&mut told);
        assert!(process.run(&mut told));
    }
    // The bound, and what a rewrite takes beside it.
    assert!(disk.bytes() < 12_000, "{}", disk.bytes());
    let expected: Vec<_> = (0..300).collect();
    assert_eq!(process.server.received, expected);
}

/// What a user does while a batch is under way is no reason to tell nobody what that batch was
/// waited for.
#[test]
fn what_is_durable_is_told_whatever_has_come_up_meanwhile() {
    let (disk, mut server, mut told) = (SimulatedDisk::new(), Server::default(), Told::default());
    let mut process = Process::start(disk.clone(), &mut server, false).expect("it starts");
    process.publish(&mut told).expect("there is room");
    assert!(process.run(&mut told));
    process.server.is_silent = true;
    for _ in 0..2 {
        process.publish(&mut told).expect("there is room");
        assert!(process.run(&mut told));
    }
    let shared = Arc::clone(&process.course.shared);
    let is_keeping = || shared.with(|inner| inner.is_keeping());
    let is_told = || shared.with(|inner| inner.hub.session().pending_events() == 0);
    // The batch is under way that says that the first of them was delivered, which has QoS 1.
    disk.set_capacity(Some(disk.bytes()));
    process.server.output = process.server.unsaid.drain(..4).collect();
    until(&mut process, &mut told, has_failed);
    assert!(is_keeping() && !is_told());
    // Its user gives the other one up, which is to be stored before it is told.
    let (_, other, _) = process.open.pop().expect("it was accepted");
    let (_, receipt, _) = process.open.pop().expect("it was accepted");
    let now = shared.now();
    assert!(shared.with(|inner| inner.hub.cancel(now, other.operation())));
    disk.set_capacity(None);
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_keeping() {
        assert!(Instant::now() < deadline, "it is never durable");
        thread::park_timeout(Duration::from_millis(10));
    }
    shared.with(|inner| inner.tell(now));
    let mut context = Context::from_waker(Waker::noop());
    let polled = pin!(receipt).poll(&mut context);
    assert!(matches!(polled, Poll::Ready(Outcome::Delivered { .. })), "{polled:?}");
    assert!(pin!(other).poll(&mut context).is_pending(), "it is not stored");
}
