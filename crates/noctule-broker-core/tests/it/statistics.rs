//! What a shard counts, and what it says it holds: true at any time, and nothing when all is over.

use noctule_broker_core::{DropCause, Gauges, Statistics};
use noctule_packet::{QoS, ReasonCode, Version};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS, bytes};
use proptest::prelude::*;

use crate::broker::{Broker, Client, lasting};
use crate::world::Shards;

fn gauges(broker: &Broker) -> Gauges {
    broker.look(Shards::gauges)
}

fn counted(broker: &Broker) -> Statistics {
    broker.look(|shard| shard.statistics().clone())
}

#[test]
fn packets_and_bytes_are_counted_in_both_directions() {
    let broker = Broker::new();
    let mut client = broker.client(Version::V3_1_1, "a");
    let start = counted(&broker);
    assert_eq!((start.bytes_received, start.packets_received), (2 + 10 + 3, 1));
    assert_eq!((start.bytes_sent, start.packets_sent), (4, 1));
    // SUBSCRIBE, then PUBLISH at QoS 1 to itself at QoS 0.
    let subscribe = bytes("82 06 0001 s'b' 00");
    client.send_bytes(&subscribe);
    client.expect_bytes(&bytes("90 03 0001 00"));
    let publish = bytes("32 08 s'b' 0007 '123'");
    client.send_bytes(&publish);
    client.expect_bytes(&bytes("30 06 s'b' '123' 40 02 0007"));
    let statistics = counted(&broker);
    let received = start.bytes_received + (subscribe.len() + publish.len()) as u64;
    assert_eq!((statistics.bytes_received, statistics.packets_received), (received, 3));
    assert_eq!((statistics.bytes_sent, statistics.packets_sent), (4 + 5 + 8 + 4, 4));
    assert_eq!((statistics.publish_received, statistics.publish_sent), (1, 1));
    // A part of a packet counts when the rest is there.
    client.send_bytes(&bytes("c0"));
    assert_eq!(counted(&broker), statistics);
    client.send_bytes(&bytes("00"));
    client.expect_pingresp();
    let statistics = counted(&broker);
    assert_eq!((statistics.bytes_received, statistics.packets_received), (received + 2, 4));
}

#[test]
fn a_payload_that_is_shared_counts_for_each_receiver() {
    let broker = Broker::new();
    let mut receivers = ["a", "b"].map(|client_id| broker.client(Version::V3_1_1, client_id));
    for receiver in &mut receivers {
        receiver.subscribe(&[("t", QoS::AtMostOnce)]);
    }
    let before = counted(&broker);
    let mut publisher = broker.client(Version::V3_1_1, "publisher");
    let connack = 4;
    publisher.publish("t", vec![7; 10_000], QoS::AtMostOnce);
    let after = counted(&broker);
    let one = 1 + 2 + 3 + 10_000;
    assert_eq!(after.bytes_sent - before.bytes_sent, connack + 2 * one);
    assert_eq!(after.publish_sent - before.publish_sent, 2);
}

#[test]
fn connections_and_clients_are_counted_by_how_they_came_and_went() {
    for version in VERSIONS {
        let broker = Broker::new();
        let stays = broker.client(version, "stays");
        let mut refused = broker.open();
        refused.send_pingreq();
        refused.expect_closed();
        let mut kicked = broker.client(version, "kicked");
        kicked.send_bytes(&bytes("20 02 0000"));
        kicked.expect_refused(ReasonCode::ProtocolError);
        broker.client(version, "leaves").disconnect();
        let waits = broker.open();
        let statistics = counted(&broker);
        assert_eq!(statistics.connections_opened, 5);
        assert_eq!(statistics.clients_connected, 3);
        assert_eq!(statistics.connections_refused, 1);
        assert_eq!(statistics.clients_disconnected, 1);
        assert_eq!(statistics.sessions_ended, 2);
        drop((refused, kicked));
        let gauges = gauges(&broker);
        assert_eq!((gauges.clients_connected, gauges.sessions), (1, 1));
        drop((stays, waits));
    }
}

