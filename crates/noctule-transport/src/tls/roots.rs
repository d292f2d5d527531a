//! Whom TLS trusts: the system's roots, those compiled in, or those that were given.

use rustls::RootCertStore;

use super::pem::Pem;
use crate::build_error::BuildError;

const SETTING: &str = "the trusted roots";

/// The roots that were given, or the system's if `with_system` says so.
pub(crate) fn load(given: &[Pem], with_system: bool) -> Result<RootCertStore, BuildError> {
    let mut store = RootCertStore::empty();
    for pem in given {
        for certificate in pem.certificates(SETTING)? {
            store.add(certificate).map_err(|error| BuildError::Tls {
                setting: SETTING,
                reason: format!("a certificate cannot be read: {error}"),
            })?;
        }
    }
    if with_system {
        add_system(&mut store)?;
    }
    Ok(store)
}

#[cfg(feature = "native-roots")]
fn add_system(store: &mut RootCertStore) -> Result<(), BuildError> {
    let found = rustls_native_certs::load_native_certs();
    // A system has roots that no library understands any more, so unreadable ones do no harm.
    let (added, _) = store.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(());
    }
    let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    Err(BuildError::Tls {
        setting: SETTING,
        reason: format!("this system has none{why}: install ca-certificates, or give a CA file"),
    })
}

#[cfg(all(feature = "webpki-roots", not(feature = "native-roots")))]
#[expect(clippy::unnecessary_wraps, reason = "a system's roots may be missing, these are not")]
fn add_system(store: &mut RootCertStore) -> Result<(), BuildError> {
    store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(())
}

#[cfg(not(any(feature = "native-roots", feature = "webpki-roots")))]
fn add_system(_store: &mut RootCertStore) -> Result<(), BuildError> {
    Err(BuildError::Feature {
        needed: "trusting the system's roots (give a CA, or it)".to_owned(),
        feature: "native-roots",
    })
}
