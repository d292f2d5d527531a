//! Brokers in memory: no sockets, and time that the test has stopped.

use std::time::Duration;

use noctule_client::{Client, QoS, ReasonCode};
use noctule_packet::PacketType;
use noctule_testkit::{
    MemoryStream, OwnedPacket, OwnedPublish, TestBroker, VERSIONS, bytes, packet_bytes,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// A connection that was accepted.
async fn accepted(broker: &TestBroker) -> MemoryStream {
    let mut stream = broker.connect().unwrap();
    let connect = packet_bytes(0x10, "s'MQTT' 05 02 0000 00 s'c'");
    stream.write_all(&connect).await.unwrap();
    expect(&mut stream, "20 03 00 00 00").await;
    stream
}

async fn expect(stream: &mut MemoryStream, notation: &str) {
    let expected = bytes(notation);
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_client_is_served_without_a_socket() {
    for version in VERSIONS {
        let broker = TestBroker::in_memory();
        let client = Client::builder(broker.url()).connector(broker.connector());
        let client = client.client_id("c").version(version);
        let client = client.connect().await.unwrap();
        let mut inbox = client.subscribe("t").await.unwrap();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let receipt = client.publish("t", "x").qos(qos).send().unwrap();
            assert!(receipt.await.is_delivered());
            assert_eq!(inbox.recv().await.unwrap().qos(), qos);
        }
        assert_eq!(broker.next_publish("#").await.text(), "x");
        assert!(client.shutdown(Duration::from_secs(5)).await.is_clean());
        assert_eq!(broker.next_close().await, 1);
    }
}

#[tokio::test]
async fn a_megabyte_passes() {
    let broker = TestBroker::in_memory();
    let client = Client::builder(broker.url()).connector(broker.connector());
    let client = client.connect().await.unwrap();
    let mut inbox = client.subscribe("t").await.unwrap();
    let payload = vec![7; 1 << 20];
    drop(client.publish("t", &payload).send().unwrap());
    assert_eq!(inbox.recv().await.unwrap().payload(), payload);
}

#[tokio::test(start_paused = true)]
async fn an_hour_is_over_at_once() {
    let broker = TestBroker::in_memory();
    broker.on_packet(PacketType::Pingreq).delay(Duration::from_secs(3_600));
    let mut stream = accepted(&broker).await;
    let (start, really) = (Instant::now(), std::time::Instant::now());
    stream.write_all(&bytes("c0 00")).await.unwrap();
    expect(&mut stream, "d0 00").await;
    assert!(start.elapsed() >= Duration::from_secs(3_600));
    assert!(really.elapsed() < Duration::from_secs(60));
    let last = broker.received().pop().unwrap();
    assert_eq!(last.packet(), Some(&OwnedPacket::Pingreq));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_fails_in_the_runtime_s_time() {
    let broker = TestBroker::in_memory();
    let really = std::time::Instant::now();
    let late =
        tokio::spawn(
            async move { broker.next_publish("t").within(Duration::from_secs(86_400)).await },
        );
    let panic = late.await.unwrap_err().into_panic();
    let message = panic.downcast::<String>().unwrap();
    assert!(message.contains("PUBLISH to \"t\"") && message.contains("memory.rs"), "{message}");
    assert!(really.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn messages_expire_while_nobody_fetches_them() {
    let broker = TestBroker::in_memory();
    for (topic, lifetime) in [("short", 60), ("just", 3_600), ("long", 7_200)] {
        let publish = OwnedPublish::new(topic, "x", QoS::AtMostOnce).retain(true);
        broker.publish(&publish.message_expiry_interval(lifetime));
    }
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!((broker.retained("short"), broker.retained("just")), (None, None));
    let left = broker.retained("long").unwrap().message_expiry_interval;
    assert_eq!(left, Some(3_600));
}

#[tokio::test]
async fn connections_end_as_the_test_says() {
    let broker = TestBroker::in_memory();
    let mut stream = accepted(&broker).await;
    broker.disconnect_all(ReasonCode::ServerShuttingDown);
    expect(&mut stream, "e0 01 8b").await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    let mut stream = accepted(&broker).await;
    broker.reset_all();
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(stream.write_all(&[0]).await.is_err());
    broker.refuse_connections(true);
    assert!(broker.connect().is_err());
    drop(accepted_later(&broker).await);
}

async fn accepted_later(broker: &TestBroker) -> MemoryStream {
    broker.refuse_connections(false);
    accepted(broker).await
}

#[tokio::test]
async fn a_connection_is_played_packet_by_packet() {
    let broker = TestBroker::in_memory();
    let script = broker.script_next();
    let client = Client::builder(broker.url()).connector(broker.connector()).start().unwrap();
    let server = script.await;
    assert!(server.expect_connect().await.client_id.is_empty());
    server.accept();
    client.connected().await.unwrap();
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    let OwnedPacket::Publish(publish) = server.expect(PacketType::Publish).await else { panic!() };
    server.send_bytes(&packet_bytes(0x40, &format!("{:04x} 10", publish.id())));
    assert!(receipt.await.is_delivered());
}
