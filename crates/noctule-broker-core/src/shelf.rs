//! Where plain messages wait for one session, looked up once for many of them.

use alloc::sync::Arc;

use noctule_packet::{PlainPublish, QoS};

use crate::delivery::exceeded;
use crate::groups::Place;
use crate::memory::Memory;
use crate::message::{self, Message};
use crate::registry::SessionKey;
use crate::session::{Delivery, Session};
use crate::settings::Limits;
use crate::shard::Shard;
use crate::spares::Spares;
use crate::straight::Taker;

/// A session that takes nothing now, because its client is away or has its hands full, and all that
/// touches its queue.
pub(crate) struct Shelf<'a> {
    session: &'a mut Session,
    limits: &'a Limits,
    budget: &'a mut usize,
    spares: &'a mut Spares,
    memory: &'a mut Memory,
    stored: &'a mut Memory,
}

impl Taker for Shelf<'_> {
    /// Whether a message may be put behind the others. Where memory is scarce its publisher may
    /// have to wait, and where there is no room something may have expired.
    fn takes(&mut self, plain: &PlainPublish<'_>, qos: QoS) -> bool {
        let bytes = message::plain_bytes(plain.topic.as_str(), plain.payload) as u64;
        qos > QoS::AtMostOnce
            && !self.memory.is_scarce()
            && exceeded(self.session, bytes, self.limits, (self.stored, self.memory)).is_none()
    }

    fn next_place(&mut self, qos: QoS) -> Option<Place> {
        self.session.next_place(qos)
    }

    fn budget(&mut self) -> &mut usize {
        self.budget
    }

    fn deliver(
        &mut self,
        _: &PlainPublish<'_>,
        qos: QoS,
        share: impl FnOnce(&mut Spares) -> Arc<Message>,
    ) {
        let mut delivery = Delivery::plain(share(self.spares));
        if let Some(kept) = self.session.queue_kept() {
            kept.sequence += 1;
            delivery.set_sequence(kept.sequence);
        }
        self.memory.grow(delivery.message.bytes() as u64);
        self.session.enqueue(delivery, qos);
        self.session.count_stored(self.stored);
        *self.budget -= 1;
    }
}

impl Shard {
    /// The queue of a session that takes nothing now.
    pub(crate) fn shelf(&mut self, key: SessionKey) -> Option<Shelf<'_>> {
        let session = self.registry.session_mut(key)?;
        let takes_some = session.connection.is_some() && session.is_open();
        (!takes_some).then_some(Shelf {
            session,
            limits: &self.settings.limits,
            budget: &mut self.budget,
            spares: &mut self.spares,
            memory: &mut self.memory,
            stored: &mut self.stored,
        })
    }
}
