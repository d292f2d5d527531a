//! What can be wrong with a combination of settings, found before anything is connected.

use thiserror::Error;

use crate::url_error::UrlError;

/// Why settings cannot be built. If two of them exclude each other, both are named.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL is wrong.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Two settings exclude each other.
    #[error("{first} and {second} exclude each other: {advice}")]
    Conflict {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// What to do.
        advice: &'static str,
    },
    /// The system has no such option for sockets.
    #[error("the socket option {option} does not exist on this system: leave it out")]
    SocketOption {
        /// The option's name.
        option: &'static str,
    },
    /// A setting has a value that it cannot have.
    #[error("{setting} {problem}")]
    Value {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with the value, and what would be right.
        problem: String,
    },
    /// Something that the settings need was left out when this program was compiled.
    #[error(
        "{needed} needs the feature {feature:?} of noctule-transport, which this program was \
         compiled without"
    )]
    Feature {
        /// What needs it.
        needed: String,
        /// The feature's name.
        feature: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read {path:?} for {setting}: {source}")]
    File {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// TLS refuses the certificates, the key or the versions.
    #[error("TLS refuses {setting}: {reason}")]
    Tls {
        /// The setting at fault.
        setting: &'static str,
        /// Why.
        reason: String,
    },
}
