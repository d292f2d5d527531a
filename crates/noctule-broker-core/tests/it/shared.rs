//! Shared subscriptions: who gets a message, what waits when nobody can take it, and what becomes
//! of what a member leaves behind.

use noctule_broker_core::{DropCause, Durability, Event, Limit};
use noctule_packet::{PacketType, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting};

const V5: Version = Version::V5_0;
const FILTER: &str = "$share/g/x";

/// A member with a lasting session.
fn member(broker: &Broker, version: Version, name: &str, qos: QoS) -> Client {
    let mut client = broker.lasting(version, name);
    client.subscribe(&[(FILTER, qos)]);
    client
}

/// Publishes these texts at this QoS from a client of its own.
fn publish(broker: &Broker, qos: QoS, texts: &[&str]) {
    let mut publisher = broker.client(V5, "publisher");
    for text in texts {
        publisher.publish("x", text, qos);
    }
    publisher.disconnect();
}

#[track_caller]
fn expect_texts(client: &mut Client, texts: &[&str]) {
    for text in texts {
        assert_eq!(client.receive().text(), *text);
    }
    client.expect_nothing_before_pong();
}

#[test]
fn each_message_goes_to_one_member_of_each_group_and_to_every_plain_subscriber() {
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = Broker::new();
            let mut members: Vec<Client> =
                (0..3).map(|at| member(&broker, version, &format!("m{at}"), qos)).collect();
            let mut other = broker.client(version, "other group");
            other.subscribe(&[("$share/h/x", qos)]);
            let mut plain = broker.client(version, "plain");
            plain.subscribe(&[("x", qos)]);
            publish(&broker, qos, &["1", "2", "3", "4", "5", "6"]);
            expect_texts(&mut plain, &["1", "2", "3", "4", "5", "6"]);
            expect_texts(&mut other, &["1", "2", "3", "4", "5", "6"]);
            let counts: Vec<usize> =
                members.iter_mut().map(|client| client.receive_all().len()).collect();
            assert_eq!(counts, [2, 2, 2], "even, since all are equally busy");
        }
    }
}

#[test]
fn by_default_the_member_with_the_fewest_messages_in_flight_is_picked() {
    let broker = Broker::new();
    let mut busy = member(&broker, V5, "busy", QoS::AtLeastOnce);
    publish(&broker, QoS::AtLeastOnce, &["1", "2", "3"]);
    let mut idle = member(&broker, V5, "idle", QoS::AtLeastOnce);
    publish(&broker, QoS::AtLeastOnce, &["4", "5", "6"]);
    for text in ["4", "5", "6"] {
        assert_eq!(idle.expect_publish().text(), text);
    }
    expect_texts(&mut busy, &["1", "2", "3"]);
    publish(&broker, QoS::AtLeastOnce, &["7", "8"]);
    expect_texts(&mut busy, &["7", "8"]);
    idle.expect_nothing_before_pong();
}

fn with_strategy(strategy: noctule_broker_core::SharedStrategy) -> (Broker, Vec<Client>) {
    let broker = Broker::with(|settings| settings.shared_strategy = strategy);
    let members =
        (0..3).map(|at| member(&broker, V5, &format!("m{at}"), QoS::AtLeastOnce)).collect();
    (broker, members)
}

#[test]
fn round_robin_takes_the_members_in_turn_however_busy_they_are() {
    let (broker, mut members) = with_strategy(noctule_broker_core::SharedStrategy::RoundRobin);
    publish(&broker, QoS::AtLeastOnce, &["1", "2", "3", "4"]);
    for (at, text) in [(0, "1"), (1, "2"), (2, "3"), (0, "4")] {
        assert_eq!(members[at].expect_publish().text(), text);
    }
    // One that leaves or that is away is passed over.
    drop(members.remove(1));
    members[0].unsubscribe(&[FILTER]);
    publish(&broker, QoS::AtLeastOnce, &["5", "6"]);
    for text in ["5", "6"] {
        assert_eq!(members[1].expect_publish().text(), text);
    }
}

#[test]
fn random_reaches_every_member_and_only_those_that_can_take_it() {
    let (broker, mut members) = with_strategy(noctule_broker_core::SharedStrategy::Random);
    drop(members.remove(1));
    for _ in 0..60 {
        publish(&broker, QoS::AtLeastOnce, &["m"]);
    }
    let counts: Vec<usize> = members.iter_mut().map(|client| client.receive_all().len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 60);
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}

