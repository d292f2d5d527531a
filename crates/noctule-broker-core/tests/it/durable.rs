//! What is recorded of messages, when, and what waits until it is durable.

use noctule_broker_core::{Record, References, is_shared_queue};
use noctule_packet::{PacketId, PacketType, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, VERSIONS};

use crate::broker::{Broker, Client, lasting, placement_of, shards};
use crate::stored::{storing, storing_with};
use crate::will::will;

/// All of this is about one shard, whatever others there are.
const NAMES: [&str; 6] = ["online", "offline", "live", "publisher", "t", "$share/g/t"];

struct Scene {
    broker: Broker,
    publisher: Client,
    online: Client,
}

/// A stored session with its client and one without, both subscribed to `t` with this QoS. From
/// now on records are held.
fn scene(version: Version, qos: QoS) -> Scene {
    let homes = NAMES.map(|name| (name, 0));
    let broker = storing_with(|settings| settings.placement = placement_of(shards(), &homes));
    broker.lasting(version, "offline").subscribe(&[("t", qos)]);
    let mut online = broker.lasting(version, "online");
    online.subscribe(&[("t", qos)]);
    let publisher = broker.client(version, "publisher");
    broker.leisurely();
    broker.hold();
    Scene { broker, publisher, online }
}

impl Scene {
    fn publish(&mut self, packet_id: u16, qos: QoS) {
        let publish = OwnedPublish::new("t", packet_id.to_string(), qos).packet_id(packet_id);
        self.publisher.send_publish(&publish);
    }

    /// For whom the message waits that is recorded next.
    #[track_caller]
    fn queued(&self) -> References {
        let record = self.broker.record();
        let Record::Queued { publication: 0, references, .. } = record else {
            panic!("{record:?}");
        };
        references
    }

    fn acknowledge(&mut self, packet_type: PacketType, packet_id: u16) {
        self.online.send_ack(packet_type, packet_id, ReasonCode::Success);
        self.broker.end_turn();
    }
}

#[test]
fn a_qos_1_message_is_recorded_for_all_stored_sessions_and_delivered_meanwhile() {
    for version in VERSIONS {
        let mut scene = scene(version, QoS::ExactlyOnce);
        for sequence in [1, 2] {
            scene.publish(sequence, QoS::AtLeastOnce);
            let references = scene.queued();
            assert_eq!(references.len(), 2);
            assert_ne!(references[0].session, references[1].session);
            for reference in references {
                let (qos, sequence) = (QoS::AtLeastOnce, u64::from(sequence));
                assert_eq!((reference.qos, reference.sequence), (qos, sequence));
            }
            assert_eq!(scene.online.expect_publish().text(), sequence.to_string());
            scene.publisher.expect_nothing_before_pong();
            scene.broker.kept();
            scene.publisher.expect_puback(sequence);
        }
        assert!(scene.broker.has_asked_nothing());
    }
}

#[test]
fn a_qos_2_message_goes_to_a_stored_session_when_its_record_is_durable() {
    spec!("MQTT5-4.3.3-2", "MQTT311-4.3.3-1");
    for version in VERSIONS {
        let mut scene = scene(version, QoS::ExactlyOnce);
        let mut live = scene.broker.client(version, "live");
        live.subscribe(&[("t", QoS::ExactlyOnce)]);
        scene.publish(1, QoS::ExactlyOnce);
        assert_eq!(scene.queued().len(), 2);
        scene.publish(2, QoS::AtLeastOnce);
        scene.queued();
        // Nobody overtakes it, and who is not stored does not wait.
        assert_eq!(live.expect_publish().text(), "1");
        assert_eq!(live.expect_publish().text(), "2");
        scene.online.expect_nothing_before_pong();
        scene.publisher.expect_nothing_before_pong();
        scene.broker.kept();
        assert_eq!(scene.online.expect_publish().text(), "1");
        assert_eq!(scene.online.expect_publish().text(), "2");
        scene.publisher.expect_pubrec(1);
        scene.publisher.expect_nothing_before_pong();
        scene.broker.kept();
        scene.publisher.expect_puback(2);
    }
}

