//! A store that takes no more: who wants something kept waits, everybody else goes on, and nothing
//! is acknowledged that is not kept.

use noctule_broker_core::{Input, ShardId};
use noctule_packet::{QoS, ReasonCode, Version};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, ended_with, lasting, placement_of, shards};
use crate::stored::storing_with;
use crate::world::queued;

/// Most of this is about one shard, whatever others there are.
const NAMES: [&str; 5] = ["keeps", "live", "p", "q", "kept"];

fn scene() -> Broker {
    let homes = NAMES.map(|name| (name, 0));
    storing_with(|settings| settings.placement = placement_of(shards(), &homes))
}

fn room(broker: &Broker, has_room: bool) {
    for shard in broker.look(|shards| shards.ids().collect::<Vec<ShardId>>()) {
        broker.input_at(shard, Input::StoreRoom { has_room });
    }
}

fn numbered(topic: &str, number: u16, qos: QoS) -> OwnedPublish {
    let publish = OwnedPublish::new(topic, number.to_string(), qos);
    if qos > QoS::AtMostOnce { publish.packet_id(number) } else { publish }
}

fn waiting(broker: &Broker) -> (u64, u64) {
    broker.look(|shards| (shards.statistics().publish_unkept, shards.gauges().waiting_for_store))
}

fn subscribed(mut client: Client, topic: &str) -> Client {
    client.subscribe(&[(topic, QoS::ExactlyOnce)]);
    client
}

#[test]
fn who_wants_something_kept_waits_and_everybody_else_goes_on() {
    for version in VERSIONS {
        let broker = scene();
        let mut keeps = subscribed(broker.lasting(version, "keeps"), "kept/#");
        let mut live = subscribed(broker.client(version, "live"), "#");
        let [mut waits, mut goes_on] = ["p", "q"].map(|name| broker.client(version, name));
        room(&broker, false);
        broker.hold();
        waits.send_publish(&numbered("kept/1", 1, QoS::AtLeastOnce));
        waits.send_publish(&numbered("live", 2, QoS::AtMostOnce));
        waits.send_pingreq();
        assert_eq!(waiting(&broker), (1, 1), "what comes behind it is not read");
        assert!(broker.has_asked_nothing(), "nothing is handed out");
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            goes_on.publish("live", "on", qos);
            assert_eq!(live.receive().text(), "on");
        }
        goes_on.publish("kept/2", "at most once", QoS::AtMostOnce);
        assert_eq!(live.receive().text(), "at most once");
        assert_eq!(keeps.receive().text(), "at most once");
        goes_on.expect_nothing_before_pong();
        assert!(broker.has_asked_nothing());
        room(&broker, true);
        assert_eq!(waiting(&broker), (1, 0));
        assert_eq!(live.expect_publish().text(), "1");
        assert_eq!(live.expect_publish().text(), "2");
        waits.expect_pingresp();
        waits.expect_nothing_before_pong();
        broker.kept();
        waits.expect_puback(1);
    }
}

#[test]
fn retained_messages_and_those_of_stored_publishers_wait_too() {
    let broker = scene();
    let mut keeps = broker.lasting(Version::V5_0, "keeps");
    let [mut waits, mut other] = ["p", "q"].map(|name| broker.client(Version::V5_0, name));
    room(&broker, false);
    broker.hold();
    waits.send_publish(&numbered("r", 1, QoS::AtMostOnce).retain(true));
    other.send_publish(&numbered("r", 2, QoS::AtLeastOnce).retain(true));
    keeps.send_publish(&numbered("nobody", 3, QoS::ExactlyOnce));
    assert_eq!(waiting(&broker), (3, 3));
    assert!(broker.has_asked_nothing());
    drop(other);
    room(&broker, true);
    broker.keep_all();
    keeps.expect_pubrec(3);
    waits.expect_nothing_before_pong();
}

/// Each connection would leave a record otherwise, however often its client comes again.
#[test]
fn who_publishes_to_a_group_with_a_stored_member_waits() {
    for version in VERSIONS {
        let broker = scene();
        let mut keeps = broker.lasting(version, "keeps");
        keeps.subscribe(&[("$share/kept/t", QoS::AtLeastOnce)]);
        let mut live = broker.client(version, "live");
        live.subscribe(&[("$share/live/u", QoS::AtLeastOnce)]);
        room(&broker, false);
        broker.hold();
        let on_its_shard = broker.home("$share/kept/t") == broker.home("p");
        let mut waits = broker.client(version, "p");
        waits.send_publish(&numbered("t", 1, QoS::AtLeastOnce));
        waits.send_publish(&numbered("t", 2, QoS::AtLeastOnce));
        assert_eq!(waiting(&broker), (1, 1), "{on_its_shard}");
        if on_its_shard {
            assert!(broker.has_asked_nothing(), "not even the first leaves a record");
        }
        let mut goes_on = broker.client(version, "q");
        goes_on.publish("u", "on", QoS::AtLeastOnce);
        assert_eq!(live.receive().text(), "on");
        room(&broker, true);
        assert_eq!(waiting(&broker).1, 0);
    }
}

