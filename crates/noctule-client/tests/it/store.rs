//! Sessions on disk: what was accepted goes on in the next process.

use std::path::PathBuf;
use std::time::Duration;

use noctule_client::{
    Client, ClientBuildError, ClientBuilder, ClientEvent, Doubt, DropCause, Outcome, QoS,
    ReasonCode, ReconnectSettings, StoreError,
};

use crate::house::{House, next, soon};
use crate::start::{connect, start};

/// A directory that goes when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("noctule-client-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn durable(url: String, folder: &Folder) -> ClientBuilder {
    Client::builder(url)
        .client_id("durable")
        .session_expiry(Duration::from_secs(3_600))
        .reconnect(ReconnectSettings::default())
        .store(&folder.0)
}

/// A URL where nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it listens");
    format!("mqtt://{address}")
}

/// P-19 and P-21: the store is there for what another process has accepted.
#[tokio::test]
async fn what_was_published_offline_is_delivered_by_the_next_process() {
    let folder = Folder::new("offline");
    let client = start(durable(nowhere(), &folder)).expect("it starts");
    let mut receipts = Vec::new();
    for number in 0..100 {
        let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let publish = client.publish("numbers", &format!("{number}")).qos(qos).send();
        receipts.push(publish.expect("there is room"));
    }
    let last = receipts.last().expect("there are some");
    soon(last.stored()).await.expect("there is a disk");
    let report = soon(client.shutdown(Duration::ZERO)).await;
    assert!(report.unfinished.are_stored && report.unfinished.queued == 100, "{report:?}");
    for receipt in receipts {
        let outcome = soon(receipt).await;
        assert_eq!(outcome, Outcome::Indeterminate { why: Doubt::Stored });
    }

    let house = House::new();
    let listener = house.client("listener").await;
    let mut numbers = soon(listener.subscribe("numbers").qos(QoS::ExactlyOnce)).await.expect("it");
    let client = connect(durable(house.url(), &folder)).await.expect("a connection");
    for number in 0..100 {
        assert_eq!(next(&mut numbers).await.text(), Some(&*format!("{number}")));
    }
    soon(client.idle()).await;
    let report = soon(client.shutdown(Duration::from_secs(5))).await;
    assert!(report.is_clean(), "{report:?}");

    // And not once more.
    let client = connect(durable(house.url(), &folder)).await.expect("a connection");
    assert_eq!(client.store_summary().map(|summary| summary.is_clean()), Some(true));
    let receipt = client.publish("numbers", "end").qos(QoS::AtLeastOnce).send().expect("room");
    assert!(soon(receipt).await.is_delivered());
    assert_eq!(next(&mut numbers).await.text(), Some("end"));
    house.stop().await;
}

/// P-21: an outcome reaches the process that goes on, whenever it asks.
#[tokio::test]
async fn what_an_earlier_process_has_published_has_receipts_in_the_next_one() {
    for is_late in [false, true] {
        let folder = Folder::new("restored");
        let client = start(durable(nowhere(), &folder)).expect("it starts");
        assert!(client.restored().is_empty());
        let published =
            [("a", QoS::AtLeastOnce), ("$SYS/b", QoS::AtLeastOnce), ("c", QoS::ExactlyOnce)];
        for (topic, qos) in published {
            let receipt = client.publish(topic, "x").qos(qos).send().expect("there is room");
            soon(receipt.stored()).await.expect("there is a disk");
        }
        soon(client.shutdown(Duration::ZERO)).await;
        drop(client);

        let house = House::new();
        let client = start(durable(house.url(), &folder)).expect("it starts");
        if is_late {
            soon(client.idle()).await;
        }
        let restored = client.restored();
        let mut events = client.events();
        let named: Vec<_> = restored.iter().map(|it| (&*it.topic, it.qos)).collect();
        assert_eq!(named, published);
        assert!(client.restored().is_empty(), "each is handed out once");
        let mut outcomes = Vec::new();
        for it in restored {
            outcomes.push(soon(it.receipt).await);
        }
        let [a, b, c] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert!(a.is_delivered() && c.is_delivered(), "{outcomes:?}");
        assert!(matches!(b, Outcome::Rejected { reason: ReasonCode::NotAuthorized, .. }), "{b}");
        soon(client.shutdown(Duration::from_secs(5))).await;
        // The receipt has said it.
        while let Some(event) = soon(events.recv()).await {
            assert!(!matches!(event, ClientEvent::Undelivered { .. }), "{event:?}");
        }
        // Nothing is left for a third.
        let client = start(durable(house.url(), &folder)).expect("it starts");
        assert!(client.restored().is_empty());
        soon(client.shutdown(Duration::from_secs(5))).await;
        house.stop().await;
    }
}

