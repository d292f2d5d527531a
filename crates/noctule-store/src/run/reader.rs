//! Reads the messages of a queue out of one run, in slices and with few large reads.
//!
//! Damage costs what it has hit: a chunk, or a body that several messages share.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::run::chunk::{self, Body, CHUNK_BYTES, ChunkHeader, Message, Messages};
use crate::run::format::{self, BODY_HEADER_BYTES, HEADER_BYTES};
use crate::run::index::{
    BLOCK_BYTES, BLOCK_ENTRIES, Chunks, Extent, Index, Located, blocks_bytes, decode_block,
};
use crate::run::rebuild;
use crate::run::window::Window;

/// What a message takes at most whose body is shared, if little is said about it.
const SHARED_BYTES_MAX: u64 = 32;
/// A queue that takes no more in a run is read at once, without a look into the index.
const WHOLE_BYTES: u64 = 2 * CHUNK_BYTES as u64;
/// How much of a larger one is read at once.
const READ_BYTES: u64 = 1_024 * 1_024;
/// Shared bodies that are no further apart are read together.
const GAP_BYTES: u64 = 8 * 1_024;
/// How much of them is read at once.
const BODIES_BYTES: u64 = 256 * 1_024;

/// A message as it was spilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueMessage<'a> {
    /// Its number in its queue.
    pub seq: u64,
    /// What was said about this reference to the body.
    pub flags: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// Some messages of a queue that stand together, as far as is known without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePart {
    /// Which queue.
    pub queue: u64,
    /// The seq of the first one.
    pub first: u64,
    /// The seq of the last one.
    pub last: u64,
    /// How many.
    pub messages: u64,
    /// Their bytes, about, each with its whole body.
    pub bytes: u64,
}

/// How much a slice may have. It has at least one message, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceLimits {
    /// So many messages.
    pub messages: usize,
    /// So many bytes of flags and bodies.
    pub bytes: usize,
}

/// What was read of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// How many messages.
    pub messages: usize,
    /// The bytes of their flags and bodies.
    pub bytes: usize,
    /// Everything of the runs before this seq was read. Here the next slice begins.
    pub next: u64,
    /// Whether the runs have more, from there on.
    pub has_more: bool,
    /// What cannot be read.
    pub damaged: Vec<DamagedPart>,
}

/// A part of a run that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedPart {
    /// In which run.
    pub run: u64,
    /// Where in its file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
    /// What is wrong.
    pub reason: &'static str,
}

impl fmt::Display for DamagedPart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, offset, bytes, reason } = self;
        write!(formatter, "{bytes} bytes at {offset} of run {run} cannot be read: {reason}")
    }
}

/// A run that is open.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) bytes: u64,
    pub(crate) index: Index,
    /// Which of its queues are done.
    pub(crate) done: Bits,
    file: Box<dyn DiskFile>,
}

/// A bit for each queue of a run.
#[derive(Debug)]
pub(crate) struct Bits(Box<[AtomicU64]>);

impl Bits {
    fn new(count: usize) -> Self {
        Self((0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    pub(crate) fn is_set(&self, at: usize) -> bool {
        let word = self.0.get(at / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        word & (1 << (at % 64)) != 0
    }

    pub(crate) fn set(&self, at: usize) {
        if let Some(word) = self.0.get(at / 64) {
            word.fetch_or(1 << (at % 64), Ordering::Relaxed);
        }
    }

    /// As they are now.
    pub(crate) fn copy(&self) -> Self {
        let words = self.0.iter().map(|word| AtomicU64::new(word.load(Ordering::Relaxed)));
        Self(words.collect())
    }
}

/// What reading needs besides the run, kept for the next time.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) chunks: Window,
    pub(crate) bodies: Window,
    /// How far to read ahead, for whoever reads everything.
    pub(crate) ahead: u64,
}

impl Buffers {
    pub(crate) fn shrink(&mut self) {
        self.chunks.shrink();
        self.bodies.shrink();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.memory_bytes() + self.bodies.memory_bytes()
    }
}

/// What to read, and what became of it.
pub(crate) struct Reading<'a> {
    /// Everything before was read.
    pub(crate) next: u64,
    /// How much is wanted, so that no more is read from the disk.
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) damaged: &'a mut Vec<DamagedPart>,
}

/// Gets each message, and those behind it in its chunk.
pub(crate) type Each<'e> = dyn FnMut(
        &Message<'_>,
        &Messages<'_>,
        &mut Window,
        &mut Vec<DamagedPart>,
    ) -> Result<ControlFlow<()>, StoreError>
    + 'e;

