//! PUBLISH from a client: who gets it, how it is answered, and what of it is refused.

use noctule_broker_core::{Ended, Event};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedPublish, VERSIONS, packet_bytes};

use crate::broker::{Broker, ended_with, placement_of, shards};

#[test]
fn a_publisher_is_answered_as_the_qos_demands() {
    spec!("MQTT5-3.3.4-1", "MQTT311-3.3.4-1", "MQTT5-4.3.2-4", "MQTT311-4.3.2-2");
    spec!("MQTT5-4.3.3-8", "MQTT5-4.3.3-11", "MQTT311-4.3.3-2", "MQTT31-4.1-1", "MQTT31-4.1-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut publisher = broker.client(version, "publisher");
        publisher.send_publish(&OwnedPublish::new("t", "0", QoS::AtMostOnce));
        publisher.expect_nothing_before_pong();
        publisher.send_publish(&OwnedPublish::new("t", "1", QoS::AtLeastOnce).packet_id(1));
        publisher.expect_puback(1);
        publisher.expect_nothing_before_pong();
        publisher.send_publish(&OwnedPublish::new("t", "2", QoS::ExactlyOnce).packet_id(1));
        publisher.expect_pubrec(1);
        publisher.expect_nothing_before_pong();
        publisher.send_pubrel(1);
        publisher.expect_pubcomp(1);
        publisher.expect_nothing_before_pong();
    }
}

#[test]
fn every_answer_repeats_the_packet_identifier() {
    spec!("MQTT5-2.2.1-5", "MQTT311-2.3.1-6");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut publisher = broker.client(version, "publisher");
        for packet_id in [1, 0x0102, 0xFFFF] {
            let id = format!("{packet_id:04x}");
            let (none, body) =
                if version.is_v5() { ("00", format!("{id} 10")) } else { ("", id.clone()) };
            publisher.send_bytes(&packet_bytes(0x32, &format!("s't' {id} {none} 'x'")));
            publisher.expect_bytes(&packet_bytes(0x40, &body));
            publisher.send_bytes(&packet_bytes(0x34, &format!("s't' {id} {none} 'x'")));
            publisher.expect_bytes(&packet_bytes(0x50, &id));
            publisher.send_bytes(&packet_bytes(0x62, &id));
            publisher.expect_bytes(&packet_bytes(0x70, &id));
        }
        // The broker as the sender: its PUBREL repeats its own PUBLISH's identifier.
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("t", QoS::ExactlyOnce)]);
        for _ in 0..2 {
            publisher.publish("t", "x", QoS::ExactlyOnce);
            let packet_id = subscriber.expect_publish().id();
            subscriber.send_pubrec(packet_id);
            subscriber.expect_pubrel(packet_id);
            subscriber.send_pubcomp(packet_id);
        }
        // A PUBREC for what the broker has not sent is answered for the same identifier.
        subscriber.send_pubrec(0x0102);
        let rest = if version.is_v5() { "92" } else { "" };
        subscriber.expect_bytes(&packet_bytes(0x62, &format!("0102 {rest}")));
    }
}

#[test]
fn a_message_reaches_every_session_with_a_matching_subscription() {
    spec!("MQTT5-4.5.0-1", "MQTT311-4.5.0-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut clients: Vec<_> = [("exact", "a/b"), ("one level", "a/+"), ("all", "#")]
            .into_iter()
            .map(|(client_id, filter)| {
                let mut client = broker.client(version, client_id);
                client.subscribe(&[(filter, QoS::ExactlyOnce)]);
                client
            })
            .collect();
        let mut absent = broker.lasting(version, "absent");
        absent.subscribe(&[("a/#", QoS::ExactlyOnce)]);
        drop(absent);
        let mut other = broker.client(version, "other");
        other.subscribe(&[("a", QoS::ExactlyOnce), ("a/b/c", QoS::ExactlyOnce)]);
        let mut publisher = broker.client(version, "publisher");
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish("a/b", "x", qos);
            for client in &mut clients {
                let message = client.receive();
                assert_eq!((&*message.topic, message.text(), message.qos), ("a/b", "x", qos));
            }
            other.expect_nothing_before_pong();
        }
        let mut absent = broker.lasting(version, "absent");
        assert_eq!(absent.receive().qos, QoS::AtLeastOnce);
        assert_eq!(absent.receive().qos, QoS::ExactlyOnce);
    }
}

