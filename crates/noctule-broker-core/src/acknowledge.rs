//! PUBACK, PUBREC, PUBREL and PUBCOMP, in both directions.

use alloc::string::{String, ToString};
use alloc::sync::Arc;

use noctule_packet::{Ack, Packet, PacketId, PacketType, ReasonCode, Version};
use noctule_session::{Acknowledgement, AcknowledgementKind, AnswerId, SenderError};
use smallvec::SmallVec;

use crate::connection::Flow;
use crate::effect::{Effect, Effects};
use crate::event::{DropCause, Event};
use crate::fault::{Fault, ProtocolError};
use crate::input::ConnectionId;
use crate::outstanding::Outstanding;
use crate::persist::Awaiting;
use crate::registry::SessionKey;
use crate::session::{Delivery, Session};
use crate::shard::Shard;
use crate::stored::Record;
use crate::straight::RUN_MAX;

/// The bit of a packet's first byte that marks a repetition.
const DUP: u8 = 0b1000;

/// The packet that acknowledges.
// [MQTT5-3.3.4-1] [MQTT311-3.3.4-1]
const fn packet_type(kind: AcknowledgementKind) -> PacketType {
    match kind {
        // [MQTT5-4.3.2-4] [MQTT311-4.3.2-2] [MQTT31-4.1-1]
        AcknowledgementKind::Puback => PacketType::Puback,
        // [MQTT5-4.3.3-8] [MQTT311-4.3.3-2] [MQTT31-4.1-2]
        AcknowledgementKind::Pubrec => PacketType::Pubrec,
        // [MQTT5-4.3.3-11] [MQTT311-4.3.3-2] [MQTT31-4.1-2]
        AcknowledgementKind::Pubcomp => PacketType::Pubcomp,
    }
}

impl Shard {
    pub(crate) fn on_puback(
        &mut self,
        key: SessionKey,
        packet_id: PacketId,
        reason: ReasonCode,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let Some(session) = self.registry.session_mut(key) else { return Ok(Flow::Wait) };
        let settled = session.sender.on_puback(packet_id).map(Some);
        self.make_room(key, settled, reason, effects)
    }

    /// PUBREC ends the message's first half; a failed one ends the message.
    // [MQTT5-4.3.3-4] [MQTT311-4.3.3-1]
    pub(crate) fn on_pubrec(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        ack: &Ack<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let Some(session) = self.registry.session_mut(key) else { return Ok(Flow::Wait) };
        if ack.reason_code.is_error() {
            let settled = session.sender.on_pubrec_failed(ack.packet_id).map(Some);
            return self.make_room(key, settled, ack.reason_code, effects);
        }
        let version = session.version;
        match session.sender.on_pubrec(ack.packet_id) {
            Ok(delivery) => {
                if let Some(delivery) = &delivery {
                    session.note_released(ack.packet_id, delivery);
                }
                self.answer_pubrec(id, key, (ack.packet_id, delivery.is_some()), effects);
                if let Some(delivery) = delivery {
                    self.release_delivery(key, &delivery);
                    self.settle_shared(key, delivery.group(), effects);
                }
            }
            Err(SenderError::WrongStep) => {
                return Err(ProtocolError::UnexpectedAcknowledgement.into());
            }
            Err(SenderError::UnknownPacketId) => {
                let reason = if version.is_v5() {
                    ReasonCode::PacketIdentifierNotFound
                } else {
                    ReasonCode::Success
                };
                // [MQTT5-2.2.1-5] [MQTT311-2.3.1-6]
                self.send(id, &Packet::Pubrel(Ack::new(ack.packet_id, reason)));
            }
        }
        Ok(Flow::Next)
    }

    /// PUBREL tells the client that its PUBREC will not be forgotten.
    fn answer_pubrec(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        (packet_id, is_first): (PacketId, bool),
        effects: &mut Effects,
    ) {
        let session = self.registry.session_mut(key);
        let Some(kept) = session.and_then(|session| session.queue_kept()) else {
            self.send_pubrel(id, packet_id);
            return;
        };
        if is_first {
            let session = kept.name;
            self.record(Record::Pubrec { session, packet_id }, effects);
        }
        self.await_durable(Awaiting::Pubrel { connection: id, packet_id }, effects);
    }

    pub(crate) fn on_pubcomp(
        &mut self,
        _: ConnectionId,
        key: SessionKey,
        ack: &Ack<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let Some(session) = self.registry.session_mut(key) else { return Ok(Flow::Wait) };
        let settled = session.sender.on_pubcomp(ack.packet_id).map(|()| None);
        if settled.is_ok()
            && let Some(kept) = session.queue_kept()
        {
            let (session, packet_id) = (kept.name, ack.packet_id);
            kept.released.remove(&packet_id);
            self.record_leisurely(Record::Pubcomp { session, packet_id }, effects);
            self.note_acknowledged(key);
        }
        self.make_room(key, settled, ack.reason_code, effects)
    }

    /// An acknowledgement that settles its message makes room for others; one for a packet
    /// identifier that is not in use changes nothing.
    pub(crate) fn make_room(
        &mut self,
        key: SessionKey,
        settled: Result<Option<Delivery>, SenderError>,
        reason: ReasonCode,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        match settled {
            // [MQTT5-4.8.2-6]
            Ok(Some(delivery)) => {
                self.release_delivery(key, &delivery);
                self.settle_shared(key, delivery.group(), effects);
                if reason.is_error() {
                    self.note_refusal(key, &delivery, effects);
                }
            }
            Ok(None) => {}
            Err(SenderError::UnknownPacketId) => return Ok(Flow::Next),
            Err(SenderError::WrongStep) => {
                return Err(ProtocolError::UnexpectedAcknowledgement.into());
            }
        }
        if !self.registry.session(key).is_some_and(Session::is_settled) {
            self.pump(key, effects);
        }
        Ok(Flow::Next)
    }

