//! The index of a run: which queues it has messages of, and where.
//!
//! On disk it has an entry for every chunk, 64 to a block with a checksum of its own. In memory it
//! has 16 bytes for every queue, whose messages lie together, and the first key of every block, to
//! find a place among the many chunks of one queue.
//!
//! ```text
//! block                                  entry
//!  0  4  CRC-32 of the run's number,      0  8  queue
//!        of the block's place and of      8  8  seq of the chunk's first message
//!        4..end                          16  8  seq of its last
//!  4  4  number of entries               24  4  bytes of the chunk, with its header
//!  8  8  where its first chunk begins    28  4  number of messages
//! 16     entries
//! ```

use crate::frame::number_at;
use crate::run::chunk::ChunkHeader;
use crate::run::format::checksum;

pub(crate) const BLOCK_ENTRIES: usize = 64;
pub(crate) const BLOCK_HEADER_BYTES: usize = 16;
pub(crate) const ENTRY_BYTES: usize = 32;
pub(crate) const BLOCK_BYTES: usize = BLOCK_HEADER_BYTES + BLOCK_ENTRIES * ENTRY_BYTES;
const GROUP_PARTS: usize = 64;

/// A chunk and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) offset: u64,
    pub(crate) chunk: ChunkHeader,
}

impl Located {
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.chunk.chunk_bytes()
    }
}

/// Appends the blocks for these chunks, which stand without gaps, as they stand from `begin` on.
pub(crate) fn encode_blocks(chunks: &[Located], run: u64, begin: u64, out: &mut Vec<u8>) {
    let mut place = begin;
    for block in chunks.chunks(BLOCK_ENTRIES) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&u32::try_from(block.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&block.first().map_or(0, |first| first.offset).to_le_bytes());
        for Located { chunk, .. } in block {
            let bytes = u32::try_from(chunk.chunk_bytes()).unwrap_or(u32::MAX);
            for number in [chunk.queue, chunk.first, chunk.last] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&bytes.to_le_bytes());
            out.extend_from_slice(&chunk.messages.to_le_bytes());
        }
        if let Some((stated, rest)) = out.get_mut(start..).and_then(|it| it.split_at_mut_checked(4))
        {
            stated.copy_from_slice(&checksum(run, place, [&*rest]).to_le_bytes());
            place += (rest.len() + 4) as u64;
        }
    }
}

/// The bytes of the blocks for so many chunks.
pub(crate) fn blocks_bytes(chunks: u64) -> u64 {
    chunks
        .div_ceil(BLOCK_ENTRIES as u64)
        .saturating_mul(BLOCK_HEADER_BYTES as u64)
        .saturating_add(chunks.saturating_mul(ENTRY_BYTES as u64))
}

/// The chunks in a block at this place, if it can be read.
pub(crate) fn decode_block(bytes: &[u8], run: u64, place: u64) -> Option<Vec<Located>> {
    let stated = u32::from_le_bytes(number_at(bytes, 0)?);
    if stated != checksum(run, place, [bytes.get(4..)?]) {
        return None;
    }
    let mut offset = u64::from_le_bytes(number_at(bytes, 8)?);
    let entries = bytes.get(BLOCK_HEADER_BYTES..)?.chunks_exact(ENTRY_BYTES);
    let mut chunks = Vec::with_capacity(entries.len());
    for entry in entries {
        let number = |at| number_at(entry, at).map(u64::from_le_bytes);
        let length = u32::from_le_bytes(number_at(entry, 24)?);
        let chunk = ChunkHeader {
            queue: number(0)?,
            first: number(8)?,
            last: number(16)?,
            bytes: length.checked_sub(crate::run::chunk::CHUNK_HEADER_BYTES as u32)?,
            messages: u32::from_le_bytes(number_at(entry, 28)?),
        };
        chunks.push(Located { offset, chunk });
        offset = offset.checked_add(length.into())?;
    }
    Some(chunks)
}

/// Queues that lie together, so that each needs no more than the difference.
#[derive(Clone, Copy, Debug)]
struct Group {
    queue: u64,
    offset: u64,
    first_part: usize,
}

/// All messages of one queue.
#[derive(Clone, Copy, Debug)]
struct Part {
    queue: u32,
    offset: u32,
    last: u64,
}

/// Where the messages of a queue are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Which queue of the run it is, by its number.
    pub(crate) part: usize,
    pub(crate) queue: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) last: u64,
}

