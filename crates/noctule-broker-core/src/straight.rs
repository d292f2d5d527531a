//! The straight way: the commonest packets, many at a time, without the detour over all that they
//! might have meant.
//!
//! That is a PUBLISH at QoS 0 or 1 with nothing but a payload and a topic that the last one had
//! too, for one session of this shard that can take it at once; and a PUBACK that says nothing and
//! after which nothing is to be done. For a run of such packets everything that they have in common
//! is asked once. The outcome is that of the long way; whatever is otherwise takes it, and finds
//! nothing changed.

use noctule_packet::{
    Ack, Framing, PacketId, PacketType, PlainPublish, QoS, ReasonCode, Version, split,
};
use smallvec::SmallVec;

use crate::access::Authorization;
use crate::delivery::SHARE_BYTES;
use crate::effect::Effects;
use crate::input::ConnectionId;
use crate::last_topic::LastTopic;
use crate::rate::UNLIMITED;
use crate::registry::SessionKey;
use crate::session::Delivery;
use crate::settings::{Durability, Settings};
use crate::shard::Shard;

/// How many publications are taken at a time at most.
const RUN_MAX: usize = 64;

/// The first byte of a PUBLISH that may be plain, but for DUP and the lower bit of its QoS.
const PUBLISH: u8 = (PacketType::Publish as u8) << 4;
const VARYING: u8 = 0b1010;
const PUBACK: u8 = (PacketType::Puback as u8) << 4;
/// The bytes of a PUBACK.
const PUBACK_BYTES: usize = 4;

/// Publications that went the straight way together.
#[derive(Default)]
struct Run {
    count: u64,
    bytes: usize,
    acknowledge: SmallVec<[PacketId; RUN_MAX]>,
}

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
    /// Takes the packets at the front of `bytes` that can go the straight way. How many bytes they
    /// have.
    #[inline]
    pub(crate) fn go_straight(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        version: Version,
        bytes: &[u8],
        effects: &mut Effects,
    ) -> usize {
        match bytes.first() {
            Some(first) if first & !VARYING == PUBLISH => {
                // Whoever waits for a turn has to have it first.
                if !self.goes_straight || !self.work.is_empty() {
                    return 0;
                }
                let mut run = Run::default();
                let _ = self.pass_on(id, key, version, bytes, &mut run);
                if run.count > 0 {
                    self.finish_run(id, &run);
                }
                run.bytes
            }
            Some(&PUBACK) => self.take_pubacks(id, key, bytes, effects),
            _ => 0,
        }
    }

    /// Delivers a run of publications. `None` if there is nothing to be asked any more.
    fn pass_on(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        version: Version,
        bytes: &[u8],
        run: &mut Run,
    ) -> Option<()> {
        let limits = &self.settings.limits;
        let last = self.last_topic.as_deref_mut()?;
        let (receiver, granted) = last.only_receiver(self.router.epoch())?;
        let LastTopic { name, shared, .. } = last;
        let name = name.name()?;
        let answers_waiting = self.connections.find(id)?.outbound.len();
        let answers_max = 2 * limits.outbound_bytes_max as usize;
        let is_answered = self.registry.session(key)?.acknowledges_at_once(id);
        let session = self.registry.session_mut(receiver)?;
        // What is kept for a session that is stored must be durable first.
        let is_stored = self.settings.durability == Durability::Stored && session.may_return();
        let to = session.connection?;
        let connection = self.connections.find_mut(to)?;
        if !connection.takes_anything() {
            return None;
        }
        let is_alone = to == id || is_limited(&self.settings);
        for _ in 0..if is_alone { 1 } else { RUN_MAX } {
            let rest = bytes.get(run.bytes..)?;
            let Ok(Framing::Complete(frame)) = split(rest, limits.maximum_packet_size) else {
                return None;
            };
            let plain = PlainPublish::decode(&frame, version, name)?;
            let qos = plain.qos().min(granted);
            let answers = answers_waiting + run.acknowledge.len() * PUBACK_BYTES;
            let is_refused = plain.packet_id.is_some() && (!is_answered || answers >= answers_max)
                || qos > QoS::AtMostOnce && (is_stored || !session.sender.is_open())
                || plain.payload.len() >= SHARE_BYTES
                || self.memory.is_short()
                // One for the packet, one for its delivery.
                || self.budget < 2;
            if is_refused || !connection.has_room(limits.outbound_bytes_max as usize) {
                return None;
            }
            let mut packet_id = None;
            if qos > QoS::AtMostOnce {
                let topic = shared.get_or_insert_with(|| name.as_str().into());
                let message = self.spares.message(topic, plain.payload, plain.qos());
                let bytes = message.bytes() as u64;
                // [MQTT5-4.3.2-1] [MQTT311-4.3.2-1]
                packet_id = Some(session.sender.send_now(Delivery::plain(message), qos).ok()?);
                session.held_bytes += bytes;
                self.memory.grow(bytes);
            }
            self.spares.lend(&mut connection.outbound);
            let out = connection.outbound.buffer();
            let before = out.len();
            plain.encode(connection.version, packet_id, out);
            self.statistics.note_sent(out.len() - before);
            if connection.note_waiting(&mut self.memory) {
                self.dirty.push(to);
            }
            self.budget -= 2;
            run.count += 1;
            run.bytes += frame.length;
            if let Some(packet_id) = plain.packet_id {
                run.acknowledge.push(packet_id);
            }
        }
        None
    }

    /// Counts and acknowledges the publications of a run.
    fn finish_run(&mut self, id: ConnectionId, run: &Run) {
        self.statistics.bytes_received += run.bytes as u64;
        self.statistics.packets_received += run.count;
        self.statistics.publish_received += run.count;
        self.statistics.publish_sent += run.count;
        if is_limited(&self.settings) {
            self.note_rate(id, run.bytes);
        }
        if let Some(connection) = self.connections.find_mut(id) {
            connection.heard = self.now;
        }
        for packet_id in &run.acknowledge {
            self.send_bare(id, PacketType::Puback, *packet_id);
        }
    }

    /// Takes a run of PUBACKs, up to the first that lets something else happen.
    fn take_pubacks(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        bytes: &[u8],
        effects: &mut Effects,
    ) -> usize {
        let Some(session) = self.registry.session_mut(key) else { return 0 };
        let (mut taken, mut freed, mut other) = (0, 0, None);
        let mut rest = bytes;
        while self.budget > 0
            && let Some((packet_id, behind)) = Ack::split_bare_puback(rest)
        {
            rest = behind;
            taken += 1;
            self.budget -= 1;
            match session.sender.on_puback(packet_id) {
                Ok(delivery) if delivery.is_plain() && session.is_settled() => {
                    freed += delivery.message.bytes() as u64;
                    self.spares.keep(delivery.message);
                }
                settled => {
                    other = Some(settled);
                    break;
                }
            }
        }
        session.held_bytes = session.held_bytes.saturating_sub(freed);
        self.memory.shrink(freed);
        if let Some(connection) = self.connections.find_mut(id) {
            connection.heard = self.now;
        }
        self.statistics.packets_received += taken;
        self.statistics.bytes_received += (bytes.len() - rest.len()) as u64;
        if let Some(settled) = other
            && let Err(fault) = self.make_room(key, settled.map(Some), ReasonCode::Success, effects)
        {
            self.fail(id, &fault, effects);
        }
        bytes.len() - rest.len()
    }
}

/// Whether each publication counts against a rate.
fn is_limited(settings: &Settings) -> bool {
    let limits = &settings.limits;
    limits.publish_rate_max != UNLIMITED || limits.publish_bytes_rate_max != UNLIMITED
}
