//! Several shards: what others must know before SUBACK, and who waits with whom. Nobody answers
//! for the other shards here but the test.

use std::sync::Arc;

use noctule_broker_core::{Authorization, Durability, Effect, Input, Message, ShardId};
use noctule_packet::{ForwardedProperties, QoS, ReasonCode, Version, spec};
use noctule_testkit::VERSIONS;

use crate::broker::{Broker, Client};
use crate::subscribe::send_subscribe;

/// Shard 1 of three, whose questions nobody answers.
fn one_of_three() -> Broker {
    Broker::with(|settings| (settings.peers, settings.shard) = (2, 1))
}

/// Everything that the shard has asked since the last time.
fn asked(broker: &Broker) -> Vec<Effect> {
    let mut asked = Vec::new();
    while !broker.has_asked_nothing() {
        asked.push(broker.asked());
    }
    asked
}

/// The changes of routes among the effects: which shard is told what about which filter.
fn changes(asked: &[Effect]) -> Vec<(u16, &str, bool)> {
    let changes = asked.iter().filter_map(|effect| match effect {
        Effect::ChangeRoute { to, filter, interested, .. } => Some((to.0, &**filter, *interested)),
        _ => None,
    });
    changes.collect()
}

fn answer(broker: &Broker, effect: Effect) {
    broker.input(match effect {
        Effect::ChangeRoute { token, .. } => Input::RouteConfirmed { token },
        Effect::Persist { token, .. } => Input::Persisted { token },
        Effect::Authorize { token, .. } => Input::Authorized { token, allowed: true },
        other => panic!("{other:?}"),
    });
}

#[track_caller]
fn expect_nothing_written(broker: &Broker) {
    let trace = broker.trace();
    assert!(!trace.iter().any(|effect| effect.starts_with("Write")), "{trace:?}");
}

fn subscribe(client: &mut Client, packet_id: u16, filter: &str) {
    send_subscribe(client, packet_id, &[(filter, 1)]);
}

#[test]
fn suback_waits_until_every_other_shard_knows_the_filter() {
    for version in VERSIONS {
        let broker = one_of_three();
        let mut client = broker.client(version, "a");
        broker.hold();
        broker.trace();
        send_subscribe(&mut client, 7, &[("x/+", 1), ("$share/g/y", 1)]);
        client.send_pingreq();
        let asked = asked(&broker);
        let expected = [(0, "x/+", true), (2, "x/+", true), (0, "y", true), (2, "y", true)];
        assert_eq!(changes(&asked), expected);
        for effect in asked.into_iter().rev() {
            expect_nothing_written(&broker);
            answer(&broker, effect);
        }
        assert_eq!(client.expect_suback(7).reason_codes, [ReasonCode::GrantedQos1; 2]);
        client.expect_pingresp();
    }
}

#[test]
fn suback_waits_for_authorisation_store_and_routes_in_whatever_order_they_answer() {
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3], [3, 5, 0, 4, 2, 1]] {
        let broker = Broker::with(|settings| {
            (settings.peers, settings.shard) = (2, 1);
            settings.authorization = Authorization::Ask;
            settings.durability = Durability::Stored;
        });
        let mut client = broker.lasting(Version::V5_0, "a");
        broker.hold();
        broker.trace();
        send_subscribe(&mut client, 7, &[("x", 1), ("y", 2)]);
        client.send_pingreq();
        for _ in 0..2 {
            expect_nothing_written(&broker);
            assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 0);
            let effect = broker.asked();
            assert!(matches!(effect, Effect::Authorize { .. }), "{effect:?}");
            assert!(broker.has_asked_nothing());
            answer(&broker, effect);
        }
        let mut asked: Vec<Option<Effect>> = asked(&broker).into_iter().map(Some).collect();
        assert_eq!(asked.len(), order.len());
        for at in order {
            expect_nothing_written(&broker);
            answer(&broker, asked[at].take().unwrap());
        }
        let granted = [ReasonCode::GrantedQos1, ReasonCode::GrantedQos2];
        assert_eq!(client.expect_suback(7).reason_codes, granted);
        client.expect_pingresp();
    }
}

#[test]
fn a_connection_lost_while_suback_waits_takes_nothing_else_along() {
    for lost_after in 0..4 {
        let broker = Broker::with(|settings| {
            (settings.peers, settings.shard) = (1, 1);
            settings.authorization = Authorization::Ask;
            settings.durability = Durability::Stored;
        });
        let mut client = Some(broker.lasting(Version::V5_0, "a"));
        broker.hold();
        subscribe(client.as_mut().unwrap(), 7, "x");
        for step in 0..3 {
            if step == lost_after {
                client = None;
            }
            if !broker.has_asked_nothing() {
                answer(&broker, broker.asked());
            }
        }
        if let Some(client) = &mut client {
            client.expect_suback(7);
        }
        let subscribed = u64::from(lost_after > 0);
        assert_eq!(broker.look(|shard| shard.gauges().subscriptions), subscribed);
        drop(client);
        asked(&broker);
        let mut again = broker.open();
        again.send_connect(&crate::broker::lasting(Version::V5_0, "a"));
        broker.answer_all();
        assert!(again.expect_connack().session_present);
        again.send_pingreq();
        again.expect_pingresp();
    }
}

#[test]
fn a_second_subscriber_to_a_filter_that_is_not_known_everywhere_waits_with_the_first() {
    let broker = one_of_three();
    let [mut a, mut b] = ["a", "b"].map(|name| broker.client(Version::V5_0, name));
    broker.hold();
    broker.trace();
    subscribe(&mut a, 1, "x");
    subscribe(&mut b, 2, "$share/g/x");
    let first = asked(&broker);
    assert_eq!(changes(&first), [(0, "x", true), (2, "x", true)], "it is told once");
    for effect in first {
        expect_nothing_written(&broker);
        answer(&broker, effect);
    }
    a.expect_suback(1);
    b.expect_suback(2);
    // From now on nobody needs to wait.
    subscribe(&mut a, 3, "$share/h/x");
    a.expect_suback(3);
    assert!(broker.has_asked_nothing());
}

