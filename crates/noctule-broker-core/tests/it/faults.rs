//! Packets that are malformed, or not allowed: what happens to the connection they come on.

use noctule_broker_core::{Ended, Event};
use noctule_packet::{Packet, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS, bytes, packet_bytes};

use crate::broker::{Broker, Client, lasting};

const MALFORMED: ReasonCode = ReasonCode::MalformedPacket;
const NOT_ALLOWED: ReasonCode = ReasonCode::ProtocolError;

/// What is wrong in every version.
const WRONG: [(&str, ReasonCode); 14] = [
    // A packet type that does not exist.
    ("00 00", NOT_ALLOWED),
    // A second CONNECT.
    ("10 00", NOT_ALLOWED),
    // What only servers send: CONNACK, SUBACK, UNSUBACK, PINGRESP.
    ("20 02 0000", NOT_ALLOWED),
    ("20 03 00 00 00", NOT_ALLOWED),
    ("d0 00", NOT_ALLOWED),
    // PUBLISH: of quality of service 3, without a topic, and with a topic that is cut off.
    ("36 06 0001 't' 0001 00", MALFORMED),
    ("30 00", MALFORMED),
    ("30 03 0005 't'", MALFORMED),
    // A topic that is no UTF-8, and one that is a surrogate.
    ("30 04 0001 ff 00", MALFORMED),
    ("30 06 0003 eda080 00", MALFORMED),
    // PUBACK without a packet identifier.
    ("40 00", MALFORMED),
    ("40 01 00", MALFORMED),
    // SUBSCRIBE that ends in the middle of a filter.
    ("82 05 0001 0005 't'", MALFORMED),
    // PINGREQ with a body.
    ("c0 01 00", MALFORMED),
];

/// What is wrong in 5.0, or is something else before it.
const WRONG_IN_5_0: [(&str, ReasonCode); 10] = [
    // AUTH from a client that named no method.
    ("f0 00", NOT_ALLOWED),
    ("f0 02 19 00", NOT_ALLOWED),
    ("90 04 0001 00 00", NOT_ALLOWED),
    ("b0 04 0001 00 00", NOT_ALLOWED),
    // PINGREQ and SUBSCRIBE with the wrong flags.
    ("c1 00", MALFORMED),
    ("80 07 0001 00 0001 't' 00", MALFORMED),
    // SUBSCRIBE of nothing.
    ("82 03 0001 00", NOT_ALLOWED),
    // A property twice, and one that belongs elsewhere.
    ("30 08 0001 't' 04 01 00 01 00", NOT_ALLOWED),
    ("30 06 0001 't' 02 24 01", NOT_ALLOWED),
    // A Subscription Identifier from a client.
    ("30 06 0001 't' 02 0b 01", NOT_ALLOWED),
];

/// What is wrong in 3.1.1.
const WRONG_IN_3_1_1: [&str; 7] = [
    // There is no AUTH, and no flag has a meaning.
    "f0 00",
    "c1 00",
    "80 06 0001 0001 't' 00",
    "82 02 0001",
    // A packet identifier of 0, a quality of service of 3, and a reserved bit next to it.
    "82 06 0000 0001 't' 00",
    "82 06 0001 0001 't' 03",
    "82 06 0001 0001 't' 04",
];

#[track_caller]
fn expect_ended(broker: &Broker, what: &str, code: Option<ReasonCode>) {
    let endings: Vec<_> = broker
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Disconnected { ended: Ended::ByServer(reason), .. } => Some(reason.code),
            _ => None,
        })
        .collect();
    assert_eq!(endings.len(), 1, "{what}");
    assert!(code.is_none_or(|code| code == endings[0]), "{what}: {endings:?}");
}

#[test]
fn a_packet_that_is_wrong_ends_its_connection_and_no_other() {
    spec!("MQTT5-4.13.1-1", "MQTT5-4.13.2-1", "MQTT311-4.8.0-1");
    spec!("MQTT311-1.5.3-1", "MQTT311-3.3.1-4", "MQTT311-3.8.3-4", "MQTT31-2.1-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut bystander = broker.client(version, "bystander");
        let more: Vec<(&str, ReasonCode)> = match version {
            Version::V3_1 => Vec::new(),
            Version::V3_1_1 => WRONG_IN_3_1_1.iter().map(|wrong| (*wrong, MALFORMED)).collect(),
            Version::V5_0 => WRONG_IN_5_0.to_vec(),
        };
        for (wrong, code) in WRONG.into_iter().chain(more) {
            let mut client = broker.client(version, "a");
            // What stands behind it is not looked at.
            client.send_bytes(&bytes(&format!("{wrong} c0 00")));
            client.expect_refused(code);
            expect_ended(&broker, wrong, version.is_v5().then_some(code));
            bystander.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_packet_that_is_wrong_is_too_late_for_those_before_it_and_too_early_for_the_rest() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("t", QoS::AtMostOnce)]);
        let mut client = broker.client(version, "a");
        let mut sent = Vec::new();
        for text in ["before", "after"] {
            let publish = OwnedPublish::new("t", text, QoS::AtMostOnce);
            Packet::Publish(publish.to_packet()).encode(version, &mut sent).expect("a packet");
            sent.extend([0xC0, 1, 0]);
        }
        client.send_bytes(&sent);
        client.expect_refused(MALFORMED);
        assert_eq!(subscriber.receive().text(), "before");
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn the_end_for_an_error_does_not_end_a_session_that_lasts() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.lasting(version, "a");
        client.send_bytes(&[0x00, 0x00]);
        client.expect_refused(NOT_ALLOWED);
        let client = broker.lasting(version, "a");
        let present = client.connack().expect("a CONNACK").session_present;
        assert_eq!(present, version != Version::V3_1);
    }
}

#[test]
fn a_disconnect_that_is_too_large_for_the_client_says_less() {
    spec!("MQTT5-3.14.2-3");
    let broker = Broker::new();
    let mut client = broker.connect(&OwnedConnect::v5("a").maximum_packet_size(30));
    client.send_bytes(&[0xC1, 0]);
    let disconnect = client.expect_disconnect(MALFORMED);
    assert_eq!(disconnect.reason_string, None);
    client.expect_closed();
}

#[test]
fn a_disconnect_that_cannot_be_read_is_answered_by_the_end_alone() {
    spec!("MQTT5-4.13.2-1");
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "a");
    client.send_bytes(&bytes("e0 01 55"));
    client.expect_closed();
    expect_ended(&broker, "e0 01 55", Some(NOT_ALLOWED));
}

#[test]
fn a_client_with_a_will_that_breaks_the_rules_has_it_sent() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("w", QoS::AtMostOnce)]);
        let will = noctule_testkit::OwnedWill::new("w", "gone");
        let mut client: Client = broker.connect(&lasting(version, "a").will(will));
        client.send_bytes(&packet_bytes(0xC1, ""));
        match version {
            // 3.1 gives these bits no meaning in PINGREQ, and says nothing about them.
            Version::V3_1 => client.send_bytes(&[0x00, 0x00]),
            Version::V3_1_1 | Version::V5_0 => {}
        }
        assert_eq!(subscriber.receive().text(), "gone");
    }
}

#[test]
fn the_reason_names_the_broken_statement() {
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "a");
    client.send_bytes(&bytes("10 00"));
    let disconnect = client.expect_disconnect(NOT_ALLOWED);
    let reason = disconnect.reason_string.expect("a reason string");
    assert!(reason.contains("[MQTT5-3.1.0-2]"), "{reason}");
}
