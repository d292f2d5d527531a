//! The receiver, case by case and against a naive model.

use std::collections::BTreeMap;
use std::vec::Vec;

use AcknowledgementKind::{Puback, Pubcomp, Pubrec};
use noctule_packet::spec;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::*;

const NOT_FOUND: ReasonCode = ReasonCode::PacketIdentifierNotFound;

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

/// Takes a PUBLISH that must be new.
#[track_caller]
fn publish(receiver: &mut Receiver, qos: QoS, value: u16) -> AnswerId {
    match receiver.on_publish(qos, id(value)) {
        Ok(Arrival::New(answer)) => answer,
        other => panic!("PUBLISH {value}: {other:?}"),
    }
}

#[track_caller]
fn repeat(receiver: &mut Receiver, value: u16) {
    let arrival = receiver.on_publish(QoS::ExactlyOnce, id(value));
    assert_eq!(arrival, Ok(Arrival::Duplicate), "PUBLISH {value} again");
}

#[test]
fn an_answer_keeps_its_name_as_a_number() {
    let mut receiver = Receiver::new(8);
    for packet_id in 1..=3 {
        let answer = publish(&mut receiver, QoS::AtLeastOnce, packet_id);
        assert_eq!(AnswerId::from_value(answer.value()), answer);
    }
}

/// Everything that may leave now.
fn leaving(receiver: &mut Receiver) -> Vec<(AcknowledgementKind, u16, ReasonCode)> {
    core::iter::from_fn(|| receiver.next_acknowledgement())
        .map(|ack| (ack.kind, ack.packet_id.value(), ack.reason))
        .collect()
}

#[test]
fn pubacks_that_report_success_leave_together_and_never_out_of_turn() {
    let mut receiver = Receiver::new(6);
    let pubacks = |receiver: &mut Receiver, taken: usize| {
        receiver.next_pubacks().take(taken).map(PacketId::value).collect::<Vec<_>>()
    };
    let answers: Vec<_> = (1..=6)
        .map(|value| {
            let qos = if value == 4 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            publish(&mut receiver, qos, value)
        })
        .collect();
    receiver.complete(answers[1], ReasonCode::Success);
    assert_eq!(pubacks(&mut receiver, 9), [], "the first one is not complete");
    receiver.complete(answers[0], ReasonCode::Success);
    receiver.complete(answers[2], ReasonCode::Success);
    receiver.complete(answers[3], ReasonCode::Success);
    receiver.complete(answers[4], ReasonCode::NotAuthorized);
    assert_eq!((pubacks(&mut receiver, 2), receiver.quota()), ([1, 2].into(), 2));
    assert_eq!((pubacks(&mut receiver, 9), receiver.quota()), ([3].into(), 3));
    let (success, refused) = (ReasonCode::Success, ReasonCode::NotAuthorized);
    assert_eq!(leaving(&mut receiver), [(Pubrec, 4, success), (Puback, 5, refused)]);
    receiver.complete(answers[5], ReasonCode::Success);
    assert_eq!((pubacks(&mut receiver, 9), receiver.owed()), ([6].into(), 0));
}

#[test]
fn many_publications_are_what_each_of_them_would_be() {
    let mut many = Receiver::new(6);
    let mut single = Receiver::new(6);
    for receiver in [&mut many, &mut single] {
        publish(receiver, QoS::ExactlyOnce, 9);
    }
    let first = many.on_publish_many(&[id(1), id(2), id(3)]).unwrap();
    let answers = [1, 2, 3].map(|value| publish(&mut single, QoS::AtLeastOnce, value));
    assert_eq!((first, many.owed(), many.quota()), (answers[0], 4, single.quota()));
    let exceeded = ReceiverError::ReceiveMaximumExceeded { maximum: 6 };
    assert_eq!(many.on_publish_many(&[id(4), id(5), id(6)]), Err(exceeded));
    assert_eq!((many.owed(), many.quota()), (4, 2), "none of them is taken");
    publish(&mut many, QoS::AtLeastOnce, 4);
    many.complete(AnswerId::from_value(first.value() - 1), ReasonCode::Success);
    many.complete_many(first, 2);
    let success = ReasonCode::Success;
    let expected = [(Pubrec, 9, success), (Puback, 1, success), (Puback, 2, success)];
    assert_eq!(leaving(&mut many), expected);
    // Of what has left nothing becomes of later ones, and nothing is there beyond the last one.
    many.complete_many(first, 2);
    assert_eq!((leaving(&mut many), many.owed()), (Vec::new(), 2));
    many.complete_many(first, u64::MAX);
    assert_eq!(leaving(&mut many), [(Puback, 3, success), (Puback, 4, success)]);
    many.resume(6);
    let earlier = many.on_publish_many(&[id(1), id(2)]).unwrap();
    many.resume(6);
    publish(&mut many, QoS::AtLeastOnce, 1);
    many.complete_many(earlier, 2);
    assert_eq!((leaving(&mut many), many.owed()), (Vec::new(), 1), "another connection's");
}

