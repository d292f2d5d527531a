//! TLS for clients: one builder for every transport and for proxies.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};

use super::insecure::AcceptAny;
use super::pem::{Identity, Pem};
use super::pin::{Pin, PinVerifier};
use super::signature::Signatures;
use super::{provider, roots};
use crate::build_error::BuildError;

/// Settings of TLS towards a server. The default trusts the system's roots.
#[derive(Clone, Default)]
pub struct TlsBuilder {
    pub(super) roots: Vec<Pem>,
    pub(super) with_system_roots: bool,
    pub(super) identity: Option<Identity>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) server_name: Option<String>,
    pub(super) pins: Vec<Pin>,
    pub(super) pins_replace_roots: bool,
    pub(super) verifier: Option<Arc<dyn ServerCertVerifier>>,
    pub(super) accepts_any: bool,
    pub(super) is_tls13_only: bool,
    pub(super) provider: Option<Arc<CryptoProvider>>,
    #[cfg(feature = "native-tls")]
    pub(super) is_native: bool,
}

impl TlsBuilder {
    /// Trusts these authorities, in PEM, instead of the system's.
    #[must_use]
    pub fn roots_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(Pem::Memory(pem.into()));
        self
    }

    /// Trusts the authorities of this PEM file instead of the system's.
    #[must_use]
    pub fn roots_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.roots.push(Pem::File(path.into()));
        self
    }

    /// Trusts the system's authorities beside the given ones.
    #[must_use]
    pub fn with_system_roots(mut self) -> Self {
        self.with_system_roots = true;
        self
    }

    /// Shows a certificate to the server: the chain and its key, in PEM.
    #[must_use]
    pub fn client_certificate_pem(
        mut self,
        certificates: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        let (certificates, key) = (Pem::Memory(certificates.into()), Pem::Memory(key.into()));
        self.identity = Some(Identity::Pem { certificates, key });
        self
    }

    /// Shows a certificate to the server: the PEM files of the chain and its key.
    #[must_use]
    pub fn client_certificate_files(
        mut self,
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        let (certificates, key) = (Pem::File(certificates.into()), Pem::File(key.into()));
        self.identity = Some(Identity::Pem { certificates, key });
        self
    }

    /// Shows a certificate to the server: the chain and its key, in DER.
    #[must_use]
    pub fn client_certificate_der(
        mut self,
        certificates: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        self.identity = Some(Identity::Der { certificates, key });
        self
    }

    /// The application protocols to offer (ALPN), the best first, for example `mqtt`.
    #[must_use]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The name that the server's certificate is checked for, instead of the URL's host. The
    /// server is told this name, too.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Demands in addition to trusted roots that the server shows this certificate or key. Of
    /// several pins, one has to fit.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pins.push(pin);
        self
    }

    /// Lets the pins alone decide, for servers whose certificates nobody has signed. Neither
    /// names nor dates are checked then.
    #[must_use]
    pub fn pins_replace_roots(mut self) -> Self {
        self.pins_replace_roots = true;
        self
    }

    /// Lets the program's own verifier decide.
    #[must_use]
    pub fn verifier(mut self, verifier: Arc<dyn ServerCertVerifier>) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Accepts every certificate, so that anybody on the way can read and change everything. For
    /// tests only.
    #[must_use]
    pub fn dangerously_accept_any_certificate(mut self) -> Self {
        self.accepts_any = true;
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

    /// Leaves TLS to the system's library (OpenSSL, Secure Transport, SChannel) instead of rustls,
    /// with the system's own roots, ciphers and rules. It has no [`pin`](Self::pin), no
    /// [`verifier`](Self::verifier), no [`crypto_provider`](Self::crypto_provider), takes
    /// keys in PKCS#8 only, and does not tell version and cipher of a connection. A program that
    /// has no cryptography of its own (neither the feature `aws-lc-rs` nor `ring`) has it without
    /// asking.
    #[cfg(feature = "native-tls")]
    #[must_use]
    pub fn native_tls(mut self) -> Self {
        self.is_native = true;
        self
    }

    /// Reads the files and makes what all connections share.
    ///
    /// # Errors
    /// When two settings exclude each other, or a file, a certificate or a key cannot be used.
    pub fn build(&self) -> Result<TlsClient, BuildError> {
        self.check()?;
        let server_name = self.server_name.as_deref().map(parse_server_name).transpose()?;
        #[cfg(feature = "native-tls")]
        if self.is_native || provider::choose(self.provider.as_ref()).is_err() {
            let engine = Engine::System(super::system::SystemTls::build(self)?);
            return Ok(TlsClient { engine, server_name });
        }
        let provider = provider::choose(self.provider.as_ref())?;
        let verifier = self.server_verifier(&provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(provider::versions(self.is_tls13_only))
            .map_err(|error| refused("the crypto_provider", &error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(identity) => {
                let (certificates, key) = identity.load()?;
                config
                    .with_client_auth_cert(certificates, key)
                    .map_err(|error| refused("the client certificate with its key", &error))?
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(TlsClient { engine: Engine::Rustls(Arc::new(config)), server_name })
    }

    fn check(&self) -> Result<(), BuildError> {
        let roots = (!self.roots.is_empty() || self.with_system_roots, "trusted roots");
        let pins = (!self.pins.is_empty(), "pin");
        let pins_alone = (self.pins_replace_roots, "pins_replace_roots");
        let verifier = (self.verifier.is_some(), "verifier");
        let any = (self.accepts_any, "dangerously_accept_any_certificate");
        let advice = "only one of them can decide about a certificate, so leave one out";
        for (first, second) in [
            (any, verifier),
            (any, pins),
            (any, roots),
            (verifier, pins),
            (verifier, roots),
            (pins_alone, roots),
        ] {
            if first.0 && second.0 {
                let (first, second) = (first.1.to_owned(), second.1.to_owned());
                return Err(BuildError::Conflict { first, second, advice });
            }
        }
        let value = |setting, problem: &str| {
            Err(BuildError::Value { setting, problem: problem.to_owned() })
        };
        if self.pins_replace_roots && self.pins.is_empty() {
            return value("pins_replace_roots", "is set without a pin: give one with pin()");
        }
        if self.alpn.iter().any(|protocol| protocol.is_empty() || protocol.len() > 255) {
            return value("alpn", "has a protocol that is not 1 to 255 bytes long");
        }
        Ok(())
    }

    fn server_verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, BuildError> {
        if let Some(verifier) = &self.verifier {
            return Ok(Arc::clone(verifier));
        }
        if self.accepts_any {
            return Ok(Arc::new(AcceptAny(Signatures::of(provider))));
        }
        let by_roots = if self.pins_replace_roots { None } else { Some(self.by_roots(provider)?) };
        match by_roots {
            Some(verifier) if self.pins.is_empty() => Ok(verifier),
            below => Ok(Arc::new(PinVerifier::new(self.pins.clone(), below, provider)?)),
        }
    }

    fn by_roots(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, BuildError> {
        let with_system = self.with_system_roots || self.roots.is_empty();
        let store = roots::load(&self.roots, with_system)?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
                .build()
                .map_err(|error| refused("the trusted roots", &error))?;
        Ok(verifier)
    }
}

impl fmt::Debug for TlsBuilder {
    /// Says what is set, and shows no key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alpn: Vec<_> = self.alpn.iter().map(|name| name.escape_ascii().to_string()).collect();
        formatter
            .debug_struct("TlsBuilder")
            .field("roots", &self.roots.len())
            .field("with_system_roots", &self.with_system_roots)
            .field("has_client_certificate", &self.identity.is_some())
            .field("alpn", &alpn)
            .field("server_name", &self.server_name)
            .field("pins", &self.pins)
            .field("pins_replace_roots", &self.pins_replace_roots)
            .field("has_verifier", &self.verifier.is_some())
            .field("accepts_any", &self.accepts_any)
            .field("is_tls13_only", &self.is_tls13_only)
            .finish_non_exhaustive()
    }
}

/// TLS towards a server, ready for any number of connections.
#[derive(Clone)]
pub struct TlsClient {
    engine: Engine,
    server_name: Option<ServerName<'static>>,
}

/// Who does it, with what it needs.
#[derive(Clone)]
pub(crate) enum Engine {
    Rustls(Arc<ClientConfig>),
    #[cfg(feature = "native-tls")]
    System(super::system::SystemTls),
}

impl TlsClient {
    /// Settings to choose from.
    #[must_use]
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// TLS with everything as the program has set it in rustls itself.
    #[must_use]
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self { engine: Engine::Rustls(config), server_name: None }
    }

    /// The same, but a server that asks for a certificate gets none.
    #[must_use]
    pub fn without_client_certificate(self) -> Self {
        let engine = match self.engine {
            Engine::Rustls(config) => {
                let mut config = Arc::unwrap_or_clone(config);
                config.client_auth_cert_resolver = Arc::new(NoCertificate);
                // Nor may it be known from an earlier connection.
                config.resumption = Resumption::disabled();
                Engine::Rustls(Arc::new(config))
            }
            #[cfg(feature = "native-tls")]
            Engine::System(system) => Engine::System(system.without_client_certificate()),
        };
        Self { engine, ..self }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The name to check for: the one that was set, or the host's.
    pub(crate) fn server_name(&self, host: &str) -> Result<ServerName<'static>, BuildError> {
        self.server_name.clone().map_or_else(|| parse_server_name(host), Ok)
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TlsClient")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Has no certificate for anybody.
#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn parse_server_name(name: &str) -> Result<ServerName<'static>, BuildError> {
    // The zone of an IPv6 address is of this machine; no certificate knows it.
    let without_zone = name.split('%').next().unwrap_or(name);
    ServerName::try_from(without_zone.to_owned()).map_err(|_| BuildError::Value {
        setting: "server_name",
        problem: format!("{name:?} is neither a DNS name nor an IP address"),
    })
}

pub(crate) fn refused(setting: &'static str, error: &dyn fmt::Display) -> BuildError {
    BuildError::Tls { setting, reason: error.to_string() }
}
