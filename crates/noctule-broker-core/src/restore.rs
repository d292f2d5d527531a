//! How what a store gives back is put in its place.
//!
//! Sessions and retained messages take their places first, and other shards get to know the routes.
//! When every shard has said that all is in its place, what the crash has interrupted goes on:
//! clients that were connected have lost their connections, and QoS 2 publications that were
//! received and perhaps not routed to all are routed to the rest.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{PacketId, QoS};
use noctule_session::AnswerId;

use crate::effect::{Effect, Effects, Principal, Token, Waiting};
use crate::fan_out::Then;
use crate::fault::Refused;
use crate::groups::{GroupKey, Place, Tag};
use crate::message::Message;
use crate::origin::Origin;
use crate::outstanding::Outstanding;
use crate::placement::Placement;
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::restored::{Restored, Step, StoredMessage, StoredSession, StoredSharedQueue};
use crate::retained;
use crate::session::{Delivery, Kept, Session};
use crate::shard::Shard;
use crate::source::Source;
use crate::stored::AS_RETAINED;
use crate::subscribe::Request;
use crate::timers::Timer;

/// Publications that are routed for the second time are answered to nobody: their places among a
/// session's answers are from here on.
const UNROUTED: u64 = 1 << 63;

/// No more messages than that are in flight at a time.
const WINDOW_MAX: usize = 65_534;

/// A name, that of the publisher, how it came, and the message.
type StoredPublication = (u64, u64, Source, Arc<Message>);

/// What is not finished of restoring.
#[derive(Debug, Default)]
pub(crate) struct Restoring {
    /// How many answers of other shards there will be.
    parts: u32,
    is_complete: bool,
    /// All sessions by their names in the store.
    sessions: BTreeMap<u64, Found>,
    unrouted: Vec<StoredPublication>,
    /// How many publications were routed that the store knows by their names, and wills.
    named: u64,
    /// Who has got which publication already, by their names in the store.
    queued: BTreeMap<u64, Vec<u64>>,
    /// Places in queues of which the store is to know that nothing stands there.
    lost: Vec<Place>,
    /// What waits in shared subscriptions, until they have all their members.
    shared: Vec<StoredSharedQueue>,
    /// The queues of shared subscriptions that there were, and whose.
    shared_queues: BTreeMap<u64, Arc<str>>,
}

/// A session that was stored.
#[derive(Debug)]
struct Found {
    key: SessionKey,
    was_connected: bool,
    /// What it gives back to shared subscriptions, out of the part of its queue that is away.
    unsent: Vec<StoredMessage>,
}

impl Shard {
    /// Puts back what was stored.
    pub(crate) fn on_restore(&mut self, restored: Restored, effects: &mut Effects) {
        match restored {
            Restored::Session(stored) => self.restore_session(*stored, effects),
            Restored::SharedQueue(stored) => {
                let filter = Arc::clone(&stored.filter);
                self.restoring.shared_queues.insert(stored.queue, filter);
                self.restoring.shared.push(stored);
            }
            Restored::Retained(message) => self.restore_retained(message),
            Restored::Unrouted { publication, session, source, message } => {
                self.restoring.unrouted.push((publication, session, source, message));
            }
            Restored::Queued { publication, sessions } => {
                self.restoring.queued.insert(publication, sessions);
            }
            Restored::End { last_name } => {
                self.go_on_naming_behind(last_name);
                self.restoring.is_complete = true;
                self.say_restored(effects);
            }
            Restored::GoOn => self.go_on_behind_crash(effects),
        }
    }

    fn say_restored(&mut self, effects: &mut Effects) {
        if self.restoring.is_complete && self.restoring.parts == 0 {
            effects.push(Effect::Restored);
        }
    }

    /// Every other shard knows one more of the routes.
    pub(crate) fn on_restored_route_known(&mut self, effects: &mut Effects) {
        self.restoring.parts = self.restoring.parts.saturating_sub(1);
        self.say_restored(effects);
    }

    fn restore_retained(&mut self, message: Arc<Message>) {
        // What has expired meanwhile is removed as it would have been then.
        if let Some(at) = message.expires_at {
            self.timers.set(at, Timer::Retained((&*message.topic).into()));
        }
        self.retained.put(retained::Kept { message, origin: Origin::default(), is_stored: true });
    }