/// A receiver that has sent PUBREC for identifier 1.
fn received(maximum: u16) -> Receiver {
    let mut receiver = Receiver::new(maximum);
    let answer = publish(&mut receiver, QoS::ExactlyOnce, 1);
    receiver.complete(answer, ReasonCode::Success);
    assert_eq!(leaving(&mut receiver), [(Pubrec, 1, ReasonCode::Success)]);
    receiver
}

#[test]
fn acknowledgements_leave_in_the_order_of_the_publications() {
    spec!("MQTT5-4.6.0-2", "MQTT5-4.6.0-3", "MQTT311-4.6.0-2", "MQTT311-4.6.0-3");
    let mut receiver = Receiver::new(10);
    let answers: Vec<_> = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce]
        .into_iter()
        .zip(1..)
        .map(|(qos, value)| publish(&mut receiver, qos, value))
        .collect();
    receiver.complete(answers[2], ReasonCode::Success);
    assert_eq!(leaving(&mut receiver), []);
    receiver.complete(answers[1], ReasonCode::Success);
    assert_eq!(leaving(&mut receiver), []);
    receiver.complete(answers[0], ReasonCode::NoMatchingSubscribers);
    let expected = [
        (Puback, 1, ReasonCode::NoMatchingSubscribers),
        (Pubrec, 2, ReasonCode::Success),
        (Puback, 3, ReasonCode::Success),
    ];
    assert_eq!(leaving(&mut receiver), expected);
}

#[test]
fn repetitions_while_the_message_is_being_kept_share_one_pubrec() {
    spec!("MQTT5-4.3.3-10", "MQTT311-4.3.3-2");
    let mut receiver = Receiver::new(1);
    let answer = publish(&mut receiver, QoS::ExactlyOnce, 1);
    for _ in 0..1_000 {
        repeat(&mut receiver, 1);
    }
    assert_eq!(receiver.owed(), 1);
    receiver.complete(answer, ReasonCode::Success);
    assert_eq!(leaving(&mut receiver), [(Pubrec, 1, ReasonCode::Success)]);
    repeat(&mut receiver, 1);
    assert_eq!(leaving(&mut receiver), [(Pubrec, 1, ReasonCode::Success)]);
}

#[test]
fn what_is_owed_stays_bounded_behind_an_acknowledgement_that_is_held() {
    let mut receiver = received(2);
    let held = publish(&mut receiver, QoS::AtLeastOnce, 2);
    for _ in 0..1_000 {
        repeat(&mut receiver, 1);
        assert_eq!(receiver.on_pubrel(id(9), NOT_FOUND), None);
    }
    let release = receiver.on_pubrel(id(1), NOT_FOUND).unwrap();
    assert_eq!(receiver.on_pubrel(id(1), NOT_FOUND), None, "its PUBCOMP is owed");
    assert_eq!(receiver.owed(), 4);
    receiver.complete(release, ReasonCode::Success);
    receiver.complete(held, ReasonCode::Success);
    let expected = [
        (Puback, 2, ReasonCode::Success),
        (Pubrec, 1, ReasonCode::Success),
        (Pubcomp, 9, NOT_FOUND),
        (Pubcomp, 1, ReasonCode::Success),
    ];
    assert_eq!(leaving(&mut receiver), expected);
    assert_eq!(receiver.unreleased(), 0);
}

