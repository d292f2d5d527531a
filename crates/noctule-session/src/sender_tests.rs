//! Tests of the sender: steps and orders by table, and any order of events against a naive model.

use alloc::vec;
use alloc::vec::Vec;

use noctule_packet::QoS::{AtLeastOnce, ExactlyOnce};
use noctule_packet::{PacketId, QoS, spec};
use proptest::prelude::*;

use super::{Sender, SenderError, Transmission};

fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("an identifier that is not 0")
}

/// What is sent next, short enough for tables: `(PUBLISH?, identifier, message, dup)`.
fn next(sender: &mut Sender<u32>) -> Option<(char, u16, u32, bool)> {
    match sender.next_transmission()? {
        Transmission::Publish { packet_id, message, dup, .. } => {
            Some(('P', packet_id.value(), *message, dup))
        }
        Transmission::Pubrel { packet_id } => Some(('R', packet_id.value(), 0, false)),
    }
}

fn all(sender: &mut Sender<u32>) -> Vec<(char, u16, u32, bool)> {
    core::iter::from_fn(|| next(sender)).collect()
}

/// A sender with these messages, numbered from 1 on, all sent.
fn sent(receive_maximum: u16, levels: &[QoS]) -> Sender<u32> {
    let mut sender = Sender::new(receive_maximum);
    for (number, qos) in (1..).zip(levels) {
        sender.enqueue(number, *qos);
    }
    assert_eq!(all(&mut sender).len(), levels.len());
    sender
}

impl<M> Sender<M> {
    fn has_releases(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| !backlog.releases.is_empty())
    }
}

#[test]
fn new_messages_get_new_identifiers_and_no_dup() {
    spec!("MQTT5-2.2.1-3", "MQTT5-2.2.1-4", "MQTT5-4.3.2-1", "MQTT5-4.3.2-2");
    spec!("MQTT5-4.3.3-1", "MQTT5-4.3.3-2");
    let mut sender = Sender::new(10);
    sender.enqueue(1, AtLeastOnce);
    sender.enqueue(2, ExactlyOnce);
    assert_eq!(all(&mut sender), [('P', 1, 1, false), ('P', 2, 2, false)]);
    assert_eq!(sender.send_now(3, AtLeastOnce), Ok(id(3)));
}

#[test]
fn identifiers_begin_again_behind_the_last_one_without_0() {
    spec!("MQTT5-2.2.1-3", "MQTT5-2.2.1-4", "MQTT311-2.3.1-1", "MQTT311-2.3.1-4");
    let mut sender = Sender::new(2);
    for turn in 0..70_000_u32 {
        sender.enqueue(turn, AtLeastOnce);
        let (_, packet_id, message, _) = next(&mut sender).expect("the window is open");
        assert_eq!(u32::from(packet_id), 1 + turn % 65_535);
        assert_eq!(sender.on_puback(id(packet_id)), Ok(message));
    }
}

#[test]
fn an_identifier_that_is_never_acknowledged_is_not_given_twice() {
    spec!("MQTT5-2.2.1-3", "MQTT5-2.2.1-4", "MQTT311-2.3.1-4");
    let mut sender = Sender::new(u16::MAX);
    sender.enqueue(0, AtLeastOnce);
    assert!(next(&mut sender).is_some());
    let mut given = 1;
    loop {
        sender.enqueue(given, AtLeastOnce);
        let Some((_, packet_id, ..)) = next(&mut sender) else { break };
        assert_ne!(packet_id, 1, "identifier 1 is in use");
        assert!(sender.on_puback(id(packet_id)).is_ok());
        given += 1;
    }
    assert_eq!(given, 65_534);
    assert!(sender.on_puback(id(1)).is_ok());
    assert!(next(&mut sender).is_some());
}

#[test]
fn a_new_connection_repeats_in_the_first_order_with_dup() {
    spec!("MQTT5-4.4.0-1", "MQTT5-4.6.0-1", "MQTT5-3.3.1-1", "MQTT311-4.4.0-1", "MQTT311-4.6.0-1");
    spec!("MQTT311-3.3.1-1");
    let mut sender = sent(10, &[AtLeastOnce, ExactlyOnce, AtLeastOnce, ExactlyOnce]);
    assert!(sender.on_puback(id(3)).is_ok());
    sender.enqueue(5, AtLeastOnce);
    sender.resume(10);
    let expected = [('P', 1, 1, true), ('P', 2, 2, true), ('P', 4, 4, true), ('P', 5, 5, false)];
    assert_eq!(all(&mut sender), expected);
    assert_eq!(next(&mut sender), None, "on one connection nothing is repeated");
}

