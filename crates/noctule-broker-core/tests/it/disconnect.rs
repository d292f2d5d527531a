//! DISCONNECT from either side, and the host program's orders to disconnect.

use noctule_broker_core::{
    Authentication, Authorization, Command, Durability, Ended, Event, Input,
};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedDisconnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, ended_with, lasting};
use crate::world::Shards;

fn kick(broker: &Broker, client_id: &str, reason: ReasonCode) {
    broker.input(Input::Command(Command::Kick { client_id: client_id.into(), reason }));
}

fn stop(broker: &Broker, reason: ReasonCode, server_reference: Option<&str>) {
    let server_reference = server_reference.map(Into::into);
    broker.input(Input::Command(Command::Stop { reason, server_reference }));
}

/// How clients' connections have ended since the last call.
fn endings(broker: &Broker) -> Vec<(String, Ended)> {
    let endings = broker.events().into_iter().filter_map(|event| match event {
        Event::Disconnected { client_id, ended, .. } => Some((client_id.to_string(), ended)),
        _ => None,
    });
    endings.collect()
}

#[test]
fn the_server_closes_the_connection_of_a_client_that_says_goodbye() {
    spec!("MQTT31-3.14-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        client.send_disconnect(ReasonCode::Success);
        client.expect_closed();
        let expected = ("a".to_owned(), Ended::ByClient(ReasonCode::Success));
        assert_eq!(endings(&broker), [expected]);
        // The end of the transport is no second end.
        drop(client);
        assert_eq!(endings(&broker), []);
    }
}

#[test]
fn what_stands_behind_a_disconnect_is_ignored() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("#", QoS::AtMostOnce)]);
        let mut client = broker.client(version, "a");
        // DISCONNECT, PINGREQ, PUBLISH
        let publish = if version.is_v5() { "30 04 0001 't' 00" } else { "30 03 0001 't'" };
        client.send_bytes(&noctule_testkit::bytes(&format!("e0 00 c0 00 {publish}")));
        client.expect_closed();
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_client_may_say_why_it_goes() {
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "a");
    client.send_disconnect(ReasonCode::ImplementationSpecificError);
    client.expect_closed();
    let ended = Ended::ByClient(ReasonCode::ImplementationSpecificError);
    assert_eq!(endings(&broker), [("a".to_owned(), ended)]);
}

#[test]
fn a_session_that_ends_with_its_connection_cannot_be_prolonged_by_disconnect() {
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "a");
    let later = OwnedDisconnect::new(ReasonCode::Success).session_expiry_interval(5);
    client.send_disconnect_with(&later);
    client.expect_refused(ReasonCode::ProtocolError);
    assert!(!broker.lasting(Version::V5_0, "a").connack().expect("a CONNACK").session_present);
}

#[test]
fn a_kicked_client_is_told_and_hears_nothing_more() {
    spec!("MQTT5-3.14.4-1", "MQTT5-3.14.4-2", "MQTT5-3.14.2-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.lasting(version, "a");
        client.subscribe(&[("t", QoS::ExactlyOnce)]);
        let mut publisher = broker.client(version, "publisher");
        kick(&broker, "a", ReasonCode::AdministrativeAction);
        publisher.publish("t", "late", QoS::AtMostOnce);
        publisher.publish("t", "late", QoS::AtLeastOnce);
        // A broker that only says that it closes would still answer this.
        client.send_pingreq();
        if version.is_v5() {
            let disconnect = client.expect_disconnect(ReasonCode::AdministrativeAction);
            assert_eq!(disconnect.session_expiry_interval, None);
            assert!(disconnect.reason_string.is_some());
        }
        client.expect_closed();
        let endings = endings(&broker);
        let [(client_id, Ended::ByServer(reason))] = &endings[..] else { panic!("{endings:?}") };
        assert_eq!((&**client_id, reason.code), ("a", ReasonCode::AdministrativeAction));
    }
}

#[test]
fn a_kick_of_nobody_changes_nothing() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        drop(broker.lasting(version, "away"));
        for name in ["b", "away", ""] {
            kick(&broker, name, ReasonCode::AdministrativeAction);
        }
        client.expect_nothing_before_pong();
    }
}

#[test]
fn a_kick_for_a_reason_that_disconnect_has_no_code_for_is_an_unspecified_error() {
    spec!("MQTT5-3.14.2-1");
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "a");
    kick(&broker, "a", ReasonCode::Banned);
    client.expect_refused(ReasonCode::UnspecifiedError);
    assert!(ended_with(&broker.events(), ReasonCode::Banned));
}

#[test]
fn a_client_that_is_not_let_in_yet_gets_no_disconnect() {
    spec!("MQTT5-3.14.0-1");
    for version in VERSIONS {
        for stops in [false, true] {
            let broker = Broker::with(|settings| settings.durability = Durability::Stored);
            broker.hold();
            let mut client = broker.open();
            // It waits for the store.
            client.send_connect(&lasting(version, "a"));
            if stops {
                stop(&broker, ReasonCode::ServerShuttingDown, None);
            } else {
                kick(&broker, "a", ReasonCode::NotAuthorized);
            }
            let code =
                if stops { ReasonCode::ServerUnavailable } else { ReasonCode::NotAuthorized };
            client.expect_connack_with(code);
            client.expect_closed();
            // The answer comes too late.
            broker.answer();
            client.expect_closed();
            assert_eq!(broker.look(|shard| shard.gauges().clients_connected), 0);
        }
    }
}

