//! A client whose task or thread ends before it: nobody is left waiting for it.

use std::sync::Arc;

use noctule_client_core::{ClientEvent, Timestamp};

use crate::course::Course;
use crate::error::StopReason;
use crate::extensions::shielded;
use crate::shared::Inner;
use crate::state::State;

impl Drop for Course {
    /// The driver is gone, done or not: code of the program's may have panicked in it, or the
    /// runtime may have dropped it.
    fn drop(&mut self) {
        let is_done = self.shared.with(|inner| matches!(inner.state, State::Stopped(_)));
        if is_done {
            return;
        }
        let now = self.shared.now();
        let reason = StopReason::Abandoned;
        // What has panicked may have left anything behind, so that this may panic, too.
        shielded(|| self.shared.with(|inner| inner.abandon(now, &reason)));
        self.shared.with(|inner| {
            inner.unfinished.get_or_insert_default();
        });
        self.shared.enter(State::Stopped(Arc::new(reason)));
    }
}

impl Inner {
    /// Ends the session without a driver.
    fn abandon(&mut self, now: Timestamp, reason: &StopReason) {
        self.settle(now);
        if let Some(journal) = &mut self.journal {
            if !journal.is_quiet(self.hub.session_mut()) {
                // What is not durable now is not promised.
                journal.give_up();
                self.has_lost_store = true;
            }
            journal.leave();
        }
        self.close(now);
        // The last of all that is told.
        self.hub.tell(&ClientEvent::Stopped { error: Some(Arc::from(reason.to_string())) });
    }
}
