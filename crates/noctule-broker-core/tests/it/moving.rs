//! Connections that come in on another shard than the one where their client is at home.

use noctule_broker_core::{Authentication, Command, Ended, Event, Input, ShardId};
use noctule_packet::{Packet, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, ended_with, lasting};

const V5: Version = Version::V5_0;

/// Two shards; "a" is at home on the first one, "b" on the second.
fn two() -> Broker {
    Broker::placed(2, &[("a", 0), ("b", 1)], |_| {})
}

/// The bytes of several packets.
fn bytes_of(version: Version, packets: &[Packet<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        packet.encode(version, &mut bytes).expect("a packet that can be written");
    }
    bytes
}

/// CONNECT of "b" with a publication and a ping right behind it.
fn connect_and_more(version: Version) -> Vec<u8> {
    let connect = OwnedConnect::new(version, "b");
    let publish = OwnedPublish::new("t", "behind", QoS::AtLeastOnce).packet_id(1);
    let packets = [
        Packet::Connect(Box::new(connect.to_packet())),
        Packet::Publish(publish.to_packet()),
        Packet::Pingreq,
    ];
    bytes_of(version, &packets)
}

#[track_caller]
fn expect_all_answered(client: &mut Client, version: Version) {
    client.set_version(version);
    client.expect_connack();
    client.expect_puback(1);
    client.expect_pingresp();
}

#[test]
fn what_a_client_sends_behind_its_connect_moves_with_it() {
    for version in VERSIONS {
        for shard in [0, 1] {
            let broker = two();
            let mut subscriber = broker.client(version, "a");
            subscriber.subscribe(&[("t", QoS::AtMostOnce)]);
            let mut client = broker.open_at(ShardId(shard));
            client.send_bytes(&connect_and_more(version));
            client.set_version(version);
            client.expect_connack();
            // The acknowledgement waits for the other shard.
            client.expect_pingresp();
            client.expect_puback(1);
            assert_eq!(subscriber.receive().text(), "behind");
            assert_eq!(broker.look(|shards| shards.clients().count()), 2);
        }
    }
}

#[test]
fn a_connect_may_come_in_any_pieces() {
    for version in VERSIONS {
        let bytes = connect_and_more(version);
        for at in 1..bytes.len() {
            let broker = two();
            let mut client = broker.open_at(ShardId(0));
            client.send_bytes(&bytes[..at]);
            client.send_bytes(&bytes[at..]);
            expect_all_answered(&mut client, version);
        }
        let broker = two();
        let mut client = broker.open_at(ShardId(0));
        bytes.iter().for_each(|byte| client.send_bytes(&[*byte]));
        expect_all_answered(&mut client, version);
    }
}

#[test]
fn half_a_connect_is_waited_for_where_it_came_in_and_no_longer_than_any_other() {
    let broker = two();
    let mut client = broker.open_at(ShardId(0));
    let bytes = connect_and_more(V5);
    client.send_bytes(&bytes[..10]);
    broker.advance_seconds(9);
    assert_eq!(broker.look(|shards| shards.gauges().connections), 1);
    broker.advance_seconds(1);
    client.expect_closed();
    drop(client);
    assert_eq!(broker.look(|shards| shards.gauges().connections), 0);
}

#[test]
fn a_connect_that_cannot_be_read_is_refused_where_it_came_in() {
    spec!("MQTT5-3.1.2-3", "MQTT311-3.1.2-3");
    for version in [Version::V3_1_1, V5] {
        for shard in [0, 1] {
            let broker = two();
            let connect = OwnedConnect::new(version, "b");
            let mut bytes = bytes_of(version, &[Packet::Connect(Box::new(connect.to_packet()))]);
            // The reserved flag.
            bytes[9] |= 1;
            let mut client = broker.open_at(ShardId(shard));
            client.send_bytes(&bytes);
            let events = broker.events();
            let refused = |event: &Event| matches!(event, Event::Refused { .. });
            assert_eq!(events.iter().filter(|event| refused(event)).count(), 1, "{events:?}");
            assert_eq!(broker.look(|shards| shards.statistics().connections_refused), 1);
            drop(client);
            assert_eq!(broker.look(|shards| shards.gauges().connections), 0);
        }
    }
}

#[test]
fn a_client_without_an_identifier_stays_where_it_came_in_and_others_find_it_there() {
    spec!("MQTT5-3.1.3-6", "MQTT311-3.1.3-6");
    for shard in [0, 1] {
        let broker = two();
        let mut client = broker.open_at(ShardId(shard));
        client.open(&OwnedConnect::v5(""));
        let assigned =
            client.connack().and_then(|connack| connack.assigned_client_identifier.clone());
        let assigned = assigned.expect("an identifier");
        assert_eq!(broker.home(&assigned), ShardId(shard));
        // Whoever takes it over comes in on the other shard.
        let mut heir = broker.open_at(ShardId(1 - shard));
        heir.open(&OwnedConnect::v5(&assigned));
        client.expect_refused(ReasonCode::SessionTakenOver);
        heir.expect_nothing_before_pong();
        assert_eq!(broker.look(|shards| shards.clients().count()), 1);
    }
}

