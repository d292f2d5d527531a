//! A client whose own task or thread ends before it.

use std::sync::Arc;

use noctule_client::{
    Client, ClientEvent, CredentialsFuture, CredentialsProvider, QoS, State, StopReason,
};
use tokio::sync::Notify;

use crate::house::{LONG, soon};
use crate::start::start;

struct Panics(Arc<Notify>);

impl CredentialsProvider for Panics {
    fn credentials(&self) -> CredentialsFuture<'_> {
        Box::pin(async {
            self.0.notified().await;
            panic!("this is what the test is about");
        })
    }
}

#[tokio::test]
async fn nobody_waits_for_a_client_whose_task_has_panicked() {
    let now = Arc::new(Notify::new());
    let builder = Client::builder("mqtt://127.0.0.1:1");
    let client = start(builder.credentials_provider(Panics(Arc::clone(&now)))).unwrap();
    expect_end(client, || now.notify_one()).await;
}

/// Everybody who waits for the client is told.
pub(crate) async fn expect_end(client: Client, end: impl FnOnce()) {
    let mut events = client.events();
    let mut inbox = client.unclaimed();
    let receipt = client.publish("t", "").qos(QoS::AtLeastOnce).send().unwrap();
    let other = client.clone();
    let subscribing = tokio::spawn(async move { other.subscribe("t").await });
    let other = client.clone();
    let connecting = tokio::spawn(async move { other.connected().await });
    tokio::task::yield_now().await;
    end();
    assert!(!soon(receipt).await.is_delivered());
    assert!(soon(subscribing).await.unwrap().is_err());
    assert!(soon(connecting).await.unwrap().is_err());
    assert!(soon(inbox.recv()).await.is_none());
    let mut stopped = None;
    while let Some(event) = soon(events.recv()).await {
        stopped = Some(event);
    }
    assert!(matches!(stopped, Some(ClientEvent::Stopped { error: Some(_) })), "{stopped:?}");
    soon(client.idle()).await;
    assert_eq!(soon(client.shutdown(LONG)).await.unfinished.queued, 1);
    let State::Stopped(reason) = client.state() else { panic!("{:?}", client.state()) };
    assert!(matches!(*reason, StopReason::Abandoned), "{reason}");
    client.publish("t", "").send().unwrap_err();
}