/// Behind a crash such a publication is routed again to whomever it is not stored for, and nobody
/// would know that it has been sent.
#[test]
fn what_may_be_routed_again_is_stored_before_it_is_sent_with_qos_1_too() {
    spec!("MQTT5-3.3.1-1", "MQTT311-3.3.1-1");
    for version in VERSIONS {
        let mut scene = scene(version, QoS::AtLeastOnce);
        scene.publisher = scene.broker.open();
        scene.publisher.send_connect(&lasting(version, "publisher"));
        scene.broker.keep_all();
        scene.publisher.expect_connack_with(ReasonCode::Success);
        scene.broker.records();
        scene.publish(1, QoS::ExactlyOnce);
        assert!(matches!(scene.broker.record(), Record::Received { .. }));
        scene.broker.kept();
        let record = scene.broker.record();
        assert!(matches!(record, Record::Queued { publication: 1.., .. }), "{record:?}");
        scene.publish(2, QoS::AtLeastOnce);
        scene.queued();
        // Nobody overtakes it.
        scene.online.expect_nothing_before_pong();
        scene.broker.kept();
        assert_eq!(scene.online.expect_publish().text(), "1");
        assert_eq!(scene.online.expect_publish().text(), "2");
        scene.publisher.expect_pubrec(1);
    }
}

#[test]
fn nothing_is_recorded_that_waits_for_nobody_who_is_stored() {
    for version in VERSIONS {
        let mut scene = scene(version, QoS::AtMostOnce);
        let mut live = scene.broker.client(version, "live");
        live.subscribe(&[("t", QoS::ExactlyOnce)]);
        for (packet_id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
            scene.publish(packet_id, qos);
            live.receive();
            scene.online.receive();
        }
        scene.publisher.expect_puback(1);
        scene.publisher.expect_pubrec(2);
        let publish = OwnedPublish::new("t", "x", QoS::AtMostOnce);
        scene.publisher.send_publish(&publish);
        scene.broker.end_turn();
        assert!(scene.broker.has_asked_nothing());
        assert_eq!(scene.broker.leisurely(), []);
    }
}

#[test]
fn pubrel_waits_until_pubrec_is_durable_and_is_repeated_without_another_record() {
    spec!("MQTT5-4.3.3-4", "MQTT311-4.3.3-1");
    for version in VERSIONS {
        let mut scene = scene(version, QoS::ExactlyOnce);
        scene.publish(1, QoS::ExactlyOnce);
        let sessions: Vec<u64> = scene.queued().iter().map(|to| to.session).collect();
        scene.broker.kept();
        let packet_id = scene.online.expect_publish().packet_id.expect("it has one");
        scene.acknowledge(PacketType::Pubrec, packet_id);
        let record = scene.broker.record();
        let Record::Pubrec { session: of, packet_id: noted } = record else { panic!("{record:?}") };
        assert_eq!(noted.value(), packet_id);
        assert!(sessions.contains(&of));
        scene.online.expect_nothing_before_pong();
        // A repetition waits with the first one.
        scene.acknowledge(PacketType::Pubrec, packet_id);
        assert!(scene.broker.has_asked_nothing());
        scene.online.expect_nothing_before_pong();
        scene.broker.kept();
        scene.online.expect_pubrel(packet_id);
        scene.online.expect_pubrel(packet_id);
        // Now nothing is left to wait for.
        scene.acknowledge(PacketType::Pubrec, packet_id);
        scene.online.expect_pubrel(packet_id);
        assert_eq!(scene.broker.leisurely(), [], "it is not done");
        scene.acknowledge(PacketType::Pubcomp, packet_id);
        let next = PacketId::new(packet_id + 1).expect("not 0");
        let expected = [
            Record::Pubcomp { session: of, packet_id: noted },
            Record::Acknowledged { session: of, up_to: 1, next },
        ];
        assert_eq!(scene.broker.leisurely(), expected);
        assert!(scene.broker.has_asked_nothing());
    }
}

