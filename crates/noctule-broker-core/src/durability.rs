//! What an acknowledgement means, for each connection: that is decided by its user, its listener
//! and the broker, in this order, and a session may come to mean more or less by it.
//!
//! A session that was in memory only and is to be stored is told to the store as a whole
//! ([`deposit`](Shard::deposit)). One that was stored and is in memory from now on stays in the
//! store until nothing is left of what was promised to wait for it there.

use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{PacketId, QoS};
use noctule_session::Begun;

use crate::effect::{Effects, Principal, Token};
use crate::input::ListenerId;
use crate::message::Message;
use crate::persist::Awaiting;
use crate::registry::SessionKey;
use crate::session::{Delivery, Kept, Session, Subscription};
use crate::settings::{Durability, Settings};
use crate::shard::Shard;
use crate::stored::{Record, Reference};
use crate::subscribe::Request;

/// What stands for a message that its receiver has, so that its packet identifier is not free.
const STAND_IN: &str = "$SYS/received";

impl Settings {
    /// What an acknowledgement means for a client of this listener.
    pub(crate) fn durability_of(&self, listener: ListenerId, principal: &Principal) -> Durability {
        let listener = self.listeners.get(usize::from(listener.0));
        let wanted = principal.durability.or(listener.and_then(|known| known.durability));
        match wanted {
            Some(Durability::Memory) => Durability::Memory,
            Some(Durability::Stored | Durability::Interval) | None => self.durability,
        }
    }
}

impl Session {
    /// Whether it is in the store as long as something waits there for it, and no longer.
    pub(crate) fn is_leaving_store(&self) -> bool {
        self.durability == Durability::Memory && self.is_stored()
    }

    /// Whether something waits for its client, or was sent and is not done with.
    pub(crate) fn is_owed_something(&self) -> bool {
        self.sender.in_flight() > 0 || self.waiting() > 0
    }
}

impl Shard {
    /// Whether what this session publishes is acknowledged at once, and is not kept for its sake.
    pub(crate) fn is_in_memory(&self, key: SessionKey) -> bool {
        self.registry.session(key).is_some_and(|known| known.durability == Durability::Memory)
    }

    /// Nobody is promised anything of a session any more that would have to be in the store.
    pub(crate) fn leave_store(&mut self, key: SessionKey, effects: &mut Effects) {
        self.entrust_to_groups(key, effects);
        let kept = self.registry.session_mut(key).and_then(|session| session.kept.take());
        let Some(kept) = kept else { return };
        self.records.forget_session(kept.name);
        self.stored.shrink(kept.counted_bytes);
        self.record(Record::SessionEnded { session: kept.name }, effects);
        self.join_groups_anew(key, effects);
    }

    /// Lets the store have a session that has just got its name there, with everything in it. What
    /// waits is the last of it: if a crash cuts something off, it is that.
    pub(crate) fn deposit(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let Some(name) = session.queue_kept().map(|kept| kept.name) else { return };
        let replays = &mut session.replays;
        let stored = |(filter, subscription): (&str, &Subscription)| {
            subscription.to_stored(filter, replays.note_owed(filter))
        };
        let subscriptions: Vec<_> = session.subscriptions.iter().map(stored).collect();
        let received: Vec<_> = session.receiver.received().collect();
        let keeping: Vec<_> = session.receiver.keeping().collect();
        for subscription in subscriptions {
            self.record(Record::Subscribed { session: name, subscription }, effects);
        }
        for packet_id in received {
            self.deposit_received(name, packet_id, effects);
        }
        self.deposit_keeping((key, name), keeping, effects);
        self.deposit_queue(key, effects);
        self.join_groups_anew(key, effects);
    }

    fn deposit_queue(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let Some(kept) = session.kept.as_deref_mut() else { return };
        let name = kept.name;
        let next = session.sender.oldest_packet_id();
        let mut records = Vec::from([Record::Acknowledged { session: name, up_to: 0, next }]);
        let mut released = Vec::new();
        for (packet_id, begun) in session.sender.begun_mut() {
            match begun {
                Begun::Published { message, qos } => records.push(queued(kept, qos, message)),
                Begun::Released { order } => {
                    records.push(queued(kept, QoS::ExactlyOnce, &mut stand_in()));
                    released.push((order, packet_id));
                }
                Begun::Done => {
                    records.push(queued(kept, QoS::ExactlyOnce, &mut stand_in()));
                    records.push(Record::Pubcomp { session: name, packet_id });
                }
            }
        }
        released.sort_unstable();
        let pubrec = |(_, packet_id)| Record::Pubrec { session: name, packet_id };
        records.extend(released.into_iter().map(pubrec));
        for (delivery, qos) in session.sender.iter_waiting_mut() {
            records.push(queued(kept, qos, delivery));
        }
        let sequence = kept.sequence;
        session.count_stored(&mut self.stored);
        for record in records {
            self.record(record, effects);
        }
        self.await_durable(Awaiting::Queue { session: key, sequence }, effects);
    }

    /// Lets the store know that a QoS 2 publication has come and is routed.
    pub(crate) fn deposit_received(
        &mut self,
        session: u64,
        packet_id: PacketId,
        effects: &mut Effects,
    ) {
        let publication = self.next_name();
        let message = Arc::clone(&stand_in().message);
        self.record(Record::Received { session, packet_id, publication, message }, effects);
        self.record(Record::Routed { publication }, effects);
    }

    /// Lets the shared subscriptions of a session know whether it is stored now.
    fn join_groups_anew(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(session) = self.registry.session(key) else { return };
        let subscriptions = session.subscriptions.iter();
        let shared = subscriptions.filter(|(filter, _)| filter.starts_with("$share/"));
        let requests: Vec<_> = shared
            .map(|(filter, known)| Request::from_stored(known.to_stored(filter, false)))
            .collect();
        for request in requests {
            let (_, change) = self.add_subscription(key, &request);
            self.tell_subscription(key, &request, change, Token::nobody(), effects);
        }
    }
}

/// A message gets the next place in a queue that is kept. What waits in a shared subscription for
/// it comes from there.
fn queued(kept: &mut Kept, qos: QoS, delivery: &mut Delivery) -> Record {
    let reference = Reference::new(kept, qos, delivery);
    let message = Arc::clone(&delivery.message);
    match delivery.take_place() {
        Some(place) => {
            let (from, sequence) = (place.queue, place.sequence);
            Record::Moved { from, sequence, message, reference }
        }
        None => Record::Queued { publication: 0, message, references: reference.into() },
    }
}

fn stand_in() -> Delivery {
    let message = Message::plain(STAND_IN.into(), b""[..].into(), QoS::ExactlyOnce);
    Delivery::plain(Arc::new(message))
}
