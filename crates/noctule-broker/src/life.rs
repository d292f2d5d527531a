//! What the threads of a broker and its handles know of each other: whether it is to stop, how far
//! each shard has got with that, whether one has failed, and whether all have ended.

use tokio::sync::watch;
use tracing::info;

use crate::error::BrokerError;
use crate::farewell::Farewell;

/// The life of a broker, as all its threads and handles share it.
#[derive(Debug)]
pub(crate) struct Life {
    state: watch::Sender<State>,
    shards: u16,
}

/// Nothing in it is ever taken back.
#[derive(Clone, Debug, Default)]
struct State {
    farewell: Option<Farewell>,
    failure: Option<BrokerError>,
    /// Shards that have everything that was stored in its place.
    restored: u16,
    /// Shards that have said good-bye to their clients and pass on no more connections.
    quiet: u16,
    /// Shards that have no connection left.
    empty: u16,
    /// Threads that have ended.
    ended: u16,
}

impl Life {
    pub(crate) fn new(shards: u16) -> Self {
        Self { state: watch::Sender::new(State::default()), shards }
    }

    /// Has all shards stop, unless they have ended. The first farewell counts.
    pub(crate) fn stop(&self, farewell: Farewell) {
        self.state.send_if_modified(|state| {
            let is_first = state.farewell.is_none() && state.ended < self.shards;
            if is_first {
                info!(target: "noctule", deadline = ?farewell.deadline, "stopping");
                state.farewell = Some(farewell);
            }
            is_first
        });
    }

    /// Has all shards end where they are. The first failure is the one that is told.
    pub(crate) fn fail(&self, error: BrokerError) {
        self.state.send_if_modified(|state| {
            let is_first = state.failure.is_none();
            state.failure.get_or_insert(error);
            is_first
        });
    }

    /// A shard has everything that was stored in its place.
    pub(crate) fn note_restored(&self) {
        self.state.send_modify(|state| state.restored += 1);
    }

    /// Waits until all shards have.
    pub(crate) async fn all_restored(&self) {
        self.wait_for(|state| state.restored == self.shards).await;
    }

    /// A shard has said good-bye, and what it has for other shards is in their inboxes.
    pub(crate) fn note_quiet(&self) {
        self.state.send_modify(|state| state.quiet += 1);
    }

    /// A shard has no connection left.
    pub(crate) fn note_empty(&self) {
        self.state.send_modify(|state| state.empty += 1);
    }

    /// A thread has ended and holds nothing any more.
    pub(crate) fn note_ended(&self) {
        self.state.send_modify(|state| {
            state.ended += 1;
            if state.ended == self.shards && state.failure.is_none() {
                // Before anybody can know, so that the line is written before the program ends.
                info!(target: "noctule", "stopped");
            }
        });
    }

    /// Waits until the broker is to stop.
    pub(crate) async fn stopping(&self) -> Farewell {
        let state = self.wait_for(|state| state.farewell.is_some()).await;
        state.farewell.unwrap_or(Farewell::within(std::time::Duration::ZERO))
    }

    /// Waits until no shard passes on connections any more.
    pub(crate) async fn all_quiet(&self) {
        self.wait_for(|state| state.quiet == self.shards).await;
    }

    /// Waits until no shard has a connection left.
    pub(crate) async fn all_empty(&self) {
        self.wait_for(|state| state.empty == self.shards).await;
    }

    /// Waits until any shard has failed.
    pub(crate) async fn failed(&self) {
        self.wait_for(|state| state.failure.is_some()).await;
    }

    /// Waits until all threads have ended.
    pub(crate) async fn ended(&self) -> Result<(), BrokerError> {
        let state = self.wait_for(|state| state.ended == self.shards).await;
        state.failure.map_or(Ok(()), Err)
    }

    async fn wait_for(&self, condition: impl FnMut(&State) -> bool) -> State {
        let mut state = self.state.subscribe();
        // The sender lives as long as this does, so that there is no error.
        match state.wait_for(condition).await {
            Ok(state) => state.clone(),
            Err(_) => State::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::blocking::block_on;

    fn failure(message: &str) -> BrokerError {
        BrokerError::ShardPanicked { message: message.to_owned() }
    }

    #[test]
    fn the_first_farewell_and_the_first_failure_count() {
        let life = Life::new(2);
        life.stop(Farewell::within(Duration::from_secs(1)));
        life.stop(Farewell::within(Duration::from_secs(2)));
        assert_eq!(block_on(life.stopping()), Farewell::within(Duration::from_secs(1)));

        life.fail(failure("first"));
        life.fail(failure("second"));
        life.note_ended();
        life.note_ended();
        assert_eq!(block_on(life.ended()), Err(failure("first")));
    }
}
