//! A publisher and a subscriber without a runtime, each with a connection of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use noctule_client::Receipt;
use noctule_client::blocking::{Client, Subscription};

use crate::ledger::Ledger;
use crate::{END, PAUSE, TO_ASYNCHRONOUS, TO_BLOCKING, change, goes_on, payload, qos, reconnect};

/// These clients and the threads that use them.
pub(crate) struct Pair {
    publisher: Client,
    subscriber: Client,
    publishing: JoinHandle<()>,
    receiving: JoinHandle<()>,
}

impl Pair {
    /// Fails if one of them has given up.
    #[track_caller]
    pub(crate) fn check(&self) {
        [&self.publisher, &self.subscriber].iter().for_each(|client| goes_on(&client.state()));
    }

    /// Ends them in good order.
    pub(crate) fn end(self) {
        self.publishing.join().expect("it does not panic");
        assert!(self.publisher.shutdown(END).is_clean());
        assert!(self.subscriber.shutdown(END).is_clean());
        self.receiving.join().expect("it does not panic");
    }
}

/// Starts both, and waits until the subscriber has subscribed.
pub(crate) fn start(urls: [String; 2], sends: Arc<Ledger>, gets: Arc<Ledger>) -> Pair {
    let [publisher, subscriber] = urls;
    let publisher = connect(publisher, "blocking-publisher");
    let subscriber = connect(subscriber, "blocking-subscriber");
    let inbox = subscriber.subscribe(TO_BLOCKING).send().expect("a subscription");
    let client = publisher.clone();
    let publishing = thread::spawn(move || publish(&client, &sends));
    let receiving = thread::spawn(move || receive(inbox, &gets));
    Pair { publisher, subscriber, publishing, receiving }
}

fn connect(url: String, client_id: &str) -> Client {
    let builder = Client::builder(url).client_id(client_id).reconnect(reconnect());
    builder.settings(change).connect().expect("a connection")
}

fn publish(client: &Client, ledger: &Ledger) {
    let mut receipts: VecDeque<(u64, Receipt)> = VecDeque::new();
    while !ledger.is_closed() || !receipts.is_empty() {
        if let Some(number) = ledger.begin() {
            let payload = payload(number);
            let publish = client.publish(TO_ASYNCHRONOUS, &payload).qos(qos(number));
            receipts.push_back((number, publish.send().expect("there is room")));
        }
        let Some((number, receipt)) = receipts.front_mut() else {
            thread::park_timeout(PAUSE);
            continue;
        };
        if let Ok(outcome) = receipt.wait_timeout(PAUSE) {
            ledger.ended(*number, &outcome);
            receipts.pop_front();
        }
    }
}

fn receive(inbox: Subscription, ledger: &Ledger) {
    for message in inbox {
        ledger.arrived(message.payload());
    }
}
