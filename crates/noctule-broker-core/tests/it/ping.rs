//! PINGREQ, and Keep Alive.

use noctule_packet::spec;
use noctule_testkit::{OwnedConnect, VERSIONS};

use crate::broker::Broker;

#[test]
fn pingreq_is_answered() {
    spec!("MQTT5-3.12.4-1", "MQTT311-3.12.4-1", "MQTT31-3.12-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        client.send_pingreq();
        client.expect_pingresp();
    }
}

#[test]
fn one_and_a_half_keep_alive_periods_of_silence_end_the_connection() {
    spec!("MQTT5-3.1.2-22", "MQTT311-3.1.2-24", "MQTT31-3.1-16");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.connect(&OwnedConnect::new(version, "a").keep_alive(10));
        broker.advance_seconds(14);
        client.expect_nothing_before_pong();
        broker.advance_seconds(14);
        client.expect_nothing_before_pong();
        broker.advance_seconds(16);
        client.expect_refused(noctule_packet::ReasonCode::KeepAliveTimeout);
    }
}
