//! A WebSocket as a byte stream of tokio.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::websocket::Frames;

/// The payload of a WebSocket's binary frames. Pings are answered while it is read; a close frame
/// is the end of the stream; shutting it down sends one.
#[derive(Debug)]
pub struct WebSocketStream<S> {
    stream: S,
    frames: Frames,
    /// What came together with the handshake and has not been read yet.
    early: Vec<u8>,
    /// Whether what `answer` has written may still lie in a buffer below.
    must_flush: bool,
    /// Who waits for room to write. Reading may write, too (a pong), and must not take the place
    /// of that task in the socket below.
    writer: Option<Waker>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    pub(crate) fn new(stream: S, frames: Frames, early: Vec<u8>) -> Self {
        Self { stream, frames, early, must_flush: false, writer: None }
    }

    /// The stream below.
    pub fn below(&self) -> &S {
        &self.stream
    }

    /// The stream below. Reading from it or writing to it breaks the WebSocket.
    pub fn below_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends all pending frames.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let pending = self.frames.pending()?;
            if pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, pending))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.frames.on_sent(sent);
        }
    }

    /// Drains for the task that writes.
    fn poll_drain_writer(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let drained = self.poll_drain(context);
        self.writer = drained.is_pending().then(|| context.waker().clone());
        drained
    }

    /// Sends pongs and the answer to a close as far as there is room, and forgets errors: what is
    /// wrong with the socket shows when it is read.
    fn answer(&mut self, context: &mut Context<'_>) {
        if !self.frames.has_pending() && !self.must_flush {
            return;
        }
        match self.writer.clone() {
            Some(writer) => self.poll_answer(&mut Context::from_waker(&writer)),
            None => self.poll_answer(context),
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) {
        self.must_flush = true;
        if self.poll_drain(context).is_ready() {
            self.must_flush = Pin::new(&mut self.stream).poll_flush(context).is_pending();
        }
    }

    fn poll_write_pieces(
        &mut self,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain_writer(context))?;
        let taken = self.frames.write(pieces)?;
        // What does not leave now leaves with the next write or flush.
        if let Poll::Ready(Err(error)) = self.poll_drain_writer(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    /// Reads bytes of the socket, or those that came with the handshake.
    fn poll_raw(&mut self, context: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.early.is_empty() {
            let length = self.early.len().min(space.len());
            for (to, from) in space.iter_mut().zip(self.early.drain(..length)) {
                *to = from;
            }
            return Poll::Ready(Ok(length));
        }
        let mut read = ReadBuf::new(space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            this.answer(context);
            if !this.frames.is_open()? {
                return Poll::Ready(Ok(()));
            }
            let space = buffer.initialize_unfilled();
            let length = ready!(this.poll_raw(context, space))?;
            if length == 0 {
                return Poll::Ready(this.frames.on_end());
            }
            let produced = this.frames.on_bytes(space.get_mut(..length).unwrap_or_default())?;
            if produced > 0 {
                buffer.advance(produced);
                this.answer(context);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_pieces(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_pieces(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain_writer(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.frames.close()?;
        ready!(this.poll_drain_writer(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}
