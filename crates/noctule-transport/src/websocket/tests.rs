//! Frames against each other, and against bytes that no honest peer sends.

use std::io::IoSlice;

use proptest::prelude::*;

use tungstenite::protocol::Role;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::error::WebSocketError;
use super::frames::Frames;

const BINARY: OpCode = OpCode::Data(Data::Binary);
const CONTINUATION: OpCode = OpCode::Data(Data::Continue);
const CLOSE: OpCode = OpCode::Control(Control::Close);
const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);

fn client() -> Frames {
    Frames::new(Role::Client, 1 << 20)
}

fn server() -> Frames {
    Frames::new(Role::Server, 1 << 20)
}

/// A frame as a server sends it.
fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = FrameHeader { opcode, is_final, ..FrameHeader::default() };
    header.format(payload.len() as u64, &mut bytes).unwrap();
    bytes.extend_from_slice(payload);
    bytes
}

fn sent(frames: &mut Frames) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let pending = frames.pending().unwrap().to_vec();
        if pending.is_empty() {
            return all;
        }
        frames.on_sent(pending.len());
        all.extend(pending);
    }
}

fn received(frames: &mut Frames, bytes: &[u8], step: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for part in bytes.chunks(step) {
        let mut buffer = part.to_vec();
        let length = frames.on_bytes(&mut buffer).unwrap();
        payload.extend_from_slice(&buffer[..length]);
    }
    payload
}

#[track_caller]
fn check_refused(bytes: &[u8], expected: impl Fn(&WebSocketError) -> bool) {
    let mut frames = client();
    assert_eq!(received(&mut frames, bytes, bytes.len()), b"");
    let error = frames.is_open().unwrap_err();
    assert!(expected(&error), "{error:?}");
    let answer = sent(&mut frames);
    assert_eq!(answer.first(), Some(&0x88), "a close frame tells the peer");
}

#[test]
fn bytes_pass_both_ways_at_every_length_and_cut() {
    for length in [1, 2, 3, 4, 5, 125, 126, 127, 1000, 65_535, 65_536] {
        let payload: Vec<u8> = (0..length).map(|index: u32| index.to_le_bytes()[0]).collect();
        for (mut from, mut to) in [(client(), server()), (server(), client())] {
            assert_eq!(from.write(&[IoSlice::new(&payload)]).unwrap(), payload.len());
            let bytes = sent(&mut from);
            let step = if length < 2000 { 1 } else { 1021 };
            assert_eq!(received(&mut to, &bytes, step), payload, "{length}");
            assert_eq!(to.is_open(), Ok(true));
        }
    }
}

#[test]
fn pieces_are_joined_up_to_the_size_of_a_frame() {
    let mut frames = server();
    let large = vec![7; 70_000];
    let pieces = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(&large)];
    assert_eq!(frames.write(&pieces).unwrap(), 65_536);
    let bytes = sent(&mut frames);
    let payload = received(&mut client(), &bytes, bytes.len());
    assert_eq!(payload.len(), 65_536);
    assert_eq!(payload[..3], *b"ab\x07");
    assert_eq!(frames.write(&[IoSlice::new(b"")]).unwrap(), 0);
    assert_eq!(sent(&mut frames), b"");
}

#[test]
fn what_a_client_sends_is_masked_differently_each_time() {
    let mut frames = client();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        frames.write(&[IoSlice::new(&[0; 8])]).unwrap();
        let bytes = sent(&mut frames);
        assert_eq!(bytes[1] & 0x80, 0x80);
        seen.insert(bytes[2..6].to_vec());
    }
    assert!(seen.len() > 95, "{}", seen.len());
}

#[test]
fn a_fragmented_message_with_a_ping_inside_is_one_stream() {
    let bytes = [
        frame(BINARY, false, b"ab"),
        frame(PING, true, b"you there"),
        frame(CONTINUATION, false, b""),
        frame(PONG, true, b"unasked"),
        frame(CONTINUATION, true, b"cd"),
        frame(BINARY, true, b"ef"),
    ]
    .concat();
    for step in 1..=bytes.len() {
        let mut frames = client();
        assert_eq!(received(&mut frames, &bytes, step), b"abcdef", "{step}");
        let mut answer = sent(&mut frames);
        let length = answer.len();
        assert_eq!(answer.first(), Some(&0x8a));
        assert_eq!(server().on_bytes(&mut answer).unwrap(), 0);
        assert_eq!(length, 2 + 4 + b"you there".len());
    }
}

#[test]
fn a_flood_of_pings_is_answered_once_the_peer_reads() {
    let mut frames = client();
    for number in 0..10_000_u32 {
        received(&mut frames, &frame(PING, true, &number.to_be_bytes()), 99);
    }
    assert_eq!(sent(&mut frames).len(), 2 + 4 + 4);
}

