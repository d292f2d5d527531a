//! What the program says in the second half of QoS 2, where the client speaks by itself.

use noctule_client_core::{ReleaseStep, Remarks, Timestamp};

use crate::extensions::shielded;
use crate::shared::Shared;

/// Says something beside PUBREL and PUBCOMP; see
/// [`ClientBuilder::release_remarks`](crate::generic::ClientBuilder::release_remarks). Closures do.
pub trait ReleaseRemarks: Send + Sync {
    /// What to say in this packet beside its reason, if there is anything.
    ///
    /// It is called with nothing locked, so it may use the client, but the client does nothing else
    /// meanwhile: a blocking call that would have to wait for it fails with
    /// [`OnOwnThread`](crate::OnOwnThread), or panics where it returns no error. If it panics,
    /// nothing is said.
    fn remarks(&self, step: ReleaseStep) -> Option<Remarks>;
}

impl<F: Fn(ReleaseStep) -> Option<Remarks> + Send + Sync> ReleaseRemarks for F {
    fn remarks(&self, step: ReleaseStep) -> Option<Remarks> {
        self(step)
    }
}

impl Shared {
    /// Lets packets leave that wait for what the program says in them.
    pub(crate) fn release(&self, now: Timestamp, steps: Vec<ReleaseStep>) {
        let Some(hook) = &self.extensions().release_remarks else { return };
        for step in steps {
            let mut remarks = None;
            shielded(|| remarks = hook.remarks(step));
            self.with(|inner| inner.hub.session_mut().release(now, step, remarks.as_ref()));
        }
    }
}
