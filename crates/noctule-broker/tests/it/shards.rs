//! Several shards behave as one broker: whoever talks to whom, and wherever a socket came in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use noctule_broker::{
    Broker, Builder, Handle, Publication, QoS, ReadRules, ReasonCode, StartError,
};
use noctule_testkit::{Peer, packet_bytes};

use crate::{DEADLINE, next, wait};

/// A single shard, as a check of the tests, and brokers with sockets and messages on their way.
pub(crate) const SHARDS: [u16; 3] = [1, 2, 4];

pub(crate) fn start(builder: Builder, shards: u16) -> (Handle, SocketAddr) {
    let broker = builder.shards(shards).listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs()[0].tcp().unwrap();
    (broker, address)
}

/// Finds out on which shard a client is: its deliveries are made by that shard's thread.
#[derive(Clone, Default)]
pub(crate) struct Homes(Arc<Mutex<BTreeMap<String, String>>>);

impl Homes {
    pub(crate) fn rules(&self) -> ReadRules {
        let homes = self.clone();
        ReadRules(Arc::new(move |client_id: &str, _: &str| {
            let home = thread::current().name().unwrap().to_owned();
            homes.0.lock().unwrap().insert(client_id.to_owned(), home);
            true
        }))
    }

    /// Where a client is that has been sent a message.
    pub(crate) fn of(&self, client_id: &str) -> String {
        self.0.lock().unwrap()[client_id].clone()
    }

    /// Connects clients, each of which subscribes to this filter, until there are `count` on every
    /// shard; those on each.
    pub(crate) fn fill(
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