#[test]
fn qos_1_says_when_nobody_subscribes() {
    let broker = Broker::new();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    let message = OwnedPublish::new("t", "x", QoS::AtLeastOnce);
    assert_eq!(publisher.publish_with(&message), ReasonCode::NoMatchingSubscribers);
    let message = OwnedPublish::new("t", "x", QoS::ExactlyOnce);
    assert_eq!(publisher.publish_with(&message), ReasonCode::Success);
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    subscriber.subscribe(&[("t", QoS::AtMostOnce)]);
    let message = OwnedPublish::new("t", "x", QoS::AtLeastOnce);
    assert_eq!(publisher.publish_with(&message), ReasonCode::Success);
}

#[test]
fn a_qos_above_the_announced_one_ends_the_connection() {
    spec!("MQTT5-3.2.2-11");
    for version in VERSIONS {
        for (maximum, refused) in
            [(QoS::AtMostOnce, QoS::AtLeastOnce), (QoS::AtLeastOnce, QoS::ExactlyOnce)]
        {
            let broker = Broker::with(|settings| settings.features.maximum_qos = maximum);
            let mut publisher = broker.client(version, "publisher");
            publisher.publish("t", "x", maximum);
            publisher.send_publish(&OwnedPublish::new("t", "x", refused).packet_id(1));
            publisher.expect_refused(ReasonCode::QosNotSupported);
            assert!(ended_with(&broker.events(), ReasonCode::QosNotSupported));
        }
    }
}

#[test]
fn retain_where_it_was_announced_as_missing_ends_the_connection() {
    spec!("MQTT5-3.2.2-14");
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.features.retain_available = false);
        let mut publisher = broker.client(version, "publisher");
        publisher.send_publish(&OwnedPublish::new("t", "x", QoS::AtMostOnce).retain(true));
        publisher.expect_refused(ReasonCode::RetainNotSupported);
        assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 0);
    }
}

#[test]
fn a_subscription_identifier_from_a_client_is_a_protocol_error() {
    spec!("MQTT5-3.3.4-6");
    let broker = Broker::new();
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    subscriber.subscribe(&[("t", QoS::AtMostOnce)]);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publisher.send_bytes(&packet_bytes(0x30, "s't' 02 0b01 'x'"));
    publisher.expect_refused(ReasonCode::ProtocolError);
    subscriber.expect_nothing_before_pong();
}

/// Publishes what must be refused, and returns the one event about it.
#[track_caller]
fn refusal(broker: &Broker, version: Version, publish: &OwnedPublish, code: ReasonCode) -> Event {
    let mut publisher = broker.client(version, "publisher");
    broker.events();
    let refused = broker.look(|shard| shard.statistics().publish_refused);
    let answer = publisher.publish_with(publish);
    match (publish.qos, version.is_v5()) {
        (QoS::AtMostOnce, _) => publisher.expect_nothing_before_pong(),
        (_, true) => assert_eq!(answer, code),
        (_, false) => assert!(!answer.is_error()),
    }
    assert_eq!(broker.look(|shard| shard.statistics().publish_refused), refused + 1);
    let events = broker.events();
    let [event @ Event::PacketRefused { client_id, topic, reason }] = &*events else {
        panic!("{events:?}");
    };
    assert_eq!((&**client_id, &**topic, reason.code), ("publisher", &*publish.topic, code));
    // The connection goes on.
    publisher.expect_nothing_before_pong();
    event.clone()
}

#[track_caller]
fn refused_limit(event: &Event) -> (&'static str, u64, u64) {
    match event {
        Event::PacketRefused { reason, .. } => {
            let limit = reason.limit.expect("a limit");
            (limit.setting, limit.maximum, limit.wanted)
        }
        event => panic!("{event:?}"),
    }
}

const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn sys_belongs_to_the_broker() {
    spec!("MQTT311-3.3.5-2", "MQTT31-3.3-4");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("$SYS/#", QoS::AtMostOnce), ("$SYSTEM", QoS::AtMostOnce)]);
        for topic in ["$SYS", "$SYS/", "$SYS/broker/version"] {
            for qos in ALL_QOS {
                let publish = OwnedPublish::new(topic, "forged", qos).retain(true);
                refusal(&broker, version, &publish, ReasonCode::NotAuthorized);
            }
        }
        assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 0);
        subscriber.expect_nothing_before_pong();
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("$SYSTEM", "another topic", QoS::AtLeastOnce);
        assert_eq!(subscriber.receive().topic, "$SYSTEM");
    }
}

