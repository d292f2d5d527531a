//! The bytes that wait for the transport, and which messages of QoS 0 are among them.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use noctule_session::Timestamp;

use crate::operation::OperationId;
use crate::outgoing::Times;

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
    /// Whether what is left is not to be written.
    is_discarded: bool,
    /// The QoS 0 messages that are not written whole.
    marks: VecDeque<Mark>,
    /// Where the last message begins and ends, of any QoS, counted as in a mark.
    last_message: (u64, u64),
}

/// Where a QoS 0 message stands, counted from the connection's first byte.
#[derive(Debug)]
struct Mark {
    start: u64,
    end: u64,
    operation: OperationId,
    /// Boxed, as most have none.
    unsaid: Option<Box<Unsaid>>,
}

impl Mark {
    fn timeout(&self) -> Option<Timestamp> {
        self.unsaid.as_ref().and_then(|unsaid| unsaid.times.timeout)
    }
}

/// What of a QoS 0 message its packet does not say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unsaid {
    /// The topic, if the packet has only an alias: that may stand for another one by now.
    pub(crate) topic: Option<Box<str>>,
    pub(crate) times: Times,
    /// How many connections in a row have ended in the midst of it.
    pub(crate) interruptions: u16,
}

/// A QoS 0 message that the connection has ended before.
#[derive(Debug)]
pub(crate) struct Unwritten<'a> {
    pub(crate) operation: OperationId,
    /// Its packet, as far as it is still there.
    pub(crate) packet: &'a [u8],
    pub(crate) unsaid: Unsaid,
}

impl Outbound {
    /// What is to be written.
    pub(crate) fn pending(&self) -> &[u8] {
        if self.is_discarded {
            return &[];
        }
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        if self.is_discarded { 0 } else { self.bytes.len() - self.start }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much is to be written without the last message, however large that is.
    pub(crate) fn len_beside_message(&self) -> usize {
        let (start, end) = self.last_message;
        let unwritten = end.saturating_sub(start.max(self.written()));
        self.len().saturating_sub(usize::try_from(unwritten).unwrap_or(usize::MAX))
    }

    /// Everything from `start` on is a message.
    pub(crate) fn note_message(&mut self, start: u64) {
        self.last_message = (start, self.position());
    }

    /// How much was written, counted from the connection's first byte.
    pub(crate) const fn written(&self) -> u64 {
        self.removed + self.start as u64
    }

    /// Where packets are appended.
    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Where the next packet begins, for [`Outbound::mark`].
    pub(crate) fn position(&self) -> u64 {
        self.removed + self.bytes.len() as u64
    }

    /// Everything from `start` on is this operation's message.
    pub(crate) fn mark(&mut self, start: u64, operation: OperationId, unsaid: Unsaid) {
        let unsaid = (unsaid != Unsaid::default()).then(|| Box::new(unsaid));
        self.marks.push_back(Mark { start, end: self.position(), operation, unsaid });
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

    /// The next QoS 0 message that the transport has taken whole, and when its operation was to end
    /// at the latest.
    pub(crate) fn next_written(&mut self) -> Option<(OperationId, Option<Timestamp>)> {
        if self.marks.front()?.end > self.written() {
            return None;
        }
        self.marks.pop_front().map(|mark| (mark.operation, mark.timeout()))
    }

    /// Takes a QoS 0 message that the transport has not taken whole: it goes on and is not told of
    /// any more.
    pub(crate) fn forget(&mut self, operation: OperationId) -> Option<Unwritten<'_>> {
        let at = self.marks.iter().position(|mark| mark.operation == operation)?;
        let mark = self.marks.remove(at)?;
        Some(self.unwritten(mark))
    }

    /// The connection is gone: the last QoS 0 message that was not written whole.
    pub(crate) fn pop_unwritten(&mut self) -> Option<Unwritten<'_>> {
        let mark = self.marks.pop_back()?;
        Some(self.unwritten(mark))
    }

    fn unwritten(&self, mark: Mark) -> Unwritten<'_> {
        let Mark { start, end, operation, unsaid } = mark;
        let is_begun = start < self.written();
        let place = |position: u64| usize::try_from(position.checked_sub(self.removed)?).ok();
        let range = place(start).zip(place(end));
        let packet = range.and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or_default();
        let mut unsaid = unsaid.map(|unsaid| *unsaid).unwrap_or_default();
        if is_begun {
            unsaid.interruptions = unsaid.interruptions.saturating_add(1);
        }
        Unwritten { operation, packet, unsaid }
    }

    /// Nothing more is to be written on this connection.
    pub(crate) fn discard(&mut self) {
        self.is_discarded = true;
    }

    /// Whether it was said that nothing more is to be written.
    pub(crate) const fn is_discarded(&self) -> bool {
        self.is_discarded
    }

    /// A new connection.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.marks.clear();
        (self.start, self.removed, self.is_discarded) = (0, 0, false);
        self.last_message = (0, 0);
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
        outbound.mark(0, a, Unsaid::default());
        let start = outbound.position();
        outbound.push(b"bb");
        outbound.mark(start, b, Unsaid::default());
        outbound.push(b"c");
        for (count, written, pending) in
            [(2, None, &b"abbc"[..]), (1, Some(a), b"bbc"), (3, Some(b), b"")]
        {
            outbound.advance(count);
            let written = written.map(|operation| (operation, None));
            assert_eq!((outbound.next_written(), outbound.pending()), (written, pending));
            assert_eq!(outbound.next_written(), None);
        }
        let start = outbound.position();
        outbound.push(b"dd");
        outbound.mark(start, a, Unsaid { topic: Some("t".into()), ..Unsaid::default() });
        outbound.advance(1);
        assert_eq!(outbound.next_written(), None);
        let Unwritten { operation, packet, unsaid } = outbound.pop_unwritten().unwrap();
        assert_eq!((operation, packet), (a, &b"dd"[..]));
        assert_eq!(unsaid.topic.as_deref(), Some("t"));
    }

    #[test]
    fn positions_survive_moving_the_rest_to_the_front() {
        let mut outbound = Outbound::default();
        outbound.push(&[7; KEPT_BYTES_MAX * 2]);
        outbound.mark(0, OperationId::FIRST, Unsaid::default());
        outbound.advance(KEPT_BYTES_MAX * 2 - 1);
        assert_eq!((outbound.len(), outbound.next_written()), (1, None));
        outbound.push(&[8]);
        assert_eq!(outbound.pending(), [7, 8]);
        outbound.advance(1);
        assert_eq!(outbound.next_written(), Some((OperationId::FIRST, None)));
    }
}
