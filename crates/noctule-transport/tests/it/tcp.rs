//! TCP: addresses, options, failures.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Duration;

use noctule_transport::{DialerBuilder, SocketOptions, Stage, TransportError, Url};

use crate::conversation::{FRONTS, bytes, on_both, refused_by_both};
use crate::server::{echo_server, silent_server};

fn builder(url: &str) -> DialerBuilder {
    DialerBuilder::new(url.parse::<Url>().unwrap())
}

#[test]
fn bytes_go_there_and_back() {
    let address = echo_server();
    on_both(&builder(&format!("mqtt://{address}")), |outcome| {
        assert_eq!(outcome.unwrap().peer_address, Some(address));
    });
}

#[test]
fn both_sides_can_write_a_lot_at_once() {
    let builder = builder(&format!("mqtt://{}", echo_server()));
    for front in FRONTS {
        front.converse(&builder, &bytes(8_000_000)).unwrap();
    }
}

#[test]
fn a_name_is_resolved_and_its_addresses_are_tried() {
    // If localhost has an IPv6 address, too, nobody listens there.
    let port = echo_server().port();
    on_both(&builder(&format!("mqtt://localhost:{port}")), |outcome| {
        outcome.unwrap();
    });
}

#[test]
fn a_socket_is_bound_where_the_user_wants() {
    let address = echo_server();
    let local = Ipv4Addr::new(127, 0, 0, 77);
    let options = SocketOptions::default().bind_address(local.into());
    on_both(&builder(&format!("mqtt://{address}")).socket(options), |outcome| {
        assert_eq!(outcome.unwrap().local_address.unwrap().ip(), local);
    });
    let options = SocketOptions::default().bind_address(Ipv6Addr::LOCALHOST.into());
    refused_by_both(&builder(&format!("mqtt://{address}")).socket(options), |error| {
        assert!(matches!(error, TransportError::NoAddress { .. }), "{error:?}");
    });
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = refused_by_both(&builder(&format!("mqtt://{address}")), |error| {
        assert!(matches!(error, TransportError::Connect { .. }), "{error:?}");
    });
    assert!(text.starts_with(&format!("cannot connect to {address}: {address}: ")), "{text}");
}

#[test]
fn a_name_that_does_not_exist_is_named() {
    let text = refused_by_both(&builder("mqtt://broker.invalid"), |error| {
        assert!(matches!(error, TransportError::Resolve { .. }), "{error:?}");
    });
    assert!(text.starts_with("cannot find the address of \"broker.invalid\": "), "{text}");
}

#[test]
fn a_time_out_tells_what_was_being_waited_for() {
    let limit = Duration::from_millis(100);
    let builder = builder(&format!("ws://{}", silent_server())).connect_timeout(limit);
    let text = refused_by_both(&builder, |error| {
        let TransportError::TimedOut { stage, after } = error else { panic!("{error:?}") };
        assert_eq!((*stage, *after), (Stage::WebSocket, limit));
    });
    assert_eq!(
        text,
        "no connection within 100ms: still waiting for the server's WebSocket handshake"
    );
}
