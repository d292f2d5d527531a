//! Tests of the outbound buffer against one plain list of bytes.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use noctule_packet::{ForwardedProperties, QoS};
use proptest::prelude::*;

use super::{COMPACT_BYTES, Outbound};
use crate::message::Message;

fn message(payload: &[u8]) -> Arc<Message> {
    Arc::new(Message {
        topic: "t".into(),
        payload: payload.into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: ForwardedProperties::empty(),
        expires_at: None,
    })
}

fn waiting(outbound: &Outbound) -> Vec<u8> {
    outbound.chunks().flatten().copied().collect()
}

#[derive(Clone, Debug)]
enum Step {
    Copy(Vec<u8>),
    Share(Vec<u8>),
    /// How many thousandths of what waits are written.
    Write(usize),
    /// One byte more than waits is written, which a driver would not do.
    WriteTooMuch,
    TakeSpare,
    Lend,
}

fn steps() -> impl Strategy<Value = Step> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
    prop_oneof![
        4 => bytes(40).prop_map(Step::Copy),
        3 => bytes(60).prop_map(Step::Share),
        5 => (0..=1_000_usize).prop_map(Step::Write),
        1 => Just(Step::WriteTooMuch),
        1 => Just(Step::TakeSpare),
        1 => Just(Step::Lend),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_what_was_put_in(steps in prop::collection::vec(steps(), 1..80)) {
        let mut outbound = Outbound::default();
        let mut model: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Copy(bytes) => {
                    outbound.buffer().extend_from_slice(&bytes);
                    model.extend(bytes);
                }
                Step::Share(bytes) => {
                    outbound.share_payload(message(&bytes));
                    model.extend(bytes);
                }
                Step::Write(thousandths) => {
                    let count = model.len() * thousandths / 1_000;
                    outbound.advance(count);
                    model.drain(..count);
                }
                Step::WriteTooMuch => {
                    outbound.advance(model.len() + 1);
                    model.clear();
                }
                Step::TakeSpare => {
                    let spare = outbound.take_spare();
                    prop_assert!(spare.is_none_or(|spare| spare.is_empty()) || model.is_empty());
                }
                Step::Lend => outbound.lend(Vec::with_capacity(16)),
            }
            prop_assert_eq!(outbound.len(), model.len());
            prop_assert_eq!(outbound.is_empty(), model.is_empty());
            prop_assert!(outbound.chunks().all(|chunk| !chunk.is_empty()));
            prop_assert_eq!(waiting(&outbound), &model[..]);
        }
    }
}

#[test]
fn a_buffer_that_never_runs_empty_does_not_grow() {
    let mut outbound = Outbound::default();
    outbound.buffer().extend_from_slice(&[0; 1_000]);
    for round in 0..10_000_u32 {
        outbound.buffer().extend_from_slice(&[round.to_le_bytes()[0]; 1_000]);
        outbound.advance(1_000);
    }
    assert_eq!(waiting(&outbound), vec![9_999_u32.to_le_bytes()[0]; 1_000]);
    let memory = outbound.buffer().capacity();
    assert!(memory <= 4 * COMPACT_BYTES, "{memory} bytes");
}

#[test]
fn shared_payloads_keep_their_place_when_the_buffer_is_compacted() {
    let mut outbound = Outbound::default();
    outbound.buffer().extend_from_slice(&[1; COMPACT_BYTES + 10]);
    outbound.share_payload(message(&[2; 5]));
    outbound.buffer().extend_from_slice(&[3; 5]);
    outbound.share_payload(message(&[4; 5]));
    outbound.advance(COMPACT_BYTES + 2);
    assert_eq!(outbound.buffer().len(), 13, "it was not compacted");
    let expected = [&[1; 8][..], &[2; 5], &[3; 5], &[4; 5]].concat();
    assert_eq!(waiting(&outbound), expected);
    outbound.advance(10);
    assert_eq!(waiting(&outbound), expected[10..]);
}

#[test]
fn a_shared_payload_is_not_copied() {
    let shared = message(&[7; 100]);
    let mut outbound = Outbound::default();
    outbound.buffer().extend_from_slice(b"head");
    outbound.share_payload(Arc::clone(&shared));
    let place = outbound.chunks().nth(1).map(<[u8]>::as_ptr);
    assert_eq!(place, Some(shared.payload.as_ptr()));
    outbound.advance(104);
    assert_eq!(Arc::strong_count(&shared), 1, "it is let go when it is written");
}

#[test]
fn memory_is_lent_only_to_who_has_none() {
    let mut outbound = Outbound::default();
    outbound.lend(Vec::with_capacity(64));
    assert!(outbound.has_memory());
    outbound.buffer().push(1);
    assert_eq!(outbound.take_spare(), None, "a byte waits");
    outbound.lend(Vec::with_capacity(128));
    assert_eq!(waiting(&outbound), [1]);
    outbound.advance(1);
    assert!(outbound.take_spare().is_some_and(|spare| spare.capacity() == 64));
    assert!(!outbound.has_memory());
}
