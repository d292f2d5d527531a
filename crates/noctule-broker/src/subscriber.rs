//! A subscription of the host program, seen from the shard's thread: from CONNECT to a mailbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use noctule_broker_core::ConnectionId;
use noctule_packet::{
    Ack, Disconnect, Packet, PacketId, Publish, ReasonCode, Suback, Subscribe, SubscriptionList,
    TopicFilter, UserProperties,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::error::SubscribeError;
use crate::host::{Room, send_to};
use crate::publication::Received;
use crate::request::Request;
use crate::subscription::{Delivery, Mailbox, SubscriptionRequest};

/// The client half of a subscription.
#[derive(Debug)]
pub(crate) struct Subscriber {
    subscription: SubscriptionRequest,
    mailbox: mpsc::Sender<Delivery>,
    is_full: Arc<AtomicBool>,
    opening: Option<Opening>,
}

/// What is needed until the subscription is granted.
#[derive(Debug)]
struct Opening {
    deliveries: mpsc::Receiver<Delivery>,
    requests: mpsc::UnboundedSender<Request>,
    reply: oneshot::Sender<Result<Mailbox, SubscribeError>>,
}

impl Subscriber {
    pub(crate) fn new(
        subscription: SubscriptionRequest,
        requests: mpsc::UnboundedSender<Request>,
        reply: oneshot::Sender<Result<Mailbox, SubscribeError>>,
    ) -> Self {
        let (mailbox, deliveries) = mpsc::channel(subscription.mailbox_messages_max.into());
        Self {
            subscription,
            mailbox,
            is_full: Arc::default(),
            opening: Some(Opening { deliveries, requests, reply }),
        }
    }

    /// The broker's window: what the mailbox holds.
    pub(crate) fn receive_maximum(&self) -> u16 {
        self.subscription.mailbox_messages_max
    }

    pub(crate) fn on_packet(
        &mut self,
        id: ConnectionId,
        packet: &Packet<'_>,
        out: &mut Vec<u8>,
    ) -> Room {
        match packet {
            Packet::Connack(connack) if connack.reason_code.is_error() => {
                self.refuse(SubscribeError::Disconnected(connack.reason_code));
            }
            Packet::Connack(_) => self.send_subscribe(out),
            Packet::Suback(suback) => self.on_suback(id, suback, out),
            Packet::Publish(publish) => return self.on_publish(publish),
            Packet::Pubrel(ack) => {
                send_to(out, &Packet::Pubcomp(Ack::new(ack.packet_id, ReasonCode::Success)));
            }
            Packet::Disconnect(disconnect) => {
                self.refuse(SubscribeError::Disconnected(disconnect.reason_code));
            }
            _ => {}
        }
        Room::Taken
    }

    /// Tells whoever still waits for the subscription that it does not come.
    pub(crate) fn refuse(&mut self, error: SubscribeError) {
        if let Some(opening) = self.opening.take() {
            let _ = opening.reply.send(Err(error));
        }
    }

    fn send_subscribe(&self, out: &mut Vec<u8>) {
        let options = self.subscription.options();
        let mut subscriptions = SubscriptionList::new();
        for filter in &self.subscription.filters {
            // The handle has checked them.
            if let Ok(filter) = TopicFilter::new(filter) {
                subscriptions.push(&filter, options);
            }
        }
        let Some(packet_id) = PacketId::new(1) else { return };
        let subscribe = Subscribe {
            packet_id,
            subscription_identifier: None,
            user_properties: UserProperties::new(),
            subscriptions,
        };
        send_to(out, &Packet::Subscribe(subscribe));
    }

    fn on_suback(&mut self, id: ConnectionId, suback: &Suback<'_>, out: &mut Vec<u8>) {
        let codes = suback.reason_codes.iter().copied();
        let refused = self.subscription.filters.iter().zip(codes).find(|(_, code)| code.is_error());
        if let Some((filter, reason)) = refused {
            let filter = filter.clone();
            self.refuse(SubscribeError::Refused { filter, reason });
            send_to(out, &Packet::Disconnect(Disconnect::default()));
            return;
        }
        let Some(Opening { deliveries, requests, reply }) = self.opening.take() else { return };
        let is_full = Arc::clone(&self.is_full);
        // If nobody waits any more, dropping the mailbox ends the subscription.
        let _ = reply.send(Ok(Mailbox { connection: id, deliveries, is_full, requests }));
    }

    fn on_publish(&self, publish: &Publish<'_>) -> Room {
        let permit = match self.mailbox.try_reserve() {
            Ok(permit) => permit,
            Err(TrySendError::Closed(())) => return Room::Taken,
            Err(TrySendError::Full(())) => {
                self.is_full.store(true, Ordering::Release);
                // The last message may have been taken before the flag could be seen.
                match self.mailbox.try_reserve() {
                    Ok(permit) => permit,
                    Err(TrySendError::Closed(())) => return Room::Taken,
                    Err(TrySendError::Full(())) => return Room::Full,
                }
            }
        };
        permit.send(Delivery {
            message: Received::from_packet(publish),
            packet_id: publish.packet_id,
        });
        Room::Taken
    }
}