/// How the chunks of a large queue are found.
#[derive(Debug)]
pub(crate) enum Chunks {
    /// On disk, in blocks from there on; the first queue and seq of each.
    InBlocks { begin: u64, chunks: u64, keys: Vec<(u64, u64)> },
    /// In memory, because they cannot be found on disk any more.
    InMemory(Vec<Located>),
}

/// What is kept in memory of a run.
#[derive(Debug)]
pub(crate) struct Index {
    groups: Vec<Group>,
    parts: Vec<Part>,
    pub(crate) chunks: Chunks,
    pub(crate) chunks_begin: u64,
    pub(crate) chunks_end: u64,
    /// How many bodies stand before the chunks; what is not known counts as one.
    pub(crate) bodies: u64,
    pub(crate) messages: u64,
}

/// Makes an index out of chunks, in their order.
#[derive(Debug)]
pub(crate) struct IndexBuilder {
    index: Index,
    queue: Option<u64>,
    keys: Vec<(u64, u64)>,
    count: u64,
}

impl IndexBuilder {
    pub(crate) fn new(chunks_begin: u64, bodies: u64) -> Self {
        let index = Index {
            groups: Vec::new(),
            parts: Vec::new(),
            chunks: Chunks::InMemory(Vec::new()),
            chunks_begin,
            chunks_end: chunks_begin,
            bodies,
            messages: 0,
        };
        Self { index, queue: None, keys: Vec::new(), count: 0 }
    }

    pub(crate) fn add(&mut self, located: &Located) {
        let Located { offset, chunk } = located;
        if self.count.is_multiple_of(BLOCK_ENTRIES as u64) {
            self.keys.push((chunk.queue, chunk.first));
        }
        self.count += 1;
        let index = &mut self.index;
        index.messages += u64::from(chunk.messages);
        index.chunks_end = located.end();
        match index.parts.last_mut() {
            Some(part) if self.queue == Some(chunk.queue) => part.last = chunk.last,
            _ => {
                self.queue = Some(chunk.queue);
                index.add_part(chunk.queue, *offset, chunk.last);
            }
        }
    }

    /// The chunks can be found in blocks from there on.
    pub(crate) fn in_blocks(mut self, begin: u64) -> Index {
        let mut keys = std::mem::take(&mut self.keys);
        keys.shrink_to_fit();
        self.index.chunks = Chunks::InBlocks { begin, chunks: self.count, keys };
        self.end()
    }

    /// They cannot.
    pub(crate) fn in_memory(mut self, chunks: Vec<Located>) -> Index {
        self.index.chunks = Chunks::InMemory(chunks);
        self.end()
    }

    fn end(mut self) -> Index {
        self.index.groups.shrink_to_fit();
        self.index.parts.shrink_to_fit();
        self.index
    }
}

impl Index {
    fn add_part(&mut self, queue: u64, offset: u64, last: u64) {
        if let Some(group) = self.groups.last() {
            let is_full = self.parts.len() - group.first_part >= GROUP_PARTS;
            let near = (queue.checked_sub(group.queue), offset.checked_sub(group.offset));
            if let (false, (Some(queue), Some(offset))) = (is_full, near)
                && let (Ok(queue), Ok(offset)) = (u32::try_from(queue), u32::try_from(offset))
            {
                self.parts.push(Part { queue, offset, last });
                return;
            }
        }
        self.groups.push(Group { queue, offset, first_part: self.parts.len() });
        self.parts.push(Part { queue: 0, offset: 0, last });
    }

    /// How many queues it has messages of.
    pub(crate) fn queues(&self) -> usize {
        self.parts.len()
    }

    fn group_end(&self, group: usize) -> usize {
        self.groups.get(group + 1).map_or(self.parts.len(), |next| next.first_part)
    }

    fn extent(&self, group: usize, part: usize) -> Option<Extent> {
        let (base, here) = (self.groups.get(group)?, self.parts.get(part)?);
        let offset = base.offset + u64::from(here.offset);
        let end = if part + 1 < self.group_end(group) {
            base.offset + u64::from(self.parts.get(part + 1)?.offset)
        } else {
            self.groups.get(group + 1).map_or(self.chunks_end, |next| next.offset)
        };
        let queue = base.queue + u64::from(here.queue);
        Some(Extent { part, queue, offset, bytes: end.saturating_sub(offset), last: here.last })
    }