    /// PUBREL: the publisher knows that we have the message; its packet identifier may be used
    /// again.
    pub(crate) fn on_pubrel(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        ack: &Ack<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let Some(session) = self.registry.session_mut(key) else { return Ok(Flow::Wait) };
        let unknown = if session.version.is_v5() {
            ReasonCode::PacketIdentifierNotFound
        } else {
            ReasonCode::Success
        };
        if let Some(answer) = session.receiver.on_pubrel(ack.packet_id, unknown) {
            let Some(kept) = session.queue_kept() else {
                session.receiver.complete(answer, ReasonCode::Success);
                self.send_acknowledgements(id, key);
                return Ok(Flow::Next);
            };
            let (name, answer) = (kept.name, answer.value());
            self.outstanding.insert((key, answer), Outstanding::release());
            let packet_id = ack.packet_id;
            self.record(Record::Released { session: name, packet_id }, effects);
            self.await_durable(Awaiting::Acknowledgement { session: key, answer }, effects);
            return Ok(Flow::Next);
        }
        self.send_acknowledgements(id, key);
        Ok(Flow::Next)
    }

    /// The last part of a publication has answered: its acknowledgement may leave.
    pub(crate) fn acknowledge(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        answer: u64,
        reason: ReasonCode,
    ) {
        if let Some(session) = self.registry.session_mut(key) {
            session.receiver.complete(AnswerId::from_value(answer), reason);
        }
        self.send_acknowledgements(id, key);
    }

    /// Sends every acknowledgement that nothing holds back, as there are many PUBACKs among them.
    pub(crate) fn send_many_acknowledgements(&mut self, id: ConnectionId, key: SessionKey) {
        while let Some(session) = self.registry.session_mut(key)
            && session.connection == Some(id)
        {
            let pubacks: SmallVec<[_; RUN_MAX]> =
                session.receiver.next_pubacks().take(RUN_MAX).collect();
            if pubacks.is_empty() {
                return self.send_acknowledgements(id, key);
            }
            self.send_all_bare(id, PacketType::Puback, &pubacks);
        }
    }

    /// Sends every acknowledgement that nothing holds back, in the order of the packets.
    pub(crate) fn send_acknowledgements(&mut self, id: ConnectionId, key: SessionKey) {
        loop {
            let Some(session) = self.registry.session_mut(key) else { return };
            if session.connection != Some(id) {
                return;
            }
            let Some(next) = session.receiver.next_acknowledgement() else { return };
            let Acknowledgement { kind, packet_id, reason, .. } = next;
            if reason == ReasonCode::Success {
                self.send_bare(id, packet_type(kind), packet_id);
                continue;
            }
            let explanation = self.explain(id, kind, (packet_id, reason));
            let mut ack = Ack::new(packet_id, reason);
            ack.reason_string = explanation.as_deref();
            // [MQTT5-3.3.4-1] [MQTT311-3.3.4-1]
            let packet = match kind {
                AcknowledgementKind::Puback => Packet::Puback(ack),
                AcknowledgementKind::Pubrec => Packet::Pubrec(ack),
                AcknowledgementKind::Pubcomp => Packet::Pubcomp(ack),
            };
            self.send(id, &packet);
        }
    }

    /// Why a publication was refused, for the acknowledgement that says so.
    fn explain(
        &mut self,
        id: ConnectionId,
        kind: AcknowledgementKind,
        (packet_id, reason): (PacketId, ReasonCode),
    ) -> Option<String> {
        if !reason.is_error() || kind == AcknowledgementKind::Pubcomp {
            return None;
        }
        let refused = self.connections.find_mut(id)?.take_refusal(packet_id)?;
        Some(refused.reason().to_string())
    }

    // [MQTT5-2.2.1-5] [MQTT311-2.3.1-6]
    pub(crate) fn send_pubrel(&mut self, id: ConnectionId, packet_id: PacketId) {
        #[cfg(feature = "planted-faults")]
        if self.is_planted(crate::planted::PlantedFault::ForgetPubrel) {
            return;
        }
        self.send_bare(id, PacketType::Pubrel, packet_id);
    }

    /// Sends a PUBREL that an earlier connection may have sent; 3.1 has a flag that says so.
    pub(crate) fn repeat_pubrel(&mut self, id: ConnectionId, packet_id: PacketId) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        let (version, start) = (connection.version, connection.outbound.buffer().len());
        self.send_pubrel(id, packet_id);
        // [MQTT31-3.3-1]
        if version == Version::V3_1
            && let Some(connection) = self.connections.find_mut(id)
            && let Some(first) = connection.outbound.buffer().get_mut(start)
        {
            *first |= DUP;
        }
    }

    /// A client's refusal ends the message for it, and for the shared subscription too.
    fn note_refusal(&mut self, key: SessionKey, delivery: &Delivery, effects: &mut Effects) {
        self.count_drop(DropCause::RefusedByClient);
        let Some(session) = self.registry.session(key) else { return };
        effects.push(Effect::Event(Event::Dropped {
            client_id: Arc::clone(&session.client_id),
            topic: delivery.message.topic.clone(),
            cause: DropCause::RefusedByClient,
            limit: None,
        }));
    }
}
