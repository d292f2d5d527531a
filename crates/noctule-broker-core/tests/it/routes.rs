//! Routes between three shards: what the others must know before SUBACK, who waits with whom, and
//! which shards a publication goes to. What shards say to each other is carried by hand.

use noctule_broker_core::{Authorization, Durability, Effect};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting};
use crate::subscribe::send_subscribe;

const V5: Version = Version::V5_0;

/// Three shards: "a" is at home on the first one, "b" on the second, and "c" on the third.
fn three(change: impl FnOnce(&mut noctule_broker_core::Settings)) -> Broker {
    // Retained messages of "x" would be on the shard of "b", so that it asks nobody for them.
    let homes = [("a", 0), ("b", 1), ("b2", 1), ("c", 2), ("$share/g/x", 1), ("x", 1)];
    Broker::placed(3, &homes, change)
}

#[track_caller]
fn expect_nothing_written(broker: &Broker) {
    let trace = broker.trace();
    assert!(!trace.iter().any(|effect| effect.starts_with("Write")), "{trace:?}");
}

fn letter(from: u16, to: u16, name: &str) -> (u16, u16, String) {
    (from, to, name.to_owned())
}

fn subscribe(client: &mut Client, packet_id: u16, filter: &str) {
    send_subscribe(client, packet_id, &[(filter, 1)]);
}

#[test]
fn suback_waits_until_every_other_shard_knows_the_filter() {
    for version in VERSIONS {
        for order in [[0, 2], [2, 0]] {
            let broker = three(|_| {});
            let mut client = broker.client(version, "b");
            broker.hold_mail();
            broker.trace();
            send_subscribe(&mut client, 7, &[("x/+", 1), ("y", 1)]);
            client.send_pingreq();
            assert_eq!(broker.letters().len(), 4, "both filters to both shards");
            for other in order {
                assert_eq!(broker.carry_between(1, other), ["ChangeRoute"; 2]);
                assert_eq!(broker.carry(other, 1), "ConfirmRoute");
                expect_nothing_written(&broker);
            }
            for other in order {
                expect_nothing_written(&broker);
                assert_eq!(broker.carry(other, 1), "ConfirmRoute");
            }
            assert_eq!(client.expect_suback(7).reason_codes, [ReasonCode::GrantedQos1; 2]);
            broker.answer_all();
            client.expect_pingresp();
        }
    }
}

/// What SUBACK waits for, once it is authorised.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// One of both records.
    Record,
    /// What this shard confirms.
    Route(u16),
}

#[test]
fn suback_waits_for_authorisation_store_and_routes_in_whatever_order_they_answer() {
    use Part::{Record, Route};
    let parts = [
        [Record, Record, Route(0), Route(0), Route(2), Route(2)],
        [Route(2), Route(2), Route(0), Route(0), Record, Record],
        [Route(0), Record, Route(2), Record, Route(2), Route(0)],
        [Record, Route(2), Route(0), Route(0), Record, Route(2)],
    ];
    for parts in parts {
        let broker = three(|settings| {
            settings.authorization = Authorization::Ask;
            settings.durability = Durability::Stored;
        });
        let mut client = broker.lasting(V5, "b");
        broker.hold_mail();
        broker.trace();
        send_subscribe(&mut client, 7, &[("x", 1), ("y", 2)]);
        client.send_pingreq();
        for _ in 0..2 {
            expect_nothing_written(&broker);
            assert_eq!(broker.look(|shards| shards.gauges().subscriptions), 0);
            let (shard, effect) = broker.asked_by();
            assert!(matches!(effect, Effect::Authorize { .. }), "{effect:?}");
            assert!(broker.has_asked_nothing());
            broker.give((shard, effect));
        }
        for other in [0, 2] {
            assert_eq!(broker.carry_between(1, other), ["ChangeRoute"; 2]);
        }
        for part in parts {
            expect_nothing_written(&broker);
            match part {
                Record => broker.answer_first(|effect| matches!(effect, Effect::Persist { .. })),
                Route(other) => assert_eq!(broker.carry(other, 1), "ConfirmRoute"),
            }
        }
        let granted = [ReasonCode::GrantedQos1, ReasonCode::GrantedQos2];
        assert_eq!(client.expect_suback(7).reason_codes, granted);
        broker.answer_all();
        client.expect_pingresp();
    }
}