    fn restore_session(&mut self, stored: StoredSession, effects: &mut Effects) {
        let StoredSession { terms, was_connected, subscriptions, received, .. } = stored;
        let mut session = Session::new(terms.client_id, terms.version);
        let user_name = terms.user_name;
        session.principal = Principal { user_name, ..Principal::default() };
        session.durability = self.settings.durability;
        session.expiry_interval = terms.expiry_interval;
        session.count(&self.settings.totals.stored_sessions);
        session.will = terms.will;
        let (name, sequence) = (terms.session, stored.sequence);
        let mut kept = Kept { sequence, durable: sequence, ..Kept::new(name) };
        kept.note_expiry_interval(terms.expiry_interval);
        session.kept = Some(Box::new(kept));
        let lost = stored.lost.into_iter().map(|sequence| Place { queue: name, sequence });
        self.restoring.lost.extend(lost);
        for packet_id in received {
            session.receiver.restore(packet_id);
        }
        let placement = self.settings.placement;
        let may_be_sent = (stored.next, stored.sent);
        restore_queue(&mut session, may_be_sent, stored.messages, &placement);
        if let Some(away) = stored.away {
            session.restore_backlog(away);
        }
        for stored in stored.behind {
            let (delivery, qos) = delivery_of(stored, &placement);
            session.enqueue(delivery, qos);
        }
        self.memory.grow(session.held_bytes);
        session.count_stored(&mut self.stored);
        if !was_connected {
            session.expires_at = stored.expires_at;
            session.will_at = stored.will_at;
        }
        let key = self.registry.insert(session);
        self.records.note_session(name, key);
        let found = Found { key, was_connected, unsent: stored.unsent };
        self.restoring.sessions.insert(name, found);
        for request in subscriptions.into_iter().map(Request::from_stored) {
            let (_, change) = self.add_subscription(key, &request);
            self.replay_anew(key, &request);
            let token = Token(Waiting::Restore);
            self.restoring.parts += self.tell_subscription(key, &request, change, token, effects);
        }
    }

    /// Every shard knows what it has to know.
    fn go_on_behind_crash(&mut self, effects: &mut Effects) {
        let sessions = core::mem::take(&mut self.restoring.sessions);
        let unrouted = core::mem::take(&mut self.restoring.unrouted);
        for place in core::mem::take(&mut self.restoring.lost) {
            self.record_taken(place, effects);
        }
        for stored in core::mem::take(&mut self.restoring.shared) {
            self.go_on_with_shared(stored, effects);
        }
        // An identifier may have been used again since the first of them: the last one has it.
        let exchanges: BTreeMap<_, u64> = unrouted
            .iter()
            .filter_map(|(name, session, source, _)| match source {
                Source::Packet(packet_id) => Some(((*session, *packet_id), *name)),
                Source::Will(_) => None,
            })
            .collect();
        for (name, session, source, message) in unrouted {
            // What a session has published counts, even if it is over.
            let key = sessions.get(&session).map(|found| found.key);
            match source {
                Source::Will(owner) => {
                    let publisher = key.unwrap_or(SessionKey::NOBODY);
                    self.go_on_with_will((name, publisher), owner, message, effects);
                }
                Source::Packet(packet_id) => {
                    let has_it = exchanges.get(&(session, packet_id)) == Some(&name);
                    let packet_id = has_it.then_some(packet_id);
                    self.go_on_with_publication((name, packet_id), key, &message, effects);
                }
            }
        }
        for Found { key, was_connected, unsent } in sessions.into_values() {
            if was_connected {
                self.take_out(key, unsent);
                self.release_session(key, effects);
                continue;
            }
            let Some(session) = self.registry.session(key) else { continue };
            if let Some(at) = session.expires_at {
                self.timers.set(at, Timer::SessionExpiry(key));
            }
            if let Some(at) = session.will_at {
                self.timers.set(at, Timer::Will(key));
            }
        }
        // What has come due meanwhile is over before the first client comes.
        self.on_timeout(effects);
    }

