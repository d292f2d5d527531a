//! What a client's task needs of the runtime that it stands on.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Instant;

use noctule_client_core::{AuthenticationDone, AuthenticationStep};
use noctule_transport::{DialerBuilder, TransportError};

/// What a runtime promises to come to.
pub(crate) type Promise<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A runtime.
pub(crate) trait Ground: Send + Sync {
    /// Bytes both ways.
    type Stream: Stream;

    /// Is ready at that time, and not before.
    fn sleep_until(&self, deadline: Instant) -> Promise<()>;

    /// Connects, within the time that the settings allow.
    fn dial(&self, dialer: DialerBuilder) -> Promise<Result<Self::Stream, TransportError>>;

    /// Asks a method of authentication, which may take its time. `None` when the runtime ends
    /// before that.
    fn ask(&self, step: AuthenticationStep) -> Promise<Option<AuthenticationDone>>;
}

/// Bytes both ways, whoever's traits say so.
pub(crate) trait Stream: Send {
    /// Reads; 0 bytes are the end.
    fn poll_read(&mut self, context: &mut Context<'_>, bytes: &mut [u8])
    -> Poll<io::Result<usize>>;

    /// Writes.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends on what was written.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says farewell.
    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// What a future comes to, or `None` if that takes too long.
pub(crate) async fn within<T>(
    mut time: Promise<()>,
    awaited: impl Future<Output = T>,
) -> Option<T> {
    let mut awaited = pin!(awaited);
    poll_fn(|context| match awaited.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => time.as_mut().poll(context).map(|()| None),
    })
    .await
}
