//! The steps of a PUBLISH between publisher and acknowledgement, seen from the driver: what is
//! asked in which order, and which answers an acknowledgement waits for.

use noctule_broker_core::{Authorization, Durability, Effect, Input, Question, Record, ShardId};
use noctule_packet::{QoS, ReasonCode, SubscriptionOptions, Version, spec};
use noctule_testkit::{OwnedPublish, VERSIONS};

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
            Effect::Persist { record, .. } => {
                assert!(matches!(record, Record::Published { .. }), "{record:?}");
                asked
            }
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
    scene.expect_trace(&["Persist", "Forward", "Resume", "Write PUBLISH"]);
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

/// QoS 2 goes nowhere before the store has it; two shards answer, in either order.
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
    scene.expect_trace(&["Forward", "Forward", "Write PUBLISH"]);
    scene.subscriber.expect_publish();
    let mut answers = [scene.next_answer(), scene.next_answer()];
    if reverse {
        answers.reverse();
    }
    let [first, last] = answers;
    scene.broker.give(first);
    scene.publisher.expect_nothing_before_pong();
    scene.broker.trace();
    scene.broker.give(last);
    scene.expect_trace(&["Write PUBREC"]);
    scene.publisher.expect_pubrec(9);

    // The release is a fact of its own, and PUBCOMP waits for it.
    scene.publisher.send_pubrel(9);
    scene.expect_trace(&["Persist"]);
    scene.publisher.expect_nothing_before_pong();
    let asked = scene.broker.asked();
    let Effect::Persist { token, record: Record::Released { client_id, packet_id } } = asked else {
        panic!("{asked:?}");
    };
    assert_eq!((&*client_id, packet_id.value()), ("publisher", 9));
    scene.broker.input(Input::Persisted { token });
    scene.publisher.expect_pubcomp(9);
}

#[test]
fn the_record_of_a_qos_2_publication_names_its_publisher_and_its_receivers() {
    let mut scene = scene(Version::V5_0, 0);
    scene.publish(9, QoS::ExactlyOnce);
    scene.authorize();
    let asked = scene.broker.asked();
    let Effect::Persist { record: Record::Published { received, message, sessions }, .. } = asked
    else {
        panic!("{asked:?}");
    };
    let (client_id, packet_id) = received.expect("its packet identifier");
    assert_eq!((&*client_id, packet_id.value()), ("publisher", 9));
    assert_eq!((&*message.topic, &*message.payload), ("t", &b"9"[..]));
    assert_eq!(sessions.iter().map(|id| &**id).collect::<Vec<_>>(), ["subscriber"]);
}

#[test]
fn a_session_with_several_matching_subscriptions_is_named_once() {
    let mut scene = scene(Version::V5_0, 0);
    scene.broker.answer_all();
    scene.subscriber.subscribe(&[("#", QoS::AtLeastOnce), ("$share/group/t", QoS::AtLeastOnce)]);
    let mut other = scene.broker.lasting(Version::V5_0, "other");
    other.subscribe(&[("$share/group/t", QoS::AtLeastOnce)]);
    let mut passing = scene.broker.client(Version::V5_0, "passing");
    passing.subscribe(&[("t", QoS::AtLeastOnce)]);
    scene.broker.hold_mail();
    scene.publish(9, QoS::AtLeastOnce);
    scene.authorize();
    let asked = scene.broker.asked();
    let Effect::Persist { record: Record::Published { sessions, received, .. }, .. } = asked else {
        panic!("{asked:?}");
    };
    assert_eq!(received, None, "QoS 1 may be published again");
    let mut sessions: Vec<_> = sessions.iter().map(|id| &**id).collect();
    sessions.sort_unstable();
    assert_eq!(sessions, ["other", "subscriber"]);
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
    for (topic, expected) in
        [("own/x", &["subscriber"][..]), ("own/twice", &["publisher", "subscriber"])]
    {
        let publish = OwnedPublish::new(topic, "m", QoS::AtLeastOnce).packet_id(9);
        scene.publisher.send_publish(&publish);
        scene.broker.answer();
        let Effect::Persist { record: Record::Published { sessions, .. }, token } =
            scene.broker.asked()
        else {
            panic!("the message is not stored");
        };
        let mut sessions: Vec<_> = sessions.iter().map(|id| &**id).collect();
        sessions.sort_unstable();
        assert_eq!(sessions, expected);
        scene.broker.input(Input::Persisted { token });
    }
}

