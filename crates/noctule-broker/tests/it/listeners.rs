//! Unix sockets: their files, their permissions, and what is already there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use noctule_broker::{Broker, Listener, QoS, StartError, Version};
use noctule_packet::{ReasonCode, spec};
use noctule_testkit::{OwnedConnect, Peer, packet_bytes};

use crate::{DEADLINE, start};

fn socket_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("noctule-{}-{name}.sock", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

#[test]
fn a_unix_socket_serves_and_its_file_goes_with_the_broker() {
    let path = socket_path("serves");
    let (broker, address) = start(Broker::builder());
    let unix = Broker::builder().listen(format!("unix:{}", path.display())).start().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);

    let mut peer = Peer::connect_unix(&path);
    peer.open(&OwnedConnect::v5("a"));
    peer.subscribe(&[("t", QoS::AtMostOnce)]);
    peer.publish("t", "hello", QoS::AtLeastOnce);
    assert_eq!(peer.receive().text(), "hello");
    peer.disconnect();

    unix.stop_blocking(DEADLINE).unwrap();
    assert!(!path.exists());
    Peer::v5(address, "b").disconnect();
    broker.stop_blocking(DEADLINE).unwrap();
}

/// A conversation in nothing but bytes of the specification.
fn talk<S: noctule_testkit::Stream>(mut peer: Peer<S>) {
    let payload: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    peer.set_version(Version::V3_1_1);
    peer.send_bytes(&packet_bytes(0x10, "s'MQTT' 04 02 0000 s'a'"));
    peer.expect_bytes(&[0x20, 2, 0, 0]);
    peer.send_bytes(&packet_bytes(0x82, "0001 s'large' 02"));
    peer.expect_bytes(&[0x90, 3, 0, 1, 2]);
    peer.publish("large", &payload, QoS::ExactlyOnce);
    peer.publish("large", "next", QoS::AtMostOnce);
    let received = peer.receive();
    assert!(received.payload == payload, "the payload was changed on its way");
    assert_eq!(peer.receive().text(), "next");
}

#[test]
fn bytes_pass_both_ways_in_order_and_without_loss() {
    spec!("MQTT5-4.2.0-1", "MQTT311-7.1.1-1", "MQTT311-7.0.0-2");
    let path = socket_path("lossless");
    let builder = Broker::builder().listen(format!("unix:{}", path.display()));
    let broker = builder.listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs().iter().find_map(|address| address.tcp()).unwrap();
    talk(Peer::connect(address));
    talk(Peer::connect_unix(&path));
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let path = socket_path("stale");
    let address = format!("unix:{}", path.display());
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let broker = Broker::builder().listen(address.as_str()).start().unwrap();

    let error = Broker::builder().listen(address.as_str()).start().unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error:?}");
    Peer::connect_unix(&path).open(&OwnedConnect::v311("a"));
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = socket_path("file");
    fs::write(&path, "precious").unwrap();
    let address = format!("unix:{}", path.display());
    Broker::builder().listen(address.as_str()).start().unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_unix_socket_has_the_permissions_that_were_asked_for() {
    let path = socket_path("mode");
    let listener = Listener::new(format!("unix:{}", path.display())).unix_mode(0o600);
    let broker = Broker::builder().listen(listener).start().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn each_listener_speaks_its_own_versions() {
    let broker = Broker::builder()
        .listen(Listener::new("127.0.0.1:0").versions([Version::V5_0]))
        .listen("127.0.0.1:0")
        .start()
        .unwrap();
    let addresses: Vec<_> =
        broker.local_addrs().iter().map(|address| address.tcp().unwrap()).collect();
    Peer::v5(addresses[0], "a").disconnect();
    Peer::v311(addresses[1], "b").disconnect();
    let mut peer = Peer::connect(addresses[0]);
    peer.send_connect(&OwnedConnect::new(Version::V3_1_1, "c"));
    peer.expect_connack_with(ReasonCode::UnsupportedProtocolVersion);
    peer.expect_closed();
    broker.stop_blocking(DEADLINE).unwrap();
}
