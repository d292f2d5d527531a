//! The end of a broker with several shards, wanted or not: nobody is left behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use noctule_broker::{Broker, BrokerError, Handle, QoS, ReadRules, ReasonCode, Stopped};
use noctule_testkit::{OwnedPublish, Peer, packet_bytes};

use crate::shards::{Homes, SHARDS, start};
use crate::{DEADLINE, next, wait};

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
