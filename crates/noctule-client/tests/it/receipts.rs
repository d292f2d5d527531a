//! What a receipt tells before its message has ended, and to whom.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use noctule_client::{Client, OnOwnThread, Outcome, QoS, Stage, TimedOut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use crate::house::{House, soon};
use crate::start::start;
use crate::wire::{CONNACK, Server, packet};

const SHORT: Duration = Duration::from_millis(20);

async fn connected(server: &Server) -> (Client, TcpStream) {
    let client = start(server.builder()).unwrap();
    let stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    (client, stream)
}

#[tokio::test]
async fn that_the_server_has_a_message_can_be_waited_for() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let mut receipt = client.publish("t", "x").qos(QoS::ExactlyOnce).send().unwrap();
    assert_eq!(packet(&mut stream).await, 0x34);
    assert!(timeout(SHORT, receipt.received()).await.is_err());
    assert_eq!(receipt.wait_received_timeout(SHORT), Err(TimedOut));
    stream.write_all(&[0x50, 2, 0, 1]).await.unwrap();
    assert!(soon(receipt.received()).await);
    assert_eq!(receipt.stage(), Some(Stage::Received));
    assert!(soon(receipt.received()).await);
    assert_eq!(packet(&mut stream).await, 0x62);
    // It has not ended before that.
    assert_eq!(receipt.wait_timeout(SHORT), Err(TimedOut));
    stream.write_all(&[0x70, 2, 0, 1]).await.unwrap();
    assert!(soon(receipt).await.is_delivered());

    for (qos, answer, is_received) in [
        (QoS::ExactlyOnce, &[0x50, 3, 0, 2, 0x87], false),
        (QoS::AtLeastOnce, &[0x40, 3, 0, 3, 0x87], false),
        (QoS::AtLeastOnce, &[0x40, 3, 0, 4, 0x10], true),
    ] {
        let mut receipt = client.publish("t", "x").qos(qos).send().unwrap();
        packet(&mut stream).await;
        stream.write_all(answer).await.unwrap();
        assert_eq!(soon(receipt.received()).await, is_received, "{answer:?}");
        // Asking how far it has come takes nothing away.
        assert_eq!(soon(&mut receipt).await.is_delivered(), is_received);
        // Nor does asking how it has ended.
        assert_eq!(soon(receipt.received()).await, is_received, "{answer:?}");
        assert_eq!(receipt.wait_received_timeout(SHORT), Ok(is_received));
    }
}

#[tokio::test]
async fn a_receipt_that_is_asked_again_says_the_same() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let mut delivered = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    packet(&mut stream).await;
    stream.write_all(&[0x40, 2, 0, 1]).await.unwrap();
    let mut rejected = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    packet(&mut stream).await;
    stream.write_all(&[0x40, 3, 0, 2, 0x87]).await.unwrap();
    // The server has it, and it has not ended when the client does.
    let mut open = client.publish("t", "x").qos(QoS::ExactlyOnce).send().unwrap();
    packet(&mut stream).await;
    stream.write_all(&[0x50, 2, 0, 3]).await.unwrap();
    assert!(soon(open.received()).await);
    soon(client.shutdown(Duration::ZERO)).await;
    for (receipt, is_delivered, is_received) in
        [(&mut delivered, true, true), (&mut rejected, false, false), (&mut open, true, true)]
    {
        let first = soon(&mut *receipt).await;
        assert_eq!(first.is_delivered(), is_delivered, "{first}");
        assert_eq!(soon(&mut *receipt).await, first);
        assert_eq!(receipt.wait_timeout(SHORT), Ok(first.clone()));
        assert_eq!(soon(receipt.received()).await, is_received, "{first}");
    }
    assert!(delivered.wait().is_delivered());
}

#[tokio::test]
async fn functions_are_called_when_messages_have_ended() {
    let house = House::new();
    let client = house.client("c").await;
    let (tell, mut told) = unbounded_channel();
    for number in 0..100_u32 {
        let qos = QoS::from_level((number % 3) as u8).unwrap();
        let (tell, again) = (tell.clone(), client.clone());
        client.publish("t", "x").qos(qos).send().unwrap().on_complete(move |outcome| {
            assert!(outcome.is_delivered());
            // Nothing is locked, and what is begun here ends, too.
            assert!(again.state().is_connected());
            let receipt = again.publish("u", "y").qos(qos).send().unwrap();
            receipt.on_complete(move |outcome| tell.send(outcome).unwrap());
        });
    }
    drop(tell);
    let mut count = 0;
    while let Some(outcome) = soon(told.recv()).await {
        assert!(outcome.is_delivered());
        count += 1;
    }
    assert_eq!(count, 100, "each is called once");
}

#[tokio::test]
async fn functions_are_called_for_what_ends_badly_and_for_what_has_ended() {
    let client = start(Client::builder("mqtt://127.0.0.1:1")).unwrap();
    let (tell, told) = mpsc::channel();
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    let early = tell.clone();
    receipt.on_complete(move |outcome| early.send(outcome).unwrap());
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    // What panics in one harms no other.
    receipt.on_complete(|_| panic!("this is what the test is about"));
    let late = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    assert!(told.try_recv().is_err());
    soon(client.shutdown(Duration::ZERO)).await;
    assert!(matches!(told.try_recv(), Ok(Outcome::Dropped { .. })));
    late.on_complete(move |outcome| tell.send(outcome).unwrap());
    assert!(matches!(told.try_recv(), Ok(Outcome::Dropped { .. })));
    assert!(told.recv().is_err(), "each is called once");
}

#[tokio::test]
async fn a_function_that_the_client_calls_cannot_wait_for_it() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let (tell, mut told) = unbounded_channel();
    let again = client.clone();
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    receipt.on_complete(move |_| {
        let receipt = again.publish("u", "y").qos(QoS::AtLeastOnce).send().unwrap();
        let waited = catch_unwind(AssertUnwindSafe(|| receipt.wait()));
        tell.send(waited.unwrap_err().downcast::<String>().unwrap()).unwrap();
    });
    packet(&mut stream).await;
    stream.write_all(&[0x40, 2, 0, 1]).await.unwrap();
    assert_eq!(*soon(told.recv()).await.unwrap(), OnOwnThread.to_string());
    // The client goes on, and what does not wait is done.
    assert_eq!(packet(&mut stream).await, 0x32);
    stream.write_all(&[0x40, 2, 0, 2]).await.unwrap();
    soon(client.idle()).await;
}
