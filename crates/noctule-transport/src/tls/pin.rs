//! Pins: the SHA-256 of the one certificate, or of the one key, that a server may show.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::BASE64;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::{CryptoProvider, hash};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    SupportedCipherSuite,
};
use thiserror::Error;

use super::signature::Signatures;
use crate::build_error::BuildError;

/// The SHA-256 of what a server shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Of the whole certificate: it changes with every renewal.
    Certificate([u8; 32]),
    /// Of the public key (SubjectPublicKeyInfo): it stays as long as the key does.
    PublicKey([u8; 32]),
}

impl FromStr for Pin {
    type Err = BuildError;

    /// Reads `sha256//` and base64 for a public key, as curl does, and hexadecimal digits with or
    /// without colons for a certificate, as `openssl x509 -fingerprint -sha256` shows them.
    fn from_str(text: &str) -> Result<Self, BuildError> {
        let wrong = || BuildError::Value {
            setting: "pin",
            problem: "is neither sha256//BASE64 (a public key) nor 64 hexadecimal digits (a \
                      certificate)"
                .to_owned(),
        };
        if let Some(encoded) = text.strip_prefix("sha256//") {
            let decoded =
                BASE64.decode(encoded.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            return decoded.map(Self::PublicKey).ok_or_else(wrong);
        }
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let (pairs, rest) = digits.as_chunks::<2>();
        let decode = |pair: &[u8; 2]| {
            let pair = std::str::from_utf8(pair).ok()?;
            let is_hex = pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(pair, 16).ok()).flatten()
        };
        let bytes: Option<Vec<u8>> = pairs.iter().map(decode).collect();
        let bytes = bytes.filter(|_| rest.is_empty()).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self::Certificate).ok_or_else(wrong)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(hash) => {
                hash.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
            Self::PublicKey(hash) => write!(formatter, "sha256//{}", BASE64.encode(hash)),
        }
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pin({self})")
    }
}

/// A server showed something else than what was pinned.
#[derive(Clone, Copy, Debug, Error)]
#[error("it is not the pinned one: it has the pin {public_key} and the fingerprint {certificate}")]
pub(crate) struct PinMismatch {
    public_key: Pin,
    certificate: Pin,
}

/// Accepts a certificate that is pinned and that the verifier below, if there is one, accepts too.
pub(crate) struct PinVerifier {
    pins: Vec<Pin>,
    below: Option<Arc<dyn ServerCertVerifier>>,
    sha256: &'static dyn hash::Hash,
    signatures: Signatures,
}

impl PinVerifier {
    /// Without a verifier below, the pins alone decide.
    pub(crate) fn new(
        pins: Vec<Pin>,
        below: Option<Arc<dyn ServerCertVerifier>>,
        provider: &CryptoProvider,
    ) -> Result<Self, BuildError> {
        let sha256 = sha256(provider).ok_or_else(|| BuildError::Tls {
            setting: "pin",
            reason: "the cryptography provider has no SHA-256".to_owned(),
        })?;
        Ok(Self { pins, below, sha256, signatures: Signatures::of(provider) })
    }

    fn hash(&self, bytes: &[u8]) -> Result<[u8; 32], Error> {
        let hash = self.sha256.hash(bytes);
        hash.as_ref().try_into().map_err(|_| Error::General("SHA-256 has 32 bytes".to_owned()))
    }
}

impl fmt::Debug for PinVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PinVerifier")
            .field("pins", &self.pins)
            .field("below", &self.below)
            .finish_non_exhaustive()
    }
}

/// Providers show their hashes only as parts of cipher suites.
fn sha256(provider: &CryptoProvider) -> Option<&'static dyn hash::Hash> {
    let hashes = provider.cipher_suites.iter().map(|suite| match suite {
        SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
        SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
    });
    hashes.into_iter().find(|hash| hash.algorithm() == HashAlgorithm::SHA256)
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(below) = &self.below {
            below.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        }
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let certificate = Pin::Certificate(self.hash(end_entity)?);
        let public_key = Pin::PublicKey(self.hash(&key)?);
        if self.pins.contains(&certificate) || self.pins.contains(&public_key) {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = PinMismatch { public_key, certificate };
        Err(CertificateError::Other(OtherError(Arc::new(mismatch))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls12(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls13(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_and_shown_in_both_forms() {
        let hex = "00ff".repeat(16);
        let pin: Pin = hex.parse().unwrap();
        assert_eq!(pin.to_string(), hex);
        let colons = "00:FF:".repeat(16);
        assert_eq!(colons.trim_end_matches(':').parse::<Pin>().unwrap(), pin);
        let text = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let pin: Pin = text.parse().unwrap();
        assert_eq!(pin, Pin::PublicKey([0; 32]));
        assert_eq!(pin.to_string(), text);
    }

    #[test]
    fn what_is_no_pin_is_refused() {
        for text in ["", "sha256//", "sha256//AAAA", "00ff", &"+1".repeat(32), &"0".repeat(65)] {
            assert!(text.parse::<Pin>().is_err(), "{text}");
        }
    }
}
