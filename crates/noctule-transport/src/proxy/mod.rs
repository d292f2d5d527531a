//! Proxies that a connection can go through: HTTP CONNECT and SOCKS5.

mod error;
mod http_connect;
mod socks;

use std::fmt;
use std::str::FromStr;

pub use error::ProxyError;

pub(crate) use http_connect::HttpConnect;
pub(crate) use socks::{Socks, SocksTarget};

use crate::build_error::BuildError;
use crate::url::authority;
use crate::url_error::UrlError;
use crate::url_parse::Authority;

/// The longest name or password that SOCKS5 can carry (RFC 1929).
const SOCKS_TEXT_BYTES_MAX: usize = 255;

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// `http`: CONNECT over TCP, port 80.
    Http,
    /// `https`: CONNECT over TLS, port 443.
    Https,
    /// `socks5`: SOCKS5 with addresses that this side has resolved, port 1080.
    Socks5,
    /// `socks5h`: SOCKS5 with host names that the proxy resolves, port 1080.
    Socks5h,
}

/// A proxy, for example `http://user:password@proxy.example:3128`.
///
/// Neither [`Display`](fmt::Display) nor [`Debug`] shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: ProxyKind,
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<Vec<u8>>,
}

impl Proxy {
    /// How it is spoken to.
    #[must_use]
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Its host, IPv6 addresses without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same proxy with these credentials.
    #[must_use]
    pub fn with_credentials(self, user: impl Into<String>, password: impl Into<Vec<u8>>) -> Self {
        Self { user: Some(user.into()), password: Some(password.into()), ..self }
    }

    pub(crate) fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.kind == ProxyKind::Https
    }

    /// User and password, if there are any; one of them may be empty.
    pub(crate) fn credentials(&self) -> Option<(&str, &[u8])> {
        if self.user.is_none() && self.password.is_none() {
            return None;
        }
        let password = self.password.as_deref().unwrap_or_default();
        Some((self.user.as_deref().unwrap_or_default(), password))
    }

    /// Refuses what the proxy's protocol cannot carry.
    pub(crate) fn check(&self, target_host: &str) -> Result<(), BuildError> {
        let value = |problem: &str| {
            Err(BuildError::Value { setting: "proxy", problem: problem.to_owned() })
        };
        let Some((user, password)) = self.credentials() else { return Ok(()) };
        match self.kind {
            ProxyKind::Http | ProxyKind::Https if user.contains(':') => {
                value("has a colon in its user name, which basic authentication cannot carry")
            }
            ProxyKind::Socks5 | ProxyKind::Socks5h
                if user.is_empty()
                    || user.len() > SOCKS_TEXT_BYTES_MAX
                    || password.is_empty()
                    || password.len() > SOCKS_TEXT_BYTES_MAX =>
            {
                value("needs a user name and a password of 1 to 255 bytes each for SOCKS5")
            }
            ProxyKind::Socks5h if target_host.len() > SOCKS_TEXT_BYTES_MAX => {
                value("speaks SOCKS5, which cannot carry a host name of more than 255 bytes")
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for Proxy {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(UrlError::ProxyNoScheme)?;
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" => (ProxyKind::Socks5, 1080),
            "socks5h" => (ProxyKind::Socks5h, 1080),
            _ => return Err(UrlError::ProxyScheme { scheme: scheme.to_owned() }),
        };
        if rest.chars().any(|character| character.is_control() || character == ' ') {
            return Err(UrlError::Space);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(UrlError::ProxyPath);
        }
        let Authority { user, password, host, port } = Authority::parse(rest)?;
        let (host, port) = (host.to_owned(), port.unwrap_or(default_port));
        Ok(Self { kind, host, port, user, password })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.kind {
            ProxyKind::Http => "http://",
            ProxyKind::Https => "https://",
            ProxyKind::Socks5 => "socks5://",
            ProxyKind::Socks5h => "socks5h://",
        })?;
        if let Some((user, _)) = self.credentials() {
            write!(formatter, "{}:***@", crate::percent::encode(user.as_bytes(), b""))?;
        }
        formatter.write_str(&self.authority())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_from_its_url() {
        for (text, kind, authority, shown) in [
            ("http://p", ProxyKind::Http, "p:80", "http://p:80"),
            ("https://p/", ProxyKind::Https, "p:443", "https://p:443"),
            ("socks5://me:x@[::1]", ProxyKind::Socks5, "[::1]:1080", "socks5://me:***@[::1]:1080"),
            ("SOCKS5H://p:9", ProxyKind::Socks5h, "p:9", "socks5h://p:9"),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!((proxy.kind(), proxy.authority().as_str()), (kind, authority));
            assert_eq!(
                (proxy.to_string(), format!("{proxy:?}")),
                (shown.to_owned(), format!("Proxy({shown})"))
            );
        }
        let proxy: Proxy = "http://p".parse().unwrap();
        assert_eq!(proxy.credentials(), None);
        let proxy = proxy.with_credentials("a@b", "c");
        assert_eq!(proxy.credentials(), Some(("a@b", &b"c"[..])));
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for (text, error) in [
            ("proxy:8080", UrlError::ProxyNoScheme),
            ("socks4://p", UrlError::ProxyScheme { scheme: "socks4".into() }),
            ("http://p/path", UrlError::ProxyPath),
            ("http://", UrlError::NoHost),
            ("http://p:x", UrlError::Port),
            ("http://p q", UrlError::Space),
        ] {
            assert_eq!(text.parse::<Proxy>(), Err(error), "{text}");
        }
    }

    #[test]
    fn what_the_protocol_cannot_carry_is_refused_before_connecting() {
        let long = "x".repeat(256);
        for (text, user, password, is_good) in [
            ("http://p", "a", "", true),
            ("http://p", "a:b", "c", false),
            ("socks5://p", "a", "b", true),
            ("socks5://p", "a", "", false),
            ("socks5h://p", &long, "b", false),
        ] {
            let proxy: Proxy = text.parse().unwrap();
            assert_eq!(proxy.with_credentials(user, password).check("h").is_ok(), is_good);
        }
        let proxy: Proxy = "socks5h://a:b@p".parse().unwrap();
        assert!(proxy.check(&long).is_err());
    }
}
