//! Messages from the server: recognised, handed out, held and acknowledged.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{
    Ack, Frame, PacketId, PacketType, PlainPublish, Publish, QoS, ReasonCode, TopicName,
};
use noctule_session::{AcknowledgementKind, AnswerId, Arrival, Timestamp};

use crate::event::{Epoch, Event};
use crate::fault::{Fault, ProtocolError};
use crate::held::{AckRefused, AckToken, Acknowledged, Answer, Release, Released};
use crate::message::Message;
use crate::observe::Observation;
use crate::record::Record;
use crate::remarks::Remarks;
use crate::session::{ClientSession, Status};
use crate::settings::{AcknowledgementMode, Validation};

impl ClientSession {
    /// PUBLISH.
    pub(crate) fn on_publish(&mut self, _now: Timestamp, frame: &Frame<'_>) -> Result<(), Fault> {
        let known = frame
            .body
            .split_first_chunk()
            .and_then(|(length, rest)| rest.get(..usize::from(u16::from_be_bytes(*length))))
            .and_then(|topic| self.topics.find(topic));
        let name = known.and_then(|topic| TopicName::new(topic).ok());
        if let Some((topic, name)) = known.zip(name)
            && let Some(plain) = PlainPublish::decode(frame, self.version, name)
        {
            let message =
                Message::plain(Arc::clone(topic), plain.payload, plain.qos(), plain.packet_id);
            return self.arrived(message, plain.packet_id);
        }
        let known = known.cloned();
        let name = known.as_deref().and_then(|topic| TopicName::new(topic).ok());
        let rules = self.settings.validation.text_rules();
        let publish = Publish::decode_knowing(frame, self.version, rules, name)?;
        let topic = self.topic_of(&publish)?;
        if self.settings.validation == Validation::Strict
            && publish.properties.payload_format_indicator == Some(true)
            && !publish.payload_is_utf8()
        {
            return Err(ProtocolError::PayloadFormat.into());
        }
        self.arrived(Message::of(topic, &publish), publish.packet_id)
    }

    /// The topic that a PUBLISH names or that its alias stands for.
    // [MQTT5-3.3.2-10]
    fn topic_of(&mut self, publish: &Publish<'_>) -> Result<Arc<str>, Fault> {
        let alias = publish.properties.topic_alias;
        let aliases = &mut self.inbound_aliases;
        match (publish.topic, alias) {
            (Some(topic), alias) => {
                if let Some(alias) = alias {
                    aliases.define(alias, topic.as_str()).map_err(ProtocolError::from)?;
                }
                Ok(self.topics.keep(topic.as_str()))
            }
            (None, alias) => {
                let topic = aliases.resolve(alias.unwrap_or(0)).map_err(ProtocolError::from)?;
                Ok(Arc::clone(topic))
            }
        }
    }

    /// A message is whole; its packet identifier tells that it is to be acknowledged.
    // [MQTT5-4.5.0-2] [MQTT311-4.5.0-2] [MQTT5-4.3.2-4] [MQTT5-4.3.3-8]
    fn arrived(&mut self, message: Message, packet_id: Option<PacketId>) -> Result<(), Fault> {
        let Some(packet_id) = packet_id else {
            if self.drops_at_most_once() {
                self.events.observe(Observation::MessageDropped);
                return Ok(());
            }
            self.hand_out(message, None);
            return Ok(());
        };
        let qos = message.qos();
        let is_automatic = self.settings.acknowledgement == AcknowledgementMode::Automatic;
        if is_automatic
            && qos == QoS::AtLeastOnce
            && !self.settings.is_durable
            && self.receiver.may_acknowledge_at_once()
        {
            self.hand_out(message, None);
            self.outbound.push(&Ack::bare(PacketType::Puback, packet_id));
            return Ok(());
        }
        let arrival = self.receiver.on_publish(qos, packet_id).map_err(ProtocolError::from)?;
        if let Arrival::New(answer) = arrival {
            self.hand_out(message, Some((answer, packet_id)));
        }
        self.flush_acknowledgements();
        Ok(())
    }

    fn hand_out(&mut self, message: Message, answer: Option<(AnswerId, PacketId)>) {
        let bytes = message.bytes();
        let token = match self.settings.acknowledgement {
            AcknowledgementMode::Automatic if answer.is_none() || !self.settings.is_durable => {
                if let Some((answer, _)) = answer {
                    self.receiver.complete(answer, ReasonCode::Success);
                }
                self.events.message_bytes += bytes;
                None
            }
            AcknowledgementMode::Automatic | AcknowledgementMode::Manual => {
                let (epoch, qos) = (self.epoch, message.qos());
                let answer = answer.map(|(id, packet_id)| {
                    let exactly_once = (qos == QoS::ExactlyOnce).then_some(packet_id);
                    Answer { id, epoch, exactly_once }
                });
                Some(self.held.hold(epoch, answer, bytes))
            }
        };
        self.events.push(Event::Message { message, token });
    }

    /// A session that outlives its process acknowledges by itself what its user has taken, and not
    /// before: a message that was acknowledged and told to nobody would be lost with the process.
    pub(crate) fn acknowledge_taken(&mut self, event: &mut Event) {
        if self.settings.acknowledgement == AcknowledgementMode::Automatic
            && let Event::Message { token, .. } = event
            && let Some(token) = token.take()
            && let Release::Done(released) = self.held.release(token, ReasonCode::Success, None)
        {
            self.answer(token.epoch, released);
        }
    }

