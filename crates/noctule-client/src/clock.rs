//! What time it is for a client: in a runtime of tokio the runtime's time, so that a test that
//! stops it has stopped the client's, too.

use std::time::Instant;

/// Now. Without tokio's `test-util` both are the system's time.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "tokio")]
    let now = tokio::time::Instant::now().into_std();
    #[cfg(not(feature = "tokio"))]
    let now = Instant::now();
    now
}
