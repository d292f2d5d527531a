//! How a server is reached: all settings of all layers, checked against each other before anything
//! is connected.

use std::fmt;
#[cfg(feature = "srv")]
use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::time::Duration;

use crate::build_error::BuildError;
use crate::error::TransportError;
use crate::proxy::{Proxy, ProxyError};
use crate::socket::SocketOptions;
#[cfg(feature = "srv")]
use crate::srv::Service;
#[cfg(feature = "tls")]
use crate::tls::TlsClient;
use crate::url::{Scheme, Url, authority};
use crate::websocket::WebSocketOptions;

#[cfg(feature = "tokio")]
use crate::asynchronous;
#[cfg(feature = "blocking")]
use crate::blocking;

/// The time for everything from the host's addresses to the last handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of connections to one server.
#[derive(Clone)]
pub struct DialerBuilder {
    url: Url,
    #[cfg(feature = "tls")]
    tls: Option<TlsClient>,
    websocket: Option<WebSocketOptions>,
    proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    proxy_tls: Option<TlsClient>,
    /// What is used where nothing was given, once it was needed: clones make it together.
    #[cfg(feature = "tls")]
    default_tls: Arc<OnceLock<TlsClient>>,
    socket: Option<SocketOptions>,
    connect_timeout: Duration,
    #[cfg(feature = "srv")]
    name_servers: Option<Vec<SocketAddr>>,
    #[cfg(feature = "tokio")]
    connector: Option<Arc<dyn asynchronous::Connector>>,
    #[cfg(feature = "blocking")]
    blocking_connector: Option<Arc<dyn blocking::Connector>>,
}

/// The layers of a connection, checked.
pub(crate) struct Settings {
    pub(crate) url: Url,
    #[cfg(feature = "srv")]
    pub(crate) service: Option<Service>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsLayer>,
    pub(crate) websocket: Option<WebSocketOptions>,
    pub(crate) proxy: Option<ProxyLayer>,
    pub(crate) socket: SocketOptions,
    pub(crate) connect_timeout: Duration,
    #[cfg(feature = "tokio")]
    pub(crate) connector: Option<Arc<dyn asynchronous::Connector>>,
    #[cfg(feature = "blocking")]
    pub(crate) blocking_connector: Option<Arc<dyn blocking::Connector>>,
}

/// TLS with one server.
#[cfg(feature = "tls")]
pub(crate) struct TlsLayer {
    pub(crate) client: TlsClient,
    pub(crate) name: rustls::pki_types::ServerName<'static>,
    /// What errors call the server.
    pub(crate) shown_name: String,
}

/// A proxy, and TLS with it.
pub(crate) struct ProxyLayer {
    pub(crate) proxy: Proxy,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsLayer>,
}

