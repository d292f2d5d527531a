//! Connections whose CONNECT never comes, or comes a byte at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use noctule_broker::{Limits, QoS};
use noctule_testkit::{OwnedConnect, Peer, packet_bytes};

use crate::neighbours::Neighbours;
use crate::process::BrokerProcess;
use crate::{DEADLINE, start_with, wait};

/// How many connect and say nothing.
const STRANGERS: usize = 10_000;

/// A connection that says nothing, or the beginning of something.
#[track_caller]
fn stranger(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(4 * DEADLINE)).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// The broker must end it, without a byte and without a reset.
#[track_caller]
fn expect_end(mut stream: TcpStream) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an orderly end");
    assert_eq!(answer, [], "nothing is said to somebody who has not introduced himself");
}

#[test]
fn ten_thousand_connections_without_connect_cost_their_neighbours_nothing() {
    // Long enough to have all of them at once.
    let mut broker = BrokerProcess::start_with(Duration::from_secs(20), None);
    let mut neighbours = Neighbours::new(broker.address);
    let mut strangers = Vec::with_capacity(STRANGERS);
    for number in 0..STRANGERS {
        // Nothing, the first byte, half a fixed header, half a CONNECT.
        let beginnings: [&[u8]; 4] = [b"", b"\x10", b"\x10\x80", b"\x10\x10\x00\x04MQ"];
        strangers.push(stranger(broker.address, beginnings[number % 4]));
        if number % 500 == 0 {
            neighbours.are_served();
        }
    }
    neighbours.are_served();
    // The last ones may still wait to be accepted.
    let (expected, start) = (STRANGERS as u64 + 2, Instant::now());
    let mut statistics = broker.statistics();
    while statistics["connections"] < expected && start.elapsed() < DEADLINE {
        statistics = broker.statistics();
    }
    assert_eq!(statistics["connections"], expected, "{statistics:?}");
    assert_eq!(statistics["clients_connected"], 2, "{statistics:?}");
    // One who comes now is let in as ever.
    Peer::v5(broker.address, "late").disconnect();

    for (number, stranger) in strangers.into_iter().enumerate() {
        expect_end(stranger);
        if number % 500 == 0 {
            neighbours.are_served();
        }
    }
    neighbours.are_served();
    let statistics = broker.statistics();
    assert_eq!(statistics["connections_refused"], STRANGERS as u64, "{statistics:?}");
    assert_eq!(statistics["clients_connected"], 2, "{statistics:?}");
}

#[test]
fn a_connect_that_drips_is_cut_off_in_time_and_one_that_is_only_slow_is_not() {
    let mut limits = Limits::default();
    limits.connect_timeout = Duration::from_secs(1);
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    let connect = packet_bytes(0x10, "s'MQTT' 05 02 0000 00 s'slow'");

    // A byte at a time, and complete in time.
    let mut slow = Peer::connect(address);
    for byte in &connect {
        slow.send_bytes(&[*byte]);
    }
    slow.expect_connack();
    // A byte at a time, and never complete: each byte is a sign of life, and none of them counts.
    let mut dripping = stranger(address, &[0x10, 0x80, 0x20]);
    let mut dripped = Vec::new();
    dripping.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    for _ in 0..200 {
        let _ = dripping.write_all(b"x");
        match dripping.read_to_end(&mut dripped) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => break,
        }
    }
    assert_eq!(dripped, [], "no answer to half a CONNECT");
    // The time-out is for CONNECT only: the slow one is still there, and is not asked for more.
    slow.subscribe(&[("t", QoS::AtMostOnce)]);
    slow.publish("t", "still here", QoS::AtMostOnce);
    assert_eq!(slow.receive().text(), "still here");
    neighbours.are_served();
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!((statistics.connections_refused, gauges.clients_connected), (1, 3), "{gauges:?}");
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn packets_that_drip_are_taken_when_they_are_complete() {
    let (broker, address) = start_with(Limits::default());
    let mut neighbours = Neighbours::new(address);
    let mut dripping = Peer::connect(address);
    dripping.open(&OwnedConnect::v311("dripping").keep_alive(60));
    let subscribe = packet_bytes(0x82, "0007 s't' 01");
    let publish = packet_bytes(0x34, "s't' 0009 'payload'");
    for byte in [subscribe, publish].concat() {
        dripping.send_bytes(&[byte]);
    }
    dripping.expect_suback(7);
    let message = dripping.expect_publish();
    assert_eq!(message.text(), "payload");
    dripping.expect_pubrec(9);
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}