#[test]
fn what_is_done_is_marked_once_a_turn_and_only_as_far_as_all_is_done() {
    for version in VERSIONS {
        let mut scene = scene(version, QoS::AtLeastOnce);
        for packet_id in 1..=5 {
            scene.publish(packet_id, QoS::AtLeastOnce);
            assert_eq!(scene.online.expect_publish().packet_id, Some(packet_id));
        }
        scene.broker.keep_all();
        scene.acknowledge(PacketType::Puback, 1);
        let marks = scene.broker.leisurely();
        let [Record::Acknowledged { session, up_to: 1, next }] = marks[..] else {
            panic!("{marks:?}");
        };
        assert_eq!(next.value(), 2);
        scene.acknowledge(PacketType::Puback, 3);
        assert_eq!(scene.broker.leisurely(), [], "the second one is not done");
        for packet_id in [2, 4] {
            scene.online.send_ack(PacketType::Puback, packet_id, ReasonCode::Success);
        }
        assert_eq!(scene.broker.leisurely(), [], "the turn is not over");
        scene.broker.end_turn();
        let next = PacketId::new(5).expect("not 0");
        let mark = Record::Acknowledged { session, up_to: 4, next };
        assert_eq!(scene.broker.leisurely(), [mark]);
        scene.broker.end_turn();
        assert_eq!(scene.broker.leisurely(), []);
    }
}

/// Otherwise the store would never hear of anything that is done.
#[test]
fn what_is_done_is_marked_while_a_qos_2_message_is_always_on_its_way() {
    let mut scene = scene(Version::V5_0, QoS::ExactlyOnce);
    let mut last = 0;
    for packet_id in 1..=9 {
        scene.publish(packet_id, QoS::ExactlyOnce);
        scene.broker.keep_all();
        assert_eq!(scene.online.expect_publish().packet_id, Some(packet_id));
        scene.online.send_ack(PacketType::Pubrec, packet_id, ReasonCode::Success);
        scene.broker.keep_all();
        scene.online.expect_pubrel(packet_id);
        if packet_id > 1 {
            scene.online.send_ack(PacketType::Pubcomp, packet_id - 1, ReasonCode::Success);
        }
        scene.broker.end_turn();
        for record in scene.broker.leisurely() {
            if let Record::Acknowledged { up_to, next, .. } = record {
                assert_eq!(up_to + 1, u64::from(next.value()));
                last = up_to;
            }
        }
        assert_eq!(last, u64::from(packet_id) - 1, "the last one is not done");
    }
}

#[test]
fn what_expires_in_a_queue_is_skipped_and_a_qos_2_message_behind_it_waits_for_that() {
    let mut scene = scene(Version::V5_0, QoS::ExactlyOnce);
    scene.online = scene.broker.open();
    let publish = |id: u16, qos| OwnedPublish::new("t", id.to_string(), qos).packet_id(id);
    let short = publish(1, QoS::AtLeastOnce).message_expiry_interval(5);
    scene.publisher.send_publish(&short);
    scene.publisher.send_publish(&publish(2, QoS::ExactlyOnce));
    let sessions: Vec<u64> = scene.queued().iter().map(|to| to.session).collect();
    scene.queued();
    scene.broker.keep_all();
    scene.broker.advance_seconds(6);
    scene.online.send_connect(&lasting(Version::V5_0, "online"));
    assert!(matches!(scene.broker.record(), Record::SessionStarted(_)));
    scene.broker.kept();
    scene.online.expect_connack_with(ReasonCode::Success);
    let skipped = scene.broker.record();
    let Record::Skipped { session: of, sequence: 1 } = skipped else { panic!("{skipped:?}") };
    assert!(sessions.contains(&of));
    scene.online.expect_nothing_before_pong();
    scene.broker.kept();
    let message = scene.online.expect_publish();
    assert_eq!((message.text(), message.packet_id), ("2", Some(1)));
    assert!(scene.broker.has_asked_nothing());
}

