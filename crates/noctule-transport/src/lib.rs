//! Byte streams for MQTT: TCP, TLS, WebSocket, Unix sockets and proxies. No MQTT is spoken here.
//!
//! A [`Url`] says where a server is and how its bytes travel, a [`DialerBuilder`] holds the rest,
//! and a dialer connects as often as needed, for tokio (`Dialer`) or for a thread that waits
//! itself (`blocking::Dialer`):
//!
//! ```
//! # #[cfg(all(feature = "tokio", feature = "tls"))]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use noctule_transport::{Dialer, Proxy, TlsClient, Url};
//!
//! let url: Url = "wss://broker.example/mqtt".parse()?;
//! let tls = TlsClient::builder().roots_file("plant-ca.pem").build()?;
//! let proxy: Proxy = "socks5h://proxy.example".parse()?;
//! let dialer = Dialer::builder(url).tls(tls).proxy(proxy).build()?;
//! let connected = dialer.dial().await?;
//! println!("the cipher is {:?}", connected.info.tls);
//! # Ok(())
//! # }
//! ```
//!
//! The layers lie over each other like this, from the bottom: TCP (all addresses of the host are
//! raced), a Unix socket or the program's own connector; TLS with the proxy; the proxy's tunnel;
//! TLS with the server; WebSocket. Settings that exclude each other are refused when a dialer is
//! built. Nothing that is shown or logged holds a password, a key, a token or a signature.
//!
//! WebSocket, the proxies' protocols and everything about trust know no socket and are shared by
//! both kinds of dialers, and by servers (`WebSocketAcceptor`, `TlsServer`).
//!
//! # Features
//!
//! - `tokio` (default) and `blocking`: who dials. `blocking` alone has no tokio in its tree.
//! - `aws-lc-rs` (default) and `ring`: the cryptography of TLS; with both, the first is taken.
//!   `tls` alone has none, and the program brings it with `TlsBuilder::crypto_provider`.
//! - `native-tls`: TLS by the system's library for clients that ask for it
//!   (`TlsBuilder::native_tls`), or that have neither of these two.
//! - `native-roots` (default) and `webpki-roots`: whom TLS trusts without being told; with both,
//!   the system decides.
//! - `srv`: URLs such as `mqtts+srv://domain`, whose servers the SRV records of the domain name.
#![deny(unsafe_code)]
// Without a kind of dialer there are only settings.
#![cfg_attr(
    not(any(feature = "tokio", feature = "blocking")),
    allow(dead_code, unused_imports, reason = "what is shared has no user then")
)]

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
mod raw_option;
mod socket;
#[cfg(feature = "srv")]
mod srv;
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
#[cfg(feature = "srv")]
pub use srv::SrvError;
pub use stage::Stage;
#[cfg(feature = "tls")]
pub use tls::{Pin, TlsBuilder, TlsClient, TlsError, TlsServer, TlsServerBuilder};
pub use url::{Scheme, Url};
pub use url_error::UrlError;
#[cfg(feature = "tokio")]
pub use websocket::{AcceptedRequest, WebSocketAcceptor};
pub use websocket::{UpgradeRequest, WebSocketError, WebSocketOptions};

/// What certificates, keys, verifiers and providers of cryptography are made of.
#[cfg(feature = "tls")]
pub use rustls;
