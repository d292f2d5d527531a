//! A client's long times in no time: its runtime's clock stands still, and jumps to the next thing
//! that is due.

use std::time::Duration;

use noctule_client::{
    Backoff, Client, ClientBuilder, DropCause, Jitter, Outcome, QoS, ReconnectSettings,
    RequestError,
};
use noctule_packet::PacketType;
use noctule_packet::ReasonCode::Success;
use noctule_testkit::{Happening, OwnedConnack, TestBroker, bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3_600);

fn builder(broker: &TestBroker) -> ClientBuilder {
    Client::builder(broker.url()).connector(broker.connector()).client_id("c")
}

#[tokio::test(start_paused = true)]
async fn a_client_stays_alive_for_hours() {
    let broker = TestBroker::in_memory();
    let client = builder(&broker).keep_alive(HOUR).connect().await.unwrap();
    let start = Instant::now();
    for _ in 0..24 {
        broker.next_packet(PacketType::Pingreq).within(2 * HOUR).await;
    }
    assert!(start.elapsed() >= 24 * HOUR && start.elapsed() < 25 * HOUR, "{:?}", start.elapsed());
    assert!(client.state().is_connected());
    assert_eq!(broker.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_pings_is_left() {
    let broker = TestBroker::in_memory();
    broker.on_packet(PacketType::Pingreq).first().ignore();
    let client = builder(&broker).keep_alive(HOUR).ping_timeout(HOUR / 60);
    let client = client.connect().await.unwrap();
    let start = Instant::now();
    broker.next_close().within(2 * HOUR).await;
    let minutes = start.elapsed().as_secs() / 60;
    assert_eq!(minutes, 61);
    broker.next_connect().now().unwrap();
    broker.next_connect().await;
    client.connected().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn reconnecting_takes_longer_each_time() {
    let broker = TestBroker::in_memory();
    let backoff = Backoff { base: Duration::from_secs(60), maximum: HOUR, ..Backoff::default() };
    let backoff = Backoff { jitter: Jitter::None, ..backoff };
    let reconnect = ReconnectSettings { backoff, ..ReconnectSettings::default() };
    for number in 2..=4 {
        broker.on_connect().nth(number).reset();
    }
    let client = builder(&broker).reconnect(reconnect).connect().await.unwrap();
    broker.reset_all();
    let mut waits = Vec::new();
    for number in 2..=5 {
        let start = Instant::now();
        let opened = broker.wait_for("another connection", move |received| {
            (received.connection == number && received.what == Happening::Opened).then_some(())
        });
        opened.within(HOUR).await;
        waits.push(start.elapsed().as_secs());
    }
    assert_eq!(waits, [60, 120, 240, 480]);
    client.connected().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_expires_while_there_is_no_connection() {
    let broker = TestBroker::in_memory();
    broker.refuse_connections(true);
    let client = builder(&broker).start().unwrap();
    let publish = client.publish("t", "x").qos(QoS::AtLeastOnce).expires_after(HOUR);
    let start = Instant::now();
    let outcome = publish.send().unwrap().await;
    assert_eq!(outcome, Outcome::Dropped { why: DropCause::Expired });
    assert_eq!(start.elapsed().as_secs(), HOUR.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_request_is_given_up() {
    let broker = TestBroker::in_memory();
    let client = builder(&broker).connect().await.unwrap();
    let start = Instant::now();
    let error = client.request("rpc", "question").timeout(HOUR).await.unwrap_err();
    assert!(matches!(error, RequestError::TimedOut(_)), "{error}");
    assert_eq!(start.elapsed().as_secs(), HOUR.as_secs());
}

/// A client that says nothing is left after one and a half times its keep alive, and its will is
/// published; what it says on the way counts.
#[tokio::test(start_paused = true)]
async fn a_silent_client_is_disconnected() {
    let broker = TestBroker::in_memory();
    let mut watcher = builder(&broker).connect().await.unwrap().subscribe("gone").await.unwrap();
    let mut silent = broker.connect().unwrap();
    // CONNECT with a keep alive of a minute and a will, and PINGREQ a minute later.
    let connect = bytes("10 1d 0004 'MQTT' 05 06 003c 00 0006 'silent' 00 0004 'gone' 0001 'x'");
    silent.write_all(&connect).await.unwrap();
    let start = Instant::now();
    tokio::time::sleep(HOUR / 60).await;
    silent.write_all(&bytes("c0 00")).await.unwrap();
    let mut said = Vec::new();
    silent.read_to_end(&mut said).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 60 + 90);
    assert!(said.ends_with(&bytes("e0 01 8d")), "{said:x?}");
    assert_eq!(watcher.recv().await.unwrap().text(), Some("x"));
}

/// A broker that imposes no keep alive lets clients be silent.
#[tokio::test(start_paused = true)]
async fn a_client_may_be_silent_if_the_broker_says_so() {
    let broker = TestBroker::in_memory();
    let connack = OwnedConnack { server_keep_alive: Some(0), ..OwnedConnack::new(Success) };
    broker.accept_with(connack);
    let client = builder(&broker).keep_alive(HOUR / 60).connect().await.unwrap();
    tokio::time::sleep(24 * HOUR).await;
    assert!(client.state().is_connected() && broker.connections() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_expires() {
    for (hours, is_there) in [(1, true), (3, false)] {
        let broker = TestBroker::in_memory();
        let backoff = Backoff { base: HOUR * hours, jitter: Jitter::None, ..Backoff::default() };
        let backoff = Backoff { maximum: HOUR * hours, ..backoff };
        let reconnect = ReconnectSettings { backoff, ..ReconnectSettings::default() };
        let client = builder(&broker).session_expiry(2 * HOUR).reconnect(reconnect);
        let client = client.connect().await.unwrap();
        let subscription = client.subscribe("t").await.unwrap();
        broker.next_connect().await;
        broker.reset_all();
        broker.next_connect().within(4 * HOUR).await;
        let negotiated = client.connected().await.unwrap();
        assert_eq!(negotiated.session_present, is_there, "after {hours} h");
        drop(subscription);
    }
}
