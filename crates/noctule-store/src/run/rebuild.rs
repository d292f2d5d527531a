//! Opens a run: reads its index, or finds its chunks without it if that is damaged.

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::run::chunk::{self, CHUNK_HEADER_BYTES, ChunkHeader, MARK};
use crate::run::format::{self, FOOTER_BYTES, FORMAT, Footer, HEADER_BYTES};
use crate::run::index::{
    BLOCK_BYTES, BLOCK_ENTRIES, Index, IndexBuilder, Located, blocks_bytes, decode_block,
};
use crate::run::reader::DamagedPart;
use crate::run::window::Window;

/// How much of an index is read at once: some whole blocks.
const INDEX_BYTES: u64 = 256 * BLOCK_BYTES as u64;
/// How much is looked through at once for the next chunk.
const SEARCH_BYTES: u64 = 256 * 1_024;

/// The index of a run that should have so many bytes.
pub(crate) fn load(
    file: &dyn DiskFile,
    run: u64,
    bytes: u64,
    damaged: &mut Vec<DamagedPart>,
) -> Result<Index, StoreError> {
    let name = format::name(run);
    let length = file.length().map_err(StoreError::io("read", &name))?;
    if length != bytes {
        let (offset, bytes) = (length.min(bytes), length.abs_diff(bytes));
        damaged.push(DamagedPart { run, offset, bytes, reason: "the file has another length" });
    }
    let mut window = Window::default();
    let header_bytes = HEADER_BYTES as u64;
    window.load(file, run, 0, header_bytes).map_err(StoreError::io("read", &name))?;
    let header = window.bytes(run, 0, header_bytes).and_then(|it| format::format_of(it, run));
    match header {
        Some(found) if found > FORMAT => {
            return Err(StoreError::NewerFormat { name, found, known: FORMAT });
        }
        Some(_) => {}
        None => {
            let reason = "its header is damaged";
            damaged.push(DamagedPart { run, offset: 0, bytes: header_bytes, reason });
        }
    }
    let footer_bytes = FOOTER_BYTES as u64;
    let at = bytes.saturating_sub(footer_bytes);
    window.load(file, run, at, footer_bytes).map_err(StoreError::io("read", &name))?;
    let footer = window.bytes(run, at, footer_bytes).and_then(|it| Footer::decode(it, run));
    let Some(footer) = footer.filter(|it| it.is_of(bytes)) else {
        let reason = "its footer is damaged";
        damaged.push(DamagedPart { run, offset: at, bytes: footer_bytes, reason });
        // Where the chunks begin and end is not known.
        return found(file, run, (header_bytes, None), length, 1, damaged);
    };
    let blocks = from_blocks(file, run, &footer).map_err(StoreError::io("read", &name))?;
    match blocks {
        Ok(index) => Ok(index),
        Err((offset, bytes)) => {
            let reason = "its index is damaged";
            damaged.push(DamagedPart { run, offset, bytes, reason });
            let begin = footer.chunks_begin;
            let end = footer.index_begin.min(length);
            found(file, run, (begin, Some(begin)), end, footer.bodies, damaged)
        }
    }
}

impl Footer {
    /// Whether it can be that of a run of so many bytes.
    fn is_of(&self, bytes: u64) -> bool {
        let behind_index = self.index_begin.saturating_add(blocks_bytes(self.chunks));
        self.chunks_begin <= self.index_begin
            && behind_index.saturating_add(FOOTER_BYTES as u64) == bytes
    }
}

/// The index as it is on disk, or where that is damaged.
fn from_blocks(
    file: &dyn DiskFile,
    run: u64,
    footer: &Footer,
) -> std::io::Result<Result<Index, (u64, u64)>> {
    let mut builder = IndexBuilder::new(footer.chunks_begin, footer.bodies);
    let end = footer.index_begin + blocks_bytes(footer.chunks);
    let mut window = Window::default();
    let (mut place, mut expected, mut chunks) = (footer.index_begin, footer.chunks_begin, 0);
    while place < end {
        let length = (end - place).min(BLOCK_BYTES as u64);
        if window.bytes(run, place, length).is_none() {
            window.load(file, run, place, (end - place).min(INDEX_BYTES))?;
        }
        let block = window.bytes(run, place, length);
        let Some(block) = block.and_then(|bytes| decode_block(bytes, run, place)) else {
            return Ok(Err((place, length)));
        };
        let rest = usize::try_from(footer.chunks - chunks).unwrap_or(usize::MAX);
        let is_next = block.first().is_some_and(|first| first.offset == expected);
        if !is_next || block.len() != rest.min(BLOCK_ENTRIES) {
            return Ok(Err((place, length)));
        }
        block.iter().for_each(|located| builder.add(located));
        expected = block.last().map_or(expected, Located::end);
        chunks += block.len() as u64;
        place += length;
    }
    if expected != footer.index_begin {
        return Ok(Err((footer.index_begin, end - footer.index_begin)));
    }
    Ok(Ok(builder.in_blocks(footer.index_begin)))
}