#[test]
fn who_waits_for_the_store_is_not_thrown_out_for_its_silence() {
    for version in VERSIONS {
        let broker = scene();
        let _keeps = subscribed(broker.lasting(version, "keeps"), "kept");
        let [mut waits, mut silent] = ["p", "q"].map(|name| {
            broker.connect(&OwnedConnect { keep_alive: 10, ..OwnedConnect::new(version, name) })
        });
        silent.expect_nothing_before_pong();
        room(&broker, false);
        waits.send_publish(&numbered("kept", 1, QoS::AtLeastOnce));
        broker.events();
        broker.advance_seconds(100);
        let silence = ReasonCode::KeepAliveTimeout;
        assert!(ended_with(&broker.events(), silence), "whoever is read and says nothing is gone");
        room(&broker, true);
        waits.expect_puback(1);
        waits.expect_nothing_before_pong();
    }
}

#[test]
fn a_client_that_needs_a_session_kept_is_told_and_others_come_in() {
    for version in VERSIONS {
        let broker = scene();
        drop(broker.lasting(version, "keeps"));
        room(&broker, false);
        broker.hold();
        broker.events();
        let will = OwnedWill::new("w", "gone").qos(QoS::AtLeastOnce);
        let refused = [
            lasting(version, "kept"),
            OwnedConnect::new(version, "keeps"),
            OwnedConnect::new(version, "live").will(will),
        ];
        for connect in refused {
            let mut client = broker.open();
            client.send_connect(&connect);
            client.expect_connack_with(ReasonCode::ServerUnavailable);
            assert!(ended_with(&broker.events(), ReasonCode::ServerUnavailable));
        }
        let mut live = subscribed(broker.client(version, "live"), "t");
        live.publish("t", "on", QoS::ExactlyOnce);
        assert_eq!(live.receive().text(), "on");
        assert!(broker.has_asked_nothing());
        room(&broker, true);
        broker.answer_all();
        broker.lasting(version, "keeps");
    }
}

#[test]
fn what_clients_acknowledge_is_recorded_when_there_is_room() {
    let broker = scene();
    let mut keeps = broker.lasting(Version::V5_0, "keeps");
    keeps.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(Version::V5_0, "p");
    publisher.publish("t", "1", QoS::AtLeastOnce);
    keeps.expect_publish();
    broker.leisurely();
    room(&broker, false);
    keeps.send_puback(1);
    broker.end_turn();
    assert!(broker.leisurely().is_empty());
    room(&broker, true);
    broker.end_turn();
    assert_eq!(broker.leisurely().len(), 1);
}

/// Two shards: "p" and "live" are at home on the first, "keeps" and "far" on the second.
fn two() -> Broker {
    let homes = [("p", 0), ("live", 0), ("keeps", 1), ("far", 1), ("kept", 1), ("t", 1)];
    storing_with(|settings| {
        settings.placement = placement_of(2, &homes);
        settings.limits.forward_bytes_max = 1_000;
    })
}

#[test]
fn one_publication_of_each_client_may_be_on_its_way_to_another_shard() {
    let broker = two();
    let _keeps = subscribed(broker.lasting(Version::V5_0, "keeps"), "kept");
    let mut far = subscribed(broker.client(Version::V5_0, "far"), "t");
    let mut publisher = broker.client(Version::V5_0, "p");
    room(&broker, false);
    // Nobody there is stored: each has its answer, and lets the next one go.
    for number in 1..=5 {
        publisher.send_publish(&numbered("t", number, QoS::AtLeastOnce));
    }
    for number in 1..=5 {
        publisher.expect_puback(number);
        assert_eq!(far.receive().text(), number.to_string());
    }
    broker.hold();
    for number in 1..=5 {
        publisher.send_publish(&numbered("kept", number, QoS::AtLeastOnce));
    }
    let messages = || broker.records().iter().flat_map(queued).count();
    assert_eq!(messages(), 1);
    room(&broker, true);
    assert_eq!(messages(), 4);
    broker.keep_all();
    for number in 1..=5 {
        publisher.expect_puback(number);
    }
}

#[test]
fn what_the_disk_has_not_taken_holds_up_no_shard() {
    let broker = two();
    let _keeps = subscribed(broker.lasting(Version::V5_0, "keeps"), "kept");
    let mut far = subscribed(broker.client(Version::V5_0, "far"), "t");
    let mut publisher = broker.client(Version::V5_0, "p");
    let mut live = broker.client(Version::V5_0, "live");
    broker.hold();
    for number in 1..=5 {
        let large = OwnedPublish::new("kept", "x".repeat(900), QoS::AtLeastOnce);
        publisher.send_publish(&large.packet_id(number));
        live.publish("t", number.to_string(), QoS::AtLeastOnce);
        assert_eq!(far.receive().text(), number.to_string());
    }
    assert_eq!(broker.records().len(), 5);
    publisher.expect_nothing_before_pong();
    broker.keep_all();
    for number in 1..=5 {
        publisher.expect_puback(number);
    }
}