#[test]
fn pubrels_are_repeated_in_the_order_of_the_pubrecs() {
    spec!("MQTT5-4.6.0-4", "MQTT311-4.6.0-4", "MQTT5-4.3.3-5", "MQTT5-4.3.3-6");
    let mut sender = sent(10, &[ExactlyOnce; 4]);
    for (packet_id, message) in [(3, 3), (1, 1), (4, 4)] {
        assert_eq!(sender.on_pubrec(id(packet_id)), Ok(Some(message)));
    }
    sender.resume(10);
    let expected = [('R', 3, 0, false), ('R', 1, 0, false), ('R', 4, 0, false), ('P', 2, 2, true)];
    assert_eq!(all(&mut sender), expected);
}

#[test]
fn pubrels_wait_for_no_quota_but_use_it() {
    spec!("MQTT5-3.3.4-9", "MQTT5-3.3.4-10", "MQTT5-4.9.0-2", "MQTT5-4.9.0-3");
    let mut sender = sent(10, &[ExactlyOnce; 4]);
    assert!(sender.on_pubrec(id(2)).is_ok() && sender.on_pubrec(id(4)).is_ok());
    sender.resume(1);
    assert_eq!(all(&mut sender), [('R', 2, 0, false), ('R', 4, 0, false)]);
    assert_eq!(sender.on_pubcomp(id(2)), Ok(()));
    assert_eq!(next(&mut sender), None, "identifier 4 is the one that may be open");
    assert_eq!(sender.on_pubcomp(id(4)), Ok(()));
    assert_eq!(all(&mut sender), [('P', 1, 1, true)]);
}

#[test]
fn the_quota_begins_above_zero() {
    spec!("MQTT5-4.9.0-1");
    let mut sender = Sender::<u32>::new(0);
    assert_eq!(sender.quota(), 1);
    sender.resume(0);
    assert_eq!(sender.quota(), 1);
}

#[test]
fn a_late_acknowledgement_spares_the_repetition() {
    let mut sender = sent(10, &[AtLeastOnce, ExactlyOnce, ExactlyOnce, AtLeastOnce]);
    sender.resume(1);
    assert_eq!(all(&mut sender), [('P', 1, 1, true)]);
    assert_eq!(sender.on_pubrec(id(2)), Ok(Some(2)));
    assert_eq!(sender.on_pubrec_failed(id(3)), Ok(3));
    assert_eq!(sender.on_puback(id(4)), Ok(4));
    assert_eq!((sender.quota(), sender.in_flight()), (0, 2));
    assert_eq!(sender.on_puback(id(1)), Ok(1));
    assert_eq!(sender.on_pubcomp(id(2)), Ok(()));
    assert_eq!((all(&mut sender), sender.quota()), (vec![], 1));
}

#[test]
fn acknowledgements_that_fit_nothing_change_nothing() {
    let mut sender = sent(10, &[AtLeastOnce, ExactlyOnce, ExactlyOnce]);
    assert!(sender.on_pubrec(id(3)).is_ok());
    let (unknown, wrong) = (SenderError::UnknownPacketId, SenderError::WrongStep);
    assert_eq!(sender.on_puback(id(4)), Err(unknown));
    assert_eq!(sender.on_puback(id(2)), Err(wrong));
    assert_eq!(sender.on_puback(id(3)), Err(wrong));
    assert_eq!(sender.on_pubrec(id(1)), Err(wrong));
    assert_eq!(sender.on_pubrec(id(9)), Err(unknown));
    assert_eq!(sender.on_pubrec(id(3)), Ok(None), "a repeated PUBREC");
    assert_eq!(sender.on_pubrec_failed(id(1)), Err(wrong));
    assert_eq!(sender.on_pubrec_failed(id(3)), Err(wrong));
    assert_eq!(sender.on_pubcomp(id(1)), Err(wrong));
    assert_eq!(sender.on_pubcomp(id(2)), Err(wrong));
    assert_eq!(sender.on_pubcomp(id(65_535)), Err(unknown));
    assert_eq!((sender.in_flight(), sender.quota()), (3, 7));
    sender.resume(10);
    assert_eq!(all(&mut sender), [('R', 3, 0, false), ('P', 1, 1, true), ('P', 2, 2, true)]);
}