#[test]
fn a_session_is_taken_over_whichever_shards_the_connections_came_in_on() {
    spec!("MQTT5-3.1.4-3", "MQTT311-3.1.4-2", "MQTT31-3.1-10");
    for version in VERSIONS {
        for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let broker = two();
            let mut old = broker.open_at(ShardId(first));
            old.open(&lasting(version, "b"));
            old.subscribe(&[("t", QoS::AtLeastOnce)]);
            broker.client(version, "a").publish("t", "unacknowledged", QoS::AtLeastOnce);
            let sent = old.expect_publish();
            let mut new = broker.open_at(ShardId(second));
            let connack = new.open(&lasting(version, "b"));
            assert_eq!(connack.session_present, version != Version::V3_1);
            old.expect_refused(ReasonCode::SessionTakenOver);
            let again = new.receive();
            assert_eq!((again.packet_id, again.dup), (sent.packet_id, true));
            new.expect_nothing_before_pong();
            assert!(ended_with(&broker.events(), ReasonCode::SessionTakenOver));
        }
    }
}

#[test]
fn a_connection_that_moves_is_counted_once() {
    let broker = two();
    let mut clients = Vec::new();
    for (name, shard) in [("a", 0), ("a", 1), ("b", 0), ("b", 1)] {
        let mut client = broker.open_at(ShardId(shard));
        client.open(&OwnedConnect::v5(name));
        clients.push(client);
    }
    let (statistics, gauges) = broker.look(|shards| (shards.statistics(), shards.gauges()));
    assert_eq!((statistics.connections_opened, statistics.clients_connected), (4, 4));
    // The older connection of each was taken over, and is there until its client closes it.
    assert_eq!((gauges.connections, gauges.clients_connected), (4, 2));
    assert_eq!(statistics.packets_received, 4, "each CONNECT once");
    drop(clients);
    assert_eq!(broker.look(|shards| shards.gauges().connections), 0);
}

#[test]
fn the_limit_of_connections_is_one_for_all_shards() {
    for version in VERSIONS {
        let broker = Broker::placed(2, &[("a", 0), ("b", 1), ("c", 1), ("d", 0)], |settings| {
            settings.limits.connections_max = 2;
        });
        let connect = |name: &str, shard: u16| {
            let mut client = broker.open_at(ShardId(shard));
            client.send_connect(&OwnedConnect::new(version, name));
            client
        };
        let mut first = connect("a", 1);
        let mut second = connect("b", 0);
        first.expect_connack_with(ReasonCode::Success);
        second.expect_connack_with(ReasonCode::Success);
        for (name, shard) in [("c", 0), ("c", 1), ("d", 0), ("d", 1)] {
            let mut refused = connect(name, shard);
            assert!(refused.expect_connack().reason_code.is_error(), "{name} at {shard}");
            refused.expect_closed();
            assert!(ended_with(&broker.events(), ReasonCode::ServerBusy));
        }
        drop(first);
        let mut third = connect("d", 1);
        third.expect_connack_with(ReasonCode::Success);
    }
}

#[test]
fn a_client_is_kicked_and_listed_wherever_it_came_in() {
    for shard in [0, 1] {
        let broker = two();
        let will = OwnedWill::new("will", "left");
        let mut watcher = broker.client(V5, "a");
        watcher.subscribe(&[("will", QoS::AtMostOnce)]);
        let mut client = broker.open_at(ShardId(shard));
        client.open(&OwnedConnect::v5("b").will(will));
        let mut listed: Vec<_> = broker.look(|shards| {
            shards.clients().map(|client| (client.client_id.to_string(), client.peer)).collect()
        });
        listed.sort_unstable_by_key(|(client_id, _)| client_id.clone());
        assert_eq!(listed[1], ("b".to_owned(), Some("peer-1".into())));
        assert_eq!(listed.len(), 2);
        let reason = ReasonCode::AdministrativeAction;
        broker.input(Input::Command(Command::Kick { client_id: "b".into(), reason }));
        client.expect_refused(reason);
        assert_eq!(watcher.receive().text(), "left");
        assert_eq!(broker.look(|shards| shards.clients().count()), 1);
    }
}

#[test]
fn a_stop_reaches_the_clients_of_all_shards_and_who_moves_meanwhile() {
    let broker = two();
    let mut clients = ["a", "b"].map(|name| broker.client(V5, name));
    let mut late = broker.open_at(ShardId(0));
    let reason = ReasonCode::ServerShuttingDown;
    broker.input(Input::Command(Command::Stop { reason, server_reference: None }));
    for client in &mut clients {
        client.expect_refused(reason);
    }
    late.expect_closed();
    let mut later = broker.open_at(ShardId(1));
    later.expect_closed();
}

#[test]
fn authentication_is_asked_once_at_home_with_what_the_client_sent() {
    let broker = Broker::placed(2, &[("b", 1)], |settings| {
        settings.listeners[0].authentication = Authentication::Ask;
    });
    broker.hold();
    let mut client = broker.open_at(ShardId(0));
    client.send_connect(&OwnedConnect::v5("b").user_name("user"));
    let (shard, asked) = broker.asked_by();
    assert_eq!(shard, ShardId(1));
    assert!(format!("{asked:?}").contains("user"), "{asked:?}");
    assert!(broker.has_asked_nothing());
    broker.give((shard, asked));
    client.expect_connack_with(ReasonCode::Success);
    drop(client);
    let lost =
        |event: &Event| matches!(event, Event::Disconnected { ended: Ended::ConnectionLost, .. });
    assert!(broker.events().iter().any(lost));
}
