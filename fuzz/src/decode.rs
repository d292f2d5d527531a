//! Any bytes, cut and decoded in every version and under both text rules.

use noctule_packet::{
    Ack, Auth, Connack, Connect, DecodeError, Disconnect, Frame, Framing, Packet, PacketType,
    Pingreq, Pingresp, Publish, Suback, Subscribe, TextRules, Unsuback, Unsubscribe, Version,
    split,
};

use crate::allocation::peak_of;

pub(crate) const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];

/// What decoding a packet may take at its peak: so many times its bytes, and this. The worst case
/// is a PUBLISH full of subscription identifiers: two bytes on the wire, four in a list that has
/// just grown to twice its size while the old one is still there.
const MEMORY_FACTOR: usize = 8;
const MEMORY_BASE: usize = 1_024;

pub(crate) fn check(data: &[u8]) {
    let mut rest = data;
    loop {
        check_cuts(rest);
        let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) else { return };
        check_frame(&frame);
        rest = &rest[frame.length..];
    }
}

/// A stream may be cut anywhere: what is said about a part never contradicts the whole.
fn check_cuts(rest: &[u8]) {
    let whole = split(rest, u32::MAX);
    let (end, size) = match whole {
        Ok(Framing::Complete(frame)) => (frame.length, frame.length),
        Ok(Framing::Partial { needed }) => (rest.len(), needed),
        Err(_) => (rest.len(), usize::MAX),
    };
    assert!(end <= rest.len());
    let mut needed_before = 0;
    for cut in 0..=end {
        match split(&rest[..cut], u32::MAX) {
            Ok(Framing::Partial { needed }) => {
                assert!(needed > cut, "{cut} bytes are there, {needed} are asked for");
                assert!(needed >= needed_before, "less is asked for than before");
                assert!(needed <= size, "{needed} bytes are asked for, {size} are declared");
                needed_before = needed;
            }
            part => assert_eq!(part, whole, "{cut} of {end} bytes"),
        }
    }
    for maximum in [2_u32, 5, 64, 130, 16_386] {
        let limited = split(rest, maximum);
        match whole {
            Ok(Framing::Complete(frame)) if frame.length > maximum as usize => {
                let size = frame.length;
                assert_eq!(limited, Err(DecodeError::PacketTooLarge { size, maximum }));
            }
            Ok(Framing::Partial { needed }) => {
                let too_large = matches!(limited, Err(DecodeError::PacketTooLarge { .. }));
                assert!(limited == whole || (too_large && needed > maximum as usize));
            }
            _ => assert_eq!(limited, whole, "at most {maximum} bytes"),
        }
    }
}

fn check_frame(frame: &Frame<'_>) {
    for version in VERSIONS {
        let lenient = decode(frame, version, TextRules::Lenient);
        let strict = decode(frame, version, TextRules::Strict);
        // Strict rules refuse more, and change nothing that they let pass.
        assert!(strict.is_err() || strict == lenient, "{strict:?} is not {lenient:?}");
        check_types(frame, version);
    }
}

fn decode<'a>(
    frame: &Frame<'a>,
    version: Version,
    rules: TextRules,
) -> Result<Packet<'a>, DecodeError> {
    let (decoded, peak) = peak_of(|| Packet::decode(frame, version, rules));
    let bound = MEMORY_FACTOR * frame.length + MEMORY_BASE;
    assert!(peak <= bound, "{peak} bytes of memory for {} of {version}", frame.length);
    match &decoded {
        Ok(packet) => {
            assert_eq!(packet.packet_type(), frame.packet_type);
            check_lists(packet);
            assert!(!format!("{packet:?}").is_empty());
        }
        Err(error) => {
            assert!(error.reason_code().is_error(), "{error:?} has {}", error.reason_code());
            assert!(error.statement().is_none_or(|statement| statement.starts_with("MQTT")));
            assert!(!error.to_string().is_empty());
        }
    }
    decoded
}

/// Lists that stay in their wire form have as many entries as they say.
fn check_lists(packet: &Packet<'_>) {
    let user_properties = match packet {
        Packet::Connect(connect) => {
            if let Some(will) = &connect.will {
                let list = &will.properties.user_properties;
                assert_eq!(list.iter().count(), list.len());
            }
            &connect.properties.user_properties
        }
        Packet::Connack(packet) => &packet.properties.user_properties,
        Packet::Publish(packet) => &packet.properties.user_properties,
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            &ack.user_properties
        }
        Packet::Subscribe(packet) => {
            assert_eq!(packet.subscriptions.iter().count(), packet.subscriptions.len());
            &packet.user_properties
        }
        Packet::Suback(packet) => &packet.user_properties,
        Packet::Unsubscribe(packet) => {
            assert_eq!(packet.filters.iter().count(), packet.filters.len());
            &packet.user_properties
        }
        Packet::Unsuback(packet) => &packet.user_properties,
        Packet::Pingreq | Packet::Pingresp => return,
        Packet::Disconnect(packet) => &packet.user_properties,
        Packet::Auth(packet) => &packet.user_properties,
    };
    assert_eq!(user_properties.iter().count(), user_properties.len());
}

/// The `decode` of each type takes its own packets and no others.
fn check_types(frame: &Frame<'_>, version: Version) {
    use PacketType as T;
    let rules = TextRules::Lenient;
    let found = frame.packet_type;
    let whole = Packet::decode(frame, version, rules).map(|_| ());
    let check = |own: &[PacketType], result: Result<(), DecodeError>| {
        if own.contains(&found) {
            assert_eq!(result, whole);
        } else {
            assert!(result.is_err(), "{found} was taken for {own:?}");
        }
    };
    if found != T::Connect {
        assert!(Connect::decode(frame, rules).is_err());
    }
    check(&[T::Connack], Connack::decode(frame, version, rules).map(|_| ()));
    check(&[T::Publish], Publish::decode(frame, version, rules).map(|_| ()));
    let acks = [T::Puback, T::Pubrec, T::Pubrel, T::Pubcomp];
    check(&acks, Ack::decode(frame, version, rules).map(|_| ()));
    check(&[T::Subscribe], Subscribe::decode(frame, version, rules).map(|_| ()));
    check(&[T::Suback], Suback::decode(frame, version, rules).map(|_| ()));
    check(&[T::Unsubscribe], Unsubscribe::decode(frame, version, rules).map(|_| ()));
    check(&[T::Unsuback], Unsuback::decode(frame, version, rules).map(|_| ()));
    check(&[T::Pingreq], Pingreq::decode(frame, version, rules).map(|_| ()));
    check(&[T::Pingresp], Pingresp::decode(frame, version, rules).map(|_| ()));
    check(&[T::Disconnect], Disconnect::decode(frame, version, rules).map(|_| ()));
    check(&[T::Auth], Auth::decode(frame, version, rules).map(|_| ()));
}
