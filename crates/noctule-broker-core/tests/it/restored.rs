//! What becomes of what a store gives back before the first client comes.

use std::sync::Arc;

use noctule_broker_core::{
    AS_RETAINED, Event, Input, Message, Payload, Record, Restored, ShardId, Source, Step,
    StoredMessage, StoredSession, StoredSubscription, Will, WillOwner,
};
use noctule_packet::{ForwardedProperties, PacketId, PacketType, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting, placement_of};
use crate::stored::{message, name, stored_session, storing, storing_with, subscription};

fn restored(session: StoredSession) -> Restored {
    Restored::Session(Box::new(session))
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("not 0")
}

/// A broker that has got back one session, and its client.
#[track_caller]
fn returned(connect: &OwnedConnect, session: StoredSession) -> (Broker, Client) {
    let broker = storing();
    broker.restore(vec![restored(session)]);
    let client = broker.connect(connect);
    let present = client.connack().is_some_and(|connack| connack.session_present);
    assert_eq!(present, connect.version != Version::V3_1);
    (broker, client)
}

#[test]
fn a_restored_session_has_its_subscriptions() {
    spec!("MQTT5-3.1.2-5", "MQTT311-3.1.2-4", "MQTT311-3.2.2-2", "MQTT31-3.1-8");
    for version in VERSIONS {
        let session = StoredSession {
            subscriptions: vec![
                StoredSubscription { identifier: Some(7), ..subscription("t", QoS::ExactlyOnce) },
                subscription("$share/group/s", QoS::AtLeastOnce),
            ],
            ..stored_session(1, "a")
        };
        let (broker, mut client) = returned(&lasting(version, "a"), session);
        let identifiers = if version.is_v5() { vec![7] } else { Vec::new() };
        client.send_publish(&OwnedPublish::new("t", "x", QoS::AtMostOnce));
        let message = client.receive();
        assert_eq!((message.text(), &message.subscription_identifiers), ("x", &identifiers));
        client.send_publish(&OwnedPublish::new("s", "y", QoS::AtMostOnce));
        assert_eq!(client.receive().text(), "y");
        let gauges = broker.look(|shard| shard.gauges());
        assert_eq!((gauges.subscriptions, gauges.shared_groups), (2, 1));
    }
}

/// What it publishes next must not be overtaken by that.
#[test]
fn who_publishes_again_what_a_crash_has_interrupted_is_told_when_that_is_done() {
    spec!("MQTT5-4.3.3-10", "MQTT5-3.3.1-5");
    let homes = [("publisher", 0), ("t", 1)];
    let broker = storing_with(|settings| settings.placement = placement_of(2, &homes));
    let message = message(0, "x", QoS::ExactlyOnce).message;
    broker.restore_up_to_end(vec![
        Restored::Unrouted {
            publication: name(50),
            session: name(1),
            source: Source::Packet(id(7)),
            message: Arc::new(Message { retain: true, ..(*message).clone() }),
        },
        restored(StoredSession { received: vec![id(7)], ..stored_session(1, "publisher") }),
    ]);
    broker.hold_mail();
    broker.go_on();
    let mut publisher = broker.open();
    publisher.send_connect(&lasting(Version::V5_0, "publisher"));
    broker.keep_all();
    assert!(publisher.expect_connack().session_present);
    let publish = OwnedPublish::new("t", "x", QoS::ExactlyOnce).retain(true).packet_id(7);
    publisher.send_publish(&OwnedPublish { dup: true, ..publish });
    publisher.expect_nothing_before_pong();
    broker.carry_all();
    publisher.expect_nothing_before_pong();
    broker.keep_all();
    broker.carry_all();
    publisher.expect_pubrec(7);
    assert_eq!(broker.look(|shards| shards.gauges().retained_messages), 1);
}

