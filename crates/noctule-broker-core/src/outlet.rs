//! Where plain messages for one session go, looked up once for many of them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{PlainPublish, QoS};

use crate::connection::Connection;
use crate::delivery::SHARE_BYTES;
use crate::groups::Place;
use crate::input::ConnectionId;
use crate::memory::Memory;
use crate::message::Message;
use crate::registry::SessionKey;
use crate::session::{Delivery, Session};
use crate::shard::Shard;
use crate::spares::Spares;
use crate::statistics::Statistics;
use crate::straight::Taker;

/// A session that is online and takes every message just as it comes, and all that a delivery to it
/// touches.
pub(crate) struct Outlet<'a> {
    pub(crate) id: ConnectionId,
    session: &'a mut Session,
    connection: &'a mut Connection,
    bytes_max: usize,
    budget: &'a mut usize,
    spares: &'a mut Spares,
    memory: &'a mut Memory,
    statistics: &'a mut Statistics,
    dirty: &'a mut Vec<ConnectionId>,
}

impl Taker for Outlet<'_> {
    /// Whether a message may be delivered at once.
    #[inline]
    fn takes(&mut self, plain: &PlainPublish<'_>, qos: QoS) -> bool {
        let is_kept = qos > QoS::AtMostOnce;
        let waits = is_kept && !self.session.is_open();
        !waits
            && plain.payload.len() < SHARE_BYTES
            && !self.memory.is_short()
            && self.connection.has_room(self.bytes_max)
    }

    fn next_place(&mut self, qos: QoS) -> Option<Place> {
        self.session.next_place(qos)
    }

    fn budget(&mut self) -> &mut usize {
        self.budget
    }

    #[inline]
    fn deliver(
        &mut self,
        plain: &PlainPublish<'_>,
        qos: QoS,
        share: impl FnOnce(&mut Spares) -> Arc<Message>,
    ) {
        let mut packet_id = None;
        if qos > QoS::AtMostOnce {
            let message = share(self.spares);
            let bytes = message.bytes() as u64;
            let mut delivery = Delivery::plain(message);
            if let Some(kept) = self.session.queue_kept() {
                kept.sequence += 1;
                delivery.set_sequence(kept.sequence);
            }
            // [MQTT5-4.3.2-1] [MQTT311-4.3.2-1]
            let Ok(sent) = self.session.sender.send_now(delivery, qos) else { return };
            packet_id = Some(sent);
            self.session.held_bytes += bytes;
            self.memory.grow(bytes);
        }
        self.spares.lend(&mut self.connection.outbound);
        let out = self.connection.outbound.buffer();
        let before = out.len();
        plain.encode(self.connection.version, packet_id, out);
        self.statistics.publish_sent += 1;
        self.statistics.note_sent(out.len() - before);
        if self.connection.note_waiting(self.memory) {
            self.dirty.push(self.id);
        }
        *self.budget -= 1;
    }
}

impl Shard {
    /// The way to a session, if plain messages can go there without being changed.
    pub(crate) fn outlet(&mut self, key: SessionKey) -> Option<Outlet<'_>> {
        let session = self.registry.session_mut(key)?;
        let id = session.connection?;
        let connection = self.connections.find_mut(id)?;
        connection.takes_anything().then_some(Outlet {
            id,
            session,
            connection,
            bytes_max: self.settings.limits.outbound_bytes_max as usize,
            budget: &mut self.budget,
            spares: &mut self.spares,
            memory: &mut self.memory,
            statistics: &mut self.statistics,
            dirty: &mut self.dirty,
        })
    }
}
