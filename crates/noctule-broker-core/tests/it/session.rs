//! Sessions: what is kept under a client identifier, and for how long.

use noctule_broker_core::{
    ConnectionId, Effects, Event, Input, ListenerId, Settings, Shard, Timestamp,
};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{
    OwnedConnect, OwnedDisconnect, OwnedPublish, OwnedWill, VERSIONS, packet_bytes,
};

use crate::broker::{Broker, Client, lasting};

/// A Session Expiry Interval that never ends.
const NEVER: u32 = u32::MAX;
/// Longer than anything that ends; the longest interval that does is 136 years.
const AGES: u64 = 200 * 365 * 24 * 3_600;

/// Connects with this CONNECT; whether the server had a session. 3.1 cannot say it.
#[track_caller]
fn resume(broker: &Broker, connect: &OwnedConnect) -> (Client, bool) {
    let client = broker.connect(connect);
    let told = client.connack().expect("it is connected").session_present;
    let events = broker.events();
    let held = events.iter().any(|e| matches!(e, Event::Connected { session_present: true, .. }));
    assert_eq!(told, held && connect.version != Version::V3_1, "{}", connect.version);
    (client, held)
}

fn ended_sessions(broker: &Broker) -> usize {
    broker.events().iter().filter(|event| matches!(event, Event::SessionEnded { .. })).count()
}

/// A client that leaves with an expiry interval in its DISCONNECT.
fn leave_with(mut client: Client, seconds: u32) {
    let mut disconnect = OwnedDisconnect::new(ReasonCode::Success);
    disconnect.session_expiry_interval = Some(seconds);
    client.send_disconnect_with(&disconnect);
    client.expect_closed();
}

#[test]
fn subscriptions_and_messages_wait_for_a_client_that_comes_back() {
    spec!(
        "MQTT5-3.1.2-5",
        "MQTT5-3.1.2-23",
        "MQTT5-3.1.4-4",
        "MQTT311-3.1.2-4",
        "MQTT311-3.1.2-5",
        "MQTT311-3.1.4-3",
        "MQTT31-3.1-8"
    );
    for version in VERSIONS {
        let broker = Broker::new();
        let mut away = broker.lasting(version, "away");
        away.subscribe(&[("one", QoS::AtLeastOnce), ("two", QoS::ExactlyOnce)]);
        drop(away);
        let mut publisher = broker.client(version, "publisher");
        for number in 0..6 {
            publisher.publish("one", format!("{number}"), QoS::AtLeastOnce);
            publisher.publish("two", format!("{number}"), QoS::ExactlyOnce);
        }
        let (mut back, held) = resume(&broker, &lasting(version, "away"));
        assert!(held);
        for number in 0..6 {
            for (topic, qos) in [("one", QoS::AtLeastOnce), ("two", QoS::ExactlyOnce)] {
                let message = back.receive();
                assert_eq!((&*message.topic, message.text()), (topic, &*format!("{number}")));
                assert_eq!((message.qos, message.dup), (qos, false));
            }
        }
        back.expect_nothing_before_pong();
        publisher.publish("one", "live", QoS::AtLeastOnce);
        assert_eq!(back.receive().text(), "live");
    }
}

#[test]
fn a_qos_2_exchange_goes_on_after_a_lost_connection() {
    spec!("MQTT31-3.1-8", "MQTT311-3.1.2-4");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut subscriber = broker.client(version, "subscriber");
        subscriber.subscribe(&[("a", QoS::ExactlyOnce)]);
        let mut publisher = broker.lasting(version, "publisher");
        let publish = OwnedPublish::new("a", "x", QoS::ExactlyOnce).packet_id(7);
        publisher.send_publish(&publish);
        drop(publisher);
        assert_eq!(subscriber.receive().text(), "x");
        let (mut publisher, _) = resume(&broker, &lasting(version, "publisher"));
        publisher.send_publish(&publish.dup(true));
        publisher.expect_pubrec(7);
        publisher.send_pubrel(7);
        publisher.expect_pubcomp(7);
        subscriber.expect_nothing_before_pong();
    }
}

