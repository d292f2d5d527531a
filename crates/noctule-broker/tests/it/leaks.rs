//! What fails half-way leaves nothing behind: not in what the broker counts, and not in memory.

use std::slice;

use noctule_broker::QoS;
use noctule_testkit::{OwnedPublish, Peer, packet_bytes};

use crate::cycles::{Leaving, visit};
use crate::neighbours::Neighbours;
use crate::process::BrokerProcess;
use crate::raw::Raw;
use crate::{DEADLINE, start_default, wait};

/// How often each failure happens, and after how many the memory is looked at first.
const ROUNDS: usize = 3_000;
const FIRST_ROUNDS: usize = 500;

/// What goes wrong, behind as much as possible that must be given back.
fn failures() -> Vec<Vec<u8>> {
    let payload = "x".repeat(2_000);
    let connect = |rest: &str| packet_bytes(0x10, &format!("s'MQTT' 05 06 003c {rest}"));
    let will = format!("s'will/topic' s'{payload}'");
    let inside = connect(&format!("00 s'a' 00 {will}"));
    let then = |packets: &[Vec<u8>]| [slice::from_ref(&inside), packets].concat().concat();
    vec![
        // A will with a property twice, one that ends too early, one with a topic that is none.
        connect(&format!("00 s'a' 04 01 00 01 00 {will}")),
        connect(&format!("00 s'a' 02 18 00 {will}")),
        connect(&format!("00 s'a' 00 s'will/#' s'{payload}'")),
        // User properties, and then something that does not exist.
        connect(&format!("v2014 26 s'name' s'{payload}' 7f s'a' 00 {will}")),
        // Good filters before a bad one.
        then(&[packet_bytes(0x82, "0001 00 s'a/b/c' 02 s'd/+/e' 01 s'$share/g/f' 01 s'#/g' 00")]),
        // Subscribed and unacknowledged, and then an acknowledgement of something else.
        then(&[
            packet_bytes(0x82, "0001 00 s'a/b' 02"),
            packet_bytes(0x34, &format!("s'a/b' 0002 00 '{payload}'")),
            packet_bytes(0x40, "0001"),
        ]),
        // Publications that are never released, and then one with an alias that nobody defined.
        then(&[
            (1..100).flat_map(|id| packet_bytes(0x34, &format!("s't' {id:04x} 00 'x'"))).collect(),
            packet_bytes(0x30, "0000 03 23 0001"),
        ]),
        // More than is announced, of which only the beginning comes.
        then(&[vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F], payload.clone().into_bytes()]),
    ]
}

#[test]
fn connections_that_fail_half_way_leave_nothing_behind() {
    let mut broker = BrokerProcess::start();
    let mut neighbours = Neighbours::new(broker.address);
    let failures = failures();
    let mut first = 0;
    for round in 0..ROUNDS {
        for bytes in &failures {
            visit(broker.address, bytes, Leaving::Politely);
        }
        if round + 1 == FIRST_ROUNDS {
            neighbours.are_served();
            first = broker.resident_kib();
        }
    }
    neighbours.are_served();
    let last = broker.resident_kib();
    let statistics = broker.statistics();
    let expected = [("sessions", 2), ("subscriptions", 1), ("in_flight_messages", 0)];
    for (name, value) in expected {
        assert_eq!(statistics[name], value, "{name} in {statistics:?}");
    }
    assert!(last * 10 <= first * 11, "{first} KiB after the first, {last} KiB after all");
}

/// Who never releases what he has published costs what the limit of unfinished publications allows.
#[test]
fn a_publication_that_is_repeated_for_ever_is_published_once() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    let mut reader = Peer::v5(address, "listening");
    reader.subscribe(&[("t", QoS::ExactlyOnce)]);
    let mut raw = Raw::connect(address, "s'MQTT' 04 02 003c s'stubborn'");
    raw.send(&packet_bytes(0x34, "s't' 0007 'again'"));
    assert_eq!(raw.next().first_byte, 0x50);
    let repeated = packet_bytes(0x3C, "s't' 0007 'again'").repeat(1_000);
    for _ in 0..20 {
        raw.send(&repeated);
        for _ in 0..1_000 {
            let pubrec = raw.next();
            assert_eq!((pubrec.first_byte, pubrec.number_at(0)), (0x50, 7));
        }
        neighbours.are_served();
    }
    assert_eq!(reader.receive().text(), "again");
    reader.expect_nothing_before_pong();
    // Released at last: the next one with this identifier is another message.
    raw.send(&packet_bytes(0x62, "0007"));
    assert_eq!(raw.next().first_byte, 0x70);
    raw.send(&packet_bytes(0x34, "s't' 0007 'another'"));
    assert_eq!(raw.next().first_byte, 0x50);
    assert_eq!(reader.receive().text(), "another");
    reader.publish_with(&OwnedPublish::new("t", "own", QoS::AtMostOnce));
    assert_eq!(reader.receive().text(), "own");
    let (statistics, _) = wait(broker.statistics()).unwrap();
    assert_eq!(statistics.dropped_total(), 0, "{statistics:?}");
    broker.stop_blocking(DEADLINE).unwrap();
}
