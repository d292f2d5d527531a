//! What outlives a connection, and how the next one comes about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use noctule_client::{
    Client, ClientEvent, Credentials, CredentialsFuture, CredentialsProvider, QoS, ReasonCode,
    State, SubscribeError, SubscriptionStatus, Version,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::house::{House, next, quickly, soon};
use crate::start::{connect, start};
use crate::wire::{CONNACK, Server, body};

/// P-04 and P-28: nothing has to be built for that.
#[tokio::test]
async fn it_comes_back_with_its_subscriptions_and_what_waited() {
    let house = House::new();
    let address = house.address;
    let client = house.builder("c").reconnect(quickly());
    let client = connect(client).await.unwrap();
    let mut events = client.events();
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    house.stop().await;
    while client.state().is_connected() {
        tokio::task::yield_now().await;
    }
    let receipts: Vec<_> = ["1", "2"]
        .map(|number| client.publish("t", number).qos(QoS::AtLeastOnce).send().unwrap())
        .into_iter()
        .collect();
    let house = House::at(address);
    for receipt in receipts {
        assert!(soon(receipt).await.is_delivered());
    }
    assert_eq!(next(&mut inbox).await.text(), Some("1"));
    assert_eq!(next(&mut inbox).await.text(), Some("2"));
    let mut seen = Vec::new();
    loop {
        match soon(events.recv()).await.unwrap() {
            ClientEvent::Resubscribed { filter, code, .. } => {
                assert!(&*filter == "t" && code.is_some_and(|code| !code.is_error()));
                break;
            }
            ClientEvent::Disconnected { was_connected, .. } => seen.push(was_connected),
            _ => {}
        }
    }
    assert_eq!(seen.first(), Some(&true));
    drop(house);
}

#[tokio::test]
async fn a_client_that_is_thrown_out_by_its_own_name_stays_out() {
    let house = House::new();
    let first = house.client("c").await;
    let second = house.client("c").await;
    while !matches!(first.state(), State::Stopped(_)) {
        tokio::task::yield_now().await;
    }
    let error = soon(first.connected()).await.unwrap_err();
    assert!(error.to_string().contains("taken over"), "{error}");
    assert!(second.state().is_connected());
}

struct Counted(Arc<AtomicU32>);

impl CredentialsProvider for Counted {
    fn credentials(&self) -> CredentialsFuture<'_> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let user_name = Some(format!("user-{count}"));
        Box::pin(async move { Ok(Credentials { user_name, password: None }) })
    }
}

#[tokio::test]
async fn credentials_are_asked_for_at_each_attempt() {
    let house = House::new();
    let count = Arc::new(AtomicU32::new(0));
    let builder = house.builder("c").reconnect(quickly());
    let builder = builder.credentials_provider(Counted(Arc::clone(&count)));
    let client = connect(builder).await.unwrap();
    house.broker().kick("c").await.unwrap();
    let mut attempts = count.load(Ordering::Relaxed);
    while attempts < 2 {
        tokio::task::yield_now().await;
        attempts = count.load(Ordering::Relaxed);
    }
    drop(client);
}

#[tokio::test]
async fn the_next_endpoint_is_tried_at_once() {
    let house = House::new();
    let client = Client::builder("mqtt://127.0.0.1:1").or(house.url());
    assert!(connect(client).await.unwrap().state().is_connected());
}

/// A server that knows no 5.0 and then breaks makes no other server speak what it knows.
#[tokio::test]
async fn the_next_endpoint_is_asked_in_the_version_that_is_wanted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let old = format!("mqtt://{}", listener.local_addr().unwrap());
    let refusing = tokio::spawn(async move {
        for level in [5, 4] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut connect = [0; 9];
            stream.read_exact(&mut connect).await.unwrap();
            assert_eq!(connect[8], level);
            if level == 5 {
                stream.write_all(b"\x20\x02\0\x01").await.unwrap();
            }
        }
    });
    let house = House::new();
    let client = Client::builder(&old).or(house.url()).lowest_version(Version::V3_1_1);
    let client = connect(client.client_id("c").reconnect(quickly())).await.unwrap();
    assert_eq!(client.negotiated().map(|it| it.version), Some(Version::V5_0));
    refusing.await.unwrap();
}

