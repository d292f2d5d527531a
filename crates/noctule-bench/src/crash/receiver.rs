//! The subscriber's half of an exchange, which outlives connections as MQTT demands. No socket.

use std::collections::HashMap;

use noctule_packet::{Ack, PacketId, PacketType, Publish, QoS};

use super::content::Content;
use super::journal::Arrival;

/// What a PUBLISH is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    Arrived(Arrival),
    /// Another message was received under this identifier, and the broker has not released it.
    Swallowed,
}

/// What a subscriber keeps of the messages that it has not seen the end of.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// QoS 2 messages that were received and not released.
    unreleased: HashMap<PacketId, Option<Content>>,
    /// Acknowledgements that are not sent yet, in order.
    waiting: Vec<[u8; 4]>,
    /// So many acknowledgements may wait.
    pub(super) patience: usize,
}

impl Receiver {
    pub(super) fn on_publish(
        &mut self,
        publish: &Publish<'_>,
        content: Option<Content>,
    ) -> Reception {
        let mut arrival = Arrival {
            qos: publish.qos,
            dup: publish.dup,
            is_repetition: false,
            packet_id: publish.packet_id.map_or(0, PacketId::value),
        };
        let Some(packet_id) = publish.packet_id else { return Reception::Arrived(arrival) };
        if publish.qos == QoS::AtLeastOnce {
            self.waiting.push(Ack::bare(PacketType::Puback, packet_id));
            return Reception::Arrived(arrival);
        }
        self.waiting.push(Ack::bare(PacketType::Pubrec, packet_id));
        match self.unreleased.get(&packet_id) {
            None => {
                self.unreleased.insert(packet_id, content);
            }
            Some(known) if *known == content => arrival.is_repetition = true,
            Some(_) => return Reception::Swallowed,
        }
        Reception::Arrived(arrival)
    }

    pub(super) fn on_pubrel(&mut self, packet_id: PacketId) {
        self.unreleased.remove(&packet_id);
        self.waiting.push(Ack::bare(PacketType::Pubcomp, packet_id));
    }

    /// Sends the acknowledgements if there are enough.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<u8>) {
        if self.waiting.len() > self.patience {
            out.extend(self.waiting.drain(..).flatten());
        }
    }

    /// The connection has ended, the session has not.
    pub(super) fn on_disconnected(&mut self) {
        self.waiting.clear();
    }

    /// The session has ended.
    pub(super) fn on_session_end(&mut self) {
        self.unreleased.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::journal::Message;

    fn publish(qos: QoS, packet_id: u16) -> Publish<'static> {
        Publish { qos, packet_id: PacketId::new(packet_id), ..Publish::default() }
    }

    fn content(number: u32) -> Option<Content> {
        Some(Content::Message(Message { stream: 0, number }))
    }

    #[test]
    fn an_identifier_stands_for_one_message_until_it_is_released() {
        let mut receiver = Receiver::default();
        let exactly_once = publish(QoS::ExactlyOnce, 5);
        let arrived = |is_repetition| {
            let arrival =
                Arrival { qos: QoS::ExactlyOnce, dup: false, is_repetition, packet_id: 5 };
            Reception::Arrived(arrival)
        };
        assert_eq!(receiver.on_publish(&exactly_once, content(1)), arrived(false));
        receiver.on_disconnected();
        assert_eq!(receiver.on_publish(&exactly_once, content(1)), arrived(true));
        assert_eq!(receiver.on_publish(&exactly_once, content(2)), Reception::Swallowed);
        receiver.on_pubrel(PacketId::new(5).unwrap());
        assert_eq!(receiver.on_publish(&exactly_once, content(2)), arrived(false));
        receiver.on_session_end();
        assert_eq!(receiver.on_publish(&exactly_once, content(3)), arrived(false));
    }

    #[test]
    fn acknowledgements_wait_and_leave_in_order() {
        let mut receiver = Receiver { patience: 1, ..Receiver::default() };
        let mut out = Vec::new();
        receiver.on_publish(&publish(QoS::AtLeastOnce, 1), content(1));
        receiver.acknowledge(&mut out);
        assert!(out.is_empty());
        receiver.on_publish(&publish(QoS::ExactlyOnce, 2), content(2));
        receiver.acknowledge(&mut out);
        assert_eq!(out, [0x40, 2, 0, 1, 0x50, 2, 0, 2]);
    }
}
