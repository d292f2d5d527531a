//! Packet identifiers for what is no message, out of the same supply: SUBSCRIBE and UNSUBSCRIBE
//! must not use one that a PUBLISH has.

use noctule_packet::PacketId;

use super::{Sender, Slot};
use crate::packet_id::packet_id_of;

impl<M> Sender<M> {
    /// Takes a packet identifier that nothing uses, for a SUBSCRIBE or UNSUBSCRIBE. It waits for no
    /// quota, and no message gets it until [`Sender::unreserve`]. `None` if none is free.
    // [MQTT5-2.2.1-3] [MQTT311-2.3.1-1] [MQTT311-2.3.1-2] [MQTT5-3.8.4-1]
    pub fn reserve(&mut self) -> Option<PacketId> {
        if !self.has_identifiers() {
            return None;
        }
        self.pass_over_reserved();
        let packet_id = packet_id_of(self.first + self.slots.len() as u64);
        self.slots.push_back(Slot::Done);
        self.backlog.get_or_insert_default().reserved.push(packet_id);
        self.tidy();
        Some(packet_id)
    }

    /// Keeps a packet identifier out of use that was reserved before there was this sender.
    pub fn restore_reserved(&mut self, packet_id: PacketId) {
        self.backlog.get_or_insert_default().reserved.push(packet_id);
    }

    /// A reserved packet identifier is free again. Whether it was reserved.
    pub fn unreserve(&mut self, packet_id: PacketId) -> bool {
        let Some(backlog) = &mut self.backlog else { return false };
        let Some(at) = backlog.reserved.iter().position(|reserved| *reserved == packet_id) else {
            return false;
        };
        backlog.reserved.swap_remove(at);
        true
    }

    /// How many packet identifiers are reserved.
    pub fn reserved(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.reserved.len())
    }

    /// Gives up a published message for good and keeps its packet identifier out of use: the peer
    /// may have kept it, and would take the next message with it for a repetition.
    pub fn abandon_for_good(&mut self, packet_id: PacketId) -> Option<M> {
        let message = self.abandon(packet_id)?;
        self.backlog.get_or_insert_default().reserved.push(packet_id);
        Some(message)
    }

    /// Lets the sequence go on behind identifiers that are reserved.
    #[inline]
    pub(super) fn pass_over_reserved(&mut self) {
        if self.backlog.as_ref().is_some_and(|backlog| !backlog.reserved.is_empty()) {
            self.pass_over();
        }
    }

    #[cold]
    fn pass_over(&mut self) {
        let Some(backlog) = &self.backlog else { return };
        loop {
            let next = packet_id_of(self.first + self.slots.len() as u64);
            if !backlog.reserved.contains(&next) {
                break;
            }
            self.slots.push_back(Slot::Done);
        }
        self.tidy_behind();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet_id::PACKET_IDS;
    use noctule_packet::{QoS, spec};

    #[test]
    fn messages_and_requests_share_the_identifiers() {
        spec!("MQTT5-2.2.1-3", "MQTT311-2.3.1-2");
        let mut sender = Sender::new(10);
        let first = sender.send_now('a', QoS::AtLeastOnce).unwrap();
        let request = sender.reserve().unwrap();
        let second = sender.send_now('b', QoS::ExactlyOnce).unwrap();
        assert_eq!([first.value(), request.value(), second.value()], [1, 2, 3]);
        assert_eq!((sender.quota(), sender.in_flight()), (8, 2));
        assert_eq!(sender.on_puback(first), Ok('a'));
        assert_eq!(sender.on_pubrec(second), Ok(Some('b')));
        assert_eq!(sender.on_pubcomp(second), Ok(()));
        assert!(sender.unreserve(request) && !sender.unreserve(request));
    }

    #[test]
    fn a_reserved_identifier_is_passed_over_however_long_it_lasts() {
        spec!("MQTT5-2.2.1-3");
        let mut sender = Sender::new(u16::MAX);
        let reserved = [sender.reserve().unwrap(), sender.reserve().unwrap()];
        for _ in 0..2 * PACKET_IDS {
            let packet_id = sender.send_now((), QoS::AtLeastOnce).unwrap();
            assert!(!reserved.contains(&packet_id));
            assert_eq!(sender.on_puback(packet_id), Ok(()));
        }
        assert!(sender.unreserve(reserved[0]));
        let ids = (0..PACKET_IDS).map(|_| {
            let packet_id = sender.send_now((), QoS::AtLeastOnce).unwrap();
            sender.on_puback(packet_id).unwrap();
            packet_id
        });
        assert!(ids.collect::<alloc::vec::Vec<_>>().contains(&reserved[0]));
    }

    #[test]
    fn no_identifier_is_used_twice_when_all_are_taken() {
        let mut sender = Sender::new(u16::MAX);
        let mut used = alloc::collections::BTreeSet::new();
        for _ in 0..100 {
            assert!(used.insert(sender.reserve().unwrap()));
        }
        while let Ok(packet_id) = sender.send_now((), QoS::AtLeastOnce) {
            assert!(used.insert(packet_id));
        }
        assert_eq!(sender.reserve(), None);
        assert!(used.len() > 65_000);
    }

    #[test]
    fn a_request_between_repetitions_disturbs_neither() {
        let mut sender = Sender::new(2);
        for message in ['a', 'b', 'c'] {
            sender.enqueue(message, QoS::AtLeastOnce);
        }
        while sender.next_transmission().is_some() {}
        sender.resume(1);
        assert_eq!(sender.reserve().map(PacketId::value), Some(3));
        let mut sent = alloc::vec::Vec::new();
        while let Some(transmission) = sender.next_transmission() {
            let crate::Transmission::Publish { packet_id, message, dup, .. } = transmission else {
                panic!();
            };
            sent.push((packet_id.value(), *message, dup));
            assert!(sender.on_puback(packet_id).is_ok());
        }
        assert_eq!(sent, [(1, 'a', true), (2, 'b', true), (4, 'c', false)]);
    }

    #[test]
    fn an_identifier_that_is_given_up_for_good_stays_unused() {
        let mut sender = Sender::new(5);
        let packet_id = sender.send_now('a', QoS::ExactlyOnce).unwrap();
        assert_eq!(sender.abandon_for_good(packet_id), Some('a'));
        sender.resume(5);
        for _ in 0..2 * PACKET_IDS {
            let next = sender.send_now('b', QoS::AtLeastOnce).unwrap();
            assert_ne!(next, packet_id);
            assert!(sender.on_puback(next).is_ok());
        }
    }
}
