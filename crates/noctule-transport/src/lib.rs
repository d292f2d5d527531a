//! Byte streams for MQTT.
#![forbid(unsafe_code)]

mod build_error;
mod error;
mod handshake;
mod http;
mod percent;
mod proxy;
mod race;
mod socket;
#[cfg(feature = "tls")]
mod tls;
mod url;
mod url_error;
mod url_parse;
mod websocket;

pub use build_error::BuildError;
pub use error::{Attempts, BoxError, Stage, TransportError};
pub use proxy::{Proxy, ProxyError, ProxyKind};
pub use socket::{Keepalive, SocketOptions};
#[cfg(feature = "tls")]
pub use tls::{Pin, TlsBuilder, TlsClient, TlsError, TlsServer, TlsServerBuilder};
pub use url::{Scheme, Url};
pub use url_error::UrlError;
pub use websocket::{
    AcceptedRequest, UpgradeRequest, WebSocketAcceptor, WebSocketError, WebSocketOptions,
};
