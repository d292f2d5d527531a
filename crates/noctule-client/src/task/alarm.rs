//! A timer for a deadline that moves all the time, mostly into the future.

use std::task::{Context, Poll};
use std::time::Instant;

use crate::task::ground::{Ground, Promise};

/// Is ready when the deadline has come, or a little too early when it has moved.
#[derive(Default)]
pub(crate) struct Alarm {
    /// The timer, and when it is ready.
    sleep: Option<(Instant, Promise<()>)>,
}

impl Alarm {
    /// Waits for the deadline. The timer is only touched if it would come too late.
    pub(crate) fn poll(
        &mut self,
        ground: &impl Ground,
        deadline: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let (_, sleep) = match &mut self.sleep {
            Some(set) if set.0 <= deadline => set,
            other => other.insert((deadline, ground.sleep_until(deadline))),
        };
        let ready = sleep.as_mut().poll(context);
        if ready.is_ready() {
            self.sleep = None;
        }
        ready
    }
}