#[test]
fn what_waits_and_what_is_in_flight_is_told_until_it_is_acknowledged() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = Broker::with(|settings| settings.limits.in_flight_max = 2);
            let mut subscriber = broker.lasting(version, "subscriber");
            subscriber.subscribe(&[("a", qos)]);
            let mut publisher = broker.client(version, "publisher");
            for _ in 0..5 {
                publisher.publish("a", "12345", qos);
            }
            let waiting = gauges(&broker);
            assert_eq!((waiting.in_flight_messages, waiting.queued_messages), (2, 3));
            let each = waiting.queued_bytes / 3;
            assert!(each >= 6 && waiting.queued_bytes == each * 3);
            subscriber.receive();
            let waiting = gauges(&broker);
            assert_eq!((waiting.in_flight_messages, waiting.queued_messages), (2, 2));
            assert_eq!(waiting.queued_bytes, each * 2);
            drop(subscriber);
            publisher.publish("a", "12345", qos);
            assert_eq!(gauges(&broker).queued_bytes, each * 3);
            let mut subscriber = broker.connect(&lasting(version, "subscriber"));
            for _ in 0..5 {
                subscriber.receive();
            }
            let empty = gauges(&broker);
            assert_eq!((empty.in_flight_messages, empty.queued_messages), (0, 0));
            assert_eq!(empty.queued_bytes, 0);
        }
    }
}

#[test]
fn each_subscription_counts_once_until_its_end() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.lasting(version, "client");
        for _ in 0..2 {
            client.subscribe(&[("a", QoS::AtMostOnce), ("$share/g/a", QoS::AtMostOnce)]);
        }
        let mut other = broker.client(version, "other");
        other.subscribe(&[("a", QoS::AtMostOnce), ("$share/g/a", QoS::AtMostOnce)]);
        let told = gauges(&broker);
        assert_eq!((told.subscriptions, told.shared_groups), (4, 1));
        client.unsubscribe(&["a", "b"]);
        other.unsubscribe(&["$share/g/a"]);
        let told = gauges(&broker);
        assert_eq!((told.subscriptions, told.shared_groups), (2, 1));
        drop(other);
        client.unsubscribe(&["$share/g/a"]);
        let told = gauges(&broker);
        assert_eq!((told.subscriptions, told.shared_groups), (0, 0));
    }
}

#[test]
fn wills_and_drops_are_counted() {
    let broker = Broker::with(|settings| settings.limits.queue_messages_max = 1);
    let will = OwnedWill::new("w", "left");
    drop(broker.connect(&OwnedConnect::v5("leaver").will(will)));
    let mut offline = broker.lasting(Version::V5_0, "offline");
    offline.subscribe(&[("a", QoS::AtLeastOnce)]);
    drop(offline);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    for _ in 0..3 {
        publisher.publish("a", "1", QoS::AtLeastOnce);
    }
    let statistics = counted(&broker);
    assert_eq!(statistics.wills_published, 1);
    assert_eq!(statistics.dropped[DropCause::QueueFull.index()], 2);
    assert_eq!(statistics.dropped_total(), 2);
}

#[test]
fn every_client_is_listed_with_what_is_its_own() {
    let broker = Broker::with(|settings| settings.limits.in_flight_max = 1);
    let mut here = broker.client(Version::V3_1_1, "here");
    here.subscribe(&[("a", QoS::AtLeastOnce), ("b", QoS::AtLeastOnce)]);
    drop(broker.lasting(Version::V5_0, "away"));
    for _ in 0..3 {
        here.publish("a", "1", QoS::AtLeastOnce);
    }
    let mut clients: Vec<_> = broker.look(|shard| shard.clients().collect());
    clients.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    let [away, here] = &clients[..] else { panic!("{clients:?}") };
    assert_eq!((&*away.client_id, away.version, away.connection), ("away", Version::V5_0, None));
    assert_eq!((&away.peer, away.session_expiry_interval), (&None, 3_600));
    assert_eq!((&*here.client_id, &here.peer), ("here", &Some("peer-0".into())));
    assert!(here.connection.is_some() && here.version == Version::V3_1_1);
    let counts = (here.subscriptions, here.queued_messages, here.in_flight_messages);
    assert_eq!(counts, (2, 2, 1));
}

/// One step of a random life.
#[derive(Clone, Debug)]
enum Step {
    Connect { who: usize, clean: bool },
    Lose { who: usize },
    Subscribe { who: usize, filter: usize, qos: QoS },
    Unsubscribe { who: usize, filter: usize },
    Publish { who: usize, topic: usize, qos: QoS, retain: bool, length: usize, expiry: u32 },
    Receive { who: usize },
    Wait { seconds: u64 },
}

