//! UNSUBSCRIBE and UNSUBACK, and what ends with a subscription.

use noctule_broker_core::{Durability, Event, Record};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, VERSIONS, packet_bytes};

use crate::broker::{Broker, Client};

fn send_unsubscribe(client: &mut Client, packet_id: u16, filters: &[&str]) {
    let properties = if client.version().is_v5() { "00" } else { "" };
    let mut body = format!("{packet_id:04x} {properties}");
    for filter in filters {
        body += &format!(" s'{filter}'");
    }
    client.send_bytes(&packet_bytes(0xA2, &body));
}

#[test]
fn unsuback_has_the_packet_identifier_even_if_there_was_no_subscription() {
    spec!(
        "MQTT5-3.10.4-4",
        "MQTT5-3.10.4-5",
        "MQTT5-2.2.1-6",
        "MQTT311-3.10.4-4",
        "MQTT311-3.10.4-5",
        "MQTT311-2.3.1-7",
        "MQTT31-3.11-1"
    );
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        client.subscribe(&[("x", QoS::AtMostOnce)]);
        for packet_id in [0x1234, 1, 0xFFFF] {
            send_unsubscribe(&mut client, packet_id, &["y"]);
            let rest = if version.is_v5() { "00 11" } else { "" };
            client.expect_bytes(&packet_bytes(0xB0, &format!("{packet_id:04x} {rest}")));
        }
        client.expect_nothing_before_pong();
    }
}

#[test]
fn many_filters_in_one_packet_end_as_if_they_came_one_by_one() {
    spec!("MQTT5-3.10.4-6", "MQTT311-3.10.4-6", "MQTT5-3.11.3-1", "MQTT5-3.11.3-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        client.subscribe(&[("x", QoS::AtMostOnce), ("y", QoS::AtMostOnce), ("z", QoS::AtMostOnce)]);
        broker.events();
        send_unsubscribe(&mut client, 9, &["x", "none", "z", "x"]);
        let answer = client.expect_unsuback(9);
        if version.is_v5() {
            let none = ReasonCode::NoSubscriptionExisted;
            let expected = [ReasonCode::Success, none, ReasonCode::Success, none];
            assert_eq!(answer.reason_codes, expected);
        }
        client.expect_nothing_before_pong();
        let ended: Vec<String> = broker
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Unsubscribed { filter, .. } => Some(filter.into()),
                _ => None,
            })
            .collect();
        assert_eq!(ended, ["x", "z"]);
        for topic in ["x", "y", "z"] {
            client.publish(topic, topic, QoS::AtMostOnce);
        }
        assert_eq!(client.receive().text(), "y");
        client.expect_nothing_before_pong();
    }
}

#[test]
fn a_filter_ends_only_by_its_own_characters() {
    spec!("MQTT5-3.10.4-1", "MQTT311-3.10.4-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        let held =
            [("a/b", QoS::AtMostOnce), ("A/b/", QoS::AtMostOnce), ("$share/g/c", QoS::AtMostOnce)];
        client.subscribe(&held);
        client.unsubscribe(&["#", "a/+", "a/b/#", "a/B", "A/b", "c", "$share/h/c"]);
        assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 3);
        for topic in ["a/b", "A/b/", "c"] {
            client.publish(topic, topic, QoS::AtMostOnce);
            assert_eq!(client.receive().text(), topic);
        }
        client.subscribe(&[("a/+", QoS::AtMostOnce)]);
        client.unsubscribe(&["a/+", "$share/g/c", "A/b/"]);
        assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 1);
        client.publish("a/b", "still", QoS::AtMostOnce);
        assert_eq!(client.receive().text(), "still");
    }
}

#[test]
fn nothing_new_comes_for_a_filter_that_has_ended() {
    spec!("MQTT5-3.10.4-2", "MQTT311-3.10.4-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let (mut client, mut publisher) =
            (broker.client(version, "a"), broker.client(version, "b"));
        client.subscribe(&[("a/+", QoS::ExactlyOnce)]);
        publisher.publish("a/b", "before", QoS::AtLeastOnce);
        assert_eq!(client.receive().text(), "before");
        client.unsubscribe(&["a/+"]);
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish("a/b", "after", qos);
        }
        client.expect_nothing_before_pong();
    }
}