#[test]
fn a_sticky_strategy_keeps_a_publisher_or_a_topic_with_one_member_while_it_is_there() {
    use noctule_broker_core::SharedStrategy::{StickyPublisher, StickyTopic};
    for strategy in [StickyPublisher, StickyTopic] {
        let broker = Broker::with(|settings| settings.shared_strategy = strategy);
        let mut members: Vec<Client> = (0..3)
            .map(|at| {
                let mut client = broker.lasting(V5, &format!("m{at}"));
                client.subscribe(&[("$share/g/x/+", QoS::AtLeastOnce)]);
                client
            })
            .collect();
        // Two publishers and two topics, crosswise; what is equal by the strategy stays together.
        let mut seen: Vec<Vec<String>> = vec![Vec::new(); 3];
        let send = |members: &mut Vec<Client>, seen: &mut Vec<Vec<String>>| {
            for name in ["one", "two", "three", "four"] {
                let mut publisher = broker.client(V5, name);
                for topic in ["x/1", "x/2", "x/3", "x/4"] {
                    publisher.publish(topic, name, QoS::AtLeastOnce);
                    for (at, client) in members.iter_mut().enumerate() {
                        for message in client.receive_all() {
                            let by_topic = strategy == StickyTopic;
                            let text = message.text().to_owned();
                            seen[at].push(if by_topic { message.topic } else { text });
                        }
                    }
                }
            }
        };
        for _ in 0..2 {
            send(&mut members, &mut seen);
        }
        for set in &mut seen {
            set.sort_unstable();
            set.dedup();
        }
        let all: usize = seen.iter().map(Vec::len).sum();
        assert_eq!(all, 4, "each has one member: {seen:?}");
        assert!(seen.iter().filter(|set| !set.is_empty()).count() > 1, "{seen:?}");
    }
}

#[test]
fn what_a_sticky_member_could_not_take_goes_to_another_when_it_is_gone() {
    let broker = Broker::with(|settings| {
        settings.shared_strategy = noctule_broker_core::SharedStrategy::StickyTopic;
    });
    let mut first = broker.connect(&lasting(V5, "a").receive_maximum(1));
    first.subscribe(&[(FILTER, QoS::ExactlyOnce)]);
    publish(&broker, QoS::ExactlyOnce, &["1", "2", "3"]);
    let mut second = member(&broker, V5, "b", QoS::ExactlyOnce);
    second.expect_nothing_before_pong();
    assert_eq!(first.expect_publish().text(), "1");
    drop(first);
    expect_texts(&mut second, &["2", "3"]);
    let mut first = broker.lasting(V5, "a");
    expect_texts(&mut first, &["1"]);
    assert_eq!(broker.look(|shard| shard.gauges().queued_bytes), 0);
}

#[test]
fn each_member_gets_no_more_than_its_own_granted_qos() {
    spec!("MQTT5-4.8.2-3");
    let all = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for version in VERSIONS {
        for published in all {
            let broker = Broker::new();
            let mut members: Vec<(Client, QoS)> = all
                .into_iter()
                .map(|qos| (member(&broker, version, &format!("{qos:?}"), qos), qos))
                .collect();
            for _ in 0..9 {
                publish(&broker, published, &["m"]);
                for (client, granted) in &mut members {
                    for message in client.receive_all() {
                        assert_eq!(message.qos, published.min(*granted));
                    }
                }
            }
        }
    }
}

