//! Topics and filters of as many levels as fit into their length: each has its bound, and within a
//! generous one the broker works as with any other topic.

use noctule_broker::{Broker, Limits, QoS, ReadRules, ReasonCode, Version};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, Peer};

use crate::neighbours::Neighbours;
use crate::{DEADLINE, start, start_default, start_with, wait};

/// The longest text that there is, and nothing but levels.
fn slashes() -> String {
    "/".repeat(65_535)
}

#[test]
fn sixty_five_thousand_levels_are_refused_and_named() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    let slashes = slashes();
    let named = |text: Option<String>| {
        let text = text.unwrap();
        assert!(text.contains("limits.topic_levels_max = 200"), "{text}");
    };
    let mut peer = Peer::v5(address, "deep");
    for retain in [false, true] {
        let publish = OwnedPublish::new(&slashes, "x", QoS::AtLeastOnce).retain(retain);
        peer.send_publish(&publish.packet_id(1));
        named(peer.expect_puback_with(1, ReasonCode::TopicNameInvalid).reason_string);
        neighbours.are_served();
    }
    let wild = format!("{}#", "+/".repeat(32_767));
    let shared = format!("$share/g{}", "/".repeat(65_527));
    for filter in [&slashes, &wild, &shared] {
        assert_eq!(peer.subscribe(&[(filter, QoS::AtMostOnce)]), [ReasonCode::TopicFilterInvalid]);
        assert_eq!(peer.unsubscribe(&[filter]), [ReasonCode::NoSubscriptionExisted]);
        neighbours.are_served();
    }
    peer.expect_nothing_before_pong();
    let mut with_will = Peer::connect(address);
    with_will.send_connect(&OwnedConnect::v5("a").will(OwnedWill::new(&slashes, "x")));
    named(with_will.expect_connack_with(ReasonCode::TopicNameInvalid).reason_string);
    with_will.expect_closed();

    let mut older = Peer::v311(address, "older");
    assert_eq!(older.subscribe(&[(&slashes, QoS::AtMostOnce)]), [ReasonCode::UnspecifiedError]);
    older.publish(&slashes, "x", QoS::AtLeastOnce);
    let mut oldest = Peer::speaking(Version::V3_1, address, "oldest");
    oldest.publish(&slashes, "x", QoS::ExactlyOnce);
    neighbours.are_served();
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!(statistics.publish_refused, 4, "{statistics:?}");
    assert_eq!((gauges.retained_messages, gauges.subscriptions), (0, 1), "{gauges:?}");
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn the_last_level_that_is_allowed_is_allowed() {
    let (broker, address) = start_default();
    let mut peer = Peer::v5(address, "deep");
    let (most, more) = ("/".repeat(199), "/".repeat(200));
    peer.subscribe(&[(&most, QoS::AtMostOnce), (&"+/".repeat(199), QoS::AtMostOnce)]);
    assert_eq!(peer.subscribe(&[(&more, QoS::AtMostOnce)]), [ReasonCode::TopicFilterInvalid]);
    peer.publish(&most, "deep", QoS::AtMostOnce);
    assert_eq!(peer.receive().text(), "deep");
    peer.send_publish(&OwnedPublish::new(&more, "deeper", QoS::AtLeastOnce).packet_id(1));
    peer.expect_puback_with(1, ReasonCode::TopicNameInvalid);
    broker.stop_blocking(DEADLINE).unwrap();
}

/// Who allows as many levels as there can be gets them everywhere: nothing recurses into them, and
/// nothing is left of them.
#[test]
fn sixty_five_thousand_levels_work_where_they_are_allowed() {
    let mut limits = Limits::default();
    limits.topic_levels_max = u16::MAX;
    let rules = ReadRules(std::sync::Arc::new(|_: &str, topic: &str| !topic.ends_with("secret")));
    let (broker, address) = start(Broker::builder().limits(limits).read_rules(rules));
    let mut neighbours = Neighbours::new(address);
    let topic = "/".repeat(65_534);
    let secret = format!("{}secret", "/".repeat(65_000));
    let mut peer = Peer::v5(address, "deep");
    let filters =
        [topic.clone(), format!("{}#", "+/".repeat(32_000)), "+/".repeat(32_767), secret.clone()];
    for filter in &filters {
        assert_eq!(peer.subscribe(&[(filter, QoS::ExactlyOnce)]), [ReasonCode::GrantedQos2]);
        neighbours.are_served();
    }
    for retain in [true, false] {
        let publish = OwnedPublish::new(&topic, "deep", QoS::ExactlyOnce).retain(retain);
        assert_eq!(peer.publish_with(&publish), ReasonCode::Success);
        let message = peer.receive();
        assert_eq!((message.topic == topic, message.text()), (true, "deep"));
        neighbours.are_served();
    }
    peer.publish(&secret, "nobody may read it", QoS::AtLeastOnce);
    peer.expect_nothing_before_pong();

    let mut late = Peer::v311(address, "late");
    late.subscribe(&[(&format!("{}#", "+/".repeat(32_000)), QoS::AtMostOnce)]);
    assert!(late.receive().retain);
    late.subscribe(&[("#", QoS::AtMostOnce)]);
    assert!(late.receive().retain);
    peer.publish_with(&OwnedPublish::new(&topic, "", QoS::AtLeastOnce).retain(true));
    assert_eq!(peer.receive().payload, b"");
    assert_eq!(late.receive().payload, b"");
    for filter in &filters[1..] {
        assert_eq!(peer.unsubscribe(&[filter]), [ReasonCode::Success]);
    }
    neighbours.are_served();
    // What is left goes with its session, and with the broker.
    drop(peer);
    late.publish_with(&OwnedPublish::new(&topic, "left", QoS::AtLeastOnce).retain(true));
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

/// The tree of topics counts as what it costs, so that few deep topics fill it as many flat ones.
#[test]
fn deep_retained_topics_stay_within_the_bytes_of_retained_messages() {
    let mut limits = Limits::default();
    limits.topic_levels_max = u16::MAX;
    limits.retained_bytes_max = 32 * 1024 * 1024;
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    let mut peer = Peer::v5(address, "deep");
    let mut refused = 0;
    for number in 0..60 {
        let topic = format!("{number}{}", "/".repeat(65_000));
        let publish = OwnedPublish::new(&topic, "x", QoS::AtLeastOnce).retain(true);
        match peer.publish_with(&publish) {
            ReasonCode::QuotaExceeded => refused += 1,
            reason => assert!(!reason.is_error(), "{reason}"),
        }
        let (_, gauges) = wait(broker.statistics()).unwrap();
        assert!(gauges.retained_bytes <= 32 * 1024 * 1024, "{gauges:?}");
    }
    assert!(refused > 0, "60 trees of 65,000 levels do not fit into 32 MiB");
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}
