//! The layers of a connection, made of settings that have been checked.

use std::fmt;
#[cfg(any(feature = "tokio", feature = "blocking"))]
use std::sync::Arc;
use std::time::Duration;

use super::DialerBuilder;
#[cfg(feature = "tokio")]
use crate::asynchronous;
#[cfg(feature = "blocking")]
use crate::blocking;
use crate::build_error::BuildError;
use crate::error::TransportError;
use crate::proxy::{Proxy, ProxyError};
use crate::socket::SocketOptions;
#[cfg(feature = "srv")]
use crate::srv::Service;
#[cfg(feature = "tls")]
use crate::tls::TlsClient;
use crate::url::{Url, authority};
use crate::websocket::WebSocketOptions;

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
    pub(super) fn settings(&self) -> Result<Settings, BuildError> {
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
