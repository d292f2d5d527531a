//! DISCONNECT: the connection ends on purpose.

use alloc::vec::Vec;

use crate::property::{Properties, PropertyId, PropertyWriter};
use crate::wire::{Reader, put_packet};
use crate::{
    DecodeError, EncodeError, Frame, PacketType, ReasonCode, TextRules, UserProperties, Version,
};

/// The end of a connection. The default is a normal disconnection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disconnect<'a> {
    /// Why, not sent before 5.0.
    pub reason_code: ReasonCode,
    /// A new lifetime of the session in seconds (5.0 only, from the client only).
    pub session_expiry_interval: Option<u32>,
    /// The reason in words (5.0 only).
    pub reason_string: Option<&'a str>,
    /// Another server to use (5.0 only, from the server only).
    pub server_reference: Option<&'a str>,
    /// The user properties (5.0 only).
    pub user_properties: UserProperties<'a>,
}

impl<'a> Disconnect<'a> {
    /// Reads a DISCONNECT.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        // [MQTT5-3.14.1-1] [MQTT311-3.14.1-1]
        frame.check(PacketType::Disconnect, version)?;
        let packet_type = PacketType::Disconnect;
        let mut body = Reader::new(frame.body);
        let mut disconnect = Disconnect::default();
        // A packet that ends here is a normal end, one that ends after the code has no properties.
        if version.is_v5() && !body.is_empty() {
            let value = body.byte()?;
            disconnect.reason_code = ReasonCode::from_value(value)
                // [MQTT5-3.14.2-1]
                .filter(|code| code.allowed_in(packet_type))
                .ok_or(DecodeError::InvalidReasonCode { value, packet_type })?;
            if !body.is_empty() {
                disconnect.decode_properties(Properties::read(&mut body, packet_type, rules)?)?;
            }
        }
        body.finish()?;
        Ok(disconnect)
    }

    fn decode_properties(&mut self, mut properties: Properties<'a>) -> Result<(), DecodeError> {
        while let Some((property, value)) = properties.next()? {
            match property {
                PropertyId::SessionExpiryInterval => {
                    self.session_expiry_interval = value.four_byte();
                }
                PropertyId::ReasonString => self.reason_string = value.text(),
                PropertyId::ServerReference => self.server_reference = value.text(),
                other => return Err(properties.not_allowed(other)),
            }
        }
        self.user_properties = properties.user_properties();
        Ok(())
    }

    /// Appends the packet; before 5.0 it is always the same two bytes.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let bare = self.session_expiry_interval.is_none()
            && self.reason_string.is_none()
            && self.server_reference.is_none()
            && self.user_properties.is_empty();
        put_packet(out, PacketType::Disconnect.first_byte(), |out| {
            if !version.is_v5() || (bare && self.reason_code == ReasonCode::Success) {
                return Ok(());
            }
            // [MQTT5-3.14.2-1]
            if !self.reason_code.allowed_in(PacketType::Disconnect) {
                return Err(EncodeError::InvalidValue);
            }
            out.push(self.reason_code.value());
            if bare {
                return Ok(());
            }
            PropertyWriter::section(out, |to| {
                to.four_byte(PropertyId::SessionExpiryInterval, self.session_expiry_interval);
                to.text(PropertyId::ReasonString, self.reason_string)?;
                to.text(PropertyId::ServerReference, self.server_reference)?;
                to.user_properties(&self.user_properties);
                Ok(())
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Framing, spec, split};

    fn decode(bytes: &[u8], version: Version) -> Result<ReasonCode, u8> {
        let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
        match Disconnect::decode(&frame, version, TextRules::Strict) {
            Ok(disconnect) => Ok(disconnect.reason_code),
            Err(error) => Err(error.reason_code().value()),
        }
    }

    #[test]
    fn short_forms() {
        let will = ReasonCode::DisconnectWithWillMessage;
        for (bytes, expected) in [
            (&[0xE0, 0][..], Ok(ReasonCode::Success)),
            (&[0xE0, 1, 4], Ok(will)),
            (&[0xE0, 2, 4, 0], Ok(will)),
            (&[0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0], Ok(ReasonCode::Success)),
            (&[0xE0, 3, 0, 1, 0x11], Err(0x81)),
            (&[0xE0, 3, 0, 1, 0], Err(0x81)),
            (&[0xE0, 3, 0, 0, 0], Err(0x81)),
            (&[0xE0, 4, 0, 2, 0x17, 0], Err(0x82)),
        ] {
            assert_eq!(decode(bytes, Version::V5_0), expected, "{bytes:x?}");
        }
        assert_eq!(decode(&[0xE0, 0], Version::V3_1_1), Ok(ReasonCode::Success));
        assert_eq!(decode(&[0xE0, 1, 0], Version::V3_1_1), Err(0x81));
    }

    #[test]
    fn codes_of_other_packets_are_refused() {
        spec!("MQTT5-3.14.2-1");
        for value in [0x01, 0x05, 0x10, 0x84, 0xA3] {
            assert_eq!(decode(&[0xE0, 1, value], Version::V5_0), Err(0x82));
        }
        let disconnect =
            Disconnect { reason_code: ReasonCode::GrantedQos1, ..Disconnect::default() };
        let mut out = vec![];
        assert_eq!(disconnect.encode(Version::V5_0, &mut out), Err(EncodeError::InvalidValue));
        assert!(out.is_empty());
    }

    #[test]
    fn the_shortest_form_is_written() {
        for (reason_code, version, bytes) in [
            (ReasonCode::Success, Version::V5_0, &[0xE0, 0][..]),
            (ReasonCode::ServerShuttingDown, Version::V5_0, &[0xE0, 1, 0x8B]),
            (ReasonCode::ServerShuttingDown, Version::V3_1_1, &[0xE0, 0]),
        ] {
            let mut out = vec![];
            let disconnect = Disconnect { reason_code, ..Disconnect::default() };
            disconnect.encode(version, &mut out).unwrap();
            assert_eq!(out, bytes);
        }
    }
}
