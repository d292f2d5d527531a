//! Shared subscriptions whose members are on several shards: every message goes to one of them,
//! whatever is on its way between shards while members come and go.

use noctule_broker_core::{DropCause, Settings, SharedStrategy};
use noctule_packet::{QoS, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting};
use crate::shared_in_flight::unsubscribe;
use crate::subscribe::send_subscribe;

const V5: Version = Version::V5_0;
const FILTER: &str = "$share/g/x";
const AT_LEAST_ONCE: QoS = QoS::AtLeastOnce;

/// Three shards. The group lives on the first, and so do one member and a publisher; there is one
/// member on each of the others.
pub(crate) fn three(change: impl FnOnce(&mut Settings)) -> Broker {
    let homes = [(FILTER, 0), ("p", 0), ("m0", 0), ("m1", 1), ("m2", 2), ("n1", 1)];
    Broker::placed(3, &homes, change)
}

pub(crate) fn member(broker: &Broker, name: &str, qos: QoS) -> Client {
    let mut client = broker.lasting(V5, name);
    client.subscribe(&[(FILTER, qos)]);
    client
}

fn texts(messages: &[OwnedPublish]) -> Vec<String> {
    messages.iter().map(|message| message.text().to_owned()).collect()
}

/// What a client gets and acknowledges until nothing comes any more.
fn all(client: &mut Client) -> Vec<String> {
    let mut got = Vec::new();
    loop {
        let more = texts(&client.receive_all());
        if more.is_empty() {
            return got;
        }
        got.extend(more);
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number:03}")).collect()
}

fn publish(broker: &Broker, name: &str, qos: QoS, texts: &[String]) {
    let mut publisher = broker.client(V5, name);
    for text in texts {
        publisher.publish("x", text, qos);
    }
}

#[test]
fn every_message_goes_to_exactly_one_member_wherever_it_is_published() {
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = three(|_| {});
            let mut members = ["m0", "m1", "m2"].map(|name| {
                let mut client = broker.lasting(version, name);
                client.subscribe(&[(FILTER, qos)]);
                client
            });
            for (at, name) in ["p", "n1", "m2-publisher"].into_iter().enumerate() {
                publish(&broker, name, qos, &numbers(at * 20..at * 20 + 20));
            }
            let got = members.each_mut().map(all);
            assert!(got.iter().all(|got| got.is_sorted() && got.len() >= 10), "{got:?}");
            let mut together = got.concat();
            together.sort_unstable();
            assert_eq!(together, numbers(0..60), "{version} {qos:?}");
        }
    }
}

#[test]
fn the_member_with_the_fewest_messages_in_flight_is_picked_wherever_it_is() {
    let broker = three(|_| {});
    let mut members = ["m0", "m1", "m2"].map(|name| member(&broker, name, AT_LEAST_ONCE));
    publish(&broker, "p", AT_LEAST_ONCE, &numbers(0..9));
    let mut held = members.each_mut().map(Client::publishes_before_pong);
    assert_eq!(held.each_ref().map(Vec::len), [3, 3, 3]);
    // The one on the last shard gets done.
    held[2].drain(..).for_each(|message| members[2].acknowledge(&message));
    publish(&broker, "p", AT_LEAST_ONCE, &numbers(9..12));
    assert_eq!(texts(&members[2].publishes_before_pong()), numbers(9..12));
    publish(&broker, "p", AT_LEAST_ONCE, &numbers(12..15));
    let more = members.each_mut().map(|member| member.publishes_before_pong().len());
    assert_eq!(more, [1, 1, 1]);
}

#[test]
fn round_robin_goes_over_all_shards() {
    let broker = three(|settings| settings.shared_strategy = SharedStrategy::RoundRobin);
    let mut members = ["m0", "m1", "m2"].map(|name| member(&broker, name, AT_LEAST_ONCE));
    publish(&broker, "p", AT_LEAST_ONCE, &numbers(0..9));
    let got = members.each_mut().map(|member| texts(&member.receive_all()));
    let expected = [["000", "003", "006"], ["001", "004", "007"], ["002", "005", "008"]];
    assert_eq!(got, expected.map(|texts| texts.map(str::to_owned).to_vec()));
}

