//! The properties and reason codes of 5.0.

use crate::Cases;
use crate::peer::{Peer, Setup, Version, unique};
use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Filter, LastWillProperties, PublishProperties, RetainForwardRule,
};
use std::time::{Duration, Instant};

const V50: Version = Version::V50;

pub(crate) fn cases(cases: &mut Cases) {
    for qos in 0..=2 {
        cases.add(V50, format!("properties end to end-{qos}"), properties(qos));
    }
    let rules = [
        (RetainForwardRule::OnEverySubscribe, 2),
        (RetainForwardRule::OnNewSubscribe, 1),
        (RetainForwardRule::Never, 0),
    ];
    for (number, (rule, copies)) in rules.into_iter().enumerate() {
        cases.add(V50, format!("retain handling-{number}"), retain_handling(rule, copies));
    }
    for expiry in [0, 1, 60] {
        cases.add(V50, format!("session expiry-{expiry}"), session_expiry(expiry));
    }
    cases.add(V50, "subscription identifiers", identifiers());
    cases.add(V50, "no local", no_local());
    cases.add(V50, "retain as published", retain_as_published());
    cases.add(V50, "topic alias from the client", topic_alias());
    cases.add(V50, "will delay", will_delay());
    cases.add(V50, "assigned client identifier", assigned_identifier());
    cases.add(V50, "UNSUBACK reason codes", unsubscribe_codes());
}

async fn properties(qos: u8) {
    let topic = unique("properties/");
    let mut peer = Peer::new(V50).await;
    peer.subscribe(&topic, 2).await;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let sent = PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(100),
        response_topic: Some("answer/to".to_owned()),
        correlation_data: Some(Bytes::from_static(&[0, 255])),
        user_properties: vec![pair("k", "1"), pair("other", "ä"), pair("k", "2")],
        content_type: Some("text/plain".to_owned()),
        ..PublishProperties::default()
    };
    Peer::new(V50).await.publish_with(&topic, qos, sent.clone()).await;
    let mut found = peer.take().await.properties;
    let left = found.message_expiry_interval.replace(100);
    assert!(left.is_some_and(|left| (98..=100).contains(&left)), "expiry {left:?}");
    assert_eq!(found, sent);
}

async fn retain_handling(rule: RetainForwardRule, copies: usize) {
    let topic = unique("handling/");
    let mut peer = Peer::new(V50).await;
    peer.publish(&topic, b"kept", 1, true).await;
    for _ in 0..2 {
        let mut filter = Filter::new(topic.clone(), QoS::AtLeastOnce);
        filter.retain_forward_rule = rule.clone();
        peer.subscribe_with(filter, None).await;
    }
    peer.publish(&topic, b"end", 1, false).await;
    assert_eq!(peer.until("end").await, vec!["kept"; copies]);
    peer.publish(&topic, b"", 1, true).await;
}

async fn session_expiry(expiry: u32) {
    let setup =
        Setup { client_id: Some(unique("expiry")), expiry: Some(expiry), ..Setup::default() };
    Peer::connect(V50, setup.clone()).await.disconnect().await;
    if expiry == 1 {
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
    assert_eq!(Peer::connect(V50, setup).await.session_present, expiry > 1);
}

async fn identifiers() {
    let base = unique("identifier/");
    let mut peer = Peer::new(V50).await;
    for (name, id) in [("a", 7), ("+", 268_435_455)] {
        let filter = Filter::new(format!("{base}/{name}"), QoS::AtLeastOnce);
        peer.subscribe_with(filter, Some(id)).await;
    }
    peer.publish(&format!("{base}/b"), b"x", 1, false).await;
    assert_eq!(peer.take().await.properties.subscription_identifiers, [268_435_455]);
    peer.publish(&format!("{base}/a"), b"x", 1, false).await;
    let mut found = Vec::new();
    while found.len() < 2 {
        found.extend(peer.take().await.properties.subscription_identifiers);
    }
    found.sort_unstable();
    assert_eq!(found, [7, 268_435_455]);
}

async fn no_local() {
    let topic = unique("local/");
    let mut peer = Peer::new(V50).await;
    let mut filter = Filter::new(topic.clone(), QoS::AtLeastOnce);
    filter.nolocal = true;
    peer.subscribe_with(filter, None).await;
    peer.publish(&topic, b"own", 1, false).await;
    Peer::new(V50).await.publish(&topic, b"foreign", 1, false).await;
    assert!(peer.until("foreign").await.is_empty());
}

async fn retain_as_published() {
    let topic = unique("rap/");
    let mut peer = Peer::new(V50).await;
    let mut filter = Filter::new(topic.clone(), QoS::AtLeastOnce);
    filter.preserve_retain = true;
    peer.subscribe_with(filter, None).await;
    for retain in [true, false] {
        peer.publish(&topic, b"x", 1, retain).await;
        assert_eq!(peer.take().await.retain, retain);
    }
    peer.publish(&topic, b"", 1, true).await;
}

async fn topic_alias() {
    let base = unique("alias/");
    let (mut peer, mut publisher) = (Peer::new(V50).await, Peer::new(V50).await);
    let maximum = publisher.connack.as_ref().and_then(|connack| connack.topic_alias_max);
    assert!(maximum >= Some(2), "no aliases are offered");
    peer.subscribe(&format!("{base}/#"), 1).await;
    let steps =
        [("a", 1, "a"), ("", 1, "a"), ("b", 2, "b"), ("", 1, "a"), ("c", 1, "c"), ("", 1, "c")];
    for (name, alias, expected) in steps {
        let topic = if name.is_empty() { String::new() } else { format!("{base}/{name}") };
        let properties = PublishProperties { topic_alias: Some(alias), ..Default::default() };
        publisher.publish_with(&topic, 1, properties).await;
        assert_eq!(peer.take().await.topic, format!("{base}/{expected}"));
    }
}

async fn will_delay() {
    let topic = unique("will/");
    let mut watching = Peer::new(V50).await;
    watching.subscribe(&topic, 2).await;
    let will_properties = LastWillProperties {
        delay_interval: Some(2),
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: Some("text/plain".to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    let setup = Setup {
        will: Some((topic, 1, false)),
        will_properties: Some(will_properties),
        expiry: Some(60),
        ..Setup::default()
    };
    let peer = Peer::connect(V50, setup).await;
    let began = Instant::now();
    peer.cut().await;
    let message = watching.take().await;
    assert_eq!(message.properties.content_type.as_deref(), Some("text/plain"));
    assert!(began.elapsed() > Duration::from_millis(1500), "published before the delay was over");
}

async fn assigned_identifier() {
    let setup = Setup { client_id: Some(String::new()), ..Setup::default() };
    let peer = Peer::connect(V50, setup).await;
    let assigned = peer.connack.as_ref().and_then(|c| c.assigned_client_identifier.as_deref());
    assert!(assigned.is_some_and(|id| !id.is_empty()), "{assigned:?}");
}

async fn unsubscribe_codes() {
    let topic = unique("unsuback/");
    let mut peer = Peer::new(V50).await;
    peer.subscribe(&topic, 1).await;
    assert_eq!(peer.unsubscribe(&topic).await, [0x00]);
    assert_eq!(peer.unsubscribe(&topic).await, [0x11]);
}
