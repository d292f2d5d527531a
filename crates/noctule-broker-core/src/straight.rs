//! The straight way: the commonest packets, many at a time, without the detour over all that they
//! might have meant.
//!
//! That is a PUBLISH at QoS 0 or 1 with nothing but a payload and a topic that the last one had
//! too, for one session of this shard, which gets it at once or lets it wait, or for one other
//! shard; and there its delivery. And it is a PUBACK that says nothing and after which nothing is
//! to be done. For a run of such packets everything that they have in common is asked once. The
//! outcome is that of the long way; whatever is otherwise takes it, and finds nothing changed.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ops::Range;

use noctule_packet::{
    Ack, Framing, PacketId, PacketType, PlainPublish, QoS, ReasonCode, TopicName, Version, split,
};
use smallvec::SmallVec;

use crate::access::Authorization;
use crate::connection::BARE_BYTES;
use crate::effect::Effects;
use crate::groups::Place;
use crate::input::ConnectionId;
use crate::last_topic::{LastTopic, Only};
use crate::message::{self, Message};
use crate::passing::Awaited;
use crate::persist::Awaiting;
use crate::rate::UNLIMITED;
use crate::registry::SessionKey;
use crate::settings::{Durability, Settings};
use crate::shard::Shard;
use crate::spares::Spares;
use crate::stored::{Record, Reference};

/// How many publications are taken at a time at most.
pub(crate) const RUN_MAX: usize = 256;

/// The first byte of a PUBLISH that may be plain, but for DUP and the lower bit of its QoS.
const PUBLISH: u8 = (PacketType::Publish as u8) << 4;
const VARYING: u8 = 0b1010;
const PUBACK: u8 = (PacketType::Puback as u8) << 4;

/// Publications that go the straight way together.
pub(crate) struct Run<'a> {
    /// What has been read, the run first.
    stream: &'a [u8],
    /// Where that begins in the bytes of this input, if it stands there.
    start: Option<usize>,
    pub(crate) version: Version,
    packet_bytes_max: u32,
    pub(crate) count: usize,
    /// How many bytes its packets have.
    pub(crate) bytes: usize,
    /// How many bytes its messages count against limits.
    pub(crate) message_bytes: u64,
    /// Those that have QoS 1.
    pub(crate) acknowledge: SmallVec<[PacketId; RUN_MAX]>,
    /// The place of the first one, if they are recorded: in a queue of a session that is stored.
    pub(crate) place: Option<Place>,
    /// Whether their publisher hears of them only when what is recorded of them is durable.
    may_be_awaited: bool,
    /// The session that they wait for, if they were not sent at once.
    pub(crate) waits_for: Option<SessionKey>,
}

/// Who takes the messages of a run.
pub(crate) trait Taker {
    /// Whether this one may be delivered with this QoS, as the long way would do it.
    fn takes(&mut self, plain: &PlainPublish<'_>, qos: QoS) -> bool;

    /// The place in a queue that the next message takes, if one with this QoS has to be recorded.
    fn next_place(&mut self, qos: QoS) -> Option<Place>;

    /// What is left to do in this turn.
    fn budget(&mut self) -> &mut usize;

    /// Delivers a message that it [`takes`](Self::takes); `share` gives it if it is to be kept.
    /// Whoever calls this has it recorded, if it takes a [place](Self::next_place).
    fn deliver(
        &mut self,
        plain: &PlainPublish<'_>,
        qos: QoS,
        share: impl FnOnce(&mut Spares) -> Arc<Message>,
    );
}

impl<'a> Run<'a> {
    pub(crate) fn new(stream: &'a [u8], version: Version, packet_bytes_max: u32) -> Self {
        Self {
            stream,
            start: None,
            version,
            packet_bytes_max,
            count: 0,
            bytes: 0,
            message_bytes: 0,
            acknowledge: SmallVec::new(),
            place: None,
            may_be_awaited: false,
            waits_for: None,
        }
    }

    /// Where its packets stand in the bytes of this input, if they do.
    pub(crate) fn at(&self) -> Option<Range<usize>> {
        self.start.map(|start| start..start + self.bytes)
    }

    /// Its packets.
    pub(crate) fn packets(&self) -> &'a [u8] {
        self.stream.get(..self.bytes).unwrap_or_default()
    }

