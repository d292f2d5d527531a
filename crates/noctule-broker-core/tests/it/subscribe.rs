//! SUBSCRIBE and SUBACK: what is granted, what is refused and how, and what a new SUBSCRIBE to the
//! same filter changes.

use noctule_broker_core::{Authorization, Ended, Event, Limit};
use noctule_packet::{QoS, ReasonCode, RetainHandling, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS, bytes, packet_bytes};

use crate::broker::{Broker, Client};

/// Sends a SUBSCRIBE with this packet identifier; each filter goes with its byte of options.
pub(crate) fn send_subscribe(client: &mut Client, packet_id: u16, filters: &[(&str, u8)]) {
    let properties = if client.version().is_v5() { "00" } else { "" };
    let mut body = format!("{packet_id:04x} {properties}");
    for (filter, options) in filters {
        body += &format!(" s'{filter}' {options:02x}");
    }
    client.send_bytes(&packet_bytes(0x82, &body));
}

const fn options(qos: QoS, retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions { qos, retain_handling, no_local: false, retain_as_published: false }
}

/// The refusals among the events, with the limit that each names.
fn refusals(broker: &Broker) -> Vec<(ReasonCode, Option<Limit>)> {
    let events = broker.events().into_iter();
    let reasons = events.filter_map(|event| match event {
        Event::PacketRefused { reason, .. } => Some((reason.code, reason.limit)),
        Event::Disconnected { ended: Ended::ByServer(reason), .. } => {
            Some((reason.code, reason.limit))
        }
        _ => None,
    });
    reasons.collect()
}

/// Subscribes to one filter that must be refused, in the way of the version: by a DISCONNECT with
/// this code if `closes`, else by the code in SUBACK, by 0x80, or by the end of the connection.
#[track_caller]
fn expect_filter_refused(client: &mut Client, filter: &str, code: ReasonCode, closes: bool) {
    send_subscribe(client, 99, &[(filter, 1)]);
    match client.version() {
        Version::V5_0 if closes => client.expect_refused(code),
        Version::V5_0 => assert_eq!(client.expect_suback(99).reason_codes, [code]),
        Version::V3_1_1 => client.expect_bytes(&bytes("90 03 0063 80")),
        Version::V3_1 => client.expect_closed(),
    }
}

#[test]
fn suback_has_the_packet_identifier_and_one_code_for_each_filter_in_their_order() {
    spec!(
        "MQTT5-3.8.4-1",
        "MQTT5-3.8.4-2",
        "MQTT5-3.8.4-6",
        "MQTT5-3.8.4-7",
        "MQTT5-2.2.1-6",
        "MQTT311-3.8.4-1",
        "MQTT311-3.8.4-2",
        "MQTT311-3.8.4-5",
        "MQTT311-2.3.1-7",
        "MQTT31-3.9-1"
    );
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        for packet_id in [0x1234, 1, 0xFFFF] {
            send_subscribe(&mut client, packet_id, &[("x", 2), ("y/+", 0), ("z/#", 1), ("w", 2)]);
            let properties = if version.is_v5() { "00" } else { "" };
            let suback = format!("{packet_id:04x} {properties} 02 00 01 02");
            client.expect_bytes(&packet_bytes(0x90, &suback));
        }
        client.expect_nothing_before_pong();
    }
}

#[test]
fn many_filters_in_one_packet_fare_as_if_they_came_one_by_one() {
    spec!("MQTT5-3.8.4-5", "MQTT311-3.8.4-4");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        // The second "x" replaces the first one.
        send_subscribe(&mut client, 7, &[("x", 0), ("y", 2), ("x", 1)]);
        let granted = [ReasonCode::Success, ReasonCode::GrantedQos2, ReasonCode::GrantedQos1];
        assert_eq!(client.expect_suback(7).reason_codes, granted);
        client.expect_nothing_before_pong();
        assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 2);
        let mut publisher = broker.client(version, "b");
        publisher.publish("x", "1", QoS::ExactlyOnce);
        publisher.publish("y", "2", QoS::ExactlyOnce);
        assert_eq!(client.receive().qos, QoS::AtLeastOnce);
        assert_eq!(client.receive().qos, QoS::ExactlyOnce);
        client.expect_nothing_before_pong();
    }
}

