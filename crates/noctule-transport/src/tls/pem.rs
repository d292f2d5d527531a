//! Certificates and keys in PEM, from memory or from files.

use std::path::PathBuf;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::build_error::BuildError;

/// Where PEM text comes from. A file is read when TLS is built.
#[derive(Clone)]
pub(crate) enum Pem {
    Memory(Vec<u8>),
    File(PathBuf),
}

impl Pem {
    fn read(&self, setting: &'static str) -> Result<Vec<u8>, BuildError> {
        match self {
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::File(path) => std::fs::read(path).map_err(|source| BuildError::File {
                setting,
                path: path.clone(),
                source,
            }),
        }
    }

    /// Where it came from, for errors.
    fn origin(&self) -> String {
        match self {
            Self::Memory(_) => "the PEM text".to_owned(),
            Self::File(path) => format!("{path:?}"),
        }
    }

    /// All certificates; at least one.
    pub(crate) fn certificates(
        &self,
        setting: &'static str,
    ) -> Result<Vec<CertificateDer<'static>>, BuildError> {
        let wrong = |reason: String| BuildError::Tls { setting, reason };
        let text = self.read(setting)?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let certificates =
            read.map_err(|error| wrong(format!("{} is no PEM: {error}", self.origin())))?;
        if certificates.is_empty() {
            let origin = self.origin();
            return Err(wrong(format!(
                "{origin} holds no certificate (-----BEGIN CERTIFICATE-----)"
            )));
        }
        Ok(certificates)
    }

    /// The first private key.
    pub(crate) fn private_key(
        &self,
        setting: &'static str,
    ) -> Result<PrivateKeyDer<'static>, BuildError> {
        const ENCRYPTED: &[u8] = b"ENCRYPTED";
        let text = self.read(setting)?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            let origin = self.origin();
            let is_encrypted = text.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
            // An error of the reader may quote the line at fault, which may be part of the key.
            let reason = match error {
                _ if is_encrypted => format!(
                    "the key in {origin} is encrypted: decrypt it first, for example with \
                     `openssl pkey -in KEY -out PLAIN`"
                ),
                pem::Error::NoItemsFound => {
                    format!("{origin} holds no private key (-----BEGIN PRIVATE KEY-----)")
                }
                _ => format!("{origin} is no PEM"),
            };
            BuildError::Tls { setting, reason }
        })
    }
}

/// A certificate with those that lead to its root, and its key.
pub(crate) enum Identity {
    Pem { certificates: Pem, key: Pem },
    Der { certificates: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static> },
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        match self {
            Self::Pem { certificates, key } => {
                Self::Pem { certificates: certificates.clone(), key: key.clone() }
            }
            Self::Der { certificates, key } => {
                Self::Der { certificates: certificates.clone(), key: key.clone_key() }
            }
        }
    }
}

type Loaded = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Identity {
    pub(crate) fn load(&self) -> Result<Loaded, BuildError> {
        match self {
            Self::Pem { certificates, key } => {
                Ok((certificates.certificates("certificate")?, key.private_key("private key")?))
            }
            Self::Der { certificates, key } => Ok((certificates.clone(), key.clone_key())),
        }
    }
}
