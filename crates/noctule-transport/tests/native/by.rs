//! Who does TLS in these tests: the system's library.

use noctule_transport::{TlsBuilder, TlsClient};

/// Whether it tells what it has agreed on and what is wrong, so that we can say it in our words.
pub(crate) const TELLS: bool = false;

pub(crate) fn tls() -> TlsBuilder {
    TlsClient::builder().native_tls()
}
