//! What is in flight as a whole: looked at, given up when the session is gone, and put back when it
//! was stored.

use alloc::vec::Vec;

use noctule_packet::{PacketId, QoS};

use super::{Sender, Slot};
use crate::packet_id::{PACKET_IDS, distance, packet_id_of};

/// How far something is that has a packet identifier, or had one behind others that still do.
#[derive(Debug)]
pub enum Begun<'a, M> {
    /// It is published.
    Published {
        /// What is sent.
        message: &'a mut M,
        /// Its quality of service.
        qos: QoS,
    },
    /// It is released.
    Released {
        /// Counts up with each PUBREC.
        order: u64,
    },
    /// It is done.
    Done,
}

impl<M> Sender<M> {
    /// Everything from the oldest message on that is not done up to the last that has a packet
    /// identifier; these follow one another.
    pub fn begun_mut(&mut self) -> impl Iterator<Item = (PacketId, Begun<'_, M>)> {
        (self.first..).zip(&mut self.slots).map(|(sequence, slot)| {
            let begun = match slot {
                Slot::Published { message, qos } => Begun::Published { message, qos: *qos },
                Slot::Released { order } => Begun::Released { order: *order },
                Slot::Done => Begun::Done,
            };
            (packet_id_of(sequence), begun)
        })
    }

    /// What waits, in order.
    pub fn iter_waiting_mut(&mut self) -> impl Iterator<Item = (&mut M, QoS)> {
        let waiting = self.backlog.iter_mut().flat_map(|backlog| &mut backlog.waiting);
        waiting.map(|(message, qos)| (message, *qos))
    }

    /// The messages that are published and not acknowledged, in order, and whether each has been
    /// sent on this connection.
    pub fn published_mut(&mut self) -> impl Iterator<Item = (PacketId, QoS, bool, &mut M)> {
        let sent = usize::from(self.sent);
        (self.first..).zip(&mut self.slots).enumerate().filter_map(move |(at, (sequence, slot))| {
            match slot {
                Slot::Published { message, qos } => {
                    Some((packet_id_of(sequence), *qos, at < sent, message))
                }
                Slot::Released { .. } | Slot::Done => None,
            }
        })
    }

    /// Whether something of an earlier connection is still to be repeated on this one.
    pub fn has_repetitions(&self) -> bool {
        let releases = self.backlog.as_ref().map_or(0, |backlog| backlog.releases.len());
        releases > 0 || usize::from(self.sent) < self.slots.len()
    }

    /// The session is gone at the peer: nothing is in flight any more and all packet identifiers
    /// are free. What was published and not acknowledged comes back in order; what was released is
    /// with the peer.
    // [MQTT5-3.2.2-5]
    pub fn reset(&mut self) -> Vec<(M, QoS)> {
        self.first += self.slots.len() as u64;
        (self.sent, self.quota_used, self.in_flight) = (0, 0, 0);
        if let Some(backlog) = &mut self.backlog {
            backlog.releases.clear();
            backlog.reserved.clear();
        }
        let slots = core::mem::take(&mut self.slots).into_iter();
        slots
            .filter_map(|slot| match slot {
                Slot::Published { message, qos } => Some((message, qos)),
                Slot::Released { .. } | Slot::Done => None,
            })
            .collect()
    }

    /// Lets the next message have this packet identifier, if there is none in flight.
    pub fn restore_next(&mut self, packet_id: PacketId) {
        if self.slots.is_empty() {
            self.first += distance(self.first, packet_id);
        }
    }

    /// Puts a published message back that was stored, behind all others; [`Sender::resume`] makes
    /// ready to repeat it. The message, if its packet identifier stands for another one.
    // [MQTT5-4.4.0-1] [MQTT311-4.4.0-1]
    pub fn restore_published(
        &mut self,
        packet_id: PacketId,
        message: M,
        qos: QoS,
    ) -> Result<(), M> {
        if !self.extend_to(packet_id) {
            return Err(message);
        }
        self.slots.push_back(Slot::Published { message, qos });
        self.in_flight += 1;
        Ok(())
    }

    /// Lets a message that was put back be released, in the order of the PUBRECs. The message.
    pub fn restore_released(&mut self, packet_id: PacketId) -> Option<M> {
        self.on_pubrec(packet_id).ok().flatten()
    }

    /// Keeps the place of a message that was done before one that stands before it.
    pub fn restore_done(&mut self, packet_id: PacketId) {
        if self.extend_to(packet_id) {
            self.slots.push_back(Slot::Done);
            self.tidy();
        }
    }

