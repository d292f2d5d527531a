//! The same as in `tests/it`, by clients that have threads of their own; and the blocking client.

#[path = "../it/abandoned.rs"]
mod abandoned;
#[path = "../it/acknowledge.rs"]
mod acknowledge;
#[path = "../it/asked.rs"]
mod asked;
#[path = "../it/attempts.rs"]
mod attempts;
#[path = "../it/basics.rs"]
mod basics;
mod blocking;
#[path = "../it/connects.rs"]
mod connects;
#[path = "../it/handlers.rs"]
mod handlers;
#[path = "../it/house.rs"]
mod house;
mod idle;
#[path = "../it/interceptors.rs"]
mod interceptors;
#[path = "../it/metrics.rs"]
mod metrics;
#[path = "../../../noctule-transport/tests/it/name_server.rs"]
#[allow(dead_code, reason = "the other tests need the rest")]
mod name_server;
#[path = "../it/offline.rs"]
mod offline;
#[path = "../it/opening.rs"]
mod opening;
#[path = "../it/packet_log.rs"]
mod packet_log;
#[path = "../it/pings.rs"]
mod pings;
#[path = "../it/receipts.rs"]
mod receipts;
#[path = "../it/reconnect.rs"]
mod reconnect;
#[path = "../it/redirect.rs"]
mod redirect;
#[path = "../it/regressions.rs"]
mod regressions;
#[path = "../it/remarks.rs"]
mod remarks;
#[path = "../it/routes.rs"]
mod routes;
#[path = "../it/scram.rs"]
mod scram;
#[path = "../it/socket.rs"]
mod socket;
#[path = "../it/srv.rs"]
mod srv;
#[path = "../it/stalled.rs"]
mod stalled;
mod start;
#[path = "../it/store.rs"]
mod store;
#[path = "../it/streams.rs"]
mod streams;
#[path = "../it/through.rs"]
mod through;
#[path = "../it/tracing.rs"]
mod tracing;
#[path = "../it/websocket.rs"]
mod websocket;
#[path = "../it/wire.rs"]
mod wire;