#[test]
fn what_a_member_leaves_is_taken_out_with_its_quota() {
    let mut sender = sent(4, &[AtLeastOnce, ExactlyOnce, AtLeastOnce, AtLeastOnce]);
    sender.enqueue(5, AtLeastOnce);
    assert_eq!(sender.take_at_least_once(|message| *message != 3), [1, 4]);
    assert_eq!(sender.take_waiting(|_| true), [(5, AtLeastOnce)]);
    assert_eq!((sender.in_flight(), sender.quota(), sender.waiting()), (2, 2, 0));
    sender.resume(4);
    assert_eq!(all(&mut sender), [('P', 2, 2, true), ('P', 3, 3, true)]);
}

#[test]
fn what_is_taken_out_before_its_repetition_gives_no_quota_back() {
    let mut sender = sent(4, &[AtLeastOnce, AtLeastOnce]);
    sender.resume(4);
    assert_eq!(next(&mut sender), Some(('P', 1, 1, true)));
    assert_eq!(sender.take_at_least_once(|message| *message == 2), [2]);
    assert_eq!((sender.in_flight(), sender.quota()), (1, 3));
}

#[test]
fn a_waiting_message_can_be_looked_at_and_left_out() {
    let mut sender = Sender::new(4);
    sender.enqueue(1, AtLeastOnce);
    sender.enqueue(2, ExactlyOnce);
    assert_eq!(sender.peek_waiting(), Some(&1));
    assert_eq!(sender.skip_waiting(), Some(1));
    assert_eq!(all(&mut sender), [('P', 1, 2, false)]);
    assert_eq!(sender.peek_waiting(), None);
    assert_eq!(sender.skip_waiting(), None);
}

#[test]
fn an_abandoned_message_gives_its_place_back() {
    let mut sender = sent(2, &[AtLeastOnce, ExactlyOnce]);
    assert_eq!(sender.abandon(id(2)), Some(2));
    assert_eq!((sender.quota(), sender.in_flight()), (1, 1));
    assert_eq!(sender.abandon(id(2)), None);
}

/// What happens to a sender.
#[derive(Clone, Copy, Debug)]
enum Step {
    Enqueue(QoS),
    SendNow(QoS),
    Transmit,
    /// Acknowledgements of the in-flight message at this place, whatever it expects.
    Puback(usize),
    Pubrec(usize),
    PubrecFailed(usize),
    Pubcomp(usize),
    Resume(u16),
}

fn steps() -> impl Strategy<Value = Step> {
    let qos = prop_oneof![Just(AtLeastOnce), Just(ExactlyOnce)];
    prop_oneof![
        2 => qos.clone().prop_map(Step::Enqueue),
        2 => qos.prop_map(Step::SendNow),
        6 => Just(Step::Transmit),
        2 => (0..8_usize).prop_map(Step::Puback),
        3 => (0..8_usize).prop_map(Step::Pubrec),
        1 => (0..8_usize).prop_map(Step::PubrecFailed),
        2 => (0..8_usize).prop_map(Step::Pubcomp),
        1 => (1..6_u16).prop_map(Step::Resume),
    ]
}

/// The rules of the specification, written down without any thought of speed.
#[derive(Debug, Default)]
struct Model {
    in_flight: Vec<Known>,
    waiting: Vec<(u32, QoS)>,
    receive_maximum: usize,
    pubrecs: u32,
    messages: u32,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    packet_id: PacketId,
    message: u32,
    qos: QoS,
    /// Which PUBREC released it.
    released: Option<u32>,
    /// Whether this connection has sent what is to be sent.
    sent: bool,
}

impl Model {
    fn open(&self) -> usize {
        self.in_flight.iter().filter(|known| known.sent || known.released.is_some()).count()
    }

    fn is_open(&self) -> bool {
        self.waiting.is_empty()
            && self.in_flight.iter().all(|known| known.sent)
            && self.open() < self.receive_maximum
    }

    fn learn(&mut self, packet_id: PacketId, message: u32, qos: QoS) {
        let used = self.in_flight.iter().any(|known| known.packet_id == packet_id);
        assert!(!used, "{packet_id:?} stands for another message");
        self.in_flight.push(Known { packet_id, message, qos, released: None, sent: true });
    }