/// The first one's PUBREC and PUBCOMP left before another crash took what was known of that.
#[test]
fn an_identifier_that_was_used_again_belongs_to_the_last_of_what_is_routed_again() {
    let homes = [("publisher", 0), ("t", 1)];
    let broker = storing_with(|settings| settings.placement = placement_of(2, &homes));
    let unrouted = |number, retain| Restored::Unrouted {
        publication: name(number),
        session: name(1),
        source: Source::Packet(id(7)),
        message: Arc::new(Message {
            retain,
            ..(*message(0, "x", QoS::ExactlyOnce).message).clone()
        }),
    };
    broker.restore_up_to_end(vec![
        unrouted(50, true),
        unrouted(51, false),
        restored(StoredSession { received: vec![id(7)], ..stored_session(1, "publisher") }),
    ]);
    broker.hold_mail();
    broker.go_on();
    assert_eq!(broker.letters().len(), 1, "the first one is still on its way");
    let mut publisher = broker.open();
    publisher.send_connect(&lasting(Version::V5_0, "publisher"));
    broker.keep_all();
    assert!(publisher.expect_connack().session_present);
    let publish = OwnedPublish::new("t", "x", QoS::ExactlyOnce).packet_id(7);
    publisher.send_publish(&OwnedPublish { dup: true, ..publish });
    publisher.expect_pubrec(7);
}

#[test]
fn a_retained_message_that_has_expired_meanwhile_leaves_the_store() {
    spec!("MQTT5-3.3.2-5");
    let broker = storing();
    let expired = Message {
        topic: "t".into(),
        retain: true,
        expires_at: Some(broker.now()),
        ..(*message(1, "x", QoS::AtLeastOnce).message).clone()
    };
    broker.restore(vec![Restored::Retained(Arc::new(expired))]);
    let mut client = broker.client(Version::V5_0, "a");
    client.subscribe(&[("#", QoS::AtLeastOnce)]);
    client.expect_nothing_before_pong();
    let removed = Record::RetainedRemoved { publication: 0, topic: "t".into() };
    assert!(broker.leisurely().contains(&removed));
    assert_eq!(broker.look(|shards| shards.gauges().retained_messages), 0);
}

#[test]
fn a_restored_session_has_its_messages_in_order() {
    spec!("MQTT5-3.1.2-23", "MQTT311-3.1.2-5", "MQTT31-3.1-8");
    for version in VERSIONS {
        let qos = |number: u64| {
            if number.is_multiple_of(3) { QoS::ExactlyOnce } else { QoS::AtLeastOnce }
        };
        let messages = (0..50).map(|number| message(number + 1, &number.to_string(), qos(number)));
        let session = StoredSession { messages: messages.collect(), ..stored_session(1, "a") };
        let connect = lasting(version, "a").receive_maximum(3);
        let (broker, mut client) = returned(&connect, session);
        for number in 0..50 {
            let message = client.receive();
            assert_eq!((message.text(), message.qos), (&*number.to_string(), qos(number)));
            assert!(!message.dup);
        }
        client.expect_nothing_before_pong();
        let gauges = broker.look(|shard| shard.gauges());
        assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0));
    }
}

#[test]
fn what_may_have_been_sent_is_sent_again_with_its_identifier_and_what_comes_behind_follows() {
    spec!("MQTT5-4.4.0-1", "MQTT311-4.4.0-1", "MQTT5-3.3.1-1", "MQTT311-3.3.1-1");
    let step = |step, message| StoredMessage { step, ..message };
    let messages = vec![
        message(5, "sent", QoS::AtLeastOnce),
        step(Step::Released(8), message(6, "second", QoS::ExactlyOnce)),
        step(Step::Released(3), message(9, "first", QoS::ExactlyOnce)),
        step(Step::Done, message(10, "done", QoS::ExactlyOnce)),
        message(11, "perhaps", QoS::ExactlyOnce),
        message(12, "not sent", QoS::ExactlyOnce),
    ];
    // Up to a place, whatever the client takes at a time: it was perhaps not recorded yet that it
    // has.
    for (was_connected, sent) in [(false, 11), (true, 11), (true, u64::MAX)] {
        let mut session = StoredSession {
            messages: messages.clone(),
            was_connected,
            sent,
            next: id(65_534),
            ..stored_session(1, "a")
        };
        session.terms.receive_maximum = 1;
        let (_, mut client) = returned(&lasting(Version::V5_0, "a"), session);
        client.expect_pubrel(1);
        client.expect_pubrel(65_535);
        let last = ("not sent", 4, sent > 11);
        let expected = [("sent", 65_534, true), ("perhaps", 3, true), last];
        for (text, packet_id, dup) in expected {
            let message = client.expect_publish();
            let got = (message.text(), message.packet_id, message.dup);
            assert_eq!(got, (text, Some(packet_id), dup));
        }
        client.expect_nothing_before_pong();
    }
}