impl Run {
    pub(crate) fn new(number: u64, bytes: u64, index: Index, file: Box<dyn DiskFile>) -> Self {
        let done = Bits::new(index.queues());
        Self { number, bytes, index, done, file }
    }

    /// Opens a run that should have so many bytes, and says what of it cannot be read.
    pub(crate) fn open(
        disk: &mut dyn Disk,
        number: u64,
        bytes: u64,
        damaged: &mut Vec<DamagedPart>,
    ) -> Result<Self, StoreError> {
        let name = format::name(number);
        let file = disk.open(&name).map_err(StoreError::io("open", &name))?;
        let index = rebuild::load(&*file, number, bytes, damaged)?;
        Ok(Self::new(number, bytes, index, file))
    }

    /// Where a queue's messages are, if they are needed.
    pub(crate) fn needed(&self, queue: u64) -> Option<Extent> {
        self.index.find(queue).filter(|extent| !self.done.is_set(extent.part))
    }

    /// The last seq that is needed of a queue.
    pub(crate) fn last(&self, queue: u64) -> Option<u64> {
        self.needed(queue).map(|extent| extent.last)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.index.memory_bytes() + self.done.0.len() * 8
    }

    fn damage(&self, offset: u64, bytes: u64, reason: &'static str) -> DamagedPart {
        DamagedPart { run: self.number, offset, bytes, reason }
    }

    fn load(&self, window: &mut Window, offset: u64, bytes: u64) -> Result<(), StoreError> {
        let failed = StoreError::io("read", format::name(self.number));
        window.load(&*self.file, self.number, offset, bytes).map_err(failed)
    }

    /// Hands out a queue's messages from `reading.next` on, until `each` wants no more.
    pub(crate) fn walk(
        &self,
        extent: &Extent,
        reading: &mut Reading<'_>,
        each: &mut Each<'_>,
    ) -> Result<ControlFlow<()>, StoreError> {
        if extent.last < reading.next {
            return Ok(ControlFlow::Continue(()));
        }
        if extent.bytes <= WHOLE_BYTES
            && let Some(flow) = self.walk_whole(extent, reading, each)?
        {
            return Ok(flow);
        }
        self.walk_by_index(extent, reading, each)
    }

