//! Whole exchanges of packets in one call, for tests that are about something else.

use noctule_packet::{
    Packet, PacketType, QoS, ReasonCode, Subscribe, SubscriptionList, SubscriptionOptions,
    TopicFilter, Unsubscribe,
};

use crate::arrival::Arrival;
use crate::{
    OwnedAck, OwnedConnack, OwnedConnect, OwnedPublish, OwnedSuback, OwnedUnsuback, Peer, Stream,
};

/// While an exchange waits for its answer, other packets may arrive, as MQTT allows: they are kept,
/// and the next expectations see them in their order. A DISCONNECT or the end of the connection
/// fails the test.
impl<S: Stream> Peer<S> {
    /// Sends CONNECT and expects that it is accepted.
    #[track_caller]
    pub fn open(&mut self, connect: &OwnedConnect) -> OwnedConnack {
        self.send_connect(connect);
        self.expect_connack_with(ReasonCode::Success)
    }

    /// Subscribes and returns the code of each filter.
    #[track_caller]
    pub fn subscribe(&mut self, filters: &[(&str, QoS)]) -> Vec<ReasonCode> {
        let subscriptions: Vec<_> = filters
            .iter()
            .map(|(filter, qos)| (*filter, SubscriptionOptions { qos: *qos, ..Default::default() }))
            .collect();
        self.subscribe_with(None, &subscriptions)
    }

    /// Subscribes with a subscription identifier and all options, and returns the code of each
    /// filter.
    #[track_caller]
    pub fn subscribe_with(
        &mut self,
        subscription_identifier: Option<u32>,
        filters: &[(&str, SubscriptionOptions)],
    ) -> Vec<ReasonCode> {
        let packet_id = self.next_packet_id();
        let mut subscriptions = SubscriptionList::default();
        for (filter, options) in filters {
            subscriptions.push(&self.filter(filter), *options);
        }
        self.send(Packet::Subscribe(Subscribe {
            packet_id: self.packet_id(packet_id),
            subscription_identifier,
            user_properties: Default::default(),
            subscriptions,
        }));
        let codes = self.await_answer(&format!("SUBACK {packet_id}"), |packet| match packet {
            Packet::Suback(suback) if suback.packet_id.value() == packet_id => {
                Some(OwnedSuback::copy_of(suback).reason_codes)
            }
            _ => None,
        });
        if codes.len() != filters.len() {
            let (codes, filters) = (codes.len(), filters.len());
            self.fail(&format!("SUBACK has {codes} codes for {filters} filters"));
        }
        codes
    }

    /// Unsubscribes and returns the code of each filter; none before 5.0.
    #[track_caller]
    pub fn unsubscribe(&mut self, filters: &[&str]) -> Vec<ReasonCode> {
        let packet_id = self.next_packet_id();
        let mut list = noctule_packet::FilterList::default();
        for filter in filters {
            list.push(&self.filter(filter));
        }
        self.send(Packet::Unsubscribe(Unsubscribe {
            packet_id: self.packet_id(packet_id),
            user_properties: Default::default(),
            filters: list,
        }));
        let codes = self.await_answer(&format!("UNSUBACK {packet_id}"), |packet| match packet {
            Packet::Unsuback(unsuback) if unsuback.packet_id.value() == packet_id => {
                Some(OwnedUnsuback::copy_of(unsuback).reason_codes)
            }
            _ => None,
        });
        if self.version.is_v5() && codes.len() != filters.len() {
            let (codes, filters) = (codes.len(), filters.len());
            self.fail(&format!("UNSUBACK has {codes} codes for {filters} filters"));
        }
        codes
    }

