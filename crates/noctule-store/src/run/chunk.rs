//! A chunk: some messages of one queue under one checksum.
//!
//! ```text
//!  0  4  mark "NCHK"                  24  8  seq of its last message
//!  4  4  bytes of the messages        32  4  number of messages
//!  8  8  queue                        36  4  CRC-32 of the run's number, of the chunk's place,
//! 16  8  seq of its first message            of 0..36 and of the messages
//! 40     messages:
//!  0  8  seq                          12  1  bytes of the flags
//!  8  4  bytes of the body            13  1  0: the body stands here, 1: its place does
//! 14     flags, then the body; or the place in the run where the shared body begins, 8 bytes
//! ```

use crate::frame::number_at;
use crate::run::format::checksum;

pub(crate) const MARK: [u8; 4] = *b"NCHK";
pub(crate) const CHUNK_HEADER_BYTES: usize = 40;
/// What a message has besides flags and body.
const MESSAGE_HEADER_BYTES: usize = 14;
/// From so many bytes on a chunk is ended: damage costs no more, and a read of few messages either.
pub(crate) const CHUNK_BYTES: usize = 16 * 1_024;

const OWN: u8 = 0;
const SHARED: u8 = 1;

/// What the header of a chunk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    pub(crate) queue: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Of the messages.
    pub(crate) bytes: u32,
    pub(crate) messages: u32,
}

/// Where the body of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    Own(&'a [u8]),
    Shared { offset: u64, bytes: u32 },
}

/// A message in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) seq: u64,
    pub(crate) flags: &'a [u8],
    pub(crate) body: Body<'a>,
}

impl Message<'_> {
    /// The bytes that it takes in a chunk.
    pub(crate) fn encoded_bytes(&self) -> usize {
        let body = if let Body::Own(body) = self.body { body.len() } else { 8 };
        MESSAGE_HEADER_BYTES + self.flags.len() + body
    }

    /// The bytes of its flags and its body.
    pub(crate) fn bytes(&self) -> usize {
        self.flags.len()
            + match self.body {
                Body::Own(body) => body.len(),
                Body::Shared { bytes, .. } => usize::try_from(bytes).unwrap_or(usize::MAX),
            }
    }

    /// Appends it. Flags are 255 bytes at most.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (bytes, kind) = match self.body {
            Body::Own(body) => (u32::try_from(body.len()).unwrap_or(u32::MAX), OWN),
            Body::Shared { bytes, .. } => (bytes, SHARED),
        };
        let mut header = [0; MESSAGE_HEADER_BYTES];
        header[..8].copy_from_slice(&self.seq.to_le_bytes());
        header[8..12].copy_from_slice(&bytes.to_le_bytes());
        header[12] = u8::try_from(self.flags.len()).unwrap_or(u8::MAX);
        header[13] = kind;
        out.extend_from_slice(&header);
        out.extend_from_slice(self.flags);
        match self.body {
            Body::Own(body) => out.extend_from_slice(body),
            Body::Shared { offset, .. } => out.extend_from_slice(&offset.to_le_bytes()),
        }
    }
}

impl ChunkHeader {
    /// Completes a chunk at this place of a run: what it begins with was left free for that.
    pub(crate) fn seal(&self, chunk: &mut [u8], run: u64, offset: u64) {
        let Some((header, messages)) = chunk.split_at_mut_checked(CHUNK_HEADER_BYTES) else {
            return;
        };
        header[..4].copy_from_slice(&MARK);
        header[4..8].copy_from_slice(&self.bytes.to_le_bytes());
        header[8..16].copy_from_slice(&self.queue.to_le_bytes());
        header[16..24].copy_from_slice(&self.first.to_le_bytes());
        header[24..32].copy_from_slice(&self.last.to_le_bytes());
        header[32..36].copy_from_slice(&self.messages.to_le_bytes());
        let checksum = checksum(run, offset, [&header[..36], messages]);
        header[36..].copy_from_slice(&checksum.to_le_bytes());
    }

    /// The bytes of the whole chunk.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        CHUNK_HEADER_BYTES as u64 + u64::from(self.bytes)
    }

    /// What stands here might be the header of a chunk; its checksum has not been compared.
    pub(crate) fn look(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<CHUNK_HEADER_BYTES>()?;
        header.starts_with(&MARK).then_some(())?;
        Some(Self {
            bytes: u32::from_le_bytes(number_at(header, 4)?),
            queue: u64::from_le_bytes(number_at(header, 8)?),
            first: u64::from_le_bytes(number_at(header, 16)?),
            last: u64::from_le_bytes(number_at(header, 24)?),
            messages: u32::from_le_bytes(number_at(header, 32)?),
        })
    }
}

/// The chunk that begins with these bytes of a run, if it is whole.
pub(crate) fn open(bytes: &[u8], run: u64, offset: u64) -> Option<(ChunkHeader, Messages<'_>)> {
    let header = ChunkHeader::look(bytes)?;
    let length = usize::try_from(header.bytes).ok()?;
    let end = CHUNK_HEADER_BYTES.checked_add(length)?;
    let (head, messages) = (bytes.get(..36)?, bytes.get(CHUNK_HEADER_BYTES..end)?);
    let stated = u32::from_le_bytes(number_at(bytes, 36)?);
    (stated == checksum(run, offset, [head, messages])).then_some((header, Messages(messages)))
}

/// The messages of a chunk, in order.
#[derive(Clone, Debug)]
pub(crate) struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let (header, rest) = self.0.split_first_chunk::<MESSAGE_HEADER_BYTES>()?;
        let seq = u64::from_le_bytes(number_at(header, 0)?);
        let bytes = u32::from_le_bytes(number_at(header, 8)?);
        let (flags, rest) = rest.split_at_checked(header[12].into())?;
        let (body, rest) = match header[13] {
            OWN => {
                let (body, rest) = rest.split_at_checked(usize::try_from(bytes).ok()?)?;
                (Body::Own(body), rest)
            }
            SHARED => {
                let (offset, rest) = rest.split_first_chunk()?;
                (Body::Shared { offset: u64::from_le_bytes(*offset), bytes }, rest)
            }
            _ => return None,
        };
        self.0 = rest;
        Some(Message { seq, flags, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_read_back_at_its_place_and_nowhere_else() {
        let messages = [
            Message { seq: 3, flags: b"f", body: Body::Own(b"own") },
            Message { seq: 9, flags: b"", body: Body::Shared { offset: 77, bytes: 5 } },
            Message { seq: 10, flags: b"xyz", body: Body::Own(b"") },
        ];
        let mut chunk = vec![0; CHUNK_HEADER_BYTES];
        let mut bytes = 0;
        for message in &messages {
            message.encode(&mut chunk);
            bytes += message.encoded_bytes();
        }
        assert_eq!(chunk.len(), CHUNK_HEADER_BYTES + bytes);
        let bytes = u32::try_from(bytes).expect("it is small");
        let header = ChunkHeader { queue: 5, first: 3, last: 10, bytes, messages: 3 };
        header.seal(&mut chunk, 1, 1_000);
        let (found, read) = open(&chunk, 1, 1_000).expect("it is whole");
        assert_eq!((found, read.collect::<Vec<_>>()), (header, messages.to_vec()));
        assert!(open(&chunk, 2, 1_000).is_none() && open(&chunk, 1, 1_001).is_none());
        assert!(open(&chunk[..chunk.len() - 1], 1, 1_000).is_none());
        for at in 0..chunk.len() {
            let mut chunk = chunk.clone();
            chunk[at] ^= 1;
            assert!(open(&chunk, 1, 1_000).is_none(), "{at}");
        }
    }
}
