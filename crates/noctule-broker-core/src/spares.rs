//! Memory of buffers that were written out, for the next connection that has something to write:
//! an idle connection holds none.

use alloc::vec::Vec;

use crate::outbound::Outbound;

/// How much is kept in all, and how large one piece may be.
const BYTES_MAX: usize = 8 * 1024 * 1024;
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// What a buffer begins with if nothing is kept: growing from nothing would cost more.
const FIRST_BYTES: usize = 512;

/// The buffers that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
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
    use super::*;

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