    /// Publishes and plays the handshake of the quality of service to its end.
    ///
    /// # Panics
    ///
    /// When the message is refused; [`publish_with`](Self::publish_with) returns the reason.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>, qos: QoS) {
        let reason = self.publish_with(&OwnedPublish::new(topic, payload, qos));
        if reason.is_error() {
            self.fail(&format!("The message to {topic:?} was refused: {reason}"));
        }
    }

    /// Publishes, plays the handshake of the quality of service to its end, and returns the reason
    /// of PUBACK or PUBREC (success at QoS 0). Chooses a packet identifier if there is none.
    #[track_caller]
    pub fn publish_with(&mut self, publish: &OwnedPublish) -> ReasonCode {
        let mut publish = publish.clone();
        if publish.qos == QoS::AtMostOnce {
            self.send_publish(&publish);
            return ReasonCode::Success;
        }
        let packet_id = match publish.packet_id {
            Some(packet_id) => packet_id,
            None => *publish.packet_id.insert(self.next_packet_id()),
        };
        self.send_publish(&publish);
        if publish.qos == QoS::AtLeastOnce {
            return self.await_ack(PacketType::Puback, packet_id).reason_code;
        }
        let reason = self.await_ack(PacketType::Pubrec, packet_id).reason_code;
        if !reason.is_error() {
            self.send_pubrel(packet_id);
            self.await_completion(PacketType::Pubcomp, packet_id);
        }
        reason
    }

    /// Expects PUBLISH and plays the handshake of its quality of service to its end.
    #[track_caller]
    pub fn receive(&mut self) -> OwnedPublish {
        let publish = self.expect_publish();
        self.acknowledge(&publish);
        publish
    }

    /// Every message that comes before the answer to a PINGREQ; then plays their handshakes, which
    /// may make room for more.
    #[track_caller]
    pub fn receive_all(&mut self) -> Vec<OwnedPublish> {
        self.send_pingreq();
        let mut messages = Vec::new();
        while let Some(message) = self.expect_with("PUBLISH or PINGRESP", |packet| match packet {
            Packet::Publish(publish) => Some(Some(OwnedPublish::copy_of(publish))),
            Packet::Pingresp => Some(None),
            _ => None,
        }) {
            messages.push(message);
        }
        for message in &messages {
            self.acknowledge(message);
        }
        messages
    }

    /// Plays the handshake of a message that [`expect_publish`](Self::expect_publish) returned.
    #[track_caller]
    pub fn acknowledge(&mut self, publish: &OwnedPublish) {
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.send_puback(publish.id()),
            QoS::ExactlyOnce => {
                self.send_pubrec(publish.id());
                self.await_completion(PacketType::Pubrel, publish.id());
                self.send_pubcomp(publish.id());
            }
        }
    }

    /// Leaves: sends DISCONNECT (normal), and expects the orderly end of the connection without
    /// anything before it.
    #[track_caller]
    pub fn disconnect(mut self) {
        self.send_disconnect(ReasonCode::Success);
        self.expect_closed();
    }

    /// The filter with this text.
    #[track_caller]
    fn filter<'a>(&self, filter: &'a str) -> TopicFilter<'a> {
        match TopicFilter::new(filter) {
            Ok(filter) => filter,
            Err(error) => self.fail(&format!(
                "{filter:?} is no filter ({error}); it can be sent with `send_bytes` only"
            )),
        }
    }

    #[track_caller]
    fn await_completion(&mut self, packet_type: PacketType, packet_id: u16) {
        let reason = self.await_ack(packet_type, packet_id).reason_code;
        if reason.is_error() {
            self.fail(&format!("{packet_type} {packet_id} tells of a failure: {reason}"));
        }
    }

    #[track_caller]
    fn await_ack(&mut self, packet_type: PacketType, packet_id: u16) -> OwnedAck {
        self.await_answer(&format!("{packet_type} {packet_id}"), |packet| {
            OwnedAck::copy_of(packet)
                .filter(|ack| packet.packet_type() == packet_type && ack.packet_id == packet_id)
        })
    }

    /// Waits for the answer to what was just sent and keeps what arrives before it. What was kept
    /// earlier arrived before the question and cannot be the answer.
    #[track_caller]
    fn await_answer<T>(&mut self, wanted: &str, select: impl Fn(&Packet<'_>) -> Option<T>) -> T {
        let deadline = self.deadline();
        loop {
            let arrival = self.next_from_stream(deadline);
            let Arrival::Packet(packet) = arrival else {
                self.fail_at(wanted, &arrival);
            };
            let looked = self.with_packet(&packet, |packet| (select(packet), may_wait(packet)));
            match looked {
                Ok((Some(selected), _)) => return selected,
                Ok((None, true)) => self.deferred.push_back(packet),
                _ => self.fail_at(wanted, &Arrival::Packet(packet)),
            }
        }
    }
}

/// Whether a packet may arrive while another is waited for.
const fn may_wait(packet: &Packet<'_>) -> bool {
    !matches!(packet, Packet::Connect(_) | Packet::Connack(_) | Packet::Disconnect(_))
}
