//! Publishing, subscribing, receipts, and how a client ends.

use std::time::Duration;

use noctule_client::{
    AliasPolicy, Client, ConnectError, Outcome, PublishError, QoS, ReasonCode, ReconnectSettings,
    Settings, State, SubscribeError, Version,
};
use noctule_packet::{SubscriptionOptions, spec};

use crate::house::{House, LONG, VERSIONS, next, soon};
use crate::start::{connect, start};

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[tokio::test]
async fn messages_arrive_and_their_receipts_say_so() {
    spec!("MQTT311-7.1.2-1");
    let house = House::new();
    for version in VERSIONS {
        let client = connect(house.builder("c").version(version)).await.unwrap();
        let mut inbox = soon(client.subscribe("a/+").and("b")).await.unwrap();
        assert_eq!(inbox.granted(), [QoS::ExactlyOnce; 2]);
        for qos in ALL {
            for topic in ["a/b", "b"] {
                let receipt = client.publish(topic, "21.5").qos(qos).send().unwrap();
                assert_eq!(soon(receipt).await, Outcome::DELIVERED, "{version} {qos:?}");
                let message = next(&mut inbox).await;
                assert_eq!((&**message.topic(), message.text()), (topic, Some("21.5")));
                assert_eq!((message.qos(), message.retain()), (qos, false));
            }
        }
        soon(inbox.unsubscribe()).await.unwrap();
        soon(client.publish("b", "").qos(QoS::AtLeastOnce).send().unwrap()).await;
        assert!(soon(client.shutdown(LONG)).await.is_clean());
        assert!(matches!(client.state(), State::Stopped(_)));
    }
}

#[tokio::test]
async fn properties_travel() {
    let house = House::new();
    let client = house.client("c").await;
    let mut inbox = soon(client.subscribe("t").identifier(7)).await.unwrap();
    let receipt = client
        .publish("t", "{}")
        .content_type("application/json")
        .correlation_data(b"42")
        .expires_after(Duration::from_secs(60))
        .retain(true)
        .send()
        .unwrap();
    assert!(soon(receipt).await.is_delivered());
    let message = next(&mut inbox).await;
    let properties = message.properties();
    assert_eq!(properties.content_type, Some("application/json"));
    assert_eq!(properties.correlation_data, Some(&b"42"[..]));
    assert!(message.message_expiry_interval().is_some_and(|left| (1..=60).contains(&left)));
    assert_eq!(message.subscription_identifiers(), [7]);
    // A later subscription gets what is retained.
    let mut late = soon(client.subscribe("#")).await.unwrap();
    assert!(next(&mut late).await.retain());
}

#[tokio::test]
async fn each_stream_gets_what_its_filters_match_and_the_rest_goes_nowhere_else() {
    let house = House::new();
    let client = house.client("c").await;
    let mut lights = soon(client.subscribe("house/+/light")).await.unwrap();
    let mut kitchen = soon(client.subscribe("house/kitchen/#")).await.unwrap();
    let mut shared = soon(client.subscribe("$share/g/house/cellar/light")).await.unwrap();
    for topic in ["house/hall/light", "house/kitchen/light", "house/kitchen/door"] {
        drop(client.publish(topic, topic).send().unwrap());
    }
    let texts = [next(&mut lights).await, next(&mut lights).await];
    let texts = texts.each_ref().map(|message| message.text().unwrap());
    assert_eq!(texts, ["house/hall/light", "house/kitchen/light"]);
    // The server may send what two filters match once or twice.
    while next(&mut kitchen).await.text() != Some("house/kitchen/door") {}
    drop(client.publish("house/cellar/light", "x").send().unwrap());
    assert_eq!(next(&mut shared).await.text(), Some("x"));
    drop(kitchen);
    let mut rest = client.unclaimed();
    drop(client.publish("house/kitchen/door", "nobody listens any more").send().unwrap());
    assert_eq!(next(&mut rest).await.text(), Some("nobody listens any more"));
}