#[test]
fn a_filter_that_is_not_allowed_leaves_the_others_in_force() {
    spec!("MQTT5-3.8.4-7", "MQTT5-3.8.4-6", "MQTT311-3.8.4-5", "MQTT311-3.9.3-2", "MQTT31-3.9-1");
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.authorization = Authorization::Ask);
        let mut client = broker.lasting(version, "a");
        send_subscribe(&mut client, 7, &[("x", 1), ("secret/x", 1), ("y", 2)]);
        let failure = match version {
            Version::V3_1 => {
                client.expect_closed();
                assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 0);
                assert_eq!(refusals(&broker), [(ReasonCode::NotAuthorized, None)]);
                continue;
            }
            Version::V3_1_1 => ReasonCode::UnspecifiedError,
            Version::V5_0 => ReasonCode::NotAuthorized,
        };
        let expected = [ReasonCode::GrantedQos1, failure, ReasonCode::GrantedQos2];
        assert_eq!(client.expect_suback(7).reason_codes, expected);
        assert_eq!(refusals(&broker), [(ReasonCode::NotAuthorized, None)]);
        let mut publisher = broker.client(version, "b");
        publisher.publish("x", "1", QoS::AtLeastOnce);
        broker.look(|shard| assert_eq!(shard.gauges().subscriptions, 2));
        assert_eq!(client.receive().text(), "1");
        publisher.publish("y", "2", QoS::AtLeastOnce);
        assert_eq!(client.receive().text(), "2");
        client.expect_nothing_before_pong();
    }
}

#[test]
fn the_same_filter_again_replaces_the_subscription() {
    spec!("MQTT5-3.8.4-3", "MQTT311-3.8.4-3");
    for version in VERSIONS {
        let broker = Broker::new();
        let (mut client, mut publisher) =
            (broker.client(version, "a"), broker.client(version, "b"));
        for qos in [QoS::ExactlyOnce, QoS::AtMostOnce, QoS::AtLeastOnce] {
            client.subscribe(&[("x/+", qos)]);
            assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 1);
            publisher.publish("x/1", "m", QoS::ExactlyOnce);
            assert_eq!(client.receive().qos, qos);
            client.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_replaced_subscription_takes_all_options_from_the_new_one() {
    spec!("MQTT5-3.8.4-3");
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "a");
    let first = SubscriptionOptions { retain_as_published: true, ..Default::default() };
    let second = SubscriptionOptions { no_local: true, ..Default::default() };
    client.subscribe_with(Some(5), &[("x", first)]);
    client.publish_with(&OwnedPublish::new("x", "1", QoS::AtMostOnce).retain(true));
    let message = client.receive();
    assert_eq!((message.retain, message.subscription_identifiers), (true, vec![5]));
    client.subscribe_with(None, &[("x", second)]);
    let message = client.receive();
    assert_eq!((message.retain, message.subscription_identifiers), (true, vec![]), "retained");
    client.publish("x", "2", QoS::AtMostOnce);
    client.expect_nothing_before_pong();
    let mut publisher = broker.client(Version::V5_0, "b");
    publisher.publish_with(&OwnedPublish::new("x", "3", QoS::AtMostOnce).retain(true));
    assert!(!client.receive().retain);
}

#[test]
fn subscribing_again_loses_no_message_and_sends_the_retained_ones_again() {
    spec!("MQTT5-3.8.4-4", "MQTT311-3.8.4-3");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut publisher = broker.client(version, "b");
        publisher.publish_with(&OwnedPublish::new("x", "kept", QoS::AtLeastOnce).retain(true));
        let mut client = broker.client(version, "a");
        client.subscribe(&[("x", QoS::AtLeastOnce)]);
        assert!(client.receive().retain);
        publisher.publish("x", "1", QoS::AtLeastOnce);
        let first = client.expect_publish();
        broker.stall(&client);
        publisher.publish("x", "2", QoS::AtLeastOnce);
        send_subscribe(&mut client, 77, &[("x", 1)]);
        publisher.publish("x", "3", QoS::AtLeastOnce);
        broker.unstall(&client);
        assert_eq!(client.receive().text(), "2");
        client.expect_suback(77);
        let kept = client.receive();
        assert_eq!((kept.text(), kept.retain), ("kept", true));
        assert_eq!(client.receive().text(), "3");
        client.acknowledge(&first);
        client.expect_nothing_before_pong();
    }
}

