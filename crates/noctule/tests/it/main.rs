//! The binary as a user meets it: flags, files, signals, log lines.

mod broker;
#[cfg(target_os = "linux")]
mod disk;
mod durability;
mod errors;
mod log;
mod mosquitto;
#[path = "../../../noctule-transport/tests/it/name_server.rs"]
#[allow(dead_code, reason = "the other tests need the rest")]
mod name_server;
mod process;
mod progress;
mod publish;
mod relay;
mod rpc;
mod serving;
mod srv;
mod statuses;
mod store;
mod subscribe;