#[test]
fn a_connection_lost_while_suback_waits_takes_nothing_else_along() {
    // How much is answered before: nothing, authorisation, the record, one route, all.
    for lost_after in 0..5 {
        let broker = three(|settings| {
            settings.authorization = Authorization::Ask;
            settings.durability = Durability::Stored;
        });
        let mut client = broker.lasting(V5, "b");
        broker.hold_mail();
        subscribe(&mut client, 7, "x");
        for _ in 0..lost_after.min(2) {
            broker.answer_first(|effect| !matches!(effect, Effect::ToShard { .. }));
        }
        for other in [0, 2].into_iter().take((lost_after - 2_i32).max(0) as usize) {
            broker.carry_between(1, other);
            broker.carry_between(other, 1);
        }
        if lost_after == 4 {
            client.expect_suback(7);
        }
        drop(client);
        broker.answer_all();
        let subscribed = u64::from(lost_after > 0);
        assert_eq!(broker.look(|shards| shards.gauges().subscriptions), subscribed);
        let mut again = broker.connect(&lasting(V5, "b"));
        assert!(again.connack().is_some_and(|connack| connack.session_present));
        broker.client(V5, "c").publish("x", "m", QoS::AtLeastOnce);
        let got = again.receive_all();
        assert_eq!(got.len() as u64, subscribed, "after {lost_after}");
        again.expect_nothing_before_pong();
    }
}

#[test]
fn a_second_subscriber_to_a_filter_that_is_not_known_everywhere_waits_with_the_first() {
    let broker = three(|_| {});
    let [mut first, mut second] = ["b", "b2"].map(|name| broker.client(V5, name));
    broker.hold_mail();
    broker.trace();
    subscribe(&mut first, 1, "x");
    // The second one's is shared, and lives on this shard.
    subscribe(&mut second, 2, "$share/g/x");
    let told = [letter(1, 0, "ChangeRoute"), letter(1, 2, "ChangeRoute")];
    assert_eq!(broker.letters(), told, "it is told once");
    for other in [0, 2] {
        expect_nothing_written(&broker);
        assert_eq!(broker.carry(1, other), "ChangeRoute");
        assert_eq!(broker.carry(other, 1), "ConfirmRoute");
    }
    first.expect_suback(1);
    second.expect_suback(2);
    // From now on nobody on this shard needs to wait.
    subscribe(&mut second, 3, "x");
    second.expect_suback(3);
    assert_eq!(broker.letters(), []);
    // Another shard's subscriber has its own route to make.
    let mut elsewhere = broker.client(V5, "c");
    subscribe(&mut elsewhere, 4, "x");
    assert_eq!([broker.carry(2, 0), broker.carry(0, 2)], ["ChangeRoute", "ConfirmRoute"]);
    assert_eq!([broker.carry(2, 1), broker.carry(1, 2)], ["ChangeRoute", "ConfirmRoute"]);
    elsewhere.expect_suback(4);
}

#[test]
fn a_reconnected_session_waits_for_the_route_that_its_old_connection_has_begun() {
    for version in VERSIONS {
        let broker = three(|_| {});
        let mut client = broker.lasting(version, "b");
        broker.hold_mail();
        subscribe(&mut client, 1, "x");
        drop(client);
        let mut client = broker.lasting(version, "b");
        broker.trace();
        subscribe(&mut client, 2, "x");
        for other in [0, 2] {
            expect_nothing_written(&broker);
            assert_eq!(broker.carry_between(1, other), ["ChangeRoute"]);
            assert_eq!(broker.carry_between(other, 1), ["ConfirmRoute"]);
        }
        client.expect_suback(2);
    }
}

#[test]
fn the_last_subscriber_takes_the_route_along_and_the_next_one_begins_anew() {
    for version in VERSIONS {
        let broker = three(|_| {});
        let [mut stays, leaves] = ["b", "b2"].map(|name| {
            let mut client = broker.client(version, name);
            client.subscribe(&[("x", QoS::AtMostOnce), ("$share/g/x", QoS::AtMostOnce)]);
            client
        });
        broker.hold_mail();
        drop(leaves);
        stays.unsubscribe(&["x"]);
        assert_eq!(broker.letters(), [], "the group needs the route");
        stays.unsubscribe(&["$share/g/x"]);
        assert_eq!([broker.carry(1, 0), broker.carry(1, 2)], ["ChangeRoute"; 2]);
        broker.carry_all();
        let publish = OwnedPublish::new("x", "m", QoS::AtLeastOnce);
        let mut publisher = broker.client(version, "a");
        let reason = publisher.publish_with(&publish);
        assert_eq!(reason == ReasonCode::NoMatchingSubscribers, version.is_v5());
        assert_eq!(broker.letters(), [], "nobody is told");
        subscribe(&mut stays, 9, "x");
        broker.trace();
        for other in [0, 2] {
            expect_nothing_written(&broker);
            assert_eq!(
                [broker.carry(1, other), broker.carry(other, 1)],
                ["ChangeRoute", "ConfirmRoute"]
            );
        }
        stays.expect_suback(9);
    }
}

