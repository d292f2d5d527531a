//! The state of a session, which outlives its connections.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use noctule_packet::{PacketId, QoS, SubscriptionOptions, Version};
use noctule_session::{Oldest, Receiver, Sender, Timestamp};
use smallvec::SmallVec;

use crate::backlog::Backlog;
use crate::effect::Principal;
use crate::groups::{GroupKey, Place, Tag};
use crate::input::ConnectionId;
use crate::memory::Memory;
use crate::message::Message;
use crate::replay::Replays;
use crate::settings::Durability;
use crate::stored::StoredSubscription;
use crate::subscriptions::Subscriptions;
use crate::totals::Total;
use crate::will::Will;

/// A Session Expiry Interval that never ends.
pub(crate) const NEVER: u32 = u32::MAX;

/// Everything the broker knows about one client identifier.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    pub(crate) principal: Principal,
    pub(crate) version: Version,
    pub(crate) connection: Option<ConnectionId>,
    /// In seconds; 0 ends the session with its connection, [`NEVER`] never.
    pub(crate) expiry_interval: u32,
    /// When the session ends, while it has no connection.
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) subscriptions: Subscriptions,
    /// Boxed, as most sessions have none.
    memberships: Option<Box<Memberships>>,
    pub(crate) sender: Sender<Delivery>,
    /// What the store knows of it. Boxed, as sessions that end with their connections have none.
    pub(crate) kept: Option<Box<Kept>>,
    /// Bytes of what waits in `sender`.
    pub(crate) queued_bytes: u64,
    /// Bytes of all that is in `sender`, sent or not.
    pub(crate) held_bytes: u64,
    /// How much of what waits in `sender` belongs to shared subscriptions.
    pub(crate) queued_shared: u32,
    pub(crate) receiver: Receiver,
    pub(crate) will: Option<Box<Will>>,
    /// When the will is sent, once the connection is gone.
    pub(crate) will_at: Option<Timestamp>,
    /// Retained messages that are still to be sent to new subscriptions.
    pub(crate) replays: Replays,
    /// Whether the replays wait for a turn.
    pub(crate) replay_scheduled: bool,
    /// Whether it counts among those that outlive their connections.
    pub(crate) is_counted: bool,
    /// What an acknowledgement means on its last connection.
    pub(crate) durability: Durability,
}

impl Session {
    /// A session without a connection, and with nothing in it.
    pub(crate) fn new(client_id: Arc<str>, version: Version) -> Self {
        Self {
            client_id,
            principal: Principal::default(),
            version,
            connection: None,
            expiry_interval: 0,
            expires_at: None,
            subscriptions: Subscriptions::default(),
            memberships: None,
            sender: Sender::new(u16::MAX),
            kept: None,
            queued_bytes: 0,
            held_bytes: 0,
            queued_shared: 0,
            receiver: Receiver::new(u16::MAX),
            will: None,
            will_at: None,
            replays: Replays::default(),
            replay_scheduled: false,
            is_counted: false,
            durability: Durability::default(),
        }
    }
}

/// What the store knows of a session.
#[derive(Debug)]
pub(crate) struct Kept {
    /// What the store calls it.
    pub(crate) name: u64,
    /// The Session Expiry Interval that the store was told. What waits is kept unless it is 0.
    pub(crate) expiry_interval: u32,
    /// The last place in its queue that was taken.
    pub(crate) sequence: u64,
    /// The last place whose message is durable.
    pub(crate) durable: u64,
    /// How many records must be durable before a QoS 2 message is sent: those up to the last that
    /// says that a message was skipped.
    pub(crate) skipped: u64,
    /// Up to which place the store knows that the queue is done.
    pub(crate) done: u64,
    /// The last place that may be sent, as far as the store knows.
    pub(crate) horizon: u64,
    /// The same, as soon as what was recorded is durable.
    pub(crate) next_horizon: u64,
    /// The last of those that were recorded so that they become durable at once.
    pub(crate) hurried_horizon: u64,
    /// Horizons count that are recorded behind so many records: those before may lie beyond.
    pub(crate) horizon_behind: u64,
    /// Whether its client has acknowledged something that is not recorded.
    pub(crate) has_acknowledged: bool,
    /// The places of messages that its client has and whose packet identifiers are not free yet, as
    /// far as they are known: that of none from before a restart is.
    pub(crate) released: BTreeMap<PacketId, u64>,
    /// Whether the store has a will of its client.
    pub(crate) has_will: bool,
    /// How many bytes of what waits count as being in the store.
    pub(crate) counted_bytes: u64,
    /// What stands behind all that waits in memory.
    pub(crate) backlog: Option<Box<Backlog>>,
    /// Places behind something that waits, whose messages have left: when they are read, the store
    /// may not know yet.
    pub(crate) gone: BTreeSet<u64>,
}