#[test]
fn acknowledgements_leave_in_the_order_of_the_publications_whatever_the_order_of_the_answers() {
    spec!("MQTT5-4.6.0-2", "MQTT5-4.6.0-3", "MQTT311-4.6.0-2", "MQTT311-4.6.0-3");
    spec!("MQTT31-4.3-1");
    for version in VERSIONS {
        let mut scene = scene(version, 0);
        let mut answers = Vec::new();
        for (packet_id, qos) in [
            (1, QoS::AtLeastOnce),
            (2, QoS::ExactlyOnce),
            (3, QoS::AtLeastOnce),
            (4, QoS::ExactlyOnce),
        ] {
            scene.publish(packet_id, qos);
            scene.authorize();
            answers.push(scene.next_answer());
        }
        while answers.len() > 1 {
            scene.broker.give(answers.pop().unwrap());
            scene.publisher.expect_nothing_before_pong();
        }
        scene.broker.give(answers.pop().unwrap());
        scene.publisher.expect_puback(1);
        scene.publisher.expect_pubrec(2);
        scene.publisher.expect_puback(3);
        scene.publisher.expect_pubrec(4);
    }
}

#[test]
fn publications_of_qos_2_are_routed_in_their_order_whatever_the_order_of_the_answers() {
    spec!("MQTT5-4.6.0-5", "MQTT311-4.6.0-6");
    for version in VERSIONS {
        let mut scene = scene(version, 0);
        let mut answers = Vec::new();
        for packet_id in 1..=3 {
            scene.publish(packet_id, QoS::ExactlyOnce);
            scene.authorize();
            answers.push(scene.next_answer());
        }
        let [first, second, third] = answers.try_into().expect("three answers");
        scene.broker.give(second);
        scene.broker.give(third);
        scene.subscriber.expect_nothing_before_pong();
        scene.broker.give(first);
        for payload in ["1", "2", "3"] {
            assert_eq!(scene.subscriber.expect_publish().text(), payload);
        }
    }
}

#[test]
fn a_publication_that_need_not_be_kept_does_not_overtake_one_that_is_being_kept() {
    spec!("MQTT5-4.6.0-5", "MQTT311-4.6.0-6");
    for version in VERSIONS {
        let mut scene = scene(version, 0);
        // A publisher without a stored session: only stored subscribers make its messages stored.
        scene.broker.answer_all();
        scene.publisher = scene.broker.client(version, "passing");
        let mut live = scene.broker.client(version, "live");
        live.subscribe(&[("t", QoS::ExactlyOnce)]);
        scene.broker.hold_mail();
        scene.publish(1, QoS::ExactlyOnce);
        scene.authorize();
        let kept = scene.next_answer();
        scene.subscriber.send_bytes(&unsubscribe_from_t(version));
        scene.broker.answer();
        scene.subscriber.expect_unsuback(1);
        scene.publish(2, QoS::ExactlyOnce);
        scene.authorize();
        assert!(scene.broker.has_asked_nothing(), "the second message is not kept");
        live.expect_nothing_before_pong();
        scene.publisher.expect_nothing_before_pong();
        scene.broker.give(kept);
        assert_eq!(live.expect_publish().text(), "1");
        assert_eq!(live.expect_publish().text(), "2");
        scene.publisher.expect_pubrec(1);
        scene.publisher.expect_pubrec(2);
    }
}

fn unsubscribe_from_t(version: Version) -> Vec<u8> {
    let properties = if version.is_v5() { "00" } else { "" };
    noctule_testkit::packet_bytes(0xA2, &format!("0001 {properties} s't'"))
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
        if session_ends {
            scene.broker.answer_all();
            scene.publisher = scene.broker.client(version, "passing");
            scene.broker.hold_mail();
        }
        scene.publish(9, QoS::ExactlyOnce);
        scene.authorize();
        let persisted = scene.next_answer();
        scene.publisher = scene.broker.open();
        scene.broker.give(persisted);
        assert_eq!(scene.subscriber.expect_publish().text(), "9");
        let answered = scene.next_answer();
        scene.broker.give(answered);
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