#[test]
fn a_clean_start_throws_the_old_session_away() {
    spec!("MQTT5-3.1.2-4", "MQTT5-3.1.4-4", "MQTT311-3.1.2-6", "MQTT311-3.1.4-3", "MQTT31-3.1-9");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut away = broker.lasting(version, "away");
        away.subscribe(&[("a", QoS::AtLeastOnce)]);
        drop(away);
        let mut publisher = broker.client(version, "publisher");
        publisher.publish("a", "never seen", QoS::AtLeastOnce);
        let (mut back, held) = resume(&broker, &OwnedConnect::new(version, "away"));
        assert!(!held);
        publisher.publish("a", "not subscribed", QoS::AtLeastOnce);
        back.expect_nothing_before_pong();
        drop(publisher);
        assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 0);
    }
}

#[test]
fn a_clean_session_ends_with_its_connection() {
    spec!("MQTT311-3.1.2-6", "MQTT31-3.1-9", "MQTT31-3.14-2", "MQTT5-4.1.0-2");
    for version in VERSIONS {
        for orderly in [true, false] {
            let broker = Broker::new();
            let mut client = broker.client(version, "a");
            client.subscribe(&[("a", QoS::ExactlyOnce)]);
            if orderly {
                client.disconnect()
            } else {
                drop(client)
            }
            let gauges = broker.look(|shard| shard.gauges());
            assert_eq!((gauges.sessions, gauges.subscriptions), (0, 0));
            let (_, held) = resume(&broker, &lasting(version, "a"));
            assert!(!held);
        }
    }
}

#[test]
fn a_clean_start_begins_a_session_that_may_stay() {
    spec!("MQTT5-3.1.2-4", "MQTT5-3.1.2-23");
    let broker = Broker::new();
    let connect = OwnedConnect::v5("a").session_expiry_interval(10);
    drop(broker.connect(&connect));
    let (client, held) = resume(&broker, &connect);
    assert!(!held);
    drop(client);
    assert!(resume(&broker, &connect.clean_start(false)).1);
}

#[test]
fn who_has_no_session_gets_a_new_one() {
    spec!("MQTT5-3.1.2-6", "MQTT311-3.1.2-4");
    for version in VERSIONS {
        let broker = Broker::new();
        let (mut client, held) = resume(&broker, &lasting(version, "a"));
        assert!(!held);
        client.subscribe(&[("a", QoS::AtMostOnce)]);
        client.publish("a", "x", QoS::AtMostOnce);
        assert_eq!(client.receive().text(), "x");
        drop(client);
        assert!(resume(&broker, &lasting(version, "a")).1);
    }
}

#[test]
fn each_client_identifier_has_a_session_of_its_own() {
    spec!("MQTT5-3.1.3-2", "MQTT311-3.1.3-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut first = broker.lasting(version, "client");
        first.subscribe(&[("a", QoS::AtLeastOnce)]);
        drop(first);
        for other in ["Client", "client ", "clien", "client/"] {
            let (mut other, held) = resume(&broker, &lasting(version, other));
            assert!(!held);
            other.publish("a", "x", QoS::AtLeastOnce);
            other.expect_nothing_before_pong();
        }
        let (mut first, held) = resume(&broker, &lasting(version, "client"));
        assert!(held);
        (0..4).for_each(|_| drop(first.receive()));
        first.expect_nothing_before_pong();
    }
}

#[test]
fn a_session_stays_while_it_is_connected() {
    spec!("MQTT5-4.1.0-1", "MQTT311-4.1.0-2");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.connect(&OwnedConnect::new(version, "a").resumable(10));
        client.subscribe(&[("a", QoS::AtLeastOnce)]);
        drop(client);
        broker.advance_seconds(9);
        // What the first connection has set going must not end the second one's session.
        let (mut client, held) = resume(&broker, &OwnedConnect::new(version, "a").resumable(10));
        assert!(held);
        broker.advance_seconds(AGES);
        client.publish("a", "x", QoS::AtLeastOnce);
        assert_eq!(client.receive().text(), "x");
    }
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "expiry 0");
    client.subscribe(&[("a", QoS::AtMostOnce)]);
    broker.advance_seconds(AGES);
    client.publish("a", "x", QoS::AtMostOnce);
    assert_eq!(client.receive().text(), "x");
}

