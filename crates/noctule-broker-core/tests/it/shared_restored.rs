//! What a stored member of a shared subscription had of it before a crash: it is the member's until
//! its session ends, and goes to the others then, as without a crash.

use std::collections::BTreeMap;

use noctule_broker_core::{Away, Record, References, Restored, StoredMessage, StoredSession};
use noctule_packet::{PacketType, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedDisconnect, OwnedPublish};

use crate::broker::{Broker, Client, lasting, placement_of};
use crate::stored::{message, name, stored_session, storing_with, subscription};

const V5: Version = Version::V5_0;
const FILTER: &str = "$share/g/t";

/// The number of shards, and where the group lives; the sessions live on the first shard.
const HOMES: [(u16, u16); 3] = [(1, 0), (2, 0), (2, 1)];

fn broker((shards, home): (u16, u16)) -> Broker {
    let homes = [("a", 0), ("b", 0), (FILTER, home)];
    storing_with(|settings| settings.placement = placement_of(shards, &homes))
}

fn shared(sequence: u64, payload: &str, qos: QoS) -> StoredMessage {
    StoredMessage { group: Some(FILTER.into()), ..message(sequence, payload, qos) }
}

/// The member `a`, which was sent the messages up to a place, and the member `b`.
fn members(messages: Vec<StoredMessage>, sent: u64) -> [StoredSession; 2] {
    let subscriptions = || vec![subscription(FILTER, QoS::ExactlyOnce)];
    let first =
        StoredSession { subscriptions: subscriptions(), messages, sent, ..stored_session(1, "a") };
    [first, StoredSession { subscriptions: subscriptions(), ..stored_session(2, "b") }]
}

fn restore(broker: &Broker, sessions: impl IntoIterator<Item = StoredSession>) {
    let restored = |session| Restored::Session(Box::new(session));
    broker.restore(sessions.into_iter().map(restored).collect());
}

/// One message that must not go to anybody else, and two that must go to somebody.
fn sent() -> Vec<StoredMessage> {
    let plain = message(4, "plain", QoS::AtLeastOnce);
    vec![
        shared(1, "1", QoS::AtLeastOnce),
        shared(2, "2", QoS::ExactlyOnce),
        shared(3, "3", QoS::AtLeastOnce),
        plain,
    ]
}

fn texts(client: &mut Client) -> Vec<String> {
    client.receive_all().iter().map(|message| message.text().to_owned()).collect()
}

#[test]
fn what_a_session_that_ends_has_had_since_before_a_crash_goes_to_the_others() {
    spec!("MQTT5-4.8.2-4", "MQTT5-4.8.2-5");
    let expire = |broker: &Broker| broker.advance_seconds(10);
    let begin_anew = |broker: &Broker| {
        drop(broker.connect(&lasting(V5, "a").clean_start(true)));
    };
    let say_so = |broker: &Broker| {
        let mut client = broker.connect(&lasting(V5, "a"));
        let mut disconnect = OwnedDisconnect::new(ReasonCode::Success);
        disconnect.session_expiry_interval = Some(0);
        client.send_disconnect_with(&disconnect);
    };
    let go_on_until_it_ends = |broker: &Broker| {
        drop(broker.connect(&OwnedConnect::v5("a").clean_start(false)));
    };
    let ways: [fn(&Broker); 4] = [expire, begin_anew, say_so, go_on_until_it_ends];
    for homes in HOMES {
        for (way, end) in ways.into_iter().enumerate() {
            let broker = broker(homes);
            let mut sessions = members(sent(), 4);
            sessions[0].expires_at = Some(broker.now().plus_seconds(10));
            restore(&broker, sessions);
            let mut other = broker.connect(&lasting(V5, "b"));
            other.expect_nothing_before_pong();
            end(&broker);
            assert_eq!(texts(&mut other), ["1", "3"], "{homes:?}, way {way}");
            other.expect_nothing_before_pong();
        }
    }
}

#[test]
fn what_comes_back_from_before_a_crash_stands_before_what_waits_since() {
    for homes in HOMES {
        let broker = broker(homes);
        let mut sessions = members(sent(), 4);
        sessions[0].expires_at = Some(broker.now().plus_seconds(10));
        restore(&broker, sessions);
        let mut publisher = broker.client(V5, "publisher");
        for text in ["4", "5"] {
            publisher.publish("t", text, QoS::AtLeastOnce);
        }
        broker.advance_seconds(10);
        let mut other = broker.connect(&lasting(V5, "b").receive_maximum(1));
        for text in ["1", "3", "4", "5"] {
            assert_eq!(other.receive().text(), text, "{homes:?}");
        }
    }
}

