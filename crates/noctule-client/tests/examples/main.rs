//! Runs every example against a server on the loopback, and reads what it prints.

#[allow(dead_code, reason = "the examples need less than the interoperability tests")]
#[path = "../interop/authority.rs"]
mod authority;
mod connecting;
mod example;
mod messages;
#[allow(dead_code, reason = "the examples need less than the interoperability tests")]
#[path = "../interop/mosquitto.rs"]
mod mosquitto;
#[allow(dead_code, reason = "the examples need less than the interoperability tests")]
#[path = "../interop/program.rs"]
mod program;
mod relay;
mod runtime;
mod scram_server;
mod secure;

/// What the names of the examples begin with.
const PREFIX: &str = "";
/// The examples that the other kind of client does not have.
const MORE: &[&str] = &["any_runtime", "own_thread"];
/// Where they are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