#[test]
fn a_session_without_a_connection_ends_when_its_expiry_interval_is_over() {
    spec!("MQTT5-4.1.0-2", "MQTT5-3.1.2-23");
    for orderly in [true, false] {
        let broker = Broker::new();
        let connect = OwnedConnect::v5("a").resumable(10);
        let mut client = broker.connect(&connect);
        client.subscribe(&[("a", QoS::AtLeastOnce), ("$share/s/b", QoS::AtLeastOnce)]);
        if orderly {
            client.disconnect()
        } else {
            drop(client)
        }
        let mut publisher = broker.client(Version::V5_0, "publisher");
        publisher.publish("a", "x", QoS::AtLeastOnce);
        publisher.publish("b", "x", QoS::AtLeastOnce);
        broker.advance_seconds(9);
        assert_eq!(ended_sessions(&broker), 0);
        assert_eq!(broker.look(|shard| shard.gauges().queued_messages), 2);
        broker.advance_seconds(1);
        assert_eq!(ended_sessions(&broker), 1);
        let gauges = broker.look(|shard| shard.gauges());
        assert_eq!((gauges.sessions, gauges.subscriptions), (1, 0));
        assert_eq!((gauges.shared_groups, gauges.queued_messages), (0, 0));
        assert!(!resume(&broker, &connect).1);
    }
}

#[test]
fn a_session_that_never_expires_is_kept() {
    spec!("MQTT5-3.1.2-23", "MQTT311-4.1.0-1", "MQTT31-3.1-8");
    for version in VERSIONS {
        let broker = Broker::new();
        let connect = OwnedConnect::new(version, "a").resumable(NEVER);
        drop(broker.connect(&connect));
        broker.advance_seconds(AGES);
        assert!(resume(&broker, &connect).1);
        let summary = broker.look(|shard| shard.clients().next()).expect("a session");
        assert_eq!(summary.session_expiry_interval, NEVER);
    }
}

#[test]
fn the_longest_expiry_that_can_be_told_ends() {
    let broker = Broker::new();
    let connect = OwnedConnect::v5("a").resumable(NEVER - 1);
    drop(broker.connect(&connect));
    broker.advance_seconds(u64::from(NEVER) - 2);
    assert_eq!(ended_sessions(&broker), 0);
    broker.advance_seconds(1);
    assert_eq!(ended_sessions(&broker), 1);
}

#[test]
fn each_connection_sets_the_expiry_interval_anew() {
    spec!("MQTT5-4.1.0-2");
    for (first, second, ends) in [(10, 20, 20), (20, 10, 10), (10, 0, 0)] {
        let broker = Broker::new();
        drop(broker.connect(&OwnedConnect::v5("a").resumable(first)));
        let (client, held) = resume(&broker, &OwnedConnect::v5("a").resumable(second));
        assert!(held);
        drop(client);
        if ends > 0 {
            broker.advance_seconds(ends - 1);
            assert_eq!(ended_sessions(&broker), 0);
            broker.advance_seconds(1);
        }
        assert_eq!(ended_sessions(&broker), 1, "{first} then {second}");
    }
}

#[test]
fn disconnect_changes_the_expiry_interval() {
    spec!("MQTT5-4.1.0-2");
    for (connect, disconnect) in [(10, 20), (20, 10), (NEVER, 10), (10, 1)] {
        let broker = Broker::new();
        let client = broker.connect(&OwnedConnect::v5("a").resumable(connect));
        leave_with(client, disconnect);
        broker.advance_seconds(u64::from(disconnect) - 1);
        assert_eq!(ended_sessions(&broker), 0);
        broker.advance_seconds(1);
        assert_eq!(ended_sessions(&broker), 1, "{connect} then {disconnect}");
    }
}

#[test]
fn disconnect_ends_a_session_at_once_or_makes_it_stay_for_ever() {
    let broker = Broker::new();
    leave_with(broker.connect(&OwnedConnect::v5("a").resumable(10)), 0);
    assert_eq!(ended_sessions(&broker), 1);
    leave_with(broker.connect(&OwnedConnect::v5("a").resumable(10)), NEVER);
    broker.advance_seconds(AGES);
    assert!(resume(&broker, &OwnedConnect::v5("a").resumable(0)).1);
}

#[test]
fn disconnect_may_repeat_that_a_session_ends_with_its_connection() {
    let broker = Broker::new();
    leave_with(broker.client(Version::V5_0, "a"), 0);
    assert_eq!(ended_sessions(&broker), 1);
}

