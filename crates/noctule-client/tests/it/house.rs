//! A broker in this process, and clients for it.

use std::net::SocketAddr;
use std::time::Duration;

use noctule_broker::{Broker, Handle};
use noctule_client::{
    Backoff, Client, ClientBuilder, Incoming, ReconnectSettings, Subscription, Version,
};
use tokio::time::timeout;

use crate::start::connect;

/// Longer than anything takes that works.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];

/// A broker on a port of its own.
pub(crate) struct House {
    broker: Handle,
    pub(crate) address: SocketAddr,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"))
    }

    /// A broker where another one has been.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let broker =
            Broker::builder().shards(2).listen(address.to_string()).start().expect("a broker");
        let address = broker.local_addrs()[0].tcp().expect("it listens");
        Self { address, broker }
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    pub(crate) fn builder(&self, client_id: &str) -> ClientBuilder {
        Client::builder(self.url()).client_id(client_id)
    }

    pub(crate) async fn client(&self, client_id: &str) -> Client {
        connect(self.builder(client_id)).await.expect("a connection")
    }

    /// Ends the broker, and every connection with it.
    pub(crate) async fn stop(self) {
        soon(self.broker.stop(Duration::ZERO)).await.expect("it stops");
    }

    pub(crate) fn broker(&self) -> &Handle {
        &self.broker
    }
}

/// What a future comes to, which is to come soon.
pub(crate) async fn soon<T>(awaited: impl IntoFuture<Output = T>) -> T {
    timeout(LONG, awaited.into_future()).await.expect("it takes too long")
}

/// The next message of a subscription, which is to come soon.
pub(crate) async fn next(subscription: &mut Subscription) -> Incoming {
    soon(subscription.recv()).await.expect("a message")
}

/// Connects again at once, more or less, also when the server had reasons of its own.
pub(crate) fn quickly() -> ReconnectSettings {
    let [base, maximum] = [20, 50].map(Duration::from_millis);
    let backoff = Backoff { base, maximum, busy_delay: base, ..Backoff::default() };
    ReconnectSettings { backoff, ..ReconnectSettings::default() }
}
