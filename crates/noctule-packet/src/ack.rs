//! PUBACK, PUBREC, PUBREL and PUBCOMP: four packets of one form.

use alloc::vec::Vec;

use crate::property::{Properties, PropertyId, PropertyWriter};
use crate::wire::{Reader, put_packet, put_two_byte};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, ReasonCode, TextRules, UserProperties,
    Version,
};

/// The content of PUBACK, PUBREC, PUBREL and PUBCOMP.
///
/// ```
/// use noctule_packet::{Ack, PacketId, PacketType, ReasonCode, Version};
///
/// let ack = Ack::new(PacketId::new(7).unwrap(), ReasonCode::Success);
/// let mut out = Vec::new();
/// ack.encode_as(PacketType::Puback, Version::V5_0, &mut out).unwrap();
/// assert_eq!(out, [0x40, 2, 0, 7]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ack<'a> {
    /// The packet identifier of the PUBLISH.
    pub packet_id: PacketId,
    /// The outcome, not sent before 5.0.
    pub reason_code: ReasonCode,
    /// The reason in words, not sent before 5.0.
    pub reason_string: Option<&'a str>,
    /// The user properties, not sent before 5.0.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Ack<'a> {
    /// An acknowledgement without properties.
    pub const fn new(packet_id: PacketId, reason_code: ReasonCode) -> Self {
        Ack { packet_id, reason_code, reason_string: None, user_properties: UserProperties::new() }
    }

    /// Takes a PUBACK off the front of a stream that is successful and says nothing more, as nearly
    /// all are: its packet identifier, and what is behind it. `None` if anything else comes first,
    /// well-formed or not: [`split`](crate::split) and [`Ack::decode`] tell.
    #[inline]
    pub fn split_bare_puback(stream: &[u8]) -> Option<(PacketId, &[u8])> {
        const FIRST: u8 = PacketType::Puback.first_byte();
        let ([FIRST, 2, high, low], rest) = stream.split_first_chunk()? else { return None };
        Some((PacketId::new(u16::from_be_bytes([*high, *low]))?, rest))
    }

    /// Reads one of the four packets; `frame.packet_type` says which.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        let packet_type = frame.packet_type;
        if !is_ack(packet_type) {
            return Err(DecodeError::UnexpectedPacketType { packet_type });
        }
        frame.check(packet_type, version)?;
        let mut body = Reader::new(frame.body);
        let mut ack = Ack::new(body.packet_id(packet_type)?, ReasonCode::Success);
        // A packet that ends here means success, one that ends after the code has no properties.
        if version.is_v5() && !body.is_empty() {
            let value = body.byte()?;
            ack.reason_code = ReasonCode::from_value(value)
                // [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1]
                .filter(|code| code.allowed_in(packet_type))
                .ok_or(DecodeError::InvalidReasonCode { value, packet_type })?;
            if !body.is_empty() {
                ack.decode_properties(Properties::read(&mut body, packet_type, rules)?)?;
            }
        }
        body.finish()?;
        Ok(ack)
    }

    fn decode_properties(&mut self, mut properties: Properties<'a>) -> Result<(), DecodeError> {
        while let Some((property, value)) = properties.next()? {
            match property {
                PropertyId::ReasonString => self.reason_string = value.text(),
                other => return Err(properties.not_allowed(other)),
            }
        }
        self.user_properties = properties.user_properties();
        Ok(())
    }

    /// The bytes of a successful acknowledgement that says nothing more; `packet_type` is one of
    /// the four.
    #[inline]
    pub const fn bare(packet_type: PacketType, packet_id: PacketId) -> [u8; 4] {
        let [high, low] = packet_id.value().to_be_bytes();
        [packet_type.first_byte(), 2, high, low]
    }

    /// Appends one of the four packets.
    pub fn encode_as(
        &self,
        packet_type: PacketType,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if !is_ack(packet_type) {
            return Err(EncodeError::InvalidValue);
        }
        let [high, low] = self.packet_id.value().to_be_bytes();
        let first = packet_type.first_byte();
        let bare = self.reason_string.is_none() && self.user_properties.is_empty();
        // Nearly every acknowledgement is this one.
        if !version.is_v5() || (bare && self.reason_code == ReasonCode::Success) {
            out.extend_from_slice(&Self::bare(packet_type, self.packet_id));
            return Ok(());
        }
        // [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1]
        if !self.reason_code.allowed_in(packet_type) {
            return Err(EncodeError::InvalidValue);
        }
        if bare {
            out.extend_from_slice(&[first, 3, high, low, self.reason_code.value()]);
            return Ok(());
        }
        put_packet(out, first, |out| {
            put_two_byte(out, self.packet_id.value());
            out.push(self.reason_code.value());
            PropertyWriter::section(out, |to| {
                to.text(PropertyId::ReasonString, self.reason_string)?;
                to.user_properties(&self.user_properties);
                Ok(())
            })
        })
    }
}