#[test]
fn confirmations_of_a_route_that_was_given_up_do_not_count_for_its_successor() {
    let broker = three(|_| {});
    let mut client = broker.client(V5, "b");
    broker.hold_mail();
    subscribe(&mut client, 1, "x");
    drop(client);
    let mut client = broker.client(V5, "b2");
    broker.trace();
    subscribe(&mut client, 2, "x");
    for other in [0, 2] {
        // It is told, untold and told again.
        assert_eq!(broker.carry_between(1, other), ["ChangeRoute"; 3]);
    }
    for other in [0, 2, 0, 2, 0] {
        assert_eq!(broker.carry(other, 1), "ConfirmRoute");
        expect_nothing_written(&broker);
    }
    assert_eq!(broker.carry(2, 1), "ConfirmRoute");
    client.expect_suback(2);
}

#[test]
fn a_publication_goes_once_to_each_shard_that_wants_it_and_from_there_to_no_other() {
    spec!("MQTT5-4.5.0-1", "MQTT311-4.5.0-1");
    for version in VERSIONS {
        let broker = three(|_| {});
        let mut publisher = broker.client(version, "a");
        let mut clients = ["b", "b2", "c"].map(|name| broker.client(version, name));
        clients[0].subscribe(&[("x/y", QoS::AtLeastOnce), ("#", QoS::AtMostOnce)]);
        clients[1].subscribe(&[("x/+", QoS::AtMostOnce)]);
        clients[2].subscribe(&[("x/y", QoS::AtMostOnce)]);
        broker.hold_mail();
        let mut forwarded = |topic: &str| -> Vec<u16> {
            let publish = OwnedPublish::new(topic, "m", QoS::AtLeastOnce).packet_id(1);
            publisher.send_publish(&publish);
            let letters = broker.letters();
            assert!(letters.iter().all(|(from, _, name)| (*from, &**name) == (0, "Forward")));
            let shards: Vec<_> = letters.iter().map(|(_, to, _)| *to).collect();
            for shard in &shards {
                assert_eq!(broker.carry(0, *shard), "Forward");
                // It answers, and tells nobody else.
                let letters = broker.letters();
                assert_eq!(letters.iter().filter(|(from, _, _)| from == shard).count(), 1);
                publisher.expect_nothing_before_pong();
                assert_eq!(letters.len(), shards.len(), "{letters:?}");
            }
            shards.iter().for_each(|shard| assert_eq!(broker.carry(*shard, 0), "Answer"));
            publisher.expect_puback(1);
            shards
        };
        assert_eq!(forwarded("x/y"), [1, 2]);
        assert_eq!(forwarded("x/z"), [1]);
        let counts = clients.each_mut().map(|client| client.receive_all().len());
        assert_eq!(counts, [2, 2, 1]);
        clients[0].unsubscribe(&["#", "x/y"]);
        broker.carry_all();
        assert_eq!(forwarded("x/y"), [1, 2], "one of them is left on the second shard");
        clients[1].unsubscribe(&["x/+"]);
        broker.carry_all();
        assert_eq!(forwarded("x/y"), [2]);
        assert_eq!(forwarded("y"), [0; 0]);
        let counts = clients.each_mut().map(|client| client.receive_all().len());
        assert_eq!(counts, [0, 1, 2]);
    }
}

#[test]
fn what_is_published_where_the_route_is_known_already_comes_before_suback() {
    let broker = three(|_| {});
    let mut client = broker.client(V5, "b");
    let mut publisher = broker.client(V5, "a");
    broker.hold_mail();
    subscribe(&mut client, 7, "x");
    assert_eq!([broker.carry(1, 0), broker.carry(0, 1)], ["ChangeRoute", "ConfirmRoute"]);
    publisher.publish("x", "early", QoS::AtMostOnce);
    assert_eq!(broker.carry(0, 1), "Forward");
    assert_eq!(client.receive().text(), "early");
    broker.carry_between(1, 2);
    broker.carry_between(2, 1);
    client.expect_suback(7);
}
