//! The test broker, as peers see it: it behaves, and rules override that.

use std::time::Duration;

use noctule_client::Client;
use noctule_packet::{PacketType, QoS, ReasonCode, SubscriptionOptions, Version};
use noctule_testkit::{
    Happening, OwnedConnack, OwnedConnect, OwnedPacket, OwnedPublish, OwnedWill, Peer, TestBroker,
    VERSIONS, bytes,
};

use crate::failure_of;

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn it_behaves_like_a_broker() {
    for version in VERSIONS {
        let broker = TestBroker::start();
        let mut subscriber = Peer::speaking(version, broker.address(), "subscriber");
        let codes = subscriber.subscribe(&[("a/+", QoS::ExactlyOnce), ("b", QoS::AtMostOnce)]);
        assert_eq!(codes, [ReasonCode::GrantedQos2, ReasonCode::Success]);
        let mut publisher = Peer::speaking(version, broker.address(), "publisher");
        for qos in ALL {
            publisher.publish("a/b", "1", qos);
            publisher.publish("c", "nobody's", qos);
            let message = subscriber.receive();
            assert_eq!((message.topic.as_str(), message.text(), message.qos), ("a/b", "1", qos));
            publisher.publish("b", "2", qos);
            assert_eq!(subscriber.receive().qos, QoS::AtMostOnce);
        }
        subscriber.unsubscribe(&["a/+"]);
        publisher.publish("a/b", "1", QoS::AtLeastOnce);
        subscriber.expect_nothing_before_pong();
        assert_eq!(broker.subscriptions("subscriber"), [("b".to_owned(), QoS::AtMostOnce)]);
        subscriber.disconnect();
        publisher.disconnect();
        assert_eq!((broker.connections(), broker.publishes("a/#").len()), (2, 4));
    }
}

#[test]
fn it_keeps_sessions_and_what_came_meanwhile() {
    for version in VERSIONS {
        let broker = TestBroker::start();
        let connect = OwnedConnect::new(version, "sleeper").resumable(60);
        let mut sleeper = Peer::connect_with(broker.address(), &connect);
        sleeper.subscribe(&[("t", QoS::ExactlyOnce)]);
        broker.publish(&OwnedPublish::new("t", "taken over and over", QoS::AtLeastOnce));
        let id = sleeper.expect_publish().id();
        drop(sleeper);
        broker.next_close().wait();
        for (payload, qos) in [("lost", QoS::AtMostOnce), ("kept", QoS::ExactlyOnce)] {
            broker.publish(&OwnedPublish::new("t", payload, qos));
        }
        let mut sleeper = Peer::connect(broker.address());
        assert_eq!(sleeper.open(&connect).session_present, version != Version::V3_1);
        let again = sleeper.receive();
        assert_eq!((again.id(), again.dup), (id, true));
        assert_eq!(sleeper.receive().text(), "kept");
        sleeper.disconnect();
        broker.forget_sessions();
        let mut sleeper = Peer::connect(broker.address());
        assert!(!sleeper.open(&connect).session_present);
        sleeper.expect_nothing_before_pong();
    }
}

#[test]
fn it_keeps_retained_messages_and_publishes_wills() {
    let broker = TestBroker::start();
    let will = OwnedWill::new("gone", "badly").retain(true);
    let connect = OwnedConnect::v5("c").will(will);
    Peer::connect_with(broker.address(), &connect).disconnect();
    broker.next_close().wait();
    assert_eq!(broker.retained("gone"), None);
    drop(Peer::connect_with(broker.address(), &connect));
    broker.next_close().wait();
    assert_eq!(broker.retained("gone").map(|will| will.payload), Some(b"badly".to_vec()));
    let mut peer = Peer::v5(broker.address(), "p");
    peer.subscribe(&[("#", QoS::AtMostOnce)]);
    assert!(peer.receive().retain);
    peer.publish_with(&OwnedPublish::new("gone", "", QoS::AtLeastOnce).retain(true));
    assert_eq!(broker.retained("gone"), None);
}

#[test]
fn the_options_of_a_subscription_count() {
    let broker = TestBroker::start();
    let mut peer = Peer::v5(broker.address(), "c");
    let options = SubscriptionOptions { no_local: true, ..Default::default() };
    peer.subscribe_with(Some(7), &[("t", options), ("$share/g/s", SubscriptionOptions::default())]);
    peer.publish("t", "my own", QoS::AtLeastOnce);
    assert_eq!(broker.publish(&OwnedPublish::new("t", "another's", QoS::AtMostOnce)), 1);
    let message = peer.receive();
    assert_eq!((message.text(), &message.subscription_identifiers[..]), ("another's", &[7][..]));
    let mut other = Peer::v5(broker.address(), "d");
    other.subscribe(&[("$share/g/s", QoS::AtMostOnce)]);
    assert_eq!(broker.publish(&OwnedPublish::new("s", "", QoS::AtMostOnce)), 1);
}

