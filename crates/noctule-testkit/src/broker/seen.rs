//! What a test asks a test broker about its clients: what they did, and what they do next.

use noctule_packet::{PacketType, QoS};

use super::TestBroker;
use super::record::{Happening, Received, check_filter};
use super::session::Subscribed;
use super::wait::Wait;
use crate::{OwnedConnect, OwnedPacket, OwnedPublish, OwnedSubscribe, OwnedUnsubscribe};

/// What clients did.
impl TestBroker {
    /// Everything that clients did so far, in order.
    pub fn received(&self) -> Vec<Received> {
        self.house.look(|state| state.records().cloned().collect())
    }

    /// The messages that were published so far to topics that this filter matches, in order.
    ///
    /// # Panics
    ///
    /// When it is no topic filter.
    #[track_caller]
    pub fn publishes(&self, filter: &str) -> Vec<OwnedPublish> {
        check_filter(filter);
        let of = |received: &Received| received.publish_to(filter).cloned();
        self.house.look(|state| state.records().filter_map(of).collect())
    }

    /// How many connections there were so far, but for those that [`play`](Self::play) had.
    pub fn connections(&self) -> u64 {
        self.house.look(|state| state.opened)
    }

    /// How many connections there are.
    pub fn open_connections(&self) -> usize {
        self.house.look(|state| state.connections.len())
    }

    /// The topic filters that a client has subscribed to, with the quality of service of each.
    pub fn subscriptions(&self, client_id: &str) -> Vec<(String, QoS)> {
        self.house.look(|state| {
            let Some(session) = state.sessions.get(client_id) else { return Vec::new() };
            let of = |(filter, subscribed): (&String, &Subscribed)| {
                (filter.clone(), subscribed.options.qos)
            };
            session.subscriptions.iter().map(of).collect()
        })
    }

    /// The retained message of a topic, if there is one.
    pub fn retained(&self, topic: &str) -> Option<OwnedPublish> {
        self.house.look(|state| state.retained.get(topic)?.alive(state.now))
    }

    /// Everything that was said so far, a line for each packet, with the number of its connection.
    pub fn transcript(&self) -> String {
        self.house.look(|state| state.transcript.to_string())
    }
}

/// What clients do next.
impl TestBroker {
    /// Waits for something that `select` wants; `wanted` says what in the message of a failure.
    #[track_caller]
    pub fn wait_for<T: 'static>(
        &self,
        wanted: &str,
        mut select: impl FnMut(&Received) -> Option<T> + Send + 'static,
    ) -> Wait<T> {
        Wait::new(&self.house, wanted, move |received, _| select(received))
    }

    /// Waits for the next CONNECT.
    #[track_caller]
    pub fn next_connect(&self) -> Wait<OwnedConnect> {
        self.wait_for("CONNECT", |received| match received.packet() {
            Some(OwnedPacket::Connect(connect)) => Some((**connect).clone()),
            _ => None,
        })
    }

    /// Waits for the next PUBLISH to a topic that this filter matches.
    ///
    /// # Panics
    ///
    /// When it is no topic filter.
    #[track_caller]
    pub fn next_publish(&self, filter: &str) -> Wait<OwnedPublish> {
        check_filter(filter);
        let (wanted, filter) = (format!("PUBLISH to {filter:?}"), filter.to_owned());
        self.wait_for(&wanted, move |received| received.publish_to(&filter).cloned())
    }

    /// Waits for the next SUBSCRIBE.
    #[track_caller]
    pub fn next_subscribe(&self) -> Wait<OwnedSubscribe> {
        self.wait_for("SUBSCRIBE", |received| match received.packet() {
            Some(OwnedPacket::Subscribe(subscribe)) => Some(subscribe.clone()),
            _ => None,
        })
    }

    /// Waits for the next UNSUBSCRIBE.
    #[track_caller]
    pub fn next_unsubscribe(&self) -> Wait<OwnedUnsubscribe> {
        self.wait_for("UNSUBSCRIBE", |received| match received.packet() {
            Some(OwnedPacket::Unsubscribe(unsubscribe)) => Some(unsubscribe.clone()),
            _ => None,
        })
    }

    /// Waits for the next packet of a type.
    #[track_caller]
    pub fn next_packet(&self, packet_type: PacketType) -> Wait<OwnedPacket> {
        self.wait_for(packet_type.name(), move |received| {
            received.packet().filter(|packet| packet.packet_type() == packet_type).cloned()
        })
    }

    /// Waits until the next connection has ended. Its number.
    #[track_caller]
    pub fn next_close(&self) -> Wait<u64> {
        self.wait_for("the end of a connection", |received| {
            (received.what == Happening::Closed).then_some(received.connection)
        })
    }
}
