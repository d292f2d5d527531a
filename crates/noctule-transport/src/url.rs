//! Where a server is: `mqtts://user:password@host:8883` and its relatives, read and shown.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::percent;
use crate::url_error::UrlError;
use crate::url_parse::check_host;

/// The path of a WebSocket URL that has none; most servers listen there.
const WEBSOCKET_PATH: &str = "/mqtt";

/// What a scheme ends in if SRV records say where the servers are.
pub(crate) const SRV_SUFFIX: &str = "+srv";

/// How the bytes travel, as the first part of a URL names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `mqtt` or `tcp`, or no scheme at all: TCP, port 1883.
    Mqtt,
    /// `mqtts`, `ssl`, `tls` or `tcps`: TLS over TCP, port 8883.
    Mqtts,
    /// `ws`: WebSocket over TCP, port 80.
    Ws,
    /// `wss`: WebSocket over TLS, port 443.
    Wss,
    /// `unix`: a Unix socket.
    Unix,
}

impl Scheme {
    /// The scheme's name; of several, the first in this documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Unix => "unix",
        }
    }

    /// The port when a URL names none; a Unix socket has none.
    #[must_use]
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Mqtt => Some(1883),
            Self::Mqtts => Some(8883),
            Self::Ws => Some(80),
            Self::Wss => Some(443),
            Self::Unix => None,
        }
    }

    /// Whether TLS protects the bytes.
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Whether the bytes travel in WebSocket frames.
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    pub(crate) fn parse(name: &str) -> Result<Self, UrlError> {
        match name.to_ascii_lowercase().as_str() {
            "mqtt" | "tcp" => Ok(Self::Mqtt),
            "mqtts" | "ssl" | "tls" | "tcps" => Ok(Self::Mqtts),
            "ws" => Ok(Self::Ws),
            "wss" => Ok(Self::Wss),
            "unix" => Ok(Self::Unix),
            _ => Err(UrlError::Scheme { scheme: name.to_owned() }),
        }
    }
}

/// The address of a server, with the credentials that it may carry.
///
/// `mqtt+srv://domain` and `mqtts+srv://domain` (feature `srv`) have no port: at each attempt the
/// SRV records of `_mqtt._tcp.domain` or `_secure-mqtt._tcp.domain` are looked up, and name hosts
/// and ports, which are tried by priority and weight (RFC 2782). Without records the domain itself
/// is the host, at the scheme's own port. TLS demands a certificate for the domain that was
/// written, and not for the host that a record names (RFC 6125): whoever can forge the record
/// could otherwise name a host of his own, with a certificate that is good.
///
/// Neither [`Display`](fmt::Display) nor [`Debug`] shows the password, or the query of a WebSocket
/// URL, which often holds a signature. A client identifier is never part of it.
///
/// ```
/// # use noctule_transport::{Scheme, Url};
/// let url: Url = "mqtts://plant:s%40cret@broker.example".parse()?;
/// assert_eq!(url.scheme(), Scheme::Mqtts);
/// assert_eq!((url.host(), url.port()), (Some("broker.example"), Some(8883)));
/// assert_eq!(url.password(), Some(&b"s@cret"[..]));
/// assert_eq!(url.to_string(), "mqtts://plant:***@broker.example:8883");
/// # Ok::<(), noctule_transport::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    user: Option<String>,
    password: Option<Vec<u8>>,
    place: Place,
}

#[derive(Clone, PartialEq, Eq)]
enum Place {
    /// Without a port, SRV records say where the host's servers are. `path` is as it was written:
    /// empty, or `/` and all that follows.
    Network {
        host: String,
        port: Option<u16>,
        path: String,
    },
    File(PathBuf),
}

impl Url {
    /// A URL from its parts. An IPv6 address is written without brackets.
    ///
    /// # Errors
    /// When the host is no host, the port is 0, or the scheme is [`Scheme::Unix`].
    pub fn new(scheme: Scheme, host: &str, port: Option<u16>) -> Result<Self, UrlError> {
        check_host(host)?;
        let port = port.or(scheme.default_port()).ok_or(UrlError::UnixHost)?;
        if scheme == Scheme::Unix {
            return Err(UrlError::UnixHost);
        }
        if port == 0 {
            return Err(UrlError::Port);
        }
        Ok(Self::network(scheme, host, Some(port)))
    }

