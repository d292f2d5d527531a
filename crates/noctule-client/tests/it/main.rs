//! The tokio client against the real broker, over real sockets.

mod abandoned;
mod acknowledge;
mod asked;
mod basics;
mod connects;
mod farewell;
mod house;
mod interceptors;
mod metrics;
mod packet_log;
mod reconnect;
mod redirect;
mod regressions;
mod routes;
mod scram;
mod stalled;
mod start;
mod store;
mod tracing;
mod wire;
