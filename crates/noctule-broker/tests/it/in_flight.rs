//! Every packet identifier in use at once, in either direction.

use std::collections::HashSet;

use noctule_broker::{Limits, QoS, ReasonCode};
use noctule_testkit::{OwnedPublish, Peer, bytes, packet_bytes};

use crate::neighbours::Neighbours;
use crate::raw::Raw;
use crate::{DEADLINE, start_with, wait};

/// How many packet identifiers there are.
const ALL: u16 = u16::MAX;
/// How many of them the broker has in use at most: they follow each other, and the one behind the
/// last tells the first from it.
const ALL_OUTWARD: u16 = ALL - 1;

fn all_in_flight() -> Limits {
    let mut limits = Limits::default();
    limits.receive_maximum = ALL;
    limits.in_flight_max = ALL;
    limits
}

#[test]
fn a_publisher_may_have_every_identifier_in_use() {
    let (broker, address) = start_with(all_in_flight());
    let mut neighbours = Neighbours::new(address);
    let mut raw = Raw::connect(address, "s'MQTT' 05 02 0000 00 s'busy'");
    // Twice: the second time, each is a repetition.
    for first_byte in [0x34, 0x3C] {
        for from in (1..=ALL).step_by(5_000) {
            let ids = from..=from.saturating_add(4_999);
            let publish = |id| packet_bytes(first_byte, &format!("s't' {id:04x} 00"));
            raw.send(&ids.clone().flat_map(publish).collect::<Vec<u8>>());
            for id in ids {
                let pubrec = raw.next();
                assert_eq!((pubrec.first_byte, pubrec.number_at(0)), (0x50, id));
            }
            neighbours.are_served();
        }
    }
    for from in (1..=ALL).step_by(5_000) {
        let ids = from..=from.saturating_add(4_999);
        let release = |id: u16| [vec![0x62, 2], id.to_be_bytes().to_vec()].concat();
        raw.send(&ids.clone().flat_map(release).collect::<Vec<u8>>());
        for id in ids {
            let pubcomp = raw.next();
            assert_eq!((pubcomp.first_byte, pubcomp.number_at(0)), (0x70, id));
        }
    }
    assert_eq!(raw.before_pong(), []);
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_publisher_beyond_the_receive_maximum_is_told_and_closed() {
    let mut limits = Limits::default();
    limits.receive_maximum = 1_000;
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    for first in [0x32, 0x34] {
        // QoS 1 is acknowledged at once, so that only QoS 2 can come to the limit.
        let mut peer = Peer::v5(address, "hasty");
        assert_eq!(peer.connack().unwrap().receive_maximum, Some(1_000));
        let publish = |id: u16| packet_bytes(first, &format!("s't' {id:04x} 00"));
        peer.send_bytes(&(1..=1_001).flat_map(publish).collect::<Vec<u8>>());
        for id in 1..=1_000 {
            if first == 0x32 {
                peer.expect_puback(id)
            } else {
                peer.expect_pubrec(id)
            };
        }
        if first == 0x34 {
            peer.expect_refused(ReasonCode::ReceiveMaximumExceeded);
        } else {
            peer.expect_puback(1_001);
        }
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_subscriber_may_leave_every_identifier_unacknowledged() {
    const MESSAGES: u32 = 70_000;
    let (broker, address) = start_with(all_in_flight());
    let mut neighbours = Neighbours::new(address);
    let mut silent = Raw::connect(address, "s'MQTT' 05 02 0000 00 s'silent'");
    silent.subscribe("0001 00 s't' 01");
    let mut writer = Raw::connect(address, "s'MQTT' 04 02 0000 s'writer-of-many'");
    for from in (0..MESSAGES).step_by(5_000) {
        let publish = |number: u32| {
            // Any identifier that is not in use will do; these are used one after the other.
            let id = number % u32::from(ALL) + 1;
            packet_bytes(0x32, &format!("s't' {id:04x} {number:08x}"))
        };
        writer.send(&(from..from + 5_000).flat_map(publish).collect::<Vec<u8>>());
        for _ in 0..5_000 {
            assert_eq!(writer.next().first_byte, 0x40);
        }
        neighbours.are_served();
    }
    let mut in_flight = Vec::new();
    let mut received = 0;
    let mut take = |packet: crate::raw::RawPacket| {
        let (_, id) = packet.topic_and_id();
        in_flight.push(id.unwrap());
        assert_eq!(packet.body[6..], bytes(&format!("{received:08x}")), "in their order");
        received += 1;
    };
    for _ in 0..ALL_OUTWARD {
        take(silent.next());
    }
    assert_eq!(silent.before_pong(), [], "no identifier is left");
    let different: HashSet<_> = in_flight.iter().collect();
    assert_eq!(different.len(), in_flight.len());
    let (_, gauges) = wait(broker.statistics()).unwrap();
    let expected = (u64::from(ALL_OUTWARD), u64::from(MESSAGES) - u64::from(ALL_OUTWARD));
    assert_eq!((gauges.in_flight_messages, gauges.queued_messages), expected, "{gauges:?}");
    neighbours.are_served();

    let acknowledge = |id: u16| [vec![0x40, 2], id.to_be_bytes().to_vec()].concat();
    silent.send(&in_flight.iter().copied().flat_map(acknowledge).collect::<Vec<u8>>());
    let mut take = |packet: crate::raw::RawPacket| {
        assert_eq!(packet.body[6..], bytes(&format!("{received:08x}")), "in their order");
        received += 1;
    };
    for _ in u32::from(ALL_OUTWARD)..MESSAGES {
        take(silent.next());
    }
    assert_eq!(silent.before_pong(), []);
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!(gauges.queued_messages, 0, "{gauges:?}");
    assert_eq!(statistics.dropped_total(), 0, "{statistics:?}");
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

/// What one client leaves unacknowledged is its own matter: the others of the same message go on.
#[test]
fn a_full_window_holds_up_nobody_else() {
    let mut limits = Limits::default();
    limits.in_flight_max = 10;
    limits.queue_messages_max = 100;
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    let mut silent = Peer::v5(address, "silent");
    silent.subscribe(&[("t", QoS::ExactlyOnce)]);
    let mut diligent = Peer::v5(address, "diligent");
    diligent.subscribe(&[("t", QoS::ExactlyOnce)]);
    let mut writer = Peer::v5(address, "writer-of-many");
    for number in 0..200 {
        let publish = OwnedPublish::new("t", number.to_string(), QoS::ExactlyOnce);
        assert_eq!(writer.publish_with(&publish), ReasonCode::Success);
        assert_eq!(diligent.receive().text(), number.to_string());
        neighbours.are_served();
    }
    let kept: Vec<_> = silent.publishes_before_pong();
    assert_eq!(kept.len(), 10);
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!((gauges.queued_messages, gauges.in_flight_messages), (100, 10), "{gauges:?}");
    let full = noctule_broker::DropCause::QueueFull.index();
    assert_eq!((statistics.dropped[full], statistics.dropped_total()), (90, 90));
    broker.stop_blocking(DEADLINE).unwrap();
}
