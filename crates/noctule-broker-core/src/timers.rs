//! All deadlines of a shard in one ordered set; whoever sets one can take it back.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use noctule_session::Timestamp;

use crate::input::ConnectionId;
use crate::registry::SessionKey;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A connection's CONNECT or its next packet.
    Connection(ConnectionId),
    /// The end of a session without a connection.
    SessionExpiry(SessionKey),
    /// The end of a pause for a client that was too fast.
    Throttle(ConnectionId),
    /// A delayed will.
    Will(SessionKey),
    /// The end of a retained message.
    Retained(Box<str>),
    /// The next `$SYS` publications.
    System,
}

/// The set of deadlines. Setting and cancelling cost the logarithm of how many there are; nothing
/// is left behind by what was cancelled.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Timestamp, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.due.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, at: Timestamp, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, timer)| timer)
    }
}
