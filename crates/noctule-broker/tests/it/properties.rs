//! User properties by the thousand, in every packet that may carry them.

use noctule_broker::{Limits, QoS, ReasonCode};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, Peer, bytes};

use crate::neighbours::Neighbours;
use crate::{DEADLINE, start_with};

/// A packet with this many user properties between two parts of its body.
fn packet(first_byte: u8, before: &str, count: usize, after: &str) -> Vec<u8> {
    let properties = bytes("26 s'name' s'value'").repeat(count);
    let length = bytes(&format!("v{}", properties.len()));
    let body = [bytes(before), length, properties, bytes(after)].concat();
    [vec![first_byte], bytes(&format!("v{}", body.len())), body].concat()
}

#[test]
fn as_many_user_properties_as_allowed_arrive_and_one_more_is_refused() {
    let mut limits = Limits::default();
    limits.user_properties_max = 5_000;
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    let mut peer = Peer::v5(address, "a");
    peer.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publish = OwnedPublish::new("t", "x", QoS::AtLeastOnce);
    for number in 0..5_000 {
        publish = publish.user_property("name", &number.to_string());
    }
    assert_eq!(peer.publish_with(&publish), ReasonCode::Success);
    let message = peer.receive();
    assert!(message.user_properties == publish.user_properties, "all, and in their order");
    let publish = publish.user_property("one", "more");
    assert_eq!(peer.publish_with(&publish), ReasonCode::QuotaExceeded);

    let mut will = OwnedWill::new("t", "x");
    for number in 0..5_001 {
        will = will.user_property("name", &number.to_string());
    }
    let mut with_will = Peer::connect(address);
    with_will.send_connect(&OwnedConnect::v5("b").will(will));
    with_will.expect_connack_with(ReasonCode::QuotaExceeded);
    with_will.expect_closed();
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn thousands_of_user_properties_in_other_packets_end_at_most_their_own_connection() {
    let (broker, address) = start_with(Limits::default());
    let mut neighbours = Neighbours::new(address);
    // Requests, which the broker need not fulfil.
    for (first_byte, after) in [(0x82, "s't' 00"), (0xA2, "s't'")] {
        let mut peer = Peer::v5(address, "a");
        peer.send_bytes(&packet(first_byte, "0001", 50_000, after));
        peer.expect_refused(ReasonCode::QuotaExceeded);
        neighbours.are_served();
    }
    // Acknowledgements, whose meaning the broker needs, and a farewell.
    let mut peer = Peer::v5(address, "a");
    peer.subscribe(&[("t", QoS::ExactlyOnce)]);
    peer.publish("t", "1", QoS::AtLeastOnce);
    let id = format!("{:04x} 00", peer.expect_publish().id());
    peer.send_bytes(&packet(0x40, &id, 50_000, ""));
    peer.publish("t", "2", QoS::ExactlyOnce);
    let number = peer.expect_publish().id();
    let id = format!("{number:04x} 00");
    peer.send_bytes(&packet(0x50, &id, 50_000, ""));
    peer.expect_pubrel(number);
    peer.send_bytes(&packet(0x70, &id, 50_000, ""));
    peer.expect_nothing_before_pong();
    peer.send_bytes(&packet(0xE0, "00", 50_000, ""));
    peer.expect_closed();
    neighbours.are_served();
    let (_, gauges) = crate::wait(broker.statistics()).unwrap();
    assert_eq!((gauges.in_flight_messages, gauges.sessions), (0, 2), "{gauges:?}");
    broker.stop_blocking(DEADLINE).unwrap();
}