#[test]
fn the_place_of_a_message_that_is_done_is_taken_although_nothing_stands_behind_it() {
    for first in [Step::Done, Step::Published] {
        let messages = vec![
            StoredMessage { step: first, ..message(1, "sent", QoS::ExactlyOnce) },
            StoredMessage { step: Step::Done, ..message(2, "done", QoS::ExactlyOnce) },
        ];
        let session = StoredSession {
            messages,
            subscriptions: vec![subscription("t", QoS::ExactlyOnce)],
            sent: 2,
            ..stored_session(1, "a")
        };
        let (_, mut client) = returned(&lasting(Version::V5_0, "a"), session);
        if first == Step::Published {
            assert_eq!(client.expect_publish().packet_id, Some(1));
        }
        client.send_publish(&OwnedPublish::new("t", "new", QoS::ExactlyOnce).packet_id(1));
        assert_eq!(client.expect_publish().packet_id, Some(3), "{first:?}");
    }
}

#[test]
fn a_restored_message_has_its_flags_and_may_have_expired() {
    spec!("MQTT5-3.3.2-5");
    for may_be_sent in [false, true] {
        let broker = storing();
        let mut expired = message(1, "expired", QoS::AtLeastOnce);
        Arc::make_mut(&mut expired.message).expires_at = Some(broker.now());
        let mut flagged = message(2, "flagged", QoS::AtLeastOnce);
        (flagged.retain, flagged.identifiers) = (true, vec![3, 9]);
        let messages = vec![expired, flagged];
        let sent = u64::from(may_be_sent);
        broker.restore(vec![restored(StoredSession { messages, sent, ..stored_session(1, "a") })]);
        let mut client = broker.connect(&lasting(Version::V5_0, "a"));
        if may_be_sent {
            assert_eq!(client.receive().text(), "expired");
        }
        let message = client.receive();
        assert_eq!((message.text(), message.retain), ("flagged", true));
        assert_eq!(message.subscription_identifiers, [3, 9]);
        client.expect_nothing_before_pong();
    }
}

#[test]
fn a_restored_qos_2_message_waits_until_it_is_durable_that_those_before_it_are_skipped() {
    spec!("MQTT5-4.3.3-2");
    let broker = storing();
    let mut expired = message(1, "expired", QoS::AtLeastOnce);
    Arc::make_mut(&mut expired.message).expires_at = Some(broker.now());
    let messages = vec![expired, message(2, "next", QoS::ExactlyOnce)];
    broker.restore(vec![restored(StoredSession { messages, ..stored_session(1, "a") })]);
    broker.leisurely();
    broker.hold();
    let mut client = broker.open();
    client.send_connect(&lasting(Version::V5_0, "a"));
    assert!(matches!(broker.record(), Record::SessionStarted(_)));
    broker.kept();
    client.expect_connack_with(ReasonCode::Success);
    assert!(matches!(broker.record(), Record::Skipped { sequence: 1, .. }));
    client.expect_nothing_before_pong();
    broker.kept();
    let message = client.expect_publish();
    assert_eq!((message.text(), message.packet_id), ("next", Some(1)));
}

#[test]
fn restored_qos_2_identifiers_are_known_until_they_are_released() {
    spec!("MQTT5-4.3.3-10", "MQTT311-4.3.3-2", "MQTT31-3.1-8");
    for version in VERSIONS {
        // More than may be open in 5.0 now, as after a change of the setting.
        let broker = storing_with(|settings| settings.limits.receive_maximum = 2);
        let session = StoredSession {
            subscriptions: vec![subscription("t", QoS::AtMostOnce)],
            received: (1..=4).map(id).collect(),
            ..stored_session(1, "a")
        };
        broker.restore(vec![restored(session)]);
        let mut client = broker.connect(&lasting(version, "a"));
        let publish = |id: u16| OwnedPublish::new("t", "x", QoS::ExactlyOnce).packet_id(id);
        for id in 1..=4 {
            client.send_publish(&publish(id).dup(true));
            client.expect_pubrec(id);
            client.send_pubrel(id);
            client.expect_pubcomp(id);
        }
        client.send_publish(&publish(1));
        assert_eq!(client.receive().text(), "x");
        client.expect_pubrec(1);
    }
}