    fn check_transmission(&mut self, sender: &mut Sender<u32>) {
        let open = self.open() < self.receive_maximum;
        let releases = self.in_flight.iter_mut().filter(|known| !known.sent);
        let release = releases
            .filter(|known| known.released.is_some())
            .min_by_key(|known| known.released.unwrap_or_default());
        if let Some(known) = release {
            let packet_id = known.packet_id;
            assert_eq!(sender.next_transmission(), Some(Transmission::Pubrel { packet_id }));
            known.sent = true;
        } else if let Some(known) = self.in_flight.iter_mut().find(|known| !known.sent) {
            let Known { packet_id, message, qos, .. } = *known;
            let message = &message;
            let repeated = Transmission::Publish { packet_id, message, qos, dup: true };
            assert_eq!(sender.next_transmission(), open.then_some(repeated));
            known.sent = open;
        } else if open && !self.waiting.is_empty() {
            let (expected, level) = self.waiting.remove(0);
            let Some(Transmission::Publish { packet_id, message, qos, dup: false }) =
                sender.next_transmission()
            else {
                panic!("message {expected} was not sent");
            };
            assert_eq!((*message, qos), (expected, level));
            self.learn(packet_id, expected, level);
        } else {
            assert_eq!(sender.next_transmission(), None);
        }
    }

    fn take(&mut self, sender: &mut Sender<u32>, step: Step) {
        let (Step::Puback(at) | Step::Pubrec(at) | Step::PubrecFailed(at) | Step::Pubcomp(at)) =
            step
        else {
            return;
        };
        let Some(known) = self.in_flight.get(at).copied() else { return };
        let (packet_id, message) = (known.packet_id, known.message);
        let fresh = known.released.is_none();
        let (right, done) = match step {
            Step::Puback(_) => (fresh && known.qos == AtLeastOnce, true),
            Step::PubrecFailed(_) => (fresh && known.qos == ExactlyOnce, true),
            Step::Pubrec(_) => (known.qos == ExactlyOnce, false),
            _ => (!fresh, true),
        };
        let result = match step {
            Step::Puback(_) => sender.on_puback(packet_id).map(Some),
            Step::PubrecFailed(_) => sender.on_pubrec_failed(packet_id).map(Some),
            Step::Pubrec(_) => sender.on_pubrec(packet_id),
            _ => sender.on_pubcomp(packet_id).map(|()| None),
        };
        let expected =
            if right { Ok(fresh.then_some(message)) } else { Err(SenderError::WrongStep) };
        assert_eq!(result, expected);
        if right && done {
            self.in_flight.remove(at);
        } else if right && fresh {
            self.pubrecs += 1;
            // The broker sends the first PUBREL itself.
            let released = Some(self.pubrecs);
            self.in_flight[at] = Known { released, sent: true, ..known };
        }
    }

    fn step(&mut self, sender: &mut Sender<u32>, step: Step) {
        match step {
            Step::Enqueue(qos) => {
                self.messages += 1;
                self.waiting.push((self.messages, qos));
                sender.enqueue(self.messages, qos);
            }
            Step::SendNow(qos) => {
                self.messages += 1;
                match sender.send_now(self.messages, qos) {
                    Ok(packet_id) => {
                        assert!(self.is_open(), "it passed others or the quota");
                        self.learn(packet_id, self.messages, qos);
                    }
                    Err(message) => {
                        assert_eq!(message, self.messages);
                        assert!(!self.is_open() || sender.has_releases());
                    }
                }
            }
            Step::Transmit => self.check_transmission(sender),
            Step::Resume(receive_maximum) => {
                self.receive_maximum = usize::from(receive_maximum);
                self.in_flight.iter_mut().for_each(|known| known.sent = false);
                sender.resume(receive_maximum);
            }
            acknowledged => self.take(sender, acknowledged),
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_events_keeps_order_quota_and_identifiers(
        first in prop_oneof![Just(0_u64), 65_520..65_540_u64],
        steps in prop::collection::vec(steps(), 1..120),
    ) {
        let mut sender = Sender::new(3);
        sender.first = first;
        let mut model = Model { receive_maximum: 3, ..Model::default() };
        for step in steps {
            model.step(&mut sender, step);
            prop_assert_eq!(sender.in_flight(), model.in_flight.len());
            prop_assert_eq!(sender.waiting(), model.waiting.len());
            // It is more careful only while a PUBREL is to be repeated that has become needless.
            let open = model.is_open() && !sender.has_releases();
            prop_assert_eq!(sender.is_open(), open);
            let left = model.receive_maximum.saturating_sub(model.open());
            prop_assert_eq!(usize::from(sender.quota()), left);
        }
    }
}
