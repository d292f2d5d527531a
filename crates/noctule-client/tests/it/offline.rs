//! Ending the connection and making another one, as the user likes, and asking how the last one
//! ended.

use std::error::Error;
use std::future::pending;
use std::io;
use std::time::Duration;

use noctule_client::transport::TransportError;
use noctule_client::{
    Backoff, CleanStart, Client, ClientEvent, CredentialsFuture, CredentialsProvider,
    DisconnectOptions, DisconnectRefused, Ended, Jitter, Origin, QoS, ReasonCode,
    ReconnectSettings, State, TransportEnd, Version,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{House, LONG, next, quickly, soon};
use crate::start::{connect, start};
use crate::wire::{CONNACK, Server, body, packet};

const DISCONNECT: u8 = 0xE0;
const PUBLISH: u8 = 0x32;

async fn connected(server: &Server) -> (Client, TcpStream) {
    let client = start(server.builder().reconnect(quickly())).unwrap();
    let stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    (client, stream)
}

async fn until(client: &Client, is_meant: impl Fn(&State) -> bool) {
    let reached = async {
        while !is_meant(&client.state()) {
            tokio::task::yield_now().await;
        }
    };
    soon(reached).await;
}

/// Nothing more comes.
async fn expect_end(mut stream: TcpStream) {
    assert_eq!(soon(stream.read(&mut [0])).await.unwrap(), 0);
}

fn has_error<E: Error + 'static>(error: &Option<std::sync::Arc<dyn Error + Send + Sync>>) -> bool {
    error.as_ref().is_some_and(|error| error.is::<E>())
}

#[tokio::test]
async fn why_the_last_connection_ended_can_be_asked() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    assert!(client.last_end().is_none() && client.last_failure().is_none());
    // DISCONNECT: server busy, "ask later".
    let text = b"\xE0\x0F\x89\x0D\x1F\0\x0Aask later!";
    stream.write_all(text).await.unwrap();
    let mut stream = server.accept().await;
    let end = client.last_end().unwrap();
    assert_eq!(end.origin(), Origin::Server);
    assert_eq!(end.reason_code(), Some(ReasonCode::ServerBusy));
    assert_eq!(end.reason_string(), Some("ask later!"));
    assert_eq!(end.negotiated.as_ref().map(|it| &*it.client_id), Some("c"));
    assert!(end.to_string().contains("ask later!"), "{end}");

    // An attempt that is refused is no connection.
    stream.write_all(&[0x20, 3, 0, 0x88, 0]).await.unwrap();
    drop(stream);
    let stream = server.accept().await;
    let failure = client.last_failure().unwrap();
    assert!(failure.origin() == Origin::Server && failure.negotiated.is_none());
    assert_eq!(failure.reason_code(), Some(ReasonCode::ServerUnavailable));
    assert_eq!(client.last_end().unwrap().reason_code(), Some(ReasonCode::ServerBusy));
    drop(stream);

    let (mut stream, _) = (server.accept_and_say(&CONNACK).await, soon(client.connected()).await);
    assert!(client.last_failure().is_none());
    soon(client.disconnect()).await;
    assert_eq!(packet(&mut stream).await, DISCONNECT);
    assert_eq!(client.last_end().unwrap().origin(), Origin::User);
}

#[tokio::test]
async fn what_the_transport_says_is_told_as_it_is() {
    let server = Server::new();
    let (client, stream) = connected(&server).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    let stream = server.accept().await;
    let end = client.last_end().unwrap();
    assert_eq!(end.origin(), Origin::Failure);
    assert_eq!(*end.ended, Ended::Transport(TransportEnd::Failed));
    assert!(has_error::<io::Error>(&end.error), "{end}");
    drop(stream);

    let settings = ReconnectSettings { includes_first: false, ..quickly() };
    let client = start(Client::builder("mqtt://127.0.0.1:1").reconnect(settings)).unwrap();
    assert!(soon(client.connected()).await.is_err());
    let failure = client.last_failure().unwrap();
    assert_eq!(*failure.ended, Ended::Transport(TransportEnd::NotOpened));
    assert!(has_error::<TransportError>(&failure.error) && client.last_end().is_none());
}

/// What was begun before goes on after it, and what is begun meanwhile waits.
#[tokio::test]
async fn a_client_that_was_offline_goes_on_as_before() {
    let house = House::new();
    let client = connect(house.builder("c").session_expiry(LONG)).await.unwrap();
    let mut events = client.events();
    let mut inbox = soon(client.subscribe("t").qos(QoS::AtLeastOnce)).await.unwrap();
    soon(client.disconnect()).await;
    assert!(matches!(client.state(), State::Offline) && client.negotiated().is_none());
    let other = house.client("other").await;
    assert!(
        soon(other.publish("t", "1").qos(QoS::AtLeastOnce).send().unwrap()).await.is_delivered()
    );
    let receipt = client.publish("t", "2").qos(QoS::AtLeastOnce).send().unwrap();
    soon(client.disconnect()).await;
    client.start();
    client.start();
    let negotiated = soon(client.connected()).await.unwrap();
    assert!(negotiated.session_present);
    assert!(soon(receipt).await.is_delivered());
    for text in ["1", "2"] {
        assert_eq!(next(&mut inbox).await.text(), Some(text));
    }
    let is_offline = |event: &ClientEvent| matches!(event, ClientEvent::Offline);
    assert!(soon(events.wait_for(is_offline)).await.is_some());
    assert!(soon(client.shutdown(LONG)).await.is_clean());
    soon(client.disconnect()).await;
    client.start();
    assert!(matches!(client.state(), State::Stopped(_)), "shutting down is for good");
}

