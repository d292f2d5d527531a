//! What is on its way to a member of a shared subscription when it leaves: many orders in which
//! that can happen on three shards, and the situations that matter most step by step.

use std::cell::RefCell;

use noctule_broker_core::Placement;
use noctule_packet::{PacketType, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, packet_bytes};

use crate::broker::{Broker, Client, lasting, placement_of};
use crate::orders::{Act, Arrived, Choices, arrived, play, random_orders};

const V5: Version = Version::V5_0;
const FILTER: &str = "$share/g/x";
const TEXTS: [&str; 3] = ["1", "2", "3"];
/// Of many more.
const ORDERS: u64 = 300;

/// The group and the publisher on shard 0, the member that leaves on shard 1, and the one that
/// stays on shard 2.
fn placement() -> Placement {
    placement_of(3, &[(FILTER, 0), ("publisher", 0), ("leaver", 1), ("stayer", 2)])
}

fn broker(placement: &Placement) -> Broker {
    Broker::with(|settings| settings.placement = *placement)
}

fn member(broker: &Broker, connect: &OwnedConnect, qos: QoS) -> Client {
    let mut client = broker.connect(connect);
    client.subscribe(&[(FILTER, qos)]);
    client
}

fn texts(packets: &[Arrived]) -> Vec<&str> {
    let publishes = packets.iter().filter_map(|packet| match packet {
        Arrived::Publish(publish) => Some(publish.text()),
        Arrived::Other(_) => None,
    });
    publishes.collect()
}

pub(crate) fn unsubscribe(client: &mut Client) {
    client.send_bytes(&packet_bytes(0xa2, &format!("0005 00 s'{FILTER}'")));
}

/// Lets a member leave while messages for the group are on their way, in many orders, and hands
/// what both members got to `check`.
fn leaving(
    connect: &OwnedConnect,
    qos: QoS,
    leave: impl Fn(&mut Client),
    check: impl Fn(&[Arrived], &[Arrived]) -> bool,
) {
    let placement = placement();
    random_orders(ORDERS, |choices: &mut Choices| {
        let broker = broker(&placement);
        let leaver = member(&broker, connect, qos);
        let stayer = member(&broker, &lasting(V5, "stayer"), qos);
        let publisher = RefCell::new(broker.client(V5, "publisher"));
        broker.hold_mail();
        let leaver = RefCell::new(leaver);
        let publish = |text: &'static str| {
            let publisher = &publisher;
            let act: Act<'_> = Box::new(move || publisher.borrow_mut().publish("x", text, qos));
            (text, act)
        };
        let act: Act<'_> = Box::new(|| leave(&mut leaver.borrow_mut()));
        let acts = vec![TEXTS.map(publish).into_iter().collect(), vec![("leave", act)]];
        let said = play(&broker, choices, acts);
        let (left, stayed) = (arrived(&broker, &leaver.borrow()), arrived(&broker, &stayer));
        assert!(check(&left, &stayed), "{qos:?}: {left:?} and {stayed:?} after {said:?}");
        assert_eq!(broker.look(|shards| shards.gauges().queued_messages), 0);
    });
}

/// Whether each message is at one of both.
fn is_shared_out(left: &[Arrived], stayed: &[Arrived]) -> bool {
    let mut together = [texts(left), texts(stayed)].concat();
    together.sort_unstable();
    together == TEXTS
}

#[test]
fn who_unsubscribes_gets_nothing_behind_unsuback_and_the_others_all_the_rest() {
    spec!("MQTT5-3.10.4-2", "MQTT5-3.10.4-3");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let check = |left: &[Arrived], stayed: &[Arrived]| {
            let is_last = |packet: &Arrived| matches!(packet, Arrived::Other(PacketType::Unsuback));
            is_shared_out(left, stayed) && left.last().is_some_and(is_last)
        };
        leaving(&OwnedConnect::v5("leaver"), qos, unsubscribe, check);
    }
}

#[test]
fn whose_window_is_full_leaves_what_it_was_never_sent_to_the_others() {
    let connect = OwnedConnect::v5("leaver").receive_maximum(1);
    leaving(&connect, QoS::AtLeastOnce, unsubscribe, |left, stayed| {
        is_shared_out(left, stayed) && texts(left).len() <= 1
    });
}

#[test]
fn what_a_lost_connection_was_sent_stays_with_its_session_and_the_rest_goes_to_others() {
    spec!("MQTT5-4.8.2-4");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        leaving(&lasting(V5, "leaver"), qos, |client| client.shut_down_writing(), is_shared_out);
    }
}

#[test]
fn what_an_ended_session_has_not_acknowledged_goes_to_the_others() {
    spec!("MQTT5-4.8.2-5");
    let end = |client: &mut Client| client.send_disconnect(ReasonCode::Success);
    let connect = OwnedConnect::v5("leaver");
    leaving(&connect, QoS::AtLeastOnce, end, |_, stayed| {
        let mut all = texts(stayed);
        all.sort_unstable();
        all == TEXTS
    });
    // A QoS 2 message that was begun is no other member's.
    leaving(&connect, QoS::ExactlyOnce, end, is_shared_out);
}

