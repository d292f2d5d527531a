//! The tokio client against the real broker, over real sockets.

mod abandoned;
mod acknowledge;
mod asked;
mod attempts;
mod basics;
mod connects;
mod elsewhere;
mod farewell;
mod handlers;
mod house;
mod interceptors;
mod metrics;
#[path = "../../../noctule-transport/tests/it/name_server.rs"]
#[allow(dead_code, reason = "the other tests need the rest")]
mod name_server;
mod offline;
mod opening;
mod packet_log;
mod pings;
mod receipts;
mod reconnect;
mod redirect;
mod regressions;
mod remarks;
mod routes;
mod scram;
mod socket;
mod srv;
mod stalled;
mod start;
mod store;
mod streams;
mod through;
mod tracing;
mod websocket;
mod wire;
