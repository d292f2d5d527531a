//! The lines that an operator finds: one for each refusal, with all that is needed to act.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use noctule_packet::QoS;
use noctule_packet::ReasonCode;
use noctule_testkit::{OwnedConnect, OwnedPublish, Peer};
use rustix::process::Signal;

use crate::broker::{Serving, noctule, wait_for_end};

const SMALL: [&str; 4] = ["--listen", "127.0.0.1:0", "--maximum-packet-size", "1KiB"];

/// Makes the broker disconnect a client for a packet that is too large.
fn send_too_much(serving: &Serving) {
    let mut peer = Peer::v5(serving.address(), "greedy");
    peer.send_publish(&OwnedPublish::new("t", [0; 2_000], QoS::AtMostOnce));
    peer.expect_disconnect(ReasonCode::PacketTooLarge);
    peer.expect_closed();
}

#[test]
fn a_forced_disconnect_is_one_line_of_text() {
    let serving = Serving::start(&SMALL);
    send_too_much(&serving);
    let line = serving.line_with("client was disconnected");
    for part in [
        "WARN",
        "client_id=\"greedy\"",
        "peer=127.0.0.1:",
        "code=0x95",
        "setting=\"limits.maximum_packet_size\"",
        "limit=1024",
    ] {
        assert!(line.contains(part), "{part} is missing in: {line}");
    }
    serving.signal(Signal::TERM);
    let (_, rest) = serving.end();
    assert!(!rest.iter().any(|line| line.contains("greedy")), "{rest:?}");
}

#[test]
fn a_forced_disconnect_is_one_object_of_json() {
    let serving = Serving::start(&[&SMALL[..], &["--log-format", "json"]].concat());
    send_too_much(&serving);
    let line = serving.line_with("client was disconnected");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["level"], "WARN");
    assert_eq!(object["target"], "noctule");
    assert_eq!(object["client_id"], "greedy");
    assert_eq!(object["code"], "0x95");
    assert_eq!(object["setting"], "limits.maximum_packet_size");
    assert_eq!(object["limit"], 1024);
    assert!(object["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn a_refused_connection_is_one_line() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--client-id-bytes-max", "23"]);
    let mut peer = Peer::connect(serving.address());
    peer.send_connect(&OwnedConnect::v5(&"x".repeat(24)));
    peer.expect_connack_with(ReasonCode::ClientIdentifierNotValid);
    peer.expect_closed();
    let line = serving.line_with("connection refused");
    for part in ["WARN", "peer=127.0.0.1:", "code=0x85", "limits.client_id_bytes_max", "limit=23"] {
        assert!(line.contains(part), "{part} is missing in: {line}");
    }
}

#[test]
fn clients_come_and_go_in_the_log() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let address = serving.address();
    Peer::v311(address, "polite").disconnect();
    serving.line_with("client connected");
    let line = serving.line_with("client disconnected");
    assert!(line.contains("client_id=\"polite\""), "{line}");
    drop(Peer::v5(address, "rude"));
    let line = serving.line_with("connection lost");
    assert!(line.contains("client_id=\"rude\""), "{line}");
}

#[test]
fn a_log_that_nobody_takes_ends_neither_the_broker_nor_a_connection() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--log-format", "json"];
    let mut child = noctule(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "no address in the log");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        if let Some(address) = object["address"].as_str() {
            break address.parse::<std::net::SocketAddr>().unwrap();
        }
    };
    // From here on a line cannot be written.
    drop(log);
    Peer::v5(address, "a").disconnect();
    let mut peer = Peer::v5(address, "b");
    peer.subscribe(&[("t", QoS::AtLeastOnce)]);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    peer.expect_disconnect(ReasonCode::ServerShuttingDown);
    drop(peer);
    assert!(wait_for_end(&mut child).success());
}

#[test]
fn a_log_that_is_read_late_does_not_hold_up_clients() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--log-format", "json"];
    let mut child = noctule(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut object = || log.next().map(|line| serde_json::from_str(&line).unwrap());
    let address = loop {
        let line: serde_json::Value = object().expect("an address");
        if let Some(address) = line["address"].as_str() {
            break address.parse::<std::net::SocketAddr>().unwrap();
        }
    };
    // Two lines each: more than a pipe holds, and more than is kept for it.
    for client in 0..1_000 {
        Peer::v5(address, &format!("{client}-{}", "x".repeat(1_000))).disconnect();
    }
    loop {
        let line: serde_json::Value = object().expect("a line about those left out");
        if line["message"].as_str().unwrap().contains("left out") {
            assert!(line["count"].as_u64().unwrap() > 0);
            break;
        }
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let rest: Vec<serde_json::Value> = std::iter::from_fn(object).collect();
    assert_eq!(rest.last().unwrap()["message"], "stopped");
    assert!(wait_for_end(&mut child).success());
}

#[test]
fn the_level_leaves_lines_out() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--log-level", "debug"]);
    let mut peer = Peer::v5(serving.address(), "a");
    peer.subscribe(&[("t", QoS::AtMostOnce)]);
    let line = serving.line_with("subscribed");
    assert!(line.contains("filter=\"t\""), "{line}");
    serving.signal(Signal::TERM);
    serving.end();
}
