//! Signs of life that the user asks for.

use std::time::Duration;

use noctule_client::{ClientEvent, Ended, PingError};
use tokio::io::AsyncWriteExt;

use crate::house::{House, soon};
use crate::start::start;
use crate::wire::{CONNACK, Server, packet};

#[tokio::test]
async fn a_ping_takes_as_long_as_its_answer() {
    let house = House::new();
    let client = house.client("c").await;
    let mut events = client.events();
    let taken = soon(client.ping()).await.unwrap();
    let Some(ClientEvent::PingAnswered { round_trip }) = soon(events.recv()).await else {
        panic!()
    };
    assert_eq!(round_trip, taken);
    soon(client.disconnect()).await;
    assert!(matches!(soon(client.ping()).await, Err(PingError::NotConnected)));
}

#[tokio::test]
async fn a_ping_without_an_answer_ends_with_the_connection() {
    let server = Server::new();
    let builder = server.builder().ping_timeout(Duration::from_millis(20));
    let client = start(builder).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    let Err(PingError::Ended(ended)) = soon(client.ping()).await else { panic!() };
    assert_eq!(*ended, Ended::PingTimeout);
    assert_eq!(packet(&mut stream).await, 0xC0);
}

/// Two who ask at once share a ping.
#[tokio::test]
async fn pings_are_shared() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    let answering = async {
        assert_eq!(packet(&mut stream).await, 0xC0);
        tokio::task::yield_now().await;
        stream.write_all(&[0xD0, 0]).await.unwrap();
    };
    let (one, other, ()) = tokio::join!(client.ping(), client.ping(), soon(answering));
    assert_eq!(one.unwrap(), other.unwrap());
}
