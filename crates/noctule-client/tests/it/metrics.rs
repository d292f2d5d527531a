//! What is counted and measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use noctule_client::{
    Cause, Client, Counter, Figures, Latency, Metrics, OnFull, QoS, ReconnectSettings, Version,
};

use crate::house::{House, LONG, next, quickly, soon};
use crate::start::{connect, start};

/// Waits until a figure has come to this.
async fn until(figures: &Figures, counter: Counter, count: u64) {
    let reached = async {
        while figures.count(counter) < count {
            tokio::task::yield_now().await;
        }
    };
    soon(reached).await;
    assert_eq!(figures.count(counter), count, "{counter:?}");
}

#[tokio::test]
async fn publications_and_messages_are_counted_and_measured() {
    let house = House::new();
    let figures = Figures::new();
    let client = connect(house.builder("c").metrics(figures.clone())).await.unwrap();
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for _ in 0..10 {
            assert!(soon(client.publish("t", "x").qos(qos).send().unwrap()).await.is_delivered());
            next(&mut inbox).await;
        }
    }
    assert!(client.publish("a/#", "").send().is_err());
    let refused = client.publish("$SYS/x", "").qos(QoS::AtLeastOnce).send().unwrap();
    assert!(!soon(refused).await.is_delivered());
    assert!(soon(client.shutdown(LONG)).await.is_clean());
    let read = figures.snapshot();
    let counts = [
        (Counter::ConnectAttempts, 1),
        (Counter::Connections, 1),
        (Counter::ConnectionsLost(Cause::ByUser), 1),
        (Counter::PublicationsAccepted, 31),
        (Counter::PublicationsRefused, 1),
        (Counter::PublicationsDelivered, 30),
        (Counter::PublicationsRejected, 1),
        (Counter::PublicationsDropped, 0),
        (Counter::PublicationsIndeterminate, 0),
        (Counter::MessagesReceived, 30),
        (Counter::Redeliveries, 0),
        (Counter::Retransmissions, 0),
        // CONNECT, SUBSCRIBE, PUBLISH 31 times, PUBREL, and the same for what has arrived: PUBACK,
        // PUBREC, PUBCOMP; DISCONNECT.
        (Counter::PacketsSent, 1 + 1 + 31 + 10 + 10 + 20 + 1),
        // CONNACK, SUBACK, PUBLISH, PUBREL, PUBACK, PUBREC, PUBCOMP.
        (Counter::PacketsReceived, 1 + 1 + 30 + 10 + 11 + 20),
    ];
    for (counter, count) in counts {
        assert_eq!(read.count(counter), count, "{counter:?}\n{read}");
    }
    let latencies = [
        (Latency::Connect, 1),
        (Latency::Publish(QoS::AtMostOnce), 10),
        (Latency::Publish(QoS::AtLeastOnce), 11),
        (Latency::Publish(QoS::ExactlyOnce), 10),
        (Latency::Subscribe, 1),
        (Latency::Ping, 0),
    ];
    for (latency, count) in latencies {
        let measured = read.latency(latency);
        assert_eq!(measured.count(), count, "{latency:?}");
        let bound = (count > 0).then_some(LONG);
        assert!(measured.longest() <= bound && measured.percentile(50.0) <= bound, "{read}");
    }
}

#[tokio::test]
async fn bytes_and_packets_are_those_that_the_server_sees() {
    let house = House::new();
    let figures = Figures::new();
    let builder = house.builder("c").metrics(figures.clone()).version(Version::V3_1_1);
    let client = connect(builder).await.unwrap();
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    let before = house.broker().statistics().await.unwrap().0;
    let counted = [Counter::BytesSent, Counter::BytesReceived].map(|it| figures.count(it));
    let packets = [Counter::PacketsSent, Counter::PacketsReceived].map(|it| figures.count(it));
    assert_eq!(packets, [2, 2]);
    let payload = vec![7; 300_000];
    for _ in 0..5 {
        drop(client.publish("t", &payload).send().unwrap());
        next(&mut inbox).await;
    }
    let after = house.broker().statistics().await.unwrap().0;
    let moved =
        [after.bytes_received - before.bytes_received, after.bytes_sent - before.bytes_sent];
    let now = [Counter::BytesSent, Counter::BytesReceived].map(|it| figures.count(it));
    assert_eq!([now[0] - counted[0], now[1] - counted[1]], moved);
    let packets = [Counter::PacketsSent, Counter::PacketsReceived].map(|it| figures.count(it));
    assert_eq!(packets, [7, 7], "packets larger than what is read at once");
}

