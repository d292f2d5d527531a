//! A connected socket of either kind, polled without being split, and able to move from one thread
//! to another.

use std::io::{self, IoSlice};
use std::net::TcpStream as StdTcpStream;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::task::{Context, Poll};

use noctule_broker_core::Outbound;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Pieces handed to one vectored write; more would not be taken by the kernel at once anyway.
const PIECES_MAX: usize = 64;

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

/// A connected socket that belongs to no thread's runtime. It does not block.
#[derive(Debug)]
pub(crate) enum DetachedStream {
    /// TCP.
    Tcp(StdTcpStream),
    /// A Unix socket.
    Unix(StdUnixStream),
}

impl Stream {
    /// Takes the socket into the runtime of this thread.
    pub(crate) fn attach(stream: DetachedStream) -> io::Result<Self> {
        Ok(match stream {
            DetachedStream::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream)?),
            DetachedStream::Unix(stream) => Self::Unix(UnixStream::from_std(stream)?),
        })
    }

    /// Takes the socket out of the runtime of this thread.
    pub(crate) fn detach(self) -> io::Result<DetachedStream> {
        Ok(match self {
            Self::Tcp(stream) => DetachedStream::Tcp(stream.into_std()?),
            Self::Unix(stream) => DetachedStream::Unix(stream.into_std()?),
        })
    }

    /// Reads once, or registers for the next readiness.
    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }

    /// Writes once without waiting. This does not count against the task's cooperative budget, so
    /// one task can serve any number of sockets in a turn.
    pub(crate) fn try_write(&self, outbound: &Outbound) -> io::Result<usize> {
        let mut chunks = outbound.chunks();
        let Some(first) = chunks.next() else { return Ok(0) };
        let Some(second) = chunks.next() else { return self.try_write_one(first) };
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let count = fill(&mut pieces, [first, second].into_iter().chain(chunks));
        let pieces = pieces.get(..count).unwrap_or_default();
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(pieces),
            Self::Unix(stream) => stream.try_write_vectored(pieces),
        }
    }

    fn try_write_one(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    /// Writes once, or registers for the next readiness.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        outbound: &Outbound,
    ) -> Poll<io::Result<usize>> {
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let count = fill(&mut pieces, outbound.chunks());
        let pieces = pieces.get(..count).unwrap_or_default();
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

fn fill<'a>(pieces: &mut [IoSlice<'a>], chunks: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut count = 0;
    for (piece, chunk) in pieces.iter_mut().zip(chunks) {
        *piece = IoSlice::new(chunk);
        count += 1;
    }
    count
}
