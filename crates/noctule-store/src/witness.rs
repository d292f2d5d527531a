//! Whoever sees what is committed to a log when it is, and so need not read it again.

use std::fmt;

use crate::frame::Batch;

/// Sees each batch once.
pub(crate) trait Witness: fmt::Debug + Send {
    /// A batch has become durable, in this segment. A commit waits for this.
    fn on_committed(&mut self, segment: u64, batch: &Batch);
}
