//! The bytes that wait for the transport, and which messages of QoS 0 are among them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::operation::OperationId;

/// An outbound buffer that is kept for the next packets when it is empty.
const KEPT_BYTES_MAX: usize = 256 * 1_024;

/// The outbound buffer of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    bytes: Vec<u8>,
    /// How many bytes in front are written.
    start: usize,
    /// How many bytes were written and taken off the front before.
    removed: u64,
    /// Where the QoS 0 messages end, counted from the connection's first byte.
    ends: VecDeque<(u64, OperationId)>,
}

impl Outbound {
    /// What is to be written.
    pub(crate) fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where packets are appended.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What was appended last is the end of this operation's message.
    pub(crate) fn mark_end(&mut self, operation: OperationId) {
        let end = self.removed + self.bytes.len() as u64;
        self.ends.push_back((end, operation));
    }

    /// The transport has taken bytes off the front.
    pub(crate) fn advance(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.removed += self.start as u64;
            self.start = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_BYTES_MAX {
                self.bytes.shrink_to(KEPT_BYTES_MAX);
            }
        } else if self.start > KEPT_BYTES_MAX && self.start > self.bytes.len() / 2 {
            self.removed += self.start as u64;
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    /// The next QoS 0 message that the transport has taken whole.
    pub(crate) fn next_written(&mut self) -> Option<OperationId> {
        let (end, operation) = *self.ends.front()?;
        if end > self.removed + self.start as u64 {
            return None;
        }
        self.ends.pop_front();
        Some(operation)
    }

    /// Whether a QoS 0 message is among what the transport has not taken whole; then it is not told
    /// of any more.
    pub(crate) fn forget(&mut self, operation: OperationId) -> bool {
        match self.ends.iter().position(|(_, marked)| *marked == operation) {
            Some(at) => self.ends.remove(at).is_some(),
            None => false,
        }
    }

    /// The connection is gone: a QoS 0 message that was not written whole.
    pub(crate) fn next_unwritten(&mut self) -> Option<OperationId> {
        self.ends.pop_front().map(|(_, operation)| operation)
    }

    /// Nothing more is to be written on this connection.
    pub(crate) fn discard(&mut self) {
        self.bytes.truncate(self.start);
    }

    /// A new connection.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        (self.start, self.removed) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_when_its_last_byte_is() {
        let mut outbound = Outbound::default();
        let [a, b] = [OperationId::FIRST, OperationId::FIRST.next()];
        outbound.push(b"aaa");
        outbound.mark_end(a);
        outbound.push(b"bb");
        outbound.mark_end(b);
        outbound.push(b"c");
        for (count, written, pending) in
            [(2, None, &b"abbc"[..]), (1, Some(a), b"bbc"), (3, Some(b), b"")]
        {
            outbound.advance(count);
            assert_eq!((outbound.next_written(), outbound.pending()), (written, pending));
            assert_eq!(outbound.next_written(), None);
        }
        outbound.push(b"dd");
        outbound.mark_end(a);
        outbound.advance(1);
        assert_eq!((outbound.next_written(), outbound.next_unwritten()), (None, Some(a)));
    }

    #[test]
    fn positions_survive_moving_the_rest_to_the_front() {
        let mut outbound = Outbound::default();
        outbound.push(&[7; KEPT_BYTES_MAX * 2]);
        outbound.mark_end(OperationId::FIRST);
        outbound.advance(KEPT_BYTES_MAX * 2 - 1);
        assert_eq!((outbound.len(), outbound.next_written()), (1, None));
        outbound.push(&[8]);
        assert_eq!(outbound.pending(), [7, 8]);
        outbound.advance(1);
        assert_eq!(outbound.next_written(), Some(OperationId::FIRST));
    }
}
