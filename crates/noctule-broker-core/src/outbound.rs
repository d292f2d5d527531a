//! The bytes that wait to be written to one connection, and how a driver takes them.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::message::Message;

/// From how many written bytes at the front it pays to move the rest.
const COMPACT_BYTES: usize = 64 * 1024;

/// Encoded packets in the order in which they must be written.
///
/// Small packets are copied into one buffer. A large payload is not copied: the buffer is cut at
/// its place and the message shared, so that a driver gathers both with one vectored write.
#[derive(Debug, Default)]
pub struct Outbound {
    buffer: Vec<u8>,
    /// Boxed, as most connections never have any.
    shared: Option<Box<SharedPayloads>>,
    /// How many bytes of `buffer` are written.
    written: usize,
    shared_bytes: usize,
}

/// In the order of their places.
#[derive(Debug, Default)]
struct SharedPayloads(VecDeque<Shared>);

/// A payload that stands in the stream behind `buffer[..at]`.
#[derive(Debug)]
struct Shared {
    at: usize,
    message: Arc<Message>,
    written: usize,
}

impl Outbound {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.written + self.shared_bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next pieces to write, in order, for one vectored write; never an empty piece.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = self.written;
        let all_shared = self.shared.iter().flat_map(|shared| shared.0.iter());
        let copied_then_shared = all_shared.flat_map(move |shared| {
            let copied = self.buffer.get(from..shared.at).unwrap_or_default();
            from = shared.at;
            [copied, shared.message.payload.get(shared.written..).unwrap_or_default()]
        });
        let last = self.shared.as_ref().and_then(|shared| shared.0.back());
        let last = last.map_or(self.written, |shared| shared.at);
        let tail = self.buffer.get(last..).unwrap_or_default();
        copied_then_shared.chain([tail]).filter(|chunk| !chunk.is_empty())
    }

    /// Forgets the first `count` waiting bytes, which have been written.
    pub fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let shared = self.shared.as_mut().and_then(|shared| shared.0.front_mut());
            let copied_end = shared.as_ref().map_or(self.buffer.len(), |shared| shared.at);
            let copied = count.min(copied_end - self.written);
            self.written += copied;
            count -= copied;
            let Some(shared) = shared.filter(|_| self.written == copied_end) else { break };
            let taken = count.min(shared.message.payload.len() - shared.written);
            shared.written += taken;
            self.shared_bytes -= taken;
            count -= taken;
            if shared.written < shared.message.payload.len() {
                break;
            }
            self.forget_first_shared();
        }
        if self.is_empty() {
            self.buffer.clear();
            self.written = 0;
        } else if self.written >= COMPACT_BYTES && self.written * 2 >= self.buffer.len() {
            self.compact();
        }
    }

    fn forget_first_shared(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.0.pop_front();
            if shared.0.is_empty() {
                self.shared = None;
            }
        }
    }

    /// Moves what waits to the front, so that a buffer that never runs empty does not grow.
    fn compact(&mut self) {
        self.buffer.drain(..self.written);
        for shared in self.shared.iter_mut().flat_map(|shared| &mut shared.0) {
            shared.at -= self.written;
        }
        self.written = 0;
    }

    /// Gives the memory of an empty buffer back, to be lent to another connection.
    pub fn take_spare(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && self.buffer.capacity() > 0).then(|| core::mem::take(&mut self.buffer))
    }

    /// Lends memory to a buffer that has none.
    pub(crate) fn lend(&mut self, spare: Vec<u8>) {
        if self.buffer.capacity() == 0 {
            self.buffer = spare;
        }
    }

    pub(crate) fn has_memory(&self) -> bool {
        self.buffer.capacity() > 0
    }

    /// Where packets are encoded to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Puts a payload behind what was encoded so far, without copying it.
    pub(crate) fn share_payload(&mut self, message: Arc<Message>) {
        if message.payload.is_empty() {
            return;
        }
        self.shared_bytes += message.payload.len();
        let shared = Shared { at: self.buffer.len(), message, written: 0 };
        self.shared.get_or_insert_default().0.push_back(shared);
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
