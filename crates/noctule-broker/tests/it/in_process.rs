//! The host program as a client of its own broker.

use std::time::Duration;

use noctule_broker::{
    Broker, Features, Limits, Publication, PublishError, QoS, ReasonCode, Received, RetainHandling,
    SubscribeError, SubscriptionRequest,
};
use noctule_testkit::{OwnedPublish, Peer};

use crate::{DEADLINE, next, start, start_default, wait};

const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn the_host_publishes_to_clients_at_every_qos() {
    let (broker, address) = start_default();
    let mut peer = Peer::v5(address, "a");
    peer.subscribe(&[("t", QoS::ExactlyOnce)]);
    for qos in ALL_QOS {
        broker.publish_blocking(Publication::new("t", "hello").qos(qos)).unwrap();
        let received = peer.receive();
        assert_eq!((received.qos, received.text()), (qos, "hello"));
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn clients_publish_to_the_host_at_every_qos() {
    let (broker, address) = start_default();
    let mut subscription = broker.subscribe_blocking("t/#").unwrap();
    let mut peer = Peer::v311(address, "a");
    for qos in ALL_QOS {
        peer.publish("t/x", "hello", qos);
        let received = next(&mut subscription).unwrap();
        assert_eq!(received.topic, "t/x");
        assert_eq!((received.qos, received.text()), (qos, Some("hello")));
    }
    broker.stop_blocking(DEADLINE).unwrap();
    assert_eq!(next(&mut subscription), None);
}

#[test]
fn properties_travel_both_ways() {
    let (broker, address) = start_default();
    let mut subscription = broker.subscribe_blocking("t").unwrap();
    let mut peer = Peer::v5(address, "a");
    peer.subscribe(&[("t", QoS::AtMostOnce)]);
    let publication = Publication::new("t", "{}")
        .content_type("application/json")
        .response_topic("answers/1")
        .correlation_data(*b"\x00\x01")
        .message_expiry(Duration::from_secs(60))
        .payload_is_utf8()
        .user_property("a", "1")
        .user_property("a", "2");
    broker.publish_blocking(publication).unwrap();
    let expected_user = [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];

    let received: Received = next(&mut subscription).unwrap();
    assert_eq!(received.content_type.as_deref(), Some("application/json"));
    assert_eq!(received.response_topic.as_deref(), Some("answers/1"));
    assert_eq!(received.correlation_data.as_deref(), Some(&b"\x00\x01"[..]));
    assert_eq!(received.message_expiry, Some(Duration::from_secs(60)));
    assert_eq!(received.user_properties, expected_user);
    assert!(received.payload_is_utf8);

    let received: OwnedPublish = peer.receive();
    assert_eq!(received.content_type.as_deref(), Some("application/json"));
    assert_eq!(received.user_properties, expected_user);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn many_publications_of_many_threads_all_arrive_in_order() {
    const THREADS: usize = 4;
    const MESSAGES: usize = 2_000;
    let (broker, _) = start_default();
    let request = SubscriptionRequest::new("t/#").mailbox_messages_max(8);
    let mut subscription = broker.subscribe_blocking(request).unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let broker = broker.clone();
            std::thread::spawn(move || {
                for number in 0..MESSAGES {
                    let publication = Publication::new(format!("t/{thread}"), number.to_string());
                    broker.publish_blocking(publication.qos(QoS::AtLeastOnce)).unwrap();
                }
            })
        })
        .collect();
    let mut expected = [0; THREADS];
    for _ in 0..THREADS * MESSAGES {
        let message = next(&mut subscription).unwrap();
        let thread: usize = message.topic["t/".len()..].parse().unwrap();
        assert_eq!(message.text().unwrap(), expected[thread].to_string());
        expected[thread] += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_full_mailbox_holds_messages_back_without_losing_them() {
    let (broker, address) = start_default();
    let request = SubscriptionRequest::new("t").mailbox_messages_max(2);
    let mut subscription = broker.subscribe_blocking(request).unwrap();
    let mut peer = Peer::v5(address, "a");
    for round in 0..3 {
        for number in 0..20 {
            // QoS 0 does not wait in the queue, so its order to the others is not promised.
            let qos = ALL_QOS[1 + number % 2];
            peer.publish("t", format!("{round}/{number}"), qos);
        }
        for number in 0..20 {
            let message = next(&mut subscription).unwrap();
            assert_eq!(message.text(), Some(format!("{round}/{number}").as_str()));
        }
        assert_eq!(subscription.try_next(), None);
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn retained_messages_reach_a_new_subscription() {
    let (broker, address) = start_default();
    broker.publish_blocking(Publication::new("state", "on").retain(true)).unwrap();
    let message = next(&mut broker.subscribe_blocking("state").unwrap()).unwrap();
    assert_eq!((message.text(), message.retain), (Some("on"), true));

    let request = SubscriptionRequest::new("state").retain_handling(RetainHandling::DoNotSend);
    let mut subscription = broker.subscribe_blocking(request).unwrap();
    Peer::v5(address, "a").publish("state", "off", QoS::AtLeastOnce);
    let message = next(&mut subscription).unwrap();
    assert_eq!((message.text(), message.retain), (Some("off"), false));
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_dropped_subscription_is_over() {
    let (broker, _) = start_default();
    let subscription = broker.subscribe_blocking(["a", "b"]).unwrap();
    assert_eq!(wait(broker.clients()).unwrap().len(), 1);
    drop(subscription);
    // A publication passes through the same thread behind the end of the subscription.
    broker.publish_blocking(Publication::new("t", "").qos(QoS::AtLeastOnce)).unwrap();
    let clients = wait(broker.clients()).unwrap();
    assert_eq!(clients.len(), 1, "{clients:?}");
    assert_eq!(clients[0].subscriptions, 0);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn what_cannot_be_published_is_refused_with_its_reason() {
    let (broker, _) = start_default();
    for topic in ["", "a/#", "a/+/b", "a\0b"] {
        let error = broker.publish_blocking(Publication::new(topic, "")).unwrap_err();
        assert_eq!(error, PublishError::InvalidTopic { topic: topic.to_owned() });
    }
    let long = Publication::new("t", "").content_type("x".repeat(70_000));
    assert_eq!(broker.publish_blocking(long).unwrap_err(), PublishError::FieldTooLong);
    let system = Publication::new("$SYS/broker/version", "9").qos(QoS::AtLeastOnce);
    let error = broker.publish_blocking(system).unwrap_err();
    assert!(matches!(error, PublishError::Refused(_)), "{error:?}");
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn the_host_keeps_the_limits_of_its_broker() {
    let mut limits = Limits::default();
    limits.maximum_packet_size = 1_000;
    let mut features = Features::default();
    features.maximum_qos = QoS::AtLeastOnce;
    features.retain_available = false;
    let (broker, _) = start(Broker::builder().limits(limits).features(features));
    let error = broker.publish_blocking(Publication::new("t", vec![0; 2_000])).unwrap_err();
    assert!(matches!(error, PublishError::PacketTooLarge { maximum: 1_000, .. }), "{error:?}");
    let publication = Publication::new("t", "").qos(QoS::ExactlyOnce);
    let error = broker.publish_blocking(publication).unwrap_err();
    assert!(matches!(error, PublishError::QosNotSupported { .. }), "{error:?}");
    let error = broker.publish_blocking(Publication::new("t", "").retain(true)).unwrap_err();
    assert_eq!(error, PublishError::RetainNotSupported);
    broker.publish_blocking(Publication::new("t", "").qos(QoS::AtLeastOnce)).unwrap();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_refused_subscription_says_which_filter() {
    let mut features = Features::default();
    features.wildcard_subscription_available = false;
    let (broker, _) = start(Broker::builder().features(features));
    let error = broker.subscribe_blocking(["a", "b/#"]).unwrap_err();
    let reason = ReasonCode::WildcardSubscriptionsNotSupported;
    let filter = "b/#".to_owned();
    assert!(
        error == SubscribeError::Refused { filter, reason }
            || error == SubscribeError::Disconnected(reason),
        "{error:?}"
    );
    let error = broker.subscribe_blocking("a/#/b").unwrap_err();
    assert_eq!(error, SubscribeError::InvalidFilter { filter: "a/#/b".to_owned() });
    let none: [&str; 0] = [];
    assert_eq!(broker.subscribe_blocking(none).unwrap_err(), SubscribeError::NoFilter);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn the_host_survives_being_kicked() {
    let (broker, _) = start_default();
    broker.publish_blocking(Publication::new("t", "1").qos(QoS::AtLeastOnce)).unwrap();
    let mut subscription = broker.subscribe_blocking("t").unwrap();
    for client in wait(broker.clients()).unwrap() {
        assert!(client.client_id.starts_with("$host-"), "{client:?}");
        assert!(wait(broker.kick(&client.client_id)).unwrap());
    }
    assert_eq!(next(&mut subscription), None);
    broker.publish_blocking(Publication::new("t", "2").qos(QoS::AtLeastOnce)).unwrap();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_broker_that_demands_keep_alive_keeps_the_host() {
    let mut limits = Limits::default();
    limits.keep_alive_max_seconds = 1;
    let (broker, address) = start(Broker::builder().limits(limits));
    let mut subscription = broker.subscribe_blocking("t").unwrap();
    // Two clients that say nothing, one after the other, are given up on in the meantime.
    for name in ["first", "second"] {
        Peer::v5(address, name).expect_disconnect(ReasonCode::KeepAliveTimeout);
    }
    broker.publish_blocking(Publication::new("t", "x").qos(QoS::AtLeastOnce)).unwrap();
    assert_eq!(next(&mut subscription).unwrap().text(), Some("x"));
    broker.stop_blocking(DEADLINE).unwrap();
}
