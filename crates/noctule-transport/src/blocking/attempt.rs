//! One attempt to connect: its deadline, and whether it is still wanted.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::waiter::{Waiter, Waker};
use crate::error::TransportError;
use crate::stage::{Progress, Stage};

/// An attempt to connect that is under way.
pub struct Attempt<'a> {
    pub(super) waiter: &'a mut Waiter,
    is_cancelled: &'a mut dyn FnMut() -> bool,
    progress: &'a Progress,
    limit: Duration,
    /// None, if the limit lies beyond what the clock can say.
    deadline: Option<Instant>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        waiter: &'a mut Waiter,
        is_cancelled: &'a mut dyn FnMut() -> bool,
        progress: &'a Progress,
        limit: Duration,
    ) -> Self {
        let deadline = Instant::now().checked_add(limit);
        Self { waiter, is_cancelled, progress, limit, deadline }
    }

    /// When the attempt has to be over.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What another thread ends this one's waiting with.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waiter.waker()
    }

    /// Waits for a registered source, for the waker, or at most until `at_most`.
    ///
    /// # Errors
    /// When the attempt is cancelled or its time is over.
    pub fn wait(&mut self, at_most: Option<Instant>) -> Result<(), TransportError> {
        self.check()?;
        let until = [self.deadline, at_most].into_iter().flatten().min();
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        self.waiter.wait(timeout)?;
        self.check()
    }

    pub(super) fn check(&mut self) -> Result<(), TransportError> {
        let stage = self.progress.stage();
        if (self.is_cancelled)() {
            return Err(TransportError::Cancelled { stage });
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(TransportError::TimedOut { stage, after: self.limit });
        }
        Ok(())
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.progress.enter(stage);
    }

    /// Does a part of the attempt, in a time that leaves as much for each of the parts after it.
    #[cfg(feature = "srv")]
    pub(super) fn with_share<T>(
        &mut self,
        after_it: usize,
        part: impl FnOnce(&mut Self) -> Result<T, TransportError>,
    ) -> Result<T, TransportError> {
        let whole = (self.limit, self.deadline);
        let parts = u32::try_from(after_it).unwrap_or(u32::MAX).saturating_add(1);
        if let Some(deadline) = self.deadline.filter(|_| after_it > 0) {
            let now = Instant::now();
            self.limit = deadline.saturating_duration_since(now) / parts;
            self.deadline = now.checked_add(self.limit);
        }
        let result = part(self);
        (self.limit, self.deadline) = whole;
        result
    }

    /// Repeats what would block, and waits in between.
    pub(super) fn retry<T>(
        &mut self,
        mut operation: impl FnMut() -> io::Result<T>,
    ) -> Result<io::Result<T>, TransportError> {
        loop {
            match operation() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(None)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Ok(result),
            }
        }
    }
}

impl fmt::Debug for Attempt<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Attempt")
            .field("progress", &self.progress)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