#[test]
fn a_qos_2_message_that_was_begun_with_a_member_is_finished_with_it_when_it_returns() {
    spec!("MQTT5-4.8.2-4");
    for version in VERSIONS {
        for received in [false, true] {
            let broker = Broker::new();
            let mut first = member(&broker, version, "a", QoS::ExactlyOnce);
            publish(&broker, QoS::ExactlyOnce, &["1"]);
            let mut second = member(&broker, version, "b", QoS::ExactlyOnce);
            let message = first.expect_publish();
            if received {
                first.send_pubrec(message.id());
                first.expect_pubrel(message.id());
            }
            drop(first);
            second.expect_nothing_before_pong();
            let mut first = broker.lasting(version, "a");
            if received {
                first.expect_pubrel(message.id());
                first.send_pubcomp(message.id());
            } else {
                let again = first.expect_publish();
                assert_eq!((again.id(), again.dup, again.text()), (message.id(), true, "1"));
                first.acknowledge(&again);
            }
            first.expect_nothing_before_pong();
            second.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_begun_qos_2_message_dies_with_the_session_of_its_member() {
    spec!("MQTT5-4.8.2-5");
    let broker = Broker::new();
    let mut first = broker.connect(&lasting(V5, "a").session_expiry_interval(60));
    first.subscribe(&[(FILTER, QoS::ExactlyOnce)]);
    publish(&broker, QoS::ExactlyOnce, &["1", "2"]);
    let mut second = member(&broker, V5, "b", QoS::ExactlyOnce);
    assert_eq!([first.expect_publish().text(), first.expect_publish().text()], ["1", "2"]);
    drop(first);
    broker.advance_seconds(61);
    assert_eq!(broker.look(|shard| shard.gauges().sessions), 1);
    second.expect_nothing_before_pong();
    publish(&broker, QoS::ExactlyOnce, &["3"]);
    expect_texts(&mut second, &["3"]);
}

#[test]
fn an_unacknowledged_qos_1_message_and_what_was_never_sent_outlive_the_session_of_their_member() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.in_flight_max = 2);
        let mut first = broker.client(version, "a");
        first.subscribe(&[(FILTER, QoS::AtLeastOnce)]);
        // The only other member is away, and finds everything when it returns.
        drop(member(&broker, version, "b", QoS::AtLeastOnce));
        publish(&broker, QoS::AtLeastOnce, &["1", "2", "3", "4"]);
        assert_eq!(first.expect_publish().text(), "1");
        assert_eq!(first.expect_publish().text(), "2");
        first.expect_nothing_before_pong();
        assert_eq!(broker.look(|shard| shard.gauges().queued_messages), 2);
        drop(first);
        let mut second = broker.lasting(version, "b");
        for text in ["1", "2", "3", "4"] {
            let message = second.receive();
            assert_eq!((message.text(), message.dup), (text, false));
        }
        second.expect_nothing_before_pong();
        assert_eq!(broker.look(|shard| shard.gauges().queued_bytes), 0);
    }
}

#[test]
fn a_message_that_a_member_refuses_is_discarded_and_goes_to_nobody_else() {
    spec!("MQTT5-4.8.2-6");
    for (qos, answer) in
        [(QoS::AtLeastOnce, PacketType::Puback), (QoS::ExactlyOnce, PacketType::Pubrec)]
    {
        let broker = Broker::new();
        let mut first = member(&broker, V5, "a", qos);
        publish(&broker, qos, &["1"]);
        let mut second = member(&broker, V5, "b", qos);
        let message = first.expect_publish();
        first.send_ack(answer, message.id(), ReasonCode::ImplementationSpecificError);
        first.expect_nothing_before_pong();
        second.expect_nothing_before_pong();
        // Neither a return nor the end of the session brings it back.
        drop(first);
        broker.lasting(V5, "a").expect_nothing_before_pong();
        broker.client(V5, "a").disconnect();
        second.expect_nothing_before_pong();
        let dropped = broker.look(|shard| shard.statistics().dropped);
        assert_eq!(dropped[DropCause::RefusedByClient.index()], 1);
    }
}

#[test]
fn messages_wait_for_the_group_while_all_members_are_away() {
    for version in VERSIONS {
        for durability in [Durability::Memory, Durability::Stored] {
            let broker = Broker::with(|settings| settings.durability = durability);
            drop(member(&broker, version, "a", QoS::ExactlyOnce));
            drop(member(&broker, version, "b", QoS::AtLeastOnce));
            publish(&broker, QoS::AtLeastOnce, &["1", "2"]);
            broker.events();
            publish(&broker, QoS::AtMostOnce, &["lost"]);
            let mut events = broker.events().into_iter();
            assert!(!events.any(|event| matches!(event, Event::Dropped { .. })), "only counted");
            assert_eq!(broker.look(|shard| shard.gauges().queued_messages), 2);
            let mut second = broker.lasting(version, "b");
            expect_texts(&mut second, &["1", "2"]);
            broker.lasting(version, "a").expect_nothing_before_pong();
            let dropped = broker.look(|shard| shard.statistics().dropped);
            assert_eq!(dropped[DropCause::NoMember.index()], 1);
        }
    }
}

