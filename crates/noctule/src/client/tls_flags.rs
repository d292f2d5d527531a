//! The flags about TLS.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use noctule_client::transport::TlsClient;

use super::failure::Failure;

/// The flags about TLS. Any of them asks for it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS (any of these flags asks for it, and so does port 8883)")]
pub(crate) struct TlsFlags {
    /// The authorities that are trusted, as a PEM file
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// The authorities that are trusted, as a directory of PEM files
    #[arg(long, value_name = "DIRECTORY")]
    capath: Option<PathBuf>,
    /// Trust the authorities that the system trusts; so it is without --cafile and --capath
    #[arg(long)]
    tls_use_os_certs: bool,
    /// The certificate of this client, as a PEM file
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of this client's certificate, as a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Trust any server, whatever its certificate. Whoever is in between reads everything
    #[arg(long)]
    insecure: bool,
    /// The application protocol to ask for
    #[arg(long, value_name = "PROTOCOL")]
    tls_alpn: Option<String>,
    /// The oldest version of TLS to accept: tlsv1.2 or tlsv1.3
    #[arg(long, value_name = "VERSION", value_parser = ["tlsv1.2", "tlsv1.3"])]
    tls_version: Option<String>,
    // Understood to say what to do in its place.
    #[arg(long, value_name = "KEY", hide = true)]
    psk: Option<String>,
    #[arg(long, value_name = "IDENTITY", hide = true)]
    psk_identity: Option<String>,
}

impl TlsFlags {
    /// Whether TLS was asked for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.cafile.is_some()
            || self.capath.is_some()
            || self.cert.is_some()
            || self.insecure
            || self.tls_use_os_certs
            || self.tls_alpn.is_some()
            || self.tls_version.is_some()
            || self.wants_psk()
    }

    const fn wants_psk(&self) -> bool {
        self.psk.is_some() || self.psk_identity.is_some()
    }

    /// What they say.
    pub(crate) fn client(&self) -> Result<TlsClient, Failure> {
        if self.wants_psk() {
            let problem = "--psk and --psk-identity: the TLS library has no pre-shared keys; use \
                           certificates, --cafile for the server's and --cert with --key for this \
                           client's";
            return Err(Failure::usage(problem));
        }
        let mut tls = TlsClient::builder();
        if self.insecure {
            // Whoever trusts everybody needs no authorities, but may have named them.
            tls = tls.dangerously_accept_any_certificate();
        } else {
            if let Some(file) = &self.cafile {
                tls = tls.roots_file(file);
            }
            if let Some(directory) = &self.capath {
                for file in certificate_files(directory)? {
                    tls = tls.roots_file(file);
                }
            }
            if self.tls_use_os_certs {
                tls = tls.with_system_roots();
            }
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            tls = tls.client_certificate_files(certificate, key);
        }
        if let Some(protocol) = &self.tls_alpn {
            tls = tls.alpn([protocol.as_str()]);
        }
        if self.tls_version.as_deref() == Some("tlsv1.3") {
            tls = tls.tls13_only();
        }
        tls.build().map_err(|error| Failure::usage(error.to_string()))
    }
}

/// The files of a directory that hold certificates. The same one is often there under its name and
/// under its hash.
fn certificate_files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |error| Failure::usage(format!("--capath {}: {error}", directory.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let is_certificate = fs::read(&path)
            .is_ok_and(|content| content.windows(17).any(|part| part == b"BEGIN CERTIFICATE"));
        let real = fs::canonicalize(&path).unwrap_or(path);
        if is_certificate && !files.contains(&real) {
            files.push(real);
        }
    }
    if files.is_empty() {
        let message = format!("--capath {} holds no PEM certificates", directory.display());
        return Err(Failure::usage(message));
    }
    Ok(files)
}