    /// PUBREL.
    // [MQTT5-4.3.3-11] [MQTT311-4.3.3-2]
    pub(crate) fn on_pubrel(&mut self, packet_id: PacketId, remarks: Option<Box<Remarks>>) {
        if let Some(remarks) = remarks {
            self.events.push(Event::Released { packet_id, remarks });
        }
        // Whatever connection or process has forgotten the message, the server must forget it too.
        let unknown = ReasonCode::PacketIdentifierNotFound;
        if let Some(answer) = self.receiver.on_pubrel(packet_id, unknown) {
            self.records.note(|| Record::Released { packet_id });
            self.receiver.complete(answer, ReasonCode::Success);
        }
        self.flush_acknowledgements();
    }

    /// Whoever has a message shares it with others: it is acknowledged when so many holders have
    /// done so. Whether the token was good.
    pub fn share(&mut self, token: AckToken, holders: u16) -> bool {
        self.held.share(token, holders)
    }

    /// A holder has dealt with a message. Its acknowledgement leaves when all holders have, and
    /// those of all earlier messages have left. A `reason` of 0x80 or more refuses the message.
    ///
    /// # Errors
    ///
    /// If the version has no reason codes, or acknowledgements not this one.
    pub fn acknowledge(
        &mut self,
        now: Timestamp,
        token: AckToken,
        reason: ReasonCode,
    ) -> Result<Acknowledged, AckRefused> {
        self.acknowledge_saying(now, token, reason, None)
    }

    /// The same, with more to say than a reason code; 5.0 only.
    ///
    /// # Errors
    ///
    /// If the version has no such thing, or acknowledgements do not carry it.
    pub fn acknowledge_saying(
        &mut self,
        now: Timestamp,
        token: AckToken,
        reason: ReasonCode,
        remarks: Option<Remarks>,
    ) -> Result<Acknowledged, AckRefused> {
        if !reason.allowed_in(PacketType::Puback) {
            return Err(AckRefused::InvalidReason { reason });
        }
        let version = self.version;
        if (reason.is_error() || remarks.is_some()) && !version.is_v5() {
            return Err(AckRefused::NotInVersion { version });
        }
        let remarks = remarks.filter(|remarks| !remarks.is_empty()).map(Box::new);
        if let Some(remarks) = &remarks {
            let rules = self.settings.validation.text_rules();
            remarks.check(rules).map_err(|option| AckRefused::InvalidValue { option })?;
        }
        let was_paused = !self.takes_more();
        let released = match self.held.release(token, reason, remarks) {
            Release::Unknown => return Ok(Acknowledged::Stale),
            Release::Waiting(holders) => return Ok(Acknowledged::Waiting { holders }),
            Release::Done(released) => released,
        };
        self.note_progress(now);
        if was_paused && self.takes_more() {
            // Nothing was read, so nothing could be heard.
            self.clocks.reads_again(now, self.settings.ping_timeout);
        }
        Ok(self.answer(token.epoch, released))
    }

    /// All holders have dealt with a message that came in that epoch.
    fn answer(&mut self, epoch: Epoch, released: Released) -> Acknowledged {
        let Some(answer) = released.answer else {
            let is_current = epoch == self.epoch && self.status != Status::Offline;
            return if is_current { Acknowledged::Done } else { Acknowledged::Stale };
        };
        let is_current = answer.epoch == self.epoch && self.status == Status::Online;
        if !is_current && answer.exactly_once.is_none() {
            return Acknowledged::Stale;
        }
        // It is told to somebody: another process must not hand it out again.
        if let Some(packet_id) = answer.exactly_once.filter(|_| !released.reason.is_error()) {
            self.records.note(|| Record::Arrived { packet_id });
        }
        self.receiver.complete(answer.id, released.reason);
        if self.status == Status::Online {
            if let Some(remarks) = released.remarks {
                self.remarks.insert(answer.id, remarks);
            }
            self.flush_acknowledgements();
        }
        Acknowledged::Done
    }

    /// Writes the acknowledgements that may leave, in the order of what they answer.
    // [MQTT5-4.6.0-2] [MQTT5-4.6.0-3] [MQTT311-4.6.0-2] [MQTT311-4.6.0-3]
    fn flush_acknowledgements(&mut self) {
        while let Some(next) = self.receiver.next_acknowledgement() {
            let packet_type = match next.kind {
                AcknowledgementKind::Puback => PacketType::Puback,
                AcknowledgementKind::Pubrec => PacketType::Pubrec,
                AcknowledgementKind::Pubcomp => PacketType::Pubcomp,
            };
            if packet_type == PacketType::Pubcomp && self.asks_for_release_remarks() {
                self.hold_release(packet_type, next.packet_id, next.reason);
                continue;
            }
            let ack = Ack::new(next.packet_id, next.reason);
            if !self.remarks.is_empty()
                && let Some(remarks) = self.remarks.remove(&next.answer)
                && self.say_with(packet_type, &ack, &remarks)
            {
                continue;
            }
            // [MQTT5-2.2.1-5] Every reason was checked, so it can be said.
            let _ = ack.encode_as(packet_type, self.version, self.outbound.bytes_mut());
        }
    }

    /// Writes an acknowledgement with what its user says. Whether the server takes so large a one.
    // [MQTT5-3.4.2-2] [MQTT5-3.4.2-3] [MQTT5-3.5.2-2] [MQTT5-3.5.2-3]
    pub(crate) fn say_with(
        &mut self,
        packet_type: PacketType,
        ack: &Ack<'_>,
        remarks: &Remarks,
    ) -> bool {
        let mut packet = Vec::new();
        let encoded = remarks.on(ack).encode_as(packet_type, self.version, &mut packet);
        let maximum = self.server.maximum_packet_size;
        let fits = u32::try_from(packet.len()).is_ok_and(|size| size <= maximum);
        if encoded.is_ok() && fits {
            self.outbound.push(&packet);
            return true;
        }
        false
    }
}