    /// Where a queue's messages are.
    pub(crate) fn find(&self, queue: u64) -> Option<Extent> {
        let group = self.groups.partition_point(|group| group.queue <= queue).checked_sub(1)?;
        let base = self.groups.get(group)?;
        let difference = u32::try_from(queue - base.queue).ok()?;
        let parts = self.parts.get(base.first_part..self.group_end(group))?;
        // Where queues follow each other the first look finds it.
        let dense = usize::try_from(difference).ok()?;
        let at = match parts.get(dense) {
            Some(part) if part.queue == difference => dense,
            _ => parts.binary_search_by_key(&difference, |part| part.queue).ok()?,
        };
        self.extent(group, base.first_part + at)
    }

    /// All queues, in order.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        let mut next = Place::default();
        std::iter::from_fn(move || self.next(&mut next))
    }

    /// The queue at this place, which moves on.
    pub(crate) fn next(&self, place: &mut Place) -> Option<Extent> {
        while place.part >= self.group_end(place.group) {
            if place.group >= self.groups.len() {
                return None;
            }
            place.group += 1;
        }
        let extent = self.extent(place.group, place.part);
        place.part += 1;
        extent
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let chunks = match &self.chunks {
            Chunks::InBlocks { keys, .. } => keys.capacity() * size_of::<(u64, u64)>(),
            Chunks::InMemory(chunks) => chunks.capacity() * size_of::<Located>(),
        };
        chunks
            + self.groups.capacity() * size_of::<Group>()
            + self.parts.capacity() * size_of::<Part>()
    }
}

/// A place among the queues of an index.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    group: usize,
    part: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(queues: impl Iterator<Item = (u64, u32)>) -> Vec<Located> {
        let mut offset = 1_000;
        let mut chunks = Vec::new();
        for (queue, bytes) in queues {
            let chunk = ChunkHeader { queue, first: queue, last: queue + 9, bytes, messages: 2 };
            chunks.push(Located { offset, chunk });
            offset += chunk.chunk_bytes();
        }
        chunks
    }

    fn check(chunks: &[Located]) -> Index {
        let mut builder = IndexBuilder::new(1_000, 0);
        chunks.iter().for_each(|chunk| builder.add(chunk));
        let index = builder.in_blocks(5);
        assert_eq!(index.extents().count(), chunks.len());
        for (part, (located, extent)) in chunks.iter().zip(index.extents()).enumerate() {
            let Located { offset, chunk } = *located;
            let (queue, bytes, last) = (chunk.queue, chunk.chunk_bytes(), chunk.last);
            assert_eq!(extent, Extent { part, queue, offset, bytes, last });
            assert_eq!(index.find(queue), Some(extent));
            let neighbour = queue + 1;
            let is_there = chunks.iter().any(|other| other.chunk.queue == neighbour);
            assert_eq!(index.find(neighbour).is_some(), is_there);
        }
        assert_eq!(index.find(0).is_some(), chunks.iter().any(|it| it.chunk.queue == 0));
        index
    }

    #[test]
    fn every_queue_is_found_and_no_other() {
        check(&[]);
        check(&chunks((0..1).map(|it| (it, 9))));
        check(&chunks((0..1_000).map(|it| (it, 100 + u32::try_from(it).unwrap_or(0)))));
        check(&chunks((1..300).map(|it| (it * 0x3FFF_FFFF, 7))));
        check(&chunks((1..300).map(|it| (it * 3, 0x5FFF_FFFF))));
    }

    #[test]
    fn a_queue_takes_16_bytes_of_memory_and_little_more() {
        let index = check(&chunks((1..10_001).map(|it| (it * 5, 300))));
        assert!(index.memory_bytes() < 17 * 10_000, "{}", index.memory_bytes());
    }

    #[test]
    fn blocks_are_read_back_and_changed_ones_are_not() {
        let chunks = chunks((0..150).map(|it| (it, 50)));
        let mut bytes = Vec::new();
        encode_blocks(&chunks, 3, 70_000, &mut bytes);
        assert_eq!(bytes.len() as u64, blocks_bytes(150));
        let mut found = Vec::new();
        for (at, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let place = 70_000 + (at * BLOCK_BYTES) as u64;
            found.extend(decode_block(block, 3, place).expect("it is whole"));
            assert_eq!(decode_block(block, 4, place), None);
            assert_eq!(decode_block(block, 3, place + 1), None);
            let mut block = block.to_vec();
            for at in 0..block.len() {
                block[at] ^= 2;
                assert_eq!(decode_block(&block, 3, place), None, "{at}");
                block[at] ^= 2;
            }
        }
        assert_eq!(found, chunks);
    }
}
