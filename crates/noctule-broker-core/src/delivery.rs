//! Delivery: one message to one session, now or when its window opens.

use alloc::sync::Arc;

use noctule_packet::{PacketId, PublishHead, QoS, Version};
use noctule_session::{Timestamp, Transmission};

use crate::connection::Connection;
use crate::effect::{Effect, Effects};
use crate::event::{DropCause, Event, Limit};
use crate::frames::Class;
use crate::groups::Tag;
use crate::input::ConnectionId;
use crate::memory::Memory;
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::session::{Delivery, Identifiers, Session};
use crate::settings::Limits;
use crate::shard::Shard;

/// From this size on a payload is shared, where it would be copied for each receiver.
pub(crate) const SHARE_BYTES: usize = 8 * 1024;

/// How one session is to get a publication.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) session: SessionKey,
    /// The granted QoS.
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: Identifiers,
    pub(crate) group: Option<Tag>,
}

impl Shard {
    /// Delivers a publication to one session. `several` says that others get it too.
    pub(crate) fn deliver(
        &mut self,
        publication: &mut Publication<'_>,
        terms: &Terms,
        several: bool,
        effects: &mut Effects,
    ) {
        if publication.retain {
            self.note_live(publication, terms);
        }
        let Some(session) = self.registry.session(terms.session) else { return };
        if !self.settings.may_read(&session.client_id, publication.topic.as_str()) {
            self.drop_message(terms, publication, DropCause::NotAuthorized, None, effects);
            return;
        }
        let connection = session.connection;
        // A shared subscription knows by itself what it has got.
        if publication.name > 0
            && terms.group.is_none()
            && self.has_got(terms.session, publication.name)
        {
            return;
        }
        // A publication may have waited for an answer or a turn. [MQTT5-3.3.2-5]
        if publication.expires_at.is_some_and(|at| at < self.now) {
            self.drop_message(terms, publication, DropCause::Expired, None, effects);
            return;
        }
        // [MQTT5-3.8.4-8] [MQTT311-3.8.4-6] [MQTT31-3.8-3]
        let qos = publication.qos.min(terms.qos);
        if qos == QoS::AtMostOnce {
            self.deliver_at_most_once(connection, publication, terms, several, effects);
            return;
        }
        // Where memory is short, only one at a time passes by the queue.
        let may_send = session.is_open()
            && !(publication.is_stored_first(qos) && session.is_stored())
            && (session.sender.in_flight() == 0 || self.memory.shortage().is_none());
        let open = may_send && connection.is_some_and(|id| self.has_room(id));
        // [MQTT311-3.1.2-5] [MQTT31-3.1-8]
        let Some(id) = connection.filter(|_| open) else {
            self.enqueue(publication, terms, qos, effects);
            return;
        };
        if let Some(limit) = self.too_large(id, publication, terms, qos) {
            self.drop_message(terms, publication, DropCause::PacketTooLarge, Some(limit), effects);
            return;
        }
        let Terms { retain, identifiers, group, .. } = terms.clone();
        let mut delivery = Delivery::new(publication.message(), retain, identifiers, group);
        let bytes = delivery.message.bytes() as u64;
        self.note_queued(terms.session, qos, &mut delivery);
        let Some(session) = self.registry.session_mut(terms.session) else { return };
        if let Ok(packet_id) = session.sender.send_now(delivery, qos) {
            session.held_bytes += bytes;
            self.memory.grow(bytes);
            let class = Class::of(qos, terms);
            self.transmit(id, publication, class, (Some(packet_id), false), several);
        }
    }

    fn deliver_at_most_once(
        &mut self,
        connection: Option<ConnectionId>,
        publication: &mut Publication<'_>,
        terms: &Terms,
        several: bool,
        effects: &mut Effects,
    ) {
        let Some(id) = connection else { return };
        let Some(found) = self.connections.find_mut(id) else { return };
        if found.session().is_none() {
            return;
        }
        let takes_any_size = found.maximum_packet_size == u32::MAX;
        let has_room = found.has_room(self.settings.limits.outbound_bytes_max as usize);
        if !has_room {
            let maximum = u64::from(self.settings.limits.outbound_bytes_max);
            let limit = Limit { setting: "limits.outbound_bytes_max", maximum, wanted: 0 };
            self.drop_message(terms, publication, DropCause::SlowReader, Some(limit), effects);
        } else if let Some(limit) = self.shortage_for(id) {
            self.drop_message(terms, publication, DropCause::SlowReader, Some(limit), effects);
        } else if !takes_any_size
            && let Some(limit) = self.too_large(id, publication, terms, QoS::AtMostOnce)
        {
            self.drop_message(terms, publication, DropCause::PacketTooLarge, Some(limit), effects);
        } else {
            // [MQTT5-4.3.1-1] [MQTT311-4.3.1-1]
            let class = Class::of(QoS::AtMostOnce, terms);
            self.transmit(id, publication, class, (None, false), several);
        }
    }

