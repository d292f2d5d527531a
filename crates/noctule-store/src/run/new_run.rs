//! A run that is being written: shared bodies first, then the messages queue by queue, then the
//! index. It counts when the set has taken it in.

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::run::chunk::{CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, Message};
use crate::run::format::{self, Footer};
use crate::run::index::{self, Index, IndexBuilder, Located};

/// How much is written at once.
const WRITE_BYTES: usize = 128 * 1_024;

/// A run that is being written, by a [`Spill`](crate::Spill) or a [`Merge`](crate::Merge).
#[derive(Debug)]
pub struct NewRun {
    pub(crate) number: u64,
    pub(crate) file: Box<dyn DiskFile>,
    /// What is not written yet, and where it goes.
    pending: Vec<u8>,
    written: u64,
    /// The chunk at the end of what is pending, from there on.
    open: Option<(usize, ChunkHeader)>,
    chunks_begin: Option<u64>,
    chunks: Vec<Located>,
    bodies: u64,
    pub(crate) finished: Option<Finished>,
}

/// A run that is on disk.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) index: Index,
    pub(crate) bytes: u64,
}

impl NewRun {
    pub(crate) fn new(number: u64, file: Box<dyn DiskFile>) -> Self {
        Self {
            number,
            file,
            pending: format::header(number).to_vec(),
            written: 0,
            open: None,
            chunks_begin: None,
            chunks: Vec::new(),
            bodies: 0,
            finished: None,
        }
    }

    /// Its number.
    pub const fn number(&self) -> u64 {
        self.number
    }

    fn place(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Starts from the beginning, whatever an earlier attempt has left.
    pub(crate) fn restart(&mut self) {
        self.pending.clear();
        self.pending.extend_from_slice(&format::header(self.number));
        (self.written, self.open, self.chunks_begin, self.bodies) = (0, None, None, 0);
        self.chunks.clear();
        self.finished = None;
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let failed = StoreError::io("write", format::name(self.number));
        self.file.write_at(&self.pending, self.written).map_err(failed)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn flush_if_much(&mut self) -> Result<(), StoreError> {
        if self.pending.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes a body that several messages share, before all messages. Where it is.
    pub(crate) fn body(&mut self, body: &[u8]) -> Result<u64, StoreError> {
        let place = self.place();
        format::encode_body(body, self.number, place, &mut self.pending);
        self.bodies += 1;
        self.flush_if_much()?;
        Ok(place)
    }

    /// Writes a message. Queues rise, and their messages do.
    pub(crate) fn message(&mut self, queue: u64, message: &Message<'_>) -> Result<(), StoreError> {
        let bytes = message.encoded_bytes();
        if let Some((start, chunk)) = &self.open {
            let is_full = self.pending.len() - start + bytes > CHUNK_BYTES;
            if chunk.queue != queue || is_full {
                self.close_chunk()?;
            }
        }
        if self.open.is_none() {
            let place = self.place();
            self.chunks_begin.get_or_insert(place);
            let seq = message.seq;
            let chunk = ChunkHeader { queue, first: seq, last: seq, bytes: 0, messages: 0 };
            self.open = Some((self.pending.len(), chunk));
            self.pending.extend_from_slice(&[0; CHUNK_HEADER_BYTES]);
        }
        if let Some((_, chunk)) = &mut self.open {
            chunk.last = message.seq;
            chunk.messages += 1;
            message.encode(&mut self.pending);
        }
        Ok(())
    }

    fn close_chunk(&mut self) -> Result<(), StoreError> {
        let Some((start, mut chunk)) = self.open.take() else { return Ok(()) };
        let offset = self.written + start as u64;
        let length = self.pending.len() - start - CHUNK_HEADER_BYTES;
        chunk.bytes = u32::try_from(length).map_err(|_| StoreError::TooLarge { length })?;
        if let Some(bytes) = self.pending.get_mut(start..) {
            chunk.seal(bytes, self.number, offset);
        }
        self.chunks.push(Located { offset, chunk });
        self.flush_if_much()
    }

    /// Writes what makes it a run, and syncs it.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        self.close_chunk()?;
        if self.chunks.is_empty() {
            return Ok(());
        }
        let index_begin = self.place();
        let chunks_begin = self.chunks_begin.unwrap_or(index_begin);
        let mut builder = IndexBuilder::new(chunks_begin, self.bodies);
        self.chunks.iter().for_each(|chunk| builder.add(chunk));
        let index = builder.in_blocks(index_begin);
        index::encode_blocks(&self.chunks, self.number, index_begin, &mut self.pending);
        let footer = Footer {
            chunks_begin,
            index_begin,
            chunks: self.chunks.len() as u64,
            messages: index.messages,
            bodies: self.bodies,
        };
        self.pending.extend_from_slice(&footer.encode(self.number));
        self.flush()?;
        self.file.sync().map_err(StoreError::io("sync", format::name(self.number)))?;
        self.pending = Vec::new();
        self.chunks = Vec::new();
        self.finished = Some(Finished { index, bytes: self.written });
        Ok(())
    }
}
