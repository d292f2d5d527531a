//! What a store is asked to keep, and what it gives back of a session.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{PacketId, QoS, SubscriptionOptions};

use crate::effect::{Effects, Token};
use crate::message::Message;
use crate::registry::SessionKey;
use crate::session::Delivery;
use crate::shard::Shard;
use crate::subscribe::Request;

/// One fact to be made durable.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Record {
    /// A session begins, goes on, or is to be kept for another time from now on. Everything stored
    /// under the identifier before is void if `new`.
    SessionStarted {
        /// Whose.
        client_id: Arc<str>,
        /// Whether it begins anew.
        new: bool,
        /// Its Session Expiry Interval; 0 stores nothing.
        session_expiry_interval: u32,
    },
    /// A session is over.
    SessionEnded {
        /// Whose.
        client_id: Arc<str>,
    },
    /// A subscription was made or replaced.
    Subscribed {
        /// Whose.
        client_id: Arc<str>,
        /// What.
        subscription: StoredSubscription,
    },
    /// A subscription was ended.
    Unsubscribed {
        /// Whose.
        client_id: Arc<str>,
        /// The whole filter.
        filter: Box<str>,
    },
    /// A message was accepted for stored sessions, as a retained message, or from a QoS 2
    /// publisher.
    Published {
        /// The QoS 2 publication that must not be accepted again.
        received: Option<(Arc<str>, PacketId)>,
        /// The message.
        message: Arc<Message>,
        /// The stored sessions that it waits for.
        sessions: Vec<Arc<str>>,
    },
    /// A QoS 2 publication was released by its publisher.
    Released {
        /// The publisher.
        client_id: Arc<str>,
        /// The packet identifier that is free again.
        packet_id: PacketId,
    },
}

/// One subscription as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSubscription {
    /// The whole filter.
    pub filter: Box<str>,
    /// Its options.
    pub options: SubscriptionOptions,
    /// Its Subscription Identifier.
    pub identifier: Option<u32>,
}

/// One message that waits for a stored session.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    /// The message.
    pub message: Arc<Message>,
    /// The quality of service to deliver it with.
    pub qos: QoS,
    /// Whether to deliver it with RETAIN set.
    pub retain: bool,
    /// The Subscription Identifiers to deliver it with.
    pub identifiers: Vec<u32>,
}

/// A session as a store gives it back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredSession {
    /// Its subscriptions.
    pub subscriptions: Vec<StoredSubscription>,
    /// What waits for it, in order.
    pub messages: Vec<StoredMessage>,
    /// QoS 2 packet identifiers that its client has not released.
    pub received: Vec<PacketId>,
}

impl Shard {
    /// Fills a session with what was stored. How many answers of other shards to wait for.
    pub(crate) fn restore(
        &mut self,
        key: SessionKey,
        stored: StoredSession,
        token: Token,
        effects: &mut Effects,
    ) -> u32 {
        let subscriptions: Vec<Request> =
            stored.subscriptions.into_iter().map(Request::from_stored).collect();
        let mut parts = 0;
        for request in &subscriptions {
            let (_, change) = self.add_subscription(key, request);
            parts += self.tell_subscription(key, request, change, token, effects);
        }
        let Some(session) = self.registry.session_mut(key) else { return parts };
        for packet_id in stored.received {
            session.receiver.restore(packet_id);
        }
        for stored in stored.messages {
            let identifiers = stored.identifiers.into();
            let delivery = Delivery::new(stored.message, stored.retain, identifiers, None);
            self.memory.grow(delivery.message.bytes() as u64);
            session.enqueue(delivery, stored.qos);
        }
        parts
    }
}
