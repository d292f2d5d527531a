//! The straight way of the commonest publication: a topic that the last one had too, a payload and
//! nothing else, at QoS 0 or 1, for one session of this shard that can take it at once.
//!
//! It asks whether all that holds, and then does in one go what the long way does step by step, to
//! the same effect. Whatever is otherwise takes the long way, and finds nothing changed.

use alloc::sync::Arc;

use noctule_packet::{Frame, PacketType, PlainPublish, QoS, Version};

use crate::access::Authorization;
use crate::delivery::SHARE_BYTES;
use crate::input::ConnectionId;
use crate::last_topic::LastTopic;
use crate::registry::SessionKey;
use crate::session::Delivery;
use crate::settings::{Durability, Settings};
use crate::shard::Shard;

/// Whether a publication may be passed on without asking anybody about it, or changing its QoS.
pub(crate) fn is_free(settings: &Settings) -> bool {
    #[cfg(feature = "planted-faults")]
    if settings.planted_fault.is_some() {
        return false;
    }
    settings.authorization == Authorization::AllowAll
        && settings.read_rules.is_none()
        && settings.features.maximum_qos >= QoS::AtLeastOnce
}

impl Shard {
    /// Passes a PUBLISH on and acknowledges it. `None` if it has to take the long way.
    pub(crate) fn go_straight(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        version: Version,
        frame: &Frame<'_>,
        last: &mut LastTopic,
    ) -> Option<()> {
        let (receiver, granted) = last.only_receiver(self.router.epoch())?;
        let LastTopic { name, shared, .. } = last;
        let plain = PlainPublish::decode(frame, version, name.name()?)?;
        if !self.goes_straight || plain.payload.len() >= SHARE_BYTES || self.is_pressed() {
            return None;
        }
        if plain.packet_id.is_some() && !self.registry.session(key)?.acknowledges_at_once(id) {
            return None;
        }
        self.pass_on(&plain, receiver, plain.qos().min(granted), shared)?;
        self.statistics.publish_received += 1;
        self.budget -= 1;
        if let Some(packet_id) = plain.packet_id {
            self.send_bare(id, PacketType::Puback, packet_id);
        }
        Some(())
    }

    /// Whether others have to have their turn first, or memory is short.
    fn is_pressed(&self) -> bool {
        self.budget == 0 || !self.work.is_empty() || self.memory.is_short()
    }

    /// Delivers to a session if it can take the message at once.
    #[inline]
    fn pass_on(
        &mut self,
        plain: &PlainPublish<'_>,
        receiver: SessionKey,
        qos: QoS,
        name: &mut Option<Arc<str>>,
    ) -> Option<()> {
        let is_kept = qos > QoS::AtMostOnce;
        let session = self.registry.session_mut(receiver)?;
        // What is kept for a session that is stored must be durable first.
        let is_stored = self.settings.durability == Durability::Stored && session.may_return();
        if is_kept && (is_stored || !session.sender.is_open()) {
            return None;
        }
        let id = session.connection?;
        let connection = self.connections.find_mut(id)?;
        let maximum = self.settings.limits.outbound_bytes_max as usize;
        if !connection.takes_anything() || !connection.has_room(maximum) {
            return None;
        }
        let mut packet_id = None;
        if is_kept {
            let topic = name.get_or_insert_with(|| plain.topic.as_str().into());
            let message = self.spares.message(topic, plain.payload, plain.qos());
            let bytes = message.bytes() as u64;
            // [MQTT5-4.3.2-1] [MQTT311-4.3.2-1]
            packet_id = Some(session.sender.send_now(Delivery::plain(message), qos).ok()?);
            session.held_bytes += bytes;
            self.memory.grow(bytes);
        }
        self.spares.lend(&mut connection.outbound);
        let buffer = connection.outbound.buffer();
        let before = buffer.len();
        plain.encode(connection.version, packet_id, buffer);
        self.statistics.publish_sent += 1;
        self.statistics.note_sent(buffer.len() - before);
        if connection.note_waiting(&mut self.memory) {
            self.dirty.push(id);
        }
        Some(())
    }
}
