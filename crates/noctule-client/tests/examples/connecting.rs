//! How connections come about, fail and come back.

use noctule_broker::Broker;

use crate::example::{Example, check};
use crate::messages::broker;
use crate::program::free_address;
use crate::relay::Relay;
use crate::scram_server;

#[test]
fn scram() {
    let (url, server) = scram_server::start("alice", "pencil");
    check(
        "scram",
        &[&url, "alice", "pencil"],
        &["authenticated by SCRAM-SHA-256", "authenticated again"],
    );
    assert_eq!(server.join().unwrap(), 2, "exchanges");
}

#[test]
fn credentials_provider() {
    let (_broker, url) = broker();
    let relay = Relay::to(&url);
    let example = Example::start("credentials_provider", &[&relay.url(), "2"]);
    example.prints(&["the next attempt has token 1", "connected"]);
    relay.cut();
    // Who asks for the token does not wait for who reads of the end of the connection.
    let mut lines = [example.line().unwrap(), example.line().unwrap()];
    lines.sort();
    assert!(lines[0].starts_with("disconnected: "), "{lines:?}");
    assert_eq!(lines[1], "the next attempt has token 2");
    example.prints(&["connected"]);
    assert_eq!(example.ends(), Some(0));
}

#[test]
fn ping_timeout() {
    let (_broker, url) = broker();
    check(
        "ping_timeout",
        &[&url, "5"],
        &["connected, keep alive 2 s", "still connected after 5 s"],
    );
    let relay = Relay::to(&url);
    let example = Example::start("ping_timeout", &[&relay.url(), "50"]);
    example.prints(&["connected, keep alive 2 s"]);
    relay.freeze();
    example.prints(&["no answer to a ping"]);
    assert_eq!(example.ends(), Some(0));
}

#[test]
fn failed_connect() {
    let (_broker, open) = broker();
    check("failed_connect", &[&open], &["connected: nothing has failed"]);
    let closed = Broker::builder().allow_anonymous(false).listen("127.0.0.1:0").start().unwrap();
    let closed = (closed.local_addrs()[0].tcp().unwrap(), closed);
    let nobody = free_address().to_string();
    for (url, error, kind) in [
        (format!("mqtt://{nobody}"), &*nobody, "the server was not reached"),
        (format!("mqtt://{}", closed.0), "not authorized", "the server does not let us in"),
        ("http://localhost".to_owned(), "http", "the program asks for the impossible"),
    ] {
        let example = Example::start("failed_connect", &[&url]);
        let line = example.line().unwrap();
        assert!(line.starts_with("error: ") && line.contains(error), "{line}");
        example.prints(&[&*format!("kind: {kind}")]);
        assert_eq!(example.ends(), Some(1));
    }
}
