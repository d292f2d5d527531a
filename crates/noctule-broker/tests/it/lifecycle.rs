//! Starting, stopping, and what becomes of everybody who is there.

use std::time::Duration;

use noctule_broker::{
    Broker, Farewell, Limits, Listener, Publication, ReasonCode, StartError, Stopped,
};
use noctule_testkit::Peer;

use crate::{DEADLINE, start, start_default, wait};

#[test]
fn a_broker_starts_on_a_free_port_and_stops() {
    let (broker, address) = start_default();
    assert_ne!(address.port(), 0);
    Peer::v311(address, "a").disconnect();
    broker.stop_blocking(DEADLINE).unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
    // Stopping again, and asking how it ended, finds it ended.
    broker.stop_blocking(DEADLINE).unwrap();
    broker.finished_blocking().unwrap();
}

#[test]
fn a_second_broker_on_the_same_port_does_not_start() {
    let (broker, address) = start_default();
    let error = Broker::builder().listen(address.to_string()).start().unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    broker.stop_blocking(DEADLINE).unwrap();
    let second = Broker::builder().listen(address.to_string()).start().unwrap();
    second.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_wide_listener_without_users_needs_a_decision() {
    let error = Broker::builder().listen("0.0.0.0:0").start().unwrap_err();
    assert!(matches!(error, StartError::AnonymousNotAllowed { .. }), "{error:?}");
    assert!(error.to_string().contains("--allow-anonymous"), "{error}");

    let wide = Listener::new("0.0.0.0:0").allow_anonymous(true);
    let broker = Broker::builder().listen(wide).start().unwrap();
    let port = broker.local_addrs()[0].tcp().unwrap().port();
    Peer::v5(("127.0.0.1", port), "a").disconnect();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_listener_without_anonymous_clients_refuses_them() {
    let listener = Listener::new("127.0.0.1:0").allow_anonymous(false);
    let broker = Broker::builder().listen(listener).start().unwrap();
    let mut peer = Peer::connect(broker.local_addrs()[0].tcp().unwrap());
    peer.send_connect(&noctule_testkit::OwnedConnect::v5("a"));
    peer.expect_connack_with(ReasonCode::NotAuthorized);
    peer.expect_closed();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn addresses_that_are_none_are_errors() {
    for address in ["", "1883", "127.0.0.1", "127.0.0.1:x", "unix:"] {
        let error = Broker::builder().listen(address).start().unwrap_err();
        assert!(matches!(error, StartError::Address { .. }), "{address}: {error:?}");
    }
}

#[test]
fn settings_that_would_turn_clients_away_later_are_errors() {
    let message = |builder: noctule_broker::Builder| builder.start().unwrap_err().to_string();
    let long = message(Broker::builder().response_information("x".repeat(65_536)));
    assert!(long.contains("response_information") && long.contains("65536"), "{long}");
    let zero = message(Broker::builder().response_information("a\0"));
    assert!(zero.contains("response_information"), "{zero}");
    let nobody = Listener::new("127.0.0.1:0").versions([]);
    let nobody = message(Broker::builder().listen(nobody));
    assert!(nobody.contains("127.0.0.1:0") && nobody.contains("version"), "{nobody}");
}

#[test]
fn limits_that_leave_room_for_nothing_are_errors() {
    let mut limits = Limits::default();
    limits.receive_maximum = 0;
    let error = Broker::builder().listen("127.0.0.1:0").limits(limits).start().unwrap_err();
    assert!(matches!(error, StartError::Limit(_)), "{error:?}");
    assert!(error.to_string().contains("limits.receive_maximum = 0"), "{error}");
}

#[test]
fn stopping_says_good_bye() {
    let (broker, address) = start_default();
    let mut modern = Peer::v5(address, "modern");
    let mut older = Peer::v311(address, "older");
    let stopping = broker.clone();
    let stopped = std::thread::spawn(move || stopping.stop_blocking(DEADLINE));
    modern.expect_disconnect(ReasonCode::ServerShuttingDown);
    modern.expect_closed();
    older.expect_closed();
    drop((modern, older));
    stopped.join().unwrap().unwrap();
}

#[test]
fn stopping_can_send_clients_elsewhere() {
    for (farewell, reason) in [
        (Farewell::within(DEADLINE).use_another_server("b:1883"), ReasonCode::UseAnotherServer),
        (Farewell::within(DEADLINE).server_moved("b:1883"), ReasonCode::ServerMoved),
    ] {
        let (broker, address) = start_default();
        let mut modern = Peer::v5(address, "modern");
        let mut older = Peer::v311(address, "older");
        let stopped = std::thread::spawn(move || broker.stop_blocking(farewell));
        let disconnect = modern.expect_disconnect(reason);
        assert_eq!(disconnect.server_reference.as_deref(), Some("b:1883"));
        modern.expect_closed();
        older.expect_closed();
        drop((modern, older));
        stopped.join().unwrap().unwrap();
    }
}

#[test]
fn a_peer_that_never_reads_does_not_hold_up_the_end() {
    let (broker, address) = start_default();
    let peer = Peer::v5(address, "deaf");
    let started = std::time::Instant::now();
    broker.stop_blocking(Duration::ZERO).unwrap();
    assert!(started.elapsed() < DEADLINE);
    drop(peer);
}

#[test]
fn dropping_the_last_handle_stops_the_broker() {
    let (broker, address) = start_default();
    let second = broker.clone();
    drop(broker);
    let mut peer = Peer::v5(address, "a");
    drop(second);
    peer.expect_disconnect(ReasonCode::ServerShuttingDown);
}

#[test]
fn every_call_ends_with_an_error_once_the_broker_has_stopped() {
    let (broker, _) = start_default();
    broker.stop_blocking(DEADLINE).unwrap();
    assert_eq!(wait(broker.statistics()), Err(Stopped));
    assert_eq!(wait(broker.clients()), Err(Stopped));
    assert_eq!(wait(broker.kick("a")), Err(Stopped));
    assert_eq!(broker.publish_blocking(Publication::new("t", "")), Err(Stopped.into()));
    assert_eq!(broker.subscribe_blocking("t").unwrap_err(), Stopped.into());
}

#[test]
fn the_descriptor_limit_is_reported_and_bounds_connections() {
    let (broker, _) = start_default();
    if let Some(limit) = broker.descriptor_limit() {
        assert!(u64::from(broker.connections_max()) < limit);
    }
    broker.stop_blocking(DEADLINE).unwrap();

    let mut limits = Limits::default();
    limits.connections_max = 3;
    let (broker, _) = start(Broker::builder().limits(limits));
    assert_eq!(broker.connections_max(), 3);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn clients_are_listed_counted_and_kicked() {
    let (broker, address) = start_default();
    let mut peer = Peer::v5(address, "guest");
    let clients = wait(broker.clients()).unwrap();
    let guest = clients.iter().find(|client| &*client.client_id == "guest").unwrap();
    assert!(guest.connection.is_some());
    assert!(guest.peer.as_ref().unwrap().to_string().starts_with("127.0.0.1:"));
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!(gauges.connections, 1);
    assert!(statistics.packets_received >= 1);

    assert!(wait(broker.kick("guest")).unwrap());
    peer.expect_disconnect(ReasonCode::AdministrativeAction);
    peer.expect_closed();
    assert!(!wait(broker.kick("nobody")).unwrap());
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_host_that_goes_on_publishing_does_not_hold_up_the_end() {
    let (broker, _) = start_default();
    let publisher = broker.clone();
    let thread = std::thread::spawn(move || {
        loop {
            let publication = Publication::new("t", "x").qos(noctule_broker::QoS::AtLeastOnce);
            if let Err(error) = publisher.publish_blocking(publication) {
                return error;
            }
        }
    });
    let mut subscription = broker.subscribe_blocking("t").unwrap();
    crate::next(&mut subscription).unwrap();
    let started = std::time::Instant::now();
    broker.stop_blocking(4 * DEADLINE).unwrap();
    assert!(started.elapsed() < DEADLINE);
    assert_eq!(thread.join().unwrap(), Stopped.into());
}
