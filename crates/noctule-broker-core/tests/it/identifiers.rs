//! Subscription Identifiers, overlapping subscriptions and no local.

use noctule_packet::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS, packet_bytes};

use crate::broker::{Broker, Client, lasting};

const V5: Version = Version::V5_0;

fn subscribe(client: &mut Client, identifier: Option<u32>, filter: &str, qos: QoS) {
    let options = SubscriptionOptions { qos, ..Default::default() };
    let codes = client.subscribe_with(identifier, &[(filter, options)]);
    assert_eq!(codes, [ReasonCode::granted(qos)]);
}

#[track_caller]
fn expect_identifiers(client: &mut Client, expected: &[u32]) {
    let mut identifiers = client.receive().subscription_identifiers;
    identifiers.sort_unstable();
    assert_eq!(identifiers, expected);
}

#[test]
fn a_message_carries_the_identifiers_of_the_subscriptions_that_it_matches() {
    spec!("MQTT5-3.3.4-3", "MQTT5-3.3.4-4");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let broker = Broker::new();
        let mut client = broker.client(V5, "a");
        subscribe(&mut client, Some(1), "x/y", qos);
        subscribe(&mut client, Some(268_435_455), "x/+", qos);
        subscribe(&mut client, None, "#", qos);
        subscribe(&mut client, Some(3), "+/z", qos);
        for (topic, expected) in
            [("x/y", &[1, 268_435_455][..]), ("x/z", &[3, 268_435_455]), ("q/z", &[3]), ("q", &[])]
        {
            client.publish(topic, "", qos);
            expect_identifiers(&mut client, expected);
            client.expect_nothing_before_pong();
        }
    }
}

#[test]
fn messages_that_waited_carry_their_identifiers_too() {
    spec!("MQTT5-3.3.4-3", "MQTT5-3.3.4-4");
    let broker = Broker::new();
    let mut client = broker.connect(&lasting(V5, "a").receive_maximum(1));
    subscribe(&mut client, Some(1), "x", QoS::AtLeastOnce);
    subscribe(&mut client, Some(2), "+", QoS::AtLeastOnce);
    let mut publisher = broker.client(V5, "b");
    for _ in 0..2 {
        publisher.publish("x", "", QoS::AtLeastOnce);
    }
    let first = client.expect_publish();
    // The identifiers are those at the time of the publication.
    client.unsubscribe(&["+"]);
    publisher.publish("x", "", QoS::AtLeastOnce);
    client.acknowledge(&first);
    expect_identifiers(&mut client, &[1, 2]);
    let third = client.expect_publish();
    assert_eq!(third.subscription_identifiers, [1]);
    client.disconnect();
    publisher.publish("x", "", QoS::AtLeastOnce);
    let mut client = broker.connect(&lasting(V5, "a"));
    for _ in 0..2 {
        expect_identifiers(&mut client, &[1]);
    }
}

#[test]
fn each_of_several_copies_carries_the_identifier_of_its_own_subscription() {
    spec!("MQTT5-3.3.4-5");
    let broker = Broker::new();
    let mut client = broker.client(V5, "a");
    subscribe(&mut client, Some(1), "x", QoS::AtLeastOnce);
    subscribe(&mut client, Some(2), "$share/g/x", QoS::AtLeastOnce);
    subscribe(&mut client, Some(3), "$share/h/x", QoS::AtLeastOnce);
    client.publish("x", "", QoS::AtLeastOnce);
    let mut copies: Vec<_> = (0..3).map(|_| client.receive().subscription_identifiers).collect();
    copies.sort_unstable();
    assert_eq!(copies, [[1], [2], [3]]);
    client.expect_nothing_before_pong();
}

#[test]
fn one_client_gets_one_copy_at_the_highest_qos_of_its_matching_filters() {
    spec!("MQTT5-3.3.4-2", "MQTT311-3.3.5-1");
    for version in VERSIONS {
        for filters in [["x", "+", "#"], ["+", "#", "x"], ["#", "x", "+"]] {
            let broker = Broker::new();
            let mut client = broker.client(version, "a");
            let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtMostOnce];
            client.subscribe(&[(filters[0], qos[0]), (filters[1], qos[1]), (filters[2], qos[2])]);
            client.publish("x", "", QoS::ExactlyOnce);
            assert_eq!(client.receive().qos, QoS::ExactlyOnce);
            client.expect_nothing_before_pong();
            client.unsubscribe(&[filters[1]]);
            client.publish("x", "", QoS::ExactlyOnce);
            assert_eq!(client.receive().qos, QoS::AtLeastOnce);
            client.expect_nothing_before_pong();
        }
    }
}