    /// Fills the sequence up to the place that has this identifier.
    fn extend_to(&mut self, packet_id: PacketId) -> bool {
        if self.slots.is_empty() {
            self.first += distance(self.first, packet_id);
            return true;
        }
        let end = self.first + self.slots.len() as u64;
        let gap = distance(end, packet_id);
        if self.slots.len() as u64 + gap >= PACKET_IDS - 1 {
            return false;
        }
        for _ in 0..gap {
            self.slots.push_back(Slot::Done);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transmission;
    use alloc::string::{String, ToString};
    use noctule_packet::spec;

    fn id(value: u16) -> PacketId {
        PacketId::new(value).unwrap()
    }

    fn all(sender: &mut Sender<char>) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(transmission) = sender.next_transmission() {
            sent.push(match transmission {
                Transmission::Publish { packet_id, message, dup, .. } => {
                    alloc::format!("{message}{packet_id}{}", if dup { "d" } else { "" })
                }
                Transmission::Pubrel { packet_id } => alloc::format!("rel{packet_id}"),
            });
        }
        sent
    }

    #[test]
    fn what_was_stored_is_repeated_with_its_identifiers() {
        spec!("MQTT5-4.4.0-1", "MQTT311-4.4.0-1");
        let mut sender = Sender::new(1);
        for (packet_id, message) in [(65_534, 'a'), (2, 'b'), (3, 'c'), (9, 'd')] {
            assert!(sender.restore_published(id(packet_id), message, QoS::ExactlyOnce).is_ok());
        }
        assert_eq!(sender.restore_published(id(3), 'x', QoS::AtLeastOnce), Err('x'));
        assert_eq!(sender.restore_released(id(9)), Some('d'));
        assert_eq!(sender.restore_released(id(2)), Some('b'));
        sender.resume(10);
        assert_eq!(all(&mut sender), ["rel9", "rel2", "a65534d", "c3d"]);
        assert_eq!((sender.in_flight(), sender.quota()), (4, 6));
        assert_eq!(sender.on_pubcomp(id(9)), Ok(()));
        assert_eq!(sender.on_pubcomp(id(2)), Ok(()));
        assert_eq!(sender.send_now('e', QoS::AtLeastOnce), Ok(id(10)));
    }

    #[test]
    fn a_session_that_is_gone_gives_its_messages_back_and_begins_anew() {
        spec!("MQTT5-3.2.2-5");
        let mut sender = Sender::new(10);
        let sent: Vec<PacketId> = [('a', QoS::AtLeastOnce), ('b', QoS::ExactlyOnce)]
            .into_iter()
            .chain([('c', QoS::ExactlyOnce)])
            .map(|(message, qos)| sender.send_now(message, qos).unwrap())
            .collect();
        let reserved = sender.reserve().unwrap();
        assert_eq!(sender.on_pubrec(sent[1]), Ok(Some('b')));
        let back = sender.reset();
        assert_eq!(back, [('a', QoS::AtLeastOnce), ('c', QoS::ExactlyOnce)]);
        assert_eq!((sender.in_flight(), sender.reserved(), sender.quota()), (0, 0, 10));
        sender.resume(10);
        assert_eq!(all(&mut sender), Vec::<String>::new());
        assert!(!sender.unreserve(reserved));
        assert!(sender.on_puback(sent[0]).is_err());
        assert!(sender.send_now('d', QoS::AtLeastOnce).is_ok());
    }

    #[test]
    fn all_that_has_begun_can_be_looked_at_in_order() {
        let mut sender = Sender::new(3);
        for (message, qos) in ['a', 'b', 'c', 'd'].into_iter().zip([
            QoS::ExactlyOnce,
            QoS::AtLeastOnce,
            QoS::AtLeastOnce,
            QoS::ExactlyOnce,
        ]) {
            sender.enqueue(message, qos);
        }
        while sender.next_transmission().is_some() {}
        assert_eq!(sender.on_pubrec(id(1)), Ok(Some('a')));
        assert_eq!(sender.on_puback(id(2)), Ok('b'));
        let begun = sender.begun_mut().map(|(packet_id, begun)| match begun {
            Begun::Published { message, qos } => alloc::format!("{packet_id} {message} {qos:?}"),
            Begun::Released { order } => alloc::format!("{packet_id} released {order}"),
            Begun::Done => alloc::format!("{packet_id} done"),
        });
        assert_eq!(begun.collect::<Vec<_>>(), ["1 released 0", "2 done", "3 c AtLeastOnce"]);
        for (message, _) in sender.iter_waiting_mut() {
            *message = 'x';
        }
        assert_eq!(sender.peek_waiting(), Some(&'x'));
    }

    #[test]
    fn what_is_published_can_be_looked_at_and_changed() {
        let mut sender = Sender::new(2);
        for message in ['a', 'b'] {
            sender.enqueue(message.to_string(), QoS::AtLeastOnce);
        }
        while sender.next_transmission().is_some() {}
        sender.resume(1);
        assert!(sender.next_transmission().is_some());
        for (packet_id, _, sent, message) in sender.published_mut() {
            assert_eq!(sent, packet_id.value() == 1);
            message.push('!');
        }
        assert!(sender.has_repetitions());
        assert_eq!(sender.on_puback(id(1)).as_deref(), Ok("a!"));
        assert!(sender.next_transmission().is_some() && !sender.has_repetitions());
    }
}
