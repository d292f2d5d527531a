//! The steps of a PUBLISH between publisher and acknowledgement, seen from the driver: what is
//! asked in which order, and which answers an acknowledgement waits for.

use noctule_broker_core::{Authorization, Durability, Effect, Input, Question, Record, ShardId};
use noctule_packet::{QoS, ReasonCode, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, placement_of};

/// What authorisation is asked about, what is stored, and which shards are told, is held.
struct Scene {
    broker: Broker,
    publisher: Client,
    subscriber: Client,
    _others: Vec<Client>,
}

/// All that the scenes need on the first shard, and a subscriber on each other.
const HOMES: [(&str, u16); 8] = [
    ("publisher", 0),
    ("subscriber", 0),
    ("other", 0),
    ("passing", 0),
    ("live", 0),
    ("$share/group/t", 0),
    ("on-1", 1),
    ("on-2", 2),
];

/// A broker with a store, with authorisation, and with `peers` other shards that all have
/// subscribers; here a stored session subscribes at QoS 2.
fn scene(version: Version, peers: u16) -> Scene {
    let broker = Broker::with(|settings| {
        settings.durability = Durability::Stored;
        settings.authorization = Authorization::Ask;
        let shards = peers + 1;
        let homes: Vec<_> = HOMES.into_iter().filter(|(_, shard)| *shard < shards).collect();
        settings.placement = placement_of(shards, &homes);
    });
    let publisher = broker.lasting(version, "publisher");
    let mut subscriber = broker.lasting(version, "subscriber");
    subscriber.subscribe(&[("t", QoS::ExactlyOnce)]);
    let others = (1..=peers).map(|peer| {
        let mut other = broker.client(version, &format!("on-{peer}"));
        other.subscribe(&[("t", QoS::AtMostOnce)]);
        other
    });
    let others = others.collect();
    broker.hold_mail();
    broker.trace();
    Scene { broker, publisher, subscriber, _others: others }
}

impl Scene {
    fn publish(&mut self, packet_id: u16, qos: QoS) {
        let publish = OwnedPublish::new("t", packet_id.to_string(), qos).packet_id(packet_id);
        self.publisher.send_publish(&publish);
    }

    #[track_caller]
    fn expect_trace(&self, expected: &[&str]) {
        assert_eq!(self.broker.trace(), expected);
    }

    /// Answers what was asked first, which must be for authorisation.
    #[track_caller]
    fn authorize(&self) {
        let asked = self.broker.asked();
        let Effect::Authorize { token, question, .. } = asked else { panic!("{asked:?}") };
        assert_eq!(question, Question::Publish { topic: "t".into(), retain: false });
        self.broker.input(Input::Authorized { token, allowed: true });
    }