#[test]
fn a_released_identifier_stands_for_a_new_message() {
    spec!("MQTT5-4.3.3-12", "MQTT311-4.3.3-2");
    let mut receiver = received(1);
    let release = receiver.on_pubrel(id(1), NOT_FOUND).unwrap();
    repeat(&mut receiver, 1);
    receiver.complete(release, ReasonCode::Success);
    assert_eq!(leaving(&mut receiver)[0], (Pubcomp, 1, ReasonCode::Success));
    publish(&mut receiver, QoS::ExactlyOnce, 1);
}

#[test]
fn a_refused_identifier_stands_for_a_new_message() {
    spec!("MQTT5-4.3.3-9");
    let mut receiver = Receiver::new(1);
    let answer = publish(&mut receiver, QoS::ExactlyOnce, 1);
    receiver.complete(answer, ReasonCode::NotAuthorized);
    assert_eq!(leaving(&mut receiver), [(Pubrec, 1, ReasonCode::NotAuthorized)]);
    publish(&mut receiver, QoS::ExactlyOnce, 1);
}

#[test]
fn an_acknowledged_qos_1_identifier_stands_for_a_new_message() {
    spec!("MQTT5-4.3.2-5", "MQTT311-4.3.2-2");
    let mut receiver = Receiver::new(1);
    for _ in 0..3 {
        let answer = publish(&mut receiver, QoS::AtLeastOnce, 1);
        receiver.complete(answer, ReasonCode::Success);
        assert_eq!(leaving(&mut receiver), [(Puback, 1, ReasonCode::Success)]);
    }
}

#[test]
fn an_answer_from_an_earlier_connection_completes_the_repetition() {
    let mut receiver = Receiver::new(2);
    let unacknowledged = publish(&mut receiver, QoS::AtLeastOnce, 7);
    let answer = publish(&mut receiver, QoS::ExactlyOnce, 1);
    receiver.resume(2);
    receiver.resume(2);
    repeat(&mut receiver, 1);
    assert_eq!(leaving(&mut receiver), [], "the message is not kept yet");
    receiver.complete(unacknowledged, ReasonCode::Success);
    assert_eq!(leaving(&mut receiver), []);
    receiver.complete(answer, ReasonCode::Success);
    assert_eq!(leaving(&mut receiver), [(Pubrec, 1, ReasonCode::Success)]);
}

#[test]
fn a_late_answer_does_not_touch_the_identifier_s_next_message() {
    let mut receiver = Receiver::new(2);
    let late = publish(&mut receiver, QoS::ExactlyOnce, 1);
    receiver.resume(2);
    let release = receiver.on_pubrel(id(1), NOT_FOUND).unwrap();
    receiver.complete(release, ReasonCode::Success);
    assert_eq!(leaving(&mut receiver), [(Pubcomp, 1, ReasonCode::Success)]);
    publish(&mut receiver, QoS::ExactlyOnce, 1);
    receiver.complete(late, ReasonCode::Success);
    assert_eq!(leaving(&mut receiver), []);
    repeat(&mut receiver, 1);
    assert_eq!(leaving(&mut receiver), []);
}

#[test]
fn a_refusal_that_nobody_heard_of_is_forgotten_with_its_connection() {
    let check = |refuse_before: bool| {
        let mut receiver = Receiver::new(1);
        let answer = publish(&mut receiver, QoS::ExactlyOnce, 1);
        if refuse_before {
            receiver.complete(answer, ReasonCode::NotAuthorized);
            receiver.resume(1);
        } else {
            receiver.resume(1);
            receiver.complete(answer, ReasonCode::NotAuthorized);
        }
        publish(&mut receiver, QoS::ExactlyOnce, 1);
    };
    check(true);
    check(false);
}

#[test]
fn more_than_the_receive_maximum_is_an_error() {
    spec!("MQTT5-3.3.4-7", "MQTT5-3.3.4-8");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut receiver = Receiver::new(2);
        let first = publish(&mut receiver, qos, 1);
        publish(&mut receiver, QoS::ExactlyOnce, 2);
        let error = Err(ReceiverError::ReceiveMaximumExceeded { maximum: 2 });
        assert_eq!(receiver.on_publish(qos, id(3)), error);
        receiver.complete(first, ReasonCode::Success);
        assert_eq!(leaving(&mut receiver).len(), 1);
        // PUBACK ends an exchange, PUBREC does not.
        let next = receiver.on_publish(QoS::AtLeastOnce, id(3));
        assert_eq!(next.is_ok(), qos == QoS::AtLeastOnce, "{qos:?}");
    }
}

