//! Memory of buffers that were written out, for the next connection that has something to write:
//! an idle connection holds none. And memory of small messages that nobody keeps any more, for the
//! next one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::QoS;

use crate::message::Message;
use crate::outbound::Outbound;

/// How much is kept in all, and how large one piece may be.
const BYTES_MAX: usize = 8 * 1024 * 1024;
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// What a buffer begins with if nothing is kept: growing from nothing would cost more.
const FIRST_BYTES: usize = 512;
/// How many messages: as many as come one after the other before they are acknowledged.
const MESSAGES_MAX: usize = 1_024;
/// How large a payload each of them may have room for.
const PAYLOAD_BYTES_MAX: usize = 1_024;

/// The buffers and messages that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
    messages: Vec<Arc<Message>>,
}

impl Spares {
    /// Gives memory to a buffer that has none.
    pub(crate) fn lend(&mut self, outbound: &mut Outbound) {
        if outbound.has_memory() {
            return;
        }
        let piece = self.pieces.pop();
        self.bytes -= piece.as_ref().map_or(0, Vec::capacity);
        outbound.lend(piece.unwrap_or_else(|| Vec::with_capacity(FIRST_BYTES)));
    }

    /// A message that has nothing but a topic and a payload, in memory that another one has had if
    /// there is some.
    #[inline]
    pub(crate) fn message(&mut self, topic: &Arc<str>, payload: &[u8], qos: QoS) -> Arc<Message> {
        if let Some(mut spare) = self.messages.pop()
            && let Some(place) = Arc::get_mut(&mut spare)
        {
            if !Arc::ptr_eq(&place.topic, topic) {
                place.topic = Arc::clone(topic);
            }
            place.payload.replace(payload);
            place.qos = qos;
            return spare;
        }
        Arc::new(Message::plain(Arc::clone(topic), payload.into(), qos))
    }

    /// Takes a message that one holder less needs, and keeps its memory if that was the last one.
    #[inline]
    pub(crate) fn keep(&mut self, message: Arc<Message>) {
        let is_small = message.is_plain() && message.payload.capacity() <= PAYLOAD_BYTES_MAX;
        let is_last = Arc::strong_count(&message) == 1;
        if is_last && is_small && self.messages.len() < MESSAGES_MAX {
            self.messages.push(message);
        }
    }

    /// Takes the memory of an empty buffer back.
    pub(crate) fn take_back(&mut self, outbound: &mut Outbound) {
        let Some(piece) = outbound.take_spare() else { return };
        let bytes = piece.capacity();
        if bytes <= PIECE_BYTES_MAX && self.bytes + bytes <= BYTES_MAX {
            self.bytes += bytes;
            self.pieces.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use noctule_session::Timestamp;

    use super::*;

    #[test]
    fn the_memory_of_a_message_that_nobody_has_is_used_again() {
        let mut spares = Spares::default();
        let topics: [Arc<str>; 2] = ["a".into(), "b".into()];
        let first = spares.message(&topics[0], b"1", QoS::AtMostOnce);
        let at = Arc::as_ptr(&first);
        spares.keep(Arc::clone(&first));
        assert_eq!(spares.messages.len(), 0, "somebody has it");
        spares.keep(first);
        for topic in &topics {
            let second = spares.message(topic, b"22", QoS::AtLeastOnce);
            let expected = Message::plain(Arc::clone(topic), b"22"[..].into(), QoS::AtLeastOnce);
            assert_eq!((Arc::as_ptr(&second), &*second), (at, &expected));
            spares.keep(second);
        }
        spares.messages.clear();

        let plain = Message::plain(Arc::clone(&topics[0]), b""[..].into(), QoS::AtLeastOnce);
        spares.keep(Arc::new(Message {
            payload: [0; PAYLOAD_BYTES_MAX + 1][..].into(),
            ..plain.clone()
        }));
        spares.keep(Arc::new(Message { retain: true, ..plain.clone() }));
        let expires_at = Some(Timestamp::from_millis(1));
        spares.keep(Arc::new(Message { expires_at, ..plain.clone() }));
        assert_eq!(spares.messages.len(), 0, "what the next one must not inherit");
        for _ in 0..=MESSAGES_MAX {
            spares.keep(Arc::new(plain.clone()));
        }
        assert_eq!(spares.messages.len(), MESSAGES_MAX);
    }

    #[test]
    fn memory_is_lent_again_but_not_kept_without_bound() {
        let mut spares = Spares::default();
        let mut outbound = Outbound::default();
        spares.lend(&mut outbound);
        assert_eq!(outbound.buffer().capacity(), FIRST_BYTES);
        outbound.buffer().reserve_exact(PIECE_BYTES_MAX);
        spares.take_back(&mut outbound);
        assert_eq!(spares.bytes, PIECE_BYTES_MAX);
        spares.lend(&mut outbound);
        assert_eq!((outbound.buffer().capacity(), spares.bytes), (PIECE_BYTES_MAX, 0));

        outbound.buffer().reserve_exact(PIECE_BYTES_MAX + 1);
        spares.take_back(&mut outbound);
        assert_eq!((outbound.has_memory(), spares.bytes), (false, 0));
        for _ in 0..=BYTES_MAX / PIECE_BYTES_MAX {
            outbound.lend(Vec::with_capacity(PIECE_BYTES_MAX));
            spares.take_back(&mut outbound);
        }
        assert_eq!(spares.bytes, BYTES_MAX);
    }
}
