//! Byte streams for MQTT.
#![forbid(unsafe_code)]

#[cfg(feature = "tokio")]
mod asynchronous;
#[cfg(feature = "blocking")]
pub mod blocking;
mod build_error;
mod builder;
mod error;
mod handshake;
mod http;
mod info;
mod percent;
mod proxy;
mod race;
mod socket;
mod stage;
#[cfg(feature = "tls")]
mod tls;
mod url;
mod url_error;
mod url_parse;
mod websocket;

#[cfg(feature = "tokio")]
pub use asynchronous::{
    AsyncStream, BoxedStream, ConnectFuture, Connected, Connector, Dialer, WebSocketStream,
};
pub use build_error::BuildError;
pub use builder::DialerBuilder;
pub use error::{Attempts, BoxError, TransportError};
pub use info::{ConnectionInfo, TlsInfo};
pub use proxy::{Proxy, ProxyError, ProxyKind};
pub use socket::{Keepalive, SocketOptions};
pub use stage::Stage;
#[cfg(feature = "tls")]
pub use tls::{Pin, TlsBuilder, TlsClient, TlsError, TlsServer, TlsServerBuilder};
pub use url::{Scheme, Url};
pub use url_error::UrlError;
pub use websocket::{
    AcceptedRequest, UpgradeRequest, WebSocketAcceptor, WebSocketError, WebSocketOptions,
};