    /// Lets messages that are away wait in memory, for a session that gives them back now.
    fn take_out(&mut self, key: SessionKey, unsent: Vec<StoredMessage>) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let held = session.held_bytes;
        for stored in unsent {
            session.take_out(stored, &self.settings.placement);
        }
        self.memory.grow(session.held_bytes - held);
        session.count_stored(&mut self.stored);
    }

    /// Routes a QoS 2 publication once more. Its publisher sends it again, too, and is told when
    /// that is done, if it still has a packet identifier.
    fn go_on_with_publication(
        &mut self,
        (name, packet_id): (u64, Option<PacketId>),
        key: Option<SessionKey>,
        message: &Arc<Message>,
        effects: &mut Effects,
    ) {
        let publisher = key.map_or(Publisher::Nobody, Publisher::Session);
        let Some(publication) = Publication::of(message, publisher) else { return };
        let session = key.and_then(|key| self.registry.session_mut(key));
        let exchange = session.zip(packet_id);
        let answer = exchange.and_then(|(session, id)| session.receiver.keep_again(id));
        let waiting = key.zip(answer.map(AnswerId::value));
        let waiting = waiting.unwrap_or_else(|| self.nobodys_answer(key));
        self.outstanding.insert(waiting, Outstanding::unrouted(name, answer.and(packet_id)));
        self.route_named(publication, name, waiting, effects);
    }

    /// What somebody waits for who is not told of it.
    fn nobodys_answer(&mut self, key: Option<SessionKey>) -> (SessionKey, u64) {
        self.restoring.named += 1;
        (key.unwrap_or(SessionKey::NOBODY), UNROUTED + self.restoring.named)
    }

    /// Publishes for somebody who does not wait for it what the store has a name for, unless its
    /// topic takes no retained message.
    pub(crate) fn publish_named(
        &mut self,
        mut publication: Publication<'_>,
        name: u64,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        publication.name = name;
        self.check_retained(&publication)?;
        let waiting = self.nobodys_answer(publication.publisher.session());
        self.outstanding.insert(waiting, Outstanding::unrouted(name, None));
        self.route_named(publication, name, waiting, effects);
        Ok(())
    }

    /// Routes a publication to all who have not got it before the last crash, and lets the store
    /// know when that is done, and whoever waits for it.
    fn route_named(
        &mut self,
        mut publication: Publication<'_>,
        name: u64,
        waiting: (SessionKey, u64),
        effects: &mut Effects,
    ) {
        publication.name = name;
        let matches = self.route(publication.topic);
        let (parts, rest) = self.make_public(&mut publication, &matches, Some(waiting), effects);
        if let Some(from) = rest {
            let then = Then { acknowledge: Some(waiting), ..Then::default() };
            self.defer(&mut publication, matches, from, then);
        }
        if let Some(outstanding) = self.outstanding.get_mut(&waiting) {
            outstanding.await_parts(parts + u32::from(rest.is_some()));
        }
        self.on_answered(waiting.0, waiting.1, None, effects);
    }

    /// Whether a publication waits for a session already, since before the last crash.
    pub(crate) fn has_got(&self, key: SessionKey, publication: u64) -> bool {
        let Some(sessions) = self.restoring.queued.get(&publication) else { return false };
        let kept = self.registry.session(key).and_then(|session| session.kept.as_deref());
        kept.is_some_and(|kept| sessions.contains(&kept.name))
    }

    /// Whether a publication has changed its topic's retained message already, before the last
    /// crash: one that has come behind it must not give way to it.
    pub(crate) fn has_changed_retained(&self, publication: u64) -> bool {
        let got = self.restoring.queued.get(&publication);
        got.is_some_and(|got| got.contains(&AS_RETAINED))
    }

    /// Whether a publication was given to a shared subscription already, before the last crash.
    pub(crate) fn has_got_shared(&self, key: GroupKey, publication: u64) -> bool {
        let Some(queues) = self.restoring.queued.get(&publication) else { return false };
        let Some(group) = self.groups.group(key) else { return false };
        let mut filters = queues.iter().filter_map(|name| self.restoring.shared_queues.get(name));
        filters.any(|filter| *filter == group.filter)
    }
}

/// Whether an answer is that of a publication that is routed for the second time.
pub(crate) const fn is_unrouted(answer: u64) -> bool {
    answer >= UNROUTED
}

/// Fills a queue. What may have been sent, up to a place, is sent again with its packet identifier,
/// and its client is told so, because nobody knows whether it was.
fn restore_queue(
    session: &mut Session,
    (first, sent): (PacketId, u64),
    messages: Vec<StoredMessage>,
    placement: &Placement,
) {
    session.sender.restore_next(first);
    let is_begun = |message: &StoredMessage| message.step != Step::Published;
    let begun = messages.iter().rposition(is_begun).map_or(0, |last| last + 1);
    let mut released = Vec::new();
    let mut packet_id = first;
    for (at, stored) in messages.into_iter().enumerate() {
        let (step, bytes) = (stored.step, stored.message.bytes() as u64);
        let may_be_sent = at < WINDOW_MAX && stored.sequence <= sent;
        let (delivery, qos) = delivery_of(stored, placement);
        if !may_be_sent && at >= begun {
            session.enqueue(delivery, qos);
            continue;
        }
        match step {
            Step::Done => session.sender.restore_done(packet_id),
            Step::Published | Step::Released(_) => {
                if session.sender.restore_published(packet_id, delivery, qos).is_ok() {
                    session.held_bytes += bytes;
                }
            }
        }
        if let Step::Released(order) = step {
            released.push((order, packet_id));
        }
        packet_id = following(packet_id);
    }
    released.sort_unstable();
    for (_, packet_id) in released {
        if let Some(delivery) = session.sender.restore_released(packet_id) {
            session.held_bytes -= delivery.message.bytes() as u64;
        }
    }
}

/// A message that waits for a session, as the session has it.
pub(crate) fn delivery_of(stored: StoredMessage, placement: &Placement) -> (Delivery, QoS) {
    let StoredMessage { message, sequence, qos, retain, identifiers, group, .. } = stored;
    let tag = group.map(|filter| Tag::from_before(filter, placement));
    let mut delivery = Delivery::new(message, retain, identifiers.into(), tag);
    delivery.set_sequence(sequence);
    delivery.is_stored_first = qos == QoS::ExactlyOnce;
    (delivery, qos)
}

/// The packet identifier behind another one.
fn following(packet_id: PacketId) -> PacketId {
    PacketId::new(packet_id.value().wrapping_add(1)).unwrap_or(PacketId::MIN)
}