#[test]
fn a_new_member_takes_what_waits_for_the_group() {
    for version in VERSIONS {
        let broker = Broker::new();
        drop(member(&broker, version, "a", QoS::AtLeastOnce));
        publish(&broker, QoS::AtLeastOnce, &["1", "2"]);
        let mut second = member(&broker, version, "b", QoS::AtLeastOnce);
        expect_texts(&mut second, &["1", "2"]);
        publish(&broker, QoS::AtLeastOnce, &["3"]);
        expect_texts(&mut second, &["3"]);
    }
}

#[test]
fn members_with_full_windows_take_what_waits_as_they_acknowledge() {
    let broker = Broker::new();
    let connect = |name: &str| OwnedConnect::v5(name).receive_maximum(1);
    let (mut a, mut b) = (broker.connect(&connect("a")), broker.connect(&connect("b")));
    for client in [&mut a, &mut b] {
        client.subscribe(&[(FILTER, QoS::ExactlyOnce)]);
    }
    publish(&broker, QoS::ExactlyOnce, &["1", "2", "3", "4", "5"]);
    let first = a.expect_publish();
    assert_eq!(first.text(), "1");
    for text in ["2", "3", "4", "5"] {
        assert_eq!(b.receive().text(), text);
    }
    a.acknowledge(&first);
    a.expect_nothing_before_pong();
    b.expect_nothing_before_pong();
}

#[test]
fn a_group_keeps_no_more_than_a_queue_may_hold_and_says_what_it_drops() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.queue_messages_max = 2);
        drop(member(&broker, version, "a", QoS::AtLeastOnce));
        broker.events();
        publish(&broker, QoS::AtLeastOnce, &["1", "2", "3"]);
        let dropped: Vec<Event> = broker
            .events()
            .into_iter()
            .filter(|event| matches!(event, Event::Dropped { .. }))
            .collect();
        let setting = "limits.queue_messages_max";
        let expected = Event::Dropped {
            client_id: FILTER.into(),
            topic: "x".into(),
            cause: DropCause::QueueFull,
            limit: Some(Limit { setting, maximum: 2, wanted: 3 }),
        };
        assert_eq!(dropped, [expected]);
        expect_texts(&mut broker.lasting(version, "a"), &["1", "2"]);
    }
}

#[test]
fn what_has_expired_makes_room_in_a_group() {
    let broker = Broker::with(|settings| settings.limits.queue_messages_max = 2);
    drop(member(&broker, V5, "a", QoS::AtLeastOnce));
    let mut publisher = broker.client(V5, "p");
    for text in ["1", "2"] {
        let message = OwnedPublish::new("x", text, QoS::AtLeastOnce);
        publisher.publish_with(&message.message_expiry_interval(5));
    }
    broker.advance_seconds(10);
    publish(&broker, QoS::AtLeastOnce, &["3", "4", "5"]);
    let dropped = broker.look(|shard| shard.statistics().dropped);
    assert_eq!(dropped[DropCause::Expired.index()], 2);
    assert_eq!(dropped[DropCause::QueueFull.index()], 1);
    expect_texts(&mut broker.lasting(V5, "a"), &["3", "4"]);
}

#[test]
fn a_group_keeps_no_more_bytes_than_a_queue_may_hold() {
    let broker = Broker::with(|settings| settings.limits.queue_bytes_max = 1_000);
    drop(member(&broker, V5, "a", QoS::AtLeastOnce));
    let large = "x".repeat(500);
    publish(&broker, QoS::AtLeastOnce, &[&large, &large, "small"]);
    let gauges = broker.look(|shard| shard.gauges());
    assert_eq!(gauges.queued_messages, 2);
    assert!(gauges.queued_bytes <= 1_000);
    expect_texts(&mut broker.lasting(V5, "a"), &[&large, "small"]);
}