/// An index of the chunks that are found.
fn found(
    file: &dyn DiskFile,
    run: u64,
    (begin, known_begin): (u64, Option<u64>),
    end: u64,
    bodies: u64,
    damaged: &mut Vec<DamagedPart>,
) -> Result<Index, StoreError> {
    let mut gaps = Vec::new();
    let mut chunks = search(file, run, begin, end, &mut gaps)?;
    if known_begin.is_none() {
        // What stands before the first chunk are bodies, and behind the last one is the index.
        let first = chunks.first().map_or(end, |first| first.offset);
        let last = chunks.last().map_or(end, Located::end);
        gaps.retain(|gap| gap.offset > first && gap.offset < last);
    }
    damaged.extend(gaps);
    // A chunk that is out of order would hide others.
    let mut last = None;
    chunks.retain(|Located { chunk, .. }| {
        let is_next = last < Some((chunk.queue, chunk.first)) && chunk.first <= chunk.last;
        if is_next {
            last = Some((chunk.queue, chunk.last));
        }
        is_next
    });
    let begin = known_begin.or(chunks.first().map(|first| first.offset)).unwrap_or(end);
    let mut builder = IndexBuilder::new(begin, bodies);
    chunks.iter().for_each(|chunk| builder.add(chunk));
    Ok(builder.in_memory(chunks))
}

/// All chunks that stand between these places, and what stands there besides.
pub(crate) fn search(
    file: &dyn DiskFile,
    run: u64,
    begin: u64,
    end: u64,
    gaps: &mut Vec<DamagedPart>,
) -> Result<Vec<Located>, StoreError> {
    let failed = |error| StoreError::io("read", format::name(run))(error);
    let length = file.length().map_err(failed)?.min(end);
    let (mut chunks, mut window) = (Vec::new(), Window::default());
    let (mut place, mut gap) = (begin, None);
    while place < length {
        let header_bytes = (CHUNK_HEADER_BYTES as u64).min(length - place);
        if window.bytes(run, place, header_bytes).is_none() {
            window.load(file, run, place, (length - place).min(SEARCH_BYTES)).map_err(failed)?;
        }
        let header = window.bytes(run, place, header_bytes).and_then(ChunkHeader::look);
        let whole = header.map(|it| it.chunk_bytes()).filter(|it| *it <= length - place);
        if let Some(bytes) = whole
            && window.bytes(run, place, bytes).is_none()
        {
            window
                .load(file, run, place, bytes.max(SEARCH_BYTES.min(length - place)))
                .map_err(failed)?;
        }
        let stands = whole.and_then(|bytes| window.bytes(run, place, bytes));
        if let Some((chunk, _)) = stands.and_then(|it| chunk::open(it, run, place)) {
            gaps.extend(gap.take().map(|from| missing(run, from, place)));
            chunks.push(Located { offset: place, chunk });
            place += chunk.chunk_bytes();
            continue;
        }
        gap.get_or_insert(place);
        place += next_mark(&window, run, place, length);
    }
    gaps.extend(gap.map(|from| missing(run, from, length)));
    Ok(chunks)
}

fn missing(run: u64, from: u64, to: u64) -> DamagedPart {
    DamagedPart { run, offset: from, bytes: to - from, reason: "there is no chunk" }
}

/// How far behind this place the next chunk may begin, as far as it was read.
fn next_mark(window: &Window, run: u64, place: u64, length: u64) -> u64 {
    let mut ahead = SEARCH_BYTES.min(length - place);
    while ahead > MARK.len() as u64 {
        if let Some(bytes) = window.bytes(run, place, ahead) {
            let behind = bytes.windows(MARK.len()).skip(1).position(|it| it == MARK);
            // A mark may begin at the very end of what was read.
            return behind.map_or(ahead - MARK.len() as u64 + 1, |at| at as u64 + 1);
        }
        ahead /= 2;
    }
    1
}