#[test]
fn disconnect_cannot_keep_a_session_that_was_to_end_with_its_connection() {
    let broker = Broker::new();
    let mut watcher = broker.client(Version::V5_0, "watcher");
    watcher.subscribe(&[("will", QoS::AtMostOnce)]);
    let will = OwnedWill::new("will", "gone");
    let mut client = broker.connect(&OwnedConnect::v5("a").will(will));
    let mut disconnect = OwnedDisconnect::new(ReasonCode::Success);
    disconnect.session_expiry_interval = Some(10);
    client.send_disconnect_with(&disconnect);
    client.expect_refused(ReasonCode::ProtocolError);
    assert_eq!(ended_sessions(&broker), 1);
    // A DISCONNECT in error is none: the will is sent although its reason code is 0x00.
    assert_eq!(watcher.receive().text(), "gone");
}

#[test]
fn who_asked_for_a_session_that_stays_may_ask_again_although_none_does() {
    let broker = Broker::with(|settings| settings.limits.session_expiry_interval_max_seconds = 0);
    let client = broker.connect(&OwnedConnect::v5("a").resumable(10));
    assert_eq!(client.connack().expect("it is connected").session_expiry_interval, Some(0));
    leave_with(client, 10);
    assert_eq!(ended_sessions(&broker), 1);
    assert_eq!(broker.look(|shard| shard.statistics().clients_disconnected), 0);
}

#[test]
fn the_longest_expiry_interval_is_a_setting() {
    for version in VERSIONS {
        let broker =
            Broker::with(|settings| settings.limits.session_expiry_interval_max_seconds = 10);
        for asked in [NEVER, 11] {
            let client = broker.connect(&OwnedConnect::new(version, "a").resumable(asked));
            let connack = client.connack().expect("it is connected");
            let expected = version.is_v5().then_some(10);
            assert_eq!(connack.session_expiry_interval, expected, "{version}");
            drop(client);
            broker.advance_seconds(10);
            assert_eq!(ended_sessions(&broker), 1);
        }
    }
    let broker = Broker::with(|settings| settings.limits.session_expiry_interval_max_seconds = 10);
    let client = broker.connect(&OwnedConnect::v5("a").resumable(10));
    assert_eq!(client.connack().expect("it is connected").session_expiry_interval, None);
    leave_with(client, 1_000);
    broker.advance_seconds(10);
    assert_eq!(ended_sessions(&broker), 1);
}

#[test]
fn a_session_may_go_on_in_another_version() {
    for before in VERSIONS {
        for after in VERSIONS {
            let broker = Broker::new();
            let mut client = broker.lasting(before, "a");
            client.subscribe(&[("a", QoS::ExactlyOnce)]);
            drop(client);
            let publish = OwnedPublish::new("a", "x", QoS::ExactlyOnce).content_type("text");
            broker.client(Version::V5_0, "publisher").publish_with(&publish);
            let (mut client, held) = resume(&broker, &lasting(after, "a"));
            assert!(held);
            let message = client.receive();
            assert_eq!(message.text(), "x");
            let summary =
                broker.look(|shard| shard.clients().find(|found| &*found.client_id == "a"));
            assert_eq!(summary.expect("a session").version, after);
            let expected = after.is_v5().then_some("text");
            assert_eq!(message.content_type.as_deref(), expected);
        }
    }
}

/// As behind a long stop, when more sessions have expired than one turn can end.
#[test]
fn nobody_goes_on_with_a_session_that_has_expired_even_if_the_timer_is_late() {
    spec!("MQTT5-4.1.0-2", "MQTT5-3.2.2-2");
    let start = Timestamp::from_millis(0);
    for (seconds, present) in [(9, 1), (10, 0)] {
        let (mut shard, mut effects) = (Shard::new(Settings::default(), start, 7), Effects::new());
        let mut connected = |slot, now: Timestamp| {
            let connection = ConnectionId { slot, generation: 0 };
            let listener = ListenerId(0);
            let opened = Input::Opened { connection, listener, peer: "".into(), moved: false };
            let _ = shard.on_input(now, opened, &mut effects);
            let bytes = &packet_bytes(0x10, "s'MQTT' 05 00 0000 05 11 0000000a s'a'");
            let _ = shard.on_input(now, Input::Bytes { connection, bytes }, &mut effects);
            let outbound = shard.outbound(connection).expect("a connection");
            let said: Vec<u8> = outbound.chunks().flatten().copied().collect();
            let _ = shard.on_input(now, Input::Closed { connection }, &mut effects);
            said
        };
        assert_eq!(connected(0, start)[2..4], [0, 0]);
        let again = connected(1, start.plus_seconds(seconds));
        assert_eq!(again[2..4], [present, 0], "{seconds} s later");
    }
}