#[test]
fn a_topic_that_is_too_long_or_too_deep_is_refused() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.limits.topic_bytes_max = 8;
            settings.limits.topic_levels_max = 3;
        });
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("#", QoS::AtMostOnce)]);
        let code = ReasonCode::TopicNameInvalid;
        for qos in ALL_QOS {
            let event = refusal(&broker, version, &OwnedPublish::new("123456789", "x", qos), code);
            assert_eq!(refused_limit(&event), ("limits.topic_bytes_max", 8, 9));
            let event = refusal(&broker, version, &OwnedPublish::new("a/b/c/d", "x", qos), code);
            assert_eq!(refused_limit(&event), ("limits.topic_levels_max", 3, 4));
        }
        subscriber.expect_nothing_before_pong();
        let mut publisher = broker.client(version, "publisher");
        for topic in ["12345678", "a/b/c"] {
            publisher.publish(topic, "x", QoS::AtLeastOnce);
            assert_eq!(subscriber.receive().topic, topic);
        }
    }
}

#[test]
fn too_many_user_properties_are_refused() {
    let broker = Broker::with(|settings| settings.limits.user_properties_max = 2);
    let publish = |count: usize| {
        let publish = OwnedPublish::new("t", "x", QoS::ExactlyOnce);
        (0..count).fold(publish, |publish, _| publish.user_property("name", "value"))
    };
    let event = refusal(&broker, Version::V5_0, &publish(3), ReasonCode::QuotaExceeded);
    assert_eq!(refused_limit(&event), ("limits.user_properties_max", 2, 3));
    let mut publisher = broker.client(Version::V5_0, "publisher");
    assert_eq!(publisher.publish_with(&publish(2)), ReasonCode::Success);
}

#[test]
fn retained_messages_beyond_the_limit_are_refused_and_not_delivered() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.limits.retained_messages_max = 1;
            // An owner on another shard refuses later: see `retained_shards`.
            let homes = ["first", "publisher", "b"].map(|name| (name, 0));
            settings.placement = placement_of(shards(), &homes);
        });
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("#", QoS::AtMostOnce)]);
        let mut publisher = broker.client(version, "first");
        publisher.publish_with(&OwnedPublish::new("a", "x", QoS::AtLeastOnce).retain(true));
        subscriber.receive();
        let code = ReasonCode::QuotaExceeded;
        for qos in ALL_QOS {
            let publish = OwnedPublish::new("b", "x", qos).retain(true);
            let event = refusal(&broker, version, &publish, code);
            assert_eq!(refused_limit(&event), ("limits.retained_messages_max", 1, 2));
        }
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_setting_ends_the_connection_of_a_refused_3x_publisher() {
    spec!("MQTT311-3.3.5-2");
    for version in VERSIONS {
        for qos in ALL_QOS {
            let broker = Broker::with(|settings| settings.close_on_refused_publish = true);
            let mut publisher = broker.client(version, "publisher");
            let mut publish = OwnedPublish::new("$SYS/x", "x", qos);
            if qos > QoS::AtMostOnce {
                publish = publish.packet_id(1);
            }
            broker.events();
            publisher.send_publish(&publish);
            assert_eq!(broker.look(|shard| shard.statistics().publish_refused), 1);
            if version.is_v5() {
                match qos {
                    QoS::AtMostOnce => {}
                    QoS::AtLeastOnce => {
                        publisher.expect_puback_with(1, ReasonCode::NotAuthorized);
                    }
                    QoS::ExactlyOnce => {
                        publisher.expect_pubrec_with(1, ReasonCode::NotAuthorized);
                    }
                }
                publisher.expect_nothing_before_pong();
                continue;
            }
            publisher.expect_closed();
            let events = broker.events();
            let ended = events.iter().find_map(|event| match event {
                Event::Disconnected { ended: Ended::ByServer(reason), .. } => Some(reason),
                _ => None,
            });
            assert_eq!(ended.map(|reason| reason.code), Some(ReasonCode::NotAuthorized));
        }
    }
}

#[test]
fn a_publication_refused_by_closing_is_looked_at_again_when_it_is_repeated() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let broker = Broker::with(|settings| settings.close_on_refused_publish = true);
        for _ in 0..2 {
            let mut publisher = broker.lasting(version, "publisher");
            let publish = OwnedPublish::new("$SYS/x", "x", QoS::ExactlyOnce).packet_id(1);
            publisher.send_publish(&publish.dup(true));
            publisher.expect_closed();
        }
    }
}

#[test]
fn the_empty_topic_levels_of_a_topic_count() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("/+/", QoS::AtMostOnce)]);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("//", "x", QoS::AtMostOnce);
        publisher.publish("/a", "x", QoS::AtMostOnce);
        publisher.publish("/a/", "x", QoS::AtMostOnce);
        assert_eq!(subscriber.receive().topic, "//");
        assert_eq!(subscriber.receive().topic, "/a/");
    }
}