impl Kept {
    pub(crate) fn new(name: u64) -> Self {
        Self {
            name,
            expiry_interval: 0,
            sequence: 0,
            durable: 0,
            skipped: 0,
            done: 0,
            horizon: 0,
            next_horizon: 0,
            hurried_horizon: 0,
            horizon_behind: 0,
            has_acknowledged: false,
            released: BTreeMap::new(),
            has_will: false,
            counted_bytes: 0,
            backlog: None,
            gone: BTreeSet::new(),
        }
    }

    pub(crate) const fn has_queue(&self) -> bool {
        self.expiry_interval > 0
    }

    /// Whatever its client asks for now: as long as something of its queue is in the store only,
    /// the session has to stay there as it was.
    pub(crate) fn note_expiry_interval(&mut self, wanted: u32) {
        if wanted > 0 || self.backlog.is_none() {
            self.expiry_interval = wanted;
        }
        if !self.has_queue() {
            self.released.clear();
        }
    }

    /// The place of a message in the queue, of which it has itself only the lower half.
    pub(crate) fn sequence_of(&self, delivery: &Delivery) -> u64 {
        self.sequence.saturating_sub(low(self.sequence).wrapping_sub(delivery.sequence).into())
    }
}

/// The lower half of a place in a queue.
fn low(sequence: u64) -> u32 {
    u32::try_from(sequence & u64::from(u32::MAX)).unwrap_or_default()
}

/// The shared subscriptions of a session.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    /// Those of its own shard, in order.
    pub(crate) here: Vec<GroupKey>,
}

impl Session {
    /// The shared subscriptions of its own shard that it is a member of, in order.
    pub(crate) fn groups(&self) -> &[GroupKey] {
        self.memberships.as_ref().map(|known| &*known.here).unwrap_or_default()
    }

    pub(crate) fn memberships_mut(&mut self) -> &mut Memberships {
        self.memberships.get_or_insert_default()
    }

    /// Whether nothing waits for the connection to take more.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_open() && self.groups().is_empty() && self.replays.is_empty()
    }

    /// Whether a message that comes now is sent at once, because none waits and nobody has to know.
    pub(crate) fn is_open(&self) -> bool {
        let may_send = |kept: &Kept| kept.backlog.is_none() && kept.may_send_next();
        self.sender.is_open() && self.kept.as_deref().is_none_or(may_send)
    }

    /// How many messages wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.sender.waiting() as u64 + self.backlog().map_or(0, Backlog::len)
    }

    /// Whether it goes on without its connection.
    pub(crate) fn may_return(&self) -> bool {
        self.expiry_interval > 0
    }

    /// Counts it among those that go on without their connections, if it does.
    pub(crate) fn count(&mut self, total: &Total) {
        let (was_counted, is_counted) = (self.is_counted, self.may_return());
        self.is_counted = is_counted;
        match (was_counted, is_counted) {
            (false, true) => total.add(1),
            (true, false) => total.subtract(1),
            _ => {}
        }
    }

    /// Whether what waits for it is kept, because it goes on without its connection.
    pub(crate) fn is_stored(&self) -> bool {
        self.kept.as_deref().is_some_and(Kept::has_queue)
    }

    /// Counts what waits for it as being in the store, if it is.
    pub(crate) fn count_stored(&mut self, stored: &mut Memory) {
        let Some(kept) = self.kept.as_deref_mut() else { return };
        let bytes = if kept.has_queue() { self.queued_bytes } else { 0 };
        stored.change(core::mem::replace(&mut kept.counted_bytes, bytes), bytes);
    }

    /// What the store knows of its queue, if that is kept.
    pub(crate) fn queue_kept(&mut self) -> Option<&mut Kept> {
        self.kept.as_deref_mut().filter(|kept| kept.has_queue())
    }

    /// The place that the next message takes, if one with this QoS has to be recorded.
    pub(crate) fn next_place(&mut self, qos: QoS) -> Option<Place> {
        let kept = self.queue_kept().filter(|_| qos > QoS::AtMostOnce)?;
        Some(Place { queue: kept.name, sequence: kept.sequence + 1 })
    }

    /// What the store calls a session whose queue is kept.
    pub(crate) fn queue_name(&mut self) -> Option<u64> {
        self.queue_kept().map(|kept| kept.name)
    }

    /// Its client has a QoS 2 message.
    pub(crate) fn note_released(&mut self, packet_id: PacketId, delivery: &Delivery) {
        if let Some(kept) = self.queue_kept() {
            let place = kept.sequence_of(delivery);
            kept.released.insert(packet_id, place);
        }
    }

    /// Up to which place its queue is done, and the packet identifier of the message behind that;
    /// `None` if that cannot be said now.
    pub(crate) fn done_up_to(&self) -> Option<(u64, PacketId)> {
        let kept = self.kept.as_deref()?;
        let up_to = match self.sender.oldest() {
            Oldest::Published(delivery) => kept.sequence_of(delivery).saturating_sub(1),
            Oldest::Released => {
                let place = kept.released.get(&self.sender.oldest_packet_id())?;
                place.saturating_sub(1)
            }
            Oldest::None => self.sent_up_to(),
        };
        Some((up_to, self.sender.oldest_packet_id()))
    }

    /// The last place in its queue whose message has a packet identifier, or is done.
    pub(crate) fn sent_up_to(&self) -> u64 {
        let Some(kept) = self.kept.as_deref() else { return 0 };
        let waiting = self.sender.peek_waiting().map(|next| kept.sequence_of(next));
        let next = waiting.or_else(|| Some(kept.backlog.as_deref()?.from()));
        next.map_or(kept.sequence, |next| next.saturating_sub(1))
    }

    /// Lets a message wait behind all others.
    pub(crate) fn enqueue(&mut self, delivery: Delivery, qos: QoS) {
        let bytes = delivery.message.bytes() as u64;
        self.queued_bytes += bytes;
        self.held_bytes += bytes;
        self.queued_shared += u32::from(delivery.group().is_some());
        match self.backlog_mut() {
            Some(backlog) => backlog.push(delivery, qos),
            None => self.sender.enqueue(delivery, qos),
        }
    }

    /// A message waits no more.
    pub(crate) fn note_dequeued(&mut self, delivery: &Delivery) {
        self.queued_bytes -= delivery.message.bytes() as u64;
        self.queued_shared -= u32::from(delivery.group().is_some());
    }
}

