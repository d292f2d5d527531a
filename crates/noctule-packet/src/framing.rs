//! Cutting a stream of bytes into control packets.

use crate::wire::variable_length;
use crate::{DecodeError, PacketType, Version};

/// One whole control packet in a buffer, its body not looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The packet's type.
    pub packet_type: PacketType,
    /// The lower four bits of the first byte.
    pub flags: u8,
    /// Everything after the remaining length.
    pub body: &'a [u8],
    /// The bytes of the whole packet: what to take off the buffer.
    pub length: usize,
}

/// What the front of a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing<'a> {
    /// A whole packet.
    Complete(Frame<'a>),
    /// The beginning of a packet.
    Partial {
        /// The packet has at least this many bytes, always more than the buffer holds.
        needed: usize,
    },
}

/// Looks at the packet that begins with the buffer's first byte.
///
/// A packet type that does not exist, a remaining length of more than four bytes and a packet
/// larger than `maximum_packet_size` are errors as soon as the bytes that show it are there.
/// Nothing is ever allocated. What the flags may be depends on the version, so `decode` checks
/// them.
///
/// ```
/// use noctule_packet::{Framing, PacketType, split};
///
/// let stream = [0xC0, 0x00, 0x40, 0x02, 0x00];
/// let Ok(Framing::Complete(frame)) = split(&stream, 1_024) else { panic!() };
/// assert_eq!((frame.packet_type, frame.length), (PacketType::Pingreq, 2));
/// assert_eq!(split(&stream[2..], 1_024), Ok(Framing::Partial { needed: 4 }));
/// ```
pub fn split(buffer: &[u8], maximum_packet_size: u32) -> Result<Framing<'_>, DecodeError> {
    let Some((&first, rest)) = buffer.split_first() else {
        return Ok(Framing::Partial { needed: 2 });
    };
    let packet_type = PacketType::from_value(first >> 4).ok_or(DecodeError::ReservedPacketType)?;
    let flags = first & 0x0F;
    let mut remaining = 0_usize;
    for (index, shift) in [0, 7, 14, 21].into_iter().enumerate() {
        let Some(&byte) = rest.get(index) else {
            return Ok(Framing::Partial { needed: buffer.len() + 1 });
        };
        remaining |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            let header = index + 2;
            return complete(buffer, packet_type, flags, header, remaining, maximum_packet_size);
        }
    }
    // [MQTT31-2.1-3]
    Err(DecodeError::RemainingLengthTooLong)
}

fn complete(
    buffer: &[u8],
    packet_type: PacketType,
    flags: u8,
    header: usize,
    remaining: usize,
    maximum: u32,
) -> Result<Framing<'_>, DecodeError> {
    let size = header + remaining;
    if u32::try_from(size).map_or(true, |size| size > maximum) {
        // [MQTT5-3.2.2-15]
        return Err(DecodeError::PacketTooLarge { size, maximum });
    }
    Ok(match buffer.get(header..size) {
        Some(body) => Framing::Complete(Frame { packet_type, flags, body, length: size }),
        None => Framing::Partial { needed: size },
    })
}

const QOS: u8 = 0b0110;