#[test]
fn a_reconnected_session_waits_for_the_route_that_its_old_connection_has_begun() {
    let broker = one_of_three();
    let mut client = broker.lasting(Version::V5_0, "a");
    broker.hold();
    subscribe(&mut client, 1, "x");
    drop(client);
    let mut client = broker.lasting(Version::V5_0, "a");
    broker.trace();
    subscribe(&mut client, 2, "x");
    for effect in asked(&broker) {
        expect_nothing_written(&broker);
        answer(&broker, effect);
    }
    client.expect_suback(2);
}

#[test]
fn the_last_subscriber_takes_the_route_along_and_the_next_one_begins_anew() {
    for version in VERSIONS {
        let broker = one_of_three();
        let [mut a, b] = ["a", "b"].map(|name| {
            let mut client = broker.client(version, name);
            client.subscribe(&[("x", QoS::AtMostOnce), ("$share/g/y", QoS::AtMostOnce)]);
            client
        });
        broker.hold();
        drop(b);
        assert_eq!(changes(&asked(&broker)), []);
        a.unsubscribe(&["x"]);
        assert_eq!(changes(&asked(&broker)), [(0, "x", false), (2, "x", false)]);
        subscribe(&mut a, 9, "x");
        let again = asked(&broker);
        assert_eq!(changes(&again), [(0, "x", true), (2, "x", true)]);
        for effect in again {
            answer(&broker, effect);
        }
        a.expect_suback(9);
        drop(a);
        let mut withdrawn = asked(&broker);
        let mut told = changes(&withdrawn);
        told.sort_unstable();
        let expected = [(0, "x", false), (0, "y", false), (2, "x", false), (2, "y", false)];
        assert_eq!(told, expected);
        withdrawn.clear();
    }
}

#[test]
fn confirmations_of_a_route_that_was_given_up_do_not_count_for_its_successor() {
    let broker = one_of_three();
    let mut client = broker.client(Version::V5_0, "a");
    broker.hold();
    subscribe(&mut client, 1, "x");
    let given_up = asked(&broker);
    drop(client);
    assert_eq!(changes(&asked(&broker)), [(0, "x", false), (2, "x", false)]);
    let mut client = broker.client(Version::V5_0, "b");
    broker.trace();
    subscribe(&mut client, 2, "x");
    let successor = asked(&broker);
    for effect in given_up.into_iter().chain(successor) {
        expect_nothing_written(&broker);
        answer(&broker, effect);
    }
    client.expect_suback(2);
}

#[test]
fn publications_go_to_the_shards_that_have_told_a_filter_as_long_as_they_want_them() {
    spec!("MQTT5-4.5.0-1", "MQTT311-4.5.0-1");
    for version in VERSIONS {
        let broker = one_of_three();
        let mut client = broker.client(version, "a");
        client.subscribe(&[("x/y", QoS::AtMostOnce)]);
        broker.hold();
        let change = |from: u16, filter: &str, interested: bool| {
            let token = noctule_broker_core::Token::nobody();
            let (from, filter) = (ShardId(from), filter.into());
            broker.input(Input::RouteChanged { from, token, filter, interested });
            let confirmed = broker.asked();
            assert!(matches!(confirmed, Effect::ConfirmRoute { to, .. } if to == from));
        };
        let forwarded = |client: &mut Client| -> Vec<u16> {
            client.publish("x/y", "m", QoS::AtMostOnce);
            assert_eq!(client.receive().text(), "m");
            let told = asked(&broker).into_iter().map(|effect| match effect {
                Effect::Forward { to, message, .. } => {
                    assert_eq!(&*message.topic, "x/y");
                    to.0
                }
                other => panic!("{other:?}"),
            });
            told.collect()
        };
        assert_eq!(forwarded(&mut client), [0; 0]);
        change(0, "x/+", true);
        change(2, "#", true);
        change(2, "x/y", true);
        change(2, "z", true);
        assert_eq!(forwarded(&mut client), [0, 2], "each gets one, however many filters match");
        change(2, "x/y", false);
        change(0, "x/+", false);
        assert_eq!(forwarded(&mut client), [2]);
        change(2, "#", false);
        assert_eq!(forwarded(&mut client), [0; 0]);
    }
}

#[test]
fn what_another_shard_forwards_reaches_own_subscribers_and_no_third_shard() {
    for version in VERSIONS {
        let broker = one_of_three();
        let mut client = broker.lasting(version, "a");
        client.subscribe(&[("x", QoS::AtLeastOnce), ("$share/g/x", QoS::AtLeastOnce)]);
        broker.hold();
        let token = noctule_broker_core::Token::nobody();
        let route =
            Input::RouteChanged { from: ShardId(2), token, filter: "#".into(), interested: true };
        broker.input(route);
        asked(&broker);
        let message = Arc::new(Message {
            topic: "x".into(),
            payload: (*b"m").into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: ForwardedProperties::empty(),
            expires_at: None,
        });
        broker.input(Input::Forwarded { from: ShardId(0), token, message });
        let effects = asked(&broker);
        let [Effect::Answer { to: ShardId(0), .. }] = effects.as_slice() else {
            panic!("{effects:?}");
        };
        assert_eq!([client.receive().topic, client.receive().topic], ["x", "x"]);
        client.expect_nothing_before_pong();
    }
}