/// One subscription of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<SubscriptionIdentifier>,
}

impl Subscription {
    /// What is stored of it.
    pub(crate) fn to_stored(self, filter: &str, is_owed: bool) -> StoredSubscription {
        let identifier = self.identifier.map(SubscriptionIdentifier::get);
        StoredSubscription { filter: filter.into(), options: self.options, identifier, is_owed }
    }
}

/// A Subscription Identifier, which is never 0: one that is missing takes no room.
pub(crate) type SubscriptionIdentifier = NonZeroU32;

/// The Subscription Identifiers that go with one message.
pub(crate) type Identifiers = SmallVec<[u32; 2]>;

/// A QoS 1 or 2 message on its way to one session.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    pub(crate) retain: bool,
    /// Whether it is sent only when its place in the queue is durable.
    pub(crate) is_stored_first: bool,
    /// The lower half of its place in the queue, if that is kept.
    sequence: u32,
    /// Boxed, as hardly any delivery has them and there may be many deliveries.
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug)]
struct Details {
    identifiers: Identifiers,
    group: Option<Tag>,
}

impl Delivery {
    pub(crate) fn new(
        message: Arc<Message>,
        retain: bool,
        identifiers: Identifiers,
        group: Option<Tag>,
    ) -> Self {
        let is_plain = identifiers.is_empty() && group.is_none();
        let details = (!is_plain).then(|| Box::new(Details { identifiers, group }));
        Self { message, retain, is_stored_first: false, sequence: 0, details }
    }

    /// A delivery without RETAIN for the one subscription that matches, which has no identifier.
    pub(crate) fn plain(message: Arc<Message>) -> Self {
        Self { message, retain: false, is_stored_first: false, sequence: 0, details: None }
    }

    /// Gives it its place in a queue that is kept.
    pub(crate) fn set_sequence(&mut self, sequence: u64) {
        self.sequence = low(sequence);
    }

    /// Whether nobody but its session has to do with it.
    pub(crate) fn is_plain(&self) -> bool {
        self.details.is_none()
    }

    pub(crate) fn identifiers(&self) -> Identifiers {
        self.details.as_ref().map(|details| details.identifiers.clone()).unwrap_or_default()
    }

    /// What is stored of it that hardly any has: Subscription Identifiers, and the filter of its
    /// shared subscription.
    pub(crate) fn to_stored(&self) -> (Vec<u32>, Option<Arc<str>>) {
        let Some(details) = &self.details else { return (Vec::new(), None) };
        let filter = details.group.as_ref().map(|tag| Arc::clone(&tag.filter));
        (details.identifiers.to_vec(), filter)
    }

    /// The place that the store has for it as the shared subscription's, which is its session's to
    /// keep from now on.
    pub(crate) fn take_place(&mut self) -> Option<Place> {
        self.details.as_mut()?.group.as_mut()?.place.take()
    }

    /// The shared subscription that it belongs to.
    pub(crate) fn group(&self) -> Option<&Tag> {
        self.details.as_ref()?.group.as_ref()
    }

    /// Lets the store have it as the shared subscription's, and not as its session's.
    pub(crate) fn put_place(&mut self, place: Place) {
        if let Some(tag) = self.details.as_mut().and_then(|details| details.group.as_mut()) {
            tag.place = Some(place);
        }
    }
}