const fn is_ack(packet_type: PacketType) -> bool {
    matches!(
        packet_type,
        PacketType::Puback | PacketType::Pubrec | PacketType::Pubrel | PacketType::Pubcomp
    )
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Framing, spec, split};

    fn decode(bytes: &[u8], version: Version) -> Result<Ack<'_>, DecodeError> {
        let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
        Ack::decode(&frame, version, TextRules::Strict)
    }

    fn check(bytes: &[u8], version: Version, code: Option<u8>) {
        let found = decode(bytes, version).err().map(|error| error.reason_code().value());
        assert_eq!(found, code, "{bytes:x?} {version}");
    }

    #[test]
    fn a_bare_puback_is_read_the_short_way_and_nothing_else_is() {
        let mut bare = 0;
        for first in 0..=0xFF {
            for rest in [&[2, 1, 2][..], &[2, 0, 0], &[1, 1], &[3, 1, 2, 0], &[0x82, 0, 1, 2]] {
                let bytes = [&[first], rest, &[9]].concat();
                let Some((found, behind)) = Ack::split_bare_puback(&bytes) else { continue };
                for version in [Version::V3_1, Version::V3_1_1, Version::V5_0] {
                    let Ok(Framing::Complete(frame)) = split(&bytes, 4) else { panic!() };
                    assert_eq!((frame.packet_type, behind), (PacketType::Puback, &[9][..]));
                    let ack = Ack::decode(&frame, version, TextRules::Strict).unwrap();
                    assert_eq!(ack, Ack::new(found, ReasonCode::Success), "{bytes:x?}");
                }
                bare += 1;
            }
        }
        assert_eq!(bare, 1);
        assert_eq!(Ack::split_bare_puback(&[0x40, 2, 1]), None);
    }

    #[test]
    fn short_forms_both_ways() {
        let id = PacketId::new(0x0102).unwrap();
        for (reason_code, bytes) in [
            (ReasonCode::Success, &[0x40, 2, 1, 2][..]),
            (ReasonCode::NoMatchingSubscribers, &[0x40, 3, 1, 2, 0x10]),
        ] {
            let ack = Ack::new(id, reason_code);
            let mut out = vec![];
            ack.encode_as(PacketType::Puback, Version::V5_0, &mut out).unwrap();
            assert_eq!(out, bytes);
            assert_eq!(decode(bytes, Version::V5_0), Ok(ack));
        }
        let success = Ok(Ack::new(id, ReasonCode::Success));
        assert_eq!(decode(&[0x40, 3, 1, 2, 0], Version::V5_0), success);
        assert_eq!(decode(&[0x40, 4, 1, 2, 0, 0], Version::V5_0), success);
    }

    #[test]
    fn a_packet_identifier_is_not_zero() {
        spec!("MQTT5-2.2.1-3", "MQTT311-2.3.1-1");
        for first in [0x40, 0x50, 0x62, 0x70] {
            check(&[first, 2, 0, 0], Version::V5_0, Some(0x82));
            check(&[first, 2, 0, 0], Version::V3_1_1, Some(0x82));
        }
    }

    #[test]
    fn lengths_are_exact() {
        check(&[0x40, 3, 0, 1, 0], Version::V3_1_1, Some(0x81));
        check(&[0x40, 1, 1], Version::V5_0, Some(0x81));
        check(&[0x40, 0], Version::V5_0, Some(0x81));
        check(&[0x40, 5, 0, 1, 0, 0, 0], Version::V5_0, Some(0x81));
        check(&[0x40, 4, 0, 1, 0, 1], Version::V5_0, Some(0x81));
    }

    #[test]
    fn reason_codes_belong_to_the_packet() {
        spec!("MQTT5-3.4.2-1", "MQTT5-3.5.2-1", "MQTT5-3.6.2-1", "MQTT5-3.7.2-1");
        for first in [0x40_u8, 0x50, 0x62, 0x70] {
            let packet_type = PacketType::from_value(first >> 4).unwrap();
            for value in 0..=u8::MAX {
                let code = ReasonCode::from_value(value).filter(|c| c.allowed_in(packet_type));
                let expected = if code.is_some() { None } else { Some(0x82) };
                check(&[first, 3, 0, 1, value], Version::V5_0, expected);
            }
            let ack = Ack::new(PacketId::new(1).unwrap(), ReasonCode::ServerBusy);
            let mut out = vec![];
            let encoded = ack.encode_as(packet_type, Version::V5_0, &mut out);
            assert_eq!((encoded, out.len()), (Err(EncodeError::InvalidValue), 0));
        }
    }

    #[test]
    fn before_5_0_there_is_no_reason_code() {
        let mut ack = Ack::new(PacketId::new(1).unwrap(), ReasonCode::NotAuthorized);
        ack.reason_string = Some("no");
        for version in [Version::V3_1, Version::V3_1_1] {
            let mut out = vec![];
            ack.encode_as(PacketType::Pubrec, version, &mut out).unwrap();
            assert_eq!(out, [0x50, 2, 0, 1]);
        }
    }
}