    /// The URL of a domain whose SRV records say where its servers are: `mqtt+srv://domain` or
    /// `mqtts+srv://domain`.
    ///
    /// # Errors
    /// When the domain is no name, or the scheme is neither [`Scheme::Mqtt`] nor
    /// [`Scheme::Mqtts`].
    pub fn srv(scheme: Scheme, domain: &str) -> Result<Self, UrlError> {
        check_host(domain)?;
        if !matches!(scheme, Scheme::Mqtt | Scheme::Mqtts) {
            return Err(UrlError::SrvScheme { scheme: scheme.name() });
        }
        if domain.contains([':', '%']) || domain.parse::<Ipv4Addr>().is_ok() {
            return Err(UrlError::SrvAddress);
        }
        Ok(Self::network(scheme, domain, None))
    }

    fn network(scheme: Scheme, host: &str, port: Option<u16>) -> Self {
        let place = Place::Network { host: host.to_owned(), port, path: String::new() };
        Self { scheme, user: None, password: None, place }
    }

    /// The same host with something behind its port.
    pub(crate) fn with_path(mut self, written: &str) -> Self {
        if let Place::Network { path, .. } = &mut self.place {
            written.clone_into(path);
        }
        self
    }

    /// The URL of a Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let place = Place::File(path.into());
        Self { scheme: Scheme::Unix, user: None, password: None, place }
    }

    /// The same place with other credentials, or with none.
    #[must_use]
    pub fn with_credentials(self, user: Option<&str>, password: Option<&[u8]>) -> Self {
        let (user, password) = (user.map(str::to_owned), password.map(<[u8]>::to_vec));
        Self { user, password, ..self }
    }

    /// The same server without what is behind its port.
    #[must_use]
    pub fn without_path(self) -> Self {
        self.with_path("")
    }

    /// How the bytes travel.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host's name or address, IPv6 without brackets; a Unix socket has none.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match &self.place {
            Place::Network { host, .. } => Some(host),
            Place::File(_) => None,
        }
    }

    /// The port; a Unix socket has none, and neither has a domain with SRV records.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.place {
            Place::Network { port, .. } => *port,
            Place::File(_) => None,
        }
    }

    /// Whether SRV records say where the host's servers are (`mqtt+srv`, `mqtts+srv`).
    #[must_use]
    pub fn is_srv(&self) -> bool {
        matches!(&self.place, Place::Network { port: None, .. })
    }

    /// The part in front of `://`.
    pub(crate) fn scheme_text(&self) -> String {
        let suffix = if self.is_srv() { SRV_SUFFIX } else { "" };
        format!("{}{suffix}", self.scheme.name())
    }

    /// The user name, decoded.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, decoded. In MQTT it need not be text.
    #[must_use]
    pub fn password(&self) -> Option<&[u8]> {
        self.password.as_deref()
    }

    /// What is behind the port, as it was written: empty, or `/` and all that follows. Only
    /// WebSocket has a use for it; some tools write a topic there.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.place {
            Place::Network { path, .. } => path,
            Place::File(_) => "",
        }
    }

    /// What a WebSocket handshake asks the server for: path and query.
    #[must_use]
    pub fn request_target(&self) -> String {
        match self.path() {
            "" => WEBSOCKET_PATH.to_owned(),
            path if path.starts_with('?') => format!("{WEBSOCKET_PATH}{path}"),
            path => path.to_owned(),
        }
    }

    /// The file of a Unix socket.
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Network { .. } => None,
            Place::File(path) => Some(path),
        }
    }

    /// Host and port as they are written in a URL: IPv6 addresses in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.place {
            Place::Network { host, port: Some(port), .. } => authority(host, *port),
            Place::Network { host, port: None, .. } => host.clone(),
            Place::File(path) => path.display().to_string(),
        }
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://", self.scheme_text())?;
        if let Some(user) = &self.user {
            formatter.write_str(&percent::encode(user.as_bytes(), b""))?;
        }
        if self.password.is_some() {
            formatter.write_str(":***")?;
        }
        if self.user.is_some() || self.password.is_some() {
            formatter.write_str("@")?;
        }
        match &self.place {
            Place::Network { path, .. } => {
                formatter.write_str(&self.authority())?;
                match path.split_once('?') {
                    Some((path, _)) => write!(formatter, "{path}?***"),
                    None => formatter.write_str(path),
                }
            }
            Place::File(path) => {
                let bytes = path.as_os_str().as_encoded_bytes();
                formatter.write_str(&percent::encode(bytes, b"/"))
            }
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Url({self})")
    }
}