#[test]
fn a_second_connection_takes_over() {
    let broker = TestBroker::start();
    let mut first = Peer::v5(broker.address(), "c");
    let _second = Peer::v5(broker.address(), "c");
    first.expect_refused(ReasonCode::SessionTakenOver);
}

#[test]
fn the_receive_maximum_of_a_client_counts() {
    let broker = TestBroker::start();
    let connect = OwnedConnect::v5("c").receive_maximum(1);
    let mut peer = Peer::connect_with(broker.address(), &connect);
    peer.subscribe(&[("t", QoS::AtLeastOnce)]);
    for payload in ["1", "2"] {
        broker.publish(&OwnedPublish::new("t", payload, QoS::AtLeastOnce));
    }
    let first = peer.expect_publish();
    peer.expect_nothing_before_pong();
    peer.acknowledge(&first);
    assert_eq!(peer.receive().text(), "2");
}

#[test]
fn connections_are_refused_by_number() {
    for version in VERSIONS {
        let broker = TestBroker::start();
        broker.on_connect().nth(2).refuse(ReasonCode::ServerUnavailable);
        Peer::speaking(version, broker.address(), "c").disconnect();
        let mut refused = Peer::connect(broker.address());
        refused.send_connect(&OwnedConnect::new(version, "c"));
        refused.expect_connack_with(ReasonCode::ServerUnavailable);
        refused.expect_closed();
        Peer::speaking(version, broker.address(), "c").disconnect();
    }
}

#[test]
fn messages_and_subscriptions_are_refused() {
    let broker = TestBroker::start();
    broker.on_publish("secret/#").refuse(ReasonCode::NotAuthorized);
    broker.on_subscribe("secret/#").refuse(ReasonCode::NotAuthorized);
    broker.on_packet(PacketType::Unsubscribe).from("c").refuse(ReasonCode::UnspecifiedError);
    let mut peer = Peer::v5(broker.address(), "c");
    assert_eq!(peer.subscribe(&[("secret/#", QoS::AtMostOnce)]), [ReasonCode::NotAuthorized]);
    assert_eq!(peer.subscribe(&[("#", QoS::AtMostOnce)]), [ReasonCode::Success]);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let refused = OwnedPublish::new("secret/plan", "x", qos);
        assert_eq!(peer.publish_with(&refused), ReasonCode::NotAuthorized);
    }
    assert_eq!(peer.unsubscribe(&["#"]), [ReasonCode::UnspecifiedError]);
    peer.expect_nothing_before_pong();
    assert_eq!(broker.publishes("secret/#").len(), 2);
    broker.behave();
    peer.publish("secret/plan", "x", QoS::AtMostOnce);
    assert_eq!(peer.receive().text(), "x");
}

#[test]
fn silence_is_not_ignorance() {
    let broker = TestBroker::start();
    broker.on_publish("silent").first().stay_silent();
    broker.on_publish("ignored").up_to(1).ignore();
    let mut peer = Peer::v5(broker.address(), "c");
    peer.subscribe(&[("#", QoS::AtMostOnce)]);
    for (id, topic) in [(1, "silent"), (2, "ignored")] {
        peer.send_publish(&OwnedPublish::new(topic, "", QoS::AtLeastOnce).packet_id(id));
    }
    assert_eq!(peer.expect_publish().topic, "silent");
    peer.expect_nothing_before_pong();
    // The rules were for the first ones.
    for topic in ["silent", "ignored"] {
        peer.publish(topic, "", QoS::AtLeastOnce);
        assert_eq!(peer.expect_publish().topic, topic);
    }
}

#[test]
fn a_connection_ends_behind_or_in_place_of_an_answer() {
    let broker = TestBroker::start();
    broker.on_publish("#").nth(3).disconnect(ReasonCode::ServerShuttingDown);
    let mut peer = Peer::v5(broker.address(), "c");
    for _ in 0..3 {
        peer.publish("t", "", QoS::AtLeastOnce);
    }
    peer.expect_refused(ReasonCode::ServerShuttingDown);
    for (is_reset, topic) in [(false, "close"), (true, "reset")] {
        let rule = broker.on_publish(topic);
        if is_reset {
            rule.reset()
        } else {
            rule.close()
        }
        let mut peer = Peer::v311(broker.address(), "c");
        peer.send_publish(&OwnedPublish::new(topic, "", QoS::ExactlyOnce).packet_id(1));
        if is_reset { peer.expect_closed_or_reset() } else { peer.expect_closed() }
    }
}

