//! Who does TLS in these tests: rustls.

use noctule_transport::{TlsBuilder, TlsClient};

/// Whether it tells what it has agreed on and what is wrong, so that we can say it in our words.
pub(crate) const TELLS: bool = true;

pub(crate) fn tls() -> TlsBuilder {
    TlsClient::builder()
}