#[test]
fn sticky_strategies_keep_to_one_member_whichever_shard_publishes_from() {
    for (strategy, sticks_to_publisher) in
        [(SharedStrategy::StickyPublisher, true), (SharedStrategy::StickyTopic, false)]
    {
        let broker = three(|settings| settings.shared_strategy = strategy);
        let mut members = ["m0", "m1", "m2"].map(|name| member(&broker, name, AT_LEAST_ONCE));
        let names: Vec<String> = (0..12).map(|number| format!("publisher-{number}")).collect();
        let mut reached = [false; 3];
        for name in &names {
            let mut counts = [0; 3];
            for _ in 0..3 {
                publish(&broker, name, AT_LEAST_ONCE, &numbers(0..2));
                for (count, member) in counts.iter_mut().zip(&mut members) {
                    *count += member.receive_all().len();
                }
            }
            assert_eq!(counts.iter().filter(|count| **count == 6).count(), 1, "{counts:?}");
            reached = [0, 1, 2].map(|at| reached[at] || counts[at] > 0);
        }
        let several = reached.iter().filter(|reached| **reached).count() > 1;
        assert_eq!(several, sticks_to_publisher, "{reached:?}");
    }
}

#[test]
fn a_member_elsewhere_is_given_no_more_than_its_window_and_the_next_as_it_acknowledges() {
    spec!("MQTT5-4.8.2-6");
    let broker = three(|_| {});
    let mut small = broker.connect(&lasting(V5, "m1").receive_maximum(2));
    small.subscribe(&[(FILTER, AT_LEAST_ONCE)]);
    publish(&broker, "p", AT_LEAST_ONCE, &numbers(0..6));
    let sent = small.publishes_before_pong();
    assert_eq!(texts(&sent), numbers(0..2));
    assert_eq!(broker.look(|shards| shards.gauges().queued_messages), 4, "at the group");
    for (at, message) in sent.iter().enumerate() {
        small.acknowledge(message);
        assert_eq!(small.expect_publish().text(), numbers(0..6)[at + 2]);
        small.expect_nothing_before_pong();
    }
    // What this one cannot take, another one does.
    let mut other = member(&broker, "m2", AT_LEAST_ONCE);
    assert_eq!(all(&mut other), numbers(4..6));
}

#[test]
fn a_window_that_publications_to_others_have_filled_holds_a_group_up_no_longer_than_that() {
    let broker = three(|settings| settings.limits.forward_bytes_max = 1_000);
    let mut plain = broker.client(V5, "n1");
    plain.subscribe(&[("y", QoS::AtMostOnce)]);
    let mut member = member(&broker, "m1", AT_LEAST_ONCE);
    let mut publisher = broker.client(V5, "p");
    broker.hold_mail();
    publisher.publish("y", "y".repeat(2_000), QoS::AtMostOnce);
    publisher.publish("x", "1", AT_LEAST_ONCE);
    assert_eq!(broker.letters(), [(0, 1, "Forward".to_owned())], "no room for another");
    broker.carry_all();
    assert_eq!(plain.receive().payload.len(), 2_000);
    assert_eq!(texts(&member.receive_all()), ["1"]);
    broker.carry_all();
    publisher.publish("x", "2", AT_LEAST_ONCE);
    broker.carry_all();
    assert_eq!(texts(&member.receive_all()), ["2"]);
}

#[test]
fn a_member_elsewhere_gets_much_more_than_its_shard_takes_at_a_time() {
    let broker = three(|settings| settings.limits.forward_bytes_max = 1_000);
    for qos in [QoS::AtMostOnce, AT_LEAST_ONCE, QoS::ExactlyOnce] {
        let mut member = member(&broker, "m1", AT_LEAST_ONCE);
        let mut publisher = broker.client(V5, "p");
        for number in 0..20 {
            publisher.publish("x", format!("{number:03}{}", "x".repeat(400)), qos);
            assert_eq!(member.receive().text()[..3], format!("{number:03}"), "{qos:?}");
        }
        member.unsubscribe(&[FILTER]);
    }
}

#[test]
fn a_member_elsewhere_that_leaves_and_comes_back_is_as_busy_as_before() {
    let broker = three(|_| {});
    let mut members = ["m1", "m2"].map(|name| member(&broker, name, AT_LEAST_ONCE));
    publish(&broker, "p", AT_LEAST_ONCE, &numbers(0..4));
    let mut held = members.each_mut().map(Client::publishes_before_pong);
    assert_eq!(held.each_ref().map(Vec::len), [2, 2]);
    let [busy, free] = &mut members;
    broker.hold_mail();
    // Some of it is on its way meanwhile.
    publish(&broker, "p", AT_LEAST_ONCE, &numbers(4..6));
    unsubscribe(busy);
    busy.expect_unsuback(5);
    send_subscribe(busy, 9, &[(FILTER, 1)]);
    broker.answer_all();
    held[0].push(busy.expect_publish());
    busy.expect_suback(9);
    held[1].extend(free.publishes_before_pong());
    assert_eq!(held.each_ref().map(Vec::len), [3, 3]);
    held[1].drain(..).for_each(|message| free.acknowledge(&message));
    publish(&broker, "p", AT_LEAST_ONCE, &numbers(6..9));
    assert_eq!(texts(&free.publishes_before_pong()), numbers(6..9));
    busy.expect_nothing_before_pong();
    // With what it was given before it can be done too.
    held[0].drain(..).for_each(|message| busy.acknowledge(&message));
    publish(&broker, "p", AT_LEAST_ONCE, &numbers(9..12));
    assert_eq!(texts(&busy.publishes_before_pong()), numbers(9..12));
}

