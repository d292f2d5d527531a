//! What happens to the connection, as a stream.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use noctule_client_core::{ClientEvent, FollowerId};

use crate::mode::{Async, Blocking, Mode};
use crate::shared::Shared;
use crate::wait::{TimedOut, block_on, block_until};

/// What happens to the connection, in order. Whoever reads too slowly is told how much was left
/// out.
#[derive(Debug)]
pub struct Events<D> {
    shared: Arc<Shared>,
    follower: FollowerId,
    mode: Mode<D>,
}

impl<D> Events<D> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let follower = shared.with(|inner| inner.hub.follow());
        Self { shared, follower, mode: Mode::default() }
    }

    /// For somebody who waits for something to happen to the connection.
    pub(crate) fn watching(shared: Arc<Shared>) -> Self {
        let follower = shared.with(|inner| inner.hub.watch());
        Self { shared, follower, mode: Mode::default() }
    }

    pub(crate) async fn next_event(&mut self) -> Option<ClientEvent> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next event, for a hand-written future; `None` when the client has ended.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        self.shared.with(|inner| inner.hub.poll_event(self.follower, context.waker()))
    }
}

impl<D> Events<D> {
    async fn next_like(
        &mut self,
        mut is_meant: impl FnMut(&ClientEvent) -> bool,
    ) -> Option<ClientEvent> {
        loop {
            let event = self.next_event().await?;
            if is_meant(&event) {
                return Some(event);
            }
        }
    }
}

impl Events<Async> {
    /// Waits for an event of which this is true, and lets the others pass; `None` when the client
    /// has ended.
    pub async fn wait_for(
        &mut self,
        is_meant: impl FnMut(&ClientEvent) -> bool,
    ) -> Option<ClientEvent> {
        self.next_like(is_meant).await
    }

    /// The next event; `None` when the client has ended.
    pub async fn recv(&mut self) -> Option<ClientEvent> {
        self.next_event().await
    }
}

impl Events<Blocking> {
    /// Waits for an event of which this is true, and lets the others pass, but not longer than so
    /// long; `None` when the client has ended.
    ///
    /// # Errors
    ///
    /// If it has not happened by then.
    pub fn wait_for(
        &mut self,
        timeout: Duration,
        is_meant: impl FnMut(&ClientEvent) -> bool,
    ) -> Result<Option<ClientEvent>, TimedOut> {
        block_until(timeout, self.next_like(is_meant)).ok_or(TimedOut)
    }

    /// Waits for the next event; `None` when the client has ended.
    pub fn recv(&mut self) -> Option<ClientEvent> {
        block_on(self.next_event())
    }

    /// The same, but not longer than so long.
    ///
    /// # Errors
    ///
    /// If nothing has happened by then.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<ClientEvent>, TimedOut> {
        block_until(timeout, self.next_event()).ok_or(TimedOut)
    }
}

impl Iterator for Events<Blocking> {
    type Item = ClientEvent;

    fn next(&mut self) -> Option<ClientEvent> {
        self.recv()
    }
}

impl<D> Drop for Events<D> {
    fn drop(&mut self) {
        self.shared.with(|inner| inner.hub.leave(self.follower));
    }
}
