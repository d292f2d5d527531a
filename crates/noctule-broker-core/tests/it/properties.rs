//! The properties of a PUBLISH on their way through the broker, and what the broker explains to a
//! publisher.

use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS, packet_bytes};

use crate::broker::Broker;

/// A message with every property that a publisher can set.
fn rich(qos: QoS) -> OwnedPublish {
    OwnedPublish::new("t", "payload", qos)
        .payload_format_indicator(true)
        .content_type("text/plain; é")
        .response_topic("answers/here")
        .correlation_data([0, 1, 0xFF])
        .user_property("b", "1")
        .user_property("a", "2")
        .user_property("b", "1")
        .user_property("", "")
}

#[track_caller]
fn assert_rich(message: &OwnedPublish) {
    let expected = rich(message.qos);
    assert_eq!(message.payload_format_indicator, expected.payload_format_indicator);
    assert_eq!(message.content_type, expected.content_type);
    assert_eq!(message.response_topic, expected.response_topic);
    assert_eq!(message.correlation_data, expected.correlation_data);
    assert_eq!(message.user_properties, expected.user_properties);
    assert_eq!(message.text(), "payload");
}

#[test]
fn every_subscriber_gets_the_properties_as_the_publisher_set_them() {
    spec!("MQTT5-3.3.2-4", "MQTT5-3.3.2-15", "MQTT5-3.3.2-16", "MQTT5-3.3.2-17");
    spec!("MQTT5-3.3.2-18", "MQTT5-3.3.2-20");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let broker = Broker::new();
        let mut subscribers: Vec<_> = ["first", "second"]
            .into_iter()
            .map(|client_id| {
                let mut client = broker.client(Version::V5_0, client_id);
                client.subscribe(&[("t", QoS::ExactlyOnce)]);
                client
            })
            .collect();
        let mut absent = broker.lasting(Version::V5_0, "absent");
        absent.subscribe(&[("t", QoS::ExactlyOnce)]);
        drop(absent);
        let mut publisher = broker.client(Version::V5_0, "publisher");
        publisher.publish_with(&rich(qos).retain(true));
        for subscriber in &mut subscribers {
            assert_rich(&subscriber.receive());
        }
        if qos > QoS::AtMostOnce {
            assert_rich(&broker.lasting(Version::V5_0, "absent").receive());
        }
        // One who subscribes later gets them with the retained message.
        let mut late = broker.client(Version::V5_0, "late");
        late.subscribe(&[("t", QoS::ExactlyOnce)]);
        assert_rich(&late.receive());
    }
}

#[test]
fn a_format_indicator_of_0_is_passed_on_too() {
    spec!("MQTT5-3.3.2-4");
    let broker = Broker::new();
    let mut subscriber = broker.client(Version::V5_0, "subscriber");
    subscriber.subscribe(&[("t", QoS::AtMostOnce)]);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    for indicator in [None, Some(false), Some(true)] {
        let mut message = OwnedPublish::new("t", "x", QoS::AtMostOnce);
        message.payload_format_indicator = indicator;
        publisher.publish_with(&message);
        assert_eq!(subscriber.receive().payload_format_indicator, indicator);
    }
}

#[test]
fn versions_without_properties_get_and_give_none() {
    for version in [Version::V3_1, Version::V3_1_1] {
        let broker = Broker::new();
        let mut old = broker.client(version, "old");
        let mut new = broker.client(Version::V5_0, "new");
        old.subscribe(&[("t", QoS::AtMostOnce)]);
        new.subscribe(&[("t", QoS::AtMostOnce)]);
        new.publish_with(&rich(QoS::AtMostOnce).message_expiry_interval(10));
        old.expect_bytes(&packet_bytes(0x30, "s't' 'payload'"));
        assert_rich(&new.receive());
        old.publish("t", "bare", QoS::AtMostOnce);
        new.expect_bytes(&packet_bytes(0x30, "s't' 00 'bare'"));
        old.expect_bytes(&packet_bytes(0x30, "s't' 'bare'"));
    }
}

