//! An operation ends before its time, because the user or a time-out says so: what can still be
//! held back is, and what cannot goes on unseen.

use noctule_session::Timestamp;

use crate::event::Event;
use crate::operation::{Doubt, DropCause, OperationId, Outcome};
use crate::record::Record;
use crate::session::ClientSession;

impl ClientSession {
    /// Ends an operation now. What was not sent is not sent; what was goes on, but nobody is told.
    /// Whether the operation was still under way.
    pub fn cancel(&mut self, now: Timestamp, operation: OperationId) -> bool {
        let found = self.give_up(operation, DropCause::Cancelled, Doubt::Cancelled);
        self.pump(now);
        found
    }

    /// Ends an operation, wherever it is.
    pub(crate) fn give_up(
        &mut self,
        operation: OperationId,
        unsent: DropCause,
        sent: Doubt,
    ) -> bool {
        if let Some(outgoing) = self.queue.remove(operation) {
            self.finish_dropped(&outgoing, unsent);
            return true;
        }
        if let Some(unwritten) = self.outbound.forget(operation) {
            let timeout = unwritten.unsaid.times.timeout;
            let outcome = Outcome::Indeterminate { why: sent };
            let event = unwritten.ended(self.version, outcome);
            self.unwatch(operation, timeout);
            self.events.push(event);
            return true;
        }
        self.give_up_sent(operation, sent)
            || self.give_up_released(operation)
            || self.give_up_request(operation, unsent, sent)
    }

    /// A message that is in flight stays there, as the server may have it.
    fn give_up_sent(&mut self, operation: OperationId, why: Doubt) -> bool {
        let mut published = self.sender.published_mut().map(|(_, _, _, outgoing)| outgoing);
        let Some(outgoing) = published.find(|outgoing| outgoing.operation == operation) else {
            return false;
        };
        let was_silent = core::mem::replace(&mut outgoing.is_silent, true);
        let timeout = outgoing.timeout.take();
        let outcome = Outcome::Indeterminate { why };
        let event = Event::published(operation, outcome, outgoing.topic());
        drop(published);
        self.unwatch(operation, timeout);
        if !was_silent {
            self.records.note(|| Record::Told { operation });
            self.events.push(event);
        }
        !was_silent
    }

    /// The server has the message: that is how it ends, whatever follows.
    fn give_up_released(&mut self, operation: OperationId) -> bool {
        let mut releases = self.releases.iter_mut();
        let Some(release) = releases.find(|release| release.operation == operation) else {
            return false;
        };
        let was_silent = core::mem::replace(&mut release.is_silent, true);
        let timeout = release.timeout.take();
        let (reason, remarks) = (release.reason, release.remarks.take());
        self.unwatch(operation, timeout);
        if !was_silent {
            self.records.note(|| Record::Told { operation });
            let outcome = Outcome::Delivered { reason, remarks };
            self.events.push(Event::Published { operation, outcome, topic: None });
        }
        !was_silent
    }
}