#[test]
fn a_forward_is_answered_when_its_records_are_durable_and_puback_waits_for_all_shards() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let homes = [("publisher", 0), ("here", 0), ("there", 1)];
            let broker = storing_with(|settings| settings.placement = placement_of(2, &homes));
            for name in ["here", "there"] {
                broker.lasting(version, name).subscribe(&[("t", QoS::ExactlyOnce)]);
            }
            let mut publisher = broker.client(version, "publisher");
            for first in [0, 1] {
                broker.hold();
                publisher.send_publish(&OwnedPublish::new("t", "x", qos).packet_id(1));
                let mut asked = [broker.asked_by().0.0, broker.asked_by().0.0];
                asked.sort_unstable();
                assert_eq!(asked, [0, 1], "each shard has its record");
                assert!(broker.has_asked_nothing());
                let mut world = broker.world.borrow_mut();
                world.unkept.make_contiguous().sort_by_key(|(shard, _)| shard.0 != first);
                drop(world);
                publisher.expect_nothing_before_pong();
                broker.kept();
                publisher.expect_nothing_before_pong();
                broker.kept();
                if qos == QoS::AtLeastOnce {
                    publisher.expect_puback(1);
                } else {
                    publisher.expect_pubrec(1);
                    publisher.send_pubrel(1);
                    publisher.expect_pubcomp(1);
                }
            }
        }
    }
}

#[test]
fn retained_messages_are_recorded_when_they_are_set_and_removed_but_not_those_of_the_broker() {
    let homes = NAMES.map(|name| (name, 0));
    let broker = storing_with(|settings| {
        settings.placement = placement_of(shards(), &homes);
        settings.system_interval_seconds = 10;
    });
    broker.hold();
    broker.advance_seconds(30);
    assert!(broker.has_asked_nothing(), "$SYS is not kept");
    let mut publisher = broker.client(Version::V5_0, "publisher");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        for payload in ["x", ""] {
            let publish = OwnedPublish::new("t", payload, qos).retain(true);
            let publish = if qos > QoS::AtMostOnce { publish.packet_id(1) } else { publish };
            publisher.send_publish(&publish);
            match broker.record() {
                Record::Retained { message, .. } => {
                    assert_eq!(&*message.payload, payload.as_bytes())
                }
                Record::RetainedRemoved { topic, .. } => assert_eq!((&*topic, payload), ("t", "")),
                other => panic!("{other:?}"),
            }
            publisher.expect_nothing_before_pong();
            broker.kept();
            if qos > QoS::AtMostOnce {
                publisher.expect_puback_with(1, ReasonCode::NoMatchingSubscribers);
            }
        }
    }
    assert!(broker.has_asked_nothing());
}

/// The store would keep it for ever, where no limit counts it.
#[test]
fn a_retained_message_that_expires_leaves_the_store() {
    spec!("MQTT5-3.3.2-5");
    let broker = storing();
    let mut publisher = broker.client(Version::V5_0, "publisher");
    let publish = OwnedPublish::new("t", "x", QoS::AtLeastOnce).retain(true);
    publisher.publish_with(&publish.message_expiry_interval(10));
    broker.leisurely();
    broker.advance_seconds(9);
    assert_eq!(broker.leisurely(), []);
    broker.advance_seconds(1);
    let expected = Record::RetainedRemoved { publication: 0, topic: "t".into() };
    assert_eq!(broker.leisurely(), [expected]);
}

/// Behind a crash it would be routed to its receiver once more.
#[test]
fn what_goes_straight_to_another_shard_keeps_the_name_that_a_crash_needs() {
    let homes = [("publisher", 0), ("receiver", 1)];
    let broker = storing_with(|settings| settings.placement = placement_of(2, &homes));
    let mut receiver = broker.lasting(Version::V5_0, "receiver");
    receiver.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = broker.lasting(Version::V5_0, "publisher");
    publisher.publish("t", "first", QoS::ExactlyOnce);
    broker.hold();
    let publish = OwnedPublish::new("t", "second", QoS::ExactlyOnce);
    publisher.send_publish(&publish.packet_id(1));
    let received = broker.records();
    let [Record::Received { publication, .. }] = &received[..] else { panic!("{received:?}") };
    broker.keep_all();
    while !broker.letters().is_empty() {
        broker.carry_all();
    }
    let records = broker.records();
    let is_queued = |record: &&Record| matches!(record, Record::Queued { .. });
    let queued = records.iter().find(is_queued);
    let Some(Record::Queued { publication: of, .. }) = queued else { panic!("{records:?}") };
    assert_eq!(of, publication);
}

