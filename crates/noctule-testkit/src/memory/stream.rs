//! The client's end of a connection in memory.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::broker::house::House;
use crate::broker::outlet::{Chunk, Due};

/// The client's end of a connection to a test broker in memory.
///
/// What is written reaches the broker at once, and the broker has answered when `write` returns.
/// Dropping it ends the connection as a network failure does, without DISCONNECT.
pub struct MemoryStream {
    house: Arc<House>,
    number: u64,
    /// What the broker has sent and nobody has read.
    unread: Vec<u8>,
    is_at_end: bool,
    is_reset: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream").field("number", &self.number).finish_non_exhaustive()
    }
}

impl MemoryStream {
    pub(super) fn open(house: &Arc<House>) -> Self {
        Self {
            house: Arc::clone(house),
            number: house.with(|state| state.open()),
            unread: Vec::new(),
            is_at_end: false,
            is_reset: false,
            sleep: None,
        }
    }

    fn close(&self) {
        self.house.with(|state| state.close(self.number));
    }

    /// Ready when there is something to read, or nothing more will come.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.unread.is_empty() && !self.is_at_end && !self.is_reset {
            let due = self.house.next_due(self.number, Some(context.waker()));
            match due.unwrap_or(Due::Now(Chunk::End)) {
                Due::Now(Chunk::Bytes(bytes)) => self.unread = bytes,
                Due::Now(Chunk::End) => self.is_at_end = true,
                Due::Now(Chunk::Reset) => {
                    self.is_reset = true;
                    self.close();
                }
                Due::At(at) => {
                    let left = at.saturating_sub(self.house.clock.now());
                    // A timer counts whole milliseconds, and must not come too early for ever.
                    let left = left.max(Duration::from_millis(1));
                    let mut sleep = Box::pin(tokio::time::sleep(left));
                    let is_over = sleep.as_mut().poll(context).is_ready();
                    self.sleep = Some(sleep);
                    if !is_over {
                        return Poll::Pending;
                    }
                }
                Due::Never => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.poll_more(context).is_pending() {
            return Poll::Pending;
        }
        if self.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..count]);
        self.unread.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.house.with(|state| state.receive(self.number, bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.close();
    }
}
