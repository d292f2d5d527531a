//! What a client may not read does not reach it by any way: shared, overlapping, kept, or through a
//! topic of a name that looks like the broker's own.

use std::sync::Arc;

use noctule_broker::{Broker, DropCause, QoS, ReadRules, ReasonCode};
use noctule_packet::SubscriptionOptions;
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, Peer, packet_bytes};

use crate::neighbours::Neighbours;
use crate::{DEADLINE, start, wait};

/// Clients whose name begins with `guest` may not read what is secret, under `$` or not.
fn rules() -> ReadRules {
    ReadRules(Arc::new(|client_id: &str, topic: &str| {
        let is_secret = topic.split('/').any(|level| level == "secret" || level == "$secret");
        !(client_id.starts_with("guest") && is_secret)
    }))
}

#[test]
fn nothing_secret_arrives_by_any_filter() {
    let (broker, address) = start(Broker::builder().read_rules(rules()));
    let mut neighbours = Neighbours::new(address);
    let mut owner = Peer::v5(address, "owner");
    let topics = ["secret", "secret/a", "a/secret/b", "$secret", "$secret/a", "$other/secret"];
    for topic in topics {
        let publish = OwnedPublish::new(topic, "kept", QoS::AtLeastOnce).retain(true);
        assert!(!owner.publish_with(&publish).is_error());
    }
    let filters = [
        "#",
        "+",
        "+/#",
        "/#",
        "secret",
        "secret/#",
        "+/a",
        "a/+/b",
        "+/+/+",
        "$secret",
        "$secret/#",
        "$secret/+",
        "$other/#",
        "$share/g/#",
        "$share/g/secret/#",
        "$share/g/+/a",
        "$share/h/$secret/#",
        "$share/secret/secret",
    ];
    for (number, filter) in filters.iter().enumerate() {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut guest = Peer::v5(address, &format!("guest-{number}"));
            // The same by two ways at once, so that one of them could be forgotten.
            let codes = guest.subscribe(&[(filter, qos), ("a/#", QoS::ExactlyOnce)]);
            assert!(codes.iter().all(|code| !code.is_error()), "{filter}");
            for topic in topics {
                owner.publish(topic, "live", qos);
            }
            owner.publish("a/public", "for all", QoS::AtLeastOnce);
            let message = guest.receive();
            assert_eq!((message.topic.as_str(), message.text()), ("a/public", "for all"));
            let rest = guest.receive_all();
            assert!(rest.iter().all(|message| message.topic == "a/public"), "{rest:?}");
        }
    }
    // A will of a guest is published, and not to guests.
    let mut guest = Peer::v5(address, "guest-heir");
    guest.subscribe(&[("#", QoS::AtMostOnce), ("$secret/#", QoS::AtMostOnce)]);
    owner.subscribe(&[("secret/will", QoS::AtMostOnce)]);
    let connect = OwnedConnect::v5("guest-mortal").will(OwnedWill::new("secret/will", "x"));
    drop(Peer::connect_with(address, &connect));
    assert_eq!(owner.receive().topic, "secret/will");
    guest.expect_nothing_before_pong();
    neighbours.are_served();
    let (statistics, _) = wait(broker.statistics()).unwrap();
    let forbidden = statistics.dropped[DropCause::NotAuthorized.index()];
    assert!(forbidden > topics.len() as u64, "{statistics:?}");
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn the_tree_of_the_broker_is_written_by_the_broker_only() {
    let (broker, address) = start(Broker::builder().read_rules(rules()));
    let mut neighbours = Neighbours::new(address);
    let mut peer = Peer::v5(address, "guest");
    peer.subscribe(&[("$SYS/#", QoS::AtMostOnce), ("$SYSTEM/#", QoS::AtMostOnce)]);
    peer.subscribe(&[("#", QoS::AtMostOnce), ("+/guest", QoS::AtMostOnce)]);
    for retain in [false, true] {
        for topic in ["$SYS", "$SYS/", "$SYS/guest", "$SYS/broker/uptime"] {
            let publish = OwnedPublish::new(topic, "forged", QoS::AtLeastOnce).retain(retain);
            assert_eq!(peer.publish_with(&publish), ReasonCode::NotAuthorized, "{topic}");
        }
        let publish = OwnedPublish::new("$SYSTEM/guest", "own", QoS::AtLeastOnce).retain(retain);
        assert!(!peer.publish_with(&publish).is_error());
    }
    let mut with_will = Peer::connect(address);
    with_will.send_connect(&OwnedConnect::v5("b").will(OwnedWill::new("$SYS/will", "forged")));
    with_will.expect_connack_with(ReasonCode::NotAuthorized);
    with_will.expect_closed();
    let messages = peer.receive_all();
    assert!(messages.iter().all(|message| message.text() != "forged"), "{messages:?}");
    let own = messages.iter().filter(|message| message.topic == "$SYSTEM/guest").count();
    assert_eq!(own, 2, "{messages:?}");
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

/// A subscription is known by its whole filter: neither ends the other, whatever else they share.
#[test]
fn shared_and_plain_subscriptions_to_one_filter_do_not_end_each_other() {
    let (broker, address) = start(Broker::builder());
    let mut neighbours = Neighbours::new(address);
    let mut peer = Peer::v5(address, "a");
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    let all = ["t", "$share/g/t", "$share/h/t", "$share/t/t"];
    for (number, filter) in (1..).zip(all) {
        peer.subscribe_with(Some(number), &[(filter, options)]);
    }
    let mut left: Vec<u32> = vec![1, 2, 3, 4];
    // Each is removed, in an order in which the others could go with it; some names never were.
    for (filter, number, code) in [
        ("$share/x/t", 0, ReasonCode::NoSubscriptionExisted),
        ("g/t", 0, ReasonCode::NoSubscriptionExisted),
        ("$share/g/t", 2, ReasonCode::Success),
        ("$share/g/t", 0, ReasonCode::NoSubscriptionExisted),
        ("t", 1, ReasonCode::Success),
        ("t", 0, ReasonCode::NoSubscriptionExisted),
        ("$share/t/t", 4, ReasonCode::Success),
        ("$share/h/t", 3, ReasonCode::Success),
    ] {
        assert_eq!(peer.unsubscribe(&[filter]), [code], "{filter}");
        left.retain(|identifier| *identifier != number);
        peer.publish("t", "x", QoS::AtLeastOnce);
        let messages = peer.receive_all();
        let mut got: Vec<_> =
            messages.iter().flat_map(|message| message.subscription_identifiers.clone()).collect();
        got.sort_unstable();
        assert_eq!(got, left, "after {filter}");
    }
    // What is no share is refused, and its client with it.
    for filter in ["$share/", "$share/g", "$share/g/", "$share//t", "$share/+/t"] {
        let mut liar = Peer::v5(address, "liar");
        liar.send_bytes(&packet_bytes(0x82, &format!("0001 00 s'{filter}' 00")));
        liar.expect_refused(ReasonCode::ProtocolError);
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}