#[test]
fn what_waits_for_the_window_outlives_a_replacement() {
    spec!("MQTT5-3.8.4-4");
    let broker = Broker::new();
    let mut client = broker.connect(&OwnedConnect::v5("a").receive_maximum(1));
    let mut publisher = broker.client(Version::V5_0, "b");
    client.subscribe(&[("x", QoS::ExactlyOnce)]);
    for text in ["1", "2", "3"] {
        publisher.publish("x", text, QoS::ExactlyOnce);
    }
    let handling = RetainHandling::DoNotSend;
    client.subscribe_with(None, &[("x", options(QoS::AtMostOnce, handling))]);
    for text in ["1", "2", "3"] {
        let message = client.receive();
        assert_eq!((message.text(), message.qos), (text, QoS::ExactlyOnce));
    }
    publisher.publish("x", "4", QoS::ExactlyOnce);
    assert_eq!(client.receive().qos, QoS::AtMostOnce);
}

#[test]
fn a_server_that_takes_only_qos_0_still_accepts_subscriptions_at_any_qos() {
    spec!("MQTT5-3.2.2-10");
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.features.maximum_qos = QoS::AtMostOnce);
        let mut client = broker.client(version, "a");
        for (filter, qos) in
            [("0", QoS::AtMostOnce), ("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)]
        {
            let codes = client.subscribe(&[(filter, qos)]);
            assert!(codes.iter().all(|code| !code.is_error()), "{codes:?}");
            client.publish(filter, "m", QoS::AtMostOnce);
            assert_eq!(client.receive().qos, QoS::AtMostOnce);
        }
    }
}

#[test]
fn no_message_comes_above_the_granted_qos() {
    spec!("MQTT31-3.8-3");
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for (granted, published) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
        let broker = Broker::new();
        let mut client = broker.client(Version::V3_1, "a");
        assert_eq!(client.subscribe(&[("x", granted)]), [ReasonCode::granted(granted)]);
        broker.client(Version::V3_1, "b").publish("x", "m", published);
        assert_eq!(client.receive().qos, granted.min(published));
    }
}

#[test]
fn where_wildcards_are_not_offered_they_are_refused() {
    spec!("MQTT311-3.8.3-2");
    for version in VERSIONS {
        for filter in ["a/+", "#", "a/#"] {
            let broker = Broker::with(|settings| {
                settings.features.wildcard_subscription_available = false;
            });
            let mut client = broker.lasting(version, "a");
            client.subscribe(&[("a/b", QoS::AtMostOnce)]);
            let code = ReasonCode::WildcardSubscriptionsNotSupported;
            expect_filter_refused(&mut client, filter, code, true);
            assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 1);
            assert_eq!(refusals(&broker), [(code, None)]);
        }
    }
}

#[test]
fn where_shared_subscriptions_or_identifiers_are_not_offered_they_are_refused() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.features.shared_subscription_available = false;
            settings.features.subscription_identifiers_available = false;
        });
        let mut client = broker.lasting(version, "a");
        let code = ReasonCode::SharedSubscriptionsNotSupported;
        expect_filter_refused(&mut client, "$share/g/x", code, true);
        assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 0);
        assert_eq!(refusals(&broker), [(code, None)]);
        if version.is_v5() {
            let mut client = broker.client(version, "b");
            client.send_bytes(&packet_bytes(0x82, "0001 02 0b 05 s'x' 00"));
            client.expect_refused(ReasonCode::SubscriptionIdentifiersNotSupported);
        }
    }
}

