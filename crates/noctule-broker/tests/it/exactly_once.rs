//! QoS 2 while one connection takes over from another, at every step of the handshake.

use noctule_broker::{QoS, ReasonCode, Version};
use noctule_testkit::{OwnedConnect, OwnedPublish, Peer};

use crate::neighbours::Neighbours;
use crate::{DEADLINE, start_default, wait};

const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5_0];

/// A client whose connections replace each other, and whose session stays.
struct Mover {
    connect: OwnedConnect,
    peer: Peer,
}

impl Mover {
    fn new(address: std::net::SocketAddr, version: Version, client_id: &str) -> Self {
        let expiry = version.is_v5().then_some(1_000);
        let connect = OwnedConnect::new(version, client_id);
        let connect =
            OwnedConnect { clean_start: false, session_expiry_interval: expiry, ..connect };
        Self { peer: Peer::connect_with(address, &connect), connect }
    }

    /// Goes on with another connection; the old one is told.
    fn move_on(&mut self, address: std::net::SocketAddr) {
        let mut next = Peer::connect(address);
        assert!(next.open(&self.connect).session_present);
        let mut old = std::mem::replace(&mut self.peer, next);
        if old.version().is_v5() {
            old.expect_disconnect(ReasonCode::SessionTakenOver);
        }
        old.expect_closed();
    }
}

#[test]
fn a_publisher_that_moves_at_any_step_publishes_once() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    for version in VERSIONS {
        // Several names, so that they live on several shards.
        for client in 0..8 {
            let mut reader = Peer::v5(address, &format!("reader-{client}"));
            reader.subscribe(&[("t", QoS::ExactlyOnce)]);
            let mut mover = Mover::new(address, version, &format!("publisher-{client}"));
            for step in 0..3 {
                let text = format!("{version} {client} {step}");
                let id = step + 1;
                let publish = OwnedPublish::new("t", &text, QoS::ExactlyOnce).packet_id(id);
                mover.peer.send_publish(&publish);
                // The answer says that it has been read; then the answer is lost.
                mover.peer.expect_pubrec(id);
                if step > 0 {
                    mover.peer.send_pubrel(id);
                    mover.peer.expect_pubcomp(id);
                }
                mover.move_on(address);
                match step {
                    // PUBREC was lost: said again, and answered again.
                    0 => {
                        mover.peer.send_publish(&publish.dup(true));
                        mover.peer.expect_pubrec(id);
                        mover.peer.send_pubrel(id);
                        mover.peer.expect_pubcomp(id);
                    }
                    // PUBCOMP was lost: nothing is known of the message any more.
                    1 => {
                        mover.peer.send_pubrel(id);
                        mover.peer.expect_pubcomp_with(id, ReasonCode::PacketIdentifierNotFound);
                    }
                    _ => mover.peer.expect_nothing_before_pong(),
                }
                assert_eq!(reader.receive().text(), text);
                reader.expect_nothing_before_pong();
            }
        }
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_subscriber_that_moves_at_any_step_receives_once() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    let mut writer = Peer::v5(address, "writer-of-one");
    for version in VERSIONS {
        for client in 0..8 {
            let mut mover = Mover::new(address, version, &format!("subscriber-{client}"));
            let topic = format!("t/{version}/{client}");
            mover.peer.subscribe(&[(&topic, QoS::ExactlyOnce)]);
            for step in 0..3 {
                let text = format!("{client} {step}");
                writer.publish(&topic, &text, QoS::ExactlyOnce);
                let message = mover.peer.expect_publish();
                assert_eq!((message.text(), message.dup), (text.as_str(), false));
                if step > 0 {
                    mover.peer.send_pubrec(message.id());
                    mover.peer.expect_pubrel(message.id());
                }
                if step > 1 {
                    mover.peer.send_pubcomp(message.id());
                    mover.peer.expect_nothing_before_pong();
                }
                mover.move_on(address);
                match step {
                    // Nothing was acknowledged: the same message under the same identifier.
                    0 => {
                        let again = mover.peer.receive();
                        let (id, text) = (message.id(), text.as_str());
                        assert_eq!((again.id(), again.text(), again.dup), (id, text, true));
                    }
                    // It was received: only PUBREL comes again.
                    1 => {
                        mover.peer.expect_pubrel(message.id());
                        mover.peer.send_pubcomp(message.id());
                    }
                    _ => {}
                }
                mover.peer.expect_nothing_before_pong();
            }
        }
        neighbours.are_served();
    }
    let (_, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!((gauges.in_flight_messages, gauges.queued_messages), (0, 0), "{gauges:?}");
    broker.stop_blocking(DEADLINE).unwrap();
}

/// Two programs that believe to be the same client: each is told when it has to go, however often.
#[test]
fn two_clients_of_one_name_are_each_told_when_the_other_comes() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    for client in 0..8 {
        let mut mover = Mover::new(address, Version::V5_0, &format!("twin-{client}"));
        mover.peer.subscribe(&[("twins", QoS::ExactlyOnce)]);
        for round in 0..20 {
            mover.move_on(address);
            mover.peer.publish("twins", round.to_string(), QoS::ExactlyOnce);
            assert_eq!(mover.peer.receive().text(), round.to_string());
            // The last acknowledgement has arrived, so that nothing is repeated.
            mover.peer.expect_nothing_before_pong();
        }
        mover.peer.unsubscribe(&["twins"]);
        neighbours.are_served();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}
