//! A publisher and a subscriber on tokio, each with a connection of its own.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use noctule_client::{Client, Subscription};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::ledger::Ledger;
use crate::{END, PAUSE, TO_ASYNCHRONOUS, TO_BLOCKING, change, goes_on, payload, qos, reconnect};

/// The thread of these clients.
pub(crate) struct Pair {
    clients: [Client; 2],
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Pair {
    /// Fails if one of them has given up.
    #[track_caller]
    pub(crate) fn check(&self) {
        self.clients.iter().for_each(|client| goes_on(&client.state()));
    }

    /// Ends them in good order.
    pub(crate) fn end(self) {
        drop((self.stop, self.clients));
        self.thread.join().expect("they do not panic");
    }
}

/// Starts both, and waits until the subscriber has subscribed.
pub(crate) fn start(urls: [String; 2], sends: Arc<Ledger>, gets: Arc<Ledger>) -> Pair {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (stop, stopped) = oneshot::channel::<()>();
    let [publisher, subscriber] = urls;
    let (publisher, subscriber, inbox) = runtime.block_on(async {
        let publisher = connect(publisher, "asynchronous-publisher").await;
        let subscriber = connect(subscriber, "asynchronous-subscriber").await;
        let inbox = subscriber.subscribe(TO_ASYNCHRONOUS).await.expect("a subscription");
        (publisher, subscriber, inbox)
    });
    let clients = [publisher.clone(), subscriber.clone()];
    let run = async move {
        let publishing = tokio::spawn(publish(publisher.clone(), sends));
        let receiving = tokio::spawn(receive(inbox, gets));
        // That is dropped to say it.
        let _ = stopped.await;
        publishing.await.expect("it does not panic");
        assert!(publisher.shutdown(END).await.is_clean());
        assert!(subscriber.shutdown(END).await.is_clean());
        receiving.await.expect("it does not panic");
    };
    Pair { clients, stop, thread: thread::spawn(move || runtime.block_on(run)) }
}

async fn connect(url: String, client_id: &str) -> Client {
    let builder = Client::builder(url).client_id(client_id).reconnect(reconnect());
    builder.settings(change).connect().await.expect("a connection")
}

async fn publish(client: Client, ledger: Arc<Ledger>) {
    let mut pace = tokio::time::interval(PAUSE);
    while !ledger.is_closed() {
        pace.tick().await;
        let Some(number) = ledger.begin() else { continue };
        let payload = payload(number);
        let publish = client.publish(TO_BLOCKING, &payload).qos(qos(number));
        let receipt = publish.send().expect("there is room");
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move { ledger.ended(number, &receipt.await) });
    }
}

async fn receive(mut inbox: Subscription, ledger: Arc<Ledger>) {
    while let Some(message) = inbox.recv().await {
        ledger.arrived(message.payload());
    }
}