#[test]
fn a_broker_that_stops_says_so_and_lets_nobody_in() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.listeners[0].authentication = Authentication::Ask;
        });
        let mut client = broker.client(version, "a");
        let mut silent = broker.open();
        broker.hold();
        let mut waiting = broker.open();
        waiting.send_connect(&OwnedConnect::new(version, "b"));
        broker.events();
        stop(&broker, ReasonCode::ServerShuttingDown, None);
        client.expect_refused(ReasonCode::ServerShuttingDown);
        // Nobody knows what this one speaks.
        silent.expect_closed();
        waiting.expect_connack_with(ReasonCode::ServerUnavailable);
        waiting.expect_closed();
        broker.open().expect_closed();
        let events = broker.events();
        let count =
            |wanted: fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
        assert_eq!(count(|event| matches!(event, Event::Refused { .. })), 3, "{events:?}");
        assert_eq!(count(|event| matches!(event, Event::Disconnected { .. })), 1, "{events:?}");
        broker.answer();
        waiting.expect_closed();
    }
}

#[test]
fn clients_are_sent_to_another_server() {
    for code in [ReasonCode::UseAnotherServer, ReasonCode::ServerMoved] {
        let broker = Broker::with(|settings| settings.durability = Durability::Stored);
        let mut client = broker.client(Version::V5_0, "a");
        let mut old = broker.client(Version::V3_1_1, "b");
        broker.hold();
        let mut waiting = broker.open();
        waiting.send_connect(&lasting(Version::V5_0, "c"));
        stop(&broker, code, Some("other.example:1883"));
        let disconnect = client.expect_disconnect(code);
        assert_eq!(disconnect.server_reference.as_deref(), Some("other.example:1883"));
        client.expect_closed();
        old.expect_closed();
        let connack = waiting.expect_connack_with(code);
        assert_eq!(connack.server_reference.as_deref(), Some("other.example:1883"));
        waiting.expect_closed();
    }
}

#[test]
fn a_connection_that_is_lost_is_the_end_of_a_client_that_said_nothing() {
    for version in VERSIONS {
        let broker = Broker::new();
        drop(broker.client(version, "a"));
        assert_eq!(endings(&broker), [("a".to_owned(), Ended::ConnectionLost)]);
        assert_eq!(broker.look(|shard| shard.gauges().connections), 0);
        assert_eq!(broker.look(Shards::poll_timeout), None);
    }
}

#[test]
fn a_slot_that_is_used_again_is_not_hit_by_what_was_meant_for_its_predecessor() {
    use noctule_broker_core::ConnectionId;
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "a");
    let earlier = ConnectionId { slot: 0, generation: 7 };
    broker.input(Input::Closed { connection: earlier });
    broker.input(Input::Flushed { connection: earlier });
    broker.input(Input::Bytes { connection: earlier, bytes: &[0xE0, 0] });
    client.expect_nothing_before_pong();
}

#[test]
fn a_client_that_is_kicked_while_its_packet_waits_is_gone_when_the_answer_comes() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.authorization = Authorization::Ask);
        let mut client = broker.lasting(version, "a");
        broker.hold();
        client.send_publish(&OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(1));
        // This waits behind it, and is never read.
        client.send_disconnect(ReasonCode::Success);
        kick(&broker, "a", ReasonCode::AdministrativeAction);
        client.expect_refused(ReasonCode::AdministrativeAction);
        broker.answer();
        client.expect_closed();
        assert_eq!(endings(&broker).len(), 1);
    }
}

#[test]
fn a_disconnect_behind_a_packet_that_waits_is_read_after_the_answer() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.authorization = Authorization::Ask);
        let mut client = broker.client(version, "a");
        broker.hold();
        client.send_publish(&OwnedPublish::new("t", "x", QoS::ExactlyOnce).packet_id(1));
        client.send_disconnect(ReasonCode::Success);
        assert_eq!(endings(&broker), []);
        broker.answer();
        client.expect_pubrec(1);
        client.expect_closed();
        let ended = Ended::ByClient(ReasonCode::Success);
        assert_eq!(endings(&broker), [("a".to_owned(), ended)]);
    }
}

#[test]
fn a_second_order_to_stop_or_kick_changes_nothing() {
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "a");
    for _ in 0..2 {
        kick(&broker, "a", ReasonCode::AdministrativeAction);
        stop(&broker, ReasonCode::ServerShuttingDown, None);
    }
    client.expect_refused(ReasonCode::AdministrativeAction);
    assert_eq!(broker.look(|shard| shard.statistics().clients_disconnected), 1);
    assert_eq!(endings(&broker).len(), 1);
}