impl DialerBuilder {
    /// Settings for the server of a URL; everything else has its default.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            #[cfg(feature = "tls")]
            tls: None,
            websocket: None,
            proxy: None,
            #[cfg(feature = "tls")]
            proxy_tls: None,
            #[cfg(feature = "tls")]
            default_tls: Arc::default(),
            socket: None,
            connect_timeout: CONNECT_TIMEOUT,
            #[cfg(feature = "srv")]
            name_servers: None,
            #[cfg(feature = "tokio")]
            connector: None,
            #[cfg(feature = "blocking")]
            blocking_connector: None,
        }
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same settings for another server, for example one that the first redirects to.
    #[must_use]
    pub fn with_url(&self, url: Url) -> Self {
        Self { url, ..self.clone() }
    }

    /// The same without what tells the server who connects: no client certificate, and in a
    /// WebSocket handshake none of the program's own headers, nor the hook that could add some.
    #[must_use]
    pub fn without_credentials(mut self) -> Self {
        #[cfg(feature = "tls")]
        {
            self.tls = self.tls.map(TlsClient::without_client_certificate);
        }
        self.websocket = self.websocket.map(WebSocketOptions::without_credentials);
        self
    }

    /// TLS with the server. Without it, `mqtts://` and `wss://` trust the system's roots.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Options of `ws://` and `wss://`.
    #[must_use]
    pub fn websocket(mut self, options: WebSocketOptions) -> Self {
        self.websocket = Some(options);
        self
    }

    /// Goes through a proxy.
    #[must_use]
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// TLS with an `https://` proxy. Without it, the system's roots are trusted.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn proxy_tls(mut self, tls: TlsClient) -> Self {
        self.proxy_tls = Some(tls);
        self
    }

    /// Options of the TCP socket.
    #[must_use]
    pub fn socket(mut self, options: SocketOptions) -> Self {
        self.socket = Some(options);
        self
    }

    /// The time for everything from the host's addresses to the last handshake; 30 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// That time.
    #[must_use]
    pub fn time_to_connect(&self) -> Duration {
        self.connect_timeout
    }

    /// The name servers that are asked for the SRV records of `mqtt+srv://` and `mqtts+srv://`,
    /// one after the other; those of `/etc/resolv.conf` by default. Other URLs, and the addresses
    /// of the hosts in the records, are for the system's resolver in any case.
    #[cfg(feature = "srv")]
    #[must_use]
    pub fn name_servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.name_servers = Some(servers.into_iter().collect());
        self
    }

    /// Takes the bytes from the program's own connector instead of TCP. TLS and WebSocket lie over
    /// it as the URL says; with `mqtt://` it is used as it is.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn connector(mut self, connector: impl asynchronous::Connector + 'static) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// The same for blocking connections.
    #[cfg(feature = "blocking")]
    #[must_use]
    pub fn blocking_connector(mut self, connector: impl blocking::Connector + 'static) -> Self {
        self.blocking_connector = Some(Arc::new(connector));
        self
    }

    /// A dialer for tokio.
    ///
    /// # Errors
    /// When two settings exclude each other or one is wrong.
    #[cfg(feature = "tokio")]
    pub fn build(&self) -> Result<asynchronous::Dialer, BuildError> {
        #[cfg(feature = "blocking")]
        if self.blocking_connector.is_some() {
            let advice = "give the connector with connector()";
            return conflict("build()", "blocking_connector()", advice);
        }
        Ok(asynchronous::Dialer::new(self.settings()?))
    }

    /// A dialer for a thread that may block.
    ///
    /// # Errors
    /// When two settings exclude each other or one is wrong.
    #[cfg(feature = "blocking")]
    pub fn build_blocking(&self) -> Result<blocking::Dialer, BuildError> {
        #[cfg(feature = "tokio")]
        {
            if self.connector.is_some() {
                let advice = "give the connector with blocking_connector()";
                return conflict("build_blocking()", "connector()", advice);
            }
            let hook = self.websocket.as_ref().and_then(|options| options.hook.as_ref());
            if matches!(hook, Some(crate::websocket::Hook::Async(_))) {
                let advice = "a blocking connection cannot wait for a future, so use hook()";
                return conflict("build_blocking()", "async_hook()", advice);
            }
        }
        Ok(blocking::Dialer::new(self.settings()?))
    }

    /// Checks the settings for a program that opens the streams itself, for URLs with these
    /// schemes, and knows nothing but the URL.
    ///
    /// # Errors
    /// When something is set that would not be heeded, or the URL contradicts itself.
    pub fn check_own_stream(&self, schemes: &[Scheme]) -> Result<(), BuildError> {
        let own = "a stream of the program's own";
        let set = [
            ("websocket()", self.websocket.is_some()),
            ("proxy()", self.proxy.is_some()),
            ("socket()", self.socket.is_some()),
            #[cfg(feature = "tls")]
            ("tls()", self.tls.is_some()),
            #[cfg(feature = "tls")]
            ("proxy_tls()", self.proxy_tls.is_some()),
            #[cfg(feature = "srv")]
            ("name_servers()", self.name_servers.is_some()),
            #[cfg(feature = "tokio")]
            ("connector()", self.connector.is_some()),
            #[cfg(feature = "blocking")]
            ("blocking_connector()", self.blocking_connector.is_some()),
        ];
        if let Some((name, _)) = set.iter().find(|(_, is_set)| *is_set) {
            return conflict(own, name, "whoever opens the stream sees to that, too");
        }
        let scheme = self.url.scheme();
        if self.url.is_srv() {
            let advice = "whoever opens the stream finds the server, so leave +srv out";
            return conflict(own, &format!("{}://", self.url.scheme_text()), advice);
        }
        if !schemes.contains(&scheme) {
            let advice = "whoever opens the stream has to say that it does as the URL says";
            return conflict(own, &format!("{}://", scheme.name()), advice);
        }
        self.check_url()
    }

    fn settings(&self) -> Result<Settings, BuildError> {
        self.check_url()?;
        self.check_srv()?;
        self.check_own_connector()?;
        let scheme = self.url.scheme();
        let socket = self.socket.clone().unwrap_or_default();
        socket.check()?;
        let websocket = scheme.is_websocket().then(|| self.websocket.clone().unwrap_or_default());
        websocket.as_ref().map_or(Ok(()), WebSocketOptions::check)?;
        #[cfg(not(feature = "tls"))]
        if scheme.is_tls() {
            return Err(no_tls(&format!("{}://", scheme.name())));
        }
        Ok(Settings {
            url: self.url.clone(),
            #[cfg(feature = "srv")]
            service: Service::of(&self.url, self.name_servers.as_deref()),
            #[cfg(feature = "tls")]
            tls: self.tls_layer(scheme.is_tls(), self.tls.as_ref(), self.url.host())?,
            websocket,
            proxy: self.proxy_layer()?,
            socket,
            connect_timeout: self.connect_timeout,
            #[cfg(feature = "tokio")]
            connector: self.connector.clone(),
            #[cfg(feature = "blocking")]
            blocking_connector: self.blocking_connector.clone(),
        })
    }

    fn check_url(&self) -> Result<(), BuildError> {
        let scheme = self.url.scheme();
        let shown = format!("{}://", self.url.scheme_text());
        #[cfg(feature = "tls")]
        if self.tls.is_some() && !scheme.is_tls() {
            let advice = "write mqtts:// or wss://, or leave the TLS settings out";
            return conflict(&shown, "tls()", advice);
        }
        if self.websocket.is_some() && !scheme.is_websocket() {
            let advice = "write ws:// or wss://, or leave the WebSocket options out";
            return conflict(&shown, "websocket()", advice);
        }
        let has_path = !matches!(self.url.path(), "" | "/");
        if has_path && !scheme.is_websocket() {
            let advice = "only ws:// and wss:// have paths, so leave it out";
            return conflict(&shown, "a path", advice);
        }
        if scheme == Scheme::Unix && self.proxy.is_some() {
            return conflict(&shown, "proxy()", "a Unix socket is on this machine");
        }
        if scheme == Scheme::Unix && self.socket.is_some() {
            return conflict(&shown, "socket()", "a Unix socket has no TCP options");
        }
        if scheme == Scheme::Unix && cfg!(not(unix)) {
            return conflict(&shown, "this system", "it has no Unix sockets");
        }
        #[cfg(feature = "tls")]
        if self.proxy_tls.is_some() && !self.proxy.as_ref().is_some_and(Proxy::is_tls) {
            let advice = "write https:// for the proxy, or leave its TLS settings out";
            return conflict("proxy_tls()", "a proxy without TLS", advice);
        }
        Ok(())
    }

    fn check_srv(&self) -> Result<(), BuildError> {
        if !self.url.is_srv() {
            return Ok(());
        }
        let shown = format!("{}://", self.url.scheme_text());
        if self.proxy.is_some() {
            let advice = "no proxy can look SRV records up, so name one of the servers instead";
            return conflict(&shown, "proxy()", advice);
        }
        #[cfg(not(feature = "srv"))]
        return Err(BuildError::Feature { needed: shown, feature: "srv" });
        #[cfg(feature = "srv")]
        match &self.name_servers {
            Some(servers) if servers.is_empty() => {
                Err(BuildError::Value { setting: "name_servers", problem: "is empty".to_owned() })
            }
            None if cfg!(not(unix)) => {
                let problem = "must be given, since this system has no /etc/resolv.conf";
                Err(BuildError::Value { setting: "name_servers", problem: problem.to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn check_own_connector(&self) -> Result<(), BuildError> {
        #[cfg(feature = "tokio")]
        let is_own = self.connector.is_some();
        #[cfg(not(feature = "tokio"))]
        let is_own = false;
        #[cfg(feature = "blocking")]
        let is_own = is_own || self.blocking_connector.is_some();
        let advice = "the connector makes the connection, so it sees to that, too";
        if is_own && self.proxy.is_some() {
            return conflict("connector()", "proxy()", advice);
        }
        if is_own && self.socket.is_some() {
            return conflict("connector()", "socket()", advice);
        }
        if is_own && self.url.is_srv() {
            let shown = format!("{}://", self.url.scheme_text());
            return conflict("connector()", &shown, "leave +srv out");
        }
        if is_own && self.url.scheme() == Scheme::Unix {
            return conflict("connector()", "unix://", "write mqtt://, ws://, mqtts:// or wss://");
        }
        Ok(())
    }

    fn proxy_layer(&self) -> Result<Option<ProxyLayer>, BuildError> {
        let Some(proxy) = self.proxy.clone() else { return Ok(None) };
        proxy.check(self.url.host().unwrap_or_default())?;
        #[cfg(not(feature = "tls"))]
        if proxy.is_tls() {
            return Err(no_tls("an https:// proxy"));
        }
        Ok(Some(ProxyLayer {
            #[cfg(feature = "tls")]
            tls: self.tls_layer(proxy.is_tls(), self.proxy_tls.as_ref(), Some(proxy.host()))?,
            proxy,
        }))
    }
}

#[cfg(feature = "tls")]
impl DialerBuilder {
    fn tls_layer(
        &self,
        is_wanted: bool,
        given: Option<&TlsClient>,
        host: Option<&str>,
    ) -> Result<Option<TlsLayer>, BuildError> {
        let Some(host) = host.filter(|_| is_wanted) else { return Ok(None) };
        let client = given.map_or_else(|| self.default_tls(), |given| Ok(given.clone()))?;
        let name = client.server_name(host)?;
        Ok(Some(TlsLayer { client, name, shown_name: host.to_owned() }))
    }

    /// TLS that trusts the system's roots. Reading them takes its time, so that is done once, and
    /// later connections may resume the sessions of earlier ones.
    fn default_tls(&self) -> Result<TlsClient, BuildError> {
        if let Some(made) = self.default_tls.get() {
            return Ok(made.clone());
        }
        let made = TlsClient::builder().build()?;
        Ok(self.default_tls.get_or_init(|| made).clone())
    }
}

#[cfg(not(feature = "tls"))]
fn no_tls(needed: &str) -> BuildError {
    BuildError::Feature { needed: needed.to_owned(), feature: "tls" }
}

fn conflict<T>(first: &str, second: &str, advice: &'static str) -> Result<T, BuildError> {
    Err(BuildError::Conflict { first: first.to_owned(), second: second.to_owned(), advice })
}

impl Settings {
    /// The value of a WebSocket request's `Host`: the port only if it is not the usual one.
    pub(crate) fn host_header(&self) -> String {
        // The zone of an IPv6 address means nothing on another machine.
        let host = self.url.host().unwrap_or_default().split('%').next().unwrap_or_default();
        let port = self.url.port().filter(|port| Some(*port) != self.url.scheme().default_port());
        match port {
            Some(port) => authority(host, port),
            None if host.contains(':') => format!("[{host}]"),
            None => host.to_owned(),
        }
    }
}

impl ProxyLayer {
    /// What the proxy said, with its name.
    pub(crate) fn error(&self, source: ProxyError) -> TransportError {
        TransportError::Proxy { authority: self.proxy.authority(), source }
    }
}

impl fmt::Debug for DialerBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DialerBuilder")
            .field("url", &self.url)
            .field("websocket", &self.websocket)
            .field("proxy", &self.proxy)
            .field("socket", &self.socket)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Settings").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;
    use crate::tls::Engine;

    #[test]
    fn the_system_s_roots_are_read_once_for_all_connections() {
        let builder = DialerBuilder::new("mqtts://localhost".parse().unwrap());
        let first = builder.settings().unwrap().tls.unwrap().client;
        let elsewhere = builder.with_url("mqtts://elsewhere".parse().unwrap());
        let second = elsewhere.settings().unwrap().tls.unwrap().client;
        let engines = (first.engine(), second.engine());
        let is_same =
            matches!(engines, (Engine::Rustls(one), Engine::Rustls(two)) if Arc::ptr_eq(one, two));
        assert!(is_same);
    }
}