#[test]
fn what_waits_for_a_group_expires_and_ends_with_the_last_member() {
    let broker = Broker::new();
    drop(member(&broker, V5, "a", QoS::AtLeastOnce));
    let mut publisher = broker.client(V5, "p");
    let message = OwnedPublish::new("x", "short", QoS::AtLeastOnce);
    publisher.publish_with(&message.message_expiry_interval(5));
    let message = OwnedPublish::new("x", "long", QoS::AtLeastOnce);
    publisher.publish_with(&message.message_expiry_interval(50));
    broker.advance_seconds(10);
    let mut client = broker.lasting(V5, "a");
    let message = client.receive();
    assert_eq!((message.text(), message.message_expiry_interval), ("long", Some(40)));
    client.expect_nothing_before_pong();
    drop(client);
    publisher.publish("x", "never", QoS::AtLeastOnce);
    broker.client(V5, "a").expect_nothing_before_pong();
    let gauges = broker.look(|shard| shard.gauges());
    assert_eq!((gauges.queued_messages, gauges.shared_groups), (0, 0));
    let dropped = broker.look(|shard| shard.statistics().dropped);
    assert_eq!(dropped[DropCause::Expired.index()], 1);
    assert_eq!(dropped[DropCause::NoMember.index()], 1);
}

#[test]
fn a_member_that_subscribes_again_is_still_one_member_with_the_new_options() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = member(&broker, version, "a", QoS::ExactlyOnce);
        client.subscribe(&[(FILTER, QoS::AtMostOnce)]);
        publish(&broker, QoS::ExactlyOnce, &["1"]);
        let message = client.receive();
        assert_eq!((message.text(), message.qos), ("1", QoS::AtMostOnce));
        client.expect_nothing_before_pong();
        client.unsubscribe(&[FILTER]);
        publish(&broker, QoS::ExactlyOnce, &["2"]);
        client.expect_nothing_before_pong();
    }
}

#[test]
fn a_shared_subscription_is_served_no_retained_messages() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut publisher = broker.client(version, "p");
        publisher.publish_with(&OwnedPublish::new("x", "kept", QoS::AtLeastOnce).retain(true));
        let mut client = member(&broker, version, "a", QoS::AtLeastOnce);
        client.expect_nothing_before_pong();
        publisher.publish("x", "live", QoS::AtLeastOnce);
        expect_texts(&mut client, &["live"]);
    }
}

#[test]
fn the_order_of_what_waits_is_kept_when_members_leave_one_after_the_other() {
    let broker = Broker::with(|settings| settings.limits.in_flight_max = 3);
    let names = ["a", "b", "c"];
    let mut last = None;
    for name in names {
        let mut client = broker.client(V5, name);
        client.subscribe(&[(FILTER, QoS::AtLeastOnce)]);
        if last.is_none() {
            publish(&broker, QoS::AtLeastOnce, &["1", "2", "3", "4", "5", "6", "7"]);
        }
        // The one before leaves without acknowledging anything.
        last = Some(client);
    }
    let mut client = last.unwrap();
    expect_texts(&mut client, &["1", "2", "3", "4", "5", "6", "7"]);
}

/// So many that looking through all that waits for each of the groups is felt.
#[test]
fn a_member_of_very_many_groups_leaves_them_with_all_that_it_did_not_finish() {
    let broker = Broker::new();
    let filters: Vec<String> = (0..2_000).map(|number| format!("$share/g/x/{number}")).collect();
    let join = |client: &mut Client| {
        let filters: Vec<_> = filters.iter().map(|filter| (&**filter, QoS::AtLeastOnce)).collect();
        client.subscribe(&filters);
    };
    let mut leaver = broker.client(V5, "leaver");
    join(&mut leaver);
    leaver.subscribe(&[("plain", QoS::AtLeastOnce)]);
    broker.stall(&leaver);
    let mut publisher = broker.client(V5, "publisher");
    // More than the window, so that some are sent and some wait.
    for number in 0..2_000 {
        publisher.publish(&format!("x/{number}"), number.to_string(), QoS::AtLeastOnce);
    }
    for _ in 0..20_000 {
        publisher.publish("plain", "", QoS::AtLeastOnce);
    }
    for _ in 0..2_000 {
        leaver.send_puback(60_000);
    }
    let mut other = broker.connect(&OwnedConnect::v5("other"));
    join(&mut other);
    drop(leaver);
    let mut texts: Vec<String> = (0..2_000).map(|_| other.receive().text().to_owned()).collect();
    texts.sort_by_key(|text| text.parse::<usize>().expect("a number"));
    let expected: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
    other.expect_nothing_before_pong();
    assert_eq!(broker.look(|shard| shard.gauges().queued_messages), 0);
}