#[test]
fn limits_on_filters_refuse_what_exceeds_them_and_say_which() {
    spec!("MQTT5-3.8.4-7", "MQTT311-3.8.4-5");
    for version in VERSIONS {
        for (filter, code, setting, maximum, wanted) in [
            ("a/b/c/d", ReasonCode::TopicFilterInvalid, "limits.topic_levels_max", 3, 4),
            ("a/b/0123456789", ReasonCode::TopicFilterInvalid, "limits.topic_bytes_max", 12, 14),
            ("z", ReasonCode::QuotaExceeded, "limits.subscriptions_max", 2, 3),
        ] {
            let broker = Broker::with(|settings| {
                settings.limits.topic_levels_max = 3;
                settings.limits.topic_bytes_max = 12;
                settings.limits.subscriptions_max = 2;
            });
            let mut client = broker.lasting(version, "a");
            client.subscribe(&[("a/b/c", QoS::AtMostOnce), ("0123456789ab", QoS::AtMostOnce)]);
            // What it has may be replaced at the limit.
            client.subscribe(&[("0123456789ab", QoS::AtLeastOnce), ("a/b/c", QoS::AtMostOnce)]);
            expect_filter_refused(&mut client, filter, code, false);
            assert_eq!(refusals(&broker), [(code, Some(Limit { setting, maximum, wanted }))]);
            assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 2);
        }
    }
}

#[test]
fn only_the_filters_beyond_the_limit_of_subscriptions_are_refused() {
    let broker = Broker::with(|settings| settings.limits.subscriptions_max = 3);
    let mut client = broker.client(Version::V5_0, "a");
    client.subscribe(&[("x", QoS::AtMostOnce), ("y", QoS::AtMostOnce)]);
    send_subscribe(&mut client, 5, &[("x", 1), ("z", 1), ("w", 1)]);
    let expected = [ReasonCode::GrantedQos1, ReasonCode::GrantedQos1, ReasonCode::QuotaExceeded];
    assert_eq!(client.expect_suback(5).reason_codes, expected);
    client.unsubscribe(&["x"]);
    assert_eq!(client.subscribe(&[("w", QoS::AtLeastOnce)]), [ReasonCode::GrantedQos1]);
    // A packet with more filters than a session may ever have is not worth an answer to each.
    send_subscribe(&mut client, 6, &[("1", 0), ("2", 0), ("3", 0), ("4", 0)]);
    client.expect_refused(ReasonCode::QuotaExceeded);
    let limit = Limit { setting: "limits.subscriptions_max", maximum: 3, wanted: 4 };
    assert_eq!(refusals(&broker)[1..], [(ReasonCode::QuotaExceeded, Some(limit))]);
}

#[test]
fn too_many_user_properties_end_the_connection() {
    let broker = Broker::with(|settings| settings.limits.user_properties_max = 1);
    let mut client = broker.client(Version::V5_0, "a");
    client.send_bytes(&packet_bytes(0x82, "0001 07 26 s'n' s'v' s'x' 00"));
    client.expect_suback(1);
    client.send_bytes(&packet_bytes(0x82, "0002 0e 26 s'n' s'v' 26 s'n' s'v' s'x' 00"));
    client.expect_refused(ReasonCode::QuotaExceeded);
    let limit = Limit { setting: "limits.user_properties_max", maximum: 1, wanted: 2 };
    assert_eq!(refusals(&broker), [(ReasonCode::QuotaExceeded, Some(limit))]);
}

#[test]
fn a_client_that_takes_no_answer_as_large_is_told_and_disconnected() {
    let filters: Vec<String> = (0..40).map(|at| at.to_string()).collect();
    let subscriptions: Vec<(&str, u8)> = filters.iter().map(|filter| (&**filter, 0)).collect();
    // SUBACK and UNSUBACK have 5 bytes beside one for each filter.
    for (size, fits) in [(45, true), (44, false)] {
        let broker = Broker::new();
        let mut client = broker.connect(&OwnedConnect::v5("a").maximum_packet_size(size));
        send_subscribe(&mut client, 1, &subscriptions);
        if fits {
            client.expect_suback(1);
            continue;
        }
        // What explains the end does not fit either.
        client.expect_refused(ReasonCode::PacketTooLarge);
        let limit = Limit { setting: "Maximum Packet Size in CONNECT", maximum: 44, wanted: 0 };
        assert_eq!(refusals(&broker), [(ReasonCode::PacketTooLarge, Some(limit))]);
    }
    let broker = Broker::new();
    let mut client = broker.connect(&OwnedConnect::v5("a").maximum_packet_size(44));
    let body: String = filters.iter().map(|filter| format!(" s'{filter}'")).collect();
    client.send_bytes(&packet_bytes(0xA2, &format!("0001 00 {body}")));
    client.expect_refused(ReasonCode::PacketTooLarge);
}
