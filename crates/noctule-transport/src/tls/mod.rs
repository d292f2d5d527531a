//! TLS, by rustls unless a client wants the system's library: one builder for clients, one for
//! servers, and errors that say what to do.

mod client;
mod error;
mod insecure;
mod pem;
mod pin;
mod provider;
mod roots;
mod server;
mod signature;
#[cfg(feature = "native-tls")]
mod system;
#[cfg(feature = "native-tls")]
mod system_stream;

pub(crate) use client::Engine;
pub use client::{TlsBuilder, TlsClient};
pub use error::TlsError;
pub use pin::Pin;
pub use server::{TlsServer, TlsServerBuilder};
#[cfg(feature = "native-tls")]
pub(crate) use system::{Shaking, SystemTls, failed as system_failed};
#[cfg(feature = "native-tls")]
pub(crate) use system_stream::SystemStream;