    /// The answer to what was asked next, to be given later.
    #[track_caller]
    fn next_answer(&self) -> (ShardId, Effect) {
        let asked = self.broker.asked_by();
        match &asked.1 {
            Effect::Persist { .. } => asked,
            Effect::ToShard { to, message } => {
                assert!(format!("{message:?}").contains("Forward"), "{message:?}");
                let to = *to;
                self.broker.give(asked);
                let answer = self.broker.asked_last();
                assert_eq!(answer.0, to);
                answer
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn life_of_a_publish() {
    spec!("MQTT5-4.3.2-4", "MQTT5-4.3.3-8", "MQTT311-4.3.2-2", "MQTT311-4.3.3-2");
    for version in VERSIONS {
        at_least_once(version, false);
        at_least_once(version, true);
        exactly_once(version, false);
        exactly_once(version, true);
    }
}

/// QoS 1 is delivered before the store has it; the acknowledgement waits for the last answer.
fn at_least_once(version: Version, reverse: bool) {
    let mut scene = scene(version, 1);
    scene.publish(9, QoS::AtLeastOnce);
    scene.expect_trace(&["Authorize"]);
    scene.subscriber.expect_nothing_before_pong();
    scene.broker.trace();
    scene.authorize();
    scene.expect_trace(&["Forward", "Persist", "Resume", "Write PUBLISH"]);
    scene.subscriber.expect_publish();
    let mut answers = [scene.next_answer(), scene.next_answer()];
    assert!(scene.broker.has_asked_nothing());
    if reverse {
        answers.reverse();
    }
    let [first, last] = answers;
    scene.broker.give(first);
    scene.publisher.expect_nothing_before_pong();
    scene.broker.trace();
    scene.broker.give(last);
    scene.expect_trace(&["Write PUBACK"]);
    scene.publisher.expect_puback(9);
}

/// QoS 2 goes nowhere before the store has it, and to a stored session not before the store knows
/// that it waits there; two shards answer, in either order.
fn exactly_once(version: Version, reverse: bool) {
    let mut scene = scene(version, 2);
    scene.publish(9, QoS::ExactlyOnce);
    scene.expect_trace(&["Authorize"]);
    scene.authorize();
    scene.expect_trace(&["Persist", "Resume"]);
    let persisted = scene.next_answer();
    assert!(scene.broker.has_asked_nothing());
    scene.subscriber.expect_nothing_before_pong();
    scene.publisher.expect_nothing_before_pong();
    scene.broker.trace();
    scene.broker.give(persisted);
    scene.expect_trace(&["Forward", "Forward", "Persist"]);
    scene.subscriber.expect_nothing_before_pong();
    let mut answers = [scene.next_answer(), scene.next_answer(), scene.next_answer()];
    if reverse {
        answers.reverse();
    }
    for answer in answers {
        scene.publisher.expect_nothing_before_pong();
        scene.broker.trace();
        scene.broker.give(answer);
    }
    let trace = scene.broker.trace();
    assert_eq!(trace.first().map(String::as_str), Some("Persist"), "it is routed");
    assert!(trace.contains(&"Write PUBREC".to_owned()), "{trace:?}");
    let leisurely = scene.broker.leisurely();
    assert!(matches!(leisurely[..], [Record::Routed { .. }]), "{leisurely:?}");
    scene.subscriber.expect_publish();
    scene.publisher.expect_pubrec(9);

    // The release is a fact of its own, and PUBCOMP waits for it.
    scene.publisher.send_pubrel(9);
    scene.expect_trace(&["Persist"]);
    scene.publisher.expect_nothing_before_pong();
    let record = scene.broker.record();
    let Record::Released { packet_id, .. } = record else { panic!("{record:?}") };
    assert_eq!(packet_id.value(), 9);
    scene.broker.kept();
    scene.publisher.expect_pubcomp(9);
}

#[test]
fn a_qos_2_publication_is_recorded_when_it_comes_and_again_for_its_receivers() {
    let mut scene = scene(Version::V5_0, 0);
    scene.publish(9, QoS::ExactlyOnce);
    scene.authorize();
    let record = scene.broker.record();
    let Record::Received { packet_id, publication, message, .. } = record else {
        panic!("{record:?}");
    };
    assert_eq!(packet_id.value(), 9);
    assert_eq!((&*message.topic, &*message.payload), ("t", &b"9"[..]));
    scene.broker.kept();
    let record = scene.broker.record();
    let Record::Queued { publication: same, message: again, references } = record else {
        panic!("{record:?}");
    };
    assert_eq!((same, again), (publication, message));
    let [reference] = &references[..] else { panic!("{references:?}") };
    assert_eq!((reference.qos, reference.retain), (QoS::ExactlyOnce, false));
    scene.publisher.expect_nothing_before_pong();
    assert_eq!(scene.broker.leisurely(), []);
    scene.broker.kept();
    scene.publisher.expect_pubrec(9);
    assert_eq!(scene.broker.leisurely(), [Record::Routed { publication }]);
}

#[test]
fn a_session_is_named_once_for_its_own_subscriptions_and_once_for_a_shared_one() {
    let mut scene = scene(Version::V5_0, 0);
    scene.broker.answer_all();
    scene.subscriber.subscribe(&[("#", QoS::AtLeastOnce)]);
    let mut other = scene.broker.lasting(Version::V5_0, "other");
    other.subscribe(&[("$share/group/t", QoS::AtLeastOnce)]);
    let mut passing = scene.broker.client(Version::V5_0, "passing");
    passing.subscribe(&[("t", QoS::AtLeastOnce)]);
    scene.broker.hold_mail();
    scene.publish(9, QoS::AtLeastOnce);
    scene.authorize();
    let record = scene.broker.record();
    let Record::Queued { publication: 0, references, .. } = record else { panic!("{record:?}") };
    let mut sessions: Vec<_> = references.iter().map(|reference| reference.session).collect();
    assert_eq!(sessions.len(), 2, "{references:?}");
    sessions.dedup();
    assert_eq!(sessions.len(), 2, "{references:?}");
}

#[test]
fn only_ones_own_messages_are_not_stored_for_a_subscription_with_no_local() {
    let mut scene = scene(Version::V5_0, 0);
    scene.broker.answer_all();
    let no_local = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        ..SubscriptionOptions::default()
    };
    scene.publisher.subscribe_with(None, &[("own/#", no_local)]);
    scene.publisher.subscribe(&[("own/twice", QoS::AtLeastOnce)]);
    scene.subscriber.subscribe_with(None, &[("own/#", no_local)]);
    scene.broker.hold_mail();
    for (topic, expected) in [("own/x", 1), ("own/twice", 2)] {
        let publish = OwnedPublish::new(topic, "m", QoS::AtLeastOnce).packet_id(9);
        scene.publisher.send_publish(&publish);
        scene.broker.answer();
        let record = scene.broker.record();
        let Record::Queued { references, .. } = record else { panic!("{record:?}") };
        assert_eq!(references.len(), expected);
        scene.broker.kept();
    }
}

#[test]
fn acknowledgements_leave_in_the_order_of_the_publications_whatever_the_order_of_the_answers() {
    spec!("MQTT5-4.6.0-2", "MQTT5-4.6.0-3", "MQTT311-4.6.0-2", "MQTT311-4.6.0-3");
    spec!("MQTT31-4.3-1");
    for version in VERSIONS {
        let mut scene = scene(version, 1);
        // The first one waits for the other shard, the others for nobody who is not quicker.
        scene.publish(1, QoS::AtLeastOnce);
        scene.authorize();
        for (packet_id, qos) in
            [(2, QoS::ExactlyOnce), (3, QoS::AtLeastOnce), (4, QoS::ExactlyOnce)]
        {
            let publish = OwnedPublish::new("nobody/wants", "x", qos).packet_id(packet_id);
            scene.publisher.send_publish(&publish);
            scene.broker.answer_first(|asked| matches!(asked, Effect::Authorize { .. }));
            scene.broker.keep_all();
            scene.publisher.expect_nothing_before_pong();
        }
        let waits = |asked: &Effect| matches!(asked, Effect::ToShard { .. });
        scene.broker.answer_first(waits);
        scene.publisher.expect_nothing_before_pong();
        scene.broker.answer_first(waits);
        scene.publisher.expect_puback(1);
        scene.publisher.expect_pubrec(2);
        scene.publisher.expect_puback_with(3, ReasonCode::NoMatchingSubscribers);
        scene.publisher.expect_pubrec(4);
    }
}

#[test]
fn publications_of_qos_2_are_routed_in_their_order_as_far_as_they_are_kept() {
    spec!("MQTT5-4.6.0-5", "MQTT311-4.6.0-6");
    for version in VERSIONS {
        let mut scene = scene(version, 0);
        for packet_id in 1..=3 {
            scene.publish(packet_id, QoS::ExactlyOnce);
            scene.authorize();
            assert!(matches!(scene.broker.record(), Record::Received { .. }));
        }
        let queued = |scene: &Scene| {
            let payload = |record| match record {
                Record::Queued { message, .. } => message.payload.to_vec(),
                other => panic!("{other:?}"),
            };
            scene.broker.records().into_iter().map(payload).collect::<Vec<_>>()
        };
        scene.broker.kept();
        assert_eq!(queued(&scene), [b"1"]);
        scene.broker.kept();
        scene.broker.kept();
        assert_eq!(queued(&scene), [b"2", b"3"]);
        scene.broker.keep_all();
        for payload in ["1", "2", "3"] {
            assert_eq!(scene.subscriber.expect_publish().text(), payload);
        }
    }
}

#[test]
fn a_held_message_that_expires_goes_to_nobody_and_is_acknowledged_all_the_same() {
    spec!("MQTT5-4.3.3-13", "MQTT5-3.3.2-5");
    let mut scene = scene(Version::V5_0, 1);
    let publish = OwnedPublish::new("t", "late", QoS::ExactlyOnce).packet_id(9);
    scene.publisher.send_publish(&publish.message_expiry_interval(10));
    scene.authorize();
    let persisted = scene.next_answer();
    scene.broker.advance_seconds(11);
    scene.broker.give(persisted);
    assert!(scene.broker.has_asked_nothing(), "nobody is told of it");
    scene.subscriber.expect_nothing_before_pong();
    scene.publisher.expect_pubrec_with(9, ReasonCode::Success);
    scene.publisher.send_pubrel(9);
    scene.broker.answer();
    scene.publisher.expect_pubcomp(9);
}

#[test]
fn a_publication_whose_publisher_is_gone_is_routed_when_it_is_kept() {
    for (version, session_ends) in VERSIONS.into_iter().flat_map(|v| [(v, false), (v, true)]) {
        let mut scene = scene(version, 1);
        scene.publish(9, QoS::ExactlyOnce);
        scene.authorize();
        assert!(matches!(scene.broker.record(), Record::Received { .. }));
        scene.publisher = scene.broker.open();
        if session_ends {
            scene.publisher.send_connect(&OwnedConnect::new(version, "publisher"));
            assert!(matches!(scene.broker.record(), Record::SessionEnded { .. }));
        }
        scene.broker.keep_all();
        assert_eq!(scene.subscriber.expect_publish().text(), "9");
        assert!(
            scene.broker.letters().iter().any(|(_, to, name)| (*to, &**name) == (1, "Forward"))
        );
    }
}

#[test]
fn a_qos_0_publication_waits_for_nothing() {
    for version in VERSIONS {
        let mut scene = scene(version, 1);
        scene.publisher.send_publish(&OwnedPublish::new("t", "x", QoS::AtMostOnce));
        scene.authorize();
        scene.expect_trace(&["Authorize", "Forward", "Resume", "Write PUBLISH"]);
        assert_eq!(scene.subscriber.expect_publish().qos, QoS::AtMostOnce);
        scene.publisher.expect_nothing_before_pong();
    }
}