    /// Lets a message wait for its session, if there is room.
    fn enqueue(
        &mut self,
        publication: &mut Publication<'_>,
        terms: &Terms,
        qos: QoS,
        effects: &mut Effects,
    ) {
        let bytes = publication.bytes() as u64;
        if self.queue_full(terms.session, bytes).is_some() {
            self.drop_expired(terms.session, effects);
            if self.queue_outgrown(terms.session, bytes).is_some() {
                // Perhaps what is not in memory has expired.
                self.read_on(terms.session, effects);
            }
        }
        if let Some(limit) = self.queue_full(terms.session, bytes) {
            self.drop_message(terms, publication, DropCause::QueueFull, Some(limit), effects);
            return;
        }
        let Terms { retain, identifiers, group, .. } = terms.clone();
        let mut delivery = Delivery::new(publication.message(), retain, identifiers, group);
        delivery.is_stored_first = publication.is_stored_first(qos);
        self.note_queued(terms.session, qos, &mut delivery);
        let Some(session) = self.registry.session_mut(terms.session) else { return };
        session.enqueue(delivery, qos);
        session.count_stored(&mut self.stored);
        self.memory.grow(bytes);
        self.waits_for_horizon(terms.session, effects);
    }

    /// The limit of memory, if it is used up and the connection has not even taken what it has.
    fn shortage_for(&self, id: ConnectionId) -> Option<Limit> {
        let limit = self.memory.shortage()?;
        let waits = self.connections.find(id).is_some_and(|found| !found.outbound.is_empty());
        waits.then_some(limit)
    }

    /// A message that its session has held is done with: acknowledged, dropped or given back.
    pub(crate) fn release_delivery(&mut self, key: SessionKey, delivery: &Delivery) {
        let bytes = delivery.message.bytes() as u64;
        if let Some(session) = self.registry.session_mut(key) {
            session.held_bytes = session.held_bytes.saturating_sub(bytes);
            self.memory.shrink(bytes);
            if session.kept.is_some() {
                self.note_acknowledged(key);
            }
        }
    }

    /// The bound that one more message would exceed.
    fn queue_full(&mut self, key: SessionKey, added: u64) -> Option<Limit> {
        let session = self.registry.session(key)?;
        let Self { settings, stored, memory, .. } = self;
        exceeded(session, added, &settings.limits, (stored, memory))
    }

    /// The same, but for that of memory.
    pub(crate) fn queue_outgrown(&mut self, key: SessionKey, added: u64) -> Option<Limit> {
        let session = self.registry.session(key)?;
        outgrown(session, added, &self.settings.limits, &mut self.stored)
    }

    /// Sends what waits for a session as far as quota and buffer allow: first what is in flight
    /// from an earlier connection, then its queue, then what its shared subscriptions and replays
    /// hold.
    pub(crate) fn pump(&mut self, key: SessionKey, effects: &mut Effects) {
        loop {
            let Some(session) = self.registry.session(key) else { return };
            let Some(id) = session.connection.filter(|id| self.is_online(*id)) else { return };
            if !self.has_room(id) {
                return;
            }
            self.drop_expired(key, effects);
            if !self.transmit_next(id, key, effects) {
                break;
            }
        }
        self.read_on(key, effects);
        self.pull_from_groups(key, effects);
        self.replay(key, effects);
    }

    /// Sends the session's next message or PUBREL. False if there is none, or no quota for it.
    fn transmit_next(&mut self, id: ConnectionId, key: SessionKey, effects: &mut Effects) -> bool {
        if self.keeps() && (self.waits_for_store(key) || self.waits_for_horizon(key, effects)) {
            return false;
        }
        let Some(session) = self.registry.session_mut(key) else { return false };
        let (packet_id, delivery, qos, dup) = match session.sender.next_transmission() {
            None => return false,
            Some(Transmission::Pubrel { packet_id }) => {
                self.repeat_pubrel(id, packet_id);
                return true;
            }
            Some(Transmission::Publish { packet_id, message, qos, dup }) => {
                (packet_id, message.clone(), qos, dup)
            }
        };
        if !dup {
            session.note_dequeued(&delivery);
            session.count_stored(&mut self.stored);
        }
        let Some(mut publication) = Publication::of(&delivery.message, Publisher::Nobody) else {
            return true;
        };
        let terms = Terms {
            session: key,
            qos,
            retain: delivery.retain,
            identifiers: delivery.identifiers(),
            group: delivery.group().cloned(),
        };
        if let Some(limit) = self.too_large(id, &publication, &terms, qos) {
            // [MQTT5-3.1.2-25]
            let session = self.registry.session_mut(key);
            if let Some(abandoned) = session.and_then(|known| known.sender.abandon(packet_id)) {
                self.release_delivery(key, &abandoned);
            }
            let cause = DropCause::PacketTooLarge;
            self.drop_message(&terms, &publication, cause, Some(limit), effects);
            return true;
        }
        let class = Class::of(qos, &terms);
        self.transmit(id, &mut publication, class, (Some(packet_id), dup), false);
        true
    }

