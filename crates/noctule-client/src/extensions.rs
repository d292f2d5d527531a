//! What a program has put into a client of its own, and how it is called: with nothing locked.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::aliases::AliasResolver;
use crate::interceptor::Interceptor;
use crate::metrics::{Counter, Latency, Metrics};
use crate::packet_log::Sink;
use crate::release_remarks::ReleaseRemarks;

/// What a program has put into a client. Most have nothing.
#[derive(Clone, Default)]
pub(crate) struct Extensions {
    pub(crate) metrics: Option<Arc<dyn Metrics>>,
    /// The first one is nearest to the user.
    pub(crate) interceptors: Vec<Arc<dyn Interceptor>>,
    pub(crate) alias_resolver: Option<Arc<dyn AliasResolver>>,
    pub(crate) release_remarks: Option<Arc<dyn ReleaseRemarks>>,
    pub(crate) packet_log: Option<Sink>,
    pub(crate) logs_user_names: bool,
    /// Who reads payloads of which content type.
    #[cfg(feature = "json")]
    pub(crate) decoders: Option<Arc<crate::content::Decoders>>,
    /// Where its handlers run.
    #[cfg(feature = "tokio")]
    pub(crate) runtime: Option<tokio::runtime::Handle>,
}

impl fmt::Debug for Extensions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Extensions")
            .field("metrics", &self.metrics.is_some())
            .field("interceptors", &self.interceptors.len())
            .finish_non_exhaustive()
    }
}

impl Extensions {
    pub(crate) const NOTHING: Self = Self {
        metrics: None,
        interceptors: Vec::new(),
        alias_resolver: None,
        release_remarks: None,
        packet_log: None,
        logs_user_names: false,
        #[cfg(feature = "json")]
        decoders: None,
        #[cfg(feature = "tokio")]
        runtime: None,
    };

    /// Tells the metrics something, if there are any.
    pub(crate) fn tell(&self, tell: impl FnOnce(&dyn Metrics)) {
        if let Some(metrics) = &self.metrics {
            shielded(|| tell(&**metrics));
        }
    }

    pub(crate) fn count(&self, counter: Counter, amount: u64) {
        self.tell(|metrics| metrics.count(counter, amount));
    }

    pub(crate) fn latency(&self, latency: Latency, taken: std::time::Duration) {
        self.tell(|metrics| metrics.latency(latency, taken));
    }
}

/// Calls code of the program's whose failure must not stop the client. What it panics with was told
/// by the panic hook.
pub(crate) fn shielded(act: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(act));
}
