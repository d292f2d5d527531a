//! Streams: resets, blocked writes, half-closed connections and Unix sockets.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use noctule_packet::ReasonCode;
use noctule_testkit::{Peer, Script, bytes};

use crate::failure_of;

/// A connection whose other side resets it: it ends with input that was not read.
fn reset_peer() -> Peer {
    let server = Script::run(|peer| {
        peer.stream().peek(&mut [0]).unwrap();
    });
    let mut peer = Peer::connect(server.address());
    peer.send_pingreq();
    server.finish();
    peer
}

#[test]
fn a_reset_is_no_orderly_end() {
    let message = failure_of(|| reset_peer().expect_closed());
    assert!(message.contains("got a broken connection"), "{message}");
    reset_peer().expect_closed_or_reset();
}

#[test]
fn sending_to_a_closed_connection_fails_with_the_next_expectation() {
    let mut peer = reset_peer();
    peer.send_pingreq();
    peer.send_pingreq();
    assert!(peer.transcript().contains("= not sent: "), "{}", peer.transcript());
    failure_of(|| peer.expect_pingresp());
}

#[test]
fn a_blocked_write_fails() {
    // Nobody accepts; the kernel takes what fits into its buffers.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut peer = Peer::connect(listener.local_addr().unwrap());
    peer.set_timeout(Duration::from_millis(50));
    let zeros = vec![0; 64 << 20];
    let message = failure_of(|| peer.send_bytes(&zeros));
    assert!(message.contains("Sending failed"), "{message}");
}

#[test]
fn the_answer_to_a_half_closed_connection_is_read() {
    let server = Script::run(|mut peer| {
        peer.expect_closed();
        peer.send_bytes(&bytes("d0 00"));
    });
    let mut peer = Peer::connect(server.address());
    peer.shut_down_writing();
    peer.expect_pingresp();
    peer.expect_closed();
    server.finish();
}

#[cfg(unix)]
#[test]
fn unix_sockets_are_spoken_over() {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use noctule_testkit::{OwnedConnack, OwnedConnect};

    let path = std::env::temp_dir().join(format!("noctule-testkit-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let mut peer = Peer::over(listener.accept().unwrap().0);
        peer.expect_connect();
        peer.send_connack(&OwnedConnack::new(ReasonCode::Success).session_present(true));
        peer.expect_disconnect(ReasonCode::Success);
    });
    let mut peer = Peer::connect_unix(&path);
    std::fs::remove_file(&path).unwrap();
    assert!(peer.open(&OwnedConnect::v311("id")).session_present);
    peer.disconnect();
    server.join().unwrap();
}
