//! How a server is reached: all settings of all layers, checked against each other before anything
//! is connected.

mod check;
mod layers;

use std::fmt;
#[cfg(feature = "srv")]
use std::net::SocketAddr;
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::time::Duration;

use crate::build_error::BuildError;
use crate::proxy::Proxy;
use crate::socket::SocketOptions;
#[cfg(feature = "tls")]
use crate::tls::TlsClient;
use crate::url::Url;
use crate::websocket::WebSocketOptions;

#[cfg(all(feature = "tokio", feature = "blocking"))]
use check::conflict;
#[cfg(feature = "tls")]
pub(crate) use layers::TlsLayer;
pub(crate) use layers::{ProxyLayer, Settings};

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
