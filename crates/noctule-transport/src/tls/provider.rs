//! Which cryptography TLS is done with, and which versions of TLS.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::version::TLS13;
use rustls::{ALL_VERSIONS, SupportedProtocolVersion};

use crate::build_error::BuildError;

/// The provider that was given, that of the process, or that of the feature.
pub(crate) fn choose(
    given: Option<&Arc<CryptoProvider>>,
) -> Result<Arc<CryptoProvider>, BuildError> {
    let found = given.or(CryptoProvider::get_default()).cloned().or_else(compiled);
    found.ok_or_else(|| BuildError::Feature {
        needed: "TLS without a crypto_provider of the program's own".to_owned(),
        feature: "aws-lc-rs",
    })
}

#[cfg(feature = "aws-lc-rs")]
#[expect(clippy::unnecessary_wraps, reason = "without the features there is none")]
fn compiled() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
#[expect(clippy::unnecessary_wraps, reason = "without the features there is none")]
fn compiled() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn compiled() -> Option<Arc<CryptoProvider>> {
    None
}

pub(crate) fn versions(is_tls13_only: bool) -> &'static [&'static SupportedProtocolVersion] {
    static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&TLS13];
    if is_tls13_only { &TLS13_ALONE } else { ALL_VERSIONS }
}
