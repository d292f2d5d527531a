//! How much has come back from a store, for whoever starts a broker on it.

use noctule_broker_core::Restored;

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sessions: u64,
    pub(crate) subscriptions: u64,
    /// Messages that wait for a session, or for any member of a shared subscription.
    pub(crate) messages: u64,
    pub(crate) retained: u64,
}

impl Tally {
    /// Counts what all shards get.
    pub(crate) fn of(shares: &[Vec<Restored>]) -> Self {
        let mut tally = Self::default();
        for restored in shares.iter().flatten() {
            match restored {
                Restored::Session(session) => {
                    tally.sessions += 1;
                    tally.subscriptions += session.subscriptions.len() as u64;
                    tally.messages += (session.messages.len() + session.behind.len()) as u64;
                    tally.messages += session.away.map_or(0, |away| away.messages);
                }
                Restored::SharedQueue(queue) => tally.messages += queue.messages.len() as u64,
                Restored::Retained(_) => tally.retained += 1,
                _ => {}
            }
        }
        tally
    }
}
