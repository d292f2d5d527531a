//! What handles and subscriptions send to a shard's thread.

use noctule_broker_core::{ClientSummary, ConnectionId, Gauges, Statistics};
use noctule_packet::{PacketId, QoS};
use noctule_store::StoreStatus;
use tokio::sync::{mpsc, oneshot};

use crate::error::{PublishError, SubscribeError};
use crate::publication::Publication;
use crate::subscription::{Mailbox, SubscriptionRequest};

/// Something that is asked of a shard's thread. If the thread ends first, the reply's sender is
/// dropped, and whoever waits learns that.
#[derive(Debug)]
pub(crate) enum Request {
    /// The counters and gauges.
    Statistics(oneshot::Sender<(Statistics, Gauges)>),
    /// How the store is doing.
    StoreStatus(oneshot::Sender<Option<StoreStatus>>),
    /// Every client that has its home there.
    Clients(oneshot::Sender<Vec<ClientSummary>>),
    /// Disconnect a client that has its home there; answers whether it was connected.
    Kick { client_id: Box<str>, reply: oneshot::Sender<bool> },
    /// Open a subscription of the host program.
    Subscribe {
        subscription: SubscriptionRequest,
        /// Where the mailbox tells that messages were taken and that it was dropped.
        requests: mpsc::UnboundedSender<Request>,
        reply: oneshot::Sender<Result<Mailbox, SubscribeError>>,
    },
    /// The host program took a message with QoS 1 or 2 out of a mailbox.
    Taken { connection: ConnectionId, packet_id: PacketId, qos: QoS },
    /// A mailbox that was full has room.
    Room { connection: ConnectionId },
    /// A subscription was dropped.
    Leave { connection: ConnectionId },
}

/// A message of the host program, and where its outcome goes.
#[derive(Debug)]
pub(crate) struct PublishRequest {
    pub(crate) publication: Publication,
    pub(crate) reply: oneshot::Sender<Result<(), PublishError>>,
}
