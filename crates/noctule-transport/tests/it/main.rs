//! Connections over real sockets on the loopback, for tokio and for a plain thread alike.

mod authority;
mod by;
mod conversation;
mod name_server;
mod own;
mod proxy;
mod server;
mod settings;
mod srv;
mod tcp;
mod tls;
mod trust;
mod tunnel;
mod unix;
mod waiting;
mod websocket;
