//! A broker that runs: where it listens, whom it serves, and how it ends.

use noctule_packet::{QoS, ReasonCode};
use noctule_testkit::{OwnedConnect, Peer};
use rustix::process::Signal;

use crate::broker::{Serving, TemporaryFile};

#[test]
fn both_signals_stop_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
        let mut peer = Peer::v5(serving.address(), "a");
        serving.signal(signal);
        peer.expect_disconnect(ReasonCode::ServerShuttingDown);
        peer.expect_closed();
        drop(peer);
        let (status, lines) = serving.end();
        assert!(status.success(), "{signal:?}: {status}\n{}", lines.join("\n"));
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--stop-deadline", "3600"]);
    // It does not close its side, so the broker gives it a second.
    let _peer = Peer::v5(serving.address(), "a");
    serving.signal(Signal::TERM);
    serving.line_with("stopping");
    // Whoever is impatient does not count; the first ones may pass for echoes.
    serving.signal_until_line(Signal::TERM, "ending at once");
    let (status, _) = serving.end();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn signals_that_come_together_are_one_wish() {
    // For example from a program that signals the broker and then its process group.
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let mut peer = Peer::v5(serving.address(), "a");
    serving.signal(Signal::TERM);
    serving.signal(Signal::INT);
    peer.expect_disconnect(ReasonCode::ServerShuttingDown);
    peer.expect_closed();
    drop(peer);
    let (status, lines) = serving.end();
    assert!(status.success(), "{status}\n{}", lines.join("\n"));
}

#[test]
fn every_listener_of_the_command_line_serves() {
    let socket = TemporaryFile::new("serve.sock", "");
    std::fs::remove_file(socket.path()).unwrap();
    let unix = format!("unix:{}", socket.path());
    let serving =
        Serving::start(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--listen", &unix]);
    let (first, second) = (serving.address(), serving.address());
    serving.line_with(&unix);

    let mut reader = Peer::v311(first, "reader");
    reader.subscribe(&[("t", QoS::AtLeastOnce)]);
    Peer::v5(second, "second").publish("t", "over TCP", QoS::AtLeastOnce);
    assert_eq!(reader.receive().text(), "over TCP");
    let mut peer = Peer::connect_unix(socket.path());
    peer.open(&OwnedConnect::v5("third"));
    peer.publish("t", "over a Unix socket", QoS::AtLeastOnce);
    assert_eq!(reader.receive().text(), "over a Unix socket");

    serving.signal(Signal::TERM);
    assert!(serving.end().0.success());
    assert!(!std::path::Path::new(socket.path()).exists());
}

#[test]
fn a_configuration_file_is_obeyed_and_flags_take_precedence() {
    let file = TemporaryFile::new(
        "config.toml",
        "listen = [\"127.0.0.1:0\"]\n\
         [limits]\nreceive_maximum = 7\ntopic_alias_maximum = 9\n\
         [features]\nmaximum_qos = 1\n",
    );
    let serving = Serving::start(&["--config", file.path(), "--receive-maximum", "5"]);
    let mut peer = Peer::connect(serving.address());
    let connack = peer.open(&OwnedConnect::v5("a"));
    assert_eq!(connack.receive_maximum, Some(5));
    assert_eq!(connack.topic_alias_maximum, Some(9));
    assert_eq!(connack.maximum_qos, Some(QoS::AtLeastOnce));
}

#[test]
fn a_wide_listener_is_open_if_that_is_said() {
    let serving = Serving::start(&["--listen", "0.0.0.0:0", "--allow-anonymous"]);
    let warning = serving.line_with("allow_anonymous");
    assert!(warning.contains("WARN"), "{warning}");
    let port = serving.address().port();
    Peer::v5(("127.0.0.1", port), "a").disconnect();
}

#[test]
fn shards_are_a_setting_like_any_other() {
    let file = TemporaryFile::new("shards.toml", "listen = [\"127.0.0.1:0\"]\nshards = 3\n");
    for (arguments, expected) in [
        (&["--config", file.path()][..], "shards=3"),
        (&["--config", file.path(), "--shards", "2"], "shards=2"),
    ] {
        let serving = Serving::start(arguments);
        assert!(serving.line_with("starting").contains(expected));
        let address = serving.address();
        let clients: Vec<_> =
            (0..10).map(|number| Peer::v5(address, &format!("client-{number}"))).collect();
        for _ in &clients {
            let line = serving.line_with("client connected");
            assert!(line.contains("shard="), "{line}");
        }
        serving.signal(Signal::TERM);
        for mut client in clients {
            client.expect_disconnect(ReasonCode::ServerShuttingDown);
        }
        let (status, lines) = serving.end();
        assert!(status.success());
        assert!(lines.last().unwrap().contains("stopped"), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.contains("stopped")).count(), 1, "{lines:?}");
    }
}
