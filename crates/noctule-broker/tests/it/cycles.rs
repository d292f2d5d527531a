//! Coming and going, a great many times: what a client used is given back when it is gone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::thread;
use std::time::Duration;

use noctule_testkit::{Peer, packet_bytes};
use socket2::SockRef;

use crate::DEADLINE;
use crate::neighbours::Neighbours;
use crate::process::BrokerProcess;

/// So many connections, and what the memory is compared with: that after so many.
const CYCLES: usize = 200_000;
const FIRST_CYCLES: usize = 20_000;
/// How many visitors there are at a time.
const THREADS: usize = 4;
/// How many sessions are stored in the end.
const STORED: u64 = 1_000;

/// How a visitor leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Waits until the broker ends the connection, which what was sent makes it do.
    Politely,
    /// Is cut off at once, read or not, and the broker gets a reset.
    Abruptly,
}

/// Connects, sends, and leaves.
#[track_caller]
pub(crate) fn visit(address: SocketAddr, bytes: &[u8], leaving: Leaving) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(bytes).unwrap();
    match leaving {
        Leaving::Politely => {
            let mut answer = [0; 4096];
            while stream.read(&mut answer).expect("an orderly end") > 0 {}
        }
        Leaving::Abruptly => {
            // At least the first answer, so that what was sent has been acted on.
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        }
    }
    // A reset leaves no port behind that would have to rest for a minute.
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// What the visitor with this number sends, and how it leaves. Names come again after a while, so
/// that what the broker remembers about them on purpose is there after the first round.
fn visitor(number: usize) -> (Vec<u8>, Leaving) {
    let id = format!("visitor-{:04}", number % 5_000);
    let connect = |body: &str| packet_bytes(0x10, body);
    let disconnect = packet_bytes(0xE0, "");
    match number % 5 {
        // Comes and goes.
        0 => {
            let connect = connect(&format!("s'MQTT' 04 02 003c s'{id}'"));
            ([connect, disconnect].concat(), Leaving::Politely)
        }
        // Has a will and a subscription, writes to itself, and is cut off.
        1 => {
            let connect = connect(&format!("s'MQTT' 04 0e 003c s'{id}' s'will/{id}' s'gone'"));
            let subscribe = packet_bytes(0x82, &format!("0001 s'{id}/+/#' 01 s'{id}' 00"));
            let publish = packet_bytes(0x32, &format!("s'{id}/x' 0002 'payload'"));
            ([connect, subscribe, publish].concat(), Leaving::Abruptly)
        }
        // Has a session that the next one of this name resumes, with what is unfinished in it.
        2 => {
            let connect = connect(&format!("s'MQTT' 05 00 003c 05 11 0000ffff s'{id}'"));
            let subscribe = packet_bytes(0x82, &format!("0001 00 s'{id}/#' 02"));
            let publish = packet_bytes(0x34, &format!("s'{id}/x' 0002 00 'payload'"));
            ([connect, subscribe, publish].concat(), Leaving::Abruptly)
        }
        // Gets its name from the broker, sets a retained message and clears it by an alias.
        3 => {
            let connect = connect("s'MQTT' 05 02 003c 03 22 0010 0000");
            let set = packet_bytes(0x31, &format!("s'{id}' 03 23 0001 'retained'"));
            let clear = packet_bytes(0x31, "0000 03 23 0001");
            ([connect, set, clear, disconnect].concat(), Leaving::Politely)
        }
        // Shares a subscription, and is cut off.
        _ => {
            let connect = connect(&format!("s'MQTT' 04 02 003c s'{id}'"));
            let subscribe = packet_bytes(0x82, &format!("0001 s'$share/{id}/{id}/+' 01"));
            ([connect, subscribe].concat(), Leaving::Abruptly)
        }
    }
}

/// Visits of all these numbers, some at a time.
fn visit_all(address: SocketAddr, numbers: Range<usize>) {
    thread::scope(|scope| {
        for first in 0..THREADS {
            let numbers = numbers.clone().skip(first).step_by(THREADS);
            scope.spawn(move || {
                for number in numbers {
                    let (bytes, leaving) = visitor(number);
                    visit(address, &bytes, leaving);
                }
            });
        }
    });
}

#[test]
fn memory_stays_after_two_hundred_thousand_clients_what_it_was_after_the_first() {
    let mut broker = BrokerProcess::start();
    let mut neighbours = Neighbours::new(broker.address);
    visit_all(broker.address, 0..FIRST_CYCLES);
    neighbours.are_served();
    let first = broker.resident_kib();
    for step in 1..CYCLES / FIRST_CYCLES {
        visit_all(broker.address, step * FIRST_CYCLES..(step + 1) * FIRST_CYCLES);
        neighbours.are_served();
    }
    let last = broker.resident_kib();
    let statistics = broker.statistics();
    assert_eq!(statistics["connections_opened"], CYCLES as u64 + 2, "{statistics:?}");
    assert_eq!(statistics["sessions"], STORED + 2, "{statistics:?}");
    assert!(last * 10 <= first * 11, "{first} KiB after the first, {last} KiB after all");
    println!("{first} KiB after the first, {last} KiB after all");
}

/// Names of topics that never come again are remembered for a while, and not for ever.
#[test]
fn memory_of_topics_that_never_come_again_is_bounded() {
    let broker = BrokerProcess::start();
    let mut neighbours = Neighbours::new(broker.address);
    let mut writer = Peer::v311(broker.address, "inventive");
    let mut resident = Vec::new();
    for round in 0..2 {
        for number in 0..100 {
            let packet = |topic| packet_bytes(0x30, &format!("s'{round}/{number}/{topic}' 'x'"));
            let packets: Vec<u8> = (0..3_000).flat_map(packet).collect();
            writer.stream().write_all(&packets).unwrap();
            writer.expect_nothing_before_pong();
        }
        neighbours.are_served();
        resident.push(broker.resident_kib());
    }
    assert!(resident[1] * 10 <= resident[0] * 11, "KiB: {resident:?}");
}