#[test]
fn what_a_client_was_not_sent_before_a_crash_goes_to_the_others_at_once() {
    spec!("MQTT5-4.8.2-4", "MQTT5-3.10.4-2");
    for homes in HOMES {
        let broker = broker(homes);
        let messages = vec![
            shared(1, "sent", QoS::AtLeastOnce),
            shared(2, "once", QoS::ExactlyOnce),
            message(3, "plain", QoS::AtLeastOnce),
            shared(4, "waits", QoS::AtLeastOnce),
        ];
        let [mut first, second] = members(messages, 1);
        first.was_connected = true;
        restore(&broker, [first, second]);
        let mut other = broker.connect(&lasting(V5, "b"));
        assert_eq!(texts(&mut other), ["once", "waits"], "{homes:?}");
        let mut client = broker.connect(&lasting(V5, "a"));
        assert_eq!(texts(&mut client), ["sent", "plain"], "{homes:?}");
        let gauges = broker.look(|shards| shards.gauges());
        assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0));
    }
}

#[test]
fn what_waits_far_behind_in_a_queue_goes_to_the_others_too_and_the_rest_stays_in_the_store() {
    spec!("MQTT5-4.8.2-4");
    for homes in HOMES {
        let broker = broker(homes);
        let all: Vec<_> = (1..=8)
            .map(|place| match place {
                2 | 5 | 8 => shared(place, &place.to_string(), QoS::AtLeastOnce),
                _ => message(place, &place.to_string(), QoS::AtLeastOnce),
            })
            .collect();
        let stored = all.iter().map(|stored| (stored.sequence, stored.clone())).collect();
        broker.stored_queues(BTreeMap::from([(name(1), stored)]));
        let bytes = all[0].message.bytes() as u64;
        let [mut first, second] = members(all[..2].to_vec(), 1);
        first.was_connected = true;
        first.away = Some(Away { from: 3, up_to: 7, messages: 5, bytes: 5 * bytes });
        first.unsent = vec![all[4].clone()];
        first.behind = vec![all[7].clone()];
        restore(&broker, [first, second]);
        let gauges = broker.look(|shards| shards.gauges());
        assert_eq!((gauges.queued_messages, gauges.queued_bytes), (7, 7 * bytes), "{homes:?}");
        let mut other = broker.connect(&lasting(V5, "b"));
        assert_eq!(texts(&mut other), ["2", "5", "8"], "{homes:?}");
        let mut client = broker.connect(&lasting(V5, "a"));
        assert_eq!(texts(&mut client), ["1", "3", "4", "6", "7"], "{homes:?}");
        let gauges = broker.look(|shards| shards.gauges());
        assert_eq!((gauges.queued_messages, gauges.queued_bytes), (0, 0), "{homes:?}");
    }
}

#[test]
fn what_is_read_back_for_a_client_goes_to_the_others_if_it_is_not_sent() {
    spec!("MQTT5-4.8.2-4");
    for homes in HOMES {
        let broker = broker(homes);
        let all = [shared(1, "sent", QoS::AtLeastOnce), shared(2, "read", QoS::AtLeastOnce)];
        let stored = all.iter().map(|stored| (stored.sequence, stored.clone()));
        let queues = BTreeMap::from([(name(1), stored.collect::<BTreeMap<_, _>>())]);
        broker.stored_queues(queues);
        let [mut first, second] = members(Vec::new(), 0);
        let bytes = 2 * all[0].message.bytes() as u64;
        first.away = Some(Away { from: 1, up_to: 2, messages: 2, bytes });
        restore(&broker, [first, second]);
        let mut other = broker.connect(&lasting(V5, "b"));
        let mut client = broker.connect(&lasting(V5, "a").receive_maximum(1));
        assert_eq!(client.expect_publish().text(), "sent");
        other.expect_nothing_before_pong();
        drop(client);
        assert_eq!(texts(&mut other), ["read"], "{homes:?}");
        assert_eq!(texts(&mut broker.connect(&lasting(V5, "a"))), ["sent"]);
    }
}

