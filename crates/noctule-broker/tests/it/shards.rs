//! Several shards behave as one broker: whoever talks to whom, wherever a socket came in, and when
//! it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use noctule_broker::{
    Broker, BrokerError, Builder, Handle, Publication, QoS, ReadRules, ReasonCode, StartError,
    Stopped, Version,
};
use noctule_packet::{Framing, split};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, Peer, bytes, packet_bytes};

use crate::{DEADLINE, next, wait};

/// A single shard, as a check of the tests, and brokers with sockets and messages on their way.
const SHARDS: [u16; 3] = [1, 2, 4];

fn start(builder: Builder, shards: u16) -> (Handle, SocketAddr) {
    let broker = builder.shards(shards).listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs()[0].tcp().unwrap();
    (broker, address)
}

/// Finds out on which shard a client is: its deliveries are made by that shard's thread.
#[derive(Clone, Default)]
struct Homes(Arc<Mutex<BTreeMap<String, String>>>);

impl Homes {
    fn rules(&self) -> ReadRules {
        let homes = self.clone();
        ReadRules(Arc::new(move |client_id: &str, _: &str| {
            let home = thread::current().name().unwrap().to_owned();
            homes.0.lock().unwrap().insert(client_id.to_owned(), home);
            true
        }))
    }

    /// Where a client is that has been sent a message.
    fn of(&self, client_id: &str) -> String {
        self.0.lock().unwrap()[client_id].clone()
    }

    /// Connects clients, each of which subscribes to this filter, until there are `count` on every
    /// shard; those on each.
    fn fill(
        &self,
        address: SocketAddr,
        shards: u16,
        count: usize,
        filter: &str,
    ) -> Vec<Vec<(String, Peer)>> {
        let mut found: BTreeMap<String, Vec<(String, Peer)>> = BTreeMap::new();
        for number in 0.. {
            let client_id = format!("client-{number}");
            let mut peer = Peer::v5(address, &client_id);
            let probe = format!("probe/{client_id}");
            peer.subscribe(&[(&probe, QoS::AtMostOnce)]);
            peer.publish(&probe, "", QoS::AtMostOnce);
            peer.receive();
            let clients = found.entry(self.of(&client_id)).or_default();
            if clients.len() < count {
                peer.subscribe(&[(filter, QoS::ExactlyOnce)]);
                clients.push((client_id, peer));
            }
            if found.len() == shards.into() && found.values().all(|all| all.len() == count) {
                break;
            }
        }
        found.into_values().collect()
    }
}

