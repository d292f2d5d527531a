//! A client's task on a runtime that the program brings.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use noctule_client_core::{AuthenticationDone, AuthenticationStep};
use noctule_transport::{BoxError, DialerBuilder, Stage, TransportError, Url};
use thiserror::Error;

use crate::clock;
use crate::course::unusable;
use crate::runtime::Runtime;
use crate::shared::FAR;
use crate::task::ground::{Ground, Promise, Stream, within};

/// The most that is asked of a timer at once: some count in small numbers.
const NAP: Duration = Duration::from_secs(24 * 3_600);

/// The program's runtime.
pub(crate) struct Own<R>(Arc<R>);

impl<R> Own<R> {
    pub(crate) fn new(runtime: R) -> Self {
        Self(Arc::new(runtime))
    }
}

impl<R: Runtime> Ground for Own<R> {
    type Stream = OwnStream<R::Stream>;

    fn sleep_until(&self, deadline: Instant) -> Promise<()> {
        let runtime = Arc::clone(&self.0);
        Box::pin(async move {
            loop {
                let left = deadline.saturating_duration_since(clock::now());
                if left.is_zero() {
                    return;
                }
                runtime.sleep(left.min(NAP)).await;
            }
        })
    }

    fn dial(&self, dialer: DialerBuilder) -> Promise<Result<Self::Stream, TransportError>> {
        let runtime = Arc::clone(&self.0);
        let after = dialer.time_to_connect();
        let time = self.sleep_until(clock::now() + after.min(FAR));
        Box::pin(async move {
            // A server may have sent the client to another URL since it was built.
            dialer.check_own_stream(runtime.schemes()).map_err(unusable)?;
            match within(time, runtime.open(dialer.url())).await {
                Some(Ok(stream)) => Ok(OwnStream(stream)),
                Some(Err(source)) => Err(unusable(Unopened::new(dialer.url(), source))),
                None => Err(TransportError::TimedOut { stage: Stage::Connector, after }),
            }
        })
    }

    fn ask(&self, step: AuthenticationStep) -> Promise<Option<AuthenticationDone>> {
        let runtime = Arc::clone(&self.0);
        Box::pin(async move { Some(runtime.unblock(|| step.take()).await) })
    }
}

/// No stream was opened. What the program says about it hardly names the server.
#[derive(Debug, Error)]
#[error("cannot open a stream to {server}: {source}")]
struct Unopened {
    server: String,
    source: BoxError,
}

impl Unopened {
    fn new(url: &Url, source: BoxError) -> Self {
        let host = url.host().unwrap_or(url.scheme().name());
        let server = match url.port() {
            Some(port) if host.contains(':') => format!("[{host}]:{port}"),
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Self { server, source }
    }
}

/// A stream that the program has opened.
pub(crate) struct OwnStream<S>(S);

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for OwnStream<S> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, bytes)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}
