//! The system's TLS over a stream of tokio.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use native_tls::MidHandshakeTlsStream;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::BoxedStream;
use crate::tls::{Shaking, SystemStream, SystemTls};

/// A stream for a library that does not know who waits.
pub(super) struct Bridge {
    stream: BoxedStream,
    /// Whose turn it is.
    waker: Waker,
}

impl Bridge {
    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut BoxedStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        let mut context = Context::from_waker(&self.waker);
        match poll(Pin::new(&mut self.stream), &mut context) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Read for Bridge {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        self.poll(|stream, context| stream.poll_read(context, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl Write for Bridge {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.poll(|stream, context| stream.poll_write(context, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.poll(|stream, context| stream.poll_flush(context))
    }
}

/// Passes the handshake with the server of that name.
pub(super) async fn connect(
    tls: &SystemTls,
    name: &ServerName<'_>,
    stream: BoxedStream,
) -> Result<SystemStream<Bridge>, native_tls::Error> {
    let (mut stream, mut waiting) = (Some(stream), None);
    poll_fn(|context| {
        let shaking = match (stream.take(), waiting.take()) {
            (Some(stream), _) => {
                tls.connect(name, Bridge { stream, waker: context.waker().clone() })
            }
            (None, Some(shaking)) => {
                let mut shaking: MidHandshakeTlsStream<Bridge> = shaking;
                shaking.get_mut().waker.clone_from(context.waker());
                Shaking::resume(shaking)
            }
            (None, None) => return Poll::Pending,
        };
        match shaking {
            Ok(Shaking::Done(stream)) => Poll::Ready(Ok(SystemStream::new(stream))),
            Ok(Shaking::Waits(shaking)) => {
                waiting = Some(shaking);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    })
    .await
}

impl SystemStream<Bridge> {
    /// Does something for the task that now has its turn.
    fn poll<T>(
        &mut self,
        context: &Context<'_>,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.below().waker.clone_from(context.waker());
        match act(self) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }
}

impl AsyncRead for SystemStream<Bridge> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(context, |stream| {
            let length = stream.read(buffer.initialize_unfilled())?;
            buffer.advance(length);
            Ok(())
        })
    }
}

impl AsyncWrite for SystemStream<Bridge> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(context, |stream| stream.write(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, Write::flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll(context, Self::say_goodbye))?;
        Pin::new(&mut self.below().stream).poll_shutdown(context)
    }
}