#[test]
fn a_number_of_shards_that_cannot_be_is_an_error() {
    for shards in [0, 1_025] {
        let error = Broker::builder().shards(shards).start().unwrap_err();
        assert!(matches!(error, StartError::Limit(_)), "{error:?}");
        let expected = format!("shards = {shards} is out of range: 1 to 1024 are allowed");
        assert_eq!(error.to_string(), expected);
    }
    let broker = Broker::builder().shards(64).start().unwrap();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn everybody_reaches_everybody_in_order() {
    const MESSAGES: usize = 20;
    for shards in SHARDS {
        let homes = Homes::default();
        let (broker, address) = start(Broker::builder().read_rules(homes.rules()), shards);
        let mut clients: Vec<_> =
            homes.fill(address, shards, 2, "t/#").into_iter().flatten().collect();
        assert_eq!(homes.0.lock().unwrap().values().collect::<BTreeSet<_>>().len(), shards.into());
        for sender in 0..clients.len() {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for number in 0..MESSAGES {
                    let topic = format!("t/{sender}");
                    clients[sender].1.publish(&topic, number.to_string(), qos);
                }
                for (client_id, receiver) in &mut clients {
                    for number in 0..MESSAGES {
                        let message = receiver.receive();
                        let got = (message.topic.as_str(), message.text(), message.qos);
                        let expected = (format!("t/{sender}"), number.to_string());
                        assert_eq!(got, (&*expected.0, &*expected.1, qos), "{client_id}");
                    }
                }
            }
        }
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

/// More than one shard may have on its way to another, so that the publisher must wait in between.
#[test]
fn a_burst_across_shards_keeps_its_order() {
    const MESSAGES: usize = 2_000;
    let padding = "x".repeat(1_000);
    for shards in SHARDS {
        let homes = Homes::default();
        let (broker, address) = start(Broker::builder().read_rules(homes.rules()), shards);
        let mut clients: Vec<_> =
            homes.fill(address, shards, 1, "t").into_iter().flatten().collect();
        let mut writer = Peer::v311(address, "writer");
        let mut burst = Vec::new();
        for number in 0..MESSAGES {
            burst.extend(packet_bytes(0x30, &format!("s't' '{number:05} {padding}'")));
        }
        let sending = thread::spawn(move || {
            writer.send_bytes(&burst);
            writer
        });
        for number in 0..MESSAGES {
            for (_, receiver) in &mut clients {
                assert_eq!(receiver.receive().text()[..5], format!("{number:05}"));
            }
        }
        sending.join().unwrap().expect_nothing_before_pong();
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

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

#[test]
fn clients_of_all_shards_are_listed_and_kicked() {
    for shards in SHARDS {
        let homes = Homes::default();
        let (broker, address) = start(Broker::builder().read_rules(homes.rules()), shards);
        let clients: Vec<_> = homes.fill(address, shards, 2, "t").into_iter().flatten().collect();
        let listed = wait(broker.clients()).unwrap();
        for (client_id, mut peer) in clients {
            let summary = listed.iter().find(|client| *client.client_id == *client_id).unwrap();
            assert!(summary.connection.is_some() && summary.subscriptions == 2, "{summary:?}");
            assert!(wait(broker.kick(&client_id)).unwrap());
            peer.expect_disconnect(ReasonCode::AdministrativeAction);
            peer.expect_closed();
            assert!(!wait(broker.kick(&client_id)).unwrap());
        }
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

#[test]
fn the_host_is_a_client_of_every_shard() {
    const MESSAGES: usize = 300;
    for shards in SHARDS {
        let homes = Homes::default();
        let (broker, address) = start(Broker::builder().read_rules(homes.rules()), shards);
        let mut subscriptions: Vec<_> =
            (0..2 * shards).map(|_| broker.subscribe_blocking("t/#").unwrap()).collect();
        let publisher = broker.clone();
        let publishing = thread::spawn(move || {
            for number in 0..MESSAGES {
                let publication = Publication::new("t/host", number.to_string());
                publisher.publish_blocking(publication.qos(QoS::AtLeastOnce)).unwrap();
            }
        });
        for number in 0..MESSAGES {
            for subscription in &mut subscriptions {
                assert_eq!(next(subscription).unwrap().text(), Some(&*number.to_string()));
            }
        }
        publishing.join().unwrap();
        let used: BTreeSet<_> = homes.0.lock().unwrap().values().cloned().collect();
        assert_eq!(used.len(), shards.into());

        for (client_id, mut peer) in homes.fill(address, shards, 1, "none").into_iter().flatten() {
            peer.publish("t/client", client_id.as_str(), QoS::ExactlyOnce);
            for subscription in &mut subscriptions {
                assert_eq!(next(subscription).unwrap().text(), Some(&*client_id));
            }
        }
        broker.stop_blocking(DEADLINE).unwrap();
        for subscription in &mut subscriptions {
            assert_eq!(next(subscription), None);
        }
    }
}

#[test]
fn stopping_says_good_bye_on_every_shard() {
    for shards in SHARDS {
        let homes = Homes::default();
        let (broker, address) = start(Broker::builder().read_rules(homes.rules()), shards);
        let clients: Vec<_> = homes.fill(address, shards, 2, "t").into_iter().flatten().collect();
        let stopping = broker.clone();
        let stopped = thread::spawn(move || stopping.stop_blocking(4 * DEADLINE));
        for (_, mut peer) in clients {
            peer.expect_disconnect(ReasonCode::ServerShuttingDown);
            peer.expect_closed();
        }
        stopped.join().unwrap().unwrap();
        assert_eq!(wait(broker.statistics()), Err(Stopped));
    }
}

/// Sockets that were accepted, and are on their way to another shard or its inbox, are closed too.
#[test]
fn whoever_connects_while_the_broker_stops_comes_to_an_end() {
    for shards in [2, 4, 4, 4] {
        let (broker, address) = start(Broker::builder(), shards);
        let connecting: Vec<_> = (0..4)
            .map(|thread| {
                thread::spawn(move || {
                    let mut streams = Vec::new();
                    for number in 0.. {
                        let Ok(mut stream) = TcpStream::connect(address) else { break };
                        let connect = format!("s'MQTT' 04 02 0000 s'{thread}-{number}'");
                        let _ = stream.write_all(&packet_bytes(0x10, &connect));
                        streams.push(stream);
                    }
                    streams
                })
            })
            .collect();
        // Some are there already.
        while wait(broker.statistics()).unwrap().1.clients_connected < 50 {}
        broker.stop_blocking(DEADLINE).unwrap();
        for thread in connecting {
            for mut stream in thread.join().unwrap() {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                match stream.read_to_end(&mut Vec::new()) {
                    Ok(_) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                    }
                }
            }
        }
    }
}

/// A broker whose shard panics when a message "boom" is delivered.
fn fragile(shards: u16) -> (Handle, SocketAddr, Homes) {
    let homes = Homes::default();
    let rules = homes.rules();
    let rules = ReadRules(Arc::new(move |client_id: &str, topic: &str| {
        assert_ne!(topic, "boom", "planted");
        (rules.0)(client_id, topic)
    }));
    let (broker, address) = start(Broker::builder().read_rules(rules), shards);
    (broker, address, homes)
}

fn expect_planted(result: Result<(), BrokerError>) {
    let Err(BrokerError::ShardPanicked { message }) = result else {
        panic!("the broker must fail")
    };
    assert!(message.contains("planted"), "{message}");
}

#[test]
fn a_panic_on_any_shard_ends_all_of_them() {
    for shards in SHARDS {
        for failing in 0..usize::from(shards) {
            let (broker, address, homes) = fragile(shards);
            let mut clients = homes.fill(address, shards, 1, "t");
            let mut subscription = broker.subscribe_blocking("t").unwrap();
            clients[failing][0].1.subscribe(&[("boom", QoS::AtMostOnce)]);
            let mut writer = Peer::v5(address, "writer");
            writer.send_publish(&OwnedPublish::new("boom", "", QoS::AtMostOnce));
            expect_planted(wait(broker.finished()));
            expect_planted(wait(broker.stop(DEADLINE)));
            assert_eq!(next(&mut subscription), None);
            assert_eq!(wait(broker.clients()), Err(Stopped));
            for (_, mut peer) in clients.into_iter().flatten() {
                peer.expect_closed_or_reset();
            }
            assert!(TcpStream::connect(address).is_err());
        }
    }
}

#[test]
fn a_panic_while_the_broker_stops_does_not_hold_up_the_end() {
    for shards in SHARDS {
        for _ in 0..5 {
            let (broker, address, homes) = fragile(shards);
            let mut clients: Vec<_> =
                homes.fill(address, shards, 1, "t").into_iter().flatten().collect();
            clients[0].1.subscribe(&[("boom", QoS::AtMostOnce)]);
            let mut writer = Peer::v5(address, "writer");
            let stopping = broker.clone();
            let stopped = thread::spawn(move || wait(stopping.stop(DEADLINE)));
            writer.send_publish(&OwnedPublish::new("boom", "", QoS::AtMostOnce));
            let outcome = stopped.join().unwrap();
            if outcome.is_err() {
                expect_planted(outcome);
            }
            for (_, peer) in &mut clients {
                let mut rest = Vec::new();
                let _ = peer.stream().read_to_end(&mut rest);
            }
        }
    }
}