    /// Drops messages at the head of the queue that expired before they were ever sent. What was
    /// sent once waits there no more, and is never given up for its age.
    // [MQTT5-3.3.2-5] [MQTT5-4.3.3-7]
    pub(crate) fn drop_expired(&mut self, key: SessionKey, effects: &mut Effects) {
        let now = self.now;
        loop {
            let Some(session) = self.registry.session_mut(key) else { return };
            let next = session.sender.peek_waiting();
            let expired = next.is_some_and(|next| next.message.is_expired(now));
            let Some(delivery) = expired.then(|| session.sender.skip_waiting()).flatten() else {
                return;
            };
            session.note_dequeued(&delivery);
            session.count_stored(&mut self.stored);
            let client_id = Arc::clone(&session.client_id);
            let topic = delivery.message.topic.clone();
            self.count_drop(DropCause::Expired);
            self.settle_shared(key, delivery.group(), effects);
            self.record_skipped(key, &delivery, effects);
            self.release_delivery(key, &delivery);
            let cause = DropCause::Expired;
            effects.push(Effect::Event(Event::Dropped { client_id, topic, cause, limit: None }));
        }
    }

    /// Whether the connection's buffer takes more messages. If not, the connection is remembered as
    /// congested, and [`Input::Flushed`](crate::Input::Flushed) lets its queue go on.
    pub(crate) fn has_room(&mut self, id: ConnectionId) -> bool {
        let maximum = self.settings.limits.outbound_bytes_max as usize;
        let Some(connection) = self.connections.find_mut(id) else { return false };
        // Nothing goes ahead of CONNACK. [MQTT5-3.2.0-1] [MQTT311-3.2.0-1]
        if connection.session().is_none() {
            return false;
        }
        connection.has_room(maximum)
    }

    // [MQTT5-3.2.0-1] [MQTT311-3.2.0-1]
    pub(crate) fn is_online(&self, id: ConnectionId) -> bool {
        self.connections.find(id).is_some_and(|connection| connection.session().is_some())
    }

    /// The bound that the packet exceeds, if the client takes none of this size.
    // [MQTT5-3.1.2-24]
    fn too_large(
        &self,
        id: ConnectionId,
        publication: &Publication<'_>,
        terms: &Terms,
        qos: QoS,
    ) -> Option<Limit> {
        let connection = self.connections.find(id)?;
        if connection.maximum_packet_size == u32::MAX {
            return None;
        }
        let class = Class::of(qos, terms);
        let mut head = head(self.now, connection.version, publication, class);
        head.packet_id = (qos > QoS::AtMostOnce).then_some(PacketId::MIN);
        let (maximum, wanted) =
            (u64::from(connection.maximum_packet_size), head.encoded_length() as u64);
        let setting = "maximum packet size in CONNECT";
        (wanted > maximum).then_some(Limit { setting, maximum, wanted })
    }

    /// Encodes a PUBLISH, with its packet identifier and whether it is a repetition, into the
    /// connection's outbound buffer.
    fn transmit(
        &mut self,
        id: ConnectionId,
        publication: &mut Publication<'_>,
        class: Class<'_>,
        (packet_id, dup): (Option<PacketId>, bool),
        several: bool,
    ) {
        // A large payload is not copied if there is a message to share anyway.
        let share =
            publication.payload.len() >= SHARE_BYTES && (several || publication.is_message());
        let shared = share.then(|| publication.message());
        #[cfg(feature = "planted-faults")]
        let packet_id = match packet_id {
            Some(known)
                if !dup && self.is_planted(crate::planted::PlantedFault::ReuseIdentifier) =>
            {
                PacketId::new(known.value().max(2) - 1)
            }
            other => other,
        };
        let Some(connection) = self.connections.find_mut(id) else { return };
        let mut head = head(self.now, connection.version, publication, class);
        head.packet_id = packet_id;
        // Whatever the publisher's packet said.
        // [MQTT5-3.3.1-1] [MQTT5-3.3.1-3] [MQTT311-3.3.1-1] [MQTT311-3.3.1-3] [MQTT31-3.3-1]
        // [MQTT5-4.3.2-2] [MQTT5-4.3.3-2]
        head.dup = dup;
        self.spares.lend(&mut connection.outbound);
        let payload = if shared.is_some() { &[] } else { publication.payload };
        let before = connection.outbound.len();
        use_alias(connection, &mut head);
        let out = connection.outbound.buffer();
        if several && !dup && head.topic_alias.is_none() {
            self.frames.append(class, &head, payload, out);
        } else {
            head.encode(out);
            out.extend_from_slice(payload);
        }
        if let Some(message) = shared {
            connection.outbound.share_payload(message);
        }
        self.statistics.publish_sent += 1;
        self.statistics.note_sent(connection.outbound.len() - before);
        if connection.note_waiting(&mut self.memory) {
            self.dirty.push(id);
        }
    }

