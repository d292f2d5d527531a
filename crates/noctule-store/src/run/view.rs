//! What other threads see of the runs: a queue's messages, whatever becomes of the runs meanwhile.
//!
//! Whoever reads goes on with the runs that there were when it began. A run that is done, or that
//! was written anew, stays readable for it, although its file has no name any more.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::StoreError;
use crate::run::reader::{Buffers, DamagedPart, QueueMessage, Run, Slice, SliceLimits};

/// So much damage is noted until it is set aside.
const DAMAGED_MAX: usize = 1_024;

/// The runs of a store as other threads see them than the one that changes them; clones are views
/// of the same ones.
#[derive(Debug, Default)]
pub struct RunsView {
    shared: Arc<Shared>,
    buffers: Mutex<Buffers>,
}

#[derive(Debug, Default)]
struct Shared {
    /// In the order of their messages. Nobody has it for longer than it takes to look.
    runs: Mutex<Arc<[Arc<Run>]>>,
    /// What could not be read and is not set aside.
    damaged: Mutex<Vec<DamagedPart>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clone for RunsView {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), buffers: Mutex::default() }
    }
}

impl RunsView {
    /// Reads the next messages of a queue, from this seq on.
    ///
    /// # Errors
    ///
    /// If the system cannot read. What is damaged is told in the slice, and stepped over.
    pub fn read(
        &self,
        queue: u64,
        from: u64,
        limits: &SliceLimits,
        mut deliver: impl FnMut(QueueMessage<'_>),
    ) -> Result<Slice, StoreError> {
        let all = self.runs();
        let mut buffers = lock(&self.buffers);
        let mut slice = Slice { next: from, ..Slice::default() };
        let mut runs = all.iter();
        // What a run has of a queue comes behind what those before it have.
        for run in runs.by_ref() {
            let Some(extent) = run.needed(queue).filter(|it| it.last >= slice.next) else {
                continue;
            };
            let flow = slice.read(run, &extent, limits, &mut buffers, &mut deliver)?;
            slice.has_more = flow.is_break();
            if flow.is_break() || slice.messages >= limits.messages {
                break;
            }
        }
        let next = slice.next;
        slice.has_more =
            slice.has_more || runs.any(|run| run.last(queue).is_some_and(|last| last >= next));
        buffers.shrink();
        if !slice.damaged.is_empty() {
            let mut damaged = lock(&self.shared.damaged);
            let room = DAMAGED_MAX.saturating_sub(damaged.len());
            damaged.extend(slice.damaged.iter().take(room));
        }
        Ok(slice)
    }

    /// The runs that there are now.
    fn runs(&self) -> Arc<[Arc<Run>]> {
        Arc::clone(&lock(&self.shared.runs))
    }

    pub(crate) fn show(&self, runs: Arc<[Arc<Run>]>) {
        *lock(&self.shared.runs) = runs;
    }

    /// What could not be read since this was last asked.
    pub(crate) fn take_damaged(&self) -> Vec<DamagedPart> {
        mem::take(&mut lock(&self.shared.damaged))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        lock(&self.buffers).memory_bytes()
    }
}
