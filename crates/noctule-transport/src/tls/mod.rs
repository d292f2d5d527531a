//! TLS by rustls: one builder for clients, one for servers, and errors that say what to do.

mod client;
mod error;
mod insecure;
mod pem;
mod pin;
mod provider;
mod roots;
mod server;
mod signature;

pub use client::{TlsBuilder, TlsClient};
pub use error::TlsError;
pub use pin::Pin;
pub use server::{TlsServer, TlsServerBuilder};
