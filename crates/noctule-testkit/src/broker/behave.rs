//! What a test broker answers, and where it does what a rule says.

use noctule_packet::{Ack, Packet, PacketId, QoS, ReasonCode, Suback, Unsuback};

use super::record::Happening;
use super::rule::Act;
use super::session::{Stored, Subscribed};
use super::state::{Manner, State};
use crate::{OwnedAck, OwnedPacket, OwnedPublish, OwnedSubscribe, OwnedUnsubscribe};

impl State {
    /// A client has sent a packet.
    pub(crate) fn on_packet(&mut self, number: u64, mut packet: OwnedPacket) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match &mut packet {
            OwnedPacket::Connect(connect) => connection.client_id.clone_from(&connect.client_id),
            // Rules and records are about topics.
            OwnedPacket::Publish(publish) => connection.resolve_alias(publish),
            _ => {}
        }
        let entry = self.recorded();
        self.record(number, Happening::Packet(packet.clone()));
        let Some(connection) = self.connections.get(&number) else { return };
        if connection.is_scripted {
            return;
        }
        let is_connect = matches!(packet, OwnedPacket::Connect(_));
        if connection.is_accepted == is_connect {
            // [MQTT5-3.1.0-1] [MQTT5-3.1.0-2]
            self.refuse(number, ReasonCode::ProtocolError);
            return;
        }
        let client_id = connection.client_id.clone();
        let mut act = None;
        for rule in &mut self.rules {
            act = rule.act_on(&client_id, &packet).or(act);
        }
        self.manner = match &act {
            Some(Act::Ignore) => return self.transcript_event(number, "ignored by a rule"),
            Some(Act::Instead(bytes)) => {
                let bytes = bytes.clone();
                return self.send_bytes(number, &bytes);
            }
            Some(Act::Delay(delay)) => Manner::After(*delay),
            Some(Act::StaySilent | Act::Close | Act::Reset) => Manner::Never,
            _ => Manner::AtOnce,
        };
        self.deal_with(number, packet, entry, act.as_ref());
        self.manner = Manner::AtOnce;
        match act {
            Some(Act::Disconnect(reason)) => self.refuse(number, reason),
            Some(Act::Close) => self.end(number),
            Some(Act::Reset) => self.reset(number),
            _ => {}
        }
    }

    fn deal_with(&mut self, number: u64, packet: OwnedPacket, entry: u64, act: Option<&Act>) {
        match packet {
            OwnedPacket::Connect(connect) => self.on_connect(number, &connect, act),
            OwnedPacket::Publish(publish) => self.on_publish(number, *publish, entry, act),
            OwnedPacket::Puback(ack) | OwnedPacket::Pubcomp(ack) => {
                self.on_delivered(number, ack.packet_id);
            }
            OwnedPacket::Pubrec(ack) => self.on_pubrec(number, &ack),
            OwnedPacket::Pubrel(ack) => self.on_pubrel(number, ack.packet_id),
            OwnedPacket::Subscribe(subscribe) => self.on_subscribe(number, subscribe, act),
            OwnedPacket::Unsubscribe(unsubscribe) => {
                self.on_unsubscribe(number, &unsubscribe, act);
            }
            OwnedPacket::Pingreq => self.answer(number, &Packet::Pingresp),
            OwnedPacket::Disconnect(disconnect) => self.on_disconnect(number, &disconnect),
            OwnedPacket::Auth(_) => self.refuse(number, ReasonCode::BadAuthenticationMethod),
            OwnedPacket::Connack(_)
            | OwnedPacket::Suback(_)
            | OwnedPacket::Unsuback(_)
            | OwnedPacket::Pingresp => self.refuse(number, ReasonCode::ProtocolError),
        }
    }

    fn on_publish(&mut self, number: u64, publish: OwnedPublish, entry: u64, act: Option<&Act>) {
        let Some(connection) = self.connections.get(&number) else { return };
        if publish.topic.is_empty() {
            return self.refuse(number, ReasonCode::TopicAliasInvalid);
        }
        let client_id = connection.client_id.clone();
        let is_repeated = publish.qos == QoS::ExactlyOnce
            && self
                .sessions
                .get(&client_id)
                .is_some_and(|session| session.received.contains(&publish.id()));
        if is_repeated {
            // [MQTT5-4.3.3-10]: it was dealt with when it came first.
            return self.acknowledge(number, &publish, ReasonCode::Success);
        }
        if let Some(Act::Refuse(reason)) = act {
            return self.acknowledge(number, &publish, *reason);
        }
        if self.holds_publications && act.is_none() {
            self.held.insert((number, entry));
            return;
        }
        self.accept(number, &publish);
        if let Some(Act::Answer(answer)) = act
            && let Some(topic) = &publish.response_topic
        {
            let mut reply = OwnedPublish::new(topic, answer(&publish), publish.qos);
            reply.correlation_data.clone_from(&publish.correlation_data);
            self.route(&reply, None);
        }
    }

    /// Forwards a message and acknowledges it.
    pub(crate) fn accept(&mut self, number: u64, publish: &OwnedPublish) {
        let client_id = self.connections.get(&number).map(|it| it.client_id.clone());
        if let (Some(client_id), QoS::ExactlyOnce) = (&client_id, publish.qos)
            && let Some(session) = self.sessions.get_mut(client_id)
        {
            session.received.insert(publish.id());
        }
        self.keep_and_route(publish, client_id.as_deref());
        self.acknowledge(number, publish, ReasonCode::Success);
    }

    /// Keeps a message if it is to be retained, and sends it to everybody who subscribes to its
    /// topic. How many that are.
    pub(crate) fn keep_and_route(&mut self, publish: &OwnedPublish, from: Option<&str>) -> usize {
        if publish.retain {
            self.retain(publish);
        }
        self.route(publish, from)
    }

    /// Says PUBACK or PUBREC.
    pub(crate) fn acknowledge(&mut self, number: u64, publish: &OwnedPublish, reason: ReasonCode) {
        let Some(packet_id) = publish.packet_id.and_then(PacketId::new) else { return };
        let ack = Ack::new(packet_id, reason);
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.answer(number, &Packet::Puback(ack)),
            QoS::ExactlyOnce => self.answer(number, &Packet::Pubrec(ack)),
        }
    }

    fn on_pubrel(&mut self, number: u64, packet_id: u16) {
        let mut reason = ReasonCode::PacketIdentifierNotFound;
        if let Some(session) = self.session_of(number)
            && session.received.remove(&packet_id)
        {
            reason = ReasonCode::Success;
        }
        if let Some(packet_id) = PacketId::new(packet_id) {
            self.answer(number, &Packet::Pubcomp(Ack::new(packet_id, reason)));
        }
    }

    /// The client has a message of ours, or does not want it.
    fn on_delivered(&mut self, number: u64, packet_id: u16) {
        let Some(session) = self.session_of(number) else { return };
        session.in_flight.retain(|message| message.publish.packet_id != Some(packet_id));
        self.flush(number);
    }

    fn on_pubrec(&mut self, number: u64, ack: &OwnedAck) {
        if ack.reason_code.is_error() {
            return self.on_delivered(number, ack.packet_id);
        }
        let Some(session) = self.session_of(number) else { return };
        let mut reason = ReasonCode::PacketIdentifierNotFound;
        for message in &mut session.in_flight {
            if message.publish.packet_id == Some(ack.packet_id) {
                message.is_released = true;
                reason = ReasonCode::Success;
            }
        }
        if let Some(packet_id) = PacketId::new(ack.packet_id) {
            self.answer(number, &Packet::Pubrel(Ack::new(packet_id, reason)));
        }
    }

    fn on_subscribe(&mut self, number: u64, subscribe: OwnedSubscribe, act: Option<&Act>) {
        let now = self.now;
        let Some(session) = self.session_of(number) else { return };
        let (mut codes, mut retained) = (Vec::new(), Vec::new());
        for (filter, options) in subscribe.subscriptions {
            if let Some(Act::Refuse(reason)) = act {
                codes.push(*reason);
                continue;
            }
            codes.push(ReasonCode::granted(options.qos));
            let identifier = subscribe.subscription_identifier;
            let subscribed = Subscribed { options, identifier };
            let is_new = session.subscriptions.insert(filter.clone(), subscribed).is_none();
            retained.push((filter, subscribed, is_new));
        }
        let Some(packet_id) = PacketId::new(subscribe.packet_id) else { return };
        self.answer(number, &Packet::Suback(Suback::new(packet_id, codes)));
        for (filter, subscribed, is_new) in retained {
            self.replay(number, &filter, subscribed, is_new, now);
        }
    }

    fn on_unsubscribe(&mut self, number: u64, unsubscribe: &OwnedUnsubscribe, act: Option<&Act>) {
        let Some(session) = self.session_of(number) else { return };
        let mut codes = Vec::new();
        for filter in &unsubscribe.filters {
            codes.push(match act {
                Some(Act::Refuse(reason)) => *reason,
                _ if session.subscriptions.remove(filter).is_some() => ReasonCode::Success,
                _ => ReasonCode::NoSubscriptionExisted,
            });
        }
        if let Some(packet_id) = PacketId::new(unsubscribe.packet_id) {
            self.answer(number, &Packet::Unsuback(Unsuback::new(packet_id, codes)));
        }
    }

    /// Keeps a retained message, or forgets it.
    fn retain(&mut self, publish: &OwnedPublish) {
        if publish.payload.is_empty() {
            self.retained.remove(&publish.topic);
        } else {
            let stored = Stored::new(publish.clone(), self.now);
            self.retained.insert(publish.topic.clone(), stored);
        }
    }
}
