//! TLS by the system's library, from the settings that are made for rustls: each is heeded or
//! refused.

use std::error::Error as StdError;
use std::io::{self, Read, Write};

use data_encoding::BASE64;
use native_tls::{Certificate, HandshakeError, Identity, MidHandshakeTlsStream, Protocol};
use rustls::pki_types::{PrivateKeyDer, ServerName};

use super::client::{TlsBuilder, refused};
use super::error::TlsError;
use crate::build_error::BuildError;
use crate::error::TransportError;
use crate::stage::Stage;

const CERTIFICATE: &str = "the client certificate with its key";
const ROOTS: &str = "the trusted roots";

/// What the system's library needs for connections.
#[derive(Clone)]
pub(crate) struct SystemTls {
    connector: native_tls::TlsConnector,
    /// The same for those who are not to see the client's certificate.
    without_certificate: native_tls::TlsConnector,
}

/// What has come of a handshake so far.
pub(crate) enum Shaking<S> {
    Done(native_tls::TlsStream<S>),
    Waits(MidHandshakeTlsStream<S>),
}

impl SystemTls {
    pub(super) fn build(settings: &TlsBuilder) -> Result<Self, BuildError> {
        check(settings)?;
        let mut builder = native_tls::TlsConnector::builder();
        let oldest = if settings.is_tls13_only { Protocol::Tlsv13 } else { Protocol::Tlsv12 };
        builder.min_protocol_version(Some(oldest));
        for pem in &settings.roots {
            for certificate in pem.certificates(ROOTS)? {
                let certificate = Certificate::from_der(&certificate);
                builder.add_root_certificate(certificate.map_err(|why| refused(ROOTS, &why))?);
            }
        }
        builder.disable_built_in_roots(!settings.roots.is_empty() && !settings.with_system_roots);
        builder.danger_accept_invalid_certs(settings.accepts_any);
        builder.danger_accept_invalid_hostnames(settings.accepts_any);
        let protocols: Result<Vec<_>, _> =
            settings.alpn.iter().map(|protocol| std::str::from_utf8(protocol)).collect();
        builder.request_alpns(&protocols.map_err(|_| BuildError::Value {
            setting: "alpn",
            problem: "has a protocol that is not UTF-8, which native_tls needs".to_owned(),
        })?);
        let build = |builder: &native_tls::TlsConnectorBuilder| {
            builder.build().map_err(|why| refused("what native_tls is to do", &why))
        };
        let without_certificate = build(&builder)?;
        let connector = match &settings.identity {
            Some(_) => build(builder.identity(identity(settings)?))?,
            None => without_certificate.clone(),
        };
        Ok(Self { connector, without_certificate })
    }

    pub(super) fn without_client_certificate(self) -> Self {
        Self { connector: self.without_certificate.clone(), ..self }
    }

    /// Begins a handshake.
    pub(crate) fn connect<S: Read + Write>(
        &self,
        name: &ServerName<'_>,
        stream: S,
    ) -> Result<Shaking<S>, native_tls::Error> {
        Shaking::of(self.connector.connect(&name.to_str(), stream))
    }
}

impl<S: Read + Write> Shaking<S> {
    fn of(
        result: Result<native_tls::TlsStream<S>, HandshakeError<S>>,
    ) -> Result<Self, native_tls::Error> {
        match result {
            Ok(stream) => Ok(Self::Done(stream)),
            Err(HandshakeError::WouldBlock(waits)) => Ok(Self::Waits(waits)),
            Err(HandshakeError::Failure(error)) => Err(error),
        }
    }

    /// Goes on with a handshake.
    pub(crate) fn resume(waits: MidHandshakeTlsStream<S>) -> Result<Self, native_tls::Error> {
        Self::of(waits.handshake())
    }
}

/// Why a handshake has failed: the connection, or what the library says.
pub(crate) fn failed(error: &native_tls::Error, server: &str, stage: Stage) -> TransportError {
    let mut cause = Some(error as &(dyn StdError + 'static));
    while let Some(error) = cause {
        if let Some(source) = error.downcast_ref::<io::Error>() {
            let source = io::Error::new(source.kind(), source.to_string());
            return match TlsError::from_handshake(&source, server) {
                Some(error) => error.into(),
                None => TransportError::Broken { stage, source },
            };
        }
        cause = error.source();
    }
    TlsError::Failed { server: server.to_owned(), reason: error.to_string() }.into()
}

/// Refuses what only rustls can do.
fn check(settings: &TlsBuilder) -> Result<(), BuildError> {
    let first = match settings.is_native {
        true => "native_tls",
        false => "native_tls, the one kind of TLS that this program was compiled with,",
    };
    for (is_set, second) in [
        (settings.verifier.is_some(), "verifier"),
        (!settings.pins.is_empty(), "pin"),
        (settings.provider.is_some(), "crypto_provider"),
    ] {
        if is_set {
            let (first, second) = (first.to_owned(), second.to_owned());
            let advice = "it is rustls that can do that, so leave one out";
            return Err(BuildError::Conflict { first, second, advice });
        }
    }
    Ok(())
}

fn identity(settings: &TlsBuilder) -> Result<Identity, BuildError> {
    let loaded = settings.identity.as_ref().map(super::pem::Identity::load).transpose()?;
    let Some((certificates, PrivateKeyDer::Pkcs8(key))) = loaded else {
        let reason = "native_tls only takes keys in PKCS#8: convert it, for example with `openssl \
                      pkcs8 -topk8 -nocrypt -in KEY -out NEW`";
        return Err(BuildError::Tls { setting: CERTIFICATE, reason: reason.to_owned() });
    };
    let chain: String = certificates.iter().map(|der| pem("CERTIFICATE", der)).collect();
    let key = pem("PRIVATE KEY", key.secret_pkcs8_der());
    Identity::from_pkcs8(chain.as_bytes(), key.as_bytes()).map_err(|why| refused(CERTIFICATE, &why))
}

/// The form in which the library wants what may have come in another one.
fn pem(label: &str, der: &[u8]) -> String {
    // Every line but the last holds 64 characters.
    let lines: Vec<String> = der.chunks(48).map(|line| BASE64.encode(line)).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