const FILTERS: [&str; 6] = ["a", "a/#", "#", "+", "$share/g/a", "$share/h/#"];
const TOPICS: [&str; 3] = ["a", "a/b", "c"];
const NAMES: [&str; 3] = ["one", "two", "three"];

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..NAMES.len();
    let publish = (who.clone(), 0..TOPICS.len(), qos(), any::<bool>(), 0_usize..20, 1_u32..60);
    prop_oneof![
        2 => (who.clone(), any::<bool>()).prop_map(|(who, clean)| Step::Connect { who, clean }),
        1 => who.clone().prop_map(|who| Step::Lose { who }),
        3 => (who.clone(), 0..FILTERS.len(), qos())
            .prop_map(|(who, filter, qos)| Step::Subscribe { who, filter, qos }),
        1 => (who.clone(), 0..FILTERS.len())
            .prop_map(|(who, filter)| Step::Unsubscribe { who, filter }),
        6 => publish.prop_map(|(who, topic, qos, retain, length, expiry)| {
            Step::Publish { who, topic, qos, retain, length, expiry }
        }),
        6 => who.prop_map(|who| Step::Receive { who }),
        1 => (1_u64..40).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// Who is connected.
type Slots = [Option<Client>; NAMES.len()];

fn play(broker: &Broker, clients: &mut Slots, step: &Step) {
    match *step {
        Step::Connect { who, clean } => {
            let connect = OwnedConnect::v5(NAMES[who]).keep_alive(0).clean_start(clean);
            clients[who] = None;
            clients[who] = Some(broker.connect(&connect.session_expiry_interval(100)));
        }
        Step::Lose { who } => clients[who] = None,
        Step::Subscribe { who, filter, qos } => {
            if let Some(client) = &mut clients[who] {
                client.subscribe(&[(FILTERS[filter], qos)]);
            }
        }
        Step::Unsubscribe { who, filter } => {
            if let Some(client) = &mut clients[who] {
                client.unsubscribe(&[FILTERS[filter]]);
            }
        }
        Step::Publish { who, topic, qos, retain, length, expiry } => {
            if let Some(client) = &mut clients[who] {
                let publish = OwnedPublish::new(TOPICS[topic], "x".repeat(length), qos);
                let publish = publish.retain(retain).message_expiry_interval(expiry);
                client.publish_with(&publish);
            }
        }
        Step::Receive { who } => {
            if let Some(client) = &mut clients[who] {
                drain(client);
            }
        }
        Step::Wait { seconds } => broker.advance_seconds(seconds),
    }
}

/// Takes and acknowledges what has come; how much that was.
fn drain(client: &mut Client) -> usize {
    let messages = client.publishes_before_pong();
    messages.iter().for_each(|message| client.acknowledge(message));
    messages.len()
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 100,
        ..ProptestConfig::default()
    })]

    /// Whatever has happened: when everything is acknowledged, nothing waits; when everybody is
    /// gone, nothing is held.
    #[test]
    fn all_gauges_come_back_to_zero(steps in prop::collection::vec(step(), 1..80)) {
        let broker = Broker::with(|settings| settings.limits.in_flight_max = 2);
        let mut clients: Slots = Default::default();
        for step in &steps {
            play(&broker, &mut clients, step);
        }
        for (slot, name) in clients.iter_mut().zip(NAMES) {
            if slot.is_none() {
                let connect = OwnedConnect::v5(name).keep_alive(0).clean_start(false);
                *slot = Some(broker.connect(&connect.session_expiry_interval(100)));
            }
        }
        while clients.iter_mut().flatten().map(drain).sum::<usize>() > 0 {}
        let told = gauges(&broker);
        prop_assert_eq!((told.queued_messages, told.queued_bytes), (0, 0));
        prop_assert_eq!(told.in_flight_messages, 0);
        prop_assert_eq!((told.clients_connected, told.sessions), (3, 3));
        drop(clients);
        broker.advance_seconds(1_000);
        prop_assert_eq!(gauges(&broker), Gauges::default());
        prop_assert_eq!(broker.look(Shards::poll_timeout), None);
    }
}
