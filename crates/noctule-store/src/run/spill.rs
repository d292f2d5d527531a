//! What leaves the log, gathered in memory and written as one run.

use std::collections::BTreeMap;

use crate::error::StoreError;
use crate::run::chunk::{Body, Message};
use crate::run::new_run::NewRun;

/// The bytes of a block of the arena. Larger messages have a block of their own.
const BLOCK_BYTES: usize = 1_024 * 1_024;
/// So many messages are fetched from memory together: they lie anywhere in it.
const FETCHED: usize = 32;
/// What comes from memory at once.
const LINE_BYTES: usize = 64;

/// Messages that leave the log, until they are written as one run.
///
/// They come in the order of the log; what is written is sorted by queue, with each body once.
#[derive(Debug, Default)]
pub struct Spill {
    arena: Arena,
    references: Vec<Reference>,
    bodies: Vec<Stored>,
    /// The bodies whose identities did not rise.
    late: BTreeMap<u64, u32>,
}

#[derive(Clone, Copy, Debug)]
struct Reference {
    queue: u64,
    seq: u64,
    flags: Place,
    body: u32,
    flag_bytes: u8,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    /// The highest identity up to this one.
    identity: u64,
    place: Place,
    bytes: u32,
    references: u32,
    /// Where it stands in the run, if it is shared.
    offset: u64,
}

impl Spill {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the message `seq` of a queue. `body_identity` is the same for two messages only if
    /// they have the same body, which is then kept once. If a message of the same queue and seq
    /// comes again, the first one counts.
    ///
    /// # Errors
    ///
    /// If `flags` are more than 255 bytes or the body does not fit into a run.
    pub fn push(
        &mut self,
        queue: u64,
        seq: u64,
        flags: &[u8],
        body_identity: u64,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let length = flags.len().saturating_add(body.len());
        let too_large = |_| StoreError::TooLarge { length };
        let flag_bytes = u8::try_from(flags.len()).map_err(too_large)?;
        // Room for all headers around it.
        let bytes = u32::try_from(body.len().saturating_add(1_024)).map_err(too_large)? - 1_024;
        let body = match self.known(body_identity) {
            Some(known) => known,
            None => {
                let number = u32::try_from(self.bodies.len()).map_err(too_large)?;
                let place = self.arena.add(body);
                let highest = self.bodies.last().map_or(0, |last| last.identity);
                if number > 0 && body_identity <= highest {
                    self.late.insert(body_identity, number);
                }
                let identity = body_identity.max(highest);
                self.bodies.push(Stored { identity, place, bytes, references: 0, offset: 0 });
                number
            }
        };
        let flags = self.arena.add(flags);
        self.references.push(Reference { queue, seq, flags, body, flag_bytes });
        Ok(())
    }

    /// The number of a body that is here. In the order of the log identities rise, so that there
    /// is hardly ever something to search for.
    fn known(&self, identity: u64) -> Option<u32> {
        let last = self.bodies.last()?;
        if identity > last.identity {
            return None;
        }
        let first = if identity == last.identity && self.late.is_empty() {
            self.bodies.len() - 1
        } else {
            self.bodies.partition_point(|body| body.identity < identity)
        };
        // Behind it those stand that came late, with the same highest identity.
        match self.bodies.get(first) {
            Some(found) if found.identity == identity => u32::try_from(first).ok(),
            _ => self.late.get(&identity).copied(),
        }
    }

    /// How many messages there are.
    pub const fn len(&self) -> usize {
        self.references.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.references.is_empty()
    }

    /// The bytes that it takes in memory, about. Whoever has a limit writes what there is.
    pub fn memory_bytes(&self) -> usize {
        self.arena.bytes
            + self.references.len() * size_of::<Reference>()
            + self.bodies.len() * size_of::<Stored>()
            + self.late.len() * 24
    }

    /// Drops everything, and keeps the memory for what comes next.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.references.clear();
        self.bodies.clear();
        self.late.clear();
    }

    /// Writes everything as a run, and syncs it. It counts when [`Runs::end`](crate::Runs::end) has
    /// taken it in.
    ///
    /// # Errors
    ///
    /// If the system cannot write it. Everything is still here, for another run.
    pub fn write(&mut self, run: &mut NewRun) -> Result<(), StoreError> {
        run.restart();
        // What comes in order of queues or of time costs less than a sort.
        self.references.sort_by_key(|it| (it.queue, it.seq));
        self.references.dedup_by_key(|it| (it.queue, it.seq));
        let Self { arena, references, bodies, .. } = self;
        bodies.iter_mut().for_each(|body| body.references = 0);
        for reference in &*references {
            if let Some(body) = bodies.get_mut(reference.body as usize) {
                body.references += 1;
            }
        }
        for body in bodies.iter_mut().filter(|body| body.references > 1) {
            body.offset = run.body(arena.bytes(body.place, body.bytes))?;
        }
        for references in references.chunks(FETCHED) {
            arena.fetch(references.iter().filter_map(|it| bodies.get(it.body as usize)));
            for reference in references {
                let Some(stored) = bodies.get(reference.body as usize) else { continue };
                let body = if stored.references > 1 {
                    Body::Shared { offset: stored.offset, bytes: stored.bytes }
                } else {
                    Body::Own(arena.bytes(stored.place, stored.bytes))
                };
                let flags = arena.bytes(reference.flags, reference.flag_bytes.into());
                run.message(reference.queue, &Message { seq: reference.seq, flags, body })?;
            }
        }
        run.finish()
    }
}

/// Bytes in blocks, so that they grow without being copied.
#[derive(Debug, Default)]
struct Arena {
    blocks: Vec<Vec<u8>>,
    /// Blocks from before that are free.
    free: Vec<Vec<u8>>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    block: u32,
    at: u32,
}

impl Arena {
    fn add(&mut self, bytes: &[u8]) -> Place {
        let has_room = |block: &Vec<u8>| block.capacity() - block.len() >= bytes.len();
        if !self.blocks.last().is_some_and(has_room) {
            let fits = bytes.len() <= BLOCK_BYTES;
            let block = self.free.pop().filter(|_| fits);
            let block = block.unwrap_or_else(|| Vec::with_capacity(bytes.len().max(BLOCK_BYTES)));
            self.bytes += block.capacity();
            self.blocks.push(block);
        }
        let number = self.blocks.len() - 1;
        let Some(block) = self.blocks.last_mut() else { return Place::default() };
        let at = block.len();
        block.extend_from_slice(bytes);
        Place { block: number as u32, at: at as u32 }
    }

    fn bytes(&self, place: Place, length: u32) -> &[u8] {
        let (at, length) = (place.at as usize, length as usize);
        let block = self.blocks.get(place.block as usize);
        block.and_then(|block| block.get(at..at + length)).unwrap_or_default()
    }

    /// Waits for the memory of several bodies at once instead of for one after the other.
    fn fetch<'s>(&self, bodies: impl Iterator<Item = &'s Stored>) {
        let mut any = 0;
        for body in bodies.filter(|body| body.references == 1) {
            let bytes = self.bytes(body.place, body.bytes);
            any = bytes.iter().step_by(LINE_BYTES).chain(bytes.last()).fold(any, |it, at| it ^ at);
        }
        std::hint::black_box(any);
    }

    fn clear(&mut self) {
        self.bytes = 0;
        for mut block in self.blocks.drain(..) {
            if block.capacity() == BLOCK_BYTES {
                block.clear();
                self.free.push(block);
            }
        }
    }
}