#[test]
fn a_restored_session_expires_when_its_time_has_come_but_not_before_all_is_in_its_place() {
    spec!("MQTT5-4.1.0-2");
    let broker = storing();
    let session = |number, client_id: &str, seconds| StoredSession {
        subscriptions: vec![subscription("t", QoS::AtLeastOnce)],
        expires_at: Some(broker.now().plus_seconds(seconds)),
        ..stored_session(number, client_id)
    };
    let ended = || {
        let events = broker.events();
        events.iter().filter(|event| matches!(event, Event::SessionEnded { .. })).count()
    };
    broker.restore_up_to_end(vec![restored(session(1, "a", 0)), restored(session(2, "b", 10))]);
    broker.input(Input::Timeout);
    assert_eq!(ended(), 0);
    broker.hold();
    broker.go_on();
    assert_eq!((ended(), broker.record()), (1, Record::SessionEnded { session: name(1) }));
    broker.advance_seconds(9);
    assert_eq!(ended(), 0);
    broker.advance_seconds(1);
    assert_eq!((ended(), broker.record()), (1, Record::SessionEnded { session: name(2) }));
    assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 0);
}

#[test]
fn what_came_due_meanwhile_is_over_before_the_first_client_comes() {
    let broker = storing();
    let session = StoredSession {
        subscriptions: vec![subscription("t", QoS::AtLeastOnce)],
        expires_at: Some(broker.now()),
        ..stored_session(1, "a")
    };
    broker.restore_up_to_end(vec![restored(session)]);
    assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 1);
    let shards = broker.world.borrow().shards.ids();
    for shard in shards {
        let _ = broker.world.borrow_mut().turn(shard, Input::Restore(Restored::GoOn));
    }
    assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 0);
}

#[test]
fn a_shard_says_that_all_is_restored_when_the_others_know_its_routes() {
    let broker = storing_with(|settings| settings.placement = placement_of(3, &[("a", 0)]));
    broker.hold_mail();
    let session = StoredSession {
        subscriptions: vec![subscription("t", QoS::AtLeastOnce)],
        ..stored_session(1, "a")
    };
    let said = || broker.world.borrow().restored;
    broker.input(Input::Restore(restored(session)));
    broker.input_at(ShardId(0), Input::Restore(Restored::End { last_name: name(1) }));
    for other in [1, 2] {
        assert_eq!(said(), 0);
        assert_eq!(broker.carry(0, other), "ChangeRoute");
        assert_eq!(broker.carry(other, 0), "ConfirmRoute");
    }
    assert_eq!(said(), 1);
    broker.input_at(ShardId(1), Input::Restore(Restored::End { last_name: name(1) }));
    assert_eq!(said(), 2);
}

#[test]
fn a_restored_retained_message_is_there_unless_it_has_expired() {
    let broker = storing();
    let retained = |topic: &str, seconds| {
        let plain = message(0, topic, QoS::AtLeastOnce).message;
        let expires_at = Some(broker.now().plus_seconds(seconds));
        let (topic, retain) = (topic.into(), true);
        Restored::Retained(Arc::new(Message { topic, retain, expires_at, ..(*plain).clone() }))
    };
    broker.restore(vec![retained("r/gone", 0), retained("r/short", 5), retained("r/long", 50)]);
    assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 2);
    broker.advance_seconds(6);
    let mut client = broker.client(Version::V5_0, "c");
    client.subscribe(&[("r/#", QoS::AtLeastOnce)]);
    assert_eq!(client.receive().text(), "r/long");
    client.expect_nothing_before_pong();
    assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 1);
}

fn will(delay_interval: u32) -> Will {
    Will {
        topic: "will".into(),
        payload: Payload::from(&b"gone"[..]),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: ForwardedProperties::empty(),
        message_expiry_interval: None,
        delay_interval,
    }
}