#[test]
fn each_connection_begins_with_the_whole_quota() {
    let mut receiver = received(1);
    receiver.resume(1);
    publish(&mut receiver, QoS::ExactlyOnce, 2);
    let error = Err(ReceiverError::ReceiveMaximumExceeded { maximum: 1 });
    assert_eq!(receiver.on_publish(QoS::ExactlyOnce, id(1)), error, "a repetition counts");
    // As the peer counts: the PUBCOMP of an earlier exchange gives quota too.
    let release = receiver.on_pubrel(id(1), NOT_FOUND).unwrap();
    receiver.complete(release, ReasonCode::Success);
    assert_eq!(receiver.owed(), 2);
}

#[test]
fn restored_identifiers_are_duplicates_whatever_the_receive_maximum() {
    let mut receiver = Receiver::new(1);
    (1..=3).for_each(|value| receiver.restore(id(value)));
    receiver.resume(1);
    repeat(&mut receiver, 3);
    assert_eq!(leaving(&mut receiver), [(Pubrec, 3, ReasonCode::Success)]);
    assert!(receiver.on_pubrel(id(2), NOT_FOUND).is_some());
}

#[test]
fn what_is_kept_once_more_is_not_acknowledged_before() {
    for is_released in [false, true] {
        let mut receiver = Receiver::new(10);
        assert_eq!(receiver.keep_again(id(1)), None, "it is unknown");
        (1..=2).for_each(|value| receiver.restore(id(value)));
        let answers = [1, 2].map(|value| receiver.keep_again(id(value)).unwrap());
        assert_ne!(answers[0], answers[1]);
        assert_eq!(receiver.keep_again(id(1)), None, "it is on its way");
        receiver.resume(10);
        repeat(&mut receiver, 2);
        publish(&mut receiver, QoS::ExactlyOnce, 3);
        // PUBREC has left before: its PUBREL says that nothing is waited for.
        let release = is_released.then(|| receiver.on_pubrel(id(1), NOT_FOUND).unwrap());
        assert_eq!(leaving(&mut receiver), []);
        receiver.complete(answers[1], ReasonCode::Success);
        assert_eq!(leaving(&mut receiver), [(Pubrec, 2, ReasonCode::Success)]);
        receiver.complete(answers[0], ReasonCode::Success);
        if let Some(release) = release {
            receiver.complete(release, ReasonCode::Success);
        }
        assert_eq!(leaving(&mut receiver), []);
        assert!(receiver.is_unreleased(id(1)));
    }
}

#[test]
fn a_full_window_completes_in_reverse_without_searching_it_each_time() {
    // With a search for each answer this takes minutes.
    let mut receiver = Receiver::new(u16::MAX);
    let answers: Vec<_> =
        (1..=u16::MAX).map(|value| publish(&mut receiver, QoS::ExactlyOnce, value)).collect();
    for answer in answers.iter().rev() {
        receiver.complete(*answer, ReasonCode::Success);
    }
    assert_eq!(leaving(&mut receiver).len(), usize::from(u16::MAX));
    receiver.resume(u16::MAX);
    (1..=u16::MAX).for_each(|value| repeat(&mut receiver, value));
    let released: Vec<_> =
        (1..=u16::MAX).map(|value| receiver.on_pubrel(id(value), NOT_FOUND).unwrap()).collect();
    for answer in released.iter().rev() {
        receiver.complete(*answer, ReasonCode::Success);
    }
    assert_eq!(leaving(&mut receiver).len(), 2 * usize::from(u16::MAX));
    assert_eq!(receiver.unreleased(), 0);
}

/// What can happen to a receiver. Publications that are being kept are named by their place among
/// those.
#[derive(Clone, Copy, Debug)]
enum Step {
    AtLeastOnce(u16),
    ExactlyOnce(u16),
    Pubrel(u16),
    Complete(usize, bool),
    Resume,
}

/// Few identifiers, so that they meet often.
fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..=3u16).prop_map(Step::AtLeastOnce),
        4 => (1..=3u16).prop_map(Step::ExactlyOnce),
        3 => (1..=3u16).prop_map(Step::Pubrel),
        6 => (any::<usize>(), proptest::bool::weighted(0.8))
            .prop_map(|(at, well)| Step::Complete(at, well)),
        1 => Just(Step::Resume),
    ]
}