#[test]
fn a_will_that_is_given_up_or_published_is_soon_forgotten_by_the_store() {
    spec!("MQTT5-3.1.2-10", "MQTT311-3.1.2-10");
    for version in VERSIONS {
        for gives_up in [true, false] {
            let broker = storing_with(|_| {});
            let client = broker.connect(&lasting(version, "a").will(will()));
            broker.leisurely();
            broker.hold();
            if gives_up {
                client.disconnect();
            } else {
                drop(client);
            }
            let record = broker.record();
            let Record::SessionLeft { will_at: None, .. } = record else { panic!("{record:?}") };
            assert!(broker.has_asked_nothing());
        }
    }
}

#[test]
fn the_store_knows_when_a_will_is_due_and_when_it_is_gone() {
    let broker = storing_with(|_| {});
    let will = will().delay(10);
    let mut client = broker.connect(&OwnedConnect::v5("a").resumable(100).will(will));
    client.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publisher.publish("t", "sent", QoS::AtLeastOnce);
    client.expect_publish();
    broker.hold();
    drop(client);
    let due = Some(broker.now().plus_seconds(10));
    let record = broker.record();
    let Record::SessionLeft { will_at, sent: 1, .. } = record else { panic!("{record:?}") };
    assert_eq!(will_at, due);
    publisher.send_publish(&OwnedPublish::new("t", "waits", QoS::AtLeastOnce).packet_id(9));
    assert!(matches!(broker.record(), Record::QueuedRun(_)));
    broker.advance_seconds(10);
    let record = broker.record();
    let Record::SessionLeft { will_at: None, sent: 1, .. } = record else { panic!("{record:?}") };
}

#[test]
fn what_a_shared_subscription_takes_back_moves_to_a_queue_of_its_own() {
    let mut scene = scene(Version::V5_0, QoS::AtMostOnce);
    let connect = lasting(Version::V5_0, "live").receive_maximum(1);
    let mut member = scene.broker.open();
    member.send_connect(&connect);
    scene.broker.keep_all();
    member.expect_connack_with(ReasonCode::Success);
    scene.broker.records();
    scene.broker.answer_all();
    member.subscribe(&[("$share/g/t", QoS::ExactlyOnce)]);
    scene.broker.hold();
    scene.publish(1, QoS::ExactlyOnce);
    let [reference] = &scene.queued()[..] else { panic!("one reference") };
    // It waits for its record when its member goes.
    drop(member);
    let record = scene.broker.record();
    let Record::SharedQueue { queue, filter, last: Some(1) } = record else { panic!("{record:?}") };
    assert!(is_shared_queue(queue) && &*filter == "$share/g/t");
    let record = scene.broker.record();
    let Record::Moved { from, sequence: 1, reference: to, .. } = record else {
        panic!("{record:?}")
    };
    assert_eq!((from, to.session, to.sequence), (reference.session, queue, 1));
}

#[test]
fn what_a_member_without_a_stored_session_is_done_with_waits_in_its_shared_subscription_no_more() {
    let mut scene = scene(Version::V5_0, QoS::AtMostOnce);
    scene.broker.answer_all();
    let shared = [("$share/g/t", QoS::AtLeastOnce)];
    scene.broker.lasting(Version::V5_0, "offline").subscribe(&shared);
    let mut member = scene.broker.client(Version::V5_0, "live");
    member.subscribe(&shared);
    scene.broker.leisurely();
    scene.broker.hold();
    scene.publish(1, QoS::AtLeastOnce);
    while let Some(record) = scene.broker.records().pop() {
        let Record::Queued { references, .. } = record else { continue };
        let [reference] = &references[..] else { panic!("{references:?}") };
        assert!(is_shared_queue(reference.session));
        scene.broker.keep_all();
        let packet_id = member.expect_publish().packet_id.expect("it has one");
        assert_eq!(scene.broker.leisurely(), []);
        member.send_ack(PacketType::Puback, packet_id, ReasonCode::Success);
        let (session, sequence) = (reference.session, reference.sequence);
        assert_eq!(scene.broker.leisurely(), [Record::Skipped { session, sequence }]);
        return;
    }
    panic!("nothing waits");
}