#[tokio::test]
async fn the_receipt_of_an_earlier_process_s_message_tells_that_it_grew_too_old() {
    let folder = Folder::new("aged");
    let client = start(durable(nowhere(), &folder)).expect("it starts");
    let publish = client.publish("old", "x").qos(QoS::AtLeastOnce).age_max(Duration::from_secs(2));
    soon(publish.send().expect("there is room").stored()).await.expect("there is a disk");
    soon(client.shutdown(Duration::ZERO)).await;
    drop(client);

    let client = start(durable(nowhere(), &folder)).expect("it starts");
    let mut restored = client.restored();
    let old = restored.pop().expect("it was stored");
    assert!(restored.is_empty() && &*old.topic == "old");
    assert_eq!(soon(old.receipt).await, Outcome::Dropped { why: DropCause::Expired });
    soon(client.shutdown(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_directory_belongs_to_one_client_at_a_time() {
    let folder = Folder::new("locked");
    let client = start(durable(nowhere(), &folder)).expect("it starts");
    let error = start(durable(nowhere(), &folder)).expect_err("it is in use");
    assert!(matches!(error, ClientBuildError::Store(StoreError::Locked { .. })), "{error}");
    soon(client.shutdown(Duration::ZERO)).await;
    // Free as soon as the client has ended.
    let client = start(durable(nowhere(), &folder)).expect("it starts");
    soon(client.shutdown(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_session_is_not_taken_over_under_another_name() {
    let folder = Folder::new("name");
    let house = House::new();
    let client = connect(durable(house.url(), &folder)).await.expect("a connection");
    soon(client.shutdown(Duration::ZERO)).await;
    let other = durable(house.url(), &folder).client_id("other");
    let error = start(other).expect_err("it is another one's");
    assert!(matches!(error, ClientBuildError::StoreOfAnother { .. }), "{error}");
    house.stop().await;
}

#[tokio::test]
async fn a_subscription_is_there_again_without_being_asked_for() {
    let folder = Folder::new("subscription");
    let house = House::new();
    let client = connect(durable(house.url(), &folder)).await.expect("a connection");
    let stream = soon(client.subscribe("news").qos(QoS::ExactlyOnce)).await.expect("granted");
    soon(client.shutdown(Duration::ZERO)).await;
    drop(stream);

    let publisher = house.client("publisher").await;
    let receipt = publisher.publish("news", "late").qos(QoS::ExactlyOnce).send().expect("room");
    assert!(soon(receipt).await.is_delivered());
    let client = start(durable(house.url(), &folder)).expect("it starts");
    let mut rest = client.unclaimed();
    assert_eq!(next(&mut rest).await.text(), Some("late"));
    soon(client.shutdown(Duration::from_secs(5))).await;
    house.stop().await;
}

#[tokio::test]
async fn what_comes_before_the_program_subscribes_waits_for_it() {
    let folder = Folder::new("before");
    let house = House::new();
    let client = connect(durable(house.url(), &folder)).await.expect("a connection");
    let stream = soon(client.subscribe("news").qos(QoS::AtLeastOnce)).await.expect("granted");
    soon(client.shutdown(Duration::ZERO)).await;
    drop(stream);
    let publisher = house.client("publisher").await;
    let receipt = publisher.publish("news", "late").qos(QoS::AtLeastOnce).send().expect("room");
    assert!(soon(receipt).await.is_delivered());

    let client = connect(durable(house.url(), &folder)).await.expect("a connection");
    // The answer to this comes behind the message.
    let receipt = client.publish("other", "").qos(QoS::AtLeastOnce).send().expect("room");
    assert!(soon(receipt).await.is_delivered());
    let mut news = soon(client.subscribe("news").qos(QoS::AtLeastOnce)).await.expect("granted");
    assert_eq!(next(&mut news).await.text(), Some("late"));
    soon(client.shutdown(Duration::from_secs(5))).await;
    house.stop().await;
}

#[tokio::test]
async fn a_store_does_not_grow_with_the_processes_that_have_used_it() {
    let folder = Folder::new("processes");
    let house = House::new();
    for _ in 0..30 {
        let client = connect(durable(house.url(), &folder)).await.expect("a connection");
        let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().expect("room");
        assert!(soon(receipt).await.is_delivered());
        soon(client.shutdown(Duration::from_secs(5))).await;
        assert!(std::fs::read_dir(&folder.0).expect("it is there").count() < 12);
    }
    house.stop().await;
}
