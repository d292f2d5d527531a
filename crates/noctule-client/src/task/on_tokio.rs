//! A client's task on tokio.

use std::io;
use std::panic;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use noctule_client_core::{AuthenticationDone, AuthenticationStep};
use noctule_transport::{BoxedStream, DialerBuilder, TransportError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep_until;

use crate::course::unusable;
use crate::task::ground::{Ground, Promise, Stream};

/// The runtime in which the task runs.
pub(crate) struct Tokio;

impl Ground for Tokio {
    type Stream = BoxedStream;

    fn sleep_until(&self, deadline: Instant) -> Promise<()> {
        Box::pin(sleep_until(deadline.into()))
    }

    fn dial(&self, dialer: DialerBuilder) -> Promise<Result<BoxedStream, TransportError>> {
        Box::pin(async move {
            let connected = dialer.build().map_err(unusable)?.dial().await?;
            Ok(connected.stream)
        })
    }

    /// On a thread where that keeps nobody waiting: proving a password takes milliseconds by
    /// design.
    fn ask(&self, step: AuthenticationStep) -> Promise<Option<AuthenticationDone>> {
        let work = spawn_blocking(|| step.take());
        Box::pin(async {
            match work.await.map_err(JoinError::try_into_panic) {
                Ok(done) => Some(done),
                Err(Ok(payload)) => panic::resume_unwind(payload),
                Err(Err(_)) => None,
            }
        })
    }
}

impl Stream for BoxedStream {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(bytes);
        AsyncRead::poll_read(Pin::new(self), context, &mut buffer)
            .map_ok(|()| buffer.filled().len())
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self), context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(self), context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(self), context)
    }
}
