//! What an attempt may take, and who decides what comes after it.

use std::future::pending;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use noctule_client::transport::Url;
use noctule_client::{
    Client, ConnectError, ConnectionEnd, CredentialsError, CredentialsFuture, CredentialsProvider,
    Ended, NextAttempt, Origin, QoS, ReasonCode, ReconnectSettings, StopReason,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{House, quickly, soon};
use crate::start::start;
use crate::wire::{CONNACK, Server};

const SHORT: Duration = Duration::from_millis(20);

struct Gives(Option<&'static str>);

impl CredentialsProvider for Gives {
    fn credentials(&self) -> CredentialsFuture<'_> {
        match self.0 {
            Some(error) => Box::pin(async move { Err(error.into()) }),
            None => Box::pin(pending()),
        }
    }
}

#[tokio::test]
async fn credentials_have_their_time_and_their_error() {
    for (gives, own) in [(None, true), (None, false), (Some("no token"), true)] {
        let settings = ReconnectSettings { includes_first: false, ..quickly() };
        let builder = Client::builder("mqtt://127.0.0.1:1").credentials_provider(Gives(gives));
        let builder = builder.reconnect(settings);
        let builder = match own {
            true => builder.credentials_timeout(SHORT),
            false => builder.connect_timeout(SHORT),
        };
        let client = start(builder).unwrap();
        let Err(ConnectError::Stopped(reason)) = soon(client.connected()).await else { panic!() };
        let StopReason::Credentials(error) = &*reason else { panic!("{reason}") };
        match gives {
            None => assert!(matches!(**error, CredentialsError::TimedOut { after: SHORT })),
            Some(text) => assert!(error.to_string().contains(text), "{error}"),
        }
        let failure = client.last_failure().unwrap();
        assert!(failure.error.unwrap().is::<CredentialsError>());
    }
}

/// What was decided about, and what then.
type Asked = Arc<Mutex<Vec<(bool, Option<ReasonCode>, u32)>>>;

#[tokio::test]
async fn the_program_decides_what_comes_next() {
    let [first, second] = [Server::new(), Server::new()];
    let second_url: Url = second.url().replace("mqtt://", "mqtt://frodo:ring@").parse().unwrap();
    let asked = Asked::default();
    let (list, itself) = (Arc::clone(&asked), Arc::new(OnceLock::<Client>::new()));
    let user = Arc::clone(&itself);
    let decide = move |end: &ConnectionEnd, failures: u32| {
        let mut list = list.lock().unwrap();
        list.push((end.negotiated.is_some(), end.reason_code(), failures));
        // Nothing is locked meanwhile.
        if let Some(client) = user.get() {
            drop(client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap());
            assert!(!client.state().is_connected() || end.negotiated.is_some());
        }
        match list.len() {
            1 => NextAttempt::AsPlanned,
            2 => NextAttempt::After(SHORT),
            3 => NextAttempt::At { url: second_url.clone(), after: SHORT },
            _ => NextAttempt::Stop,
        }
    };
    let client = start(first.builder().reconnector(decide)).unwrap();
    let _ = itself.set(client.clone());
    let refusal = |code| [0x20, 3, 0, code, 0];
    drop(first.accept_and_say(&refusal(0x80)).await);
    drop(first.accept_and_say(&refusal(0x89)).await);
    let mut stream = first.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    stream.write_all(&[0xE0, 1, 0x8B]).await.unwrap();
    let (mut stream, packet) = second.accept_connect().await;
    assert!(packet.ends_with(b"\0\x05frodo\0\x04ring"), "{packet:?}");
    // What would be the end by default is not asked about twice.
    stream.write_all(&refusal(0x87)).await.unwrap();
    let Err(ConnectError::Stopped(reason)) = soon(client.connected()).await else { panic!() };
    assert!(matches!(&*reason, StopReason::Ended(ended) if matches!(**ended, Ended::Refused(_))));
    let expected = [
        (false, Some(ReasonCode::UnspecifiedError), 1),
        (false, Some(ReasonCode::ServerBusy), 2),
        (true, Some(ReasonCode::ServerShuttingDown), 3),
        (false, Some(ReasonCode::NotAuthorized), 4),
    ];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_program_may_go_on_where_the_plan_ends() {
    let house = House::new();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let again = move |end: &ConnectionEnd, _: u32| {
        tell.send(end.origin()).unwrap();
        NextAttempt::After(SHORT)
    };
    let client = start(house.builder("c").reconnector(again)).unwrap();
    soon(client.connected()).await.unwrap();
    // A client with the same name: by default that would be the end.
    let other = house.client("c").await;
    soon(other.shutdown(Duration::ZERO)).await;
    // Until it is told, the client is connected as before.
    assert_eq!(soon(told.recv()).await, Some(Origin::Server));
    soon(client.connected()).await.unwrap();
    // What the user wants is nobody else's to decide.
    soon(client.disconnect()).await;
    client.start();
    soon(client.connected()).await.unwrap();
    soon(client.shutdown(Duration::from_secs(5))).await;
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn a_connack_that_is_late_is_none() {
    let server = Server::new();
    let client = start(server.builder().connect_timeout(SHORT)).unwrap();
    let mut stream = server.accept().await;
    assert_eq!(soon(stream.read(&mut [0])).await.unwrap(), 0);
    let _second = server.accept().await;
    assert_eq!(*client.last_failure().unwrap().ended, Ended::ConnectTimeout);
}
