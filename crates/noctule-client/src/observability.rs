//! What a program can put into a client to see what it does: the options for it.

use std::sync::Arc;

use crate::builder::ClientBuilder;
use crate::metrics::Metrics;

impl<D> ClientBuilder<D> {
    /// Tells what is counted and measured. [`Figures`](crate::Figures) keep it, and several
    /// clients may have the same. Without it nothing is counted.
    pub fn metrics(mut self, metrics: impl Metrics + 'static) -> Self {
        self.extensions.metrics = Some(Arc::new(metrics));
        self
    }
}