#[tokio::test]
async fn what_is_subscribed_can_be_asked_and_an_event_be_waited_for() {
    let house = House::new();
    let client = house.client("c").await;
    let inbox = soon(client.subscribe("t")).await.unwrap();
    assert!(matches!(client.subscription_status("t"), SubscriptionStatus::Granted(_)));
    assert_eq!(client.subscription_status("other"), SubscriptionStatus::None);
    soon(inbox.unsubscribe()).await.unwrap();
    assert_eq!(client.subscription_status("t"), SubscriptionStatus::None);
    let mut events = client.events();
    house.stop().await;
    let is_waiting = |event: &ClientEvent| matches!(event, ClientEvent::Waiting { .. });
    assert!(soon(events.wait_for(is_waiting)).await.is_some());
    soon(client.shutdown(Duration::ZERO)).await;
    assert!(soon(events.wait_for(|_| false)).await.is_none());
}

/// What is lost and not asked for again by itself is known until the user asks, or gives it up.
#[tokio::test]
async fn lost_subscriptions_can_be_left_to_the_user() {
    let house = House::new();
    let builder = house.builder("c").reconnect(quickly());
    let client = connect(builder.settings(|it| it.subscribes_again = false)).await.unwrap();
    let mut inbox = soon(client.subscribe("t").qos(QoS::AtLeastOnce)).await.unwrap();
    soon(client.disconnect()).await;
    client.start();
    soon(client.connected()).await.unwrap();
    assert_eq!(client.subscription_status("t"), SubscriptionStatus::Lost);
    let again = soon(client.resubscribe()).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(&*again[0].filter, "t");
    assert!(matches!(again[0].result, Ok(ReasonCode::GrantedQos1)), "{again:?}");
    drop(client.publish("t", "x").send().unwrap());
    assert_eq!(next(&mut inbox).await.text(), Some("x"));
    soon(client.disconnect()).await;
    client.start();
    soon(client.connected()).await.unwrap();
    soon(inbox.unsubscribe()).await.unwrap();
    assert!(soon(client.resubscribe()).await.unwrap().is_empty());
}

/// What is wanted while the driver is about to sleep is not slept through.
#[tokio::test]
async fn a_client_comes_and_goes_as_often_as_it_is_told() {
    let house = House::new();
    let client = connect(house.builder("c").reconnect(quickly())).await.unwrap();
    for _ in 0..300 {
        soon(client.disconnect()).await;
        client.start();
        soon(client.connected()).await.unwrap();
    }
}

#[tokio::test]
async fn each_subscription_that_is_asked_for_again_has_an_answer() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    let granting = async {
        let (_, bytes) = body(&mut stream).await;
        stream.write_all(&[0x90, 5, bytes[0], bytes[1], 0, 0, 0]).await.unwrap();
    };
    let (inbox, ()) = tokio::join!(soon(client.subscribe("a").and("b")), granting);
    let refusing = async {
        let (_, bytes) = body(&mut stream).await;
        stream.write_all(&[0x90, 5, bytes[0], bytes[1], 0, 0x87, 1]).await.unwrap();
    };
    let (again, ()) = tokio::join!(soon(client.resubscribe()), refusing);
    let again = again.unwrap();
    let refused = SubscribeError::Rejected {
        filter: "a".to_owned(),
        code: ReasonCode::NotAuthorized,
        remarks: None,
    };
    assert_eq!(again[0].result.as_ref().unwrap_err().to_string(), refused.to_string());
    assert!(matches!(again[1].result, Ok(ReasonCode::GrantedQos1)));
    let (again, _) =
        tokio::join!(soon(client.resubscribe()), soon(client.shutdown(Duration::ZERO)));
    let closed = again.unwrap().into_iter().all(|it| it.result.is_err());
    assert!(closed && inbox.is_ok());
}
