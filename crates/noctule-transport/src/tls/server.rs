//! TLS for servers, from the same parts.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::client::refused;
use super::pem::{Identity, Pem};
use super::{provider, roots};
use crate::build_error::BuildError;

/// Settings of TLS towards clients.
#[derive(Clone)]
pub struct TlsServerBuilder {
    identity: Identity,
    client_roots: Vec<Pem>,
    are_clients_optional: bool,
    alpn: Vec<Vec<u8>>,
    is_tls13_only: bool,
    provider: Option<Arc<CryptoProvider>>,
}

impl TlsServerBuilder {
    fn with_identity(identity: Identity) -> Self {
        Self {
            identity,
            client_roots: Vec::new(),
            are_clients_optional: false,
            alpn: Vec::new(),
            is_tls13_only: false,
            provider: None,
        }
    }

    /// Demands of every client a certificate that one of these authorities, in PEM, has signed.
    #[must_use]
    pub fn client_roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.client_roots.push(Pem::Memory(pem.into()));
        self
    }

    /// The same with a PEM file.
    #[must_use]
    pub fn client_roots_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.client_roots.push(Pem::File(path.into()));
        self
    }

    /// Also lets clients in that show no certificate.
    #[must_use]
    pub fn client_certificates_optional(mut self) -> Self {
        self.are_clients_optional = true;
        self
    }

    /// The application protocols to choose from (ALPN), the best first.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Refuses TLS 1.2.
    #[must_use]
    pub fn tls13_only(mut self) -> Self {
        self.is_tls13_only = true;
        self
    }

    /// The cryptography, instead of that of the feature `aws-lc-rs` or `ring`.
    #[must_use]
    pub fn crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Reads the files and makes what all connections share.
    ///
    /// # Errors
    /// When two settings exclude each other, or a file, a certificate or a key cannot be used.
    pub fn build(&self) -> Result<TlsServer, BuildError> {
        if self.are_clients_optional && self.client_roots.is_empty() {
            return Err(BuildError::Value {
                setting: "client_certificates_optional",
                problem: "is set without client roots: say whose certificates count".to_owned(),
            });
        }
        let provider = provider::choose(self.provider.as_ref())?;
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(provider::versions(self.is_tls13_only))
            .map_err(|error| refused("the crypto_provider", &error))?;
        let config = if self.client_roots.is_empty() {
            config.with_no_client_auth()
        } else {
            let store = Arc::new(roots::load(&self.client_roots, false)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(store, provider);
            let verifier =
                if self.are_clients_optional { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| refused("the client roots", &error))?;
            config.with_client_cert_verifier(verifier)
        };
        let (certificates, key) = self.identity.load()?;
        let mut config = config
            .with_single_cert(certificates, key)
            .map_err(|error| refused("the certificate with its key", &error))?;
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(TlsServer { config: Arc::new(config) })
    }
}

impl fmt::Debug for TlsServerBuilder {
    /// Says what is set, and shows no key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alpn: Vec<_> = self.alpn.iter().map(|name| name.escape_ascii().to_string()).collect();
        formatter
            .debug_struct("TlsServerBuilder")
            .field("client_roots", &self.client_roots.len())
            .field("are_clients_optional", &self.are_clients_optional)
            .field("alpn", &alpn)
            .field("is_tls13_only", &self.is_tls13_only)
            .finish_non_exhaustive()
    }
}

/// TLS towards clients, ready for any number of connections.
#[derive(Clone)]
pub struct TlsServer {
    config: Arc<ServerConfig>,
}

impl TlsServer {
    /// A server with its certificates and key in PEM.
    pub fn pem(certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> TlsServerBuilder {
        let (certificates, key) = (Pem::Memory(certificates.into()), Pem::Memory(key.into()));
        TlsServerBuilder::with_identity(Identity::Pem { certificates, key })
    }

    /// A server with the PEM files of its certificates and key.
    pub fn files(certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> TlsServerBuilder {
        let (certificates, key) = (Pem::File(certificates.into()), Pem::File(key.into()));
        TlsServerBuilder::with_identity(Identity::Pem { certificates, key })
    }

    /// A server with its certificates and key in DER.
    #[must_use]
    pub fn der(
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> TlsServerBuilder {
        TlsServerBuilder::with_identity(Identity::Der { certificates, key })
    }

    /// TLS with everything as the program has set it in rustls itself.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { config }
    }

    /// What rustls needs for a connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsServer").finish_non_exhaustive()
    }
}