impl Frame<'_> {
    /// What every `decode` asks first: the right packet, with a header of this version?
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnexpectedPacketType`] for another packet,
    /// [`DecodeError::VariableByteIntegerNotMinimal`] for a padded remaining length in 5.0, and
    /// [`DecodeError::ReservedFlags`] for flags that the version does not give this packet.
    pub fn check(&self, packet_type: PacketType, version: Version) -> Result<(), DecodeError> {
        if self.packet_type != packet_type {
            return Err(DecodeError::UnexpectedPacketType { packet_type: self.packet_type });
        }
        // [MQTT5-1.5.5-1] 3.1 and 3.1.1 do not forbid a padded remaining length.
        if version.is_v5() && !self.is_minimal() {
            return Err(DecodeError::VariableByteIntegerNotMinimal);
        }
        let fixed = packet_type.flags();
        let right = match version {
            _ if packet_type == PacketType::Publish => true,
            // [MQTT31-2.1-1] [MQTT31-2.6-1] 3.1 ignores bits that a packet does not use; of the
            // three that use QoS it also allows a repetition with DUP.
            // [MQTT31-3.6-1] [MQTT31-3.8-1] [MQTT31-3.10-1]
            Version::V3_1 => fixed == 0 || self.flags & QOS == fixed,
            // [MQTT5-2.1.3-1] [MQTT311-2.2.2-1] [MQTT311-2.2.2-2] [MQTT5-3.14.1-1]
            // [MQTT311-3.14.1-1] [MQTT5-3.15.1-1] [MQTT5-3.6.1-1] [MQTT311-3.6.1-1]
            // [MQTT5-3.8.1-1] [MQTT311-3.8.1-1] [MQTT5-3.10.1-1] [MQTT311-3.10.1-1]
            Version::V3_1_1 | Version::V5_0 => self.flags == fixed,
        };
        if right { Ok(()) } else { Err(DecodeError::ReservedFlags { packet_type }) }
    }

    /// Whether the remaining length takes no more bytes than it must.
    pub(crate) const fn is_minimal(&self) -> bool {
        self.length == 1 + variable_length(self.body.len()) + self.body.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Packet, TextRules, spec};

    fn check(bytes: &[u8], expected: Result<Framing<'_>, DecodeError>) {
        assert_eq!(split(bytes, 1_000), expected, "{bytes:x?}");
    }

    #[test]
    fn parts_say_how_much_is_needed() {
        for (bytes, needed) in [
            (&[][..], 2),
            (&[0x30], 2),
            (&[0x30, 0x80], 3),
            (&[0x30, 0x80, 0x80], 4),
            (&[0x30, 0x80, 0x80, 0x80], 5),
            (&[0x30, 0x05], 7),
            (&[0x30, 0x05, 0, 0, 0, 0], 7),
            (&[0x30, 0x80, 0x01, 0], 131),
        ] {
            check(bytes, Ok(Framing::Partial { needed }));
        }
    }

    #[test]
    fn what_follows_is_left_alone() {
        let bytes = [0x40, 0x02, 0x00, 0x01, 0xFF];
        let body = &bytes[2..4];
        let frame = Frame { packet_type: PacketType::Puback, flags: 0, body, length: 4 };
        check(&bytes, Ok(Framing::Complete(frame)));
    }

    #[test]
    fn the_first_bad_byte_is_enough() {
        spec!("MQTT31-2.1-3", "MQTT5-3.2.2-15");
        check(&[0x00], Err(DecodeError::ReservedPacketType));
        check(&[0x0A, 0xC0], Err(DecodeError::ReservedPacketType));
        check(&[0x10, 0x80, 0x80, 0x80, 0x80], Err(DecodeError::RemainingLengthTooLong));
        // Four bytes are not too many: what they say is judged.
        check(
            &[0x30, 0x80, 0x80, 0x80, 0x01],
            Err(DecodeError::PacketTooLarge { size: 2_097_157, maximum: 1_000 }),
        );
        check(
            &[0x30, 0xE7, 0x07],
            Err(DecodeError::PacketTooLarge { size: 1_002, maximum: 1_000 }),
        );
        check(&[0x30, 0xE5, 0x07], Ok(Framing::Partial { needed: 1_000 }));
    }

    #[test]
    fn reserved_flags_are_refused() {
        spec!("MQTT5-2.1.3-1", "MQTT311-2.2.2-1", "MQTT311-2.2.2-2", "MQTT5-3.14.1-1");
        spec!("MQTT311-3.14.1-1", "MQTT5-3.15.1-1", "MQTT5-3.6.1-1", "MQTT311-3.6.1-1");
        spec!("MQTT5-3.8.1-1", "MQTT311-3.8.1-1", "MQTT5-3.10.1-1", "MQTT311-3.10.1-1");
        for first in 0x10..=u8::MAX {
            let packet_type = PacketType::from_value(first >> 4).unwrap();
            if packet_type == PacketType::Publish {
                continue;
            }
            for version in [Version::V3_1_1, Version::V5_0] {
                let bytes = [first, 0];
                let decoded = split(&bytes, 10).and_then(|framing| match framing {
                    Framing::Complete(frame) => frame.check(packet_type, version),
                    Framing::Partial { .. } => unreachable!("two bytes are a packet"),
                });
                let right = first & 0x0F == packet_type.flags();
                let expected =
                    if right { Ok(()) } else { Err(DecodeError::ReservedFlags { packet_type }) };
                assert_eq!(decoded, expected, "{first:#x} {version}");
            }
        }
    }

    #[test]
    fn unused_flags_of_3_1_are_ignored() {
        spec!("MQTT31-2.1-1", "MQTT31-2.6-1", "MQTT31-3.6-1", "MQTT31-3.8-1", "MQTT31-3.10-1");
        for (first, right) in [
            (0x14_u8, true),
            (0xCF, true),
            (0xE1, true),
            (0x62, true),
            (0x6A, true),
            (0x8A, true),
            (0xAA, true),
            (0x60, false),
            (0x84, false),
            (0xA6, false),
        ] {
            let packet_type = PacketType::from_value(first >> 4).unwrap();
            let frame = Frame { packet_type, flags: first & 0x0F, body: &[], length: 2 };
            assert_eq!(frame.check(packet_type, Version::V3_1).is_ok(), right, "{first:#x}");
        }
    }

    #[test]
    fn a_padded_remaining_length_is_for_3_only() {
        spec!("MQTT5-1.5.5-1");
        let Ok(Framing::Complete(frame)) = split(&[0xC0, 0x80, 0x00], 10) else { panic!() };
        let decode = |version| Packet::decode(&frame, version, TextRules::Strict);
        assert_eq!(decode(Version::V3_1_1), Ok(Packet::Pingreq));
        assert_eq!(decode(Version::V5_0), Err(DecodeError::VariableByteIntegerNotMinimal));
    }
}
