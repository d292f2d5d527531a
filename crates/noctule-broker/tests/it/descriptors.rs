//! A process without descriptors left: nobody can come in, and everybody who is in stays served.

use std::net::TcpStream;
use std::time::Duration;

use noctule_broker::ReasonCode;
use noctule_testkit::{OwnedConnect, Peer};

use crate::neighbours::Neighbours;
use crate::process::BrokerProcess;

const DESCRIPTORS: u32 = 300;

#[test]
fn clients_beyond_what_descriptors_allow_are_told_and_leave_room_again() {
    let mut broker = BrokerProcess::start_with(Duration::from_secs(30), Some(DESCRIPTORS));
    let mut neighbours = Neighbours::new(broker.address);
    let connections_max = broker.statistics()["connections_max"];
    assert!(connections_max < u64::from(DESCRIPTORS), "{connections_max}");

    let mut inside: Vec<_> = (2..connections_max)
        .map(|number| Peer::v5(broker.address, &format!("client-{number}")))
        .collect();
    for number in 0..20 {
        let mut outside = Peer::connect(broker.address);
        outside.send_connect(&OwnedConnect::v5(&format!("outside-{number}")));
        let refused = outside.expect_connack_with(ReasonCode::ServerBusy);
        let text = refused.reason_string.unwrap();
        assert!(text.contains("limits.connections_max"), "{text}");
        outside.expect_closed();
        neighbours.are_served();
    }
    let statistics = broker.statistics();
    assert_eq!(statistics["connections_refused"], 20, "{statistics:?}");
    for client in inside.drain(..20) {
        client.disconnect();
    }
    for number in 0..20 {
        inside.push(Peer::v5(broker.address, &format!("later-{number}")));
    }
    for client in &mut inside {
        client.expect_nothing_before_pong();
    }
    neighbours.are_served();
}

#[test]
fn a_process_out_of_descriptors_serves_who_is_in_and_goes_on_accepting_later() {
    let mut broker = BrokerProcess::start_with(Duration::from_secs(30), Some(DESCRIPTORS));
    let mut neighbours = Neighbours::new(broker.address);
    let taken = broker.take_descriptors();
    assert!(taken > 0);
    // The kernel takes their connections; the broker has no descriptor for them.
    let mut waiting: Vec<_> = (0..50)
        .map(|number| {
            let mut peer = Peer::over(TcpStream::connect(broker.address).unwrap());
            peer.send_connect(&OwnedConnect::v311(&format!("waiting-{number}")));
            neighbours.are_served();
            peer
        })
        .collect();
    let statistics = broker.statistics();
    assert_eq!(statistics["connections"], 2, "{statistics:?}");
    // Still there: they were not turned away, and nobody was thrown out for them.
    broker.return_descriptors();
    for peer in &mut waiting {
        assert_eq!(peer.expect_connack().reason_code, ReasonCode::Success);
        neighbours.are_served();
    }
    let statistics = broker.statistics();
    assert_eq!(statistics["clients_connected"], 52, "{statistics:?}");
}