#[test]
fn answers_are_delayed_replaced_or_made() {
    let broker = TestBroker::start();
    broker.on_packet(PacketType::Pingreq).first().send_instead(bytes("c0 00"));
    broker.on_publish("slow").delay(Duration::from_millis(30));
    broker.on_publish("sum").answer(|request| request.payload.len().to_string());
    broker.on_connect().accept_with(OwnedConnack {
        server_keep_alive: Some(9),
        ..OwnedConnack::new(ReasonCode::Success)
    });
    let mut peer = Peer::v5(broker.address(), "c");
    assert_eq!(peer.connack().and_then(|connack| connack.server_keep_alive), Some(9));
    peer.send_pingreq();
    peer.expect_pingreq();
    peer.subscribe(&[("answers", QoS::AtLeastOnce)]);
    let request = OwnedPublish::new("sum", "four", QoS::AtMostOnce);
    peer.publish_with(&request.response_topic("answers").correlation_data("x"));
    let answer = peer.receive();
    assert_eq!((answer.text(), answer.correlation_data.as_deref()), ("4", Some(&b"x"[..])));
    let start = std::time::Instant::now();
    peer.send_publish(&OwnedPublish::new("slow", "", QoS::AtLeastOnce).packet_id(3));
    // PINGRESP overtakes it.
    peer.expect_nothing_before_pong();
    peer.expect_puback(3);
    assert!(start.elapsed() >= Duration::from_millis(30));
}

#[test]
fn the_rule_that_was_made_last_decides() {
    let broker = TestBroker::start();
    broker.on_publish("#").refuse(ReasonCode::QuotaExceeded);
    broker.on_publish("a").after(1).refuse(ReasonCode::NotAuthorized);
    let mut peer = Peer::v5(broker.address(), "c");
    let mut reason = || peer.publish_with(&OwnedPublish::new("a", "", QoS::AtLeastOnce));
    assert_eq!([reason(), reason()], [ReasonCode::QuotaExceeded, ReasonCode::NotAuthorized]);
}

#[test]
fn rules_that_make_no_sense_are_told() {
    let broker = TestBroker::start();
    for mistake in [
        || TestBroker::start().on_publish("a#").ignore(),
        || TestBroker::start().on_connect().refuse(ReasonCode::Success),
        || TestBroker::start().on_connect().refuse(ReasonCode::SessionTakenOver),
        || TestBroker::start().on_packet(PacketType::Pingreq).refuse(ReasonCode::ServerBusy),
        || TestBroker::start().on_connect().answer(|_| "x"),
        || TestBroker::start().on_publish("a").disconnect(ReasonCode::GrantedQos1),
    ] {
        failure_of(mistake);
    }
    let accept = || broker.on_publish("a").accept_with(OwnedConnack::new(ReasonCode::Success));
    failure_of(accept);
}

#[test]
fn each_wait_takes_what_nobody_took() {
    let broker = TestBroker::start();
    let mut peer = Peer::v5(broker.address(), "c");
    for payload in ["1", "2", "3"] {
        peer.publish("t", payload, QoS::AtLeastOnce);
    }
    let mut texts = Vec::new();
    while let Some(publish) = broker.next_publish("t").now() {
        texts.push(publish.text().to_owned());
    }
    assert_eq!(texts, ["1", "2", "3"]);
    assert_eq!(broker.next_connect().wait().client_id, "c");
    let wanted = broker.wait_for("a PUBLISH of an even number", |received| {
        received.publish_to("#").filter(|publish| publish.text() == "4").cloned()
    });
    peer.publish("t", "4", QoS::AtLeastOnce);
    assert_eq!(wanted.wait().text(), "4");
    let first = &broker.received()[0];
    assert_eq!((&first.what, first.connection), (&Happening::Opened, 1));
}

#[test]
fn what_does_not_come_in_time_fails_with_the_transcript() {
    let broker = TestBroker::start();
    let mut peer = Peer::v5(broker.address(), "c");
    peer.publish("a", "1", QoS::AtLeastOnce);
    let late = || broker.next_publish("b").within(Duration::from_millis(20)).wait();
    let message = failure_of(late);
    for words in ["PUBLISH to \"b\"", "broker.rs", "< #1 CONNECT", "> #1 PUBACK 1", "20ms"] {
        assert!(message.contains(words), "{words:?} is missing in: {message}");
    }
}

#[test]
fn scripts_come_first_and_in_order() {
    let broker = TestBroker::start();
    for reason in [ReasonCode::ServerBusy, ReasonCode::Banned] {
        broker.play(move |mut peer| {
            peer.expect_connect();
            peer.send_connack(&OwnedConnack::new(reason));
        });
    }
    for reason in [ReasonCode::ServerBusy, ReasonCode::Banned, ReasonCode::Success] {
        let mut peer = Peer::connect(broker.address());
        peer.send_connect(&OwnedConnect::v5("c"));
        peer.expect_connack_with(reason);
    }
    let broker = TestBroker::start();
    broker.play(|_| {});
    failure_of(|| drop(broker));
    let broker = TestBroker::start();
    broker.play(|_| panic!("the script fails"));
    let mut peer = Peer::connect(broker.address());
    peer.expect_closed_or_reset();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(broker)));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"the script fails"));
}

