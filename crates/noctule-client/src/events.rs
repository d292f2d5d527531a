//! What happens to the connection, as a stream.

use std::future::poll_fn;
use std::sync::Arc;

use noctule_client_core::{ClientEvent, FollowerId};

use crate::shared::Shared;

/// What happens to the connection, in order. Whoever reads too slowly is told how much was left
/// out.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
    follower: FollowerId,
}

impl Events {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let follower = shared.with(|inner| inner.hub.follow());
        Self { shared, follower }
    }

    /// The next event; `None` when the client has ended.
    pub async fn recv(&mut self) -> Option<ClientEvent> {
        poll_fn(|context| {
            self.shared.with(|inner| inner.hub.poll_event(self.follower, context.waker()))
        })
        .await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.with(|inner| inner.hub.leave(self.follower));
    }
}
