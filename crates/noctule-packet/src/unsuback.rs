//! UNSUBACK: the server's answer to UNSUBSCRIBE.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::property::{Properties, PropertyId, PropertyWriter};
use crate::wire::{Reader, put_packet, put_two_byte};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, ReasonCode, TextRules, UserProperties,
    Version,
};

/// The server's answer to UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsuback<'a> {
    /// The packet identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// The reason in words (5.0 only).
    pub reason_string: Option<&'a str>,
    /// The user properties (5.0 only).
    pub user_properties: UserProperties<'a>,
    /// One code for each topic filter, in the order of the UNSUBSCRIBE (5.0 only).
    pub reason_codes: Cow<'a, [ReasonCode]>,
}

impl<'a> Unsuback<'a> {
    /// An answer without properties.
    pub fn new(packet_id: PacketId, reason_codes: impl Into<Cow<'a, [ReasonCode]>>) -> Self {
        Unsuback {
            packet_id,
            reason_string: None,
            user_properties: UserProperties::new(),
            reason_codes: reason_codes.into(),
        }
    }

    /// Reads an UNSUBACK.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        frame.check(PacketType::Unsuback, version)?;
        let mut body = Reader::new(frame.body);
        let packet_id = body.packet_id(PacketType::Unsuback)?;
        let mut answer = Unsuback::new(packet_id, Vec::new());
        if !version.is_v5() {
            body.finish()?;
            return Ok(answer);
        }
        answer.decode_properties(Properties::read(&mut body, PacketType::Unsuback, rules)?)?;
        if body.is_empty() {
            return Err(DecodeError::NoReasonCode);
        }
        // [MQTT5-3.11.3-1] [MQTT5-3.11.3-2]
        let codes = body.rest().iter().map(|&value| decode_code(value));
        answer.reason_codes = Cow::Owned(codes.collect::<Result<_, _>>()?);
        Ok(answer)
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

    /// Appends the packet; before 5.0 the packet identifier is all there is.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        put_packet(out, PacketType::Unsuback.first_byte(), |out| {
            put_two_byte(out, self.packet_id.value());
            if !version.is_v5() {
                return Ok(());
            }
            // [MQTT5-3.11.3-2]
            if !self.reason_codes.iter().all(|code| code.allowed_in(PacketType::Unsuback)) {
                return Err(EncodeError::InvalidValue);
            }
            // There is no UNSUBSCRIBE that this would answer; one that came in 3.x has no codes.
            if self.reason_codes.is_empty() {
                return Err(EncodeError::InvalidValue);
            }
            PropertyWriter::section(out, |to| {
                to.text(PropertyId::ReasonString, self.reason_string)?;
                to.user_properties(&self.user_properties);
                Ok(())
            })?;
            // [MQTT5-3.11.3-1]
            out.extend(self.reason_codes.iter().map(|code| code.value()));
            Ok(())
        })
    }
}

fn decode_code(value: u8) -> Result<ReasonCode, DecodeError> {
    let packet_type = PacketType::Unsuback;
    ReasonCode::from_value(value)
        .filter(|code| code.allowed_in(packet_type))
        .ok_or(DecodeError::InvalidReasonCode { value, packet_type })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Framing, spec, split};

    fn decode(bytes: &[u8], version: Version) -> Result<usize, u8> {
        let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
        match Unsuback::decode(&frame, version, TextRules::Strict) {
            Ok(answer) => Ok(answer.reason_codes.len()),
            Err(error) => Err(error.reason_code().value()),
        }
    }

    #[test]
    fn codes_stand_in_order() {
        spec!("MQTT5-3.11.3-1");
        let codes = [ReasonCode::NoSubscriptionExisted, ReasonCode::Success];
        let answer = Unsuback::new(PacketId::new(1).unwrap(), &codes[..]);
        for (version, bytes) in [
            (Version::V5_0, &[0xB0, 5, 0, 1, 0, 0x11, 0][..]),
            (Version::V3_1_1, &[0xB0, 2, 0, 1]),
            (Version::V3_1, &[0xB0, 2, 0, 1]),
        ] {
            let mut out = vec![];
            answer.encode(version, &mut out).unwrap();
            assert_eq!(out, bytes, "{version}");
        }
    }

    #[test]
    fn an_answer_without_codes_is_for_3_only() {
        let answer = Unsuback::new(PacketId::MIN, Vec::new());
        let mut out = vec![];
        assert_eq!(answer.encode(Version::V5_0, &mut out), Err(EncodeError::InvalidValue));
        assert!(out.is_empty());
        assert_eq!(answer.encode(Version::V3_1_1, &mut out), Ok(()));
    }

    #[test]
    fn codes_of_other_packets_are_refused() {
        spec!("MQTT5-3.11.3-2");
        let answer = Unsuback::new(PacketId::new(1).unwrap(), &[ReasonCode::ServerBusy][..]);
        let mut out = vec![];
        assert_eq!(answer.encode(Version::V5_0, &mut out), Err(EncodeError::InvalidValue));
        assert_eq!(decode(&[0xB0, 4, 0, 1, 0, 0x01], Version::V5_0), Err(0x82));
        assert_eq!(decode(&[0xB0, 3, 0, 1, 0], Version::V5_0), Err(0x81));
        assert_eq!(decode(&[0xB0, 3, 0, 1, 0], Version::V3_1_1), Err(0x81));
        assert_eq!(decode(&[0xB0, 5, 0, 1, 0, 0x11, 0], Version::V5_0), Ok(2));
    }
}