#[test]
fn a_refused_publisher_is_told_why_unless_it_wants_no_problem_information() {
    spec!("MQTT5-3.1.2-29");
    for request in [None, Some(true), Some(false)] {
        let broker = Broker::with(|settings| settings.limits.topic_levels_max = 2);
        let mut connect = OwnedConnect::v5("publisher");
        connect.request_problem_information = request;
        let mut publisher = broker.connect(&connect);
        for (packet_id, topic, code, text) in [
            (1, "$SYS/x", ReasonCode::NotAuthorized, "$SYS belongs to the broker"),
            (
                2,
                "a/b/c",
                ReasonCode::TopicNameInvalid,
                "too many topic levels (limits.topic_levels_max = 2, wanted 3)",
            ),
        ] {
            let text = (request != Some(false)).then_some(text);
            let message = OwnedPublish::new(topic, "x", QoS::AtLeastOnce).packet_id(packet_id);
            publisher.send_publish(&message);
            let puback = publisher.expect_puback_with(packet_id, code);
            assert_eq!(puback.reason_string.as_deref(), text);
            let message = OwnedPublish::new(topic, "x", QoS::ExactlyOnce).packet_id(packet_id);
            publisher.send_publish(&message);
            let pubrec = publisher.expect_pubrec_with(packet_id, code);
            assert_eq!(pubrec.reason_string.as_deref(), text);
        }
        // Nothing is explained where nothing is refused.
        publisher.send_pubrel(9);
        let pubcomp = publisher.expect_pubcomp_with(9, ReasonCode::PacketIdentifierNotFound);
        assert_eq!(pubcomp.reason_string, None);
    }
}

#[test]
fn an_explanation_is_left_out_where_it_does_not_fit() {
    spec!("MQTT5-3.4.2-2", "MQTT5-3.5.2-2");
    let broker = Broker::new();
    let connect = OwnedConnect::v5("publisher").maximum_packet_size(30);
    let mut publisher = broker.open();
    publisher.send_connect(&connect);
    publisher.expect_connack_with(ReasonCode::Success);
    publisher.send_publish(&OwnedPublish::new("$SYS/x", "x", QoS::AtLeastOnce).packet_id(1));
    publisher.expect_bytes(&packet_bytes(0x40, "0001 87"));
    publisher.send_publish(&OwnedPublish::new("$SYS/x", "x", QoS::ExactlyOnce).packet_id(1));
    publisher.expect_bytes(&packet_bytes(0x50, "0001 87"));
}

#[test]
fn refusals_that_wait_for_an_earlier_acknowledgement_keep_their_own_texts() {
    use noctule_broker_core::Durability;
    let broker = Broker::with(|settings| {
        settings.durability = Durability::Stored;
        settings.limits.topic_levels_max = 2;
    });
    let mut subscriber = broker.lasting(Version::V5_0, "subscriber");
    subscriber.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = broker.lasting(Version::V5_0, "publisher");
    broker.hold();
    for (packet_id, topic, qos) in [
        (1, "t", QoS::AtLeastOnce),
        (2, "$SYS/x", QoS::ExactlyOnce),
        (3, "a/b/c", QoS::AtLeastOnce),
    ] {
        publisher.send_publish(&OwnedPublish::new(topic, "x", qos).packet_id(packet_id));
    }
    publisher.expect_nothing_before_pong();
    broker.answer();
    assert_eq!(publisher.expect_puback(1).reason_string, None);
    let pubrec = publisher.expect_pubrec_with(2, ReasonCode::NotAuthorized);
    assert_eq!(pubrec.reason_string.as_deref(), Some("$SYS belongs to the broker"));
    let puback = publisher.expect_puback_with(3, ReasonCode::TopicNameInvalid);
    assert!(puback.reason_string.is_some_and(|text| text.contains("limits.topic_levels_max")));
}

#[test]
fn response_information_is_given_to_those_who_ask_for_it() {
    spec!("MQTT5-3.1.2-28");
    for (request, expected) in [(None, None), (Some(false), None), (Some(true), Some("answers/"))] {
        let broker = Broker::with(|settings| {
            settings.response_information = Some("answers/".into());
        });
        let mut connect = OwnedConnect::v5("a");
        connect.request_response_information = request;
        let connack = broker.open().open(&connect);
        assert_eq!(connack.response_information.as_deref(), expected);
    }
    for version in VERSIONS {
        let broker = Broker::new();
        let mut connect = OwnedConnect::new(version, "a");
        connect.request_response_information = version.is_v5().then_some(true);
        assert_eq!(broker.open().open(&connect).response_information, None);
    }
}