#[test]
fn exchanges_that_have_begun_are_brought_to_their_end() {
    spec!("MQTT5-3.10.4-3", "MQTT311-3.10.4-3");
    for version in VERSIONS {
        for filter in ["x", "$share/g/x"] {
            let broker = Broker::new();
            let mut client = broker.lasting(version, "a");
            let mut publisher = broker.client(version, "b");
            client.subscribe(&[(filter, QoS::ExactlyOnce)]);
            publisher.publish("x", "1", QoS::AtLeastOnce);
            publisher.publish("x", "2", QoS::ExactlyOnce);
            publisher.publish("x", "3", QoS::ExactlyOnce);
            let [first, second, third] =
                [client.expect_publish(), client.expect_publish(), client.expect_publish()];
            client.send_pubrec(second.id());
            client.expect_pubrel(second.id());
            client.unsubscribe(&[filter]);
            // They are still owed after the connection broke.
            drop(client);
            let mut client = broker.lasting(version, "a");
            client.expect_pubrel(second.id());
            for message in [&first, &third] {
                let again = client.expect_publish();
                assert_eq!((again.id(), again.dup), (message.id(), true), "{filter}");
                client.acknowledge(&again);
            }
            client.send_pubcomp(second.id());
            client.expect_nothing_before_pong();
            assert_eq!(broker.look(|shard| shard.gauges().in_flight_messages), 0);
        }
    }
}

#[test]
fn a_message_that_has_begun_with_a_member_goes_to_no_other_when_it_unsubscribes() {
    spec!("MQTT5-3.10.4-3");
    let broker = Broker::new();
    let mut leaver = broker.client(Version::V5_0, "a");
    leaver.subscribe(&[("$share/g/x", QoS::AtLeastOnce)]);
    broker.client(Version::V5_0, "p").publish("x", "1", QoS::AtLeastOnce);
    let mut other = broker.client(Version::V5_0, "b");
    other.subscribe(&[("$share/g/x", QoS::AtLeastOnce)]);
    let message = leaver.expect_publish();
    leaver.unsubscribe(&["$share/g/x"]);
    other.expect_nothing_before_pong();
    leaver.acknowledge(&message);
    assert_eq!(broker.look(|shard| shard.gauges().in_flight_messages), 0);
}

#[test]
fn unsuback_waits_until_the_store_has_forgotten_the_subscriptions() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.durability = Durability::Stored);
        let mut client = broker.lasting(version, "a");
        client.subscribe(&[("x", QoS::AtMostOnce), ("y", QoS::AtMostOnce)]);
        broker.hold();
        broker.trace();
        send_unsubscribe(&mut client, 3, &["x", "none", "y"]);
        client.send_pingreq();
        for expected in ["x", "y"] {
            // Nothing has been sent yet: neither the answer nor what came behind it.
            broker.look(|shard| assert_eq!(shard.gauges().subscriptions, 0));
            assert!(!broker.trace().iter().any(|effect| effect.starts_with("Write")));
            let record = broker.record();
            let Record::Unsubscribed { filter, .. } = record else { panic!("{record:?}") };
            assert_eq!(&*filter, expected);
            broker.kept();
        }
        assert!(broker.has_asked_nothing());
        client.expect_unsuback(3);
        client.expect_pingresp();
    }
}

#[test]
fn a_connection_lost_before_unsuback_has_unsubscribed_all_the_same() {
    let broker = Broker::with(|settings| settings.durability = Durability::Stored);
    let mut client = broker.lasting(Version::V5_0, "a");
    client.subscribe(&[("x", QoS::AtMostOnce)]);
    broker.hold();
    send_unsubscribe(&mut client, 3, &["x"]);
    assert!(matches!(broker.record(), Record::Unsubscribed { .. }));
    drop(client);
    broker.kept();
    assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 0);
}

#[test]
fn too_many_user_properties_end_the_connection_and_no_subscription() {
    let broker = Broker::with(|settings| settings.limits.user_properties_max = 1);
    let mut client = broker.connect(&OwnedConnect::v5("a").session_expiry_interval(60));
    client.subscribe(&[("x", QoS::AtMostOnce)]);
    client.send_bytes(&packet_bytes(0xA2, "0002 0e 26 s'n' s'v' 26 s'n' s'v' s'x'"));
    client.expect_refused(ReasonCode::QuotaExceeded);
    assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 1);
}
