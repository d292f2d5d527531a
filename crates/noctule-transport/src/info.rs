//! What is known about a connection once it stands.

use std::net::SocketAddr;

/// What a connection has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The other end of the TCP connection; with a proxy, the proxy.
    pub peer_address: Option<SocketAddr>,
    /// Our end of the TCP connection.
    pub local_address: Option<SocketAddr>,
    /// What TLS has agreed on.
    pub tls: Option<TlsInfo>,
    /// The sub-protocol of WebSocket.
    pub subprotocol: Option<String>,
}

/// What TLS has agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version, for example `TLSv1_3`.
    pub version: Option<String>,
    /// The cipher suite, for example `TLS13_AES_256_GCM_SHA384`.
    pub cipher_suite: Option<String>,
    /// The application protocol (ALPN).
    pub alpn: Option<Vec<u8>>,
}

#[cfg(feature = "tls")]
impl TlsInfo {
    pub(crate) fn of<S>(connection: &rustls::ConnectionCommon<S>) -> Self {
        let version = connection.protocol_version();
        let suite = connection.negotiated_cipher_suite();
        Self {
            version: version.and_then(|version| version.as_str()).map(str::to_owned),
            cipher_suite: suite.and_then(|suite| suite.suite().as_str()).map(str::to_owned),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        }
    }
}
