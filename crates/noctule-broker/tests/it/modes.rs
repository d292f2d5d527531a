//! Listeners to which an acknowledgement means less than to the broker: what is theirs never comes
//! back from the disk, and what others were promised does.

use std::error::Error;
use std::net::SocketAddr;

use noctule_broker::{
    Broker, Durability, Handle, Listener, LocalAddress, QoS, ReasonCode, Version,
};
use noctule_packet::PacketType;
use noctule_testkit::{OwnedConnect, OwnedPublish, Peer};

use crate::durable::{Directory, open};
use crate::{DEADLINE, start, wait};

const V5: Version = Version::V5_0;

/// A broker with a directory, whose first address is in memory mode, and whose second is not.
fn both(directory: &Directory) -> (Handle, SocketAddr, SocketAddr) {
    let memory = Listener::new("127.0.0.1:0").durability(Durability::Memory).tell_durability(true);
    let (broker, first) = start(Broker::builder().data(&directory.0).listen(memory));
    let second = broker.local_addrs().iter().filter_map(LocalAddress::tcp).nth(1).unwrap();
    (broker, first, second)
}

fn retained(payload: &str) -> OwnedPublish {
    OwnedPublish::new("retained", payload, QoS::AtLeastOnce).retain(true)
}

#[test]
fn what_is_in_memory_mode_ends_with_the_broker_and_the_rest_comes_back() {
    let directory = Directory::new();
    let (broker, memory, local) = both(&directory);
    open(local, V5, "kept").0.subscribe(&[("t", QoS::ExactlyOnce)]);
    open(memory, V5, "lost").0.subscribe(&[("t", QoS::ExactlyOnce)]);
    let mut publisher = Peer::connect_with(local, &OwnedConnect::v5("publisher"));
    publisher.publish_with(&retained("old"));
    let mut peer = Peer::connect(memory);
    let connack = peer.open(&OwnedConnect::v5("in-memory"));
    assert_eq!(connack.user_properties, [("durability".to_owned(), "memory".to_owned())]);
    for number in 0..10_u32 {
        peer.publish("t", number.to_string(), QoS::AtLeastOnce);
        publisher.publish("t", number.to_string(), QoS::ExactlyOnce);
    }
    peer.publish_with(&retained("new"));
    // Whoever has no store to wait for says nothing about the records of others, but who waits for
    // one that comes later does.
    publisher.publish("t", "last", QoS::AtLeastOnce);
    assert_eq!(wait(broker.statistics()).unwrap().1.sessions_stored, 1);
    let crashed = directory.crashed();
    let (next, memory, local) = both(&crashed);
    assert!(!open(memory, V5, "lost").1, "its session was in memory only");
    let (mut peer, present) = open(local, V5, "kept");
    assert!(present);
    for number in 0..10 {
        assert_eq!(peer.receive().text(), number.to_string());
        assert_eq!(peer.receive().text(), number.to_string());
    }
    assert_eq!(peer.receive().text(), "last");
    // Neither the one that was in memory only, nor the one whose place it had taken.
    peer.subscribe(&[("retained", QoS::AtLeastOnce)]);
    peer.expect_nothing_before_pong();
    next.stop_blocking(DEADLINE).unwrap();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_session_that_comes_from_memory_mode_is_on_disk_as_a_whole_before_it_is_acknowledged() {
    let directory = Directory::new();
    let (_broker, memory, local) = both(&directory);
    let (mut peer, _) = open(memory, V5, "s");
    peer.subscribe(&[("t", QoS::ExactlyOnce)]);
    let mut publisher = Peer::connect_with(local, &OwnedConnect::v5("publisher"));
    for number in 0..6 {
        let qos = if number % 2 == 0 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        publisher.publish("t", number.to_string(), qos);
    }
    // The first is released, the second done, the third begun.
    let ids: Vec<_> = (0..6).map(|_| peer.expect_publish().packet_id.unwrap()).collect();
    peer.send_ack(PacketType::Pubrec, ids[0], ReasonCode::Success);
    peer.expect_pubrel(ids[0]);
    peer.send_ack(PacketType::Puback, ids[1], ReasonCode::Success);
    let received = OwnedPublish::new("x", "x", QoS::ExactlyOnce).packet_id(77);
    peer.send_publish(&received);
    peer.expect_pubrec(77);
    drop(peer);
    publisher.publish("t", "6", QoS::AtLeastOnce);
    let (peer, present) = open(local, V5, "s");
    assert!(present);
    let crashed = directory.crashed();
    drop(peer);
    let (_next, _, local) = both(&crashed);
    let (mut peer, present) = open(local, V5, "s");
    assert!(present);
    peer.expect_pubrel(ids[0]);
    peer.send_ack(PacketType::Pubcomp, ids[0], ReasonCode::Success);
    for (number, id) in (2..6).zip(&ids[2..]) {
        let again = peer.receive();
        assert_eq!((again.text(), again.packet_id), (&*number.to_string(), Some(*id)));
        assert!(again.dup);
    }
    assert_eq!(peer.receive().text(), "6");
    // It knows what it had taken, and is still subscribed.
    peer.send_publish(&received.dup(true));
    peer.expect_pubrec(77);
    peer.publish("t", "7", QoS::ExactlyOnce);
    assert_eq!(peer.receive().text(), "7");
    peer.expect_nothing_before_pong();
}

#[test]
fn a_session_that_goes_over_to_memory_mode_leaves_nothing_on_disk_but_what_it_is_owed() {
    for is_owed in [false, true] {
        let directory = Directory::new();
        let (_broker, memory, local) = both(&directory);
        open(local, V5, "s").0.subscribe(&[("t", QoS::ExactlyOnce)]);
        let mut publisher = Peer::connect_with(local, &OwnedConnect::v5("publisher"));
        if is_owed {
            publisher.publish("t", "owed", QoS::AtLeastOnce);
        }
        let (mut peer, present) = open(memory, V5, "s");
        assert!(present);
        if is_owed {
            peer.expect_publish();
        }
        let crashed = directory.crashed();
        let (_next, _, local) = both(&crashed);
        let (mut peer, present) = open(local, V5, "s");
        assert_eq!(present, is_owed);
        if is_owed {
            assert_eq!(peer.receive().text(), "owed");
        }
        peer.expect_nothing_before_pong();
    }
}

#[test]
fn a_listener_cannot_promise_more_than_its_broker() {
    let listener = |durability| Listener::new("127.0.0.1:0").durability(durability);
    let directory = Directory::new();
    for (builder, wanted) in [
        (Broker::builder(), Durability::Stored),
        (Broker::builder(), Durability::Interval),
        (Broker::builder().data(&directory.0), Durability::Interval),
    ] {
        let error = builder.listen(listener(wanted)).start().unwrap_err();
        assert!(error.to_string().contains(wanted.name()), "{error}");
        assert!(error.source().is_none() && !directory.0.exists());
    }
    for (builder, wanted) in [
        (Broker::builder(), Durability::Memory),
        (Broker::builder().data(&directory.0), Durability::Stored),
    ] {
        builder.listen(listener(wanted)).start().unwrap().stop_blocking(DEADLINE).unwrap();
    }
}