#[test]
fn what_comes_too_late_for_a_member_is_given_back_in_order() {
    let broker = broker(&placement());
    let mut leaver = member(&broker, &lasting(V5, "leaver"), QoS::AtLeastOnce);
    let mut publisher = broker.client(V5, "publisher");
    broker.hold_mail();
    for text in TEXTS {
        publisher.publish("x", text, QoS::AtLeastOnce);
    }
    leaver.shut_down_writing();
    assert_eq!(broker.carry_between(0, 1), ["Assign"; 3]);
    publisher.publish("x", "4", QoS::AtLeastOnce);
    let given_back = broker.carry_between(1, 0);
    assert_eq!(given_back.iter().filter(|name| *name == "GiveBack").count(), 3, "{given_back:?}");
    publisher.publish("x", "5", QoS::AtLeastOnce);
    broker.carry_all();
    broker.answer_all();
    let mut stayer = member(&broker, &lasting(V5, "stayer"), QoS::AtLeastOnce);
    for text in ["1", "2", "3", "4", "5"] {
        assert_eq!(stayer.receive().text(), text);
    }
    stayer.expect_nothing_before_pong();
}

#[test]
fn what_comes_too_late_for_a_group_that_is_over_is_dropped_and_counted() {
    let broker = broker(&placement());
    let mut leaver = member(&broker, &OwnedConnect::v5("leaver"), QoS::AtLeastOnce);
    let mut publisher = broker.client(V5, "publisher");
    broker.hold_mail();
    publisher.publish("x", "1", QoS::AtLeastOnce);
    unsubscribe(&mut leaver);
    leaver.expect_unsuback(5);
    assert_eq!(broker.carry_between(1, 0), ["Leave"]);
    assert_eq!(broker.carry(0, 1), "Assign");
    broker.carry_all();
    leaver.expect_nothing_before_pong();
    let (counted, gauges) = broker.look(|shards| (shards.statistics(), shards.gauges()));
    assert_eq!(counted.dropped[noctule_broker_core::DropCause::NoMember.index()], 1);
    assert_eq!((gauges.shared_groups, gauges.queued_messages), (0, 0));
}

#[test]
fn a_qos_2_message_that_was_begun_is_finished_with_its_member_on_another_shard() {
    spec!("MQTT5-4.8.2-4");
    let broker = broker(&placement());
    let mut leaver = member(&broker, &lasting(V5, "leaver"), QoS::ExactlyOnce);
    let mut publisher = broker.client(V5, "publisher");
    publisher.publish("x", "begun", QoS::ExactlyOnce);
    let begun = leaver.expect_publish();
    drop(leaver);
    let mut stayer = member(&broker, &lasting(V5, "stayer"), QoS::ExactlyOnce);
    publisher.publish("x", "next", QoS::ExactlyOnce);
    assert_eq!(stayer.receive().text(), "next");
    stayer.expect_nothing_before_pong();
    let mut leaver = broker.connect(&lasting(V5, "leaver"));
    let again = leaver.receive();
    assert_eq!((again.text(), again.dup, again.packet_id), ("begun", true, begun.packet_id));
    leaver.expect_nothing_before_pong();
    stayer.expect_nothing_before_pong();
}

#[test]
fn a_member_that_leaves_and_comes_back_while_messages_are_on_their_way_gets_each_once() {
    let placement = placement();
    random_orders(ORDERS, |choices: &mut Choices| {
        let broker = broker(&placement);
        let leaver = RefCell::new(member(&broker, &OwnedConnect::v5("leaver"), QoS::AtLeastOnce));
        let publisher = RefCell::new(broker.client(V5, "publisher"));
        broker.hold_mail();
        let publish = |text: &'static str| {
            let publisher = &publisher;
            let act: Act<'_> =
                Box::new(move || publisher.borrow_mut().publish("x", text, QoS::AtLeastOnce));
            (text, act)
        };
        let leave: Act<'_> = Box::new(|| unsubscribe(&mut leaver.borrow_mut()));
        let join: Act<'_> = Box::new(|| {
            crate::subscribe::send_subscribe(&mut leaver.borrow_mut(), 9, &[(FILTER, 1)]);
        });
        let acts = vec![
            vec![publish("1"), publish("2")],
            vec![("unsubscribe", leave), ("subscribe", join)],
        ];
        let said = play(&broker, choices, acts);
        let packets = arrived(&broker, &leaver.borrow());
        let got = texts(&packets);
        // Between both it is no member, and nobody else is one.
        let is_right = got.is_sorted_by(|one, next| one < next);
        assert!(is_right, "{packets:?} after {said:?}");
        let unsuback = packets
            .iter()
            .position(|packet| matches!(packet, Arrived::Other(PacketType::Unsuback)));
        assert!(unsuback.is_some(), "{packets:?}");
    });
}
