//! What is published reaches whoever subscribed, and nobody else.

use crate::Cases;
use crate::peer::{Peer, Version, unique};

const SIZES: [usize; 6] = [0, 1, 127, 128, 16 * 1024, 1024 * 1024];

pub(crate) fn cases(version: Version, cases: &mut Cases) {
    for publish_qos in 0..=2 {
        for subscribe_qos in 0..=2 {
            let body = effective_qos(version, publish_qos, subscribe_qos);
            cases.add(version, format!("qos-{publish_qos}-{subscribe_qos}"), body);
        }
    }
    for qos in 0..=2 {
        cases.add(version, format!("order-{qos}"), order(version, qos));
        cases.add(version, format!("retained-{qos}"), retained(version, qos));
        cases.add(version, format!("shared-{qos}"), shared(version, qos));
    }
    for size in SIZES {
        cases.add(version, format!("payload-{size}"), payload(version, size));
    }
    cases.add(version, "filters", filters(version));
    cases.add(version, "unsubscribe", unsubscribe(version));
}

async fn effective_qos(version: Version, publish_qos: u8, subscribe_qos: u8) {
    let topic = unique("qos/");
    let mut peer = Peer::new(version).await;
    assert_eq!(peer.subscribe(&topic, subscribe_qos).await, [subscribe_qos]);
    Peer::new(version).await.publish(&topic, b"payload", publish_qos, false).await;
    let message = peer.take().await;
    assert_eq!(message.qos, publish_qos.min(subscribe_qos));
    assert_eq!((message.topic.as_str(), message.text().as_str()), (topic.as_str(), "payload"));
    assert!(!message.retain && !message.dup);
}

async fn order(version: Version, qos: u8) {
    let topic = unique("order/");
    let (mut peer, mut publisher) = (Peer::new(version).await, Peer::new(version).await);
    peer.subscribe(&topic, qos).await;
    for number in 0..200 {
        publisher.send(&topic, number.to_string().as_bytes(), qos, false).await;
    }
    publisher.published(200, qos).await;
    for number in 0..200 {
        assert_eq!(peer.take().await.text(), number.to_string());
    }
}

async fn payload(version: Version, size: usize) {
    let topic = unique("size/");
    let (mut peer, mut publisher) = (Peer::new(version).await, Peer::new(version).await);
    peer.subscribe(&topic, 2).await;
    let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    for qos in 0..=2 {
        publisher.publish(&topic, &payload, qos, false).await;
        assert!(peer.take().await.payload == payload, "{size} bytes at QoS {qos} changed");
    }
}

async fn filters(version: Version) {
    let base = unique("filters/");
    let mut publisher = Peer::new(version).await;
    let table: [(&str, &[&str]); 4] = [
        ("a/b", &["a/b"]),
        ("a/+", &["a/b", "a/"]),
        ("a/#", &["a", "a/b", "a/b/c", "a/"]),
        ("+/b", &["a/b"]),
    ];
    for (filter, expected) in table {
        let mut peer = Peer::new(version).await;
        peer.subscribe(&format!("{base}/{filter}"), 1).await;
        peer.subscribe(&format!("{base}/the/end"), 1).await;
        for topic in ["a", "a/b", "a/b/c", "a/", "ab"] {
            publisher.publish(&format!("{base}/{topic}"), topic.as_bytes(), 1, false).await;
        }
        publisher.publish(&format!("{base}/the/end"), b"end", 1, false).await;
        assert_eq!(peer.until("end").await, expected, "{filter}");
    }
}

async fn unsubscribe(version: Version) {
    let (topic, end) = (unique("unsubscribe/"), unique("end/"));
    let (mut peer, mut publisher) = (Peer::new(version).await, Peer::new(version).await);
    peer.subscribe(&topic, 1).await;
    peer.subscribe(&end, 1).await;
    peer.unsubscribe(&topic).await;
    publisher.publish(&topic, b"after", 1, false).await;
    publisher.publish(&end, b"end", 1, false).await;
    assert!(peer.until("end").await.is_empty());
}

/// Returns when the broker has dealt with all that the connection sent, QoS 0 included.
async fn barrier(publisher: &mut Peer) {
    publisher.publish(&unique("barrier/"), b"", 1, false).await;
}

async fn retained(version: Version, qos: u8) {
    let base = unique("retained/");
    let topic = format!("{base}/a/b");
    let mut publisher = Peer::new(version).await;
    publisher.publish(&topic, b"old", qos, true).await;
    publisher.publish(&topic, b"kept", qos, true).await;
    barrier(&mut publisher).await;
    for filter in [topic.clone(), format!("{base}/+/b"), format!("{base}/#")] {
        let mut late = Peer::new(version).await;
        late.subscribe(&filter, 2).await;
        let message = late.take().await;
        assert_eq!((message.text().as_str(), message.qos), ("kept", qos));
        assert!(message.retain);
        publisher.publish(&topic, b"live", 1, false).await;
        assert!(!late.take().await.retain);
    }
    publisher.publish(&topic, b"", qos, true).await;
    barrier(&mut publisher).await;
    let mut late = Peer::new(version).await;
    late.subscribe(&format!("{base}/#"), 2).await;
    publisher.publish(&topic, b"end", 1, false).await;
    assert!(late.until("end").await.is_empty());
}

async fn shared(version: Version, qos: u8) {
    let topic = unique("shared/");
    let mut members = [Peer::new(version).await, Peer::new(version).await];
    for (number, member) in members.iter_mut().enumerate() {
        member.subscribe(&format!("$share/group/{topic}"), qos).await;
        member.subscribe(&format!("{topic}/end{number}"), qos).await;
    }
    let mut publisher = Peer::new(version).await;
    for number in 0..100 {
        publisher.send(&topic, number.to_string().as_bytes(), qos, false).await;
    }
    publisher.published(100, qos).await;
    for number in 0..members.len() {
        publisher.publish(&format!("{topic}/end{number}"), b"end", qos, false).await;
    }
    // What comes through the group and what does not have no order among each other.
    let [first, second] = &mut members;
    let mut received = Vec::new();
    for _ in 0..102 {
        let message = tokio::select! {
            message = first.take() => message,
            message = second.take() => message,
        };
        received.push(message.text());
    }
    received.sort_unstable();
    let mut expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    expected.extend(["end".to_owned(), "end".to_owned()]);
    expected.sort_unstable();
    assert_eq!(received, expected);
}
