//! Which server, as a URL: from `-h` and `-p`, from `-h` and `-S`, from `--unix` or from `-L`.

use std::fmt;
use std::path::{Path, absolute};

use noctule_client::transport::{Scheme, Url};

use super::failure::Failure;

/// A server, and what its URL says besides.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The URL, without user and password.
    pub(crate) url: String,
    pub(crate) is_tls: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
    /// The topic behind the host in `-L`.
    pub(crate) topic: Option<String>,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest may be a secret.
        formatter.debug_struct("Server").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Server {
    fn new(url: &Url, topic: Option<String>) -> Self {
        Self {
            // What is shown of a URL lacks the password, and a query.
            url: url.clone().with_credentials(None, None).to_string(),
            is_tls: url.scheme().is_tls(),
            user: url.user().map(str::to_owned),
            password: url.password().map(<[u8]>::to_vec),
            topic,
        }
    }
}

/// The server at a host and a port.
pub(crate) fn of_host(
    host: &str,
    port: Option<u16>,
    is_tls: bool,
    websocket_path: Option<&str>,
) -> Result<Server, Failure> {
    let scheme = match (websocket_path.is_some(), is_tls) {
        (false, false) => Scheme::Mqtt,
        (false, true) => Scheme::Mqtts,
        (true, false) => Scheme::Ws,
        (true, true) => Scheme::Wss,
    };
    let url = Url::new(scheme, host, port)
        .map_err(|error| Failure::usage(format!("-h {host}: {error}")))?;
    let mut server = Server::new(&url, None);
    if let Some(path) = websocket_path {
        let slash = if path.starts_with(['/', '?']) { "" } else { "/" };
        server.url = format!("{}{slash}{path}", server.url);
    }
    Ok(server)
}

/// The server that the SRV records of a domain name.
pub(crate) fn of_domain(domain: &str, is_tls: bool) -> Result<Server, Failure> {
    let scheme = if is_tls { Scheme::Mqtts } else { Scheme::Mqtt };
    let url = Url::srv(scheme, domain);
    let url = url.map_err(|error| Failure::usage(format!("-S -h {domain}: {error}")))?;
    Ok(Server::new(&url, None))
}

/// The server behind a Unix socket.
pub(crate) fn of_unix(path: &Path) -> Result<Server, Failure> {
    let path = absolute(path).map_err(|error| Failure::usage(format!("--unix: {error}")))?;
    Ok(Server::new(&Url::unix(path), None))
}

/// The server of a URL, which names a topic unless WebSocket needs its path.
pub(crate) fn of_url(text: &str, has_tls_flags: bool) -> Result<Server, Failure> {
    let wrong = |problem: String| Failure::usage(format!("-L: {problem}"));
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(wrong("write mqtt://HOST/TOPIC, or mqtts:// with TLS".to_owned()));
    };
    let has_topic = !matches!(scheme.to_ascii_lowercase().as_str(), "ws" | "wss" | "unix");
    let (place, topic) = match rest.split_once('/').filter(|_| has_topic) {
        Some((place, topic)) => (place, Some(topic.to_owned()).filter(|topic| !topic.is_empty())),
        None => (rest, None),
    };
    let url: Url =
        format!("{scheme}://{place}").parse().map_err(|error| wrong(format!("{error}")))?;
    if has_tls_flags && !url.scheme().is_tls() {
        let secure = match url.scheme() {
            Scheme::Ws => "wss",
            _ if url.is_srv() => "mqtts+srv",
            _ => "mqtts",
        };
        return Err(wrong(format!("flags about TLS need {secure}://")));
    }
    let mut server = Server::new(&url, topic);
    if url.scheme().is_websocket() {
        server.url =
            format!("{}{}", Server::new(&url.clone().without_path(), None).url, url.path());
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<Server, String> {
        of_url(text, false).map_err(|failure| failure.message)
    }

    #[test]
    fn a_url_says_where_and_what() {
        let server = url("mqtts://me:s%2Fx@host:1/a/+/b#").unwrap();
        assert_eq!(server.url, "mqtts://host:1");
        assert!(server.is_tls);
        assert_eq!((server.user.as_deref(), server.password), (Some("me"), Some(b"s/x".to_vec())));
        assert_eq!(server.topic.as_deref(), Some("a/+/b#"));
        assert_eq!(url("mqtt://host").unwrap().topic, None);
        assert_eq!(url("mqtt://host/").unwrap().topic, None);
        assert_eq!(url("mqtt://host//a").unwrap().topic.as_deref(), Some("/a"));
        let server = url("wss://host/path?token=1").unwrap();
        assert_eq!((server.url.as_str(), server.topic), ("wss://host:443/path?token=1", None));
        assert_eq!(url("unix:///run/a%20b").unwrap().url, "unix:///run/a%20b");
        assert!(url("host/topic").unwrap_err().contains("mqtt://HOST/TOPIC"));
        assert!(url("http://host/topic").unwrap_err().contains("scheme"));
        assert!(of_url("mqtt://host/t", true).is_err());
        let server = url("mqtts+srv://me@plant.example/t").unwrap();
        assert_eq!((server.url.as_str(), server.is_tls), ("mqtts+srv://plant.example", true));
        assert_eq!(server.topic.as_deref(), Some("t"));
        assert!(url("mqtt+srv://plant.example:1/t").unwrap_err().contains("exclude each other"));
    }

    #[test]
    fn a_host_may_be_anything_that_is_one() {
        let of = |host, port, tls, ws| of_host(host, port, tls, ws).map(|server| server.url).ok();
        assert_eq!(of("h", None, false, None).as_deref(), Some("mqtt://h:1883"));
        assert_eq!(of("::1", Some(5), true, None).as_deref(), Some("mqtts://[::1]:5"));
        assert_eq!(of("h", None, false, Some("/x")).as_deref(), Some("ws://h:80/x"));
        assert_eq!(of("h", None, true, Some("x")).as_deref(), Some("wss://h:443/x"));
        assert_eq!(of("a b", None, false, None), None);
        let of = |domain, tls| of_domain(domain, tls).map(|server| server.url).ok();
        assert_eq!(of("plant.example", false).as_deref(), Some("mqtt+srv://plant.example"));
        assert_eq!(of("plant.example", true).as_deref(), Some("mqtts+srv://plant.example"));
        assert_eq!(of("127.0.0.1", false), None);
        assert_eq!(
            of_unix(Path::new("/run/x")).map(|server| server.url).ok().as_deref(),
            Some("unix:///run/x")
        );
    }
}
