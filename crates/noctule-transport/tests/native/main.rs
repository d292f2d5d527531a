//! The same as in `tests/it` with TLS by the system's library.

#[path = "../it/authority.rs"]
mod authority;
mod by;
#[path = "../it/conversation.rs"]
mod conversation;
#[path = "../it/own.rs"]
mod own;
#[path = "../it/proxy.rs"]
mod proxy;
mod rules;
#[path = "../it/server.rs"]
mod server;
#[path = "../it/tls.rs"]
mod tls;
#[path = "../it/tunnel.rs"]
mod tunnel;
#[path = "../it/websocket.rs"]
mod websocket;
