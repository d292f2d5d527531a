//! Which settings exclude each other, each refusal with both names and what to do.

use super::DialerBuilder;
use crate::build_error::BuildError;
#[cfg(feature = "tls")]
use crate::proxy::Proxy;
use crate::url::Scheme;

impl DialerBuilder {
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

    pub(super) fn check_url(&self) -> Result<(), BuildError> {
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

    pub(super) fn check_srv(&self) -> Result<(), BuildError> {
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

    pub(super) fn check_own_connector(&self) -> Result<(), BuildError> {
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
}

pub(super) fn conflict<T>(
    first: &str,
    second: &str,
    advice: &'static str,
) -> Result<T, BuildError> {
    Err(BuildError::Conflict { first: first.to_owned(), second: second.to_owned(), advice })
}