/// What a naive reader of the specification notes about one QoS 2 identifier.
#[derive(Clone, Copy, Debug)]
struct Known {
    answer: AnswerId,
    /// The message was refused, which the peer may not have heard.
    refused: bool,
    pubrec: Option<AnswerId>,
    pubcomp: Option<AnswerId>,
}

#[derive(Default)]
struct Model {
    known: BTreeMap<u16, Known>,
    /// Answers that were not completed.
    open: Vec<(AnswerId, u16)>,
}

impl Model {
    fn complete(&mut self, answer: AnswerId, value: u16, well: bool) {
        if let Some(known) = self.known.get_mut(&value).filter(|known| known.answer == answer) {
            known.refused = !well;
            if known.refused && known.pubrec.is_none() {
                self.known.remove(&value);
            }
        }
    }

    fn resume(&mut self) {
        self.known.retain(|_, known| !known.refused);
        for known in self.known.values_mut() {
            (known.pubrec, known.pubcomp) = (None, None);
        }
    }

    fn leaves(&mut self, answer: AnswerId, ack: Acknowledgement) {
        let early = self.open.iter().any(|(open, _)| *open == answer);
        assert!(!early, "{ack:?} leaves before {answer:?} is complete");
        let value = ack.packet_id.value();
        let Some(known) = self.known.get_mut(&value) else { return };
        match ack.kind {
            Puback => {}
            Pubrec if known.pubrec != Some(answer) => {}
            Pubrec if ack.reason.is_error() => {
                self.known.remove(&value);
            }
            Pubrec => known.pubrec = None,
            Pubcomp if known.pubcomp == Some(answer) => {
                self.known.remove(&value);
            }
            Pubcomp => {}
        }
    }
}

proptest! {
    #[test]
    fn no_order_of_events_doubles_a_message_or_holds_an_acknowledgement_back(
        steps in vec(step(), 1..60),
    ) {
        let mut receiver = Receiver::new(u16::MAX);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::AtLeastOnce(value) => {
                    let answer = publish(&mut receiver, QoS::AtLeastOnce, value);
                    model.open.push((answer, 0));
                }
                Step::ExactlyOnce(value) => {
                    match receiver.on_publish(QoS::ExactlyOnce, id(value)).unwrap() {
                        Arrival::New(answer) => {
                            prop_assert!(!model.known.contains_key(&value), "{value} is doubled");
                            let known = Known {
                                answer,
                                refused: false,
                                pubrec: Some(answer),
                                pubcomp: None,
                            };
                            model.known.insert(value, known);
                            model.open.push((answer, value));
                        }
                        Arrival::Duplicate => {
                            let known = model.known.get_mut(&value);
                            prop_assert!(known.is_some(), "{value} is lost");
                            let last = AnswerId(receiver.first + receiver.owed() as u64 - 1);
                            known.unwrap().pubrec.get_or_insert(last);
                        }
                    }
                }
                Step::Pubrel(value) => {
                    if let Some(answer) = receiver.on_pubrel(id(value), NOT_FOUND) {
                        prop_assert!(model.known.contains_key(&value));
                        model.open.push((answer, 0));
                        model.known.get_mut(&value).unwrap().pubcomp = Some(answer);
                    }
                }
                Step::Complete(at, well) => {
                    if !model.open.is_empty() {
                        let (answer, value) = model.open.remove(at % model.open.len());
                        let well = well || value == 0;
                        let refused = ReasonCode::NotAuthorized;
                        receiver.complete(answer, if well { ReasonCode::Success } else { refused });
                        model.complete(answer, value, well);
                    }
                }
                Step::Resume => {
                    receiver.resume(u16::MAX);
                    model.resume();
                }
            }
            let mut answer = AnswerId(receiver.first);
            while let Some(ack) = receiver.next_acknowledgement() {
                model.leaves(answer, ack);
                answer = AnswerId(receiver.first);
            }
            prop_assert_eq!(receiver.unreleased(), model.known.len());
        }
        for (answer, _) in model.open.drain(..) {
            receiver.complete(answer, ReasonCode::Success);
        }
        leaving(&mut receiver);
        prop_assert_eq!(receiver.owed(), 0, "something is owed for ever");
        prop_assert!(receiver.state.as_ref().is_none_or(|state| state.earlier.is_empty()));
    }
}