#[test]
fn identifiers_go_with_retained_messages_and_never_to_another_client() {
    spec!("MQTT5-3.3.4-3");
    let broker = Broker::new();
    let mut publisher = broker.client(V5, "b");
    publisher.publish_with(&OwnedPublish::new("x", "kept", QoS::AtLeastOnce).retain(true));
    let (mut with, mut without) = (broker.client(V5, "w"), broker.client(V5, "o"));
    subscribe(&mut with, Some(9), "x", QoS::AtLeastOnce);
    subscribe(&mut without, None, "x", QoS::AtLeastOnce);
    expect_identifiers(&mut with, &[9]);
    expect_identifiers(&mut without, &[]);
    publisher.publish("x", "live", QoS::AtLeastOnce);
    expect_identifiers(&mut with, &[9]);
    expect_identifiers(&mut without, &[]);
}

#[test]
fn a_client_of_another_version_sees_no_identifiers_on_a_session_that_has_some() {
    let broker = Broker::new();
    let mut client = broker.lasting(V5, "a");
    subscribe(&mut client, Some(9), "x", QoS::AtLeastOnce);
    client.disconnect();
    let mut client = broker.lasting(Version::V3_1_1, "a");
    client.publish("x", "m", QoS::AtLeastOnce);
    assert_eq!(client.receive().text(), "m");
    client.disconnect();
    let mut client = broker.lasting(V5, "a");
    client.publish("x", "m", QoS::AtLeastOnce);
    expect_identifiers(&mut client, &[9]);
}

#[test]
fn an_identifier_of_zero_is_a_protocol_error() {
    let broker = Broker::new();
    let mut client = broker.client(V5, "a");
    client.send_bytes(&packet_bytes(0x82, "0001 02 0b 00 s'x' 00"));
    client.expect_refused(ReasonCode::ProtocolError);
}

#[test]
fn no_local_leaves_out_what_the_same_client_identifier_published() {
    spec!("MQTT5-3.8.3-3");
    let broker = Broker::new();
    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_handling: RetainHandling::DoNotSend,
        ..Default::default()
    };
    let mut client = broker.lasting(V5, "a");
    client.subscribe_with(Some(1), &[("x", options), ("$SYS/#", options)]);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.publish("x", "mine", qos);
        client.expect_nothing_before_pong();
    }
    // It is the session that counts, not the connection.
    client.disconnect();
    let mut client = broker.lasting(V5, "a");
    client.publish("x", "mine", QoS::AtLeastOnce);
    client.expect_nothing_before_pong();
    broker.client(V5, "b").publish("x", "another's", QoS::AtLeastOnce);
    assert_eq!(client.receive().text(), "another's");
    // Another subscription without the option gets it, and with its own identifier only.
    subscribe(&mut client, Some(2), "+", QoS::AtMostOnce);
    client.publish("x", "mine", QoS::ExactlyOnce);
    let message = client.receive();
    assert_eq!((message.qos, message.subscription_identifiers), (QoS::AtMostOnce, vec![2]));
}

#[test]
fn no_local_leaves_out_the_clients_own_will() {
    spec!("MQTT5-3.8.3-3");
    let broker = Broker::new();
    // At QoS 0 nothing would wait for the client anyway.
    let will = noctule_testkit::OwnedWill::new("x", "gone").qos(QoS::AtLeastOnce);
    let connect: OwnedConnect = lasting(V5, "a").will(will);
    let mut client = broker.connect(&connect);
    let options =
        SubscriptionOptions { qos: QoS::AtLeastOnce, no_local: true, ..Default::default() };
    client.subscribe_with(None, &[("x", options)]);
    let mut other = broker.client(V5, "b");
    other.subscribe(&[("x", QoS::AtLeastOnce)]);
    drop(client);
    assert_eq!(other.receive().text(), "gone");
    let mut client = broker.lasting(V5, "a");
    client.expect_nothing_before_pong();
}