#[tokio::test]
async fn what_makes_no_sense_is_told_before_anything_is_sent() {
    let house = House::new();
    let client = connect(house.builder("c").version(Version::V3_1_1)).await.unwrap();
    assert!(matches!(client.publish("a/#", "").send(), Err(PublishError::Topic { .. })));
    let refused = client.publish("a", "").content_type("text").send().unwrap_err();
    assert_eq!(refused.to_string(), "MQTT 3.1.1 has no content_type");
    let error = soon(client.subscribe("a/#/b")).await.unwrap_err();
    assert!(matches!(error, SubscribeError::Filter { .. }), "{error}");
    let error = soon(client.subscribe("a").no_local(true)).await.unwrap_err();
    assert_eq!(error.to_string(), "MQTT 3.1.1 has no no_local");
    let _ = (SubscriptionOptions::default(), Settings::default());
}

#[tokio::test]
async fn a_server_that_refuses_says_why() {
    let house = House::new();
    let error = connect(Client::builder(house.url()).client_id("x".repeat(70_000))).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ConnectError::Build(_)), "{error}");
    let once = || ReconnectSettings { includes_first: false, ..Default::default() };
    let nobody = "mqtt://127.0.0.1:1";
    let error = connect(Client::builder(nobody).reconnect(once())).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let error = connect(Client::builder("http://x")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Build(_)), "{error}");
    // The broker keeps $SYS for itself.
    let client = house.client("c").await;
    let receipt = client.publish("$SYS/x", "").qos(QoS::AtLeastOnce).send().unwrap();
    let outcome = soon(receipt).await;
    let Outcome::Rejected { reason, .. } = &outcome else { panic!("{outcome}") };
    assert_eq!(*reason, ReasonCode::NotAuthorized);
}

#[tokio::test]
async fn a_client_whose_handles_are_gone_finishes_what_is_under_way() {
    let house = House::new();
    let watcher = house.client("w").await;
    let mut inbox = soon(watcher.subscribe("t")).await.unwrap();
    let client = house.client("c").await;
    for number in 0..1_000 {
        drop(client.publish("t", &number.to_string()).qos(QoS::AtLeastOnce).send().unwrap());
    }
    drop(client);
    for number in 0..1_000 {
        assert_eq!(next(&mut inbox).await.text(), Some(&*number.to_string()));
    }
    // It says good-bye.
    while house.broker().clients().await.unwrap().iter().any(|client| &*client.client_id == "c") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_shutdown_tells_what_was_left_undone() {
    let client = start(Client::builder("mqtt://127.0.0.1:1")).unwrap();
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    let report = soon(client.shutdown(Duration::from_millis(50))).await;
    assert_eq!((report.is_clean(), report.unfinished.queued), (false, 1));
    assert!(matches!(soon(receipt).await, Outcome::Dropped { .. }));
    assert!(matches!(client.publish("t", "x").send(), Err(PublishError::Refused(_))));
}

#[tokio::test]
async fn topics_that_come_again_are_sent_by_their_alias() {
    let house = House::new();
    let aliases = AliasPolicy::Lru { maximum: 16 };
    let client = connect(house.builder("c").aliases(aliases)).await.unwrap();
    let mut inbox = soon(client.subscribe("t/#")).await.unwrap();
    let topic = format!("t/{}", "x".repeat(1_000));
    let before = house.broker().statistics().await.unwrap().0.bytes_received;
    for number in 0..100 {
        drop(client.publish(&topic, &[number]).send().unwrap());
    }
    for number in 0..100 {
        let message = next(&mut inbox).await;
        assert_eq!((&**message.topic(), message.payload()), (&*topic, &[number][..]));
    }
    let sent = house.broker().statistics().await.unwrap().0.bytes_received - before;
    assert!(sent < 5_000, "{sent}");
}
