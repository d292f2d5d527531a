//! What the host program subscribes to, and the stream of messages it gets.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use noctule_broker_core::ConnectionId;
use noctule_packet::{PacketId, QoS, RetainHandling, SubscriptionOptions, TopicFilter};
use tokio::sync::mpsc;

use crate::blocking::block_on;
use crate::error::SubscribeError;
use crate::publication::Received;
use crate::request::Request;

/// What the host program subscribes to. A plain text is a filter with the defaults.
///
/// ```
/// use noctule_broker::{QoS, SubscriptionRequest};
///
/// let request = SubscriptionRequest::new("house/#")
///     .and("garden/+/moisture")
///     .qos(QoS::AtLeastOnce)
///     .mailbox_messages_max(64);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct SubscriptionRequest {
    pub(crate) filters: Vec<String>,
    pub(crate) mailbox_messages_max: u16,
    options: SubscriptionOptions,
}

impl SubscriptionRequest {
    /// A subscription to one filter, up to QoS 2, with room for 256 messages.
    pub fn new(filter: impl Into<String>) -> Self {
        Self {
            filters: vec![filter.into()],
            mailbox_messages_max: 256,
            options: SubscriptionOptions {
                qos: QoS::ExactlyOnce,
                no_local: false,
                retain_as_published: false,
                retain_handling: RetainHandling::SendAtSubscribe,
            },
        }
    }

    /// Adds a filter.
    pub fn and(mut self, filter: impl Into<String>) -> Self {
        self.filters.push(filter.into());
        self
    }

    /// The highest QoS of a delivery; QoS 2 by default.
    pub fn qos(mut self, qos: QoS) -> Self {
        self.options.qos = qos;
        self
    }

    /// Whether messages keep the RETAIN flag that their publisher set; they do not by default.
    pub fn retain_as_published(mut self, keep: bool) -> Self {
        self.options.retain_as_published = keep;
        self
    }

    /// Whether retained messages are wanted; they are by default.
    pub fn retain_handling(mut self, retain_handling: RetainHandling) -> Self {
        self.options.retain_handling = retain_handling;
        self
    }

    /// How many messages wait for [`Subscription::next`] at a time, at least one. Behind that the
    /// broker's own limits for a slow client apply: QoS 0 is dropped, the rest is queued.
    pub fn mailbox_messages_max(mut self, messages: u16) -> Self {
        self.mailbox_messages_max = messages.max(1);
        self
    }

    pub(crate) fn options(&self) -> SubscriptionOptions {
        self.options
    }

    pub(crate) fn check(&self) -> Result<(), SubscribeError> {
        if self.filters.is_empty() {
            return Err(SubscribeError::NoFilter);
        }
        match self.filters.iter().find(|filter| TopicFilter::new(filter).is_err()) {
            Some(filter) => Err(SubscribeError::InvalidFilter { filter: filter.clone() }),
            None => Ok(()),
        }
    }
}

impl From<&str> for SubscriptionRequest {
    fn from(filter: &str) -> Self {
        Self::new(filter)
    }
}

impl From<String> for SubscriptionRequest {
    fn from(filter: String) -> Self {
        Self::new(filter)
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for SubscriptionRequest {
    fn from(filters: [T; N]) -> Self {
        let filters = filters.into_iter().map(Into::into).collect();
        Self { filters, ..Self::new(String::new()) }
    }
}

/// A message in a mailbox, with what acknowledges it.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Received,
    pub(crate) packet_id: Option<PacketId>,
}

/// The receiving end of a mailbox, as the shard's thread makes it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) connection: ConnectionId,
    pub(crate) deliveries: mpsc::Receiver<Delivery>,
    /// Set while the shard's thread holds messages back because the mailbox is full.
    pub(crate) is_full: Arc<AtomicBool>,
    pub(crate) requests: mpsc::UnboundedSender<Request>,
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        // A broker that has stopped has no connection left to end.
        let _ = self.requests.send(Request::Leave { connection: self.connection });
    }
}

/// The messages of one subscription of the host program, in order.
///
/// A message with QoS 1 or 2 is acknowledged when it is taken out. Dropping the subscription ends
/// it. It does not keep the broker running.
pub struct Subscription {
    mailbox: Mailbox,
}

impl Subscription {
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self { mailbox }
    }

    /// The next message; `None` once the broker has stopped or the host was disconnected.
    pub async fn next(&mut self) -> Option<Received> {
        poll_fn(|context| self.poll_take(context)).await
    }

    /// [`Subscription::next`] for a thread without an executor.
    pub fn next_blocking(&mut self) -> Option<Received> {
        block_on(self.next())
    }

    /// A message that waits already.
    pub fn try_next(&mut self) -> Option<Received> {
        let delivery = self.mailbox.deliveries.try_recv().ok()?;
        Some(self.taken(delivery))
    }

    fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Option<Received>> {
        let delivery = std::task::ready!(self.mailbox.deliveries.poll_recv(context));
        Poll::Ready(delivery.map(|delivery| self.taken(delivery)))
    }

    fn taken(&self, Delivery { message, packet_id }: Delivery) -> Received {
        let connection = self.mailbox.connection;
        let was_full = self.mailbox.is_full.swap(false, Ordering::AcqRel);
        let request = match packet_id {
            Some(packet_id) => Request::Taken { connection, packet_id, qos: message.qos },
            None if was_full => Request::Room { connection },
            None => return message,
        };
        // A broker that has stopped needs no acknowledgement.
        let _ = self.mailbox.requests.send(request);
        message
    }
}

impl Stream for Subscription {
    type Item = Received;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received>> {
        self.get_mut().poll_take(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("waiting", &self.mailbox.deliveries.len())
            .finish_non_exhaustive()
    }
}
