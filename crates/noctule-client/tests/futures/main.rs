//! The same as in `tests/it`, by clients that are futures on a runtime of the program's; and what
//! only these have.

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
#[path = "../it/connects.rs"]
mod connects;
mod driven;
#[path = "../it/handlers.rs"]
mod handlers;
#[path = "../it/house.rs"]
mod house;
#[path = "../it/metrics.rs"]
mod metrics;
#[path = "../it/offline.rs"]
mod offline;
#[path = "../it/opening.rs"]
mod opening;
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
#[path = "../it/stalled.rs"]
mod stalled;
mod start;
#[path = "../it/store.rs"]
mod store;
#[path = "../it/streams.rs"]
mod streams;
#[path = "../it/wire.rs"]
mod wire;