    /// Reads all of it at once. Nothing if there is damage, which the index knows to step over.
    fn walk_whole(
        &self,
        extent: &Extent,
        reading: &mut Reading<'_>,
        each: &mut Each<'_>,
    ) -> Result<Option<ControlFlow<()>>, StoreError> {
        let Buffers { chunks: window, bodies, ahead } = &mut *reading.buffers;
        if window.bytes(self.number, extent.offset, extent.bytes).is_none() {
            let behind = self.index.chunks_end.saturating_sub(extent.offset);
            self.load(window, extent.offset, extent.bytes.max(behind.min(*ahead)))?;
        }
        let Some(mut rest) = window.bytes(self.number, extent.offset, extent.bytes) else {
            return Ok(None);
        };
        while !rest.is_empty() {
            let offset = extent.offset + extent.bytes - rest.len() as u64;
            let Some((header, messages)) = chunk::open(rest, self.number, offset) else {
                return Ok(None);
            };
            if header.queue != extent.queue {
                return Ok(None);
            }
            let Reading { next, messages: wanted, damaged, .. } = reading;
            if visit(messages, next, wanted, bodies, damaged, each)?.is_break() {
                return Ok(Some(ControlFlow::Break(())));
            }
            reading.next = reading.next.max(header.last.saturating_add(1));
            let length = usize::try_from(header.chunk_bytes()).unwrap_or(usize::MAX);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(Some(ControlFlow::Continue(())))
    }

    fn walk_by_index(
        &self,
        extent: &Extent,
        reading: &mut Reading<'_>,
        each: &mut Each<'_>,
    ) -> Result<ControlFlow<()>, StoreError> {
        while reading.next <= extent.last {
            let before = reading.next;
            let chunks = self.chunks_from(extent, before, reading.damaged)?;
            let mut rest = &chunks[..];
            while let Some(group) = group(rest, reading) {
                if self.walk_chunks(group, reading, each)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                rest = rest.get(group.len()..).unwrap_or_default();
            }
            if reading.next <= before {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads these chunks at once, and steps over those that are damaged.
    fn walk_chunks(
        &self,
        group: &[Located],
        reading: &mut Reading<'_>,
        each: &mut Each<'_>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let begin = group.first().map_or(0, |first| first.offset);
        let end = group.last().map_or(0, Located::end);
        let Buffers { chunks: window, bodies, .. } = &mut *reading.buffers;
        self.load(window, begin, end - begin)?;
        if window.bytes(self.number, begin, end - begin).is_none() && group.len() > 1 {
            // The file ends in one of them: those before are whole.
            for one in group.chunks(1) {
                if self.walk_chunks(one, reading, each)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            return Ok(ControlFlow::Continue(()));
        }
        for Located { offset, chunk } in group.iter().copied() {
            let stands = window.bytes(self.number, offset, chunk.chunk_bytes());
            let opened = stands.and_then(|bytes| chunk::open(bytes, self.number, offset));
            match opened {
                Some((header, messages)) if header == chunk => {
                    let Reading { next, messages: wanted, damaged, .. } = reading;
                    if visit(messages, next, wanted, bodies, damaged, each)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                _ => {
                    let reason = if stands.is_none() { CUT_SHORT } else { WRONG_CHECKSUM };
                    reading.damaged.push(self.damage(offset, chunk.chunk_bytes(), reason));
                }
            }
            reading.next = reading.next.max(chunk.last.saturating_add(1));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Some chunks of a queue from the one on that `from` is in, as far as they lie together.
    fn chunks_from(
        &self,
        extent: &Extent,
        from: u64,
        damaged: &mut Vec<DamagedPart>,
    ) -> Result<Vec<Located>, StoreError> {
        let is_wanted =
            |located: &Located| located.chunk.queue == extent.queue && located.chunk.last >= from;
        let mut found = Vec::new();
        match &self.index.chunks {
            Chunks::InMemory(chunks) => {
                let key = (extent.queue, from);
                let start = chunks.partition_point(|it| (it.chunk.queue, it.chunk.last) < key);
                let behind = chunks.get(start..).unwrap_or_default();
                found.extend(behind.iter().take(BLOCK_ENTRIES).filter(|it| is_wanted(it)));
            }
            Chunks::InBlocks { begin, chunks, keys } => {
                let key = (extent.queue, from);
                let mut block = keys.partition_point(|first| *first <= key).saturating_sub(1);
                // The chunk behind a gap may be the first of the next block.
                while found.is_empty() && keys.get(block).is_some_and(|it| it.0 <= extent.queue) {
                    match self.block(*begin, *chunks, block)? {
                        Some(located) => found.extend(located.into_iter().filter(is_wanted)),
                        None => return self.chunks_by_search(extent, from, damaged),
                    }
                    block += 1;
                }
            }
        }
        // Where something is missing in between another read begins.
        let end = found.windows(2).position(|pair| match pair {
            [before, behind] => before.end() != behind.offset,
            _ => false,
        });
        found.truncate(end.map_or(found.len(), |at| at + 1));
        Ok(found)
    }

    /// Shows what there is of each queue, as far as the index says.
    pub(crate) fn each_part(&self, visit: &mut dyn FnMut(QueuePart)) -> Result<(), StoreError> {
        let Index { chunks_begin, bodies, .. } = self.index;
        let shared = chunks_begin.saturating_sub(HEADER_BYTES as u64) / bodies.max(1);
        let mut show = |Located { chunk, .. }: &Located| {
            let ChunkHeader { queue, first, last, bytes, messages } = *chunk;
            let (messages, own) = (u64::from(messages), u64::from(bytes));
            // Nothing but places of bodies that others have, too.
            let is_shared = bodies > 0 && own <= messages.saturating_mul(SHARED_BYTES_MAX);
            let bytes = if is_shared { messages.saturating_mul(shared) } else { own };
            visit(QueuePart { queue, first, last, messages, bytes });
        };
        match &self.index.chunks {
            Chunks::InMemory(chunks) => chunks.iter().for_each(show),
            Chunks::InBlocks { begin, chunks, keys } => {
                for block in 0..keys.len() {
                    // One that cannot be read any more is told when somebody needs it.
                    let located = self.block(*begin, *chunks, block)?;
                    located.iter().flatten().for_each(&mut show);
                }
            }
        }
        Ok(())
    }

    fn block(
        &self,
        begin: u64,
        chunks: u64,
        block: usize,
    ) -> Result<Option<Vec<Located>>, StoreError> {
        let place = begin + (block * BLOCK_BYTES) as u64;
        let length = (begin + blocks_bytes(chunks)).saturating_sub(place).min(BLOCK_BYTES as u64);
        let mut window = Window::default();
        self.load(&mut window, place, length)?;
        let bytes = window.bytes(self.number, place, length);
        Ok(bytes.and_then(|bytes| decode_block(bytes, self.number, place)))
    }

    /// What a block would have said that was readable when the run was opened and is not any more.
    fn chunks_by_search(
        &self,
        extent: &Extent,
        from: u64,
        damaged: &mut Vec<DamagedPart>,
    ) -> Result<Vec<Located>, StoreError> {
        let (begin, end) = (extent.offset, extent.offset + extent.bytes);
        let mut found = rebuild::search(&*self.file, self.number, begin, end, damaged)?;
        found.retain(|it| it.chunk.queue == extent.queue && it.chunk.last >= from);
        Ok(found)
    }

    /// The shared body at this place. With it those are read that the messages behind need and that
    /// stand near by.
    pub(crate) fn shared_body<'w>(
        &self,
        window: &'w mut Window,
        offset: u64,
        bytes: u32,
        behind: &Messages<'_>,
    ) -> Result<Result<&'w [u8], DamagedPart>, StoreError> {
        let whole = BODY_HEADER_BYTES as u64 + u64::from(bytes);
        if window.bytes(self.number, offset, whole).is_none() {
            let mut end = offset.saturating_add(whole);
            for message in behind.clone() {
                let Body::Shared { offset: place, bytes } = message.body else { continue };
                let its_end = place.saturating_add(BODY_HEADER_BYTES as u64 + u64::from(bytes));
                if place < offset
                    || place > end.saturating_add(GAP_BYTES)
                    || its_end - offset > BODIES_BYTES
                {
                    break;
                }
                end = end.max(its_end);
            }
            self.load(window, offset, end - offset)?;
        }
        Ok(self.open_body(window, offset, whole))
    }

    /// The shared body at this place. With it so much of what stands behind is read.
    pub(crate) fn body_ahead<'w>(
        &self,
        window: &'w mut Window,
        offset: u64,
        bytes: u32,
        ahead: u64,
    ) -> Result<Result<&'w [u8], DamagedPart>, StoreError> {
        let whole = BODY_HEADER_BYTES as u64 + u64::from(bytes);
        if window.bytes(self.number, offset, whole).is_none() {
            let behind = self.index.chunks_begin.saturating_sub(offset);
            self.load(window, offset, whole.max(behind.min(ahead)))?;
        }
        Ok(self.open_body(window, offset, whole))
    }

    fn open_body<'w>(
        &self,
        window: &'w Window,
        offset: u64,
        whole: u64,
    ) -> Result<&'w [u8], DamagedPart> {
        let stands = window.bytes(self.number, offset, whole);
        let body = stands.and_then(|whole| format::decode_body(whole, self.number, offset));
        let reason = if stands.is_none() { CUT_SHORT } else { WRONG_CHECKSUM };
        body.ok_or_else(|| self.damage(offset, whole, reason))
    }
}

/// So many of the first chunks as give what is wanted, to be read at once.
fn group<'c>(chunks: &'c [Located], reading: &Reading<'_>) -> Option<&'c [Located]> {
    let first = chunks.first()?;
    let (mut messages, mut bytes, mut count) = (0, 0, 0);
    for Located { offset, chunk } in chunks {
        let is_enough = messages >= reading.messages || bytes >= reading.bytes;
        let is_much = offset + chunk.chunk_bytes() - first.offset > READ_BYTES;
        if count > 0 && (is_enough || is_much) {
            break;
        }
        count += 1;
        // Of one that is begun the part behind, as far as one can guess.
        let begun = u128::from(reading.next.saturating_sub(chunk.first));
        let span = u128::from(chunk.last.saturating_sub(chunk.first)) + 1;
        let left = |of: u32| {
            let read = u128::from(of) * begun.min(span) / span;
            u64::from(of).saturating_sub(u64::try_from(read).unwrap_or(0))
        };
        messages += left(chunk.messages);
        bytes += left(chunk.bytes);
    }
    chunks.get(..count)
}

const CUT_SHORT: &str = "the file ends before";
const WRONG_CHECKSUM: &str = "its checksum is wrong";

/// Hands out the messages of a chunk from `next` on, and moves that behind them.
fn visit(
    mut messages: Messages<'_>,
    next: &mut u64,
    wanted: &mut u64,
    bodies: &mut Window,
    damaged: &mut Vec<DamagedPart>,
    each: &mut Each<'_>,
) -> Result<ControlFlow<()>, StoreError> {
    while let Some(message) = messages.next() {
        if message.seq < *next {
            continue;
        }
        if each(&message, &messages, bodies, damaged)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        *next = message.seq.saturating_add(1);
        *wanted = wanted.saturating_sub(1);
    }
    Ok(ControlFlow::Continue(()))
}

impl Slice {
    /// Adds a queue's messages in a run, as far as the limits allow.
    pub(crate) fn read(
        &mut self,
        run: &Run,
        extent: &Extent,
        limits: &SliceLimits,
        buffers: &mut Buffers,
        deliver: &mut dyn FnMut(QueueMessage<'_>),
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut damaged = std::mem::take(&mut self.damaged);
        let mut reading = Reading {
            next: self.next,
            messages: limits.messages.saturating_sub(self.messages) as u64,
            bytes: limits.bytes.saturating_sub(self.bytes) as u64,
            buffers,
            damaged: &mut damaged,
        };
        let flow = run.walk(extent, &mut reading, &mut |message, behind, window, damaged| {
            let bytes = self.bytes.saturating_add(message.bytes());
            let is_too_much = self.messages >= limits.messages || bytes > limits.bytes;
            if self.messages > 0 && is_too_much {
                return Ok(ControlFlow::Break(()));
            }
            let body = match message.body {
                Body::Own(body) => body,
                Body::Shared { offset, bytes } => {
                    match run.shared_body(window, offset, bytes, behind)? {
                        Ok(body) => body,
                        Err(damage) => {
                            damaged.push(damage);
                            return Ok(ControlFlow::Continue(()));
                        }
                    }
                }
            };
            deliver(QueueMessage { seq: message.seq, flags: message.flags, body });
            (self.messages, self.bytes) = (self.messages + 1, bytes);
            Ok(ControlFlow::Continue(()))
        });
        self.next = reading.next;
        self.damaged = damaged;
        flow
    }
}