#[test]
fn a_connection_is_played_packet_by_packet() {
    let broker = TestBroker::start();
    let script = broker.script_next();
    let mut peer = Peer::connect(broker.address());
    peer.send_connect(&OwnedConnect::v311("c"));
    let server = script.wait();
    assert_eq!(server.expect_connect().wait().client_id, "c");
    server.accept();
    peer.expect_connack();
    peer.send_pingreq();
    assert_eq!(server.next_packet().wait(), OwnedPacket::Pingreq);
    server.send_bytes(&bytes("d0 00"));
    peer.expect_pingresp();
    server.close();
    peer.expect_closed();
    drop(peer);
    server.expect_closed().wait();
    Peer::v5(broker.address(), "d").disconnect();
}

#[test]
fn all_connections_end_at_the_test_s_word() {
    let broker = TestBroker::start();
    let mut peers = [Peer::v5(broker.address(), "a"), Peer::v311(broker.address(), "b")];
    broker.disconnect_all(ReasonCode::ServerShuttingDown);
    for peer in &mut peers {
        peer.expect_refused(ReasonCode::ServerShuttingDown);
    }
    drop(peers);
    for _ in 0..2 {
        broker.next_close().wait();
    }
    assert_eq!(broker.open_connections(), 0);
    let mut peer = Peer::v5(broker.address(), "a");
    broker.close_all();
    peer.expect_closed();
    let mut peer = Peer::v5(broker.address(), "a");
    broker.reset_all();
    assert!(failure_of(|| peer.expect_closed()).contains("broken"));
    broker.refuse_connections(true);
    let mut peer = Peer::connect(broker.address());
    peer.expect_closed_or_reset();
}

#[test]
fn nonsense_ends_the_connection_and_is_written_down() {
    let broker = TestBroker::start();
    let mut peer = Peer::v5(broker.address(), "c");
    peer.send_bytes(&bytes("00 00"));
    peer.expect_refused(ReasonCode::ProtocolError);
    let problem = broker.wait_for("nonsense", |received| match &received.what {
        Happening::Malformed(problem) => Some(problem.clone()),
        _ => None,
    });
    assert!(problem.wait().contains("2 bytes: 00 00"));
    // Something else than CONNECT comes first.
    let mut peer = Peer::connect(broker.address());
    peer.send_pingreq();
    peer.expect_closed();
}

/// The same thread runs the client, and the test that waits.
#[tokio::test]
async fn a_test_that_is_a_task_awaits() {
    let broker = TestBroker::start();
    let client = Client::builder(broker.url()).connect().await.unwrap();
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    assert_eq!(broker.next_publish("t").await.text(), "x");
    assert!(receipt.await.is_delivered());
    let late = broker.next_publish("t").within(Duration::from_millis(20));
    let panic = tokio::spawn(late.into_future()).await.unwrap_err().into_panic();
    assert!(panic.downcast::<String>().unwrap().contains("PUBLISH to \"t\""));
}

#[test]
fn an_alias_is_understood() {
    let broker = TestBroker::start();
    let mut peer = Peer::v5(broker.address(), "c");
    let first = OwnedPublish::new("t", "1", QoS::AtMostOnce).topic_alias(3);
    peer.publish_with(&first);
    peer.publish_with(&OwnedPublish { topic: String::new(), payload: b"2".to_vec(), ..first });
    assert_eq!(broker.next_publish("t").wait().text(), "1");
    assert_eq!(broker.next_publish("t").wait().text(), "2");
    peer.publish_with(&OwnedPublish::new("", "3", QoS::AtMostOnce).topic_alias(4));
    peer.expect_refused(ReasonCode::TopicAliasInvalid);
}

/// One member gets a message of a shared subscription: one that is there, if any is.
#[test]
fn a_member_of_a_group_that_is_there_comes_before_one_that_is_not() {
    for there in ["a", "z"] {
        let broker = TestBroker::start();
        let mut members = ["a", "m", "z"].map(|client_id| {
            let connect = OwnedConnect::v5(client_id).resumable(60);
            let mut member = Peer::connect_with(broker.address(), &connect);
            member.subscribe(&[("$share/g/t", QoS::AtLeastOnce)]);
            (client_id, Some(member))
        });
        for (client_id, member) in &mut members {
            if *client_id != there {
                drop(member.take());
                broker.next_close().wait();
            }
        }
        assert_eq!(broker.publish(&OwnedPublish::new("t", "x", QoS::AtLeastOnce)), 1);
        let member = members.iter_mut().find_map(|(_, member)| member.as_mut());
        assert_eq!(member.unwrap().receive().text(), "x");
    }
}
