//! Requests and responses over budget: the broker drops by rule what exceeds it, and nobody waits
//! for somebody who waits for him.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use noctule_broker::Limits;
use noctule_testkit::packet_bytes;

use crate::neighbours::Neighbours;
use crate::raw::Raw;
use crate::{DEADLINE, start_with, wait};

const REQUESTS: u64 = 2_000;
/// How many requests are sent before anything is read.
const BATCH: u64 = 50;
const PAYLOAD: usize = 4_000;
/// How long a connection may be silent before its client looks at whether all is over.
const SILENCE: Duration = Duration::from_millis(20);

/// What all of them have done.
#[derive(Debug)]
struct Tally {
    /// Nobody publishes before all have subscribed: what nobody wants is not counted as dropped.
    all_subscribed: Barrier,
    requests: AtomicU64,
    responses: AtomicU64,
    /// PUBACKs of either.
    accepted: AtomicU64,
    requests_received: AtomicU64,
    responses_received: AtomicU64,
    is_over: AtomicBool,
}

fn publish(topic: &str, number: u64) -> Vec<u8> {
    let id = number % 50_000 + 1;
    let payload = "x".repeat(PAYLOAD);
    packet_bytes(0x32, &format!("s'{topic}' {id:04x} '{payload}'"))
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::SeqCst) + 1
}

/// Takes what comes until nothing does; acknowledges each message at once.
fn take(raw: &mut Raw, tally: &Tally, received: &AtomicU64, mut on_message: impl FnMut(&mut Raw)) {
    while let Some(packet) = raw.next_within(SILENCE) {
        if packet.first_byte >> 4 == 3 {
            let id = packet.topic_and_id().1.unwrap();
            raw.send(&packet_bytes(0x40, &format!("{id:04x}")));
            count(received);
            on_message(raw);
        } else {
            assert_eq!(packet.first_byte, 0x40, "{packet:?}");
            count(&tally.accepted);
        }
    }
}

fn requester(address: SocketAddr, name: &str, tally: &Tally) {
    let mut raw = Raw::connect(address, &format!("s'MQTT' 04 02 0000 s'{name}'"));
    raw.subscribe("0001 s'responses' 01");
    tally.all_subscribed.wait();
    for batch in 0..REQUESTS / BATCH {
        for number in 0..BATCH {
            raw.send(&publish("requests", batch * BATCH + number));
            count(&tally.requests);
        }
        take(&mut raw, tally, &tally.responses_received, |_| {});
    }
    while !tally.is_over.load(Ordering::SeqCst) {
        take(&mut raw, tally, &tally.responses_received, |_| {});
    }
}

fn responder(address: SocketAddr, name: &str, tally: &Tally) {
    let mut raw = Raw::connect(address, &format!("s'MQTT' 04 02 0000 s'{name}'"));
    raw.subscribe("0001 s'$share/responders/requests' 01");
    tally.all_subscribed.wait();
    let mut number = 0;
    while !tally.is_over.load(Ordering::SeqCst) {
        take(&mut raw, tally, &tally.requests_received, |raw| {
            number += 1;
            raw.send(&publish("responses", number));
            count(&tally.responses);
        });
    }
}

/// Everything that was sent has been accepted, and has been received or dropped by rule.
fn play(limits: Limits) {
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    let tally = Arc::new(Tally {
        all_subscribed: Barrier::new(4),
        requests: AtomicU64::default(),
        responses: AtomicU64::default(),
        accepted: AtomicU64::default(),
        requests_received: AtomicU64::default(),
        responses_received: AtomicU64::default(),
        is_over: AtomicBool::default(),
    });
    let mut threads = Vec::new();
    for number in 0..2 {
        for role in [responder, requester] {
            let tally = Arc::clone(&tally);
            let name = format!("client-{}-{number}", threads.len());
            threads.push(thread::spawn(move || role(address, &name, &tally)));
        }
    }
    let (mut last, mut moved) = ((0, 0), Instant::now());
    loop {
        let of = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let (statistics, gauges) = wait(broker.statistics()).unwrap();
        let (requests, responses) = (of(&tally.requests), of(&tally.responses));
        let received = of(&tally.requests_received) + of(&tally.responses_received);
        // A response is for both requesters.
        let owed = requests + 2 * responses;
        let done = received + statistics.dropped_total();
        if requests == 2 * REQUESTS && of(&tally.accepted) == requests + responses && done == owed {
            let (_, gauges) = wait(broker.statistics()).unwrap();
            assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0), "{gauges:?}");
            // It was over budget, and not everything was dropped.
            assert!(statistics.dropped_total() > 0, "{tally:?}");
            assert!(received > 2 * BATCH, "{tally:?}");
            break;
        }
        if last != (of(&tally.accepted), done) {
            (last, moved) = ((of(&tally.accepted), done), Instant::now());
        }
        assert!(moved.elapsed() < 4 * DEADLINE, "stuck: {tally:?} {statistics:?} {gauges:?}");
        neighbours.are_served();
    }
    tally.is_over.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn requesters_and_responders_beyond_their_queues_do_not_wait_for_each_other() {
    let mut limits = Limits::default();
    limits.outbound_bytes_max = 8 * 1024;
    limits.queue_bytes_max = 32 * 1024;
    limits.in_flight_max = 4;
    limits.receive_maximum = 1_000;
    play(limits);
}

#[test]
fn requesters_and_responders_beyond_all_memory_do_not_wait_for_each_other() {
    let mut limits = Limits::default();
    limits.memory_bytes_max = 128 * 1024;
    limits.in_flight_max = 20;
    play(limits);
}
