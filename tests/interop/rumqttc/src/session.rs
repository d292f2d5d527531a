//! Sessions, take-over and wills.

use crate::Cases;
use crate::peer::{Peer, Setup, Version, unique};

pub(crate) fn cases(version: Version, cases: &mut Cases) {
    for qos in 1..=2 {
        cases.add(version, format!("resume-{qos}"), resume(version, qos));
    }
    for qos in 0..=2 {
        for retain in [false, true] {
            let body = will_on_cut(version, qos, retain);
            cases.add(version, format!("will on a cut connection-{qos}-{retain}"), body);
        }
    }
    cases.add(version, "clean start drops the session", clean_start(version));
    cases.add(version, "take-over", take_over(version));
    cases.add(version, "no will after DISCONNECT", no_will(version));
}

/// Connects with a session that outlives its connection.
pub(crate) async fn stored(version: Version, client_id: &str) -> Peer {
    let client_id = Some(client_id.to_owned());
    Peer::connect(version, Setup { client_id, expiry: Some(60), ..Setup::default() }).await
}

async fn resume(version: Version, qos: u8) {
    let (id, topic) = (unique("resume"), unique("resume/"));
    let mut peer = stored(version, &id).await;
    assert!(!peer.session_present, "session present for a new session");
    peer.subscribe(&topic, qos).await;
    peer.disconnect().await;
    let mut publisher = Peer::new(version).await;
    for number in 0..50 {
        publisher.publish(&topic, number.to_string().as_bytes(), qos, false).await;
    }
    let mut peer = stored(version, &id).await;
    assert!(peer.session_present, "session present is not set");
    for number in 0..50 {
        let message = peer.take().await;
        assert_eq!((message.text(), message.qos), (number.to_string(), qos));
    }
}

async fn clean_start(version: Version) {
    let (id, topic, end) = (unique("clean"), unique("clean/"), unique("end/"));
    let mut peer = stored(version, &id).await;
    peer.subscribe(&topic, 1).await;
    peer.disconnect().await;
    let mut publisher = Peer::new(version).await;
    publisher.publish(&topic, b"lost", 1, false).await;
    let setup = Setup { client_id: Some(id.clone()), ..Setup::default() };
    let mut peer = Peer::connect(version, setup).await;
    assert!(!peer.session_present, "session present after a clean start");
    peer.subscribe(&end, 1).await;
    publisher.publish(&end, b"end", 1, false).await;
    assert!(peer.until("end").await.is_empty());
}

async fn take_over(version: Version) {
    let (id, topic) = (unique("take"), unique("take/"));
    let mut first = stored(version, &id).await;
    let mut second = stored(version, &id).await;
    let reason = first.ended().await;
    if version == Version::V50 {
        assert!(reason.contains("SessionTakenOver"), "{reason}");
    }
    second.subscribe(&topic, 1).await;
    second.publish(&topic, b"to the second", 1, false).await;
    assert_eq!(second.take().await.text(), "to the second");
}

async fn with_will(version: Version, topic: &str, qos: u8, retain: bool, id: &str) -> Peer {
    let will = Some((topic.to_owned(), qos, retain));
    Peer::connect(version, Setup { client_id: Some(id.into()), will, ..Setup::default() }).await
}

async fn will_on_cut(version: Version, qos: u8, retain: bool) {
    let topic = unique("will/");
    let mut watching = Peer::new(version).await;
    watching.subscribe(&topic, 2).await;
    with_will(version, &topic, qos, retain, &unique("dying")).await.cut().await;
    let message = watching.take().await;
    assert_eq!((message.text().as_str(), message.qos, message.retain), ("will", qos, false));
    let mut late = Peer::new(version).await;
    late.subscribe(&topic, 2).await;
    watching.publish(&topic, b"end", 1, false).await;
    let expected: &[&str] = if retain { &["will"] } else { &[] };
    assert_eq!(late.until("end").await, expected, "retained");
    watching.publish(&topic, b"", 1, true).await;
}

async fn no_will(version: Version) {
    let (id, topic) = (unique("leaving"), unique("will/"));
    let mut watching = Peer::new(version).await;
    watching.subscribe(&topic, 2).await;
    with_will(version, &topic, 1, false, &id).await.disconnect().await;
    // The identifier connects again: the broker is done with the first connection.
    let again = Setup { client_id: Some(id), ..Setup::default() };
    Peer::connect(version, again).await.publish(&topic, b"end", 1, false).await;
    assert!(watching.until("end").await.is_empty());
}
