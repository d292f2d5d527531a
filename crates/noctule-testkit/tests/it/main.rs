//! The peer against servers whose side is written in bytes, and the brokers, mocks and faults that
//! programs are tested with.

mod broker;
mod exchange;
mod expectation;
mod failure;
mod hours;
mod memory;
mod mock;
mod proxy;
mod session_driver;
mod stream;

use std::panic::{AssertUnwindSafe, catch_unwind};

use noctule_packet::Version;
use noctule_testkit::{OwnedConnect, Peer, Script, packet_bytes};

/// A peer that is connected in 5.0 to a server that goes on with `script`.
fn connected_to(script: impl FnOnce(&mut Peer) + Send + 'static) -> (Script, Peer) {
    connected_in(Version::V5_0, script)
}

/// A peer that is connected to a server that goes on with `script`.
fn connected_in(
    version: Version,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (Script, Peer) {
    let server = Script::run(move |mut peer| {
        assert_eq!(peer.expect_connect(), OwnedConnect::new(version, "peer"));
        peer.send_bytes(&packet_bytes(0x20, if version.is_v5() { "00 00 00" } else { "00 00" }));
        script(&mut peer);
    });
    let peer = Peer::speaking(version, server.address(), "peer");
    (server, peer)
}

/// The message with which `expectation` fails.
#[track_caller]
fn failure_of<T>(expectation: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(expectation)) {
        Ok(_) => panic!("the expectation is met"),
        Err(panic) => match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(_) => panic!("the expectation fails without a message"),
        },
    }
}

/// Reads and drops what the client still sends, until it closes. A server that closed with unread
/// input would reset the connection instead of ending it.
fn drain(server: &mut Peer) {
    server.shut_down_writing();
    std::io::copy(&mut server.stream(), &mut std::io::sink()).unwrap();
}
