//! Clients that do not read: what waits for them stays within its bytes, what exceeds them is
//! dropped by rule and counted, and nobody else waits.

use std::os::unix::net::UnixStream;

use noctule_broker::{DropCause, Limits, QoS};
use noctule_testkit::{Peer, packet_bytes};

use crate::neighbours::Neighbours;
use crate::raw::Raw;
use crate::{DEADLINE, start_with, start_with_socket, wait};

/// More than is taken from somebody who reads no answer, with what the kernel keeps of it.
const QUESTION_BYTES_MAX: usize = 16 << 20;

#[test]
fn a_queue_for_a_client_that_does_not_read_stays_within_its_bytes() {
    const QUEUE_BYTES_MAX: u64 = 1 << 20;
    let mut limits = Limits::default();
    limits.outbound_bytes_max = 64 * 1024;
    limits.queue_bytes_max = QUEUE_BYTES_MAX;
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        // A name of its own, because what was not read is still in the session's window.
        let mut deaf = Peer::v5(address, &format!("deaf-{}", qos as u8));
        deaf.subscribe(&[("t", qos)]);
        let mut writer = Peer::v5(address, "writer-of-much");
        let dropped_before = full(&broker);
        let mut sent = 0_u64;
        while full(&broker) < dropped_before + 50 {
            assert!(sent < 4_000, "nothing is dropped for somebody who does not read");
            let mut payload = vec![7; 8 * 1024];
            payload[..8].copy_from_slice(&sent.to_be_bytes());
            writer.publish("t", payload, qos);
            sent += 1;
            let (_, gauges) = wait(broker.statistics()).unwrap();
            assert!(gauges.queued_bytes <= QUEUE_BYTES_MAX, "{gauges:?}");
            if sent.is_multiple_of(100) {
                neighbours.are_served();
            }
        }
        // It reads at last: what was kept, in order, and nothing twice.
        let dropped = full(&broker) - dropped_before;
        let mut numbers = Vec::new();
        loop {
            let messages = deaf.receive_all();
            if messages.is_empty() {
                break;
            }
            let number = |payload: &[u8]| u64::from_be_bytes(payload[..8].try_into().unwrap());
            numbers.extend(messages.iter().map(|message| number(&message.payload)));
        }
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert_eq!(numbers.len() as u64 + dropped, sent);
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

fn full(broker: &noctule_broker::Handle) -> u64 {
    wait(broker.statistics()).unwrap().0.dropped[DropCause::QueueFull.index()]
}

/// Asks again and again without reading an answer: at some point nobody takes its questions, and
/// when it reads, each has its answer.
#[track_caller]
fn question_without_listening(name: &str, question: &[u8], answer: u8) {
    let mut limits = Limits::default();
    limits.outbound_bytes_max = 64 * 1024;
    let (broker, address, path) = start_with_socket(name, limits);
    let mut neighbours = Neighbours::new(address);
    let stream = UnixStream::connect(path).unwrap();
    let mut deaf = Raw::over(stream, "s'MQTT' 04 02 0000 s'curious'");
    let questions = question.repeat(64 * 1024 / question.len());
    let taken = deaf.send_until_stuck(&questions, QUESTION_BYTES_MAX);
    assert!(taken < QUESTION_BYTES_MAX, "questions are taken without end");
    neighbours.are_served();
    let count = taken.div_ceil(question.len());
    for number in 0..count {
        // All but what is in the kernel has been answered before it takes the rest of the last.
        if number + 10 == count {
            deaf.send(&question[question.len() - (count * question.len() - taken)..]);
        }
        assert_eq!(deaf.next().first_byte, answer, "answer {number} of {count}");
    }
    assert_eq!(deaf.before_pong(), []);
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn pings_of_a_client_that_reads_no_answer_are_taken_to_a_limit() {
    question_without_listening("pings", &[0xC0, 0], 0xD0);
}

#[test]
fn publications_of_a_client_that_reads_no_answer_are_taken_to_a_limit() {
    question_without_listening("publications", &packet_bytes(0x32, "s't' 0001"), 0x40);
}

#[test]
fn subscriptions_of_a_client_that_reads_no_answer_are_taken_to_a_limit() {
    // Several filters, so that there is an answer of some size to each.
    let subscribe = packet_bytes(0x82, &format!("0001 {}", " s't' 01".repeat(20)));
    question_without_listening("subscriptions", &subscribe, 0x90);
}

/// The end comes even to those who never read what stands before it.
#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let mut limits = Limits::default();
    limits.outbound_bytes_max = 64 * 1024;
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    let mut deaf = Raw::connect(address, "s'MQTT' 04 02 0000 s'deaf'");
    deaf.send(&packet_bytes(0x82, "0001 s't' 00"));
    let mut writer = Peer::v311(address, "writer-of-much");
    let slow =
        |statistics: noctule_broker::Statistics| statistics.dropped[DropCause::SlowReader.index()];
    while slow(wait(broker.statistics()).unwrap().0) == 0 {
        writer.publish("t", [7; 64 * 1024], QoS::AtLeastOnce);
    }
    neighbours.are_served();
    assert!(wait(broker.kick("deaf")).unwrap());
    // The name is free at once, whatever the old connection still has to say.
    let mut successor = Peer::v5(address, "deaf");
    successor.expect_nothing_before_pong();
    neighbours.are_served();
    // Nor do those who are left when all must go; the broker would not stop, and the test fails.
    let mut other = Raw::connect(address, "s'MQTT' 04 02 0000 s'deaf-too'");
    other.send(&packet_bytes(0x82, "0001 s't' 00"));
    let before = slow(wait(broker.statistics()).unwrap().0);
    while slow(wait(broker.statistics()).unwrap().0) == before {
        writer.publish("t", [7; 64 * 1024], QoS::AtLeastOnce);
    }
    broker.stop_blocking(DEADLINE).unwrap();
}
