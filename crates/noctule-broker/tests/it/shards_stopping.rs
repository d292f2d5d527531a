//! The end of a broker with several shards, wanted or not: nobody is left behind.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use noctule_broker::{Broker, BrokerError, Handle, QoS, ReadRules, ReasonCode, Stopped};
use noctule_testkit::{OwnedPublish, Peer, packet_bytes};

use crate::shards::{Homes, SHARDS, start};
use crate::standing::{STAND_STILL, Standing, answered};
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

/// What is in the inbox of a shard when the broker is stopped, and it last of all: a publication,
/// which nobody has acknowledged, and sockets whose CONNECT waits in them. A socket that is just
/// dropped would be reset.
#[test]
fn sockets_in_the_inbox_of_a_shard_that_stops_last_come_to_an_orderly_end() {
    let mut standing = Standing::new();
    standing.stand_still();
    let names = standing.near_names[1..].to_vec();
    let (served, waiting): (Vec<_>, Vec<_>) = names
        .chunks_exact(2)
        .map(|names| {
            let (served, waiting, _) = standing.arrive(names);
            (served, waiting)
        })
        .unzip();
    let stopping = standing.broker.clone();
    let stopped = thread::spawn(move || stopping.stop_blocking(4 * DEADLINE));
    // The first shard has nobody left.
    standing.near.expect_disconnect(ReasonCode::ServerShuttingDown);
    standing.near.expect_closed();
    standing.near.shut_down_writing();
    for mut stream in served {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    standing.go_on();
    for mut stream in waiting {
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    stopped.join().unwrap().unwrap();
}

/// A shard that has nobody left waits for what another one has not handed over yet: here a socket
/// whose CONNECT was read just before that one stood still.
#[test]
fn a_shard_that_has_nobody_left_waits_for_sockets_that_others_still_send() {
    let mut standing = Standing::new();
    let address = standing.address;
    standing.near.subscribe(&[(STAND_STILL[0], QoS::AtMostOnce)]);
    let stand_still = OwnedPublish::new(STAND_STILL[0], "", QoS::AtMostOnce);
    let mut other = Peer::v5(address, &standing.near_names[1]);
    let mut far = Peer::v5(address, &standing.far_names[0]);
    // One of both comes in on each shard.
    let mut pair = [(); 2].map(|()| TcpStream::connect(address).unwrap());
    for _ in 0..4 {
        standing.near.expect_nothing_before_pong();
    }
    standing.near.send_publish(&stand_still);
    standing.stands_still();
    // What comes now, the first shard sees at one look, and in this order.
    for (stream, name) in pair.iter_mut().zip(&standing.far_names[1..]) {
        let connect = packet_bytes(0x10, &format!("s'MQTT' 04 02 0000 s'{name}'"));
        // So much that it is not read at once. If it is never read, the end is a reset.
        let publish = packet_bytes(0x30, &format!("s'none' '{}'", "x".repeat(1_000)));
        stream.write_all(&[connect, publish.repeat(100)].concat()).unwrap();
    }
    other.send_publish(&stand_still);
    let at_second = answered(&pair);
    standing.go_on();
    standing.stands_still();
    let stopping = standing.broker.clone();
    let stopped = thread::spawn(move || stopping.stop_blocking(4 * DEADLINE));
    far.expect_disconnect(ReasonCode::ServerShuttingDown);
    far.expect_closed();
    drop(far);
    let [mut first, mut second] = pair;
    if at_second == 0 {
        std::mem::swap(&mut first, &mut second);
    }
    second.read_to_end(&mut Vec::new()).unwrap();
    drop(second);
    for _ in 0..20 {
        // It is still there.
        assert_eq!(wait(standing.broker.kick(&standing.far_names[2])), Ok(false));
    }
    standing.go_on();
    first.read_to_end(&mut Vec::new()).unwrap();
    drop((first, standing.near, other));
    stopped.join().unwrap().unwrap();
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
