//! What a program can put into a client to see what it does: the options for it.

use std::sync::Arc;

use crate::builder::ClientBuilder;
use crate::interceptor::Interceptor;
use crate::metrics::Metrics;

impl<D> ClientBuilder<D> {
    /// Tells what is counted and measured. [`Figures`](crate::Figures) keep it, and several
    /// clients may have the same. Without it nothing is counted.
    pub fn metrics(mut self, metrics: impl Metrics + 'static) -> Self {
        self.extensions.metrics = Some(Arc::new(metrics));
        self
    }

    /// Lets every message pass an interceptor, on its way out and in. Several work together: the
    /// first one is the nearest to the user.
    pub fn interceptor(mut self, interceptor: impl Interceptor + 'static) -> Self {
        self.extensions.interceptors.push(Arc::new(interceptor));
        self
    }
}
