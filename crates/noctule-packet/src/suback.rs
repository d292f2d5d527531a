//! SUBACK: the server's answer to SUBSCRIBE.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::property::{Properties, PropertyId, PropertyWriter};
use crate::wire::{Reader, put_packet, put_two_byte};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, ReasonCode, TextRules, UserProperties,
    Version,
};

/// The server's answer to SUBSCRIBE.
#[derive(Clone, Debug, PartialEq)]
pub struct Suback<'a> {
    /// The packet identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The reason in words (5.0 only).
    pub reason_string: Option<&'a str>,
    /// The user properties (5.0 only).
    pub user_properties: UserProperties<'a>,
    /// One code for each topic filter, in the order of the SUBSCRIBE.
    pub reason_codes: Cow<'a, [ReasonCode]>,
}

impl<'a> Suback<'a> {
    /// An answer without properties.
    pub fn new(packet_id: PacketId, reason_codes: impl Into<Cow<'a, [ReasonCode]>>) -> Self {
        Suback {
            packet_id,
            reason_string: None,
            user_properties: UserProperties::new(),
            reason_codes: reason_codes.into(),
        }
    }

    /// Reads a SUBACK.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        frame.check(PacketType::Suback, version)?;
        let mut body = Reader::new(frame.body);
        let packet_id = body.packet_id(PacketType::Suback)?;
        let mut answer = Suback::new(packet_id, Vec::new());
        if version.is_v5() {
            answer.decode_properties(Properties::read(&mut body, PacketType::Suback, rules)?)?;
        }
        if body.is_empty() {
            return Err(DecodeError::NoReasonCode);
        }
        // [MQTT5-3.9.3-1] [MQTT311-3.9.3-1] [MQTT5-3.9.3-2] [MQTT311-3.9.3-2]
        let codes = body.rest().iter().map(|&value| decode_code(value, version));
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

    /// Appends the packet; before 5.0 every failure is 0x80.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        // [MQTT5-3.9.3-2]
        if !self.reason_codes.iter().all(|code| code.allowed_in(PacketType::Suback)) {
            return Err(EncodeError::InvalidValue);
        }
        // There is no SUBSCRIBE that this would answer.
        if self.reason_codes.is_empty() {
            return Err(EncodeError::InvalidValue);
        }
        put_packet(out, PacketType::Suback.first_byte(), |out| {
            put_two_byte(out, self.packet_id.value());
            if version.is_v5() {
                PropertyWriter::section(out, |to| {
                    to.text(PropertyId::ReasonString, self.reason_string)?;
                    to.user_properties(&self.user_properties);
                    Ok(())
                })?;
            }
            // [MQTT5-3.9.3-1] [MQTT311-3.9.3-1]
            out.extend(self.reason_codes.iter().map(|code| code_byte(*code, version)));
            Ok(())
        })
    }
}

fn code_byte(code: ReasonCode, version: Version) -> u8 {
    // [MQTT311-3.9.3-2]
    if code.is_error() && !version.is_v5() {
        return ReasonCode::UnspecifiedError.value();
    }
    code.value()
}

fn decode_code(value: u8, version: Version) -> Result<ReasonCode, DecodeError> {
    let packet_type = PacketType::Suback;
    ReasonCode::from_value(value)
        .filter(|code| code.allowed_in(packet_type) && code_byte(*code, version) == value)
        .ok_or(DecodeError::InvalidReasonCode { value, packet_type })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Framing, spec, split};

    fn decode(bytes: &[u8], version: Version) -> Result<usize, u8> {
        let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
        match Suback::decode(&frame, version, TextRules::Strict) {
            Ok(answer) => Ok(answer.reason_codes.len()),
            Err(error) => Err(error.reason_code().value()),
        }
    }

    #[test]
    fn codes_stand_in_order() {
        spec!("MQTT5-3.9.3-1", "MQTT311-3.9.3-1", "MQTT311-3.9.3-2");
        let codes = [ReasonCode::GrantedQos2, ReasonCode::NotAuthorized, ReasonCode::Success];
        let answer = Suback::new(PacketId::new(1).unwrap(), &codes[..]);
        for (version, bytes) in [
            (Version::V5_0, &[0x90, 6, 0, 1, 0, 2, 0x87, 0][..]),
            (Version::V3_1_1, &[0x90, 5, 0, 1, 2, 0x80, 0]),
        ] {
            let mut out = vec![];
            answer.encode(version, &mut out).unwrap();
            assert_eq!(out, bytes, "{version}");
        }
    }

    #[test]
    fn an_answer_without_codes_is_not_written() {
        let answer = Suback::new(PacketId::MIN, Vec::new());
        for version in [Version::V5_0, Version::V3_1_1] {
            let mut out = vec![];
            assert_eq!(answer.encode(version, &mut out), Err(EncodeError::InvalidValue));
            assert!(out.is_empty());
        }
    }

    #[test]
    fn codes_of_other_packets_are_refused() {
        spec!("MQTT5-3.9.3-2", "MQTT311-3.9.3-2");
        let answer = Suback::new(PacketId::new(1).unwrap(), &[ReasonCode::ServerBusy][..]);
        for version in [Version::V5_0, Version::V3_1_1] {
            let mut out = vec![];
            assert_eq!(answer.encode(version, &mut out), Err(EncodeError::InvalidValue));
        }
        for value in 0..=u8::MAX {
            let expected = if matches!(value, 0..=2 | 0x80) { Ok(1) } else { Err(0x82) };
            assert_eq!(decode(&[0x90, 3, 0, 1, value], Version::V3_1_1), expected);
        }
        assert_eq!(decode(&[0x90, 4, 0, 1, 0, 0x87], Version::V5_0), Ok(1));
        assert_eq!(decode(&[0x90, 4, 0, 1, 0, 0x11], Version::V5_0), Err(0x82));
        assert_eq!(decode(&[0x90, 3, 0, 1, 0], Version::V5_0), Err(0x81));
    }
}
