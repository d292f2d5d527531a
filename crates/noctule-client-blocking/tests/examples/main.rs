//! Runs every example: they print the same as those of the client with a runtime.

#[allow(dead_code, reason = "the examples need less than the interoperability tests")]
#[path = "../../../noctule-client/tests/interop/authority.rs"]
mod authority;
#[path = "../../../noctule-client/tests/examples/connecting.rs"]
mod connecting;
#[path = "../../../noctule-client/tests/examples/example.rs"]
mod example;
#[path = "../../../noctule-client/tests/examples/messages.rs"]
mod messages;
#[allow(dead_code, reason = "the examples need less than the interoperability tests")]
#[path = "../../../noctule-client/tests/interop/mosquitto.rs"]
mod mosquitto;
#[allow(dead_code, reason = "the examples need less than the interoperability tests")]
#[path = "../../../noctule-client/tests/interop/program.rs"]
mod program;
#[path = "../../../noctule-client/tests/examples/relay.rs"]
mod relay;
#[path = "../../../noctule-client/tests/examples/scram_server.rs"]
mod scram_server;
#[path = "../../../noctule-client/tests/examples/secure.rs"]
mod secure;

/// What the names of the examples begin with.
const PREFIX: &str = "blocking_";
/// The examples that the other kind of client does not have.
const MORE: &[&str] = &[];
/// Where they are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