    /// The next packet and its length, if it is a plain one on this topic.
    #[inline]
    pub(crate) fn next<'t>(&self, topic: TopicName<'t>) -> Option<(PlainPublish<'t>, usize)>
    where
        'a: 't,
    {
        let rest = self.stream.get(self.bytes..)?;
        match split(rest, self.packet_bytes_max) {
            Ok(Framing::Complete(frame)) => {
                Some((PlainPublish::decode(&frame, self.version, topic)?, frame.length))
            }
            _ => None,
        }
    }

    /// The place of its first message, if they are recorded.
    pub(crate) fn recorded(&self) -> Option<Place> {
        self.place.filter(|_| self.count > 0)
    }

    /// Whether they are acknowledged when they are durable.
    fn is_awaited(&self) -> bool {
        self.may_be_awaited && self.place.is_some()
    }

    /// Gives packets to whoever takes them, up to the first that has to take the long way.
    #[inline]
    fn fill(
        &mut self,
        taker: &mut impl Taker,
        granted: QoS,
        last: &mut LastTopic,
        cost: usize,
        mut may_come: impl FnMut(&Self, &PlainPublish<'_>) -> bool,
    ) -> Option<()> {
        let LastTopic { name, shared, .. } = last;
        let name = name.name()?;
        let (first, _) = self.next(name)?;
        self.place = taker.next_place(first.qos().min(granted));
        while let Some((plain, length)) = self.next(name) {
            let qos = plain.qos().min(granted);
            // What is recorded goes without what is not.
            let is_other = self.place.is_some() != taker.next_place(qos).is_some();
            let is_late = *taker.budget() <= cost;
            if is_other || is_late || !may_come(self, &plain) || !taker.takes(&plain, qos) {
                break;
            }
            *taker.budget() -= cost;
            let share = |spares: &mut Spares| {
                let topic = shared.get_or_insert_with(|| name.as_str().into());
                spares.message(topic, plain.payload, plain.qos())
            };
            taker.deliver(&plain, qos, share);
            self.note(&plain, length);
        }
        Some(())
    }

    /// It was passed on.
    #[inline]
    pub(crate) fn note(&mut self, plain: &PlainPublish<'_>, length: usize) {
        self.count += 1;
        self.bytes += length;
        self.message_bytes += message::plain_bytes(plain.topic.as_str(), plain.payload) as u64;
        if let Some(packet_id) = plain.packet_id {
            self.acknowledge.push(packet_id);
        }
    }
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
        && settings.limits.message_expiry_interval(None).is_none()
}

impl Shard {
    /// Takes the packets at the front of `bytes` that can go the straight way. How many bytes they
    /// have. `start` is where they begin in the bytes of this input.
    #[inline]
    pub(crate) fn go_straight(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        version: Version,
        (start, bytes): (usize, &[u8]),
        effects: &mut Effects,
    ) -> usize {
        match bytes.first() {
            Some(first) if first & !VARYING == PUBLISH => {
                self.pass_on(id, key, version, (start, bytes), effects)
            }
            Some(&PUBACK) => self.take_pubacks(id, key, bytes, effects),
            _ => 0,
        }
    }

    /// Takes a run of publications.
    fn pass_on(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        version: Version,
        (start, bytes): (usize, &[u8]),
        effects: &mut Effects,
    ) -> usize {
        // Whoever waits for a turn has to have it first.
        if !self.goes_straight || !self.work.is_empty() {
            return 0;
        }
        let Some(mut last) = self.last_topic.take() else { return 0 };
        let only = last.only(self.router.epoch());
        let mut run = Run::new(bytes, version, self.settings.limits.maximum_packet_size);
        run.start = Some(start);
        let _ = match only {
            Some(Only::Session(to, granted)) => {
                self.run_to_session(id, key, (to, granted), &mut last, &mut run)
            }
            Some(Only::Shard(to)) => self.run_to_shard(key, to, &last, &mut run, effects),
            None => None,
        };
        self.last_topic = Some(last);
        if run.count > 0 {
            self.finish_run(id, key, &run, effects);
        }
        run.bytes
    }

    /// Delivers a run to a session of this shard. It ends, like every run, before a packet that has
    /// to take the long way.
    fn run_to_session(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        (receiver, granted): (SessionKey, QoS),
        last: &mut LastTopic,
        run: &mut Run<'_>,
    ) -> Option<()> {
        // Mostly it is another topic, and nothing else need be asked.
        run.next(last.name.name()?)?;
        let is_limited = is_limited(&self.settings);
        let answers_max = 2 * self.settings.limits.outbound_bytes_max as usize;
        let answers_waiting = self.connections.find(id)?.outbound.len();
        let session = self.registry.session(key).filter(|known| known.connection == Some(id))?;
        let is_answered = session.receiver.may_acknowledge_at_once();
        let owed_max = usize::from(session.receiver.quota());
        run.may_be_awaited = session.durability != Durability::Memory;
        let is_alone = self.registry.session(receiver)?.connection == Some(id) || is_limited;
        let count_max = if is_alone { 1 } else { RUN_MAX };
        let may_come = |run: &Run<'_>, plain: &PlainPublish<'_>| {
            let answers = answers_waiting + run.acknowledge.len() * BARE_BYTES;
            run.count < count_max
                && (plain.packet_id.is_none()
                    || if run.is_awaited() {
                        run.acknowledge.len() < owed_max
                    } else {
                        is_answered && answers < answers_max
                    })
        };
        // One of the budget for each packet, and one for its delivery.
        self.give_run((receiver, granted), last, run, 1, may_come)
    }

    /// Gives the front of a run to the one session that wants it: to its client, or to wait for
    /// that. It ends before a message that `may_come` says no to. Each takes so much of the budget
    /// besides its delivery.
    pub(crate) fn give_run(
        &mut self,
        (receiver, granted): (SessionKey, QoS),
        last: &mut LastTopic,
        run: &mut Run<'_>,
        cost: usize,
        mut may_come: impl FnMut(&Run<'_>, &PlainPublish<'_>) -> bool,
    ) -> Option<()> {
        if let Some(mut outlet) = self.outlet(receiver) {
            run.fill(&mut outlet, granted, last, cost, &mut may_come)?;
        }
        if run.count == 0 {
            let mut shelf = self.shelf(receiver)?;
            run.fill(&mut shelf, granted, last, cost, &mut may_come)?;
            run.waits_for = Some(receiver);
        }
        Some(())
    }

    /// Delivers another shard's publication. `None` if it has to take the long way.
    pub(crate) fn deliver_straight(
        &mut self,
        message: &Arc<Message>,
        effects: &mut Effects,
    ) -> Option<()> {
        if !self.goes_straight || !self.work.is_empty() || !message.is_plain() || self.budget == 0 {
            return None;
        }
        let last = self.last_topic.take()?;
        let delivered = self.deliver_to_only_one(&last, message);
        self.last_topic = Some(last);
        if let Some(reference) = delivered? {
            let (message, references) = (Arc::clone(message), reference.into());
            self.record(Record::Queued { publication: 0, message, references }, effects);
        }
        Some(())
    }

    /// Delivers a message to the only session that wants its topic, if that is the last one. How it
    /// waits there until it is acknowledged, if that is recorded.
    fn deliver_to_only_one(
        &mut self,
        last: &LastTopic,
        message: &Arc<Message>,
    ) -> Option<Option<Reference>> {
        let name = last.name.name().filter(|name| name.as_str() == &*message.topic)?;
        let Some(Only::Session(receiver, granted)) = last.only(self.router.epoch()) else {
            return None;
        };
        let plain = PlainPublish::new(name, &message.payload);
        let qos = message.qos.min(granted);
        let mut outlet = self.outlet(receiver).filter(|_| qos < QoS::ExactlyOnce)?;
        if !outlet.takes(&plain, qos) {
            return None;
        }
        let place = outlet.next_place(qos);
        outlet.deliver(&plain, qos, |_| Arc::clone(message));
        Some(place.map(|place| place.reference(qos)))
    }

    /// Counts and acknowledges the publications of a run.
    fn finish_run(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        run: &Run<'_>,
        effects: &mut Effects,
    ) {
        self.statistics.bytes_received += run.bytes as u64;
        self.statistics.packets_received += run.count as u64;
        self.statistics.publish_received += run.count as u64;
        if is_limited(&self.settings) {
            self.note_rate(id, run.bytes);
        }
        if let Some(connection) = self.connections.find_mut(id) {
            connection.heard = self.now;
        }
        self.record_run(run, effects);
        if run.is_awaited() {
            return self.await_run(key, run, effects);
        }
        if !run.acknowledge.is_empty() {
            self.send_all_bare(id, PacketType::Puback, &run.acknowledge);
        }
    }

    /// Lets the acknowledgements of a run wait until it is durable.
    fn await_run(&mut self, key: SessionKey, run: &Run<'_>, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let first = session.receiver.on_publish_many(&run.acknowledge);
        debug_assert!(first.is_ok(), "a run within the quota");
        let Ok(first) = first else { return };
        let (to, count) = (self.settings.shard, run.acknowledge.len() as u64);
        let awaited = Awaited { to, session: key, first: first.value(), count };
        self.await_durable(Awaiting::Run(Box::new(awaited)), effects);
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
        if session.kept.is_some() {
            self.note_acknowledged(key);
        }
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
pub(crate) fn is_limited(settings: &Settings) -> bool {
    let limits = &settings.limits;
    limits.publish_rate_max != UNLIMITED || limits.publish_bytes_rate_max != UNLIMITED
}
