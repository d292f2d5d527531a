//! Where a broker listens: as it is written, and as it is.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// What an address of a Unix socket starts with.
const UNIX_PREFIX: &str = "unix:";

/// What the operating system's address of a Unix socket has room for, without the zero behind it.
const UNIX_PATH_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// An address on which a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LocalAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl LocalAddress {
    /// Understands `HOST:PORT` and `unix:PATH`; a host name may stand for several addresses.
    pub(crate) fn resolve(text: &str) -> io::Result<Vec<Self>> {
        if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
            if path.is_empty() {
                return Err(invalid("the path after unix: is missing"));
            }
            if path.len() > UNIX_PATH_BYTES_MAX {
                let length = path.len();
                return Err(invalid(&format!(
                    "the path has {length} bytes, at most {UNIX_PATH_BYTES_MAX} are possible"
                )));
            }
            return Ok(vec![Self::Unix(path.into())]);
        }
        if !text.contains(':') {
            return Err(invalid("expected ADDRESS:PORT or unix:PATH"));
        }
        let addresses: Vec<_> = text.to_socket_addrs()?.map(Self::Tcp).collect();
        if addresses.is_empty() {
            return Err(invalid("the host has no address"));
        }
        Ok(addresses)
    }

    /// Whether only programs on this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The TCP address, if it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        fn check(text: &str, expected: Option<&str>) {
            let resolved = LocalAddress::resolve(text).ok();
            let shown = resolved.and_then(|list| list.first().map(ToString::to_string));
            assert_eq!(shown.as_deref(), expected, "{text}");
        }
        check("127.0.0.1:1883", Some("127.0.0.1:1883"));
        check("[::1]:0", Some("[::1]:0"));
        check("unix:/run/noctule.sock", Some("unix:/run/noctule.sock"));
        check("unix:", None);
        check(&format!("unix:{}", "x".repeat(200)), None);
        check("1883", None);
        check("127.0.0.1", None);
        check("127.0.0.1:70000", None);
    }

    #[test]
    fn only_this_machine_is_local() {
        fn check(text: &str, expected: bool) {
            let resolved = LocalAddress::resolve(text).unwrap();
            assert!(resolved.iter().all(|address| address.is_local() == expected), "{text}");
        }
        check("127.0.0.1:1", true);
        check("127.8.8.8:1", true);
        check("[::1]:1", true);
        check("[::ffff:127.0.0.1]:1", true);
        check("unix:/x", true);
        check("0.0.0.0:1", false);
        check("[::]:1", false);
        check("192.0.2.1:1", false);
    }
}