#[tokio::test]
async fn losses_are_counted_by_their_cause() {
    let figures = Figures::new();
    let nobody = Client::builder("mqtt://127.0.0.1:1").metrics(figures.clone());
    let settings = ReconnectSettings { attempts_max: Some(3), ..quickly() };
    let client = start(nobody.reconnect(settings)).unwrap();
    assert!(soon(client.connected()).await.is_err());
    assert_eq!(figures.count(Counter::ConnectAttempts), 3);
    assert_eq!(figures.count(Counter::AttemptsFailed(Cause::NotOpened)), 3);
    assert_eq!(figures.count(Counter::Connections), 0);

    let house = House::new();
    let figures = Figures::new();
    let builder = house.builder("c").metrics(figures.clone()).reconnect(quickly());
    let client = connect(builder).await.unwrap();
    assert!(house.broker().kick("c").await.unwrap());
    until(&figures, Counter::Connections, 2).await;
    assert_eq!(figures.count(Counter::ConnectionsLost(Cause::ByServer)), 1);
    assert_eq!(figures.latency(Latency::Connect).count(), 2);
    // Without a connection, what waits is dropped in the end.
    house.stop().await;
    while client.state().is_connected() {
        tokio::task::yield_now().await;
    }
    let receipt = client.publish("t", "").timeout(Duration::from_millis(20)).send().unwrap();
    assert!(!soon(receipt).await.is_delivered());
    assert_eq!(figures.count(Counter::PublicationsDropped), 1);
    assert_eq!(figures.latency(Latency::Publish(QoS::AtMostOnce)).count(), 0);
}

#[tokio::test]
async fn what_comes_again_or_for_nobody_or_is_dropped_is_counted() {
    let house = House::new();
    let figures = Figures::new();
    let builder = house.builder("c").metrics(figures.clone()).reconnect(quickly());
    let builder = builder.session_expiry(Duration::from_secs(60));
    let client = connect(builder).await.unwrap();
    let mut inbox = soon(client.subscribe("t").manual_acknowledgement(true)).await.unwrap();
    drop(client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap());
    let held = next(&mut inbox).await;
    assert!(house.broker().kick("c").await.unwrap());
    next(&mut inbox).await.acknowledge();
    drop(held);
    assert_eq!(figures.count(Counter::MessagesReceived), 2);
    assert_eq!(figures.count(Counter::Redeliveries), 1);

    let drops = client.subscribe("d").capacity(2).on_full(OnFull::DropAtMostOnce);
    let drops = soon(drops).await.unwrap();
    for _ in 0..5 {
        drop(client.publish("d", "").send().unwrap());
    }
    until(&figures, Counter::MessagesDropped, 3).await;
    assert_eq!(drops.dropped(), 3);
    drop(drops);
    drop(client.publish("d", "").send().unwrap());
    until(&figures, Counter::MessagesUnclaimed, 1).await;
    assert_eq!(figures.count(Counter::MessagesDropped), 3);
}

#[tokio::test]
async fn pings_are_counted_and_their_way_is_measured() {
    let house = House::new();
    let figures = Figures::new();
    let builder = house.builder("c").metrics(figures.clone()).keep_alive(Duration::from_secs(1));
    let client = connect(builder).await.unwrap();
    let measured = async {
        while figures.latency(Latency::Ping).count() == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(measured).await;
    assert_eq!(figures.count(Counter::Pings), 1);
    assert!(client.state().is_connected());
}

/// Asks the client whatever it is told, which nobody could who held the client's lock.
#[derive(Default)]
struct Curious {
    client: OnceLock<Client>,
    told: AtomicU64,
}

impl Curious {
    fn ask(&self) {
        if let Some(client) = self.client.get() {
            assert!(!matches!(client.state(), noctule_client::State::Waiting(_)));
            self.told.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Metrics for Curious {
    fn count(&self, _: Counter, _: u64) {
        self.ask();
    }

    fn latency(&self, _: Latency, _: Duration) {
        self.ask();
    }
}

#[tokio::test]
async fn nothing_is_locked_while_metrics_are_told() {
    let house = House::new();
    let curious = Arc::new(Curious::default());
    let client = connect(house.builder("c").metrics(Arc::clone(&curious))).await.unwrap();
    assert!(curious.client.set(client.clone()).is_ok());
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    for _ in 0..10 {
        drop(client.publish("t", "x").qos(QoS::ExactlyOnce).send().unwrap());
        next(&mut inbox).await;
    }
    assert!(curious.told.load(Ordering::Relaxed) > 50);
}

struct Broken;

impl Metrics for Broken {
    fn count(&self, _: Counter, _: u64) {
        // A panic that nobody writes about.
        std::panic::resume_unwind(Box::new("cannot count"));
    }
}

#[tokio::test]
async fn metrics_that_panic_stop_nothing() {
    let house = House::new();
    let client = connect(house.builder("c").metrics(Broken)).await.unwrap();
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    assert!(soon(receipt).await.is_delivered());
    assert_eq!(next(&mut inbox).await.text(), Some("x"));
    assert!(soon(client.shutdown(LONG)).await.is_clean());
}