#[test]
fn the_will_of_a_client_that_was_connected_reaches_restored_subscriptions() {
    spec!("MQTT5-3.1.2-8", "MQTT311-3.1.2-8");
    // With an expiry interval of 0 only the will was kept.
    for expiry_interval in [0, 100] {
        for delay in [0, 10] {
            let broker = storing();
            let mut lost = StoredSession { was_connected: true, ..stored_session(2, "lost") };
            lost.terms.expiry_interval = expiry_interval;
            lost.terms.will = Some(Box::new(will(delay)));
            let watcher = StoredSession {
                subscriptions: vec![subscription("will", QoS::AtLeastOnce)],
                ..stored_session(1, "watcher")
            };
            broker.restore(vec![restored(lost), restored(watcher)]);
            let mut watcher = broker.connect(&lasting(Version::V5_0, "watcher"));
            if delay > 0 && expiry_interval > 0 {
                watcher.expect_nothing_before_pong();
                broker.advance_seconds(10);
            }
            assert_eq!(watcher.receive().text(), "gone");
            let sessions = broker.look(|shard| shard.gauges().sessions);
            assert_eq!(sessions, 1 + u64::from(expiry_interval > 0));
            broker.advance_seconds(100);
            watcher.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_will_that_was_waiting_still_waits() {
    let broker = storing();
    let mut session = stored_session(1, "a");
    session.terms.will = Some(Box::new(will(1_000)));
    session.will_at = Some(broker.now().plus_seconds(5));
    broker.restore(vec![restored(session)]);
    let mut watcher = broker.client(Version::V5_0, "watcher");
    watcher.subscribe(&[("will", QoS::AtMostOnce)]);
    broker.advance_seconds(4);
    watcher.expect_nothing_before_pong();
    broker.advance_seconds(1);
    assert_eq!(watcher.receive().text(), "gone");
}

#[test]
fn an_unrouted_publication_reaches_those_who_have_not_got_it_and_nobody_twice() {
    for publisher_is_there in [true, false] {
        for shards in [1, 2] {
            let homes = [("publisher", 0), ("has-it", 0), ("lacks-it", 0)];
            let others = [("has-it-too", shards - 1), ("lacks-it-too", shards - 1)];
            let homes: Vec<_> = homes.into_iter().chain(others).collect();
            let broker = storing_with(|settings| settings.placement = placement_of(shards, &homes));
            let publication = name(50);
            let unrouted = message(0, "2", QoS::ExactlyOnce).message;
            let mut given = vec![Restored::Unrouted {
                publication,
                session: name(1),
                source: Source::Packet(id(7)),
                message: Arc::clone(&unrouted),
            }];
            if publisher_is_there {
                let received = vec![id(7)];
                given.push(restored(StoredSession { received, ..stored_session(1, "publisher") }));
            }
            for (number, (client_id, _)) in (2..).zip(&homes[1..]) {
                let has_it = client_id.starts_with("has");
                let messages = has_it.then(|| message(1, "2", QoS::ExactlyOnce));
                given.push(restored(StoredSession {
                    messages: messages.into_iter().collect(),
                    subscriptions: vec![subscription("t", QoS::ExactlyOnce)],
                    ..stored_session(number, client_id)
                }));
            }
            for shard in 0..shards {
                let sessions = vec![name(2), name(4)];
                let queued = Restored::Queued { publication, sessions };
                broker.input_at(ShardId(shard), Input::Restore(queued));
            }
            broker.restore_up_to_end(given);
            broker.hold();
            broker.go_on();
            let queued = broker.records();
            for record in &queued {
                let Record::Queued { publication: of, references, .. } = record else {
                    panic!("{record:?}");
                };
                assert_eq!((*of, references.len()), (publication, if shards == 1 { 2 } else { 1 }));
            }
            assert_eq!(queued.len(), usize::from(shards));
            assert_eq!(broker.leisurely(), [], "not all is durable");
            broker.keep_all();
            assert_eq!(broker.leisurely(), [Record::Routed { publication }]);
            broker.answer_all();
            for (client_id, _) in &homes[1..] {
                let mut client = broker.connect(&lasting(Version::V5_0, client_id));
                assert_eq!(client.receive().text(), "2", "{client_id}");
                client.expect_nothing_before_pong();
            }
            if publisher_is_there {
                let mut publisher = broker.connect(&lasting(Version::V5_0, "publisher"));
                let again = OwnedPublish::new("t", "2", QoS::ExactlyOnce).packet_id(7).dup(true);
                publisher.send_publish(&again);
                publisher.expect_pubrec(7);
            }
        }
    }
}

#[test]
fn names_go_on_behind_the_last_one() {
    let broker = storing();
    broker.restore(Vec::new());
    broker.hold();
    let mut client = broker.open();
    client.send_connect(&lasting(Version::V5_0, "a"));
    let record = broker.record();
    let Record::SessionStarted(terms) = record else { panic!("{record:?}") };
    assert!(terms.session > name(100) + u64::from(u16::MAX), "{:x}", terms.session);
}

#[test]
fn a_restored_queue_goes_on_with_its_places_and_identifiers() {
    let broker = storing();
    let mut session = StoredSession {
        subscriptions: vec![subscription("t", QoS::AtLeastOnce)],
        messages: vec![message(1_000, "old", QoS::AtLeastOnce)],
        next: id(9),
        ..stored_session(1, "a")
    };
    session.sequence = (1 << 32) + 5;
    session.messages[0].sequence = 1 << 32;
    broker.restore(vec![restored(session)]);
    let mut client = broker.connect(&lasting(Version::V5_0, "a"));
    let old = client.expect_publish();
    assert_eq!((old.text(), old.packet_id), ("old", Some(9)));
    broker.hold();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publisher.send_publish(&OwnedPublish::new("t", "new", QoS::AtLeastOnce).packet_id(1));
    let record = broker.record();
    let Record::Queued { references, .. } = record else { panic!("{record:?}") };
    assert_eq!(references[0].sequence, (1 << 32) + 6);
    let new = client.expect_publish();
    assert_eq!((new.text(), new.packet_id), ("new", Some(10)));
    broker.leisurely();
    client.send_ack(PacketType::Puback, 9, ReasonCode::Success);
    broker.end_turn();
    let up_to = (1 << 32) + 5;
    let marked = Record::Acknowledged { session: name(1), up_to, next: id(10) };
    assert_eq!(broker.leisurely(), [marked]);
}

#[test]
fn an_unrouted_publication_changes_what_is_retained_unless_it_has() {
    for shards in [1, 2] {
        for has_changed in [false, true] {
            let homes = [("publisher", 0), ("t", shards - 1)];
            let broker = storing_with(|settings| {
                settings.placement = placement_of(shards, &homes);
                // As much as there is.
                settings.limits.retained_messages_max = u64::from(!has_changed);
            });
            let (publication, session) = (name(50), name(1));
            let retained = |payload| {
                let message = message(0, payload, QoS::ExactlyOnce).message;
                Arc::new(Message { retain: true, ..(*message).clone() })
            };
            let owner = WillOwner { client_id: "publisher".into(), user_name: None };
            let message = retained("older");
            let source = if has_changed { Source::Will(owner) } else { Source::Packet(id(7)) };
            for shard in 0..shards {
                let sessions = has_changed.then_some(AS_RETAINED).into_iter().collect();
                let queued = Restored::Queued { publication, sessions };
                broker.input_at(ShardId(shard), Input::Restore(queued));
            }
            let newer = Restored::Retained(retained("newer"));
            broker.input_at(ShardId(shards - 1), Input::Restore(newer));
            let unrouted =
                Restored::Unrouted { publication, session, source, message: message.clone() };
            broker.restore_up_to_end(vec![
                unrouted,
                restored(StoredSession {
                    subscriptions: vec![subscription("t", QoS::ExactlyOnce)],
                    ..stored_session(2, "subscriber")
                }),
            ]);
            broker.hold();
            broker.go_on();
            let changed: Vec<_> = broker
                .records()
                .into_iter()
                .filter(|record| matches!(record, Record::Retained { .. }))
                .collect();
            let expected = [Record::Retained { publication, message }];
            assert_eq!(changed, expected[usize::from(has_changed)..]);
            broker.keep_all();
            assert_eq!(broker.leisurely(), [Record::Routed { publication }]);
            broker.answer_all();
            // Whoever has not got it does.
            let mut subscriber = broker.connect(&lasting(Version::V5_0, "subscriber"));
            assert_eq!(subscriber.receive().text(), "older");
            let mut reader = broker.client(Version::V5_0, "reader");
            reader.subscribe(&[("t", QoS::AtMostOnce)]);
            assert_eq!(reader.receive().text(), ["older", "newer"][usize::from(has_changed)]);
        }
    }
}