#[test]
fn a_group_without_members_on_its_own_shard_works_and_ends_with_the_last_elsewhere() {
    for version in VERSIONS {
        let broker = three(|_| {});
        let mut members = ["m1", "m2"].map(|name| {
            let mut client = broker.client(version, name);
            client.subscribe(&[(FILTER, AT_LEAST_ONCE)]);
            client
        });
        publish(&broker, "m0", AT_LEAST_ONCE, &numbers(0..4));
        assert_eq!(members.each_mut().map(|member| all(member).len()), [2, 2]);
        assert_eq!(broker.look(|shards| shards.gauges().shared_groups), 1);
        members[0].unsubscribe(&[FILTER]);
        publish(&broker, "m0", AT_LEAST_ONCE, &numbers(4..6));
        assert_eq!(all(&mut members[1]), numbers(4..6));
        members[0].expect_nothing_before_pong();
        let [_, last] = members;
        last.disconnect();
        let gauges = broker.look(|shards| shards.gauges());
        assert_eq!((gauges.shared_groups, gauges.queued_messages), (0, 0));
        let mut publisher = broker.client(V5, "p");
        let publish = OwnedPublish::new("x", "nobody", AT_LEAST_ONCE);
        let reason = publisher.publish_with(&publish);
        assert_eq!(reason, noctule_packet::ReasonCode::NoMatchingSubscribers);
    }
}

#[test]
fn suback_waits_until_every_shard_knows_the_group() {
    let broker = three(|_| {});
    let mut client = broker.client(V5, "m1");
    broker.hold_mail();
    broker.trace();
    send_subscribe(&mut client, 7, &[(FILTER, 1)]);
    assert_eq!(broker.carry(1, 0), "Join");
    assert_eq!(broker.letters().len(), 2, "the owner tells both others");
    assert_eq!([broker.carry(0, 1), broker.carry(0, 2)], ["ChangeRoute"; 2]);
    assert_eq!([broker.carry(2, 0), broker.carry(1, 0)], ["ConfirmRoute"; 2]);
    assert!(!broker.trace().iter().any(|step| step.starts_with("Write")), "not yet");
    assert_eq!(broker.carry(0, 1), "Joined");
    client.expect_suback(7);
    // A second member is known to all with the first.
    let mut second = broker.client(V5, "m2");
    send_subscribe(&mut second, 8, &[(FILTER, 1)]);
    assert_eq!([broker.carry(2, 0), broker.carry(0, 2)], ["Join", "Joined"]);
    second.expect_suback(8);
    assert_eq!(broker.letters(), []);
}

#[test]
fn the_end_of_a_plain_subscription_does_not_end_the_shared_one_and_the_other_way_round() {
    for version in VERSIONS {
        for home in ["m0", "m1"] {
            let broker = three(|_| {});
            let mut client = broker.client(version, home);
            let mut publisher = broker.client(version, "m2");
            client.subscribe(&[("x", AT_LEAST_ONCE), (FILTER, AT_LEAST_ONCE)]);
            publisher.publish("x", "1", AT_LEAST_ONCE);
            assert_eq!(all(&mut client), ["1", "1"]);
            client.unsubscribe(&["x"]);
            publisher.publish("x", "2", AT_LEAST_ONCE);
            assert_eq!(all(&mut client), ["2"]);
            client.subscribe(&[("x", AT_LEAST_ONCE)]);
            client.unsubscribe(&[FILTER]);
            publisher.publish("x", "3", AT_LEAST_ONCE);
            assert_eq!(all(&mut client), ["3"]);
        }
    }
}

#[test]
fn messages_of_qos_0_that_nobody_can_take_are_dropped_and_counted() {
    let broker = three(|_| {});
    drop(member(&broker, "m1", AT_LEAST_ONCE));
    publish(&broker, "p", QoS::AtMostOnce, &numbers(0..3));
    let counted = broker.look(|shards| shards.statistics());
    assert_eq!(counted.dropped[DropCause::NoMember.index()], 3);
    let mut back = broker.connect(&OwnedConnect::v5("m1").clean_start(false));
    back.expect_nothing_before_pong();
}
