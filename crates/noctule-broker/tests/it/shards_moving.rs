//! Sockets that come in on one shard and are served by another: nothing that they carry is lost or
//! comes out of turn.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use noctule_broker::{Broker, QoS, ReasonCode, Version};
use noctule_packet::{Framing, split};
use noctule_testkit::{OwnedConnect, OwnedWill, Peer, bytes, packet_bytes};

use crate::shards::{SHARDS, start};
use crate::standing::Standing;
use crate::{DEADLINE, wait};

/// CONNECT, SUBSCRIBE to "t" and PUBLISH to it, as a client sends them that waits for nothing.
fn eager(version: Version, client_id: &str) -> Vec<u8> {
    let (connect, subscribe, publish) = match version {
        Version::V5_0 => ("05 02 0000 00", "0001 00 s't' 00", "s't' 00 'x'"),
        _ => ("04 02 0000", "0001 s't' 00", "s't' 'x'"),
    };
    let connect = packet_bytes(0x10, &format!("s'MQTT' {connect} s'{client_id}'"));
    [connect, packet_bytes(0x82, subscribe), packet_bytes(0x30, publish)].concat()
}

#[test]
fn bytes_behind_connect_go_along_wherever_they_are_cut() {
    for (shards, version) in [(2, Version::V5_0), (4, Version::V3_1_1)] {
        let (broker, address) = start(Broker::builder(), shards);
        let mut neighbour = Peer::v311(address, "neighbour");
        let length = eager(version, "eager-000").len();
        for cut in 1..=length {
            // The identifier decides where the socket goes.
            let packets = eager(version, &format!("eager-{cut:03}"));
            let mut peer = Peer::connect(address);
            peer.set_version(version);
            peer.send_bytes(&packets[..cut]);
            // Time for the broker to take the first part alone.
            neighbour.expect_nothing_before_pong();
            peer.send_bytes(&packets[cut..]);
            peer.expect_connack_with(ReasonCode::Success);
            peer.expect_suback(1);
            assert_eq!(peer.expect_publish().payload, b"x", "cut at {cut}");
            peer.disconnect();
        }
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

#[test]
fn a_large_packet_that_begins_behind_connect_arrives_whole() {
    for shards in SHARDS {
        let (broker, address) = start(Broker::builder(), shards);
        let mut reader = Peer::v5(address, "reader");
        reader.subscribe(&[("large", QoS::AtLeastOnce)]);
        let payload: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        let mut publish = vec![0x30];
        publish.extend(bytes(&format!("v{} s'large'", payload.len() + 7)));
        publish.extend(&payload);
        for number in 0..8 {
            let connect = format!("s'MQTT' 04 02 0000 s'writer-{number}'");
            let all = [packet_bytes(0x10, &connect), publish.clone()].concat();
            let mut writer = Peer::connect(address);
            writer.set_version(Version::V3_1_1);
            let (first, second) = all.split_at([20, 30_000, 65_536, 200_000][number % 4]);
            writer.send_bytes(first);
            reader.expect_nothing_before_pong();
            writer.send_bytes(second);
            writer.expect_connack_with(ReasonCode::Success);
            assert!(reader.receive().payload == payload, "writer {number}");
            writer.disconnect();
        }
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

#[test]
fn sockets_of_the_file_system_move_too() {
    let path = std::env::temp_dir().join(format!("noctule-shards-{}", std::process::id()));
    let builder = Broker::builder().shards(4).listen(format!("unix:{}", path.display()));
    let broker = builder.start().unwrap();
    let mut clients: Vec<_> = (0..12)
        .map(|number| {
            let mut peer = Peer::connect_unix(&path);
            peer.open(&OwnedConnect::v311(&format!("client-{number}")));
            peer.subscribe(&[("t", QoS::AtLeastOnce)]);
            peer
        })
        .collect();
    for sender in 0..clients.len() {
        clients[sender].publish("t", sender.to_string(), QoS::AtLeastOnce);
        for receiver in &mut clients {
            assert_eq!(receiver.receive().text(), sender.to_string());
        }
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_client_takes_its_session_over_wherever_it_comes_in() {
    for shards in SHARDS {
        let (broker, address) = start(Broker::builder(), shards);
        let connect = OwnedConnect::v5("wanderer").resumable(3_600);
        let mut peer = Peer::connect_with(address, &connect);
        peer.subscribe(&[("t", QoS::AtLeastOnce)]);
        let mut writer = Peer::v5(address, "writer");
        for round in 0..2 * shards {
            let mut again = Peer::connect(address);
            assert!(again.open(&connect.clone().clean_start(false)).session_present);
            peer.expect_disconnect(ReasonCode::SessionTakenOver);
            peer.expect_closed();
            peer = again;
            writer.publish("t", round.to_string(), QoS::AtLeastOnce);
            assert_eq!(peer.receive().text(), round.to_string());
            // Its acknowledgement has arrived too.
            peer.expect_nothing_before_pong();
        }
        assert_eq!(wait(broker.clients()).unwrap().len(), 2);
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

/// Two connections have no common order, but a client that has said good-bye on one and comes back
/// on another does not expect to be taken for somebody who went without a word.
#[test]
fn a_disconnect_counts_before_the_connect_that_follows_it_on_another_shard() {
    for shards in SHARDS {
        let (broker, address) = start(Broker::builder(), shards);
        let mut witness = Peer::v5(address, "witness");
        witness.subscribe(&[("will", QoS::AtMostOnce)]);
        for round in 0..100 {
            let will = OwnedWill::new("will", "sent");
            let connect = OwnedConnect::v5("hasty").resumable(3_600).will(will);
            Peer::connect_with(address, &connect).disconnect();
            let mut again = Peer::connect(address);
            let connack = again.open(&OwnedConnect::v5("hasty").clean_start(false));
            assert!(connack.session_present, "round {round}");
            again.disconnect();
        }
        witness.expect_nothing_before_pong();
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

/// The same where both wait for a thread that has had no time for either.
#[test]
fn a_connection_that_has_moved_waits_until_all_sockets_have_been_looked_at() {
    let mut standing = Standing::new();
    let name = standing.far_names[0].clone();
    standing.near.subscribe(&[("will", QoS::AtMostOnce)]);
    let connect = OwnedConnect::v5(&name).resumable(3_600).will(OwnedWill::new("will", "sent"));
    let mut old = Peer::connect_with(standing.address, &connect);
    standing.stand_still();
    old.send_disconnect(ReasonCode::Success);
    let names = standing.near_names[1..3].to_vec();
    let (_served, _waiting, served_first) = standing.arrive(&names);
    // The next one goes to the first shard too, if need be behind another one.
    let _other = (!served_first).then(|| TcpStream::connect(standing.address).unwrap());
    let mut new = Peer::connect(standing.address);
    new.send_connect(&OwnedConnect::v5(&name).clean_start(false));
    for _ in 0..4 {
        // Time for the first shard to accept it, to read CONNECT, and to send it on.
        standing.near.expect_nothing_before_pong();
    }
    standing.go_on();
    standing.near.expect_puback(1);
    assert!(new.expect_connack().session_present);
    new.publish("will", "not sent", QoS::AtLeastOnce);
    assert_eq!(standing.near.receive().text(), "not sent");
    standing.broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn of_many_that_come_with_one_identifier_at_once_one_stays() {
    for shards in SHARDS {
        let (broker, address) = start(Broker::builder(), shards);
        let streams: Vec<_> = (0..40)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.write_all(&packet_bytes(0x10, "s'MQTT' 05 02 0000 00 s'one'")).unwrap();
                stream
            })
            .collect();
        for stream in &streams {
            // Only looks at the first byte of CONNACK.
            assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        }
        let clients = wait(broker.clients()).unwrap();
        assert_eq!(clients.len(), 1, "{clients:?}");
        assert!(clients[0].connection.is_some());
        let stopping = thread::spawn(move || broker.stop_blocking(DEADLINE));
        let mut reasons = BTreeMap::new();
        for mut stream in streams {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            *reasons.entry(last_packet(&answer).get(2).copied()).or_insert(0) += 1;
        }
        let taken_over = ReasonCode::SessionTakenOver.value();
        let stopped = ReasonCode::ServerShuttingDown.value();
        assert_eq!(reasons, [(Some(taken_over), 39), (Some(stopped), 1)].into());
        stopping.join().unwrap().unwrap();
    }
}

fn last_packet(bytes: &[u8]) -> &[u8] {
    let mut last = bytes;
    while let Ok(Framing::Complete(frame)) = split(last, u32::MAX)
        && frame.length < last.len()
    {
        last = &last[frame.length..];
    }
    last
}

#[test]
fn a_thousand_clients_connect_at_once() {
    const CLIENTS: u64 = 1_000;
    for shards in SHARDS {
        let (broker, address) = start(Broker::builder(), shards);
        let mut streams: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut stream = TcpStream::connect(address).unwrap();
                let connect = format!("s'MQTT' 04 02 0000 s'client-{number}'");
                stream.write_all(&packet_bytes(0x10, &connect)).unwrap();
                stream
            })
            .collect();
        for stream in &mut streams {
            stream.set_read_timeout(Some(4 * DEADLINE)).unwrap();
            let mut connack = [0; 4];
            stream.read_exact(&mut connack).unwrap();
            assert_eq!(connack, [0x20, 2, 0, 0]);
        }
        let (statistics, gauges) = wait(broker.statistics()).unwrap();
        assert_eq!((gauges.connections, gauges.clients_connected), (CLIENTS, CLIENTS));
        assert_eq!(statistics.clients_connected, CLIENTS);
        broker.stop_blocking(DEADLINE).unwrap();
    }
}
