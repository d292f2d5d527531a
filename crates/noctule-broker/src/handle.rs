//! The embedding program's hold on a running broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use noctule_broker_core::{ClientSummary, Gauges, Placement, ShardId, Statistics};
use noctule_store::StoreStatus;
use tokio::sync::{mpsc, oneshot};

use crate::address::LocalAddress;
use crate::blocking::block_on;
use crate::error::{BrokerError, PublishError, Stopped, SubscribeError};
use crate::farewell::Farewell;
use crate::life::Life;
use crate::publication::Publication;
use crate::request::{PublishRequest, Request};
use crate::subscription::{Subscription, SubscriptionRequest};

/// How long clients have to take their last bytes when every handle was dropped.
const DROPPED_DEADLINE: Duration = Duration::from_secs(2);

/// A running broker.
///
/// The broker runs on threads of its own; handles are cheap to clone and can be used from any
/// thread. Its futures need no reactor, so any executor runs them, and a `_blocking` twin stands
/// where a program without one needs it. When the last handle is dropped, the broker stops.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    /// The way to each shard.
    pub(crate) requests: Vec<mpsc::UnboundedSender<Request>>,
    pub(crate) publications: mpsc::Sender<PublishRequest>,
    pub(crate) placement: Placement,
    pub(crate) life: Arc<Life>,
    /// Spreads subscriptions over the shards.
    pub(crate) subscribed: AtomicUsize,
    pub(crate) local_addrs: Vec<LocalAddress>,
    pub(crate) descriptor_limit: Option<u64>,
    pub(crate) connections_max: u32,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.life.stop(DROPPED_DEADLINE.into());
    }
}

impl Handle {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Where the broker listens, in the order of the listeners; a port 0 has become the real one.
    pub fn local_addrs(&self) -> &[LocalAddress] {
        &self.shared.local_addrs
    }

    /// How many files and sockets the process may have open; `None` if there is no limit.
    pub fn descriptor_limit(&self) -> Option<u64> {
        self.shared.descriptor_limit
    }

    /// How many connections the broker takes: the setting, or what the descriptor limit leaves.
    pub fn connections_max(&self) -> u32 {
        self.shared.connections_max
    }

    /// What the broker has counted since it started, and what it holds now.
    pub async fn statistics(&self) -> Result<(Statistics, Gauges), Stopped> {
        let (mut statistics, mut gauges) = (Statistics::default(), Gauges::default());
        for (counted, held) in self.ask_all(Request::Statistics).await? {
            statistics.add(&counted);
            gauges.add(&held);
        }
        Ok((statistics, gauges))
    }

    /// How the store is doing; `None` if everything is in memory only.
    pub async fn store_status(&self) -> Result<Option<StoreStatus>, Stopped> {
        ask(self.way_to(ShardId(0))?, Request::StoreStatus).await.map_err(|_| Stopped)
    }

    /// All clients: those that are connected and those whose session waits for them. Clients
    /// of the host program are among them; their identifiers start with `$host-`.
    pub async fn clients(&self) -> Result<Vec<ClientSummary>, Stopped> {
        Ok(self.ask_all(Request::Clients).await?.into_iter().flatten().collect())
    }

    /// Disconnects a client; a 5.0 client is told "administrative action", its will is sent.
    /// Tells whether there was such a connection.
    pub async fn kick(&self, client_id: &str) -> Result<bool, Stopped> {
        let home = self.shared.placement.client(client_id);
        let client_id = client_id.into();
        let request = |reply| Request::Kick { client_id, reply };
        ask(self.way_to(home)?, request).await.map_err(|_| Stopped)
    }

    /// Publishes a message, and ends when the broker has accepted it: when a client that had
    /// published it would get its PUBACK, or for QoS 2 its PUBCOMP. With QoS 0 it ends when the
    /// broker has taken it: whether it was refused, for example by a limit, stands in the log only.
    /// Messages of all handles of a broker keep the order in which they were published.
    pub async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        publication.to_packet()?;
        let (reply, outcome) = oneshot::channel();
        let request = PublishRequest { publication, reply };
        self.shared.publications.send(request).await.map_err(|_| Stopped)?;
        outcome.await.map_err(|_| Stopped)?
    }

    /// [`Handle::publish`] for a thread without an executor.
    pub fn publish_blocking(&self, publication: Publication) -> Result<(), PublishError> {
        block_on(self.publish(publication))
    }

    /// Subscribes; ends when the broker has granted every filter.
    pub async fn subscribe(
        &self,
        subscription: impl Into<SubscriptionRequest>,
    ) -> Result<Subscription, SubscribeError> {
        let subscription = subscription.into();
        subscription.check()?;
        let requests = self.way_to_any()?.clone();
        let back = requests.clone();
        let request = |reply| Request::Subscribe { subscription, requests: back, reply };
        let mailbox = ask(&requests, request).await.map_err(|_| Stopped)??;
        Ok(Subscription::new(mailbox))
    }

    /// [`Handle::subscribe`] for a thread without an executor.
    pub fn subscribe_blocking(
        &self,
        subscription: impl Into<SubscriptionRequest>,
    ) -> Result<Subscription, SubscribeError> {
        block_on(self.subscribe(subscription))
    }

    /// Stops the broker: no new connections, a DISCONNECT "server shutting down" to 5.0 clients,
    /// and as long as the farewell (most simply a [`Duration`]) says for everybody to take the last
    /// bytes. Ends when all threads of the broker have ended. If several handles stop it, the first
    /// farewell counts, and all of them wait for the same end.
    pub async fn stop(&self, farewell: impl Into<Farewell>) -> Result<(), BrokerError> {
        self.shared.life.stop(farewell.into());
        self.finished().await
    }

    /// [`Handle::stop`] for a thread without an executor.
    pub fn stop_blocking(&self, farewell: impl Into<Farewell>) -> Result<(), BrokerError> {
        block_on(self.stop(farewell))
    }

    /// Waits until the broker has ended: stopped by a handle, or with an error.
    pub async fn finished(&self) -> Result<(), BrokerError> {
        self.shared.life.ended().await
    }

    /// [`Handle::finished`] for a thread without an executor.
    pub fn finished_blocking(&self) -> Result<(), BrokerError> {
        block_on(self.finished())
    }

    fn way_to(&self, shard: ShardId) -> Result<&mpsc::UnboundedSender<Request>, Stopped> {
        self.shared.requests.get(usize::from(shard.0)).ok_or(Stopped)
    }

    fn way_to_any(&self) -> Result<&mpsc::UnboundedSender<Request>, Stopped> {
        let number = self.shared.subscribed.fetch_add(1, Ordering::Relaxed);
        let shard = number.checked_rem(self.shared.requests.len());
        shard.and_then(|shard| self.shared.requests.get(shard)).ok_or(Stopped)
    }

    /// Asks all shards at once.
    async fn ask_all<T>(
        &self,
        request: impl Fn(oneshot::Sender<T>) -> Request,
    ) -> Result<Vec<T>, Stopped> {
        let answers: Vec<_> =
            self.shared.requests.iter().map(|requests| ask(requests, &request)).collect();
        let mut all = Vec::with_capacity(answers.len());
        for answer in answers {
            all.push(answer.await.map_err(|_| Stopped)?);
        }
        Ok(all)
    }
}

/// Asks one shard; the question is on its way when this returns. If the shard's thread has ended,
/// so has the way for an answer.
fn ask<T>(
    requests: &mpsc::UnboundedSender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> oneshot::Receiver<T> {
    let (reply, answer) = oneshot::channel();
    let _ = requests.send(request(reply));
    answer
}