#[tokio::test]
async fn the_server_is_told_what_the_user_says() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let reason = ReasonCode::DisconnectWithWillMessage;
    let options = DisconnectOptions { reason, ..DisconnectOptions::default() };
    let raised = DisconnectOptions { session_expiry_interval: Some(1), ..options.clone() };
    let refused = soon(client.disconnect_with(&raised)).await.unwrap_err();
    assert_eq!(refused, DisconnectRefused::SessionExpiryFromZero);
    assert!(client.state().is_connected());
    drop(client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap());
    soon(client.disconnect_with(&options)).await.unwrap();
    assert_eq!(packet(&mut stream).await, PUBLISH);
    let (head, bytes) = body(&mut stream).await;
    assert_eq!((head, bytes.first()), (DISCONNECT, Some(&4)));
    expect_end(stream).await;
    client.start();
    let mut stream = server.accept_and_say(&CONNACK).await;
    assert_eq!(packet(&mut stream).await, PUBLISH, "it is sent again, in another session");
}

struct Never;

impl CredentialsProvider for Never {
    fn credentials(&self) -> CredentialsFuture<'_> {
        Box::pin(pending())
    }
}

/// Wherever the client is, it goes offline, says so once, comes back and can be shut down.
#[tokio::test]
async fn every_state_can_be_left() {
    let hour = Duration::from_secs(3_600);
    let backoff = Backoff { base: hour, maximum: hour, jitter: Jitter::None, ..Backoff::default() };
    let slowly = ReconnectSettings { backoff, ..ReconnectSettings::default() };

    // While CONNACK is waited for.
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let stream = server.accept().await;
    soon(client.disconnect()).await;
    expect_end(stream).await;
    client.start();
    assert!(matches!(client.state(), State::Connecting));
    let stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    drop(stream);

    // In a pause.
    let client = start(Client::builder("mqtt://127.0.0.1:1").reconnect(slowly.clone())).unwrap();
    for _ in 0..2 {
        until(&client, |state| matches!(state, State::Waiting(_))).await;
        soon(client.disconnect()).await;
        assert!(matches!(client.state(), State::Offline));
        // It does not want to be hurried, either.
        client.reconnect_now();
        client.start();
    }
    until(&client, |state| matches!(state, State::Waiting(_))).await;
    soon(client.disconnect()).await;
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    let report = soon(client.shutdown(Duration::from_millis(20))).await;
    assert_eq!(report.unfinished.queued, 1);
    assert!(!soon(receipt).await.is_delivered());

    // While credentials are waited for.
    let builder = server.builder().credentials_provider(Never).reconnect(slowly);
    let client = start(builder).unwrap();
    until(&client, |state| matches!(state, State::Connecting)).await;
    soon(client.disconnect()).await;
    assert!(matches!(client.state(), State::Offline));
}

#[tokio::test]
async fn going_offline_and_back_at_once_is_a_new_connection() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let other = client.clone();
    let leaving = tokio::spawn(async move { other.disconnect().await });
    assert_eq!(packet(&mut stream).await, DISCONNECT);
    client.start();
    soon(leaving).await.unwrap();
    let _stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
}

#[tokio::test]
async fn another_connection_can_be_had_at_once() {
    let server = Server::new();
    let hour = Duration::from_secs(3_600);
    let backoff = Backoff { base: hour, maximum: hour, jitter: Jitter::None, ..Backoff::default() };
    let slowly = ReconnectSettings { backoff, ..ReconnectSettings::default() };
    let builder = server.builder().clean_start(CleanStart::Never).session_expiry(LONG);
    let client = start(builder.reconnect(slowly)).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    client.reconnect();
    assert!(!client.state().is_connected());
    assert_eq!(packet(&mut stream).await, PUBLISH);
    let (head, bytes) = body(&mut stream).await;
    // The session goes on.
    assert!(head == DISCONNECT && bytes.is_empty());
    expect_end(stream).await;

    // It does not wait for an answer that may never come.
    let stream = server.accept().await;
    client.reconnect();
    expect_end(stream).await;
    let mut stream = server.accept_and_say(&[0x20, 3, 1, 0, 0]).await;
    assert_eq!(packet(&mut stream).await, PUBLISH | 8, "it is repeated");
    stream.write_all(&[0x40, 2, 0, 1]).await.unwrap();
    assert!(soon(receipt).await.is_delivered());

    // Nor for the end of a pause, nor for a start.
    drop(stream);
    until(&client, |state| matches!(state, State::Waiting(_))).await;
    client.reconnect();
    let _stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    soon(client.disconnect()).await;
    client.reconnect();
    let _stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
}

#[tokio::test]
async fn older_versions_have_little_to_say() {
    let house = House::new();
    let builder = house.builder("c").version(Version::V3_1_1);
    let client = connect(builder).await.unwrap();
    let reason = ReasonCode::DisconnectWithWillMessage;
    let options = DisconnectOptions { reason, ..DisconnectOptions::default() };
    assert!(matches!(
        soon(client.disconnect_with(&options)).await,
        Err(DisconnectRefused::NotInVersion { option: "reason", .. })
    ));
    soon(client.disconnect()).await;
    client.start();
    soon(client.connected()).await.unwrap();
}