#[test]
fn a_close_is_answered_and_ends_the_stream() {
    for payload in [&b""[..], b"\x03\xe8", b"\x03\xe9going"] {
        let mut frames = client();
        let bytes = [frame(BINARY, true, b"x"), frame(CLOSE, true, payload)];
        assert_eq!(received(&mut frames, &bytes.concat(), 99), b"x");
        assert_eq!(frames.is_open(), Ok(false));
        assert_eq!(sent(&mut frames).first(), Some(&0x88));
        assert!(frames.write(&[IoSlice::new(b"late")]).is_err());
        frames.close().unwrap();
        assert_eq!(sent(&mut frames), b"", "only one close frame is sent");
    }
}

#[test]
fn a_close_with_the_code_of_an_error_is_one() {
    let mut frames = client();
    let bytes = [frame(BINARY, true, b"x"), frame(CLOSE, true, b"\x03\xf0no")];
    assert_eq!(received(&mut frames, &bytes.concat(), 99), b"x", "what came before is told first");
    let expected = WebSocketError::Closed { code: 1008, reason: "no".into() };
    assert_eq!(frames.is_open(), Err(expected));
}

#[test]
fn a_text_frame_is_an_error() {
    check_refused(&[0x81, 0x01, b'a'], |error| *error == WebSocketError::TextFrame);
}

#[test]
fn frames_that_break_a_rule_are_refused() {
    let masked = [0x82, 0x81, 1, 2, 3, 4, 5];
    let long_ping = [&[0x89, 126, 0, 126][..], &[0; 126]].concat();
    for bytes in [
        &[0x83, 0x00][..],
        &[0xc2, 0x00],
        &[0x09, 0x00],
        &masked,
        &long_ping,
        &[0x82, 126, 0, 125],
        &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0x80, 0x00],
        &[0x02, 0x00, 0x82, 0x00],
        &[0x88, 0x01, 0x03],
        &[0x88, 0x02, 0x03, 0xed],
        &[0x88, 0x02, 0x00, 0x00],
        &[0x88, 0x03, 0x03, 0xe8, 0xff],
    ] {
        check_refused(bytes, |error| matches!(error, WebSocketError::Violation { .. }));
    }
    let mut frames = server();
    received(&mut frames, &frame(BINARY, true, b"unmasked"), 99);
    assert!(matches!(frames.is_open(), Err(WebSocketError::Violation { .. })));
}

#[test]
fn a_message_has_a_limit_over_all_its_frames() {
    let too_long =
        |error: &WebSocketError| *error == WebSocketError::MessageTooLong { limit: 1 << 20 };
    check_refused(&[0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 1], too_long);
    let mut frames = client();
    let part = frame(CONTINUATION, false, &[0; 1 << 16]);
    received(&mut frames, &frame(BINARY, false, b""), 99);
    for _ in 0..16 {
        assert_eq!(received(&mut frames, &part, 1 << 17).len(), 1 << 16);
        assert_eq!(frames.is_open(), Ok(true));
    }
    received(&mut frames, &frame(CONTINUATION, true, b"x"), 99);
    assert!(frames.is_open().is_err_and(|error| too_long(&error)));
}

#[test]
fn an_end_inside_a_frame_is_an_error() {
    let bytes = frame(BINARY, true, b"abc");
    for cut in 0..=bytes.len() {
        let mut frames = client();
        received(&mut frames, &bytes[..cut], 99);
        assert_eq!(frames.on_end().is_ok(), cut == 0 || cut == bytes.len(), "{cut}");
    }
}

#[test]
fn a_broken_rule_is_still_told_after_the_end() {
    // The second frame has a reserved bit; it comes byte by byte, so that a part of it is kept.
    let bytes = [&frame(BINARY, false, b"x")[..], &[0x1b, 0x80, 0, 0, 0, 0]].concat();
    for step in [1, bytes.len()] {
        let mut frames = client();
        received(&mut frames, &bytes, step);
        assert!(frames.on_end().is_ok());
        assert!(matches!(frames.is_open(), Err(WebSocketError::Violation { .. })));
    }
}

/// What a peer might send: whole frames, cut ones, and bytes of no kind.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let opcode =
        prop_oneof![Just(BINARY), Just(CONTINUATION), Just(PING), Just(PONG), Just(CLOSE),];
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    let whole = (opcode, any::<bool>(), payload)
        .prop_map(|(opcode, is_final, payload)| frame(opcode, is_final, &payload));
    let part = prop_oneof![9 => whole, 1 => proptest::collection::vec(any::<u8>(), 0..20)];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn the_borders_of_reads_change_nothing(bytes in anything(), step in 1..300_usize) {
        let mut at_once = client();
        let payload = received(&mut at_once, &bytes, bytes.len().max(1));
        let mut in_steps = client();
        prop_assert_eq!(received(&mut in_steps, &bytes, step), payload);
        prop_assert_eq!(in_steps.is_open(), at_once.is_open());
        let ends = [in_steps.on_end().is_ok(), at_once.on_end().is_ok()];
        prop_assert_eq!(ends[0], ends[1]);
        prop_assert!(sent(&mut in_steps).len() <= sent(&mut at_once).len() + 8 * 260);
    }
}