    pub(crate) fn count_drop(&mut self, cause: DropCause) {
        if let Some(count) = self.statistics.dropped.get_mut(cause.index()) {
            *count += 1;
        }
    }

    fn drop_message(
        &mut self,
        terms: &Terms,
        publication: &Publication<'_>,
        cause: DropCause,
        limit: Option<Limit>,
        effects: &mut Effects,
    ) {
        self.count_drop(cause);
        self.settle_shared(terms.session, terms.group.as_ref(), effects);
        if terms.group.is_none() {
            self.note_dropped(terms.session, publication);
        }
        let Some(session) = self.registry.session(terms.session) else { return };
        let client_id = Arc::clone(&session.client_id);
        let topic = publication.topic.as_str().into();
        effects.push(Effect::Event(Event::Dropped { client_id, topic, cause, limit }));
    }
}

/// How much a packet grows at most if it defines an alias.
const DEFINITION_BYTES_MAX: usize = 5;

/// From this length on a topic takes as much room as its alias among the properties, or more.
const SHRINKING_TOPIC_BYTES_MIN: usize = 4;

/// Lets an alias stand for the topic, where the client takes one.
fn use_alias(connection: &mut Connection, head: &mut PublishHead<'_>) {
    let Some(aliases) = &mut connection.outbound_aliases else { return };
    // [MQTT5-3.1.2-24] A packet that was not too large must not become so.
    let maximum = connection.maximum_packet_size;
    let may_grow =
        maximum == u32::MAX || head.encoded_length() + DEFINITION_BYTES_MAX <= maximum as usize;
    let may_replace = may_grow || head.topic.len() >= SHRINKING_TOPIC_BYTES_MIN;
    if let Some(alias) = aliases.find(head.topic).filter(|_| may_replace) {
        (head.topic, head.topic_alias) = ("", Some(alias));
    } else if may_grow {
        head.topic_alias = aliases.define(head.topic);
    }
}

/// A PUBLISH without what differs between the receivers of one class.
// [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-18]
// [MQTT5-3.3.2-20]
fn head<'a>(
    now: Timestamp,
    version: Version,
    publication: &'a Publication<'_>,
    class: Class<'a>,
) -> PublishHead<'a> {
    let v5 = version.is_v5();
    PublishHead {
        version,
        dup: false,
        qos: class.qos,
        retain: class.retain,
        topic: publication.topic.as_str(),
        packet_id: None,
        topic_alias: None,
        message_expiry_interval: publication.remaining_expiry_interval(now).filter(|_| v5),
        // [MQTT5-3.3.4-3]
        subscription_identifiers: if v5 { class.identifiers } else { &[] },
        forwarded: if v5 { publication.properties.as_bytes() } else { &[] },
        payload_length: publication.payload.len(),
    }
}

impl<'a> Class<'a> {
    fn of(qos: QoS, terms: &'a Terms) -> Self {
        Self { qos, retain: terms.retain, identifiers: &terms.identifiers }
    }
}

/// The bound that a session's queue would exceed with so much more.
pub(crate) fn exceeded(
    session: &Session,
    added: u64,
    limits: &Limits,
    (stored, memory): (&mut Memory, &Memory),
) -> Option<Limit> {
    outgrown(session, added, limits, stored).or_else(|| memory.shortage())
}

/// The same, but for that of memory.
fn outgrown(session: &Session, added: u64, limits: &Limits, stored: &mut Memory) -> Option<Limit> {
    let (messages, bytes) = (session.waiting() + 1, session.queued_bytes + added);
    if messages > u64::from(limits.queue_messages_max) {
        let maximum = u64::from(limits.queue_messages_max);
        Some(Limit { setting: "limits.queue_messages_max", maximum, wanted: messages })
    } else if bytes > limits.queue_bytes_max {
        let maximum = limits.queue_bytes_max;
        Some(Limit { setting: "limits.queue_bytes_max", maximum, wanted: bytes })
    } else if session.is_stored() {
        stored.shortage_for(added)
    } else {
        None
    }
}