#[test]
fn what_was_begun_before_a_crash_stays_with_the_session_that_has_left_and_goes_back_when_it_ends() {
    spec!("MQTT5-3.10.4-3");
    for homes in HOMES {
        for left_before in [false, true] {
            let broker = broker(homes);
            let mut sessions = members(sent(), 4);
            if left_before {
                sessions[0].subscriptions.clear();
            }
            restore(&broker, sessions);
            let mut other = broker.connect(&lasting(V5, "b"));
            let mut client = broker.connect(&lasting(V5, "a"));
            let ids: Vec<_> = (0..4).map(|_| client.expect_publish().packet_id).collect();
            if !left_before {
                client.unsubscribe(&[FILTER]);
            }
            client.send_ack(PacketType::Puback, ids[0].expect("one"), ReasonCode::Success);
            other.expect_nothing_before_pong();
            drop(client);
            drop(broker.connect(&lasting(V5, "a").clean_start(true)));
            assert_eq!(texts(&mut other), ["3"], "{homes:?}, {left_before}");
        }
    }
}

#[test]
fn what_comes_back_to_a_shared_subscription_without_members_is_dropped() {
    for homes in HOMES {
        let broker = broker(homes);
        let [mut session, _] = members(sent(), 4);
        session.subscriptions.clear();
        restore(&broker, [session]);
        broker.leisurely();
        drop(broker.connect(&lasting(V5, "a").clean_start(true)));
        let skipped = broker.leisurely();
        let skipped = skipped.iter().filter(|record| matches!(record, Record::Skipped { .. }));
        assert_eq!(skipped.count(), 2, "{homes:?}: nothing of it stays in the store");
        let mut member = broker.lasting(V5, "b");
        member.subscribe(&[(FILTER, QoS::ExactlyOnce)]);
        member.expect_nothing_before_pong();
    }
}

#[test]
fn the_store_is_told_of_which_shared_subscription_a_message_is() {
    for homes in HOMES {
        let broker = broker(homes);
        let [_, session] = members(Vec::new(), 0);
        restore(&broker, [session]);
        let mut member = broker.connect(&lasting(V5, "b"));
        member.subscribe(&[("t", QoS::AtLeastOnce)]);
        broker.hold();
        let mut publisher = broker.client(V5, "publisher");
        publisher.send_publish(&OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(1));
        let mut groups = Vec::new();
        while !broker.has_asked_nothing() {
            for record in broker.records() {
                let references = match record {
                    Record::Queued { references, .. } => references,
                    Record::Moved { reference, .. } => References::from(reference),
                    _ => continue,
                };
                let of_session = references.into_iter().filter(|it| it.session == name(2));
                groups.extend(of_session.map(|it| it.group));
            }
            broker.keep_all();
        }
        groups.sort();
        assert_eq!(groups, [None, Some(FILTER.into())], "{homes:?}");
    }
}

#[test]
fn a_session_that_is_not_stored_any_more_leaves_what_it_was_sent_to_its_shared_subscriptions() {
    for homes in HOMES {
        let broker = broker(homes);
        restore(&broker, members(sent(), 4));
        broker.leisurely();
        broker.hold();
        let mut client = broker.open();
        client.send_connect(&OwnedConnect::v5("a").clean_start(false));
        let records = broker.records();
        let [
            Record::SharedQueue { queue, filter, last: Some(2) },
            Record::Queued { references: first, .. },
            Record::Queued { references: second, .. },
            Record::SessionEnded { session },
        ] = &records[..]
        else {
            panic!("{records:?}");
        };
        assert_eq!((&**filter, *session), (FILTER, name(1)), "{homes:?}");
        let places = [first, second].map(|it| (it[0].session, it[0].sequence));
        assert_eq!(places, [(*queue, 1), (*queue, 2)]);
        broker.keep_all();
        client.expect_connack_with(ReasonCode::Success);
        for _ in 0..4 {
            client.expect_publish();
        }
        assert_eq!(broker.leisurely(), []);
        client.send_ack(PacketType::Puback, 3, ReasonCode::Success);
        let skipped = Record::Skipped { session: *queue, sequence: 2 };
        assert_eq!(broker.leisurely(), [skipped], "{homes:?}");
    }
}
